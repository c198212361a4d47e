//! A bell that wakes one thread: at once, or after a moment in which more may come.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long what nobody waits for may take to be noticed.
const MOMENT: Duration = Duration::from_millis(5);

/// How loudly a bell is rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ring {
    Softly = 1,
    Loudly = 2,
}

/// Rung by many, heard by one.
#[derive(Debug, Default)]
pub struct Bell {
    /// The loudest ring since it was last heard, 0 if there was none.
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

impl Bell {
    pub fn ring(&self, ring: Ring) {
        let level = ring as u8;
        // Nearly always it has been rung already.
        if self.state.load(Ordering::Relaxed) >= level && self.state.load(Ordering::SeqCst) >= level {
            return;
        }
        if self.state.fetch_max(level, Ordering::SeqCst) < level {
            if let Some(thread) = self.thread.get() {
                thread.unpark();
            }
        }
    }

    /// Waits until it is rung, but not longer than `patience`. Always called by the same thread.
    pub fn wait(&self, patience: Duration) {
        self.thread.get_or_init(thread::current);
        let begun = Instant::now();
        let mut heard: Option<Instant> = None;
        loop {
            let level = self.state.load(Ordering::SeqCst);
            let left = match (level, heard) {
                (0, _) => patience.saturating_sub(begun.elapsed()),
                (1, None) => {
                    heard = Some(Instant::now());
                    MOMENT
                }
                (1, Some(first)) => MOMENT.saturating_sub(first.elapsed()),
                _ => Duration::ZERO,
            };
            if left.is_zero() {
                self.state.store(0, Ordering::SeqCst);
                return;
            }
            thread::park_timeout(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn no_ring_is_missed() {
        let bell = Arc::new(Bell::default());
        let (rung, heard) = std::sync::mpsc::channel();
        let ears = Arc::clone(&bell);
        let listener = thread::spawn(move || {
            for _ in 0..100 {
                ears.wait(Duration::from_secs(60));
                rung.send(()).expect("somebody counts");
            }
        });
        for n in 0..100 {
            bell.ring(if n % 3 == 0 { Ring::Softly } else { Ring::Loudly });
            heard.recv_timeout(Duration::from_secs(30)).expect("it is heard");
        }
        listener.join().expect("no panic");
    }
}
