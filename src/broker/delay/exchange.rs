//! Which exchanges delay messages, and the queues behind them.
//!
//! They are those of type `x-delayed-message`, which route by the type that `x-delayed-type` names, as with RabbitMQ's
//! plugin, and those of any type with the argument `x-delayed-exchange`, as with LavinMQ.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::exchange::{Exchange, Kind, declare};
use crate::broker::queue::Queue;
use crate::broker::queue::delayed::Delays;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{ExchangeId, Name, QueueId};
use crate::log::LogId;
use crate::wire::reply::Exception;

const TYPE: &str = "x-delayed-type";

/// The queue behind a delayed exchange.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    pub queue: QueueId,
    /// Where its messages are, if they are kept on disk.
    pub log: Option<LogId>,
}

impl Kind {
    /// The type by which an exchange of this type and with these arguments routes.
    pub fn routing(self, arguments: &FieldTable) -> Self {
        match self {
            Self::Delayed => named(arguments).and_then(Self::from_name).unwrap_or(Self::Direct),
            other => other,
        }
    }
}

/// What the argument names.
fn named(arguments: &FieldTable) -> Option<&str> {
    let octets = match arguments.inner().get(TYPE)? {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ByteArray(octets) => octets.as_slice(),
        _ => return None,
    };
    // Nothing that is no text names a type.
    Some(std::str::from_utf8(octets).unwrap_or("?"))
}

/// Refuses arguments of a delayed exchange that name no type to route by, as the plugin does. Returns that type.
pub fn check(arguments: &FieldTable) -> Result<Kind, Exception> {
    match named(arguments) {
        None => Err(Exception::precondition_failed(
            "Invalid argument, 'x-delayed-type' must be an existing exchange type",
        )),
        Some("x-delayed-message") => Err(Exception::precondition_failed(
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
        )),
        Some(name) => declare::kind(name),
    }
}

impl Exchange {
    /// Whether it is to delay messages.
    fn delays(&self) -> bool {
        self.kind == Kind::Delayed
            || self.arguments.inner().get("x-delayed-exchange") == Some(&AMQPValue::Boolean(true))
    }
}

impl Vhost {
    /// Puts a queue behind a new exchange, if it is to delay messages: on a log of its own, or on one there was before.
    pub(in crate::broker) fn add_delays(&mut self, id: ExchangeId, log: Option<LogId>) {
        let Some(exchange) = self.exchanges.get(id).filter(|exchange| exchange.delays()) else { return };
        let (name, durable) = (Name::clone(&exchange.name), exchange.durable);
        let log = match log {
            Some(log) => self.log_with(Some(log)),
            None => self.new_log(durable),
        };
        let log_id = log.id();
        let mut queue = Queue::new(name, durable, None, false, log);
        queue.hidden = true;
        queue.delays = Some(Box::new(Delays::new(id)));
        queue.note_plain();
        // It has no name among queues.
        let queue = self.queues.insert(queue);
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.behind = Some(Behind { queue, log: log_id });
        }
    }

    /// An exchange is gone: so are the messages that waited there.
    pub(in crate::broker) fn remove_delays(&mut self, behind: Behind) {
        Alarm::ALL.into_iter().for_each(|alarm| self.set_alarm(behind.queue, alarm, None));
        if let Some(queue) = self.queues.remove(behind.queue) {
            self.discard(queue);
        }
    }
}
