//! The x-arguments of `queue.declare`: checked as RabbitMQ 4.3.6 checks them, and read into types.
//!
//! What RabbitMQ looks at, in this order, and who does it here:
//!
//! 1. without a name: whether the type allows that ([`check_server_named`])
//! 2. a queue that is there already: [`check_equivalent`], and nothing below
//! 3. that `x-dead-letter-exchange` is a string, the user's rights on that exchange, and everything else
//!    about a new queue. [`parse`] checks all but the rights; who checks them calls
//!    [`check_exchange_name`] itself, before.
//!
//! [`check`] knows which argument may hold what.

mod check;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use amq_protocol::types::{AMQPValue, FieldTable};

pub(in crate::broker) use self::check::age;
use crate::broker::compatibility::{Compatibility, Hint};
use crate::broker::exchange::arguments::{check_equivalence, check_exchange_name, type_name};
use crate::broker::policy::Definition;
use crate::broker::policy::merge::Sources;
use crate::wire::reply::Exception;

const TYPE: &str = "x-queue-type";
const MAX_AGE: &str = "x-max-age";

/// The types of queue. Each has its own arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl QueueType {
    /// As clients write it, and as most texts have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }

    /// The name of RabbitMQ's module, which some texts have instead.
    pub fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }

    /// The empty name and `undefined` mean what no name means.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"classic" | b"" | b"undefined" => Some(Self::Classic),
            b"quorum" => Some(Self::Quorum),
            b"stream" => Some(Self::Stream),
            _ => None,
        }
    }
}

/// What gives way when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    /// Refused messages are dead-lettered too.
    RejectPublishDlx,
}

/// Whether a dead message may get lost on its way (`x-dead-letter-strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    #[default]
    AtMostOnce,
    AtLeastOnce,
}

/// Which messages that come back have to wait (`x-delayed-retry-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    All,
    /// Those of `basic.reject`, which raises the delivery count.
    Failed,
    /// Those of `basic.nack`, which does not.
    Returned,
}

impl Retried {
    /// As the argument names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failed => "failed",
            Self::Returned => "returned",
        }
    }
}

/// How long a message that comes back waits: `min` times the number of its failures, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayedRetry {
    pub which: Retried,
    /// Milliseconds, more than 0.
    pub min: u64,
    /// Milliseconds; `min` where there is no `x-delayed-retry-max`. May be less than `min`.
    pub max: u64,
}

/// What a queue's arguments and its policies say. None is what neither says anything about. Arguments that change nothing on a
/// single node (`x-queue-mode`, `x-queue-leader-locator`, sizes of clusters and filters...) are not here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub queue_type: QueueType,
    /// Milliseconds, 0 to ten years.
    pub message_ttl: Option<u64>,
    /// Milliseconds without use, 1 to ten years.
    pub expires: Option<u64>,
    pub max_length: Option<u64>,
    pub max_length_bytes: Option<u64>,
    /// 1 to 255; 0 is as good as 1, as in RabbitMQ.
    pub max_priority: Option<u8>,
    pub overflow: Overflow,
    pub dead_letter_exchange: Option<Box<[u8]>>,
    /// Only with an exchange.
    pub dead_letter_routing_key: Option<Box<[u8]>>,
    pub dead_letter_strategy: DeadLetterStrategy,
    /// Without one it is 20; a negative one is no limit. What is not a whole number counts as none given.
    pub delivery_limit: Option<i64>,
    pub single_active_consumer: bool,
    /// Milliseconds that a delivery may stay unacknowledged, from 0. Only of quorum queues.
    pub consumer_timeout: Option<u64>,
    pub delayed_retry: Option<DelayedRetry>,
    /// Milliseconds, from 1000. Only of streams.
    pub max_age: Option<u64>,
    /// Octets, 0 to 3 000 000 000. Only of streams.
    pub max_segment_size: Option<u64>,
}

impl Settings {
    /// Most queues have the usual settings, and share them.
    pub fn shared(self) -> Arc<Self> {
        static USUAL: LazyLock<Arc<Settings>> = LazyLock::new(Arc::default);
        if self == **USUAL { Arc::clone(&USUAL) } else { Arc::new(self) }
    }
}

/// The flags of the declaration as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
}

/// The type the arguments name; classic where they name none. `described` is like `queue 'q' in vhost '/'`.
pub fn queue_type(arguments: &FieldTable, described: &str) -> Result<QueueType, Exception> {
    let Some(value) = arguments.inner().get(TYPE) else { return Ok(QueueType::Classic) };
    let invalid = |what: String| invalid(TYPE, described, &what);
    let name = text(value).ok_or_else(|| invalid(format!("{{unacceptable_type,{}}}", type_name(value))))?;
    QueueType::from_name(name).ok_or_else(|| {
        invalid(check::quoted(&format!("unsupported queue type '{}'", String::from_utf8_lossy(name))))
    })
}

/// Refuses a declaration without a name for a type that needs one. It comes before every other check.
///
/// RabbitMQ crashes on a type that is not a string, hence 541 without explanation (and without a cause: it
/// says class 0, method 0).
pub fn check_server_named(arguments: &FieldTable) -> Result<(), Exception> {
    let Some(value) = arguments.inner().get(TYPE) else { return Ok(()) };
    let name = match value {
        // An atom is text enough.
        AMQPValue::Boolean(true) => b"true",
        AMQPValue::Boolean(false) => b"false".as_slice(),
        other => text(other).ok_or_else(|| Exception::internal_error(""))?,
    };
    match QueueType::from_name(name) {
        Some(QueueType::Classic) => Ok(()),
        Some(other) => Err(Exception::precondition_failed(format!(
            "Cannot declare a server-named queue for type {}",
            other.module()
        ))),
        None => Err(Exception::precondition_failed(format!(
            "unknown queue type '{}'",
            String::from_utf8_lossy(name)
        ))),
    }
}

/// Checks everything about a queue that does not exist yet, in RabbitMQ's order, and reads it into types.
/// `described` is like `queue 'q' in vhost '/'`.
pub fn parse(arguments: &FieldTable, declared: &Declared, described: &str) -> Result<Settings, Exception> {
    check_exchange_name(arguments, "x-dead-letter-exchange", described)?;
    let queue_type = queue_type(arguments, described)?;
    check::values(queue_type, arguments, described)?;
    check::no_foreign(queue_type, arguments, described)?;
    if queue_type == QueueType::Classic {
        check::no_master_locator(arguments)?;
    } else {
        check::flags(declared, described)?;
    }
    check::stream_sizes(arguments)?;
    Ok(read(queue_type, arguments))
}

/// The same for a level of compatibility that accepts arguments which are refused now, and had no effect then.
pub fn parse_as(
    level: Compatibility,
    arguments: &FieldTable,
    declared: &Declared,
    described: &str,
) -> Result<Settings, Exception> {
    let Some((without, hints)) = check::without_old(arguments) else {
        return parse(arguments, declared, described);
    };
    if level.accepts_old_arguments() {
        return parse(&without, declared, described);
    }
    hints.into_iter().for_each(Hint::log_once);
    parse(arguments, declared, described)
}

/// Whether a declaration of a quorum queue that is there wants a classic one.
pub fn is_classic_for_quorum(found: QueueType, wanted: &FieldTable) -> bool {
    let wanted = match wanted.inner().get("x-queue-type") {
        Some(AMQPValue::LongString(name)) => QueueType::from_name(name.as_bytes()),
        _ => Some(QueueType::Classic),
    };
    found == QueueType::Quorum && wanted == Some(QueueType::Classic)
}

/// Arguments without those that only classic queues have, for a quorum queue.
pub fn as_quorum(arguments: &FieldTable) -> FieldTable {
    const CLASSIC: [&str; 5] =
        ["x-queue-type", "x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator"];
    let mut left = FieldTable::default();
    for (key, value) in arguments.inner().iter().filter(|(key, _)| !CLASSIC.contains(&key.as_str())) {
        left.insert(key.clone(), value.clone());
    }
    left.insert(TYPE.into(), AMQPValue::LongString(QueueType::Quorum.name().into()));
    left
}

/// Reads arguments that have been checked. The few that RabbitMQ does not check count as absent if bad.
pub(in crate::broker) fn read(queue_type: QueueType, arguments: &FieldTable) -> Settings {
    read_with(queue_type, arguments, &Definition::new())
}

/// The same together with what policies set.
pub(in crate::broker) fn read_with(
    queue_type: QueueType,
    arguments: &FieldTable,
    policies: &Definition,
) -> Settings {
    let sources = Sources { queue_type, arguments, policies };
    let number = |key: &str| sources.number(key);
    let octets = |key: &str| sources.octets(key);
    Settings {
        queue_type,
        message_ttl: number("x-message-ttl"),
        expires: number("x-expires"),
        max_length: number("x-max-length"),
        max_length_bytes: number("x-max-length-bytes"),
        max_priority: number("x-max-priority").and_then(|n| u8::try_from(n).ok()).map(|n| n.max(1)),
        overflow: match octets("x-overflow") {
            Some(b"reject-publish") => Overflow::RejectPublish,
            Some(b"reject-publish-dlx") => Overflow::RejectPublishDlx,
            _ => Overflow::DropHead,
        },
        dead_letter_exchange: octets("x-dead-letter-exchange").map(Box::from),
        dead_letter_routing_key: octets("x-dead-letter-routing-key").map(Box::from),
        dead_letter_strategy: match octets("x-dead-letter-strategy") {
            Some(b"at-least-once") => DeadLetterStrategy::AtLeastOnce,
            _ => DeadLetterStrategy::AtMostOnce,
        },
        delivery_limit: sources.integer("x-delivery-limit"),
        single_active_consumer: arguments.inner().get("x-single-active-consumer")
            == Some(&AMQPValue::Boolean(true)),
        consumer_timeout: number("x-consumer-timeout"),
        delayed_retry: delayed_retry(
            octets("x-delayed-retry-type"),
            number("x-delayed-retry-min"),
            number("x-delayed-retry-max"),
        ),
        max_age: octets(MAX_AGE).and_then(age).map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        max_segment_size: number("x-stream-max-segment-size-bytes"),
    }
}

fn delayed_retry(which: Option<&[u8]>, min: Option<u64>, max: Option<u64>) -> Option<DelayedRetry> {
    let which = match which? {
        b"all" => Retried::All,
        b"failed" => Retried::Failed,
        b"returned" => Retried::Returned,
        _ => return None,
    };
    let min = min.filter(|min| *min > 0)?;
    Some(DelayedRetry { which, min, max: max.unwrap_or(min) })
}

/// The arguments that count when a queue is declared again, in RabbitMQ's order of checking, for the type of
/// the queue that is there. Others may differ, even such as belong to another type.
pub fn equivalence_keys(queue_type: QueueType) -> &'static [&'static str] {
    match queue_type {
        QueueType::Classic => &[
            "x-expires",
            "x-message-ttl",
            "x-dead-letter-exchange",
            "x-dead-letter-routing-key",
            "x-max-length",
            "x-max-length-bytes",
            "x-max-priority",
            "x-overflow",
            "x-queue-mode",
            "x-queue-version",
            "x-single-active-consumer",
            TYPE,
            "x-queue-master-locator",
            "x-queue-leader-locator",
        ],
        QueueType::Quorum => &[
            "x-dead-letter-exchange",
            "x-dead-letter-routing-key",
            "x-dead-letter-strategy",
            "x-expires",
            "x-max-length",
            "x-max-length-bytes",
            "x-max-in-memory-length",
            "x-max-in-memory-bytes",
            "x-overflow",
            "x-single-active-consumer",
            TYPE,
            "x-quorum-initial-group-size",
            "x-delivery-limit",
            "x-message-ttl",
            "x-queue-leader-locator",
            "x-consumer-disconnected-timeout",
            "x-consumer-timeout",
            "x-delayed-retry-type",
            "x-delayed-retry-min",
            "x-delayed-retry-max",
        ],
        QueueType::Stream => &[
            "x-max-length-bytes",
            TYPE,
            MAX_AGE,
            "x-stream-max-segment-size-bytes",
            "x-stream-filter-size-bytes",
            "x-initial-cluster-size",
            "x-queue-leader-locator",
        ],
    }
}

/// Refuses a redeclaration one of whose arguments differs; the flags come before. `queue_type` is that of the
/// queue that is there. What is received need not be valid otherwise.
pub fn check_equivalent(
    queue_type: QueueType,
    current: &FieldTable,
    received: &FieldTable,
    described: &str,
) -> Result<(), Exception> {
    check_equivalence(described, &comparable(current), &comparable(received), equivalence_keys(queue_type))
}

/// The arguments as RabbitMQ compares and shows them: always with a type, and ages in milliseconds.
fn comparable(arguments: &FieldTable) -> FieldTable {
    let mut out = arguments.clone();
    if !out.contains_key(TYPE) {
        out.insert(TYPE.into(), AMQPValue::LongString(QueueType::Classic.name().into()));
    }
    if let Some(age) = out.inner().get(MAX_AGE).and_then(text).and_then(age) {
        out.insert(MAX_AGE.into(), AMQPValue::LongString(age.to_string().into()));
    }
    out
}

/// The octets of a string; RabbitMQ does not take other types for one.
pub(in crate::broker) fn text(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        _ => None,
    }
}

/// The refusal of a value; `what` is wrong with it.
fn invalid(key: &str, described: &str, what: &str) -> Exception {
    Exception::precondition_failed(format!("invalid arg '{key}' for {described}: {what}"))
}
