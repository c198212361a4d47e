//! Dispatch: while a queue has ready messages and a consumer has room, the next consumer gets the next message.
//!
//! After every call the queue is empty, or its ring is, or its next message is being read from disk.

use super::arguments::QueueType;
use super::consumer::Place;
use super::{Missing, Next};
use crate::broker::channel::Unacked;
use crate::broker::dead_letter::{REDELIVERED, seen};
use crate::broker::dedup::key::Key;
use crate::broker::dedup::queues::Seen;
use crate::broker::effects::{Delivery, Effects, Got};
use crate::broker::overdue::stamp;
use crate::broker::post::Kept;
use crate::broker::vhost::Vhost;
use crate::broker::{ChannelId, ConnectionId, ConsumerId, Now, QueueId};
use crate::wire::content::Message;
use crate::wire::reply::Exception;

/// Consumers that were cancelled while they were stalled are forgotten when there are this many, and at each doubling.
const STALLED_MIN: usize = 64;

/// What became of a message that came to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is taken care of.
    Done,
    /// It has to be on disk before its publisher may be told.
    Kept,
    /// The queue had no room for it.
    Refused,
}

impl From<bool> for Accepted {
    fn from(kept: bool) -> Self {
        if kept { Self::Kept } else { Self::Done }
    }
}

/// What `basic.get` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    Message,
    Empty,
    /// The message is on its way from the disk. The connection is to do nothing else and to try again when
    /// [`Effects::retry`] says so.
    Wait,
}

/// What a consumer's turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Taken,
    /// Its channel's window is full, and it has left the ring.
    Passed,
    /// There is no message in memory.
    Nothing,
}

impl Vhost {
    /// A message arrives at a queue: straight to the consumer whose turn it is, or into the log.
    /// `marks` stay with it (`broker/dead_letter`).
    pub(in crate::broker) fn enqueue(
        &mut self,
        queue: QueueId,
        message: &Message<'_>,
        marks: u8,
        now: Now,
        fx: &mut impl Effects,
    ) -> Accepted {
        self.work += 1;
        let Some(found) = self.queues.get_mut(queue) else { return Accepted::Done };
        let key = if found.plain {
            None
        } else {
            match self.admit(queue, message, marks, now, fx) {
                Ok(key) => key,
                Err(accepted) => return accepted,
            }
        };
        let found = &self.queues[queue];
        let turn = if found.ring.is_empty() || !found.is_empty() { None } else { self.whose_turn(queue, fx) };
        let Some(id) = turn else { return self.store(queue, key, marks, message, now).into() };
        if self.consumers[id].no_ack {
            if let Some(key) = key {
                self.note_key(queue, key, None, message, now);
            }
            seen(message, marks, |message| self.send(id, message, fx));
            if self.tracing {
                let channel = self.consumers[id].channel;
                seen(message, marks, |message| self.trace_delivery(channel, queue, false, message));
            }
            let found = &mut self.queues[queue];
            found.ring.rotate();
            found.deliveries.deliver_no_ack += 1;
            return Accepted::Done;
        }
        // What goes straight to a consumer is never marked as redelivered, as in RabbitMQ.
        let kept = self.push(queue, key, marks & !REDELIVERED, message, now);
        if self.deliver(queue, id, fx) == Turn::Passed {
            self.dispatch(queue, fx);
        }
        self.heed(queue);
        kept.into()
    }

    /// Looks at a message with the eyes of what makes a queue special: it has a key then if duplicates are to be known by
    /// it. Or says what became of it.
    fn admit(
        &mut self,
        id: QueueId,
        message: &Message<'_>,
        marks: u8,
        now: Now,
        fx: &mut impl Effects,
    ) -> Result<Option<Key>, Accepted> {
        let queue = &mut self.queues[id];
        if queue.delays.is_some() {
            return Err(self.delay(id, message, marks, now));
        }
        if queue.is_stream() {
            return Err(self.append_to_stream(id, message, now, fx));
        }
        let key = match queue.look_at(message, now) {
            Seen::Plain => None,
            Seen::New(key) => Some(key),
            Seen::Duplicate => return Err(self.drop_duplicate(id).into()),
        };
        if queue.refuses(message) {
            self.turn_away(id, message, marks, fx);
            return Err(Accepted::Refused);
        }
        Ok(key)
    }

    /// Keeps a message that nobody takes now.
    fn store(&mut self, id: QueueId, key: Option<Key>, marks: u8, message: &Message<'_>, now: Now) -> bool {
        let kept = self.push(id, key, marks, message, now);
        let queue = &self.queues[id];
        let (plain, expiring) = (queue.plain, queue.expiring);
        if queue.is_far_behind() {
            self.note_behind(id);
        }
        if !plain {
            self.enforce_length(id);
        }
        if expiring {
            self.expire_new(id);
        }
        self.heed(id);
        kept
    }

    /// Keeps a message, and its key if that is to be known. Returns whether it is to be on disk before its publisher
    /// may be told.
    #[inline]
    fn push(&mut self, id: QueueId, key: Option<Key>, marks: u8, message: &Message<'_>, now: Now) -> bool {
        let queue = &mut self.queues[id];
        let (position, kept) = queue.push(now, marks, message);
        if let Some(key) = key {
            self.note_key(id, key, Some(position), message, now);
        }
        kept
    }

    /// Hands out ready messages until there are none or nobody has room.
    pub(in crate::broker) fn dispatch(&mut self, queue: QueueId, fx: &mut impl Effects) {
        if self.queues.get(queue).is_some_and(|queue| !queue.plain && queue.is_stream()) {
            return self.feed(queue, fx);
        }
        self.expire_first(queue);
        while self.queues.get(queue).is_some_and(|q| !q.is_empty() && !q.ring.is_empty()) {
            let Some(id) = self.whose_turn(queue, fx) else { break };
            if self.deliver(queue, id, fx) == Turn::Nothing {
                break;
            }
        }
        self.call_paced(queue, fx);
        self.enforce_length(queue);
        self.watch(queue);
        self.heed(queue);
    }

    /// The consumer in front whose connection takes deliveries; those in front of it whose does not are stalled.
    fn whose_turn(&mut self, queue: QueueId, fx: &mut impl Effects) -> Option<ConsumerId> {
        loop {
            let id = self.queues.get(queue)?.ring.front()?;
            let consumer = self.consumers.get_mut(id)?;
            if fx.has_credit(consumer.connection) {
                return Some(id);
            }
            consumer.place = Place::Stalled;
            let connection = consumer.connection;
            self.queues.get_mut(queue)?.ring.pop();
            self.stall(id, connection);
        }
    }

    /// Remembers a consumer whose connection takes no deliveries.
    pub(in crate::broker) fn stall(&mut self, id: ConsumerId, connection: ConnectionId) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        let stalled = &mut found.stalled;
        stalled.push_back(id);
        if stalled.len().is_power_of_two() && stalled.len() >= STALLED_MIN {
            stalled.retain(|id| self.consumers.contains_key(*id));
        }
    }

    /// Gives the next messages of a queue to a consumer, as long as it is its turn. It has room for the first one.
    fn deliver(&mut self, queue_id: QueueId, id: ConsumerId, fx: &mut impl Effects) -> Turn {
        // Each is looked up once: this is where most messages leave, and most of them to a consumer that is alone.
        let Self { queues, consumers, channels, watches, clock, tracing, work, totals, .. } = self;
        let (Some(queue), Some(consumer)) = (queues.get_mut(queue_id), consumers.get_mut(id)) else {
            return Turn::Nothing;
        };
        let Some(channel) = channels.get_mut(consumer.channel) else { return Turn::Nothing };
        loop {
            if let Some(window) = channel.window.as_mut().filter(|_| !consumer.no_ack) {
                if window.is_full() {
                    consumer.place = Place::Shut;
                    queue.ring.pop();
                    window.wait(id);
                    return Turn::Passed;
                }
            }
            let mut told = None;
            let taken = queue.take_next_with(|next, message| {
                let to = Delivery {
                    connection: consumer.connection,
                    channel: consumer.number,
                    consumer_tag: &consumer.tag,
                    delivery_tag: channel.next_delivery_tag(),
                    redelivered: next.redelivered,
                };
                fx.deliver(&to, message);
                if *tracing {
                    told = Some(Box::new(Kept::of(message)));
                }
                to.delivery_tag
            });
            let Some((next, delivery_tag)) = taken else { return Turn::Nothing };
            *work += 1;
            queue.deliveries.note(consumer.no_ack, next.redelivered);
            channel.counts.deliveries.note(consumer.no_ack, next.redelivered);
            totals.deliveries.note(consumer.no_ack, next.redelivered);
            let on = consumer.channel;
            if consumer.no_ack {
                queue.settle(next.position, next.size);
                queue.ring.rotate();
            } else {
                let Next { position, size, .. } = next;
                let (stamp, late, consumer_id) = (stamp(*clock), false, Some(id));
                let unacked = Unacked {
                    delivery_tag,
                    queue: queue_id,
                    position,
                    size,
                    late,
                    stamp,
                    consumer: consumer_id,
                };
                if let Some(timeout) = consumer.timeout {
                    watches.note(&mut channel.watch, on, *clock, timeout);
                }
                consumer.await_ack(unacked, channel, &mut queue.ring);
            }
            if let Some(told) = told {
                self.trace_delivery(on, queue_id, next.redelivered, &told.message());
                return Turn::Taken;
            }
            let goes_on = !queue.is_empty() && queue.ring.front() == Some(id);
            if !goes_on || !fx.has_credit(consumer.connection) {
                return Turn::Taken;
            }
        }
    }

    fn send(&mut self, id: ConsumerId, message: &Message<'_>, fx: &mut impl Effects) -> u64 {
        let consumer = &self.consumers[id];
        let channel = &mut self.channels[consumer.channel];
        channel.counts.deliveries.deliver_no_ack += 1;
        self.totals.deliveries.deliver_no_ack += 1;
        let tag = channel.next_delivery_tag();
        let to = Delivery {
            connection: consumer.connection,
            channel: consumer.number,
            consumer_tag: &consumer.tag,
            delivery_tag: tag,
            redelivered: false,
        };
        fx.deliver(&to, message);
        tag
    }

    /// One delivery less is unacknowledged; a consumer that was full for it takes turns again.
    ///
    /// Returns whether its queue is to be dispatched.
    pub(in crate::broker) fn release(&mut self, id: ConsumerId) -> bool {
        let Some(consumer) = self.consumers.get_mut(id) else { return false };
        consumer.unacked -= 1;
        match consumer.place {
            Place::Full if !consumer.is_full() => {}
            Place::Sated if !consumer.is_full() => return self.grow_hungry(id).is_some(),
            Place::Quiescing if consumer.unacked == 0 => {
                let queue = consumer.queue;
                self.stand_down(id, Place::Waiting);
                return self.activate_next(queue);
            }
            _ => return false,
        }
        consumer.place = Place::Ring;
        let (queue, priority) = (consumer.queue, consumer.priority);
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.ring.push(id, priority);
        }
        true
    }

    pub(in crate::broker) fn unstall(&mut self, id: ConsumerId, fx: &mut impl Effects) {
        if self.consumers.get(id).is_some_and(|c| c.place == Place::Stalled) {
            self.bring_back(id, fx);
        }
    }

    pub(in crate::broker) fn bring_back(&mut self, id: ConsumerId, fx: &mut impl Effects) {
        if let Some(queue) = self.take_place(id) {
            self.dispatch(queue, fx);
        }
    }

    /// A consumer goes to its queue's ring if it has room. Returns the queue then, which is to be dispatched.
    pub(super) fn take_place(&mut self, id: ConsumerId) -> Option<QueueId> {
        let consumer = self.consumers.get_mut(id)?;
        if consumer.reading.is_some() {
            return self.grow_hungry(id);
        }
        if consumer.is_full() {
            consumer.place = Place::Full;
            return None;
        }
        consumer.place = Place::Ring;
        self.queues.get_mut(consumer.queue)?.ring.push(id, consumer.priority);
        Some(consumer.queue)
    }

    /// Fetches one message for `basic.get`.
    pub fn get(
        &mut self,
        channel: ChannelId,
        queue: &[u8],
        no_ack: bool,
        fx: &mut impl Effects,
    ) -> Result<Fetched, Exception> {
        let id = self.queue_id(queue)?;
        let Some(on) = self.channels.get_mut(channel) else { return Ok(Fetched::Empty) };
        let (connection, number) = (on.connection, on.number);
        self.check_not_locked(id, Some(connection))?;
        self.check_not_stream(id, "basic.get")?;
        self.check_not_single(id)?;
        self.note_use(id);
        self.expire_first(id);
        let found = &mut self.queues[id];
        #[cfg(test)]
        if let Some(warm) = &mut found.warm {
            let Some(left) = warm.checked_sub(1) else {
                found.fetchers.push(connection);
                return Ok(Fetched::Wait);
            };
            *warm = left;
        }
        let next = match found.take_next() {
            Ok(next) => next,
            Err(Missing::Wait) => {
                found.fetchers.push(connection);
                self.heed(id);
                return Ok(Fetched::Wait);
            }
            Err(Missing::Nothing) => {
                self.count_empty(channel, id);
                return Ok(Fetched::Empty);
            }
        };
        // What expires behind it no longer counts, but in a quorum queue.
        if self.queues[id].settings.queue_type == QueueType::Classic {
            self.expire_first(id);
        }
        let (found, on) = (&mut self.queues[id], &mut self.channels[channel]);
        let delivery_tag = on.next_delivery_tag();
        let got = Got { delivery_tag, redelivered: next.redelivered, left: found.ready() };
        let mut told = None;
        if let Some(record) = found.record(next.position) {
            found.shown(next.position, &record, |message| {
                fx.got(connection, number, &got, message);
                told = self.tracing.then(|| Kept::of(message));
            });
        }
        if let Some(told) = told {
            self.trace_delivery(channel, id, next.redelivered, &told.message());
        }
        let (found, on) = (&mut self.queues[id], &mut self.channels[channel]);
        for deliveries in [&mut found.deliveries, &mut on.counts.deliveries, &mut self.totals.deliveries] {
            deliveries.note_get(no_ack, next.redelivered);
        }
        if no_ack {
            found.settle(next.position, next.size);
        } else {
            on.unacked().push(Unacked {
                delivery_tag,
                queue: id,
                position: next.position,
                size: next.size,
                late: false,
                stamp: stamp(self.clock),
                consumer: None,
            });
            if let Some(timeout) = found.timeout(None, self.consumer_timeout) {
                self.watches.note(&mut on.watch, channel, self.clock, timeout);
            }
        }
        self.watch(id);
        self.heed(id);
        Ok(Fetched::Message)
    }

    /// So many messages of a queue are in memory now, or all.
    #[cfg(test)]
    pub(crate) fn set_warm(&mut self, queue: &[u8], warm: Option<usize>, fx: &mut impl Effects) {
        let id = self.queue_names[queue];
        let found = &mut self.queues[id];
        found.warm = warm;
        if warm != Some(0) {
            std::mem::take(&mut found.fetchers).into_iter().for_each(|id| fx.retry(id));
        }
    }
}
