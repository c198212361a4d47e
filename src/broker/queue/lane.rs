//! A lane: the messages of one priority, in order.
//!
//! Nearly every queue has one. A queue with priorities has a lane for each that has been used, and each lane a log of its
//! own, so that a long queue with priorities takes no more memory than one without. In a position the upper 8 bits say
//! which lane it is in; in the number of a log they say which lane's it is. The lane that every queue has is number 0.

use std::collections::BTreeSet;

use super::Missing;
use crate::log::record::Record;
use crate::log::{At, Log, LogId, Position};

/// Bits of a position, or of a log's number, within its lane.
const BITS: u32 = 56;
const INSIDE: Position = (1 << BITS) - 1;

/// The number of the lane a position is in.
pub fn lane_of(position: Position) -> u8 {
    (position >> BITS) as u8
}

/// A position within its lane.
pub fn inside(position: Position) -> Position {
    position & INSIDE
}

/// The number of the log of a queue's lane.
pub fn log_of(queue: LogId, lane: u8) -> LogId {
    LogId(queue.0 & INSIDE | u64::from(lane) << BITS)
}

/// The number of the log of the lane that every queue has, and which lane's a log is.
pub fn queue_of(log: LogId) -> (LogId, u8) {
    (LogId(log.0 & INSIDE), lane_of(log.0))
}

#[derive(Debug)]
pub(in crate::broker) struct Lane {
    pub number: u8,
    /// Higher ones go first.
    pub priority: u8,
    pub log: Log,
    /// What is before this position has been delivered at least once; the rest is ready.
    read: Position,
    /// How many messages that is.
    unread: usize,
    /// What is before this position may have been delivered before the node was started.
    delivered: Position,
    /// Delivered once and ready again. These go first, in their old order.
    requeued: BTreeSet<Position>,
}

impl Lane {
    pub fn new(number: u8, priority: u8, log: Log) -> Self {
        Self { number, priority, log, read: 0, unread: 0, delivered: 0, requeued: BTreeSet::new() }
    }

    /// Puts it on a log that has been found on disk with so many messages.
    pub fn stand_on(&mut self, log: Log, messages: usize, delivered: Position) {
        (self.log, self.unread, self.delivered) = (log, messages, delivered);
    }

    /// A position of this lane as the rest of the world knows it.
    pub fn outside(&self, position: Position) -> Position {
        position | Position::from(self.number) << BITS
    }

    /// Whether a message that is in its log is ready.
    pub fn is_ready(&self, position: Position) -> bool {
        let position = inside(position);
        position >= self.read || self.requeued.contains(&position)
    }

    /// How many messages are ready.
    pub fn ready(&self) -> usize {
        self.unread + self.requeued.len()
    }

    /// The first ready message, if it is in memory where it is looked for first.
    pub fn peek(&self) -> Option<Record<'_>> {
        self.log.get(self.requeued.first().copied().unwrap_or(self.read))
    }

    pub fn is_empty(&self) -> bool {
        self.unread == 0 && self.requeued.is_empty()
    }

    /// A message has been appended to its log.
    pub fn note_push(&mut self) {
        self.unread += 1;
    }

    #[inline]
    pub fn get(&self, position: Position) -> Option<Record<'_>> {
        self.log.get(inside(position))
    }

    /// The first ready message; if it is on disk it is asked for.
    pub fn head(&mut self) -> At {
        match self.requeued.first().copied() {
            Some(position) if self.log.fetch(position) => At::Here(self.outside(position)),
            Some(_) => At::OnDisk,
            None if self.unread > 0 => match self.log.seek(self.read) {
                At::Here(position) => At::Here(self.outside(position)),
                other => other,
            },
            None => At::End,
        }
    }

    /// Goes on to the next ready message, and says whether it has been delivered before; or says why not.
    #[inline]
    pub fn advance(&mut self) -> Result<(Position, bool), Missing> {
        if let Some(position) = self.requeued.first().copied() {
            if !self.log.fetch(position) {
                return Err(Missing::Wait);
            }
            self.requeued.pop_first();
            return Ok((self.outside(position), true));
        }
        if self.unread == 0 {
            return Err(Missing::Nothing);
        }
        match self.log.seek(self.read) {
            At::Here(position) => {
                self.read = position + 1;
                self.unread -= 1;
                self.log.note_delivered(position);
                Ok((self.outside(position), position < self.delivered))
            }
            At::OnDisk => Err(Missing::Wait),
            At::End => Err(Missing::Nothing),
        }
    }

    /// Drops a message that is ready, if its queue does not know otherwise, and removable.
    pub fn drop_at(&mut self, position: Position) {
        let position = inside(position);
        if position >= self.read {
            self.unread -= 1;
            return self.log.take_out(position);
        }
        self.requeued.remove(&position);
        self.log.settle(position);
    }

    /// A message is ready again, at its old place.
    pub fn put_back(&mut self, position: Position) {
        self.requeued.insert(inside(position));
    }

    #[inline]
    pub fn settle(&mut self, position: Position) {
        self.log.settle(inside(position));
    }

    /// Drops every ready message.
    pub fn purge(&mut self) {
        for position in std::mem::take(&mut self.requeued) {
            self.log.settle(position);
        }
        self.log.settle_all(self.read..self.log.next());
        self.read = self.log.next();
        self.unread = 0;
    }

    /// What its log has read from disk. `returned` says whether a message that is not ready by this lane's account is so
    /// by the queue's, and forgets it. Returns the ready messages that turned out to be lost.
    pub fn arrive(
        &mut self,
        first: Position,
        data: crate::log::chunk::Data,
        mut returned: impl FnMut(Position) -> bool,
    ) -> Vec<Position> {
        let mut lost = Vec::new();
        for position in self.log.arrive(inside(first), data) {
            if self.requeued.remove(&position) || returned(self.outside(position)) {
                // It waited to be delivered once more.
            } else if position >= self.read {
                self.unread -= 1;
            } else {
                // Somebody has it: its settlement is going to come.
                continue;
            }
            lost.push(self.outside(position));
            self.log.forget(position);
        }
        lost
    }

    /// Says on disk exactly what has been delivered.
    pub fn note_stop(&mut self) {
        let delivered = self.read.max(self.delivered);
        self.log.note_stop(delivered);
    }

    /// It is read up to here, by somebody who looks after its messages without its help.
    pub fn read_to(&mut self, position: Position) {
        self.read = position;
    }

    /// Up to where it has been read.
    pub fn read_position(&self) -> Position {
        self.read
    }
}
