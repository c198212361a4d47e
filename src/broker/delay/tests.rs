//! The order and the time of deliveries, with a clock of our own, and what is asked of the disk.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::index::Entry;
use super::manage::Look;
use crate::broker::compatibility::Compatibility;
use crate::broker::dead_letter::BLIND;
use crate::broker::definitions::tests::Nobody;
use crate::broker::effects::{Delivery, Effects, Got};
use crate::broker::exchange::Kind;
use crate::broker::policy::book::Policies;
use crate::broker::policy::rollout::Rollout;
use crate::broker::policy::{Policy, Rank};
use crate::broker::publish::Outcome;
use crate::broker::queue::declare::Declaration;
use crate::broker::{ChannelId, ConnectionId, Now, Vhost, exchange};
use crate::log::batch::Batch;
use crate::log::recover::Recovered;
use crate::log::{Log, LogId};
use crate::wire::content::{Body, Message};

/// Messages and the times at which they came.
#[derive(Default)]
struct Came {
    now: Now,
    bodies: Vec<(Now, u64)>,
}

impl Effects for Came {
    fn has_credit(&mut self, _: ConnectionId) -> bool {
        true
    }
    fn deliver(&mut self, _: &Delivery<'_>, message: &Message<'_>) {
        let number = u64::from_be_bytes(message.body.octets().try_into().expect("a number"));
        self.bodies.push((self.now, number));
    }
    fn got(&mut self, _: ConnectionId, _: u16, _: &Got, _: &Message<'_>) {}
    fn cancelled(&mut self, _: ConnectionId, _: u16, _: &[u8]) {}
    fn retry(&mut self, _: ConnectionId) {}
}

struct Rig {
    vhost: Vhost,
    channel: ChannelId,
    came: Came,
}

fn properties(delay: u64) -> Vec<u8> {
    let fields = [&b"\x07x-delayl"[..], &delay.to_be_bytes()].concat();
    [&[0x30, 0, 0, 0, 0, fields.len() as u8], &fields[..], &[2]].concat()
}

impl Rig {
    /// A durable delayed exchange `x` that leads to a durable queue `q`.
    fn new() -> Self {
        let mut vhost = Vhost::new("v");
        vhost.keep(Arc::default());
        let mut arguments = FieldTable::default();
        arguments.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
        let exchange = exchange::declare::Declaration {
            name: "x".into(),
            kind: Kind::Delayed,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments,
            creator: None,
        };
        vhost.declare_exchange(exchange).expect("an exchange");
        let queue = Declaration {
            name: "q".into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
            creator: None,
        };
        vhost.declare_queue(None, queue).expect("a queue");
        let connection = vhost.connect();
        vhost.bind_queue(Some(connection), b"q", b"x", b"", FieldTable::default()).expect("bound");
        let channel = vhost.open_channel(connection, 1);
        Self { vhost, channel, came: Came::default() }
    }

    fn consume(&mut self) {
        let wanted = crate::broker::queue::consumer::Consume {
            queue: b"q",
            tag: b"c",
            no_ack: true,
            exclusive: false,
            arguments: FieldTable::default(),
        };
        let consumer = self.vhost.consume(self.channel, wanted).expect("consuming");
        self.vhost.start_consumer(consumer, &mut self.came);
    }

    fn publish(&mut self, number: u64, delay: u64) -> Outcome {
        let message = Message {
            exchange: b"x",
            routing_key: b"k",
            properties: &properties(delay),
            body: Body::Inline(&number.to_be_bytes()),
        };
        let targets = self.vhost.route(&message).targets;
        self.vhost.publish(&targets, &message, self.came.now, &mut self.came)
    }

    /// Time goes by, alarm by alarm.
    fn wait_until(&mut self, now: Now) {
        while let Some(at) = self.vhost.next_alarm().filter(|at| *at <= now) {
            self.came.now = self.came.now.max(at);
            self.vhost.set_clock(self.came.now);
            self.vhost.tick(&mut self.came);
        }
        self.came.now = now;
        self.vhost.set_clock(now);
    }

    fn gather(&mut self) -> (u64, usize) {
        let mut batch = Batch::default();
        let (commit, _) = self.vhost.gather(true, &mut batch);
        (commit, batch.settled().count())
    }

    fn delayed(&self) -> usize {
        self.vhost.delayed(b"x").expect("a delayed exchange")
    }

    fn entries(&self) -> Vec<Entry> {
        self.vhost.delayed_after(b"x", None, usize::MAX)
    }
}

#[test]
fn each_comes_once_at_its_time_in_the_order_of_times() {
    for seed in 1..8u64 {
        let mut rig = Rig::new();
        rig.consume();
        let mut random = seed;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
            (random >> 33) % limit
        };
        // What is due, in the order in which it came.
        let mut wanted: Vec<(Now, u64)> = Vec::new();
        for number in 0..3000 {
            let delay = 1 + below([10, 1000, 100_000][seed as usize % 3]);
            rig.publish(number, delay);
            wanted.push((rig.came.now + delay, number));
            if below(20) == 0 {
                let now = rig.came.now + below(500);
                rig.wait_until(now);
            }
        }
        rig.wait_until(1_000_000);
        wanted.sort_by_key(|(due, _)| *due);
        assert_eq!(rig.came.bodies, wanted, "seed {seed}");
        assert_eq!((rig.delayed(), rig.vhost.next_alarm()), (0, None));
    }
}

#[test]
fn many_at_once_do_not_keep_the_vhost_from_others() {
    let mut rig = Rig::new();
    rig.consume();
    for number in 0..20_000 {
        rig.publish(number, 10);
    }
    rig.vhost.set_clock(10);
    let mut ticks = 0;
    while rig.vhost.next_alarm().is_some_and(|at| at <= 10) {
        let before = rig.came.bodies.len();
        rig.vhost.tick(&mut rig.came);
        assert!(rig.came.bodies.len() - before <= 5000);
        ticks += 1;
    }
    assert_eq!(rig.came.bodies.len(), 20_000);
    assert!(ticks >= 4);
}

#[test]
fn what_is_confirmed_leaves_the_disk_when_it_is_there_elsewhere() {
    let mut rig = Rig::new();
    let outcome = rig.publish(1, 10);
    assert_eq!(outcome, Outcome::Kept(rig.vhost.commits.current().expect("kept on disk")));
    let (commit, _) = rig.gather();
    rig.vhost.announce(commit);
    rig.wait_until(10);
    assert_eq!((rig.delayed(), rig.vhost.queue(b"q").map(|queue| queue.ready())), (0, Some(1)));
    let (commit, settled) = rig.gather();
    assert_eq!(settled, 0, "it is in no queue on disk yet");
    rig.vhost.announce(commit);
    assert!(rig.vhost.calls().gather, "nobody is called for it");
    assert_eq!(rig.gather().1, 1);
}

#[test]
fn what_leads_nowhere_leaves_the_disk_at_once() {
    let mut rig = Rig::new();
    rig.vhost.delete_queue(None, b"q", false, false, &mut Nobody).expect("deleted");
    rig.publish(1, 10);
    rig.gather();
    rig.wait_until(10);
    assert_eq!(rig.gather().1, 1);
}

/// A log as recovery finds it, here in memory.
fn found(dues: &[u64]) -> Recovered {
    let mut log = Log::new(Some(LogId(99)), Arc::default());
    for (number, due) in (0u64..).zip(dues) {
        let message = Message {
            exchange: b"x",
            routing_key: b"k",
            properties: &properties(5),
            body: Body::Inline(&number.to_be_bytes()),
        };
        log.append_marked(*due, true, BLIND, &message);
    }
    Recovered { log, messages: dues.len(), bytes: 0, delivered: 0, unsynced: Vec::new(), damage: Vec::new() }
}

#[test]
fn after_a_restart_they_are_counted_at_once_and_keep_their_order() {
    let mut rig = Rig::new();
    rig.consume();
    let (queue, _) = rig.vhost.kept_queues()[0];
    let dues: Vec<_> = (0..12_000).map(|n| 1_000 + n * 7919 % 12_000).collect();
    rig.vhost.recover(queue, found(&dues));
    assert_eq!((rig.delayed(), rig.entries().len()), (12_000, 0));
    // One comes before all of the others are known, and does not overtake them.
    rig.vhost.set_clock(5_000);
    rig.came.now = 5_000;
    rig.publish(12_000, 1);
    rig.wait_until(5_001);
    let early: Vec<_> = rig.came.bodies.iter().map(|(_, number)| *number).collect();
    let mut wanted: Vec<_> = (0..12_000).filter(|n| dues[*n as usize] <= 5_001).collect();
    wanted.sort_by_key(|n| dues[*n as usize]);
    wanted.push(12_000);
    assert_eq!(early, wanted);
    rig.wait_until(20_000);
    assert_eq!((rig.came.bodies.len(), rig.delayed()), (12_001, 0));
}

#[test]
fn dropped_looked_at_and_delivered_now() {
    let mut rig = Rig::new();
    rig.consume();
    for number in 0..5 {
        rig.publish(number, 100 + number);
    }
    let entries = rig.entries();
    assert_eq!(rig.vhost.delayed_after(b"x", Some(entries[1]), 2), entries[2..4]);
    let body = rig.vhost.look_at_delayed(b"x", entries[3], |record| record.parts.body.octets().to_vec());
    assert_eq!(body, Look::Seen(3u64.to_be_bytes().to_vec()));
    assert!(rig.vhost.drop_delayed(b"x", entries[0]) && !rig.vhost.drop_delayed(b"x", entries[0]));
    assert_eq!(rig.vhost.look_at_delayed(b"x", entries[0], |_| ()), Look::Gone);
    assert!(rig.vhost.deliver_delayed(b"x", entries[4]));
    rig.wait_until(1);
    assert_eq!((rig.came.bodies.as_slice(), rig.delayed()), (&[(0, 4)][..], 3));
    assert_eq!(rig.vhost.drop_all_delayed(b"x"), Some(3));
    rig.publish(9, 1);
    rig.wait_until(1_000);
    assert_eq!(rig.came.bodies, [(0, 4), (2, 9)]);
    for exchange in [&b"amq.direct"[..], b"none"] {
        assert_eq!((rig.vhost.delayed(exchange), rig.vhost.drop_all_delayed(exchange)), (None, None));
        assert!(!rig.vhost.drop_delayed(exchange, (0, 0)) && !rig.vhost.deliver_delayed(exchange, (0, 0)));
    }
}

#[test]
fn what_is_dropped_while_its_like_is_being_written_elsewhere() {
    let mut rig = Rig::new();
    rig.publish(1, 10);
    rig.publish(2, 20);
    let (commit, _) = rig.gather();
    rig.vhost.announce(commit);
    rig.wait_until(10);
    assert_eq!(rig.vhost.drop_all_delayed(b"x"), Some(1));
    rig.publish(3, 10);
    let (commit, _) = rig.gather();
    rig.vhost.announce(commit);
    rig.wait_until(100);
    assert_eq!((rig.delayed(), rig.vhost.queue(b"q").map(|queue| queue.ready())), (0, Some(2)));
}

#[test]
fn nothing_is_left_of_an_exchange_that_goes() {
    let mut rig = Rig::new();
    rig.publish(1, 10);
    let queues = rig.vhost.kept_queues().len();
    rig.vhost.delete_exchange(b"x", false).expect("deleted");
    assert_eq!((rig.vhost.kept_queues().len(), rig.vhost.next_alarm()), (queues - 1, None));
    assert!(rig.vhost.calls().gather, "its files have to go");
}

/// What is behind an exchange has its name, and is no queue that a policy is for.
#[test]
fn policies_leave_it_alone() {
    let mut rig = Rig::new();
    let definition = serde_json::json!({ "expires": 5, "message-ttl": 5 });
    let fields = serde_json::json!({ "pattern": "^x$", "definition": definition, "priority": 0 });
    let fields = fields.as_object().expect("an object");
    let policy = Policy::from_json("p", Rank::User, Compatibility::default(), fields).expect("a policy");
    let mut policies = Policies::default();
    policies.put(Rank::User, policy);
    let mut rollout = Rollout::begin(&mut rig.vhost, Arc::new(policies));
    while rollout.step(&mut rig.vhost) {
        rollout.look_up();
    }
    rig.consume();
    rig.publish(1, 100);
    rig.wait_until(200);
    assert_eq!(rig.came.bodies, [(100, 1)]);
}
