//! Channels.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Past, Wanted, consumers, fields, messages, written_time};
use crate::broker::channel::Manner;
use crate::http::caller::Caller;
use crate::http::connections::{check_may_touch, visible};
use crate::http::listing::{Listed, Listing};
use crate::http::refusal::Refusal;
use crate::http::resource::{Names, READ, resource};
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::connections::ConnectionInfo;
use crate::node::looking::Channel;
use crate::node::samples::counts;

pub(in crate::http) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/channels", resource(READ, get(list)))
        .route("/api/channels/{channel}", resource(READ, get(show)))
        .route("/api/vhosts/{vhost}/channels", resource(READ, get(list_of_vhost)))
        .route("/api/connections/{name}/channels", resource(READ, get(list_of_connection)))
}

/// A channel of a connection.
struct Of {
    connection: Arc<ConnectionInfo>,
    vhost: Arc<VhostCell>,
    channel: Channel,
    name: String,
    wanted: Wanted,
}

impl Listed for Of {
    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn to_json(&self) -> Value {
        to_json(self, false)
    }
}

impl Of {
    /// All channels of a connection, by number.
    fn all(node: &Node, connection: &Arc<ConnectionInfo>, wanted: &Wanted) -> Vec<Self> {
        let Some(vhost) = node.vhost(&connection.vhost) else { return Vec::new() };
        let channels = vhost.look_at_channels(connection).into_iter().map(|channel| {
            let name = format!("{} ({})", connection.name, channel.look.number);
            let (connection, vhost) = (Arc::clone(connection), Arc::clone(&vhost));
            Self { connection, vhost, channel, name, wanted: wanted.clone() }
        });
        channels.collect()
    }
}

fn to_json(of: &Of, alone: bool) -> Value {
    let Of { connection, vhost, channel, name, wanted } = of;
    let look = &channel.look;
    let mut shown = fields(json!({
        "connection_details": {
            "name": &*connection.name,
            "peer_host": &*look.who.host,
            "peer_port": look.who.port,
        },
        "name": name,
        "node": &*wanted.node,
        "number": look.number,
        "user": &*connection.user,
        "user_who_performed_action": &*connection.user,
        "vhost": &*connection.vhost,
    }));
    if wanted.nothing() {
        return shown.into();
    }
    let (messages, settlements) = match look.manner {
        Manner::Tx { messages, settlements } => (messages, settlements),
        Manner::Plain | Manner::Confirm => (0, 0),
    };
    shown.extend(fields(json!({
        "acks_uncommitted": settlements,
        "cached_segments": 0,
        "confirm": look.manner == Manner::Confirm,
        "consumer_count": look.consumers,
        "garbage_collection": nothing_collected(),
        "messages_unacknowledged": look.unacknowledged,
        "messages_uncommitted": messages,
        "messages_unconfirmed": channel.unconfirmed,
        "pending_raft_commands": 0,
        "prefetch_count": look.prefetch,
        "reductions": 0,
        "reductions_details": wanted.steady(wanted.octets, 0),
        "state": "running",
        "transactional": matches!(look.manner, Manner::Tx { .. }),
    })));
    if let Some(window) = look.window {
        shown.insert("global_prefetch_count".to_owned(), window.into());
    }
    let mut counted = look.counts;
    counted.publishes.confirm = counted.publishes.confirm.saturating_sub(channel.unconfirmed);
    let samples = connection.samples.lock();
    let sampled = samples.as_ref().and_then(|samples| samples.channels.get(&look.id));
    if wanted.shows_messages() {
        let past = Past::new(sampled.map(|sampled| &sampled.series), wanted.last, wanted.messages);
        messages::put(&mut shown, messages::of_channels(&counted, &past, 0));
    }
    let is_idle = |series: Option<[u64; 12]>| series == Some(counts(&look.counts));
    if let Some(sampled) = sampled.filter(|sampled| is_idle(sampled.series.last())) {
        shown.insert("idle_since".to_owned(), written_time(sampled.changed_at).into());
    }
    drop(samples);
    if alone {
        let found = vhost.with_vhost(|vhost| vhost.consumers_of_channel(look.id));
        let found: Value =
            found.iter().map(|consumer| consumers::to_json(consumer, &vhost.name, &wanted.node)).collect();
        shown.insert("consumer_details".to_owned(), found);
        shown.insert("deliveries".to_owned(), json!([]));
        shown.insert("publishes".to_owned(), json!([]));
    }
    shown.into()
}

/// What RabbitMQ says of a process's garbage; there is none.
pub(in crate::http) fn nothing_collected() -> Value {
    json!({
        // Erlang's own setting: clients' tests look for one.
        "fullsweep_after": 65535,
        "max_heap_size": 0,
        "min_bin_vheap_size": 0,
        "min_heap_size": 0,
        "minor_gcs": 0,
    })
}

fn all(node: &Node, connections: &[Arc<ConnectionInfo>], wanted: &Wanted) -> Vec<Of> {
    connections.iter().flat_map(|connection| Of::all(node, connection, wanted)).collect()
}

async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(all(&node, &visible(&node, &caller), &wanted)).await
}

async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    caller.vhost(&node, &vhost)?;
    let mut connections = visible(&node, &caller);
    connections.retain(|connection| *connection.vhost == *vhost);
    listing.pages(all(&node, &connections, &wanted)).await
}

async fn list_of_connection(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(name): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let connection = node.connections.get(&name).ok_or(Refusal::NotFound)?;
    check_may_touch(&caller, &connection.user)?;
    listing.plain(Of::all(&node, &connection, &wanted)).await
}

async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    let (connection, number) = name.rsplit_once(" (").ok_or(Refusal::NotFound)?;
    let number: u16 = number.strip_suffix(')').and_then(|n| n.parse().ok()).ok_or(Refusal::NotFound)?;
    let connection = node.connections.get(connection).ok_or(Refusal::NotFound)?;
    let found = Of::all(&node, &connection, &wanted);
    let found = found.iter().find(|of| of.channel.look.number == number).ok_or(Refusal::NotFound)?;
    check_may_touch(&caller, &connection.user)?;
    Ok(Json(to_json(found, true)))
}
