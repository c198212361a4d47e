//! Super streams: a direct exchange and streams bound to it, its partitions, in the form that RabbitMQ gives them.
//!
//! A message whose routing key is that of a binding goes there, as with any direct exchange. Any other routing key stands for the
//! partition that its hash says: MurmurHash3 (32 bits, seed 104729) of its octets, modulo the number of partitions, as
//! RabbitMQ's stream clients do it.

use std::collections::BTreeSet;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::effects::Effects;
use crate::broker::exchange::arguments::integer;
use crate::broker::exchange::{self, Destination, Exchange, Kind};
use crate::broker::queue::arguments::{self, Declared};
use crate::broker::queue::declare::Declaration;
use crate::broker::vhost::Vhost;
use crate::broker::{ExchangeId, Name, QueueId};
use crate::wire::reply::Exception;

/// Says of an exchange that it is a super stream.
pub const SUPER_STREAM: &str = "x-super-stream";
/// Says of a binding which partition it leads to.
pub const ORDER: &str = "x-stream-partition-order";
const SEED: u32 = 104_729;

/// Whether an exchange with these arguments is a super stream.
pub fn is_super_stream(kind: Kind, arguments: &FieldTable) -> bool {
    kind == Kind::Direct && arguments.inner().get(SUPER_STREAM) == Some(&AMQPValue::Boolean(true))
}

impl Exchange {
    /// Whether it is a super stream.
    pub fn is_super_stream(&self) -> bool {
        is_super_stream(self.kind, &self.arguments)
    }
}

/// What a super stream is to be.
#[derive(Clone, Debug)]
pub struct SuperStream {
    pub name: Name,
    /// The names of the partitions and their binding keys, in order.
    pub partitions: Vec<(Name, Box<[u8]>)>,
    /// Of the partitions.
    pub arguments: FieldTable,
    /// Who declares it, if anybody does.
    pub creator: Option<Name>,
}

/// Why a super stream cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMade {
    /// Something is there already that has one of its names: what, and the name.
    Taken(&'static str, Name),
    /// There may not be so many queues: this is the limit.
    TooMany(i64),
    Refused(Exception),
}

impl From<Exception> for NotMade {
    fn from(exception: Exception) -> Self {
        Self::Refused(exception)
    }
}

impl Vhost {
    /// Makes a super stream, all of it or nothing.
    pub fn create_super_stream(&mut self, wanted: SuperStream) -> Result<(), NotMade> {
        let SuperStream { name, partitions, arguments, creator } = wanted;
        let declared = Declared { durable: true, exclusive: false, auto_delete: false };
        let others = partitions.len().saturating_sub(1);
        if let Some(limit) = self.queue_limit.filter(|limit| limit.is_reached(self.queues.len() + others)) {
            return Err(NotMade::TooMany(limit.0));
        }
        if self.exchange(name.as_bytes()).is_some() {
            return Err(NotMade::Taken("an exchange", name));
        }
        for (partition, _) in &partitions {
            if self.queue_names.contains_key(partition.as_bytes()) {
                return Err(NotMade::Taken("a queue", Name::clone(partition)));
            }
            arguments::parse(&arguments, &declared, &self.describe("queue", partition.as_bytes()))?;
        }
        let mut of_exchange = FieldTable::default();
        of_exchange.insert(SUPER_STREAM.into(), AMQPValue::Boolean(true));
        self.declare_exchange(exchange::declare::Declaration {
            name: Name::clone(&name),
            kind: Kind::Direct,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: of_exchange,
            creator: creator.clone(),
        })?;
        for (order, (partition, key)) in partitions.into_iter().enumerate() {
            let queue = Name::clone(&partition);
            let (durable, exclusive, auto_delete) = (true, false, false);
            let (arguments, creator) = (arguments.clone(), creator.clone());
            self.declare_queue(
                None,
                Declaration { name: partition, durable, exclusive, auto_delete, arguments, creator },
            )?;
            let mut of_binding = FieldTable::default();
            of_binding.insert(ORDER.into(), AMQPValue::LongLongInt(order as i64));
            self.bind_queue(None, queue.as_bytes(), name.as_bytes(), &key, of_binding)?;
        }
        Ok(())
    }

    /// Deletes a super stream with its partitions. Returns whether there was one.
    pub fn delete_super_stream(&mut self, name: &[u8], fx: &mut impl Effects) -> Result<bool, Exception> {
        if !self.exchange(name).is_some_and(Exchange::is_super_stream) {
            return Ok(false);
        }
        for partition in self.partitions(name) {
            self.remove_queue(partition, fx);
        }
        self.delete_exchange(name, false).map(|()| true)
    }

    /// The names of a super stream's partitions, in order.
    pub fn partition_names(&self, name: &[u8]) -> Vec<Name> {
        self.partitions(name).into_iter().filter_map(|id| self.queue_name(id)).collect()
    }

    /// The partitions of a super stream, in order; none if there is no such super stream.
    pub fn partitions(&self, name: &[u8]) -> Vec<QueueId> {
        let id = self.exchange_names.get(name).copied();
        let found = id.filter(|id| self.exchanges.get(*id).is_some_and(Exchange::is_super_stream));
        found.map(|id| self.partitions_of(id)).unwrap_or_default()
    }

    fn partitions_of(&self, id: ExchangeId) -> Vec<QueueId> {
        let bindings = self.exchanges.get(id).into_iter().flat_map(|exchange| exchange.bindings.values());
        let bound = bindings.filter_map(|id| {
            let binding = self.bindings.get(*id)?;
            let Destination::Queue(queue) = binding.destination else { return None };
            let found = self.queues.get(queue).filter(|queue| queue.is_stream())?;
            let order = binding.arguments.inner().get(ORDER).and_then(integer)?;
            Some((order, &*found.name, queue))
        });
        let mut bound: Vec<_> = bound.collect();
        bound.sort_unstable();
        // One that is bound more than once counts where it comes first.
        let mut known = BTreeSet::new();
        bound.into_iter().map(|(_, _, queue)| queue).filter(|queue| known.insert(*queue)).collect()
    }

    /// Where a super stream sends what no binding is for.
    pub(in crate::broker) fn partition_for(&mut self, id: ExchangeId, routing_key: &[u8]) -> Option<QueueId> {
        let topology = self.topology;
        let cached = self.exchanges.get(id)?.partitions.as_ref();
        if cached.is_none_or(|(version, _)| *version != topology) {
            let found = self.partitions_of(id);
            self.exchanges.get_mut(id)?.partitions = Some((topology, found.into()));
        }
        let (_, partitions) = self.exchanges.get(id)?.partitions.as_ref()?;
        let at = murmur3(routing_key, SEED) as usize % partitions.len().max(1);
        partitions.get(at).copied()
    }
}

/// MurmurHash3 for 32-bit results, by Austin Appleby, in the public domain.
pub fn murmur3(octets: &[u8], seed: u32) -> u32 {
    let scramble = |part: u32| part.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (parts, rest) = octets.as_chunks::<4>();
    let mut hash = seed;
    for part in parts {
        hash = (hash ^ scramble(u32::from_le_bytes(*part)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let tail = rest.iter().rev().fold(0, |tail, octet| tail << 8 | u32::from(*octet));
    hash ^= if rest.is_empty() { 0 } else { scramble(tail) };
    hash ^= octets.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_other_clients() {
        for (octets, seed, hash) in [
            ("", 0, 0),
            ("", 1, 0x514e_28b7),
            ("test", 0x9747_b28c, 0x704b_81dc),
            ("Hello, world!", 0x9747_b28c, 0x2488_4cba),
            ("The quick brown fox jumps over the lazy dog", 0x9747_b28c, 0x2fa8_26cd),
            ("aaa", 0x9747_b28c, 0x283e_0130),
        ] {
            assert_eq!(murmur3(octets.as_bytes(), seed), hash, "{octets}");
        }
    }
}
