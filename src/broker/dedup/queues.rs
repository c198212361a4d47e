//! Queues that take each key once.
//!
//! A duplicate is done with where it would have been kept, and its publisher is told when the first one is on disk.

use std::ops::Range;

use super::key::Key;
use super::ledger::entry;
use super::{Filter, Known, own_ttl};
use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::broker::{Now, QueueId};
use crate::log::Position;
use crate::wire::content::Message;

/// What a queue makes of a message that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nobody asks for its key, or it has none.
    Plain,
    New(Key),
    Duplicate,
}

impl Filter {
    fn look_at(&mut self, message: &Message<'_>, now: Now) -> Seen {
        let Some(key) = self.key(message) else { return Seen::Plain };
        let is_known = match &self.known {
            Known::Held(keys) => keys.contains(key, now),
            Known::Last(cache) => cache.contains(key, now),
        };
        self.duplicates += u64::from(is_known);
        if is_known { Seen::Duplicate } else { Seen::New(key) }
    }

    /// Messages have left a queue.
    fn forget(&mut self, position: Position) {
        if let Known::Held(keys) = &mut self.known {
            keys.remove(position);
        }
    }
}

impl Queue {
    /// Looks whether a message is a duplicate.
    pub(in crate::broker) fn look_at(&mut self, message: &Message<'_>, now: Now) -> Seen {
        self.filter.as_mut().map_or(Seen::Plain, |filter| filter.look_at(message, now))
    }

    /// How many duplicates it has dropped, if it does that.
    pub fn duplicates(&self) -> Option<u64> {
        self.filter.as_ref().map(|filter| filter.duplicates)
    }

    /// A message has left the queue.
    pub(in crate::broker) fn forget_key(&mut self, position: Position) {
        if let Some(filter) = &mut self.filter {
            filter.forget(position);
        }
    }

    /// All ready messages are about to leave the queue.
    pub(in crate::broker) fn forget_ready_keys(&mut self) {
        let Some(mut filter) = self.filter.take() else { return };
        if let Known::Held(keys) = &mut filter.known {
            keys.retain(|position| self.lane_at(position).is_some_and(|lane| !lane.is_ready(position)));
        }
        self.filter = Some(filter);
    }
}

impl Vhost {
    /// A duplicate has come to a queue. Returns whether its publisher has to wait until the first one is on disk.
    pub(in crate::broker) fn drop_duplicate(&mut self, id: QueueId) -> bool {
        let waits = self.queues.get(id).is_some_and(|queue| queue.is_kept());
        if waits {
            self.commits.wait_for_current();
        }
        waits
    }

    /// A queue has taken a message with a new key, and has it at a position, unless it is gone already.
    pub(in crate::broker) fn note_key(
        &mut self,
        id: QueueId,
        key: Key,
        position: Option<Position>,
        message: &Message<'_>,
        now: Now,
    ) {
        let Some(mut filter) = self.queues.get_mut(id).and_then(|queue| queue.filter.take()) else { return };
        match (&mut filter.known, position) {
            (Known::Held(keys), Some(position)) => keys.hold(key, position),
            (Known::Held(_), None) => {}
            (Known::Last(cache), _) => {
                self.enter(cache, key, own_ttl(message), now);
            }
        }
        if let Some(queue) = self.queues.get_mut(id) {
            queue.filter = Some(filter);
        }
    }

    /// Whether what a queue holds on disk has to be read before anybody publishes to it.
    pub fn is_to_be_read(&self, id: QueueId) -> bool {
        self.queues.get(id).is_some_and(|queue| {
            let holds_keys = |filter: &Filter| matches!(filter.known, Known::Held(_));
            queue.ledger_of.is_some()
                || self.to_be_learned(id).is_some()
                || queue.filter.as_deref().is_some_and(holds_keys)
        })
    }

    /// Learns the publishers of some of a stream's messages.
    fn learn_publishers(
        &mut self,
        id: QueueId,
        from: Position,
        run: Range<Position>,
        data: &crate::log::chunk::Data,
    ) {
        let Some((stream, _)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return;
        };
        for (index, position) in run.enumerate().filter(|(_, position)| *position >= from) {
            if let Some(record) = data.get(index) {
                stream.publishers.learn(position, &record);
            }
        }
    }

    /// Learns the keys in some of a queue's records, which have been read from disk at the start.
    pub fn learn(&mut self, id: QueueId, run: Range<Position>, data: &crate::log::chunk::Data) {
        if let Some(from) = self.to_be_learned(id) {
            return self.learn_publishers(id, from, run, data);
        }
        let Some(queue) = self.queues.get_mut(id) else { return };
        let records =
            run.enumerate().filter_map(|(index, position)| data.get(index).map(|record| (position, record)));
        if let Some(owner) = queue.ledger_of.clone() {
            let entries = records.filter_map(|(position, record)| entry(position, &record)).collect();
            self.learn_entries(id, &owner, entries);
            return;
        }
        let Some(filter) = &mut queue.filter else { return };
        for (position, record) in records {
            let key = filter.key(&record.parts);
            if let (Some(key), Known::Held(keys)) = (key, &mut filter.known) {
                keys.hold(key, position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::definitions::tests::Nobody;
    use crate::broker::exchange::{self, Kind};
    use crate::broker::publish::Outcome;
    use crate::broker::queue::declare::Declaration;
    use crate::log::batch::Batch;
    use crate::wire::content::Body;
    use amq_protocol::types::{AMQPValue, FieldTable};

    /// A persistent message with a key.
    const PROPERTIES: &[u8] = b"\x30\0\0\0\0\x19\x16x-deduplication-headert\x01\x02";

    fn publish(vhost: &mut Vhost, exchange: &str, routing_key: &str) -> Outcome {
        let (exchange, routing_key) = (exchange.as_bytes(), routing_key.as_bytes());
        let message = Message { exchange, routing_key, properties: PROPERTIES, body: Body::Inline(b"body") };
        let targets = vhost.route(&message).targets;
        vhost.publish(&targets, &message, 0, &mut Nobody)
    }

    fn declare(vhost: &mut Vhost, name: &str, arguments: FieldTable) {
        let (durable, exclusive, auto_delete) = (true, false, false);
        let (name, creator) = (name.into(), None);
        let declaration = Declaration { name, durable, exclusive, auto_delete, arguments, creator };
        vhost.declare_queue(None, declaration).expect("a queue");
    }

    /// A vhost on disk with a queue and an exchange, everything written.
    fn kept() -> Vhost {
        let mut vhost = Vhost::new("v");
        vhost.keep(std::sync::Arc::default());
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-deduplication".into(), AMQPValue::Boolean(true));
        declare(&mut vhost, "q", arguments.clone());
        declare(&mut vhost, "other", FieldTable::default());
        let (name, kind, durable, auto_delete, internal) = ("x".into(), Kind::Fanout, true, false, false);
        let creator = None;
        let wanted =
            exchange::declare::Declaration { name, kind, durable, auto_delete, internal, arguments, creator };
        vhost.declare_exchange(wanted).expect("an exchange");
        vhost
    }

    fn write(vhost: &mut Vhost) -> u64 {
        let (commit, _) = vhost.gather(true, &mut Batch::default());
        vhost.announce(commit);
        commit
    }

    #[test]
    fn a_duplicate_waits_for_the_commit_of_the_first_one() {
        let mut vhost = kept();
        let end = crate::broker::exchange::Destination::Queue(vhost.queue_names[&b"other"[..]]);
        let source = vhost.exchange_names[&b"x"[..]];
        let arguments = FieldTable::default();
        let routing_key = Box::default();
        vhost.insert_binding(exchange::Binding { source, destination: end, routing_key, arguments });
        for (exchange, routing_key) in [("", "q"), ("x", "")] {
            let first = publish(&mut vhost, exchange, routing_key);
            assert_eq!(publish(&mut vhost, exchange, routing_key), first);
            assert_eq!(first, Outcome::Kept(write(&mut vhost)));
            while vhost.calls().gather {
                write(&mut vhost);
            }
            // Nothing is to be written for it, and nevertheless there is a commit.
            let again = publish(&mut vhost, exchange, routing_key);
            assert!(vhost.calls().gather && vhost.calls().urgent, "nobody is called for it");
            assert_eq!(again, Outcome::Kept(write(&mut vhost)));
            assert!(!vhost.calls().urgent);
        }
        assert_eq!(vhost.queue(b"other").map(Queue::ready), Some(1));
        assert_eq!(vhost.queue(b"q").and_then(Queue::duplicates), Some(2));
    }

    #[test]
    fn caches_go_with_what_they_are_for() {
        let mut vhost = kept();
        assert_eq!((vhost.queues().count(), vhost.kept_queues().len()), (2, 3));
        vhost.delete_exchange(b"x", false).expect("deleted");
        assert_eq!(vhost.kept_queues().len(), 2);
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-deduplication".into(), AMQPValue::Boolean(true));
        arguments.insert("x-cache-ttl".into(), AMQPValue::LongInt(1000));
        declare(&mut vhost, "cached", arguments);
        assert_eq!(vhost.kept_queues().len(), 4);
        publish(&mut vhost, "", "cached");
        vhost.delete_queue(None, b"cached", false, false, &mut Nobody).expect("deleted");
        assert_eq!(vhost.kept_queues().len(), 2);
    }
}
