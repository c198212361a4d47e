//! What only the control socket serves, under `/ctl/`: it concerns the process and not what is in it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::body::Body;
use super::refusal::Refusal;
use super::resource::Names;
use crate::node::alarms::Alarm;
use crate::node::control::Doors;
use crate::node::{NODE_NAME, Node, memory};

pub(super) fn routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/ctl/status", get(status))
        .route("/ctl/doors/{state}", put(set_doors))
        .route("/ctl/alarms/{resource}", put(raise).delete(clear))
        .route("/ctl/authenticate", post(authenticate))
        .route("/ctl/end", post(end))
        .with_state(node)
}

/// What the process is and has.
async fn status(State(node): State<Arc<Node>>) -> Json<Value> {
    let alarms: Vec<_> = node.alarms.in_effect().iter().map(Alarm::resource).collect();
    let listeners = node.listeners.all().into_iter().map(|listener| {
        json!({
            "protocol": listener.protocol,
            "interface": listener.ip.to_string(),
            "port": listener.port,
            "tls": listener.tls,
        })
    });
    Json(json!({
        "node": NODE_NAME,
        "pid": std::process::id(),
        "uptime": node.control.since.elapsed().as_secs(),
        "doors": doors_name(node.control.doors()),
        "version": node.offer.version,
        "leveret_version": env!("CARGO_PKG_VERSION"),
        "alarms": alarms,
        "memory": memory::used(),
        "memory_available": memory::available(),
        "message_memory": node.budget().resident(),
        "listeners": listeners.collect::<Vec<_>>(),
    }))
}

const DOORS: [(&str, Doors); 3] =
    [("open", Doors::Open), ("suspended", Doors::Suspended), ("closed", Doors::Closed)];

fn doors_name(doors: Doors) -> &'static str {
    DOORS.iter().find(|(_, other)| *other == doors).map_or("", |(name, _)| name)
}

/// Opens and closes the node's ports. Closing them ends all connections.
async fn set_doors(
    State(node): State<Arc<Node>>,
    Names(state): Names<String>,
) -> Result<StatusCode, Refusal> {
    let (_, doors) = DOORS.iter().find(|(name, _)| *name == state).ok_or(Refusal::NotFound)?;
    if node.set_doors(*doors) {
        tracing::info!("asked over the control socket: ports are {state}");
    }
    if *doors == Doors::Closed {
        node.connections.none_left().await;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn alarm(resource: &str) -> Result<Alarm, Refusal> {
    match resource {
        "memory" => Ok(Alarm::Memory),
        "disk" => Ok(Alarm::Disk),
        _ => Err(Refusal::NotFound),
    }
}

async fn raise(State(node): State<Arc<Node>>, Names(resource): Names<String>) -> Result<StatusCode, Refusal> {
    node.alarms.insist_on(alarm(&resource)?, true);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear(State(node): State<Arc<Node>>, Names(resource): Names<String>) -> Result<StatusCode, Refusal> {
    node.alarms.insist_on(alarm(&resource)?, false);
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a name and a password would let somebody in from this machine.
async fn authenticate(State(node): State<Arc<Node>>, body: Body) -> Result<Json<Value>, Refusal> {
    let fields = body.fields()?;
    let name = fields.text("name")?.unwrap_or_default();
    let password = fields.text("password")?.unwrap_or_default();
    let refused = node.auth().login(name, password.as_bytes(), true).err();
    Ok(Json(json!({ "ok": refused.is_none(), "reason": refused.map(|refused| refused.to_string()) })))
}

/// Asks the node to end. It answers first.
async fn end(State(node): State<Arc<Node>>) -> Json<Value> {
    tracing::info!("asked over the control socket to end");
    node.control.end();
    Json(json!({ "pid": std::process::id() }))
}
