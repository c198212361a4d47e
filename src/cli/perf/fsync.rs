//! `leveret perf fsync`: how long this machine takes to append to a file and to have it on disk.
//!
//! No broker that keeps its promise can confirm faster than that, one message at a time.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    args::seconds,
    deliveries,
    error::PerfError,
    report::{Latency, as_f64, rounded, write_report},
};

/// Where to write, and how much.
#[derive(Debug, Args)]
pub struct FsyncArgs {
    /// Folder to make a file in, on the disk that a broker would use
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Bytes to append before each fdatasync
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub size: u32,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub time: Duration,
    /// Print one JSON object instead of a line
    #[arg(long)]
    pub json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    size: u32,
    count: u64,
    seconds: f64,
    rate: f64,
    latency_us: Option<Latency>,
}

/// A file that goes when it is no longer needed.
struct Scratch {
    file: File,
    path: PathBuf,
}

/// Appends and syncs for the time that `args` give, at least once, and prints how long it took.
///
/// # Errors
///
/// [`PerfError::Folder`] when the file cannot be made or written.
pub fn run(args: &FsyncArgs) -> Result<(), PerfError> {
    let failed = |source| PerfError::Folder { path: args.dir.clone(), source };
    let mut latency = deliveries::histogram()?;
    let start = Instant::now();
    let mut scratch = Scratch::new(&args.dir).map_err(failed)?;
    scratch.append(&vec![0x5a; args.size as usize], args.time, &mut latency).map_err(failed)?;
    let report = Report::new(args.size, start.elapsed(), &latency);
    write_report(&report, args.json, &mut io::stdout().lock())
}

impl Scratch {
    fn new(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!("leveret-perf-fsync-{}", std::process::id()));
        let file = File::options().append(true).create_new(true).open(&path)?;
        Ok(Self { file, path })
    }

    /// Appends `bytes` again and again, each time with an fdatasync, for `time`.
    fn append(&mut self, bytes: &[u8], time: Duration, latency: &mut Histogram<u64>) -> io::Result<()> {
        let start = Instant::now();
        let mut before = start;
        loop {
            self.file.write_all(bytes)?;
            self.file.sync_data()?;
            let now = Instant::now();
            latency.saturating_record(u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX));
            if now - start >= time {
                return Ok(());
            }
            before = now;
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that cannot be deleted is found by its name.
        let _ = fs::remove_file(&self.path);
    }
}

impl Report {
    fn new(size: u32, elapsed: Duration, latency: &Histogram<u64>) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            size,
            count: latency.len(),
            seconds: rounded(seconds, 3),
            rate: rounded(as_f64(latency.len()) / seconds, 1),
            latency_us: Latency::new(latency),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, count, seconds, rate, .. } = self;
        writeln!(f, "fdatasync   {count} appends of {size} bytes in {seconds} s, {rate:.0}/s")?;
        match &self.latency_us {
            Some(latency) => writeln!(f, "latency     {latency}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_append_is_timed_and_the_file_goes() {
        let folder = std::env::temp_dir().join(format!("leveret-perf-fsync-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut latency = deliveries::histogram().unwrap();
        let mut scratch = Scratch::new(&folder).unwrap();
        for _ in 0..3 {
            scratch.append(&[1; 100], Duration::ZERO, &mut latency).unwrap();
        }
        assert_eq!(scratch.file.metadata().unwrap().len(), 300);
        assert!(Scratch::new(&folder).is_err(), "another one's file is not used");
        drop(scratch);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
        let report = Report::new(100, Duration::from_secs(2), &latency);
        assert_eq!((report.count, report.rate), (3, 1.5));
        assert!(report.to_string().starts_with("fdatasync   3 appends of 100 bytes in 2 s, 2/s\nlatency"));
    }
}
