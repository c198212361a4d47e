//! A run of records one after the other, with the offset of each, and the number of those still wanted.

use std::ops::Range;

use bytes::Bytes;

use super::Position;
use super::record::{self, Parts, Record};

/// A segment takes records as long as it holds at most this many octets...
const FULL: usize = 256 << 10;
/// ... and fewer than this many shared bodies, which are not in its octets.
const FULL_SHARED: usize = 64;
/// An empty segment keeps buffers of at most this many octets.
const KEEP: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Segment {
    first: Position,
    offsets: Vec<u32>,
    data: Vec<u8>,
    shared: Vec<Bytes>,
    /// Records not settled yet.
    wanted: usize,
}

impl Segment {
    /// Empties it, to begin anew at a position.
    pub fn begin(&mut self, first: Position) {
        self.first = first;
        self.offsets.clear();
        self.data.clear();
        self.shared.clear();
        self.wanted = 0;
    }

    pub fn first(&self) -> Position {
        self.first
    }

    /// The position after its last record.
    pub fn end(&self) -> Position {
        self.first + self.offsets.len() as u64
    }

    /// Whether a record of so many octets is to be pushed here, rather than to a segment of its own.
    pub fn has_room(&self, size: usize) -> bool {
        self.data.is_empty() || (self.data.len() + size <= FULL && self.shared.len() < FULL_SHARED)
    }

    /// Takes the memory of a full segment at once, which a queue that fills its second one will need.
    pub fn reserve(&mut self) {
        self.data.reserve_exact(FULL);
    }

    /// Whether nobody wants any record of it.
    pub fn is_settled(&self) -> bool {
        self.wanted == 0
    }

    pub fn push(&mut self, timestamp: u64, parts: &Parts<'_>) {
        self.offsets.push(self.data.len() as u32);
        record::put(&mut self.data, &mut self.shared, timestamp, parts);
        self.wanted += 1;
    }

    pub fn get(&self, position: Position) -> Option<Record<'_>> {
        let offset = *self.offsets.get(position.checked_sub(self.first)? as usize)?;
        record::get(&self.data[offset as usize..], &self.shared)
    }

    /// Gives up one record. A shared body goes at once, the rest with the segment.
    pub fn settle(&mut self, position: Position) {
        self.settle_run(position..position + 1);
    }

    /// Gives up those records of a run that are in here.
    pub fn settle_run(&mut self, run: Range<Position>) {
        let first = run.start.max(self.first);
        let end = run.end.min(self.end());
        let records = end.saturating_sub(first) as usize;
        debug_assert!(records <= self.wanted, "settled twice");
        self.wanted = self.wanted.saturating_sub(records);
        if !self.shared.is_empty() {
            for position in first..end {
                let offset = self.offsets[(position - self.first) as usize] as usize;
                if let Some(number) = record::shared(&self.data[offset..]) {
                    self.shared[number] = Bytes::new();
                }
            }
        }
    }

    /// Keeps buffers for a few records only.
    pub fn shrink(&mut self) {
        if self.data.capacity() > KEEP {
            self.data = Vec::new();
            self.offsets = Vec::new();
        }
    }
}
