//! `leveret perf throughput`: sets up a run, times it and collects its figures.

use std::{
    io,
    sync::atomic::Ordering,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    args::ThroughputArgs,
    consumer::Consumer,
    deliveries,
    error::PerfError,
    process::{CpuTime, Process},
    producer::{Outcome, Producer},
    report::{Interval, Report, Totals},
    shared::{Counter, Shared},
    topology::Topology,
    uri::AmqpUri,
};

/// Longest time that consumers go on after producers have stopped.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How often draining is checked for its end.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// Runs the load that `args` describe and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &ThroughputArgs) -> Result<(), PerfError> {
    let uri = args.check()?;
    let broker = args.broker_pid.map(Process::new);
    if let Some(broker) = &broker {
        broker.cpu_time()?;
    }
    let topology = Topology::declare(&uri, args)?;
    let queue = topology.queue.clone();
    let measured = load(args, &uri, &topology, broker.as_ref());
    let deleted = topology.delete();
    let (interval, totals) = measured?;
    deleted?;
    let report = Report::new(args, &uri, &queue, &interval, &totals);
    report.write(args.json, &mut io::stdout().lock())
}

/// Connects everyone, runs the load and adds up what came of it.
fn load(
    args: &ThroughputArgs,
    uri: &AmqpUri,
    topology: &Topology,
    broker: Option<&Process>,
) -> Result<(Interval, Totals), PerfError> {
    let shared = Shared::new();
    let message = topology.message(args, shared.mark)?;
    let consumers = (1..=args.consumers)
        .map(|number| Consumer::subscribe(uri, &topology.queue, args, number))
        .collect::<Result<Vec<_>, _>>()?;
    let producers = (1..=args.producers)
        .map(|number| Producer::prepare(uri, &message, args.confirm, number))
        .collect::<Result<Vec<_>, _>>()?;
    let crew = Crew {
        shared,
        published: producers.iter().map(|_| Counter::default()).collect(),
        received: consumers.iter().map(|_| Counter::default()).collect(),
    };
    thread::scope(|scope| {
        let outcome = crew.work(scope, producers, consumers, &Plan { args, broker });
        // The scope waits for all threads, so they must stop after an error too.
        crew.shared.stop_all();
        outcome
    })
}

/// What is to be measured, and how long.
struct Plan<'a> {
    args: &'a ThroughputArgs,
    broker: Option<&'a Process>,
}

/// State that the threads of a run report to.
struct Crew {
    shared: Shared,
    published: Vec<Counter>,
    received: Vec<Counter>,
}

/// All counts at one moment.
struct Snapshot {
    at: Instant,
    published: u64,
    delivered: u64,
    broker: Option<CpuTime>,
    client: Option<CpuTime>,
}

impl Crew {
    /// Starts all threads, times the run, and stops them in turn.
    fn work<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        producers: Vec<Producer>,
        consumers: Vec<Consumer>,
        plan: &Plan<'_>,
    ) -> Result<(Interval, Totals), PerfError> {
        let (failures, failed) = mpsc::channel();
        let mut consuming = Vec::new();
        for (consumer, counter) in consumers.into_iter().zip(&self.received) {
            let work = move || consumer.run(&self.shared, counter);
            consuming.push(spawn(scope, "perf-consumer", failures.clone(), work)?);
        }
        let mut publishing = Vec::new();
        for (producer, counter) in producers.into_iter().zip(&self.published) {
            let work = move || producer.run(&self.shared, counter);
            publishing.push(spawn(scope, "perf-producer", failures.clone(), work)?);
        }
        let interval = self.measure(plan, &failed)?;
        let outcome = join_producers(publishing)?;
        self.drain(&failed)?;
        self.shared.stop_all();
        let latency = join_consumers(consuming)?;
        wait(&failed, Duration::ZERO)?;
        let (published, delivered) = (sum(&self.published), sum(&self.received));
        Ok((interval, Totals { published, delivered, outcome, latency }))
    }

    /// Lets the load warm up, measures it for the planned time and stops producers.
    fn measure(&self, plan: &Plan<'_>, failed: &Receiver<PerfError>) -> Result<Interval, PerfError> {
        wait(failed, plan.args.warmup)?;
        let before = self.snapshot(plan)?;
        self.shared.measure_from_now();
        wait(failed, plan.args.time)?;
        self.shared.measure_to_now();
        let after = self.snapshot(plan)?;
        let rss_mib = plan.broker.map(Process::resident_mib).transpose()?;
        self.shared.stop_producers.store(true, Ordering::Relaxed);
        let used =
            |after: &Option<CpuTime>, before: &Option<CpuTime>| Some(after.as_ref()?.since(before.as_ref()?));
        Ok(Interval {
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            published: after.published - before.published,
            delivered: after.delivered - before.delivered,
            broker_nanos: used(&after.broker, &before.broker),
            client_nanos: used(&after.client, &before.client),
            rss_mib,
        })
    }

    /// Reads all counts and processor times.
    fn snapshot(&self, plan: &Plan<'_>) -> Result<Snapshot, PerfError> {
        let broker = plan.broker.map(Process::cpu_time).transpose()?;
        let client = Process::this().cpu_time().ok();
        let at = Instant::now();
        let (published, delivered) = (sum(&self.published), sum(&self.received));
        Ok(Snapshot { at, published, delivered, broker, client })
    }

    /// Waits until everything published has been received, or for a short time.
    fn drain(&self, failed: &Receiver<PerfError>) -> Result<(), PerfError> {
        let deadline = Instant::now() + DRAIN_LIMIT;
        while !self.received.is_empty()
            && sum(&self.received) < sum(&self.published)
            && Instant::now() < deadline
        {
            wait(failed, DRAIN_STEP)?;
        }
        Ok(())
    }
}

/// Starts a thread whose error, if any, goes to `failures`; its result is `None` then.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    failures: Sender<PerfError>,
    work: impl FnOnce() -> Result<T, PerfError> + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, Option<T>>, PerfError> {
    let report = move |error| {
        // When nobody listens any more, the run has already failed for another reason.
        let _ = failures.send(error);
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, move || work().map_err(report).ok())
        .map_err(|error| PerfError::Worker(error.to_string()))
}

/// Sleeps for `time` unless a thread has failed or fails meanwhile, which is the error.
fn wait(failed: &Receiver<PerfError>, time: Duration) -> Result<(), PerfError> {
    let until = Instant::now() + time;
    match failed.recv_timeout(time) {
        Ok(error) => Err(error),
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => {
            thread::sleep(until.saturating_duration_since(Instant::now()));
            Ok(())
        }
    }
}

/// Waits for a thread.
fn join<T>(handle: ScopedJoinHandle<'_, Option<T>>) -> Result<Option<T>, PerfError> {
    handle.join().map_err(|_| PerfError::Worker("it panicked".to_owned()))
}

/// Waits for all producers and adds up what they heard.
fn join_producers(handles: Vec<ScopedJoinHandle<'_, Option<Outcome>>>) -> Result<Outcome, PerfError> {
    let mut all = Outcome::default();
    for handle in handles {
        let one = join(handle)?.unwrap_or_default();
        all.confirmed += one.confirmed;
        all.nacked += one.nacked;
        all.blocked |= one.blocked;
    }
    Ok(all)
}

/// Waits for all consumers and merges their latencies.
fn join_consumers(
    handles: Vec<ScopedJoinHandle<'_, Option<Histogram<u64>>>>,
) -> Result<Histogram<u64>, PerfError> {
    let mut all = deliveries::histogram()?;
    for handle in handles {
        if let Some(one) = join(handle)? {
            all.add(one).map_err(|error| PerfError::Worker(error.to_string()))?;
        }
    }
    Ok(all)
}

/// The sum of several threads' counts.
fn sum(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::get).sum()
}
