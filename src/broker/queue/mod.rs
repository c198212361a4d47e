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
//! - [`pace`][]: publishers at the pace of consumers
//! - [`expiry`][]: messages that expire, and queues that nobody uses
//! - [`delayed`][]: the queue behind a delayed exchange
//! - [`limit`][]: how much a queue holds
//! - [`replies`][]: direct reply-to
//! - [`returns`][]: how often messages have come back
//! - [`put_off`][]: messages that have come back and wait

pub mod arguments;
pub mod consumer;
pub mod declare;
pub mod delayed;
pub mod dispatch;
pub mod expiry;
mod limit;
pub mod pace;
mod put_off;
pub mod replies;
mod returns;
pub mod ring;

use std::collections::{BTreeSet, HashSet, VecDeque};

use amq_protocol::types::FieldTable;

use self::arguments::{QueueType, Settings};
pub use self::consumer::Consumer;
use self::delayed::Delays;
use self::put_off::PutOff;
use self::returns::Returns;
use self::ring::Ring;
use super::dead_letter::safe::Pending;
use super::dead_letter::{Dying, REDELIVERED};
use super::timers::Alarms;
use super::{BindingId, ConnectionId, ConsumerId, Name, Now};
use crate::log::{At, Calls, Log, LogId, Position};
use crate::wire::content::Message;
use crate::wire::properties;

#[derive(Debug)]
pub struct Queue {
    pub name: Name,
    pub durable: bool,
    /// The connection whose own it is, if it is exclusive.
    pub owner: Option<ConnectionId>,
    pub auto_delete: bool,
    /// Nobody can see it or use it by its name, but for publishing.
    pub hidden: bool,
    /// As they were declared.
    pub arguments: FieldTable,
    pub settings: Settings,
    pub(super) bindings: HashSet<BindingId, foldhash::fast::RandomState>,
    log: Log,
    /// What is before this position has been delivered at least once; the rest is ready.
    read: Position,
    /// How many messages that is.
    unread: usize,
    /// What is before this position may have been delivered before the node was started.
    delivered: Position,
    /// Delivered once and ready again. These go first, in their old order.
    requeued: BTreeSet<Position>,
    unacked: usize,
    /// Octets of the bodies of ready messages, and of unacknowledged ones.
    ready_bytes: u64,
    pub(super) consumers: Vec<ConsumerId>,
    pub(super) ring: Ring,
    pub(super) exclusive_consumer: bool,
    /// What its vhost keeps in mind of its log.
    pub(in crate::broker) storage: Noted,
    /// The connections whose `basic.get` waits for a message to be read from disk.
    pub(super) fetchers: Vec<ConnectionId>,
    /// The connections that publish here and wait until consumers have caught up.
    paced: Vec<ConnectionId>,
    /// Whether there may be messages that expire.
    pub(super) expiring: bool,
    /// When it was used last, where that counts.
    pub(super) used_at: Now,
    pub(in crate::broker) alarms: Alarms,
    /// Messages that have died and are still in the log, as unacknowledged ones.
    pub(in crate::broker) dying: VecDeque<Dying>,
    /// Those of them that have to be kept until they are safe elsewhere.
    pub(in crate::broker) pending_dead: Pending,
    returns: Returns,
    /// Messages that have come back and wait until they are ready again.
    put_off: PutOff,
    /// What it keeps in mind if it is the queue behind a delayed exchange.
    pub(in crate::broker) delays: Option<Box<Delays>>,
    /// Whether a quorum queue refuses messages since it was full.
    refusing: bool,
    /// How many messages are in memory, if not all are.
    #[cfg(test)]
    pub(super) warm: Option<usize>,
}

/// What a vhost keeps in mind of a queue's log (`broker/storage`).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::broker) struct Noted {
    /// It is among those to be gathered from.
    pub dirty: bool,
    /// It is among those that take memory.
    pub resident: bool,
    /// Somebody has put something in or taken something out lately.
    pub used: bool,
}

/// The next message of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub position: Position,
    pub redelivered: bool,
    /// Octets of its body.
    pub size: u32,
}

/// What a queue gives whoever asks for the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Next(Next),
    /// It is on disk, and has been asked for; [`Vhost::arrive`](super::Vhost::arrive) is going to bring it.
    Wait,
    Nothing,
}

impl Queue {
    /// An empty queue on an empty log.
    pub fn new(name: Name, durable: bool, owner: Option<ConnectionId>, auto_delete: bool, log: Log) -> Self {
        Self {
            name,
            durable,
            owner,
            auto_delete,
            hidden: false,
            arguments: FieldTable::default(),
            settings: Settings::default(),
            bindings: HashSet::default(),
            log,
            read: 0,
            unread: 0,
            delivered: 0,
            requeued: BTreeSet::new(),
            unacked: 0,
            ready_bytes: 0,
            consumers: Vec::new(),
            ring: Ring::default(),
            exclusive_consumer: false,
            storage: Noted::default(),
            fetchers: Vec::new(),
            paced: Vec::new(),
            expiring: false,
            used_at: 0,
            alarms: Alarms::default(),
            dying: VecDeque::new(),
            pending_dead: Pending::default(),
            returns: Returns::default(),
            put_off: PutOff::new(),
            delays: None,
            refusing: false,
            #[cfg(test)]
            warm: None,
        }
    }

    /// Puts the queue on a log that has been found on disk. All its messages are ready; those before the position
    /// `delivered` may have been delivered before.
    pub(in crate::broker) fn stand_on(&mut self, log: Log, messages: usize, bytes: u64, delivered: Position) {
        let end = log.next();
        self.log = log;
        if let Some(delays) = &mut self.delays {
            return delays.find(messages, end);
        }
        (self.unread, self.ready_bytes, self.delivered) = (messages, bytes, delivered);
        // Nobody knows before they are read.
        self.expiring = messages > 0;
    }

    /// Messages that wait for a consumer.
    pub fn ready(&self) -> usize {
        self.unread + self.requeued.len()
    }

    pub fn is_empty(&self) -> bool {
        self.unread == 0 && self.requeued.is_empty()
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

    /// The number of its log; 0 if it is not kept on disk.
    pub fn log_id(&self) -> LogId {
        self.log.id().unwrap_or_default()
    }

    pub(in crate::broker) fn log(&self) -> &Log {
        &self.log
    }

    pub(in crate::broker) fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    pub(in crate::broker) fn into_log(self) -> Log {
        self.log
    }

    /// Keeps a message that nobody takes now. `now` is in milliseconds since 1970, `marks` are those of
    /// [`dead_letter`](super::dead_letter). Returns whether it is to be on disk
    /// before its publisher may be told.
    pub(super) fn push(&mut self, now: Now, marks: u8, message: &Message<'_>) -> bool {
        self.ready_bytes += message.body.size() as u64;
        self.unread += 1;
        self.storage.used = true;
        self.note_expiring(message);
        // Only classic queues make a difference.
        let persistent = self.log.is_durable()
            && (self.settings.queue_type != QueueType::Classic
                || properties::is_persistent(message.properties));
        self.log.append_marked(now, persistent, marks, message).1
    }

    /// Takes the next ready message. It is unacknowledged until it is settled or put back.
    pub(super) fn take_next(&mut self) -> Taken {
        let (position, redelivered) = match self.advance() {
            Ok(found) => found,
            Err(other) => return other,
        };
        Taken::Next(self.taken(position, redelivered))
    }

    /// What has just been taken.
    fn taken(&mut self, position: Position, redelivered: bool) -> Next {
        let record = self.log.get(position);
        let size = record.map_or(0, |record| record.parts.body.size()) as u32;
        let redelivered = redelivered || record.is_some_and(|record| record.marks & REDELIVERED != 0);
        self.ready_bytes -= u64::from(size);
        Next { position, redelivered, size }
    }

    pub(in crate::broker) fn lane_count(&self) -> usize {
        1
    }

    /// The first ready message of a lane; if it is on disk it is asked for.
    pub(super) fn head_of(&mut self, _lane: usize) -> At {
        match self.requeued.first().copied() {
            Some(position) if self.log.fetch(position) => At::Here(position),
            Some(_) => At::OnDisk,
            None if self.unread > 0 => self.log.seek(self.read),
            None => At::End,
        }
    }

    /// Takes the first ready message of a lane, if it is in memory.
    pub(super) fn take_of(&mut self, _lane: usize) -> Option<Next> {
        match self.take_next() {
            Taken::Next(next) => Some(next),
            _ => None,
        }
    }

    /// The same, with the message for `take` to look at.
    pub(super) fn take_next_with<R>(
        &mut self,
        take: impl FnOnce(&Next, &Message<'_>) -> R,
    ) -> Option<(Next, R)> {
        let (position, redelivered) = self.advance().ok()?;
        let Some(record) = self.log.get(position) else {
            debug_assert!(false, "what is next is in memory");
            self.unacked -= 1;
            return None;
        };
        let redelivered = redelivered || record.marks & REDELIVERED != 0;
        let next = Next { position, redelivered, size: record.parts.body.size() as u32 };
        self.ready_bytes -= u64::from(next.size);
        Some((next, self.shown(position, &record, |message| take(&next, message))))
    }

    /// Goes on to the next ready message, which is unacknowledged then, or says why not.
    fn advance(&mut self) -> Result<(Position, bool), Taken> {
        self.storage.used = true;
        let (position, redelivered) = if let Some(position) = self.requeued.first().copied() {
            if !self.log.fetch(position) {
                return Err(Taken::Wait);
            }
            self.requeued.pop_first();
            (position, true)
        } else if self.unread > 0 {
            match self.log.seek(self.read) {
                At::Here(position) => {
                    self.read = position + 1;
                    self.unread -= 1;
                    self.log.note_delivered(position);
                    (position, position < self.delivered)
                }
                At::OnDisk => return Err(Taken::Wait),
                At::End => return Err(Taken::Nothing),
            }
        } else {
            return Err(Taken::Nothing);
        };
        self.unacked += 1;
        Ok((position, redelivered))
    }

    /// Makes an unacknowledged message ready again, at its old place. `size` is that of its body in octets.
    pub(super) fn put_back(&mut self, position: Position, size: u32) {
        self.unacked -= 1;
        self.ready_bytes += u64::from(size);
        self.requeued.insert(position);
    }

    /// An unacknowledged message is done with.
    pub(in crate::broker) fn settle(&mut self, position: Position) {
        self.unacked -= 1;
        self.forget_returns(position);
        self.log.settle(position);
    }

    /// Drops every ready message and says how many there were.
    pub(super) fn purge(&mut self) -> usize {
        let count = self.ready() + self.drop_put_off();
        for position in std::mem::take(&mut self.requeued) {
            self.log.settle(position);
        }
        self.log.settle_all(self.read..self.log.next());
        self.read = self.log.next();
        (self.unread, self.ready_bytes) = (0, 0);
        count
    }

    /// What its log has read from disk. Returns how many ready messages turned out to be lost.
    pub(in crate::broker) fn arrive(&mut self, first: Position, data: crate::log::chunk::Data) -> usize {
        let missing = self.log.arrive(first, data);
        if self.delays.is_some() {
            return self.lose_delayed(&missing);
        }
        let mut lost = 0;
        for position in missing {
            if self.requeued.remove(&position) || self.lose_put_off(position) {
                lost += 1;
            } else if position >= self.read {
                self.unread -= 1;
                lost += 1;
            } else {
                // Somebody has it: its settlement is going to come.
                continue;
            }
            self.log.forget(position);
        }
        if self.is_empty() {
            self.ready_bytes = 0;
        }
        lost
    }

    /// Whether its vhost has to heed it.
    pub(in crate::broker) fn asks(&self) -> bool {
        !self.storage.resident || self.log.asks()
    }

    /// What its log asks for.
    pub(in crate::broker) fn take_calls(&mut self) -> Option<Calls> {
        self.log.take_calls()
    }

    /// Says on disk exactly what has been delivered.
    pub(in crate::broker) fn note_stop(&mut self) {
        let delivered = self.read.max(self.delivered);
        self.log.note_stop(delivered);
    }

    /// Up to where it has been read.
    pub(in crate::broker) fn read_position(&self) -> Position {
        self.delays.as_ref().map_or(self.read, |delays| delays.cursor(self.log.next()))
    }
}
