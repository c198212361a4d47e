//! Whether publishers are to wait, since more comes in than can be written.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Set by whoever writes, looked at by connections that publish before they read on.
#[derive(Debug, Default)]
pub struct Congestion {
    on: AtomicBool,
    over: Notify,
}

impl Congestion {
    /// Publishers are to wait, or may go on.
    pub fn set(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
        if !on {
            self.over.notify_waiters();
        }
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Waits until publishers may go on.
    pub async fn over(&self) {
        loop {
            // Whoever asks before it looks misses no call.
            let over = self.over.notified();
            if !self.on.load(Ordering::SeqCst) {
                return;
            }
            over.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn all_who_wait_go_on() {
        let congestion = Arc::new(Congestion::default());
        congestion.over().await;
        congestion.set(true);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let congestion = Arc::clone(&congestion);
                tokio::spawn(async move { congestion.over().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(congestion.is_on() && waiting.iter().all(|task| !task.is_finished()));
        congestion.set(false);
        for task in waiting {
            task.await.expect("no panic");
        }
    }
}
