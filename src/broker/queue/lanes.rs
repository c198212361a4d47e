//! The lanes of a queue: which one a message goes to, and which one the next message comes from.

use std::cmp::Ordering;
use std::ops::Range;

use super::Queue;
use super::arguments::QueueType;
use super::lane::{Lane, inside, lane_of, log_of, queue_of};
use crate::log::record::Record;
use crate::log::recover::Recovered;
use crate::log::resident::Leaver;
use crate::log::{At, Calls, Log, LogId, Position};
use crate::wire::content::Message;
use crate::wire::properties::{self, PRIORITY};

/// Priorities of quorum queues, and the one of messages that name none.
const QUORUM_LEVELS: u8 = 32;
const QUORUM_DEFAULT: u8 = 4;

impl Queue {
    /// The priority of messages that name none.
    pub(super) fn default_priority(&self) -> u8 {
        if self.settings.queue_type == QueueType::Quorum { QUORUM_DEFAULT } else { 0 }
    }

    /// The priority a message has here. Classic queues have as many as they were declared with, quorum queues always 32.
    fn priority(&self, message: &Message<'_>) -> u8 {
        let default = self.default_priority();
        let max = match self.settings.queue_type {
            QueueType::Classic => self.settings.max_priority.unwrap_or(0),
            QueueType::Quorum => QUORUM_LEVELS - 1,
            QueueType::Stream => 0,
        };
        if max == 0 || properties::flags(message.properties) & PRIORITY == 0 {
            return default;
        }
        let own = properties::walk(message.properties).ok().and_then(|found| found.priority);
        own.map_or(default, |own| own.min(max))
    }

    /// The number of the lane for a priority. The usual one is 0, whatever its priority.
    fn number_of(&self, priority: u8) -> u8 {
        match (self.settings.queue_type, priority) {
            (_, priority) if priority == self.default_priority() => 0,
            (QueueType::Quorum, priority) => priority + 1,
            (_, priority) => priority,
        }
    }

    fn priority_of(&self, number: u8) -> u8 {
        match (self.settings.queue_type, number) {
            (_, 0) => self.default_priority(),
            (QueueType::Quorum, number) => number - 1,
            (_, number) => number,
        }
    }

    /// The lane a message goes to, made if it is the first of its priority.
    pub(super) fn lane_for(&mut self, message: &Message<'_>) -> &mut Lane {
        let number = self.number_of(self.priority(message));
        self.lane_with(number)
    }

    fn lane_with(&mut self, number: u8) -> &mut Lane {
        if number == 0 {
            return &mut self.lane;
        }
        let at = match self.others.iter().position(|lane| lane.number == number) {
            Some(at) => at,
            None => {
                let log = self.lane.log.sibling(log_of(self.log_id(), number));
                let priority = self.priority_of(number);
                let at = self.others.partition_point(|lane| lane.priority > priority);
                self.others.insert(at, Lane::new(number, priority, log));
                at
            }
        };
        &mut self.others[at]
    }

    /// The lane that a position is in.
    pub(in crate::broker) fn lane_at(&self, position: Position) -> Option<&Lane> {
        match lane_of(position) {
            0 => Some(&self.lane),
            number => self.others.iter().find(|lane| lane.number == number),
        }
    }

    pub(in crate::broker) fn lane_at_mut(&mut self, position: Position) -> Option<&mut Lane> {
        match lane_of(position) {
            0 => Some(&mut self.lane),
            number => self.others.iter_mut().find(|lane| lane.number == number),
        }
    }

    /// All lanes, in no order.
    pub(in crate::broker) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        std::iter::once(&self.lane).chain(&self.others)
    }

    pub(in crate::broker) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        std::iter::once(&mut self.lane).chain(&mut self.others)
    }

    /// The lane of the highest priority that has something ready; the usual one if none has.
    pub(super) fn front_lane(&mut self) -> &mut Lane {
        let usual = &mut self.lane;
        let before =
            |lane: &&mut Lane| !lane.is_empty() && (lane.priority > usual.priority || usual.is_empty());
        self.others.iter_mut().find(before).unwrap_or(usual)
    }

    /// At how many places messages expire, as in RabbitMQ: at the head of a classic queue, whatever lane that is in; in
    /// a quorum queue at the head of each lane and of what has come back.
    pub(super) fn head_count(&self) -> usize {
        if self.settings.queue_type == QueueType::Quorum { self.others.len() + 2 } else { 1 }
    }

    /// The lane that one of these places is the head of, the highest first; none for what has come back.
    pub(super) fn lane_of_head(&mut self, head: usize) -> Option<&mut Lane> {
        if self.settings.queue_type != QueueType::Quorum {
            return Some(self.front_lane());
        }
        let index = head.checked_sub(1)?;
        let usual = self.others.partition_point(|lane| lane.priority > self.lane.priority);
        match index.cmp(&usual) {
            Ordering::Less => self.others.get_mut(index),
            Ordering::Equal => Some(&mut self.lane),
            Ordering::Greater => self.others.get_mut(index - 1),
        }
    }

    /// The message there; if it is on disk it is asked for.
    pub(super) fn head_of(&mut self, head: usize) -> At {
        if let Some(lane) = self.lane_of_head(head) {
            return lane.head();
        }
        match self.returned.front().copied() {
            Some(position) if self.fetch(position) => At::Here(position),
            Some(_) => At::OnDisk,
            None => At::End,
        }
    }

    /// A message, if it is in memory.
    #[inline]
    pub(in crate::broker) fn record(&self, position: Position) -> Option<Record<'_>> {
        self.lane_at(position)?.get(position)
    }

    /// Asks for a message, and says whether it is in memory already, or nowhere.
    pub(in crate::broker) fn fetch(&mut self, position: Position) -> bool {
        self.lane_at_mut(position).is_none_or(|lane| lane.log.fetch(inside(position)))
    }

    /// Puts a lane on a log that has been found on disk. All its messages are ready.
    pub(in crate::broker) fn stand_on(&mut self, found: Recovered) {
        let number = found.log.id().map_or(0, |log| queue_of(log).1);
        let Recovered { log, messages, bytes, delivered, .. } = found;
        if let Some(stream) = &mut self.stream {
            stream.stand_on(&log);
            return self.lane.stand_on(log, 0, 0);
        }
        if let Some(delays) = &mut self.delays {
            delays.find(messages, log.next());
            return self.lane.stand_on(log, 0, 0);
        }
        self.lane_with(number).stand_on(log, messages, delivered);
        self.ready += messages;
        self.ready_bytes += bytes;
        // Nobody knows before they are read.
        self.expiring |= messages > 0;
    }

    /// The log of its first lane.
    pub(in crate::broker) fn log_mut(&mut self) -> &mut Log {
        &mut self.lane.log
    }

    /// The number of its first lane's log; 0 if it is not kept on disk.
    pub fn log_id(&self) -> LogId {
        self.lane.log.id().unwrap_or_default()
    }

    /// Whether its persistent messages survive.
    pub(in crate::broker) fn is_kept(&self) -> bool {
        self.lane.log.is_durable()
    }

    pub(in crate::broker) fn into_logs(self) -> impl Iterator<Item = Log> {
        std::iter::once(self.lane).chain(self.others).map(|lane| lane.log)
    }

    /// Whether its vhost has to heed it.
    pub(in crate::broker) fn asks(&self) -> bool {
        !self.storage.resident || self.lane.log.asks() || self.others.iter().any(|lane| lane.log.asks())
    }

    /// What its logs ask for.
    pub(in crate::broker) fn take_calls(&mut self) -> Option<Calls> {
        let calls = self.lane.log.take_calls();
        if self.others.is_empty() {
            return calls;
        }
        let others = self.others.iter_mut().filter_map(|lane| lane.log.take_calls());
        calls.into_iter().chain(others).reduce(Calls::and)
    }

    /// Octets that it takes in memory.
    pub(in crate::broker) fn resident(&self) -> usize {
        self.lanes().map(|lane| lane.log.resident()).sum()
    }

    /// Says on disk exactly what has been delivered.
    pub(in crate::broker) fn note_stop(&mut self) {
        self.lanes_mut().for_each(Lane::note_stop);
    }

    /// The same for a stream, of which several places are used.
    pub(in crate::broker) fn evict_stream(
        &mut self,
        windows: &[Range<Position>],
        is_used: bool,
        mut leave: impl FnMut(Leaver),
    ) {
        let is_kept = |chunk: Range<Position>| {
            windows.iter().any(|window| chunk.start < window.end && window.start < chunk.end)
        };
        self.lane.log.evict(is_kept, is_used).into_iter().for_each(&mut leave);
    }

    /// Lets chunks leave memory. If the queue is used what is written to stays, and what is soon to be read; chunks with a
    /// pinned position stay in any case.
    pub(in crate::broker) fn evict(
        &mut self,
        is_used: bool,
        pinned: &[Position],
        mut leave: impl FnMut(Leaver),
    ) {
        let front = self.front_lane().number;
        for lane in self.lanes_mut() {
            let read = lane.read_position();
            let keep = if is_used && lane.number == front { lane.log.window(read) } else { read..read };
            let (outside, number) = (lane.outside(0), lane.number);
            let is_kept = |chunk: Range<Position>| {
                let is_pinned = |pin: &Position| lane_of(*pin) == number && chunk.contains(&(pin - outside));
                (chunk.start < keep.end && keep.start < chunk.end) || pinned.iter().any(is_pinned)
            };
            for leaver in lane.log.evict(is_kept, is_used) {
                leave(Leaver { first: lane.outside(leaver.first), ..leaver });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::queue::arguments::Settings;
    use crate::wire::content::Body;

    fn queue(queue_type: QueueType, max_priority: Option<u8>) -> Queue {
        let mut queue = Queue::new("q".into(), false, None, false, Log::default());
        queue.define(Settings { queue_type, max_priority, ..Settings::default() }, Default::default());
        queue
    }

    fn push(queue: &mut Queue, priority: Option<u8>) {
        let raw = priority.map_or(vec![0, 0], |priority| vec![8, 0, priority]);
        let message = Message { exchange: b"", routing_key: b"q", properties: &raw, body: Body::Inline(b"") };
        queue.push(0, 0, &message);
    }

    /// The priorities of the heads at which messages expire.
    fn heads(queue: &mut Queue) -> Vec<Option<u8>> {
        (0..queue.head_count()).map(|head| queue.lane_of_head(head).map(|lane| lane.priority)).collect()
    }

    #[test]
    fn a_lane_is_made_for_each_priority_that_is_used() {
        for (queue_type, max, named, lanes) in [
            (QueueType::Classic, None, &[Some(3), Some(0), None][..], &[0][..]),
            (QueueType::Classic, Some(0), &[Some(3), None], &[0]),
            (QueueType::Classic, Some(10), &[Some(3), None, Some(255), Some(10), Some(0)], &[0, 3, 10]),
            (QueueType::Classic, Some(255), &[Some(255), Some(254), Some(1)], &[0, 1, 254, 255]),
            (QueueType::Quorum, None, &[Some(255), None, Some(4), Some(0), Some(31)], &[0, 4, 31]),
            (QueueType::Stream, None, &[Some(3)], &[0]),
        ] {
            let mut queue = queue(queue_type, max);
            named.iter().for_each(|priority| push(&mut queue, *priority));
            let mut found: Vec<_> = queue.lanes().map(|lane| lane.priority).collect();
            found.sort_unstable();
            assert_eq!(found, lanes, "{queue_type:?} {max:?}");
            assert_eq!(queue.ready(), named.len());
            let numbers = found.iter().map(|priority| queue.number_of(*priority));
            assert!(numbers.map(|number| queue.priority_of(number)).eq(found.iter().copied()));
        }
    }

    #[test]
    fn the_highest_is_in_front_and_messages_expire_at_each_head_of_a_quorum_queue() {
        let mut quorum = queue(QueueType::Quorum, None);
        assert_eq!(heads(&mut quorum), [None, Some(4)]);
        for priority in [Some(2), Some(9), Some(0), Some(5), None] {
            push(&mut quorum, priority);
        }
        assert_eq!(heads(&mut quorum), [None, Some(9), Some(5), Some(4), Some(2), Some(0)]);
        let mut order = Vec::new();
        while !quorum.is_empty() {
            order.push(quorum.front_lane().priority);
            assert!(quorum.take_next().is_ok());
        }
        assert_eq!(order, [9, 5, 4, 2, 0]);
        let mut classic = queue(QueueType::Classic, Some(9));
        for (priority, front) in [(1, 1), (0, 1), (9, 9)] {
            push(&mut classic, Some(priority));
            assert_eq!(heads(&mut classic), [Some(front)]);
        }
    }
}
