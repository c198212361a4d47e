//! What the threads of a run have in common.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Instant,
};

/// Clock, flags and measured interval of a run.
#[derive(Debug)]
pub struct Shared {
    started: Instant,
    /// Number that marks stamped messages of this run; never 0.
    pub mark: u64,
    /// Set when producers should stop.
    pub stop_producers: AtomicBool,
    /// Set when consumers should stop.
    pub stop_consumers: AtomicBool,
    /// Consuming connections whose consumers have all started.
    pub subscribed: AtomicUsize,
    /// Start of the measured interval, in nanoseconds since the run started.
    measure_from: AtomicU64,
    /// End of the measured interval, likewise.
    measure_to: AtomicU64,
}

impl Shared {
    /// A run that starts now and measures nothing yet.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            mark: random() | 1,
            stop_producers: AtomicBool::new(false),
            stop_consumers: AtomicBool::new(false),
            subscribed: AtomicUsize::new(0),
            measure_from: AtomicU64::new(u64::MAX),
            measure_to: AtomicU64::new(u64::MAX),
        }
    }

    /// Nanoseconds since the run started, good for 584 years.
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Starts the measured interval.
    pub fn measure_from_now(&self) {
        self.measure_from.store(self.now(), Ordering::Relaxed);
    }

    /// Ends the measured interval.
    pub fn measure_to_now(&self) {
        self.measure_to.store(self.now(), Ordering::Relaxed);
    }

    /// Whether a message sent at `time` counts towards the latency.
    pub fn measures(&self, time: u64) -> bool {
        let from = self.measure_from.load(Ordering::Relaxed);
        let to = self.measure_to.load(Ordering::Relaxed);
        (from..to).contains(&time)
    }

    /// Tells all threads to finish.
    pub fn stop_all(&self) {
        self.stop_producers.store(true, Ordering::Relaxed);
        self.stop_consumers.store(true, Ordering::Relaxed);
    }
}

/// A count that one thread writes and others read, alone on its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter {
    count: AtomicU64,
    octets: AtomicU64,
}

impl Counter {
    /// Publishes the owner's current count.
    pub fn set(&self, value: u64) {
        self.count.store(value, Ordering::Relaxed);
    }

    /// Publishes how many bytes the owner has counted.
    pub fn set_octets(&self, value: u64) {
        self.octets.store(value, Ordering::Relaxed);
    }

    /// The number of bytes as last published.
    pub fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    /// The count as last published.
    pub fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// The sum of several threads' counts.
pub fn sum(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::get).sum()
}

/// A number that differs from run to run.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
