//! What is in memory: chunks leave it when all logs together take too much, and come back when they are needed.

use std::ops::Range;
use std::sync::Arc;

use super::chunk::{Chunk, Data, Place, Span};
use super::disk::{FileName, Kind};
use super::spill::Extent;
use super::{Log, LogId, Position};

/// Chunks that are asked for ahead of those who read, at most.
pub(super) const AHEAD: usize = 16;
/// And octets of them, but for one chunk.
pub(super) const AHEAD_OCTETS: usize = 1 << 20;

/// A chunk to be read from disk.
#[derive(Clone, Debug)]
pub struct Request {
    pub file: FileName,
    pub offset: u64,
    /// Octets.
    pub size: usize,
    pub span: Span,
}

/// A chunk that has to leave memory and is on no disk.
#[derive(Clone, Debug)]
pub struct Leaver {
    pub first: Position,
    pub data: Arc<Data>,
    pub salt: u32,
}

impl Log {
    /// Octets that it takes in memory.
    pub fn resident(&self) -> usize {
        if self.warm.len() + 1 >= self.chunks.len() {
            return self.chunks.iter().map(Chunk::weight).sum();
        }
        self.in_memory().into_iter().map(|index| self.chunks[index].weight()).sum()
    }

    /// Records that are not settled and in memory.
    pub fn resident_records(&self) -> usize {
        if self.warm.len() + 1 >= self.chunks.len() {
            let last = self.chunks.back().filter(|last| last.data().is_none());
            return self.chunks.iter().map(|chunk| chunk.live as usize).sum::<usize>()
                - last.map_or(0, |last| last.live as usize);
        }
        let chunks = self.in_memory().into_iter().map(|index| &self.chunks[index]);
        chunks.filter(|chunk| chunk.data().is_some()).map(|chunk| chunk.live as usize).sum()
    }

    /// The indexes of the chunks that are in memory, and of the last one. Most of a long log is not looked at.
    fn in_memory(&self) -> Vec<usize> {
        let warm = self.warm.iter().filter_map(|first| self.index(*first));
        warm.chain(self.chunks.len().checked_sub(1)).collect()
    }

    /// Asks for chunks from an index on, since somebody reads here.
    pub(super) fn read_ahead(&mut self, from: usize) {
        for index in from..self.ahead(from) {
            self.want(index);
        }
    }

    /// Asks for a chunk that is on disk.
    pub(super) fn want(&mut self, index: usize) {
        let chunk = &mut self.chunks[index];
        if matches!(chunk.place, Place::Disk) {
            chunk.place = Place::Wanted;
            self.wanted.push(chunk.first);
            self.calls.read = true;
        }
    }

    /// The index behind the chunks from one on that are to be in memory for whoever reads there.
    fn ahead(&self, from: usize) -> usize {
        let (mut end, mut octets) = (from, 0);
        for chunk in self.chunks.iter().skip(from).take(AHEAD) {
            octets += chunk.octets();
            if end > from && octets > AHEAD_OCTETS {
                break;
            }
            end += 1;
        }
        end
    }

    /// Asks for the one chunk with a position, and says whether it is in memory already.
    pub fn fetch(&mut self, position: Position) -> bool {
        let Some(index) = self.index(position) else { return true };
        self.want(index);
        self.chunks[index].data().is_some()
    }

    /// The chunk that a [`seek`](Self::seek) from here has to wait for, by its first position.
    pub fn awaited(&self, from: Position) -> Option<Position> {
        let begin = self.chunks.partition_point(|chunk| chunk.end <= from);
        self.chunks.range(begin..).find(|chunk| chunk.data().is_none()).map(|chunk| chunk.first)
    }

    /// What is to be read, and has not been taken before.
    pub fn take_requests(&mut self) -> Vec<Request> {
        let wanted = std::mem::take(&mut self.wanted);
        wanted.into_iter().filter_map(|first| self.request(first)).collect()
    }

    /// Asks once more for a chunk that was asked for and could not be read, and says whether it is still waited for.
    pub fn ask_again(&mut self, first: Position) -> bool {
        let chunk = self.index(first).map(|index| &self.chunks[index]);
        let is_awaited =
            chunk.is_some_and(|chunk| chunk.first == first && matches!(chunk.place, Place::Wanted));
        if is_awaited {
            self.wanted.push(first);
            self.calls.read = true;
        }
        is_awaited
    }

    /// Everything that is on disk and not in memory, asked for or not, for whoever looks at it and brings nothing back.
    pub fn all_requests(&self) -> Vec<Request> {
        let on_disk = self.chunks.iter().filter(|chunk| chunk.data().is_none());
        on_disk.filter_map(|chunk| self.request(chunk.first)).collect()
    }

    fn request(&self, first: Position) -> Option<Request> {
        let chunk = self.chunks.get(self.index(first)?).filter(|chunk| chunk.first == first)?;
        let (file, offset, size, salt) = match (&chunk.spilled, self.id) {
            (Some(Extent { offset, size, .. }), _) => {
                (chunk.spilled?.name(), *offset, *size, self.budget.seed)
            }
            (None, Some(log)) => {
                let found = self.segments.binary_search_by_key(&chunk.base, |segment| segment.first).ok()?;
                let segment = &self.segments[found];
                let file = FileName { log, first: segment.first, kind: Kind::Records };
                (file, chunk.offset, chunk.size, segment.salt)
            }
            (None, None) => return None,
        };
        let span = Span { first, end: chunk.end, base: chunk.base, salt, gone: chunk.gone.clone() };
        Some(Request { file, offset: offset.into(), size: size as usize, span })
    }

    /// A chunk has been read. Returns the positions of records that should have been in it and were not; they are no
    /// longer in the log.
    pub fn arrive(&mut self, first: Position, data: Data) -> Vec<Position> {
        let Some(index) = self.index(first) else { return Vec::new() };
        let chunk = &mut self.chunks[index];
        if chunk.first != first || !matches!(chunk.place, Place::Wanted) {
            return Vec::new();
        }
        let lost = chunk.arrive(data);
        if index + 1 < self.chunks.len() {
            self.warm.insert(first);
        }
        self.budget.take(self.chunks[index].weight());
        lost
    }

    /// A record that was lost is not waited for any more. What is on disk stays as it is: perhaps it can be read after
    /// the next start.
    pub fn forget(&mut self, position: Position) {
        let Some(index) = self.index(position) else { return };
        let chunk = &mut self.chunks[index];
        let found = self.segments.binary_search_by_key(&chunk.base, |segment| segment.first);
        if let Some(segment) = found.ok().and_then(|found| self.segments.get_mut(found)) {
            segment.is_kept |= chunk.saved > 0;
        }
        chunk.live = chunk.live.saturating_sub(1);
        if chunk.live == 0 {
            self.reclaim(index);
        }
    }

    /// The positions from one on that are to stay in memory for those who read there.
    pub fn window(&self, from: Position) -> Range<Position> {
        let begin = self.chunks.partition_point(|chunk| chunk.end <= from);
        from..self.chunks.get(self.ahead(begin)).map_or(self.next, |chunk| chunk.first)
    }

    /// Lets chunks leave memory, but for those that are kept, by their range of positions, and the last one if `keep_tail`.
    /// What was gathered has to be written. Those that are on disk go at once; those that have to be spilled first are returned.
    pub fn evict(&mut self, is_kept: impl Fn(Range<Position>) -> bool, keep_tail: bool) -> Vec<Leaver> {
        let mut leavers = Vec::new();
        let count = self.chunks.len();
        for index in self.in_memory() {
            let chunk = &mut self.chunks[index];
            let is_tail = index + 1 == count;
            if is_kept(chunk.first..chunk.end) || (is_tail && keep_tail) {
                continue;
            }
            if !chunk.may_leave() {
                let before = chunk.weight();
                chunk.relax();
                self.budget.give(before - chunk.weight());
                continue;
            }
            if chunk.spilled.is_some() || (chunk.unsaved == 0 && chunk.saved > 0) {
                let weight = chunk.weight();
                if let Some(data) = chunk.leave() {
                    self.warm.remove(&chunk.first);
                    self.budget.give(weight);
                    self.budget.keep(data);
                }
            } else {
                let first = chunk.first;
                let salt = self.budget.seed;
                leavers.extend(chunk.begin_leaving().map(|data| Leaver { first, data, salt }));
            }
        }
        leavers
    }

    /// A chunk has been written to a spill file. Returns the extent if nobody wants it any more.
    pub fn spilled(&mut self, first: Position, extent: Extent) -> Option<Extent> {
        let found = self.index(first).map(|index| &mut self.chunks[index]);
        let Some(chunk) = found.filter(|c| c.first == first && matches!(c.place, Place::Leaving(_))) else {
            return Some(extent);
        };
        let weight = chunk.weight();
        chunk.spilled = Some(extent);
        chunk.leave();
        self.warm.remove(&first);
        self.budget.give(weight);
        None
    }

    /// A chunk could not be written to a spill file: it stays in memory.
    pub fn not_spilled(&mut self, first: Position) {
        let found = self.index(first).map(|index| &mut self.chunks[index]);
        if let Some(chunk) = found.filter(|c| c.first == first) {
            chunk.stay();
        }
    }

    /// The number under which its files are found.
    pub fn id(&self) -> Option<LogId> {
        self.id
    }
}
