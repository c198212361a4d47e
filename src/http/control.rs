//! What only the control socket serves, under `/ctl/`: it concerns the process and not what is in it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::body::{Body, Fields};
use super::refusal::Refusal;
use super::resource::Names;
use crate::node::alarms::Alarm;
use crate::node::control::Doors;
use crate::node::{Node, memory};

pub(super) fn routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/ctl/status", get(status))
        .route("/ctl/doors/{state}", put(set_doors))
        .route("/ctl/alarms/{resource}", put(raise).delete(clear))
        .route("/ctl/authenticate", post(authenticate))
        .route("/ctl/limits/memory", put(limit_memory))
        .route("/ctl/limits/disk", put(limit_disk))
        .route("/ctl/limits/channels/{count}", put(limit_channels))
        .route("/ctl/log-level/{level}", put(log_from))
        .route("/ctl/end", post(end))
        .route("/ctl/reset", post(reset))
        .with_state(node)
}

/// How long clients have to agree to the end of their connections before the caller is told that it is done.
const ANSWER: Duration = Duration::from_secs(1);
/// How long closing and opening may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the process is and has.
async fn status(State(node): State<Arc<Node>>) -> Json<Value> {
    let alarms: Vec<_> = node.alarms.in_effect().iter().map(Alarm::resource).collect();
    let certified = node.listeners.certificates();
    let listeners = node.listeners.all().into_iter().map(|listener| {
        let used = certified.iter().find(|(other, _)| *other == listener).map(|(_, used)| used);
        json!({
            "protocol": listener.protocol,
            "interface": listener.ip.to_string(),
            "port": listener.port,
            "tls": listener.tls,
            "certificates": used.map(|used| json!({ "certfile": shown(&used.certfile), "cacertfile": shown(&used.cacertfile) })),
        })
    });
    Json(json!({
        "node": node.name(),
        "pid": std::process::id(),
        "uptime": node.control.since.elapsed().as_secs(),
        "doors": doors_name(node.control.doors()),
        "version": node.offer.version,
        "leveret_version": env!("CARGO_PKG_VERSION"),
        "alarms": alarms,
        "vhosts": node.vhosts().len(),
        "data_directory": node.process.folder(),
        "memory": memory::used(),
        "memory_available": memory::available(),
        "message_memory": node.budget().resident(),
        "listeners": listeners.collect::<Vec<_>>(),
    }))
}

/// A file that is named, in Unicode as far as that goes.
fn shown(file: &Option<PathBuf>) -> Option<Cow<'_, str>> {
    file.as_ref().map(|file| file.to_string_lossy())
}

const DOORS: [(&str, Doors); 4] = [
    ("open", Doors::Open),
    ("suspended", Doors::Suspended),
    ("drained", Doors::Drained),
    ("closed", Doors::Closed),
];

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
    if matches!(doors, Doors::Closed | Doors::Drained) {
        // Clients have been told; those that do not answer are dropped in time.
        if timeout(ANSWER, node.connections.none_left()).await.is_err() {
            tracing::info!("some clients have not agreed to the end of their connections yet");
        }
    }
    let settled = timeout(PATIENCE, node.control.settled()).await;
    settled.map_err(|_| Refusal::Precondition("some ports are not free".to_owned()))?;
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

/// A limit in octets, or as a share of the memory there is.
fn limit(fields: &Fields) -> Result<u64, Refusal> {
    let octets = fields.get("octets").and_then(Value::as_u64);
    let share = fields.get("share").and_then(Value::as_f64).filter(|share| *share >= 0.0);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let of_memory = share.and_then(|share| memory::available().map(|all| (all as f64 * share) as u64));
    octets.or(of_memory).ok_or_else(|| Refusal::bad_request("octets or a share of the memory are needed"))
}

/// From which use of memory on publishers are blocked. With 0 they always are.
async fn limit_memory(State(node): State<Arc<Node>>, body: Body) -> Result<StatusCode, Refusal> {
    node.limit_memory(limit(&body.fields()?)?.max(1)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// How much of the disk has to be free.
async fn limit_disk(State(node): State<Arc<Node>>, body: Body) -> Result<StatusCode, Refusal> {
    node.limit_disk_free(limit(&body.fields()?)?).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn limit_channels(State(node): State<Arc<Node>>, Names(count): Names<u16>) -> StatusCode {
    node.control.set_channel_max(count);
    StatusCode::NO_CONTENT
}

async fn log_from(State(node): State<Arc<Node>>, Names(level): Names<String>) -> StatusCode {
    node.control.log_from(&level);
    StatusCode::NO_CONTENT
}

/// Removes all there is.
async fn reset(State(node): State<Arc<Node>>) -> Result<StatusCode, Refusal> {
    tracing::info!("asked over the control socket: everything is removed");
    super::reset::all(node).await
}

/// Asks the node to end. It answers first.
async fn end(State(node): State<Arc<Node>>) -> Json<Value> {
    tracing::info!("asked over the control socket to end");
    node.control.end();
    Json(json!({ "pid": std::process::id() }))
}
