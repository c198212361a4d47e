//! Publishers at the pace of consumers.
//!
//! A publisher that is read from without end runs away from consumers that take all they can: the queue grows until it
//! goes through the disk, which makes consumers slower still. So whoever publishes to a queue that has consumers and is
//! far behind is told so ([`Vhost::take_behind`]), waits a moment ([`Vhost::pace`]), and is called back when the queue
//! has caught up. How long to wait, and for consumers how slow, is up to whoever reads from publishers; RabbitMQ has
//! its credit flow for the same purpose.

use super::Queue;
use crate::broker::effects::Effects;
use crate::broker::vhost::Vhost;
use crate::broker::{ConnectionId, QueueId};

/// A queue is far behind its publishers when so many octets wait in it: enough for consumers to be busy with until
/// publishers have been called back, little enough to stay in a processor's cache. Measured (`docs/performance.md`).
const FAR: u64 = 128 << 10;
/// What a message counts beside its body, in octets.
const OVERHEAD: u64 = 64;

/// How far a publisher is ahead of consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    pub queue: QueueId,
    /// How many messages were added while the queue was far behind.
    pub messages: u64,
}

impl Queue {
    fn backlog(&self) -> u64 {
        self.ready_bytes + self.ready() as u64 * OVERHEAD
    }

    /// Whether it has consumers and publishers are far ahead of them.
    pub(super) fn is_far_behind(&self) -> bool {
        !self.consumers.is_empty() && self.backlog() > FAR
    }
}

impl Vhost {
    /// Notes a message that has come to a queue that is far behind.
    pub(super) fn note_behind(&mut self, id: QueueId) {
        match &mut self.behind {
            Some(behind) if behind.queue == id => behind.messages += 1,
            behind => *behind = Some(Behind { queue: id, messages: 1 }),
        }
    }

    /// The queue that got ahead of its consumers since this was asked last; one if they are several.
    pub fn take_behind(&mut self) -> Option<Behind> {
        self.behind.take()
    }

    /// Has a connection called back, by [`Effects::retry`], when a queue has caught up. Returns how often messages have
    /// been taken from it; `None` if there is nothing to wait for.
    pub fn pace(&mut self, connection: ConnectionId, queue: QueueId) -> Option<u64> {
        let queue = self.queues.get_mut(queue).filter(|queue| queue.is_far_behind())?;
        queue.paced.push(connection);
        Some(queue.takes)
    }

    /// A connection waits no more, called back or not. Returns how often messages have been taken from the queue.
    pub fn unpace(&mut self, connection: ConnectionId, queue: QueueId) -> Option<u64> {
        let queue = self.queues.get_mut(queue)?;
        queue.paced.retain(|id| *id != connection);
        Some(queue.takes)
    }

    /// Calls back who waits for a queue, if that has caught up or is not going to.
    pub(super) fn call_paced(&mut self, id: QueueId, fx: &mut impl Effects) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        if !queue.paced.is_empty() && (queue.backlog() < FAR / 2 || queue.consumers.is_empty()) {
            queue.paced.drain(..).for_each(|connection| fx.retry(connection));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ChannelId;
    use crate::broker::effects::{Delivery, Got};
    use crate::broker::queue::consumer::Consume;
    use crate::broker::queue::declare::Declaration;
    use crate::wire::content::{Body, Message};

    /// Connections that take deliveries or do not, and who was called back.
    #[derive(Default)]
    struct Peers {
        taking: bool,
        called: Vec<ConnectionId>,
    }

    impl Effects for Peers {
        fn has_credit(&mut self, _: ConnectionId) -> bool {
            self.taking
        }
        fn deliver(&mut self, _: &Delivery<'_>, _: &Message<'_>) {}
        fn got(&mut self, _: ConnectionId, _: u16, _: &Got, _: &Message<'_>) {}
        fn cancelled(&mut self, _: ConnectionId, _: u16, _: &[u8]) {}
        fn retry(&mut self, connection: ConnectionId) {
            self.called.push(connection);
        }
    }

    struct Rig {
        vhost: Vhost,
        peers: Peers,
        publisher: ConnectionId,
        consumer: ConnectionId,
        channel: ChannelId,
    }

    impl Rig {
        fn new() -> Self {
            let mut vhost = Vhost::new("v");
            let (publisher, consumer) = (vhost.connect(), vhost.connect());
            let channel = vhost.open_channel(consumer, 1);
            let declaration = Declaration {
                name: "q".into(),
                durable: false,
                exclusive: false,
                auto_delete: false,
                arguments: Default::default(),
                creator: None,
            };
            vhost.declare_queue(None, declaration).expect("a queue");
            Self { vhost, peers: Peers::default(), publisher, consumer, channel }
        }

        fn consume(&mut self) {
            let wanted = Consume {
                queue: b"q",
                tag: b"c",
                no_ack: true,
                exclusive: false,
                arguments: Default::default(),
            };
            let id = self.vhost.consume(self.channel, wanted).expect("a consumer");
            self.vhost.start_consumer(id, &mut self.peers);
        }

        /// Publishes so many messages of 1000 octets, and says what fell behind.
        fn publish(&mut self, count: usize) -> Option<u64> {
            let body = [7; 1000];
            let message =
                Message { exchange: b"", routing_key: b"q", properties: &[0, 0], body: Body::Inline(&body) };
            let targets = self.vhost.route(&message).targets;
            for _ in 0..count {
                self.vhost.publish(&targets, &message, 0, &mut self.peers);
            }
            self.vhost.take_behind().map(|behind| behind.messages)
        }

        fn queue(&self) -> QueueId {
            self.vhost.queue_names[&b"q"[..]]
        }
    }

    /// Messages of 1000 octets that are just not too many.
    const NEAR: usize = FAR as usize / (1000 + OVERHEAD as usize);

    #[test]
    fn only_queues_with_consumers_fall_behind() {
        let mut rig = Rig::new();
        assert_eq!(rig.publish(NEAR * 2), None);
        assert_eq!(rig.vhost.pace(rig.publisher, rig.queue()), None);
        let mut rig = Rig::new();
        rig.consume();
        assert_eq!(rig.publish(NEAR), None);
        assert_eq!(rig.publish(3), Some(3));
        assert_eq!(rig.publish(0), None, "it is said once");
    }

    #[test]
    fn who_waits_is_called_back_once_when_consumers_have_caught_up() {
        let mut rig = Rig::new();
        rig.consume();
        rig.publish(NEAR + 1);
        let queue = rig.queue();
        assert_eq!(rig.vhost.pace(rig.publisher, queue), Some(0));
        rig.peers.taking = true;
        rig.vhost.resume(rig.consumer, &mut rig.peers);
        assert_eq!(rig.peers.called, [rig.publisher]);
        assert_eq!(rig.vhost.pace(rig.publisher, queue), None);
        rig.vhost.dispatch(queue, &mut rig.peers);
        assert_eq!(rig.peers.called.len(), 1);
        assert_eq!(rig.vhost.unpace(rig.publisher, queue), Some(NEAR as u64 + 1));
    }

    #[test]
    fn who_waits_no_more_is_not_called() {
        let mut rig = Rig::new();
        rig.consume();
        rig.publish(NEAR + 1);
        let queue = rig.queue();
        rig.vhost.pace(rig.publisher, queue);
        assert_eq!(rig.vhost.unpace(rig.publisher, queue), Some(0));
        rig.peers.taking = true;
        rig.vhost.resume(rig.consumer, &mut rig.peers);
        assert!(rig.peers.called.is_empty());
    }
}
