//! Following a phase: its rates, the broker's memory, and whether it still moves.

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use super::{
    super::{
        error::PerfError,
        process::{CpuTime, Memory, Process},
        progress::{Progress, ProgressArgs},
        report::mib,
        shared::{Counter, sum},
        threads::wait,
    },
    tenths::Tenths,
};

/// How often messages are counted.
const LOOK: Duration = Duration::from_millis(5);
/// How often memory is looked at.
const MEMORY_LOOK: Duration = Duration::from_millis(100);

/// What is waited for.
pub struct Watch<'a> {
    /// Name of the phase.
    pub phase: &'static str,
    /// How many messages there are to be.
    pub total: u64,
    /// How many there are so far.
    pub counters: &'a [Counter],
    /// Where threads report that they cannot go on.
    pub failed: &'a Receiver<PerfError>,
    /// The broker, if it is observed.
    pub broker: Option<&'a Process>,
    /// How long nothing may move.
    pub patience: Duration,
    /// Whether to say how far it is.
    pub progress: ProgressArgs,
}

/// What a phase has shown.
#[derive(Debug)]
pub struct Watched {
    /// Its rates.
    pub tenths: Tenths,
    /// Most resident memory of the broker that was seen, in bytes.
    pub rss_max: Option<u64>,
    /// What the broker has used.
    pub used: Used,
}

/// What the broker has used, as far as it was observed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processor time in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Bytes sent to disks.
    pub disk_written: Option<u64>,
}

impl Watch<'_> {
    /// Waits until all messages are there.
    ///
    /// # Errors
    ///
    /// When a thread fails, nothing moves any more, or the broker's process has gone.
    pub fn follow(&self) -> Result<Watched, PerfError> {
        let before = Reading::of(self.broker)?;
        let start = Instant::now();
        let mut peak = Peak::default();
        let mut progress = Progress::new(&self.progress);
        let mut pace = Pace { phase: self.phase, total: self.total, last: (start, 0) };
        let mut tenths = Tenths::new(self.total);
        let (mut seen, mut moved) = (0, start);
        loop {
            let count = sum(self.counters);
            let now = Instant::now();
            tenths.note(count, now - start);
            if count >= self.total {
                break;
            }
            if count > seen {
                (seen, moved) = (count, now);
            } else if now - moved >= self.patience {
                let seconds = self.patience.as_secs();
                return Err(PerfError::Stuck { phase: self.phase, seconds, count, total: self.total });
            }
            peak.look(self.broker, now)?;
            if progress.due() {
                progress.show(&pace.line(count, now, peak.latest));
            }
            wait(self.failed, LOOK)?;
        }
        let used = Reading::of(self.broker)?.since(&before);
        peak.look_now(self.broker)?;
        Ok(Watched { tenths, rss_max: peak.most, used })
    }
}

/// Resident memory as it is looked at now and then.
#[derive(Debug, Default)]
pub struct Peak {
    /// When it was looked at last.
    at: Option<Instant>,
    /// What was seen last, in bytes.
    latest: Option<u64>,
    /// The most that was seen.
    pub most: Option<u64>,
}

impl Peak {
    /// Looks if it is time to.
    ///
    /// # Errors
    ///
    /// When the process has gone.
    pub fn look(&mut self, broker: Option<&Process>, now: Instant) -> Result<(), PerfError> {
        if self.at.is_some_and(|at| now - at < MEMORY_LOOK) {
            return Ok(());
        }
        self.at = Some(now);
        self.look_now(broker).map(drop)
    }

    /// Looks.
    ///
    /// # Errors
    ///
    /// As [`Peak::look`].
    pub fn look_now(&mut self, broker: Option<&Process>) -> Result<Option<Memory>, PerfError> {
        let memory = broker.map(Process::memory).transpose()?;
        self.latest = memory.map(Memory::total);
        self.most = self.most.max(self.latest);
        Ok(memory)
    }
}

/// What the broker had used at some moment.
struct Reading {
    cpu: Option<CpuTime>,
    disk: Option<u64>,
}

impl Reading {
    fn of(broker: Option<&Process>) -> Result<Self, PerfError> {
        let cpu = broker.map(Process::cpu_time).transpose()?;
        Ok(Self { cpu, disk: broker.and_then(Process::disk_written) })
    }

    fn since(&self, before: &Self) -> Used {
        let cpu = self.cpu.as_ref().zip(before.cpu.as_ref());
        let disk = self.disk.zip(before.disk);
        Used {
            cpu_nanos: cpu.map(|(after, before)| after.since(before)),
            disk_written: disk.map(|(after, before)| after.saturating_sub(before)),
        }
    }
}

/// What the line about a phase says.
struct Pace {
    phase: &'static str,
    total: u64,
    /// When there was a line last, and the count in it.
    last: (Instant, u64),
}

impl Pace {
    /// The line, with the rate since the last one.
    fn line(&mut self, count: u64, now: Instant, rss: Option<u64>) -> String {
        let (at, before) = std::mem::replace(&mut self.last, (now, count));
        let rate = u128::from(count - before) * 1000 / (now - at).as_millis().max(1);
        let memory = rss.map(|rss| format!(", {:.0} MiB", mib(rss))).unwrap_or_default();
        format!("{}: {count} of {} messages, {rate}/s{memory}", self.phase, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_since_the_last_line() {
        let start = Instant::now();
        let mut pace = Pace { phase: "fill", total: 9000, last: (start, 0) };
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.line(4000, at(2), None), "fill: 4000 of 9000 messages, 2000/s");
        let rss = Some(3 << 20);
        assert_eq!(pace.line(4500, at(3), rss), "fill: 4500 of 9000 messages, 500/s, 3 MiB");
    }
}
