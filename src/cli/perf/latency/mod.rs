//! `leveret perf latency`: how long messages take at a rate that the broker can well serve.
//!
//! A schedule says when each message is to be sent, and its latency counts from then, whatever has
//! kept the sender from it: a broker that stalls is not spared the messages that would have come
//! meanwhile. (What leaves them out is known as coordinated omission.)
//!
//! - [`args`][]: what is asked for
//! - [`schedule`][], [`alarm`][]: when messages are due, and waking up then
//! - [`message`][], [`sender`][]: sending at these times
//! - [`answers`][]: confirms
//! - [`receiver`][]: taking the times of deliveries
//! - [`percentiles`][]: a histogram as a file
//! - [`report`][]: the figures

mod alarm;
mod answers;
mod args;
mod message;
mod percentiles;
mod receiver;
mod report;
mod schedule;
mod sender;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver as Failures},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

pub use self::args::LatencyArgs;
use self::{
    answers::{Answers, Confirmed},
    receiver::Receiver,
    report::{Outcome, Report},
    schedule::{Plan, Schedule},
    sender::{Sender, Sent},
};
use super::{
    conn::Connection,
    deliveries,
    error::PerfError,
    progress::Progress,
    queue,
    report::write_report,
    shared::{Counter, Shared, random, sum},
    threads::{Handle, join, spawn, wait},
    uri::AmqpUri,
    usage::Observed,
};

/// Time for all threads to be ready before the first message is due.
const LEAD: Duration = Duration::from_millis(100);
/// How long senders may be late at the end before what they have not sent is given up.
const LATE_LIMIT: Duration = Duration::from_secs(1);
/// How long nothing may arrive before what is missing is given up.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How often the end is checked for.
const STEP: Duration = Duration::from_millis(10);

/// Runs the load that `args` describe and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &LatencyArgs) -> Result<(), PerfError> {
    let uri = args.check()?;
    let broker = Observed::new(args.target.broker_pid)?;
    // A file that cannot be written is better known before than after.
    let file = args.histogram.as_deref().map(create).transpose()?;
    let mut control = Connection::open(&uri, "leveret perf control")?;
    let name = format!("leveret-perf-{:016x}", random());
    queue::declare(&mut control, &name, args.kind())?;
    let measured = load(args, &uri, &name, &broker);
    let deleted = queue::delete(&mut control, &name);
    control.close();
    let outcome = measured?;
    deleted?;
    if let Some((file, path)) = file.zip(args.histogram.as_deref()) {
        let mut out = BufWriter::new(file);
        let written = percentiles::write(&outcome.latency, &mut out).and_then(|()| out.flush());
        written.map_err(|source| PerfError::Folder { path: path.to_owned(), source })?;
    }
    let report = Report::new(args, &uri, &outcome);
    write_report(&report, args.target.json, &mut io::stdout().lock())
}

/// Makes a file anew.
fn create(path: &Path) -> Result<File, PerfError> {
    File::create(path).map_err(|source| PerfError::Folder { path: path.to_owned(), source })
}

/// Connects everyone, runs the load and adds up what came of it.
fn load(args: &LatencyArgs, uri: &AmqpUri, queue: &str, broker: &Observed) -> Result<Outcome, PerfError> {
    let shared = Shared::new();
    let receiver = Receiver::subscribe(uri, queue, &args.taking())?;
    let connections = (1..=args.producers)
        .map(|number| sender::connect(uri, number, args.confirm))
        .collect::<Result<Vec<_>, _>>()?;
    let start = shared.now() + nanos(LEAD);
    let plan = Plan::new(start, args.warmup, args.time);
    let crew = Crew {
        shared,
        plan,
        failing: AtomicBool::new(false),
        sent: connections.iter().map(|_| Counter::default()).collect(),
        settled: connections.iter().map(|_| Counter::default()).collect(),
        received: Counter::default(),
    };
    let mut pairs = Vec::new();
    for (connection, number) in connections.into_iter().zip(0..) {
        let schedule = Schedule::new(plan.start, args.rate, args.producers, number);
        let message = args.message(queue, crew.shared.mark, connection.frame_max)?;
        let sender = Sender::new(&connection, message, schedule)?;
        pairs.push((sender, Answers::new(connection, schedule, args.confirm)?));
    }
    thread::scope(|scope| {
        let outcome = crew.work(scope, receiver, pairs, args, broker);
        // The scope waits for all threads, so they must stop after an error too.
        crew.shared.stop_all();
        outcome
    })
}

/// State that the threads of a run share.
struct Crew {
    shared: Shared,
    plan: Plan,
    /// Set by a sender that cannot write; whoever reads from that connection finds out why.
    failing: AtomicBool,
    /// By producer, messages sent and messages confirmed or refused.
    sent: Vec<Counter>,
    settled: Vec<Counter>,
    received: Counter,
}

impl Crew {
    /// Starts all threads, follows the run, and stops them in turn.
    fn work<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        receiver: Receiver,
        pairs: Vec<(Sender, Answers)>,
        args: &LatencyArgs,
        broker: &Observed,
    ) -> Result<Outcome, PerfError> {
        let (failures, failed) = mpsc::channel();
        let receiving = spawn(scope, "perf-receiver", failures.clone(), move || receiver.run(self))?;
        let (mut sending, mut answering) = (Vec::new(), Vec::new());
        for ((sender, answers), (sent, settled)) in pairs.into_iter().zip(self.sent.iter().zip(&self.settled))
        {
            let answer = move || answers.run(self, settled);
            answering.push(spawn(scope, "perf-answers", failures.clone(), answer)?);
            sending.push(spawn(scope, "perf-sender", failures.clone(), move || sender.run(self, sent))?);
        }
        let mut progress = Progress::new(&args.target.progress);
        self.wait_until(self.plan.from, &failed, &mut progress)?;
        let before = broker.reading()?;
        let (sent, received) = (sum(&self.sent), self.received.get());
        self.wait_until(self.plan.to, &failed, &mut progress)?;
        let used = broker.reading()?.since(&before);
        let (sent, received) = (sum(&self.sent) - sent, self.received.get() - received);
        let rss = broker.memory()?;
        let sending = self.finish(sending, &failed)?;
        self.drain(args.confirm, &failed)?;
        self.shared.stop_all();
        let mut outcome = Outcome::new(used, sent, received, rss)?;
        sending.into_iter().try_for_each(|sent| outcome.add_sent(&sent))?;
        for handle in answering {
            outcome.add_confirmed(&join(handle)?.unwrap_or(Confirmed::new()?))?;
        }
        outcome.latency = join(receiving)?.unwrap_or(deliveries::histogram()?);
        wait(&failed, Duration::ZERO)?;
        outcome.received_total = self.received.get();
        Ok(outcome)
    }

    /// Waits for a time of the run, and says how far it is.
    fn wait_until(
        &self,
        time: u64,
        failed: &Failures<PerfError>,
        progress: &mut Progress,
    ) -> Result<(), PerfError> {
        loop {
            let left = Duration::from_nanos(time.saturating_sub(self.shared.now()));
            if left.is_zero() {
                return Ok(());
            }
            if progress.due() {
                progress.show(&format!(
                    "latency: {} sent, {} received",
                    sum(&self.sent),
                    self.received.get()
                ));
            }
            wait(failed, left.min(Duration::from_millis(100)))?;
        }
    }

    /// Waits for all senders, which have nothing to send any more or give up soon.
    fn finish(
        &self,
        handles: Vec<Handle<'_, Sent>>,
        failed: &Failures<PerfError>,
    ) -> Result<Vec<Sent>, PerfError> {
        let deadline = Instant::now() + LATE_LIMIT;
        while !handles.iter().all(Handle::is_finished) && Instant::now() < deadline {
            wait(failed, STEP)?;
        }
        self.shared.stop_producers.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for handle in handles {
            all.push(join(handle)?.unwrap_or(Sent::new()?));
        }
        Ok(all)
    }

    /// Waits until everything sent has been received and settled, or nothing comes any more.
    fn drain(&self, confirm: bool, failed: &Failures<PerfError>) -> Result<(), PerfError> {
        let sent = sum(&self.sent);
        let wanted = if confirm { 2 * sent } else { sent };
        let (mut seen, mut moved) = (0, Instant::now());
        loop {
            let here = self.received.get() + sum(&self.settled);
            if here > seen {
                (seen, moved) = (here, Instant::now());
            }
            if here >= wanted || moved.elapsed() >= DRAIN_LIMIT {
                return Ok(());
            }
            wait(failed, STEP)?;
        }
    }
}

/// Nanoseconds, good for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Adds one histogram to another.
fn add(all: &mut Histogram<u64>, one: &Histogram<u64>) -> Result<(), PerfError> {
    all.add(one).map_err(|error| PerfError::Worker(error.to_string()))
}
