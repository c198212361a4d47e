//! Connections, as they are at this moment.

use std::sync::Arc;

use amq_protocol::types::AMQPValue;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::caller::Caller;
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::Names;
use super::table;
use crate::node::connections::ConnectionInfo;
use crate::node::ends::Secrecy;
use crate::node::{NODE_NAME, Node};
use crate::wire::reply::{Exception, ReplyCode};

fn to_json(node: &Node, connection: &ConnectionInfo) -> Value {
    let state = match (connection.is_blocked(), node.alarms.any()) {
        (true, _) => "blocked",
        (false, true) => "blocking",
        (false, false) => "running",
    };
    let mut value = json!({
        "name": &*connection.name,
        "node": NODE_NAME,
        "type": "network",
        "protocol": "AMQP 0-9-1",
        "state": state,
        "user": &*connection.user,
        "user_who_performed_action": &*connection.user,
        "vhost": &*connection.vhost,
        "auth_mechanism": connection.mechanism,
        "peer_host": connection.ends.peer.ip().to_canonical().to_string(),
        "peer_port": connection.ends.peer.port(),
        "host": connection.ends.local.ip().to_canonical().to_string(),
        "port": connection.ends.local.port(),
        "ssl": connection.ends.tls.is_some(),
        "connected_at": connection.connected_at,
        "channels": connection.channels(),
        "channel_max": connection.channel_max,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat,
        "client_properties": table::to_json(&connection.client_properties),
    });
    put_secrecy(&mut value, connection.ends.tls.as_deref());
    if let Some(AMQPValue::LongString(name)) = connection.client_properties.inner().get("connection_name") {
        value["user_provided_name"] = String::from_utf8_lossy(name.as_bytes()).into();
    }
    value
}

/// What is known from TLS: null without it.
fn put_secrecy(value: &mut Value, tls: Option<&Secrecy>) {
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    for (key, text) in [
        ("ssl_protocol", tls.map(|tls| tls.protocol)),
        ("ssl_key_exchange", tls.map(|tls| tls.key_exchange)),
        ("ssl_cipher", tls.map(|tls| tls.cipher)),
        ("ssl_hash", tls.map(|tls| tls.hash)),
        ("peer_cert_subject", certificate.map(|said| &*said.subject)),
        ("peer_cert_issuer", certificate.map(|said| &*said.issuer)),
        ("peer_cert_validity", certificate.map(|said| &*said.validity)),
        ("peer_cert_serial_number", certificate.map(|said| &*said.serial_number)),
    ] {
        value[key] = text.into();
    }
}

/// Those who monitor see all connections, others their own.
fn may_touch(caller: &Caller, user: &str) -> bool {
    caller.monitors() || *caller.user.name == *user
}

pub(super) fn check_may_touch(caller: &Caller, user: &str) -> Result<(), Refusal> {
    if may_touch(caller, user) {
        return Ok(());
    }
    Err(Refusal::NotAuthorised("User not authorised to access object"))
}

fn find(node: &Node, caller: &Caller, name: &str) -> Result<Arc<ConnectionInfo>, Refusal> {
    let connection = node.connections.get(name).ok_or(Refusal::NotFound)?;
    check_may_touch(caller, &connection.user)?;
    Ok(connection)
}

/// The connections a caller may see, by name.
pub(super) fn visible(node: &Node, caller: &Caller) -> Vec<Arc<ConnectionInfo>> {
    let mut all = node.connections.all();
    all.retain(|connection| may_touch(caller, &connection.user));
    all
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(visible(&node, &caller).iter().map(|connection| to_json(&node, connection)).collect()).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(to_json(&node, &*find(&node, &caller, &name)?)))
}

pub(super) async fn close(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(name): Names<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    find(&node, &caller, &name)?.close(reason(&headers));
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn list_of_user(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(user): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    check_may_touch(&caller, &user)?;
    let mut all = node.connections.all();
    all.retain(|connection| *connection.user == *user);
    let brief = all.iter().map(|connection| {
        json!({
            "name": &*connection.name,
            "node": NODE_NAME,
            "user": &*connection.user,
            "vhost": &*connection.vhost,
        })
    });
    listing.pages(brief.collect()).await
}

pub(super) async fn close_of_user(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(user): Names<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    check_may_touch(&caller, &user)?;
    node.connections.close_where(&reason(&headers), |connection| *connection.user == *user);
    Ok(StatusCode::NO_CONTENT)
}

/// What the client is told: the header `X-Reason`, or RabbitMQ's text.
fn reason(headers: &HeaderMap) -> Exception {
    let given = headers.get("x-reason").map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let text = given.unwrap_or_else(|| "Closed via management plugin".to_owned());
    Exception::new(ReplyCode::ConnectionForced, text)
}
