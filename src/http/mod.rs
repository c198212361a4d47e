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
//! - one file per kind of thing: [`overview`], [`vhosts`], [`users`], [`permissions`], [`connections`], [`queues`],
//!   [`exchanges`]

mod body;
mod caller;
mod connections;
mod exchanges;
mod overview;
mod permissions;
mod queues;
mod refusal;
mod resource;
mod table;
mod users;
mod vhosts;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_request;
use axum::routing::{delete, get, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::node::Node;
use resource::{CHANGE, READ, resource};

/// Octets a request's body may have (RabbitMQ's `management.http.max_body_size`).
const BODY_MAX: usize = 20_000_000;

/// Serves the API until the node goes down.
pub async fn serve(listener: TcpListener, node: Arc<Node>) {
    let mut going_down = node.going_down();
    let listener = listener.tap_io(|socket| {
        if let Err(e) = socket.set_nodelay(true) {
            tracing::debug!("no TCP_NODELAY: {e}");
        }
    });
    let service = router(node).into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move {
        // An error would mean that the node is gone, which is as good as going down.
        let _ = going_down.wait_for(|down| *down).await;
    });
    if let Err(e) = served.await {
        tracing::error!("the HTTP API ends: {e}");
    }
}

/// All of the API. Paths are brought into form first, hence the router within a router.
fn router(node: Arc<Node>) -> Router {
    let paths = things().merge(people()).fallback(resource(READ, get(resource::unknown)));
    let paths = paths.layer(DefaultBodyLimit::max(BODY_MAX)).with_state(node);
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
