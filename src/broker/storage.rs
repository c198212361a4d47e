//! What the logs of a vhost's queues ask of whoever owns the disk, and what comes back.
//!
//! The vhost never waits: it keeps lists of queues that have something to write or to read, and is told later.

use std::collections::VecDeque;
use std::sync::Arc;

use super::QueueId;
use super::commit::Commit;
use super::effects::Effects;
use super::pins::Pins;
use super::queue::Queue;
use super::queue::lane::inside;
use super::timers::WORK_MAX;
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

/// How much memory is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// What nobody is going to use soon leaves.
    Some,
    /// Of streams nothing stays but where they are written to, and what somebody takes now: any number may read them, each at a
    /// place of its own.
    Much,
}

/// What a vhost knows of its queues' logs as a whole.
#[derive(Debug, Default)]
pub struct Storage {
    budget: Arc<Budget>,
    dirty: Vec<QueueId>,
    /// Whether somebody waits for one of them.
    urgent: bool,
    reading: Vec<QueueId>,
    /// Queues that take memory, those looked at longest ago first.
    resident: VecDeque<QueueId>,
    /// How many of these are gone.
    gone: usize,
    /// Logs of queues that are gone, whose files have to go.
    removed: Vec<Log>,
    /// Chunks that somebody who looks at messages waits for.
    pins: Pins,
}

impl Vhost {
    /// Counts the memory of its queues in a budget that others share. It has no queues yet.
    pub fn share_budget(&mut self, budget: Arc<Budget>) {
        self.storage.budget = budget;
    }

    /// Keeps this vhost on disk, and its queues within a budget of memory. It has no queues yet.
    pub fn keep(&mut self, budget: Arc<Budget>) {
        self.share_budget(budget);
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
        self.queues
            .iter()
            .filter(|(_, queue)| queue.is_kept())
            .map(|(id, queue)| (id, queue.log_id()))
            .collect()
    }

    /// Puts a lane of a queue on the log that was found on disk for it.
    pub fn recover(&mut self, id: QueueId, found: Recovered) {
        if let Some(queue) = self.queues.get_mut(id) {
            // What a ledger holds is nobody's to take.
            let is_ledger = queue.ledger_of.is_some();
            queue.stand_on(if is_ledger { Recovered { messages: 0, bytes: 0, ..found } } else { found });
            self.watch_recovered(id);
            self.stream_found(id);
            self.read_delayed(id);
            self.heed(id);
        }
    }

    /// Everything a queue has on disk, to be read once.
    pub fn all_requests(&self, id: QueueId) -> Vec<(Position, Request)> {
        let mut requests = Vec::new();
        for lane in self.queues.get(id).into_iter().flat_map(Queue::lanes) {
            let found = lane.log.all_requests().into_iter();
            requests.extend(found.map(|request| (lane.outside(request.span.first), request)));
        }
        requests
    }

    /// What of it is to be read at the start, so that what is in it is known; see [`learn`](Self::learn).
    pub fn requests_to_learn(&self, id: QueueId) -> Vec<(Position, Request)> {
        let mut requests = self.all_requests(id);
        if let Some(from) = self.to_be_learned(id) {
            requests.retain(|(_, request)| request.span.end > from);
        }
        requests
    }

    /// A queue is gone: its files have to go, and it is forgotten.
    pub(super) fn discard(&mut self, queue: Queue) {
        let Storage { resident, gone, removed, .. } = &mut self.storage;
        if queue.storage.resident {
            *gone += 1;
            // Now and then, so that queues that come and go leave no more behind than there are.
            if *gone > resident.len() / 2 {
                resident.retain(|id| self.queues.contains_key(*id));
                *gone = 0;
            }
        }
        // Where nothing is kept nobody comes for it.
        if self.commits.is_on() {
            removed.extend(queue.into_logs());
        }
    }

    /// Notes what a queue's log has come to ask for.
    pub(super) fn heed(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        if !queue.storage.resident {
            queue.storage.resident = true;
            self.storage.resident.push_back(id);
        }
        if !queue.touched {
            queue.touched = true;
            self.touched.queues.push(id);
        }
        let Some(calls) = queue.take_calls() else { return };
        if calls.gather && !queue.storage.dirty {
            queue.storage.dirty = true;
            self.storage.dirty.push(id);
        }
        self.storage.urgent |= calls.urgent;
        if calls.read {
            self.storage.reading.push(id);
        }
    }

    /// What there is to do for the owner of the disk.
    pub fn calls(&self) -> Calls {
        let Storage { dirty, urgent, reading, removed, budget, .. } = &self.storage;
        if self.commits.current().is_none() {
            return Calls::default();
        }
        let urgent = *urgent || self.commits.is_open() || budget.is_over();
        Calls {
            gather: urgent || !dirty.is_empty() || !removed.is_empty(),
            urgent,
            read: !reading.is_empty(),
            congested: budget.is_exceeded(),
        }
    }

    /// Moves everything that is to be written into a batch, and closes the commit. Returns its number, and whether it is
    /// to make acknowledgements durable too. `durable` says whether all commits before are.
    pub fn gather(&mut self, durable: bool, batch: &mut Batch) -> (Commit, bool) {
        self.storage.urgent = false;
        let mut dirty = std::mem::take(&mut self.storage.dirty);
        for id in &dirty {
            let Some(queue) = self.queues.get_mut(*id) else { continue };
            queue.storage.dirty = false;
            queue.lanes_mut().for_each(|lane| lane.log.gather(durable, batch));
            self.heed(*id);
        }
        // What has something to write again comes into the list of before, which has the room.
        dirty.clear();
        dirty.append(&mut self.storage.dirty);
        self.storage.dirty = dirty;
        for log in self.storage.removed.drain(..) {
            log.remove(batch);
        }
        self.commits.close()
    }

    /// What is to be read from disk, with the position that [`arrive`](Self::arrive) is to be told.
    pub fn take_requests(&mut self) -> Vec<(QueueId, Position, Request)> {
        let mut requests = Vec::new();
        for id in std::mem::take(&mut self.storage.reading) {
            let Some(queue) = self.queues.get_mut(id) else { continue };
            for lane in queue.lanes_mut() {
                let wanted = lane.log.take_requests().into_iter();
                requests.extend(wanted.map(|request| (id, lane.outside(request.span.first), request)));
            }
        }
        requests
    }

    /// Asks once more for what could not be read, and says whether it is still waited for.
    pub fn ask_again(&mut self, id: QueueId, first: Position) -> bool {
        let lane = self.queues.get_mut(id).and_then(|queue| queue.lane_at_mut(first));
        let is_awaited = lane.is_some_and(|lane| lane.log.ask_again(inside(first)));
        self.heed(id);
        is_awaited
    }

    /// Takes records that were read from disk, and goes on with what waited for them. Returns how many ready messages
    /// turned out to be lost.
    pub fn arrive(&mut self, id: QueueId, first: Position, data: Data, fx: &mut impl Effects) -> usize {
        let Some(queue) = self.queues.get_mut(id) else { return 0 };
        let lost = queue.arrive(first, data);
        let fetchers = std::mem::take(&mut queue.fetchers);
        self.stream_arrived(id, first);
        if !self.stopping {
            self.exhume(id);
            self.enforce_length(id);
            self.expire(id, u64::MAX);
            self.send_due(id, WORK_MAX, fx);
        }
        self.heed(id);
        self.dispatch(id, fx);
        self.dispatch_due(fx);
        fetchers.into_iter().for_each(|connection| fx.retry(connection));
        lost
    }

    /// Keeps the chunk that a look at a queue from a position on waits for in memory, until it has been looked at.
    pub(super) fn pin(&mut self, id: QueueId, from: Position) {
        let lane = self.queues.get(id).and_then(|queue| queue.lane_at(from));
        let first = lane.and_then(|lane| Some(lane.outside(lane.log.awaited(inside(from))?)));
        if let Some(first) = first {
            self.storage.pins.add(id, first, self.clock);
        }
    }

    /// A message has been looked at.
    pub(super) fn unpin(&mut self, id: QueueId, position: Position) {
        self.storage.pins.remove(id, position);
    }

    /// How many queues take memory.
    pub fn resident_queues(&self) -> usize {
        self.storage.resident.len()
    }

    /// Lets chunks leave memory where there are too many, of the next few queues: of those that are used what nobody is
    /// going to read soon, of the others everything; or more of streams, if there is more need. Those that have to be spilled for that are added to `leavers`.
    /// What was gathered has to be written. Returns how many queues were looked at; none once there is room.
    pub fn trim(&mut self, need: Need, leavers: &mut Vec<(QueueId, Leaver)>) -> usize {
        for step in 0..self.storage.resident.len().min(TRIM_MAX) {
            if self.storage.budget.has_room() {
                return step;
            }
            let Some(id) = self.storage.resident.pop_front() else { return step };
            let pinned = self.storage.pins.of(id, self.clock);
            let Some(queue) = self.queues.get_mut(id) else {
                self.storage.gone = self.storage.gone.saturating_sub(1);
                continue;
            };
            if queue.is_stream() {
                self.trim_stream(id, need, &pinned, leavers);
            } else if need == Need::Some {
                let used = std::mem::take(&mut queue.storage.used);
                queue.evict(used, &pinned, |leaver| leavers.push((id, leaver)));
            }
            let queue = &mut self.queues[id];
            queue.storage.resident = queue.resident() > 0;
            if queue.storage.resident {
                self.storage.resident.push_back(id);
            }
        }
        self.storage.resident.len().min(TRIM_MAX)
    }

    /// All queues' logs go, for a vhost that is deleted.
    pub fn remove_logs(&mut self, batch: &mut Batch) {
        // Its connections may still use it for a moment, and find nothing.
        self.queue_names.clear();
        self.topology += 1;
        for (_, queue) in self.queues.drain() {
            queue.into_logs().for_each(|log| log.remove(batch));
        }
        self.storage.removed.drain(..).for_each(|log| log.remove(batch));
        self.storage.dirty.clear();
    }

    /// A chunk has been written to a spill file. Returns the extent if nobody wants it any more.
    pub fn spilled(&mut self, id: QueueId, first: Position, extent: Extent) -> Option<Extent> {
        match self.queues.get_mut(id) {
            Some(queue) => match queue.lane_at_mut(first) {
                Some(lane) => lane.log.spilled(inside(first), extent),
                None => Some(extent),
            },
            None => Some(extent),
        }
    }

    /// A chunk could not be written to a spill file.
    pub fn not_spilled(&mut self, id: QueueId, first: Position) {
        if let Some(queue) = self.queues.get_mut(id) {
            if let Some(lane) = queue.lane_at_mut(first) {
                lane.log.not_spilled(inside(first));
            }
        }
    }

    /// The node stops in order: from then on it is known on disk exactly what has been delivered, and nothing goes from
    /// one queue to another any more. What has is settled here before the last commit, so that it is not there twice.
    pub fn note_stop(&mut self) {
        self.stopping = true;
        let ids: Vec<_> = self.queues.keys().collect();
        for id in ids {
            if let Some(queue) = self.queues.get_mut(id) {
                queue.note_stop();
                self.keep_marks(id);
                self.heed(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::definitions::tests::Nobody;
    use crate::broker::publish::Outcome;
    use crate::broker::queue::declare::Declaration;
    use crate::broker::queue::dispatch::Fetched;
    use crate::wire::content::{Body, Message};

    fn kept() -> Vhost {
        let mut vhost = Vhost::new("v");
        vhost.keep(Arc::default());
        vhost
    }

    fn declare(vhost: &mut Vhost, name: &str) {
        let declaration = Declaration {
            name: name.into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Default::default(),
            creator: None,
        };
        vhost.declare_queue(None, declaration).expect("a queue");
    }

    /// Publishes a persistent message.
    fn publish(vhost: &mut Vhost, queue: &str) {
        let message = Message {
            exchange: b"",
            routing_key: queue.as_bytes(),
            properties: &[0x10, 0, 2],
            body: Body::Inline(b"body"),
        };
        let targets = vhost.route(&message).targets;
        let outcome = vhost.publish(&targets, &message, 0, &mut Nobody);
        assert_eq!(outcome, vhost.commits.current().map_or(Outcome::Done, Outcome::Kept));
    }

    fn gather(vhost: &mut Vhost) -> Batch {
        let mut batch = Batch::default();
        vhost.gather(true, &mut batch);
        batch
    }

    #[test]
    fn what_is_fetched_is_settled_on_disk_and_noted_as_delivered() {
        for no_ack in [true, false] {
            let mut vhost = kept();
            let connection = vhost.connect();
            let channel = vhost.open_channel(connection, 1);
            declare(&mut vhost, "q");
            publish(&mut vhost, "q");
            while vhost.calls().gather {
                gather(&mut vhost);
            }
            let got = vhost.get(channel, b"q", no_ack, &mut Nobody).expect("no error");
            assert_eq!(got, Fetched::Message);
            assert!(vhost.calls().gather && vhost.calls().urgent, "nobody is called for it");
            assert_eq!(gather(&mut vhost).settled().count(), usize::from(no_ack));
        }
    }

    #[test]
    fn queues_that_come_and_go_leave_nothing_behind() {
        for mut vhost in [kept(), Vhost::new("memory")] {
            for _ in 0..100 {
                declare(&mut vhost, "q");
                publish(&mut vhost, "q");
                vhost.delete_queue(None, b"q", false, false, &mut Nobody).expect("deleted");
                if vhost.commits.is_on() {
                    gather(&mut vhost);
                }
            }
            assert!(vhost.resident_queues() <= 1, "{} remembered", vhost.resident_queues());
            assert_eq!(vhost.storage.removed.len(), 0);
            assert_eq!(vhost.storage.budget.resident(), 0);
        }
    }

    #[test]
    fn a_removed_vhost_has_no_queues() {
        let mut vhost = kept();
        let connection = vhost.connect();
        let channel = vhost.open_channel(connection, 1);
        declare(&mut vhost, "q");
        vhost.remove_logs(&mut Batch::default());
        assert!(vhost.queue(b"q").is_none());
        vhost.get(channel, b"q", true, &mut Nobody).expect_err("there is no queue");
        vhost.check_queue(connection, b"q").expect_err("there is no queue");
    }
}
