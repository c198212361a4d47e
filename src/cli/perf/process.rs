//! Processor time and memory of a process, from `/proc`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::error::PerfError;

/// Nanoseconds per clock tick of `/proc/PID/stat`: Linux reports 100 ticks a second to user space
/// on every architecture that Rust's standard library supports.
const NANOS_PER_TICK: u64 = 10_000_000;

/// A process to observe.
#[derive(Clone, Debug)]
pub struct Process {
    pid: String,
    root: PathBuf,
}

/// Processor time that a process had used at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Nanoseconds on a processor by thread id, of threads that still run; empty where the kernel
    /// keeps no scheduler statistics.
    threads: BTreeMap<String, u64>,
    /// Nanoseconds in user and kernel mode of all threads ever, in steps of a clock tick.
    process: u64,
}

impl Process {
    /// The process with this id.
    pub fn new(pid: u32) -> Self {
        Self { pid: pid.to_string(), root: PathBuf::from(format!("/proc/{pid}")) }
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
        let stat = self.read(&self.root.join("stat"))?;
        let process = parse_stat(&stat).ok_or_else(|| self.failed(unreadable("stat")))?;
        let mut threads = BTreeMap::new();
        let tasks = fs::read_dir(self.root.join("task")).map_err(|error| self.failed(error))?;
        for task in tasks.flatten() {
            // A thread may end at any time, and a kernel may keep no such statistics.
            let text = fs::read_to_string(task.path().join("schedstat"));
            if let Some(nanos) = text.ok().and_then(|text| parse_schedstat(&text)) {
                threads.insert(task.file_name().to_string_lossy().into_owned(), nanos);
            }
        }
        Ok(CpuTime { threads, process })
    }

    /// Resident memory in MiB.
    ///
    /// # Errors
    ///
    /// As [`Process::cpu_time`].
    pub fn resident_mib(&self) -> Result<f64, PerfError> {
        let status = self.read(&self.root.join("status"))?;
        let kib = parse_resident(&status).ok_or_else(|| self.failed(unreadable("status")))?;
        Ok(f64::from(kib) / 1024.0)
    }

    fn read(&self, path: &Path) -> Result<String, PerfError> {
        fs::read_to_string(path).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: io::Error) -> PerfError {
        PerfError::Process { pid: self.pid.clone(), source }
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
}

/// User plus kernel time in nanoseconds from `/proc/PID/stat`.
fn parse_stat(text: &str) -> Option<u64> {
    // The second field is the command in parentheses, which may itself hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let kernel: u64 = times.next()?.parse().ok()?;
    Some((user + kernel) * NANOS_PER_TICK)
}

/// Time on a processor in nanoseconds from a `schedstat` file.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Resident memory in KiB from `/proc/PID/status`.
fn parse_resident(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
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
        assert_eq!(parse_stat("42 (x) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn schedstat_and_status_are_read() {
        assert_eq!(parse_schedstat("29284202 431558 18\n"), Some(29_284_202));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t  129840 kB\nVmData: 1 kB\n"), Some(129_840));
        assert_eq!(parse_resident("Name:\tkthread\n"), None);
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
        assert!(this.resident_mib().unwrap() > 0.1);
        assert!(Process::new(u32::MAX).cpu_time().is_err());
    }
}
