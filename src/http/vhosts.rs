//! Vhosts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::{Body, Fields, term};
use super::caller::{Administrator, Caller};
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::Names;
use super::stats::{Past, Wanted, fields, messages};
use crate::auth::Permission;
use crate::broker::queue::arguments::QueueType;
use crate::catalog::About;
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::samples::{LENGTHS, OCTETS};
use crate::node::traffic::Carried;

/// What a vhost is.
fn definition(vhost: &VhostCell, node: &str) -> Value {
    let about = vhost.about();
    let mut metadata = json!({
        "description": about.description,
        "tags": about.tags,
        "default_queue_type": about.default_queue_type.name(),
    });
    if about.protected {
        metadata["protected_from_deletion"] = true.into();
    }
    json!({
        "name": &*vhost.name,
        "description": about.description,
        "tags": about.tags,
        "default_queue_type": about.default_queue_type.name(),
        "protected_from_deletion": about.protected,
        "metadata": metadata,
        "tracing": about.tracing,
        "cluster_state": { node: "running" },
    })
}

/// A vhost, and what has been counted of it, with what its connections have carried.
fn to_json(vhost: &VhostCell, carried: Carried, wanted: &Wanted) -> Value {
    let mut shown = fields(definition(vhost, &wanted.node));
    if !wanted.nothing() {
        put_stats(&mut shown, vhost, carried, wanted);
    }
    shown.into()
}

/// What has been counted there, as far as there has been anything to count.
fn put_stats(shown: &mut Map<String, Value>, vhost: &VhostCell, carried: Carried, wanted: &Wanted) {
    let (queues, lengths) = vhost.lengths();
    let totals = vhost.totals();
    let samples = vhost.samples.lock();
    let past = |range| Past::new(Some(&samples.own), wanted.last, range);
    if carried != Carried::default() {
        past(wanted.octets).put(shown, 0, &OCTETS, &[carried.received, carried.sent]);
    }
    if queues > 0 {
        past(wanted.lengths).put(shown, OCTETS.len(), &LENGTHS, &lengths.numbers());
    }
    if wanted.shows_messages() {
        let first = OCTETS.len() + LENGTHS.len();
        messages::put(shown, messages::of_channels(&totals, &past(wanted.messages), first));
    }
}

/// Those who monitor see all vhosts, others those they may enter.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhosts = if caller.monitors() { node.vhosts() } else { caller.vhosts(&node) };
    let carried = node.carried();
    let carried = |vhost: &VhostCell| carried.get(&vhost.name).copied().unwrap_or_default();
    listing.whole_pages(vhosts.iter().map(|vhost| to_json(vhost, carried(vhost), &wanted)).collect()).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    _: Administrator,
    wanted: Wanted,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    let vhost = node.vhost(&name).ok_or(Refusal::NotFound)?;
    let carried = node.carried().remove(&vhost.name).unwrap_or_default();
    Ok(Json(to_json(&vhost, carried, &wanted)))
}

/// Creates a vhost, in which its creator may do everything, or describes one anew. What a request does not say is
/// back to the default, except for tracing.
pub(super) async fn put(
    State(node): State<Arc<Node>>,
    Administrator(caller): Administrator,
    Names(name): Names<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let fields = body.fields()?;
    let queue_type = default_queue_type(&fields)?.unwrap_or(node.default_queue_type);
    let tracing = fields.flag("tracing")?;
    let description = fields.text("description")?.unwrap_or_default();
    let everything = Permission::all().map_err(|e| Refusal::bad_request(e.to_string()))?;
    let tags = fields.words("tags")?.unwrap_or_default();
    let put = node.put_vhost_if_allowed(&name, |about| {
        let tracing = tracing.unwrap_or(about.tracing);
        let (protected, limits, creator) = (about.protected, about.limits, about.creator.take());
        *about = About {
            description: description.into(),
            tags,
            default_queue_type: queue_type,
            protected,
            tracing,
            creator,
            limits,
        };
    });
    let is_new = put.map_err(Refusal::bad_request)?;
    if is_new {
        node.put_permission(&caller.user.name, &name, everything);
    }
    node.changes().kept().await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// The type that a request names, if it does; RabbitMQ takes the name of its module as well.
fn default_queue_type(fields: &Fields) -> Result<Option<QueueType>, Refusal> {
    let types = [QueueType::Classic, QueueType::Quorum, QueueType::Stream];
    // The second name is what definitions have called it.
    match fields.get("default_queue_type").or_else(|| fields.get("defaultqueuetype")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name == "undefined" => Ok(None),
        Some(Value::String(name)) if name.is_empty() => {
            Err(Refusal::bad_request("default_queue_type must not be an empty string"))
        }
        Some(Value::String(name)) => {
            let named = |queue_type: &QueueType| [queue_type.name(), queue_type.module()].contains(&&**name);
            let found = types.into_iter().find(named);
            found.map(Some).ok_or_else(|| Refusal::bad_request(format!("{name} is not a valid queue type")))
        }
        Some(Value::Bool(name)) => Err(Refusal::bad_request(format!("{name} is not a valid queue type"))),
        Some(other) => {
            Err(Refusal::bad_request(format!("{} is not a valid default_queue_type value", term(other))))
        }
    }
}

pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    let vhost = node.vhost(&name).ok_or(Refusal::NotFound)?;
    if vhost.about().protected {
        return Err(Refusal::Precondition(format!(
            "Refusing to delete virtual host '{name}' because it is protected from deletion"
        )));
    }
    let removed = node.remove_vhost(&name);
    node.changes().kept().await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}

pub(super) async fn protect(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    set_protection(&node, &name, true).await
}

pub(super) async fn unprotect(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    set_protection(&node, &name, false).await
}

async fn set_protection(node: &Node, name: &str, protected: bool) -> Result<StatusCode, Refusal> {
    if !node.describe_vhost(name, |about| about.protected = protected) {
        let verb = if protected { "enable" } else { "disable" };
        return Err(Refusal::Missing(format!(
            "Cannot {verb} deletion protection of virtual host '{name}' because it does not exist"
        )));
    }
    node.changes().kept().await?;
    Ok(StatusCode::NO_CONTENT)
}
