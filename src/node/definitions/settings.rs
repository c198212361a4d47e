//! Policies and parameters of a file.

use serde_json::{Map, Value, json};

use super::import::{Done, Import};
use super::item::{Item, binary};
use crate::auth::limits::{Limit, VhostLimits};
use crate::broker::policy::json::{failed, term};
use crate::broker::policy::{Policy, Rank};
use crate::node::cell::VhostCell;
use crate::node::parameters::component;

/// The names of limits that a vhost may have.
const VHOST_LIMITS: [&str; 2] = ["max-connections", "max-queues"];

/// A policy. What it says of mirrored queues, which files from before RabbitMQ 4.0 have, counts for nothing.
pub(super) fn policy(import: &Import<'_>, item: &Item<'_>, rank: Rank) -> Result<Done, String> {
    let vhost = import.vhost(item)?;
    let Some(name) = item.get("name") else {
        return Err(format!("\"policy in virtual host '{}' has undefined name\"", vhost.name));
    };
    let name =
        name.as_str().ok_or_else(|| format!("policy name should be a string but was {}", term(name)))?;
    let mut wanted = Map::new();
    for (field, default) in [
        ("pattern", None),
        ("definition", None),
        ("priority", Some(json!(0))),
        ("apply-to", Some(json!("all"))),
    ] {
        if let Some(value) = item.get(field).cloned().or(default) {
            wanted.insert(field.to_owned(), value);
        }
    }
    let at = format!(" (vhost: \"{}\" key: \"{name}\")", vhost.name);
    set_policy(import, &vhost, (rank, name), wanted).map_err(|why| why + &at)
}

fn set_policy(
    import: &Import<'_>,
    vhost: &VhostCell,
    (rank, name): (Rank, &str),
    mut wanted: Map<String, Value>,
) -> Result<Done, String> {
    if let Some(Value::Object(definition)) = wanted.get_mut("definition") {
        let before = definition.len();
        let level = import.node.compatibility();
        definition.retain(|key, _| !key.starts_with("ha-") || level.mirrors_queues());
        if definition.len() < before {
            let vhost = &vhost.name;
            tracing::warn!(
                "policy '{name}' in vhost '{vhost}' is for mirrored queues, which there are none of any more: this part of it is left out"
            );
            if definition.is_empty() {
                return Ok(Done::PassedOver);
            }
        }
    }
    let policy = Policy::from_json(name, rank, import.node.compatibility(), &wanted)?;
    import.node.put_policy(vhost, rank, policy);
    Ok(Done::Imported)
}

/// A parameter of a vhost: an operator policy, or its limits.
pub(super) fn parameter(import: &Import<'_>, item: &Item<'_>) -> Result<Done, String> {
    let vhost = import.vhost(item)?;
    let (of, name) = (item.text("component")?, item.text("name")?);
    let at = format!(" (vhost: \"{}\" / component: \"{of}\" / key: \"{name}\")", vhost.name);
    let value = item.fields.get("value");
    let done = match (of, value) {
        _ if of == component(Rank::User) => Err("policies may not be set using this method".to_owned()),
        ("vhost-limits", Some(Value::Object(limits))) => set_limits(import, &vhost, limits),
        (_, Some(Value::Object(wanted))) if of == component(Rank::Operator) => {
            set_policy(import, &vhost, (Rank::Operator, name), wanted.clone())
        }
        ("vhost-limits" | "operator_policy", other) => {
            let shown = other.map(term).unwrap_or_default();
            Err(failed(&[format!("{name} not a list {shown}")]))
        }
        _ => Err(failed(&[format!("component {of} not found")])),
    };
    done.map_err(|why| why + &at)
}

/// Sets all limits of a vhost; those that are not named are taken away.
fn set_limits(import: &Import<'_>, vhost: &VhostCell, limits: &Map<String, Value>) -> Result<Done, String> {
    let mut wrong = Vec::new();
    for (name, value) in limits {
        if VhostLimits::default().by_name(name).is_none() {
            wrong.push(format!("Unrecognised terms [{{{},{}}}] in limits", binary(name), term(value)));
        } else if value.as_i64().is_none() {
            wrong.push(format!("{name} should be a number, actually was {}", term(value)));
        }
    }
    if !wrong.is_empty() {
        return Err(failed(&wrong));
    }
    for name in VHOST_LIMITS {
        let limit = limits.get(name).and_then(Value::as_i64).map(Limit);
        import.node.limit_vhost(&vhost.name, name, limit);
    }
    Ok(Done::Imported)
}

/// A parameter of the node. One without a name is passed over.
pub(super) fn global_parameter(import: &Import<'_>, item: &Item<'_>) -> Result<Done, String> {
    if item.get("name").is_none() {
        tracing::warn!("a global parameter without a name is not imported");
        return Ok(Done::PassedOver);
    }
    let name = item.text("name")?;
    import.node.put_parameter(name, item.fields.get("value").cloned().unwrap_or_default());
    Ok(Done::Imported)
}
