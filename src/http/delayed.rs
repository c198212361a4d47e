//! Delayed messages of an exchange: to look at, to drop, to have delivered now. RabbitMQ has nothing like it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::refusal::Refusal;
use super::resource::Names;
use super::table;
use crate::auth::Access;
use crate::broker::Vhost;
use crate::broker::delay::index::Entry;
use crate::broker::delay::manage::Look;
use crate::log::record::Record;
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::wire::properties::{self, HEADERS};
use crate::wire::table::decode_table;

/// Messages shown at once, unless another number is asked for, and at the most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;
/// How long messages on disk are waited for. What does not come in time is shown without what it consists of.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Messages looked at in one go.
const AT_ONCE: usize = 64;

/// What names a message: when it is due, and its place.
fn id_of(entry: Entry) -> String {
    format!("{}-{}", entry.0, entry.1)
}

fn entry_of(id: &str) -> Option<Entry> {
    let (due, position) = id.split_once('-')?;
    Some((due.parse().ok()?, position.parse().ok()?))
}

fn to_json(entry: Entry, record: Option<&Record<'_>>) -> Value {
    let mut json = json!({ "id": id_of(entry), "due": entry.0 });
    let Some(record) = record else { return json };
    let parts = &record.parts;
    let headers = properties::find(parts.properties, HEADERS).and_then(decode_table).unwrap_or_default();
    json["exchange"] = String::from_utf8_lossy(parts.exchange).into();
    json["routing_key"] = String::from_utf8_lossy(parts.routing_key).into();
    json["headers"] = table::to_json(&headers);
    json["persistent"] = properties::is_persistent(parts.properties).into();
    json["payload_bytes"] = parts.body.size().into();
    json
}

/// Shows messages; those that are gone meanwhile are left out.
async fn look(cell: &VhostCell, exchange: &[u8], entries: &[Entry]) -> Vec<Value> {
    let mut seen: BTreeMap<Entry, Option<Value>> = BTreeMap::new();
    let until = Instant::now() + PATIENCE;
    let mut places = entries.to_vec();
    places.sort_unstable_by_key(|(_, position)| *position);
    loop {
        // By their places, so that each part of the log is read once, and few, so that none has gone before it is seen.
        let missing: Vec<_> =
            places.iter().copied().filter(|entry| !seen.contains_key(entry)).take(AT_ONCE).collect();
        if missing.is_empty() {
            break;
        }
        let is_late = Instant::now() >= until;
        cell.with_vhost(|vhost| {
            for entry in missing {
                match vhost.look_at_delayed(exchange, entry, |record| to_json(entry, Some(record))) {
                    Look::Seen(json) => drop(seen.insert(entry, Some(json))),
                    Look::Gone => drop(seen.insert(entry, None)),
                    Look::Wait if is_late => drop(seen.insert(entry, Some(to_json(entry, None)))),
                    Look::Wait => {}
                }
            }
        });
        if seen.len() < entries.len() {
            sleep(LOOK_AGAIN).await;
        }
    }
    seen.into_values().flatten().collect()
}

/// Refuses an exchange that is not there or delays nothing, and then one that is not for this caller.
fn check(caller: &Caller, vhost: &Vhost, access: Access, name: &str) -> Result<(), Refusal> {
    vhost.delayed(name.as_bytes()).ok_or(Refusal::NotFound)?;
    caller.check(&vhost.name, access, name)
}

/// The next ones to be delivered, from the one after the id `after` on.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let bad = |key: &str| Refusal::bad_request(format!("bad value for '{key}'"));
    let after = match query.get("after") {
        Some(id) => Some(entry_of(id).ok_or_else(|| bad("after"))?),
        None => None,
    };
    let most = query.get("count").map_or(Ok(PAGE), |count| count.parse().map_err(|_| bad("count")))?;
    let (count, entries) = cell.with_vhost(|vhost| {
        check(&caller, vhost, Access::Read, &name)?;
        let entries = vhost.delayed_after(name.as_bytes(), after, most.min(PAGE_MAX));
        Ok::<_, Refusal>((vhost.delayed(name.as_bytes()), entries))
    })?;
    let items = look(&cell, name.as_bytes(), &entries).await;
    Ok(Json(json!({ "messages_delayed": count, "items": items })))
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name, id)): Names<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    cell.with_vhost(|vhost| check(&caller, vhost, Access::Read, &name))?;
    let entry = entry_of(&id).ok_or(Refusal::NotFound)?;
    look(&cell, name.as_bytes(), &[entry]).await.pop().map(Json).ok_or(Refusal::NotFound)
}

pub(super) async fn drop_all(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    cell.with_vhost(|vhost| {
        check(&caller, vhost, Access::Read, &name)?;
        vhost.drop_all_delayed(name.as_bytes()).map(drop).ok_or(Refusal::NotFound)
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn drop_one(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name, id)): Names<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let entry = entry_of(&id).ok_or(Refusal::NotFound)?;
    cell.with_vhost(|vhost| {
        check(&caller, vhost, Access::Read, &name)?;
        if vhost.drop_delayed(name.as_bytes(), entry) { Ok(()) } else { Err(Refusal::NotFound) }
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has a message delivered as if its time had come.
pub(super) async fn deliver(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name, id)): Names<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let entry = entry_of(&id).ok_or(Refusal::NotFound)?;
    cell.with_vhost(|vhost| {
        check(&caller, vhost, Access::Write, &name)?;
        if vhost.deliver_delayed(name.as_bytes(), entry) { Ok(()) } else { Err(Refusal::NotFound) }
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_one_message() {
        for entry in [(0, 0), (1_700_000_000_123, 42), (u64::MAX, u64::MAX)] {
            assert_eq!(entry_of(&id_of(entry)), Some(entry));
        }
        for id in ["", "5", "-", "5-", "-5", "a-b", "1-2-3", "99999999999999999999-1"] {
            assert_eq!(entry_of(id), None, "{id:?}");
        }
    }
}
