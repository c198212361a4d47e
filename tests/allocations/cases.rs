//! The loads: what is declared, who publishes and who consumes, in rounds.

use crate::common::client::{BODY, FRAME_MAX, HEADER, METHOD, PLAIN, frame, header};
use crate::common::method::{Method, method};
use crate::common::table::{Field, headers, int, text};
use crate::peer::{Acks, Turn};

/// One more buffer, grown by doubling, and then some.
const LATE: u64 = 30;

/// One connection.
pub struct Plan {
    /// The limit of a frame it agrees on.
    pub frame_max: usize,
    /// It has the channels from 1 to this one.
    pub channels: u16,
    /// What succeeds on each of them before rounds begin.
    pub setup: Vec<&'static str>,
    pub turn: Turn,
}

pub struct Case {
    pub name: &'static str,
    /// Whether there is a data folder.
    pub on_disk: bool,
    /// The declaration of a queue with arguments.
    pub declare: Option<Method>,
    /// What succeeds before anything else.
    pub setup: Vec<&'static str>,
    pub plans: Vec<Plan>,
    /// Rounds that are looked at.
    pub rounds: u64,
    /// The allocations that there may be for each message and for each round.
    per_message: u64,
    per_round: u64,
}

impl Case {
    fn new(name: &'static str, setup: &[&'static str], rounds: u64, plans: Vec<Plan>) -> Self {
        let setup = setup.to_vec();
        Self { name, on_disk: false, declare: None, setup, plans, rounds, per_message: 0, per_round: 0 }
    }

    /// With a queue `q` that has arguments.
    fn declaring(self, declare: &str, arguments: &[(&str, Field)]) -> Self {
        Self { declare: Some(method(declare).args(arguments)), ..self }
    }

    /// The messages that are delivered in the rounds that are looked at.
    pub fn messages(&self) -> u64 {
        self.rounds * self.plans.iter().map(|plan| plan.turn.messages).sum::<u64>()
    }

    /// The allocations that there may be. Buffers go round, and how many are on their way and how full they are depends
    /// on timing, so that one more may be needed at any time.
    pub fn most(&self) -> u64 {
        self.messages() * self.per_message + self.rounds * self.per_round + self.messages() / 200 + LATE
    }

    /// With a data folder, where each commit needs some memory, however much is in it: the lists of its files, and of
    /// the vhosts.
    fn on_disk(self, per_round: u64) -> Self {
        Self { on_disk: true, per_round, ..self }
    }
}

/// A message that is published again and again.
#[derive(Clone)]
struct Publish {
    method: &'static str,
    properties: Vec<u8>,
    size: usize,
    frame_max: usize,
}

impl Publish {
    fn new(method: &'static str, size: usize) -> Self {
        Self { method, properties: PLAIN.to_vec(), size, frame_max: FRAME_MAX }
    }

    fn with(self, properties: Vec<u8>) -> Self {
        Self { properties, ..self }
    }

    fn octets(&self, channel: u16) -> Vec<u8> {
        let mut octets = frame(METHOD, channel, &method(self.method).payload());
        octets.extend(frame(HEADER, channel, &header(self.size as u64, &self.properties)));
        for part in vec![7; self.size].chunks(self.frame_max - 8) {
            octets.extend(frame(BODY, channel, part));
        }
        octets
    }

    /// So many of them a round.
    fn times(&self, count: usize) -> Plan {
        Plan { frame_max: self.frame_max, ..peer(&[], self.octets(1).repeat(count), 0, Acks::None) }
    }

    /// The same, and each is confirmed.
    fn confirmed(&self, count: usize) -> Plan {
        let plan = self.times(count);
        Plan { setup: vec!["confirm.select"], turn: Turn { confirms: count as u64, ..plan.turn }, ..plan }
    }
}

/// Sends these octets in a round, and gets so many messages.
fn peer(setup: &[&'static str], burst: Vec<u8>, messages: u64, acks: Acks) -> Plan {
    let turn = Turn { burst, messages, confirms: 0, acks };
    Plan { frame_max: FRAME_MAX, channels: 1, setup: setup.to_vec(), turn }
}

const Q: &[&str] = &["queue.declare queue=q"];
const TO_Q: &str = "basic.publish routing-key=q";
const CONSUME: &str = "basic.consume queue=q consumer-tag=c";
const PREFETCH_100: &[&str] = &["basic.qos prefetch-count=100", CONSUME];

/// A consumer of `q` without acknowledgements.
fn no_ack(messages: u64) -> Plan {
    peer(&["basic.consume queue=q consumer-tag=c no-ack"], Vec::new(), messages, Acks::None)
}

fn consumer(setup: &[&'static str], acks: Acks, messages: u64) -> Plan {
    peer(setup, Vec::new(), messages, acks)
}

fn small() -> Publish {
    Publish::new(TO_Q, 16)
}

/// A property list of a header table.
fn header_table() -> Vec<u8> {
    headers(&[("type", text("order")), ("number", int(5))])
}

/// A property list of a delivery mode of 2.
const PERSISTENT: &[u8] = &[0x10, 0x00, 2];

pub fn all() -> Vec<Case> {
    let cases = [
        through_the_default_exchange(),
        through_others(),
        acknowledged(),
        sizes(),
        fetched(),
        kept(),
        with_priorities(),
    ];
    cases.into_iter().flatten().collect()
}

fn through_the_default_exchange() -> Vec<Case> {
    let one = small();
    let burst = (0..500).flat_map(|number| one.octets(1 + number % 5)).collect();
    let five_channels = Plan { channels: 5, ..peer(&[], burst, 0, Acks::None) };
    let five_consumers = Plan { channels: 5, ..consumer(PREFETCH_100, Acks::Each, 500) };
    vec![
        Case::new("16 B", Q, 40, vec![one.times(500), no_ack(500)]),
        Case::new("16 B, one at a time", Q, 10_000, vec![one.times(1), no_ack(1)]),
        // More than an outbox takes at once.
        Case::new("16 B, a backlog", Q, 2, vec![one.times(15_000), no_ack(15_000)]),
        Case::new(
            "16 B, headers as properties",
            Q,
            40,
            vec![one.clone().with(header_table()).times(500), no_ack(500)],
        ),
        Case::new("16 B, 5 channels on each side", Q, 40, vec![five_channels, five_consumers]),
        Case::new("16 B, confirms", Q, 40, vec![one.confirmed(500), no_ack(500)]),
        Case::new("16 B, confirms, one at a time", Q, 10_000, vec![one.confirmed(1), no_ack(1)]),
    ]
}

fn through_others() -> Vec<Case> {
    let direct = ["queue.declare queue=q", "queue.bind queue=q exchange=amq.direct routing-key=key"];
    let topic = ["queue.declare queue=q", "queue.bind queue=q exchange=amq.topic routing-key=a.*.#"];
    let by_headers = ["queue.declare queue=q", "queue.bind queue=q exchange=amq.headers"];
    let to_direct = Publish::new("basic.publish exchange=amq.direct routing-key=key", 16);
    let to_topic = [
        Publish::new("basic.publish exchange=amq.topic routing-key=a.b", 16),
        Publish::new("basic.publish exchange=amq.topic routing-key=a.c.d", 16),
        Publish::new("basic.publish exchange=amq.topic routing-key=a.d", 16),
    ];
    let burst = to_topic.iter().cycle().take(300).flat_map(|publish| publish.octets(1)).collect();
    let three_keys = peer(&[], burst, 0, Acks::None);
    let to_headers = Publish::new("basic.publish exchange=amq.headers routing-key=key", 16);
    vec![
        Case::new("direct exchange", &direct, 40, vec![to_direct.times(500), no_ack(500)]),
        fanout(),
        Case::new("topic exchange, three keys in turn", &topic, 60, vec![three_keys, no_ack(300)]),
        Case::new(
            "headers exchange",
            &by_headers,
            40,
            vec![to_headers.with(header_table()).times(500), no_ack(500)],
        ),
    ]
}

fn fanout() -> Case {
    let setup = [
        "queue.declare queue=q1",
        "queue.declare queue=q2",
        "queue.declare queue=q3",
        "queue.declare queue=q4",
        "queue.declare queue=q5",
        "queue.bind queue=q1 exchange=amq.fanout",
        "queue.bind queue=q2 exchange=amq.fanout",
        "queue.bind queue=q3 exchange=amq.fanout",
        "queue.bind queue=q4 exchange=amq.fanout",
        "queue.bind queue=q5 exchange=amq.fanout",
    ];
    let consumers = [
        "basic.consume queue=q1 consumer-tag=c no-ack",
        "basic.consume queue=q2 consumer-tag=c no-ack",
        "basic.consume queue=q3 consumer-tag=c no-ack",
        "basic.consume queue=q4 consumer-tag=c no-ack",
        "basic.consume queue=q5 consumer-tag=c no-ack",
    ];
    let publish = Publish::new("basic.publish exchange=amq.fanout routing-key=key", 16);
    let mut plans = vec![publish.times(200)];
    plans.extend(consumers.iter().map(|consume| consumer(&[consume], Acks::None, 200)));
    Case::new("fanout exchange, 5 queues", &setup, 40, plans)
}

fn acknowledged() -> Vec<Case> {
    let one = small();
    let prefetch_1 = ["basic.qos prefetch-count=1", CONSUME];
    let with = |setup: &[&'static str], acks| vec![one.times(500), consumer(setup, acks, 500)];
    let by_50 = Acks::Multiple(50);
    vec![
        Case::new("ack each", Q, 40, with(&[CONSUME], Acks::Each)),
        Case::new("ack each, prefetch 100", Q, 40, with(PREFETCH_100, Acks::Each)),
        Case::new("ack each, prefetch 1", Q, 20, with(&prefetch_1, Acks::Each)),
        Case::new("ack by 50", Q, 40, with(&[CONSUME], by_50)),
        Case::new("ack by 50, prefetch 100", Q, 40, with(PREFETCH_100, by_50)),
        Case::new(
            "ack each, one at a time",
            Q,
            10_000,
            vec![one.times(1), consumer(&[CONSUME], Acks::Each, 1)],
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let kib = Publish::new(TO_Q, 1 << 10);
    let large = Publish::new(TO_Q, 64 << 10);
    let cut = Publish { frame_max: 4096, ..large.clone() };
    vec![
        Case::new("1 KiB", Q, 100, vec![kib.times(100), no_ack(100)]),
        Case::new(
            "1 KiB, ack each, prefetch 100",
            Q,
            50,
            vec![kib.times(200), consumer(PREFETCH_100, Acks::Each, 200)],
        ),
        Case::new("64 KiB", Q, 100, vec![large.times(4), no_ack(4)]),
        // One that is as large as a chunk has a chunk to itself: its octets, and where they begin.
        Case {
            per_message: 2,
            per_round: 1,
            ..Case::new(
                "64 KiB, ack each",
                Q,
                100,
                vec![large.times(4), consumer(PREFETCH_100, Acks::Each, 4)],
            )
        },
        // What is put together from frames: method, properties, body, what counts who shares that, and all of them.
        Case {
            per_message: 5,
            per_round: 1,
            ..Case::new(
                "64 KiB in frames of 4 KiB",
                Q,
                100,
                vec![cut.times(4), Plan { frame_max: 4096, ..no_ack(4) }],
            )
        },
    ]
}

fn fetched() -> Vec<Case> {
    let fetch = |get: &str, acks| {
        let get = frame(METHOD, 1, &method(get).payload());
        peer(&[], [small().octets(1).repeat(100), get.repeat(100)].concat(), 100, acks)
    };
    vec![
        Case::new("basic.get", Q, 100, vec![fetch("basic.get queue=q", Acks::Each)]),
        Case::new("basic.get no-ack", Q, 100, vec![fetch("basic.get queue=q no-ack", Acks::None)]),
    ]
}

fn kept() -> Vec<Case> {
    let durable = ["queue.declare queue=q durable"];
    let one = small().with(PERSISTENT.to_vec());
    let kib = Publish::new(TO_Q, 1 << 10).with(PERSISTENT.to_vec());
    let each = |count| consumer(PREFETCH_100, Acks::Each, count);
    let case = |name, rounds, plans| Case::new(name, &durable, rounds, plans);
    vec![
        case("on disk, 16 B, transient", 40, vec![small().times(500), no_ack(500)]).on_disk(0),
        // A few commits a round, one of them of acknowledgements, and now and then a new segment.
        case("on disk, 16 B", 40, vec![one.times(500), each(500)]).on_disk(20),
        case("on disk, 16 B, confirms", 40, vec![one.confirmed(500), each(500)]).on_disk(20),
        case("on disk, 1 KiB, confirms", 50, vec![kib.confirmed(200), each(200)]).on_disk(30),
        case("on disk, 16 B, one confirm at a time", 500, vec![one.confirmed(1), each(1)]).on_disk(8),
    ]
}

fn with_priorities() -> Vec<Case> {
    let named = |priority: u8| small().with(vec![0x08, 0x00, priority]);
    let burst: Vec<_> = (0..7).cycle().take(500).flat_map(|number| named(number * 2).octets(1)).collect();
    let publisher = || peer(&[], burst.clone(), 0, Acks::None);
    let confirmed = || {
        let plan = peer(&["confirm.select"], burst.clone(), 0, Acks::None);
        Plan { turn: Turn { confirms: 500, ..plan.turn }, ..plan }
    };
    let classic = |name, plans| {
        Case::new(name, &[], 40, plans).declaring("queue.declare queue=q", &[("x-max-priority", int(10))])
    };
    let quorum = |name, plans| {
        let durable = "queue.declare queue=q durable";
        Case::new(name, &[], 40, plans).declaring(durable, &[("x-queue-type", text("quorum"))])
    };
    let each = || consumer(PREFETCH_100, Acks::Each, 500);
    vec![
        classic("priorities", vec![publisher(), no_ack(500)]),
        classic("priorities, ack each, prefetch 100", vec![publisher(), each()]),
        quorum("quorum, priorities, ack each, prefetch 100", vec![publisher(), each()]),
        // Each priority has files of its own.
        quorum("on disk, quorum, priorities, confirms", vec![confirmed(), each()]).on_disk(40),
    ]
}
