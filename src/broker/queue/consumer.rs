//! Consumers: who they are, how they come and go.

use amq_protocol::types::FieldTable;

use super::arguments::QueueType;
use super::ring::Ring;
use crate::broker::channel::{Channel, Unacked};
use crate::broker::effects::Effects;
use crate::broker::exchange::arguments::{integer, type_name};
use crate::broker::stream::reader::Reading;
use crate::broker::vhost::Vhost;
use crate::broker::{ChannelId, ConnectionId, ConsumerId, QueueId, text};
use crate::wire::reply::Exception;

/// What consumers of quorum queues get at once that set no limit themselves.
const QUORUM_PREFETCH: u16 = 2000;

#[derive(Debug)]
pub struct Consumer {
    pub connection: ConnectionId,
    pub channel: ChannelId,
    /// The channel's number on its connection.
    pub number: u16,
    pub queue: QueueId,
    pub tag: Box<[u8]>,
    pub no_ack: bool,
    pub exclusive: bool,
    pub priority: i64,
    /// How many deliveries may be unacknowledged; 0 is no limit.
    pub prefetch: u16,
    /// How many deliveries really may be.
    limit: u16,
    pub arguments: FieldTable,
    /// Milliseconds that a delivery may take, if there is a limit.
    pub(in crate::broker) timeout: Option<u64>,
    pub(in crate::broker) unacked: usize,
    /// Deliveries that it has been late with and has not settled since.
    pub(in crate::broker) late: usize,
    pub(in crate::broker) place: Place,
    /// Its places in streams, if it reads any.
    pub(in crate::broker) reading: Option<Box<Reading>>,
}

/// Where a consumer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Place {
    /// In its queue's ring: it can take a message.
    Ring,
    /// Its prefetch count is reached; an acknowledgement brings it back.
    Full,
    /// Its connection's outbox is full; [`Vhost::resume`] brings it back.
    Stalled,
    /// Its channel's window is full ([`window`](crate::broker::window)); what is settled there brings it back.
    Shut,
    /// Another consumer is the active one of its queue ([`single`](super::single)).
    Waiting,
    /// It has not acknowledged something in time ([`overdue`](crate::broker::overdue)).
    Late,
    /// The active one, which waits for its deliveries to be settled and is to make place for another then.
    Quiescing,
    /// It reads a stream ([`stream`](crate::broker::stream)), and gets something when there is something for it.
    Reading,
    /// The same, and its prefetch count is reached.
    Sated,
}

impl Consumer {
    pub(in crate::broker) fn is_full(&self) -> bool {
        self.limit != 0 && self.unacked >= usize::from(self.limit)
    }

    /// Notes a delivery to it, which was in front of its queue's ring, and ends its turn.
    pub(super) fn await_ack(&mut self, delivery: Unacked, channel: &mut Channel, ring: &mut Ring) {
        self.unacked += 1;
        channel.unacked().push(delivery);
        if let Some(window) = &mut channel.window {
            window.note_delivery();
        }
        if self.is_full() {
            self.place = Place::Full;
            ring.pop();
        } else {
            ring.rotate();
        }
    }
}

/// What `basic.consume` asks for, the tag made up already.
#[derive(Debug)]
pub struct Consume<'a> {
    pub queue: &'a [u8],
    pub tag: &'a [u8],
    pub no_ack: bool,
    pub exclusive: bool,
    pub arguments: FieldTable,
}

impl Vhost {
    /// Adds a consumer. It gets nothing before [`start_consumer`](Self::start_consumer), so that the caller can
    /// answer `consume-ok` first.
    pub fn consume(&mut self, channel: ChannelId, wanted: Consume<'_>) -> Result<ConsumerId, Exception> {
        let Some(on) = self.channels.get(channel) else {
            return Err(Exception::internal_error(""));
        };
        let (connection, number, prefetch) = (on.connection, on.number, on.prefetch);
        self.check_consumer_tag(channel, wanted.tag)?;
        let streams = self.consumed(&wanted)?;
        let queue = streams[0];
        self.check_not_locked(queue, Some(connection))?;
        self.check_consumable(queue, channel, &wanted)?;
        let described = self.describe("queue", wanted.queue);
        let reading = self.new_reading(&streams, &wanted, &described)?;
        let priority = wanted.arguments.inner().get("x-priority").and_then(integer).unwrap_or(0);
        let kind = self.queues[queue].settings.queue_type;
        let own = wanted.arguments.inner().get("x-consumer-timeout").and_then(integer);
        let own = own.and_then(|timeout| u64::try_from(timeout).ok());
        let timeout = self.queues[queue].timeout(own, self.consumer_timeout);
        let Consume { tag, no_ack, exclusive, arguments, .. } = wanted;
        // Only classic queues have exclusive consumers.
        let exclusive = exclusive && kind == QueueType::Classic;
        let id = self.consumers.insert(Consumer {
            connection,
            channel,
            number,
            queue,
            tag: tag.into(),
            no_ack,
            exclusive,
            priority,
            prefetch,
            limit: limit(kind, no_ack, prefetch),
            arguments,
            timeout: if no_ack { None } else { timeout },
            unacked: 0,
            late: 0,
            place: Place::Full,
            reading,
        });
        self.channels[channel].consumers.insert(tag.into(), id);
        for queue in &streams {
            self.queues[*queue].consumers.push(id);
        }
        self.join_group(id, &streams);
        self.queues[queue].exclusive_consumer |= exclusive;
        self.consumer_created(id);
        Ok(id)
    }

    /// The queue that is to be consumed; or the partitions of a super stream, of which there is one at least.
    fn consumed(&self, wanted: &Consume<'_>) -> Result<Vec<QueueId>, Exception> {
        match self.queue_id(wanted.queue) {
            Ok(queue) => Ok(vec![queue]),
            Err(none) if wanted.arguments.contains_key("x-stream-group") => {
                Some(self.partitions(wanted.queue)).filter(|partitions| !partitions.is_empty()).ok_or(none)
            }
            Err(none) => Err(none),
        }
    }

    /// Refuses a tag that the channel uses already.
    pub fn check_consumer_tag(&self, channel: ChannelId, tag: &[u8]) -> Result<(), Exception> {
        if self.channels.get(channel).is_some_and(|on| on.consumers.contains_key(tag)) {
            let text = format!("attempt to reuse consumer tag '{}'", text(tag));
            return Err(Exception::not_allowed(text));
        }
        Ok(())
    }

    fn check_consumable(
        &self,
        queue: QueueId,
        channel: ChannelId,
        wanted: &Consume<'_>,
    ) -> Result<(), Exception> {
        let found = &self.queues[queue];
        let described = self.describe("queue", wanted.queue);
        let windowed = self.channels.get(channel).is_some_and(Channel::has_window);
        if found.settings.queue_type == QueueType::Stream {
            if self.channels.get(channel).is_some_and(|on| on.prefetch == 0) {
                let text = format!("consumer prefetch count is not set for stream {described}");
                return Err(Exception::precondition_failed(text));
            }
            if wanted.no_ack {
                let text = format!("automatic acknowledgement not supported by stream {described}");
                return Err(Exception::not_implemented(text));
            }
        }
        if windowed && found.settings.queue_type != QueueType::Classic {
            return Err(Exception::not_implemented(format!("{described} does not support global qos")));
        }
        check_arguments(&wanted.arguments, found.settings.queue_type, &described)?;
        let single = found.settings.single_active_consumer;
        // The other types know no exclusive consumers, and let whoever asks to be one be one of many.
        let exclusive = wanted.exclusive && found.settings.queue_type == QueueType::Classic;
        let in_use = found.exclusive_consumer || (exclusive && (single || !found.consumers.is_empty()));
        if in_use {
            return Err(Exception::access_refused(format!("{described} in exclusive use")));
        }
        Ok(())
    }

    /// Lets a new consumer take its first turns.
    pub fn start_consumer(&mut self, id: ConsumerId, fx: &mut impl Effects) {
        if let Some(queue) = self.rejoin(id) {
            self.dispatch(queue, fx);
        }
    }

    /// A consumer that has been out of everything takes part. Returns its queue, which is to be dispatched.
    pub(in crate::broker) fn rejoin(&mut self, id: ConsumerId) -> Option<QueueId> {
        let queue = self.consumers.get(id)?.queue;
        if self.queues.get(queue)?.settings.single_active_consumer {
            self.line_up(id);
            return Some(queue);
        }
        self.take_place(id)
    }

    /// Cancels a consumer of a channel; one that is not there is as good as cancelled. If another one becomes active for
    /// it, what that gets is sent by [`dispatch_due`](Self::dispatch_due), which has to follow; so that the caller can
    /// answer `cancel-ok` first.
    pub fn cancel(&mut self, channel: ChannelId, tag: &[u8], fx: &mut impl Effects) {
        let Some(id) = self.channels.get(channel).and_then(|c| c.consumers.get(tag)).copied() else {
            return;
        };
        self.consumer_deleted(id);
        for queue in self.detach_consumers(&[id]) {
            self.delete_if_deserted(queue, fx);
            self.due.push(queue);
        }
    }

    /// Takes consumers out of everything that knows them, and says which queues they were on, which are to be
    /// dispatched. What they have not acknowledged stays their channels'.
    pub(in crate::broker) fn detach_consumers(&mut self, ids: &[ConsumerId]) -> Vec<QueueId> {
        let mut queues = Vec::new();
        self.leave_groups(ids);
        for id in ids {
            let Some(consumer) = self.consumers.remove(*id) else { continue };
            if let Some(channel) = self.channels.get_mut(consumer.channel) {
                channel.consumers.remove(&consumer.tag);
                if let Some(window) = &mut channel.window {
                    window.forget(*id);
                }
            }
            if let Some(queue) = self.queues.get_mut(consumer.queue) {
                queue.exclusive_consumer &= !consumer.exclusive;
            }
            queues.push(consumer.queue);
        }
        queues.sort_unstable();
        queues.dedup();
        let Self { queues: all, consumers, .. } = self;
        for id in &queues {
            if let Some(queue) = all.get_mut(*id) {
                queue.consumers.retain(|id| consumers.contains_key(*id));
                queue.ring.retain(|id| consumers.contains_key(id));
                if let Some((stream, _)) = queue.stream_parts() {
                    stream.forget(|id| consumers.contains_key(id));
                }
                queue.active = queue.active.filter(|id| consumers.contains_key(*id));
            }
        }
        for id in &queues {
            if self.queues.get(*id).is_some_and(|queue| queue.settings.single_active_consumer) {
                self.activate_next(*id);
            }
        }
        queues.iter().for_each(|id| self.note_use(*id));
        queues
    }

    pub fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        self.consumers.get(id)
    }
}

/// How many deliveries a consumer may have that are not acknowledged. Quorum queues do not go without a limit.
fn limit(kind: QueueType, no_ack: bool, prefetch: u16) -> u16 {
    match (no_ack, prefetch) {
        (true, _) => 0,
        (false, 0) if kind == QueueType::Quorum => QUORUM_PREFETCH,
        (false, prefetch) => prefetch,
    }
}

/// Refuses the arguments that RabbitMQ refuses, with its texts. Unknown ones are fine.
fn check_arguments(arguments: &FieldTable, kind: QueueType, described: &str) -> Result<(), Exception> {
    use QueueType::{Classic, Quorum, Stream};
    let known: [(&str, &[QueueType]); 5] = [
        ("x-priority", &[Classic, Quorum]),
        ("x-stream-offset", &[Stream]),
        ("x-stream-filter", &[Stream]),
        ("x-stream-match-unfiltered", &[Stream]),
        ("x-consumer-timeout", &[Quorum]),
    ];
    for (key, supported) in known {
        let Some(value) = arguments.inner().get(key) else { continue };
        let refuse = |why: &str| {
            Err(Exception::precondition_failed(format!("invalid arg '{key}' for {described}{why}")))
        };
        if !supported.contains(&kind) {
            return refuse(&format!(" of queue type {}", kind.module()));
        }
        match integer(value) {
            None if !key.starts_with("x-stream-") => {
                return refuse(&format!(": \"expected integer, got {}\"", type_name(value)));
            }
            Some(number) if key == "x-consumer-timeout" && number < 0 => {
                return refuse(&format!(": {{value_negative,{number}}}"));
            }
            _ => {}
        }
    }
    Ok(())
}
