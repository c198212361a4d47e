//! Health checks, for load balancers and monitoring: 200 if all is well, else 503.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::caller::Caller;
use crate::node::{NODE_NAME, Node};

type Report = (StatusCode, Json<Value>);

/// Whether there is an alarm in the cluster, which is this node.
pub(super) async fn alarms(State(node): State<Arc<Node>>, _: Caller) -> Report {
    report(&node, "There are alarms in effect in the cluster")
}

pub(super) async fn local_alarms(State(node): State<Arc<Node>>, _: Caller) -> Report {
    report(&node, "There are alarms in effect on the node")
}

fn report(node: &Node, reason: &str) -> Report {
    let alarms = node.alarms.in_effect().iter();
    let alarms: Vec<_> = alarms.map(|a| json!({ "node": NODE_NAME, "resource": a.resource() })).collect();
    if alarms.is_empty() {
        return (StatusCode::OK, Json(json!({ "status": "ok" })));
    }
    let failed = json!({ "status": "failed", "reason": reason, "alarms": alarms });
    (StatusCode::SERVICE_UNAVAILABLE, Json(failed))
}
