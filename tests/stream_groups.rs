//! Groups over a super stream: members join, leave and crash while publishing goes on, at random, and partitions are unbound,
//! bound, deleted and made again. Every partition has one reader of the group at a time, in order; who takes over begins where
//! the group has got to; everything is read.

#![allow(clippy::expect_used, reason = "a test may fail")]

#[path = "support/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::effects::{Delivery, Effects, Got};
use leveret::broker::queue::consumer::Consume;
use leveret::broker::queue::declare::Declaration;
use leveret::broker::settle::Verdict;
use leveret::broker::stream::partitions::SuperStream;
use leveret::broker::{ChannelId, ConnectionId, Vhost};
use leveret::wire::content::{Body, Message};
use leveret::wire::properties::{self, HEADERS};
use leveret::wire::table::{self, Value};
use random::Random;

const PARTITIONS: usize = 5;

#[derive(Debug, Default)]
struct Outside {
    /// Connection, delivery tag, routing key, offset.
    deliveries: Vec<(ConnectionId, u64, String, u64)>,
    stuck: BTreeSet<ConnectionId>,
    cancelled: Vec<ConnectionId>,
}

impl Effects for Outside {
    fn has_credit(&mut self, connection: ConnectionId) -> bool {
        !self.stuck.contains(&connection)
    }
    fn deliver(&mut self, to: &Delivery<'_>, message: &Message<'_>) {
        let headers = properties::find(message.properties, HEADERS).expect("headers");
        let Some(Value::Int(offset)) = table::find(headers, b"x-stream-offset").map(|field| field.value())
        else {
            panic!("no offset");
        };
        let key = String::from_utf8_lossy(message.routing_key).into_owned();
        self.deliveries.push((to.connection, to.delivery_tag, key, offset as u64));
    }
    fn got(&mut self, _: ConnectionId, _: u16, _: &Got, _: &Message<'_>) {}
    fn cancelled(&mut self, connection: ConnectionId, _: u16, _: &[u8]) {
        self.cancelled.push(connection);
    }
    fn retry(&mut self, _: ConnectionId) {}
}

/// A member, and what it has not settled: tag, partition, offset.
#[derive(Debug)]
struct Member {
    channel: ChannelId,
    unacked: VecDeque<(u64, String, u64)>,
    consumes: bool,
}

/// What is known of a partition.
#[derive(Debug, Default)]
struct Partition {
    is_bound: bool,
    published: u64,
    reader: Option<ConnectionId>,
    /// What the one who reads it gets next.
    next: u64,
    /// What it has not settled.
    open: BTreeSet<u64>,
    /// What it has given back.
    returned: Option<u64>,
    acked: BTreeSet<u64>,
}

impl Partition {
    /// Where the group has got to.
    fn done(&self) -> u64 {
        let done = self.open.first().copied().unwrap_or(self.next);
        self.returned.map_or(done, |returned| returned.min(done))
    }
}

struct World {
    random: Random,
    vhost: Vhost,
    outside: Outside,
    members: BTreeMap<ConnectionId, Member>,
    partitions: BTreeMap<String, Partition>,
    now: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut vhost = Vhost::new("v");
        vhost.set_clock(1_700_000_000_000);
        let partitions =
            (0..PARTITIONS).map(|n| (format!("s-{n}").into(), n.to_string().into_bytes().into()));
        let partitions = partitions.collect();
        let (name, arguments) = ("s".into(), of_stream());
        vhost
            .create_super_stream(SuperStream { name, partitions, arguments, creator: None })
            .expect("a super stream");
        let bound = || Partition { is_bound: true, ..Partition::default() };
        let partitions = (0..PARTITIONS).map(|n| (n.to_string(), bound())).collect();
        let (outside, members) = (Outside::default(), BTreeMap::new());
        Self { random: Random::new(seed), vhost, outside, members, partitions, now: 1_700_000_000_000 }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..33 => self.publish(),
            33..66 => self.acknowledge(),
            66..74 => self.join(),
            74..78 => self.leave(),
            78..83 => self.crash(),
            83..89 => self.get_stuck(),
            89..91 => self.unbind(),
            91..94 => self.bind(),
            94..95 => self.delete(),
            _ => {
                self.now += 500;
                self.vhost.set_clock(self.now);
                self.vhost.tick(&mut self.outside);
            }
        }
        self.vhost.dispatch_due(&mut self.outside);
        self.look();
    }

    fn publish(&mut self) {
        for _ in 0..=self.random.below(5) {
            let key = self.random.below(PARTITIONS).to_string();
            if !self.partitions[&key].is_bound {
                continue;
            }
            let message = Message {
                exchange: b"s",
                routing_key: key.as_bytes(),
                properties: &[0, 0],
                body: Body::Inline(b"m"),
            };
            let targets = self.vhost.route(&message).targets;
            assert_eq!(targets.len(), 1);
            self.vhost.publish(&targets, &message, self.now, &mut self.outside);
            self.partitions.get_mut(&key).expect("a partition").published += 1;
        }
    }

    fn join(&mut self) {
        if self.members.len() >= 7 || self.partitions.values().all(|partition| !partition.is_bound) {
            return;
        }
        let connection = self.vhost.connect();
        let channel = self.vhost.open_channel(connection, 1);
        self.vhost.set_prefetch(channel, 1 + self.random.below(6) as u16);
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-group".into(), AMQPValue::LongString("g".into()));
        let wanted = Consume { queue: b"s", tag: b"t", no_ack: false, exclusive: false, arguments };
        let id = self.vhost.consume(channel, wanted).expect("a consumer");
        self.members.insert(connection, Member { channel, unacked: VecDeque::new(), consumes: true });
        self.vhost.start_consumer(id, &mut self.outside);
    }

    fn any_member(&mut self) -> Option<ConnectionId> {
        if self.members.is_empty() {
            return None;
        }
        let at = self.random.below(self.members.len());
        self.members.keys().nth(at).copied()
    }

    fn acknowledge(&mut self) {
        let Some(id) = self.any_member() else { return };
        let member = self.members.get_mut(&id).expect("a member");
        if member.unacked.is_empty() {
            return;
        }
        let at = self.random.below(member.unacked.len());
        let (tag, ..) = member.unacked[at];
        let multiple = self.random.chance(60);
        let verdict = if self.random.chance(95) { Verdict::Done } else { Verdict::Requeue };
        let settled = |other: u64| other == tag || (multiple && other < tag);
        let known = |key: &str| !key.is_empty();
        for (_, key, offset) in member.unacked.iter().filter(|(tag, key, _)| settled(*tag) && known(key)) {
            let partition = self.partitions.get_mut(key).expect("a partition");
            // What belongs to an earlier reader of the partition says nothing any more.
            if partition.reader == Some(id) && member.consumes && partition.open.remove(offset) {
                if verdict == Verdict::Done {
                    partition.acked.insert(*offset);
                } else {
                    partition.returned = Some(partition.returned.map_or(*offset, |r| r.min(*offset)));
                }
            }
        }
        member.unacked.retain(|(other, ..)| !settled(*other));
        self.vhost.settle(member.channel, tag, multiple, verdict).expect("a tag");
    }

    /// A consumer is cancelled; its channel stays, with what it has not settled.
    fn leave(&mut self) {
        let Some(id) = self.any_member() else { return };
        let member = self.members.get_mut(&id).expect("a member");
        member.consumes = false;
        self.vhost.cancel(member.channel, b"t", &mut self.outside);
    }

    fn crash(&mut self) {
        let Some(id) = self.any_member() else { return };
        self.members.remove(&id);
        self.outside.stuck.remove(&id);
        self.vhost.disconnect(id, &mut self.outside);
    }

    /// A partition goes out of the super stream, and stays as it is.
    fn unbind(&mut self) {
        let key = self.random.below(PARTITIONS).to_string();
        let queue = format!("s-{key}");
        let arguments = of_binding(&key);
        self.vhost.unbind_queue(None, queue.as_bytes(), b"s", key.as_bytes(), &arguments).expect("unbound");
        self.partitions.get_mut(&key).expect("a partition").is_bound = false;
    }

    /// A partition comes back.
    fn bind(&mut self) {
        let key = self.random.below(PARTITIONS).to_string();
        self.bind_one(&key);
    }

    fn bind_one(&mut self, key: &str) {
        let (queue, arguments) = (format!("s-{key}"), of_binding(key));
        self.vhost.bind_queue(None, queue.as_bytes(), b"s", key.as_bytes(), arguments).expect("bound");
        self.partitions.get_mut(key).expect("a partition").is_bound = true;
    }

    /// A partition is deleted, and another one of its name is there, not bound yet.
    fn delete(&mut self) {
        let key = self.random.below(PARTITIONS).to_string();
        let name = format!("s-{key}");
        self.vhost.delete_queue(None, name.as_bytes(), false, false, &mut self.outside).expect("deleted");
        let (durable, exclusive, auto_delete, arguments) = (true, false, false, of_stream());
        let (name, creator) = (name.into(), None);
        let declaration = Declaration { name, durable, exclusive, auto_delete, arguments, creator };
        self.vhost.declare_queue(None, declaration).expect("a stream");
        for (_, of, _) in self.members.values_mut().flat_map(|member| &mut member.unacked) {
            // It says nothing of the new one.
            if *of == key {
                of.clear();
            }
        }
        self.partitions.insert(key, Partition::default());
    }

    fn get_stuck(&mut self) {
        let Some(id) = self.any_member() else { return };
        if !self.outside.stuck.remove(&id) {
            self.outside.stuck.insert(id);
        }
        self.vhost.resume(id, &mut self.outside);
    }

    fn look(&mut self) {
        let bound = self.partitions.values().any(|partition| partition.is_bound);
        for id in std::mem::take(&mut self.outside.cancelled) {
            assert!(!bound, "there is something left to read");
            self.members.get_mut(&id).expect("a member").consumes = false;
        }
        assert!(
            bound || self.members.values().all(|member| !member.consumes),
            "there is nothing left to read"
        );
        for (id, tag, key, offset) in std::mem::take(&mut self.outside.deliveries) {
            let is_there = |id: &ConnectionId, members: &BTreeMap<ConnectionId, Member>| {
                members.get(id).is_some_and(|m| m.consumes)
            };
            let partition = self.partitions.get_mut(&key).expect("a partition");
            assert!(partition.is_bound, "{key} is not read any more");
            // It may have moved there and back, with nothing in between.
            let again = offset != partition.next && partition.open.is_empty();
            if partition.reader != Some(id) || again {
                let before = partition.reader.replace(id);
                let left = before.is_none_or(|before| before == id || !is_there(&before, &self.members));
                assert!(
                    left || partition.open.is_empty(),
                    "{key} moved while its reader had {:?}",
                    partition.open
                );
                assert_eq!(offset, partition.done(), "{key}: where its group has got to");
                (partition.next, partition.returned) = (offset, None);
                partition.open.clear();
            }
            assert_eq!(offset, partition.next, "{key}: in order");
            assert!(offset < partition.published);
            partition.next += 1;
            partition.open.insert(offset);
            let member = self.members.get_mut(&id).expect("a member");
            assert!(member.consumes, "it has left");
            member.unacked.push_back((tag, key, offset));
        }
    }

    /// Whoever is there reads everything; the partitions are spread evenly in the end.
    fn settle_down(&mut self) {
        // Only newcomers, since what was given back stays behind for those who have it.
        while let Some(id) = self.members.keys().next().copied() {
            self.members.remove(&id);
            self.vhost.disconnect(id, &mut self.outside);
            self.look();
        }
        self.outside.stuck.clear();
        (0..PARTITIONS).for_each(|n| self.bind_one(&n.to_string()));
        (0..3).for_each(|_| self.join());
        for _ in 0..10_000 {
            self.vhost.dispatch_due(&mut self.outside);
            self.look();
            let mut any = false;
            for (id, member) in &mut self.members {
                if let Some((tag, ..)) = member.unacked.back().cloned() {
                    for (_, key, offset) in member.unacked.drain(..) {
                        let partition = self.partitions.get_mut(&key).expect("a partition");
                        assert_eq!(partition.reader, Some(*id));
                        partition.open.remove(&offset);
                        partition.acked.insert(offset);
                    }
                    self.vhost.settle(member.channel, tag, true, Verdict::Done).expect("a tag");
                    any = true;
                }
            }
            if !any {
                break;
            }
        }
        for (key, partition) in &self.partitions {
            assert_eq!(partition.done(), partition.published, "{key}: everything was read");
            assert!(
                (0..partition.published).all(|offset| partition.acked.contains(&offset)),
                "{key}: by somebody"
            );
        }
        let figures = self.vhost.group_figures();
        let [group] = &figures[..] else { panic!("{figures:?}") };
        assert!(group.partitions.iter().all(|partition| partition.lag == 0 && partition.owner.is_some()));
        let readers = self.partitions.values().map(|partition| partition.reader);
        let mut shares = BTreeMap::new();
        readers.for_each(|reader| *shares.entry(reader).or_insert(0) += 1);
        let read = self.partitions.values().all(|partition| partition.published > 0);
        assert!(group.members == 3 && (!read || shares.values().all(|share| *share <= 2)), "{shares:?}");
    }
}

fn of_stream() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments
}

fn of_binding(key: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    let order = key.parse().expect("a number");
    arguments.insert("x-stream-partition-order".into(), AMQPValue::LongLongInt(order));
    arguments
}

#[test]
fn members_come_and_go_and_everything_is_read_in_order() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                for _ in 0..200 {
                    world.step();
                }
                world.settle_down();
            }
        }));
        assert!(played.is_ok(), "with seed {seed}");
    }
}
