//! Accepting connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::connection;
use crate::node::Node;

/// Why a port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Takes a port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
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

/// Accepts AMQP connections until the node goes down.
pub async fn accept(listener: TcpListener, node: Arc<Node>) {
    let mut going_down = node.going_down();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = going_down.wait_for(|down| *down) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                tokio::spawn(connection::serve(socket, peer, Arc::clone(&node)));
            }
            Err(e) => {
                // Out of file descriptors, most likely: those that are open go on, new ones wait.
                tracing::error!("cannot accept a connection: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
