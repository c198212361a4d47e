//! Policies: settings for all queues and exchanges of certain names, beside what was declared with each.
//!
//! What comes in is JSON, as people write it; what goes out are the settings of queues, and alternate exchanges. Each
//! object has at most one policy and one operator policy. Patterns are compiled before a policy gets here; where they
//! are matched against many names, that is done outside the mutex.
//!
//! - this file: what a policy is
//! - [`keys`][]: what can be set, by whom, and for which queues
//! - [`json`][]: policies out of JSON, with RabbitMQ's refusals, and back
//! - [`book`][]: all policies of a vhost, and which of them an object has
//! - [`merge`][]: policies, operator policies and arguments together
//! - [`rollout`][]: other policies for everything there is, in steps

pub mod book;
pub mod json;
pub mod keys;
pub mod merge;
pub mod rollout;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Name;
use super::queue::arguments::QueueType;
use crate::auth::Pattern;

/// Who sets a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    User,
    Operator,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyTo {
    All,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
    Exchanges,
}

impl ApplyTo {
    const ALL: [Self; 6] =
        [Self::All, Self::Queues, Self::ClassicQueues, Self::QuorumQueues, Self::Streams, Self::Exchanges];

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|to| to.name() == name)
    }

    fn is_for(self, queue_type: QueueType) -> bool {
        match self {
            Self::All | Self::Queues => true,
            Self::ClassicQueues => queue_type == QueueType::Classic,
            Self::QuorumQueues => queue_type == QueueType::Quorum,
            Self::Streams => queue_type == QueueType::Stream,
            Self::Exchanges => false,
        }
    }
}

/// What a policy sets something to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Integer(i64),
    Text(Box<str>),
    Texts(Box<[Box<str>]>),
}

/// What a policy sets, by the names in [`keys`].
pub type Definition = BTreeMap<&'static str, Value>;

#[derive(Clone, Debug)]
pub struct Policy {
    pub name: Name,
    pub pattern: Pattern,
    pub apply_to: ApplyTo,
    /// Of several that fit the one with the highest counts. It need not be whole.
    pub priority: f64,
    pub definition: Definition,
}

impl Policy {
    /// Whether it is for queues of a type. One that sets what the type does not have is not.
    fn is_for(&self, queue_type: QueueType) -> bool {
        self.apply_to.is_for(queue_type)
            && self.definition.keys().filter_map(|key| keys::find(key)).all(|key| key.suits(queue_type))
    }

    fn is_for_exchanges(&self) -> bool {
        matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges)
    }

    /// Whether the pattern is found in a name. The empty one is found in all.
    fn matches(&self, name: &str) -> bool {
        self.pattern.source.is_empty() || self.pattern.matches(name)
    }
}
