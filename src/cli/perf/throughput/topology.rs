//! The queues and the exchange that a run uses.

use amq_protocol::{
    protocol::{
        AMQPClass, exchange,
        queue::{AMQPMethod as QueueMethod, Bind, Declare, Delete},
    },
    types::{AMQPValue, FieldTable},
};

use super::{
    super::{
        args::ExchangeKind,
        batch::{self, Message},
        conn::{self, CHANNEL, Connection},
        content,
        error::PerfError,
        queue::{self, Kind},
        shared,
        uri::AmqpUri,
    },
    args::ThroughputArgs,
    names::new_names,
    routes::Routes,
};

/// Declared queues, the exchange bound to them if any, and the connection that declared them.
pub struct Topology {
    control: Connection,
    /// Names of the queues, one at least.
    pub queues: Vec<String>,
    /// Queues that the run declares and has to delete.
    owned: Vec<String>,
    /// Name of the exchange, empty for the default one.
    exchange: String,
    /// How messages get to the queues.
    pub routes: Routes,
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
        let named = args.places.named_queues();
        let mut owned = Vec::new();
        for name in named.iter().flatten() {
            if queue::count(&mut control, name)?.is_none() {
                owned.push(name.clone());
            }
        }
        let queues = named.unwrap_or_else(|| {
            owned = new_names(id, args.places.queues);
            owned.clone()
        });
        let routes = args.places.routes(&queues);
        let mut topology = Self { control, queues, owned, exchange: String::new(), routes };
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
        let durable = args.durable();
        let kind = Kind { durable, auto_delete: !durable, queue_type: args.places.queue_type };
        let mut arguments = kind.arguments();
        content::extend(&mut arguments, &args.places.queue_args);
        let declares = self.owned.iter().map(|name| queue_declare(name, kind, &arguments));
        let declares = declares.collect::<Result<Vec<_>, _>>()?;
        self.control.call_all(CHANNEL, declares, "queue.declare", |answer| {
            matches!(answer, AMQPClass::Queue(QueueMethod::DeclareOk(_)))
        })?;
        if args.places.exchange != ExchangeKind::Default {
            self.exchange = format!("leveret-perf-{id:08x}");
            self.declare_exchange(args)?;
            self.bind(args.places.exchange)?;
        }
        Ok(())
    }

    /// The message that producers send to reach the queues.
    ///
    /// # Errors
    ///
    /// When a name is too long.
    pub fn message(&self, args: &ThroughputArgs, mark: u64) -> Result<Message, PerfError> {
        let routing_keys = self.routes.keys.iter().map(|key| conn::short(key)).collect::<Result<_, _>>()?;
        let routing = (args.places.exchange == ExchangeKind::Headers).then(batch::routing_header);
        Ok(Message {
            exchange: conn::short(&self.exchange)?,
            routing_keys,
            sizes: args.size.clone(),
            properties: args.content.properties(args.persistent, routing),
            mandatory: args.content.mandatory,
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
        let deletes = self.owned.iter().map(|name| {
            let queue = conn::short(name)?;
            Ok(AMQPClass::Queue(QueueMethod::Delete(Delete { queue, ..Default::default() })))
        });
        let deletes = deletes.collect::<Result<Vec<_>, PerfError>>()?;
        self.control.call_all(CHANNEL, deletes, "queue.delete", |answer| {
            matches!(answer, AMQPClass::Queue(QueueMethod::DeleteOk(_)))
        })?;
        self.control.close();
        Ok(())
    }

    fn declare_exchange(&mut self, args: &ThroughputArgs) -> Result<(), PerfError> {
        let declare = exchange::Declare {
            exchange: conn::short(&self.exchange)?,
            kind: args.places.exchange.name().into(),
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
        Ok(())
    }

    /// Binds the queues to the exchange.
    fn bind(&mut self, kind: ExchangeKind) -> Result<(), PerfError> {
        let mut arguments = FieldTable::default();
        if kind == ExchangeKind::Headers {
            arguments = batch::routing_header();
            arguments.insert("x-match".into(), AMQPValue::LongString("all".into()));
        }
        let bind = |binding: &super::routes::Binding| {
            let bind = Bind {
                queue: conn::short(&self.queues[binding.queue])?,
                exchange: conn::short(&self.exchange)?,
                routing_key: conn::short(&binding.key)?,
                nowait: false,
                arguments: arguments.clone(),
            };
            Ok(AMQPClass::Queue(QueueMethod::Bind(bind)))
        };
        let binds = self.routes.bindings.iter().map(bind).collect::<Result<Vec<_>, PerfError>>()?;
        self.control.call_all(CHANNEL, binds, "queue.bind", |answer| {
            matches!(answer, AMQPClass::Queue(QueueMethod::BindOk(_)))
        })
    }
}

fn queue_declare(name: &str, kind: Kind, arguments: &FieldTable) -> Result<AMQPClass, PerfError> {
    Ok(AMQPClass::Queue(QueueMethod::Declare(Declare {
        queue: conn::short(name)?,
        passive: false,
        durable: kind.durable,
        exclusive: false,
        auto_delete: kind.auto_delete,
        nowait: false,
        arguments: arguments.clone(),
    })))
}
