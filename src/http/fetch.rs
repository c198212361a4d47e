//! Taking messages out of a queue, for people to look at: `basic.get` over HTTP.
//!
//! It is done as RabbitMQ does it, by a connection and a channel that live for one request, so that what a queue does
//! with what is given back (counts, delivery limits, dead letters) is the same as with any client. To look without
//! touching, see `browse`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::body::{Body, Fields};
use super::caller::Caller;
use super::properties;
use super::publish::numbered;
use super::refusal::Refusal;
use super::resource::{Names, resource};
use crate::auth::Access;
use crate::broker::effects::{Delivery, Effects, Got};
use crate::broker::queue::dispatch::Fetched;
use crate::broker::settle::Verdict;
use crate::broker::trace::Who;
use crate::broker::{ChannelId, ConnectionId, Vhost};
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::changes::NotKept;
use crate::session::outbox::Outboxes;
use crate::wire::content::{self, Message};
use crate::wire::reply::{Exception, ReplyCode};

/// Messages taken in one go.
const AT_ONCE: u64 = 100;
/// Octets of messages in one reply, and what each takes beside its own; it ends after those that reach them.
const REPLY_MAX: usize = 64 << 20;
const BESIDE: usize = 1 << 10;
/// How long to wait for a message that is on disk, before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/queues/{vhost}/{queue}/get", resource("POST, OPTIONS", post(take)))
}

/// What is asked for.
struct Wanted {
    count: u64,
    /// What becomes of the messages; `None` if they are taken without a word.
    verdict: Option<Verdict>,
    encoding: Encoding,
    /// Octets of a body that are shown.
    truncate: usize,
}

/// How bodies are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As text if it is UTF-8, else in base64.
    Auto,
    Base64,
}

impl Encoding {
    /// A body, and the name of how it is written.
    pub(super) fn write(self, body: &[u8]) -> (String, &'static str) {
        match std::str::from_utf8(body) {
            Ok(text) if self == Self::Auto => (text.to_owned(), "string"),
            _ => (STANDARD.encode(body), "base64"),
        }
    }

    pub(super) fn from_json(value: Option<&Value>) -> Result<Self, Refusal> {
        match value.and_then(Value::as_str) {
            Some("auto") => Ok(Self::Auto),
            Some("base64") => Ok(Self::Base64),
            _ => Err(Refusal::bad_request("Unsupported encoding. Please use auto or base64.")),
        }
    }
}

impl Wanted {
    fn new(fields: &Fields) -> Result<Self, Refusal> {
        fields.require(&["ackmode", "count", "encoding"])?;
        let ackmode = fields.get("ackmode").cloned().unwrap_or_default();
        let verdict = match ackmode.as_str() {
            Some("ack_requeue_true") => Some(Verdict::Requeue),
            Some("ack_requeue_false") => None,
            Some("reject_requeue_true") => Some(Verdict::Fail),
            Some("reject_requeue_false") => Some(Verdict::Reject),
            _ => {
                let shown = ackmode.as_str().map_or_else(|| ackmode.to_string(), str::to_owned);
                return Err(Refusal::bad_request(format!(
                    "Invalid ackmode value: {shown}. Valid values are: ack_requeue_true, ack_requeue_false, \
                     reject_requeue_true, reject_requeue_false"
                )));
            }
        };
        let truncate = match fields.get("truncate") {
            None => usize::MAX,
            Some(value) => usize::try_from(integer(value)?).unwrap_or_default(),
        };
        // A negative number is as good as no limit, as in RabbitMQ.
        let count = fields.get("count").map_or(Ok(0), integer)?;
        Ok(Self {
            count: u64::try_from(count).unwrap_or(u64::MAX),
            verdict,
            encoding: Encoding::from_json(fields.get("encoding"))?,
            truncate,
        })
    }
}

/// An integer, which may be written as text, or with a part behind the point that counts for nothing.
fn integer(value: &Value) -> Result<i64, Refusal> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        _ => None,
    };
    number.ok_or_else(|| Refusal::bad_request(json!(["not_integer", value])))
}

/// A message that was taken.
struct Taken {
    redelivered: bool,
    exchange: String,
    routing_key: String,
    properties: Box<[u8]>,
    size: usize,
    /// What is to be shown of its body.
    body: Bytes,
    left: usize,
}

impl Taken {
    fn new(got: &Got, message: &Message<'_>, truncate: usize) -> Self {
        let size = message.body.size();
        let shown = size.min(truncate);
        let body = match message.body {
            content::Body::Inline(octets) => Bytes::copy_from_slice(&octets[..shown]),
            content::Body::Shared(bytes) => bytes.slice(..shown),
        };
        Self {
            redelivered: got.redelivered,
            exchange: String::from_utf8_lossy(message.exchange).into_owned(),
            routing_key: String::from_utf8_lossy(message.routing_key).into_owned(),
            properties: message.properties.into(),
            size,
            body,
            left: got.left,
        }
    }

    fn octets(&self) -> usize {
        self.body.len() + self.properties.len() + BESIDE
    }

    fn to_json(&self, encoding: Encoding) -> Value {
        let (payload, written) = encoding.write(&self.body);
        json!({
            "payload_bytes": self.size,
            "redelivered": self.redelivered,
            "exchange": self.exchange,
            "routing_key": self.routing_key,
            "message_count": self.left,
            "properties": properties::to_json(&self.properties),
            "payload": payload,
            "payload_encoding": written,
        })
    }
}

/// Takes what is meant for a visitor, and leaves the rest to the outboxes.
struct Collector<'a> {
    outboxes: &'a mut Outboxes,
    visitor: ConnectionId,
    truncate: usize,
    taken: &'a mut Vec<Taken>,
}

impl Effects for Collector<'_> {
    fn has_credit(&mut self, connection: ConnectionId) -> bool {
        self.outboxes.has_credit(connection)
    }

    fn deliver(&mut self, to: &Delivery<'_>, message: &Message<'_>) {
        self.outboxes.deliver(to, message);
    }

    fn got(&mut self, connection: ConnectionId, channel: u16, got: &Got, message: &Message<'_>) {
        if connection == self.visitor {
            self.taken.push(Taken::new(got, message, self.truncate));
        } else {
            self.outboxes.got(connection, channel, got, message);
        }
    }

    fn cancelled(&mut self, connection: ConnectionId, channel: u16, consumer_tag: &[u8]) {
        self.outboxes.cancelled(connection, channel, consumer_tag);
    }

    fn takes_cancel(&mut self, connection: ConnectionId) -> bool {
        self.outboxes.takes_cancel(connection)
    }

    fn channel_closed(&mut self, connection: ConnectionId, channel: u16, why: &Exception) {
        self.outboxes.channel_closed(connection, channel, why);
    }

    fn retry(&mut self, connection: ConnectionId) {
        self.outboxes.retry(connection);
    }
}

/// A connection for one request. What it has not settled when the request ends, however it ends, goes back.
struct Visit {
    cell: Arc<VhostCell>,
    connection: ConnectionId,
    channel: ChannelId,
}

impl Visit {
    fn begin(cell: Arc<VhostCell>, user: &Arc<str>) -> Self {
        let (connection, channel) = cell.with_vhost(|vhost| {
            let connection = vhost.connect();
            vhost.introduce(
                connection,
                Who { name: "management API".into(), user: Arc::clone(user), ..Who::default() },
            );
            (connection, vhost.open_channel(connection, 1))
        });
        Self { cell, connection, channel }
    }

    /// Takes some messages, and says whether there may be more, and whether they have to be waited for.
    fn take(&self, queue: &str, wanted: &Wanted, taken: &mut Vec<Taken>) -> Result<Fetched, Exception> {
        self.cell.with(|vhost, outboxes| {
            let mut fx = Collector { outboxes, visitor: self.connection, truncate: wanted.truncate, taken };
            let mut last = Fetched::Message;
            for _ in 0..AT_ONCE.min(wanted.count.saturating_sub(fx.taken.len() as u64)) {
                last = vhost.get(self.channel, queue.as_bytes(), wanted.verdict.is_none(), &mut fx)?;
                if last != Fetched::Message {
                    break;
                }
            }
            Ok(last)
        })
    }

    fn settle(&self, verdict: Verdict) -> Result<(), Exception> {
        // All that the channel has.
        self.cell.with(|vhost, _| vhost.settle(self.channel, 0, true, verdict))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.cell.with(|vhost, outboxes| vhost.disconnect(self.connection, outboxes));
    }
}

async fn take(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let missing = || Refusal::Missing("queue_not_found".to_owned());
    cell.with_vhost(|vhost| vhost.queue(queue.as_bytes()).map(drop)).ok_or_else(missing)?;
    let wanted = Wanted::new(&body.fields()?)?;
    cell.with_vhost(|vhost| check_read(&caller, vhost, &queue))?;
    let visit = Visit::begin(cell, &caller.user.name);
    let (mut taken, mut octets) = (Vec::new(), 0);
    while (taken.len() as u64) < wanted.count && octets < REPLY_MAX {
        let before = taken.len();
        let last = visit.take(&queue, &wanted, &mut taken).map_err(|exception| refusal(&exception))?;
        octets += taken[before..].iter().map(Taken::octets).sum::<usize>();
        match last {
            Fetched::Message => tokio::task::yield_now().await,
            Fetched::Wait => sleep(LOOK_AGAIN).await,
            Fetched::Empty => break,
        }
    }
    if let Some(verdict) = wanted.verdict {
        visit.settle(verdict)?;
    }
    drop(visit);
    let write = move || taken.iter().map(|message| message.to_json(wanted.encoding)).collect::<Value>();
    // It fails only when the node is going down.
    let written = spawn_blocking(write).await.map_err(|_| Refusal::NotKept(NotKept))?;
    Ok(Json(written))
}

fn check_read(caller: &Caller, vhost: &Vhost, queue: &str) -> Result<(), Refusal> {
    caller.check(&vhost.name, Access::Read, queue).map_err(|_| {
        let described = vhost.describe("queue", queue.as_bytes());
        let user = &caller.user.name;
        Refusal::Refused(format!("ACCESS_REFUSED - read access to {described} refused for user '{user}'"))
    })
}

/// What closes a connection comes without the name of its code, as in RabbitMQ.
fn refusal(exception: &Exception) -> Refusal {
    match exception.code {
        ReplyCode::NotFound => Refusal::Missing("queue_not_found".to_owned()),
        code if code.is_hard() => {
            Refusal::bad_request(format!("{} {}", code.number(), exception.explanation))
        }
        _ => Refusal::bad_request(numbered(exception)),
    }
}
