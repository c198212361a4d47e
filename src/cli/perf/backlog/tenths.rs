//! Rates of a phase: over all of it, in its first tenth and in its last.
//!
//! On a queue that gets slower as it gets longer they differ.

use std::time::Duration;

use super::super::report::{as_f64, rounded};

/// How many messages there were at what time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    count: u64,
    at: Duration,
}

/// What has been seen of a phase so far.
#[derive(Debug)]
pub struct Tenths {
    total: u64,
    /// The first mark at or after a tenth of the messages.
    first: Option<Mark>,
    /// The last mark at or before nine tenths.
    last: Mark,
    /// The first mark at which all messages were there, or else the last mark of all.
    end: Mark,
}

/// Messages per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Over the whole phase.
    pub whole: f64,
    /// In its first tenth.
    pub first: f64,
    /// In its last tenth.
    pub last: f64,
}

impl Tenths {
    /// A phase of so many messages, that begins now.
    pub fn new(total: u64) -> Self {
        let start = Mark { count: 0, at: Duration::ZERO };
        Self { total, first: None, last: start, end: start }
    }

    /// Notes that there have been `count` messages at a time since the beginning. The more often
    /// this is called, the nearer to a tenth are the parts.
    pub fn note(&mut self, count: u64, at: Duration) {
        if self.end.count >= self.total {
            return;
        }
        let mark = Mark { count, at };
        if count >= self.total.div_ceil(10) {
            self.first.get_or_insert(mark);
        }
        if count <= self.total - self.total.div_ceil(10) {
            self.last = mark;
        }
        self.end = mark;
    }

    /// Time from the beginning to the last message.
    pub fn elapsed(&self) -> Duration {
        self.end.at
    }

    /// The rates, up to what has been noted last.
    pub fn rates(&self) -> Rates {
        let start = Mark { count: 0, at: Duration::ZERO };
        let first = self.first.unwrap_or(self.end);
        Rates { whole: rate(start, self.end), first: rate(start, first), last: rate(self.last, self.end) }
    }
}

/// Messages per second between two marks, 0 where no time has passed.
fn rate(from: Mark, to: Mark) -> f64 {
    let seconds = to.at.saturating_sub(from.at).as_secs_f64();
    let count = as_f64(to.count.saturating_sub(from.count));
    if seconds > 0.0 { rounded(count / seconds, 1) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn a_phase_that_slows_down_shows_it() {
        let mut tenths = Tenths::new(1000);
        let mut now = 0;
        for count in 0..=1000 {
            // The first hundred take 1 ms each, those between 2 ms, the last hundred 10 ms.
            now += match count {
                0 => 0,
                1..=100 => 1,
                101..=900 => 2,
                _ => 10,
            };
            tenths.note(count, ms(now));
        }
        tenths.note(1000, ms(now + 60_000));
        assert_eq!(tenths.rates(), Rates { whole: 370.4, first: 1000.0, last: 100.0 });
        assert_eq!(tenths.elapsed(), ms(2700));
    }

    #[test]
    fn parts_between_few_looks_are_counted_as_they_are() {
        let mut tenths = Tenths::new(1000);
        for (count, now) in [(50, 10), (300, 100), (850, 500), (950, 600), (1000, 700)] {
            tenths.note(count, ms(now));
        }
        assert_eq!(tenths.rates(), Rates { whole: 1428.6, first: 3000.0, last: 750.0 });
        let mut at_once = Tenths::new(5);
        at_once.note(5, ms(10));
        assert_eq!(at_once.rates(), Rates { whole: 500.0, first: 500.0, last: 500.0 });
    }

    #[test]
    fn a_phase_that_never_moved_has_no_rates() {
        let mut tenths = Tenths::new(10);
        assert_eq!(tenths.rates(), Rates { whole: 0.0, first: 0.0, last: 0.0 });
        tenths.note(0, ms(100));
        assert_eq!(tenths.rates().whole, 0.0);
    }
}
