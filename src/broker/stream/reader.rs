//! Consumers of streams: each has its own place, and gets what comes after it as long as it has credit.

use amq_protocol::types::FieldTable;

use super::filter::Filter;
use super::offset::Start;
use crate::broker::channel::Unacked;
use crate::broker::effects::{Delivery, Effects};
use crate::broker::overdue::stamp;
use crate::broker::post::Kept;
use crate::broker::queue::consumer::{Consumer, Place};
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{ConsumerId, Now, QueueId};
use crate::log::lasting::Run;
use crate::log::{At, Position};
use crate::wire::content::Message;
use crate::wire::reply::Exception;

/// Messages that are looked at for one consumer before others have their turn.
const LOOKS_MAX: usize = 20_000;

/// Where a consumer of a stream is.
#[derive(Debug)]
pub struct Reader {
    /// The next offset to look at.
    pub next: Position,
    /// Messages from before this time are passed over.
    since: Option<Now>,
    filter: Option<Filter>,
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
    /// What is next is being read from disk.
    Waiting,
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
    fn wants(&self, record_time: Now, message: &Message<'_>) -> bool {
        self.since.is_none_or(|since| record_time >= since)
            && self.filter.as_ref().is_none_or(|filter| filter.lets_in(message.properties))
    }
}

impl Vhost {
    /// The place at which a new consumer of a stream begins; `None` if the queue is none.
    pub(in crate::broker) fn new_reader(
        &mut self,
        id: QueueId,
        arguments: &FieldTable,
        described: &str,
    ) -> Result<Option<Box<Reader>>, Exception> {
        let now = self.clock;
        let Some((stream, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return Ok(None);
        };
        let start = Start::of(arguments, now, described)?.unwrap_or(Start::Next);
        let (next, since) = start.locate(stream, log);
        Ok(Some(Box::new(Reader { next, since, filter: Filter::of(arguments)? })))
    }

    /// A consumer of a stream can take something. Returns its queue, which is to be dispatched.
    pub(in crate::broker) fn grow_hungry(&mut self, id: ConsumerId) -> Option<QueueId> {
        let consumer = self.consumers.get_mut(id)?;
        consumer.place = Place::Reading;
        let (stream, _) = self.queues.get_mut(consumer.queue)?.stream_parts()?;
        stream.hungry.push_back(id);
        Some(consumer.queue)
    }

    /// Gives those that can take something what there is for them.
    pub(in crate::broker) fn feed(&mut self, queue: QueueId, fx: &mut impl Effects) {
        let turns =
            self.queues.get_mut(queue).and_then(|q| q.stream_parts()).map_or(0, |(s, _)| s.hungry.len());
        for _ in 0..turns {
            let next = self
                .queues
                .get_mut(queue)
                .and_then(|q| q.stream_parts())
                .and_then(|(s, _)| s.hungry.pop_front());
            let Some(id) = next else { break };
            let Some(turn) = self.feed_one(queue, id, fx) else { continue };
            self.end_turn(queue, id, turn);
        }
        self.heed(queue);
    }

    /// Gives a consumer what comes next, as long as it has credit.
    fn feed_one(&mut self, queue_id: QueueId, id: ConsumerId, fx: &mut impl Effects) -> Option<Turn> {
        let Self { queues, consumers, channels, clock, tracing, work, totals, .. } = self;
        let consumer = consumers.get_mut(id)?;
        let channel = channels.get_mut(consumer.channel)?;
        let queue = queues.get_mut(queue_id)?;
        queue.storage.used = true;
        let (stream, log) = queue.stream_parts()?;
        let mut reader = consumer.reader.take()?;
        let mut turn = Turn { halt: Halt::Enough, passed: Vec::new(), told: Vec::new() };
        let (mut looks, mut sent) = (LOOKS_MAX, 0);
        while turn.halt == Halt::Enough && looks > 0 {
            let wanted = reader.filter.as_ref().map(|filter| &filter.wanted);
            let run = match log.find(reader.next, wanted) {
                At::Here(from) if from < stream.committed => {
                    reader.next = from;
                    log.run(from)
                }
                At::OnDisk => {
                    turn.halt = Halt::Waiting;
                    break;
                }
                _ => None,
            };
            let Some(run) = run else {
                turn.halt = Halt::AtEnd;
                break;
            };
            let end = run.end().min(stream.committed);
            while let Some(message) = next_wanted(&mut reader, &run, end, &mut looks) {
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
        consumer.reader = Some(reader);
        *work += sent;
        queue.deliveries.deliver += sent;
        channel.counts.deliveries.deliver += sent;
        totals.deliveries.deliver += sent;
        Some(turn)
    }

    /// Puts a consumer where it is found when it can take something again.
    fn end_turn(&mut self, queue: QueueId, id: ConsumerId, turn: Turn) {
        self.leave_behind(queue, id, &turn.passed);
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        let (connection, channel) = (consumer.connection, consumer.channel);
        consumer.place = match turn.halt {
            Halt::Full => Place::Sated,
            Halt::Stalled => Place::Stalled,
            Halt::AtEnd | Halt::Waiting | Halt::Enough => Place::Reading,
        };
        let now = self.clock;
        match (turn.halt, self.queues.get_mut(queue).and_then(|queue| queue.stream_parts())) {
            (Halt::AtEnd, Some((stream, _))) => stream.at_end.push(id),
            (Halt::Waiting, Some((stream, _))) => stream.waiting.push(id),
            (Halt::Enough, Some((stream, _))) => {
                stream.hungry.push_back(id);
                self.set_alarm(queue, Alarm::More, Some(now));
            }
            (Halt::Stalled, _) => self.stall(id, connection),
            _ => {}
        }
        for kept in turn.told {
            self.trace_delivery(channel, queue, false, &kept.message());
        }
    }

    /// What only came into memory to be read leaves it, unless somebody else is about to read it.
    fn leave_behind(&mut self, id: QueueId, reader: ConsumerId, passed: &[Position]) {
        if passed.is_empty() {
            return;
        }
        let places = self.places(id, Some(reader));
        let Some((_, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else { return };
        for first in passed {
            if !places.iter().any(|place| log.window(*place).contains(first)) {
                log.leave_behind(*first);
            }
        }
    }

    /// Where the consumers of a stream are, but for one.
    fn places(&self, id: QueueId, but: Option<ConsumerId>) -> Vec<Position> {
        let consumers = self.queues.get(id).into_iter().flat_map(|queue| queue.consumers.iter());
        let others = consumers.filter(|id| Some(**id) != but);
        others.filter_map(|id| Some(self.consumers.get(*id)?.reader.as_ref()?.next)).collect()
    }

    /// The stretches of a stream that are to stay in memory.
    pub(in crate::broker) fn windows(&mut self, id: QueueId) -> Vec<std::ops::Range<Position>> {
        let places = self.places(id, None);
        let Some((_, log)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) else {
            return Vec::new();
        };
        let mut windows: Vec<_> = places.into_iter().map(|place| log.window(place)).collect();
        windows.push(log.tail());
        windows
    }

    /// What was asked for has come from disk.
    pub(in crate::broker) fn stream_arrived(&mut self, id: QueueId) {
        if let Some((stream, _)) = self.queues.get_mut(id).and_then(|queue| queue.stream_parts()) {
            stream.wake_waiting();
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
