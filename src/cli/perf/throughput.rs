//! `leveret perf throughput`: sets up a run, times it and collects its figures.

use std::{
    io,
    sync::atomic::Ordering,
    sync::mpsc::{self, Receiver},
    thread::{self, Scope},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    args::ThroughputArgs,
    consumer::{Consumer, Taking},
    deliveries,
    error::PerfError,
    process::{CpuTime, Memory, Process},
    producer::{Outcome, Producer},
    report::{Interval, Report, Totals},
    shared::{Counter, Shared, sum},
    threads::{Handle, join, spawn, wait},
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
    let queue = topology.queues.join(",");
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
    let taking = Taking { prefetch: args.prefetch_count(), ack_every: args.ack_every };
    let consumers = (1..)
        .zip(shares(&topology.queues, args.consumers))
        .map(|(number, queues)| Consumer::subscribe(uri, &queues, taking, number))
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
        let memory = plan.broker.map(Process::memory).transpose()?;
        self.shared.stop_producers.store(true, Ordering::Relaxed);
        let used =
            |after: &Option<CpuTime>, before: &Option<CpuTime>| Some(after.as_ref()?.since(before.as_ref()?));
        Ok(Interval {
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            published: after.published - before.published,
            delivered: after.delivered - before.delivered,
            broker_nanos: used(&after.broker, &before.broker),
            client_nanos: used(&after.client, &before.client),
            rss: memory.map(Memory::total),
            disk_written: after.disk_written.zip(before.disk_written).map(|(after, before)| after - before),
        })
    }

    /// Reads all counts and processor times.
    fn snapshot(&self, plan: &Plan<'_>) -> Result<Snapshot, PerfError> {
        let broker = plan.broker.map(Process::cpu_time).transpose()?;
        let client = Process::this().cpu_time().ok();
        let at = Instant::now();
        let (published, delivered) = (sum(&self.published), sum(&self.received));
        let disk_written = plan.broker.and_then(Process::disk_written);
        Ok(Snapshot { at, published, delivered, broker, client, disk_written })
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

/// Waits for all producers and adds up what they heard.
fn join_producers(handles: Vec<Handle<'_, Outcome>>) -> Result<Outcome, PerfError> {
    let mut all = Outcome::default();
    for handle in handles {
        all.add(join(handle)?.unwrap_or_default())?;
    }
    Ok(all)
}

/// Waits for all consumers and merges their latencies.
fn join_consumers(handles: Vec<Handle<'_, Histogram<u64>>>) -> Result<Histogram<u64>, PerfError> {
    let mut all = deliveries::histogram()?;
    for handle in handles {
        if let Some(one) = join(handle)? {
            all.add(one).map_err(|error| PerfError::Worker(error.to_string()))?;
        }
    }
    Ok(all)
}

/// Which queues each of so many consumers takes: one that others may share, or several that no
/// other takes.
fn shares(queues: &[String], consumers: u16) -> Vec<Vec<&str>> {
    let mut shares = vec![Vec::new(); consumers.into()];
    let turns = if consumers == 0 { 0 } else { queues.len().max(consumers.into()) };
    for turn in 0..turns {
        shares[turn % usize::from(consumers)].push(queues[turn % queues.len()].as_str());
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_share_queues_or_have_several() {
        let queues = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(shares(&queues, 0), Vec::<Vec<&str>>::new());
        assert_eq!(shares(&queues, 1), [["a", "b", "c"]]);
        assert_eq!(shares(&queues, 2), [vec!["a", "c"], vec!["b"]]);
        assert_eq!(shares(&queues, 4), [["a"], ["b"], ["c"], ["a"]]);
    }
}
