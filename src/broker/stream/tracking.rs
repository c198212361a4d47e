//! What is remembered for those who read a stream: up to which offset a group, or a consumer tag, has acknowledged
//! everything. It is kept now and then (about once a second while it changes), and when the node stops.

use std::collections::{BTreeMap, VecDeque};

use super::marks::{About, Mark};
use crate::broker::channel::Unacked;
use crate::broker::settle::Verdict;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{Name, QueueId};
use crate::log::Position;
use crate::wire::reply::Exception;

/// So many groups of a stream are remembered.
const GROUPS_MAX: usize = 10_000;
/// So many deliveries that are settled stay among those that are not.
const SETTLED_MAX: usize = 64;
/// Milliseconds between two times at which numbers are kept.
const PATIENCE: u64 = 1000;

/// The offsets of a stream's groups.
#[derive(Debug, Default)]
pub struct Tracking {
    groups: BTreeMap<Name, Stored>,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    /// Everything before it has been acknowledged.
    next: Position,
    dirty: bool,
}

impl Tracking {
    pub fn restore(&mut self, group: Name, next: Position) {
        self.groups.insert(group, Stored { next, dirty: false });
    }

    /// Where a group goes on, if it has ever been here.
    pub fn get(&self, group: &str) -> Option<Position> {
        self.groups.get(group).map(|stored| stored.next)
    }

    /// Notes where a group goes on. Returns whether that is new.
    fn set(&mut self, group: &Name, next: Position) -> bool {
        match self.groups.get_mut(group) {
            Some(stored) if stored.next == next => return false,
            Some(stored) => *stored = Stored { next, dirty: true },
            None => drop(self.groups.insert(Name::clone(group), Stored { next, dirty: true })),
        }
        true
    }

    /// No group goes on behind this offset. Returns whether one did.
    pub fn end_at(&mut self, next: Position) -> bool {
        let beyond = self.groups.values_mut().filter(|stored| stored.next > next);
        beyond.map(|stored| *stored = Stored { next, dirty: true }).count() > 0
    }

    fn take_dirty(&mut self) -> Vec<Mark> {
        let dirty = self.groups.iter_mut().filter_map(|(group, stored)| {
            let was_dirty = std::mem::take(&mut stored.dirty);
            was_dirty.then(|| (About::Group, Name::clone(group), stored.next))
        });
        dirty.collect()
    }

    /// All groups with their offsets.
    pub fn all(&self) -> Vec<(Name, Position)> {
        self.groups.iter().map(|(group, stored)| (Name::clone(group), stored.next)).collect()
    }
}

/// What a reader has been given and not acknowledged, for the sake of its group.
#[derive(Debug)]
pub struct Tracked {
    pub group: Name,
    /// In order, each with whether it is settled.
    outstanding: VecDeque<(Position, bool)>,
    /// How many of them are settled, behind one that is not.
    settled: usize,
    /// The first offset that was given back: nothing from there on counts as acknowledged.
    ceiling: Option<Position>,
    /// Whether another one is to read on when everything is settled.
    pub leaving: bool,
}

impl Tracked {
    pub fn new(group: Name) -> Self {
        Self { group, outstanding: VecDeque::new(), settled: 0, ceiling: None, leaving: false }
    }

    pub fn note_delivery(&mut self, position: Position) {
        self.outstanding.push_back((position, false));
    }

    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    fn settle(&mut self, position: Position, done: bool) {
        let Ok(index) = self.outstanding.binary_search_by_key(&position, |(position, _)| *position) else {
            return;
        };
        self.settled += usize::from(!std::mem::replace(&mut self.outstanding[index].1, true));
        if !done {
            self.ceiling = Some(self.ceiling.map_or(position, |ceiling| ceiling.min(position)));
        }
        while self.outstanding.front().is_some_and(|(_, settled)| *settled) {
            self.outstanding.pop_front();
            self.settled -= 1;
        }
        // One that is never settled does not have all behind it remembered.
        if self.settled > SETTLED_MAX && 2 * self.settled > self.outstanding.len() {
            self.outstanding.retain(|(_, settled)| !settled);
            self.settled = 0;
        }
    }

    /// Up to where everything is acknowledged, for a reader that goes on at `next`.
    fn done(&self, next: Position) -> Position {
        let done = self.outstanding.front().map_or(next, |(position, _)| *position);
        self.ceiling.map_or(done, |ceiling| ceiling.min(done))
    }
}

impl Vhost {
    /// A delivery of a stream is settled: what its group has done with may reach further now.
    pub(in crate::broker) fn read_settled(&mut self, delivery: &Unacked, verdict: Verdict) {
        let Some(id) = delivery.consumer else { return };
        let reading = self.consumers.get_mut(id).and_then(|consumer| consumer.reading.as_mut());
        let reader = reading.and_then(|reading| reading.reader_of(delivery.queue));
        let Some(reader) = reader else { return };
        let next = reader.next;
        let Some(tracked) = reader.tracked.as_deref_mut() else { return };
        let done = !matches!(verdict, Verdict::Requeue | Verdict::Fail);
        tracked.settle(delivery.position, done);
        let (group, at) = (Name::clone(&tracked.group), tracked.done(next));
        let gives_way = tracked.leaving && tracked.is_idle();
        self.store_offset(delivery.queue, &group, at);
        if gives_way {
            self.pass_on(id, delivery.queue);
        }
    }

    /// Notes where a group goes on, to be kept soon.
    pub(super) fn store_offset(&mut self, id: QueueId, group: &Name, next: Position) {
        let Some((stream, _)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return;
        };
        if stream.tracking.set(group, next) {
            self.keep_soon(id);
        }
    }

    pub(super) fn keep_soon(&mut self, id: QueueId) {
        // All streams at once, so that few commits have to keep numbers.
        let at = (self.clock / PATIENCE + 1) * PATIENCE;
        if self.queues.get(id).is_some_and(|queue| queue.is_kept() && queue.alarms.get(Alarm::Due).is_none())
        {
            self.set_alarm(id, Alarm::Due, Some(at));
        }
    }

    /// Keeps what has changed of a stream's groups and publishers.
    pub(in crate::broker) fn keep_marks(&mut self, id: QueueId) {
        let (announced, open) = (self.commits.announced(), self.commits.current());
        let Some((stream, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return;
        };
        let mut marks = stream.tracking.take_dirty();
        stream.publishers.begin_keeping(log.next());
        stream.publishers.note_commit(announced);
        let kept = stream.publishers.take_kept(stream.committed, open);
        let held_back = stream.held_back;
        marks.extend(kept);
        self.record_marks(id, marks);
        if held_back {
            self.retain_stream(id);
        }
    }

    /// Refuses one group more than are remembered.
    pub(super) fn check_group(&self, id: QueueId, group: &str) -> Result<(), Exception> {
        let tracking = self.queues.get(id).and_then(|queue| queue.tracking());
        let Some(tracking) = tracking else { return Ok(()) };
        if tracking.groups.len() < GROUPS_MAX || tracking.groups.contains_key(group) {
            return Ok(());
        }
        Err(Exception::precondition_failed(format!("a stream remembers {GROUPS_MAX} groups at most")))
    }

    /// Sets where a group goes on, or forgets it; not while somebody reads for it, whose next acknowledgement would set
    /// it again.
    pub fn set_group_offset(
        &mut self,
        stream: &[u8],
        group: &str,
        next: Option<Position>,
    ) -> Result<bool, Exception> {
        let id = self.queue_id(stream)?;
        if next.is_some() {
            if !(1..=255).contains(&group.len()) {
                return Err(Exception::precondition_failed("a group's name has 1 to 255 octets".to_owned()));
            }
            self.check_group(id, group)?;
        }
        if self.is_read_by(id, group) {
            let described = self.describe("queue", stream);
            return Err(Exception::precondition_failed(format!(
                "'{group}' is reading {described}: its offset can be changed when nobody does"
            )));
        }
        let name = Name::from(group);
        let Some((stream, _)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return Ok(false);
        };
        match next {
            Some(next) => {
                self.store_offset(id, &name, next);
                self.keep_marks(id);
            }
            None if stream.tracking.groups.remove(group).is_some() => {
                self.record_no_mark(id, About::Group, name);
            }
            None => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::definitions::Change;
    use crate::broker::stream::marks::DurableMark;
    use amq_protocol::types::AMQPValue;

    #[test]
    fn what_is_behind_one_that_is_open_is_not_remembered() {
        let mut tracked = Tracked::new("g".into());
        for position in 0..100_000 {
            tracked.note_delivery(position);
            if position % 50_000 > 0 {
                tracked.settle(position, true);
            }
            assert!(tracked.outstanding.len() <= 2 * SETTLED_MAX + 4);
        }
        assert_eq!((tracked.done(100_000), tracked.is_idle()), (0, false));
        tracked.settle(0, true);
        assert_eq!(tracked.done(100_000), 50_000);
        tracked.settle(50_000, true);
        assert_eq!((tracked.done(100_000), tracked.is_idle(), tracked.settled), (100_000, true, 0));
    }

    #[test]
    fn what_was_given_back_is_a_ceiling() {
        let mut tracked = Tracked::new("g".into());
        (0..9).for_each(|position| tracked.note_delivery(position));
        tracked.settle(5, false);
        tracked.settle(3, false);
        (0..9).for_each(|position| tracked.settle(position, true));
        assert_eq!((tracked.done(9), tracked.is_idle()), (3, true));
    }

    #[test]
    fn what_a_disk_has_lost_is_not_waited_for() {
        let mut vhost = Vhost::new("v");
        vhost.keep(Default::default());
        let mut arguments = amq_protocol::types::FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
        let declaration = crate::broker::queue::declare::Declaration {
            name: "s".into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
            creator: None,
        };
        vhost.declare_queue(None, declaration).expect("a stream");
        let (id, log) = vhost.kept_queues()[0];
        let mark = |number| DurableMark { log, about: About::Group, name: "g".into(), number };
        vhost.restore_marks(vec![mark(7)]);
        vhost.groups_found(id);
        assert_eq!(vhost.queues[id].tracking().and_then(|tracking| tracking.get("g")), Some(0));
        vhost.take_changes();
        vhost.keep_marks(id);
        assert_eq!(vhost.take_changes(), [Change::PutMark(mark(0))], "it would be the old one again later");
        vhost.groups_found(id);
        vhost.keep_marks(id);
        assert_eq!(vhost.take_changes(), []);
    }
}
