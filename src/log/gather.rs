//! Gathering: what is to be written of a log, moved into a batch.
//!
//! It happens under the lock of whoever owns the log, so it copies octets and nothing else; checksums are computed
//! later. Records that have been settled meanwhile are left out, and so are those that need not survive.

use std::ops::Range;

use super::batch::Batch;
use super::disk::FileName;
use super::segment::{self, Index, Segment};
use super::{Log, LogId, Position, record};

impl Log {
    /// Moves everything that is to be written into a batch. `durable` says whether all that was gathered before is.
    pub fn gather(&mut self, durable: bool, batch: &mut Batch) {
        batch.free(&mut self.freed);
        let Some(id) = self.id else { return };
        if durable {
            let new = self.segments.iter_mut().rev().take_while(|segment| !segment.is_durable);
            new.filter(|segment| segment.size > 0).for_each(|segment| segment.is_durable = true);
            self.write_indexes(id, batch);
        }
        // First, so that no message is there that has been delivered and is not known to be.
        if std::mem::take(&mut self.mark_due) {
            self.gather_mark(id, batch);
        }
        self.gather_records(id, batch);
        self.gather_settled(id, batch);
        for file in self.removed.drain(..) {
            if self.lasting.is_some() {
                batch.discard(file);
                continue;
            }
            // What it says of deliveries may be said of what is before it too, unless a later one says it as well.
            let is_said = |segment: &Segment| segment.first > file.first && segment.is_durable;
            let is_before = |segment: &&Segment| segment.first < file.first;
            let late = self.segments.iter().take_while(is_before).any(|segment| segment.size > 0)
                && !self.segments.iter().rev().any(is_said);
            batch.remove(file, late);
        }
    }

    /// Everything that is written of it is to be removed, now that nothing leads to it any more.
    pub fn remove(mut self, batch: &mut Batch) {
        batch.free(&mut self.freed);
        for chunk in &mut self.chunks {
            batch.free(&mut chunk.spilled.take().into_iter().collect());
        }
        self.files().into_iter().for_each(|file| batch.discard(file));
    }

    /// All files of this log that there are or will be.
    pub fn files(&self) -> Vec<FileName> {
        let Some(id) = self.id else { return Vec::new() };
        let own = self.segments.iter().filter(|segment| segment.size > 0);
        let own = own.flat_map(|segment| [segment.file(id), segment.settled_file(id)]);
        own.chain(self.removed.iter().copied()).collect()
    }

    fn gather_records(&mut self, id: LogId, batch: &mut Batch) {
        let from = self.chunks.partition_point(|chunk| chunk.end <= self.gathered);
        for index in from..self.chunks.len() {
            let chunk = &self.chunks[index];
            if chunk.is_gathered() {
                self.count_gathered(index);
                continue;
            }
            let found = self.segments.binary_search_by_key(&chunk.base, |segment| segment.first);
            if let Ok(found) = found {
                if self.segments[found].size == 0 && self.chunks[index].has_ungathered() {
                    self.begin_file(id, found, batch);
                }
                self.chunks[index].gather(id, &mut self.segments[found], batch);
            }
            self.count_gathered(index);
        }
        self.gathered = self.next;
    }

    /// Writes the head of a segment's file if it has none.
    fn begin_file(&mut self, id: LogId, index: usize, batch: &mut Batch) {
        let segment = &mut self.segments[index];
        if segment.size == 0 {
            let head = segment::Head { salt: segment.salt, mark: self.mark };
            let file = segment.file(id);
            batch.octets(file, 0, &segment::put_head(file, head));
            segment.size = segment::HEAD as u32;
        }
    }

    /// Says in the newest file how far deliveries may have come, if there is any file.
    fn gather_mark(&mut self, id: LogId, batch: &mut Batch) {
        if self.segments.iter().all(|segment| segment.size == 0) {
            return;
        }
        // What recovery has found is not appended to.
        if self.segments.back().is_some_and(|last| last.index != Index::Growing) {
            self.segments.push_back(Segment::new(id, self.next, self.budget.seed));
        }
        let last = self.segments.len() - 1;
        if self.segments[last].size == 0 {
            self.begin_file(id, last, batch);
            return;
        }
        let segment = &mut self.segments[last];
        let mut octets = Vec::new();
        record::put_other(&mut octets, record::Kind::Mark, self.mark, &[], segment.salt);
        batch.octets(segment.file(id), segment.size, &octets);
        segment.size += octets.len() as u32;
    }

    /// Appends runs of settled records to the files beside their segments.
    fn gather_settled(&mut self, id: LogId, batch: &mut Batch) {
        let mut runs = std::mem::take(&mut self.settled);
        runs.sort_unstable_by_key(|run| run.start);
        // Neighbours become one, and the list of the next time has the memory of this one.
        let mut merged = 0;
        for at in 1..runs.len() {
            if runs[merged].end == runs[at].start {
                runs[merged].end = runs[at].end;
            } else {
                merged += 1;
                runs[merged] = runs[at].clone();
            }
        }
        runs.truncate(merged + 1);
        for run in runs.drain(..) {
            self.put_settlements(id, run, batch);
        }
        runs.shrink_to(64);
        self.settled = runs;
    }

    /// Appends a run to the files of the segments that it touches and that are still there.
    fn put_settlements(&mut self, id: LogId, run: Range<Position>, batch: &mut Batch) {
        let from = self.segments.partition_point(|segment| segment.end <= run.start);
        for segment in self.segments.range_mut(from..).take_while(|segment| segment.first < run.end) {
            if segment.size == 0 {
                continue;
            }
            let file = segment.settled_file(id);
            if segment.settled == 0 {
                let head = segment::Head { salt: segment.salt, mark: 0 };
                batch.octets(file, 0, &segment::put_head(file, head));
                segment.settled = segment::HEAD as u32;
            }
            let (first, end) = (run.start.max(segment.first), run.end.min(segment.end));
            let (first, count) = ((first - segment.first) as u32, (end - first) as u32);
            batch.octets(file, segment.settled, &segment::put_settlement(first, count, segment.salt));
            segment.settled += segment::SETTLEMENT as u32;
        }
    }

    /// Appends the index to segments that are complete and durable.
    fn write_indexes(&mut self, id: LogId, batch: &mut Batch) {
        let count = self.segments.len();
        // Only the last ones can be without.
        let from = self.segments.iter().rposition(|segment| segment.index == Index::Written);
        for index in from.map_or(0, |written| written + 1)..count {
            match self.segments[index].index {
                Index::Complete => {
                    self.segments[index].index = Index::Due;
                    self.calls.gather = true;
                }
                Index::Due => self.write_index(id, index, batch),
                Index::Growing | Index::Written => {}
            }
        }
    }

    fn write_index(&mut self, id: LogId, index: usize, batch: &mut Batch) {
        let segment = &mut self.segments[index];
        segment.index = Index::Written;
        // What could not be read is in no chunk any more, and is to be found again.
        if segment.size == 0 || segment.is_kept {
            return;
        }
        let first: Position = segment.first;
        let from = self.chunks.partition_point(|chunk| chunk.first < first);
        let own = self.chunks.range(from..).take_while(|chunk| chunk.base == first);
        let own = own.filter(|chunk| chunk.saved > 0);
        let end = (segment.end.min(self.next) - first) as u32;
        let lasting = self.lasting.is_some();
        let octets = segment::put_index(own, end, self.mark, segment.size, segment.salt, lasting);
        batch.index(segment.file(id), segment.size, &octets);
        segment.size += octets.len() as u32;
    }

    /// Says on disk exactly how far deliveries have come, for a node that stops in order.
    pub fn note_stop(&mut self, delivered: Position) {
        if self.id.is_some() && self.mark != delivered {
            self.mark = delivered;
            self.mark_due = true;
            self.calls.gather = true;
        }
    }
}
