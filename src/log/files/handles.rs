//! The files that are held open, and what is owed to those who sync them.
//!
//! Nothing here does I/O: whoever asks for a handle that is not there opens the file and puts it in.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::log::disk::{FileName, Kind};

/// Files that are held open at most, save for those in use just now.
pub const HANDLES_MAX: usize = 64;

#[derive(Debug)]
struct Handle {
    file: Arc<File>,
    /// The time of its last use.
    used: u64,
    /// Whether it was written to since its last sync.
    unsynced: bool,
}

impl Handle {
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.file) > 1
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Reading,
    Changing,
}

#[derive(Debug, Default)]
pub struct Handles {
    open: HashMap<FileName, Handle>,
    /// Whether a handle may go before its file is synced.
    may_lose_sight: bool,
    /// Counts uses.
    now: u64,
    /// The time when idle handles were closed.
    swept: u64,
    /// Counts removals of files. A file that was opened before one may be the removed one.
    removals: u64,
    /// Files that were closed before they were synced: only a sync of the whole file system says what became of them.
    out_of_sight: HashSet<FileName>,
    /// Files whose sync has failed without anybody having been told who asked for it.
    owed: HashMap<FileName, i32>,
}

/// What is known of unsynced files when a sync of the whole file system begins. Those that are open stay so until this
/// is dropped.
#[derive(Debug)]
pub struct Unsynced {
    open: Vec<(FileName, Arc<File>)>,
    out_of_sight: HashSet<FileName>,
}

impl Handles {
    /// `may_lose_sight` is whether a sync of the whole file system reports what a handle would have reported.
    pub fn new(may_lose_sight: bool) -> Self {
        Self { may_lose_sight, ..Self::default() }
    }

    /// Some count of removals, to be given back to [`Handles::put`].
    pub fn removals(&self) -> u64 {
        self.removals
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.open.len()
    }

    pub fn get(&mut self, name: FileName, wanted: Use) -> Option<Arc<File>> {
        self.now += 1;
        let handle = self.open.get_mut(&name)?;
        handle.used = self.now;
        handle.unsynced |= needs_sync(name, wanted);
        Some(Arc::clone(&handle.file))
    }

    /// Takes in a file that was opened when the count of removals was `removals`, keeps it if there is a place for it,
    /// and says which handle is to be used: somebody may have been faster. `None` is for having to open it again.
    pub fn put(&mut self, name: FileName, file: File, wanted: Use, removals: u64) -> Option<Arc<File>> {
        if removals != self.removals {
            return None;
        }
        if let Some(there) = self.get(name, wanted) {
            return Some(there);
        }
        let file = Arc::new(file);
        let unsynced = needs_sync(name, wanted);
        let has_room = self.open.len() < HANDLES_MAX || self.evict();
        if has_room || unsynced {
            self.open.insert(name, Handle { file: Arc::clone(&file), used: self.now, unsynced });
        }
        Some(file)
    }

    /// Closes the file that was used least recently, rather one that is synced, if one may go.
    pub fn evict(&mut self) -> bool {
        let may_go = |handle: &Handle| !handle.in_use() && (self.may_lose_sight || !handle.unsynced);
        let candidates = self.open.iter().filter(|(_, handle)| may_go(handle));
        let victim = candidates.min_by_key(|(_, handle)| (handle.unsynced, handle.used));
        let Some(name) = victim.map(|(name, _)| *name) else { return false };
        if self.open.remove(&name).is_some_and(|handle| handle.unsynced) {
            self.out_of_sight.insert(name);
        }
        true
    }

    /// A file that has to be synced so that its handle can go, where all are taken by such ones.
    pub fn crowded(&self) -> Option<(FileName, Arc<File>)> {
        if self.open.len() < HANDLES_MAX || self.open.values().any(|handle| !handle.unsynced) {
            return None;
        }
        let (name, handle) = self.open.iter().min_by_key(|(_, handle)| handle.used)?;
        Some((*name, Arc::clone(&handle.file)))
    }

    /// A file has been changed. (A sync that began before does not cover it.)
    pub fn changed(&mut self, name: FileName) {
        if let Some(handle) = self.open.get_mut(&name) {
            handle.unsynced |= needs_sync(name, Use::Changing);
        }
    }

    pub fn removed(&mut self, name: FileName) {
        self.removals += 1;
        self.open.remove(&name);
        self.out_of_sight.remove(&name);
        self.owed.remove(&name);
    }

    /// Closes what has not been used since the last call and is synced.
    pub fn close_idle(&mut self) {
        let swept = std::mem::replace(&mut self.swept, self.now);
        self.open.retain(|_, handle| handle.used > swept || handle.unsynced || handle.in_use());
    }

    /// Whether the handles of these files cannot say what became of all that was written to them.
    pub fn hides(&self, files: &[FileName]) -> bool {
        files.iter().any(|name| self.out_of_sight.contains(name))
    }

    /// Keeps those of these files that are open so until the result is dropped.
    pub fn pin(&self, files: &[FileName]) -> Vec<Arc<File>> {
        let open = files.iter().filter_map(|name| self.open.get(name));
        open.map(|handle| Arc::clone(&handle.file)).collect()
    }

    /// A file is about to be synced.
    pub fn sync_begins(&mut self, name: FileName) {
        if let Some(handle) = self.open.get_mut(&name) {
            handle.unsynced = false;
        }
    }

    /// All files are about to be synced.
    pub fn sync_of_all_begins(&mut self) -> Unsynced {
        let mut open = Vec::new();
        for (name, handle) in self.open.iter_mut().filter(|(_, handle)| handle.unsynced) {
            handle.unsynced = false;
            open.push((*name, Arc::clone(&handle.file)));
        }
        Unsynced { open, out_of_sight: std::mem::take(&mut self.out_of_sight) }
    }

    /// That sync failed. Files that are open say themselves whether they are concerned. Those that were out of sight
    /// cannot, and so are taken to be: the ones that were `asked` for are told so by this sync's end, the others
    /// when they are.
    pub fn sync_of_all_failed(&mut self, unsynced: &Unsynced, asked: &[FileName], error: &io::Error) {
        for (name, _) in &unsynced.open {
            self.changed(*name);
        }
        for name in unsynced.out_of_sight.iter().filter(|name| !asked.contains(name)) {
            self.owe(*name, error);
        }
    }

    /// Remembers an error for whoever asks for this file to be synced.
    pub fn owe(&mut self, name: FileName, error: &io::Error) {
        self.owed.insert(name, error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()));
    }

    /// The error that is owed for any of these files. It is told once.
    pub fn take_owed(&mut self, files: &[FileName]) -> Option<io::Error> {
        let owed = files.iter().filter_map(|name| self.owed.remove(name));
        owed.last().map(io::Error::from_raw_os_error)
    }
}

impl Unsynced {
    /// The same as [`Handles::hides`], for when the sync began.
    pub fn hides(&self, files: &[FileName]) -> bool {
        files.iter().any(|name| self.out_of_sight.contains(name))
    }
}

/// What is spilled is of no use to another run of the node, and never synced.
fn needs_sync(name: FileName, wanted: Use) -> bool {
    wanted == Use::Changing && name.kind != Kind::Spill
}
