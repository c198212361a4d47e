//! What there is to see of a vhost: queues, exchanges, channels and consumers as they are at a moment, copied so that the
//! vhost is free while something is made of it.
//!
//! Whoever wants all of a kind asks for the ids first and then for some of them at a time, since there may be very many.
//!
//! - this file: exchanges, channels and consumers
//! - [`queue`][]: queues

pub mod queue;

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use super::channel::Manner;
use super::counts::{Counts, Passed, Publishes};
use super::exchange::{Exchange, Kind};
use super::policy::Policy;
use super::queue::arguments::QueueType;
use super::queue::consumer::Place;
use super::queue::{Consumer, Queue};
use super::trace::Who;
use super::vhost::Vhost;
use super::{ChannelId, ConnectionId, ConsumerId, ExchangeId, Name, QueueId};
pub use queue::QueueLook;

/// Milliseconds that a delivery may take where nobody says another number.
pub const TIMEOUT: u64 = 1_800_000;

#[derive(Clone, Debug)]
pub struct ExchangeLook {
    pub id: ExchangeId,
    pub name: Name,
    pub kind: Kind,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    pub passed: Passed,
    pub publishes: Publishes,
    pub duplicates: Option<u64>,
    /// How many messages wait there, if it delays any.
    pub delayed: Option<usize>,
    pub policy: Option<Arc<Policy>>,
    /// Who has declared it, as far as that is known.
    pub creator: Option<Name>,
}

#[derive(Clone, Debug)]
pub struct ChannelLook {
    pub id: ChannelId,
    pub connection: ConnectionId,
    pub number: u16,
    pub who: Who,
    pub counts: Counts,
    pub manner: Manner,
    pub unacknowledged: usize,
    pub prefetch: u16,
    /// The limit for all consumers together, where there may be one.
    pub window: Option<u16>,
    pub consumers: usize,
}

#[derive(Clone, Debug)]
pub struct ConsumerLook {
    pub queue: Name,
    pub who: Who,
    /// The channel's number on its connection.
    pub number: u16,
    pub tag: Box<[u8]>,
    pub no_ack: bool,
    pub exclusive: bool,
    pub prefetch: u16,
    /// Milliseconds that a delivery may take.
    pub timeout: u64,
    pub arguments: FieldTable,
    pub activity: Activity,
}

/// What a consumer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Up,
    /// Its prefetch count is reached.
    Blocked,
    SingleActive,
    /// Another one is the active one.
    Waiting,
}

impl Activity {
    /// As RabbitMQ names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Blocked => "blocked",
            Self::SingleActive => "single_active",
            Self::Waiting => "waiting",
        }
    }
}

impl Vhost {
    pub fn look_at_exchange(&self, id: ExchangeId) -> Option<ExchangeLook> {
        let exchange = self.exchanges.get(id)?;
        let Exchange { name, kind, durable, auto_delete, internal, .. } = exchange;
        Some(ExchangeLook {
            id,
            name: Name::clone(name),
            kind: *kind,
            durable: *durable,
            auto_delete: *auto_delete,
            internal: *internal,
            arguments: exchange.arguments.clone(),
            passed: exchange.passed,
            publishes: exchange.publishes,
            duplicates: exchange.duplicates(),
            delayed: self.delayed(name.as_bytes()),
            policy: exchange.policy.clone(),
            creator: exchange.creator.clone(),
        })
    }

    /// All channels of a connection, by number.
    pub fn channel_ids(&self, connection: ConnectionId) -> Vec<ChannelId> {
        let Some(found) = self.connections.get(connection) else { return Vec::new() };
        let mut ids: Vec<_> = found.channels.iter().copied().collect();
        ids.sort_unstable_by_key(|id| self.channels.get(*id).map(|channel| channel.number));
        ids
    }

    pub fn look_at_channel(&self, id: ChannelId) -> Option<ChannelLook> {
        let channel = self.channels.get(id)?;
        Some(ChannelLook {
            id,
            connection: channel.connection,
            number: channel.number,
            who: self.who(channel.connection),
            counts: channel.counts,
            manner: channel.manner,
            unacknowledged: channel.unacknowledged(),
            prefetch: channel.prefetch,
            window: self.compatibility.has_channel_window().then(|| channel.window_limit()),
            consumers: channel.consumers.len(),
        })
    }

    /// All consumers, in no order.
    pub fn consumer_ids(&self) -> Vec<ConsumerId> {
        self.consumers.keys().collect()
    }

    /// Those of a queue, in the order in which they came.
    pub fn consumers_of_queue(&self, id: QueueId) -> Vec<ConsumerLook> {
        let ids = self.queues.get(id).map(|queue| &*queue.consumers).unwrap_or_default();
        ids.iter().filter_map(|consumer| self.look_at_consumer_of(*consumer, id)).collect()
    }

    /// Those of a channel, by tag.
    pub fn consumers_of_channel(&self, id: ChannelId) -> Vec<ConsumerLook> {
        let ids = self.channels.get(id).into_iter().flat_map(|channel| channel.consumers.values());
        let mut found: Vec<_> = ids.filter_map(|id| self.look_at_consumer(*id)).collect();
        found.sort_unstable_by(|a, b| a.tag.cmp(&b.tag));
        found
    }

    /// A consumer, unless it is that of somebody's replies. One that shares a super stream with others is shown with the
    /// first partition that it reads.
    pub fn look_at_consumer(&self, id: ConsumerId) -> Option<ConsumerLook> {
        let consumer = self.consumers.get(id)?;
        let read = consumer.reading.as_ref().and_then(|reading| reading.readers.first());
        self.look_at_consumer_of(id, read.map_or(consumer.queue, |reader| reader.stream))
    }

    /// The same with one of the queues that it is on.
    fn look_at_consumer_of(&self, id: ConsumerId, on: QueueId) -> Option<ConsumerLook> {
        let consumer = self.consumers.get(id)?;
        let queue = self.queues.get(on).filter(|queue| !queue.hidden)?;
        let own = consumer.arguments.inner().get("x-consumer-timeout");
        let own = own.and_then(super::exchange::arguments::integer).and_then(|own| u64::try_from(own).ok());
        Some(ConsumerLook {
            queue: Name::clone(&queue.name),
            who: self.who(consumer.connection),
            number: consumer.number,
            tag: consumer.tag.clone(),
            no_ack: consumer.no_ack,
            exclusive: consumer.exclusive,
            prefetch: consumer.prefetch,
            timeout: own.or(queue.settings.consumer_timeout).unwrap_or(TIMEOUT),
            arguments: consumer.arguments.clone(),
            activity: activity(id, consumer, (on, queue)),
        })
    }

    fn who(&self, id: ConnectionId) -> Who {
        self.connections.get(id).and_then(|connection| connection.who.clone()).unwrap_or_default()
    }
}

fn activity(id: ConsumerId, consumer: &Consumer, (on, queue): (QueueId, &Queue)) -> Activity {
    let of_group = consumer.reading.as_ref().filter(|reading| reading.member.is_some());
    if let Some(reading) = of_group {
        let reads = reading.readers.iter().any(|reader| reader.stream == on);
        return if reads { Activity::SingleActive } else { Activity::Waiting };
    }
    if queue.settings.single_active_consumer {
        return if queue.active == Some(id) { Activity::SingleActive } else { Activity::Waiting };
    }
    // Quorum queues tell nothing of prefetch counts.
    if consumer.place == Place::Full && queue.settings.queue_type == QueueType::Classic {
        return Activity::Blocked;
    }
    Activity::Up
}
