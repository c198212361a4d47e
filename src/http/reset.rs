//! Making a node new again between tests, in one call. RabbitMQ has nothing like it over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::task::spawn_blocking;

use super::caller::Administrator;
use super::refusal::Refusal;
use super::resource::resource;
use crate::node::Node;
use crate::node::changes::NotKept;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/reset-node", resource("POST, OPTIONS", post(reset)))
}

/// Replies when everything is gone, on disk too.
async fn reset(State(node): State<Arc<Node>>, _: Administrator) -> Result<StatusCode, Refusal> {
    let resetting = Arc::clone(&node);
    // It fails only when the node is going down.
    let done = spawn_blocking(move || resetting.reset()).await.map_err(|_| Refusal::NotKept(NotKept))?;
    done.map_err(|e| Refusal::bad_request(e.to_string()))?;
    node.until_reset().await;
    node.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}
