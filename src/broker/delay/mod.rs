//! Delayed delivery: exchanges that keep a message for as long as its header `x-delay` says, and route it then.
//!
//! What comes in are messages that routing brought to a delayed exchange; what goes out are the same messages, routed
//! from there when they are due. Each such exchange has a queue that nobody sees (`broker/queue/delayed`), which is
//! where routing brings what has to wait: so confirms, transactions, dead letters and the disk are as with any queue.
//!
//! - [`header`][]: what publishers ask for
//! - [`index`][]: the order in which messages are due
//! - [`exchange`][]: which exchanges delay; their queues come and go with them
//! - [`manage`][]: counting, looking, dropping, delivering now

pub mod exchange;
pub mod header;
pub mod index;
pub mod manage;
#[cfg(test)]
mod tests;

use super::dead_letter::{Copies, REROUTED, seen};
use super::effects::Effects;
use super::post::Kept;
use super::queue::delayed::Step;
use super::queue::dispatch::Accepted;
use super::timers::Alarm;
use super::vhost::Vhost;
use super::{ExchangeId, Now, QueueId};
use crate::log::record::Record;
use crate::wire::content::Message;
use index::Entry;

/// A message whose time has come.
struct Due {
    message: Kept,
    marks: u8,
}

impl Due {
    fn new(record: &Record<'_>) -> Self {
        let properties = header::done(record.parts.properties);
        let properties = properties.as_deref().unwrap_or(record.parts.properties);
        Self { message: Kept::of(&Message { properties, ..record.parts }), marks: record.marks }
    }

    /// What else counts for where it goes, beside its routing key.
    fn copies(&self) -> Copies<'_> {
        match self.marks & REROUTED {
            0 => Copies::of(self.message.message().properties),
            _ => Copies::default(),
        }
    }
}

impl Vhost {
    /// Keeps a message that routing brought to a delayed exchange.
    pub(super) fn delay(&mut self, id: QueueId, message: &Message<'_>, marks: u8, now: Now) -> Accepted {
        let due = now.saturating_add(header::wanted(message.properties).unwrap_or_default());
        let Some(queue) = self.queues.get_mut(id) else { return Accepted::Done };
        let kept = queue.delay(due, marks, message);
        // An alarm that is set already is for something earlier, or for this one.
        if queue.alarms.get(Alarm::Due).is_none_or(|at| at > due) {
            self.set_alarm(id, Alarm::Due, Some(due));
        }
        self.heed(id);
        kept.into()
    }

    /// What was found on disk for a delayed exchange is to be read, so that it is known when it is due.
    pub(super) fn read_delayed(&mut self, id: QueueId) {
        if self.queues.get(id).is_some_and(|queue| queue.delays.is_some()) {
            let now = self.clock;
            self.set_alarm(id, Alarm::Due, Some(now));
        }
    }

    /// Has messages whose time has come go on, `most` at the most, and sets the alarm for the next.
    pub(super) fn send_due(&mut self, id: QueueId, most: u64, fx: &mut impl Effects) {
        if self.queues.get(id).is_none_or(|queue| queue.delays.is_none()) {
            return;
        }
        let begun = self.work;
        let alarm = loop {
            let now = self.clock;
            if self.work - begun >= most {
                break Some(now);
            }
            let Some(queue) = self.queues.get_mut(id) else { return };
            match queue.next_delayed(now) {
                Step::Nothing => break None,
                Step::Later(at) => break Some(at),
                // It goes on when that has arrived.
                Step::Wait => break None,
                Step::Indexed => self.work += 1,
                Step::Due(entry) => self.send_on(id, entry, fx),
            }
        };
        self.set_alarm(id, Alarm::Due, alarm);
        self.heed(id);
    }

    /// Brings a message to where its exchange leads now. What is on disk stays there until it is on disk there.
    fn send_on(&mut self, id: QueueId, entry: Entry, fx: &mut impl Effects) {
        self.work += 1;
        let Some(queue) = self.queues.get_mut(id) else { return };
        let Some(exchange) = queue.delays.as_ref().map(|delays| delays.exchange) else { return };
        let Some(due) = queue.take_delayed(entry, Due::new) else { return };
        let mut kept = false;
        let targets = self.targets_of_delayed(exchange, &due);
        for target in &targets {
            let accepted = self.enqueue(*target, &due.message.message(), due.marks, self.clock, fx);
            kept |= accepted == Accepted::Kept;
        }
        self.settle_claims(targets.is_empty());
        self.give_back(targets);
        let size = due.message.message().body.size() as u32;
        self.settle_when(id, (entry.1, size), kept);
    }

    fn targets_of_delayed(&mut self, exchange: ExchangeId, due: &Due) -> Vec<QueueId> {
        let Copies { cc, bcc } = due.copies();
        let more: Vec<&[u8]> = cc.into_iter().chain(bcc).collect();
        seen(&due.message.message(), due.marks, |message| self.route_released(exchange, message, &more))
    }
}
