//! Single active consumer: one consumer of a queue gets the messages, the others wait for it to go.
//!
//! The active one is the only one that is ever in the queue's ring. When it goes, the next is the one of the highest
//! priority, of several the one that came first; what the old one had and gives back comes first in the queue, so that
//! the order holds. On a quorum queue a consumer of a higher priority takes over from the active one, which gets
//! nothing more and stands down when it has settled all it has. All of this is as RabbitMQ 4.3 does it.

use super::Queue;
use super::arguments::QueueType;
use super::consumer::Place;
use crate::broker::vhost::Vhost;
use crate::broker::{ConsumerId, QueueId};
use crate::wire::reply::Exception;

impl Vhost {
    /// Refuses `basic.get` on quorum queues with a single active consumer.
    pub(super) fn check_not_single(&self, id: QueueId) -> Result<(), Exception> {
        let Queue { settings, name, .. } = &self.queues[id];
        if !settings.single_active_consumer || settings.queue_type != QueueType::Quorum {
            return Ok(());
        }
        Err(Exception::resource_locked(format!(
            "cannot obtain access to locked {}. basic.get operations are not supported by <<\"quorum\">> queues with \
             single active consumer",
            self.describe("queue", name.as_bytes()),
        )))
    }

    /// A consumer can be the active one of its queue from now on. If it is, its queue is to be dispatched.
    pub(super) fn line_up(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        consumer.place = Place::Waiting;
        let (queue, priority) = (consumer.queue, consumer.priority);
        self.overtake(queue, priority);
        self.activate_next(queue);
    }

    /// Has the active consumer of a quorum queue stand down for one of a higher priority.
    fn overtake(&mut self, queue_id: QueueId, priority: i64) {
        let Some(queue) = self.queues.get_mut(queue_id) else { return };
        let Some(id) = queue.active else { return };
        let Some(active) = self.consumers.get_mut(id) else { return };
        if queue.settings.queue_type == QueueType::Quorum && priority > active.priority {
            active.place = Place::Quiescing;
            queue.ring.retain(|other| other != id);
            if active.unacked == 0 {
                self.stand_down(id, Place::Waiting);
            }
        }
    }

    /// The active consumer of a queue is that no longer, and will be behind the others of its priority.
    pub(in crate::broker) fn stand_down(&mut self, id: ConsumerId, place: Place) {
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        consumer.place = place;
        let Some(queue) = self.queues.get_mut(consumer.queue) else { return };
        queue.active = None;
        queue.ring.retain(|other| other != id);
        if let Some(at) = queue.consumers.iter().position(|other| *other == id) {
            queue.consumers.remove(at);
            queue.consumers.push(id);
        }
    }

    /// If a queue has no active consumer, the next one becomes it. Says whether there is anybody new, and the queue to
    /// be dispatched.
    pub(in crate::broker) fn activate_next(&mut self, queue_id: QueueId) -> bool {
        let Some(queue) = self.queues.get_mut(queue_id).filter(|queue| queue.active.is_none()) else {
            return false;
        };
        let waiting = |id: &&ConsumerId| self.consumers.get(**id).is_some_and(|c| c.place == Place::Waiting);
        // Of equals the last is the greatest, so they are looked at from the end.
        let next =
            queue.consumers.iter().rev().filter(waiting).max_by_key(|id| self.consumers[**id].priority);
        let Some(next) = next.copied() else { return false };
        queue.active = Some(next);
        let consumer = &mut self.consumers[next];
        consumer.place = Place::Ring;
        queue.ring.push(next, consumer.priority);
        true
    }
}
