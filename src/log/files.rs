//! The real disk: a folder of files.
//!
//! Handles are kept in a cache of bounded size that the threads share; its mutex is not held during I/O, and all
//! reading and writing says where in the file. Any number of threads may read. Syncs go one after the other.
//!
//! # What became of what was written
//!
//! The kernel writes back when it likes, and an error that it meets is told once to each handle that was open at
//! that time. A handle that is opened later hears of it only if nobody else has, and if the kernel has not forgotten
//! the file meanwhile. So closing a file that has been written to and opening it again for its `fdatasync` could
//! turn lost data into a success. Hence:
//!
//! - A handle stays open until what was written through it has been synced.
//! - Where more than [`handles::HANDLES_MAX`] files are unsynced, some are closed all the same, and remembered as out of sight.
//!   A sync that concerns one of these is a `syncfs`, which tells the handle it is called on of every error that the
//!   file system has met since the handle was opened. The handle of the folder is open from the beginning.
//! - A failed `syncfs` may be about a file of somebody else. If the own handles of all files asked for are open,
//!   these are asked one by one, and they know. If not, the sync has failed. A file out of sight that was not asked
//!   for owes its error to whoever asks for it next.
//! - Only Linux has all that, since 5.8, and not on every file system: an overlay does not report errors of the one
//!   below it. Elsewhere each file is synced by itself, and nothing goes out of sight: it is synced before it is
//!   closed, and an error met then is owed as well.
//!
//! After a crash of the process another one cannot know of errors that the first has been told, or would have been.
//! What it reads is what there is: checksums show what is missing.
//!
//! - this file: the folder, and syncing
//! - [`handles`][]: the files that are held open
//! - `tests`: tests of both

pub mod handles;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::disk::{Disk, FileName};
use handles::{Handles, Use};

/// Files that are synced one by one. More are synced together with all else on the file system.
const FEW: usize = 4;

/// How long until a file is opened again where too many are open.
const HANDLE_AGAIN: Duration = Duration::from_millis(500);

/// A folder of files.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// The folder itself.
    folder: File,
    /// Whether a sync of the whole file system makes files durable and reports all errors.
    syncs_whole: bool,
    handles: Mutex<Handles>,
    /// Held during syncs, so that an error one of them meets is known to the next.
    syncing: Mutex<()>,
}

/// Whether the process, or the system, has as many files open as it may.
fn is_out_of_handles(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

impl Files {
    /// Opens a folder, which is made if it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_folder(path)?;
        let folder = File::open(path)?;
        let syncs_whole = whole::is_reliable(&folder);
        Ok(Self::with(path, folder, syncs_whole))
    }

    fn with(path: &Path, folder: File, syncs_whole: bool) -> Self {
        let handles = Mutex::new(Handles::new(syncs_whole));
        Self { path: path.to_owned(), folder, syncs_whole, handles, syncing: Mutex::new(()) }
    }

    fn path_of(&self, name: FileName) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// A file's handle. Only a write makes the file.
    fn handle(&self, name: FileName, wanted: Use, create: bool) -> io::Result<Arc<File>> {
        loop {
            let removals = {
                let mut handles = self.handles.lock();
                if let Some(file) = handles.get(name, wanted) {
                    return Ok(file);
                }
                handles.removals()
            };
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(create).truncate(false);
            let file = match options.open(self.path_of(name)) {
                Err(error) if is_out_of_handles(&error) => {
                    self.wait_for_handle(name, &error);
                    continue;
                }
                opened => opened?,
            };
            if let Some(file) = self.handles.lock().put(name, file, wanted, removals) {
                return Ok(file);
            }
        }
    }

    /// No more files may be open: that passes when clients go, and nothing has been changed by trying.
    fn wait_for_handle(&self, name: FileName, error: &io::Error) {
        if !self.handles.lock().evict() {
            tracing::error!("{name} cannot be opened yet, it is waited for: {error}");
            std::thread::sleep(HANDLE_AGAIN);
        }
    }

    /// Changes a file's content. From before the change until it has been synced its handle is known as unsynced.
    fn change(
        &self,
        name: FileName,
        create: bool,
        change: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.make_place();
        let file = self.handle(name, Use::Changing, create)?;
        let result = change(&file);
        // Also after an error: a part may have been written.
        self.handles.lock().changed(name);
        result
    }

    /// Syncs a file if all handles are taken by unsynced ones and none may be closed.
    fn make_place(&self) {
        if self.syncs_whole || self.handles.lock().crowded().is_none() {
            return;
        }
        let _one_by_one = self.syncing.lock();
        let crowded = self.handles.lock().crowded();
        let Some((name, file)) = crowded else { return };
        self.handles.lock().sync_begins(name);
        if let Err(error) = file.sync_data() {
            self.handles.lock().owe(name, &error);
        }
    }

    fn sync_each(&self, files: &[FileName], names: bool) -> io::Result<()> {
        for name in files {
            let file = self.handle(*name, Use::Reading, false)?;
            self.handles.lock().sync_begins(*name);
            file.sync_data()?;
        }
        if names { self.folder.sync_all() } else { Ok(()) }
    }

    fn sync_whole(&self, files: &[FileName], names: bool) -> io::Result<()> {
        let unsynced = self.handles.lock().sync_of_all_begins();
        let Err(error) = whole::sync(&self.folder) else { return Ok(()) };
        self.handles.lock().sync_of_all_failed(&unsynced, files, &error);
        if unsynced.hides(files) {
            return Err(error);
        }
        self.sync_each(files, names)
    }
}

impl Disk for Files {
    fn list(&self) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let text = entry.file_name();
            let name = text.to_str().and_then(|text| text.parse::<FileName>().ok());
            // The same numbers written in another way are a file that is none of ours.
            if let Some(name) = name.filter(|name| *text == *name.to_string()) {
                if entry.file_type()?.is_file() {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    fn size(&self, file: FileName) -> io::Result<u64> {
        fs::metadata(self.path_of(file)).map(|metadata| metadata.len())
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.handle(file, Use::Reading, false)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write(&self, file: FileName, offset: u64, octets: &[u8]) -> io::Result<()> {
        // Goes on after short writes and interruptions.
        self.change(file, true, |file| file.write_all_at(octets, offset))
    }

    fn truncate(&self, file: FileName, size: u64) -> io::Result<()> {
        self.change(file, false, |file| file.set_len(size))
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        let result = fs::remove_file(self.path_of(file));
        if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            return result;
        }
        // Only now, or else a reader could put it back in between.
        self.handles.lock().removed(file);
        Ok(())
    }

    fn sync(&self, files: &[FileName], names: bool) -> io::Result<()> {
        let _one_by_one = self.syncing.lock();
        let (owed, hidden, _stay_open) = {
            let mut handles = self.handles.lock();
            (handles.take_owed(files), handles.hides(files), handles.pin(files))
        };
        match owed {
            Some(error) => Err(error),
            None if self.syncs_whole && (files.len() > FEW || hidden) => self.sync_whole(files, names),
            None => self.sync_each(files, names),
        }
    }

    fn free(&self) -> io::Result<u64> {
        let volume = rustix::fs::fstatvfs(&self.folder)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }

    fn close_idle(&self) {
        self.handles.lock().close_idle();
    }
}

/// Makes a folder and those above it where they are missing, so that they are there after a power loss.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        if folder.try_exists()? {
            break;
        }
        missing.push(folder);
    }
    fs::create_dir_all(path)?;
    for folder in missing {
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Syncing a whole file system.
#[cfg(target_os = "linux")]
mod whole {
    use std::fs::File;
    use std::io;

    /// File systems whose `syncfs` makes what was written durable and reports what could not be: ext2 to ext4, XFS,
    /// Btrfs, and tmpfs, where nothing is ever durable.
    const RELIABLE: [u32; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
    /// Older kernels report no errors of writing back.
    const KERNEL_MIN: (u32, u32) = (5, 8);

    pub fn is_reliable(folder: &File) -> bool {
        let kernel = rustix::system::uname();
        let release = kernel.release().to_str().ok().and_then(version);
        let file_system = rustix::fs::fstatfs(folder).map(|found| found.f_type as u32);
        release.is_some_and(|release| release >= KERNEL_MIN)
            && file_system.is_ok_and(|found| RELIABLE.contains(&found))
    }

    /// The first two numbers of a release.
    pub fn version(release: &str) -> Option<(u32, u32)> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    pub fn sync(folder: &File) -> io::Result<()> {
        Ok(rustix::fs::syncfs(folder)?)
    }
}

/// Elsewhere there is no such call.
#[cfg(not(target_os = "linux"))]
mod whole {
    use std::fs::File;
    use std::io;

    pub fn is_reliable(_: &File) -> bool {
        false
    }

    pub fn sync(_: &File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
