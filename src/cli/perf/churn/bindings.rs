//! `leveret perf binding-churn`: queues that are bound and unbound again, where others stay bound.

use std::{io, time::Instant};

use amq_protocol::{
    protocol::{AMQPClass, exchange, queue},
    types::{AMQPValue, FieldTable},
};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    super::{
        conn::{self, CHANNEL, Connection},
        error::PerfError,
        pipeline::{self, Id, Jobs},
        report::write_report,
        request::{self, Binding},
        shared::random,
        uri::AmqpUri,
        usage::Observed,
    },
    args::ChurnArgs,
    cycle::measure,
    report::Report,
    script::{Player, Step},
};

/// Bindings on their way at a time while those are made that stay.
const SETUP_DEPTH: usize = 100;

/// Which exchange, and what else is bound to it.
#[derive(Debug, Args)]
pub struct BindingChurnArgs {
    #[command(flatten)]
    pub churn: ChurnArgs,
    /// Type of the exchange
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = ExchangeType::Direct)]
    pub exchange: ExchangeType,
    /// Bindings that are there already, and stay
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub bindings: u32,
    /// Bindings that each client has on their way at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pipeline: u16,
}

/// The type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExchangeType {
    Direct,
    Topic,
    Fanout,
    Headers,
}

impl ExchangeType {
    /// Its name in AMQP.
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
        }
    }

    /// A binding of this name, which differs from those of other names.
    fn binding(self, name: &str) -> Binding {
        let mut arguments = FieldTable::default();
        let routing_key = match self {
            Self::Direct | Self::Fanout => name.to_owned(),
            Self::Topic => format!("{name}.*.#"),
            Self::Headers => {
                arguments.insert("x-match".into(), AMQPValue::LongString("all".into()));
                arguments.insert("name".into(), AMQPValue::LongString(name.into()));
                String::new()
            }
        };
        Binding { routing_key, arguments }
    }
}

#[derive(Debug, Serialize)]
struct Settings {
    exchange: &'static str,
    bindings: u32,
    pipeline: u16,
}

/// Runs the churn that `args` describe and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &BindingChurnArgs) -> Result<(), PerfError> {
    let uri = args.churn.check()?;
    let broker = Observed::new(args.churn.target.broker_pid)?;
    let mut control = Connection::open(&uri, "leveret perf control")?;
    let exchange = format!("leveret-perf-{:016x}", random());
    declare_exchange(&mut control, &exchange, args.exchange)?;
    let measured = prepare(args, &uri, &exchange, &mut control)
        .and_then(|clients| measure(&args.churn, &broker, clients));
    // The queues are exclusive and go with their connections.
    let deleted = delete_exchange(&mut control, &exchange);
    control.close();
    let cycles = measured?;
    deleted?;
    let kind = args.exchange.name();
    let settings = Settings { exchange: kind, bindings: args.bindings, pipeline: args.pipeline };
    let what = format!(
        "bind and unbind on a {kind} exchange with {} bindings, {} on their way each",
        args.bindings, args.pipeline
    );
    let report = Report::new(what, uri.to_string(), &args.churn, &cycles, settings);
    write_report(&report, args.churn.target.json, &mut io::stdout().lock())
}

/// Makes the bindings that stay, and the clients with what they will do.
fn prepare(
    args: &BindingChurnArgs,
    uri: &AmqpUri,
    exchange: &str,
    control: &mut Connection,
) -> Result<Vec<Player>, PerfError> {
    declare_queue(control, exchange)?;
    let mut staying = Staying { exchange, kind: args.exchange, left: args.bindings };
    pipeline::run(control, SETUP_DEPTH, &mut staying)?;
    let mut clients = Vec::new();
    for client in 1..=args.churn.clients {
        let mut connection = Connection::open(uri, &format!("leveret perf client {client}"))?;
        let queue = format!("{exchange}-{client}");
        declare_queue(&mut connection, &queue)?;
        let script =
            |slot| script(&queue, exchange, &args.exchange.binding(&format!("client-{client}-{slot}")));
        let scripts = (1..=args.pipeline).map(script).collect::<Result<_, _>>()?;
        clients.push(Player { connection, scripts });
    }
    Ok(clients)
}

/// What is done with one binding.
fn script(queue: &str, exchange: &str, binding: &Binding) -> Result<Vec<Step>, PerfError> {
    Ok(vec![
        Step { bytes: request::bind(queue, exchange, binding)?, answers: request::BIND_OK },
        Step { bytes: request::unbind(queue, exchange, binding)?, answers: request::UNBIND_OK },
    ])
}

/// Bindings that stay, of a queue with the name of the exchange.
struct Staying<'a> {
    exchange: &'a str,
    kind: ExchangeType,
    left: u32,
}

impl Jobs for Staying<'_> {
    fn more(&mut self) -> bool {
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        more
    }

    fn request(
        &mut self,
        job: u64,
        step: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'static [Id]>, PerfError> {
        if step > 0 {
            return Ok(None);
        }
        let binding = self.kind.binding(&format!("staying-{job}"));
        out.extend(request::bind(self.exchange, self.exchange, &binding)?);
        Ok(Some(request::BIND_OK))
    }

    fn done(&mut self, _began: Instant) {}
}

fn declare_exchange(control: &mut Connection, name: &str, kind: ExchangeType) -> Result<(), PerfError> {
    let kind = conn::short(kind.name())?;
    let declare = exchange::Declare { exchange: conn::short(name)?, kind, ..Default::default() };
    let declare = AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare));
    control.call(CHANNEL, declare, "exchange.declare", |answer| {
        matches!(answer, AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_)))
    })?;
    Ok(())
}

fn delete_exchange(control: &mut Connection, name: &str) -> Result<(), PerfError> {
    let delete = exchange::Delete { exchange: conn::short(name)?, ..Default::default() };
    let delete = AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete));
    control.call(CHANNEL, delete, "exchange.delete", |answer| {
        matches!(answer, AMQPClass::Exchange(exchange::AMQPMethod::DeleteOk(_)))
    })?;
    Ok(())
}

fn declare_queue(connection: &mut Connection, name: &str) -> Result<(), PerfError> {
    let declare = queue::Declare { queue: conn::short(name)?, exclusive: true, ..Default::default() };
    let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
    connection.call(CHANNEL, declare, "queue.declare", |answer| {
        matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::args::tests::parse, *};

    #[test]
    fn bindings_of_different_names_are_different() {
        for kind in ExchangeType::value_variants() {
            assert_ne!(kind.binding("a"), kind.binding("b"), "{kind:?}");
            assert_eq!(kind.binding("a"), kind.binding("a"));
        }
        assert_eq!(ExchangeType::Topic.binding("a").routing_key, "a.*.#");
        assert!(ExchangeType::Headers.binding("a").arguments.inner().contains_key("x-match"));
    }

    #[test]
    fn what_stays_is_bound_once_each() {
        let args: BindingChurnArgs = parse("--bindings 3 --exchange topic").unwrap();
        let mut staying = Staying { exchange: "e", kind: args.exchange, left: args.bindings };
        let mut all = Vec::new();
        let mut job = 0;
        while staying.more() {
            assert!(staying.request(job, 0, &mut all).unwrap().is_some());
            assert!(staying.request(job, 1, &mut all).unwrap().is_none());
            job += 1;
        }
        let text = String::from_utf8_lossy(&all).into_owned();
        assert_eq!(job, 3);
        assert!((0..3).all(|nth| text.matches(&format!("staying-{nth}.*.#")).count() == 1), "{text}");
    }
}
