//! The firehose: as long as it is on, everything that is published, delivered and settled is told to the exchange
//! `amq.rabbitmq.trace`, with the message's body and what else is known of it in headers, as RabbitMQ has it.
//! What is settled is told by Leveret alone.

use bytes::Bytes;

use super::channel::Unacked;
use super::post::Kept;
use super::settle::Verdict;
use super::vhost::Vhost;
use super::{ChannelId, ConnectionId, Name, QueueId};
use crate::wire::compose::{Array, Table};
use crate::wire::content::{Body, Message};
use crate::wire::headers;
use crate::wire::properties::{self, DELIVERY_MODE, HEADERS, PRIORITY, TIMESTAMP};
use crate::wire::table::{self, Value};

/// Where everything is told.
pub const EXCHANGE: &str = "amq.rabbitmq.trace";

/// The names of properties from the highest flag down.
const PROPERTIES: [&str; 14] = [
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
];

/// Who is behind a connection, for those who are told of it.
#[derive(Clone, Debug)]
pub struct Who {
    /// The connection's name.
    pub name: Name,
    pub user: Name,
    /// Where it comes from: an address and a port.
    pub host: Name,
    pub port: u16,
}

impl Default for Who {
    fn default() -> Self {
        Self { name: "".into(), user: "".into(), host: "".into(), port: 0 }
    }
}

impl Vhost {
    /// Turns the firehose on or off.
    pub fn set_tracing(&mut self, tracing: bool) {
        self.tracing = tracing;
    }

    pub fn is_tracing(&self) -> bool {
        self.tracing
    }

    /// Says who a connection is.
    pub fn introduce(&mut self, connection: ConnectionId, who: Who) {
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.who = Some(who);
        }
    }

    /// Tells that a message was published, and where it is going to.
    pub fn trace_publish(
        &mut self,
        connection: ConnectionId,
        channel: u16,
        message: &Message<'_>,
        targets: &[QueueId],
    ) {
        let names = targets.iter().filter_map(|id| self.queues.get(*id)).map(|queue| queue.name.as_bytes());
        let routed_queues = Some(Array::of(names));
        let what = What { message: Some(*message), routed_queues, ..What::default() };
        self.tell(b"publish.", message.exchange, connection, channel, &what);
    }

    /// Tells that a message is delivered or fetched.
    pub(super) fn trace_delivery(
        &mut self,
        channel: ChannelId,
        queue: QueueId,
        redelivered: bool,
        message: &Message<'_>,
    ) {
        let what = What { message: Some(*message), redelivered: Some(redelivered), ..What::default() };
        self.tell_of_queue(b"deliver.", queue, channel, &what);
    }

    /// Tells what became of a delivery. Of a message that is no longer in memory only its tag and its queue are known.
    pub(super) fn trace_settled(&mut self, channel: ChannelId, delivery: &Unacked, verdict: Verdict) {
        let message = self.queues.get(delivery.queue).and_then(|queue| {
            let record = queue.record(delivery.position)?;
            Some(queue.shown(delivery.position, &record, Kept::of))
        });
        let (key, requeue): (&[u8], _) = match verdict {
            Verdict::Done => (b"ack.", None),
            Verdict::Discard | Verdict::Reject => (b"reject.", Some(false)),
            Verdict::Requeue | Verdict::Fail => (b"reject.", Some(true)),
        };
        let what = What {
            message: message.as_ref().map(Kept::message),
            delivery_tag: Some(delivery.delivery_tag),
            requeue,
            ..What::default()
        };
        self.tell_of_queue(key, delivery.queue, channel, &what);
    }

    /// The same, of what a transaction settles.
    pub fn trace_collected(&mut self, channel: ChannelId, taken: &[Unacked], verdict: Verdict) {
        taken.iter().for_each(|delivery| self.trace_settled(channel, delivery, verdict));
    }

    fn tell_of_queue(&mut self, key: &[u8], queue: QueueId, channel: ChannelId, what: &What<'_>) {
        // Or there would be no end.
        if what.message.is_some_and(|message| message.exchange == EXCHANGE.as_bytes()) {
            return;
        }
        let (Some(on), Some(queue)) = (self.channels.get(channel), self.queue_name(queue)) else { return };
        let (connection, number) = (on.connection, on.number);
        self.tell(key, queue.as_bytes(), connection, number, what);
    }

    fn tell(&mut self, key: &[u8], of: &[u8], connection: ConnectionId, channel: u16, what: &What<'_>) {
        let exchange = self.exchange(EXCHANGE.as_bytes());
        if exchange.is_none_or(|exchange| exchange.bindings.is_empty() && exchange.alternate().is_none()) {
            return;
        }
        let who = self.connections.get(connection).and_then(|found| found.who.as_ref());
        let properties = what.headers(self, who, channel).properties();
        let body = match what.message.map(|message| message.body) {
            Some(Body::Inline(octets)) => Bytes::copy_from_slice(octets),
            Some(Body::Shared(bytes)) => bytes.clone(),
            None => Bytes::new(),
        };
        self.post(EXCHANGE.as_bytes(), &[key, of].concat(), properties, body);
    }
}

/// What there is to tell of a message.
#[derive(Default)]
struct What<'a> {
    message: Option<Message<'a>>,
    delivery_tag: Option<u64>,
    redelivered: Option<bool>,
    requeue: Option<bool>,
    routed_queues: Option<Array>,
}

impl What<'_> {
    /// In the order of their names, as RabbitMQ sends them.
    fn headers(&self, vhost: &Vhost, who: Option<&Who>, channel: u16) -> Table {
        let mut headers = Table::default();
        headers.int("channel", channel.into()).text("connection", who.map_or("", |who| &*who.name));
        if let Some(tag) = self.delivery_tag {
            headers.long_int("delivery_tag", tag.cast_signed());
        }
        if let Some(message) = &self.message {
            headers.text("exchange_name", message.exchange);
        }
        headers.text("node", &*vhost.node);
        if let Some(message) = &self.message {
            headers.table("properties", &listed(message.properties));
        }
        // Numbers, in RabbitMQ too.
        if let Some(redelivered) = self.redelivered {
            headers.int("redelivered", redelivered.into());
        }
        if let Some(requeue) = self.requeue {
            headers.int("requeue", requeue.into());
        }
        if let Some(queues) = &self.routed_queues {
            headers.array("routed_queues", queues);
        }
        if let Some(message) = &self.message {
            headers.array("routing_keys", &routing_keys(message));
        }
        headers.text("user", who.map_or("none", |who| &*who.user)).text("vhost", &*vhost.name);
        headers
    }
}

/// A property list as a table, the last ones first, as RabbitMQ has them, and without what nobody is to see.
fn listed(raw: &[u8]) -> Table {
    let mut listed = Table::default();
    let is_blind = properties::find(raw, HEADERS).is_some_and(|found| table::find(found, b"BCC").is_some());
    let without = if is_blind { headers::without(raw, b"BCC") } else { None };
    let raw = without.as_deref().unwrap_or(raw);
    let all: Vec<_> = properties::each(raw).collect();
    for (flag, octets) in all.into_iter().rev() {
        let Some(name) = PROPERTIES.get(flag.leading_zeros() as usize) else { continue };
        match (flag, octets) {
            (HEADERS, octets) => listed.raw_table(name, octets),
            (DELIVERY_MODE | PRIORITY, octets) => {
                listed.int(name, octets.first().copied().unwrap_or(0).into())
            }
            (TIMESTAMP, [a, b, c, d, e, f, g, h]) => {
                let seconds = i64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                match i32::try_from(seconds) {
                    Ok(seconds) => listed.int(name, seconds),
                    Err(_) => listed.long_int(name, seconds),
                }
            }
            (_, octets) => listed.text(name, octets),
        };
    }
    listed
}

/// A message's routing key, and those it has beside it.
fn routing_keys(message: &Message<'_>) -> Array {
    let mut keys = Array::of([message.routing_key]);
    let headers = properties::find(message.properties, HEADERS).unwrap_or_default();
    for name in [&b"CC"[..], b"BCC"] {
        if let Some(Value::Array(items)) = table::find(headers, name).map(|field| field.value()) {
            table::long_strings(items).for_each(|key| {
                keys.text(key);
            });
        }
    }
    keys
}
