//! Caches that survive: each has a queue that nobody sees, whose log holds its keys.
//!
//! An entry is a record with the key as its body, and until when it is known as its timestamp. It is written with the
//! same commit as the message it comes from, so that a message that was confirmed is never without its key, and is
//! settled when the cache forgets it. Such a queue has no name that anybody could publish to or declare; it goes with
//! what it is for.

use super::Known;
use super::key::Key;
use super::keys::Cache;
use crate::broker::definitions::{Change, End};
use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::broker::{Name, Now, QueueId};
use crate::log::record::Record;
use crate::log::{Log, Position};
use crate::wire::content::{Body, Message};

/// Names that begin so belong to RabbitMQ, so that no client can have declared one.
const OF_EXCHANGE: &str = "amq.deduplication.exchange.";
const OF_QUEUE: &str = "amq.deduplication.queue.";

fn name_for(owner: &End) -> Name {
    match owner {
        End::Exchange(name) => format!("{OF_EXCHANGE}{name}").into(),
        End::Queue(name) => format!("{OF_QUEUE}{name}").into(),
    }
}

/// Whose ledger is kept under a name, if it is one.
pub fn owner(name: &str) -> Option<End> {
    let exchange = name.strip_prefix(OF_EXCHANGE).map(|name| End::Exchange(name.into()));
    exchange.or_else(|| name.strip_prefix(OF_QUEUE).map(|name| End::Queue(name.into())))
}

/// A key as a ledger has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    position: Position,
    key: Key,
    until: Now,
}

/// The entry in a ledger's record, if it is one.
pub(super) fn entry(position: Position, record: &Record<'_>) -> Option<Entry> {
    let key = Key::read(record.parts.body.octets())?;
    Some(Entry { position, key, until: record.timestamp })
}

impl Vhost {
    /// The cache of an exchange or a queue that survives a restart.
    fn durable_cache(&mut self, owner: &End) -> Option<&mut Cache> {
        let filter = match owner {
            End::Exchange(name) => {
                let id = *self.exchange_names.get(name.as_bytes())?;
                self.exchanges.get_mut(id).filter(|exchange| exchange.durable)?.filter.as_mut()?
            }
            End::Queue(name) => {
                let id = *self.queue_names.get(name.as_bytes())?;
                self.queues.get_mut(id).filter(|queue| queue.durable)?.filter.as_mut()?
            }
        };
        filter.cache().filter(|cache| cache.survives)
    }

    /// Gives the cache of something new a ledger, if it has one that survives.
    pub(in crate::broker) fn open_ledger(&mut self, owner: &End) {
        if !self.commits.is_on() || self.durable_cache(owner).is_none() {
            return;
        }
        let log = self.new_log(true);
        let id = self.add_ledger(owner, log);
        self.record(|vhost| vhost.queues[id].durable().map(Change::PutQueue));
    }

    /// Puts a ledger's queue among the others, but not under its name.
    pub(in crate::broker) fn add_ledger(&mut self, owner: &End, log: Log) -> QueueId {
        let mut queue = Queue::new(name_for(owner), true, None, false, log);
        queue.hidden = true;
        queue.ledger_of = Some(owner.clone());
        let id = self.queues.insert(queue);
        self.link_ledger(id);
        id
    }

    /// Tells the cache that a ledger is for where it is.
    fn link_ledger(&mut self, id: QueueId) {
        let Some(owner) = self.queues.get(id).and_then(|queue| queue.ledger_of.clone()) else { return };
        if let Some(cache) = self.durable_cache(&owner) {
            cache.ledger = Some(id);
        }
    }

    /// The same for all, when everything else is there.
    pub(in crate::broker) fn link_ledgers(&mut self) {
        let ids: Vec<_> = self.queues.keys().collect();
        ids.into_iter().for_each(|id| self.link_ledger(id));
    }

    /// What a ledger was for is gone.
    pub(in crate::broker) fn close_ledger(&mut self, known: &Known) {
        let Known::Last(Cache { ledger: Some(id), .. }) = known else { return };
        let Some(queue) = self.queues.remove(*id) else { return };
        let (name, log) = (Name::clone(&queue.name), queue.log_id());
        self.record(|_| Some(Change::DeleteQueue { name, log }));
        self.discard(queue);
    }

    /// Puts a key that comes now into a cache, and into its ledger. Returns its number.
    pub(super) fn enter(&mut self, cache: &mut Cache, key: Key, own_ttl: Option<u64>, now: Now) -> u64 {
        let until = cache.until(now, own_ttl);
        let Some(id) = cache.ledger else {
            let number = cache.next_number();
            cache.insert(key, number, until, now, |_| {});
            return number;
        };
        let Some(ledger) = self.queues.get_mut(id) else { return 0 };
        let octets = key.to_octets();
        let entry =
            Message { exchange: b"", routing_key: b"", properties: &[0, 0], body: Body::Inline(&octets) };
        let log = ledger.log_mut();
        let (number, _) = log.append(until, true, &entry);
        cache.insert(key, number, until, now, |gone| log.settle(gone));
        self.heed(id);
        number
    }

    /// Takes a key out of a cache again.
    pub(super) fn strike(&mut self, cache: &mut Cache, number: u64) {
        if !cache.remove(number) {
            return;
        }
        if let Some((id, ledger)) = cache.ledger.and_then(|id| Some((id, self.queues.get_mut(id)?))) {
            ledger.log_mut().settle(number);
            self.heed(id);
        }
    }

    /// Entries of a ledger have been read from disk at the start. Those that nobody has place for are settled, which
    /// the last run may not have come to.
    pub(super) fn learn_entries(&mut self, id: QueueId, owner: &End, entries: Vec<Entry>) {
        let mut gone = Vec::new();
        for Entry { position, key, until } in entries {
            match self.durable_cache(owner) {
                Some(cache) => cache.insert(key, position, until, 0, |number| gone.push(number)),
                None => gone.push(position),
            }
        }
        if let Some(ledger) = self.queues.get_mut(id) {
            gone.into_iter().for_each(|position| ledger.log_mut().settle(position));
            self.heed(id);
        }
    }
}
