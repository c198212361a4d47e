//! What is declared once and for all: durable queues of both kinds and one with priorities, a fan-out, a topic exchange,
//! and the ways to them.

use crate::common::method::{Method, method};
use crate::common::table::{int, text};
use crate::link::{Broken, Link};

pub struct Queue {
    pub name: &'static str,
    pub quorum: bool,
    /// The highest priority that a classic queue knows, 0 if it knows none.
    max_priority: u8,
}

impl Queue {
    /// The priority that a message has here that names this one or none. Higher ones go first.
    pub fn level(&self, named: Option<u8>) -> u8 {
        match named {
            None if self.quorum => 4,
            Some(named) if self.quorum => named.min(31),
            named => named.unwrap_or(0).min(self.max_priority),
        }
    }
}

const fn queue(name: &'static str, quorum: bool) -> Queue {
    Queue { name, quorum, max_priority: 0 }
}

pub const QUEUES: [Queue; 7] = [
    queue("crash.classic", false),
    queue("crash.quorum", true),
    queue("crash.fan-classic", false),
    queue("crash.fan-quorum", true),
    Queue { max_priority: 5, ..queue("crash.topic", false) },
    queue("crash.topic-big", false),
    queue("crash.markers", false),
];

/// A number in [`QUEUES`].
pub type QueueNo = usize;

/// Where consumers publish what they wait for, and nobody consumes.
pub const MARKERS: QueueNo = 6;

/// A way into queues.
pub struct Route {
    pub exchange: &'static str,
    pub key: &'static str,
    pub queues: &'static [QueueNo],
}

const fn route(exchange: &'static str, key: &'static str, queues: &'static [QueueNo]) -> Route {
    Route { exchange, key, queues }
}

pub const ROUTES: [Route; 7] = [
    route("", "crash.classic", &[0]),
    route("", "crash.quorum", &[1]),
    route("crash.fan", "anything", &[2, 3]),
    route("crash.topics", "a.small.one", &[4]),
    route("crash.topics", "a.big.one.two", &[4, 5]),
    route("crash.topics", "nobody.wants.this", &[]),
    route("", "crash.markers", &[MARKERS]),
];

/// The number in [`ROUTES`] of the way to the markers.
pub const TO_MARKERS: u8 = 6;

fn queue_declare(queue: &Queue) -> Method {
    let declare = method("queue.declare durable").set("queue", queue.name);
    match queue {
        // Consumers that come for a visit give back more than they take: beyond 20 times a message would be dropped.
        Queue { quorum: true, .. } => {
            declare.args(&[("x-queue-type", text("quorum")), ("x-delivery-limit", int(-1))])
        }
        Queue { max_priority: 0, .. } => declare,
        Queue { max_priority, .. } => declare.args(&[("x-max-priority", int((*max_priority).into()))]),
    }
}

fn methods() -> Vec<Method> {
    let mut methods: Vec<_> = QUEUES.iter().map(queue_declare).collect();
    methods.extend([
        method("exchange.declare exchange=crash.fan type=fanout durable"),
        method("exchange.declare exchange=crash.topics type=topic durable"),
        method("queue.bind queue=crash.fan-classic exchange=crash.fan"),
        method("queue.bind queue=crash.fan-quorum exchange=crash.fan"),
        method("queue.bind queue=crash.topic exchange=crash.topics routing-key=a.#"),
        method("queue.bind queue=crash.topic-big exchange=crash.topics routing-key=*.big.#"),
    ]);
    methods
}

/// Declares all of it.
pub fn declare(link: &mut Link) -> Result<(), Broken> {
    methods().into_iter().try_for_each(|method| link.call(method).map(drop))
}

/// Takes all of it away, from a broker that is not ours alone.
pub fn delete(link: &mut Link) -> Result<(), Broken> {
    for queue in &QUEUES {
        link.call(method("queue.delete").set("queue", queue.name))?;
    }
    for exchange in ["crash.fan", "crash.topics"] {
        link.call(method("exchange.delete").set("exchange", exchange))?;
    }
    Ok(())
}
