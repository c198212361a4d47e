//! What was published, who reads it, and what came out.

use std::collections::VecDeque;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::effects::{Delivery, Effects, Got};
use leveret::broker::queue::declare::Declaration;
use leveret::broker::{ChannelId, ConnectionId, ConsumerId, QueueId, Vhost};
use leveret::log::budget::Budget;
use leveret::wire::content::Message;
use leveret::wire::properties::{self, HEADERS};
use leveret::wire::reply::Exception;
use leveret::wire::table::{self, Value};

use super::random::Random;

/// A message that was published.
#[derive(Clone, Debug)]
pub struct Entry {
    pub body: Vec<u8>,
    pub value: Option<&'static str>,
    pub time: u64,
    /// Its publisher and its number.
    pub numbered: Option<(usize, u64)>,
    pub confirmed: bool,
}

/// What a consumer should get.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What is before it has been got, or is none of its business.
    pub next: u64,
    pub since: Option<u64>,
    pub values: Option<Vec<&'static str>>,
    pub bare: bool,
    pub unacked: VecDeque<(u64, u64)>,
    pub in_group: bool,
    pub id: ConsumerId,
}

impl Reading {
    pub fn wants(&self, entry: &Entry) -> bool {
        let filtered = match (&self.values, entry.value) {
            (None, _) => true,
            (Some(_), None) => self.bare,
            (Some(values), Some(value)) => values.contains(&value),
        };
        filtered && self.since.is_none_or(|since| entry.time >= since)
    }
}

/// What came out, to be looked at after each call.
#[derive(Debug, Default)]
pub struct Outside {
    pub deliveries: Vec<(Vec<u8>, u64, u64, Vec<u8>)>,
    /// How many deliveries the connection still takes.
    pub credit: usize,
}

impl Effects for Outside {
    fn has_credit(&mut self, _: ConnectionId) -> bool {
        self.credit > 0
    }
    fn deliver(&mut self, to: &Delivery<'_>, message: &Message<'_>) {
        self.credit -= 1;
        assert!(!to.redelivered);
        let headers = properties::find(message.properties, HEADERS).expect("headers");
        let Some(Value::Int(offset)) = table::find(headers, b"x-stream-offset").map(|field| field.value())
        else {
            panic!("no offset");
        };
        let body = message.body.octets().to_vec();
        self.deliveries.push((to.consumer_tag.to_vec(), to.delivery_tag, offset as u64, body));
    }
    fn got(&mut self, _: ConnectionId, _: u16, _: &Got, _: &Message<'_>) {}
    fn cancelled(&mut self, _: ConnectionId, _: u16, _: &[u8]) {}
    fn channel_closed(&mut self, _: ConnectionId, _: u16, _: &Exception) {}
    fn retry(&mut self, _: ConnectionId) {}
}

pub fn arguments(random: &mut Random) -> (FieldTable, Option<u64>, Option<u64>) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    let segment = 1024 + random.below(4000) as i64;
    arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(segment));
    let max_octets = random.chance(50).then(|| 1000 + random.below(20_000) as u64);
    if let Some(max) = max_octets {
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(max as i64));
    }
    let max_age = random.chance(30).then_some(60_000);
    if max_age.is_some() {
        arguments.insert("x-max-age".into(), AMQPValue::LongString("1m".into()));
    }
    (arguments, max_octets, max_age)
}

pub fn new_vhost(
    budget: &Arc<Budget>,
    arguments: &FieldTable,
    now: u64,
) -> (Vhost, QueueId, ConnectionId, ChannelId) {
    let mut vhost = Vhost::new("v");
    vhost.keep(Arc::clone(budget));
    vhost.set_clock(now);
    let declaration = Declaration {
        name: "s".into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: arguments.clone(),
        creator: None,
    };
    vhost.declare_queue(None, declaration).expect("a stream");
    let queue = vhost.kept_queues()[0].0;
    let connection = vhost.connect();
    let channel = vhost.open_channel(connection, 1);
    (vhost, queue, connection, channel)
}
