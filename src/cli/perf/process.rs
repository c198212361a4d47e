//! Processor time, memory and disk writes of a broker, from `/proc`.
//!
//! A broker may be several processes: RabbitMQ is started by a shell script and runs its helpers as
//! children. All figures are those of the process that was named and of everything below it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::error::PerfError;

/// Nanoseconds per clock tick of `/proc/PID/stat`: Linux reports 100 ticks a second to user space
/// on every architecture that Rust's standard library supports.
const NANOS_PER_TICK: u64 = 10_000_000;

/// A process to observe, with its children.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
}

/// Processor time that a process and its children had used at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Nanoseconds on a processor by thread id, of threads that still run; empty where the kernel
    /// keeps no scheduler statistics.
    threads: BTreeMap<String, u64>,
    /// Nanoseconds in user and kernel mode of all threads ever, in steps of a clock tick.
    process: u64,
}

/// Resident memory at some moment, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Of the process itself.
    pub own: u64,
    /// Of all processes below it.
    pub children: u64,
}

impl Memory {
    /// Of the process and its children.
    pub fn total(self) -> u64 {
        self.own + self.children
    }
}

impl Process {
    /// The process with this id.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// The process that calls.
    pub fn this() -> Self {
        Self::new(std::process::id())
    }

    /// Processor time used up to now.
    ///
    /// # Errors
    ///
    /// [`PerfError::Process`] when there is no such process or it cannot be observed.
    pub fn cpu_time(&self) -> Result<CpuTime, PerfError> {
        let mut time = CpuTime::default();
        time.add(self.pid).map_err(|error| self.failed(error))?;
        for child in self.children() {
            // A child that has just ended has no figures, which is no reason to fail.
            let _ = time.add(child);
        }
        Ok(time)
    }

    /// Resident memory.
    ///
    /// # Errors
    ///
    /// As [`Process::cpu_time`].
    pub fn memory(&self) -> Result<Memory, PerfError> {
        let own = resident(self.pid).map_err(|error| self.failed(error))?;
        let children = self.children().into_iter().filter_map(|child| resident(child).ok()).sum();
        Ok(Memory { own, children })
    }

    /// Bytes that were sent to disks up to now, in whole pages; `None` when the kernel does not
    /// say, as to anyone but the process's own user and root.
    pub fn disk_written(&self) -> Option<u64> {
        let written = |pid| parse_io(&fs::read_to_string(folder(pid).join("io")).ok()?);
        let children = self.children().into_iter().filter_map(written).sum::<u64>();
        Some(written(self.pid)? + children)
    }

    /// Ids of all processes below this one.
    fn children(&self) -> Vec<u32> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let stat = pid.and_then(|_: u32| fs::read_to_string(entry.path().join("stat")).ok());
            if let (Some(pid), Some(parent)) = (pid, stat.and_then(|stat| parse_parent(&stat))) {
                parents.push((pid, parent));
            }
        }
        descendants(self.pid, &parents)
    }

    fn failed(&self, source: io::Error) -> PerfError {
        PerfError::Process { pid: self.pid, source }
    }
}

impl CpuTime {
    /// Nanoseconds of processor time used since `earlier`.
    pub fn since(&self, earlier: &Self) -> u64 {
        let thread_time = |(id, nanos): (&String, &u64)| {
            nanos.saturating_sub(earlier.threads.get(id).copied().unwrap_or(0))
        };
        let fine: u64 = self.threads.iter().map(thread_time).sum();
        let coarse = self.process.saturating_sub(earlier.process);
        // The fine figures lack threads that have ended; the coarse ones are off by the ticks in
        // which the interval begins and ends, and by rounding of user and kernel time each.
        let margin = 4 * NANOS_PER_TICK + fine / 100;
        if coarse > fine + margin { coarse } else { fine }
    }

    /// Adds what one process has used. Thread ids are unique in the system.
    fn add(&mut self, pid: u32) -> io::Result<()> {
        let stat = fs::read_to_string(folder(pid).join("stat"))?;
        self.process += parse_stat(&stat).ok_or_else(|| unreadable("stat"))?;
        for task in fs::read_dir(folder(pid).join("task"))?.flatten() {
            // A thread may end at any time, and a kernel may keep no such statistics.
            let text = fs::read_to_string(task.path().join("schedstat"));
            if let Some(nanos) = text.ok().and_then(|text| parse_schedstat(&text)) {
                self.threads.insert(task.file_name().to_string_lossy().into_owned(), nanos);
            }
        }
        Ok(())
    }
}

/// Where the kernel shows a process.
fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Resident memory of one process in bytes.
fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(folder(pid).join("status"))?;
    parse_resident(&status).ok_or_else(|| unreadable("status"))
}

/// Everything below `root`, given each process with its parent.
fn descendants(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut looked = 0;
    while let Some(&parent) = found.get(looked) {
        looked += 1;
        let children = parents.iter().filter(|&&(child, its)| its == parent && child != root);
        found.extend(children.map(|&(child, _)| child));
    }
    found.remove(0);
    found
}

/// User plus kernel time in nanoseconds from `/proc/PID/stat`.
fn parse_stat(text: &str) -> Option<u64> {
    let mut times = stat_fields(text)?.skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let kernel: u64 = times.next()?.parse().ok()?;
    Some((user + kernel) * NANOS_PER_TICK)
}

/// The parent's id from `/proc/PID/stat`.
fn parse_parent(text: &str) -> Option<u32> {
    stat_fields(text)?.nth(1)?.parse().ok()
}

/// The third and all later fields of `/proc/PID/stat`. The second is the command in parentheses,
/// which may itself hold anything.
fn stat_fields(text: &str) -> Option<impl Iterator<Item = &str>> {
    text.rsplit_once(')').map(|(_, fields)| fields.split_whitespace())
}

/// Time on a processor in nanoseconds from a `schedstat` file.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Resident memory in bytes from `/proc/PID/status`.
fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Bytes on their way to disks from `/proc/PID/io`.
fn parse_io(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unknown format of {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_strange_commands() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 900 0 0 0 123 77 5 6 20 0 4 0 100 1 2";
        assert_eq!(parse_stat(stat), Some(2_000_000_000));
        assert_eq!(parse_parent(stat), Some(1));
        assert_eq!(parse_stat("42 (x) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_parent("42 (x) S"), None);
    }

    #[test]
    fn schedstat_status_and_io_are_read() {
        assert_eq!(parse_schedstat("29284202 431558 18\n"), Some(29_284_202));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t  129840 kB\nVmData: 1 kB\n"), Some(129_840 << 10));
        assert_eq!(parse_resident("Name:\tkthread\n"), None);
        let io = "wchar: 9\nwrite_bytes: 4096\ncancelled_write_bytes: 1\n";
        assert_eq!(parse_io(io), Some(4096));
        assert_eq!(parse_io("cancelled_write_bytes: 1\n"), None);
    }

    #[test]
    fn children_of_children_belong_to_a_process() {
        let parents = [(1, 0), (7, 1), (9, 8), (8, 7), (10, 7), (11, 1), (12, 11)];
        assert_eq!(descendants(7, &parents), [8, 10, 9]);
        assert_eq!(descendants(12, &parents), [0_u32; 0]);
        // Process ids are used again, so what was read may contradict itself.
        assert_eq!(descendants(1, &[(1, 2), (2, 1)]), [2]);
    }

    fn time(threads: &[(&str, u64)], process: u64) -> CpuTime {
        let threads = threads.iter().map(|&(id, nanos)| (id.to_owned(), nanos)).collect();
        CpuTime { threads, process }
    }

    #[test]
    fn fine_figures_are_preferred_while_they_are_complete() {
        let before = time(&[("1", 1_000), ("2", 50_000)], 0);
        let after = time(&[("1", 3_000), ("2", 50_500), ("3", 7)], 10_000_000);
        assert_eq!(after.since(&before), 2_507);
        let without_thread_2 = time(&[("1", 3_000)], 500_000_000);
        assert_eq!(without_thread_2.since(&before), 500_000_000);
        assert_eq!(time(&[], 90_000_000).since(&time(&[], 10_000_000)), 80_000_000);
    }

    #[test]
    fn this_process_can_be_observed() {
        let this = Process::this();
        let before = this.cpu_time().unwrap();
        let mut sum = 0_u64;
        for number in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum ^ number);
        }
        assert!(this.cpu_time().unwrap().since(&before) > 0);
        assert!(this.memory().unwrap().own > 100_000);
        assert!(this.disk_written().is_some());
        let none = Process::new(u32::MAX);
        assert!(none.cpu_time().is_err() && none.memory().is_err() && none.disk_written().is_none());
    }

    #[test]
    fn a_child_counts_with_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let of_parent = Process::this().memory();
        let found = Process::this().children().contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
        assert!(of_parent.unwrap().children > 0);
    }
}
