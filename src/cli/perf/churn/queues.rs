//! `leveret perf queue-churn`: queues that are declared and deleted again.

use std::io;

use clap::Args;
use serde::Serialize;

use super::{
    super::{
        args::QueueType, conn::Connection, error::PerfError, queue::Kind, report::write_report, request,
        shared::random, usage::Observed,
    },
    args::ChurnArgs,
    cycle::measure,
    report::Report,
    script::{Player, Step},
};

/// Which queues, and what to do with them.
#[derive(Debug, Args)]
pub struct QueueChurnArgs {
    #[command(flatten)]
    pub churn: ChurnArgs,
    /// Declare durable queues
    #[arg(long)]
    pub durable: bool,
    /// Type of the queues, if not the broker's default; a quorum queue is always durable
    #[arg(long, value_name = "TYPE", value_enum)]
    pub queue_type: Option<QueueType>,
    /// Publish a message to each queue and get it again, persistent if the queue is durable
    #[arg(long)]
    pub publish: bool,
    /// Bytes in the body of the message
    #[arg(long, value_name = "BYTES", default_value_t = 64, requires = "publish")]
    pub size: u32,
    /// Queues that each client has on their way at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pipeline: u16,
}

impl QueueChurnArgs {
    fn kind(&self) -> Kind {
        let durable = self.durable || self.queue_type == Some(QueueType::Quorum);
        Kind { durable, auto_delete: false, queue_type: self.queue_type }
    }

    /// What is done with one queue.
    fn script(&self, name: &str, frame_max: u32) -> Result<Vec<Step>, PerfError> {
        let kind = self.kind();
        let mut script = vec![Step { bytes: request::declare(name, kind)?, answers: request::DECLARE_OK }];
        if self.publish {
            let content = request::content(self.size, kind.durable, frame_max)?;
            // Nothing answers a publish, so that the next request goes with it.
            let mut bytes = request::publish(name, &content)?;
            bytes.extend(request::get(name)?);
            script.push(Step { bytes, answers: request::GOT });
        }
        script.push(Step { bytes: request::delete(name)?, answers: request::DELETE_OK });
        Ok(script)
    }
}

#[derive(Debug, Serialize)]
struct Settings {
    durable: bool,
    queue_type: Option<&'static str>,
    publish: bool,
    size: u32,
    pipeline: u16,
}

/// Runs the churn that `args` describe and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &QueueChurnArgs) -> Result<(), PerfError> {
    let uri = args.churn.check()?;
    let broker = Observed::new(args.churn.target.broker_pid)?;
    let run = random();
    let mut clients = Vec::new();
    for client in 1..=args.churn.clients {
        let connection = Connection::open(&uri, &format!("leveret perf client {client}"))?;
        let script =
            |slot| args.script(&format!("leveret-perf-{run:016x}-{client}-{slot}"), connection.frame_max);
        let scripts = (1..=args.pipeline).map(script).collect::<Result<_, _>>()?;
        clients.push(Player { connection, scripts });
    }
    let cycles = measure(&args.churn, &broker, clients)?;
    let what = if args.publish { "declare, publish, get, delete" } else { "declare, delete" };
    let settings = Settings {
        durable: args.kind().durable,
        queue_type: args.queue_type.map(QueueType::name),
        publish: args.publish,
        size: args.size,
        pipeline: args.pipeline,
    };
    let what = format!("{what}, {} queues on their way each", args.pipeline);
    let mut report = Report::new(what, uri.to_string(), &args.churn, &cycles, settings);
    report.empty_gets = args.publish.then_some(cycles.misses);
    write_report(&report, args.churn.target.json, &mut io::stdout().lock())
}

#[cfg(test)]
mod tests {
    use super::{super::args::tests::parse, *};

    fn answers(line: &str) -> Vec<&'static [[u8; 4]]> {
        let args: QueueChurnArgs = parse(line).unwrap();
        args.script("q", 4096).unwrap().iter().map(|step| step.answers).collect()
    }

    #[test]
    fn a_queue_is_declared_used_and_deleted() {
        assert_eq!(answers(""), [request::DECLARE_OK, request::DELETE_OK]);
        assert_eq!(answers("--publish"), [request::DECLARE_OK, request::GOT, request::DELETE_OK]);
    }

    #[test]
    fn quorum_queues_are_durable() {
        let durable = |line| parse::<QueueChurnArgs>(line).unwrap().kind().durable;
        assert!(!durable("") && durable("--durable") && durable("--queue-type quorum"));
        assert!(parse::<QueueChurnArgs>("--pipeline 0").is_err());
        assert!(parse::<QueueChurnArgs>("--size 5").is_err(), "of what?");
    }
}
