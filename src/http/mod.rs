//! The management HTTP API: RabbitMQ's `/api`, for tools and for people.
//!
//! What comes in are HTTP requests; what goes out are replies with RabbitMQ 4.3.6's status codes and JSON. It reads
//! and changes the node by the same calls the sessions use, and keeps nothing: every reply says what is true now.
//! This folder may not know sockets, nor sessions but for what publishes without one.
//!
//! In the order of a request's way:
//! - [`server`], [`settings`]: listeners and connections; how they are served
//! - this file: the table of paths
//! - [`patience`], [`room`]: how long slow peers are waited for, and how much is made for them at a time
//! - [`front`]: the prefix of all paths, and headers that are set
//! - [`resource`]: what all paths have in common (`Allow`, `OPTIONS`, 405, names in paths)
//! - [`socket`], [`control`]: the node's own socket, and what only it serves
//! - [`caller`]: who asks, and what they may see and do
//! - [`pages`], [`openapi`]: what is there for people; the API described
//! - [`body`]: the JSON object in a request, and its fields
//! - [`listing`]: order, pages and columns of lists, and columns of objects
//! - [`refusal`]: every reply that is no success
//! - [`table`], [`properties`]: AMQP field tables and a message's properties as JSON, and back
//! - [`metrics`]: metrics for Prometheus, here and on a port of their own
//! - [`erlang_hash`]: RabbitMQ's names for bindings with arguments
//! - one file per kind of thing: [`overview`], [`health`], [`certificates`], [`nodes`], [`cluster`], [`features`], [`stream`],
//!   [`login`], [`vhosts`], [`users`], [`permissions`], [`topics`], [`limits`], [`connections`], [`queues`], [`stats`],
//!   [`exchanges`], [`declaring`], [`bindings`], [`publish`], [`fetch`], [`definitions`] (with [`multipart`]),
//!   [`quorum`], [`delayed`], [`policies`], [`parameters`], [`super_streams`]
//! - beyond RabbitMQ: [`messages`] and [`moving`] (with [`filter`]), [`reset`]

mod bindings;
mod body;
mod caller;
mod certificates;
mod cluster;
mod connections;
mod control;
mod declaring;
mod definitions;
mod delayed;
mod erlang_hash;
mod exchanges;
mod features;
mod filter;
mod fetch;
mod front;
mod health;
mod limits;
mod listing;
mod login;
mod nodes;
mod openapi;
mod messages;
mod metrics;
mod moving;
mod multipart;
mod overview;
mod pages;
mod parameters;
mod patience;
mod permissions;
mod policies;
mod properties;
mod publish;
mod queues;
mod quorum;
mod refusal;
mod reset;
mod resource;
mod room;
mod server;
pub mod settings;
pub mod socket;
mod stats;
mod stream;
mod super_streams;
mod table;
mod topics;
mod users;
mod vhosts;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};

use crate::node::Node;
use caller::Trusted;
use front::front;
use resource::{CHANGE, GET, READ, other_method, resource};
pub use server::{HttpListener, serve, serve_metrics};
use settings::HttpSettings;

/// The methods of what can be looked at and dropped.
const DELAYED: &str = "HEAD, GET, DELETE, OPTIONS";

/// Octets of a body over the control socket: definitions of any node.
const TRUSTED_BODY_MAX: usize = 1 << 30;

/// All of the API. Paths are brought into form first, hence the router within a router.
fn router(node: Arc<Node>, settings: Arc<HttpSettings>, body_max: usize) -> Router {
    let paths = things()
        .merge(people())
        .merge(policies::routes())
        .merge(health::routes())
        .merge(movements())
        .merge(nodes::routes())
        .merge(cluster::routes())
        .merge(features::routes())
        .merge(login::routes())
        .merge(openapi::routes())
        .merge(stats::routes())
        .merge(connections::routes())
        .merge(stream::routes())
        .merge(super_streams::routes())
        .merge(parameters())
        .merge(metrics::routes())
        .merge(pages::routes());
    let paths = paths.layer(DefaultBodyLimit::max(body_max)).with_state(node);
    let paths = paths
        .layer(from_fn(caller::name))
        .layer(from_fn(listing::columns))
        .layer(Extension(Arc::clone(&settings)));
    Router::new().fallback_service(paths).layer(from_fn_with_state(settings, front))
}

/// The same for the control socket: whoever comes is an administrator, and there is more.
fn trusted_router(node: Arc<Node>, settings: &HttpSettings) -> Router {
    // Nothing of how the API looks from outside is for those who are inside.
    let settings = HttpSettings { body_max: settings.body_max, ..HttpSettings::default() };
    let api = router(Arc::clone(&node), Arc::new(settings), TRUSTED_BODY_MAX);
    control::routes(node).merge(api).layer(Extension(Trusted))
}

/// The node, and what is in its vhosts.
fn things() -> Router<Arc<Node>> {
    let protection = post(vhosts::protect).delete(vhosts::unprotect);
    let connection = get(connections::show).delete(connections::close);
    let of_user = get(connections::list_of_user).delete(connections::close_of_user);
    let all_delayed = get(delayed::list).delete(delayed::drop_all);
    let exchange = get(exchanges::show).put(declaring::put).delete(declaring::delete);
    let queue = get(stats::queues::show).put(queues::declare).delete(queues::delete);
    Router::new()
        .route("/api/overview", resource(READ, get(overview::overview)))
        .route("/api/version", resource(READ, get(overview::version)))
        .route("/api/vhosts", resource(READ, get(vhosts::list)))
        .route(
            "/api/vhosts/{vhost}",
            resource(CHANGE, get(vhosts::show).put(vhosts::put).delete(vhosts::delete)),
        )
        .route("/api/vhosts/{vhost}/deletion/protection", resource("POST, DELETE, OPTIONS", protection))
        .route("/api/connections", resource(READ, get(connections::list)))
        .route("/api/connections/{name}", resource("HEAD, GET, DELETE, OPTIONS", connection))
        .route("/api/connections/{name}/sessions", resource(READ, get(connections::sessions)))
        .route("/api/connections/username/{user}", resource("HEAD, GET, DELETE, OPTIONS", of_user))
        .route("/api/exchanges", resource(READ, get(exchanges::list)))
        .route("/api/exchanges/{vhost}", resource(READ, get(exchanges::list_of_vhost)))
        .route("/api/exchanges/{vhost}/{exchange}", resource(CHANGE, exchange))
        .route("/api/exchanges/{vhost}/{exchange}/delayed", resource(DELAYED, all_delayed))
        .route(
            "/api/exchanges/{vhost}/{exchange}/delayed/{id}",
            resource(DELAYED, get(delayed::show).delete(delayed::drop_one)),
        )
        .route(
            "/api/exchanges/{vhost}/{exchange}/delayed/{id}/deliver",
            resource("POST, OPTIONS", post(delayed::deliver)),
        )
        .route("/api/queues/{vhost}/{queue}", resource(CHANGE, queue))
        .route("/api/queues/{vhost}/{queue}/contents", resource("DELETE, OPTIONS", delete(queues::purge)))
}

/// What changes or moves things, beside declaring and deleting them.
fn movements() -> Router<Arc<Node>> {
    bindings::routes()
        .merge(publish::routes())
        .merge(fetch::routes())
        .merge(definitions::routes())
        .merge(quorum::routes())
        .merge(messages::routes())
        .merge(moving::routes())
        .merge(reset::routes())
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
        .route(
            "/api/auth/hash_password/{password}",
            resource(GET, get(users::hash_password).head(other_method)),
        )
        .route("/api/users", resource(READ, get(users::list)))
        .route("/api/users/without-permissions", resource(READ, get(users::list_without_permissions)))
        .route("/api/users/bulk-delete", resource("POST, OPTIONS", post(users::bulk_delete)))
        .route("/api/users/{user}", resource(CHANGE, get(users::show).put(users::put).delete(users::delete)))
        .route("/api/users/{user}/permissions", resource(READ, get(permissions::list_of_user)))
        .route("/api/vhosts/{vhost}/permissions", resource(READ, get(permissions::list_of_vhost)))
        .route("/api/users/{user}/topic-permissions", resource(READ, get(topics::list_of_user)))
        .route("/api/vhosts/{vhost}/topic-permissions", resource(READ, get(topics::list_of_vhost)))
        .route("/api/permissions", resource(READ, get(permissions::list)))
        .route("/api/permissions/{vhost}/{user}", resource(CHANGE, permission))
        .merge(topics())
        .merge(limits())
}

/// Who may do what with which topics.
fn topics() -> Router<Arc<Node>> {
    let all = get(topics::show).put(topics::put).delete(topics::delete_all);
    let one = get(topics::show_all_the_same).put(topics::put_all_the_same).delete(topics::delete);
    Router::new()
        .route("/api/topic-permissions", resource(READ, get(topics::list)))
        .route("/api/topic-permissions/{vhost}/{user}", resource(CHANGE, all))
        .route("/api/topic-permissions/{vhost}/{user}/{exchange}", resource(CHANGE, one))
}

/// How much vhosts and users may have.
fn limits() -> Router<Arc<Node>> {
    let read = |methods: MethodRouter<Arc<Node>>| resource(GET, methods.head(other_method));
    let change = |methods| resource("PUT, DELETE, OPTIONS", methods);
    Router::new()
        .route("/api/vhost-limits", read(get(limits::list_vhosts)))
        .route("/api/vhost-limits/{vhost}", read(get(limits::show_vhost)))
        .route(
            "/api/vhost-limits/{vhost}/{name}",
            change(put(limits::put_vhost).delete(limits::delete_vhost)),
        )
        .route("/api/user-limits", read(get(limits::list_users)))
        .route("/api/user-limits/{user}", read(get(limits::show_user)))
        .route("/api/user-limits/{user}/{name}", change(put(limits::put_user).delete(limits::delete_user)))
}
