//! Accepting connections.

use std::io;
use std::net::SocketAddr;
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
