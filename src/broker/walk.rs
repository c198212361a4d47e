//! Going through all there is of something, some at a time: whoever lists a hundred thousand queues gives the vhost back
//! in between, and copies what it shows.
//!
//! What comes meanwhile may be missing, what goes meanwhile is passed over.

use super::exchange::Exchange;
use super::queue::Queue;
use super::vhost::Vhost;
use super::{ExchangeId, QueueId};

/// As many of them are looked at in one go.
pub const AT_ONCE: usize = 1_000;

impl Vhost {
    pub fn queue_ids(&self) -> Vec<QueueId> {
        // Not by the queues themselves, which lie far apart.
        self.queue_names.values().copied().collect()
    }

    /// A queue that people may see, if it is still there.
    pub fn queue_by_id(&self, id: QueueId) -> Option<&Queue> {
        self.queues.get(id).filter(|queue| !queue.hidden)
    }

    pub fn exchange_ids(&self) -> Vec<ExchangeId> {
        self.exchange_names.values().copied().collect()
    }

    pub fn exchange_by_id(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(id)
    }
}
