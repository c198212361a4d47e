//! Bindings, for people to look at.

use amq_protocol::types::FieldTable;

use super::{Binding, Destination};
use crate::broker::definitions::End;
use crate::broker::vhost::Vhost;
use crate::broker::{BindingId, Name};

/// A binding by the names of its ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub source: Name,
    pub destination: End,
    pub routing_key: Box<[u8]>,
    pub arguments: FieldTable,
    /// Whether it outlives a restart.
    pub durable: bool,
}

/// Which bindings are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    All,
    /// Those that go out from an exchange.
    From(&'a str),
    ToQueue(&'a str),
    ToExchange(&'a str),
}

impl Vhost {
    /// The bindings there are now, to be [looked up](Self::named_binding) some at a time. Those of the default exchange,
    /// which every queue has, are not among them.
    pub fn binding_ids(&self, which: Which<'_>) -> Vec<BindingId> {
        match which {
            Which::All => self.bindings.keys().collect(),
            Which::From(name) => {
                let exchange = self.exchange(name.as_bytes());
                exchange.map(|exchange| exchange.bindings.values().copied().collect()).unwrap_or_default()
            }
            Which::ToQueue(name) => {
                let queue = self.queue(name.as_bytes());
                queue.map(|queue| queue.bindings.iter().copied().collect()).unwrap_or_default()
            }
            Which::ToExchange(name) => {
                let exchange = self.exchange(name.as_bytes());
                exchange.map(|exchange| exchange.inbound.iter().copied().collect()).unwrap_or_default()
            }
        }
    }

    /// A binding, unless it has gone meanwhile, or leads to a queue that nobody sees.
    pub fn named_binding(&self, id: BindingId) -> Option<Named> {
        let Binding { source, destination, routing_key, arguments } = self.bindings.get(id)?;
        let source = self.exchanges.get(*source)?;
        let (destination, durable) = match destination {
            Destination::Queue(id) => {
                let queue = self.queues.get(*id).filter(|queue| !queue.hidden)?;
                (End::Queue(Name::clone(&queue.name)), queue.durable)
            }
            Destination::Exchange(id) => {
                let exchange = self.exchanges.get(*id)?;
                (End::Exchange(Name::clone(&exchange.name)), exchange.durable)
            }
        };
        Some(Named {
            source: Name::clone(&source.name),
            destination,
            routing_key: routing_key.clone(),
            arguments: arguments.clone(),
            durable: durable && source.durable,
        })
    }
}
