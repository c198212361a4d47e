//! Queues, to look at.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::channels::nothing_collected;
use super::{Past, Wanted, consumers, fields, messages, written_time};
use crate::broker::look::QueueLook;
use crate::broker::policy::json::definition_to_json;
use crate::broker::queue::arguments::QueueType;
use crate::http::caller::Caller;
use crate::http::listing::{Listed, Listing};
use crate::http::refusal::Refusal;
use crate::http::resource::{Names, READ, resource};
use crate::http::room::aside;
use crate::http::table;
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::samples::LENGTHS;

/// How often a message of a quorum queue may come back where nobody says another number.
const DELIVERY_LIMIT: i64 = 20;

/// The routes of lists; those of single queues are where these are changed.
pub(in crate::http) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/queues", resource(READ, get(list)))
        .route("/api/queues/detailed", resource(READ, get(list_detailed)))
        .route("/api/users/{user}/queues", resource(READ, get(list_of_creator)))
        .route("/api/queues/{vhost}", resource(READ, get(list_of_vhost)))
}

/// How much is shown of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Among others: what is not there is left out.
    Brief,
    /// Among others, or as columns that are asked for.
    Detailed,
    /// Alone, with its consumers.
    Alone,
}

/// A queue of a vhost.
struct Of {
    vhost: Arc<VhostCell>,
    queue: QueueLook,
    wanted: Wanted,
    depth: Depth,
}

impl Listed for Of {
    fn name(&self) -> Option<&str> {
        Some(&self.queue.name)
    }

    fn to_json(&self) -> Value {
        to_json(self)
    }
}

fn to_json(of: &Of) -> Value {
    let Of { vhost, queue, wanted, depth } = of;
    let mut shown = definition(queue, &vhost.name, &wanted.node);
    if wanted.nothing() {
        if wanted.totals() {
            put_totals(&mut shown, queue, *depth);
        }
        return shown.into();
    }
    let number = |number: usize| Value::from(number);
    let samples = vhost.samples.lock();
    let series = samples.queues.get(&queue.id);
    let lengths = [queue.messages(), queue.ready, queue.unacknowledged].map(|length| length as u64);
    Past::new(series, wanted.last, wanted.lengths).put(&mut shown, 0, &LENGTHS, &lengths);
    if wanted.shows_messages() {
        let past = Past::new(series, wanted.last, wanted.messages);
        let stats = messages::of_queue(queue.published, &queue.deliveries, &past, LENGTHS.len());
        messages::put(&mut shown, stats);
    }
    drop(samples);
    shown.insert("consumers".to_owned(), number(queue.consumers));
    shown.insert("memory".to_owned(), number(queue.memory));
    shown.insert("reductions".to_owned(), number(0));
    shown.insert("reductions_details".to_owned(), wanted.steady(wanted.lengths, 0));
    match queue.queue_type() {
        QueueType::Classic => shown.extend(of_classic(queue)),
        QueueType::Quorum => shown.extend(of_quorum(queue, &wanted.node)),
        QueueType::Stream => shown.extend(of_stream(queue, &wanted.node)),
    }
    if let Some(dropped) = queue.duplicates {
        shown.insert("duplicates_dropped".to_owned(), dropped.into());
    }
    let is_stream = queue.queue_type() == QueueType::Stream;
    if *depth == Depth::Alone || (*depth == Depth::Detailed && !is_stream) {
        shown.insert("garbage_collection".to_owned(), nothing_collected());
    }
    match depth {
        Depth::Brief => {
            shown.retain(|name, value| !value.is_null() && name != "idle_since");
        }
        Depth::Detailed => {}
        Depth::Alone => put_surroundings(&mut shown, vhost, queue, &wanted.node),
    }
    shown.into()
}

/// What a queue is, beside what is in it.
fn definition(queue: &QueueLook, vhost: &str, node: &str) -> Map<String, Value> {
    let mut arguments = table::to_json(&queue.arguments);
    arguments["x-queue-type"] = queue.queue_type().name().into();
    let mut shown = fields(json!({
        "arguments": arguments,
        "auto_delete": queue.auto_delete,
        "durable": queue.durable,
        "effective_policy_definition": definition_to_json(&queue.policies.definition()),
        "exclusive": queue.owner.is_some(),
        "internal": false,
        "internal_owner": false,
        "name": &*queue.name,
        "node": node,
        "operator_policy": queue.policies.operator.as_ref().map(|policy| &*policy.name),
        "policy": queue.policies.user.as_ref().map(|policy| &*policy.name),
        "state": "running",
        "type": queue.queue_type().name(),
        "vhost": vhost,
    }));
    if queue.queue_type() != QueueType::Classic {
        shown.insert("leader".to_owned(), node.into());
        shown.insert("members".to_owned(), json!([node]));
        shown.insert("online".to_owned(), json!([node]));
    }
    if queue.queue_type() == QueueType::Quorum {
        shown.insert("delivery_limit".to_owned(), delivery_limit(queue));
    }
    shown
}

/// How long a queue is. Little else is shown beside it then.
fn put_totals(shown: &mut Map<String, Value>, queue: &QueueLook, depth: Depth) {
    if depth != Depth::Alone {
        shown.retain(|name, value| !value.is_null() && !name.starts_with("internal"));
    }
    if queue.queue_type() != QueueType::Quorum && depth != Depth::Alone {
        shown.remove("effective_policy_definition");
        shown.entry("online").or_insert(Value::Null);
    }
    shown.extend(fields(json!({
        "messages": queue.messages(),
        "messages_ready": queue.ready,
        "messages_unacknowledged": queue.unacknowledged,
    })));
}

fn text(tag: Option<&[u8]>) -> Value {
    tag.map_or(Value::Null, |tag| String::from_utf8_lossy(tag).into())
}

/// The share of a queue's time in which its consumers could take messages at once. What is known is the present.
fn capacity(queue: &QueueLook) -> Value {
    match (queue.consumers, queue.has_room) {
        (0, _) => 0.into(),
        (_, true) => 1.0.into(),
        (_, false) => 0.0.into(),
    }
}

fn of_classic(queue: &QueueLook) -> Map<String, Value> {
    let all = queue.messages();
    let resident = queue.resident();
    let paged_out = all - resident.messages;
    let persistent = if queue.durable { (all, queue.bytes()) } else { (0, 0) };
    let mut shown = fields(json!({
        "consumer_capacity": capacity(queue),
        "consumer_utilisation": capacity(queue),
        "exclusive_consumer_tag": text(queue.exclusive_tag.as_deref()),
        "head_message_timestamp": queue.head_timestamp,
        "message_bytes": queue.bytes(),
        "message_bytes_persistent": persistent.1,
        "message_bytes_ram": resident.bytes,
        "message_bytes_ready": queue.ready_bytes,
        "message_bytes_unacknowledged": queue.unacknowledged_bytes,
        "messages_persistent": persistent.0,
        "messages_ram": resident.messages,
        "messages_ready_ram": resident.ready,
        "messages_unacknowledged_ram": resident.unacknowledged,
        "single_active_consumer_tag": text(queue.active_tag.as_deref()),
        "storage_version": 2,
    }));
    if paged_out > 0 {
        shown.insert("messages_paged_out".to_owned(), paged_out.into());
        shown.insert("message_bytes_paged_out".to_owned(), (queue.bytes() - resident.bytes).into());
    }
    if let Some(since) = queue.idle_since {
        shown.insert("idle_since".to_owned(), written_time(since).into());
    }
    shown
}

fn delivery_limit(queue: &QueueLook) -> Value {
    match queue.settings.delivery_limit.unwrap_or(DELIVERY_LIMIT) {
        limit if limit < 0 => "unlimited".into(),
        limit => limit.into(),
    }
}

fn of_quorum(queue: &QueueLook, node: &str) -> Map<String, Value> {
    let by_priority: Map<_, _> =
        queue.priorities.iter().map(|(priority, ready)| (priority.to_string(), (*ready).into())).collect();
    fields(json!({
        "consumer_capacity": capacity(queue),
        "consumer_utilisation": capacity(queue),
        "delayed_retry": queue.settings.delayed_retry.map_or("disabled", |retry| retry.which.name()),
        "message_bytes": queue.bytes(),
        "message_bytes_dlx": queue.dead.1,
        "message_bytes_persistent": queue.bytes(),
        "message_bytes_ram": 0,
        "message_bytes_ready": queue.ready_bytes,
        "message_bytes_unacknowledged": queue.unacknowledged_bytes,
        "messages_active_priorities": by_priority.len(),
        "messages_by_priority": by_priority,
        "messages_delayed": queue.delayed,
        "messages_dlx": queue.dead.0,
        "messages_persistent": queue.messages(),
        "messages_ram": 0,
        "messages_ready_returned": queue.returned,
        "open_files": { node: queue.segments },
        "publishers": 0,
        "single_active_consumer_tag": text(queue.active_tag.as_deref()),
    }))
}

fn of_stream(queue: &QueueLook, node: &str) -> Map<String, Value> {
    let Some(stream) = &queue.stream else { return Map::new() };
    fields(json!({
        "committed_offset": stream.committed.checked_sub(1),
        "first_offset": stream.first,
        "first_timestamp": 0,
        "readers": { node: queue.consumers },
        "segment_bytes": stream.octets,
        "segments": stream.segments,
    }))
}

/// Who owns it, and who consumes from it.
fn put_surroundings(shown: &mut Map<String, Value>, vhost: &VhostCell, queue: &QueueLook, node: &str) {
    let found = vhost.with_vhost(|vhost| vhost.consumers_of_queue(queue.id));
    let found: Value = found.iter().map(|consumer| consumers::to_json(consumer, &vhost.name, node)).collect();
    shown.insert("consumer_details".to_owned(), found);
    shown.insert("deliveries".to_owned(), json!([]));
    shown.insert("incoming".to_owned(), json!([]));
    if let Some(owner) = &queue.owner {
        let details = json!({ "name": &*owner.name, "peer_host": &*owner.host, "peer_port": owner.port });
        shown.insert("owner_pid_details".to_owned(), details);
    }
}

/// All queues of a vhost, by name.
fn all(vhost: &Arc<VhostCell>, wanted: &Wanted, depth: Depth) -> Vec<Of> {
    let queues = vhost.look_at_queues().into_iter();
    queues.map(|queue| Of { vhost: Arc::clone(vhost), queue, wanted: wanted.clone(), depth }).collect()
}

/// Whoever names columns is shown those too that are empty.
fn depth(listing: &Listing) -> Depth {
    if listing.has_columns() { Depth::Detailed } else { Depth::Brief }
}

async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    let (vhosts, depth) = (caller.vhosts(&node), depth(&listing));
    // There may be many.
    let found = aside(move || vhosts.iter().flat_map(|vhost| all(vhost, &wanted, depth)).collect()).await?;
    listing.pages(found).await
}

async fn list_detailed(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhosts = caller.vhosts(&node);
    let all = move || vhosts.iter().flat_map(|vhost| all(vhost, &wanted, Depth::Detailed)).collect();
    listing.pages(aside(all).await?).await
}

/// The queues that a user has declared, be there such a user or not.
async fn list_of_creator(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(user): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let (vhosts, depth) = (caller.vhosts(&node), depth(&listing));
    let all = vhosts.iter().flat_map(|vhost| all(vhost, &wanted, depth));
    listing.pages(all.filter(|of| of.queue.creator.as_deref() == Some(&*user)).collect()).await
}

async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhost = caller.vhost(&node, &vhost)?;
    let depth = depth(&listing);
    listing.pages(aside(move || all(&vhost, &wanted, depth)).await?).await
}

pub(in crate::http) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let vhost = caller.vhost(&node, &vhost)?;
    let queue = vhost.look_at_queue(&name).ok_or(Refusal::NotFound)?;
    Ok(Json(to_json(&Of { vhost, queue, wanted, depth: Depth::Alone })))
}
