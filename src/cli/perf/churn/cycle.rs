//! Clients that do the same over and over, for a time.

use std::{
    sync::{
        atomic::Ordering,
        mpsc::{self, Receiver},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    super::{
        deliveries,
        error::PerfError,
        progress::Progress,
        shared::{Counter, Shared, sum},
        threads::{join, spawn, wait},
        usage::{Observed, Used},
    },
    args::ChurnArgs,
};

/// How often it is looked whether a line about the progress is due.
const LOOK: Duration = Duration::from_millis(100);

/// Somebody who does the same over and over.
pub trait Client: Send {
    /// Goes on as long as `meter` says so, and tells it of each time.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached, refuses something or does not answer.
    fn run(self, meter: &mut Meter<'_>) -> Result<(), PerfError>;
}

/// Counts what one client does.
pub struct Meter<'a> {
    shared: &'a Shared,
    counter: &'a Counter,
    cycles: u64,
    counts: Counts,
}

/// What clients have counted besides cycles.
#[derive(Debug)]
struct Counts {
    latency: Histogram<u64>,
    misses: u64,
}

/// What all clients have done in the measured time.
#[derive(Debug)]
pub struct Cycles {
    /// What it took.
    pub used: Used,
    /// How often they did it.
    pub count: u64,
    /// How long each time took, in nanoseconds.
    pub latency: Histogram<u64>,
    /// How often something was not there, in the whole run.
    pub misses: u64,
    /// Resident memory of the broker in the end, in bytes.
    pub rss: Option<u64>,
}

impl<'a> Meter<'a> {
    fn new(shared: &'a Shared, counter: &'a Counter) -> Result<Self, PerfError> {
        let counts = Counts { latency: deliveries::histogram()?, misses: 0 };
        Ok(Self { shared, counter, cycles: 0, counts })
    }

    /// Whether to go on.
    pub fn go_on(&self) -> bool {
        !self.shared.stop_producers.load(Ordering::Relaxed)
    }

    /// Counts one time that began then and ends now.
    pub fn done(&mut self, began: Instant) {
        self.cycles += 1;
        self.counter.set(self.cycles);
        if self.shared.measures(self.shared.now()) {
            let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.counts.latency.saturating_record(nanos);
        }
    }

    /// Counts something that was not there.
    pub fn miss(&mut self) {
        self.counts.misses += 1;
    }
}

/// Lets all clients go on for the time that `args` give.
///
/// # Errors
///
/// The first one that a client meets.
pub fn measure<C: Client>(args: &ChurnArgs, broker: &Observed, clients: Vec<C>) -> Result<Cycles, PerfError> {
    let crew = Crew { shared: Shared::new(), counters: clients.iter().map(|_| Counter::default()).collect() };
    thread::scope(|scope| {
        let outcome = crew.work(scope, clients, args, broker);
        // The scope waits for all threads, so they must stop after an error too.
        crew.shared.stop_all();
        outcome
    })
}

/// What the threads of a run share.
struct Crew {
    shared: Shared,
    counters: Vec<Counter>,
}

impl Crew {
    fn work<'scope, C: Client + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        clients: Vec<C>,
        args: &ChurnArgs,
        broker: &Observed,
    ) -> Result<Cycles, PerfError> {
        let (failures, failed) = mpsc::channel();
        let mut handles = Vec::new();
        for (client, counter) in clients.into_iter().zip(&self.counters) {
            let work = move || {
                let mut meter = Meter::new(&self.shared, counter)?;
                client.run(&mut meter).map(|()| meter.counts)
            };
            handles.push(spawn(scope, "perf-client", failures.clone(), work)?);
        }
        let mut progress = Progress::new(&args.target.progress);
        self.pass(args.warmup, &failed, &mut progress)?;
        let (before, count) = (broker.reading()?, sum(&self.counters));
        self.shared.measure_from_now();
        self.pass(args.time, &failed, &mut progress)?;
        self.shared.measure_to_now();
        let (after, count) = (broker.reading()?, sum(&self.counters) - count);
        let rss = broker.memory()?;
        self.shared.stop_all();
        let (mut latency, mut misses) = (deliveries::histogram()?, 0);
        for handle in handles {
            if let Some(counts) = join(handle)? {
                latency.add(counts.latency).map_err(|error| PerfError::Worker(error.to_string()))?;
                misses += counts.misses;
            }
        }
        wait(&failed, Duration::ZERO)?;
        Ok(Cycles { used: after.since(&before), count, latency, misses, rss })
    }

    /// Lets time pass, and says how far it is.
    fn pass(
        &self,
        time: Duration,
        failed: &Receiver<PerfError>,
        progress: &mut Progress,
    ) -> Result<(), PerfError> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if progress.due() {
                progress.show(&format!("{} times", sum(&self.counters)));
            }
            wait(failed, left.min(LOOK))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::args::tests::parse, *};

    /// Does nothing quickly, and fails after so many times.
    struct Idle(u64);

    impl Client for Idle {
        fn run(self, meter: &mut Meter<'_>) -> Result<(), PerfError> {
            for _ in 0..self.0 {
                if !meter.go_on() {
                    return Ok(());
                }
                meter.done(Instant::now());
                thread::sleep(Duration::from_millis(1));
            }
            meter.miss();
            Err(PerfError::Hangup)
        }
    }

    fn run(line: &str, clients: Vec<Idle>) -> Result<Cycles, PerfError> {
        measure(&parse(line).unwrap(), &Observed::new(None).unwrap(), clients)
    }

    #[test]
    fn all_clients_count_but_only_in_the_measured_time() {
        let cycles = run("--warmup 0.05 --time 0.2", vec![Idle(u64::MAX), Idle(u64::MAX)]).unwrap();
        assert!(cycles.count > 0 && cycles.misses == 0);
        // Cycles end while the time is taken.
        assert!(cycles.latency.len().abs_diff(cycles.count) <= 20, "{cycles:?}");
        assert!(cycles.used.seconds >= 0.2);
    }

    #[test]
    fn one_client_that_fails_ends_the_run() {
        let error = run("--time 60", vec![Idle(u64::MAX), Idle(3)]).unwrap_err();
        assert!(matches!(error, PerfError::Hangup));
    }
}
