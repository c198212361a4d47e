//! Moving and copying selected messages: from a dead-letter queue back to where they came from, or anywhere else. RabbitMQ
//! has nothing like it but shovels, which move everything.
//!
//! A message leaves its queue only when it is on disk where it goes, as with dead letters that must not get lost. If the
//! node dies in between it is in both places; it is lost in neither. It is in both, too, if a consumer gets it meanwhile,
//! and the reply says so.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::body::{Body, Fields};
use super::caller::Caller;
use super::filter::Filter;
use super::messages::{Part, Walk, check, filtered, name_of, position_of};
use super::properties;
use super::refusal::Refusal;
use super::resource::{Names, exchange_name, resource};
use super::room::ended;
use crate::auth::Access;
use crate::broker::browse::{Dropped, Forwarded, Found, is_before};
use crate::broker::commit::Commit;
use crate::broker::publish::Outcome;
use crate::log::Position;
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::events::{acting, acting_for};

/// Messages moved by one request, unless another number is asked for, and at the most.
const COUNT: usize = 1_000;
const COUNT_MAX: usize = 100_000;
/// Messages that are left where they are and named in the reply.
const NAMED_MAX: usize = 100;
/// How long a message on disk is waited for, and how long until the next look.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/queues/{vhost}/{queue}/messages/move", resource("POST, OPTIONS", post(transfer)))
        .route("/api/queues/{vhost}/{queue}/messages/copy", resource("POST, OPTIONS", post(copy)))
}

/// Where messages go.
#[derive(Clone, Debug)]
enum To {
    /// To an exchange, with another routing key or their own.
    Exchange(String, Option<String>),
    Queue(String),
    /// To the queue that each of them died in last.
    Origin,
}

impl To {
    fn from_json(value: Option<&Value>) -> Result<Self, Refusal> {
        let wrong = || {
            Refusal::bad_request(
                "destination must be \"origin\", {\"queue\": NAME}, or {\"exchange\": NAME, \"routing_key\": KEY}",
            )
        };
        let fields = match value {
            Some(Value::String(text)) if text == "origin" => return Ok(Self::Origin),
            Some(Value::Object(fields)) => fields,
            _ => return Err(wrong()),
        };
        let text = |key: &str| match fields.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= 255 => Ok(Some(text.clone())),
            Some(_) => Err(wrong()),
        };
        match (text("queue")?, text("exchange")?, text("routing_key")?) {
            (Some(queue), None, None) => Ok(Self::Queue(queue)),
            (None, Some(exchange), key) => Ok(Self::Exchange(exchange_name(&exchange).to_owned(), key)),
            _ => Err(wrong()),
        }
    }

    /// Exchange and routing key for a message; none if nobody knows where it came from.
    fn of(&self, found: &Found) -> Option<(String, String)> {
        let message = found.message.message();
        match self {
            Self::Exchange(exchange, key) => {
                let own = || String::from_utf8_lossy(message.routing_key).into_owned();
                Some((exchange.clone(), key.clone().unwrap_or_else(own)))
            }
            Self::Queue(queue) => Some((String::new(), queue.clone())),
            Self::Origin => {
                let properties = properties::to_json(message.properties);
                let died_in = properties.pointer("/headers/x-death/0/queue")?.as_str()?;
                Some((String::new(), died_in.to_owned()))
            }
        }
    }
}

/// What is asked for.
struct Wanted {
    to: To,
    /// Just these messages, where they are named.
    positions: Option<Vec<Position>>,
    filter: Arc<Filter>,
    after: Option<Position>,
    count: usize,
    /// Whether they stay where they are, too.
    copy: bool,
}

impl Wanted {
    fn new(fields: &Fields, copy: bool) -> Result<Self, Refusal> {
        fields.require(&["destination"])?;
        let bad = |key: &str| Refusal::bad_request(format!("bad value for '{key}'"));
        let position = |value: &Value| value.as_str().and_then(position_of);
        let positions = match fields.get("positions") {
            None | Some(Value::Null) => None,
            Some(Value::Array(names)) => {
                Some(names.iter().map(position).collect::<Option<Vec<_>>>().ok_or_else(|| bad("positions"))?)
            }
            Some(_) => return Err(bad("positions")),
        };
        let count = match fields.get("count") {
            None | Some(Value::Null) => COUNT,
            Some(value) => {
                let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
                count.ok_or_else(|| bad("count"))?
            }
        };
        let after = match fields.get("after") {
            None | Some(Value::Null) => None,
            Some(value) => Some(position(value).ok_or_else(|| bad("after"))?),
        };
        Ok(Self {
            to: To::from_json(fields.get("destination"))?,
            positions,
            filter: Arc::new(Filter::from_json(fields.get("filter"))?),
            after,
            count: count.min(COUNT_MAX),
            copy,
        })
    }
}

/// What has been done.
#[derive(Default)]
struct Report {
    matched: usize,
    done: usize,
    left: usize,
    named: Vec<Value>,
    next: Option<String>,
    /// Why it has ended before its end.
    stopped: Option<&'static str>,
}

impl Report {
    fn is_empty(&self) -> bool {
        self.done == 0 && self.left == 0
    }

    /// A message stays where it is, or is somewhere else as well.
    fn leave(&mut self, position: Position, reason: &str) {
        self.left += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(json!({ "position": name_of(position), "reason": reason }));
        }
    }

    fn to_json(&self, copy: bool) -> Value {
        let done = if copy { "copied" } else { "moved" };
        json!({
            "matched": self.matched, done: self.done, "left": self.left, "skipped": self.named,
            "next": self.next, "stopped": self.stopped,
        })
    }
}

async fn transfer(
    state: State<Arc<Node>>,
    caller: Caller,
    names: Names<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    start(state, caller, names, &body, false).await
}

async fn copy(
    state: State<Arc<Node>>,
    caller: Caller,
    names: Names<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    start(state, caller, names, &body, true).await
}

async fn start(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
    body: &Body,
    copy: bool,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    check(&caller, &cell, &queue)?;
    let wanted = Wanted::new(&body.fields()?, copy)?;
    let run = Run { node, caller, cell, queue, wanted, report: Report::default() };
    // To its end, even if nobody waits for the reply any more.
    let user = acting().unwrap_or_else(|| "".into());
    let done = tokio::spawn(acting_for(user, run.all())).await;
    done.map_err(|error| ended(&error))?.map(|report| Json(report.to_json(copy)))
}

struct Run {
    node: Arc<Node>,
    caller: Caller,
    cell: Arc<VhostCell>,
    queue: String,
    wanted: Wanted,
    report: Report,
}

impl Run {
    async fn all(mut self) -> Result<Report, Refusal> {
        let ends = self.cell.with_vhost(|vhost| vhost.browse_ends(self.queue.as_bytes()));
        match self.wanted.positions.take() {
            Some(positions) => self.named(&positions).await?,
            None => self.found(&ends).await?,
        }
        self.cell.kept().await?;
        Ok(self.report)
    }

    /// Messages that are named one by one.
    async fn named(&mut self, positions: &[Position]) -> Result<(), Refusal> {
        for position in positions.iter().take(self.wanted.count) {
            let mut walk = Walk::to(Arc::clone(&self.cell), &self.queue, *position);
            let Part { found, more } = walk.some().await;
            if self.report.stopped.is_some() {
                break;
            }
            match found.into_iter().next() {
                Some(found) if found.position == *position && found.ready => self.part(vec![found]).await?,
                None if more => self.report.leave(*position, "not_read_in_time"),
                _ => self.report.leave(*position, "gone"),
            }
        }
        Ok(())
    }

    /// Messages that a filter lets through, of those that were there at the beginning.
    async fn found(&mut self, ends: &[Position]) -> Result<(), Refusal> {
        let mut walk = Walk::new(Arc::clone(&self.cell), &self.queue, self.wanted.after);
        let mut more = true;
        while more && self.report.matched < self.wanted.count && self.report.stopped.is_none() {
            let some = walk.some().await;
            more = some.more;
            if some.found.is_empty() {
                break;
            }
            let mut chosen = filtered(some.found, &self.wanted.filter).await?;
            chosen.retain(|found| found.ready && is_before(found.position, ends));
            let room = self.wanted.count - self.report.matched;
            if let Some(last) = chosen.get(room.saturating_sub(1)).filter(|_| chosen.len() > room) {
                walk.go_back(last.position);
                more = true;
            }
            chosen.truncate(room);
            self.part(chosen).await?;
        }
        self.report.next = walk.place().filter(|_| more);
        Ok(())
    }

    /// Publishes some messages, waits until they are on disk, and takes them out of their queue.
    async fn part(&mut self, chosen: Vec<Found>) -> Result<(), Refusal> {
        if self.node.alarms.any() {
            return self.stop();
        }
        // Who may not do it any more, or is not there any more, does not go on.
        self.caller.look_again(&self.node);
        self.report.matched += chosen.len();
        let (mut published, mut last) = (Vec::new(), None);
        for found in chosen {
            let position = found.position;
            let Some((exchange, key)) = self.wanted.to.of(&found) else {
                self.report.leave(position, "no_origin");
                continue;
            };
            match self.forward(&found, &exchange, &key).await {
                Ok(Forwarded::Published(Outcome::Refused)) => self.report.leave(position, "rejected"),
                Ok(Forwarded::Published(outcome)) => {
                    published.push(position);
                    if let Outcome::Kept(commit) = outcome {
                        last = last.max(Some(commit));
                    }
                }
                Ok(Forwarded::Unroutable) => self.report.leave(position, "unroutable"),
                Ok(Forwarded::Wait) => self.report.leave(position, "not_read_in_time"),
                Ok(Forwarded::Gone) => self.report.leave(position, "gone"),
                // Once something has been done the reply has to tell of it.
                Err(refusal) if published.is_empty() && self.report.is_empty() => return Err(refusal),
                Err(_) => self.report.leave(position, "refused"),
            }
        }
        self.settle(published, last).await
    }

    /// An alarm ends it: with what has been done so far, if anything has.
    fn stop(&mut self) -> Result<(), Refusal> {
        if self.report.matched == 0 {
            return Err(Refusal::Unavailable("resource_alarm"));
        }
        self.report.stopped = Some("resource_alarm");
        Ok(())
    }

    /// Publishes one, if the caller may.
    async fn forward(&self, found: &Found, exchange: &str, key: &str) -> Result<Forwarded, Refusal> {
        let until = Instant::now() + PATIENCE;
        loop {
            let forwarded = self.cell.with(|vhost, outboxes| {
                self.caller.check(&vhost.name, Access::Write, exchange)?;
                vhost.check_publishable(exchange.as_bytes())?;
                vhost.check_topic(
                    &self.caller.user.name,
                    Access::Write,
                    exchange.as_bytes(),
                    key.as_bytes(),
                )?;
                let to = (exchange.as_bytes(), key.as_bytes());
                Ok::<_, Refusal>(vhost.forward(self.queue.as_bytes(), found, to, outboxes))
            })?;
            if forwarded != Forwarded::Wait || Instant::now() >= until {
                return Ok(forwarded);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn settle(&mut self, published: Vec<Position>, last: Option<Commit>) -> Result<(), Refusal> {
        if let Some(commit) = last {
            self.cell.committed(commit).await?;
        }
        if self.wanted.copy {
            self.report.done += published.len();
            return Ok(());
        }
        for position in published {
            match self.drop_one(position).await {
                Dropped::Done => self.report.done += 1,
                Dropped::Wait => self.report.leave(position, "published_and_not_removed"),
                Dropped::Gone => self.report.leave(position, "published_and_delivered"),
            }
        }
        Ok(())
    }

    async fn drop_one(&self, position: Position) -> Dropped {
        let until = Instant::now() + PATIENCE;
        loop {
            let dropped = self.cell.with_vhost(|vhost| vhost.drop_ready(self.queue.as_bytes(), position));
            if dropped != Dropped::Wait || Instant::now() >= until {
                return dropped;
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}
