//! Alarms of all vhosts: one task sleeps until the next one is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Node, now};
use crate::broker::Now;

/// When there is nothing to be done.
pub const NEVER: Now = Now::MAX;
/// No sleep is longer, should the system's time be changed meanwhile.
const LONGEST: Duration = Duration::from_secs(10);

/// When the next alarm of any vhost is due.
#[derive(Debug)]
pub struct Clock {
    next: AtomicU64,
    earlier: Notify,
}

impl Default for Clock {
    fn default() -> Self {
        Self { next: AtomicU64::new(NEVER), earlier: Notify::new() }
    }
}

impl Clock {
    /// Something is to be done at a time, in milliseconds since 1970.
    pub fn ask(&self, at: Now) {
        // Nearly always it is not earlier than what is known.
        if at < self.next.load(Ordering::Relaxed) && self.next.fetch_min(at, Ordering::SeqCst) > at {
            self.earlier.notify_one();
        }
    }

    async fn sleep(&self) {
        let left = Duration::from_millis(self.next.load(Ordering::SeqCst).saturating_sub(now()));
        if !left.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(left.min(LONGEST)) => {}
                () = self.earlier.notified() => {}
            }
        }
    }
}

/// Does what is due in all vhosts until the node goes down.
pub async fn run(node: Arc<Node>) {
    let mut going_down = node.going_down();
    loop {
        tokio::select! {
            () = node.clock.sleep() => {}
            _ = going_down.wait_for(|down| *down) => return,
        }
        let now = now();
        if node.clock.next.load(Ordering::SeqCst) > now {
            continue;
        }
        // What is asked for from now on counts, and what has been asked for before is asked for again.
        node.clock.next.store(NEVER, Ordering::SeqCst);
        for vhost in node.vhosts() {
            if vhost.alarm() <= now {
                vhost.tick();
            }
            node.clock.ask(vhost.alarm());
        }
        // Others want the vhosts too, when there is more to do than is done at once.
        tokio::task::yield_now().await;
    }
}
