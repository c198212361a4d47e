//! Health checks, for load balancers and monitoring: 200 if all is well, else 503.
//!
//! What looks at a cluster's members looks at this node, which is all of them. Some need no login, as in RabbitMQ.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{EXPIRES, PRAGMA};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::caller::Caller;
use super::refusal::Refusal;
use super::resource::{Names, READ, resource};
use crate::node::Node;
use crate::node::alarms::Alarm;
use crate::node::control::Doors;

type Report = (StatusCode, Json<Value>);

pub(super) fn routes() -> Router<Arc<Node>> {
    let check = |methods: MethodRouter<Arc<Node>>| resource(READ, methods);
    Router::new()
        .route("/api/health/checks/alarms", check(get(alarms)))
        .route("/api/health/checks/local-alarms", check(get(local_alarms)))
        .route("/api/health/checks/metadata-store/initialized", check(get(well)))
        .route("/api/health/checks/metadata-store/initialized/with-data", check(get(with_data)))
        .route(
            "/api/health/checks/certificate-expiration/{within}/{unit}",
            check(get(super::certificates::expiration)),
        )
        .route("/api/health/checks/port-listener/{port}", check(get(port_listener)))
        .route("/api/health/checks/protocol-listener/{protocols}", check(get(protocol_listener)))
        .route("/api/health/checks/virtual-hosts", check(get(well)))
        .route("/api/health/checks/node-is-quorum-critical", check(get(quorum_critical)))
        .route("/api/health/checks/is-in-service", check(get(is_in_service)))
        .route("/api/health/checks/below-node-connection-limit", check(get(below_connection_limit)))
        .route("/api/health/checks/ready-to-serve-clients", check(get(ready_to_serve)))
        .route("/api/health/checks/reached-target-cluster-size", check(get(target_size)))
        .route("/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts", check(get(well)))
        .route(
            "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
            check(get(well)),
        )
        .route("/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", check(get(leaders)))
        .route(
            "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
            check(get(leaders_of_some)),
        )
        .route("/api/aliveness-test/{vhost}", check(get(aliveness)))
        .route("/api/healthchecks/node", check(get(node_check)))
        .route("/api/healthchecks/node/{node}", check(get(named_node_check)))
}

fn ok() -> Report {
    (StatusCode::OK, Json(json!({ "status": "ok" })))
}

pub(super) fn failed(report: Value) -> Report {
    let mut report = report;
    report["status"] = "failed".into();
    (StatusCode::SERVICE_UNAVAILABLE, Json(report))
}

/// What cannot fail while there is an answer: a node serves once its definitions are there and its vhosts are up, and
/// a queue on it has its leader on it.
async fn well(_: Caller) -> Report {
    ok()
}

/// Whether there is an alarm in the cluster.
async fn alarms(State(node): State<Arc<Node>>, _: Caller, headers: HeaderMap) -> Result<Report, Refusal> {
    check_timeout(&headers)?;
    Ok(report(&node, "There are alarms in effect in the cluster"))
}

async fn local_alarms(
    State(node): State<Arc<Node>>,
    _: Caller,
    headers: HeaderMap,
) -> Result<Report, Refusal> {
    check_timeout(&headers)?;
    Ok(report(&node, "There are alarms in effect on the node"))
}

/// Nothing here takes long; a time-out still has to be a number of milliseconds.
fn check_timeout(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get("timeout").map(|value| value.to_str().ok().and_then(|text| text.parse::<u32>().ok())) {
        Some(None) => Err(Refusal::bad_request("Invalid timeout parameter")),
        _ => Ok(()),
    }
}

fn report(node: &Node, reason: &str) -> Report {
    let alarms = node.alarms.in_effect().iter();
    let alarms: Vec<_> = alarms.map(|a| json!({ "node": node.name(), "resource": a.resource() })).collect();
    if alarms.is_empty() { ok() } else { failed(json!({ "reason": reason, "alarms": alarms })) }
}

async fn with_data(State(node): State<Arc<Node>>, _: Caller) -> Report {
    if !node.vhosts().is_empty() {
        return ok();
    }
    let reason = "Metadata store has not yet been initialized: it reports to have no virtual hosts";
    failed(json!({ "reason": reason }))
}

async fn port_listener(
    State(node): State<Arc<Node>>,
    _: Caller,
    Names(port): Names<String>,
) -> Result<Report, Refusal> {
    let port: i64 = port.parse().map_err(|_| Refusal::bad_request("Invalid port"))?;
    let ports: Vec<_> = node.listeners.all().iter().map(|listener| listener.port).collect();
    if ports.iter().any(|open| i64::from(*open) == port) {
        return Ok((StatusCode::OK, Json(json!({ "status": "ok", "port": port }))));
    }
    Ok(failed(json!({ "reason": "No active listener", "missing": port, "ports": ports })))
}

async fn protocol_listener(
    State(node): State<Arc<Node>>,
    _: Caller,
    Names(protocols): Names<String>,
) -> Report {
    let active: BTreeSet<_> =
        node.listeners.all().iter().map(|listener| listener.protocol.to_owned()).collect();
    let wanted: BTreeSet<_> = protocols.split(',').map(protocol).collect();
    let missing: Vec<_> = wanted.difference(&active).collect();
    if missing.is_empty() {
        return (StatusCode::OK, Json(json!({ "status": "ok", "protocols": active })));
    }
    failed(json!({ "reason": "No active listener", "missing": missing, "protocols": active }))
}

/// The protocol that goes by a name.
fn protocol(name: &str) -> String {
    let name = name.to_lowercase();
    let plain = match &*name {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp0_9_1" | "amqp10" | "amqp1.0" | "amqp1-0"
        | "amqp1_0" => "amqp",
        "amqps" => "amqp/ssl",
        "mqtt3.1" | "mqtt3.1.1" | "mqtt31" | "mqtt311" | "mqtt3_1" | "mqtt3_1_1" => "mqtt",
        "mqtts" | "mqtt+tls" | "mqtt+ssl" => "mqtt/ssl",
        "stomp1.0" | "stomp1.1" | "stomp1.2" | "stomp10" | "stomp11" | "stomp12" | "stomp1_0"
        | "stomp1_1" | "stomp1_2" => "stomp",
        "stomps" | "stomp+tls" | "stomp+ssl" => "stomp/ssl",
        "http1" | "http1.1" | "http_api" | "management" | "management_ui" | "ui" => "http",
        "cli" | "distribution" => "clustering",
        "cli/ssl" | "cli/tls" | "distribution/ssl" | "distribution/tls" => "clustering/ssl",
        other => return web(other).unwrap_or(name),
    };
    plain.to_owned()
}

/// The protocols over WebSockets, by all their names.
fn web(name: &str) -> Option<String> {
    let rest = name.strip_prefix("web")?.trim_start_matches(['-', '_']);
    let of = ["mqtt", "stomp"].into_iter().find(|of| rest.starts_with(of))?;
    match &rest[of.len()..] {
        "" => Some(format!("http/web-{of}")),
        "/tls" | "/ssl" | "+tls" | "+ssl" => Some(format!("https/web-{of}")),
        _ => None,
    }
}

async fn quorum_critical(_: Caller) -> Report {
    (StatusCode::OK, Json(json!({ "status": "ok", "reason": "single node cluster" })))
}

/// Nobody may remember this.
fn at_once(report: Report) -> Response {
    ([(PRAGMA, "no-cache"), (EXPIRES, "0")], report).into_response()
}

fn in_service(node: &Node) -> bool {
    node.control.doors() == Doors::Open && !*node.going_down().borrow()
}

async fn is_in_service(State(node): State<Arc<Node>>) -> Response {
    let reason = "this rabbit node is not currently available to serve";
    at_once(if in_service(&node) { ok() } else { failed(json!({ "reason": reason })) })
}

async fn below_connection_limit(State(node): State<Arc<Node>>) -> Response {
    let (_, reached) = node.connection_count();
    let reason = "node connection limit is reached";
    at_once(if reached { failed(json!({ "reason": reason })) } else { ok() })
}

async fn ready_to_serve(State(node): State<Arc<Node>>) -> Response {
    let (connections, reached) = node.connection_count();
    let listens =
        node.listeners.all().iter().any(|listener| ["amqp", "amqp/ssl"].contains(&listener.protocol));
    at_once(if !in_service(&node) {
        failed(json!({ "reason": "the rabbit node is not currently available to serve" }))
    } else if !listens {
        failed(json!({ "reason": "no active listeners for AMQP/AMQPS" }))
    } else if reached {
        failed(json!({ "reason": "node connection limit is reached", "connections": connections }))
    } else {
        ok()
    })
}

/// The cluster's one node is there.
async fn target_size() -> Response {
    at_once(ok())
}

/// A vhost that is not there has no queue without a leader.
async fn leaders(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(vhost): Names<String>,
) -> Result<Report, Refusal> {
    if node.vhost(&vhost).is_some() && !caller.monitors() {
        caller.vhost(&node, &vhost)?;
    }
    Ok(ok())
}

async fn leaders_of_some(
    node: State<Arc<Node>>,
    caller: Caller,
    Names((vhost, _)): Names<(String, String)>,
) -> Result<Report, Refusal> {
    leaders(node, caller, Names(vhost)).await
}

/// Whether the caller could open a channel in a vhost.
async fn aliveness(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(vhost): Names<String>,
) -> Result<Report, Refusal> {
    caller.vhost(&node, &vhost)?;
    if caller.may_enter(&vhost) { Ok(ok()) } else { Err(Refusal::access_refused()) }
}

async fn node_check(State(node): State<Arc<Node>>, _: Caller, headers: HeaderMap) -> Result<Report, Refusal> {
    check_timeout(&headers)?;
    let alarms: Vec<_> = node.alarms.in_effect().iter().map(Alarm::name).collect();
    if alarms.is_empty() {
        return Ok(ok());
    }
    Ok(failed(json!({ "reason": format!("resource alarm(s) in effect:[{}]", alarms.join(",")) })))
}

async fn named_node_check(
    node: State<Arc<Node>>,
    caller: Caller,
    Names(name): Names<String>,
    headers: HeaderMap,
) -> Result<Report, Refusal> {
    if name != node.name() {
        return Err(Refusal::NotFound);
    }
    node_check(node, caller, headers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_by_their_names() {
        for (names, expected) in [
            ("amqp AMQP091 amqp1.0", "amqp"),
            ("amqps amqp/ssl", "amqp/ssl"),
            ("mqtt mqtt3.1.1", "mqtt"),
            ("stomp+tls", "stomp/ssl"),
            ("http management ui", "http"),
            ("https", "https"),
            ("http/prometheus", "http/prometheus"),
            ("webmqtt web-mqtt web_mqtt", "http/web-mqtt"),
            ("web-stomp/tls webstomp+ssl", "https/web-stomp"),
            ("webx", "webx"),
            ("stream", "stream"),
        ] {
            for name in names.split(' ') {
                assert_eq!(protocol(name), expected, "{name}");
            }
        }
    }
}
