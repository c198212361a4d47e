//! How much a queue holds: `x-max-length`, `x-max-length-bytes`, and what happens beyond.
//!
//! Only ready messages count, as in RabbitMQ, and those that wait to be ready again.

use super::arguments::{Overflow, QueueType, Settings};
use super::{Missing, Queue};
use crate::broker::QueueId;
use crate::broker::dead_letter::Reason;
use crate::broker::effects::Effects;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::wire::content::Message;

/// Messages dropped at once when a limit has come down; the next tick drops more.
const AT_ONCE: usize = 5_000;

impl Queue {
    fn holds_too_much(&self, more: usize, more_bytes: u64) -> bool {
        let (count, bytes) =
            ((self.ready() + self.put_off.len() + more) as u64, self.ready_bytes + more_bytes);
        self.settings.max_length.is_some_and(|max| count > max)
            || self.settings.max_length_bytes.is_some_and(|max| bytes > max)
    }

    /// Whether it refuses a message rather than drop another.
    pub(super) fn refuses(&mut self, message: &Message<'_>) -> bool {
        if self.settings.overflow == Overflow::DropHead {
            return false;
        }
        if self.settings.queue_type != QueueType::Quorum {
            return self.holds_too_much(1, message.body.size() as u64);
        }
        // A quorum queue takes the message that is too much and refuses those after it, until it is a fifth below.
        let below = |max: Option<u64>, now: u64| max.is_none_or(|max| now <= max / 5 * 4 + max % 5 * 4 / 5);
        let Settings { max_length, max_length_bytes, .. } = *self.settings;
        let is_low = below(max_length, (self.ready() + self.put_off.len()) as u64)
            && below(max_length_bytes, self.ready_bytes);
        self.refusing = self.holds_too_much(0, 0) || (self.refusing && !is_low);
        self.refusing
    }

    /// Whether messages at its head have to make room now.
    pub(super) fn is_too_long(&self) -> bool {
        self.drops() && self.holds_too_much(0, 0)
    }

    /// Whether there is a limit that messages at its head have to make room for.
    fn drops(&self) -> bool {
        let limited = self.settings.max_length.is_some() || self.settings.max_length_bytes.is_some();
        limited && self.settings.overflow == Overflow::DropHead
    }
}

impl Vhost {
    /// A queue has no room for a message.
    pub(super) fn turn_away(&mut self, id: QueueId, message: &Message<'_>, marks: u8, fx: &mut impl Effects) {
        let dead_letters =
            self.queues.get(id).is_some_and(|queue| queue.settings.overflow == Overflow::RejectPublishDlx);
        if dead_letters {
            self.kill_at_the_door(id, message, marks, fx);
        }
    }

    /// Drops messages from a queue's head until it holds no more than it may.
    pub(in crate::broker) fn enforce_length(&mut self, id: QueueId) {
        for _ in 0..AT_ONCE {
            let Some(queue) = self.queues.get_mut(id) else { return };
            if !queue.is_too_long() {
                return;
            }
            match queue.take_next() {
                Ok(next) => self.kill(id, next.position, next.size, Reason::MaxLength),
                // When it has arrived this is called again.
                Err(Missing::Wait) => return self.heed(id),
                Err(Missing::Nothing) => return,
            }
        }
        let now = self.clock;
        self.set_alarm(id, Alarm::More, Some(now));
    }
}
