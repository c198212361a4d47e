//! The file a store lies in: its head with magic number and format version, and behind that what redb writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

/// How a store's entries lie in redb's tables. Another one is refused.
pub const VERSION: u32 = 1;
const MAGIC: &[u8; 16] = b"Leveret catalog\n";
/// Octets before redb's, so many that its pages stay aligned.
pub const HEAD: u64 = 4096;

/// Where a store lies, and where a new one is made before it takes its place.
pub trait Place: Send + Sync {
    /// What people know it by.
    fn name(&self) -> String;

    /// Opens the file that is there, if there is one.
    fn open(&self) -> io::Result<Option<Box<dyn StorageBackend>>>;

    /// Makes an empty file beside it.
    fn make(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// What was made last takes the place, for good.
    fn replace(&self) -> io::Result<()>;
}

/// A file in a folder.
#[derive(Debug)]
pub struct InFolder {
    folder: PathBuf,
    path: PathBuf,
    new: PathBuf,
}

impl InFolder {
    pub fn new(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        Self { folder: folder.unwrap_or(Path::new(".")).to_owned(), path: path.to_owned(), new: new.into() }
    }
}

impl Place for InFolder {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self) -> io::Result<Option<Box<dyn StorageBackend>>> {
        match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => Ok(Some(Box::new(OnDisk(file)))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn make(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&self.new)?;
        Ok(Box::new(OnDisk(file)))
    }

    fn replace(&self) -> io::Result<()> {
        std::fs::rename(&self.new, &self.path)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[derive(Debug)]
struct OnDisk(File);

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.0.write_all_at(octets, offset)
    }
}

/// What is wrong with a file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    NoCatalog,
    Version(u32),
}

/// A file in use. redb has one handle of it, we have another.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Box<dyn StorageBackend>,
    /// Nobody relies on the file yet: syncing can wait.
    building: AtomicBool,
    /// Nothing may be written any more.
    frozen: AtomicBool,
    sync_failed: AtomicBool,
}

impl Shared {
    fn new(file: Box<dyn StorageBackend>, building: bool) -> Self {
        let building = AtomicBool::new(building);
        Self(Arc::new(Inner {
            file,
            building,
            frozen: AtomicBool::new(false),
            sync_failed: AtomicBool::new(false),
        }))
    }

    /// A new file, with its head. It is not synced before it is [`finish`](Self::finish)ed.
    pub fn begin(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let mut head = [0; HEAD as usize];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[MAGIC.len()..][..4].copy_from_slice(&VERSION.to_le_bytes());
        file.set_len(HEAD)?;
        file.write(0, &head)?;
        Ok(Self::new(file, true))
    }

    /// A file that was there, if its head is as it should be. Nothing is written to it.
    pub fn of(file: Box<dyn StorageBackend>) -> io::Result<Result<Self, BadHead>> {
        let mut head = [0; 20];
        let size = file.len()?;
        if size < head.len() as u64 {
            return Ok(Err(BadHead::NoCatalog));
        }
        file.read(0, &mut head)?;
        let (magic, version) = head.split_at(MAGIC.len());
        let version = version.iter().rev().fold(0, |all, octet| all << 8 | u32::from(*octet));
        Ok(match version {
            _ if magic != MAGIC => Err(BadHead::NoCatalog),
            // There is more to an empty store, and redb would make a new one of nothing.
            VERSION if size <= HEAD => Err(BadHead::NoCatalog),
            VERSION => Ok(Self::new(file, false)),
            other => Err(BadHead::Version(other)),
        })
    }

    /// A new file is complete: makes it durable, and from now on every sync counts.
    pub fn finish(&self) -> io::Result<()> {
        self.0.file.sync_data()?;
        self.0.building.store(false, Ordering::Release);
        Ok(())
    }

    /// Keeps redb from writing, as it would when it is closed.
    pub fn freeze(&self) {
        self.0.frozen.store(true, Ordering::Release);
    }

    /// Whether a sync has failed, so that nobody knows what of the file is on disk.
    pub fn sync_failed(&self) -> bool {
        self.0.sync_failed.load(Ordering::Acquire)
    }

    fn writable(&self) -> io::Result<&Inner> {
        if self.0.frozen.load(Ordering::Acquire) {
            return Err(io::Error::other("the catalog was given up"));
        }
        Ok(&self.0)
    }
}

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.file.len()?.saturating_sub(HEAD))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.file.read(HEAD + offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?.file.set_len(HEAD + len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let inner = self.writable()?;
        if inner.building.load(Ordering::Acquire) {
            return Ok(());
        }
        let synced = inner.file.sync_data();
        inner.sync_failed.fetch_or(synced.is_err(), Ordering::AcqRel);
        synced
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.writable()?.file.write(HEAD + offset, octets)
    }
}
