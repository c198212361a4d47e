//! Making a node new again between tests, in one call. RabbitMQ has nothing like it over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;

use super::caller::Administrator;
use super::refusal::Refusal;
use super::resource::resource;
use super::room::aside;
use crate::node::Node;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/reset-node", resource("POST, OPTIONS", post(reset)))
}

/// Replies when everything is gone, on disk too.
async fn reset(State(node): State<Arc<Node>>, _: Administrator) -> Result<StatusCode, Refusal> {
    all(node).await
}

/// The same for whoever may do it.
pub(super) async fn all(node: Arc<Node>) -> Result<StatusCode, Refusal> {
    let resetting = Arc::clone(&node);
    let done = aside(move || resetting.reset()).await?;
    done.map_err(|e| Refusal::bad_request(e.to_string()))?;
    node.until_reset().await;
    node.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}
