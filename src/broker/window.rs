//! A channel's own prefetch window (`basic.qos` with `global`), beside those of its consumers. RabbitMQ had it up to
//! 4.2 (`broker/compatibility`).
//!
//! A consumer whose turn comes while its channel's window is full leaves its queue's ring and waits in the window. When
//! there is room again they come back in the order in which they left, one at a time, each taking what it can: who has
//! had something goes behind those who have not.

use std::collections::VecDeque;

use super::channel::{Channel, Unacked};
use super::effects::Effects;
use super::queue::consumer::Place;
use super::vhost::Vhost;
use super::{ChannelId, ConsumerId};

#[derive(Debug, Default)]
pub(super) struct Window {
    /// How many deliveries may be unacknowledged; 0 is no limit, and an end to the window.
    limit: u16,
    /// Deliveries to consumers, those cancelled included, but not what `basic.get` fetched.
    unacked: usize,
    /// Consumers that would have had their turn.
    waiting: VecDeque<ConsumerId>,
}

impl Window {
    pub fn is_full(&self) -> bool {
        self.limit != 0 && self.unacked >= usize::from(self.limit)
    }

    pub fn note_delivery(&mut self) {
        self.unacked += 1;
    }

    pub fn wait(&mut self, consumer: ConsumerId) {
        self.waiting.push_back(consumer);
    }

    /// A consumer is no longer there.
    pub fn forget(&mut self, consumer: ConsumerId) {
        self.waiting.retain(|id| *id != consumer);
    }
}

impl Channel {
    /// How many deliveries may be unacknowledged; 0 is no limit.
    pub fn window_limit(&self) -> u16 {
        self.window.as_ref().map_or(0, |window| window.limit)
    }

    pub fn has_window(&self) -> bool {
        self.window.is_some()
    }
}

impl Vhost {
    /// Limits the unacknowledged deliveries of all consumers of a channel, those before this included; 0 is no limit.
    /// What it makes room for is sent by [`dispatch_due`](Self::dispatch_due), which has to follow.
    pub fn set_window(&mut self, channel: ChannelId, limit: u16) {
        let Some(on) = self.channels.get_mut(channel) else { return };
        if limit == 0 && on.window.is_none() {
            return;
        }
        let to_consumers = on.unacked().iter().filter(|delivery| delivery.consumer.is_some()).count();
        let window = on.window.get_or_insert_default();
        (window.limit, window.unacked) = (limit, to_consumers);
        self.widened.push(channel);
    }

    /// Deliveries of a channel have been settled.
    pub(super) fn widen(&mut self, channel: ChannelId, settled: &[Unacked]) {
        let Some(window) = self.channels.get_mut(channel).and_then(|on| on.window.as_mut()) else { return };
        let to_consumers = settled.iter().filter(|delivery| delivery.consumer.is_some()).count();
        window.unacked = window.unacked.saturating_sub(to_consumers);
        if !window.waiting.is_empty() && !window.is_full() && self.widened.last() != Some(&channel) {
            self.widened.push(channel);
        }
    }

    /// Consumers that wait for a window to have room come back, each once at most.
    pub(super) fn resume_widened(&mut self, fx: &mut impl Effects) {
        while let Some(id) = self.widened.pop() {
            let waiting = self.window(id).map_or(0, |window| window.waiting.len());
            for _ in 0..waiting {
                let Some(window) = self.window(id).filter(|window| !window.is_full()) else { break };
                let Some(consumer) = window.waiting.pop_front() else { break };
                if self.consumers.get(consumer).is_some_and(|found| found.place == Place::Shut) {
                    self.bring_back(consumer, fx);
                }
            }
            if self.window(id).is_some_and(|window| window.limit == 0) {
                self.channels[id].window = None;
            }
        }
    }

    fn window(&mut self, id: ChannelId) -> Option<&mut Window> {
        self.channels.get_mut(id)?.window.as_deref_mut()
    }
}
