//! Where the server listens.

use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use crate::config::network::{HTTP_PORT, HTTPS_PORT, Network};
use crate::config::settings::Settings;
use crate::config::values::Place;
use crate::http::socket::{self, ControlSocket};
use crate::http::{self, HttpListener};
use crate::logs::Logs;
use crate::net::listener::{self, ListenError};
use crate::node::Node;
use crate::node::folder::Folder;

/// Ports that are taken, and not served yet.
pub struct Ports {
    amqp: Vec<TcpListener>,
    http: Vec<TcpListener>,
}

impl Ports {
    /// Takes all ports, or says which one cannot be had.
    pub async fn bind(network: &Network) -> Result<Self, ListenError> {
        let mut ports = Self { amqp: Vec::new(), http: Vec::new() };
        for place in network.amqp() {
            ports.amqp.push(bind(place).await?);
        }
        for (place, _) in network.http.all(HTTP_PORT, HTTPS_PORT).into_iter().filter(|(_, tls)| !tls) {
            ports.http.push(bind(place).await?);
        }
        Ok(ports)
    }

    /// Serves them, in tasks that end when the node goes down. Those of the HTTP API have to be waited for.
    pub fn serve(
        self,
        node: &Arc<Node>,
        settings: &Settings,
        control: Option<UnixListener>,
        logs: &Logs,
    ) -> Vec<JoinHandle<()>> {
        let http_settings = Arc::new(settings.management.http());
        let mut serving = Vec::new();
        if let Some(listener) = control.map(HttpListener::Control) {
            serving.push(tokio::spawn(http::serve(listener, Arc::clone(node), Arc::clone(&http_settings))));
        }
        for listener in self.http {
            if let Some(port) = note(node, "http", "HTTP API", &listener, logs) {
                tracing::info!("Management plugin: HTTP (non-TLS) listener started on port {port}");
            }
            serving.push(tokio::spawn(http::serve(listener, Arc::clone(node), Arc::clone(&http_settings))));
        }
        tracing::info!("Ready to start client connection listeners");
        for listener in self.amqp {
            if let Ok(address) = listener.local_addr() {
                tracing::info!("started TCP listener on {address}");
            }
            note(node, "amqp", "AMQP", &listener, logs);
            tokio::spawn(listener::accept(listener, Arc::clone(node)));
        }
        serving
    }
}

/// Opens the socket for the command-line tools. A node without it serves all the same.
pub fn control(folder: Option<&Folder>) -> Option<(ControlSocket, UnixListener)> {
    let place = match folder {
        Some(folder) => Ok(folder.path().to_owned()),
        None => socket::make_folder_without_data(),
    };
    match place.and_then(|place| ControlSocket::open(&place)) {
        Ok(opened) => Some(opened),
        Err(e) => {
            tracing::warn!("command-line tools cannot reach this node, since it has no control socket: {e}");
            None
        }
    }
}

async fn bind(place: Place) -> Result<TcpListener, ListenError> {
    match place {
        Place::Everywhere(port) => listener::bind_all_addresses(port).await,
        Place::At(address) => listener::bind(address).await,
    }
}

/// Tells where the node listens: those who ask it, and whoever started it.
fn note(node: &Node, protocol: &'static str, what: &str, listener: &TcpListener, logs: &Logs) -> Option<u16> {
    let address = listener.local_addr().ok()?;
    node.listeners.add(protocol, address, false);
    logs.say(&format!("{what} on {address}"));
    Some(address.port())
}
