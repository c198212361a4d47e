//! Consumers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::broker::look::{Activity, ConsumerLook};
use crate::http::caller::Caller;
use crate::http::listing::{Listed, Listing};
use crate::http::refusal::Refusal;
use crate::http::resource::{Names, READ, resource};
use crate::http::stats::Wanted;
use crate::http::table;
use crate::node::Node;
use crate::node::cell::VhostCell;

pub(in crate::http) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/consumers", resource(READ, get(list)))
        .route("/api/consumers/{vhost}", resource(READ, get(list_of_vhost)))
}

/// A consumer of a vhost.
pub(in crate::http) struct Of {
    pub vhost: Arc<VhostCell>,
    pub consumer: ConsumerLook,
    pub node: Arc<str>,
}

impl Listed for Of {
    fn name(&self) -> Option<&str> {
        None
    }

    fn to_json(&self) -> Value {
        to_json(&self.consumer, &self.vhost.name, &self.node)
    }
}

pub(in crate::http) fn to_json(consumer: &ConsumerLook, vhost: &str, node: &str) -> Value {
    let ConsumerLook { queue, who, number, tag, no_ack, exclusive, prefetch, timeout, .. } = consumer;
    json!({
        "arguments": table::to_json(&consumer.arguments),
        "ack_required": !no_ack,
        "active": consumer.activity != Activity::Waiting,
        "activity_status": consumer.activity.name(),
        "channel_details": {
            "connection_name": &*who.name,
            "name": format!("{} ({number})", who.name),
            "node": node,
            "number": number,
            "peer_host": &*who.host,
            "peer_port": who.port,
            "user": &*who.user,
        },
        "consumer_tag": String::from_utf8_lossy(tag),
        "consumer_timeout": timeout,
        "exclusive": exclusive,
        "prefetch_count": prefetch,
        "queue": { "name": &**queue, "vhost": vhost },
    })
}

/// The consumers of some vhosts that a caller may see: of their own connections, or all of them.
fn seen(caller: &Caller, vhosts: Vec<Arc<VhostCell>>, node: &Arc<str>) -> Vec<Of> {
    let mut found = Vec::new();
    for vhost in vhosts {
        let mut consumers = vhost.look_at_consumers();
        consumers.retain(|consumer| caller.monitors() || consumer.who.user == caller.user.name);
        let of = |consumer| Of { vhost: Arc::clone(&vhost), consumer, node: Arc::clone(node) };
        found.extend(consumers.into_iter().map(of));
    }
    found
}

fn check(wanted: &Wanted) -> Result<(), Refusal> {
    if wanted.nothing() {
        Err(Refusal::bad_request("Stats in management UI are disabled on this node"))
    } else {
        Ok(())
    }
}

async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    check(&wanted)?;
    let vhosts = if caller.monitors() { node.vhosts() } else { caller.vhosts(&node) };
    listing.plain(seen(&caller, vhosts, &wanted.node)).await
}

async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    check(&wanted)?;
    let vhost = if caller.monitors() {
        node.vhost(&vhost).ok_or(Refusal::NotFound)?
    } else {
        caller.vhost(&node, &vhost)?
    };
    listing.plain(seen(&caller, vec![vhost], &wanted.node)).await
}
