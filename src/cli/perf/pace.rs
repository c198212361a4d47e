//! When messages are due that are to come at an even rate.

use std::time::Duration;

const SECOND: u128 = 1_000_000_000;
/// Longest stretch, in nanoseconds, whose messages are caught up at once; older ones are left out.
const CATCH_UP: u64 = 5_000_000;
/// Shortest wait: to wake up for each message would cost more than to send some together.
const SHORTEST: u64 = 100_000;

/// An even rate. Times are in nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages per second, more than 0.
    rate: u64,
    /// When the first message was due.
    start: u64,
    /// Messages sent or left out since then.
    passed: u64,
}

impl Pace {
    /// `rate` messages per second from `start` on.
    pub fn new(rate: u32, start: u64) -> Self {
        Self { rate: rate.max(1).into(), start, passed: 0 }
    }

    /// How many messages are due at `now`.
    pub fn due(&mut self, now: u64) -> usize {
        let elapsed = u128::from(now.saturating_sub(self.start));
        let all = elapsed * u128::from(self.rate) / SECOND + 1;
        let all = u64::try_from(all).unwrap_or(u64::MAX);
        let most = u128::from(CATCH_UP) * u128::from(self.rate) / SECOND;
        let most = u64::try_from(most).unwrap_or(u64::MAX).max(1);
        self.passed = self.passed.max(all.saturating_sub(most));
        usize::try_from(all.saturating_sub(self.passed)).unwrap_or(usize::MAX)
    }

    /// Notes that `count` messages have been sent.
    pub fn sent(&mut self, count: usize) {
        self.passed += count as u64;
    }

    /// How long to wait at `now` for the next message.
    pub fn wait(&self, now: u64) -> Duration {
        let after = (u128::from(self.passed) * SECOND).div_ceil(self.rate.into());
        let at = self.start.saturating_add(u64::try_from(after).unwrap_or(u64::MAX));
        Duration::from_nanos(at.saturating_sub(now).max(SHORTEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    /// Sends whatever is due each time it is said to be, for so many nanoseconds.
    fn run(rate: u32, time: u64) -> Vec<(u64, usize)> {
        let mut pace = Pace::new(rate, 7);
        let (mut now, mut sent) = (7, Vec::new());
        while now < time + 7 {
            let due = pace.due(now);
            pace.sent(due);
            sent.push((now - 7, due));
            now += u64::try_from(pace.wait(now).as_nanos()).unwrap();
        }
        sent
    }

    #[test]
    fn messages_come_one_by_one_at_their_times() {
        let sent = run(1000, 5 * MILLI);
        assert_eq!(sent, [(0, 1), (MILLI, 1), (2 * MILLI, 1), (3 * MILLI, 1), (4 * MILLI, 1)]);
        let sent = run(3, 1000 * MILLI);
        assert_eq!(sent, [(0, 1), (333_333_334, 1), (666_666_667, 1)]);
    }

    #[test]
    fn fast_ones_come_some_together_and_none_is_lost() {
        let sent = run(1_000_000, 1000 * MILLI);
        assert_eq!(sent.iter().map(|(_, due)| due).sum::<usize>(), 999_901);
        assert!(sent.iter().all(|&(_, due)| due <= 100));
        assert_eq!(run(2000, 10_000 * MILLI).iter().map(|(_, due)| due).sum::<usize>(), 20_000);
    }

    #[test]
    fn what_was_due_long_ago_is_left_out() {
        let mut pace = Pace::new(10_000, 0);
        assert_eq!(pace.due(0), 1);
        pace.sent(1);
        assert_eq!(pace.due(3 * MILLI), 30);
        assert_eq!(pace.due(1000 * MILLI), 50, "5 ms of them");
        pace.sent(50);
        assert_eq!(pace.due(1000 * MILLI), 0);
        assert_eq!(pace.due(1001 * MILLI), 10);
        // A slow rate keeps the message that is due.
        let mut pace = Pace::new(1, 0);
        pace.sent(1);
        assert_eq!((pace.due(999 * MILLI), pace.due(9500 * MILLI)), (0, 1));
        // A day at the highest rate does not overflow.
        let mut pace = Pace::new(u32::MAX, 0);
        assert_eq!(pace.due(86_400_000 * MILLI), 21_474_836);
    }
}
