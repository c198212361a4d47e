//! Samples of what is counted, taken every five seconds, for rates and for what was before.
//!
//! Counters are read where they are counted, and never here: what is here is the past. The sampler looks only at what has
//! changed since it looked last, a thousand objects at a time, and keeps as many samples as there is memory for.
//!
//! - this file: what is sampled, and what of it is kept where
//! - [`sampler`][]: the task that takes them
//! - [`series`][]: numbers over time

pub mod sampler;
pub mod series;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use self::series::{BASIC, GLOBAL, STEP, Seconds, Series};
use super::Node;
use super::process::Figures;
use crate::broker::counts::{Churned, Counts, Deliveries, Passed, Publishes};
use crate::broker::{ChannelId, ExchangeId, Map, Now, QueueId};

/// Octets that the samples of queues, exchanges, channels and connections may take together.
const MEMORY: usize = 32 << 20;

/// Which rates are shown (RabbitMQ's `management.rates_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatesMode {
    #[default]
    Basic,
    /// As many as with `Basic`: who published where is not told apart.
    Detailed,
    /// None of messages.
    None,
}

impl RatesMode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Detailed => "detailed",
            Self::None => "none",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Basic, Self::Detailed, Self::None].into_iter().find(|mode| mode.name() == name)
    }
}

/// What is told of what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsSettings {
    pub rates_mode: RatesMode,
    /// Nothing is (`management.disable_stats`), but lengths of queues if
    pub disable_stats: bool,
    /// this says so (`management.enable_queue_totals`).
    pub enable_queue_totals: bool,
}

/// Names of what [`publishes`] has, in its order.
pub const PUBLISHES: [&str; 4] = ["publish", "confirm", "return_unroutable", "drop_unroutable"];
/// Names of what [`deliveries`] has, in its order.
pub const DELIVERIES: [&str; 8] =
    ["ack", "deliver", "deliver_get", "deliver_no_ack", "get", "get_empty", "get_no_ack", "redeliver"];
pub const PASSED: [&str; 2] = ["publish_in", "publish_out"];
pub const LENGTHS: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];
/// Names of what [`churn`] has, in its order.
pub const CHURN: [&str; 7] = [
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];
/// Names of what [`figures`] has, in its order. Times are in microseconds.
pub const FIGURES: [&str; 14] = [
    "mem_used",
    "fd_used",
    "proc_used",
    "disk_free",
    "context_switches",
    "io_read_count",
    "io_read_bytes",
    "io_read_time",
    "io_write_count",
    "io_write_bytes",
    "io_write_time",
    "io_sync_count",
    "io_sync_bytes",
    "io_sync_time",
];
pub const OCTETS: [&str; 2] = ["recv_oct", "send_oct"];

/// How many numbers there are of a channel: what it has published, then what has been delivered.
pub const CHANNEL: usize = PUBLISHES.len() + DELIVERIES.len();
/// Of a queue: lengths, what has been published, what has been delivered.
pub const QUEUE: usize = LENGTHS.len() + 1 + DELIVERIES.len();
/// Of a vhost: octets, lengths, and what its channels count.
pub const VHOST: usize = OCTETS.len() + LENGTHS.len() + CHANNEL;
/// Of the node: the same, and its own figures.
pub const NODE: usize = VHOST + CHURN.len() + FIGURES.len();

pub fn publishes(of: &Publishes) -> [u64; 4] {
    [of.publish, of.confirm, of.return_unroutable, of.drop_unroutable]
}

pub fn deliveries(of: &Deliveries) -> [u64; 8] {
    let Deliveries { deliver, deliver_no_ack, get, get_no_ack, get_empty, redeliver, ack } = *of;
    [ack, deliver, of.deliver_get(), deliver_no_ack, get, get_empty, get_no_ack, redeliver]
}

pub fn churn(of: &Churned) -> [u64; 7] {
    let Churned { connection_created, connection_closed, channel_created, channel_closed, .. } = *of;
    let Churned { queue_declared, queue_created, queue_deleted, .. } = *of;
    [
        connection_created,
        connection_closed,
        channel_created,
        channel_closed,
        queue_declared,
        queue_created,
        queue_deleted,
    ]
}

pub fn figures(of: &Figures) -> [u64; 14] {
    let Figures { memory, files, threads, disk_free, switches, .. } = *of;
    let used = [of.reads, of.writes, of.syncs].map(|used| [used.count, used.octets, used.microseconds]);
    join(&[&[memory, files, threads, disk_free, switches], used.as_flattened()])
}

pub fn passed(of: &Passed) -> [u64; 2] {
    [of.publish_in, of.publish_out]
}

/// Numbers one after the other in one array. What is too much for it is left out.
pub fn join<const N: usize>(parts: &[&[u64]]) -> [u64; N] {
    let mut joined = [0; N];
    for (place, number) in joined.iter_mut().zip(parts.iter().copied().flatten()) {
        *place = *number;
    }
    joined
}

pub fn counts(of: &Counts) -> [u64; CHANNEL] {
    join(&[&publishes(&of.publishes), &deliveries(&of.deliveries)])
}

/// How long queues are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Those that are put off count here alone.
    pub messages: u64,
    pub ready: u64,
    pub unacknowledged: u64,
}

impl Lengths {
    pub fn numbers(self) -> [u64; 3] {
        [self.messages, self.ready, self.unacknowledged]
    }
}

impl std::ops::AddAssign for Lengths {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.ready += other.ready;
        self.unacknowledged += other.unacknowledged;
    }
}

/// The samples of a vhost and of what is in it, but for channels.
#[derive(Debug)]
pub struct VhostSamples {
    pub queues: Map<QueueId, Series<QUEUE>>,
    pub exchanges: Map<ExchangeId, Series<{ PASSED.len() }>>,
    pub own: Series<VHOST>,
    /// What all queues held when they were looked at last.
    lengths: Lengths,
}

impl Default for VhostSamples {
    fn default() -> Self {
        Self {
            queues: Map::default(),
            exchanges: Map::default(),
            own: Series::new(GLOBAL),
            lengths: Lengths::default(),
        }
    }
}

impl VhostSamples {
    fn forget(&mut self) {
        self.queues.values_mut().for_each(Series::forget);
        self.exchanges.values_mut().for_each(Series::forget);
        self.own.forget();
    }
}

/// The samples of a connection and of its channels.
#[derive(Debug)]
pub struct ConnectionSamples {
    pub own: Series<{ OCTETS.len() }>,
    pub channels: HashMap<ChannelId, ChannelSamples>,
}

#[derive(Debug)]
pub struct ChannelSamples {
    pub series: Series<CHANNEL>,
    /// When something had changed that was looked at, in milliseconds since 1970.
    pub changed_at: Now,
}

impl Default for ConnectionSamples {
    fn default() -> Self {
        Self { own: Series::new(BASIC), channels: HashMap::new() }
    }
}

/// The samples of the node, and what is known of all others.
#[derive(Debug)]
pub struct Samples {
    pub node: Mutex<Series<NODE>>,
    /// When the last ones were taken, in seconds since 1970.
    taken_at: AtomicU64,
    /// How many of each object may be kept at each distance.
    room: AtomicUsize,
}

impl Default for Samples {
    fn default() -> Self {
        let room = AtomicUsize::new(usize::MAX);
        Self { node: Mutex::new(Series::new(GLOBAL)), taken_at: AtomicU64::new(0), room }
    }
}

impl ConnectionSamples {
    fn forget(&mut self) {
        self.own.forget();
        self.channels.values_mut().for_each(|channel| channel.series.forget());
    }
}

impl Node {
    /// Forgets what was before, so that rates and ranges begin anew. What has been counted stays.
    pub fn forget_samples(&self) {
        self.samples.node.lock().forget();
        for cell in self.vhosts() {
            cell.samples.lock().forget();
        }
        for connection in self.connections.all() {
            connection.samples.lock().iter_mut().for_each(|samples| samples.forget());
        }
    }
}

impl Samples {
    /// When the last samples were taken, in seconds since 1970, a multiple of [`STEP`].
    pub fn taken_at(&self) -> Seconds {
        self.taken_at.load(Ordering::Acquire)
    }

    fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// There are samples of so many objects: the more they are, the fewer of each are kept.
    fn make_room(&self, objects: usize) {
        let each = Series::<QUEUE>::SAMPLE * objects.max(1);
        self.room.store((MEMORY / each).max(2), Ordering::Relaxed);
    }

    fn note_taken(&self, at: Seconds) {
        debug_assert!(at.is_multiple_of(STEP));
        self.taken_at.store(at, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_the_order_of_their_names() {
        let published = Publishes { publish: 1, confirm: 2, return_unroutable: 3, drop_unroutable: 4 };
        let delivered = Deliveries {
            deliver: 10,
            deliver_no_ack: 20,
            get: 30,
            get_no_ack: 40,
            get_empty: 50,
            redeliver: 60,
            ack: 70,
        };
        let both = counts(&Counts { publishes: published, deliveries: delivered });
        let named: HashMap<_, _> = PUBLISHES.iter().chain(&DELIVERIES).copied().zip(both).collect();
        for (name, number) in [("confirm", 2), ("drop_unroutable", 4), ("ack", 70), ("deliver_get", 100)] {
            assert_eq!(named[name], number, "{name}");
        }
        assert_eq!((named["get_empty"], named["redeliver"], named.len()), (50, 60, CHANNEL));
    }

    #[test]
    fn the_more_there_are_the_fewer_are_kept() {
        let samples = Samples::default();
        let room = |objects| {
            samples.make_room(objects);
            samples.room()
        };
        assert!(room(0) > 1000 && room(1000) > 121 && room(100_000) < 10 && room(100_000_000) == 2);
    }
}
