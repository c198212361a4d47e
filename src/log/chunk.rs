//! Chunks: runs of records that come and go between memory and disk as one.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::Batch;
use super::labels::Labels;
use super::record::{self, Head, MARKS, PERSISTENT, Parts, Record, SETTLED, SHARED};
use super::segment::Segment;
use super::spill::Extent;
use super::{LogId, Position};
use crate::wire::content::Body;

/// A chunk usually takes records as long as it holds at most this many octets, bodies elsewhere included.
pub const FULL: usize = 64 << 10;
/// An empty chunk keeps a buffer of at most this many octets.
pub const KEEP: usize = 16 << 10;
/// Bodies of so many octets are shared once they have been read from disk.
const SHARE: usize = 8 << 10;
/// The offset of a record that is not there.
const GONE: u32 = u32::MAX;

/// The records of a chunk that is in memory.
#[derive(Debug, Default)]
pub struct Data {
    octets: Vec<u8>,
    /// Where each record begins.
    offsets: Vec<u32>,
    shared: Vec<Bytes>,
    shared_octets: usize,
}

impl Data {
    /// Octets that it takes in memory.
    pub fn weight(&self) -> usize {
        self.octets.capacity() + self.offsets.capacity() * size_of::<u32>() + self.shared_octets
    }

    /// Octets that records may take without it growing.
    pub fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// Makes room for so many octets of records, if it is empty.
    pub fn reserve_exact(&mut self, octets: usize) {
        self.octets.reserve_exact(octets);
    }

    /// Empties it. Its memory is kept.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.offsets.clear();
        self.shared.clear();
        self.shared_octets = 0;
    }

    /// Takes over what another one holds, which is empty then. This one has to be empty before.
    fn take_over(&mut self, other: &mut Self) {
        self.octets.append(&mut other.octets);
        self.offsets.append(&mut other.offsets);
        self.shared.append(&mut other.shared);
        self.shared_octets = std::mem::take(&mut other.shared_octets);
    }

    fn push(&mut self, relative: u32, timestamp: u64, flags: u8, parts: &Parts<'_>) {
        self.offsets.push(self.octets.len() as u32);
        if let Body::Shared(body) = parts.body {
            self.shared_octets += body.len();
        }
        self.reserve(record::size(parts));
        record::put(&mut self.octets, &mut self.shared, relative, timestamp, flags, parts);
    }

    /// Makes room for a record. What is small grows as vectors do, but not just beyond the size that is kept.
    fn reserve(&mut self, size: usize) {
        let (needed, room) = (self.octets.len() + size, self.octets.capacity());
        if needed > room && needed <= KEEP && 2 * room > KEEP {
            self.octets.reserve_exact(KEEP - self.octets.len());
        }
    }

    fn at(&self, index: usize) -> Option<&[u8]> {
        let offset = *self.offsets.get(index)?;
        self.octets.get(offset as usize..)
    }

    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        record::get(self.at(index)?, &self.shared)
    }

    /// The first record at or after an index that is there.
    fn present(&self, index: usize) -> Option<usize> {
        (index..self.offsets.len()).find(|index| self.offsets[*index] != GONE)
    }

    fn is_wanted(&self, index: usize) -> bool {
        self.at(index).is_some_and(|record| record[FLAGS] & SETTLED == 0)
    }

    /// Appends the records that are still wanted to `out` as they lie on disk.
    pub fn write(&self, out: &mut Vec<u8>, salt: u32) {
        for index in (0..self.offsets.len()).filter(|index| self.is_wanted(*index)) {
            let (Some(octets), Some(head)) = (self.at(index), self.at(index).and_then(Head::read)) else {
                continue;
            };
            let from = out.len();
            match record::shared(octets).and_then(|number| self.shared.get(number)) {
                Some(body) => {
                    record::put_front(out, octets, body.len());
                    record::seal_front(&mut out[from..], body, salt);
                    out.extend_from_slice(body);
                }
                None => {
                    out.extend_from_slice(&octets[..head.size]);
                    record::seal(&mut out[from..], salt);
                }
            }
        }
    }

    /// Reads a chunk's records as they lie on disk. Where something is not as it was written, what follows it is left
    /// out, and its offset is returned beside the rest.
    pub fn read(image: &[u8], span: &Span) -> (Self, Option<usize>) {
        let mut data = Self::default();
        data.offsets.reserve_exact((span.end - span.first) as usize);
        if image.len() <= FULL {
            data.octets.reserve_exact(image.len());
        }
        let mut at = 0;
        while at < image.len() {
            let Some(head) = record::check(&image[at..], span.salt) else {
                return (data.pad(span), Some(at));
            };
            let position = span.base + u64::from(head.relative);
            let found = record::get(&image[at..], &[]).filter(|_| head.kind == record::Kind::Message);
            if let Some(found) = found.filter(|_| (span.first..span.end).contains(&position)) {
                let index = (position - span.first) as usize;
                // Positions only grow within a file.
                if index >= data.offsets.len() {
                    data.offsets.resize(index, GONE);
                    data.push_read(head, &found);
                }
            }
            at += head.size;
        }
        (data.pad(span), None)
    }

    fn push_read(&mut self, head: Head, record: &Record<'_>) {
        let shared;
        let mut parts = record.parts;
        if parts.body.size() >= SHARE {
            shared = Bytes::copy_from_slice(parts.body.octets());
            parts.body = Body::Shared(&shared);
        }
        self.push(head.relative, head.timestamp, head.flags & (PERSISTENT | MARKS), &parts);
    }

    fn pad(mut self, span: &Span) -> Self {
        self.offsets.resize((span.end - span.first) as usize, GONE);
        for index in 0..self.offsets.len() {
            if span.gone.as_ref().is_some_and(|gone| gone.contains(index)) {
                self.offsets[index] = GONE;
            }
        }
        self
    }
}

/// Where a record's flags are.
const FLAGS: usize = 26;

/// What has to be known of a chunk to read it.
#[derive(Clone, Debug)]
pub struct Span {
    pub first: Position,
    pub end: Position,
    /// What the records' positions are counted from.
    pub base: Position,
    pub salt: u32,
    /// What is not wanted of it.
    pub gone: Option<Gone>,
}

/// A set of a chunk's records, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone(Box<[u64]>);

impl Gone {
    pub fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    pub fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    pub fn remove(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & 1 << (index % 64) != 0)
    }
}

/// Where a chunk's records are.
#[derive(Debug)]
pub enum Place {
    Memory(Data),
    /// Still in memory, and on the way to the spill file.
    Leaving(Arc<Data>),
    Disk,
    /// On disk, and asked for.
    Wanted,
}

#[derive(Debug)]
pub struct Chunk {
    pub first: Position,
    /// The position after its last record.
    pub end: Position,
    /// What its records' positions are counted from on disk: the first one of its segment.
    pub base: Position,
    pub place: Place,
    /// What has left memory once, or was found on disk, takes no more records.
    sealed: bool,
    /// Records that are not settled.
    pub live: u32,
    /// Octets of `Data` that have been looked at for the disk.
    pub gathered: u32,
    /// Live records that are in no file.
    pub unsaved: u32,
    /// Records in the segment's file, and where.
    pub saved: u32,
    pub offset: u32,
    pub size: u32,
    /// Octets of the bodies of the records in the segment's file.
    pub bytes: u64,
    /// Where it has been spilled to.
    pub spilled: Option<Extent>,
    /// What is known to be gone while it is not in memory.
    pub gone: Option<Gone>,
    /// Octets of persistent records that have not been looked at for the disk, their bodies included.
    pending: u32,
    /// Octets that count as unwritten.
    pub unwritten: u32,
    /// The timestamp of its last record.
    pub latest: u64,
    /// Which labels its records have, where that is known.
    pub labels: Option<Box<Labels>>,
}

impl Chunk {
    /// A chunk without records, in empty memory.
    pub fn new(first: Position, base: Position, data: Data) -> Self {
        Self { place: Place::Memory(data), sealed: false, ..Self::on_disk(first, first, base) }
    }

    /// A chunk of which nothing is in memory.
    pub fn on_disk(first: Position, end: Position, base: Position) -> Self {
        Self {
            first,
            end,
            base,
            place: Place::Disk,
            sealed: true,
            live: 0,
            gathered: 0,
            unsaved: 0,
            saved: 0,
            offset: 0,
            size: 0,
            bytes: 0,
            spilled: None,
            gone: None,
            pending: 0,
            unwritten: 0,
            latest: 0,
            labels: None,
        }
    }

    /// The records, if they are in memory.
    pub fn data(&self) -> Option<&Data> {
        match &self.place {
            Place::Memory(data) => Some(data),
            Place::Leaving(data) => Some(data),
            Place::Disk | Place::Wanted => None,
        }
    }

    /// Octets that it takes in memory.
    pub fn weight(&self) -> usize {
        self.data().map_or(0, Data::weight)
    }

    /// Octets that it takes in memory, or on disk while it is there.
    pub fn octets(&self) -> usize {
        let on_disk = self.spilled.map_or(self.size, |extent| extent.size);
        self.data().map_or(on_disk as usize, Data::weight)
    }

    /// Whether a record of so many octets is to be pushed here. `full` is what a chunk may hold.
    pub fn has_room(&self, weight: usize, full: usize) -> bool {
        match &self.place {
            Place::Memory(data) if !self.sealed => {
                data.octets.is_empty() || data.octets.len() + data.shared_octets + weight <= full
            }
            _ => false,
        }
    }

    /// Whether a record of so many octets is going to make it grow out of its buffer, be that small or none, towards that
    /// of a full chunk.
    pub fn outgrows(&self, size: usize, full: usize) -> bool {
        match &self.place {
            Place::Memory(data) => {
                let needed = data.octets.len() + size;
                needed > data.octets.capacity() && (KEEP + 1..=full).contains(&needed)
            }
            _ => false,
        }
    }

    /// Moves its records to other memory, which is empty, and returns its own.
    pub fn move_to(&mut self, mut data: Data) -> Data {
        if let Place::Memory(own) = &mut self.place {
            data.take_over(own);
            std::mem::swap(own, &mut data);
        }
        data
    }

    /// Appends a record, if it is in memory, with the flags `PERSISTENT` and `MARKS` of `record`. Returns by how many
    /// octets it takes more.
    pub fn push(&mut self, timestamp: u64, flags: u8, parts: &Parts<'_>) -> usize {
        let Place::Memory(data) = &mut self.place else { return 0 };
        let before = data.weight();
        data.push((self.end - self.base) as u32, timestamp, flags, parts);
        self.end += 1;
        self.live += 1;
        self.unsaved += 1;
        self.latest = timestamp;
        if flags & PERSISTENT != 0 {
            self.pending += record::weight(parts) as u32;
        }
        data.weight() - before
    }

    pub fn get(&self, position: Position) -> Option<Record<'_>> {
        self.data()?.get(position.checked_sub(self.first)? as usize)
    }

    /// The first position at or after another that is there, if it is in memory.
    pub fn present(&self, position: Position) -> Option<Position> {
        let from = position.max(self.first) - self.first;
        Some(self.first + self.data()?.present(from as usize)? as u64)
    }

    /// Whether a position is wanted as far as this chunk knows; what has been settled one by one while it was not in
    /// memory is not remembered.
    pub fn holds(&self, position: Position) -> bool {
        let Some(index) = position.checked_sub(self.first).filter(|_| position < self.end) else {
            return false;
        };
        match self.data() {
            Some(data) => data.is_wanted(index as usize),
            None => !self.gone.as_ref().is_some_and(|gone| gone.contains(index as usize)),
        }
    }

    /// Gives up a record. Returns whether the disk has to be told, and how many octets are free now.
    pub fn settle(&mut self, position: Position) -> (bool, usize) {
        self.live = self.live.saturating_sub(1);
        let index = (position - self.first) as usize;
        let Place::Memory(data) = &mut self.place else { return (self.saved > 0, 0) };
        let Some(offset) = data.offsets.get(index).map(|offset| *offset as usize) else { return (false, 0) };
        let Some(flags) = data.octets.get_mut(offset + FLAGS) else { return (self.saved > 0, 0) };
        debug_assert!(*flags & SETTLED == 0, "settled twice");
        *flags |= SETTLED;
        let on_disk = *flags & PERSISTENT != 0 && offset < self.gathered as usize && self.saved > 0;
        if !on_disk {
            self.unsaved = self.unsaved.saturating_sub(1);
        }
        let mut freed = 0;
        if *flags & SHARED != 0 {
            if let Some(body) = record::shared(&data.octets[offset..]).and_then(|n| data.shared.get_mut(n)) {
                freed = body.len();
                data.shared_octets -= freed;
                *body = Bytes::new();
            }
        }
        (on_disk, freed)
    }

    /// Whether its records lie in memory, and nowhere else but on disk.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    /// A record that has been settled is not there any more.
    pub fn hide(&mut self, position: Position) {
        let Some(index) = position.checked_sub(self.first) else { return };
        if let Place::Memory(data) = &mut self.place {
            if let Some(offset) = data.offsets.get_mut(index as usize) {
                *offset = GONE;
            }
        }
    }

    /// Whether everything has been looked at for the disk.
    pub fn is_gathered(&self) -> bool {
        match &self.place {
            Place::Memory(data) => data.octets.len() == self.gathered as usize,
            _ => true,
        }
    }

    /// Whether anything is yet to be written of it.
    pub fn has_ungathered(&self) -> bool {
        let Place::Memory(data) = &self.place else { return false };
        let mut at = self.gathered as usize;
        while let Some(head) = Head::read(&data.octets[at..]) {
            if head.flags & PERSISTENT != 0 && head.flags & SETTLED == 0 {
                return true;
            }
            at += head.size;
        }
        false
    }

    /// Whether it is in memory and nothing of it is yet to be written to its segment.
    pub fn may_leave(&mut self) -> bool {
        if self.live == 0 || !matches!(self.place, Place::Memory(_)) || self.pending > 0 {
            return false;
        }
        if let Place::Memory(data) = &self.place {
            self.gathered = data.octets.len() as u32;
        }
        true
    }

    /// Gives up the buffer of an empty chunk.
    pub fn relax(&mut self) {
        if let (0, Place::Memory(data)) = (self.live, &mut self.place) {
            if data.octets.is_empty() {
                *data = Data::default();
            }
        }
    }

    /// Octets of persistent records that have not been looked at for the disk, their bodies included.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// Moves what is persistent, wanted and not there yet into its segment's file.
    pub fn gather(&mut self, log: LogId, segment: &mut Segment, batch: &mut Batch) {
        let Place::Memory(data) = &self.place else { return };
        let file = segment.file(log);
        let (mut at, mut run) = (self.gathered as usize, self.gathered as usize);
        let begun = segment.size;
        let flush = |run: usize, at: usize, segment: &mut Segment, batch: &mut Batch| {
            if run < at {
                batch.records(file, segment.size, &data.octets[run..at], segment.salt);
                segment.size += (at - run) as u32;
            }
        };
        while let Some(head) = Head::read(&data.octets[at..]) {
            let wanted = head.flags & PERSISTENT != 0 && head.flags & SETTLED == 0;
            let shared = record::shared(&data.octets[at..]).and_then(|number| data.shared.get(number));
            if !wanted || shared.is_some() {
                flush(run, at, segment, batch);
                run = at + head.size;
            }
            if let Some(body) = shared.filter(|_| wanted) {
                batch.large(file, segment.size, &data.octets[at..at + head.size], body, segment.salt);
                segment.size += (head.before_body() + body.len()) as u32;
            }
            if wanted {
                let body = shared.map_or(head.size - head.before_body(), Bytes::len);
                self.bytes += body as u64;
                self.saved += 1;
                self.unsaved -= 1;
            }
            at += head.size;
        }
        flush(run, at, segment, batch);
        self.gathered = at as u32;
        self.pending = 0;
        if segment.size > begun {
            if self.size == 0 {
                self.offset = begun;
            }
            self.size = segment.size - self.offset;
        }
    }

    /// Its memory, if nobody else has it.
    pub fn into_data(self) -> Option<Data> {
        match self.place {
            Place::Memory(data) => Some(data),
            _ => None,
        }
    }

    /// Whether it has left memory once and can do so again at once, since all of it is on disk.
    pub fn is_borrowed(&self) -> bool {
        self.sealed && self.saved > 0 && self.unsaved == 0 && matches!(self.place, Place::Memory(_))
    }

    /// Takes the records out of their memory, which is returned. They have to be on disk.
    pub fn leave(&mut self) -> Option<Data> {
        if matches!(self.place, Place::Memory(_)) {
            self.note_gone();
        }
        match std::mem::replace(&mut self.place, Place::Disk) {
            Place::Memory(data) => Some(data),
            _ => None,
        }
    }

    /// Begins to leave for the spill file: what is to be written there.
    pub fn begin_leaving(&mut self) -> Option<Arc<Data>> {
        self.note_gone();
        match std::mem::replace(&mut self.place, Place::Disk) {
            Place::Memory(data) => {
                let data = Arc::new(data);
                self.place = Place::Leaving(Arc::clone(&data));
                Some(data)
            }
            other => {
                self.place = other;
                None
            }
        }
    }

    /// Does not leave after all. Nobody else may have the records any more.
    pub fn stay(&mut self) {
        if let Place::Leaving(_) = self.place {
            if let Place::Leaving(data) = std::mem::replace(&mut self.place, Place::Disk) {
                self.place = match Arc::try_unwrap(data) {
                    Ok(data) => Place::Memory(data),
                    Err(data) => Place::Leaving(data),
                };
            }
        }
    }

    /// Remembers which of its records are not wanted any more.
    fn note_gone(&mut self) {
        self.sealed = true;
        let count = (self.end - self.first) as usize;
        let Some(data) = self.data() else { return };
        let mut gone = Gone::new(count);
        let mut any = false;
        for index in (0..count).filter(|index| !data.is_wanted(*index)) {
            gone.insert(index);
            any = true;
        }
        self.gone = any.then_some(gone);
    }

    /// Takes records that have been read from disk, and says which of those it should hold were not there.
    pub fn arrive(&mut self, mut data: Data) -> Vec<Position> {
        let missing = |index: &usize| data.offsets.get(*index).is_none_or(|offset| *offset == GONE);
        let lost = (0..(self.end - self.first) as usize)
            .filter(|index| !self.gone.as_ref().is_some_and(|gone| gone.contains(*index)))
            .filter(missing)
            .map(|index| self.first + index as u64)
            .collect();
        if let Some(gone) = &self.gone {
            let gone = |index: &usize| gone.contains(*index);
            for index in (0..data.offsets.len()).filter(gone) {
                data.offsets[index] = GONE;
            }
        }
        self.gathered = data.octets.len() as u32;
        self.unsaved = 0;
        self.place = Place::Memory(data);
        lost
    }
}
