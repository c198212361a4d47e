use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::effects::{Delivery, Effects, Got};
use crate::broker::publish::Outcome;
use crate::broker::queue::consumer::Consume;
use crate::broker::queue::declare::Declaration;
use crate::broker::{ChannelId, ConnectionId, ConsumerId, Vhost};
use crate::log::batch::Batch;
use crate::wire::compose::Table;
use crate::wire::content::{Body, Message};

/// The first octets of the bodies that came.
#[derive(Default)]
struct Came(Vec<u8>);

impl Effects for Came {
    fn has_credit(&mut self, _: ConnectionId) -> bool {
        true
    }
    fn deliver(&mut self, _: &Delivery<'_>, message: &Message<'_>) {
        self.0.push(message.body.octets()[0]);
    }
    fn got(&mut self, _: ConnectionId, _: u16, _: &Got, _: &Message<'_>) {}
    fn cancelled(&mut self, _: ConnectionId, _: u16, _: &[u8]) {}
    fn retry(&mut self, _: ConnectionId) {}
}

/// A stream `s` and a channel.
struct Rig {
    vhost: Vhost,
    channel: ChannelId,
    came: Came,
}

impl Rig {
    fn new(is_kept: bool, arguments: &[(&str, AMQPValue)]) -> Self {
        let mut vhost = Vhost::new("v");
        if is_kept {
            vhost.keep(Arc::default());
        }
        vhost.set_clock(1);
        let mut all = table(arguments);
        all.insert("x-queue-type".into(), text("stream"));
        let (durable, exclusive, auto_delete) = (true, false, false);
        let (name, arguments, creator) = ("s".into(), all, None);
        let stream = Declaration { name, durable, exclusive, auto_delete, arguments, creator };
        vhost.declare_queue(None, stream).expect("a stream");
        let connection = vhost.connect();
        let channel = vhost.open_channel(connection, 1);
        Self { vhost, channel, came: Came::default() }
    }

    fn publish(&mut self, headers: &mut Table, body: &[u8]) -> Outcome {
        let (properties, body) = (headers.properties(), Body::Inline(body));
        let message = Message { exchange: b"", routing_key: b"s", properties: &properties, body };
        let targets = self.vhost.route(&message).targets;
        let now = self.vhost.clock;
        self.vhost.publish(&targets, &message, now, &mut self.came)
    }

    fn publish_three(&mut self) {
        for _ in 0..3 {
            self.publish(&mut Table::default(), b"m");
        }
    }

    fn consume(&mut self, tag: &[u8], prefetch: u16, arguments: &[(&str, AMQPValue)]) {
        let id = self.add_consumer(tag, prefetch, arguments);
        self.vhost.start_consumer(id, &mut self.came);
    }

    /// One that has not been given a turn yet.
    fn add_consumer(&mut self, tag: &[u8], prefetch: u16, arguments: &[(&str, AMQPValue)]) -> ConsumerId {
        self.vhost.set_prefetch(self.channel, prefetch);
        let arguments = table(arguments);
        let wanted = Consume { queue: b"s", tag, no_ack: false, exclusive: false, arguments };
        self.vhost.consume(self.channel, wanted).expect("a consumer")
    }

    /// How many readers have read everything.
    fn at_end(&mut self) -> usize {
        let id = self.vhost.queue_id(b"s").expect("a stream");
        self.vhost.queues[id].stream_parts().map_or(0, |(stream, _)| stream.at_end.len())
    }

    fn gather(&mut self) -> u64 {
        self.vhost.gather(true, &mut Batch::default()).0
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

const SMALL_SEGMENTS: (&str, AMQPValue) = ("x-stream-max-segment-size-bytes", AMQPValue::LongInt(1));

/// So long that it is not gone through in one turn.
#[test]
fn what_is_wanted_behind_a_long_hole_comes_in_another_turn() {
    let mut rig = Rig::new(false, &[SMALL_SEGMENTS]);
    for n in 0..3000 {
        let value = if n == 2900 { "b" } else { "a" };
        let body = [value.as_bytes(), &[0; 1100]].concat();
        rig.publish(Table::default().text("x-stream-filter-value", value), &body);
    }
    rig.consume(b"t", 10, &[("x-stream-filter", text("b")), ("x-stream-offset", text("first"))]);
    assert!(rig.came.0.is_empty(), "others have their turn");
    rig.vhost.set_clock(2);
    rig.vhost.tick(&mut rig.came);
    assert_eq!(rig.came.0, *b"b");
}

/// However many readers there are, and whatever is published meanwhile.
#[test]
fn a_turn_of_all_readers_is_no_longer_than_that_of_one() {
    let mut rig = Rig::new(false, &[]);
    for _ in 0..4900 {
        rig.publish(Table::default().text("x-stream-filter-value", "a"), b"m");
    }
    // So many values that chunks are not asked.
    let values: Vec<_> = (0..100).map(|n| text(&format!("v{n}"))).collect();
    let filter =
        [("x-stream-filter", AMQPValue::FieldArray(values.into())), ("x-stream-offset", text("first"))];
    for n in 0..20_u8 {
        let id = rig.add_consumer(&[b'a' + n], 10, &filter);
        rig.vhost.rejoin(id);
    }
    let id = rig.vhost.queue_id(b"s").expect("a stream");
    rig.vhost.feed(id, &mut rig.came);
    assert_eq!(rig.at_end(), 4);
    (0..17).for_each(|_| rig.publish_three());
    rig.vhost.dispatch_due(&mut rig.came);
    assert_eq!(rig.at_end(), 0, "nobody had another turn");
    for now in 2..30 {
        rig.vhost.set_clock(now);
        rig.vhost.tick(&mut rig.came);
    }
    assert_eq!((rig.at_end(), rig.came.0.len()), (20, 0));
}

#[test]
fn ages_beyond_all_time() {
    for age in ["99999999999999999999D", "18446744073709551615s", "584542046Y"] {
        let mut rig = Rig::new(false, &[SMALL_SEGMENTS, ("x-max-age", text(age))]);
        for _ in 0..3 {
            rig.publish(&mut Table::default(), &[0; 1200]);
        }
        let due = rig.vhost.next_alarm();
        assert!(due.is_none_or(|due| due > 1 << 60), "{age}: {due:?}");
        rig.vhost.set_clock(2);
        rig.vhost.tick(&mut rig.came);
        assert_eq!(rig.vhost.queue(b"s").expect("a stream").available(), 3);
    }
}

#[test]
fn a_stream_waits_for_its_commits_once() {
    let mut rig = Rig::new(true, &[]);
    for _ in 0..3 {
        rig.publish_three();
        assert_eq!(rig.vhost.writing_streams.len(), 1);
        let commit = rig.gather();
        rig.publish_three();
        rig.vhost.announce(commit);
        assert_eq!(rig.vhost.writing_streams.len(), 1, "for what came meanwhile");
    }
    let commit = rig.gather();
    rig.vhost.announce(commit);
    assert_eq!((rig.vhost.writing_streams.len(), rig.vhost.queue(b"s").expect("it").available()), (0, 18));
}

#[test]
fn an_offset_that_is_set_is_with_the_next_commit() {
    let mut rig = Rig::new(true, &[]);
    rig.vhost.take_changes();
    for (next, expected) in [(Some(7), "PutMark"), (None, "DeleteMark")] {
        assert_eq!(rig.vhost.set_group_offset(b"s", "g", next), Ok(true));
        let changes = format!("{:?}", rig.vhost.take_changes());
        assert!(changes.contains(expected) && changes.contains("\"g\""), "{changes}");
    }
    assert_eq!(rig.vhost.set_group_offset(b"s", "g", None), Ok(false));
}

#[test]
fn a_duplicate_behind_a_commit_under_way_is_confirmed_by_one_that_comes() {
    let mut rig = Rig::new(true, &[]);
    let mut numbered = Table::default();
    numbered.text("x-stream-publisher", "p").long_int("x-stream-sequence", 1);
    rig.publish(&mut numbered, b"first");
    let commit = rig.gather();
    assert!(matches!(rig.publish(&mut numbered, b"again"), Outcome::Kept(after) if after > commit));
    assert!(rig.vhost.calls().gather, "or nobody would make that commit");
    let next = rig.gather();
    rig.vhost.announce(commit);
    rig.vhost.announce(next);
    assert!(matches!(rig.publish(&mut numbered, b"again"), Outcome::Done), "it is on disk");
}

#[test]
fn what_is_too_old_goes_in_turns() {
    let mut rig = Rig::new(false, &[SMALL_SEGMENTS, ("x-max-age", text("1s"))]);
    for _ in 0..100 {
        rig.publish(&mut Table::default(), &[0; 1200]);
    }
    let left = |rig: &Rig| rig.vhost.queue(b"s").expect("a stream").available();
    rig.vhost.set_clock(10_000);
    rig.vhost.tick(&mut rig.came);
    assert_eq!(left(&rig), 100 - 4 * 16, "others have their turn");
    assert_eq!(rig.vhost.next_alarm(), Some(10_000));
    rig.vhost.tick(&mut rig.came);
    assert_eq!(left(&rig), 1);
    assert!(rig.vhost.next_alarm().is_none_or(|at| at > 10_000));
}
