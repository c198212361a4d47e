//! Deliveries that are not acknowledged in time (consumer time-out), as quorum queues of RabbitMQ 4.3 have it.
//!
//! What is overdue goes back to its queue. Its consumer is told that it is cancelled, but is not: it gets nothing more,
//! keeps its tag, and comes back when it has acknowledged all it was late with; only giving it back with requeue does
//! not count. Where there is no consumer to be told (its client does not understand it, it was cancelled before, or the
//! message was fetched) the channel is closed.
//!
//! A channel has one alarm, for the time at which the oldest of its deliveries may be overdue. It is set by a delivery
//! where there is none, and looks through the channel's deliveries when it goes off; acknowledgements do not touch it.

use std::collections::BTreeSet;

use super::channel::Unacked;
use super::compatibility::Compatibility;
use super::effects::Effects;
use super::queue::Queue;
use super::queue::arguments::QueueType;
use super::queue::consumer::Place;
use super::settle::Verdict;
use super::vhost::Vhost;
use super::{ChannelId, ConsumerId, Now, QueueId};
use crate::wire::reply::Exception;

/// Milliseconds where nobody says another number.
const DEFAULT: u64 = 1_800_000;
/// Ages are known up to here, 24 days; what may take longer may take for ever.
const LONGEST: u64 = i32::MAX as u64;
/// Deliveries looked through for each millisecond until the next time.
const PACE: u64 = 1000;

/// When a channel is to be looked through.
#[derive(Debug, Default)]
pub(super) struct Watch {
    at: Option<Now>,
    /// The shortest time that any of its deliveries may take, as far as that is known.
    shortest: Option<u64>,
}

/// The channels that are to be looked through, the next one first.
#[derive(Debug, Default)]
pub(super) struct Watches(BTreeSet<(Now, ChannelId)>);

impl Watches {
    /// A delivery has to be settled in so many milliseconds from now.
    pub fn note(&mut self, watch: &mut Watch, channel: ChannelId, now: Now, timeout: u64) {
        watch.shortest = Some(watch.shortest.map_or(timeout, |shortest| shortest.min(timeout)));
        let at = now.saturating_add(timeout);
        if watch.at.is_none_or(|before| at < before) {
            self.set(watch, channel, Some(at));
        }
    }

    pub fn set(&mut self, watch: &mut Watch, channel: ChannelId, at: Option<Now>) {
        if let Some(before) = watch.at.take() {
            self.0.remove(&(before, channel));
        }
        if let Some(at) = at {
            self.0.insert((at, channel));
        }
        watch.at = at;
    }

    pub fn first(&self) -> Option<(Now, ChannelId)> {
        self.0.first().copied()
    }
}

/// The time of a delivery as it is kept with it.
pub(super) fn stamp(now: Now) -> u32 {
    now as u32
}

/// Milliseconds since then; none if the system's time has been put back.
fn elapsed(now: Now, stamp: u32) -> u64 {
    u64::try_from((now as u32).wrapping_sub(stamp) as i32).unwrap_or(0)
}

impl Queue {
    /// Milliseconds that a delivery may take, if there is a limit. `own` is what its consumer asks for, `usual` what holds
    /// where nobody asks for anything.
    pub(super) fn timeout(&self, own: Option<u64>, usual: Option<u64>) -> Option<u64> {
        if self.settings.queue_type != QueueType::Quorum {
            return None;
        }
        Some(own.or(self.settings.consumer_timeout).or(usual).unwrap_or(DEFAULT))
            .filter(|timeout| *timeout <= LONGEST)
    }
}

/// What came of looking through a channel.
#[derive(Default)]
struct Found {
    late: Vec<Unacked>,
    /// In how many milliseconds the next one may be late.
    next: Option<u64>,
    /// The shortest time that any may take; `None` if not all have been looked at.
    shortest: Option<u64>,
}

impl Found {
    /// The more was looked through, the longer it takes until the next time.
    fn paced(mut self, seen: u64) -> Self {
        self.next = self.next.map(|left| left.max(seen / PACE));
        self
    }
}

impl Vhost {
    /// Looks through the channels that may have overdue deliveries by now.
    pub(super) fn tick_channels(&mut self, fx: &mut impl Effects) {
        while let Some((_, channel)) = self.watches.first().filter(|(at, _)| *at <= self.clock) {
            self.call_in(channel, fx);
            self.work += 1;
        }
    }

    /// Takes back what is overdue on a channel.
    fn call_in(&mut self, id: ChannelId, fx: &mut impl Effects) {
        let found = self.find_overdue(id);
        let clock = self.clock;
        let Some(on) = self.channels.get_mut(id) else { return };
        let next = found.next.map(|left| clock.saturating_add(left));
        self.watches.set(&mut on.watch, id, next);
        on.watch.shortest = found.shortest.or(on.watch.shortest);
        let (connection, number) = (on.connection, on.number);
        for late in &found.late {
            on.unacked().mark_late(late.delivery_tag);
        }
        let tells = self.compatibility >= Compatibility::V4_3 && fx.takes_cancel(connection);
        let mut told: Vec<ConsumerId> = Vec::new();
        let mut to_close = None;
        for late in &found.late {
            // For its queue it is as if it had been given back.
            let back = Unacked { consumer: None, ..*late };
            let queue = self.apply(&back, Verdict::Requeue);
            self.due.extend(queue);
            match late.consumer.filter(|consumer| self.consumers.contains_key(*consumer)) {
                Some(consumer) => {
                    self.suspend(consumer);
                    if tells && !told.contains(&consumer) {
                        told.push(consumer);
                        fx.cancelled(connection, number, &self.consumers[consumer].tag);
                    }
                    if !tells {
                        to_close = Some(late.queue);
                    }
                }
                None => to_close = Some(late.queue),
            }
        }
        if let Some(queue) = to_close {
            fx.channel_closed(connection, number, &self.overdue(queue, number));
            self.close_channel(id, fx);
        }
    }

    fn find_overdue(&self, id: ChannelId) -> Found {
        let mut found = Found::default();
        let Some(on) = self.channels.get(id) else { return found };
        let known = on.watch.shortest.unwrap_or(0);
        let (mut seen, mut shortest) = (0, u64::MAX);
        for delivery in on.deliveries().filter(|delivery| !delivery.late) {
            seen += 1;
            let Some(timeout) = self.timeout_of(delivery) else { continue };
            let age = elapsed(self.clock, delivery.stamp);
            shortest = shortest.min(timeout);
            // All later ones are younger than this one, and may only be as late as the first of them.
            let is_last = age < known;
            let left = if is_last { known - age } else { timeout.saturating_sub(age) };
            if left == 0 {
                found.late.push(*delivery);
            } else {
                found.next = Some(found.next.map_or(left, |next| next.min(left)));
            }
            if is_last {
                return found.paced(seen);
            }
        }
        found.shortest = Some(shortest);
        found.paced(seen)
    }

    fn timeout_of(&self, delivery: &Unacked) -> Option<u64> {
        match delivery.consumer.and_then(|consumer| self.consumers.get(consumer)) {
            Some(consumer) => consumer.timeout,
            None => self.queues.get(delivery.queue)?.timeout(None, self.consumer_timeout),
        }
    }

    /// A consumer is late with one more delivery.
    fn suspend(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        consumer.unacked -= 1;
        consumer.late += 1;
        let before = std::mem::replace(&mut consumer.place, Place::Late);
        if before == Place::Late {
            return;
        }
        let queue = consumer.queue;
        if self.queues.get(queue).is_some_and(|found| found.active == Some(id)) {
            self.stand_down(id, Place::Late);
            self.activate_next(queue);
        } else if let Some(found) = self.queues.get_mut(queue) {
            found.ring.retain(|other| other != id);
        }
        self.due.push(queue);
    }

    /// A client settles what has been taken back. Says which queue is to be dispatched, if it takes messages again.
    pub(super) fn settle_late(&mut self, delivery: &Unacked, verdict: Verdict) -> Option<QueueId> {
        let id = delivery.consumer?;
        let consumer = self.consumers.get_mut(id)?;
        consumer.late = consumer.late.saturating_sub(1);
        let back = matches!(verdict, Verdict::Requeue | Verdict::Fail);
        if back || consumer.late > 0 || consumer.place != Place::Late {
            return None;
        }
        self.rejoin(id)
    }

    /// What a client is told that is late. RabbitMQ 4.3 has lost the number.
    fn overdue(&self, queue: QueueId, channel: u16) -> Exception {
        let timeout = self.queues.get(queue).and_then(|queue| queue.timeout(None, self.consumer_timeout));
        let used = match timeout {
            Some(timeout) if self.compatibility < Compatibility::V4_3 => timeout.to_string(),
            _ => "-1".to_owned(),
        };
        Exception::precondition_failed(format!(
            "delivery acknowledgement on channel {channel} timed out. Timeout value used: {used} ms. This timeout value \
             can be configured, see consumers doc guide to learn more"
        ))
    }
}
