//! The lanes of a queue: which one a message goes to, and which one the next message comes from.

use super::arguments::QueueType;
use super::lane::{Lane, inside, lane_of, log_of, queue_of};
use super::{Queue, Taken};
use crate::log::record::Record;
use crate::log::recover::Recovered;
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
    fn lane_at(&self, position: Position) -> Option<&Lane> {
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

    pub(in crate::broker) fn lane_count(&self) -> usize {
        1 + self.others.len()
    }

    /// The first ready message of a lane; if it is on disk it is asked for.
    pub(super) fn head_of(&mut self, index: usize) -> At {
        if index == 0 {
            return self.lane.head();
        }
        self.others.get_mut(index - 1).map_or(At::End, Lane::head)
    }

    /// Goes on in the lane of the highest priority that has something ready.
    pub(super) fn advance_lanes(&mut self) -> Result<(Position, bool), Taken> {
        let usual = self.lane.priority;
        for lane in &mut self.others {
            if lane.priority < usual && !self.lane.is_empty() {
                break;
            }
            if !lane.is_empty() {
                return lane.advance();
            }
        }
        self.lane.advance()
    }

    /// Goes on in one lane.
    pub(super) fn advance_lane(&mut self, index: usize) -> Result<(Position, bool), Taken> {
        match index {
            0 => self.lane.advance(),
            index => self.others.get_mut(index - 1).map_or(Err(Taken::Nothing), Lane::advance),
        }
    }

    /// A message, if it is in memory.
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
        self.lane_with(number).stand_on(log, messages, delivered);
        self.ready_bytes += bytes;
        // Nobody knows before they are read.
        self.expiring |= messages > 0;
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

    /// Up to where its lanes have been read, taken together.
    pub(super) fn read_position(&self) -> Position {
        self.lanes().map(Lane::read_position).sum()
    }
}
