//! `leveret perf queues`: many queues that are declared, lie there, and are deleted.

use std::{fmt, io, thread, time::Duration};

use clap::Args;
use serde::Serialize;

use super::{
    super::{
        args::{QueueType, seconds},
        conn::Connection,
        error::PerfError,
        queue::Kind,
        report::write_report,
        request,
        shared::random,
        target::TargetArgs,
        usage::{Observed, Used},
    },
    fill::Fill,
    phase::{Each, Request},
    report::{Idle, Phase, Resident, write_idle, write_memory, write_phase},
};

/// How many queues, and what is in them.
#[derive(Debug, Args)]
pub struct QueuesArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Number of queues
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub count: u32,
    /// Declare durable queues
    #[arg(long)]
    pub durable: bool,
    /// Type of the queues, if not the broker's default; a quorum queue is always durable
    #[arg(long, value_name = "TYPE", value_enum)]
    pub queue_type: Option<QueueType>,
    /// Messages to publish to each queue, persistent if it is durable
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub messages: u32,
    /// Bytes in each message body
    #[arg(long, value_name = "BYTES", default_value_t = 64, requires = "messages")]
    pub size: u32,
    /// Declarations, and later deletions, on their way at a time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pipeline: u16,
    /// Seconds to leave the queues alone before the broker's memory is looked at
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub hold: Duration,
}

impl QueuesArgs {
    fn kind(&self) -> Kind {
        let durable = self.durable || self.queue_type == Some(QueueType::Quorum);
        Kind { durable, auto_delete: false, queue_type: self.queue_type }
    }

    fn settings(&self, uri: String) -> Settings {
        Settings {
            uri,
            count: self.count,
            durable: self.kind().durable,
            queue_type: self.queue_type.map(QueueType::name),
            messages: self.messages,
            size: self.size,
            pipeline: self.pipeline,
            broker_pid: self.target.broker_pid,
        }
    }
}

/// Everything that is reported.
#[derive(Debug, Serialize)]
struct Report {
    declare: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<Phase>,
    idle: Idle,
    delete: Phase,
    memory: Option<Resident>,
    /// Messages that the broker did not take.
    nacked: u64,
    settings: Settings,
}

#[derive(Debug, Serialize)]
struct Settings {
    uri: String,
    count: u32,
    durable: bool,
    queue_type: Option<&'static str>,
    messages: u32,
    size: u32,
    pipeline: u16,
    broker_pid: Option<u32>,
}

/// Declares the queues that `args` describe, looks at them, deletes them, and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &QueuesArgs) -> Result<(), PerfError> {
    let uri = args.target.parsed()?;
    let broker = Observed::new(args.target.broker_pid)?;
    let connection = Connection::open(&uri, "leveret perf queues")?;
    let mut run = Run { args, broker, connection, prefix: format!("leveret-perf-{:016x}", random()) };
    let before = run.broker.memory()?;
    let held = run.fill();
    if held.is_err() {
        // There may be some queues nevertheless, and the channel may be closed.
        if let Ok(connection) = Connection::open(&uri, "leveret perf queues") {
            run.connection = connection;
        }
    }
    let deleted = run.delete();
    let Held { declare, publish, nacked, idle, with } = held?;
    let delete = deleted?;
    let memory = Resident::new(args.count.into(), before, with, run.broker.memory()?);
    let report =
        Report { declare, publish, idle, delete, memory, nacked, settings: args.settings(uri.to_string()) };
    run.connection.close();
    write_report(&report, args.target.json, &mut io::stdout().lock())
}

/// What there is to tell about queues that are there.
struct Held {
    declare: Phase,
    publish: Option<Phase>,
    nacked: u64,
    idle: Idle,
    /// The broker's memory with them.
    with: Option<u64>,
}

struct Run<'a> {
    args: &'a QueuesArgs,
    broker: Observed,
    connection: Connection,
    prefix: String,
}

impl Run<'_> {
    /// Everything that is done before the queues are deleted.
    fn fill(&mut self) -> Result<Held, PerfError> {
        let declare = self.declare()?;
        let (publish, nacked) = self.publish()?;
        let idle = self.idle()?;
        Ok(Held { declare, publish, nacked, idle, with: self.broker.memory()? })
    }

    fn declare(&mut self) -> Result<Phase, PerfError> {
        let (prefix, kind) = (self.prefix.clone(), self.args.kind());
        let declare = |number| request::declare(&name(&prefix, number), kind);
        self.each("declare", &declare, request::DECLARE_OK)
    }

    fn delete(&mut self) -> Result<Phase, PerfError> {
        let prefix = self.prefix.clone();
        self.each("delete", &|number| request::delete(&name(&prefix, number)), request::DELETE_OK)
    }

    /// Makes a request for each queue.
    fn each(
        &mut self,
        doing: &'static str,
        request: Request<'_>,
        answers: &'static [[u8; 4]],
    ) -> Result<Phase, PerfError> {
        let count = self.args.count.into();
        let before = self.broker.reading()?;
        let each = Each { doing, count, request, answers };
        each.run(&mut self.connection, self.args.pipeline.into(), &self.args.target.progress)?;
        Ok(Phase::new(count, &self.broker.reading()?.since(&before)))
    }

    /// Publishes what is to be in the queues, and returns how much was refused.
    fn publish(&mut self) -> Result<(Option<Phase>, u64), PerfError> {
        let Self { args, broker, connection, prefix } = self;
        if args.messages == 0 {
            return Ok((None, 0));
        }
        let fill = Fill {
            queues: args.count.into(),
            name: &|number| name(prefix, number),
            messages: args.messages.into(),
            size: args.size,
            persistent: args.kind().durable,
        };
        let before = broker.reading()?;
        let nacked = fill.run(connection, &args.target.progress)?;
        let used = broker.reading()?.since(&before);
        Ok((Some(Phase::new(fill.queues * fill.messages, &used)), nacked))
    }

    /// Leaves the queues alone.
    fn idle(&self) -> Result<Idle, PerfError> {
        let before = self.broker.reading()?;
        thread::sleep(self.args.hold);
        let used: Used = self.broker.reading()?.since(&before);
        Ok(Idle::new(self.args.count.into(), &used))
    }
}

/// The name of a queue by its number.
fn name(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_phase(f, "declare", &self.declare, "queue")?;
        if let Some(publish) = &self.publish {
            write_phase(f, "publish", publish, "message")?;
        }
        if self.nacked > 0 {
            writeln!(f, "note        {} messages were refused", self.nacked)?;
        }
        write_idle(f, &self.idle, "queue")?;
        write_phase(f, "delete", &self.delete, "queue")?;
        write_memory(f, self.memory.as_ref(), "queue")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: QueuesArgs,
    }

    fn parse(line: &str) -> Result<QueuesArgs, clap::Error> {
        let words = ["x", "--uri", "amqp://u:secret@h"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(parse("--count 5 --messages 3 --size 9").is_ok());
        for line in ["--count 0", "--size 9", "--pipeline 0", "--pipeline 1001", "--hold -1"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--queue-type quorum").unwrap().kind().durable);
        assert!(!parse("--queue-type classic").unwrap().kind().durable);
    }

    fn report(messages: bool) -> Report {
        let used = Used { seconds: 2.0, broker_nanos: Some(1_000_000), client_nanos: None };
        let phase = Phase::new(1000, &used);
        Report {
            declare: phase,
            publish: messages.then_some(phase),
            idle: Idle::new(1000, &used),
            delete: phase,
            memory: Resident::new(1000, Some(0), Some(2_048_000), Some(0)),
            nacked: 4,
            settings: parse("").unwrap().settings("amqp://u@h".to_owned()),
        }
    }

    #[test]
    fn each_part_has_its_line_and_its_figures() {
        let table = report(true).to_string();
        let starts: Vec<_> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(starts, ["declare", "publish", "note", "idle", "delete", "broker"]);
        assert!(table.contains("1000 queues in 2 s, 500/s, broker cpu 1.0 µs each"), "{table}");
        assert!(table.contains("(2048 bytes per queue)"), "{table}");
        let mut out = Vec::new();
        write_report(&report(false), true, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["delete"]["rate"], 500.0);
        assert_eq!(value["memory"]["rss_bytes_each"], 2048.0);
        assert_eq!(value["settings"]["count"], 1000);
        assert!(value.get("publish").is_none());
    }
}
