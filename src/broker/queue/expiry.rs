//! Messages that expire, and queues that nobody uses.
//!
//! A message expires at the head of its queue, as in RabbitMQ: one behind another that stays longer waits for it. (In a
//! quorum queue each priority has a head, and what has come back has one.) So one alarm for each queue is enough, for the
//! time at which what is at its head expires. Queues whose messages do not expire cost a look at a flag.

use super::Queue;
use crate::broker::dead_letter::Reason;
use crate::broker::effects::Effects;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{Now, QueueId};
use crate::log::At;
use crate::log::record::Record;
use crate::wire::content::Message;
use crate::wire::properties::{self, EXPIRATION};

/// Milliseconds after a start until the first queue is looked at for messages that expire by what their publishers said,
/// and until the next one is.
const FIRST_LOOK: u64 = 2_000;
const NEXT_LOOK: u64 = 10;

/// Milliseconds out of an `expiration` property that has been checked.
pub fn milliseconds(expiration: &[u8]) -> Option<u64> {
    std::str::from_utf8(expiration).ok()?.parse().ok()
}

/// Milliseconds a message may wait by what its publisher says.
fn own_ttl(raw: &[u8]) -> Option<u64> {
    if properties::flags(raw) & EXPIRATION == 0 {
        return None;
    }
    properties::walk(raw).ok()?.expiration.and_then(milliseconds)
}

impl Queue {
    /// Notes that a message came which may expire.
    pub(super) fn note_expiring(&mut self, message: &Message<'_>) {
        self.expiring |= self.settings.message_ttl.is_some() || own_ttl(message.properties).is_some();
    }

    /// When a message expires, if it does: after its own time or the queue's, whichever is shorter.
    fn due(&self, record: &Record<'_>) -> Option<Now> {
        let own = own_ttl(record.parts.properties);
        let queues = self.former_ttls.at(record.timestamp).unwrap_or(self.settings.message_ttl);
        let ttl = own.into_iter().chain(queues).min()?;
        Some(record.timestamp.saturating_add(ttl))
    }

    /// When the message at one of the heads expires.
    fn head_due(&mut self, head: usize) -> Option<Now> {
        // One on disk has been asked for; when it arrives this is asked again.
        let At::Here(position) = self.head_of(head) else { return None };
        self.record(position).and_then(|record| self.due(&record))
    }

    /// When the next message expires.
    fn next_due(&mut self) -> Option<Now> {
        (0..self.head_count()).filter_map(|head| self.head_due(head)).min()
    }

    /// When nobody will have used the queue for as long as it may be there without.
    fn unused_at(&self) -> Option<Now> {
        let expires = self.settings.expires.filter(|_| self.consumers.is_empty())?;
        Some(self.used_at.saturating_add(expires))
    }
}

impl Vhost {
    /// Takes messages at the head that have expired out of a queue, `most` at the most, and sets its alarm for the next.
    pub(in crate::broker) fn expire(&mut self, id: QueueId, most: u64) {
        let mut left = most.max(1);
        let clock = self.clock;
        for head in 0..self.queues.get(id).map_or(0, Queue::head_count) {
            while let Some(queue) = self.queues.get_mut(id).filter(|_| left > 0) {
                if queue.head_due(head).is_none_or(|due| due > clock) {
                    break;
                }
                let Some(next) = queue.take_of(head) else { break };
                self.kill(id, next.position, next.size, Reason::Expired);
                self.work += 1;
                left -= 1;
            }
        }
        self.watch(id);
        self.heed(id);
    }

    /// The same after a message has come which nobody took.
    pub(super) fn expire_new(&mut self, id: QueueId) {
        // What is not at the head waits for what is, which has its alarm. With priorities it may be there.
        let looked_at = |queue: &Queue| {
            !queue.expiring || (queue.alarms.get(Alarm::Message).is_some() && queue.head_count() == 1)
        };
        if !self.queues.get(id).is_none_or(looked_at) {
            self.expire(id, u64::MAX);
        }
    }

    /// The same before a message is handed out, where there may be some.
    pub(super) fn expire_first(&mut self, id: QueueId) {
        if self.queues.get(id).is_some_and(|queue| queue.expiring && !queue.is_empty()) {
            self.expire(id, u64::MAX);
        }
    }

    /// Sets the alarm for the message at a queue's head, where messages expire.
    pub(in crate::broker) fn watch(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.expiring) else { return };
        let due = queue.next_due();
        if queue.is_empty() && queue.unacked == 0 {
            queue.expiring = false;
        }
        self.timers.set(&mut queue.alarms, id, Alarm::Message, due);
    }

    /// The same for a queue that was found on disk. Where messages have the queue's time to live, its head is read at once.
    /// Where they only may have one of their own it is read later, one queue after the other, so that a node with many
    /// long queues does not begin with reading all of them.
    pub(in crate::broker) fn watch_recovered(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id).filter(|queue| !queue.is_empty()) else { return };
        queue.expiring = true;
        if queue.settings.message_ttl.is_some() {
            return self.watch(id);
        }
        self.recovered += 1;
        let at = self.clock + FIRST_LOOK + self.recovered * NEXT_LOOK;
        self.set_alarm(id, Alarm::Message, Some(at));
    }

    /// Somebody uses a queue: what it has left to live begins anew.
    pub(in crate::broker) fn note_use(&mut self, id: QueueId) {
        let clock = self.clock;
        let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.settings.expires.is_some()) else {
            return;
        };
        queue.used_at = clock;
        let at = queue.unused_at();
        // An alarm that comes too early looks again; it is not moved each time.
        if at.is_none() || queue.alarms.get(Alarm::Unused).is_none() {
            self.set_alarm(id, Alarm::Unused, at);
        }
    }

    /// Deletes a queue that nobody has used for too long; otherwise looks again later.
    pub(in crate::broker) fn expire_unused(&mut self, id: QueueId, fx: &mut impl Effects) {
        let Some(at) = self.queues.get(id).and_then(Queue::unused_at) else { return };
        if at <= self.clock {
            self.remove_queue(id, fx);
        } else {
            self.set_alarm(id, Alarm::Unused, Some(at));
        }
    }
}
