//! The log: what every queue stands on.
//!
//! Records come in, each gets the next position, and can be read and settled by it; a segment whose records are all
//! settled gives its memory back. Nothing here knows what the octets mean: a record is a timestamp and what a delivery
//! needs, as runs of octets (`wire::content::Message`). For now segments live in memory only (see `ARCHITECTURE.md`,
//! "What is deliberately absent").
//!
//! - [`disk`][]: what a disk is: files, real or simulated
//! - [`files`][]: the real disk, a folder
//! - [`record`][]: how a record lies in a segment
//! - [`segment`][]: a run of records, and how many of them are still wanted

pub mod disk;
pub mod files;
pub mod record;
pub mod segment;

use std::collections::VecDeque;
use std::ops::Range;

use record::{Parts, Record};
use segment::Segment;

/// A record's number in its log, counted from 0. It never changes and is never given twice.
pub type Position = u64;

/// An append-only sequence of records, of which any may be settled at any time.
#[derive(Debug, Default)]
pub struct Log {
    /// In order of their positions, with gaps where all is settled; only the last one grows.
    segments: VecDeque<Segment>,
    next: Position,
    /// The buffers of a segment that was settled while others were not, for the next one.
    spare: Option<Segment>,
}

impl Log {
    /// The position that the next record will get.
    pub fn next(&self) -> Position {
        self.next
    }

    /// Appends a record. `timestamp` is in milliseconds since 1970.
    pub fn append(&mut self, timestamp: u64, parts: &Parts<'_>) -> Position {
        let position = self.next;
        match self.segments.back_mut() {
            Some(tail) if tail.has_room(record::size(parts)) => tail.push(timestamp, parts),
            tail => {
                let mut segment = self.spare.take().unwrap_or_default();
                segment.begin(position);
                if tail.is_some() {
                    segment.reserve();
                }
                segment.push(timestamp, parts);
                self.segments.push_back(segment);
            }
        }
        self.next += 1;
        position
    }

    /// The record at a position that has been appended and not been settled; else `None` or a record
    /// that nobody wants any more.
    pub fn get(&self, position: Position) -> Option<Record<'_>> {
        self.segments.get(self.index(position)?)?.get(position)
    }

    /// Gives up one record. Each record is settled at most once.
    pub fn settle(&mut self, position: Position) {
        if let Some(index) = self.index(position) {
            self.segments[index].settle(position);
            self.reclaim(index);
        }
    }

    /// Gives up a run of records of which none has been settled; costs segments, not records.
    pub fn settle_all(&mut self, positions: Range<Position>) {
        for segment in &mut self.segments {
            segment.settle_run(positions.clone());
        }
        for index in (0..self.segments.len()).rev() {
            self.reclaim(index);
        }
    }

    fn index(&self, position: Position) -> Option<usize> {
        if position >= self.next {
            return None;
        }
        // Nearly every access is at one of the ends.
        if self.segments.back()?.first() <= position {
            return Some(self.segments.len() - 1);
        }
        let after = self.segments.partition_point(|segment| segment.first() <= position);
        after.checked_sub(1)
    }

    /// Frees the segment if nothing in it is wanted. The last one stays, to grow again.
    fn reclaim(&mut self, index: usize) {
        let last = self.segments.len() - 1;
        let Some(segment) = self.segments.get_mut(index) else { return };
        if !segment.is_settled() {
            return;
        }
        if index == last {
            segment.begin(self.next);
            segment.shrink();
        } else {
            segment.begin(self.next);
            self.spare = self.segments.remove(index);
        }
        // An empty queue keeps no memory for more.
        if self.segments.len() == 1 && self.segments[0].is_settled() {
            self.spare = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::content::Body;

    fn parts(body: &[u8]) -> Parts<'_> {
        Parts { exchange: b"x", routing_key: b"key", properties: &[0, 0], body: Body::Inline(body) }
    }

    fn body_of(log: &Log, position: Position) -> Option<Vec<u8>> {
        log.get(position).map(|r| r.parts.body.octets().to_vec())
    }

    #[test]
    fn reads_back_what_was_appended() {
        let mut log = Log::default();
        for n in 0u64..50_000 {
            assert_eq!(log.append(n + 7, &parts(&n.to_be_bytes())), n);
        }
        for n in (0u64..50_000).step_by(77) {
            let record = log.get(n).expect("there");
            assert_eq!((record.timestamp, record.parts.exchange), (n + 7, &b"x"[..]));
            assert_eq!(record.parts.body.octets(), n.to_be_bytes());
        }
        assert!(log.get(50_000).is_none());
        assert!(log.segments.len() > 3);
    }

    #[test]
    fn settling_in_any_order_frees_everything_and_nothing_else() {
        let mut log = Log::default();
        let count = 30_000u64;
        for n in 0..count {
            log.append(0, &parts(&n.to_be_bytes()));
        }
        // Odd ones backwards, then the even ones forwards.
        for n in (0..count).rev().filter(|n| n % 2 == 1) {
            log.settle(n);
        }
        for n in (0..count).step_by(2) {
            assert_eq!(body_of(&log, n), Some(n.to_be_bytes().to_vec()));
            log.settle(n);
        }
        assert_eq!(log.segments.len(), 1);
        assert_eq!(log.append(0, &parts(b"after")), count);
        assert_eq!(body_of(&log, count), Some(b"after".to_vec()));
    }

    #[test]
    fn a_range_is_settled_whole() {
        let mut log = Log::default();
        for n in 0u64..30_000 {
            log.append(0, &parts(&n.to_be_bytes()));
        }
        log.settle_all(10..29_990);
        assert!(log.spare.is_some(), "something for the next segment");
        assert!(log.segments.len() <= 3, "{} segments", log.segments.len());
        for n in (0..10).chain(29_990..30_000) {
            assert_eq!(body_of(&log, n), Some(n.to_be_bytes().to_vec()));
        }
    }

    #[test]
    fn an_empty_log_keeps_nothing_to_spare() {
        let mut log = Log::default();
        for n in 0u64..30_000 {
            log.append(0, &parts(&n.to_be_bytes()));
        }
        log.settle_all(0..30_000);
        assert!(log.spare.is_none() && log.segments.len() == 1);
    }

    #[test]
    fn shared_bodies_stay_shared() {
        let mut log = Log::default();
        let bytes = bytes::Bytes::from(vec![7; 100_000]);
        let body = Body::Shared(&bytes);
        let at = log.append(0, &Parts { exchange: b"", routing_key: b"q", properties: &[0, 0], body });
        match log.get(at).expect("there").parts.body {
            Body::Shared(found) => assert_eq!(found.as_ptr(), bytes.as_ptr()),
            Body::Inline(_) => panic!("copied"),
        }
    }
}
