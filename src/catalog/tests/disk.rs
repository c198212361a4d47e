//! A disk in memory that runs full, fails, and loses what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::catalog::file::Place;

const SECTOR: usize = 512;
const BLOCK: usize = 4096;

/// Numbers that depend on a seed alone (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// What the next operations are to suffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// As many operations succeed; after that the power is off.
    pub power: Option<u64>,
    /// Blocks there are.
    pub room: Option<usize>,
    pub write: bool,
    pub sync: bool,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<&'static str, u64>,
    contents: BTreeMap<u64, File>,
    faults: Faults,
    operations: u64,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// As programs see it.
    seen: Vec<u8>,
    /// As it surely is after a power loss.
    durable: Vec<u8>,
    /// Sectors that may or may not be on disk.
    unsynced: BTreeSet<usize>,
    /// The blocks that take room.
    blocks: BTreeSet<usize>,
}

#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub fn suffer(&self, faults: Faults) {
        let mut state = self.0.lock();
        (state.faults, state.operations) = (faults, 0);
    }

    /// Writes and syncs since the last faults were set.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Blocks in use.
    pub fn used(&self) -> usize {
        self.0.lock().contents.values().map(|file| file.blocks.len()).sum()
    }

    /// What is there when the power is back: of what was not synced any part.
    pub fn after_power_loss(&self, random: &mut Random) -> Self {
        let state = self.0.lock();
        let contents = state.contents.iter().map(|(id, file)| (*id, file.after_power_loss(random)));
        let after = State { files: state.files.clone(), contents: contents.collect(), ..State::default() };
        Self(Arc::new(Mutex::new(after)))
    }

    /// What is there after the process has been killed.
    pub fn after_kill(&self) -> Self {
        let state = self.0.lock();
        let after =
            State { files: state.files.clone(), contents: state.contents.clone(), ..State::default() };
        Self(Arc::new(Mutex::new(after)))
    }

    /// The octets of the file that counts.
    pub fn octets(&self) -> Vec<u8> {
        let state = self.0.lock();
        state.files.get("catalog").map(|id| state.contents[id].seen.clone()).unwrap_or_default()
    }

    /// A disk with just this file.
    pub fn with(octets: Vec<u8>) -> Self {
        let file = File { durable: octets.clone(), seen: octets, ..File::default() };
        let (files, contents) = (BTreeMap::from([("catalog", 0)]), BTreeMap::from([(0, file)]));
        Self(Arc::new(Mutex::new(State { files, contents, ..State::default() })))
    }

    fn handle(&self, id: u64) -> Box<dyn StorageBackend> {
        Box::new(Handle { disk: self.clone(), id })
    }
}

impl File {
    fn after_power_loss(&self, random: &mut Random) -> Self {
        let mut octets = self.durable.clone();
        // The file may be as long as it was or as long as it is.
        if random.below(2) == 0 {
            octets.resize(self.seen.len(), 0);
        }
        for sector in &self.unsynced {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.seen.len()).min(octets.len());
            if range.start < range.end && random.below(2) == 0 {
                octets[range.clone()].copy_from_slice(&self.seen[range]);
            }
        }
        let blocks = self.blocks.iter().copied().filter(|block| block * BLOCK < octets.len()).collect();
        Self { seen: octets.clone(), durable: octets, unsynced: BTreeSet::new(), blocks }
    }
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        if self.faults.power.is_some_and(|power| self.operations >= power) {
            return Err(io::Error::other("no power"));
        }
        self.operations += 1;
        Ok(())
    }

    fn file(&mut self, id: u64) -> &mut File {
        self.contents.entry(id).or_default()
    }
}

impl Place for Disk {
    fn name(&self) -> String {
        "catalog".to_owned()
    }

    fn open(&self) -> io::Result<Option<Box<dyn StorageBackend>>> {
        Ok(self.0.lock().files.get("catalog").map(|id| self.handle(*id)))
    }

    fn make(&self) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.0.lock();
        state.operate()?;
        let id = state.contents.keys().next_back().map_or(0, |last| last + 1);
        state.contents.insert(id, File::default());
        if let Some(old) = state.files.insert("new", id) {
            state.contents.remove(&old);
        }
        drop(state);
        Ok(self.handle(id))
    }

    fn replace(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let new = state.files.remove("new").ok_or(io::ErrorKind::NotFound)?;
        if let Some(old) = state.files.insert("catalog", new) {
            state.contents.remove(&old);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    id: u64,
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().file(self.id).seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let seen = state.file(self.id).seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(seen.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.operate()?;
        let file = state.file(self.id);
        file.seen.resize(len as usize, 0);
        file.blocks.retain(|block| block * BLOCK < len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.operate()?;
        let fails = state.faults.sync;
        let file = state.file(self.id);
        if fails {
            // As Linux does: what could not be written is taken for written, and is not tried again.
            file.unsynced.clear();
            return Err(io::Error::from_raw_os_error(5));
        }
        file.durable.resize(file.seen.len(), 0);
        for sector in std::mem::take(&mut file.unsynced) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(file.seen.len());
            if range.start < range.end {
                file.durable[range.clone()].copy_from_slice(&file.seen[range]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.operate()?;
        if state.faults.write {
            return Err(io::Error::from_raw_os_error(5));
        }
        let used: usize = state.contents.values().map(|file| file.blocks.len()).sum();
        let room = state.faults.room;
        let range = offset as usize..offset as usize + octets.len();
        let file = state.file(self.id);
        let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
        let more = blocks.clone().filter(|block| !file.blocks.contains(block)).count();
        if more > 0 && room.is_some_and(|room| used + more > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.blocks.extend(blocks);
        if file.seen.len() < range.end {
            file.seen.resize(range.end, 0);
        }
        file.unsynced.extend(range.start / SECTOR..range.end.div_ceil(SECTOR));
        file.seen[range].copy_from_slice(octets);
        Ok(())
    }
}
