//! Limits of a node as a whole, which whoever starts it sets, and the setting of those of vhosts and users.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::types::AMQPValue;

use super::Node;
use crate::auth::limits::{Limit, VhostLimits};
use crate::broker::compatibility::Permits;
use crate::broker::events::Facts;
use crate::broker::queue::arguments::QueueType;
use crate::session::stamps::Stamps;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// The channels of a connection; 0 is no limit.
    pub channel_max: u16,
    /// The consumers of a channel.
    pub consumer_max: Option<u32>,
    pub connection_max: Option<u32>,
    pub vhost_max: Option<u32>,
    /// Octets that a frame may have, as clients are offered it.
    pub frame_max: u32,
    /// Seconds, as clients are offered it; 0 is none.
    pub heartbeat: u16,
    pub permits: Permits,
    /// How long a client may take until it is in.
    pub handshake_timeout: Option<Duration>,
    /// Milliseconds that a delivery of a quorum queue may go unacknowledged.
    pub consumer_timeout: Option<u64>,
    /// What vhosts get that are not told.
    pub default_queue_type: QueueType,
    /// What messages get added.
    pub stamps: Stamps,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            channel_max: 2047,
            consumer_max: None,
            connection_max: None,
            vhost_max: None,
            frame_max: 131_072,
            heartbeat: 60,
            permits: Permits::default(),
            handshake_timeout: Some(Duration::from_secs(10)),
            consumer_timeout: None,
            default_queue_type: QueueType::Classic,
            stamps: Stamps::default(),
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
        offer.frame_max = limits.frame_max;
        offer.heartbeat = limits.heartbeat;
        offer.stamps = limits.stamps;
        self.connection_max = limits.connection_max.map(|max| Limit(max.into()));
        self.default_queue_type = limits.default_queue_type;
        self.vhost_max = limits.vhost_max;
        self.permits = limits.permits;
        self.handshake_timeout = limits.handshake_timeout;
        self.consumer_timeout = limits.consumer_timeout;
        self
    }

    /// Sets a vhost's limit of this name, or takes it away, and says whether there is such a vhost. Connections and queues
    /// that are there stay.
    pub fn limit_vhost(&self, vhost: &str, name: &str, limit: Option<Limit>) -> bool {
        self.change_limits_of_vhost(vhost, |limits| {
            if let Some(place) = limits.get_or_insert_default().by_name(name) {
                *place = limit;
            }
        })
        .is_some()
    }

    /// Sets all of a vhost's limits at once, or takes them away, and says whether there were none; `None` without such a
    /// vhost.
    pub fn set_limits_of_vhost(&self, vhost: &str, limits: Option<VhostLimits>) -> Option<bool> {
        let before = self.change_limits_of_vhost(vhost, |found| *found = limits)?;
        if before.is_some() && limits.is_none() {
            self.tell_limits_gone(vhost);
        }
        Some(before.is_none())
    }

    /// Says what they were before.
    fn change_limits_of_vhost(
        &self,
        vhost: &str,
        change: impl FnOnce(&mut Option<VhostLimits>),
    ) -> Option<Option<VhostLimits>> {
        let mut before = None;
        let cell = self.change_vhost(vhost, |about| {
            before = about.limits;
            change(&mut about.limits);
        })?;
        let limits = cell.about().limits;
        if limits != before && limits.is_some() {
            self.events.done("vhost.limits.set", |facts| {
                let limits = limits.unwrap_or_default();
                let all = [("max-connections", limits.max_connections), ("max-queues", limits.max_queues)];
                let facts = facts.text("name", "limits").text("vhost", vhost);
                all.into_iter().fold(facts, |facts, (name, limit)| with_limit(facts, name, limit))
            });
        }
        Some(before)
    }

    /// A vhost that had limits goes.
    pub(super) fn tell_limits_gone(&self, vhost: &str) {
        self.events.done("vhost.limits.cleared", |facts| facts.text("name", "limits").text("vhost", vhost));
    }

    /// Sets a user's limit of this name, or takes it away, and says whether there is such a user. What they have open
    /// already stays.
    pub fn limit_user(&self, user: &str, name: &str, limit: Option<Limit>) -> bool {
        let limited = self.change_limits_of(user, |limits| {
            if let Some(place) = limits.by_name(name) {
                *place = limit;
            }
        });
        if limited {
            let key = if limit.is_some() { "user.limits.set" } else { "user.limits.cleared" };
            self.events.done(key, |facts| {
                with_limit(facts.text("name", "limits").text("username", user), name, limit)
            });
        }
        limited
    }
}

fn with_limit(facts: Facts, name: &str, limit: Option<Limit>) -> Facts {
    match limit {
        Some(Limit(max)) => facts.value(name, AMQPValue::LongLongInt(max)),
        None => facts,
    }
}
