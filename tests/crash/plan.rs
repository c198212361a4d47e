//! What happens in a round, out of a seed: who publishes and consumes how, when it ends and in which way, and what is
//! looked at afterwards.

use std::time::Duration;

use crate::random::Random;
use crate::topology::{MARKERS, QUEUES, QueueNo};

pub const PRODUCERS: usize = 7;
pub const CONSUMERS: usize = 8;

#[derive(Clone, Copy, Debug)]
pub enum Publish {
    /// With confirms, at most so many of them open, in writes of at most so many messages.
    Confirm { window: usize, batch: usize },
    /// In transactions of at most so many messages, some of them rolled back.
    Tx { most: usize },
    /// Without any answer, but now and then waiting until the broker has taken what was sent.
    Plain,
}

#[derive(Clone, Debug)]
pub struct ProducerPlan {
    pub publish: Publish,
    /// Numbers of routes to choose from.
    pub routes: &'static [u8],
    /// Sizes to choose from.
    pub sizes: &'static [u32],
    /// How many in a hundred are transient.
    pub transient: usize,
    /// After so many messages it only waits.
    pub target: usize,
    pub random: Random,
}

#[derive(Clone, Copy, Debug)]
pub enum Settle {
    /// Each by itself.
    Each,
    /// So many at once.
    Batch(usize),
    /// Some are requeued.
    Requeue,
    /// Some are left as they are.
    Keep,
    /// So many in a transaction.
    Tx(usize),
    /// After so many it closes the connection, and comes again.
    Visit(usize),
}

#[derive(Clone, Debug)]
pub struct ConsumerPlan {
    pub settle: Settle,
    pub queue: QueueNo,
    /// Whether it fetches one by one.
    pub get: bool,
    pub prefetch: u16,
    /// After so many settlements it publishes a marker.
    pub marker_every: usize,
    pub random: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// kill -9 in the middle of it.
    Kill,
    /// SIGTERM in the middle of it.
    Stop,
    /// SIGTERM after all clients have become quiet.
    QuietStop,
    /// All clients close, and the broker stays.
    Pause,
}

/// What is done with a queue between two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All is consumed and acknowledged.
    Drain,
    /// All is consumed and given back.
    Return,
    /// Nothing: what is wrong shows later.
    Trust,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub producers: Vec<ProducerPlan>,
    pub consumers: Vec<ConsumerPlan>,
    /// How long the load lasts.
    pub length: Duration,
    pub ending: Ending,
    /// How long a start lives that is killed as well.
    pub false_start: Option<Duration>,
    pub looks: [Look; QUEUES.len()],
    /// For the definitions.
    pub random: Random,
}

/// In which ways the rounds of a run end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endings {
    /// Mostly by kill -9.
    Kills,
    /// Always cleanly.
    Stops,
    /// The broker is not ours.
    Pauses,
}

const TINY: &[u32] = &[0, 16, 16, 100];
const SMALL: &[u32] = &[0, 16, 1024, 1024, 1024, 5000];
const MIXED: &[u32] = &[16, 1024, 1024, 1024, 1024, 100 << 10];
const LARGE: &[u32] = &[1024, 100 << 10, 100 << 10, 100 << 10, 200_000, 1 << 20];

fn fork(random: &mut Random) -> Random {
    Random::new(random.next())
}

fn one_of<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len())]
}

impl Plan {
    pub fn new(random: &mut Random, round: u32, endings: Endings) -> Self {
        let mut looks = [Look::Trust; QUEUES.len()];
        looks.fill_with(|| one_of(random, &[Look::Drain, Look::Return, Look::Return, Look::Trust]));
        // Nobody consumes the markers.
        if round.is_multiple_of(4) {
            looks[MARKERS] = Look::Drain;
        }
        let ending = match endings {
            Endings::Kills => one_of(random, &[Ending::Kill; 10]),
            Endings::Stops => one_of(random, &[Ending::Stop, Ending::QuietStop]),
            Endings::Pauses => Ending::Pause,
        };
        let other = endings == Endings::Kills && random.chance(15);
        Self {
            producers: (0..PRODUCERS).map(|number| producer(random, number, round)).collect(),
            consumers: (0..CONSUMERS).map(|_| consumer(random)).collect(),
            length: Duration::from_millis(20 + random.below(500) as u64),
            ending: if other {
                one_of(random, &[Ending::Stop, Ending::QuietStop, Ending::Pause])
            } else {
                ending
            },
            false_start: random.chance(25).then(|| Duration::from_millis(random.below(60) as u64)),
            looks,
            random: fork(random),
        }
    }
}

/// Each way of publishing is there in each round, by another producer each time.
fn producer(random: &mut Random, number: usize, round: u32) -> ProducerPlan {
    let confirm = |window, batch| Publish::Confirm { window, batch };
    let (publish, routes, sizes, target): (_, &[u8], _, _) = match (number + round as usize) % PRODUCERS {
        0 => (confirm(1, 1), &[0], TINY, 5000),
        1 => (confirm(1, 1), &[1, 2], SMALL, 5000),
        2 => (confirm(10, 4), &[1], MIXED, 1000),
        3 => (confirm(100, 20), &[2], SMALL, 1500),
        4 => (confirm(1000, 50), &[3, 4, 5, 3], SMALL, 1500),
        5 => (Publish::Tx { most: 20 }, &[0, 2, 4], SMALL, 1000),
        _ if random.chance(50) => (Publish::Plain, &[0, 1, 3], TINY, 500),
        _ => (confirm(5, 5), &[0, 4], LARGE, 40),
    };
    let transient = one_of(random, &[0, 0, 10, 50]);
    ProducerPlan { publish, routes, sizes, transient, target, random: fork(random) }
}

fn consumer(random: &mut Random) -> ConsumerPlan {
    let settle = match random.below(8) {
        0 | 1 => Settle::Each,
        2 => Settle::Batch(10),
        3 => Settle::Requeue,
        4 => Settle::Keep,
        5 => Settle::Tx(1 + random.below(15)),
        6 => Settle::Visit(1 + random.below(100)),
        _ => Settle::Batch(1 + random.below(100)),
    };
    ConsumerPlan {
        settle,
        queue: random.below(MARKERS),
        get: random.chance(20),
        prefetch: one_of(random, &[0, 1, 10, 100, 300]),
        marker_every: 1 + random.below(40),
        random: fork(random),
    }
}
