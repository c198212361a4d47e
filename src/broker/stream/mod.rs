//! Streams: queues that keep what was delivered, so that it can be read again, from any place and by any number of
//! readers.
//!
//! A stream is a queue on a lasting log ([`lasting`](crate::log::lasting)): it has a name, bindings and consumers like any
//! other, but no ring, nothing ready and nothing unacknowledged. Each consumer has a place of its own, and an
//! acknowledgement is credit for one more delivery. Everything that is appended is durable, whatever its publisher says,
//! and is delivered when it is on disk.
//!
//! - this file: what a stream is, and up to where it may be read
//! - [`append`][]: a message as it lies in a stream, with its offset
//! - [`offset`][]: where a consumer wants to begin
//! - [`filter`][]: which messages it wants
//! - [`reader`][]: consumers of streams, and what they are given
//! - [`memory`][]: what of it stays in memory when there is little
//! - [`retention`][]: what goes, and when
//! - [`tracking`][], [`groups`][], [`shares`][]: how far somebody has got, and consumers that share what there is to read
//! - [`partitions`][]: super streams, which are several streams under one name
//! - [`publishers`][]: messages that are published once more and stored once
//! - [`marks`][]: numbers about all that which outlive a restart

pub mod append;
pub mod filter;
pub mod groups;
pub mod marks;
mod memory;
pub mod offset;
pub mod partitions;
pub mod publishers;
pub mod reader;
mod retention;
mod shares;
#[cfg(test)]
mod tests;
pub mod tracking;

use std::collections::VecDeque;
use std::ops::Range;

use amq_protocol::types::FieldTable;

use self::publishers::Publishers;
use self::tracking::Tracking;
use super::commit::Commit;
use super::exchange::arguments::integer;
use super::queue::arguments::Settings;
use super::vhost::Vhost;
use super::{ConsumerId, Name, QueueId};
use crate::log::lasting::Lasting;
use crate::log::{Log, Position};

const FILTER_SIZE: &str = "x-stream-filter-size-bytes";
/// Octets for the filter of a chunk, if nobody says how many.
const FILTER_SIZE_DEFAULT: u8 = 16;

/// What makes a queue a stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// What is before this offset is on disk, or needs not be, and may be read.
    committed: Position,
    /// Where the last commit begins that brought something.
    last_batch: Position,
    /// Up to which offset what was appended belongs to which commit, for those that are not on disk.
    written: VecDeque<(Commit, Position)>,
    /// Consumers that can take something now, for all that is known.
    hungry: VecDeque<ConsumerId>,
    /// Consumers that have read everything.
    at_end: Vec<ConsumerId>,
    /// Consumers whose next message is being read from disk, and where that is.
    waiting: Vec<(Position, ConsumerId)>,
    /// Memory for properties.
    scratch: Vec<u8>,
    /// How many segments there were when retention was last thought of.
    segments: usize,
    /// Whether something is to go as soon as it is on disk.
    held_back: bool,
    pub(super) tracking: Tracking,
    pub(super) publishers: Publishers,
}

/// Numbers by the names of groups or publishers.
pub type Numbers = Vec<(Name, u64)>;

/// What is shown of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The offset of the first message there is, and the one that the next message gets.
    pub first: Position,
    pub next: Position,
    /// What is before it may be read.
    pub committed: Position,
    pub segments: usize,
    /// Octets of its segments.
    pub octets: u64,
    /// Messages that were published once more and dropped.
    pub duplicates: u64,
}

impl Stream {
    /// Its log has been found on disk: all of it may be read.
    pub(super) fn stand_on(&mut self, log: &Log) {
        self.committed = log.next();
        self.last_batch = log.next().saturating_sub(1).max(log.first());
        self.segments = log.segment_count();
    }

    /// What has been appended up to `end` becomes readable with a commit, or at once. Returns whether it is the first to
    /// wait for a commit.
    fn note_append(&mut self, end: Position, commit: Option<Commit>) -> bool {
        let Some(commit) = commit else {
            (self.last_batch, self.committed) = (end - 1, end);
            self.wake_end();
            return false;
        };
        let is_first = self.written.is_empty();
        match self.written.back_mut() {
            Some((last, up_to)) if *last == commit => *up_to = end,
            _ => self.written.push_back((commit, end)),
        }
        is_first
    }

    /// A commit is on disk. Returns whether something has become readable.
    fn note_commit(&mut self, commit: Commit) -> bool {
        let before = self.committed;
        while let Some((_, end)) = self.written.front().copied().filter(|(at, _)| *at <= commit) {
            self.written.pop_front();
            (self.last_batch, self.committed) = (self.committed, end);
        }
        if self.committed > before {
            self.wake_end();
        }
        self.committed > before
    }

    fn wake_end(&mut self) {
        self.hungry.extend(self.at_end.drain(..));
    }

    /// Those who wait for something there go on. Returns whether there are any.
    fn wake_waiting(&mut self, there: Range<Position>) -> bool {
        let before = self.hungry.len();
        let woken = self.waiting.extract_if(.., |(at, _)| there.contains(at));
        self.hungry.extend(woken.map(|(_, id)| id));
        self.hungry.len() > before
    }

    /// Forgets consumers that are gone.
    pub(super) fn forget(&mut self, is_there: impl Fn(ConsumerId) -> bool) {
        self.hungry.retain(|id| is_there(*id));
        self.at_end.retain(|id| is_there(*id));
        self.waiting.retain(|(_, id)| is_there(*id));
    }

    /// Where it begins, and up to where it may be read.
    pub(super) fn ends(&self, log: &Log) -> (Position, Position) {
        (log.first(), self.committed)
    }

    /// How many messages can be read.
    pub(super) fn count(&self, log: &Log) -> usize {
        self.committed.saturating_sub(log.first()) as usize
    }

    pub(super) fn figures(&self, log: &Log) -> Figures {
        Figures {
            first: log.first(),
            next: log.next(),
            committed: self.committed,
            segments: log.segment_count().max(1),
            octets: log.octets(),
            duplicates: self.publishers.dropped,
        }
    }
}

/// How the log of a stream is to be.
pub fn lasting(settings: &Settings, arguments: &FieldTable) -> Lasting {
    let labels =
        arguments.inner().get(FILTER_SIZE).and_then(integer).and_then(|size| u8::try_from(size).ok());
    Lasting {
        segment: settings.max_segment_size,
        labels: labels.unwrap_or(FILTER_SIZE_DEFAULT).max(1),
        labeller: Some(|parts| filter::label(parts.properties)),
    }
}

impl Vhost {
    /// How the log of a queue is to be, if the queue is a stream.
    pub fn lasting(&self, id: QueueId) -> Option<Lasting> {
        let queue = self.queues.get(id).filter(|queue| queue.is_stream())?;
        Some(lasting(&queue.settings, &queue.arguments))
    }

    /// What has been committed of streams can be read.
    pub(super) fn announce_streams(&mut self, commit: Commit) {
        let open = self.commits.current();
        for id in std::mem::take(&mut self.writing_streams) {
            let Some((stream, _)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
                continue;
            };
            let grown = stream.note_commit(commit);
            if !stream.written.is_empty() {
                self.writing_streams.push(id);
            }
            let held_back = grown && stream.held_back;
            stream.publishers.note_commit(commit);
            let marks = stream.publishers.take_kept(stream.committed, open);
            if grown {
                self.due.push(id);
            }
            let again = !marks.is_empty() && self.queues[id].publishers().is_some_and(Publishers::is_dirty);
            self.record_marks(id, marks);
            if again {
                self.keep_soon(id);
            }
            if held_back {
                self.retain_stream(id);
            }
        }
    }

    /// From which offset on the messages of a stream have to be read at the start, if any.
    pub(super) fn to_be_learned(&self, id: QueueId) -> Option<Position> {
        let queue = self.queues.get(id)?;
        queue.publishers().and_then(Publishers::unread)
    }

    /// A stream's log has been recovered.
    pub(super) fn stream_found(&mut self, id: QueueId) {
        if let Some((stream, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) {
            stream.stand_on(log);
            self.retain_stream(id);
        }
    }

    /// All that there is of a stream has been recovered. Where what groups have read is not there any more, since a disk has
    /// lost it, they go on behind what is: their offsets will be those of other messages.
    pub fn groups_found(&mut self, id: QueueId) {
        let Some((stream, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return;
        };
        if stream.tracking.end_at(log.next()) {
            self.keep_soon(id);
        }
    }
}
