//! Exchanges, to look at.

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::caller::Caller;
use super::refusal::Refusal;
use super::resource::Names;
use super::table;
use crate::broker::Name;
use crate::broker::exchange::{Exchange, Kind};
use crate::broker::policy::Policy;
use crate::node::Node;
use crate::node::cell::VhostCell;

/// What is shown of an exchange, copied so that the vhost is free while JSON is made of it.
struct Seen {
    name: Name,
    kind: Kind,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: FieldTable,
    policy: Option<Arc<Policy>>,
}

impl Seen {
    fn new(exchange: &Exchange) -> Self {
        Self {
            name: Arc::clone(&exchange.name),
            kind: exchange.kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
            policy: exchange.policy.clone(),
        }
    }

    fn to_json(&self, vhost: &str) -> Value {
        let mut json = json!({
            "name": &*self.name,
            "vhost": vhost,
            "type": self.kind.name(),
            "durable": self.durable,
            "auto_delete": self.auto_delete,
            "internal": self.internal,
            "arguments": table::to_json(&self.arguments),
        });
        if let Some(policy) = &self.policy {
            json["policy"] = (*policy.name).into();
        }
        json
    }
}

/// All exchanges of a vhost, by name.
fn all(vhost: &VhostCell) -> Vec<Value> {
    let mut seen: Vec<_> = vhost.with(|vhost, _| vhost.exchanges().map(Seen::new).collect());
    seen.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    seen.iter().map(|exchange| exchange.to_json(&vhost.name)).collect()
}

pub(super) async fn list(State(node): State<Arc<Node>>, caller: Caller) -> Json<Value> {
    Json(caller.vhosts(&node).iter().flat_map(|vhost| all(vhost)).collect())
}

pub(super) async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(vhost): Names<String>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(all(&*caller.vhost(&node, &vhost)?).into()))
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let seen = cell.with(|vhost, _| vhost.exchange(name.as_bytes()).map(Seen::new));
    seen.map(|exchange| Json(exchange.to_json(&vhost))).ok_or(Refusal::NotFound)
}
