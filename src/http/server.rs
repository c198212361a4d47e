//! Listeners and the connections they accept.

use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::patience::{PatientBody, PatientStream};
use super::settings::{HttpSettings, MetricsSettings};
use crate::net::listener::{SocketOptions, bind_again};
use crate::net::tls::Tls;
use crate::node::Node;
use crate::node::control::{Entrance, Port};

/// How long requests have to end when the node goes down.
const DRAIN: Duration = Duration::from_secs(5);

/// Where requests come from.
#[derive(Debug)]
pub enum HttpListener {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<Tls>),
    /// Whoever can open the socket is on this machine.
    Unix(UnixListener),
    /// Whoever can open the socket is trusted.
    Control(UnixListener),
}

impl From<TcpListener> for HttpListener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// The octets of a connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that has been accepted, and where it comes from.
type Accepted = (Box<dyn Stream>, SocketAddr);

impl HttpListener {
    async fn accept(&self) -> std::io::Result<Accepted> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => {
                let (socket, peer) = listener.accept().await?;
                if let Err(e) = socket.set_nodelay(true) {
                    tracing::debug!("no TCP_NODELAY: {e}");
                }
                Ok((Box::new(socket), SocketAddr::new(peer.ip().to_canonical(), peer.port())))
            }
            Self::Unix(listener) | Self::Control(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((Box::new(socket), (Ipv4Addr::LOCALHOST, 0).into()))
            }
        }
    }
}

impl HttpListener {
    /// Whether it is closed with the doors. Somebody has to be able to open them again.
    fn closes(&self) -> bool {
        !matches!(self, Self::Control(_))
    }

    /// Closes a port until it may be open again. A socket of this machine stays, and nobody is let in.
    async fn opened_again(self, port: &mut Port<'_>) -> Self {
        let (address, tls) = match self {
            Self::Tcp(ref listener) => (listener.local_addr(), None),
            Self::Tls(ref listener, ref tls) => (listener.local_addr(), Some(Arc::clone(tls))),
            Self::Unix(_) | Self::Control(_) => {
                port.is(false);
                port.to_be_open().await;
                port.is(true);
                return self;
            }
        };
        let Ok(address) = address else { return self };
        drop(self);
        port.is(false);
        port.to_be_open().await;
        let listener = bind_again(address, &SocketOptions::default()).await;
        port.is(true);
        match tls {
            Some(tls) => Self::Tls(listener, tls),
            None => Self::Tcp(listener),
        }
    }
}

/// Serves the API until the node goes down, and ends what is under way.
pub async fn serve(listener: impl Into<HttpListener>, node: Arc<Node>, settings: Arc<HttpSettings>) {
    let listener = listener.into();
    let (places, idle) = (settings.connections_max, settings.idle);
    let api = match &listener {
        HttpListener::Control(_) => super::trusted_router(Arc::clone(&node), &settings),
        HttpListener::Tcp(_) | HttpListener::Tls(..) | HttpListener::Unix(_) => {
            let body_max = settings.body_max;
            super::router(Arc::clone(&node), settings, body_max)
        }
    };
    serve_router(listener, &node, api, places, idle).await;
}

/// Serves metrics alone in the same way.
pub async fn serve_metrics(
    listener: impl Into<HttpListener>,
    node: Arc<Node>,
    settings: Arc<MetricsSettings>,
) {
    let (places, idle) = (settings.connections_max, settings.idle);
    let router = super::metrics::router(Arc::clone(&node), settings);
    serve_router(listener.into(), &node, router, places, idle).await;
}

async fn serve_router(mut listener: HttpListener, node: &Node, api: Router, places: usize, idle: Duration) {
    let patient = move |request: Request| ready(request.map(|body| Body::new(PatientBody::new(body, idle))));
    let api = api.layer(map_request(patient));
    let mut port = node.control.port(Entrance::Api);
    if !listener.closes() {
        // It has no part in what the doors are waited for with.
        port.stays();
    }
    let mut going_down = node.going_down();
    let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
    let tls = match &listener {
        HttpListener::Tls(_, tls) => Some(Arc::clone(tls)),
        _ => None,
    };
    let mut connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => Some(accepted),
            _ = going_down.wait_for(|down| *down) => break,
            () = port.to_be_closed(), if listener.closes() => None,
        };
        let Some(accepted) = accepted else {
            tokio::spawn(end(std::mem::replace(&mut connections, GracefulShutdown::new())));
            listener = tokio::select! {
                again = listener.opened_again(&mut port) => again,
                _ = going_down.wait_for(|down| *down) => break,
            };
            continue;
        };
        let Some(((stream, peer), place)) = accepted else { continue };
        let (connection, api, tls) = (connections.watcher(), api.clone(), tls.clone());
        // What TLS needs is done in the connection's task, so that a client that stalls holds up nobody.
        tokio::spawn(async move {
            let stream = match tls {
                Some(tls) => tls.accept(stream).await.map(|stream| Box::new(stream) as Box<dyn Stream>),
                None => Ok(stream),
            };
            match stream {
                Ok(stream) => talk(connection, api, stream, peer, idle).await,
                Err(e) => tracing::debug!(%peer, "HTTP connection lost: {e}"),
            }
            drop(place);
        });
    }
    end(connections).await;
}

/// Ends what is under way.
async fn end(connections: GracefulShutdown) {
    if timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("some HTTP requests did not end in time");
    }
}

/// Serves a connection to its end.
async fn talk(watcher: Watcher, api: Router, stream: Box<dyn Stream>, peer: SocketAddr, idle: Duration) {
    let service = TowerToHyperService::new(api.layer(Extension(ConnectInfo(peer))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .serve_connection(TokioIo::new(PatientStream::new(stream, idle)), service);
    if let Err(e) = watcher.watch(connection).await {
        tracing::debug!(%peer, "HTTP connection lost: {e}");
    }
}

/// The next connection, when there is a place for it.
async fn accept(
    listener: &HttpListener,
    places: &Arc<Semaphore>,
) -> Option<(Accepted, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(accepted) => Some((accepted, place)),
        Err(e) => {
            tracing::error!("cannot accept an HTTP connection: {e}");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
