//! The simulated disk, and how far each file is durable for certain.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use leveret::log::disk::{Disk, FileName};

use super::sim_disk::SimDisk;

/// Says what happens if somebody wants to know.
pub fn note(what: impl FnOnce() -> String) {
    if std::env::var_os("LEVERET_TRACE").is_some() {
        eprintln!("          {}", what());
    }
}

#[derive(Debug)]
pub struct Watch {
    pub disk: SimDisk,
    /// Octets that were there when the file was synced last.
    synced: Mutex<BTreeMap<FileName, u64>>,
}

impl Watch {
    pub fn new(disk: SimDisk) -> Self {
        Self { disk, synced: Mutex::default() }
    }

    /// The disk that is found after this one was lost.
    pub fn found(&self, disk: SimDisk) -> Self {
        Self { disk, synced: Mutex::new(self.synced.lock().expect("no panic").clone()) }
    }

    /// So many octets of a file are as they were written, whatever has happened.
    pub fn synced(&self, file: FileName) -> u64 {
        self.synced.lock().expect("no panic").get(&file).copied().unwrap_or(0)
    }
}

impl Disk for Watch {
    fn list(&self) -> io::Result<Vec<FileName>> {
        self.disk.list()
    }

    fn size(&self, file: FileName) -> io::Result<u64> {
        self.disk.size(file)
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read(file, offset, buffer)
    }

    fn write(&self, file: FileName, offset: u64, octets: &[u8]) -> io::Result<()> {
        note(|| format!("write {file} {offset} {}", octets.len()));
        self.disk.write(file, offset, octets)
    }

    fn truncate(&self, file: FileName, size: u64) -> io::Result<()> {
        note(|| format!("truncate {file} {size}"));
        self.disk.truncate(file, size)
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        note(|| format!("remove {file}"));
        // Another one may have its name.
        self.synced.lock().expect("no panic").remove(&file);
        self.disk.remove(file)
    }

    fn sync(&self, files: &[FileName], names: bool) -> io::Result<()> {
        note(|| format!("sync {} {names}", files.iter().map(|file| format!("{file} ")).collect::<String>()));
        self.disk.sync(files, names)?;
        for file in files {
            let size = self.disk.size(*file)?;
            self.synced.lock().expect("no panic").insert(*file, size);
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        self.disk.free()
    }
}
