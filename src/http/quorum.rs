//! What people do with quorum queues in a cluster, as far as it makes sense on a single node: each has one replica, here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::json;

use super::body::Body;
use super::caller::{Administrator, Caller};
use super::refusal::Refusal;
use super::resource::{Closed, Names, closed_if, other_method, resource};
use crate::broker::queue::Queue;
use crate::broker::queue::arguments::QueueType;
use crate::node::Node;

/// The version of RabbitMQ's state machine whose behaviour is followed.
const MACHINE_VERSION: u32 = 8;

/// Replicas may be left to those who look after the machines.
const FIXED: Closed =
    (|settings| settings.replicas_are_fixed, "Broker settings disallow quorum queue replica operations.");

pub(super) fn routes() -> Router<Arc<Node>> {
    let replicas = |allowed, methods| resource(allowed, closed_if(FIXED, methods));
    let read = resource("GET, OPTIONS", get(status).head(other_method));
    Router::new()
        .route("/api/queues/{vhost}/{queue}/actions", resource("POST, OPTIONS", post(act)))
        .route("/api/queues/quorum/{vhost}/{queue}/status", read)
        .route("/api/queues/quorum/{vhost}/{queue}/replicas/add", replicas("POST, OPTIONS", post(add)))
        .route(
            "/api/queues/quorum/{vhost}/{queue}/replicas/delete",
            replicas("DELETE, OPTIONS", delete(remove)),
        )
        .route("/api/queues/quorum/replicas/on/{node}/grow", replicas("POST, OPTIONS", post(grow)))
        .route("/api/queues/quorum/replicas/on/{node}/shrink", replicas("DELETE, OPTIONS", delete(shrink)))
}

/// Actions were for mirrored queues (`sync`, `cancel_sync`). There are none any more, and so there is no action.
async fn act(
    State(node): State<Arc<Node>>,
    Administrator(caller): Administrator,
    Names((vhost, queue)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let missing = || Refusal::Missing("queue_not_found".to_owned());
    cell.with_vhost(|vhost| vhost.queue(queue.as_bytes()).map(drop)).ok_or_else(missing)?;
    let fields = body.fields()?;
    fields.require(&["action"])?;
    Err(Refusal::bad_request(json!(["unknown", fields.get("action")])))
}

/// What is said of the one replica. Its log has no terms and takes no snapshots; its indices are positions.
async fn status(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
) -> Result<Response, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let seen = |queue: &Queue| (queue.settings.queue_type, queue.log_end());
    let found = cell.with_vhost(|vhost| vhost.queue(queue.as_bytes()).map(seen));
    let (queue_type, index) = found.ok_or(Refusal::NotFound)?;
    if let Some(reason) = unsuitable(queue_type) {
        let body = json!({ "status": "failed", "reason": reason });
        return Ok((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response());
    }
    let replica = json!({
        "Node Name": node.name(),
        "Raft State": "leader",
        "Membership": "voter",
        "Last Log Index": index,
        "Last Written": index,
        "Last Applied": index,
        "Commit Index": index,
        "Snapshot Index": -1,
        "Term": 1,
        "Machine Version": MACHINE_VERSION,
    });
    Ok(Json(json!([replica])).into_response())
}

/// Why a queue of this type has no replicas of that kind.
fn unsuitable(queue_type: QueueType) -> Option<&'static str> {
    match queue_type {
        QueueType::Quorum => None,
        QueueType::Classic => Some("classic_queue_not_supported"),
        QueueType::Stream => Some("not_quorum_queue"),
    }
}

/// The type of a queue, wherever it is, if it is.
fn type_of(node: &Node, (vhost, queue): &(String, String)) -> Option<QueueType> {
    let queue_type = |queue: &Queue| queue.settings.queue_type;
    node.vhost(vhost)?.with_vhost(|vhost| vhost.queue(queue.as_bytes()).map(queue_type))
}

/// The node in a request, which has to be this one.
fn check_node(node: &Node, body: &Body) -> Result<(), Refusal> {
    let fields = body.fields()?;
    fields.require(&["node"])?;
    match fields.text("node")? {
        Some(name) if name == node.name() => Ok(()),
        _ => Err(Refusal::bad_request("Node is not a cluster member")),
    }
}

/// The replica is there already.
async fn add(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(names): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    check_node(&node, &body)?;
    let queue_type = type_of(&node, &names).ok_or(Refusal::Unavailable("not_found"))?;
    unsuitable(queue_type).map_or(Ok(StatusCode::NO_CONTENT), |reason| Err(Refusal::Unavailable(reason)))
}

/// The last replica stays.
async fn remove(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(names): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let queue_type = type_of(&node, &names).ok_or(Refusal::NotFound)?;
    check_node(&node, &body)?;
    Err(Refusal::Unavailable(unsuitable(queue_type).unwrap_or("last_node")))
}

/// Everything that could be is on the node already.
async fn grow(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    body.fields()?.require(&["vhost_pattern", "queue_pattern", "strategy"])?;
    if name == node.name() {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::bad_request("Node is not a cluster member"))
}

/// Last replicas stay; nothing is taken from a node that is not there.
async fn shrink(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    if name == node.name() { Ok(StatusCode::ACCEPTED) } else { Err(Refusal::NotFound) }
}
