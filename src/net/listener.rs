//! Accepting connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};

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

/// What the sockets of a listener are like: `tcp_listen_options`. Those of clients are as the one that listens is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// So many clients may wait to be let in.
    pub backlog: u32,
    pub nodelay: bool,
    /// How long the system tries to send what is unsent when a connection ends, or as it likes.
    pub linger: Option<Duration>,
    pub keepalive: bool,
    /// Octets that the system keeps to be sent, or that have come.
    pub send_buffer: Option<u32>,
    pub receive_buffer: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            nodelay: true,
            linger: None,
            keepalive: false,
            send_buffer: None,
            receive_buffer: None,
        }
    }
}

impl SocketOptions {
    fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_keepalive(self.keepalive)?;
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        if self.linger.is_some() {
            set_socket_linger(&socket, self.linger)?;
        }
        socket.bind(address)?;
        socket.listen(self.backlog)
    }
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
    bind_with(address, &SocketOptions::default())
}

/// Takes a port for sockets like this.
pub fn bind_with(address: SocketAddr, options: &SocketOptions) -> Result<TcpListener, ListenError> {
    let bound = options.listen(address);
    bound.map_err(|source| ListenError { address: address.to_string(), source })
}

/// Takes a port of all addresses, those of IPv6 included where the machine has it.
pub fn bind_all_addresses(port: u16, options: &SocketOptions) -> Result<TcpListener, ListenError> {
    match bind_with((Ipv6Addr::UNSPECIFIED, port).into(), options) {
        Err(e) if e.source.kind() != io::ErrorKind::AddrInUse => {
            bind_with((Ipv4Addr::UNSPECIFIED, port).into(), options)
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
                again = opened_again(listener, &approach.options, &mut port) => again,
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
async fn opened_again(listener: AmqpListener, options: &SocketOptions, port: &mut Port<'_>) -> AmqpListener {
    let address = match &listener {
        AmqpListener::Tcp(listener) => listener.local_addr().ok(),
        AmqpListener::Unix(_) => None,
    };
    let kept = address.is_none().then_some(listener);
    port.is(false);
    port.to_be_open().await;
    let again = match (kept, address) {
        (Some(listener), _) => listener,
        (None, Some(address)) => bind_again(address, options).await.into(),
        (None, None) => std::future::pending().await,
    };
    port.is(true);
    again
}

/// Takes a port that we have had, as soon as it can be had.
pub async fn bind_again(address: SocketAddr, options: &SocketOptions) -> TcpListener {
    loop {
        match bind_with(address, options) {
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

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;

    use super::*;

    /// Sockets of clients are like the one that listens, which the system sees to.
    #[tokio::test]
    async fn sockets_are_as_they_are_set() {
        let options = SocketOptions {
            backlog: 3,
            nodelay: false,
            linger: Some(Duration::from_secs(2)),
            keepalive: true,
            send_buffer: Some(50_000),
            receive_buffer: Some(60_000),
        };
        for options in [options, SocketOptions::default()] {
            let listener = bind_with(([127, 0, 0, 1], 0).into(), &options).expect("a port");
            let address = listener.local_addr().expect("an address");
            let (_client, accepted) =
                tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
            let (socket, _) = accepted.expect("a client");
            assert_eq!(sockopt::socket_linger(&socket).expect("an option"), options.linger);
            assert_eq!(sockopt::socket_keepalive(&socket).expect("an option"), options.keepalive);
            // Linux doubles what is asked for.
            let send = sockopt::socket_send_buffer_size(&socket).expect("an option");
            assert_eq!(send == 100_000, options.send_buffer.is_some(), "{send}");
            let receive = sockopt::socket_recv_buffer_size(&socket).expect("an option");
            assert_eq!(receive == 120_000, options.receive_buffer.is_some(), "{receive}");
        }
    }
}
