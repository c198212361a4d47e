//! Random operations on a vhost, compared after every step with a reference that is too simple to be wrong: order,
//! counts, redelivered flags and bodies; nothing lost, nothing twice, nobody above their prefetch count.
//!
//! `LEVERET_SEED=17 cargo test --test model_queue` runs the one seed and prints every step.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test may fail, and say why")]

#[path = "support/model.rs"]
mod model;
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;

use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::Bytes;
use leveret::broker::effects::{Delivery, Effects, Got};
use leveret::broker::queue::consumer::Consume;
use leveret::broker::queue::declare::Declaration;
use leveret::broker::queue::dispatch::Fetched;
use leveret::broker::settle::Verdict;
use leveret::broker::{ChannelId, ConnectionId, QueueId, Vhost};
use leveret::wire::content::{Body, Message};
use leveret::wire::properties;
use model::{Consumer, Event, Fate, Kind, Model, Sharing};
use random::Random;

const SEEDS: u64 = 600;
const STEPS: usize = 120;
const QUEUES: [(&str, Kind); 4] =
    [("p", Kind::Plain), ("q", Kind::Priorities(5)), ("r", Kind::Quorum), ("s", Kind::Priorities(255))];
const CONNECTIONS: usize = 3;

/// Writes down what it is told, and refuses what its connections have no credit for.
#[derive(Default)]
struct Recorder {
    events: Vec<Event>,
    credit: BTreeMap<ConnectionId, usize>,
    /// What was published, by number: bodies and priorities.
    bodies: Vec<(Bytes, Option<u8>)>,
}

impl Recorder {
    /// The number of a message, which its body begins with; the rest of it has to be what was published.
    fn number(&self, message: &Message<'_>) -> usize {
        let body = message.body.octets();
        let number =
            std::str::from_utf8(&body[..8]).ok().and_then(|text| text.parse().ok()).expect("a number");
        let found = properties::walk(message.properties).expect("properties");
        let (published, priority) = &self.bodies[number];
        assert!(*published == body, "the body of message {number} has changed");
        assert_eq!(found.priority, *priority);
        number
    }
}

impl Effects for Recorder {
    fn has_credit(&mut self, connection: ConnectionId) -> bool {
        *self.credit.get(&connection).expect("a connection that is there") > 0
    }

    fn deliver(&mut self, to: &Delivery<'_>, message: &Message<'_>) {
        let credit = self.credit.get_mut(&to.connection).expect("a connection that is there");
        *credit = credit.checked_sub(1).expect("no delivery without credit");
        let consumer = String::from_utf8_lossy(to.consumer_tag).into_owned();
        let Delivery { connection, channel, delivery_tag: tag, redelivered, .. } = *to;
        let message = self.number(message);
        self.events.push(Event::Deliver { connection, channel, consumer, tag, redelivered, message });
    }

    fn got(&mut self, connection: ConnectionId, channel: u16, got: &Got, message: &Message<'_>) {
        let Got { delivery_tag: tag, redelivered, left } = *got;
        let message = self.number(message);
        self.events.push(Event::Got { connection, channel, tag, redelivered, left, message });
    }

    fn cancelled(&mut self, connection: ConnectionId, channel: u16, consumer_tag: &[u8]) {
        let consumer = String::from_utf8_lossy(consumer_tag).into_owned();
        self.events.push(Event::Cancelled { connection, channel, consumer });
    }

    fn retry(&mut self, _: ConnectionId) {
        panic!("nothing is on a disk");
    }
}

/// The vhost, the reference, and the dice.
struct World {
    random: Random,
    vhost: Vhost,
    fx: Recorder,
    model: Model,
    connections: Vec<ConnectionId>,
    channels: Vec<ChannelId>,
    queues: BTreeMap<&'static str, QueueId>,
    named: usize,
    loud: bool,
}

impl World {
    fn new(seed: u64, loud: bool) -> Self {
        let mut world = Self {
            random: Random::new(seed),
            vhost: Vhost::new("/"),
            fx: Recorder::default(),
            model: Model::default(),
            connections: Vec::new(),
            channels: Vec::new(),
            queues: BTreeMap::new(),
            named: 0,
            loud,
        };
        world.connect();
        QUEUES.into_iter().for_each(|(name, kind)| world.declare(name, kind));
        world
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.publish(),
            30..40 => self.consume(),
            40..44 => self.cancel(),
            44..52 => self.get(),
            52..78 => self.settle(),
            78..80 => self.recover(),
            80..83 => self.open(),
            83..85 => self.close(),
            85..86 => self.disconnect(),
            86..88 => self.purge(),
            88..90 => self.delete_or_declare(),
            90..94 => self.withhold(),
            _ => self.resume(),
        }
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.loud {
            eprintln!("{what}");
        }
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.random.below(among.len())]
    }

    fn connect(&mut self) {
        let id = self.vhost.connect();
        self.say(format_args!("connect {id:?}"));
        self.fx.credit.insert(id, usize::MAX);
        self.model.connect(id);
        self.connections.push(id);
        self.open_on(id);
    }

    fn open(&mut self) {
        if self.connections.len() < CONNECTIONS && self.random.chance(50) {
            return self.connect();
        }
        let connection = self.pick(&self.connections.clone());
        self.open_on(connection);
    }

    fn open_on(&mut self, connection: ConnectionId) {
        self.named += 1;
        let number = u16::try_from(self.named).expect("few channels");
        let id = self.vhost.open_channel(connection, number);
        self.say(format_args!("open {number}: {id:?} on {connection:?}"));
        self.model.open_channel(connection, id, number);
        self.channels.push(id);
    }

    fn declare(&mut self, name: &'static str, kind: Kind) {
        let sharings = if kind == Kind::Quorum {
            [Sharing::All, Sharing::All, Sharing::Best]
        } else {
            [Sharing::All, Sharing::All, Sharing::One]
        };
        let sharing = self.pick(&sharings);
        let mut arguments = FieldTable::default();
        if sharing != Sharing::All {
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        if let Kind::Priorities(max) = kind {
            arguments.insert("x-max-priority".into(), AMQPValue::ShortInt(max.into()));
        }
        if kind == Kind::Quorum {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(-1));
        }
        let durable = kind == Kind::Quorum;
        let declaration = Declaration {
            name: name.into(),
            durable,
            exclusive: false,
            auto_delete: false,
            arguments,
            creator: None,
        };
        let connection = self.connections[0];
        self.vhost.declare_queue(Some(connection), declaration).expect("declared");
        let (queue, exchange) = (name.as_bytes(), b"amq.fanout");
        self.vhost.bind_queue(Some(connection), queue, exchange, b"", FieldTable::default()).expect("bound");
        let message =
            Message { exchange: b"", routing_key: queue, properties: &[0, 0], body: Body::Inline(b"") };
        let id = self.vhost.route(&message).targets[0];
        self.say(format_args!("declare {name}: {id:?}, {kind:?}, {sharing:?}"));
        self.model.declare(id, kind, sharing);
        self.queues.insert(name, id);
    }

    /// Some messages to one queue or to all, of all sizes, their bodies copied or shared.
    fn publish(&mut self) {
        for _ in 0..1 + self.random.below(4) {
            let size = [8, 9, 40, 40, 300, 9000][self.random.below(6)];
            let number = self.fx.bodies.len();
            let mut octets = format!("{number:08}").into_bytes();
            octets.resize(size, number as u8);
            let body = Bytes::from(octets);
            let priority = self.random.chance(60).then(|| [0, 1, 3, 4, 5, 6, 31, 200][self.random.below(8)]);
            let raw = priority.map_or(vec![0, 0], |priority| vec![8, 0, priority]);
            self.fx.bodies.push((body.clone(), priority));
            let (key, _) = self.pick(&QUEUES);
            let to_all = self.random.chance(20);
            let message = Message {
                exchange: if to_all { b"amq.fanout" } else { b"" },
                routing_key: key.as_bytes(),
                properties: &raw,
                body: if size > 1000 { Body::Shared(&body) } else { Body::Inline(&body) },
            };
            self.say(format_args!(
                "publish {number}, {size} octets, priority {priority:?}, to {}",
                if to_all { "all" } else { key }
            ));
            let route = self.vhost.route(&message);
            self.vhost.publish(&route.targets, &message, 0, &mut self.fx);
            if to_all {
                let all: Vec<_> = self.model.queues.keys().copied().collect();
                all.into_iter().for_each(|queue| self.model.publish(queue, number, size, priority));
            } else if let Some(&queue) = self.queues.get(key) {
                self.model.publish(queue, number, size, priority);
            }
        }
    }

    fn consume(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let channel = self.pick(&self.channels.clone());
        let (no_ack, prefetch) = (self.random.chance(25), self.pick(&[0, 1, 1, 2, 3, 7]));
        let priority = self.pick(&[0, 0, 0, 5, -3]);
        self.named += 1;
        let name = format!("c{}", self.named);
        self.say(format_args!(
            "consume {name} on {channel:?} from {queue}, no_ack {no_ack}, prefetch {prefetch}, priority {priority}"
        ));
        let mut arguments = FieldTable::default();
        if priority != 0 {
            arguments.insert("x-priority".into(), AMQPValue::LongInt(priority));
        }
        self.vhost.set_prefetch(channel, prefetch);
        let consume =
            Consume { queue: queue.as_bytes(), tag: name.as_bytes(), no_ack, exclusive: false, arguments };
        let id = self.vhost.consume(channel, consume).expect("consuming");
        self.vhost.start_consumer(id, &mut self.fx);
        self.model.consume(Consumer {
            name,
            channel,
            queue: self.queues[queue],
            no_ack,
            priority: priority.into(),
            prefetch: prefetch.into(),
            unacked: 0,
            stalled: false,
            turn: 0,
        });
    }

    fn some_queue(&mut self) -> Option<&'static str> {
        let all: Vec<_> = self.queues.keys().copied().collect();
        if all.is_empty() { None } else { Some(self.pick(&all)) }
    }

    fn cancel(&mut self) {
        if self.model.consumers.is_empty() {
            return;
        }
        let at = self.random.below(self.model.consumers.len());
        let (name, channel) = (self.model.consumers[at].name.clone(), self.model.consumers[at].channel);
        self.say(format_args!("cancel {name}"));
        self.vhost.cancel(channel, name.as_bytes(), &mut self.fx);
        self.vhost.dispatch_due(&mut self.fx);
        self.model.cancel(&name);
    }

    fn get(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let channel = self.pick(&self.channels.clone());
        let no_ack = self.random.chance(30);
        self.say(format_args!("get on {channel:?} from {queue}, no_ack {no_ack}"));
        let found = self.vhost.get(channel, queue.as_bytes(), no_ack, &mut self.fx);
        if self.model.queues[&self.queues[queue]].sharing == Sharing::Best {
            return assert!(found.is_err(), "who gets from {queue} is not the active one");
        }
        let found = found.expect("a queue");
        let wanted = self.model.get(channel, self.queues[queue], no_ack);
        assert_eq!(found == Fetched::Message, wanted, "get");
    }

    /// Mostly a tag that is there; sometimes one that is not, which has to be refused.
    fn settle(&mut self) {
        let channel = self.pick(&self.channels.clone());
        let tags: Vec<_> = self.model.channels[&channel].unacked.iter().map(|one| one.tag).collect();
        let multiple = self.random.chance(25);
        let tag = match self.random.below(20) {
            0 => 0,
            1 => self.random.next() % 20,
            2..8 if !tags.is_empty() => tags[0],
            _ if !tags.is_empty() => self.pick(&tags),
            _ => return,
        };
        let verdict =
            self.pick(&[Verdict::Done, Verdict::Done, Verdict::Done, Verdict::Discard, Verdict::Requeue]);
        self.say(format_args!("settle {tag} on {channel:?}, multiple {multiple}: {verdict:?}"));
        let fate = if verdict == Verdict::Requeue { Fate::Back } else { Fate::Gone };
        let allowed = self.vhost.settle(channel, tag, multiple, verdict).is_ok();
        self.vhost.dispatch_due(&mut self.fx);
        assert_eq!(allowed, self.model.settle(channel, tag, multiple, fate), "settle");
    }

    fn recover(&mut self) {
        let channel = self.pick(&self.channels.clone());
        self.say(format_args!("recover {channel:?}"));
        self.vhost.requeue_all(channel, Verdict::Requeue, &mut self.fx);
        self.model.settle(channel, 0, true, Fate::Back);
    }

    fn close(&mut self) {
        let at = self.random.below(self.channels.len());
        let channel = self.channels.swap_remove(at);
        self.say(format_args!("close {channel:?}"));
        self.vhost.close_channel(channel, &mut self.fx);
        self.model.close_channel(channel);
        if self.channels.is_empty() {
            self.open();
        }
    }

    fn disconnect(&mut self) {
        let at = self.random.below(self.connections.len());
        let connection = self.connections.swap_remove(at);
        self.say(format_args!("disconnect {connection:?}"));
        self.vhost.disconnect(connection, &mut self.fx);
        self.model.disconnect(connection);
        self.fx.credit.remove(&connection);
        self.channels.retain(|channel| self.model.channels.contains_key(channel));
        if self.channels.is_empty() {
            self.connect();
        }
    }

    fn purge(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        self.say(format_args!("purge {queue}"));
        let count = self.vhost.purge(None, queue.as_bytes(), &mut self.fx).expect("purged");
        assert_eq!(count, self.model.purge(self.queues[queue]), "purge");
    }

    fn delete_or_declare(&mut self) {
        let (name, kind) = self.pick(&QUEUES);
        let Some(id) = self.queues.remove(name) else { return self.declare(name, kind) };
        self.say(format_args!("delete {name}"));
        let count =
            self.vhost.delete_queue(None, name.as_bytes(), false, false, &mut self.fx).expect("deleted");
        assert_eq!(count, self.model.delete(id), "delete");
    }

    /// A connection's outbox fills up after some more deliveries.
    fn withhold(&mut self) {
        let connection = self.pick(&self.connections.clone());
        let left = self.random.below(4);
        self.say(format_args!("{connection:?} takes {left} more"));
        self.fx.credit.insert(connection, left);
        self.model.credit.insert(connection, left);
    }

    fn resume(&mut self) {
        let connection = self.pick(&self.connections.clone());
        let credit = self.pick(&[1, 2, 3, 10, usize::MAX, usize::MAX]);
        self.say(format_args!("resume {connection:?}, which takes {credit}"));
        self.fx.credit.insert(connection, credit);
        self.vhost.resume(connection, &mut self.fx);
        self.model.resume(connection, credit);
    }

    /// Everything that can be seen is the same on both sides, and the reference is sound.
    fn compare(&mut self) {
        let (came, expected) = (std::mem::take(&mut self.fx.events), std::mem::take(&mut self.model.events));
        came.iter().for_each(|event| self.say(format_args!("    {event:?}")));
        assert_eq!(came, expected, "what the outside saw (left) and should have seen");
        for (name, id) in &self.queues {
            let (queue, expected) =
                (self.vhost.queue(name.as_bytes()).expect("a queue"), &self.model.queues[id]);
            assert_eq!(queue.ready(), expected.ready().count(), "ready in {name}");
            assert_eq!(queue.unacked(), expected.unacked(), "unacknowledged of {name}");
            let octets: usize = expected.ready().map(|message| message.size).sum();
            assert_eq!(queue.ready_bytes(), octets as u64, "ready octets in {name}");
            let consumers = self.model.consumers.iter().filter(|consumer| consumer.queue == *id).count();
            assert_eq!(queue.consumer_count(), consumers, "consumers of {name}");
            assert!(
                queue.is_empty() || self.model.able(*id).is_empty(),
                "{name}: somebody waits for nothing"
            );
        }
        assert_eq!(self.vhost.consumer_count(), self.model.consumers.len());
        let within = |c: &&Consumer| c.no_ack || c.prefetch == 0 || c.unacked <= c.prefetch;
        assert!(self.model.consumers.iter().all(|c| within(&c)), "a prefetch count exceeded");
    }

    /// Everybody leaves; what is still there is fetched and has to be all of it, in order.
    fn finish(&mut self) {
        while let Some(connection) = self.connections.pop() {
            self.vhost.disconnect(connection, &mut self.fx);
            self.model.disconnect(connection);
            self.compare();
        }
        self.connect();
        let channel = self.channels.pop().expect("a channel");
        for (name, id) in self.queues.clone() {
            if self.model.queues[&id].sharing == Sharing::Best {
                let left = self.vhost.purge(None, name.as_bytes(), &mut self.fx).expect("purged");
                assert_eq!(left, self.model.purge(id), "left in {name}");
                continue;
            }
            let get = |world: &mut Self| world.vhost.get(channel, name.as_bytes(), true, &mut world.fx);
            while get(self).expect("a queue") == Fetched::Message {
                assert!(self.model.get(channel, id, true), "{name} has one too many");
            }
            assert_eq!(self.model.queues[&id].messages.len(), 0, "{name} has lost some");
            self.compare();
        }
    }
}

fn run(seed: u64, loud: bool) {
    let mut world = World::new(seed, loud);
    for _ in 0..STEPS {
        world.step();
        world.compare();
    }
    world.finish();
}

#[test]
fn queues_do_what_the_reference_does() {
    if let Ok(seed) = std::env::var("LEVERET_SEED") {
        return run(seed.parse().expect("a number"), true);
    }
    for seed in 1..=SEEDS {
        if let Err(failure) = std::panic::catch_unwind(|| run(seed, false)) {
            eprintln!("seed {seed} failed; LEVERET_SEED={seed} shows every step");
            std::panic::resume_unwind(failure);
        }
    }
}
