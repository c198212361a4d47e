//! Vhosts of a file, and their exchanges, queues and bindings.

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_protocol::types::AMQPValue;
use serde_json::Value;

use super::import::{Done, Import};
use super::item::{Item, binary};
use crate::auth::limits::Limit;
use crate::broker::definitions::End;
use crate::broker::exchange::declare::{self, Declaration as Exchange};
use crate::broker::queue::arguments::{Declared, QueueType};
use crate::broker::queue::declare::Declaration as Queue;
use crate::node::cell::VhostCell;
use crate::node::events::acting;
use crate::wire::reply::Exception;

/// What the broker refuses, with the name of the code as Erlang writes it.
fn refused(exception: &Exception) -> String {
    format!("{}: {}", exception.code.name().to_lowercase(), exception.explanation)
}

/// A vhost, which is described anew if it is there. What a file does not say is back to the default, except for
/// tracing, its protection and its limits.
pub(super) fn vhost(import: &Import<'_>, item: &Item<'_>) -> Result<Done, String> {
    let name = item.text("name")?;
    let metadata = match item.get("metadata") {
        Some(Value::Object(metadata)) => Some(Item::new("vhosts", metadata)),
        _ => None,
    };
    // Either beside the name or in the metadata.
    let place = |key: &str| match metadata {
        Some(metadata) if item.get(key).is_none() => metadata,
        _ => *item,
    };
    let description = place("description").get("description").and_then(Value::as_str).unwrap_or_default();
    let tags = place("tags").tags()?.unwrap_or_default();
    let queue_type = default_queue_type(&place("default_queue_type"))?;
    let protected = place("protected_from_deletion").flag_if("protected_from_deletion")?;
    let tracing = item.flag_if("tracing")?;
    let fallback = import.node.default_queue_type;
    import.node.put_vhost_if_allowed(name, |about| {
        about.description = description.to_owned();
        about.tags = tags;
        about.default_queue_type = queue_type.unwrap_or(fallback);
        about.protected = protected.unwrap_or(about.protected);
        about.tracing = tracing.unwrap_or(about.tracing);
    })?;
    Ok(Done::Imported)
}

fn default_queue_type(item: &Item<'_>) -> Result<Option<QueueType>, String> {
    let name = match item.get("default_queue_type") {
        None => return Ok(None),
        Some(_) => item.text("default_queue_type")?,
    };
    if name == "undefined" {
        return Ok(None);
    }
    let found = named_type(name);
    found.map(Some).ok_or_else(|| format!("{name} is not a valid queue type"))
}

fn named_type(name: &str) -> Option<QueueType> {
    let types = [QueueType::Classic, QueueType::Quorum, QueueType::Stream];
    types.into_iter().find(|queue_type| [queue_type.name(), queue_type.module()].contains(&name))
}

/// An exchange, unless it is there, or one of the node's own.
pub(super) fn exchange(import: &Import<'_>, item: &Item<'_>) -> Result<Done, String> {
    let name = item.name("name")?;
    if name.is_empty() || name.starts_with("amq.") {
        tracing::warn!("the exchange '{name}' is the node's own and not imported");
        return Ok(Done::PassedOver);
    }
    let vhost = import.vhost(item)?;
    let kind = match item.get("type") {
        None => return Err("precondition_failed: invalid exchange type 'undefined'".to_owned()),
        Some(_) => declare::kind(item.text("type")?).map_err(|e| refused(&e))?,
    };
    let wanted = Exchange {
        name: name.into(),
        kind,
        durable: item.flag("durable")?,
        auto_delete: item.flag("auto_delete")?,
        internal: item.flag("internal")?,
        arguments: item.arguments()?,
        creator: acting(),
    };
    vhost.with(|vhost, _| match vhost.exchange(wanted.name.as_bytes()) {
        Some(_) => Ok(Done::Imported),
        None => vhost.declare_exchange(wanted).map(|()| Done::Imported).map_err(|e| refused(&e)),
    })
}

/// Refuses more queues than a vhost may have, before there is any of them.
pub(super) fn check_queue_limits(import: &Import<'_>, items: &[Item<'_>]) -> Result<(), String> {
    let mut new: BTreeMap<Arc<str>, (Arc<VhostCell>, usize)> = BTreeMap::new();
    for item in items {
        let (Ok(vhost), Ok(name)) = (import.vhost(item), item.name("name")) else { continue };
        let limited = vhost.about().limits.is_some_and(|limits| limits.max_queues.is_some());
        if limited && vhost.with_vhost(|vhost| vhost.queue(name.as_bytes()).is_none()) {
            new.entry(Arc::clone(&vhost.name)).or_insert_with(|| (vhost, 0)).1 += 1;
        }
    }
    for (vhost, add) in new.into_values() {
        let count = vhost.with_vhost(|vhost| vhost.queue_ids().len());
        let max = vhost.about().limits.and_then(|limits| limits.max_queues);
        let Some(Limit(max)) = max.filter(|max| max.0 >= 0) else { continue };
        if count + add > usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(format!(
                "Adding {add} queue(s) to virtual host \"{}\" would exceed the limit of {max} queue(s).\n\nThis virtual \
                 host currently has {count} queue(s) defined.\n\nImport aborted!",
                vhost.name
            ));
        }
    }
    Ok(())
}

/// A queue, unless it is there.
pub(super) fn queue(import: &Import<'_>, item: &Item<'_>) -> Result<Done, String> {
    let name = item.name("name")?;
    if name.starts_with("amq.") {
        tracing::warn!("the queue '{name}' was named by a server and is not imported");
        return Ok(Done::PassedOver);
    }
    let vhost = import.vhost(item)?;
    let (durable, auto_delete) = (item.flag("durable")?, item.flag("auto_delete")?);
    let mut arguments = item.arguments()?;
    let said = item.get("type").and_then(Value::as_str).and_then(named_type);
    vhost.with(|vhost, _| {
        if vhost.queue(name.as_bytes()).is_some() {
            return Ok(Done::Imported);
        }
        // What a file says of the type, arguments aside, counts more than what the vhost has for those that do not say.
        let usual = if durable && !auto_delete { vhost.default_queue_type } else { QueueType::Classic };
        if let Some(other) = said.filter(|said| *said != usual && !arguments.contains_key("x-queue-type")) {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(other.name().into()));
        }
        vhost.add_default_type(&mut arguments, &Declared { durable, exclusive: false, auto_delete });
        let (name, creator) = (name.into(), acting());
        let wanted = Queue { name, durable, exclusive: false, auto_delete, arguments, creator };
        vhost.declare_queue(None, wanted).map(|_| Done::Imported).map_err(|e| refused(&e))
    })
}

/// A binding, unless it is there. Those of the default exchange come and go with their queues.
pub(super) fn binding(import: &Import<'_>, item: &Item<'_>) -> Result<Done, String> {
    let (source, destination) = (item.name("source")?, item.name("destination")?);
    let key = match item.get("routing_key") {
        None => String::new(),
        Some(_) => item.text("routing_key")?.to_owned(),
    };
    if key.len() > 255 {
        return Err("bindings: 'routing_key' should be at most 255 bytes".to_owned());
    }
    let to = match item.text("destination_type")? {
        "queue" => End::Queue(destination.into()),
        "exchange" => End::Exchange(destination.into()),
        other => return Err(format!("bindings: 'destination_type' cannot be '{other}'")),
    };
    if source.is_empty() {
        return Ok(Done::PassedOver);
    }
    let arguments = item.arguments()?;
    let vhost = import.vhost(item).map_err(|why| match item.get("vhost").and_then(Value::as_str) {
        Some(vhost) => missing(&[end(vhost, "exchange", &source), end_of(vhost, &to)]),
        None => why,
    })?;
    vhost.with(|vhost, _| {
        let from = vhost.exchange(source.as_bytes()).is_none().then(|| end(&vhost.name, "exchange", &source));
        let is_there = match &to {
            End::Queue(name) => vhost.queue(name.as_bytes()).is_some(),
            End::Exchange(name) => vhost.exchange(name.as_bytes()).is_some(),
        };
        if let End::Queue(name) = &to {
            if !is_there && name.starts_with("amq.") {
                tracing::warn!("a binding to the queue '{name}', which a server named, is not imported");
                return Ok(Done::PassedOver);
            }
        }
        let gone: Vec<_> = from.into_iter().chain((!is_there).then(|| end_of(&vhost.name, &to))).collect();
        if !gone.is_empty() {
            return Err(missing(&gone));
        }
        let bound = match &to {
            End::Queue(name) => {
                vhost.bind_queue(None, name.as_bytes(), source.as_bytes(), key.as_bytes(), arguments)
            }
            End::Exchange(name) => {
                vhost.bind_exchange(name.as_bytes(), source.as_bytes(), key.as_bytes(), arguments)
            }
        };
        bound.map(|()| Done::Imported).map_err(|e| refused(&e))
    })
}

fn end(vhost: &str, kind: &str, name: &str) -> String {
    format!("{{not_found,{{resource,{},{kind},{}}}}}", binary(vhost), binary(name))
}

fn end_of(vhost: &str, to: &End) -> String {
    match to {
        End::Queue(name) => end(vhost, "queue", name),
        End::Exchange(name) => end(vhost, "exchange", name),
    }
}

/// Ends of a binding that are not there, broken into lines as Erlang does it.
fn missing(ends: &[String]) -> String {
    const LINE: usize = 80;
    let line = format!("{{resources_missing,[{}]}}", ends.join(","));
    match ends {
        _ if line.len() < LINE => line,
        [one] => format!("{{resources_missing,\n    [{one}]}}"),
        _ => format!("{{resources_missing,[{}]}}", ends.join(",\n                    ")),
    }
}
