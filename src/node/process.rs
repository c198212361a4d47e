//! The process: what it has taken of its machine, as the system tells, and what it may take.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};

use super::disk_use::{DiskUse, Used};
use super::memory;

/// What a process of a node may take.
#[derive(Debug, Default)]
pub struct Process {
    memory_limit: AtomicU64,
    disk_free_limit: AtomicU64,
    folder: OnceLock<PathBuf>,
}

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
            disk_free: disk.free(),
            reads: disk.reads(),
            writes: disk.writes(),
            syncs: disk.syncs(),
        }
    }
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

impl Process {
    /// Octets of memory above which publishers are blocked; 0 if they never are.
    pub fn memory_limit(&self) -> u64 {
        self.memory_limit.load(Ordering::Relaxed)
    }

    pub fn set_memory_limit(&self, octets: u64) {
        self.memory_limit.store(octets, Ordering::Relaxed);
    }

    /// Octets that have to be free where the data folder is.
    pub fn disk_free_limit(&self) -> u64 {
        self.disk_free_limit.load(Ordering::Relaxed)
    }

    pub fn set_disk_free_limit(&self, octets: u64) {
        self.disk_free_limit.store(octets, Ordering::Relaxed);
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

    #[test]
    fn a_folder_stays() {
        let process = Process::default();
        assert_eq!(process.folder(), None);
        process.set_folder(Path::new("/a"));
        process.set_folder(Path::new("/b"));
        assert_eq!(process.folder(), Some(Path::new("/a")));
    }
}
