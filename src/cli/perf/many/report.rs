//! The figures that many connections and many queues have in common.

use std::fmt;

use serde::Serialize;

use super::super::{
    report::{as_f64, mib, rounded},
    usage::Used,
};

/// Something that was done to each of many things, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Phase {
    pub count: u64,
    pub seconds: f64,
    /// Things per second.
    pub rate: f64,
    /// Processor time of the broker in microseconds for each.
    pub cpu_us_each: Option<f64>,
}

/// A time in which nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Idle {
    pub seconds: f64,
    /// Processors that the broker kept busy nevertheless.
    pub broker_cores: Option<f64>,
    /// The same in microseconds of processor time per second and thing.
    pub cpu_us_per_second_each: Option<f64>,
}

/// Resident memory of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Resident {
    /// Before there was anything.
    pub rss_before_mib: f64,
    /// While everything was there.
    pub rss_mib: f64,
    /// The difference, for each thing.
    pub rss_bytes_each: f64,
    /// After everything had gone.
    pub rss_after_mib: f64,
}

impl Phase {
    /// What it took for `count` things.
    pub fn new(count: u64, used: &Used) -> Self {
        Self {
            count,
            seconds: rounded(used.seconds, 3),
            rate: used.rate(count),
            cpu_us_each: used.broker_micros_each(count),
        }
    }
}

impl Idle {
    /// What was used while `count` things were there.
    pub fn new(count: u64, used: &Used) -> Self {
        let each = |nanos| {
            let things = as_f64(count) * used.seconds;
            (things > 0.0).then(|| rounded(as_f64(nanos) / 1000.0 / things, 3))
        };
        Self {
            seconds: rounded(used.seconds, 3),
            broker_cores: used.broker_cores(),
            cpu_us_per_second_each: used.broker_nanos.and_then(each),
        }
    }
}

impl Resident {
    /// Of bytes before, with and after `count` things; `None` if nobody has looked.
    pub fn new(count: u64, before: Option<u64>, with: Option<u64>, after: Option<u64>) -> Option<Self> {
        let (before, with, after) = (before?, with?, after?);
        let more = as_f64(with) - as_f64(before);
        Some(Self {
            rss_before_mib: mib(before),
            rss_mib: mib(with),
            rss_bytes_each: if count > 0 { rounded(more / as_f64(count), 1) } else { 0.0 },
            rss_after_mib: mib(after),
        })
    }
}

/// A line about each part; `thing` is what there are many of.
pub fn write_phase(f: &mut fmt::Formatter<'_>, label: &str, phase: &Phase, thing: &str) -> fmt::Result {
    let Phase { count, seconds, rate, .. } = phase;
    write!(f, "{label:<12}{count} {thing}s in {seconds} s, {rate:.0}/s")?;
    if let Some(each) = phase.cpu_us_each {
        write!(f, ", broker cpu {each:.1} µs each")?;
    }
    writeln!(f)
}

/// See [`write_phase`].
pub fn write_idle(f: &mut fmt::Formatter<'_>, idle: &Idle, thing: &str) -> fmt::Result {
    if let (Some(cores), Some(each)) = (idle.broker_cores, idle.cpu_us_per_second_each) {
        let seconds = idle.seconds;
        writeln!(
            f,
            "idle        {cores:.4} processors busy for {seconds} s, {each:.3} µs per {thing} and second"
        )?;
    }
    Ok(())
}

/// See [`write_phase`].
pub fn write_memory(f: &mut fmt::Formatter<'_>, memory: Option<&Resident>, thing: &str) -> fmt::Result {
    if let Some(Resident { rss_before_mib, rss_mib, rss_bytes_each, rss_after_mib }) = memory {
        write!(f, "broker mem  {rss_before_mib:.1} MiB before, {rss_mib:.1} MiB with them")?;
        writeln!(f, " ({rss_bytes_each:.0} bytes per {thing}), {rss_after_mib:.1} MiB after")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: Used = Used { seconds: 4.0, broker_nanos: Some(8_000_000), client_nanos: None };

    #[test]
    fn figures_are_for_each_thing() {
        let wanted = Phase { count: 2000, seconds: 4.0, rate: 500.0, cpu_us_each: Some(4.0) };
        assert_eq!(Phase::new(2000, &USED), wanted);
        let idle = Idle::new(1000, &USED);
        assert_eq!((idle.broker_cores, idle.cpu_us_per_second_each), (Some(0.002), Some(2.0)));
        assert_eq!(Idle::new(0, &USED).cpu_us_per_second_each, None);
        let memory = Resident::new(1000, Some(1 << 20), Some(3 << 20), Some(2 << 20)).unwrap();
        assert_eq!((memory.rss_before_mib, memory.rss_mib, memory.rss_after_mib), (1.0, 3.0, 2.0));
        assert_eq!(memory.rss_bytes_each, 2097.2);
        assert_eq!(Resident::new(10, None, Some(1), Some(1)), None);
    }

    #[test]
    fn memory_that_was_given_back_is_less_than_nothing() {
        let memory = Resident::new(1000, Some(3_000_000), Some(2_000_000), Some(2_000_000)).unwrap();
        assert_eq!(memory.rss_bytes_each, -1000.0);
    }
}
