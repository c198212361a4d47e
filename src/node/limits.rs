//! Limits of a node as a whole, which whoever starts it sets.

use std::sync::Arc;

use super::Node;
use crate::auth::limits::Limit;
use crate::broker::queue::arguments::QueueType;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// The channels of a connection; 0 is no limit.
    pub channel_max: u16,
    /// The consumers of a channel.
    pub consumer_max: Option<u32>,
    pub connection_max: Option<u32>,
    /// What vhosts get that are not told.
    pub default_queue_type: QueueType,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            channel_max: 2047,
            consumer_max: None,
            connection_max: None,
            default_queue_type: QueueType::Classic,
        }
    }
}

impl Node {
    /// The same node with other limits, before it serves anybody.
    #[must_use]
    pub fn with_limits(mut self, limits: &NodeLimits) -> Self {
        let offer = Arc::make_mut(&mut self.offer);
        offer.channel_max = limits.channel_max;
        offer.consumer_max = limits.consumer_max;
        self.connection_max = limits.connection_max.map(|max| Limit(max.into()));
        self.default_queue_type = limits.default_queue_type;
        self
    }
}
