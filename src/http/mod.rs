//! The management HTTP API: RabbitMQ's `/api`, for tools and for people.
//!
//! What comes in are HTTP requests; what goes out are replies with RabbitMQ 4.3.6's status codes and JSON. It reads
//! and changes the node by the same calls the sessions use, and keeps nothing: every reply says what is true now.
//! This folder may not know sockets or sessions.
//!
//! In the order of a request's way:
//! - this file: serving, and the table of paths
//! - [`resource`]: what all paths have in common (`Allow`, `OPTIONS`, 405, trailing slashes, names in paths)
//! - [`caller`]: who asks, and what they may see and do
//! - [`body`]: the JSON object in a request, and its fields
//! - [`refusal`]: every reply that is no success
//! - [`table`]: AMQP field tables as JSON, and back
//! - one file per kind of thing: [`overview`], [`health`], [`vhosts`], [`users`], [`permissions`], [`connections`], [`queues`],
//!   [`exchanges`], [`policies`], [`parameters`]

mod body;
mod caller;
mod connections;
mod exchanges;
mod health;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod queues;
mod refusal;
mod resource;
mod table;
mod users;
mod vhosts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::middleware::{from_fn, map_request};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::node::Node;
use resource::{CHANGE, READ, resource};

/// Octets a request's body may have (RabbitMQ's `management.http.max_body_size`).
const BODY_MAX: usize = 20_000_000;

/// How long a connection may take to send a request's head, which is also how long it may be idle. (Cowboy, which
/// serves RabbitMQ's API, ends idle connections after a minute.)
const HEAD: Duration = Duration::from_secs(60);
/// As many connections are served at a time; others wait to be accepted, so that AMQP always has sockets left.
const CONNECTIONS_MAX: usize = 500;
/// How long requests have to end when the node goes down.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the API until the node goes down, and ends what is under way.
pub async fn serve(listener: TcpListener, node: Arc<Node>) {
    let mut going_down = node.going_down();
    let api = router(node);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            _ = going_down.wait_for(|down| *down) => break,
        };
        let Some((socket, peer, place)) = accepted else { continue };
        let service = TowerToHyperService::new(api.clone().layer(Extension(ConnectInfo(peer))));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(socket), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(%peer, "HTTP connection lost: {e}");
            }
            drop(place);
        });
    }
    if timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("some HTTP requests did not end in time");
    }
}

/// The next connection, when there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => {
            if let Err(e) = socket.set_nodelay(true) {
                tracing::debug!("no TCP_NODELAY: {e}");
            }
            Some((socket, SocketAddr::new(peer.ip().to_canonical(), peer.port()), place))
        }
        Err(e) => {
            tracing::error!("cannot accept an HTTP connection: {e}");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// All of the API. Paths are brought into form first, hence the router within a router.
fn router(node: Arc<Node>) -> Router {
    let paths = things()
        .merge(people())
        .merge(policies::routes())
        .merge(parameters())
        .fallback(resource(READ, get(resource::unknown)));
    let paths = paths.layer(DefaultBodyLimit::max(BODY_MAX)).with_state(node);
    let paths = paths.layer(from_fn(caller::name));
    Router::new().fallback_service(paths).layer(map_request(resource::without_trailing_slash))
}

/// The node, and what is in its vhosts.
fn things() -> Router<Arc<Node>> {
    let protection = post(vhosts::protect).delete(vhosts::unprotect);
    let connection = get(connections::show).delete(connections::close);
    let of_user = get(connections::list_of_user).delete(connections::close_of_user);
    let queue = get(queues::show).put(queues::declare).delete(queues::delete);
    Router::new()
        .route("/api/overview", resource(READ, get(overview::overview)))
        .route("/api/version", resource(READ, get(overview::version)))
        .route("/api/cluster-name", resource(READ, get(overview::cluster_name)))
        .route("/api/health/checks/alarms", resource(READ, get(health::alarms)))
        .route("/api/health/checks/local-alarms", resource(READ, get(health::local_alarms)))
        .route("/api/vhosts", resource(READ, get(vhosts::list)))
        .route(
            "/api/vhosts/{vhost}",
            resource(CHANGE, get(vhosts::show).put(vhosts::put).delete(vhosts::delete)),
        )
        .route("/api/vhosts/{vhost}/deletion/protection", resource("POST, DELETE, OPTIONS", protection))
        .route("/api/connections", resource(READ, get(connections::list)))
        .route("/api/connections/{name}", resource("HEAD, GET, DELETE, OPTIONS", connection))
        .route("/api/connections/username/{user}", resource("HEAD, GET, DELETE, OPTIONS", of_user))
        .route("/api/exchanges", resource(READ, get(exchanges::list)))
        .route("/api/exchanges/{vhost}", resource(READ, get(exchanges::list_of_vhost)))
        .route("/api/exchanges/{vhost}/{exchange}", resource(READ, get(exchanges::show)))
        .route("/api/queues", resource(READ, get(queues::list)))
        .route("/api/queues/{vhost}", resource(READ, get(queues::list_of_vhost)))
        .route("/api/queues/{vhost}/{queue}", resource(CHANGE, queue))
        .route("/api/queues/{vhost}/{queue}/contents", resource("DELETE, OPTIONS", delete(queues::purge)))
}

/// What RabbitMQ calls runtime parameters.
fn parameters() -> Router<Arc<Node>> {
    let parameter = get(parameters::show).put(parameters::put).delete(parameters::delete);
    let global = get(parameters::show_global).put(parameters::put_global).delete(parameters::delete_global);
    Router::new()
        .route("/api/parameters", resource(READ, get(parameters::list)))
        .route("/api/parameters/{component}", resource(READ, get(parameters::list_of_component)))
        .route("/api/parameters/{component}/{vhost}", resource(READ, get(parameters::list_of_vhost)))
        .route("/api/parameters/{component}/{vhost}/{name}", resource(CHANGE, parameter))
        .route("/api/global-parameters", resource(READ, get(parameters::list_global)))
        .route("/api/global-parameters/{name}", resource(CHANGE, global))
}

/// Who there is, and who may do what.
fn people() -> Router<Arc<Node>> {
    let permission = get(permissions::show).put(permissions::put).delete(permissions::delete);
    Router::new()
        .route("/api/whoami", resource(READ, get(users::whoami)))
        .route("/api/auth/hash_password/{password}", resource("GET, OPTIONS", get(users::hash_password)))
        .route("/api/users", resource(READ, get(users::list)))
        .route("/api/users/without-permissions", resource(READ, get(users::list_without_permissions)))
        .route("/api/users/bulk-delete", resource("POST, OPTIONS", post(users::bulk_delete)))
        .route("/api/users/{user}", resource(CHANGE, get(users::show).put(users::put).delete(users::delete)))
        .route("/api/users/{user}/permissions", resource(READ, get(permissions::list_of_user)))
        .route("/api/vhosts/{vhost}/permissions", resource(READ, get(permissions::list_of_vhost)))
        .route("/api/permissions", resource(READ, get(permissions::list)))
        .route("/api/permissions/{vhost}/{user}", resource(CHANGE, permission))
}
