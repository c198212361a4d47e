//! What the disk is used for, counted: a disk around another one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::log::disk::{Disk, FileName};

/// How often, how much and for how long the disk has been used.
#[derive(Debug, Default)]
pub struct DiskUse {
    reads: Calls,
    writes: Calls,
    syncs: Calls,
    /// Octets that were free when somebody looked last.
    free: AtomicU64,
}

#[derive(Debug, Default)]
struct Calls {
    count: AtomicU64,
    octets: AtomicU64,
    microseconds: AtomicU64,
}

/// One kind of use at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub count: u64,
    pub octets: u64,
    /// All together.
    pub microseconds: u64,
}

impl Calls {
    fn note<T>(
        &self,
        octets: impl FnOnce(&T) -> usize,
        run: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let begun = Instant::now();
        let result = run();
        let spent = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(spent, Ordering::Relaxed);
        if let Ok(value) = &result {
            self.octets.fetch_add(octets(value) as u64, Ordering::Relaxed);
        }
        result
    }

    fn used(&self) -> Used {
        Used {
            count: self.count.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            microseconds: self.microseconds.load(Ordering::Relaxed),
        }
    }
}

impl DiskUse {
    pub fn reads(&self) -> Used {
        self.reads.used()
    }

    pub fn writes(&self) -> Used {
        self.writes.used()
    }

    pub fn syncs(&self) -> Used {
        self.syncs.used()
    }

    /// Octets that were free when somebody looked last; 0 if nobody has.
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }
}

/// A disk whose use is counted.
pub struct Counted {
    pub disk: Arc<dyn Disk>,
    pub used: Arc<DiskUse>,
}

impl Disk for Counted {
    fn list(&self) -> io::Result<Vec<FileName>> {
        self.disk.list()
    }

    fn size(&self, file: FileName) -> io::Result<u64> {
        self.disk.size(file)
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.used.reads.note(|count| *count, || self.disk.read(file, offset, buffer))
    }

    fn write(&self, file: FileName, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.used.writes.note(|()| octets.len(), || self.disk.write(file, offset, octets))
    }

    fn truncate(&self, file: FileName, size: u64) -> io::Result<()> {
        self.disk.truncate(file, size)
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        self.disk.remove(file)
    }

    fn sync(&self, files: &[FileName], names: bool) -> io::Result<()> {
        self.used.syncs.note(|()| 0, || self.disk.sync(files, names))
    }

    fn free(&self) -> io::Result<u64> {
        let free = self.disk.free()?;
        self.used.free.store(free, Ordering::Relaxed);
        Ok(free)
    }

    fn close_idle(&self) {
        self.disk.close_idle();
    }
}
