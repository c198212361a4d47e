//! Exchanges and their bindings.
//!
//! What comes in are declarations, bindings and, from `publish`, a routing key with a message's headers; what goes
//! out are the destinations the bindings lead to. This folder may not know queues' contents or consumers.
//!
//! - this file: what an exchange is, and the destinations of one exchange
//! - [`declare`][]: declaring and deleting
//! - [`bind`][]: binding and unbinding
//! - [`topic`][], [`headers`][]: the matching of these two types
//! - [`destinations`][]: where the bindings of one key lead
//! - [`arguments`][]: RabbitMQ's texts for arguments

pub mod arguments;
pub mod bind;
pub mod declare;
pub mod destinations;
pub mod headers;
pub mod topic;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use destinations::Destinations;

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
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic, Self::Headers].into_iter().find(|kind| kind.name() == name)
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
}

/// An exchange's bindings in the form that its type searches.
#[derive(Debug)]
pub(super) enum Matcher {
    Direct(Map<Box<[u8]>, Destinations>),
    Fanout(Destinations),
    Topic(topic::Trie),
    Headers(BTreeMap<BindingId, (headers::Pattern, Destination)>),
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
        let matcher = match kind {
            Kind::Direct => Matcher::Direct(Map::default()),
            Kind::Fanout => Matcher::Fanout(Destinations::default()),
            Kind::Topic => Matcher::Topic(topic::Trie::default()),
            Kind::Headers => Matcher::Headers(BTreeMap::new()),
        };
        Self {
            name,
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            policy: None,
            bindings: Map::default(),
            inbound: HashSet::default(),
            matcher,
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
            Value::Integer(_) => None,
        }
    }

    /// Whether its routing depends on more than the routing key.
    pub fn looks_at_headers(&self) -> bool {
        self.kind == Kind::Headers
    }

    /// Appends the destinations of a message; the same one may come more than once.
    ///
    /// `headers` are the octets of the message's header table.
    pub(super) fn matches(&self, routing_key: &[u8], headers: Option<&[u8]>, out: &mut Vec<Destination>) {
        match &self.matcher {
            Matcher::Direct(keys) => keys.get(routing_key).into_iter().for_each(|found| found.append_to(out)),
            Matcher::Fanout(all) => all.append_to(out),
            Matcher::Topic(trie) => trie.matches(routing_key, out),
            Matcher::Headers(patterns) => {
                let headers = headers.unwrap_or(&[]);
                let matching = patterns.values().filter(|(pattern, _)| pattern.matches(headers));
                out.extend(matching.map(|(_, destination)| *destination));
            }
        }
    }

    pub(super) fn insert(&mut self, id: BindingId, binding: &Binding) {
        let destination = binding.destination;
        match &mut self.matcher {
            Matcher::Direct(keys) => keys.entry(binding.routing_key.clone()).or_default().add(destination),
            Matcher::Fanout(all) => all.add(destination),
            Matcher::Topic(trie) => trie.insert(&binding.routing_key, destination),
            Matcher::Headers(patterns) => {
                patterns.insert(id, (headers::Pattern::new(&binding.arguments), destination));
            }
        }
    }

    pub(super) fn remove(&mut self, id: BindingId, binding: &Binding) {
        let destination = binding.destination;
        match &mut self.matcher {
            Matcher::Direct(keys) => {
                if let Some(found) = keys.get_mut(&binding.routing_key) {
                    found.remove(destination);
                    if found.is_empty() {
                        keys.remove(&binding.routing_key);
                    }
                }
            }
            Matcher::Fanout(all) => all.remove(destination),
            Matcher::Topic(trie) => trie.remove(&binding.routing_key, destination),
            Matcher::Headers(patterns) => {
                patterns.remove(&id);
            }
        }
    }
}
