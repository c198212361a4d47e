//! The queue behind a delayed exchange: hidden, without consumers, and read in the order in which its messages are due.
//!
//! A record's timestamp is the time at which it is due. So after a restart all that has to be read is the log itself.

use std::ops::Range;

use super::Queue;
use crate::broker::delay::index::{Entry, Index};
use crate::broker::{ExchangeId, Now};
use crate::log::chunk::Data;
use crate::log::record::Record;
use crate::log::{At, Position};
use crate::wire::content::Message;
use crate::wire::properties;

/// Messages that are read from disk ahead of the one whose time has come.
const AHEAD: usize = 32;

/// What makes a queue one of delayed messages.
#[derive(Debug)]
pub struct Delays {
    pub exchange: ExchangeId,
    pub index: Index,
    /// What was found on disk and is not in the index yet.
    unread: Range<Position>,
    /// How many messages wait, be they in the index or not.
    pub waiting: usize,
}

/// What is to be done next for delayed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Something, at this time.
    Later(Now),
    /// Something is read from disk first.
    Wait,
    /// The time of one more record is known.
    Indexed,
    /// The time of this one has come, and it is in memory.
    Due(Entry),
}

impl Delays {
    pub fn new(exchange: ExchangeId) -> Self {
        Self { exchange, index: Index::default(), unread: 0..0, waiting: 0 }
    }

    /// So many messages have been found on disk, all of them before a position.
    pub fn find(&mut self, messages: usize, end: Position) {
        (self.waiting, self.unread) = (messages, 0..end);
    }
}

impl Queue {
    /// Keeps a message until it is due. Returns whether it is to be on disk before its publisher may be told.
    pub(in crate::broker) fn delay(&mut self, due: Now, marks: u8, message: &Message<'_>) -> bool {
        self.storage.used = true;
        let persistent = self.is_kept() && properties::is_persistent(message.properties);
        let (position, kept) = self.lane.log.append_marked(due, persistent, marks, message);
        if let Some(delays) = &mut self.delays {
            delays.index.insert((due, position));
            delays.waiting += 1;
            if delays.unread.is_empty() {
                self.lane.read_to(position);
            }
        }
        kept
    }

    /// What is next. As long as not all records' times are known none of them goes, so that they keep their order.
    pub(in crate::broker) fn next_delayed(&mut self, now: Now) -> Step {
        let Self { lane, delays: Some(delays), .. } = self else { return Step::Nothing };
        let log = &mut lane.log;
        if !delays.unread.is_empty() {
            match log.seek(delays.unread.start) {
                At::OnDisk => return Step::Wait,
                At::Here(position) if position < delays.unread.end => {
                    if let Some(record) = log.get(position) {
                        delays.index.insert((record.timestamp, position));
                    }
                    delays.unread.start = position + 1;
                    lane.read_to(position + 1);
                }
                At::Here(_) | At::End => delays.unread = 0..0,
            }
            return Step::Indexed;
        }
        match delays.index.first() {
            None => Step::Nothing,
            Some((due, _)) if due > now => Step::Later(due),
            Some(entry) if log.fetch(entry.1) => Step::Due(entry),
            Some(entry) => {
                let ahead = delays.index.after(Some(entry)).take(AHEAD).take_while(|(due, _)| *due <= now);
                for (_, position) in ahead {
                    log.fetch(position);
                }
                Step::Wait
            }
        }
    }

    /// Takes a message out of the order. It stays in the log, as an unacknowledged one, and is lent to `take`, unless it
    /// was lost.
    pub(in crate::broker) fn take_delayed<R>(
        &mut self,
        entry: Entry,
        take: impl FnOnce(&Record<'_>) -> R,
    ) -> Option<R> {
        let delays = self.delays.as_mut()?;
        if !delays.index.remove(entry) {
            return None;
        }
        let record = self.lane.get(entry.1)?;
        self.unacked_bytes += record.parts.body.size() as u64;
        let taken = take(&record);
        delays.waiting -= 1;
        self.unacked += 1;
        Some(taken)
    }

    /// Drops a delayed message, and says whether there was such a one.
    pub(in crate::broker) fn drop_delayed(&mut self, entry: Entry) -> bool {
        let Some(delays) = &mut self.delays else { return false };
        if !delays.index.remove(entry) {
            return false;
        }
        delays.waiting -= 1;
        self.lane.settle(entry.1);
        true
    }

    /// Drops all of them, and says how many there were.
    pub(in crate::broker) fn drop_all_delayed(&mut self) -> usize {
        let Some(delays) = &mut self.delays else { return 0 };
        let count = delays.waiting;
        **delays = Delays::new(delays.exchange);
        // That some have gone where they go, and wait for that to be on disk, makes no difference to the log.
        let log = &mut self.lane.log;
        log.settle_all(0..log.next());
        count
    }

    /// What its log has read from disk. Returns how many messages that waited turned out to be lost.
    pub(super) fn delayed_arrive(&mut self, first: Position, data: Data) -> usize {
        let Some(delays) = &mut self.delays else { return 0 };
        let mut lost = 0;
        for position in self.lane.log.arrive(first, data) {
            // What has gone where it goes already is going to be settled.
            if !self.pending_dead.as_ref().is_some_and(|pending| pending.is_written(position)) {
                lost += 1;
                self.lane.log.forget(position);
            }
        }
        delays.waiting = delays.waiting.saturating_sub(lost);
        lost
    }
}
