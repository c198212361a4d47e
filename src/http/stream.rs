//! Who uses the stream protocol: nobody here, which is told in the words of RabbitMQ's plugin.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::{Names, READ, resource};
use crate::broker::queue::Queue;
use crate::broker::queue::arguments::QueueType;
use crate::broker::stream::Numbers;
use crate::node::Node;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/stream/connections", resource(READ, get(no_connections)))
        .route("/api/stream/connections/{vhost}", resource(READ, get(nobody_in_vhost)))
        .route("/api/stream/connections/{vhost}/{connection}", resource(READ, get(not_there)))
        .route("/api/stream/connections/{vhost}/{connection}/consumers", resource(READ, get(not_there)))
        .route("/api/stream/connections/{vhost}/{connection}/publishers", resource(READ, get(not_there)))
        .route("/api/stream/publishers", resource(READ, get(nobody)))
        .route("/api/stream/publishers/{vhost}", resource(READ, get(nobody_in_vhost)))
        .route("/api/stream/publishers/{vhost}/{queue}", resource(READ, get(nobody_of_queue)))
        .route("/api/stream/consumers", resource(READ, get(nobody)))
        .route("/api/stream/consumers/{vhost}", resource(READ, get(nobody_in_vhost)))
        .route("/api/stream/{vhost}/{queue}/tracking", resource(READ, get(tracking)))
}

async fn no_connections(_: Caller, listing: Listing) -> Result<Response, Refusal> {
    listing.pages(Vec::<Value>::new()).await
}

async fn nobody(_: Caller, listing: Listing) -> Result<Response, Refusal> {
    listing.plain(Vec::<Value>::new()).await
}

async fn nobody_in_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    caller.vhost(&node, &vhost)?;
    nobody(caller, listing).await
}

async fn not_there(_: Caller) -> Refusal {
    Refusal::NotFound
}

/// The type of a queue that the caller may look at.
fn queue_type(node: &Node, caller: &Caller, vhost: &str, queue: &str) -> Result<QueueType, Refusal> {
    let cell = caller.vhost(node, vhost)?;
    let found = cell.with_vhost(|vhost| vhost.queue(queue.as_bytes()).map(|queue| queue.settings.queue_type));
    found.ok_or(Refusal::NotFound)
}

async fn nobody_of_queue(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
    listing: Listing,
) -> Result<Response, Refusal> {
    match queue_type(&node, &caller, &vhost, &queue)? {
        QueueType::Stream => nobody(caller, listing).await,
        _ => Err(Refusal::NotFound),
    }
}

/// What a stream remembers of those who publish with numbers, and of those who read: over AMQP, which RabbitMQ does not do.
async fn tracking(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
) -> Result<Response, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let marks = cell.with_vhost(|vhost| vhost.queue(queue.as_bytes()).map(Queue::stream_marks));
    if let Some((offsets, writers)) = marks.ok_or(Refusal::NotFound)? {
        return Ok(Json(json!({ "offsets": object(offsets), "writers": object(writers) })).into_response());
    }
    let why = json!({ "error": "service_unavailable", "reason": "The stream leader is not available" });
    Ok((StatusCode::SERVICE_UNAVAILABLE, Json(why)).into_response())
}

fn object(all: Numbers) -> Map<String, Value> {
    all.into_iter().map(|(name, number)| (name.to_string(), number.into())).collect()
}
