//! What people may do with delayed messages: count them, look at them, drop them, have them delivered now.

use super::index::Entry;
use crate::broker::queue::Queue;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{Now, QueueId};
use crate::log::record::Record;

/// What came of looking at a delayed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look<R> {
    Seen(R),
    /// It is on disk and has been asked for.
    Wait,
    /// It is not there, or not any more.
    Gone,
}

impl Vhost {
    fn behind(&self, exchange: &[u8]) -> Option<QueueId> {
        Some(self.exchange(exchange)?.behind?.queue)
    }

    fn delaying(&self, exchange: &[u8]) -> Option<&Queue> {
        self.queues.get(self.behind(exchange)?)
    }

    /// How many messages wait at an exchange; `None` if it delays none.
    pub fn delayed(&self, exchange: &[u8]) -> Option<usize> {
        Some(self.delaying(exchange)?.delays.as_ref()?.waiting)
    }

    /// Those that wait at an exchange in the order in which they are due, after one of them or from the first one on,
    /// so many at the most. After a restart they are all there once their log has been read.
    pub fn delayed_after(&self, exchange: &[u8], after: Option<Entry>, most: usize) -> Vec<Entry> {
        let delays = self.delaying(exchange).and_then(|queue| queue.delays.as_ref());
        delays.map(|delays| delays.index.after(after).take(most).collect()).unwrap_or_default()
    }

    /// Shows one of them.
    pub fn look_at_delayed<R>(
        &mut self,
        exchange: &[u8],
        entry: Entry,
        look: impl FnOnce(&Record<'_>) -> R,
    ) -> Look<R> {
        let Some(id) = self.behind(exchange) else { return Look::Gone };
        let Some(queue) = self.queues.get_mut(id) else { return Look::Gone };
        let is_there = queue.delays.as_ref().is_some_and(|delays| delays.index.contains(entry));
        if !is_there {
            return Look::Gone;
        }
        if !queue.fetch(entry.1) {
            self.heed(id);
            return Look::Wait;
        }
        queue.record(entry.1).map_or(Look::Gone, |record| Look::Seen(look(&record)))
    }

    /// Drops one of them, and says whether it was there.
    pub fn drop_delayed(&mut self, exchange: &[u8], entry: Entry) -> bool {
        let Some(id) = self.behind(exchange) else { return false };
        let dropped = self.queues.get_mut(id).is_some_and(|queue| queue.drop_delayed(entry));
        if dropped {
            self.note_dropped(id);
        }
        dropped
    }

    /// Drops all of them, and says how many there were; `None` if the exchange delays none.
    pub fn drop_all_delayed(&mut self, exchange: &[u8]) -> Option<usize> {
        let id = self.behind(exchange)?;
        let count = self.queues.get_mut(id)?.drop_all_delayed();
        self.set_alarm(id, Alarm::Due, None);
        self.note_dropped(id);
        Some(count)
    }

    /// Has one of them delivered with the next tick, and says whether it was there.
    pub fn deliver_delayed(&mut self, exchange: &[u8], entry: Entry) -> bool {
        const AT_ONCE: Now = 0;
        let Some(id) = self.behind(exchange) else { return false };
        let now = self.clock;
        let delays = self.queues.get_mut(id).and_then(|queue| queue.delays.as_mut());
        let Some(delays) = delays.filter(|delays| delays.index.contains(entry)) else { return false };
        delays.index.remove(entry);
        delays.index.insert((AT_ONCE, entry.1));
        self.set_alarm(id, Alarm::Due, Some(now));
        true
    }

    /// What was dropped does not come back after a crash, once somebody has been told.
    fn note_dropped(&mut self, id: QueueId) {
        if self.queues.get(id).is_some_and(|queue| queue.is_kept()) {
            self.commits.note_definition();
            self.commits.make_thorough();
        }
        self.heed(id);
    }
}
