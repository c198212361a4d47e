//! The log: what every queue stands on.
//!
//! Records come in, each gets the next position, and can be read and settled by it. They lie in chunks, which come and
//! go between memory and disk; what is to survive is gathered into batches, written to segments by whoever owns the
//! disk, and found again by recovery. A [`Log`] itself is plain data: it never waits. Nothing here knows what the
//! octets mean: a record is a timestamp and what a delivery needs, as runs of octets (`wire::content::Message`).
//!
//! In memory:
//! - this file: appending, reading, settling
//! - [`chunk`][]: a run of records, in memory or not
//! - [`resident`][]: leaving memory and coming back
//! - [`lasting`][]: logs whose records are not settled but read by many and dropped by age
//! - [`labels`][]: what a chunk's records are labelled with, in a few octets
//! - [`budget`][]: how much memory all logs take
//!
//! Between memory and disk:
//! - [`gather`][]: what is to be written, into a batch
//! - [`batch`][]: writes in their order, done without a lock
//! - [`spill`][]: files for what has to leave memory and need not survive
//! - [`recover`][]: logs out of files
//!
//! On disk:
//! - [`disk`][]: what a disk is: files, real or simulated
//! - [`files`][]: the real disk, a folder
//! - [`segment`][]: a file of records, its settlements and its index
//! - [`record`][]: how a record lies in memory and on disk

pub mod batch;
pub mod budget;
pub mod chunk;
pub mod disk;
pub mod files;
pub mod gather;
pub mod labels;
pub mod lasting;
pub mod record;
pub mod recover;
pub mod resident;
pub mod segment;
pub mod spill;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use budget::{Budget, Sizes};
use chunk::{Chunk, Data};
use disk::FileName;
pub use disk::LogId;
use lasting::Lasting;
use record::{Parts, Record};
use segment::Segment;
use spill::Extent;

/// A record's number in its log, counted from 0. It never changes and is never given twice.
pub type Position = u64;

/// What a log asks of whoever owns the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// There is something to gather.
    pub gather: bool,
    /// Somebody waits for it.
    pub urgent: bool,
    /// There is something to read.
    pub read: bool,
    /// There is more of it than should be: whoever publishes should wait.
    pub congested: bool,
}

impl Calls {
    /// What two logs ask together.
    pub fn and(self, other: Self) -> Self {
        Self {
            gather: self.gather || other.gather,
            urgent: self.urgent || other.urgent,
            read: self.read || other.read,
            congested: self.congested || other.congested,
        }
    }
}

/// What there is at a position or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The first record from there on, in memory.
    Here(Position),
    /// It is on disk, and has been asked for.
    OnDisk,
    End,
}

/// An append-only sequence of records, of which any may be settled at any time.
#[derive(Debug, Default)]
pub struct Log {
    /// Under which its files are found. What has none does not survive the node.
    id: Option<LogId>,
    budget: Arc<Budget>,
    /// Those of the budget, at hand.
    sizes: Sizes,
    /// In order of their positions, with gaps where all is settled; only the last one grows.
    chunks: VecDeque<Chunk>,
    /// The first positions of those that are in memory, but for the last one.
    warm: BTreeSet<Position>,
    /// In order; the last one is written to.
    segments: VecDeque<Segment>,
    next: Position,
    /// The first record that has not been gathered.
    gathered: Position,
    /// Messages before this one may have been delivered, as far as the disk knows once it is written.
    mark: Position,
    mark_due: bool,
    /// How many have been delivered since the log was opened.
    delivered: u64,
    /// Runs that are on disk and settled, and not gathered yet.
    settled: Vec<Range<Position>>,
    removed: Vec<FileName>,
    freed: Vec<Extent>,
    /// The chunks to be read.
    wanted: Vec<Position>,
    calls: Calls,
    /// What makes it a lasting log, if it is one.
    lasting: Option<Lasting>,
}

impl Log {
    /// An empty log; with a number its persistent records survive.
    pub fn new(id: Option<LogId>, budget: Arc<Budget>) -> Self {
        let mut log = Self::default();
        (log.id, log.sizes, log.budget) = (id, budget.sizes, budget);
        log
    }

    /// An empty log beside this one, which survives under another number if this one does.
    pub fn sibling(&self, id: LogId) -> Self {
        Self::new(self.id.map(|_| id), Arc::clone(&self.budget))
    }

    /// The position that the next record will get.
    pub fn next(&self) -> Position {
        self.next
    }

    /// Whether persistent records survive.
    pub fn is_durable(&self) -> bool {
        self.id.is_some()
    }

    /// Whether there is something to tell the owner of the disk.
    pub fn asks(&self) -> bool {
        self.calls.gather || self.calls.read
    }

    /// What has come up since the last call that the owner of the disk has to be told.
    pub fn take_calls(&mut self) -> Option<Calls> {
        if !self.asks() {
            return None;
        }
        Some(std::mem::take(&mut self.calls))
    }

    /// Appends a record. `timestamp` is in milliseconds since 1970. Returns its position, and whether it is to be
    /// written and will survive from a commit on.
    pub fn append(&mut self, timestamp: u64, persistent: bool, parts: &Parts<'_>) -> (Position, bool) {
        self.append_marked(timestamp, persistent, 0, parts)
    }

    /// The same with marks that come back with the record: those of [`record::MARKS`].
    pub fn append_marked(
        &mut self,
        timestamp: u64,
        persistent: bool,
        marks: u8,
        parts: &Parts<'_>,
    ) -> (Position, bool) {
        let position = self.next;
        let weight = record::weight(parts);
        let persistent = persistent && self.id.is_some();
        if !self.chunks.back().is_some_and(|tail| tail.has_room(weight, self.sizes.chunk)) {
            self.begin_chunk(record::size(parts), weight);
        }
        self.make_room(record::size(parts));
        if let Some(tail) = self.chunks.back_mut() {
            let flags = if persistent { record::PERSISTENT } else { 0 } | (marks & record::MARKS);
            let grown = tail.push(timestamp, flags, parts);
            if grown > 0 {
                self.budget.take(grown);
            }
        }
        if persistent {
            if let Some(segment) = self.segments.back_mut() {
                segment.appended += weight as u64;
            }
            (self.calls.gather, self.calls.urgent) = (true, true);
        }
        self.next += 1;
        (position, persistent)
    }

    /// Begins a chunk at the end, in a segment that has room.
    fn begin_chunk(&mut self, size: usize, weight: usize) {
        if let Some(tail) = self.chunks.back_mut() {
            if tail.unwritten == 0 {
                tail.unwritten = tail.pending();
                self.budget.add_unwritten(tail.unwritten as usize);
            }
        }
        let base = self.join_segment();
        // The first chunk of a queue grows as it needs to, later ones are going to be full, be it by one record.
        let mut data = Data::default();
        if weight > self.sizes.chunk {
            data.reserve_exact(size);
        } else if !self.chunks.is_empty() {
            data = self.budget.full_data(self.sizes.chunk);
        }
        let before = self.chunks.back().filter(|tail| tail.data().is_some());
        self.warm.extend(before.map(|tail| tail.first));
        let chunk = Chunk::new(self.next, base, data);
        self.budget.take(chunk.weight());
        self.chunks.push_back(chunk);
    }

    /// Moves the records of the last chunk to a full chunk's buffer, if that is what it grows to.
    fn make_room(&mut self, size: usize) {
        let Some(tail) = self.chunks.back_mut().filter(|tail| tail.outgrows(size, self.sizes.chunk)) else {
            return;
        };
        let before = tail.weight();
        let small = tail.move_to(self.budget.full_data(self.sizes.chunk));
        self.budget.take(tail.weight());
        self.budget.give(before);
        self.budget.keep(small);
    }

    /// The first position of the segment that the next chunk belongs to.
    fn join_segment(&mut self) -> Position {
        if self.id.is_none() && self.lasting.is_none() {
            return self.next;
        }
        let id = self.id.unwrap_or_default();
        let full = match self.segments.back() {
            Some(last) => {
                last.index != segment::Index::Growing
                    || last.appended >= self.sizes.segment
                    || self.next - last.first > u64::from(u32::MAX / 2)
            }
            None => true,
        };
        if full {
            self.size_segment();
            self.complete_segment();
            self.segments.push_back(Segment::new(id, self.next, self.budget.seed));
        }
        match self.segments.back_mut() {
            Some(last) => {
                last.chunks += 1;
                last.first
            }
            None => self.next,
        }
    }

    /// The last segment grows no more.
    fn complete_segment(&mut self) {
        let next = self.next;
        let Some(last) = self.segments.back_mut() else { return };
        last.end = last.end.min(next);
        if last.chunks == 0 {
            self.remove_segment(self.segments.len() - 1);
        } else {
            if last.index == segment::Index::Growing {
                last.index = segment::Index::Complete;
            }
        }
    }

    /// The record at a position, if it is in memory.
    #[inline]
    pub fn get(&self, position: Position) -> Option<Record<'_>> {
        self.chunks.get(self.index(position)?)?.get(position)
    }

    /// The first record at or after a position.
    #[inline]
    pub fn seek(&mut self, from: Position) -> At {
        let mut index = match self.index(from) {
            Some(index) => index,
            None if self.chunks.is_empty() || from >= self.next => return At::End,
            None => 0,
        };
        while let Some(chunk) = self.chunks.get(index) {
            if from < chunk.end {
                if chunk.data().is_none() {
                    self.read_ahead(index);
                    return At::OnDisk;
                }
                if let Some(position) = chunk.present(from) {
                    if position == chunk.first {
                        self.read_ahead(index + 1);
                    }
                    return At::Here(position);
                }
            }
            index += 1;
        }
        At::End
    }

    /// Gives up one record. Each record is settled at most once.
    pub fn settle(&mut self, position: Position) {
        let Some(index) = self.index(position) else { return };
        let chunk = &mut self.chunks[index];
        let (on_disk, freed) = chunk.settle(position);
        let left = chunk.live;
        if on_disk {
            self.note_settled(position..position + 1);
        }
        if freed > 0 {
            self.budget.give(freed);
        }
        if left == 0 {
            self.reclaim(index);
        }
    }

    /// The first record that is not settled, if it is in memory and soon found.
    pub fn first_record(&self) -> Option<Record<'_>> {
        const LOOK: u64 = 64;
        let chunk = self.chunks.front()?;
        let first = (chunk.first..chunk.end).take(LOOK as usize).find(|position| chunk.holds(*position))?;
        chunk.get(first)
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Whether a record is there and wanted, as far as that is known; what is on disk has to be read first.
    pub fn is_wanted(&self, position: Position) -> bool {
        self.index(position)
            .and_then(|index| self.chunks.get(index))
            .is_some_and(|chunk| chunk.holds(position))
    }

    /// Whether a record could be [taken out](Self::take_out) now: it is wanted and in memory, and not on its way to the disk.
    pub fn is_removable(&self, position: Position) -> bool {
        let chunk = self.index(position).and_then(|index| self.chunks.get(index));
        chunk.is_some_and(|chunk| chunk.is_in_memory() && chunk.holds(position))
    }

    /// Gives up one record that is [removable](Self::is_removable) and that nobody may have come to yet, so that
    /// [`seek`](Self::seek) passes it over.
    pub fn take_out(&mut self, position: Position) {
        self.settle(position);
        if let Some(index) = self.index(position) {
            self.chunks[index].hide(position);
        }
    }

    fn note_settled(&mut self, run: Range<Position>) {
        self.calls.gather = true;
        match self.settled.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => self.settled.push(run),
        }
    }

    /// Gives up a run of records of which none has been settled one by one; costs chunks, not records, but for those at
    /// its ends. Returns how many there were.
    pub fn settle_all(&mut self, run: Range<Position>) -> usize {
        let mut count = 0;
        // From behind, since chunks go.
        for index in (0..self.chunks.len()).rev() {
            let chunk = &mut self.chunks[index];
            let (first, end) = (chunk.first.max(run.start), chunk.end.min(run.end));
            if first >= end {
                continue;
            }
            if (first, end) == (chunk.first, chunk.end) {
                count += chunk.live as usize;
                chunk.live = 0;
                if chunk.saved > 0 {
                    self.note_settled(first..end);
                }
                self.reclaim(index);
                continue;
            }
            let held: Vec<_> = (first..end).filter(|position| chunk.holds(*position)).collect();
            count += held.len();
            held.into_iter().for_each(|position| self.settle(position));
        }
        count
    }

    fn index(&self, position: Position) -> Option<usize> {
        let last = self.chunks.back()?;
        if position >= last.end {
            return None;
        }
        // Nearly every access is at one of the ends.
        if last.first <= position {
            return Some(self.chunks.len() - 1);
        }
        if self.chunks[0].end > position {
            return (self.chunks[0].first <= position).then_some(0);
        }
        let after = self.chunks.partition_point(|chunk| chunk.first <= position);
        after.checked_sub(1)
    }

    /// Frees a chunk of which nothing is wanted. The last one stays, to grow again.
    fn reclaim(&mut self, index: usize) {
        self.count_gathered(index);
        self.freed.extend(self.chunks[index].spilled.take());
        self.calls.gather |= !self.freed.is_empty();
        let base = self.chunks[index].base;
        if index == self.chunks.len() - 1 {
            self.leave_segment(base);
            let next = self.next;
            let before = self.chunks[index].weight();
            let base = if self.chunks.len() == 1 { self.restart_segment() } else { self.join_segment() };
            let chunk = std::mem::replace(&mut self.chunks[index], Chunk::on_disk(next, next, base));
            let mut data = chunk.into_data().unwrap_or_default();
            if data.capacity() > chunk::KEEP {
                self.budget.keep(data);
                data = self.budget.small_data();
            }
            data.clear();
            self.chunks[index] = Chunk::new(next, base, data);
            self.budget.take(self.chunks[index].weight());
            self.budget.give(before);
        } else if let Some(chunk) = self.chunks.remove(index) {
            self.warm.remove(&chunk.first);
            self.budget.give(chunk.weight());
            if let Some(data) = chunk.into_data() {
                self.budget.keep(data);
            }
            self.leave_segment(base);
            if self.chunks.len() == 1 && self.chunks[0].live == 0 {
                self.reclaim(0);
            }
        }
    }

    /// What counted as unwritten of a chunk does so no more.
    fn count_gathered(&mut self, index: usize) {
        let chunk = &mut self.chunks[index];
        if chunk.unwritten > 0 {
            self.budget.sub_unwritten(chunk.unwritten as usize);
            chunk.unwritten = 0;
        }
    }

    /// A chunk of a segment is gone; the segment goes with its last one, unless it is the one written to.
    fn leave_segment(&mut self, base: Position) {
        let Ok(index) = self.segments.binary_search_by_key(&base, |segment| segment.first) else { return };
        let segment = &mut self.segments[index];
        segment.chunks = segment.chunks.saturating_sub(1);
        if segment.chunks == 0 && index + 1 < self.segments.len() {
            self.remove_segment(index);
        }
    }

    /// The log is empty: the segment goes if it is large, and the next chunk gets a new one.
    fn restart_segment(&mut self) -> Position {
        if self.segments.back().is_some_and(|last| last.chunks == 0 && last.size > self.sizes.empty_max) {
            self.remove_segment(self.segments.len() - 1);
        }
        self.join_segment()
    }

    fn remove_segment(&mut self, index: usize) {
        if self.segments.get(index).is_none_or(|segment| segment.is_kept) {
            return;
        }
        let (Some(id), Some(segment)) = (self.id, self.segments.remove(index)) else { return };
        if segment.size > 0 {
            self.removed.extend([segment.file(id), segment.settled_file(id)]);
            // What it said of deliveries is to be found elsewhere.
            self.mark_due = true;
            self.calls.gather = true;
        }
    }

    /// Notes that a record is being delivered, so that after a crash it is known to be perhaps a redelivery.
    ///
    /// The mark on disk runs ahead of the deliveries, by as many as there have been, so that it is written seldom and is
    /// mostly there before they happen. Those that reach it leave before the next mark is written.
    pub fn note_delivered(&mut self, position: Position) {
        const AHEAD_MAX: u64 = 1 << 16;
        if self.id.is_none() {
            return;
        }
        self.delivered += 1;
        if position >= self.mark {
            self.mark = position + 1 + (self.delivered - 1).min(AHEAD_MAX);
            self.mark_due = true;
            (self.calls.gather, self.calls.urgent) = (true, true);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        for index in 0..self.chunks.len() {
            self.count_gathered(index);
            self.budget.give(self.chunks[index].weight());
        }
    }
}

#[cfg(test)]
mod tests;
