//! `leveret perf throughput`: sets up a run, times it and collects its figures.
//!
//! - [`args`][], [`places`][]: what is asked for
//! - [`names`][], [`routes`][], [`shares`][]: plans: names of queues, bindings, who consumes what
//! - [`topology`][]: what is declared on the broker
//! - [`pulse`][]: the line that says how far it is
//! - [`report`][], [`settings`][]: the figures

mod args;
mod names;
mod places;
mod pulse;
mod report;
mod routes;
mod settings;
mod shares;
mod topology;

use std::{
    io,
    sync::atomic::Ordering,
    sync::mpsc::{self, Receiver},
    thread::{self, Scope},
    time::{Duration, Instant},
};

pub use self::args::ThroughputArgs;
use self::{
    pulse::Pulse,
    report::{Interval, Report, Totals},
    settings::{Declared, Settings},
    shares::shares,
    topology::Topology,
};
use super::{
    batch::Message,
    consumer::{Consumer, Received},
    deliveries,
    error::PerfError,
    process::{CpuTime, Memory, Process},
    producer::{Outcome, Producer},
    shared::{Counter, Shared, sum},
    threads::{Handle, join, spawn, wait},
    uri::AmqpUri,
};

/// Longest time that consumers go on after producers have stopped.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How often draining is checked for its end.
const DRAIN_STEP: Duration = Duration::from_millis(10);
/// How often consumers are asked whether they have started.
const SUBSCRIBE_STEP: Duration = Duration::from_millis(1);
/// How often there is a look whether it is time for a line about the progress.
const PULSE_STEP: Duration = Duration::from_millis(100);

/// Runs the load that `args` describe and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &ThroughputArgs) -> Result<(), PerfError> {
    let uris = args.check()?;
    let broker = args.broker_pid.map(Process::new);
    if let Some(broker) = &broker {
        broker.cpu_time()?;
    }
    let topology = Topology::declare(&uris[0], args)?;
    let declared = Declared {
        queues: &topology.queues,
        bindings: topology.routes.bindings.len(),
        routing_keys: topology.routes.keys.len(),
    };
    let settings = Settings::new(args, &uris, declared);
    let measured = load(args, &uris, &topology, broker.as_ref());
    let deleted = topology.delete();
    let (interval, totals) = measured?;
    deleted?;
    let report = Report::new(args, settings, &interval, &totals);
    report.write(args.json, &mut io::stdout().lock())
}

/// Connects everyone, runs the load and adds up what came of it.
fn load(
    args: &ThroughputArgs,
    uris: &[AmqpUri],
    topology: &Topology,
    broker: Option<&Process>,
) -> Result<(Interval, Totals), PerfError> {
    let shared = Shared::new();
    let message = topology.message(args, shared.mark)?;
    let taking = args.taking.taking();
    // One connection after the other takes the next address, producers first.
    let uri = |connection: usize| &uris[connection % uris.len()];
    let per_channel = args.taking.consumers_per_channel;
    let consumers = (1..)
        .zip(shares(&topology.queues, args.consumers, args.channels, per_channel))
        .map(|(number, queues)| {
            let connection = usize::from(args.producers) + usize::from(number) - 1;
            Consumer::attach(uri(connection), &queues, &taking, number)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let producers = (1..=args.producers)
        .map(|number| Producer::prepare(uri(usize::from(number) - 1), &message, args.publishing(), number))
        .collect::<Result<Vec<_>, _>>()?;
    let crew = Crew {
        shared,
        published: producers.iter().map(|_| Counter::default()).collect(),
        received: consumers.iter().map(|_| Counter::default()).collect(),
    };
    thread::scope(|scope| {
        let outcome =
            crew.work(scope, producers, consumers, &Plan { args, broker, copies: topology.routes.copies });
        // The scope waits for all threads, so they must stop after an error too.
        crew.shared.stop_all();
        outcome
    })
}

/// What is to be measured, and how long.
struct Plan<'a> {
    args: &'a ThroughputArgs,
    broker: Option<&'a Process>,
    /// Deliveries of each message.
    copies: u64,
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
    published_octets: u64,
    delivered_octets: u64,
    broker: Option<CpuTime>,
    client: Option<CpuTime>,
    disk_written: Option<u64>,
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
        // Publishing to queues whose consumers are about to start would be another load.
        while self.shared.subscribed.load(Ordering::Relaxed) < self.received.len() {
            wait(&failed, SUBSCRIBE_STEP)?;
        }
        let mut publishing = Vec::new();
        for (producer, counter) in producers.into_iter().zip(&self.published) {
            let work = move || producer.run(&self.shared, counter);
            publishing.push(spawn(scope, "perf-producer", failures.clone(), work)?);
        }
        let interval = self.measure(plan, &failed)?;
        let outcome = join_producers(publishing)?;
        self.drain(plan.copies, &failed)?;
        self.shared.stop_all();
        let Received { latency, empties } = join_consumers(consuming)?;
        wait(&failed, Duration::ZERO)?;
        let (published, delivered) = (sum(&self.published), sum(&self.received));
        Ok((interval, Totals { published, delivered, outcome, latency, empties }))
    }

    /// Lets the load warm up, measures it for the planned time and stops producers.
    fn measure(&self, plan: &Plan<'_>, failed: &Receiver<PerfError>) -> Result<Interval, PerfError> {
        let mut pulse = Pulse::new(plan.args, plan.broker);
        self.pass(plan.args.warmup, "warming up", &mut pulse, failed)?;
        let before = self.snapshot(plan)?;
        self.shared.measure_from_now();
        self.pass(plan.args.time, "measuring", &mut pulse, failed)?;
        self.shared.measure_to_now();
        let after = self.snapshot(plan)?;
        let memory = plan.broker.map(Process::memory).transpose()?;
        self.shared.stop_producers.store(true, Ordering::Relaxed);
        let used =
            |after: &Option<CpuTime>, before: &Option<CpuTime>| Some(after.as_ref()?.since(before.as_ref()?));
        Ok(Interval {
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            published: after.published - before.published,
            delivered: after.delivered - before.delivered,
            published_octets: after.published_octets - before.published_octets,
            delivered_octets: after.delivered_octets - before.delivered_octets,
            broker_nanos: used(&after.broker, &before.broker),
            client_nanos: used(&after.client, &before.client),
            rss: memory.map(Memory::total),
            disk_written: after.disk_written.zip(before.disk_written).map(|(after, before)| after - before),
        })
    }

    /// Lets some time pass, and says each second how it does.
    fn pass(
        &self,
        time: Duration,
        phase: &str,
        pulse: &mut Pulse<'_>,
        failed: &Receiver<PerfError>,
    ) -> Result<(), PerfError> {
        let start = Instant::now();
        loop {
            let passed = start.elapsed();
            let left = time.saturating_sub(passed);
            if left.is_zero() {
                return Ok(());
            }
            pulse.show(phase, passed, time, sum(&self.published), sum(&self.received));
            wait(failed, left.min(PULSE_STEP))?;
        }
    }

    /// Reads all counts and processor times.
    fn snapshot(&self, plan: &Plan<'_>) -> Result<Snapshot, PerfError> {
        let broker = plan.broker.map(Process::cpu_time).transpose()?;
        let client = Process::this().cpu_time().ok();
        let at = Instant::now();
        let (published, delivered) = (sum(&self.published), sum(&self.received));
        let sizes = &plan.args.size;
        let published_octets =
            self.published.iter().map(|counter| Message::octets(sizes, counter.get())).sum();
        let delivered_octets = self.received.iter().map(Counter::octets).sum();
        let disk_written = plan.broker.and_then(Process::disk_written);
        Ok(Snapshot {
            at,
            published,
            delivered,
            published_octets,
            delivered_octets,
            broker,
            client,
            disk_written,
        })
    }

    /// Waits until everything published has been received, as often as there are `copies`, or for a
    /// short time.
    fn drain(&self, copies: u64, failed: &Receiver<PerfError>) -> Result<(), PerfError> {
        let deadline = Instant::now() + DRAIN_LIMIT;
        while !self.received.is_empty()
            && sum(&self.received) < sum(&self.published) * copies
            && Instant::now() < deadline
        {
            wait(failed, DRAIN_STEP)?;
        }
        Ok(())
    }
}

/// Waits for all producers and adds up what they heard.
fn join_producers(handles: Vec<Handle<'_, Outcome>>) -> Result<Outcome, PerfError> {
    let mut all = Outcome::default();
    for handle in handles {
        all.add(join(handle)?.unwrap_or_default())?;
    }
    Ok(all)
}

/// Waits for all consumers and adds up what they have found out.
fn join_consumers(handles: Vec<Handle<'_, Received>>) -> Result<Received, PerfError> {
    let mut all = Received { latency: deliveries::histogram()?, empties: 0 };
    for handle in handles {
        if let Some(one) = join(handle)? {
            all.empties += one.empties;
            all.latency.add(one.latency).map_err(|error| PerfError::Worker(error.to_string()))?;
        }
    }
    Ok(all)
}
