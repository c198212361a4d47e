//! Publishing a message.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::body::Body;
use super::caller::Caller;
use super::properties;
use super::refusal::Refusal;
use super::resource::{Names, exchange_name, resource};
use crate::broker::publish::Outcome;
use crate::node::{Node, now};
use crate::session::direct;
use crate::wire::content::{self, Message};
use crate::wire::reply::Exception;

/// Octets of a routing key (AMQP 0-9-1, short strings).
const KEY_MAX: usize = 255;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/exchanges/{vhost}/{exchange}/publish", resource("POST, OPTIONS", post(publish)))
}

/// Publishes, and says whether the message led anywhere, once it is where a confirm would say so.
async fn publish(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, exchange)): Names<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let exchange = exchange_name(&exchange);
    let missing = || Refusal::Missing("exchange_not_found".to_owned());
    cell.with_vhost(|vhost| vhost.exchange(exchange.as_bytes()).map(drop)).ok_or_else(missing)?;
    let fields = body.fields()?;
    fields.require(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let routing_key = fields.text("routing_key")?.ok_or_else(|| Refusal::bad_request("not_string"))?;
    if routing_key.len() > KEY_MAX {
        return Err(Refusal::bad_request(format!("routing_key should be less than {KEY_MAX} bytes")));
    }
    let body = payload(fields.get("payload"), fields.get("payload_encoding"))?;
    let properties = properties::from_json(fields.get("properties").unwrap_or(&Value::Null))?;
    let properties = node.offer.stamps.on(properties.into(), now(), node.name());
    if node.alarms.any() {
        return Err(Refusal::Unavailable("resource_alarm"));
    }
    let message = Message {
        exchange: exchange.as_bytes(),
        routing_key: routing_key.as_bytes(),
        properties: &properties,
        body: content::Body::Shared(&body),
    };
    let auth = node.auth();
    let size_max = node.offer.message_size_max;
    let published = cell
        .with(|vhost, outboxes| direct::publish((vhost, outboxes), (&auth, &caller.user), &message, size_max))
        .map_err(|exception| Refusal::bad_request(numbered(&exception)))?;
    match published.outcome {
        Outcome::Refused => {
            return Err(Refusal::bad_request("rejected Unable to publish message. Check queue limits."));
        }
        Outcome::Kept(commit) => cell.committed(commit).await?,
        Outcome::Done => {}
    }
    Ok(Json(json!({ "routed": published.routed })))
}

/// What a client over AMQP is told, with the code in front.
pub(super) fn numbered(exception: &Exception) -> String {
    format!("{} {}", exception.code.number(), String::from_utf8_lossy(&exception.reply_text()))
}

fn payload(payload: Option<&Value>, encoding: Option<&Value>) -> Result<Bytes, Refusal> {
    let Some(Value::String(text)) = payload else { return Err(Refusal::bad_request("payload_not_string")) };
    match encoding.and_then(Value::as_str) {
        Some("string") => Ok(text.clone().into()),
        Some("base64") => match STANDARD.decode(text.split_ascii_whitespace().collect::<String>()) {
            Ok(octets) => Ok(octets.into()),
            Err(_) => Err(Refusal::bad_request(json!(["not_base64", text]))),
        },
        _ => Err(Refusal::bad_request(json!(["unsupported_encoding", encoding]))),
    }
}
