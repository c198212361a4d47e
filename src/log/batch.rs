//! A batch: what is to be written, gathered under a lock and written without it.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::disk::{Disk, FileName, Kind};
use super::record;
use super::spill::Extent;

/// A batch keeps a buffer of at most this many octets when it has been written.
const KEEP: usize = 1 << 20;

/// One write at an offset of a file.
#[derive(Debug)]
struct Write {
    file: FileName,
    offset: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Records whose checksums are to be filled in with this salt.
    Records(Range<usize>, u32),
    /// The front of a record and its body.
    Large(Range<usize>, Bytes, u32),
    /// Anything else.
    Octets(Range<usize>),
}

/// Writes in the order they have to happen in, and what comes after them. One batch serves for all commits.
#[derive(Debug, Default)]
pub struct Batch {
    buffer: Vec<u8>,
    writes: Vec<Write>,
    /// How many of them have got their checksums.
    sealed: usize,
    /// How many of them are done.
    written: usize,
    removed: BTreeSet<FileName>,
    /// Those of them that are still there, in order.
    remaining: BTreeSet<FileName>,
    /// Those of them that have to be there until this commit is durable.
    late: BTreeSet<FileName>,
    /// Those, of this commit and of earlier ones, that are still there and may go at any time.
    idle: BTreeSet<FileName>,
    freed: Vec<Extent>,
    records: BTreeSet<FileName>,
    settled: BTreeSet<FileName>,
    /// A file has been made whose name is not durable.
    created: bool,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.removed.is_empty() && self.freed.is_empty()
    }

    /// Octets that it holds, but for large bodies.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    fn push(&mut self, octets: &[u8]) -> Range<usize> {
        let from = self.buffer.len();
        self.buffer.extend_from_slice(octets);
        from..self.buffer.len()
    }

    /// Records as they lie in memory.
    pub(super) fn records(&mut self, file: FileName, offset: u32, octets: &[u8], salt: u32) {
        let range = self.push(octets);
        self.records.insert(file);
        let open = self.writes.len() > self.sealed;
        if let Some(Write { file: last, offset: begin, what: What::Records(before, _) }) =
            self.writes.last_mut()
        {
            let end = *begin + before.len() as u64;
            if open && *last == file && before.end == range.start && end == u64::from(offset) {
                before.end = range.end;
                return;
            }
        }
        self.writes.push(Write { file, offset: offset.into(), what: What::Records(range, salt) });
    }

    /// A record whose body is elsewhere.
    pub(super) fn large(&mut self, file: FileName, offset: u32, record: &[u8], body: &Bytes, salt: u32) {
        let from = self.buffer.len();
        record::put_front(&mut self.buffer, record, body.len());
        let what = What::Large(from..self.buffer.len(), body.clone(), salt);
        self.records.insert(file);
        self.writes.push(Write { file, offset: offset.into(), what });
    }

    /// Octets that are complete as they are.
    pub(super) fn octets(&mut self, file: FileName, offset: u32, octets: &[u8]) {
        match file.kind {
            Kind::Settled => self.settled.insert(file),
            _ => self.records.insert(file),
        };
        let what = What::Octets(self.push(octets));
        self.created |= offset == 0;
        self.writes.push(Write { file, offset: offset.into(), what });
    }

    /// The index of a complete segment, which need not be durable.
    pub(super) fn index(&mut self, file: FileName, offset: u32, octets: &[u8]) {
        let what = What::Octets(self.push(octets));
        self.writes.push(Write { file, offset: offset.into(), what });
    }

    /// A file that nobody needs any more, whatever is still to be written to it. That it is gone may be all that says that
    /// what was in it is settled, so it goes before the commit is announced; if it is `late`, only once the rest is durable.
    pub(super) fn remove(&mut self, file: FileName, late: bool) {
        if self.removed.insert(file) {
            self.remaining.insert(file);
        }
        if late {
            self.late.insert(file);
        }
    }

    /// A file of which nothing counts, whether it is there or not: of a log that is not to be found any more, or the front of
    /// one that only lasts. Nobody waits for it to go.
    pub(super) fn discard(&mut self, file: FileName) {
        self.removed.insert(file);
        self.idle.insert(file);
    }

    /// Space of the spill files that nobody needs any more.
    pub(super) fn free(&mut self, extents: &mut Vec<Extent>) {
        self.freed.append(extents);
    }

    /// Writes everything that has not been written. After an error it may be called again, and more may be gathered
    /// meanwhile.
    pub fn write(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.seal();
        for write in &self.writes[self.written..] {
            let Write { file, offset, what } = write;
            if !self.removed.contains(file) {
                match what {
                    What::Records(range, _) | What::Octets(range) => {
                        disk.write(*file, *offset, &self.buffer[range.clone()])?;
                    }
                    What::Large(range, body, _) => {
                        disk.write(*file, *offset, &self.buffer[range.clone()])?;
                        disk.write(*file, *offset + range.len() as u64, body)?;
                    }
                }
            }
            self.written += 1;
        }
        Ok(())
    }

    fn seal(&mut self) {
        for write in &self.writes[self.sealed..] {
            match &write.what {
                What::Records(range, salt) => record::seal(&mut self.buffer[range.clone()], *salt),
                What::Large(range, body, salt) => {
                    record::seal_front(&mut self.buffer[range.clone()], body, *salt);
                }
                What::Octets(_) => {}
            }
        }
        self.sealed = self.writes.len();
    }

    /// Makes durable what has been written: the records, and the settlements of `settled` too.
    pub fn sync(&mut self, disk: &dyn Disk, settled: &BTreeSet<FileName>) -> io::Result<()> {
        let needed = self.records.iter().chain(settled).filter(|file| !self.removed.contains(file));
        let files: Vec<_> = needed.copied().collect();
        if !files.is_empty() {
            disk.sync(&files, self.created)?;
            self.created = false;
        }
        Ok(())
    }

    /// The files of settlements that have been written to, without those that are removed.
    pub fn settled(&self) -> impl Iterator<Item = FileName> + '_ {
        self.settled.difference(&self.removed).copied()
    }

    /// The files that go.
    pub fn removed(&self) -> &BTreeSet<FileName> {
        &self.removed
    }

    /// Removes what is to be gone when the commit is announced, once it is durable.
    pub fn remove_files(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.late.clear();
        self.remove_remaining(disk)
    }

    /// Removes so many files that nobody waits for, the oldest of a log first. They may come back after a crash, and go again.
    pub fn remove_idle(&mut self, disk: &dyn Disk, count: usize) -> io::Result<()> {
        for _ in 0..count {
            let Some(file) = self.idle.first().copied() else { break };
            disk.remove(file)?;
            self.idle.remove(&file);
        }
        Ok(())
    }

    /// Whether files that nobody waits for are still there.
    pub fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Removes what need not wait for this commit, since the disk is full.
    pub fn make_room(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.remove_idle(disk, usize::MAX)?;
        self.remove_remaining(disk)
    }

    /// Removes what need not be there until the commit is durable.
    ///
    /// It is gone for good then: nothing else says that what was in it is settled and has been delivered. A crash may
    /// bring some files back and others not, so the last one of a log, where the mark is, goes after the others, and
    /// files of settlements go after the records beside them.
    fn remove_remaining(&mut self, disk: &dyn Disk) -> io::Result<()> {
        // Of those that have to be there for their marks, the last one of a log says what the others say.
        let late = &self.late;
        let is_kept = |file: &FileName| {
            late.contains(file) && !late.iter().any(|other| other.log == file.log && other.first > file.first)
        };
        let going: Vec<_> = self.remaining.iter().filter(|file| !is_kept(file)).copied().collect();
        let (settled, records): (Vec<_>, Vec<_>) =
            going.into_iter().partition(|file| file.kind == Kind::Settled);
        let is_last = |at: usize| records.get(at + 1).is_none_or(|next| next.log != records[at].log);
        for last in [false, true] {
            let mut any = false;
            for at in (0..records.len()).filter(|at| is_last(*at) == last) {
                disk.remove(records[at])?;
                any = true;
            }
            if any {
                disk.sync(&[], true)?;
            }
        }
        settled.into_iter().try_for_each(|file| disk.remove(file))?;
        self.remaining.retain(is_kept);
        Ok(())
    }

    /// Empties it for the next commit, but for files that nobody waits for, and returns the freed extents.
    pub fn clear(&mut self) -> Vec<Extent> {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        self.writes.clear();
        (self.sealed, self.written) = (0, 0);
        self.removed.clear();
        self.records.clear();
        self.settled.clear();
        std::mem::take(&mut self.freed)
    }
}
