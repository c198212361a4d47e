//! `leveret perf fsync`: how long this machine takes to append to a file and to have it on disk.
//!
//! No broker that keeps its promise can confirm faster than that, one message at a time. A file that
//! grows needs a commit of the file system's journal besides, and waits for what others have in it;
//! one whose blocks have been written before does not. Brokers do the one or the other.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
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

/// Size of a file that is written in advance, unless one piece is larger.
const PREPARED: u64 = 64 << 20;
/// Bytes that it is written by.
const PREPARED_STEP: usize = 1 << 20;

/// Where to write, and how much.
#[derive(Debug, Args)]
pub struct FsyncArgs {
    /// Folder to make a file in, on the disk that a broker would use
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Bytes to append before each fdatasync
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub size: u32,
    /// Write over space that has been written and synced before, instead of appending
    #[arg(long)]
    pub prepared: bool,
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
    prepared: bool,
    count: u64,
    seconds: f64,
    rate: f64,
    latency_us: Option<Latency>,
}

/// A file that goes when it is no longer needed.
struct Scratch {
    file: File,
    path: PathBuf,
    /// Where the next piece goes.
    at: u64,
    /// Bytes that have been written in advance, after which it begins again; 0 for none.
    prepared: u64,
}

/// Writes and syncs for the time that `args` give, at least once, and prints how long it took.
///
/// # Errors
///
/// [`PerfError::Folder`] when the file cannot be made or written.
pub fn run(args: &FsyncArgs) -> Result<(), PerfError> {
    let failed = |source| PerfError::Folder { path: args.dir.clone(), source };
    let mut latency = deliveries::histogram()?;
    let mut scratch = Scratch::new(&args.dir).map_err(failed)?;
    if args.prepared {
        scratch.prepare(PREPARED.max(args.size.into())).map_err(failed)?;
    }
    let start = Instant::now();
    scratch.write(&vec![0x5a; args.size as usize], args.time, &mut latency).map_err(failed)?;
    let report = Report::new(args, start.elapsed(), &latency);
    write_report(&report, args.json, &mut io::stdout().lock())
}

impl Scratch {
    fn new(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!("leveret-perf-fsync-{}", std::process::id()));
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, at: 0, prepared: 0 })
    }

    /// Writes at least `len` bytes in advance.
    fn prepare(&mut self, len: u64) -> io::Result<()> {
        let zeros = vec![0; PREPARED_STEP];
        while self.prepared < len {
            self.file.write_all_at(&zeros, self.prepared)?;
            self.prepared += zeros.len() as u64;
        }
        self.file.sync_all()
    }

    /// Writes `bytes` one after the other, each time with an fdatasync, for `time`.
    fn write(&mut self, bytes: &[u8], time: Duration, latency: &mut Histogram<u64>) -> io::Result<()> {
        let start = Instant::now();
        let mut before = start;
        loop {
            if self.prepared > 0 && self.at + bytes.len() as u64 > self.prepared {
                self.at = 0;
            }
            self.file.write_all_at(bytes, self.at)?;
            self.file.sync_data()?;
            self.at += bytes.len() as u64;
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
    fn new(args: &FsyncArgs, elapsed: Duration, latency: &Histogram<u64>) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            size: args.size,
            prepared: args.prepared,
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
        let what = if self.prepared { "writes into prepared space" } else { "appends" };
        writeln!(f, "fdatasync   {count} {what} of {size} bytes in {seconds} s, {rate:.0}/s")?;
        match &self.latency_us {
            Some(latency) => writeln!(f, "latency     {latency}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own.
    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("leveret-perf-fsync-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn each_append_is_timed_and_the_file_goes() {
        let folder = folder("append");
        let mut latency = deliveries::histogram().unwrap();
        let mut scratch = Scratch::new(&folder).unwrap();
        for _ in 0..3 {
            scratch.write(&[1; 100], Duration::ZERO, &mut latency).unwrap();
        }
        assert_eq!(fs::read(&scratch.path).unwrap(), [1; 300]);
        assert!(Scratch::new(&folder).is_err(), "another one's file is not used");
        drop(scratch);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
        let args = FsyncArgs { dir: folder, size: 100, prepared: false, time: Duration::ZERO, json: false };
        let report = Report::new(&args, Duration::from_secs(2), &latency);
        assert_eq!((report.count, report.rate), (3, 1.5));
        assert!(report.to_string().starts_with("fdatasync   3 appends of 100 bytes in 2 s, 2/s\nlatency"));
    }

    #[test]
    fn a_prepared_file_does_not_grow() {
        let folder = folder("prepared");
        let mut latency = deliveries::histogram().unwrap();
        let mut scratch = Scratch::new(&folder).unwrap();
        scratch.prepare(1).unwrap();
        for at in [400_000, 800_000, 400_000] {
            scratch.write(&vec![1; 400_000], Duration::ZERO, &mut latency).unwrap();
            assert_eq!(scratch.at, at);
        }
        assert_eq!(fs::metadata(&scratch.path).unwrap().len(), PREPARED_STEP as u64);
        drop(scratch);
        fs::remove_dir_all(&folder).unwrap();
    }
}
