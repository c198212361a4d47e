//! The process: what it has taken of its machine, as the system tells, and what it may take.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Node;
use super::bell::Ring;
use super::disk_use::{DiskUse, Used};
use super::memory;

/// How long whoever changes a limit waits until somebody has looked whether it is kept.
const HEED: Duration = Duration::from_secs(1);

/// A limit in octets that may be changed while somebody looks now and then whether it is kept.
#[derive(Debug, Default)]
pub struct Bound {
    octets: AtomicU64,
    /// How many times it has been changed.
    changes: watch::Sender<u64>,
    /// As many of these have been looked at.
    heeded: watch::Sender<u64>,
}

impl Bound {
    pub fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    pub fn set(&self, octets: u64) {
        self.octets.store(octets, Ordering::Relaxed);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// For whoever looks after it: how many changes there were before it looks.
    pub fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// For the same: whether there was a change that has not been looked at.
    pub fn is_new(&self) -> bool {
        self.changes() != *self.heeded.borrow()
    }

    /// The same, when it has looked.
    pub fn heed(&self, changes: u64) {
        self.heeded.send_replace(changes);
    }

    /// Waits for another change than these.
    pub async fn changed_since(&self, seen: u64) {
        // The sender is in `self`.
        let _ = self.changes.subscribe().wait_for(|changes| *changes != seen).await;
    }

    /// Waits, though not for long, until what follows from the last change is so.
    async fn heeded(&self) {
        let wanted = self.changes();
        let mut heeded = self.heeded.subscribe();
        if timeout(HEED, heeded.wait_for(|heeded| *heeded >= wanted)).await.is_err() {
            tracing::warn!("a limit that has been changed has not been looked at yet");
        }
    }
}

/// What a process of a node may take.
#[derive(Debug, Default)]
pub struct Process {
    /// Of memory.
    pub memory_bound: Bound,
    /// Of what has to be free on the disk.
    pub disk_free_bound: Bound,
    folder: OnceLock<PathBuf>,
    files: OnceLock<Files>,
}

/// The files that a process has been told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// What it logs to, standard output in angle brackets.
    pub log: Vec<String>,
    pub config: Vec<String>,
}

/// Files that the node may open when clients have taken all others.
const KEPT_FILES: u64 = 128;

/// What a process has taken, at a moment. What the system does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Octets of memory.
    pub memory: u64,
    /// Open files, sockets included.
    pub files: u64,
    pub threads: u64,
    /// Threads that run or want to.
    pub running: u64,
    /// How often another thread got a processor in place of one of these.
    pub switches: u64,
    /// Octets that are free where the data folder is.
    pub disk_free: u64,
    pub reads: Used,
    pub writes: Used,
    pub syncs: Used,
}

impl Figures {
    /// As they are now.
    pub fn read(disk: &DiskUse) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        Self {
            memory: memory::used().unwrap_or_default(),
            files: open_files(),
            threads: number("Threads:"),
            running: running(),
            switches: number("voluntary_ctxt_switches:") + number("nonvoluntary_ctxt_switches:"),
            disk_free: disk_free(disk),
            reads: disk.reads(),
            writes: disk.writes(),
            syncs: disk.syncs(),
        }
    }
}

/// Octets that are free on the data folder's disk; where there is no such folder on the one where the node was started.
fn disk_free(disk: &DiskUse) -> u64 {
    let here = || rustix::fs::statvfs(".").map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Some(disk.free()).filter(|free| *free > 0).unwrap_or_else(here)
}

/// How many files the process has open. Since Linux 6.2 their folder says so; before, they are counted.
fn open_files() -> u64 {
    const FOLDER: &str = "/proc/self/fd";
    let told = fs::metadata(FOLDER).map_or(0, |folder| folder.len());
    if told > 0 { told } else { fs::read_dir(FOLDER).map_or(0, |files| files.count() as u64) }
}

/// Threads in state R (proc(5)), without the one that looks.
fn running() -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let runs = |thread: &fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it may have anything in it, a bracket too.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'))
    };
    (threads.filter(runs).count() as u64).saturating_sub(1)
}

/// How many files the process may have open.
pub fn files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether a socket has taken one of the last numbers that there are for open files: the system gives the lowest one that is
/// free. These are for the node's own files, so that clients cannot keep it from writing.
pub fn is_one_too_many(socket: &impl AsRawFd) -> bool {
    let max = files_max();
    let kept = KEPT_FILES.min(max / 4);
    u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number >= max - kept)
}

impl Process {
    /// Octets of memory above which publishers are blocked; 0 if they never are.
    pub fn memory_limit(&self) -> u64 {
        self.memory_bound.octets()
    }

    pub fn set_memory_limit(&self, octets: u64) {
        self.memory_bound.set(octets);
    }

    /// Octets that have to be free where the data folder is.
    pub fn disk_free_limit(&self) -> u64 {
        self.disk_free_bound.octets()
    }

    pub fn set_disk_free_limit(&self, octets: u64) {
        self.disk_free_bound.set(octets);
    }

    /// The data folder, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.get().map(PathBuf::as_path)
    }

    /// Says where the data folder is. Only the first time counts.
    pub fn set_folder(&self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.folder.get_or_init(|| path);
    }

    pub fn files(&self) -> Files {
        self.files.get().cloned().unwrap_or_default()
    }

    /// Says which files there are. Only the first time counts.
    pub fn set_files(&self, files: Files) {
        self.files.get_or_init(|| files);
    }
}

impl Node {
    /// Changes from which use of memory on publishers are blocked. An alarm that follows from it is in effect afterwards, as
    /// in RabbitMQ.
    pub async fn limit_memory(&self, octets: u64) {
        self.process.memory_bound.set(octets);
        self.process.memory_bound.heeded().await;
    }

    /// The same for how much of the disk has to be free. A node in memory has nobody who looks at the disk.
    pub async fn limit_disk_free(&self, octets: u64) {
        self.process.disk_free_bound.set(octets);
        if let Some(bells) = self.changes().bells() {
            bells.committer.ring(Ring::Loudly);
            self.process.disk_free_bound.heeded().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_this_process() {
        let figures = Figures::read(&DiskUse::default());
        assert!(figures.memory > 100_000 && figures.files >= 3 && figures.threads >= 1);
        assert!(figures.switches > 0 && files_max() >= figures.files);
        let _more = fs::File::open("/dev/null").expect("a file");
        assert!(Figures::read(&DiskUse::default()).files > 3);
    }

    #[tokio::test]
    async fn whoever_changes_a_limit_waits_until_it_is_looked_at() {
        let bound = Bound::default();
        assert!(!bound.is_new());
        bound.set(7);
        assert!(bound.is_new() && bound.octets() == 7);
        let seen = bound.changes();
        let looks = async {
            assert!(
                timeout(HEED / 100, bound.changed_since(seen)).await.is_err(),
                "there is no other change"
            );
            bound.heed(seen);
        };
        tokio::join!(bound.heeded(), looks);
        assert!(!bound.is_new());
        bound.set(8);
        bound.changed_since(seen).await;
        assert!(bound.is_new());
    }

    #[test]
    fn a_folder_stays() {
        let process = Process::default();
        assert_eq!(process.folder(), None);
        process.set_folder(Path::new("/a"));
        process.set_folder(Path::new("/b"));
        assert_eq!(process.folder(), Some(Path::new("/a")));
    }
}
