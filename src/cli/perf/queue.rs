//! Queues, as requests to a broker: declared, counted, deleted.

use amq_protocol::{
    protocol::{AMQPClass, queue},
    types::{AMQPValue, FieldTable},
};

use super::{
    args::QueueType,
    conn::{self, CHANNEL, Connection},
    error::PerfError,
};

/// Reply code of a passive declaration of a queue that does not exist.
const NOT_FOUND: u16 = 404;

/// What a new queue is to be.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Whether it and its persistent messages are there after a restart.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its type, where one is asked for.
    pub queue_type: Option<QueueType>,
}

impl Kind {
    /// The arguments of its declaration.
    pub fn arguments(self) -> FieldTable {
        let mut arguments = FieldTable::default();
        if let Some(queue_type) = self.queue_type {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(queue_type.name().into()));
        }
        arguments
    }
}

/// Declares a queue, and returns how many messages it holds.
///
/// # Errors
///
/// When the broker refuses, or there is another queue of this name.
pub fn declare(control: &mut Connection, name: &str, kind: Kind) -> Result<u32, PerfError> {
    let declare = queue::Declare {
        queue: conn::short(name)?,
        passive: false,
        durable: kind.durable,
        exclusive: false,
        auto_delete: kind.auto_delete,
        nowait: false,
        arguments: kind.arguments(),
    };
    send(control, declare)
}

/// How many ready messages a queue holds, by a passive declaration; `None` when there is no such
/// queue. The channel is usable afterwards.
///
/// # Errors
///
/// When the broker refuses for any other reason.
pub fn count(control: &mut Connection, name: &str) -> Result<Option<u32>, PerfError> {
    let declare = queue::Declare { queue: conn::short(name)?, passive: true, ..Default::default() };
    match send(control, declare) {
        Ok(count) => Ok(Some(count)),
        Err(PerfError::Closed { scope: "channel", code: NOT_FOUND, .. }) => {
            control.open_channel()?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Deletes a queue with all that is in it.
///
/// # Errors
///
/// When the broker refuses.
pub fn delete(control: &mut Connection, name: &str) -> Result<(), PerfError> {
    let delete =
        queue::Delete { queue: conn::short(name)?, if_unused: false, if_empty: false, nowait: false };
    let delete = AMQPClass::Queue(queue::AMQPMethod::Delete(delete));
    control.call(CHANNEL, delete, "queue.delete", |answer| {
        matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_)))
    })?;
    Ok(())
}

/// Sends `queue.declare` and takes the number of messages from the answer.
fn send(control: &mut Connection, declare: queue::Declare) -> Result<u32, PerfError> {
    let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
    let answer = control.call(CHANNEL, declare, "queue.declare", |answer| {
        matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)))
    })?;
    match answer {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => Ok(ok.message_count),
        other => Err(PerfError::Protocol(format!("{other:?} instead of queue.declare-ok"))),
    }
}
