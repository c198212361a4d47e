//! Spill files: where chunks go that have to leave memory and are not on disk.
//!
//! They are shared by all logs, made durable by nobody, and of no use to another run of the node.

use std::collections::BTreeMap;
use std::io;

use super::LogId;
use super::chunk::Data;
use super::disk::{Disk, FileName, Kind};

/// Octets of a file that is full.
const FULL: u32 = 32 << 20;

/// Where a chunk lies in the spill files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub file: u32,
    pub offset: u32,
    /// Octets.
    pub size: u32,
}

impl Extent {
    pub fn name(&self) -> FileName {
        name(self.file)
    }
}

fn name(file: u32) -> FileName {
    FileName { log: LogId(0), first: file.into(), kind: Kind::Spill }
}

/// Writes spill files, and removes those of which nothing is wanted.
#[derive(Debug)]
pub struct Spill {
    /// A file takes chunks as long as it has fewer octets.
    full: u32,
    current: u32,
    size: u32,
    /// Octets that are wanted, of each file.
    wanted: BTreeMap<u32, u64>,
    scratch: Vec<u8>,
}

impl Default for Spill {
    fn default() -> Self {
        Self::with_size(FULL)
    }
}

impl Spill {
    /// With files of about so many octets.
    pub fn with_size(full: u32) -> Self {
        Self { full, current: 0, size: 0, wanted: BTreeMap::new(), scratch: Vec::new() }
    }

    /// Writes what is wanted of a chunk.
    pub fn write(&mut self, disk: &dyn Disk, data: &Data, salt: u32) -> io::Result<Extent> {
        self.scratch.clear();
        data.write(&mut self.scratch, salt);
        disk.write(name(self.current), self.size.into(), &self.scratch)?;
        let size = self.scratch.len() as u32;
        let extent = Extent { file: self.current, offset: self.size, size };
        *self.wanted.entry(self.current).or_default() += u64::from(size);
        self.size += size;
        if self.size >= self.full {
            self.size = 0;
            self.current += 1;
        }
        self.scratch.shrink_to(FULL as usize / 32);
        Ok(extent)
    }

    /// Gives an extent back.
    pub fn free(&mut self, disk: &dyn Disk, extent: Extent) -> io::Result<()> {
        let Some(wanted) = self.wanted.get_mut(&extent.file) else { return Ok(()) };
        *wanted = wanted.saturating_sub(extent.size.into());
        if *wanted > 0 {
            return Ok(());
        }
        self.wanted.remove(&extent.file);
        if extent.file == self.current {
            self.size = 0;
            self.current += 1;
        }
        disk.remove(extent.name())
    }

    /// Removes what another run has left.
    pub fn clear(disk: &dyn Disk, files: &[FileName]) -> io::Result<()> {
        files.iter().filter(|file| file.kind == Kind::Spill).try_for_each(|file| disk.remove(*file))
    }
}
