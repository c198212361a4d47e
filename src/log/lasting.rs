//! Lasting logs: nobody settles their records. They are read from any place by any number of readers, found by their
//! timestamps and their labels, and go by whole segments, the oldest first, when there are too many or they are too old.
//!
//! Positions are dense: each record's is one more than that of the record before it, also after a restart, unless
//! something was lost. Timestamps never decrease, unless the clock is set back by more than some minutes.

use std::ops::Range;

use super::chunk::Chunk;
use super::labels::{Labels, Wanted};
use super::record::{Parts, Record};
use super::resident::{AHEAD, AHEAD_OCTETS};
use super::segment::Segment;
use super::{Log, Position};

/// The largest size of a segment, in octets: at a restart the last one is read in one piece.
const SEGMENT_MAX: u64 = 256 << 20;
/// The smallest one.
const SEGMENT_MIN: u64 = 1024;
/// A segment is so many times as large as others, if nobody says how large.
const USUAL: u64 = 4;
/// However small segments are to be, there are not many more of them than this: they grow with their log instead, up to the
/// usual size.
const SEGMENTS_MANY: u64 = 1024;
/// A chunk that is passed over costs as much as so many records that are looked at.
const SKIP: usize = 8;
/// Who reads ahead passes over at most so many chunks for each that is asked for.
const FAR: usize = 64;

/// What a record is labelled with, as whoever appends it says: told from what lies on disk.
pub type Labeller = fn(&Parts<'_>) -> Option<u64>;

/// What makes a log a lasting one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lasting {
    /// Octets of a segment, if not the usual number. At least one chunk is in each.
    pub segment: Option<u64>,
    /// Octets for the labels of a chunk, 1 to 255.
    pub labels: u8,
    /// So that labels are known of what is found without an index.
    pub labeller: Option<Labeller>,
}

/// Milliseconds by which the clock may go back without the timestamps doing so.
const BACK_MAX: u64 = 10 * 60 * 1000;
/// Segments that are dropped at once.
const DROPPED_MAX: usize = 16;

/// How much of a log stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Octets of its segments.
    pub max_octets: Option<u64>,
    /// Segments whose last record is older go, in milliseconds since 1970.
    pub since: Option<u64>,
    /// The time now. What bears a later one is as old as what came after it.
    pub now: u64,
    /// What is before this position is on disk. A segment goes only if the next one begins before it, and so is a file
    /// there for certain: positions are known by files alone.
    pub before: Position,
}

/// What [`Log::retain`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retained {
    #[default]
    Done,
    /// A segment stays for its position only.
    HeldBack,
    /// There are more to be dropped.
    More,
}

/// What was found by [`Log::find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record, in memory.
    Here(Position),
    /// It is on disk, from this position on, and has been asked for.
    OnDisk(Position),
    /// Nothing up to this position, and others have their turn.
    Nothing(Position),
    End,
}

/// Records in memory that follow one another.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a>(&'a Chunk);

impl<'a> Run<'a> {
    /// A record, unless it could not be read.
    #[inline]
    pub fn get(&self, position: Position) -> Option<Record<'a>> {
        self.0.get(position)
    }

    pub fn first(&self) -> Position {
        self.0.first
    }

    /// The position after the last one.
    pub fn end(&self) -> Position {
        self.0.end
    }
}

impl Log {
    /// Makes a lasting log of one that is empty, or says how large its next segments are.
    pub fn make_lasting(&mut self, lasting: Lasting) {
        self.lasting = Some(lasting);
        self.size_segment();
    }

    /// Says how large the next segment is to be, and its chunks.
    pub(super) fn size_segment(&mut self) {
        let Some(lasting) = self.lasting else { return };
        let usual = self.budget.sizes;
        let wanted = lasting.segment.unwrap_or(usual.segment * USUAL).clamp(SEGMENT_MIN, SEGMENT_MAX);
        let least = (self.octets() / SEGMENTS_MANY).min(usual.segment * USUAL);
        self.sizes.segment = wanted.max(least);
        // So that several fit, where segments are small.
        self.sizes.chunk = usual.chunk.min((self.sizes.segment as usize / 4).max(SEGMENT_MIN as usize));
    }

    pub fn is_lasting(&self) -> bool {
        self.lasting.is_some()
    }

    /// Appends a record to a lasting log. Its timestamp is that of the record before it if it were a little less. Returns as
    /// [`append`](Self::append) does.
    pub fn append_lasting(
        &mut self,
        timestamp: u64,
        marks: u8,
        label: Option<u64>,
        parts: &Parts<'_>,
    ) -> (Position, bool) {
        // A clock that was far ahead is not followed for years.
        let latest = Some(self.latest()).filter(|latest| *latest <= timestamp.saturating_add(BACK_MAX));
        let timestamp = timestamp.max(latest.unwrap_or_default());
        let (position, persistent) = self.append_marked(timestamp, true, marks, parts);
        if !persistent {
            if let Some(segment) = self.segments.back_mut() {
                segment.appended += super::record::weight(parts) as u64;
            }
        }
        let size = self.lasting.map_or(1, |lasting| lasting.labels);
        if let Some(chunk) = self.chunks.back_mut() {
            // What was begun without labels, as far as is known, stays so.
            if position == chunk.first || chunk.labels.is_some() {
                chunk.labels.get_or_insert_with(|| Box::new(Labels::new(size))).add(label);
            }
        }
        (position, persistent)
    }

    /// The timestamp of the last record; 0 if there is none.
    pub fn latest(&self) -> u64 {
        self.chunks.iter().next_back().map_or(0, |chunk| chunk.latest)
    }

    /// The first position there is; the next one if there is none.
    pub fn first(&self) -> Position {
        self.chunks.front().map_or(self.next, |chunk| chunk.first)
    }

    /// Octets of all segments.
    pub fn octets(&self) -> u64 {
        self.segments.iter().map(octets).sum()
    }

    /// A position before which no record is as late as a timestamp, close to the first one that is; `None` if there is
    /// none.
    pub fn near(&self, timestamp: u64) -> Option<Position> {
        let index = self.chunks.partition_point(|chunk| chunk.latest < timestamp);
        self.chunks.get(index).filter(|chunk| chunk.first < chunk.end).map(|chunk| chunk.first)
    }

    /// The timestamp of a record; while it is not in memory, that of the last one near it.
    pub fn time_of(&self, position: Position) -> Option<u64> {
        let after = self.chunks.partition_point(|chunk| chunk.first <= position);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        Some(chunk.get(position).map_or(chunk.latest, |record| record.timestamp))
    }

    /// The first record from a position on that is in a chunk which may have what is wanted. What is on disk is asked
    /// for, with what comes after it. Each chunk that cannot have it costs some looks; when these are used up, it is the
    /// position to go on at.
    pub fn find(&mut self, from: Position, wanted: Option<&Wanted>, looks: &mut usize) -> Found {
        let begin = self.chunks.partition_point(|chunk| chunk.end <= from);
        for index in begin..self.chunks.len() {
            let chunk = &self.chunks[index];
            if from < chunk.end && may_hold(chunk, wanted) {
                if chunk.data().is_none() {
                    let at = chunk.first.max(from);
                    self.read_ahead_for(index, wanted);
                    return Found::OnDisk(at);
                }
                if let Some(position) = chunk.present(from) {
                    if position == chunk.first {
                        self.read_ahead_for(index + 1, wanted);
                    }
                    return Found::Here(position);
                }
            }
            let Some(left) = looks.checked_sub(SKIP) else { return Found::Nothing(chunk.first.max(from)) };
            *looks = left;
        }
        Found::End
    }

    /// Asks for the next few chunks that may have what is wanted, if they are not far; for one where memory is short.
    fn read_ahead_for(&mut self, from: usize, wanted: Option<&Wanted>) {
        let most = if self.budget.is_short() { 1 } else { AHEAD };
        let (mut count, mut octets) = (0, 0);
        let end = self.chunks.len().min(from + AHEAD * FAR);
        for index in from..end {
            if count == most {
                return;
            }
            let chunk = &self.chunks[index];
            if may_hold(chunk, wanted) {
                octets += chunk.octets();
                if count > 0 && octets > AHEAD_OCTETS {
                    return;
                }
                count += 1;
                self.want(index);
            }
        }
    }

    /// The records around a position that is in memory.
    #[inline]
    pub fn run(&self, position: Position) -> Option<Run<'_>> {
        self.chunks.get(self.index(position)?).map(Run)
    }

    /// Whether what begins at a position only came into memory to be read.
    pub fn is_borrowed(&self, first: Position) -> bool {
        self.index(first).is_some_and(|index| self.chunks[index].is_borrowed())
    }

    /// What begins at a position has been read, and leaves memory if it only came to be read.
    pub fn leave_behind(&mut self, first: Position) {
        let Some(index) = self.index(first) else { return };
        let chunk = &mut self.chunks[index];
        if !chunk.is_borrowed() {
            return;
        }
        let weight = chunk.weight();
        if let Some(data) = chunk.leave() {
            self.warm.remove(&first);
            self.budget.give(weight);
            self.budget.keep(data);
        }
    }

    /// The positions of the last few chunks, where most readers are.
    pub fn tail(&self) -> Range<Position> {
        let mut octets = 0;
        let last = self.chunks.iter().rev().take(AHEAD).take_while(|chunk| {
            octets += chunk.octets();
            octets <= AHEAD_OCTETS
        });
        last.last().map_or(self.next, |chunk| chunk.first)..self.next
    }

    /// Drops some of the segments that are not to stay; the last one always does.
    pub fn retain(&mut self, retention: &Retention) -> Retained {
        let mut octets_left = self.octets();
        let is_old = |log: &Self| {
            let oldest = log.oldest(retention.now);
            retention.since.is_some_and(|since| oldest.is_some_and(|oldest| oldest < since))
        };
        let mut dropped = 0;
        while self.segments.len() > 1 {
            let too_much = retention.max_octets.is_some_and(|max| octets_left > max);
            if !too_much && !is_old(self) {
                break;
            }
            if self.segments[1].first >= retention.before {
                return Retained::HeldBack;
            }
            if dropped == DROPPED_MAX {
                return Retained::More;
            }
            octets_left -= octets(&self.segments[0]);
            self.drop_first();
            dropped += 1;
        }
        Retained::Done
    }

    /// When the oldest segment that may go at all had its last record, in milliseconds since 1970. A clock that was ahead of
    /// `now` says nothing, what came after it does.
    pub fn oldest(&self, now: u64) -> Option<u64> {
        let latest = self.segments.iter().map(|segment| self.latest_of(segment));
        let believed = || latest.clone().find(|latest| *latest <= now.saturating_add(BACK_MAX));
        (self.segments.len() > 1).then(|| believed().unwrap_or(now))
    }

    fn latest_of(&self, segment: &Segment) -> u64 {
        let end = self.chunks.partition_point(|chunk| chunk.base <= segment.first);
        let last = end.checked_sub(1).and_then(|index| self.chunks.get(index));
        last.filter(|chunk| chunk.base == segment.first).map_or(0, |chunk| chunk.latest)
    }

    fn drop_first(&mut self) {
        let Some(segment) = self.segments.pop_front() else { return };
        while self.chunks.front().is_some_and(|chunk| chunk.base <= segment.first) {
            self.count_gathered(0);
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            self.freed.extend(chunk.spilled.take());
            self.warm.remove(&chunk.first);
            self.budget.give(chunk.weight());
            if let Some(data) = chunk.into_data() {
                self.budget.keep(data);
            }
        }
        if let Some(id) = self.id.filter(|_| segment.size > 0) {
            self.removed.extend([segment.file(id), segment.settled_file(id)]);
            self.calls.gather = true;
        }
    }
}

/// Octets of a segment.
fn octets(segment: &Segment) -> u64 {
    segment.appended.max(segment.size.into())
}

/// Whether a chunk may have what is wanted; if nobody knows its labels it may.
fn may_hold(chunk: &Chunk, wanted: Option<&Wanted>) -> bool {
    match (wanted, &chunk.labels) {
        (Some(wanted), Some(labels)) => labels.may_hold(wanted),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
