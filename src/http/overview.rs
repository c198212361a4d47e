//! The node at a glance.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{EXPIRES, PRAGMA};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::caller::Caller;
use super::connections::visible;
use crate::broker::exchange::Kind;
use crate::node::{NODE_NAME, Node};

/// The Erlang/OTP of the RabbitMQ whose behaviour is followed. None is used here, but tools look for a version.
pub(super) const ERLANG_VERSION: &str = "29.1.2";

/// Everybody may know.
pub(super) async fn version(State(node): State<Arc<Node>>) -> Response {
    ([(PRAGMA, "no-cache"), (EXPIRES, "0")], Json(&*node.offer.version)).into_response()
}

/// What there is in the vhosts a caller may look into.
#[derive(Default)]
struct Totals {
    exchanges: usize,
    queues: usize,
    consumers: usize,
    ready: usize,
    unacknowledged: usize,
}

impl Totals {
    fn of(node: &Node, caller: &Caller) -> Self {
        let mut totals = Self::default();
        for vhost in caller.vhosts(node) {
            vhost.with(|vhost, _| {
                totals.exchanges += vhost.exchanges().count();
                totals.consumers += vhost.consumer_count();
                for queue in vhost.queues() {
                    totals.queues += 1;
                    totals.ready += queue.ready();
                    totals.unacknowledged += queue.unacked();
                }
            });
        }
        totals
    }
}

/// All types of exchanges there are.
pub(super) fn exchange_types() -> Vec<Value> {
    Kind::ALL.map(exchange_type).into()
}

fn exchange_type(kind: Kind) -> Value {
    let description = match kind {
        Kind::Direct | Kind::Fanout | Kind::Headers | Kind::Topic => {
            &*format!("AMQP {} exchange, as per the AMQP specification", kind.name())
        }
        Kind::ConsistentHash => "Consistent Hashing Exchange",
        Kind::ModulusHash => "Modulus Hashing Exchange",
        Kind::Random => "Randomly picks a binding (queue) to route via (to).",
        Kind::LocalRandom => "Picks one random local binding (queue) to route via (to).",
        Kind::Deduplication => "Message Deduplication Exchange.",
        Kind::Delayed => "Delayed Message Exchange.",
        Kind::RecentHistory => "Recent History Exchange.",
    };
    json!({ "name": kind.name(), "description": description, "enabled": true })
}

pub(super) async fn overview(State(node): State<Arc<Node>>, caller: Caller) -> Json<Value> {
    let totals = Totals::of(&node, &caller);
    let connections = visible(&node, &caller);
    let channels: usize = connections.iter().map(|connection| connection.channels()).sum();
    let mut overview = json!({
        "management_version": node.offer.version,
        "rabbitmq_version": node.offer.version,
        "product_name": "RabbitMQ",
        "product_version": node.offer.version,
        "cluster_name": node.cluster_name(),
        "cluster_tags": {},
        "node_tags": {},
        "erlang_version": ERLANG_VERSION,
        "rates_mode": "basic",
        "default_queue_type": node.default_queue_type.name(),
        "disable_stats": false,
        "enable_queue_totals": false,
        "exchange_types": exchange_types(),
        "message_stats": {},
        "queue_totals": {
            "messages": totals.ready + totals.unacknowledged,
            "messages_ready": totals.ready,
            "messages_unacknowledged": totals.unacknowledged,
        },
        "object_totals": {
            "channels": channels,
            "connections": connections.len(),
            "consumers": totals.consumers,
            "exchanges": totals.exchanges,
            "queues": totals.queues,
        },
    });
    if caller.monitors() {
        overview["node"] = NODE_NAME.into();
        overview["listeners"] = json!([]);
        overview["contexts"] = json!([]);
    }
    Json(overview)
}
