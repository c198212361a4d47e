//! `leveret perf connections`: many connections that are opened, do nothing, and are closed.

use std::{
    fmt, io, thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;

use super::{
    super::{
        args::seconds, conn::Connection, error::PerfError, progress::Progress, report::write_report,
        target::TargetArgs, uri::AmqpUri, usage::Observed,
    },
    descriptors,
    kept::{Beats, Kept},
    opening::Opening,
    report::{Idle, Phase, Resident, write_idle, write_memory, write_phase},
};

/// How often it is looked whose heartbeat is due.
const TICK: Duration = Duration::from_millis(100);

/// How many connections, and what they have.
#[derive(Debug, Args)]
pub struct ConnectionsArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Number of connections, each with a channel
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Let each have a queue of its own and consume from it
    #[arg(long)]
    pub consumers: bool,
    /// Seconds between heartbeats, which both sides then send twice as often; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub heartbeat: u16,
    /// Seconds to leave the connections alone, while the broker is looked at
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub hold: Duration,
    /// Threads that open connections at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub openers: u16,
}

/// Everything that is reported.
#[derive(Debug, Serialize)]
struct Report {
    open: Phase,
    idle: Idle,
    close: Phase,
    memory: Option<Resident>,
    /// Connections that the broker closed before it was asked to, and why the first one.
    lost: u64,
    lost_reason: Option<String>,
    settings: Settings,
}

#[derive(Debug, Serialize)]
struct Settings {
    uri: String,
    count: u32,
    consumers: bool,
    heartbeat_seconds: u16,
    openers: u16,
    broker_pid: Option<u32>,
}

/// Opens the connections that `args` describe, looks at them, closes them, and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &ConnectionsArgs) -> Result<(), PerfError> {
    let uri = args.target.parsed()?;
    let broker = Observed::new(args.target.broker_pid)?;
    descriptors::allow(args.count.into())?;
    let control = Connection::log_in(&uri, "leveret perf control", 0)?;
    // Looking up a name each time would be measured as well.
    let place = uri.at(control.stream.peer_addr().map_err(PerfError::Io)?.ip());
    control.close();
    let Opened { mut kept, open, before } = opened(args, place, &broker)?;
    let count = kept.len() as u64;
    let reading = broker.reading()?;
    hold(args, &mut kept);
    let idle = Idle::new(count, &broker.reading()?.since(&reading));
    let with = broker.memory()?;
    kept.look();
    let (lost, lost_reason) = (kept.lost, kept.reason.take().map(|reason| reason.to_string()));
    let reading = broker.reading()?;
    let closed = kept.close()?;
    let close = Phase::new(closed, &broker.reading()?.since(&reading));
    let memory = Resident::new(count, before, with, broker.memory()?);
    let settings = Settings {
        uri: uri.to_string(),
        count: args.count,
        consumers: args.consumers,
        heartbeat_seconds: args.heartbeat,
        openers: args.openers,
        broker_pid: args.target.broker_pid,
    };
    let report = Report { open, idle, close, memory, lost, lost_reason, settings };
    write_report(&report, args.target.json, &mut io::stdout().lock())
}

/// Connections that are there.
struct Opened {
    kept: Kept,
    open: Phase,
    /// The broker's memory before.
    before: Option<u64>,
}

fn opened(args: &ConnectionsArgs, uri: AmqpUri, broker: &Observed) -> Result<Opened, PerfError> {
    let opening = Opening {
        uri,
        count: args.count.into(),
        heartbeat: args.heartbeat,
        consumers: args.consumers,
        openers: args.openers,
    };
    let (before, reading) = (broker.memory()?, broker.reading()?);
    let kept = opening.run(&args.target.progress)?;
    let used = broker.reading()?.since(&reading);
    Ok(Opened { kept, open: Phase::new(opening.count, &used), before })
}

/// Does nothing, but for heartbeats where they are wanted.
fn hold(args: &ConnectionsArgs, kept: &mut Kept) {
    let mut progress = Progress::new(&args.target.progress);
    let start = Instant::now();
    let mut beats = Beats::new(args.heartbeat, start);
    loop {
        let now = Instant::now();
        let left = args.hold.saturating_sub(now - start);
        if left.is_zero() {
            return;
        }
        beats.send(kept, now);
        progress.show(&format!("hold: {} connections, {} s left", kept.len(), left.as_secs()));
        thread::sleep(left.min(TICK));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_phase(f, "open", &self.open, "connection")?;
        write_idle(f, &self.idle, "connection")?;
        if self.lost > 0 {
            let reason = self.lost_reason.as_deref().unwrap_or_default();
            writeln!(f, "note        {} connections were lost, the first one thus: {reason}", self.lost)?;
        }
        write_phase(f, "close", &self.close, "connection")?;
        write_memory(f, self.memory.as_ref(), "connection")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::super::usage::Used, *};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ConnectionsArgs,
    }

    fn parse(line: &str) -> Result<ConnectionsArgs, clap::Error> {
        let words = ["x", "--uri", "amqp://u:secret@h"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert_eq!(parse("").unwrap().count, 1000);
        for line in ["--count 0", "--openers 0", "--heartbeat 65536", "--hold x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lost_connections_are_said_with_the_reason() {
        let used = Used { seconds: 2.0, broker_nanos: Some(1_000_000), client_nanos: None };
        let args = parse("--count 10 --heartbeat 7").unwrap();
        let settings = Settings {
            uri: "amqp://u@h".to_owned(),
            count: args.count,
            consumers: args.consumers,
            heartbeat_seconds: args.heartbeat,
            openers: args.openers,
            broker_pid: None,
        };
        let (open, idle, close) = (Phase::new(10, &used), Idle::new(10, &used), Phase::new(8, &used));
        let lost_reason = Some(PerfError::Hangup.to_string());
        let mut report = Report { open, idle, close, memory: None, lost: 2, lost_reason, settings };
        let table = report.to_string();
        assert!(table.contains("2 connections were lost, the first one thus: the broker closed"), "{table}");
        report.lost = 0;
        assert!(!report.to_string().contains("note"));
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!(value["close"]["count"], 8);
        assert_eq!(value["idle"]["cpu_us_per_second_each"], 50.0);
        assert_eq!(value["settings"]["heartbeat_seconds"], 7);
    }
}
