//! Queues: to look at, to declare, to purge and to delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::{Body, Fields};
use super::caller::Caller;
use super::listing::{Listed, Listing};
use super::refusal::Refusal;
use super::resource::Names;
use super::table;
use crate::auth::Access;
use crate::broker::exchange::declare::check_not_reserved;
use crate::broker::policy::book::Applied;
use crate::broker::policy::json::definition_to_json;
use crate::broker::queue::Queue;
use crate::broker::queue::arguments::Declared;
use crate::broker::queue::arguments::QueueType;
use crate::broker::queue::declare::Declaration;
use crate::broker::stream::Figures;
use crate::broker::{Name, Vhost};
use crate::node::cell::VhostCell;
use crate::node::{NODE_NAME, Node};

/// Octets a name may have (AMQP 0-9-1, short strings).
const NAME_MAX: usize = 255;

/// What is shown of a queue, copied so that the vhost is free while JSON is made of it.
struct Seen {
    name: Name,
    queue_type: QueueType,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    arguments: FieldTable,
    ready: usize,
    unacknowledged: usize,
    /// Those that have come back and wait.
    delayed: usize,
    ready_bytes: u64,
    consumers: usize,
    duplicates: Option<u64>,
    stream: Option<Figures>,
    policies: Applied,
}

impl Seen {
    fn new(queue: &Queue) -> Self {
        Self {
            name: Arc::clone(&queue.name),
            queue_type: queue.settings.queue_type,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            exclusive: queue.owner.is_some(),
            arguments: queue.arguments.clone(),
            ready: queue.available(),
            unacknowledged: queue.unacked(),
            delayed: queue.put_off_count(),
            ready_bytes: queue.ready_bytes(),
            consumers: queue.consumer_count(),
            duplicates: queue.duplicates(),
            stream: queue.stream_figures(),
            policies: queue.policies.clone(),
        }
    }

    fn to_json(&self, vhost: &str) -> Value {
        let mut arguments = table::to_json(&self.arguments);
        arguments["x-queue-type"] = self.queue_type.name().into();
        let mut shown = json!({
            "name": &*self.name,
            "vhost": vhost,
            "node": NODE_NAME,
            "type": self.queue_type.name(),
            "state": "running",
            "durable": self.durable,
            "auto_delete": self.auto_delete,
            "exclusive": self.exclusive,
            "internal": false,
            "arguments": arguments,
            "policy": self.policies.user.as_ref().map(|policy| &*policy.name),
            "operator_policy": self.policies.operator.as_ref().map(|policy| &*policy.name),
            "effective_policy_definition": definition_to_json(&self.policies.definition()),
            "messages": self.ready + self.unacknowledged + self.delayed,
            "messages_ready": self.ready,
            "messages_unacknowledged": self.unacknowledged,
            "message_bytes_ready": self.ready_bytes,
            "consumers": self.consumers,
        });
        if self.queue_type == QueueType::Quorum {
            shown["messages_delayed"] = self.delayed.into();
        }
        if let Some(dropped) = self.duplicates {
            shown["duplicates_dropped"] = dropped.into();
        }
        if let Some(stream) = &self.stream {
            stream.add_to(&mut shown, self.consumers);
        }
        shown
    }
}

impl Figures {
    /// What is shown of streams only. There is one node, which has all of it.
    fn add_to(&self, shown: &mut Value, readers: usize) {
        shown["segments"] = self.segments.into();
        shown["first_offset"] = self.first.into();
        shown["committed_offset"] = self.committed.checked_sub(1).into();
        shown["segment_bytes"] = self.octets.into();
        shown["readers"] = json!({ NODE_NAME: readers });
        shown["leader"] = NODE_NAME.into();
        shown["members"] = json!([NODE_NAME]);
        shown["online"] = json!([NODE_NAME]);
    }
}

/// All queues of a vhost, by name.
fn all(vhost: &VhostCell) -> Vec<Of> {
    let mut seen: Vec<_> = vhost.with(|vhost, _| vhost.queues().map(Seen::new).collect());
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
    let seen = cell.with(|vhost, _| vhost.queue(name.as_bytes()).map(Seen::new));
    seen.map(|queue| Json(queue.to_json(&vhost))).ok_or(Refusal::NotFound)
}

/// Declares a queue; without a word about it, it is a transient one.
pub(super) async fn declare(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let mut declaration = declaration(&body.fields()?, &name)?;
    check_not_reserved("queue", &declaration.name)?;
    caller.check(&vhost, Access::Configure, &declaration.name)?;
    let status = cell.with(|vhost, _| {
        let Declaration { durable, exclusive, auto_delete, .. } = declaration;
        vhost.add_default_type(&mut declaration.arguments, &Declared { durable, exclusive, auto_delete });
        let is_new = vhost.queue(declaration.name.as_bytes()).is_none();
        if is_new {
            check_dead_letter_exchange(&caller, vhost, &declaration)?;
        }
        vhost.declare_queue(None, declaration)?;
        Ok::<_, Refusal>(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
    })?;
    cell.kept().await?;
    Ok(status)
}

fn declaration(fields: &Fields, name: &str) -> Result<Declaration, Refusal> {
    let durable = fields.flag("durable")?.unwrap_or(false);
    let auto_delete = fields.flag("auto_delete")?.unwrap_or(false);
    let arguments = fields.get("arguments").map(table::from_json).transpose()?.unwrap_or_default();
    if let Some(node) = fields.text("node")?.filter(|node| *node != NODE_NAME) {
        return Err(Refusal::bad_request(format!("Node {node} is not a cluster member")));
    }
    let name = name.replace(['\r', '\n'], "");
    if name.len() > NAME_MAX {
        let text = format!("queue should be less than {NAME_MAX} bytes, actually was {}\n", name.len());
        return Err(Refusal::bad_request(text));
    }
    Ok(Declaration { name: name.into(), durable, exclusive: false, auto_delete, arguments })
}

/// Dead-lettering moves messages, so it takes leave to read from the queue and to write to the exchange.
fn check_dead_letter_exchange(caller: &Caller, vhost: &Vhost, wanted: &Declaration) -> Result<(), Refusal> {
    let Some(AMQPValue::LongString(exchange)) = wanted.arguments.inner().get("x-dead-letter-exchange") else {
        return Ok(());
    };
    caller.check(&vhost.name, Access::Read, &wanted.name)?;
    caller.check(&vhost.name, Access::Write, &String::from_utf8_lossy(exchange.as_bytes()))
}

/// Deletes a queue; the conditions `if-empty` and `if-unused` hold where they are `true`.
pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Query(conditions): Query<BTreeMap<String, String>>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let holds = |condition| conditions.get(condition).is_some_and(|value| value == "true");
    let (if_empty, if_unused) = (holds("if-empty"), holds("if-unused"));
    cell.with(|vhost, outboxes| {
        check_queue(&caller, vhost, Access::Configure, &name)?;
        vhost.delete_queue(None, name.as_bytes(), if_unused, if_empty, outboxes)?;
        Ok::<_, Refusal>(())
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn purge(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    cell.with(|vhost, outboxes| {
        check_queue(&caller, vhost, Access::Read, &name)?;
        vhost.purge(None, name.as_bytes(), outboxes)?;
        Ok::<_, Refusal>(())
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a queue that is not there, and then one that is not for this caller.
fn check_queue(caller: &Caller, vhost: &Vhost, access: Access, name: &str) -> Result<(), Refusal> {
    vhost.queue(name.as_bytes()).ok_or(Refusal::NotFound)?;
    caller.check(&vhost.name, access, name)
}
