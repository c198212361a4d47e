//! Exchanges and their bindings.
//!
//! What comes in are declarations, bindings and, from `publish`, a routing key with a message's headers; what goes
//! out are the destinations the bindings lead to. This folder may not know queues' contents or consumers.
//!
//! - this file: what an exchange is, and the destinations of one exchange
//! - [`declare`][]: declaring and deleting
//! - [`bind`][]: binding and unbinding
//! - [`list`][]: bindings to look at
//! - [`matcher`][]: the bindings of an exchange, as its type searches them
//! - [`topic`][], [`headers`][], [`hash`][]: the matching of these types
//! - [`history`][]: what exchanges remember that replay to new bindings
//! - [`destinations`][]: where the bindings of one key lead
//! - [`arguments`][]: RabbitMQ's texts for arguments

pub mod arguments;
pub mod bind;
pub mod declare;
pub mod destinations;
pub mod hash;
pub mod headers;
pub mod history;
pub mod list;
mod matcher;
pub mod topic;

use std::collections::HashSet;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use history::History;
use matcher::Matcher;

use super::counts::{Passed, Publishes};
use super::dedup::Filter;
use super::delay::exchange::Behind;
use super::policy::rollout::ALTERNATE;
use super::policy::{Policy, Value};
use super::{BindingId, ExchangeId, Map, Name, QueueId};

/// The exchange types there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
    ModulusHash,
    Random,
    LocalRandom,
    RecentHistory,
    Deduplication,
    Delayed,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Direct,
        Self::Fanout,
        Self::Headers,
        Self::Topic,
        Self::ConsistentHash,
        Self::Delayed,
        Self::LocalRandom,
        Self::Deduplication,
        Self::ModulusHash,
        Self::Random,
        Self::RecentHistory,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::RecentHistory => "x-recent-history",
            Self::Deduplication => "x-message-deduplication",
            Self::Delayed => "x-delayed-message",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where a binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// A binding. The same two ends may be bound several times, with other keys or other arguments.
#[derive(Debug)]
pub struct Binding {
    pub source: ExchangeId,
    pub destination: Destination,
    pub routing_key: Box<[u8]>,
    pub arguments: FieldTable,
}

/// What makes a binding the same as another one: destination, routing key, encoded arguments.
pub(super) type BindingKey = (Destination, Box<[u8]>, Box<[u8]>);

#[derive(Debug)]
pub struct Exchange {
    pub name: Name,
    pub kind: Kind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    pub policy: Option<Arc<Policy>>,
    /// The bindings that go out from here.
    pub(super) bindings: Map<BindingKey, BindingId>,
    /// The bindings that lead here from other exchanges.
    pub(super) inbound: HashSet<BindingId, foldhash::fast::RandomState>,
    pub(super) matcher: Matcher,
    /// What it remembers, if its type does.
    pub(super) history: Option<Box<History>>,
    /// What drops duplicates.
    pub(in crate::broker) filter: Option<Box<Filter>>,
    /// The partitions of a super stream, as of a version of the topology.
    pub(super) partitions: Option<(u64, Box<[QueueId]>)>,
    /// The queue of those that it delays, if it delays any.
    pub(super) behind: Option<Behind>,
    pub passed: Passed,
    pub publishes: Publishes,
    /// Who has declared it, if that is known.
    pub creator: Option<Name>,
    /// Whether it is among those that have changed.
    pub(super) touched: bool,
}

impl Exchange {
    pub fn new(
        name: Name,
        kind: Kind,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: FieldTable,
    ) -> Self {
        let routing = kind.routing(&arguments);
        Self {
            name,
            kind,
            durable,
            auto_delete,
            internal,
            policy: None,
            bindings: Map::default(),
            inbound: HashSet::default(),
            matcher: Matcher::new(routing, &arguments),
            history: (routing == Kind::RecentHistory).then(|| Box::new(History::new(&arguments))),
            filter: Filter::of_exchange(kind, &arguments),
            behind: None,
            partitions: None,
            passed: Passed::default(),
            publishes: Publishes::default(),
            creator: None,
            touched: false,
            arguments,
        }
    }

    /// The exchange that takes what this one cannot route: as declared, or as its policy says. The default exchange has
    /// none.
    pub fn alternate(&self) -> Option<&[u8]> {
        if let Some(AMQPValue::LongString(name)) = self.arguments.inner().get(ALTERNATE) {
            return Some(name.as_bytes());
        }
        match self.policy.as_ref().filter(|_| !self.name.is_empty())?.definition.get(ALTERNATE)? {
            Value::Text(name) => Some(name.as_bytes()),
            _ => None,
        }
    }

    /// How many duplicates it has dropped, if it does that.
    pub fn duplicates(&self) -> Option<u64> {
        self.filter.as_ref().map(|filter| filter.duplicates)
    }

    /// Whether all messages with one routing key go one way, as long as the bindings are the same.
    pub fn goes_by_key(&self) -> bool {
        self.history.is_none() && self.filter.is_none() && self.matcher.goes_by_key()
    }
}
