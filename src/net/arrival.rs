//! What comes before AMQP: a proxy's word, and TLS. Each has a time-out of its own, and each connection a task, so that a
//! client that stalls holds up nobody.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::connection;
use super::listener::SocketOptions;
use super::proxy;
use super::stream::{Octets, Other};
use super::tls::{Tls, describe};
use crate::auth::sasl::Certified;
use crate::node::Node;
use crate::node::ends::Ends;

/// How long a proxy may take to say where a client comes from (as with RabbitMQ).
const PROXY: Duration = Duration::from_secs(3);

/// What clients of a listener go through before AMQP.
#[derive(Clone, Debug, Default)]
pub struct Approach {
    pub tls: Option<Arc<Tls>>,
    /// Whether a proxy says first where a client comes from, by the PROXY protocol.
    pub proxy: bool,
    /// What the sockets are like.
    pub options: SocketOptions,
}

/// A connection that AMQP can begin on.
#[derive(Debug)]
pub struct Arrival {
    pub ends: Ends,
    /// Who the client is by its certificate.
    pub certified: Certified,
}

impl Arrival {
    /// One without TLS.
    pub fn plain(ends: Ends) -> Self {
        Self { ends, certified: Certified::NoTls }
    }
}

/// Serves a client that has come over TCP, in a task of its own.
pub(super) fn over_tcp(socket: TcpStream, peer: SocketAddr, approach: &Approach, node: &Arc<Node>) {
    let local = match socket.local_addr() {
        Ok(local) => local,
        Err(e) => return tracing::debug!(%peer, "gone at once: {e}"),
    };
    if let Err(e) = socket.set_nodelay(approach.options.nodelay) {
        tracing::debug!(%peer, "no TCP_NODELAY: {e}");
    }
    let (ends, node) = (Ends::new(peer, local), Arc::clone(node));
    if approach.tls.is_none() && !approach.proxy {
        tokio::spawn(connection::serve(socket, Arrival::plain(ends), node));
    } else {
        let approach = approach.clone();
        tokio::spawn(async move {
            let Some((socket, ends)) = introduce(socket, ends, approach.proxy).await else { return };
            match approach.tls {
                Some(tls) => secure(socket, ends, &tls, node).await,
                None => connection::serve(socket, Arrival::plain(ends), node).await,
            }
        });
    }
}

/// Serves a client that has come over a socket of this machine, in a task of its own.
pub(super) fn over_unix(socket: UnixStream, ends: Ends, approach: &Approach, node: &Arc<Node>) {
    let (approach, node) = (approach.clone(), Arc::clone(node));
    tokio::spawn(async move {
        let Some((socket, ends)) = introduce(socket, ends, approach.proxy).await else { return };
        match approach.tls {
            Some(tls) => secure(socket, ends, &tls, node).await,
            None => serve_other(socket, Arrival::plain(ends), node).await,
        }
    });
}

/// Lets a proxy say where the client comes from. Whoever does not in time, or says something else, is dropped.
async fn introduce<S: AsyncRead + Unpin>(mut socket: S, ends: Ends, proxied: bool) -> Option<(S, Ends)> {
    if !proxied {
        return Some((socket, ends));
    }
    match timeout(PROXY, proxy::read(&mut socket)).await {
        Ok(Ok(Some((peer, local)))) => Some((socket, Ends::new(peer, local))),
        Ok(Ok(None)) => Some((socket, ends)),
        Ok(Err(e)) => {
            tracing::warn!(peer = %ends.peer, "failed to receive PROXY protocol header: {e}");
            None
        }
        Err(_) => {
            tracing::warn!(peer = %ends.peer, "failed to receive PROXY protocol header: timed out");
            None
        }
    }
}

/// Agrees on TLS, then serves. What a listener's certificates are is looked at now, so that a reload counts for
/// whoever comes after it.
async fn secure<S: Octets + 'static>(socket: S, mut ends: Ends, tls: &Tls, node: Arc<Node>) {
    let socket = match tls.accept(socket).await {
        Ok(socket) => socket,
        Err(e) => return tracing::warn!(peer = %ends.peer, "TLS handshake failed: {e}"),
    };
    let (secrecy, certified) = describe(socket.get_ref().1, tls.settings().login_from);
    ends.tls = Some(Box::new(secrecy));
    serve_other(socket, Arrival { ends, certified }, node).await;
}

/// Serves what is not plain TCP, all of it in the same way.
fn serve_other(
    socket: impl Octets + 'static,
    arrival: Arrival,
    node: Arc<Node>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let socket: Other = Box::new(socket);
    Box::pin(connection::serve(socket, arrival, node))
}
