//! Accepting connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::arrival::{self, Approach};
use super::unix::LocalListener;
use crate::node::Node;
use crate::node::control::{Entrance, Port};
use crate::node::ends::Ends;
use crate::node::process::is_one_too_many;

/// Why a port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    address: String,
    source: io::Error,
}

/// Where clients come from.
#[derive(Debug)]
pub enum AmqpListener {
    Tcp(TcpListener),
    Unix(LocalListener),
}

impl From<TcpListener> for AmqpListener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<LocalListener> for AmqpListener {
    fn from(listener: LocalListener) -> Self {
        Self::Unix(listener)
    }
}

/// Takes a port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ListenError { address: address.to_string(), source })
}

/// Takes a port of all addresses, those of IPv6 included where the machine has it.
pub async fn bind_all_addresses(port: u16) -> Result<TcpListener, ListenError> {
    match bind((Ipv6Addr::UNSPECIFIED, port).into()).await {
        Err(e) if e.source.kind() != io::ErrorKind::AddrInUse => {
            bind((Ipv4Addr::UNSPECIFIED, port).into()).await
        }
        other => other,
    }
}

/// Takes a path for a socket of this machine, for whom `mode` lets in, such as `0o660`.
pub fn bind_unix(path: &Path, mode: u32) -> Result<LocalListener, ListenError> {
    let bound = LocalListener::bind(path, mode);
    bound.map_err(|source| ListenError { address: path.display().to_string(), source })
}

/// Accepts AMQP connections until the node goes down.
pub async fn accept(listener: TcpListener, node: Arc<Node>) {
    accept_by(listener, Approach::default(), node).await;
}

/// Accepts connections that have something before AMQP until the node goes down.
pub async fn accept_by(listener: impl Into<AmqpListener>, approach: Approach, node: Arc<Node>) {
    let mut listener = listener.into();
    let mut going_down = node.going_down();
    let mut port = node.control.port(Entrance::Clients);
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener) => Some(accepted),
            _ = going_down.wait_for(|down| *down) => return,
            () = port.to_be_closed() => None,
        };
        let Some(accepted) = accepted else {
            listener = tokio::select! {
                again = opened_again(listener, &mut port) => again,
                _ = going_down.wait_for(|down| *down) => return,
            };
            continue;
        };
        match accepted {
            Ok(accepted) if accepted.is_one_too_many() => {
                tracing::error!("a client is turned away: too many files are open");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(Accepted::Tcp(socket, peer)) => arrival::over_tcp(socket, peer, &approach, &node),
            Ok(Accepted::Unix(socket, ends)) => arrival::over_unix(socket, ends, &approach, &node),
            Err(e) => {
                // Out of file descriptors, most likely: those that are open go on, new ones wait.
                tracing::error!("cannot accept a connection: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Closes a port until it may be open again. A socket of this machine stays, and nobody is let in.
async fn opened_again(listener: AmqpListener, port: &mut Port<'_>) -> AmqpListener {
    let address = match &listener {
        AmqpListener::Tcp(listener) => listener.local_addr().ok(),
        AmqpListener::Unix(_) => None,
    };
    let kept = address.is_none().then_some(listener);
    port.is(false);
    port.to_be_open().await;
    let again = match (kept, address) {
        (Some(listener), _) => listener,
        (None, Some(address)) => bind_again(address).await.into(),
        (None, None) => std::future::pending().await,
    };
    port.is(true);
    again
}

/// Takes a port that we have had, as soon as it can be had.
pub async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match bind(address).await {
            Ok(listener) => return listener,
            Err(e) => tracing::error!("{e}; it is tried again"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream, Ends),
}

impl Accepted {
    fn is_one_too_many(&self) -> bool {
        match self {
            Self::Tcp(socket, _) => is_one_too_many(socket),
            Self::Unix(socket, _) => is_one_too_many(socket),
        }
    }
}

async fn next(listener: &AmqpListener) -> io::Result<Accepted> {
    match listener {
        AmqpListener::Tcp(listener) => {
            listener.accept().await.map(|(socket, peer)| Accepted::Tcp(socket, peer))
        }
        AmqpListener::Unix(listener) => {
            listener.accept().await.map(|(socket, ends)| Accepted::Unix(socket, ends))
        }
    }
}
