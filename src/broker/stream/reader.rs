//! Consumers of streams: each has its own place, and gets what comes after it as long as it has credit.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::filter::Filter;
use super::groups::{Key, Member};
use super::offset::Start;
use super::tracking::Tracked;
use crate::broker::channel::Unacked;
use crate::broker::effects::{Delivery, Effects};
use crate::broker::exchange::arguments::type_name;
use crate::broker::overdue::stamp;
use crate::broker::post::Kept;
use crate::broker::queue::arguments::text as text_of;
use crate::broker::queue::consumer::{Consume, Consumer, Place};
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{ConsumerId, Name, Now, QueueId, text};
use crate::log::Position;
use crate::log::lasting::{Found, Run};
use crate::wire::content::Message;
use crate::wire::reply::Exception;

const GROUP: &str = "x-stream-group";
/// Messages that are looked at before others have their turn: other streams, and whoever else waits for the vhost.
const LOOKS_MAX: usize = 20_000;
/// So many looks are as much work as moving a message.
const LOOKS_A_MOVE: usize = 4;

/// What a consumer reads: one stream, or as a member of a group none, one or several.
#[derive(Debug, Default)]
pub struct Reading {
    pub readers: Vec<Reader>,
    pub member: Option<Member>,
}

/// Where a consumer of a stream is.
#[derive(Debug)]
pub struct Reader {
    pub stream: QueueId,
    /// The next offset to look at.
    pub next: Position,
    /// Messages from before this time are passed over.
    since: Option<Now>,
    filter: Option<Arc<Filter>>,
    /// What it has not acknowledged, if that is remembered.
    pub tracked: Option<Box<Tracked>>,
    /// Whether it is in one of the lists of its stream.
    listed: bool,
}

/// Why a consumer gets no more for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    /// It has to acknowledge something first.
    Full,
    /// Its connection's outbox is full.
    Stalled,
    /// It has read everything.
    AtEnd,
    /// What is next is being read from disk, at this position.
    Waiting(Position),
    /// Others have their turn.
    Enough,
}

/// What a consumer's turn came to.
struct Turn {
    halt: Halt,
    /// Where chunks begin that it has read to their ends.
    passed: Vec<Position>,
    /// Copies of what it was sent, if somebody wants to know.
    told: Vec<Kept>,
}

impl Reader {
    pub fn new(stream: QueueId, next: Position, since: Option<Now>, filter: Option<Arc<Filter>>) -> Self {
        Self { stream, next, since, filter, tracked: None, listed: false }
    }

    /// Whether it is to get nothing more, since somebody else is to read on.
    fn is_leaving(&self) -> bool {
        self.tracked.as_deref().is_some_and(|tracked| tracked.leaving)
    }

    /// It was to get nothing more, and gets more. It is in no list then.
    pub(super) fn stay(&mut self) {
        self.listed = false;
        if let Some(tracked) = &mut self.tracked {
            tracked.leaving = false;
        }
    }

    fn wants(&self, record_time: Now, message: &Message<'_>) -> bool {
        self.since.is_none_or(|since| record_time >= since)
            && self.filter.as_ref().is_none_or(|filter| filter.lets_in(message.properties))
    }
}

impl Vhost {
    /// What a new consumer of a stream reads, or of the partitions of a super stream; `None` if the queue is no stream.
    pub(in crate::broker) fn new_reading(
        &mut self,
        streams: &[QueueId],
        wanted: &Consume<'_>,
        described: &str,
    ) -> Result<Option<Box<Reading>>, Exception> {
        let now = self.clock;
        let Some(id) = streams.first().copied().filter(|id| self.queues[*id].is_stream()) else {
            return Ok(None);
        };
        let start = Start::of(&wanted.arguments, now, described)?;
        let filter = Filter::of(&wanted.arguments)?.map(Arc::new);
        let mut reading = Reading::default();
        if let Some(group) = group_of(&wanted.arguments, described)? {
            streams.iter().try_for_each(|stream| self.check_group(*stream, &group))?;
            let is_super = !self.queue_names.contains_key(wanted.queue);
            let key = Key { target: text(wanted.queue).into(), is_super, group };
            self.check_namesakes(&key, streams)?;
            reading.member = Some(Member { key, start, filter });
            return Ok(Some(Box::new(reading)));
        }
        let tracked = tag_of(wanted);
        if let Some(tag) = &tracked {
            self.check_group(id, tag)?;
        }
        let Some((stream, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return Ok(None);
        };
        let stored = tracked.as_ref().and_then(|tag| stream.tracking.get(tag));
        let usual = if tracked.is_some() { Start::First } else { Start::Next };
        let (next, since) = match stored {
            Some(stored) => (stored, None),
            None => start.unwrap_or(usual).locate(stream, log),
        };
        let reader = Reader::new(id, next, since, filter);
        reading.readers.push(Reader { tracked: tracked.map(|tag| Box::new(Tracked::new(tag))), ..reader });
        Ok(Some(Box::new(reading)))
    }

    /// A consumer of streams can take something. Returns its queue, which is to be dispatched.
    pub(in crate::broker) fn grow_hungry(&mut self, id: ConsumerId) -> Option<QueueId> {
        let Self { queues, consumers, due, .. } = self;
        let consumer = consumers.get_mut(id)?;
        consumer.place = Place::Reading;
        for reader in &mut consumer.reading.as_mut()?.readers {
            let parts = queues.get_mut(reader.stream).and_then(|queue| queue.stream_parts());
            if let Some((stream, _)) = parts.filter(|_| !reader.listed) {
                reader.listed = true;
                stream.hungry.push_back(id);
                due.push(reader.stream);
            }
        }
        Some(consumer.queue)
    }

    /// Gives those that can take something what there is for them, as much as one turn allows. Where that was not all the
    /// rest comes later, however often this is called.
    pub(in crate::broker) fn feed(&mut self, queue: QueueId, fx: &mut impl Effects) {
        let Some(found) = self.queues.get_mut(queue).filter(|q| q.alarms.get(Alarm::More).is_none()) else {
            return;
        };
        let turns = found.stream_parts().map_or(0, |(stream, _)| stream.hungry.len());
        let mut looks = LOOKS_MAX;
        for _ in 0..turns {
            if looks == 0 {
                self.set_alarm(queue, Alarm::More, Some(self.clock));
                break;
            }
            let next = self
                .queues
                .get_mut(queue)
                .and_then(|q| q.stream_parts())
                .and_then(|(s, _)| s.hungry.pop_front());
            let Some(id) = next else { break };
            let Some(turn) = self.feed_one(queue, id, &mut looks, fx) else { continue };
            self.end_turn(queue, id, turn);
        }
        self.work += ((LOOKS_MAX - looks) / LOOKS_A_MOVE) as u64;
        self.heed(queue);
    }

    /// Gives a consumer what comes next, as long as it has credit.
    fn feed_one(
        &mut self,
        queue_id: QueueId,
        id: ConsumerId,
        looks: &mut usize,
        fx: &mut impl Effects,
    ) -> Option<Turn> {
        let Self { queues, consumers, channels, clock, tracing, work, totals, .. } = self;
        let consumer = consumers.get_mut(id)?;
        let channel = channels.get_mut(consumer.channel)?;
        let queue = queues.get_mut(queue_id)?;
        queue.storage.used = true;
        let (stream, log) = queue.stream_parts()?;
        // It is put back below.
        let mut reading = consumer.reading.take()?;
        let Some(reader) = reading.reader_of(queue_id).filter(|reader| !reader.is_leaving()) else {
            consumer.reading = Some(reading);
            return None;
        };
        reader.listed = false;
        let mut turn = Turn { halt: Halt::Enough, passed: Vec::new(), told: Vec::new() };
        let mut sent = 0;
        while turn.halt == Halt::Enough && *looks > 0 {
            let wanted = reader.filter.as_deref().and_then(Filter::wanted);
            let run = match log.find(reader.next, wanted, looks) {
                Found::Here(from) if from < stream.committed => {
                    reader.next = from;
                    log.run(from)
                }
                Found::OnDisk(from) => {
                    reader.next = from;
                    turn.halt = Halt::Waiting(from);
                    break;
                }
                Found::Nothing(up_to) if up_to < stream.committed => {
                    reader.next = up_to;
                    break;
                }
                _ => None,
            };
            let Some(run) = run else {
                // What is in between is not wanted, and is not to be gone through again with each commit.
                reader.next = reader.next.max(stream.committed);
                turn.halt = Halt::AtEnd;
                break;
            };
            let end = run.end().min(stream.committed);
            while let Some(message) = next_wanted(reader, &run, end, looks) {
                if consumer.is_full() {
                    turn.halt = Halt::Full;
                    break;
                }
                if !fx.has_credit(consumer.connection) {
                    turn.halt = Halt::Stalled;
                    break;
                }
                let delivery_tag = channel.next_delivery_tag();
                let Consumer { connection, number, tag: consumer_tag, .. } = &*consumer;
                let (connection, channel_number) = (*connection, *number);
                let to = Delivery {
                    connection,
                    channel: channel_number,
                    consumer_tag,
                    delivery_tag,
                    redelivered: false,
                };
                fx.deliver(&to, &message);
                if *tracing {
                    turn.told.push(Kept::of(&message));
                }
                let (position, size) = (reader.next, message.body.size() as u32);
                (reader.next, reader.since) = (position + 1, None);
                if let Some(tracked) = &mut reader.tracked {
                    tracked.note_delivery(position);
                }
                consumer.unacked += 1;
                sent += 1;
                let (stamp, consumer) = (stamp(*clock), Some(id));
                let queue = queue_id;
                channel.unacked().push(Unacked {
                    delivery_tag,
                    queue,
                    position,
                    size,
                    late: false,
                    stamp,
                    consumer,
                });
            }
            if reader.next >= run.end() {
                turn.passed.push(run.first());
            }
        }
        reader.listed = matches!(turn.halt, Halt::AtEnd | Halt::Waiting(_) | Halt::Enough);
        consumer.reading = Some(reading);
        *work += sent;
        queue.deliveries.deliver += sent;
        channel.counts.deliveries.deliver += sent;
        totals.deliveries.deliver += sent;
        Some(turn)
    }

    /// Puts a consumer where it is found when it can take something again.
    fn end_turn(&mut self, queue: QueueId, id: ConsumerId, mut turn: Turn) {
        self.leave_behind(queue, id, &mut turn.passed);
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        let (connection, channel) = (consumer.connection, consumer.channel);
        let place = match turn.halt {
            Halt::Full => Place::Sated,
            Halt::Stalled => Place::Stalled,
            // Another stream of the same consumer may have more to say.
            Halt::AtEnd | Halt::Waiting(_) | Halt::Enough => consumer.place,
        };
        let before = std::mem::replace(&mut consumer.place, place);
        let now = self.clock;
        match (turn.halt, self.queues.get_mut(queue).and_then(|queue| queue.stream_parts())) {
            (Halt::AtEnd, Some((stream, _))) => stream.at_end.push(id),
            (Halt::Waiting(at), Some((stream, _))) => stream.waiting.push((at, id)),
            (Halt::Enough, Some((stream, _))) => {
                stream.hungry.push_back(id);
                self.set_alarm(queue, Alarm::More, Some(now));
            }
            (Halt::Stalled, _) if before != Place::Stalled => self.stall(id, connection),
            _ => {}
        }
        for kept in turn.told {
            self.trace_delivery(channel, queue, false, &kept.message());
        }
    }

    /// What only came into memory to be read leaves it, unless somebody else is about to read it.
    fn leave_behind(&mut self, id: QueueId, reader: ConsumerId, passed: &mut Vec<Position>) {
        let Some((_, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else { return };
        // Of what stays in any case nobody else needs to be asked; there may be many.
        passed.retain(|first| log.is_borrowed(*first));
        if passed.is_empty() {
            return;
        }
        let places = self.places(id, Some(reader));
        let Some((_, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else { return };
        let windows: Vec<_> = places.iter().map(|place| log.window(*place)).collect();
        for first in passed {
            let Some(end) = log.run(*first).map(|run| run.end()) else { continue };
            if !windows.iter().any(|window| window.start < end && *first < window.end) {
                log.leave_behind(*first);
            }
        }
    }

    /// Where the consumers of a stream are, but for one.
    pub(in crate::broker) fn places(&self, id: QueueId, but: Option<ConsumerId>) -> Vec<Position> {
        let consumers = self.queues.get(id).into_iter().flat_map(|queue| queue.consumers.iter());
        let others = consumers.filter(|id| Some(**id) != but);
        let readings = others.filter_map(|id| self.consumers.get(*id)?.reading.as_ref());
        let readers = readings.flat_map(|reading| &reading.readers).filter(|reader| reader.stream == id);
        readers.map(|reader| reader.next).collect()
    }

    /// What begins at a position has come from disk: those who wait for it go on.
    pub(in crate::broker) fn stream_arrived(&mut self, id: QueueId, first: Position) {
        if let Some((stream, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) {
            // If it is gone, whoever waited has to look anew.
            let end = log.run(first).map_or(Position::MAX, |run| run.end());
            stream.wake_waiting(first..end);
        }
    }
}

/// The next message of a run that a reader wants, which is at its place then.
#[inline]
fn next_wanted<'a>(
    reader: &mut Reader,
    run: &Run<'a>,
    end: Position,
    looks: &mut usize,
) -> Option<Message<'a>> {
    while reader.next < end && *looks > 0 {
        *looks -= 1;
        match run.get(reader.next) {
            Some(record) if reader.wants(record.timestamp, &record.parts) => return Some(record.parts),
            // Or it could not be read.
            _ => reader.next += 1,
        }
    }
    None
}

/// The group that a consumer asks to be in.
fn group_of(arguments: &FieldTable, described: &str) -> Result<Option<Name>, Exception> {
    let Some(value) = arguments.inner().get(GROUP) else { return Ok(None) };
    let invalid =
        |why: &str| Exception::precondition_failed(format!("invalid arg '{GROUP}' for {described}: {why}"));
    let name =
        text_of(value).ok_or_else(|| invalid(&format!("{{unacceptable_type,{}}}", type_name(value))))?;
    match std::str::from_utf8(name) {
        Ok(name) if (1..=255).contains(&name.len()) => Ok(Some(name.into())),
        _ => Err(invalid("a name has 1 to 255 octets of UTF-8")),
    }
}

/// The tag of a consumer whose acknowledgements are to be remembered by it. One that was made up says nothing.
fn tag_of(wanted: &Consume<'_>) -> Option<Name> {
    let asked =
        wanted.arguments.inner().get("x-stream-automatic-offset-tracking") == Some(&AMQPValue::Boolean(true));
    let tag = std::str::from_utf8(wanted.tag).ok().filter(|tag| asked && !tag.starts_with("amq.ctag-"))?;
    Some(tag.into())
}
