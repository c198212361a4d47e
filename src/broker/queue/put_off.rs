//! Delayed retry of quorum queues: a message that has come back waits before it is ready again.
//!
//! As in RabbitMQ 4.3 it is neither ready nor unacknowledged then. It counts for the queue's length, goes with a purge,
//! does not expire, and comes back to its old place.

use std::collections::BTreeMap;

use super::Queue;
use super::arguments::{DelayedRetry, Retried};
use crate::broker::effects::Effects;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{Now, QueueId};
use crate::log::Position;

/// Messages that wait, by the time at which they are ready again, with the octets of their bodies.
pub type PutOff = BTreeMap<(Now, Position), u32>;

impl DelayedRetry {
    /// How long a message waits that has just come back, by how often it has failed up to now.
    fn delay(&self, failed: bool, failures: u32) -> Option<u64> {
        let waits = match self.which {
            Retried::All => true,
            Retried::Failed => failed,
            Retried::Returned => !failed,
        };
        waits.then(|| self.min.saturating_mul(failures.max(1).into()).min(self.max))
    }
}

impl Queue {
    /// Messages that have come back and wait.
    pub fn put_off_count(&self) -> usize {
        self.put_off.len()
    }

    /// How long a message that comes back is to wait, if it is.
    fn retry_delay(&self, position: Position, failed: bool) -> Option<u64> {
        self.settings.delayed_retry?.delay(failed, self.failures(position))
    }

    /// Puts back those that have waited long enough, `most` at the most.
    fn end_wait(&mut self, now: Now, most: u64) {
        for _ in 0..most {
            let Some(first) = self.put_off.first_entry().filter(|first| first.key().0 <= now) else { break };
            let ((_, position), size) = first.remove_entry();
            self.ready_bytes -= u64::from(size);
            (self.unacked, self.unacked_bytes) = (self.unacked + 1, self.unacked_bytes + u64::from(size));
            self.put_back(position, size);
            // Nobody has watched it while it was away.
            self.expiring = true;
        }
    }

    /// Drops those that wait, and says how many there were.
    pub(super) fn drop_put_off(&mut self) -> usize {
        let dropped = std::mem::take(&mut self.put_off);
        let count = dropped.len();
        for ((_, position), _) in dropped {
            self.forget_returns(position);
            self.forget_key(position);
            if let Some(lane) = self.lane_at_mut(position) {
                lane.settle(position);
            }
        }
        count
    }
}

/// One that waited was lost on the disk. Says whether there was such a one.
pub fn lose(put_off: &mut PutOff, position: Position) -> bool {
    let before = put_off.len();
    put_off.retain(|(_, other), _| *other != position);
    put_off.len() < before
}

impl Vhost {
    /// An unacknowledged message comes back: to its place, or to wait. Says whether it is ready.
    pub(in crate::broker) fn come_back(
        &mut self,
        id: QueueId,
        position: Position,
        size: u32,
        failed: bool,
    ) -> bool {
        let now = self.clock;
        let Some(queue) = self.queues.get_mut(id) else { return false };
        let Some(delay) = queue.retry_delay(position, failed) else {
            queue.put_back(position, size);
            return true;
        };
        queue.unacked -= 1;
        queue.unacked_bytes -= u64::from(size);
        queue.ready_bytes += u64::from(size);
        queue.put_off.insert((now.saturating_add(delay), position), size);
        self.await_put_off(id);
        false
    }

    fn await_put_off(&mut self, id: QueueId) {
        let first = self.queues.get(id).and_then(|queue| queue.put_off.first_key_value());
        let at = first.map(|((at, _), _)| *at);
        self.set_alarm(id, Alarm::Due, at);
    }

    /// Messages of a queue have waited long enough, `most` of them at the most.
    pub(in crate::broker) fn end_wait(&mut self, id: QueueId, most: u64, fx: &mut impl Effects) {
        let now = self.clock;
        let Some(queue) = self.queues.get_mut(id).filter(|queue| !queue.put_off.is_empty()) else { return };
        let before = queue.put_off.len();
        queue.end_wait(now, most);
        self.work += (before - queue.put_off.len()) as u64;
        self.await_put_off(id);
        self.dispatch(id, fx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_the_failures_up_to_a_limit() {
        let delays = |which, failed| {
            let retry = DelayedRetry { which, min: 300, max: 1000 };
            [0, 1, 2, 3, 4, u32::MAX].map(|failures| retry.delay(failed, failures))
        };
        let growing = [300, 300, 600, 900, 1000, 1000].map(Some);
        assert_eq!((delays(Retried::All, true), delays(Retried::All, false)), (growing, growing));
        assert_eq!((delays(Retried::Failed, true), delays(Retried::Failed, false)), (growing, [None; 6]));
        assert_eq!((delays(Retried::Returned, true), delays(Retried::Returned, false)), ([None; 6], growing));
        let short = DelayedRetry { which: Retried::All, min: u64::MAX, max: 5 };
        assert_eq!(short.delay(true, 7), Some(5));
    }
}
