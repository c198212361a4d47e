//! Queues: a log, a position up to which it has been read, and consumers that take turns.
//!
//! What comes in are messages to keep and consumers that want some; what goes out are deliveries, through
//! [`Effects`](super::effects::Effects). This folder may not know exchanges but for the bindings it takes away.
//!
//! - this file: what a queue is, and which message is the next
//! - [`arguments`][]: the x-arguments, checked and typed
//! - [`declare`][]: declaring, purging, deleting
//! - [`consumer`][]: consuming and cancelling
//! - [`ring`][]: whose turn it is
//! - [`dispatch`][]: messages to consumers, one turn each

pub mod arguments;
pub mod consumer;
pub mod declare;
pub mod dispatch;
pub mod ring;

use std::collections::{BTreeSet, HashSet};

use amq_protocol::types::FieldTable;

use self::arguments::Settings;
pub use self::consumer::Consumer;
use self::ring::Ring;
use super::{BindingId, ConnectionId, ConsumerId, Name};
use crate::log::{Log, Position};

#[derive(Debug)]
pub struct Queue {
    pub name: Name,
    pub durable: bool,
    /// The connection whose own it is, if it is exclusive.
    pub owner: Option<ConnectionId>,
    pub auto_delete: bool,
    /// As they were declared.
    pub arguments: FieldTable,
    pub settings: Settings,
    pub(super) bindings: HashSet<BindingId, foldhash::fast::RandomState>,
    log: Log,
    /// What is before this position has been delivered at least once; the rest is ready.
    read: Position,
    /// Delivered once and ready again. These go first, in their old order.
    requeued: BTreeSet<Position>,
    unacked: usize,
    /// Octets of the bodies of ready messages, and of unacknowledged ones.
    ready_bytes: u64,
    pub(super) consumers: Vec<ConsumerId>,
    pub(super) ring: Ring,
    pub(super) exclusive_consumer: bool,
    /// The connections whose `basic.get` waits for a message to be read from disk.
    pub(super) fetchers: Vec<ConnectionId>,
    /// How many messages are in memory, if not all are.
    #[cfg(test)]
    pub(super) warm: Option<usize>,
}

/// The next message of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub position: Position,
    pub redelivered: bool,
}

impl Queue {
    pub fn new(name: Name, durable: bool, owner: Option<ConnectionId>, auto_delete: bool) -> Self {
        Self {
            name,
            durable,
            owner,
            auto_delete,
            arguments: FieldTable::default(),
            settings: Settings::default(),
            bindings: HashSet::default(),
            log: Log::default(),
            read: 0,
            requeued: BTreeSet::new(),
            unacked: 0,
            ready_bytes: 0,
            consumers: Vec::new(),
            ring: Ring::default(),
            exclusive_consumer: false,
            fetchers: Vec::new(),
            #[cfg(test)]
            warm: None,
        }
    }

    /// Messages that wait for a consumer.
    pub fn ready(&self) -> usize {
        (self.log.next() - self.read) as usize + self.requeued.len()
    }

    pub fn is_empty(&self) -> bool {
        self.log.next() == self.read && self.requeued.is_empty()
    }

    /// Messages delivered and not acknowledged.
    pub fn unacked(&self) -> usize {
        self.unacked
    }

    /// Octets of the bodies of ready messages.
    pub fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Keeps a message that nobody takes now. `now` is in milliseconds since 1970.
    pub(super) fn push(&mut self, now: u64, message: &crate::wire::content::Message<'_>) -> Position {
        self.ready_bytes += message.body.size() as u64;
        self.log.append(now, message)
    }

    /// Takes the next ready message. It is unacknowledged until it is settled or put back.
    pub(super) fn take_next(&mut self) -> Option<Next> {
        let next = if let Some(position) = self.requeued.pop_first() {
            Next { position, redelivered: true }
        } else if self.read < self.log.next() {
            self.read += 1;
            Next { position: self.read - 1, redelivered: false }
        } else {
            return None;
        };
        self.unacked += 1;
        self.ready_bytes -= self.size(next.position);
        Some(next)
    }

    /// Makes an unacknowledged message ready again, at its old place.
    pub(super) fn put_back(&mut self, position: Position) {
        self.unacked -= 1;
        self.ready_bytes += self.size(position);
        self.requeued.insert(position);
    }

    /// An unacknowledged message is done with.
    pub(super) fn settle(&mut self, position: Position) {
        self.unacked -= 1;
        self.log.settle(position);
    }

    /// Drops every ready message and says how many there were.
    pub(super) fn purge(&mut self) -> usize {
        let count = self.ready();
        for position in std::mem::take(&mut self.requeued) {
            self.log.settle(position);
        }
        self.log.settle_all(self.read..self.log.next());
        self.read = self.log.next();
        self.ready_bytes = 0;
        count
    }

    fn size(&self, position: Position) -> u64 {
        self.log.get(position).map_or(0, |record| record.parts.body.size() as u64)
    }
}
