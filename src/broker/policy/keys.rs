//! What policies can set: one row for each key. This is all that is known about keys, but for what queues make of them
//! (`queue/arguments`).

use super::{Rank, Value};
use crate::broker::compatibility::{Compatibility, Hint};
use crate::broker::queue::arguments::{QueueType, age};

/// What a value has to be.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    Text,
    OneOf(&'static [&'static str]),
    /// A whole number within these bounds.
    Within(i64, i64),
    /// Like `7D`.
    Age,
    Anything,
}

/// What counts of two values for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Smaller,
    Larger,
    /// The smaller one, but a negative one is none.
    SmallerIfAny,
    /// The operator's, or the one declared.
    Latter,
    /// The policy's.
    Former,
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub wanted: Wanted,
    /// What is said of a value that is not wanted, behind the value.
    pub refusal: &'static str,
    /// The last version that took it, if it is not taken any more.
    last: Option<Last>,
    /// What counts of a policy's value and an operator's. `None`: operators cannot set it.
    pub operator: Option<Of>,
    /// The types of queue that a policy with this key is not for at all.
    foreign_to: &'static [QueueType],
    /// The types that heed it.
    heeded_by: &'static [QueueType],
    /// What counts of a policy's value and one that was declared.
    declared: Of,
}

const NONE: &[QueueType] = &[];
const QUORUM: &[QueueType] = &[QueueType::Quorum];
const STREAM: &[QueueType] = &[QueueType::Stream];
const QUEUES: &[QueueType] = &[QueueType::Classic, QueueType::Quorum];
const NOT_CLASSIC: &[QueueType] = &[QueueType::Quorum, QueueType::Stream];
const NOT_QUORUM: &[QueueType] = &[QueueType::Classic, QueueType::Stream];
const ALL: &[QueueType] = &[QueueType::Classic, QueueType::Quorum, QueueType::Stream];

const COUNT: Wanted = Wanted::Within(0, i64::MAX);
const POSITIVE: Wanted = Wanted::Within(1, i64::MAX);
const INTEGER: Wanted = Wanted::Within(i64::MIN, i64::MAX);

/// The last version that takes a key.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    version: Compatibility,
    /// What later ones say. `None`: they do not know it.
    pub refusal: Option<&'static str>,
    /// How to do without.
    pub hint: Hint,
}

const MIRRORING: Last = Last { version: Compatibility::V3_13, refusal: None, hint: Hint::Mirroring };
const MASTER_LOCATOR: Last = Last {
    version: Compatibility::V4_0,
    refusal: Some("use of deprecated queue-master-locator argument is not permitted"),
    hint: Hint::MasterLocatorPolicy,
};

const PROMOTED: &[&str] = &["always", "when-synced"];
const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];
const RETRIED: &[&str] = &["all", "failed", "returned", "disabled"];

impl Key {
    const fn new(name: &'static str, wanted: Wanted, refusal: &'static str) -> Self {
        Self {
            name,
            wanted,
            refusal,
            last: None,
            operator: None,
            foreign_to: NONE,
            heeded_by: NONE,
            declared: Of::Latter,
        }
    }

    /// The types that heed it, and those that a policy with it is not for.
    const fn of(self, heeded_by: &'static [QueueType], foreign_to: &'static [QueueType]) -> Self {
        Self { heeded_by, foreign_to, ..self }
    }

    /// What counts of a policy's value and one that was declared.
    const fn declared(self, declared: Of) -> Self {
        Self { declared, ..self }
    }

    /// A key that versions up to this one take. It has no effect there either.
    const fn until(self, last: Last) -> Self {
        Self { last: Some(last), ..self }
    }

    /// Operators can set it, too.
    const fn operator(self, operator: Of) -> Self {
        Self { operator: Some(operator), ..self }
    }

    /// A key of mirrored classic queues.
    const fn mirroring(self) -> Self {
        self.until(MIRRORING).of(NONE, NOT_CLASSIC).operator(Of::Latter)
    }

    /// Operators can set it, and the smaller of two values counts, whoever set them.
    const fn smaller(self) -> Self {
        self.operator(Of::Smaller).declared(Of::Smaller)
    }

    /// Whether a policy with this key can be one of queues of a type.
    pub fn suits(&self, queue_type: QueueType) -> bool {
        !self.foreign_to.contains(&queue_type)
    }

    pub fn is_heeded_by(&self, queue_type: QueueType) -> bool {
        self.heeded_by.contains(&queue_type)
    }

    pub fn allows(&self, rank: Rank) -> bool {
        rank == Rank::User || self.operator.is_some()
    }

    /// How a version does not take it any more.
    pub fn given_up(&self, level: Compatibility) -> Option<Last> {
        self.last.filter(|last| level > last.version)
    }

    /// What counts of a policy's value and one that was declared.
    pub fn against_declared(&self, queue_type: QueueType) -> Of {
        // The one thing in which the types differ.
        if self.name == "overflow" && queue_type == QueueType::Quorum { Of::Former } else { self.declared }
    }

    /// Whether this is a value for it.
    pub fn takes(&self, value: &Value) -> bool {
        match (self.wanted, value) {
            (Wanted::Text, Value::Text(_)) => true,
            (Wanted::OneOf(known), Value::Text(text)) => known.contains(&&**text),
            (Wanted::Within(from, to), Value::Integer(number)) => (from..=to).contains(number),
            (Wanted::Age, Value::Text(text)) => age(text.as_bytes()).is_some(),
            (Wanted::Anything, _) => true,
            _ => false,
        }
    }
}

/// By name.
pub static KEYS: [Key; 32] = [
    Key::new("alternate-exchange", Wanted::Text, "is not a valid alternate exchange name"),
    Key::new("consumer-disconnected-timeout", COUNT, "is not a valid consumer disconnected timeout"),
    Key::new("consumer-timeout", COUNT, "is not a valid consumer timeout")
        .of(QUORUM, NONE)
        .declared(Of::Smaller),
    Key::new("dead-letter-exchange", Wanted::Text, "is not a valid dead letter exchange name")
        .of(QUEUES, STREAM),
    Key::new("dead-letter-routing-key", Wanted::Text, "is not a valid dead letter routing key")
        .of(QUEUES, STREAM),
    Key::new(
        "dead-letter-strategy",
        Wanted::OneOf(&["at-most-once", "at-least-once"]),
        "is not a valid dead letter strategy",
    )
    .of(QUORUM, NOT_QUORUM),
    Key::new(
        "delayed-retry-max",
        POSITIVE,
        "is not a valid delayed retry maximum delay. Must be a positive integer",
    )
    .of(QUORUM, NONE)
    .smaller(),
    Key::new(
        "delayed-retry-min",
        POSITIVE,
        "is not a valid delayed retry minimum delay. Must be a positive integer",
    )
    .of(QUORUM, NONE)
    .operator(Of::Larger)
    .declared(Of::Smaller),
    Key::new(
        "delayed-retry-type",
        Wanted::OneOf(RETRIED),
        "is not a valid delayed retry type. Must be one of: all, failed, returned, disabled",
    )
    .of(QUORUM, NONE)
    .operator(Of::Latter)
    .declared(Of::Former),
    Key::new("delivery-limit", INTEGER, "is not a valid delivery limit")
        .of(QUORUM, NOT_QUORUM)
        .operator(Of::SmallerIfAny)
        .declared(Of::SmallerIfAny),
    Key::new("expires", POSITIVE, "is not a valid queue expiry").of(QUEUES, STREAM).smaller(),
    Key::new("ha-mode", Wanted::OneOf(&["all", "exactly", "nodes"]), "is not a valid ha-mode value")
        .mirroring(),
    Key::new("ha-params", Wanted::Anything, "").mirroring(),
    Key::new("ha-promote-on-failure", Wanted::OneOf(PROMOTED), "is not a valid ha-promote-on-failure value")
        .mirroring(),
    Key::new(
        "ha-promote-on-shutdown",
        Wanted::OneOf(PROMOTED),
        "is not a valid ha-promote-on-shutdown value",
    )
    .mirroring(),
    Key::new("ha-sync-batch-size", POSITIVE, "is not a valid ha-sync-batch-size value").mirroring(),
    Key::new("ha-sync-mode", Wanted::OneOf(&["automatic", "manual"]), "is not a valid ha-sync-mode value")
        .mirroring(),
    Key::new("initial-cluster-size", COUNT, "is not a valid cluster size").of(NONE, QUEUES),
    Key::new("max-age", Wanted::Age, "is not a valid max age").of(STREAM, QUEUES).declared(Of::Smaller),
    Key::new("max-in-memory-bytes", COUNT, "is not a valid maximum memory in bytes")
        .of(NONE, NOT_QUORUM)
        .smaller(),
    Key::new("max-in-memory-length", COUNT, "is not a valid maximum memory in bytes")
        .of(NONE, NOT_QUORUM)
        .smaller(),
    Key::new("max-length", COUNT, "is not a valid maximum length").of(QUEUES, STREAM).smaller(),
    Key::new("max-length-bytes", COUNT, "is not a valid maximum length in bytes").of(ALL, NONE).smaller(),
    Key::new("message-ttl", COUNT, "is not a valid message TTL").of(QUEUES, STREAM).smaller(),
    Key::new(
        "overflow",
        Wanted::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]),
        "is not a valid overflow value",
    )
    .of(QUEUES, STREAM)
    .operator(Of::Latter),
    Key::new("queue-leader-locator", Wanted::OneOf(LOCATORS), "is not a valid queue leader locator value"),
    Key::new(
        "queue-master-locator",
        Wanted::OneOf(&["client-local", "min-masters", "random"]),
        "is not a valid queue master locator value",
    )
    .until(MASTER_LOCATOR)
    .operator(Of::Latter),
    Key::new("queue-mode", Wanted::OneOf(&["default", "lazy"]), "is not a valid queue-mode value")
        .of(NONE, NOT_CLASSIC),
    Key::new("queue-version", Wanted::Within(1, 2), "is not a valid queue-version value")
        .operator(Of::Latter),
    Key::new(
        "stream-filter-size-bytes",
        Wanted::Within(16, 255),
        "is not a valid filter size. Valid range is 16-255",
    ),
    Key::new(
        "stream-max-segment-size-bytes",
        Wanted::Within(0, 3_000_000_000),
        "is not a valid segment size",
    )
    .of(STREAM, QUEUES)
    .declared(Of::Smaller),
    Key::new("target-group-size", POSITIVE, "is not a valid qq target count value")
        .of(NONE, NOT_QUORUM)
        .operator(Of::Larger),
];

pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by_key(&name, |key| key.name).ok().and_then(|at| KEYS.get(at))
}
