//! Queues, as there is to see of them.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::broker::counts::Deliveries;
use crate::broker::policy::book::Applied;
use crate::broker::queue::Queue;
use crate::broker::queue::arguments::{QueueType, Settings};
use crate::broker::stream::Figures;
use crate::broker::trace::Who;
use crate::broker::vhost::Vhost;
use crate::broker::{Name, Now, QueueId};
use crate::wire::properties::{self, TIMESTAMP};

#[derive(Clone, Debug)]
pub struct QueueLook {
    pub id: QueueId,
    pub name: Name,
    /// What its arguments and policies say together.
    pub settings: Arc<Settings>,
    pub durable: bool,
    pub auto_delete: bool,
    /// Who has declared it, as far as that is known.
    pub creator: Option<Name>,
    /// The connection whose own it is, if it is exclusive.
    pub owner: Option<Who>,
    /// As they were declared.
    pub arguments: FieldTable,
    pub policies: Applied,
    pub ready: usize,
    pub unacknowledged: usize,
    /// Those that have come back and wait to be ready again.
    pub delayed: usize,
    /// Those among the ready that have come back to a quorum queue.
    pub returned: usize,
    /// Dead letters that are not safe elsewhere yet, and the octets of their bodies.
    pub dead: (usize, u64),
    /// Octets of bodies: of those that are ready or delayed, and of the unacknowledged.
    pub ready_bytes: u64,
    pub unacknowledged_bytes: u64,
    /// Octets that it takes in memory, its messages included.
    pub memory: usize,
    /// Messages that are in memory, ready and others.
    pub in_memory: usize,
    /// By their priorities, of a quorum queue: how many are ready, where there are any.
    pub priorities: Vec<(u8, usize)>,
    pub consumers: usize,
    /// Whether one of its consumers could take a message at once.
    pub has_room: bool,
    /// The tag of the active consumer, where only one is, and of an exclusive one.
    pub active_tag: Option<Box<[u8]>>,
    pub exclusive_tag: Option<Box<[u8]>>,
    /// What clients have published here.
    pub published: u64,
    pub deliveries: Deliveries,
    /// The time in the properties of the message at its head, in seconds since 1970.
    pub head_timestamp: Option<u64>,
    /// Since when nothing has happened to it, if nothing has since somebody looked.
    pub idle_since: Option<Now>,
    /// How many duplicates it has dropped, if it does that.
    pub duplicates: Option<u64>,
    /// What there is of a stream only.
    pub stream: Option<Figures>,
    /// Files of its messages.
    pub segments: usize,
}

/// What of a queue's messages is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    pub messages: usize,
    pub ready: usize,
    pub unacknowledged: usize,
    /// Octets of bodies.
    pub bytes: u64,
}

/// How many messages of a stream those who read it have before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    /// The consumer with the most of them, if there is one: messages that it has not been given.
    pub consumers: Option<u64>,
    /// Each group, be anybody there or not: messages that it has not acknowledged.
    pub groups: Vec<(Name, u64)>,
}

impl QueueLook {
    /// All messages in it.
    pub fn messages(&self) -> usize {
        self.ready + self.unacknowledged + self.delayed
    }

    pub fn bytes(&self) -> u64 {
        self.ready_bytes + self.unacknowledged_bytes
    }

    pub fn queue_type(&self) -> QueueType {
        self.settings.queue_type
    }

    /// As many of those ready are in memory as of the others, and of octets as of messages, as far as anybody knows.
    pub fn resident(&self) -> Resident {
        let (all, bytes) = (self.messages(), self.bytes());
        let messages = self.in_memory.min(all);
        let ready = messages.saturating_sub(self.unacknowledged).min(self.ready);
        let share = u128::from(bytes) * messages as u128 / all.max(1) as u128;
        // No more than all of them.
        let share = u64::try_from(share).unwrap_or(bytes);
        Resident { messages, ready, unacknowledged: messages - ready, bytes: share }
    }
}

impl Vhost {
    /// The queue of a name.
    pub fn queue_named(&self, name: &[u8]) -> Option<QueueId> {
        self.queue_names.get(name).copied()
    }

    /// How many messages a queue has in all, ready and unacknowledged, unless nobody is to see it.
    pub fn lengths(&self, id: QueueId) -> Option<(u64, u64, u64)> {
        let queue = self.queues.get(id).filter(|queue| !queue.hidden)?;
        let (ready, unacknowledged) = (queue.available() as u64, queue.unacked() as u64);
        Some((ready + unacknowledged + queue.put_off_count() as u64, ready, unacknowledged))
    }

    /// A queue, unless nobody is to see it.
    pub fn look_at_queue(&self, id: QueueId) -> Option<QueueLook> {
        let queue = self.queues.get(id).filter(|queue| !queue.hidden)?;
        let tag = |consumer| self.consumer(consumer).map(|consumer| consumer.tag.clone());
        let exclusive = queue.consumers.first().copied().filter(|_| queue.exclusive_consumer);
        let owner = queue.owner.and_then(|owner| self.connections.get(owner));
        Some(QueueLook {
            id,
            name: Name::clone(&queue.name),
            settings: Arc::clone(&queue.settings),
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            creator: queue.creator.clone(),
            owner: queue.owner.map(|_| owner.and_then(|owner| owner.who.clone()).unwrap_or_default()),
            arguments: queue.arguments.clone(),
            policies: queue.policies.clone(),
            ready: queue.available(),
            unacknowledged: queue.unacked(),
            delayed: queue.put_off_count(),
            returned: queue.returned_count(),
            dead: queue.pending_dead.as_ref().map_or((0, 0), |pending| pending.waiting()),
            ready_bytes: queue.ready_bytes(),
            unacknowledged_bytes: queue.unacked_bytes(),
            memory: size_of::<Queue>() + queue.resident(),
            in_memory: queue.in_memory(),
            priorities: if queue.settings.queue_type == QueueType::Quorum {
                queue.priorities()
            } else {
                Vec::new()
            },
            consumers: queue.consumer_count(),
            has_room: !queue.ring.is_empty(),
            active_tag: queue.active.and_then(tag),
            exclusive_tag: exclusive.and_then(tag),
            published: queue.published,
            deliveries: queue.deliveries,
            head_timestamp: queue.head_timestamp(),
            idle_since: Some(queue.idle_since).filter(|_| !queue.touched),
            duplicates: queue.duplicates(),
            stream: queue.stream_figures(),
            segments: queue.lanes().map(|lane| lane.log.segment_count()).sum(),
        })
    }
}

impl Vhost {
    /// How far those who read a stream are behind what may be read.
    pub fn stream_lags(&self, id: QueueId) -> Option<Lags> {
        let queue = self.queues.get(id)?;
        let figures = queue.stream_figures()?;
        let behind = |next: u64| figures.committed.saturating_sub(next.max(figures.first));
        let groups = queue.tracking().map(|tracking| tracking.all()).unwrap_or_default();
        Some(Lags {
            consumers: self.places(id, None).into_iter().map(behind).max(),
            groups: groups.into_iter().map(|(group, next)| (group, behind(next))).collect(),
        })
    }
}

impl Queue {
    /// How many messages are in memory, be they ready or not.
    fn in_memory(&self) -> usize {
        self.lanes().map(|lane| lane.log.resident_records()).sum()
    }

    /// How many messages are ready by their priorities, the lowest first, where there are any.
    fn priorities(&self) -> Vec<(u8, usize)> {
        let ready = self.lanes().map(|lane| (lane.priority, lane.ready())).filter(|(_, ready)| *ready > 0);
        let mut found: Vec<_> = ready.collect();
        found.sort_unstable();
        found
    }

    /// The time in the properties of the first message that is ready; of the first there is, if none is. Only of what is
    /// in memory.
    fn head_timestamp(&self) -> Option<u64> {
        let front = self.lanes().filter(|lane| !lane.is_empty()).max_by_key(|lane| lane.priority);
        let record = match front {
            Some(lane) => lane.peek()?,
            None => self.lanes().find_map(|lane| lane.log.first_record())?,
        };
        let octets = properties::find(record.parts.properties, TIMESTAMP)?;
        octets.try_into().ok().map(u64::from_be_bytes)
    }
}
