//! Waking up at a given time, to the microsecond.

use std::{hint, num::NonZeroU64, thread, time::Duration};

use super::super::shared::Shared;

/// How long before its time to wake up. On two shared virtual processors, a thread that sleeps comes
/// back 80 to 110 µs late with the kernel's usual slack of 50 µs, and about 30 µs late without, but
/// sometimes twice that. The rest is waited for awake: with 50 µs half of the messages were late at
/// times, with 80 µs nine of ten were always sent within a microsecond.
const EARLY: Duration = Duration::from_micros(80);
/// The part of the time between two messages that may be spent awake: a fifth, so that the
/// generator takes no more than that of a processor, and is a little late at high rates instead.
const AWAKE_PART: u32 = 5;

/// Wakes one thread up, at times that are some interval apart.
#[derive(Debug)]
pub struct Alarm {
    early: Duration,
}

impl Alarm {
    /// For the thread that calls.
    pub fn new(interval: Duration) -> Self {
        // The kernel may put off the ends of sleeps in order to have several at once. Where it
        // cannot be kept from it, the report shows that messages were sent late.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Self { early: EARLY.min(interval / AWAKE_PART) }
    }

    /// Waits for a time of the run, and returns the time it is then.
    pub fn wait_until(&self, shared: &Shared, time: u64) -> u64 {
        let mut now = shared.now();
        let left = Duration::from_nanos(time.saturating_sub(now));
        if left > self.early {
            thread::sleep(left - self.early);
            now = shared.now();
        }
        // To yield instead would give the processor away for longer than there is to wait.
        while now < time {
            hint::spin_loop();
            now = shared.now();
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_wakes_up_too_early() {
        let shared = Shared::new();
        let alarm = Alarm::new(Duration::from_micros(500));
        for _ in 0..20 {
            let time = shared.now() + 300_000;
            let woken = alarm.wait_until(&shared, time);
            assert!(woken >= time && woken <= shared.now());
        }
        let now = shared.now();
        assert!(alarm.wait_until(&shared, 0) >= now, "what is past is not waited for");
    }

    #[test]
    fn little_time_is_spent_awake() {
        assert_eq!(Alarm::new(Duration::from_millis(500)).early, EARLY);
        assert_eq!(Alarm::new(Duration::from_micros(100)).early, Duration::from_micros(20));
    }
}
