//! Exchanges, to look at.

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::caller::Caller;
use super::listing::{Listed, Listing};
use super::refusal::Refusal;
use super::resource::{Names, exchange_name};
use super::table;
use crate::broker::exchange::{Exchange, Kind};
use crate::broker::policy::Policy;
use crate::broker::{Name, Vhost};
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
    duplicates: Option<u64>,
    /// How many messages wait there, if it delays any.
    delayed: Option<usize>,
    policy: Option<Arc<Policy>>,
}

impl Seen {
    fn new(vhost: &Vhost, exchange: &Exchange) -> Self {
        Self {
            name: Arc::clone(&exchange.name),
            kind: exchange.kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
            duplicates: exchange.duplicates(),
            delayed: vhost.delayed(exchange.name.as_bytes()),
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
        if let Some(dropped) = self.duplicates {
            json["duplicates_dropped"] = dropped.into();
        }
        if let Some(delayed) = self.delayed {
            json["messages_delayed"] = delayed.into();
        }
        if let Some(policy) = &self.policy {
            json["policy"] = (*policy.name).into();
        }
        json
    }
}

/// All exchanges of a vhost, by name.
fn all(vhost: &VhostCell) -> Vec<Of> {
    let mut seen: Vec<_> =
        vhost.with(|vhost, _| vhost.exchanges().map(|exchange| Seen::new(vhost, exchange)).collect());
    seen.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    seen.into_iter().map(|seen| Of { vhost: Arc::clone(&vhost.name), seen }).collect()
}

/// One of a list.
struct Of {
    vhost: Arc<str>,
    seen: Seen,
}

impl Listed for Of {
    fn name(&self) -> Option<&str> {
        Some(&self.seen.name)
    }

    fn to_json(&self) -> Value {
        self.seen.to_json(&self.vhost)
    }
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(caller.vhosts(&node).iter().flat_map(|vhost| all(vhost)).collect()).await
}

pub(super) async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(all(&*caller.vhost(&node, &vhost)?)).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let name = exchange_name(&name);
    let seen = cell.with(|vhost, _| vhost.exchange(name.as_bytes()).map(|found| Seen::new(vhost, found)));
    seen.map(|exchange| Json(exchange.to_json(&vhost))).ok_or(Refusal::NotFound)
}
