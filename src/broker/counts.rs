//! What is counted of messages: for each queue, exchange and channel, and for the vhost, under RabbitMQ's names.
//!
//! They are plain numbers beside what they count, which only grow, so that whoever asks sees what is true at that moment.
//! What has changed since it was last looked at is noted ([`Touched`]), so that a sampler has to look at nothing else.

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::channel::Manner;
use super::dead_letter::Reason;
use super::queue::Queue;
use super::queue::arguments::QueueType;
use super::vhost::Vhost;
use super::{ChannelId, ConnectionId, ExchangeId, QueueId};

/// What has been published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publishes {
    pub publish: u64,
    /// Those in confirm mode, be they confirmed already or not.
    pub confirm: u64,
    pub return_unroutable: u64,
    pub drop_unroutable: u64,
}

/// What has been delivered and fetched, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// To consumers that acknowledge, and to those that do not.
    pub deliver: u64,
    pub deliver_no_ack: u64,
    /// By `basic.get`, in the same way.
    pub get: u64,
    pub get_no_ack: u64,
    /// Where there was nothing.
    pub get_empty: u64,
    /// Those among them that had been delivered before.
    pub redeliver: u64,
    pub ack: u64,
}

/// What has come to an exchange, and to how many queues it has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub publish_in: u64,
    pub publish_out: u64,
}

/// What a sampler is told of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Those that are put off count here alone.
    pub messages: u64,
    pub ready: u64,
    pub unacknowledged: u64,
    pub published: u64,
    pub deliveries: Deliveries,
}

/// Both sides of a channel, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub publishes: Publishes,
    pub deliveries: Deliveries,
}

/// Deliveries by what they came from: classic, quorum and stream queues, and what holds somebody's replies.
pub type ByType = [Deliveries; 4];

/// Octets of bodies up to which messages are counted together: RabbitMQ's steps.
pub const STEPS: [u64; 8] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// Messages by the sizes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Those up to each of [`STEPS`] that are above the one before it, and those above the last.
    pub counts: [u64; STEPS.len() + 1],
    /// Octets of all bodies together.
    pub octets: u64,
}

/// Where a queue's dead letters go, by RabbitMQ's strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nowhere.
    Disabled,
    AtMostOnce,
    AtLeastOnce,
}

/// Messages that have died: by their queue's place in [`ByType`], their [`Strategy`] and their [`Reason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    counts: [[[u64; 4]; 3]; 4],
    /// Those of queues that keep them, once they were safe elsewhere.
    pub safe: u64,
}

/// What of all that is published is counted nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// Messages by the queues they were routed to.
    pub routed: u64,
    /// Messages that their publishers want to be told of, in confirm mode or in a transaction, be they refused or not.
    pub confirmable: u64,
    /// All that have been received: in a transaction before its commit, and those that were refused as well.
    pub sizes: Sizes,
    pub deaths: Deaths,
}

/// What has come and gone, counted for all vhosts of a node together.
#[derive(Debug, Default)]
pub struct Churn {
    pub connection_created: AtomicU64,
    pub connection_closed: AtomicU64,
    pub channel_created: AtomicU64,
    pub channel_closed: AtomicU64,
    pub queue_declared: AtomicU64,
    pub queue_created: AtomicU64,
    pub queue_deleted: AtomicU64,
}

/// The same at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Churned {
    pub connection_created: u64,
    pub connection_closed: u64,
    pub channel_created: u64,
    pub channel_closed: u64,
    pub queue_declared: u64,
    pub queue_created: u64,
    pub queue_deleted: u64,
}

/// Counts one more.
pub(super) fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

impl Churn {
    pub fn read(&self) -> Churned {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Churned {
            connection_created: read(&self.connection_created),
            connection_closed: read(&self.connection_closed),
            channel_created: read(&self.channel_created),
            channel_closed: read(&self.channel_closed),
            queue_declared: read(&self.queue_declared),
            queue_created: read(&self.queue_created),
            queue_deleted: read(&self.queue_deleted),
        }
    }
}

impl Sizes {
    #[inline]
    fn note(&mut self, octets: u64) {
        let place = STEPS.iter().position(|step| octets <= *step).unwrap_or(STEPS.len());
        self.counts[place] += 1;
        self.octets += octets;
    }

    /// How many messages there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Deaths {
    pub fn count(&self, place: usize, strategy: Strategy, reason: Reason) -> u64 {
        self.counts[place][strategy as usize][reason as usize]
    }

    /// Counts the death of a message of this queue.
    pub(super) fn note(&mut self, queue: &Queue, strategy: Strategy, reason: Reason) {
        self.counts[place(queue)][strategy as usize][reason as usize] += 1;
    }
}

impl Deliveries {
    /// Counts one delivery to a consumer.
    #[inline]
    pub fn note(&mut self, no_ack: bool, redelivered: bool) {
        if no_ack {
            self.deliver_no_ack += 1;
        } else {
            self.deliver += 1;
        }
        if redelivered {
            self.redeliver += 1;
        }
    }

    /// Counts one that was fetched.
    pub fn note_get(&mut self, no_ack: bool, redelivered: bool) {
        if no_ack {
            self.get_no_ack += 1;
        } else {
            self.get += 1;
        }
        self.redeliver += u64::from(redelivered);
    }

    /// The larger of each number.
    pub fn most(&self, other: &Self) -> Self {
        Self {
            deliver: self.deliver.max(other.deliver),
            deliver_no_ack: self.deliver_no_ack.max(other.deliver_no_ack),
            get: self.get.max(other.get),
            get_no_ack: self.get_no_ack.max(other.get_no_ack),
            get_empty: self.get_empty.max(other.get_empty),
            redeliver: self.redeliver.max(other.redeliver),
            ack: self.ack.max(other.ack),
        }
    }

    /// All that has left its queue for somebody.
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }
}

impl AddAssign for Publishes {
    fn add_assign(&mut self, other: Self) {
        self.publish += other.publish;
        self.confirm += other.confirm;
        self.return_unroutable += other.return_unroutable;
        self.drop_unroutable += other.drop_unroutable;
    }
}

impl AddAssign for Deliveries {
    fn add_assign(&mut self, other: Self) {
        self.deliver += other.deliver;
        self.deliver_no_ack += other.deliver_no_ack;
        self.get += other.get;
        self.get_no_ack += other.get_no_ack;
        self.get_empty += other.get_empty;
        self.redeliver += other.redeliver;
        self.ack += other.ack;
    }
}

impl AddAssign for Global {
    fn add_assign(&mut self, other: Self) {
        self.routed += other.routed;
        self.confirmable += other.confirmable;
        self.sizes += other.sizes;
        self.deaths += other.deaths;
    }
}

impl AddAssign for Sizes {
    fn add_assign(&mut self, other: Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.octets += other.octets;
    }
}

impl AddAssign for Deaths {
    fn add_assign(&mut self, other: Self) {
        let counts = self.counts.as_flattened_mut().as_flattened_mut().iter_mut();
        counts.zip(other.counts.as_flattened().as_flattened()).for_each(|(count, more)| *count += more);
        self.safe += other.safe;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.publishes += other.publishes;
        self.deliveries += other.deliveries;
    }
}

/// A queue's place in [`ByType`].
fn place(queue: &Queue) -> usize {
    match queue.settings.queue_type {
        _ if queue.hidden => 3,
        QueueType::Classic => 0,
        QueueType::Quorum => 1,
        QueueType::Stream => 2,
    }
}

/// What a channel has published since it was last counted, to be counted together: most batches lead to one exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub exchange: ExchangeId,
    pub passed: Passed,
    /// Those that are to be confirmed.
    pub confirm: u64,
    pub return_unroutable: u64,
    pub drop_unroutable: u64,
}

/// Queues and exchanges that have changed since they were last looked at, each once.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub queues: Vec<QueueId>,
    pub exchanges: Vec<ExchangeId>,
}

impl Vhost {
    /// What has been counted in all, but for what is confirmed.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// The same of what is counted once for all.
    pub fn global(&self) -> Global {
        self.global
    }

    /// What queues that are no more have delivered.
    pub fn gone(&self) -> ByType {
        self.gone
    }

    /// What a queue has delivered, be it to be seen or not, and its place among the types.
    pub fn deliveries_of(&self, id: QueueId) -> Option<(usize, Deliveries)> {
        self.queues.get(id).map(|queue| (place(queue), queue.deliveries))
    }

    /// Keeps what a queue has counted that is about to go.
    pub(super) fn retire(&mut self, queue: &Queue) {
        self.gone[place(queue)] += queue.deliveries;
    }

    /// Counts what comes and goes together with others. It has no content yet.
    pub fn share_churn(&mut self, churn: Arc<Churn>) {
        self.churn = churn;
    }

    /// Counts what a channel has published to one exchange.
    pub fn count_published(&mut self, channel: ChannelId, tally: &Tally) {
        let publishes = Publishes {
            publish: tally.passed.publish_in,
            confirm: tally.confirm,
            return_unroutable: tally.return_unroutable,
            drop_unroutable: tally.drop_unroutable,
        };
        self.totals.publishes += publishes;
        self.global.routed += tally.passed.publish_out;
        if let Some(on) = self.channels.get_mut(channel) {
            on.counts.publishes += publishes;
        }
        let Some(exchange) = self.exchanges.get_mut(tally.exchange) else { return };
        exchange.passed.publish_in += tally.passed.publish_in;
        exchange.passed.publish_out += tally.passed.publish_out;
        exchange.publishes += publishes;
        if !std::mem::replace(&mut exchange.touched, true) {
            self.touched.exchanges.push(tally.exchange);
        }
    }

    /// Counts a message that has been received, with a body of so many octets, and whether its publisher wants to be told
    /// what becomes of it.
    #[inline]
    pub fn count_received(&mut self, octets: u64, confirmable: bool) {
        self.global.sizes.note(octets);
        self.global.confirmable += u64::from(confirmable);
    }

    /// Counts a message that came without a channel, whose publisher was told what has become of it.
    pub fn count_direct(&mut self, exchange: &[u8], queues: usize, routed: bool, refused: bool) {
        let Some(&exchange) = self.exchange_names.get(exchange) else { return };
        let passed = Passed { publish_in: 1, publish_out: queues as u64 };
        let (confirm, return_unroutable) = (u64::from(!refused), u64::from(!routed));
        let tally = Tally { exchange, passed, confirm, return_unroutable, drop_unroutable: 0 };
        self.count_published(ChannelId::default(), &tally);
    }

    /// Notes how a channel publishes and settles.
    pub fn show_manner(&mut self, channel: ChannelId, manner: Manner) {
        if let Some(on) = self.channels.get_mut(channel) {
            on.manner = manner;
        }
    }

    /// Counts a `basic.get` that found nothing.
    pub(super) fn count_empty(&mut self, channel: ChannelId, queue: QueueId) {
        self.totals.deliveries.get_empty += 1;
        if let Some(on) = self.channels.get_mut(channel) {
            on.counts.deliveries.get_empty += 1;
        }
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.deliveries.get_empty += 1;
        }
        self.touch(queue);
    }

    /// Counts an acknowledgement, beside what its queue counts.
    pub(super) fn count_ack(&mut self, channel: ChannelId) {
        self.totals.deliveries.ack += 1;
        if let Some(on) = self.channels.get_mut(channel) {
            on.counts.deliveries.ack += 1;
        }
    }

    /// So many queues at the most that have changed since this was asked last, with what there is to count of them; nothing
    /// of those that are gone.
    pub fn take_touched_queues(&mut self, most: usize) -> Vec<(QueueId, Option<Measured>)> {
        let from = self.touched.queues.len().saturating_sub(most);
        let (clock, queues) = (self.clock, &mut self.queues);
        let mut measure = |id| {
            let queue = queues.get_mut(id)?;
            (queue.touched, queue.idle_since) = (false, clock);
            (!queue.hidden).then(|| Measured {
                messages: (queue.available() + queue.unacked() + queue.put_off_count()) as u64,
                ready: queue.available() as u64,
                unacknowledged: queue.unacked() as u64,
                published: queue.published,
                deliveries: queue.deliveries,
            })
        };
        self.touched.queues.drain(from..).map(|id| (id, measure(id))).collect()
    }

    /// The same of exchanges.
    pub fn take_touched_exchanges(&mut self, most: usize) -> Vec<(ExchangeId, Option<Passed>)> {
        let from = self.touched.exchanges.len().saturating_sub(most);
        let exchanges = &mut self.exchanges;
        let mut measure = |id| {
            let exchange = exchanges.get_mut(id)?;
            exchange.touched = false;
            Some(exchange.passed)
        };
        self.touched.exchanges.drain(from..).map(|id| (id, measure(id))).collect()
    }

    /// What the channels of a connection have counted.
    pub fn channel_counts(&self, connection: ConnectionId) -> Vec<(ChannelId, Counts)> {
        let ids = self.connections.get(connection).into_iter().flat_map(|found| found.channels.iter());
        ids.filter_map(|id| Some((*id, self.channels.get(*id)?.counts))).collect()
    }

    /// Something of a queue has changed.
    #[inline]
    pub(super) fn touch(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(id).filter(|queue| !queue.touched) {
            queue.touched = true;
            self.touched.queues.push(id);
        }
    }
}
