//! An exchange's bindings in the form that its type searches.

use std::collections::BTreeMap;

use amq_protocol::types::FieldTable;

use super::destinations::Destinations;
use super::hash::{HashOn, Shares};
use super::{Binding, Destination, Kind, headers, topic};
use crate::broker::chance::{Chance, stable_hash};
use crate::broker::{BindingId, Map};
use crate::wire::content::Message;
use crate::wire::properties;

#[derive(Debug)]
pub(in crate::broker) enum Matcher {
    Direct(Map<Box<[u8]>, Destinations>),
    Fanout(Destinations),
    Topic(topic::Trie),
    Headers(BTreeMap<BindingId, (headers::Pattern, Destination)>),
    ConsistentHash(Shares),
    /// One binding of all, by the hash of the routing key.
    ModulusHash(Choices),
    /// One binding of all, at random.
    Random(Choices),
}

/// Bindings of which one is chosen, in the order of what stands for their destinations' names. A destination that is
/// bound twice is there twice.
type Choices = Vec<(u64, BindingId, Destination)>;

impl Matcher {
    pub fn new(kind: Kind, arguments: &FieldTable) -> Self {
        match kind {
            // A delayed exchange routes as another type.
            Kind::Direct | Kind::Delayed => Self::Direct(Map::default()),
            Kind::Fanout | Kind::RecentHistory | Kind::Deduplication => Self::Fanout(Destinations::default()),
            Kind::Topic => Self::Topic(topic::Trie::default()),
            Kind::Headers => Self::Headers(BTreeMap::new()),
            Kind::ConsistentHash => Self::ConsistentHash(Shares::new(arguments)),
            Kind::ModulusHash => Self::ModulusHash(Choices::new()),
            Kind::Random | Kind::LocalRandom => Self::Random(Choices::new()),
        }
    }

    /// Whether a message's routing key is all that counts.
    pub fn goes_by_key(&self) -> bool {
        match self {
            Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) | Self::ModulusHash(_) => true,
            Self::ConsistentHash(shares) => shares.on == HashOn::RoutingKey,
            Self::Headers(_) | Self::Random(_) => false,
        }
    }

    /// Appends the destinations of a message; the same one may come more than once.
    pub fn matches(&self, message: &Message<'_>, chance: &mut Chance, out: &mut Vec<Destination>) {
        let routing_key = message.routing_key;
        match self {
            Self::Direct(_) | Self::Topic(_) => self.matches_key(routing_key, out),
            Self::Fanout(all) => all.append_to(out),
            Self::Headers(patterns) => {
                let headers = properties::find(message.properties, properties::HEADERS).unwrap_or_default();
                let matching = patterns.values().filter(|(pattern, _)| pattern.matches(headers));
                out.extend(matching.map(|(_, destination)| *destination));
            }
            Self::ConsistentHash(shares) => out.extend(shares.pick(message)),
            Self::ModulusHash(choices) => {
                let place = stable_hash(routing_key).checked_rem(choices.len() as u64);
                let chosen = place.and_then(|place| choices.get(place as usize));
                out.extend(chosen.map(|(_, _, destination)| *destination));
            }
            Self::Random(choices) => {
                let chosen = choices.get(chance.below(choices.len()));
                out.extend(chosen.map(|(_, _, destination)| *destination));
            }
        }
    }

    /// Appends the destinations of the bindings that a routing key means, where keys mean bindings.
    pub fn matches_key(&self, routing_key: &[u8], out: &mut Vec<Destination>) {
        match self {
            Self::Direct(keys) => keys.get(routing_key).into_iter().for_each(|found| found.append_to(out)),
            Self::Topic(trie) => trie.matches(routing_key, out),
            _ => {}
        }
    }

    /// Adds a binding; `name` stands for the name of its destination.
    pub fn insert(&mut self, id: BindingId, binding: &Binding, name: u64) {
        let destination = binding.destination;
        match self {
            Self::Direct(keys) => keys.entry(binding.routing_key.clone()).or_default().add(destination),
            Self::Fanout(all) => all.add(destination),
            Self::Topic(trie) => trie.insert(&binding.routing_key, destination),
            Self::Headers(patterns) => {
                patterns.insert(id, (headers::Pattern::new(&binding.arguments), destination));
            }
            Self::ConsistentHash(shares) => shares.insert(id, &binding.routing_key, name, destination),
            Self::ModulusHash(choices) | Self::Random(choices) => {
                let at = choices.partition_point(|(other, ..)| *other <= name);
                choices.insert(at, (name, id, destination));
            }
        }
    }

    pub fn remove(&mut self, id: BindingId, binding: &Binding) {
        let destination = binding.destination;
        match self {
            Self::Direct(keys) => {
                if let Some(found) = keys.get_mut(&binding.routing_key) {
                    found.remove(destination);
                    if found.is_empty() {
                        keys.remove(&binding.routing_key);
                    }
                }
            }
            Self::Fanout(all) => all.remove(destination),
            Self::Topic(trie) => trie.remove(&binding.routing_key, destination),
            Self::Headers(patterns) => {
                patterns.remove(&id);
            }
            Self::ConsistentHash(shares) => shares.remove(id, destination),
            Self::ModulusHash(choices) | Self::Random(choices) => {
                choices.retain(|(_, other, _)| *other != id);
            }
        }
    }
}
