//! Looking at messages in a queue, without touching them. RabbitMQ has nothing like it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::fetch::Encoding;
use super::filter::Filter;
use super::properties;
use super::refusal::Refusal;
use super::resource::{Names, READ, resource};
use super::room::aside;
use crate::auth::Access;
use crate::broker::browse::{Found, Step};
use crate::broker::queue::lane::{inside, lane_of};
use crate::log::Position;
use crate::node::Node;
use crate::node::cell::VhostCell;

/// Messages shown at once, unless another number is asked for, and at the most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Messages looked at for one page at the most; who wants more goes on behind them.
const LOOKED_AT_MAX: usize = 10_000;
/// Octets of bodies on a page; it ends after the message that reaches them.
const PAGE_OCTETS: usize = 16 << 20;
/// Messages, and octets of them, that are copied in one go.
const AT_ONCE: usize = 64;
const OCTETS_AT_ONCE: usize = 1 << 20;
/// How long messages on disk are waited for, and how long until the next look.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/queues/{vhost}/{queue}/messages", resource(READ, get(browse)))
}

/// What names a message: its lane, and its place there.
pub(super) fn name_of(position: Position) -> String {
    format!("{}-{}", lane_of(position), inside(position))
}

pub(super) fn position_of(name: &str) -> Option<Position> {
    let (lane, place) = name.split_once('-')?;
    let (lane, place): (u8, Position) = (lane.parse().ok()?, place.parse().ok()?);
    (inside(place) == place).then_some(Position::from(lane) << 56 | place)
}

/// Goes through a queue, some messages at a time.
pub(super) struct Walk {
    pub cell: Arc<VhostCell>,
    pub queue: String,
    from: Option<Position>,
    /// Messages that are copied in one go.
    at_once: usize,
    /// How many messages have been looked at.
    pub looked_at: usize,
}

/// Messages that were found, and whether there may be more.
pub(super) struct Part {
    pub found: Vec<Found>,
    pub more: bool,
}

impl Walk {
    /// From the message behind one of this position on, or from the first one on.
    pub(super) fn new(cell: Arc<VhostCell>, queue: &str, after: Option<Position>) -> Self {
        Self {
            cell,
            queue: queue.to_owned(),
            from: after.map(|after| after.saturating_add(1)),
            at_once: AT_ONCE,
            looked_at: 0,
        }
    }

    /// To the message of this position, or the next one if it is not there.
    pub(super) fn to(cell: Arc<VhostCell>, queue: &str, position: Position) -> Self {
        Self { cell, queue: queue.to_owned(), from: Some(position), at_once: 1, looked_at: 0 }
    }

    /// What names the place that has been come to.
    pub(super) fn place(&self) -> Option<String> {
        self.from.map(|from| name_of(from.saturating_sub(1)))
    }

    /// Goes back to just behind a message.
    pub(super) fn go_back(&mut self, position: Position) {
        self.from = Some(position + 1);
    }

    /// The next ones. There are none for now if those on disk do not come in time.
    pub(super) async fn some(&mut self) -> Part {
        let until = Instant::now() + PATIENCE;
        loop {
            let (some, waits) = self.copy();
            if !waits || !some.found.is_empty() || Instant::now() >= until {
                self.looked_at += some.found.len();
                return some;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Copies some, and says whether the next has to be waited for.
    fn copy(&mut self) -> (Part, bool) {
        let (mut found, mut octets) = (Vec::new(), 0);
        let queue = self.queue.as_bytes();
        self.cell.with_vhost(|vhost| {
            while found.len() < self.at_once && octets < OCTETS_AT_ONCE {
                match vhost.browse(queue, self.from) {
                    Step::Found(one) => {
                        self.from = Some(one.position + 1);
                        octets += one.message.octets();
                        found.push(*one);
                    }
                    Step::Wait => return (Part { found, more: true }, true),
                    Step::End => return (Part { found, more: false }, false),
                }
            }
            (Part { found, more: true }, false)
        })
    }
}

/// Those that a filter lets through.
pub(super) async fn filtered(found: Vec<Found>, filter: &Arc<Filter>) -> Result<Vec<Found>, Refusal> {
    let filter = Arc::clone(filter);
    let costly = filter.is_costly();
    let run = move || found.into_iter().filter(|found| filter.matches(found)).collect::<Vec<_>>();
    if !costly {
        return Ok(run());
    }
    aside(run).await
}

fn to_json(found: &Found, encoding: Encoding, truncate: usize) -> Value {
    let message = found.message.message();
    let body = message.body.octets();
    let (payload, written) = encoding.write(&body[..body.len().min(truncate)]);
    json!({
        "position": name_of(found.position),
        "state": if found.ready { "ready" } else { "unacknowledged" },
        "timestamp_in_ms": found.came,
        "exchange": String::from_utf8_lossy(message.exchange),
        "routing_key": String::from_utf8_lossy(message.routing_key),
        "properties": properties::to_json(message.properties),
        "payload_bytes": body.len(),
        "payload": payload,
        "payload_encoding": written,
    })
}

/// Refuses a queue that is not there or cannot be looked into, and then one that is not for this caller.
pub(super) fn check(caller: &Caller, cell: &VhostCell, queue: &str) -> Result<(), Refusal> {
    cell.with_vhost(|vhost| {
        vhost.queue(queue.as_bytes()).ok_or(Refusal::NotFound)?;
        caller.check(&vhost.name, Access::Read, queue)?;
        vhost.check_browsable(queue.as_bytes())?;
        Ok(())
    })
}

/// A page of messages: those that a filter lets through, from the one behind the position `after` on.
async fn browse(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    check(&caller, &cell, &queue)?;
    let bad = |key: &str| Refusal::bad_request(format!("bad value for '{key}'"));
    let number = |key: &str, default: usize| match query.get(key) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| bad(key)),
    };
    let after = match query.get("after") {
        None => None,
        Some(name) => Some(position_of(name).ok_or_else(|| bad("after"))?),
    };
    let (count, truncate) = (number("count", PAGE)?.min(PAGE_MAX), number("truncate", usize::MAX)?);
    let encoding = match query.get("encoding").map(String::as_str) {
        None | Some("auto") => Encoding::Auto,
        Some("base64") => Encoding::Base64,
        Some(_) => return Err(bad("encoding")),
    };
    let filter = Arc::new(Filter::new(|name| query.get(name).cloned())?);
    let mut walk = Walk::new(cell, &queue, after);
    let (mut items, mut octets, mut more) = (Vec::new(), 0, true);
    while more && items.len() < count && octets < PAGE_OCTETS && walk.looked_at < LOOKED_AT_MAX {
        let some = walk.some().await;
        more = some.more;
        if some.found.is_empty() {
            break;
        }
        let mut shown = None;
        for found in filtered(some.found, &filter).await? {
            if items.len() == count || octets >= PAGE_OCTETS {
                // What was copied beyond the page is for the next one.
                if let Some(last) = shown {
                    walk.go_back(last);
                }
                more = true;
                break;
            }
            // Of the body as much as is shown, and all of the rest.
            let body = found.message.body_len();
            octets += found.message.octets().saturating_sub(body) + body.min(truncate);
            items.push(to_json(&found, encoding, truncate));
            shown = Some(found.position);
        }
    }
    Ok(Json(json!({ "items": items, "looked_at": walk.looked_at, "next": walk.place().filter(|_| more) })))
}
