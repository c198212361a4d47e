//! Recovery: a log out of its files.
//!
//! Complete segments are known by their index and are not read; the others are read and checked. What was not written
//! whole at the end of a file is cut off. Damage in the middle is reported, and what comes after it is found again by
//! its checksums. Nothing is appended to what was found: a log goes on in a new segment, beyond every position that any
//! file mentions.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::budget::Budget;
use super::chunk::{Chunk, Data, Gone, Span};
use super::disk::{Disk, FileName, Kind};
use super::labels::Labels;
use super::lasting::Lasting;
use super::segment::{self, Entry, Index, Segment};
use super::{Log, LogId, Position, record};

/// The octets that are checksummed at most to find a record behind damage.
const SEARCH_MAX: usize = 1 << 30;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: FileName,
    /// Octets before it.
    pub offset: u64,
    /// Octets that are passed over.
    pub size: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    pub log: Log,
    pub messages: usize,
    /// Octets of their bodies.
    pub bytes: u64,
    /// Messages before this position may have been delivered.
    pub delivered: Position,
    /// Files that may not be durable, though they were read.
    pub unsynced: Vec<FileName>,
    pub damage: Vec<Damage>,
}

/// Recovers a log out of those of the files that are its own.
pub fn recover(disk: &dyn Disk, id: LogId, budget: Arc<Budget>, files: &[FileName]) -> io::Result<Recovered> {
    recover_as(disk, id, budget, None, files)
}

/// The same for a log that may be a lasting one. Such a log goes on right behind its last record: files without any go
/// at once, so that their names are free; removing files has to be made durable before anything is written.
pub fn recover_as(
    disk: &dyn Disk,
    id: LogId,
    budget: Arc<Budget>,
    lasting: Option<Lasting>,
    files: &[FileName],
) -> io::Result<Recovered> {
    let mut log = Log::new(Some(id), budget);
    if let Some(lasting) = lasting {
        log.make_lasting(lasting);
    }
    let mut found =
        Recovered { log, messages: 0, bytes: 0, delivered: 0, unsynced: Vec::new(), damage: Vec::new() };
    let mut own: Vec<_> = files.iter().filter(|file| file.log == id).copied().collect();
    own.sort_unstable();
    for file in own.iter().filter(|file| file.kind == Kind::Records) {
        let settled = FileName { kind: Kind::Settled, ..*file };
        found.segment(disk, *file, own.contains(&settled).then_some(settled))?;
    }
    let alone = own.iter().filter(|file| {
        file.kind == Kind::Settled && !own.contains(&FileName { kind: Kind::Records, ..**file })
    });
    for file in alone {
        // No new segment may have its name.
        found.log.next = found.log.next.max(file.first + 1);
        found.log.removed.push(*file);
    }
    found.log.finish_recovery(found.delivered);
    Ok(found)
}

/// A chunk of which something is wanted, and the octets of the bodies of that.
type Kept = (Chunk, u64);

/// What a segment's file says.
struct Contents {
    chunks: Vec<Kept>,
    /// The position after the last one that is mentioned.
    end: Position,
    mark: Option<Position>,
    /// Octets that are whole.
    size: u32,
    index: Index,
}

impl Recovered {
    fn segment(&mut self, disk: &dyn Disk, file: FileName, settled: Option<FileName>) -> io::Result<()> {
        let size = disk.size(file)?;
        let front = read(disk, file, 0, segment::HEAD.min(size as usize))?;
        let Some(head) = segment::read_head(file, &front) else {
            let unwritten = front.len() < segment::HEAD || front.iter().all(|octet| *octet == 0);
            if unwritten && self.log.is_lasting() {
                return disk.remove(file);
            }
            // Beyond whatever it may hold.
            let most =
                if self.log.is_lasting() { size / record::HEAD as u64 } else { self.log.sizes.segment };
            self.log.next = self.log.next.max(file.first + most + 1);
            if unwritten {
                // It was never written whole.
                self.log.removed.extend([Some(file), settled].into_iter().flatten());
            } else {
                self.damage.push(Damage { file, offset: 0, size });
            }
            return Ok(());
        };
        let mut segment = Segment::new(file.log, file.first, 0);
        segment.salt = head.salt;
        segment.is_durable = true;
        segment.appended = self.log.sizes.segment;
        let runs = self.settlements(disk, settled, &mut segment)?;
        let damaged = self.damage.len();
        let contents = match self.by_index(disk, file, size, head.salt, &runs)? {
            Some(contents) => contents,
            None => self.by_scan(disk, file, head.salt, &runs)?,
        };
        if self.log.is_lasting() {
            if contents.end == file.first && self.damage.len() == damaged {
                return disk.remove(file);
            }
            segment.appended = contents.size.into();
        }
        self.delivered = contents.mark.unwrap_or(head.mark);
        segment.size = contents.size;
        segment.index = contents.index;
        segment.chunks = contents.chunks.len() as u32;
        self.unsynced.push(file);
        let ends = runs.values().map(|end| file.first + u64::from(*end));
        let end = ends.max().unwrap_or_default().max(contents.end).max(file.first + 1);
        self.log.next = self.log.next.max(end).max(self.delivered);
        segment.end = end;
        for (chunk, bytes) in contents.chunks {
            self.messages += chunk.live as usize;
            self.bytes += bytes;
            self.log.chunks.push_back(chunk);
        }
        self.log.segments.push_back(segment);
        Ok(())
    }

    /// The settled runs of a segment: the first position and the one after the last, counted from the first of the
    /// segment, each run apart from the others.
    fn settlements(
        &mut self,
        disk: &dyn Disk,
        file: Option<FileName>,
        segment: &mut Segment,
    ) -> io::Result<BTreeMap<u32, u32>> {
        let mut runs = BTreeMap::new();
        let Some(file) = file else { return Ok(runs) };
        let size = disk.size(file)?;
        let octets = read(disk, file, 0, size as usize)?;
        let head = segment::read_head(file, &octets).filter(|head| head.salt == segment.salt);
        let whole = match head {
            Some(head) => {
                let found = segment::read_settlements(&octets[segment::HEAD..], head.salt);
                segment.settled = (segment::HEAD + found.len() * segment::SETTLEMENT) as u32;
                let mut found: Vec<_> =
                    found.into_iter().map(|(first, count)| (first, first.saturating_add(count))).collect();
                found.sort_unstable();
                let mut last: Option<(u32, u32)> = None;
                for (first, end) in found {
                    match &mut last {
                        Some(run) if first <= run.1 => run.1 = run.1.max(end),
                        _ => runs.extend(last.replace((first, end))),
                    }
                }
                runs.extend(last);
                u64::from(segment.settled)
            }
            None => 0,
        };
        if whole < size {
            disk.truncate(file, whole)?;
        }
        Ok(runs)
    }

    fn by_index(
        &mut self,
        disk: &dyn Disk,
        file: FileName,
        size: u64,
        salt: u32,
        runs: &BTreeMap<u32, u32>,
    ) -> io::Result<Option<Contents>> {
        let Some(at) = size.checked_sub((segment::HEAD + segment::TRAILER) as u64) else { return Ok(None) };
        let trailer = read(disk, file, at + segment::HEAD as u64, segment::TRAILER)?;
        let Some((offset, octets)) = segment::read_trailer(&trailer, salt) else { return Ok(None) };
        if u64::from(offset) + u64::from(octets) + segment::TRAILER as u64 != size {
            return Ok(None);
        }
        let octets = read(disk, file, offset.into(), octets as usize)?;
        let Some((mark, entries)) = segment::read_index(&octets, salt) else { return Ok(None) };
        let end = entries.iter().map(|entry| file.first + u64::from(entry.end)).max().unwrap_or_default();
        let mut chunks = Vec::new();
        for entry in entries {
            chunks.extend(self.chunk_of(disk, file, salt, &entry, runs)?);
        }
        Ok(Some(Contents { chunks, end, mark: Some(mark), size: size as u32, index: Index::Written }))
    }

    /// A chunk as the index has it; it is read only if some of its records are gone and some are not.
    fn chunk_of(
        &mut self,
        disk: &dyn Disk,
        file: FileName,
        salt: u32,
        entry: &Entry,
        runs: &BTreeMap<u32, u32>,
    ) -> io::Result<Option<Kept>> {
        let at = |relative: u32| file.first + u64::from(relative);
        let mut chunk = Chunk::on_disk(at(entry.first), at(entry.end), file.first);
        (chunk.saved, chunk.offset, chunk.size) = (entry.records, entry.offset, entry.size);
        (chunk.live, chunk.bytes) = (entry.records, entry.bytes);
        (chunk.latest, chunk.labels) = (entry.latest, entry.labels.clone());
        let settled = overlap(runs, entry.first..entry.end);
        let count = entry.end.saturating_sub(entry.first);
        if settled == count || entry.records == 0 {
            return Ok(None);
        }
        if settled == 0 && entry.records == count {
            return Ok(Some((chunk, entry.bytes)));
        }
        let image = read(disk, file, entry.offset.into(), entry.size as usize)?;
        let span = Span { first: chunk.first, end: chunk.end, base: file.first, salt, gone: None };
        let (data, bad) = Data::read(&image, &span);
        if let Some(bad) = bad {
            let offset = u64::from(entry.offset) + bad as u64;
            self.damage.push(Damage { file, offset, size: (image.len() - bad) as u64 });
        }
        let present = (chunk.first..chunk.end).filter_map(|position| {
            let record = data.get((position - chunk.first) as usize)?;
            Some((position, record.parts.body.size() as u64))
        });
        let present: Vec<_> = present.collect();
        Ok(take_stock(&mut chunk, &present, runs).map(|bytes| (chunk, bytes)))
    }

    /// Reads a whole file, record by record.
    fn by_scan(
        &mut self,
        disk: &dyn Disk,
        file: FileName,
        salt: u32,
        runs: &BTreeMap<u32, u32>,
    ) -> io::Result<Contents> {
        let size = disk.size(file)?;
        let image = read(disk, file, 0, size as usize)?;
        let mut scan = Scan::new(file, runs, self.log.lasting);
        let (mut at, mut mark, mut search, mut damaged) = (segment::HEAD, None, SEARCH_MAX, false);
        let mut end = file.first;
        while at < image.len() {
            let Some(head) = record::check(&image[at..], salt) else {
                let Some(next) = find(&image, at + 1, salt, &mut search) else { break };
                self.damage.push(Damage { file, offset: at as u64, size: (next - at) as u64 });
                damaged = true;
                scan.end_chunk(at);
                scan.begin = next;
                at = next;
                continue;
            };
            match head.kind {
                record::Kind::Mark => mark = Some(head.timestamp),
                record::Kind::Message => {
                    let position = file.first + u64::from(head.relative);
                    // Few records can be far apart: a chunk takes memory for what was between them too.
                    let begun = scan.present.first().map_or(position, |(first, _)| *first);
                    let full = self.log.sizes.chunk;
                    if at + head.size - scan.begin > full || position.saturating_sub(begun) > full as u64 {
                        scan.end_chunk(at);
                    }
                    end = end.max(position + 1);
                    scan.latest = head.timestamp;
                    scan.label(&image[at..]);
                    scan.present.push((position, (head.size - head.before_body()) as u64));
                }
                // Left behind by a run that came to index it and no further.
                record::Kind::Index | record::Kind::LastingIndex => {}
            }
            at += head.size;
        }
        scan.end_chunk(at);
        if (at as u64) < size {
            disk.truncate(file, at as u64)?;
        }
        let index =
            if damaged || (at as u32) < self.log.sizes.index_min { Index::Written } else { Index::Complete };
        Ok(Contents { chunks: scan.chunks, end, mark, size: at as u32, index })
    }
}

/// A file that is being read record by record.
struct Scan<'a> {
    file: FileName,
    runs: &'a BTreeMap<u32, u32>,
    chunks: Vec<Kept>,
    /// The records of the chunk that is being read: their positions and the octets of their bodies.
    present: Vec<(Position, u64)>,
    /// Where the chunk begins.
    begin: usize,
    /// The timestamp of the last of them.
    latest: u64,
    lasting: Option<Lasting>,
    /// What they are labelled with, if that can be told.
    labels: Option<Box<Labels>>,
}

impl<'a> Scan<'a> {
    fn new(file: FileName, runs: &'a BTreeMap<u32, u32>, lasting: Option<Lasting>) -> Self {
        let (chunks, present) = (Vec::new(), Vec::new());
        Self { file, runs, chunks, present, begin: segment::HEAD, latest: 0, lasting, labels: None }
    }

    /// Notes what a record is labelled with, which begins these octets.
    fn label(&mut self, octets: &[u8]) {
        let Some(Lasting { labels: size, labeller: Some(label_of), .. }) = self.lasting else { return };
        if let Some(record) = record::get(octets, &[]) {
            self.labels.get_or_insert_with(|| Box::new(Labels::new(size))).add(label_of(&record.parts));
        }
    }

    fn end_chunk(&mut self, at: usize) {
        if let (Some(first), Some(last)) = (self.present.first(), self.present.last()) {
            let mut chunk = Chunk::on_disk(first.0, last.0 + 1, self.file.first);
            (chunk.offset, chunk.size) = (self.begin as u32, (at - self.begin) as u32);
            chunk.saved = self.present.len() as u32;
            chunk.latest = self.latest;
            chunk.labels = self.labels.take();
            chunk.bytes = self.present.iter().map(|(_, bytes)| bytes).sum();
            if let Some(bytes) = take_stock(&mut chunk, &self.present, self.runs) {
                self.chunks.push((chunk, bytes));
            }
        }
        self.present.clear();
        self.labels = None;
        self.begin = at;
    }
}

/// Counts what is wanted of a chunk whose records are these. Returns the octets of its bodies if there is anything.
fn take_stock(chunk: &mut Chunk, present: &[(Position, u64)], runs: &BTreeMap<u32, u32>) -> Option<u64> {
    let count = (chunk.end - chunk.first) as usize;
    let mut gone = Gone::new(count);
    (0..count).for_each(|index| gone.insert(index));
    let mut wanted = 0;
    chunk.live = 0;
    for (position, bytes) in present {
        let relative = (position - chunk.base) as u32;
        if overlap(runs, relative..relative + 1) == 0 {
            gone.remove((position - chunk.first) as usize);
            chunk.live += 1;
            wanted += bytes;
        }
    }
    if chunk.live as usize != count {
        chunk.gone = Some(gone);
    }
    (chunk.live > 0).then_some(wanted)
}

/// How many positions of a range are in the runs.
fn overlap(runs: &BTreeMap<u32, u32>, range: Range<u32>) -> u32 {
    let before = runs.range(..range.start).next_back();
    let within = runs.range(range.clone());
    before
        .into_iter()
        .chain(within)
        .map(|(first, end)| (*end).min(range.end).saturating_sub((*first).max(range.start)))
        .sum()
}

/// The next place from which on there is a whole record.
fn find(image: &[u8], from: usize, salt: u32, search: &mut usize) -> Option<usize> {
    (from..image.len()).find(|at| {
        let Some(head) = record::Head::read(&image[*at..]) else { return false };
        if head.size > image.len() - at || head.size > *search {
            return false;
        }
        *search -= head.size;
        record::check(&image[*at..], salt).is_some()
    })
}

/// Reads so many octets, or as many as there are.
fn read(disk: &dyn Disk, file: FileName, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; size];
    let count = disk.read(file, offset, &mut octets)?;
    octets.truncate(count);
    Ok(octets)
}

impl Log {
    fn finish_recovery(&mut self, delivered: Position) {
        self.mark = delivered;
        self.gathered = self.next;
        for index in (0..self.segments.len()).rev() {
            if self.segments[index].chunks == 0 {
                self.remove_segment(index);
            }
        }
        self.calls.gather =
            !self.removed.is_empty() || self.segments.iter().any(|segment| segment.index == Index::Complete);
    }
}
