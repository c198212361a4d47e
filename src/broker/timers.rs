//! What is to happen at some time: one sorted set for a vhost, whatever the number of its queues and messages.
//!
//! A queue has at most one alarm of each kind in it. Nothing here knows the time: whoever owns the vhost asks when the
//! next alarm is due ([`Vhost::next_alarm`]) and calls [`Vhost::tick`] then.

use std::collections::BTreeSet;

use super::effects::Effects;
use super::vhost::Vhost;
use super::{Now, QueueId};

/// Messages that one tick may move, so that many that expire at once do not keep the vhost from others.
pub(super) const WORK_MAX: u64 = 5_000;

/// What an alarm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// The first message of a queue expires.
    Message,
    /// A queue has not been used for as long as it may be.
    Unused,
    /// There are more messages to be dropped, to be read, or dead letters to be brought away.
    More,
    /// Messages whose delivery was put off are due, or numbers of a stream to be kept.
    Due,
    /// Dead letters that could not be brought away are tried again.
    Retry,
    /// The oldest messages of a stream have been there for long enough.
    Retention,
}

impl Alarm {
    const KINDS: usize = 6;
    pub const ALL: [Self; Self::KINDS] =
        [Self::Message, Self::Unused, Self::More, Self::Due, Self::Retry, Self::Retention];
}

/// When a queue's alarms are due; [`NEVER`] if they are not set.
#[derive(Clone, Copy, Debug)]
pub struct Alarms([Now; Alarm::KINDS]);

const NEVER: Now = Now::MAX;

impl Alarms {
    pub fn get(&self, alarm: Alarm) -> Option<Now> {
        Some(self.0[alarm as usize]).filter(|at| *at != NEVER)
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Self([NEVER; Alarm::KINDS])
    }
}

/// All alarms of a vhost, the next one first.
#[derive(Debug, Default)]
pub struct Timers {
    due: BTreeSet<(Now, QueueId, Alarm)>,
}

impl Timers {
    /// Sets a queue's alarm, or takes it away.
    pub fn set(&mut self, alarms: &mut Alarms, queue: QueueId, alarm: Alarm, at: Option<Now>) {
        let at = at.unwrap_or(NEVER);
        let before = std::mem::replace(&mut alarms.0[alarm as usize], at);
        if before == at {
            return;
        }
        if before != NEVER {
            self.due.remove(&(before, queue, alarm));
        }
        if at != NEVER {
            self.due.insert((at, queue, alarm));
        }
    }

    fn first(&self) -> Option<(Now, QueueId, Alarm)> {
        self.due.first().copied()
    }
}

impl Vhost {
    /// What time it is, in milliseconds since 1970, for everything that happens from now on.
    pub fn set_clock(&mut self, now: Now) {
        self.clock = now;
    }

    /// What time it is for the vhost.
    pub fn now(&self) -> Now {
        self.clock
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub fn next_alarm(&self) -> Option<Now> {
        if self.stopping {
            return None;
        }
        // What could not be sent where it came up is sent with a tick.
        if self.has_dead() {
            return Some(self.clock);
        }
        let queues = self.timers.first().map(|(at, ..)| at);
        let channels = self.watches.first().map(|(at, _)| at);
        queues.into_iter().chain(channels).min()
    }

    /// Does what is due. When there is much to do the rest is left to another call, which is due at once.
    pub fn tick(&mut self, fx: &mut impl Effects) {
        if self.stopping {
            return;
        }
        let begun = self.work;
        while let Some((_, queue, alarm)) = self.timers.first().filter(|(at, ..)| *at <= self.clock) {
            self.set_alarm(queue, alarm, None);
            match alarm {
                Alarm::Message => self.expire(queue, WORK_MAX.saturating_sub(self.work - begun)),
                Alarm::Unused => self.expire_unused(queue, fx),
                Alarm::Due => {
                    let left = WORK_MAX.saturating_sub(self.work - begun);
                    self.send_due(queue, left, fx);
                    self.end_wait(queue, left, fx);
                    self.keep_marks(queue);
                }
                Alarm::Retry => self.retry_dead(queue),
                Alarm::Retention => self.retain_stream(queue),
                Alarm::More => {
                    self.enforce_length(queue);
                    self.exhume(queue);
                    self.feed(queue, fx);
                }
            }
            self.work += 1;
            if self.work - begun >= WORK_MAX {
                break;
            }
        }
        self.tick_channels(fx);
        self.dispatch_due(fx);
    }

    /// Sets an alarm of a queue that is there, or takes it away.
    pub(super) fn set_alarm(&mut self, queue: QueueId, alarm: Alarm, at: Option<Now>) {
        if let Some(found) = self.queues.get_mut(queue) {
            self.timers.set(&mut found.alarms, queue, alarm, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn the_next_one_comes_first_and_each_is_there_once() {
        let mut ids: SlotMap<QueueId, Alarms> = SlotMap::with_key();
        let [a, b] = [ids.insert(Alarms::default()), ids.insert(Alarms::default())];
        let mut timers = Timers::default();
        timers.set(&mut ids[a], a, Alarm::Message, Some(50));
        timers.set(&mut ids[b], b, Alarm::Message, Some(20));
        timers.set(&mut ids[b], b, Alarm::Unused, Some(10));
        assert_eq!(timers.first(), Some((10, b, Alarm::Unused)));
        timers.set(&mut ids[b], b, Alarm::Unused, None);
        timers.set(&mut ids[b], b, Alarm::Message, Some(60));
        assert_eq!((timers.first(), timers.due.len()), (Some((50, a, Alarm::Message)), 2));
        assert_eq!(ids[b].get(Alarm::Message), Some(60));
    }
}
