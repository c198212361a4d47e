//! How long a publisher waits for consumers that it has got ahead of, and when that is of no use.

use std::time::Duration;

use tokio::time::Instant;

use crate::broker::QueueId;
use crate::broker::queue::pace::Behind;

/// Octets that may be published to a queue that is far behind between one wait and the next.
const STEP: usize = 64 << 10;
/// A wait for [`STEP`] octets ends after this: no publisher is held below 25 MB/s for the sake of consumers.
const PATIENCE: Duration = Duration::from_micros(2500);
/// Consumers that have taken less than this part of what was published meanwhile are too slow to be waited for.
const WORTHWHILE: u64 = 4;
/// At most so many waits are left out before it is tried again.
const SKIP_MAX: u32 = 64;

/// A connection's part in keeping the pace of consumers.
#[derive(Debug, Default)]
pub struct Pace {
    /// What has been published to a queue that is far behind since the last wait.
    octets: usize,
    messages: u64,
    queue: QueueId,
    waiting: Option<Waiting>,
    /// Waits that are left out, and how many of them are still to come.
    skip: u32,
    skipping: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    until: Instant,
    /// How often messages had been taken from the queue.
    taken: u64,
}

impl Pace {
    /// Notes what a batch of so many octets has done. Returns the queue to wait for, if it is time to.
    pub fn published(&mut self, octets: usize, behind: Option<Behind>) -> Option<QueueId> {
        let Some(behind) = behind else {
            (self.octets, self.messages) = (0, 0);
            return None;
        };
        if behind.queue != self.queue {
            (self.queue, self.octets, self.messages) = (behind.queue, 0, 0);
        }
        self.octets += octets;
        self.messages += behind.messages;
        if self.octets < STEP {
            return None;
        }
        if self.skipping > 0 {
            self.skipping -= 1;
            (self.octets, self.messages) = (0, 0);
            return None;
        }
        Some(behind.queue)
    }

    /// Begins to wait for the queue, from which messages have been taken so often.
    pub fn begin(&mut self, taken: u64, now: Instant) {
        let steps = u32::try_from(self.octets / STEP).unwrap_or(u32::MAX);
        self.waiting = Some(Waiting { until: now + PATIENCE * steps.clamp(1, 8), taken });
    }

    /// The end of waiting, if it has begun.
    pub fn until(&self) -> Option<Instant> {
        self.waiting.map(|waiting| waiting.until)
    }

    /// The queue that is waited for.
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// Waits no more. Messages have been taken from the queue so often; `None` if it is gone.
    pub fn end(&mut self, taken: Option<u64>) {
        let Some(waiting) = self.waiting.take() else { return };
        let taken = taken.map_or(0, |taken| taken.saturating_sub(waiting.taken));
        let worthwhile = taken >= self.messages / WORTHWHILE;
        self.skip = if worthwhile { 0 } else { (self.skip * 2).clamp(1, SKIP_MAX) };
        self.skipping = self.skip;
        (self.octets, self.messages) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(messages: u64) -> Option<Behind> {
        Some(Behind { queue: QueueId::default(), messages })
    }

    /// Publishes step after step, with consumers that take so many of the hundred messages of a step during a wait.
    fn waits(pace: &mut Pace, steps: usize, taken: u64) -> usize {
        let mut waits = 0;
        for _ in 0..steps {
            if pace.published(STEP, behind(100)).is_some() {
                pace.begin(1000, Instant::now());
                assert!(pace.until().is_some());
                pace.end(Some(1000 + taken));
                waits += 1;
            }
            assert!(pace.until().is_none());
        }
        waits
    }

    #[test]
    fn little_is_published_without_waiting() {
        let mut pace = Pace::default();
        for _ in 0..3 {
            assert_eq!(pace.published(STEP / 2, behind(10)), None);
            assert_eq!(pace.published(STEP, None), None, "the queue has caught up");
        }
        assert_eq!(pace.published(STEP / 2, behind(10)), None);
        assert!(pace.published(STEP / 2, behind(10)).is_some());
    }

    #[test]
    fn fast_consumers_are_waited_for_each_time_and_slow_ones_seldom() {
        let mut pace = Pace::default();
        assert_eq!(waits(&mut pace, 1000, 100 / WORTHWHILE), 1000);
        let slow = waits(&mut pace, 1000, 100 / WORTHWHILE - 1);
        assert!((10..25).contains(&slow), "{slow} waits");
        // They are found out to be fast within so many steps, and then waited for each time.
        let fast = waits(&mut pace, 1000, 100);
        assert!(fast >= 1000 - SKIP_MAX as usize, "{fast} waits");
    }

    #[test]
    fn a_wait_is_as_long_as_what_was_published() {
        let mut pace = Pace::default();
        let now = Instant::now();
        for (octets, wanted) in [(STEP, 1), (STEP * 4, 4), (STEP * 100, 8)] {
            assert!(pace.published(octets, behind(1)).is_some());
            pace.begin(0, now);
            assert_eq!(pace.until(), Some(now + PATIENCE * wanted));
            pace.end(None);
            pace = Pace::default();
        }
    }
}
