//! Connections, as they are at this moment.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::types::AMQPValue;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::caller::Caller;
use super::listing::{Listed, Listing};
use super::refusal::Refusal;
use super::resource::{Names, READ, resource};
use super::stats::channels::nothing_collected;
use super::stats::{Past, Wanted, fields};
use super::table;
use crate::node::Node;
use crate::node::connections::ConnectionInfo;
use crate::node::ends::Secrecy;
use crate::node::samples::OCTETS;
use crate::wire::reply::{Exception, ReplyCode};

/// How long a request to close a connection waits for its end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// The routes of vhosts' connections; the others are where connections are closed.
pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/vhosts/{vhost}/connections", resource(READ, get(list_of_vhost)))
}

/// One of a list.
struct Of {
    node: Arc<Node>,
    connection: Arc<ConnectionInfo>,
    wanted: Wanted,
}

impl Listed for Of {
    fn name(&self) -> Option<&str> {
        Some(&self.connection.name)
    }

    fn to_json(&self) -> Value {
        to_json(&self.node, &self.connection, &self.wanted)
    }
}

fn to_json(node: &Node, connection: &ConnectionInfo, wanted: &Wanted) -> Value {
    let mut shown = definition(connection, &wanted.node);
    if !wanted.nothing() {
        put_stats(&mut shown, node, connection, wanted);
    }
    shown.into()
}

/// What it does.
fn put_stats(shown: &mut Map<String, Value>, node: &Node, connection: &ConnectionInfo, wanted: &Wanted) {
    let state = match (connection.is_blocked(), node.alarms.any()) {
        (true, _) => "blocked",
        (false, true) => "blocking",
        (false, false) => "running",
    };
    let carried = connection.traffic.carried();
    shown.extend(fields(json!({
        "channels": connection.channels(),
        "garbage_collection": nothing_collected(),
        "recv_cnt": carried.reads,
        "reductions": 0,
        "reductions_details": wanted.steady(wanted.octets, 0),
        "send_cnt": carried.writes,
        "send_pend": connection.traffic.pending(),
        "state": state,
    })));
    let samples = connection.samples.lock();
    let series = samples.as_ref().map(|samples| &samples.own);
    let now = [carried.received, carried.sent];
    Past::new(series, wanted.last, wanted.octets).put(shown, 0, &OCTETS, &now);
}

fn definition(connection: &ConnectionInfo, node: &str) -> Map<String, Value> {
    let mut value = json!({
        "name": &*connection.name,
        "node": node,
        "type": "network",
        "protocol": "AMQP 0-9-1",
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
        "channel_max": connection.channel_max,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat,
        "client_properties": table::to_json(&connection.client_properties),
    });
    put_secrecy(&mut value, connection.ends.tls.as_deref());
    if let Some(AMQPValue::LongString(name)) = connection.client_properties.inner().get("connection_name") {
        value["user_provided_name"] = String::from_utf8_lossy(name.as_bytes()).into();
    }
    fields(value)
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

/// Looking is one thing, closing another: those who monitor may not close what is others'.
fn check_may_close(caller: &Caller, user: &str) -> Result<(), Refusal> {
    if caller.is_administrator() || *caller.user.name == *user {
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
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    let found = visible(&node, &caller).into_iter();
    let found = found.map(|connection| Of { node: Arc::clone(&node), connection, wanted: wanted.clone() });
    listing.pages(found.collect()).await
}

async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    caller.vhost(&node, &vhost)?;
    let found = visible(&node, &caller).into_iter().filter(|connection| *connection.vhost == *vhost);
    let found = found.map(|connection| Of { node: Arc::clone(&node), connection, wanted: wanted.clone() });
    listing.pages(found.collect()).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    let mut shown = to_json(&node, &*find(&node, &caller, &name)?, &wanted);
    // Alone it has empty texts where there is none among others, as in RabbitMQ.
    for (name, value) in shown.as_object_mut().into_iter().flatten() {
        if value.is_null() && (name.starts_with("ssl_") || name.starts_with("peer_cert_")) {
            *value = "".into();
        }
    }
    Ok(Json(shown))
}

/// Only AMQP 1.0 has sessions.
pub(super) async fn sessions(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    find(&node, &caller, &name)?;
    Err(Refusal::bad_request("connection does not use AMQP 1.0"))
}

pub(super) async fn close(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(name): Names<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let found = node.connections.named(&name);
    let connection = found.first().ok_or(Refusal::NotFound)?;
    check_may_close(&caller, &connection.user)?;
    let found: Vec<_> = found.iter().filter(|found| check_may_close(&caller, &found.user).is_ok()).collect();
    found.iter().for_each(|connection| connection.close(reason(&headers)));
    // Once it is answered the connection is not listed any more, unless its client does not react.
    let all_gone = async {
        for connection in found {
            node.connections.gone(connection).await;
        }
    };
    let _ = timeout(CLOSE_PATIENCE, all_gone).await;
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
            "node": node.name(),
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
    check_may_close(&caller, &user)?;
    node.connections.close_where(&reason(&headers), |connection| *connection.user == *user);
    Ok(StatusCode::NO_CONTENT)
}

/// What the client is told: the header `X-Reason`, or RabbitMQ's text.
fn reason(headers: &HeaderMap) -> Exception {
    let given = headers.get("x-reason").map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let text = given.unwrap_or_else(|| "Closed via management plugin".to_owned());
    Exception::new(ReplyCode::ConnectionForced, text)
}
