//! The queue and exchange that a run uses.

use amq_protocol::{
    protocol::{AMQPClass, exchange, queue},
    types::{AMQPValue, FieldTable},
};

use super::{
    args::{ExchangeKind, ThroughputArgs},
    batch::{self, Message},
    conn::{self, CHANNEL, Connection},
    error::PerfError,
    shared,
    uri::AmqpUri,
};

/// Reply code of a passive declaration of a queue that does not exist.
const NOT_FOUND: u16 = 404;

/// A declared queue, the exchange bound to it if any, and the connection that declared them.
pub struct Topology {
    control: Connection,
    /// Name of the queue.
    pub queue: String,
    /// Whether the run has declared the queue and has to delete it.
    owns_queue: bool,
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
            Some(name) => queue_exists(&mut control, name)?,
            None => false,
        };
        let mut topology = Self {
            control,
            queue: args.queue.clone().unwrap_or_else(|| format!("leveret-perf-{id:08x}")),
            owns_queue: !existing,
            exchange: String::new(),
            kind: args.exchange,
        };
        if topology.owns_queue {
            topology.declare_queue(args)?;
        }
        if args.exchange != ExchangeKind::Default {
            topology.exchange = format!("leveret-perf-{id:08x}");
            let declared = topology.declare_exchange(args);
            if let Err(error) = declared {
                // The first error says more than one about cleaning up would.
                let _ = topology.delete();
                return Err(error);
            }
        }
        Ok(topology)
    }

    /// The message that producers send to reach the queue.
    ///
    /// # Errors
    ///
    /// When a name is too long.
    pub fn message(&self, args: &ThroughputArgs, mark: u64) -> Result<Message, PerfError> {
        let routing_key = match self.kind {
            ExchangeKind::Default => &self.queue,
            ExchangeKind::Direct => "perf",
            ExchangeKind::Topic => "perf.load",
            ExchangeKind::Fanout | ExchangeKind::Headers => "",
        };
        Ok(Message {
            exchange: conn::short(&self.exchange)?,
            routing_key: conn::short(routing_key)?,
            headers: (self.kind == ExchangeKind::Headers).then(batch::routing_header),
            persistent: args.persistent,
            size: args.size,
            mark,
        })
    }

    /// Deletes the exchange, and the queue if it was declared here.
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
        if self.owns_queue {
            let delete = queue::Delete {
                queue: conn::short(&self.queue)?,
                if_unused: false,
                if_empty: false,
                nowait: false,
            };
            let delete = AMQPClass::Queue(queue::AMQPMethod::Delete(delete));
            self.control.call(CHANNEL, delete, "queue.delete", |answer| {
                matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_)))
            })?;
        }
        self.control.close();
        Ok(())
    }

    /// Declares the queue: durable for persistent messages, otherwise gone with its last consumer.
    fn declare_queue(&mut self, args: &ThroughputArgs) -> Result<(), PerfError> {
        let declare = queue::Declare {
            queue: conn::short(&self.queue)?,
            passive: false,
            durable: args.persistent,
            exclusive: false,
            auto_delete: !args.persistent,
            nowait: false,
            arguments: FieldTable::default(),
        };
        declare_queue(&mut self.control, declare)
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
        let bind = queue::Bind {
            queue: conn::short(&self.queue)?,
            exchange: conn::short(&self.exchange)?,
            routing_key: if self.kind == ExchangeKind::Topic { "perf.#" } else { "perf" }.into(),
            nowait: false,
            arguments,
        };
        let bind = AMQPClass::Queue(queue::AMQPMethod::Bind(bind));
        self.control.call(CHANNEL, bind, "queue.bind", |answer| {
            matches!(answer, AMQPClass::Queue(queue::AMQPMethod::BindOk(_)))
        })?;
        Ok(())
    }
}

/// Whether a queue exists, by a passive declaration. The channel is usable afterwards.
fn queue_exists(control: &mut Connection, name: &str) -> Result<bool, PerfError> {
    let queue = conn::short(name)?;
    let declare = queue::Declare { queue, passive: true, ..Default::default() };
    match declare_queue(control, declare) {
        Ok(()) => Ok(true),
        Err(PerfError::Closed { scope: "channel", code: NOT_FOUND, .. }) => {
            control.open_channel()?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Sends `queue.declare` and waits for the answer.
fn declare_queue(control: &mut Connection, declare: queue::Declare) -> Result<(), PerfError> {
    let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
    control.call(CHANNEL, declare, "queue.declare", |answer| {
        matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)))
    })?;
    Ok(())
}
