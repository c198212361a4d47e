//! When messages are due.
//!
//! All times are in nanoseconds since the run's clock was started.

use std::time::Duration;

use super::nanos;

const SECOND: u128 = 1_000_000_000;

/// The times of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When the first message is due.
    pub start: u64,
    /// From when on messages count.
    pub from: u64,
    /// When there are no more.
    pub to: u64,
}

impl Plan {
    /// Messages from `start` on, of which those after the warm-up are measured.
    pub fn new(start: u64, warmup: Duration, time: Duration) -> Self {
        let from = start.saturating_add(nanos(warmup));
        Self { start, from, to: from.saturating_add(nanos(time)) }
    }

    /// Whether a message that was due at `time` counts.
    pub fn measures(&self, time: u64) -> bool {
        (self.from..self.to).contains(&time)
    }
}

/// When each message of one producer is due. The producers send in turn, so that all messages
/// together come at an even rate.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: u64,
    /// Messages per second of all producers.
    rate: u64,
    producers: u64,
    /// Number of this one, from 0.
    number: u64,
}

impl Schedule {
    /// The share of one producer in a rate that all of them keep together.
    pub fn new(start: u64, rate: u32, producers: u16, number: u16) -> Self {
        Self { start, rate: rate.max(1).into(), producers: producers.max(1).into(), number: number.into() }
    }

    /// When message `nth`, from 0, is due. It is reckoned from the start, so that nothing adds up.
    pub fn at(&self, nth: u64) -> u64 {
        let place = u128::from(nth) * u128::from(self.producers) + u128::from(self.number);
        let after = place * SECOND / u128::from(self.rate);
        self.start.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// How many messages are due before `time`.
    pub fn count_before(&self, time: u64) -> u64 {
        let elapsed = u128::from(time.saturating_sub(self.start));
        let all = (elapsed * u128::from(self.rate)).div_ceil(SECOND);
        let mine = all.saturating_sub(self.number.into()).div_ceil(self.producers.into());
        u64::try_from(mine).unwrap_or(u64::MAX)
    }

    /// Time from one message to the next.
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.at(1) - self.at(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_an_even_rate_that_does_not_drift() {
        let schedule = Schedule::new(5, 3, 1, 0);
        assert_eq!([0, 1, 2, 3].map(|nth| schedule.at(nth)), [5, 333_333_338, 666_666_671, 1_000_000_005]);
        assert_eq!(schedule.at(3 * 86_400), 86_400_000_000_005);
        assert_eq!(Schedule::new(0, 2000, 1, 0).interval(), Duration::from_micros(500));
        assert_eq!(Schedule::new(0, 2000, 4, 3).interval(), Duration::from_millis(2));
    }

    #[test]
    fn producers_send_in_turn() {
        let one = Schedule::new(7, 1000, 1, 0);
        let three: Vec<_> = (0..3).map(|number| Schedule::new(7, 1000, 3, number)).collect();
        for nth in 0..100 {
            for (number, schedule) in (0..).zip(&three) {
                assert_eq!(schedule.at(nth), one.at(3 * nth + number));
            }
        }
    }

    #[test]
    fn what_is_due_before_the_end_is_counted() {
        for rate in [1, 3, 7, 1000, 999_983] {
            for producers in [1, 2, 5] {
                for number in 0..producers {
                    let schedule = Schedule::new(11, rate, producers, number);
                    for end in [0, 11, 12, 1_000_011, 333_333_345, 1_000_000_011] {
                        let count = schedule.count_before(end);
                        assert!(count == 0 || schedule.at(count - 1) < end, "{schedule:?} {end}");
                        assert!(schedule.at(count) >= end, "{schedule:?} {end}");
                    }
                }
            }
        }
        let all = |number| Schedule::new(0, 2000, 3, number).count_before(1_000_000_000);
        assert_eq!((all(0), all(1), all(2)), (667, 667, 666));
    }

    #[test]
    fn only_what_is_due_after_the_warm_up_counts() {
        let plan = Plan::new(100, Duration::from_nanos(50), Duration::from_nanos(10));
        assert_eq!(plan, Plan { start: 100, from: 150, to: 160 });
        assert_eq!([149, 150, 159, 160].map(|time| plan.measures(time)), [false, true, true, false]);
    }
}
