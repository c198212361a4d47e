//! What a broker and this load generator have used between two moments.

use std::time::Instant;

use super::{
    error::PerfError,
    process::{CpuTime, Memory, Process},
    report::{as_f64, rounded},
};

/// A broker whose resources are looked at, if there is one.
#[derive(Debug)]
pub struct Observed(Option<Process>);

/// What had been used at some moment.
#[derive(Debug)]
pub struct Reading {
    at: Instant,
    broker: Option<CpuTime>,
    client: Option<CpuTime>,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Time that passed, in seconds.
    pub seconds: f64,
    /// Processor time of the broker in nanoseconds, if it was observed.
    pub broker_nanos: Option<u64>,
    /// Processor time of this process, if it could be observed.
    pub client_nanos: Option<u64>,
}

impl Observed {
    /// The process with this id, which must be there.
    ///
    /// # Errors
    ///
    /// [`PerfError::Process`] when it cannot be observed.
    pub fn new(pid: Option<u32>) -> Result<Self, PerfError> {
        let process = pid.map(Process::new);
        process.as_ref().map(Process::cpu_time).transpose()?;
        Ok(Self(process))
    }

    /// What has been used up to now.
    ///
    /// # Errors
    ///
    /// [`PerfError::Process`] when the broker has gone.
    pub fn reading(&self) -> Result<Reading, PerfError> {
        let broker = self.0.as_ref().map(Process::cpu_time).transpose()?;
        let client = Process::this().cpu_time().ok();
        Ok(Reading { at: Instant::now(), broker, client })
    }

    /// Resident memory of the broker in bytes.
    ///
    /// # Errors
    ///
    /// As [`Observed::reading`].
    pub fn memory(&self) -> Result<Option<u64>, PerfError> {
        Ok(self.0.as_ref().map(Process::memory).transpose()?.map(Memory::total))
    }
}

impl Reading {
    /// What has been used since an earlier moment.
    pub fn since(&self, before: &Self) -> Used {
        let used =
            |after: &Option<CpuTime>, before: &Option<CpuTime>| Some(after.as_ref()?.since(before.as_ref()?));
        Used {
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            broker_nanos: used(&self.broker, &before.broker),
            client_nanos: used(&self.client, &before.client),
        }
    }
}

impl Used {
    /// Things per second.
    pub fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { rounded(as_f64(count) / self.seconds, 1) } else { 0.0 }
    }

    /// Microseconds of the broker's processor time for each of `count` things.
    pub fn broker_micros_each(&self, count: u64) -> Option<f64> {
        micros_each(self.broker_nanos?, count)
    }

    /// The same of this process.
    pub fn client_micros_each(&self, count: u64) -> Option<f64> {
        micros_each(self.client_nanos?, count)
    }

    /// Processors that the broker kept busy on average.
    pub fn broker_cores(&self) -> Option<f64> {
        cores(self.broker_nanos?, self.seconds)
    }

    /// The same of this process.
    pub fn client_cores(&self) -> Option<f64> {
        cores(self.client_nanos?, self.seconds)
    }
}

fn micros_each(nanos: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| rounded(as_f64(nanos) / 1000.0 / as_f64(count), 3))
}

fn cores(nanos: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| rounded(as_f64(nanos) / 1e9 / seconds, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_by_thing_and_by_time() {
        let used = Used { seconds: 2.0, broker_nanos: Some(3_000_000), client_nanos: Some(500_000_000) };
        assert_eq!(used.rate(5), 2.5);
        assert_eq!(used.broker_micros_each(1000), Some(3.0));
        assert_eq!(used.client_micros_each(1000), Some(500.0));
        assert_eq!((used.broker_cores(), used.client_cores()), (Some(0.0015), Some(0.25)));
        assert_eq!(used.broker_micros_each(0), None);
        let nothing = Used::default();
        assert_eq!(
            (nothing.rate(5), nothing.broker_cores(), nothing.broker_micros_each(1)),
            (0.0, None, None)
        );
    }

    #[test]
    fn a_broker_must_be_there_if_it_is_named() {
        assert!(Observed::new(Some(u32::MAX)).is_err());
        let none = Observed::new(None).unwrap();
        assert_eq!(none.memory().unwrap(), None);
        let before = none.reading().unwrap();
        let used = none.reading().unwrap().since(&before);
        assert!(used.broker_nanos.is_none() && used.client_nanos.is_some());
    }
}
