//! The queues and the exchange that a run uses.

use amq_protocol::{
    protocol::{
        AMQPClass, exchange,
        queue::{AMQPMethod as QueueMethod, Bind},
    },
    types::{AMQPValue, FieldTable},
};

use super::{
    args::{ExchangeKind, ThroughputArgs},
    batch::{self, Message},
    conn::{self, CHANNEL, Connection},
    error::PerfError,
    queue::{self, Kind},
    shared,
    uri::AmqpUri,
};

/// Declared queues, the exchange bound to them if any, and the connection that declared them.
pub struct Topology {
    control: Connection,
    /// Names of the queues, one at least and all of one length.
    pub queues: Vec<String>,
    /// Whether the run has declared the queues and has to delete them.
    owns_queues: bool,
    /// Name of the exchange, empty for the default one.
    exchange: String,
    kind: ExchangeKind,
}

impl Topology {
    /// Declares what `args` ask for. A queue given by name that exists already is used as it is.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or refuses.
    pub fn declare(uri: &AmqpUri, args: &ThroughputArgs) -> Result<Self, PerfError> {
        let mut control = Connection::open(uri, "leveret perf control")?;
        let id = shared::random() >> 32;
        let existing = match &args.queue {
            Some(name) => queue::count(&mut control, name)?.is_some(),
            None => false,
        };
        let mut topology = Self {
            control,
            queues: queue_names(args, id),
            owns_queues: !existing,
            exchange: String::new(),
            kind: args.exchange,
        };
        let declared = topology.declare_all(args, id);
        if let Err(error) = declared {
            // The first error says more than one about cleaning up would.
            let _ = topology.delete();
            return Err(error);
        }
        Ok(topology)
    }

    /// Declares the queues, where they are the run's own, and the exchange.
    fn declare_all(&mut self, args: &ThroughputArgs, id: u64) -> Result<(), PerfError> {
        if self.owns_queues {
            let durable = args.durable();
            let kind = Kind { durable, auto_delete: !durable, queue_type: args.queue_type };
            for name in &self.queues {
                queue::declare(&mut self.control, name, kind)?;
            }
        }
        if args.exchange != ExchangeKind::Default {
            self.exchange = format!("leveret-perf-{id:08x}");
            self.declare_exchange(args)?;
        }
        Ok(())
    }

    /// The message that producers send to reach the queues in turn.
    ///
    /// # Errors
    ///
    /// When a name is too long.
    pub fn message(&self, args: &ThroughputArgs, mark: u64) -> Result<Message, PerfError> {
        let routing_keys = match self.kind {
            ExchangeKind::Default => self.queues.iter().map(String::as_str).collect(),
            ExchangeKind::Direct => vec!["perf"],
            ExchangeKind::Topic => vec!["perf.load"],
            ExchangeKind::Fanout | ExchangeKind::Headers => vec![""],
        };
        Ok(Message {
            exchange: conn::short(&self.exchange)?,
            routing_keys: routing_keys.into_iter().map(conn::short).collect::<Result<_, _>>()?,
            headers: (self.kind == ExchangeKind::Headers).then(batch::routing_header),
            persistent: args.persistent,
            size: args.size,
            mark,
        })
    }

    /// Deletes the exchange, and the queues if they were declared here.
    ///
    /// # Errors
    ///
    /// When the broker refuses or has gone.
    pub fn delete(mut self) -> Result<(), PerfError> {
        if !self.exchange.is_empty() {
            let delete =
                exchange::Delete { exchange: conn::short(&self.exchange)?, if_unused: false, nowait: false };
            let delete = AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete));
            self.control.call(CHANNEL, delete, "exchange.delete", |answer| {
                matches!(answer, AMQPClass::Exchange(exchange::AMQPMethod::DeleteOk(_)))
            })?;
        }
        if self.owns_queues {
            for name in &self.queues {
                queue::delete(&mut self.control, name)?;
            }
        }
        self.control.close();
        Ok(())
    }

    /// Declares the exchange and binds the queue to it.
    fn declare_exchange(&mut self, args: &ThroughputArgs) -> Result<(), PerfError> {
        let declare = exchange::Declare {
            exchange: conn::short(&self.exchange)?,
            kind: self.kind.name().into(),
            passive: false,
            durable: args.persistent,
            auto_delete: !args.persistent,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        let declare = AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare));
        self.control.call(CHANNEL, declare, "exchange.declare", |answer| {
            matches!(answer, AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_)))
        })?;
        let mut arguments = FieldTable::default();
        if self.kind == ExchangeKind::Headers {
            arguments = batch::routing_header();
            arguments.insert("x-match".into(), AMQPValue::LongString("all".into()));
        }
        let [queue] = &self.queues[..] else {
            return Err(PerfError::Usage("an exchange goes with one queue".to_owned()));
        };
        let bind = Bind {
            queue: conn::short(queue)?,
            exchange: conn::short(&self.exchange)?,
            routing_key: if self.kind == ExchangeKind::Topic { "perf.#" } else { "perf" }.into(),
            nowait: false,
            arguments,
        };
        let bind = AMQPClass::Queue(QueueMethod::Bind(bind));
        self.control.call(CHANNEL, bind, "queue.bind", |answer| {
            matches!(answer, AMQPClass::Queue(QueueMethod::BindOk(_)))
        })?;
        Ok(())
    }
}

/// The name that was asked for, or new ones that all have one length.
fn queue_names(args: &ThroughputArgs, id: u64) -> Vec<String> {
    match (&args.queue, args.queues) {
        (Some(name), _) => vec![name.clone()],
        (None, 1) => vec![format!("leveret-perf-{id:08x}")],
        (None, count) => (1..=count).map(|number| format!("leveret-perf-{id:08x}-{number:04}")).collect(),
    }
}
