//! Queues: a log, a position up to which it has been read, and consumers that take turns.
//!
//! What comes in are messages to keep and consumers that want some; what goes out are deliveries, through
//! [`Effects`](super::effects::Effects). This folder may not know exchanges but for the bindings it takes away.
//!
//! - this file: what a queue is, and which message is the next
//! - [`lane`][], [`lanes`][]: the messages of one priority; which lane is whose turn
//! - [`arguments`][]: the x-arguments, checked and typed
//! - [`declare`][]: declaring, purging, deleting
//! - [`consumer`][]: consuming and cancelling
//! - [`single`][]: one consumer at a time
//! - [`ring`][]: whose turn it is
//! - [`dispatch`][]: messages to consumers, one turn each
//! - [`pace`][]: publishers at the pace of consumers
//! - [`expiry`][]: messages that expire, and queues that nobody uses
//! - [`delayed`][]: the queue behind a delayed exchange
//! - [`limit`][]: how much a queue holds
//! - [`replies`][]: direct reply-to
//! - [`settings`][]: what follows when they change
//! - [`returns`][]: how often messages have come back
//! - [`put_off`][]: messages that have come back and wait

pub mod arguments;
pub mod consumer;
pub mod declare;
pub mod delayed;
pub mod dispatch;
pub mod expiry;
pub mod lane;
mod lanes;
mod limit;
pub mod pace;
mod put_off;
pub mod replies;
mod returns;
pub mod ring;
mod settings;
mod single;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use amq_protocol::types::FieldTable;

use self::arguments::{QueueType, Settings};
pub use self::consumer::Consumer;
use self::delayed::Delays;
use self::lane::Lane;
use self::put_off::PutOff;
use self::returns::Returns;
use self::ring::Ring;
use self::settings::FormerTtls;
use super::counts::Deliveries;
use super::dead_letter::safe::Pending;
use super::dead_letter::{Dying, REDELIVERED};
use super::dedup::Filter;
use super::definitions::End;
use super::policy::book::Applied;
use super::stream::publishers::Publishers;
use super::stream::tracking::Tracking;
use super::stream::{self, Stream};
use super::timers::Alarms;
use super::{BindingId, ConnectionId, ConsumerId, Name, Now};
use crate::log::{Log, Position};
use crate::wire::content::Message;
use crate::wire::properties;

#[derive(Debug)]
pub struct Queue {
    pub name: Name,
    pub durable: bool,
    /// The connection whose own it is, if it is exclusive.
    pub owner: Option<ConnectionId>,
    pub auto_delete: bool,
    /// Who has declared it, if that is known.
    pub creator: Option<Name>,
    /// Nobody can see it or use it by its name, but for publishing.
    pub hidden: bool,
    /// As they were declared.
    pub arguments: FieldTable,
    /// What its arguments and policies say together.
    pub settings: Arc<Settings>,
    pub policies: Applied,
    pub(super) bindings: HashSet<BindingId, foldhash::fast::RandomState>,
    /// Its messages; where there are priorities, those of the usual one.
    lane: Lane,
    /// Those of other priorities that have been used, the highest first.
    others: Vec<Lane>,
    /// What has come back to a quorum queue, which goes before everything else, in the order in which it came back.
    returned: VecDeque<Position>,
    /// How many messages wait for a consumer, in all lanes.
    ready: usize,
    unacked: usize,
    /// Octets of the bodies of ready messages and of those that wait to be ready again, and of unacknowledged ones.
    ready_bytes: u64,
    unacked_bytes: u64,
    /// Messages that clients have published here.
    pub published: u64,
    pub deliveries: Deliveries,
    /// Whether it is among those that have changed.
    pub(in crate::broker) touched: bool,
    /// When that was last looked at and something had.
    pub(in crate::broker) idle_since: Now,
    pub(super) consumers: Vec<ConsumerId>,
    pub(super) ring: Ring,
    pub(in crate::broker) exclusive_consumer: bool,
    /// The consumer that gets the messages, where only one does.
    pub(in crate::broker) active: Option<ConsumerId>,
    /// What its vhost keeps in mind of its log.
    pub(in crate::broker) storage: Noted,
    /// The connections whose `basic.get` waits for a message to be read from disk.
    pub(super) fetchers: Vec<ConnectionId>,
    /// The connections that publish here and wait until consumers have caught up.
    paced: Vec<ConnectionId>,
    /// How many times a message has been taken.
    takes: u64,
    /// Whether there may be messages that expire.
    pub(super) expiring: bool,
    /// Whether it is a classic queue that takes all messages as they come, which most queues are: the only thing that
    /// is looked at for each message, of all that may make a queue special.
    pub(super) plain: bool,
    former_ttls: FormerTtls,
    /// When it was used last, where that counts.
    pub(super) used_at: Now,
    pub(in crate::broker) alarms: Alarms,
    /// Messages that have died and are still in the log, as unacknowledged ones.
    pub(in crate::broker) dying: VecDeque<Dying>,
    /// Those of them that have to be kept until they are safe elsewhere.
    pub(in crate::broker) pending_dead: Option<Box<Pending>>,
    returns: Returns,
    /// What drops duplicates.
    pub(in crate::broker) filter: Option<Box<Filter>>,
    /// Whose keys its log holds, if that is what it is for.
    pub(in crate::broker) ledger_of: Option<End>,
    /// Messages that have come back and wait until they are ready again.
    put_off: PutOff,
    /// What it keeps in mind if it is the queue behind a delayed exchange.
    pub(in crate::broker) delays: Option<Box<Delays>>,
    /// What makes it a stream, if it is one.
    stream: Option<Box<Stream>>,
    /// Whether a quorum queue refuses messages since it was full.
    refusing: bool,
    /// How many messages are in memory, if not all are.
    #[cfg(test)]
    pub(super) warm: Option<usize>,
}

/// What a vhost keeps in mind of a queue's log (`broker/storage`).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::broker) struct Noted {
    /// It is among those to be gathered from.
    pub dirty: bool,
    /// It is among those that take memory.
    pub resident: bool,
    /// Somebody has put something in or taken something out lately.
    pub used: bool,
}

/// The next message of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub position: Position,
    pub redelivered: bool,
    /// Octets of its body.
    pub size: u32,
}

/// Why there is no next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is on disk, and has been asked for; [`Vhost::arrive`](super::Vhost::arrive) is going to bring it.
    Wait,
    Nothing,
}

impl Queue {
    /// An empty queue on an empty log.
    pub fn new(name: Name, durable: bool, owner: Option<ConnectionId>, auto_delete: bool, log: Log) -> Self {
        Self {
            name,
            durable,
            owner,
            auto_delete,
            creator: None,
            hidden: false,
            arguments: FieldTable::default(),
            settings: Settings::default().shared(),
            policies: Applied::default(),
            bindings: HashSet::default(),
            lane: Lane::new(0, 0, log),
            others: Vec::new(),
            returned: VecDeque::new(),
            ready: 0,
            unacked: 0,
            ready_bytes: 0,
            unacked_bytes: 0,
            published: 0,
            deliveries: Deliveries::default(),
            touched: false,
            idle_since: 0,
            consumers: Vec::new(),
            ring: Ring::default(),
            exclusive_consumer: false,
            active: None,
            storage: Noted::default(),
            fetchers: Vec::new(),
            paced: Vec::new(),
            takes: 0,
            expiring: false,
            plain: true,
            former_ttls: FormerTtls::default(),
            used_at: 0,
            alarms: Alarms::default(),
            dying: VecDeque::new(),
            pending_dead: None,
            returns: Returns::default(),
            filter: None,
            ledger_of: None,
            put_off: PutOff::new(),
            delays: None,
            stream: None,
            refusing: false,
            #[cfg(test)]
            warm: None,
        }
    }

    /// Says what it is declared to be. It has no messages yet.
    pub(in crate::broker) fn define(&mut self, settings: Settings, arguments: FieldTable) {
        self.filter = Filter::of_queue(settings.queue_type, &arguments);
        if settings.queue_type == QueueType::Stream {
            self.stream = Some(Box::default());
            self.lane.log.make_lasting(stream::lasting(&settings, &arguments));
        }
        (self.settings, self.arguments) = (settings.shared(), arguments);
        self.note_plain();
        self.lane.priority = self.default_priority();
    }

    /// What makes it special may have changed.
    pub(in crate::broker) fn note_plain(&mut self) {
        let Settings { queue_type, max_length, max_length_bytes, max_priority, .. } = &*self.settings;
        self.plain = *queue_type == QueueType::Classic
            && max_length.is_none()
            && max_length_bytes.is_none()
            && max_priority.is_none()
            && self.filter.is_none()
            && self.delays.is_none();
    }

    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// A stream and its log, if it is one.
    pub(in crate::broker) fn stream_parts(&mut self) -> Option<(&mut Stream, &mut Log)> {
        Some((self.stream.as_deref_mut()?, &mut self.lane.log))
    }

    /// How far those have got who read it, if it is a stream.
    pub(in crate::broker) fn tracking(&self) -> Option<&Tracking> {
        Some(&self.stream.as_deref()?.tracking)
    }

    /// Who publishes to it with numbers, if it is a stream.
    pub(in crate::broker) fn publishers(&self) -> Option<&Publishers> {
        Some(&self.stream.as_deref()?.publishers)
    }

    /// How far groups have got with a stream, and publishers with their numbers.
    pub fn stream_marks(&self) -> Option<(stream::Numbers, stream::Numbers)> {
        Some((self.tracking()?.all(), self.publishers()?.all()))
    }

    /// What there is to say of a stream.
    pub fn stream_figures(&self) -> Option<stream::Figures> {
        self.stream.as_deref().map(|stream| stream.figures(&self.lane.log))
    }

    /// Where a stream begins, and up to where it may be read.
    pub(in crate::broker) fn stream_ends(&self) -> Option<(Position, Position)> {
        self.stream.as_deref().map(|stream| stream.ends(&self.lane.log))
    }

    /// Messages that consumers may get: those that are ready, or all that a stream has.
    pub fn available(&self) -> usize {
        self.stream.as_deref().map_or(self.ready, |stream| stream.count(&self.lane.log))
    }

    /// Messages that wait for a consumer.
    pub fn ready(&self) -> usize {
        self.ready
    }

    pub fn is_empty(&self) -> bool {
        self.ready == 0
    }

    /// Messages delivered and not acknowledged.
    pub fn unacked(&self) -> usize {
        self.unacked
    }

    /// Octets of the bodies of ready messages.
    pub fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// The same of those that have been delivered and not been acknowledged.
    pub fn unacked_bytes(&self) -> u64 {
        self.unacked_bytes
    }

    /// How far its log goes, as a position in the lane that every queue has.
    pub fn log_end(&self) -> Position {
        self.lane.log.next()
    }

    /// Those that have come back to a quorum queue and are ready.
    pub(in crate::broker) fn returned_count(&self) -> usize {
        self.returned.len()
    }

    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Keeps a message that nobody takes now. `now` is in milliseconds since 1970, `marks` are those of
    /// [`dead_letter`](super::dead_letter). Returns its position, and whether it is to be on disk
    /// before its publisher may be told.
    #[inline]
    pub(super) fn push(&mut self, now: Now, marks: u8, message: &Message<'_>) -> (Position, bool) {
        self.ready_bytes += message.body.size() as u64;
        self.ready += 1;
        self.storage.used = true;
        self.note_expiring(message);
        // Only classic queues make a difference.
        let persistent = self.is_kept()
            && (self.settings.queue_type != QueueType::Classic
                || properties::is_persistent(message.properties));
        let lane = if self.plain { &mut self.lane } else { self.lane_for(message) };
        lane.note_push();
        let (position, kept) = lane.log.append_marked(now, persistent, marks, message);
        (lane.outside(position), kept)
    }

    /// Takes the next ready message. It is unacknowledged until it is settled or put back.
    pub(super) fn take_next(&mut self) -> Result<Next, Missing> {
        let (position, redelivered) = self.advance()?;
        Ok(self.taken(position, redelivered))
    }

    /// What has just been taken.
    fn taken(&mut self, position: Position, redelivered: bool) -> Next {
        let record = self.record(position);
        let size = record.map_or(0, |record| record.parts.body.size()) as u32;
        let redelivered = redelivered || record.is_some_and(|record| record.marks & REDELIVERED != 0);
        self.move_bytes(size);
        Next { position, redelivered, size }
    }

    /// Takes the message at one of the [heads](Self::head_of), if it is in memory.
    pub(super) fn take_of(&mut self, head: usize) -> Option<Next> {
        let (position, redelivered) = match self.lane_of_head(head) {
            Some(lane) => lane.advance(),
            None => self.advance_returned(),
        }
        .ok()?;
        self.note_taken();
        Some(self.taken(position, redelivered))
    }

    /// The same, with the message for `take` to look at.
    pub(super) fn take_next_with<R>(
        &mut self,
        take: impl FnOnce(&Next, &Message<'_>) -> R,
    ) -> Option<(Next, R)> {
        let (position, redelivered) = self.advance().ok()?;
        let Some(record) = self.record(position) else {
            debug_assert!(false, "what is next is in memory");
            self.unacked -= 1;
            return None;
        };
        let redelivered = redelivered || record.marks & REDELIVERED != 0;
        let next = Next { position, redelivered, size: record.parts.body.size() as u32 };
        let taken = self.shown(position, &record, |message| take(&next, message));
        self.move_bytes(next.size);
        Some((next, taken))
    }

    /// Goes on to the next ready message, which is unacknowledged then, or says why not.
    #[inline]
    fn advance(&mut self) -> Result<(Position, bool), Missing> {
        self.storage.used = true;
        let found = if self.plain { self.lane.advance()? } else { self.advance_first()? };
        self.note_taken();
        Ok(found)
    }

    /// Goes on in the lane of the highest priority, or with what has come back.
    fn advance_first(&mut self) -> Result<(Position, bool), Missing> {
        if self.returned.is_empty() { self.front_lane().advance() } else { self.advance_returned() }
    }

    /// Goes on to the first of those that have come back to a quorum queue.
    fn advance_returned(&mut self) -> Result<(Position, bool), Missing> {
        let position = self.returned.front().copied().ok_or(Missing::Nothing)?;
        if !self.fetch(position) {
            return Err(Missing::Wait);
        }
        self.returned.pop_front();
        Ok((position, true))
    }

    /// So many octets are no longer ready but unacknowledged.
    #[inline]
    fn move_bytes(&mut self, size: u32) {
        self.ready_bytes -= u64::from(size);
        self.unacked_bytes += u64::from(size);
    }

    fn note_taken(&mut self) {
        self.ready -= 1;
        self.unacked += 1;
        self.takes += 1;
    }

    /// Makes an unacknowledged message ready again: at its old place, or in a quorum queue before all others. `size` is
    /// that of its body in octets.
    pub(super) fn put_back(&mut self, position: Position, size: u32) {
        self.unacked -= 1;
        self.unacked_bytes -= u64::from(size);
        self.ready += 1;
        self.ready_bytes += u64::from(size);
        if self.settings.queue_type == QueueType::Quorum {
            self.returned.push_back(position);
        } else if let Some(lane) = self.lane_at_mut(position) {
            lane.put_back(position);
        }
    }

    /// An unacknowledged message is done with. `size` is that of its body in octets.
    pub(in crate::broker) fn settle(&mut self, position: Position, size: u32) {
        self.unacked -= 1;
        self.unacked_bytes -= u64::from(size);
        if self.plain {
            return self.lane.settle(position);
        }
        self.forget_returns(position);
        self.forget_key(position);
        if let Some(lane) = self.lane_at_mut(position) {
            lane.settle(position);
        }
    }

    /// Whether a message has come back to a quorum queue and goes before all others.
    pub(in crate::broker) fn has_returned(&self, position: Position) -> bool {
        self.returned.contains(&position)
    }

    /// Drops a message that is ready and can be removed from its log, wherever it is.
    pub(in crate::broker) fn drop_at(&mut self, position: Position) {
        let size = self.record(position).map_or(0, |record| record.parts.body.size());
        self.returned.retain(|other| *other != position);
        self.ready -= 1;
        self.ready_bytes -= size as u64;
        self.storage.used = true;
        self.forget_returns(position);
        self.forget_key(position);
        if let Some(lane) = self.lane_at_mut(position) {
            lane.drop_at(position);
        }
    }

    /// Drops every ready message and says how many there were.
    pub(super) fn purge(&mut self) -> usize {
        let count = std::mem::take(&mut self.ready) + self.drop_put_off();
        for position in std::mem::take(&mut self.returned) {
            self.forget_returns(position);
            self.forget_key(position);
            if let Some(lane) = self.lane_at_mut(position) {
                lane.settle(position);
            }
        }
        self.forget_ready_keys();
        self.lanes_mut().for_each(Lane::purge);
        self.ready_bytes = 0;
        count
    }

    /// What its log has read from disk. Returns how many ready messages turned out to be lost.
    pub(in crate::broker) fn arrive(&mut self, first: Position, data: crate::log::chunk::Data) -> usize {
        if self.delays.is_some() {
            return self.delayed_arrive(first, data);
        }
        if self.is_stream() {
            return self.lane.log.arrive(first, data).len();
        }
        let (mut returned, mut put_off) =
            (std::mem::take(&mut self.returned), std::mem::take(&mut self.put_off));
        let waiting = put_off.len();
        let lost = self.lane_at_mut(first).map_or_else(Vec::new, |lane| {
            lane.arrive(first, data, |position| {
                let at = returned.iter().position(|other| *other == position);
                at.is_some_and(|at| returned.remove(at).is_some()) || put_off::lose(&mut put_off, position)
            })
        });
        self.ready -= lost.len() - (waiting - put_off.len());
        (self.returned, self.put_off) = (returned, put_off);
        lost.iter().for_each(|position| self.forget_key(*position));
        if self.is_empty() {
            self.ready_bytes = 0;
        }
        lost.len()
    }
}
