//! How a run does, second by second.

use std::time::{Duration, Instant};

use super::{
    super::{
        process::{CpuTime, Process},
        progress::Progress,
        report::as_f64,
    },
    args::ThroughputArgs,
};

/// What the line about the progress has to know.
pub struct Pulse<'a> {
    progress: Progress,
    broker: Option<&'a Process>,
    /// Whether the broker's processor time is divided by deliveries, not by publishes.
    per_delivery: bool,
    last: Reading,
}

/// What has been counted at some moment.
struct Reading {
    at: Instant,
    published: u64,
    delivered: u64,
    broker: Option<CpuTime>,
}

impl<'a> Pulse<'a> {
    /// Nothing counted yet.
    pub fn new(args: &ThroughputArgs, broker: Option<&'a Process>) -> Self {
        let progress = Progress::new(&args.progress);
        let used = broker.and_then(|broker| broker.cpu_time().ok());
        let last = Reading { at: Instant::now(), published: 0, delivered: 0, broker: used };
        Self { progress, broker, per_delivery: args.consumers > 0, last }
    }

    /// Shows how far a phase is and what has been counted by now, if it is time to.
    pub fn show(&mut self, phase: &str, passed: Duration, time: Duration, published: u64, delivered: u64) {
        if !self.progress.due() {
            return;
        }
        // If the broker has gone, others will say so.
        let broker = self.broker.and_then(|broker| broker.cpu_time().ok());
        let now = Reading { at: Instant::now(), published, delivered, broker };
        let rates = now.since(&self.last, self.per_delivery);
        self.progress.show(&format!("{phase} {:.0}/{} s: {rates}", passed.as_secs_f64(), time.as_secs_f64()));
        self.last = now;
    }
}

impl Reading {
    /// The rates since an earlier reading, and the broker's cost.
    fn since(&self, last: &Self, per_delivery: bool) -> String {
        let seconds = (self.at - last.at).as_secs_f64().max(1e-9);
        let (published, delivered) = (self.published - last.published, self.delivered - last.delivered);
        let rate = |count| as_f64(count) / seconds;
        let mut text = format!("published {:.0}/s, delivered {:.0}/s", rate(published), rate(delivered));
        let messages = if per_delivery { delivered } else { published };
        if let (Some(used), Some(before), 1..) = (&self.broker, &last.broker, messages) {
            let micros = as_f64(used.since(before)) / 1000.0 / as_f64(messages);
            text.push_str(&format!(", broker {micros:.3} µs"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_since_the_last_line() {
        let at = Instant::now();
        let first = Reading { at, published: 100, delivered: 50, broker: None };
        let at = at + Duration::from_secs(2);
        let mut second = Reading { at, published: 4100, delivered: 1050, broker: None };
        assert_eq!(second.since(&first, true), "published 2000/s, delivered 500/s");
        second.broker = Some(CpuTime::default());
        let third = Reading { at: at + Duration::from_secs(1), published: 4100, delivered: 1051, ..second };
        let cost = |broker| Reading { broker, at, published: 4100, delivered: 1050 };
        let second = cost(Some(CpuTime::default()));
        assert_eq!(third.since(&second, true), "published 0/s, delivered 1/s, broker 0.000 µs");
        assert_eq!(third.since(&second, false), "published 0/s, delivered 1/s");
    }
}
