//! What the logs of a vhost's queues ask of whoever owns the disk, and what comes back.
//!
//! The vhost never waits: it keeps lists of queues that have something to write or to read, and is told later.

use std::collections::VecDeque;
use std::sync::Arc;

use super::QueueId;
use super::commit::Commit;
use super::effects::Effects;
use super::vhost::Vhost;
use crate::log::batch::Batch;
use crate::log::budget::Budget;
use crate::log::chunk::Data;
use crate::log::recover::Recovered;
use crate::log::resident::{Leaver, Request};
use crate::log::spill::Extent;
use crate::log::{Calls, Log, LogId, Position};

/// Queues that are looked at for memory at once.
const TRIM_MAX: usize = 1000;

/// What a vhost knows of its queues' logs as a whole.
#[derive(Debug, Default)]
pub struct Storage {
    budget: Arc<Budget>,
    dirty: Vec<QueueId>,
    reading: Vec<QueueId>,
    /// Queues that take memory, those looked at longest ago first.
    resident: VecDeque<QueueId>,
    /// Logs of queues that are gone, whose files have to go.
    removed: Vec<Log>,
}

impl Storage {
    pub(super) fn remove(&mut self, log: Log) {
        self.removed.push(log);
    }
}

impl Vhost {
    /// Keeps this vhost on disk, and its queues within a budget of memory. It has no queues yet.
    pub fn keep(&mut self, budget: Arc<Budget>) {
        self.storage.budget = budget;
        self.commits.turn_on();
    }

    pub(super) fn new_log(&mut self, durable: bool) -> Log {
        let id = (durable && self.commits.is_on()).then(|| self.next_log_id());
        self.log_with(id)
    }

    pub(super) fn log_with(&self, id: Option<LogId>) -> Log {
        Log::new(id, Arc::clone(&self.storage.budget))
    }

    /// The queues that are kept on disk, with the numbers of their logs.
    pub fn kept_queues(&self) -> Vec<(QueueId, LogId)> {
        self.queues.iter().filter_map(|(id, queue)| Some((id, queue.log().id()?))).collect()
    }

    /// Puts a queue on the log that was found on disk for it.
    pub fn recover(&mut self, id: QueueId, found: Recovered) {
        if let Some(queue) = self.queues.get_mut(id) {
            queue.stand_on(found.log, found.messages, found.bytes, found.delivered);
            self.heed(id);
        }
    }

    /// Notes what a queue's log has come to ask for.
    pub(super) fn heed(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        if !queue.storage.resident {
            queue.storage.resident = true;
            self.storage.resident.push_back(id);
        }
        let Some(calls) = queue.take_calls() else { return };
        if calls.gather && !queue.storage.dirty {
            queue.storage.dirty = true;
            self.storage.dirty.push(id);
        }
        if calls.read {
            self.storage.reading.push(id);
        }
    }

    /// What there is to do for the owner of the disk.
    pub fn calls(&self) -> Calls {
        let Storage { dirty, reading, removed, budget, .. } = &self.storage;
        let gather = !dirty.is_empty() || !removed.is_empty() || self.commits.is_open() || budget.is_over();
        Calls { gather: gather && self.commits.current().is_some(), read: !reading.is_empty() }
    }

    /// Moves everything that is to be written into a batch, and closes the commit. Returns its number, and whether it is
    /// to make acknowledgements durable too. `durable` says whether all commits before are.
    pub fn gather(&mut self, durable: bool, batch: &mut Batch) -> (Commit, bool) {
        for id in std::mem::take(&mut self.storage.dirty) {
            let Some(queue) = self.queues.get_mut(id) else { continue };
            queue.storage.dirty = false;
            queue.log_mut().gather(durable, batch);
            self.heed(id);
        }
        for log in self.storage.removed.drain(..) {
            log.remove(batch);
        }
        self.commits.close()
    }

    /// What is to be read from disk.
    pub fn take_requests(&mut self) -> Vec<(QueueId, Request)> {
        let mut requests = Vec::new();
        for id in std::mem::take(&mut self.storage.reading) {
            let Some(queue) = self.queues.get_mut(id) else { continue };
            requests.extend(queue.log_mut().take_requests().into_iter().map(|request| (id, request)));
        }
        requests
    }

    /// Takes records that were read from disk, and goes on with what waited for them. Returns how many ready messages
    /// turned out to be lost.
    pub fn arrive(&mut self, id: QueueId, first: Position, data: Data, fx: &mut impl Effects) -> usize {
        let Some(queue) = self.queues.get_mut(id) else { return 0 };
        let lost = queue.arrive(first, data);
        self.heed(id);
        self.dispatch(id, fx);
        lost
    }

    /// Lets chunks leave memory where there are too many: first those that nobody is going to read soon, then those of
    /// queues that are not used. Those that have to be spilled for that are returned, and whether there may be more.
    /// What was gathered has to be written.
    pub fn trim(&mut self) -> (Vec<(QueueId, Leaver)>, bool) {
        let mut leavers = Vec::new();
        let steps = self.storage.resident.len().min(TRIM_MAX);
        for _ in 0..steps {
            let Some(id) = self.storage.resident.pop_front() else { break };
            let Some(queue) = self.queues.get_mut(id) else { continue };
            let used = std::mem::take(&mut queue.storage.used);
            let read = queue.read_position();
            let keep = if used { queue.log().window(read) } else { read..read };
            let left = queue.log_mut().evict(&keep, used);
            leavers.extend(left.into_iter().map(|leaver| (id, leaver)));
            queue.storage.resident = queue.log().resident() > 0;
            if queue.storage.resident {
                self.storage.resident.push_back(id);
            }
            if self.storage.budget.has_room() {
                break;
            }
        }
        (leavers, steps > 0 && !self.storage.budget.has_room())
    }

    /// A chunk has been written to a spill file. Returns the extent if nobody wants it any more.
    pub fn spilled(&mut self, id: QueueId, first: Position, extent: Extent) -> Option<Extent> {
        match self.queues.get_mut(id) {
            Some(queue) => queue.log_mut().spilled(first, extent),
            None => Some(extent),
        }
    }

    /// A chunk could not be written to a spill file.
    pub fn not_spilled(&mut self, id: QueueId, first: Position) {
        if let Some(queue) = self.queues.get_mut(id) {
            queue.log_mut().not_spilled(first);
        }
    }

    /// The node stops in order: from then on it is known on disk exactly what has been delivered.
    pub fn note_stop(&mut self) {
        let ids: Vec<_> = self.queues.keys().collect();
        for id in ids {
            if let Some(queue) = self.queues.get_mut(id) {
                queue.note_stop();
                self.heed(id);
            }
        }
    }
}
