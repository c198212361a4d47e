//! The node at a glance.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{EXPIRES, PRAGMA};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::connections::visible;
use super::nodes::contexts;
use super::settings::HttpSettings;
use super::stats::{Past, Wanted, fields, messages};
use crate::broker::counts::Counts;
use crate::broker::exchange::Kind;
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::listeners::Listener;
use crate::node::samples::series::{BASIC, GLOBAL, Seconds};
use crate::node::samples::{CHURN, FIGURES, LENGTHS, Lengths, OCTETS, VHOST, churn, join};

/// The Erlang/OTP of the RabbitMQ whose behaviour is followed. None is used here, but tools look for a version.
pub(super) const ERLANG_VERSION: &str = "29.1.2";

/// Everybody may know.
pub(super) async fn version(State(node): State<Arc<Node>>) -> Response {
    ([(PRAGMA, "no-cache"), (EXPIRES, "0")], Json(&*node.offer.version)).into_response()
}

/// What there is in some vhosts, and what has been counted there.
#[derive(Default)]
struct Totals {
    exchanges: usize,
    queues: usize,
    consumers: usize,
    lengths: Lengths,
    counts: Counts,
}

impl Totals {
    fn of(vhosts: &[Arc<VhostCell>]) -> Self {
        let mut totals = Self::default();
        for vhost in vhosts {
            let (queues, lengths) = vhost.lengths();
            totals.queues += queues;
            totals.lengths += lengths;
            totals.counts += vhost.totals();
            let (exchanges, consumers) =
                vhost.with_vhost(|vhost| (vhost.exchange_count(), vhost.consumer_count()));
            totals.exchanges += exchanges;
            totals.consumers += consumers;
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

/// The node at a glance. Who monitors sees all of it, others what is in their vhosts.
pub(super) async fn overview(
    State(node): State<Arc<Node>>,
    Extension(settings): Extension<Arc<HttpSettings>>,
    caller: Caller,
    wanted: Wanted,
) -> Json<Value> {
    let vhosts = if caller.monitors() { node.vhosts() } else { caller.vhosts(&node) };
    let mut totals = Totals::of(&vhosts);
    if caller.monitors() {
        totals.counts += node.retired();
    }
    let mut overview = definition(&node, &settings, &wanted);
    overview.extend(counted(&node, &caller, &totals, &wanted, &vhosts));
    overview.insert("object_totals".to_owned(), objects(&node, &caller, &totals));
    if caller.monitors() {
        let listeners = node.listeners.all();
        let http: Vec<_> =
            contexts(&listeners).into_iter().map(|context| of_node(context, &wanted)).collect();
        overview.insert("node".to_owned(), node.name().into());
        overview.insert("listeners".to_owned(), listeners.iter().map(|one| listener(one, &wanted)).collect());
        overview.insert("contexts".to_owned(), http.into());
    }
    Json(overview.into())
}

fn definition(node: &Node, settings: &HttpSettings, wanted: &Wanted) -> Map<String, Value> {
    fields(json!({
        "management_version": node.offer.version,
        "rabbitmq_version": node.offer.version,
        "product_name": "RabbitMQ",
        "product_version": node.offer.version,
        "cluster_name": node.cluster_name(),
        "cluster_tags": {},
        "node_tags": {},
        "erlang_version": ERLANG_VERSION,
        "erlang_full_version": concat!("Leveret ", env!("CARGO_PKG_VERSION")),
        "crypto_lib_version": "",
        "rates_mode": node.stats.rates_mode.name(),
        "sample_retention_policies": {
            "global": GLOBAL.ages(),
            "basic": BASIC.ages(),
            "detailed": BASIC.ages()[..1],
        },
        "default_queue_type": node.default_queue_type.name(),
        "disable_stats": wanted.nothing(),
        "enable_queue_totals": wanted.totals(),
        "is_op_policy_updating_enabled": !settings.operator_policies_are_fixed,
        "require_definition_json_extension": settings.only_json_files,
        "exchange_types": exchange_types(),
        "statistics_db_event_queue": 0,
    }))
}

/// What is counted. Each is there once there has been something.
fn counted(
    node: &Node,
    caller: &Caller,
    totals: &Totals,
    wanted: &Wanted,
    vhosts: &[Arc<VhostCell>],
) -> Map<String, Value> {
    let (mut churned, mut lengths, mut messages) = (Map::new(), Map::new(), Map::new());
    let series = node.samples.node.lock().clone();
    let at = |time: Seconds| -> [u64; VHOST] {
        if caller.monitors() {
            return join(&[&series.at(time)]);
        }
        let samples = vhosts.iter().map(|vhost| vhost.samples.lock().own.at(time));
        samples.fold([0; VHOST], |sum, numbers| std::array::from_fn(|n| sum[n] + numbers[n]))
    };
    let past = |range| Past::with(wanted.last, range, at);
    if totals.queues > 0 && (!wanted.nothing() || wanted.totals()) {
        past(wanted.lengths).put(&mut lengths, OCTETS.len(), &LENGTHS, &totals.lengths.numbers());
    }
    if wanted.shows_messages() && totals.counts != Counts::default() {
        let first = OCTETS.len() + LENGTHS.len();
        messages = messages::of_channels(&totals.counts, &past(wanted.messages), first);
        let past = Past::new(Some(&series), wanted.last, wanted.messages);
        for (name, figure, used) in [
            ("disk_reads", "io_read_count", node.disk_use.reads()),
            ("disk_writes", "io_write_count", node.disk_use.writes()),
        ] {
            let place = FIGURES.iter().position(|name| *name == figure).unwrap_or_default();
            past.put(&mut messages, VHOST + CHURN.len() + place, &[name], &[used.count]);
        }
    }
    if !wanted.nothing() {
        let past = Past::new(Some(&series), wanted.last, wanted.messages);
        past.put(&mut churned, VHOST, &CHURN, &churn(&node.churned()));
    }
    fields(json!({ "churn_rates": churned, "queue_totals": lengths, "message_stats": messages }))
}

/// How many there are of what a caller may see.
fn objects(node: &Node, caller: &Caller, totals: &Totals) -> Value {
    let connections = visible(node, caller);
    let channels: usize = connections.iter().map(|connection| connection.channels()).sum();
    let mut objects = json!({
        "channels": channels,
        "connections": connections.len(),
        "exchanges": totals.exchanges,
        "queues": totals.queues,
    });
    if caller.monitors() {
        objects["consumers"] = totals.consumers.into();
    }
    objects
}

fn listener(listener: &Listener, wanted: &Wanted) -> Value {
    json!({
        "node": &*wanted.node,
        "protocol": listener.protocol,
        "ip_address": listener.ip.to_string(),
        "port": listener.port,
        "socket_opts": { "nodelay": true },
        "tls": listener.tls,
    })
}

fn of_node(mut context: Value, wanted: &Wanted) -> Value {
    context["node"] = (*wanted.node).into();
    context["ssl_opts"] = json!([]);
    context
}
