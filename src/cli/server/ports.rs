//! Where the server listens.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::ServerError;
use crate::config::network::Network;
use crate::config::settings::Settings;
use crate::config::values::Place;
use crate::http::socket::{self, ControlSocket};
use crate::http::{self, HttpListener};
use crate::logs::Logs;
use crate::net::arrival::Approach;
use crate::net::listener::{self, ListenError, SocketOptions};
use crate::net::tls::{Tls, TlsSettings};
use crate::net::unix::LocalListener;
use crate::node::Node;
use crate::node::folder::Folder;

/// Ports that are taken, and not served yet.
pub struct Ports {
    amqp: Vec<TcpListener>,
    amqp_tls: Vec<TcpListener>,
    /// Sockets in the file system.
    amqp_local: Vec<LocalListener>,
    http: Vec<TcpListener>,
    http_tls: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    metrics_tls: Vec<TcpListener>,
    /// What the TLS listeners of AMQP serve with, if there are any.
    amqp_certificates: Option<Arc<Tls>>,
    http_certificates: Option<Arc<Tls>>,
    metrics_certificates: Option<Arc<Tls>>,
}

impl Ports {
    /// Takes all ports, or says which one cannot be had, or what is wrong with a certificate.
    pub fn bind(network: &Network) -> Result<Self, ServerError> {
        let http: Vec<_> = network.http.of_api();
        let (http_tls, http): (Vec<_>, Vec<_>) = http.into_iter().partition(|(_, tls)| *tls);
        let metrics: Vec<_> = network.metrics.of_metrics();
        let (metrics_tls, metrics): (Vec<_>, Vec<_>) = metrics.into_iter().partition(|(_, tls)| *tls);
        let amqp_tls = network.amqps();
        let other = SocketOptions::default();
        Ok(Self {
            amqp_certificates: load("ssl_options", network.tls(), !amqp_tls.is_empty())?,
            http_certificates: load("management.ssl", network.http.tls.clone(), !http_tls.is_empty())?,
            metrics_certificates: load(
                "prometheus.ssl",
                network.metrics.tls.clone(),
                !metrics_tls.is_empty(),
            )?,
            metrics: bind_metrics(network, metrics.into_iter().map(|(place, _)| place))?,
            metrics_tls: bind_all(metrics_tls.into_iter().map(|(place, _)| place), &other)?,
            amqp: bind_all(network.amqp(), &network.options)?,
            amqp_tls: bind_all(amqp_tls, &network.options)?,
            amqp_local: bind_local(network)?,
            http: bind_all(http.into_iter().map(|(place, _)| place), &other)?,
            http_tls: bind_all(http_tls.into_iter().map(|(place, _)| place), &other)?,
        })
    }

    /// What TLS listeners serve with.
    pub fn certificates(&self) -> Vec<Arc<Tls>> {
        [&self.amqp_certificates, &self.http_certificates, &self.metrics_certificates]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
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
        let mut http: Vec<_> = control.map(HttpListener::Control).into_iter().collect();
        for listener in self.http {
            if let Some(address) = note(node, "http", "HTTP API", &listener, None, logs) {
                tracing::info!(
                    "Management plugin: HTTP (non-TLS) listener started on port {}",
                    address.port()
                );
            }
            http.push(HttpListener::Tcp(listener));
        }
        for (listener, tls) in self.http_tls.into_iter().zip(self.http_certificates.iter().cycle()) {
            if let Some(address) = note(node, "https", "HTTP API over TLS", &listener, Some(tls), logs) {
                tracing::info!("Management plugin: HTTPS listener started on port {}", address.port());
            }
            http.push(HttpListener::Tls(listener, Arc::clone(tls)));
        }
        let serve =
            |listener| tokio::spawn(http::serve(listener, Arc::clone(node), Arc::clone(&http_settings)));
        let mut serving: Vec<_> = http.into_iter().map(serve).collect();
        let metrics = Arc::new(settings.management.metrics.clone());
        for listener in self.metrics {
            if let Some(address) = note(node, "http/prometheus", "Metrics", &listener, None, logs) {
                tracing::info!(
                    "Prometheus metrics: HTTP (non-TLS) listener started on port {}",
                    address.port()
                );
            }
            serving.push(tokio::spawn(http::serve_metrics(listener, Arc::clone(node), Arc::clone(&metrics))));
        }
        for (listener, tls) in self.metrics_tls.into_iter().zip(self.metrics_certificates.iter().cycle()) {
            if let Some(address) =
                note(node, "https/prometheus", "Metrics over TLS", &listener, Some(tls), logs)
            {
                tracing::info!("Prometheus metrics: HTTPS listener started on port {}", address.port());
            }
            let listener = HttpListener::Tls(listener, Arc::clone(tls));
            serving.push(tokio::spawn(http::serve_metrics(listener, Arc::clone(node), Arc::clone(&metrics))));
        }
        tracing::info!("Ready to start client connection listeners");
        let Network { proxy_protocol, options, .. } = settings.network;
        let plain = Approach { tls: None, proxy: proxy_protocol, options };
        for listener in self.amqp {
            if let Some(address) = note(node, "amqp", "AMQP", &listener, None, logs) {
                tracing::info!("started TCP listener on {address}");
            }
            tokio::spawn(listener::accept_by(listener, plain.clone(), Arc::clone(node)));
        }
        for (listener, tls) in self.amqp_tls.into_iter().zip(self.amqp_certificates.iter().cycle()) {
            if let Some(address) = note(node, "amqp/ssl", "AMQP over TLS", &listener, Some(tls), logs) {
                tracing::info!("started TLS (SSL) listener on {address}");
            }
            let approach = Approach { tls: Some(Arc::clone(tls)), ..plain.clone() };
            tokio::spawn(listener::accept_by(listener, approach, Arc::clone(node)));
        }
        for listener in self.amqp_local {
            let path = listener.path().display();
            tracing::info!("started Unix socket listener on {path}");
            logs.say(&format!("AMQP on {path}"));
            // Nobody stands between it and its clients.
            tokio::spawn(listener::accept_by(listener, Approach::default(), Arc::clone(node)));
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

/// Reads certificates if there is anything to serve with them.
fn load(group: &'static str, settings: TlsSettings, is_used: bool) -> Result<Option<Arc<Tls>>, ServerError> {
    let failed = |source| ServerError::Tls { group, source };
    is_used.then(|| Tls::new(settings).map(Arc::new).map_err(failed)).transpose()
}

fn bind_all(
    places: impl IntoIterator<Item = Place>,
    options: &SocketOptions,
) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for place in places {
        listeners.push(match place {
            Place::Everywhere(port) => listener::bind_all_addresses(port, options)?,
            Place::At(address) => listener::bind_with(address, options)?,
        });
    }
    Ok(listeners)
}

/// Takes the ports of metrics. One that nobody has asked for and that is taken, as by another node on this machine, is
/// done without.
fn bind_metrics(
    network: &Network,
    places: impl IntoIterator<Item = Place>,
) -> Result<Vec<TcpListener>, ListenError> {
    match bind_all(places, &SocketOptions::default()) {
        Err(e) if !network.metrics.is_asked_for() => {
            tracing::warn!("metrics are not served: {e}");
            Ok(Vec::new())
        }
        bound => bound,
    }
}

fn bind_local(network: &Network) -> Result<Vec<LocalListener>, ListenError> {
    let paths = network.unix.get().unwrap_or_default();
    paths.into_iter().map(|(_, path)| listener::bind_unix(path, network.unix_mode)).collect()
}

/// Tells where the node listens: those who ask it, and whoever started it.
fn note(
    node: &Node,
    protocol: &'static str,
    what: &str,
    listener: &TcpListener,
    tls: Option<&Arc<Tls>>,
    logs: &Logs,
) -> Option<SocketAddr> {
    let address = listener.local_addr().ok()?;
    match tls.cloned() {
        Some(tls) => node.listeners.add_certified(protocol, address, move || tls.certificates()),
        None => node.listeners.add(protocol, address, false),
    }
    logs.say(&format!("{what} on {address}"));
    Some(address)
}
