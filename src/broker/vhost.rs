//! A vhost: one plain value with everything in it, reached by ids.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use amq_protocol::types::FieldTable;
use slotmap::SlotMap;

use super::chance::Chance;
use super::channel::Channel;
use super::commit::Commits;
use super::compatibility::{Compatibility, Permits};
use super::counts::{ByType, Churn, Counts, Global, Touched, count};
use super::dedup::claims::Claims;
use super::definitions::Change;
use super::effects::Effects;
use super::events::{Actor, Event};
use super::exchange::{Binding, Exchange, Kind};
use super::overdue::Watches;
use super::policy::book::Policies;
use super::post::Post;
use super::publish::Way;
use super::queue::arguments::QueueType;
use super::queue::pace::Behind;
use super::queue::{Consumer, Queue};
use super::settle::Verdict;
use super::storage::Storage;
use super::stream::groups::Groups;
use super::timers::Timers;
use super::topics::TopicPermissions;
use super::trace::Who;
use super::{BindingId, ChannelId, ConnectionId, ConsumerId, ExchangeId, Map, Name, Now, QueueId};
use crate::auth::limits::Limit;
use crate::wire::reply::Exception;

/// A connection as its vhost sees it.
#[derive(Debug, Default)]
pub struct Connection {
    pub channels: HashSet<ChannelId, foldhash::fast::RandomState>,
    /// The queues that are its own and go with it.
    pub exclusive_queues: HashSet<QueueId, foldhash::fast::RandomState>,
    /// Consumers that were passed over because the connection's outbox was full.
    pub stalled: VecDeque<ConsumerId>,
    pub who: Option<Who>,
}

/// Exchanges, bindings, queues and consumers of one vhost, and the connections that use it.
#[derive(Debug)]
pub struct Vhost {
    pub name: Name,
    pub(super) connections: SlotMap<ConnectionId, Connection>,
    pub(super) channels: SlotMap<ChannelId, Channel>,
    pub(super) exchanges: SlotMap<ExchangeId, Exchange>,
    pub(super) exchange_names: Map<Box<[u8]>, ExchangeId>,
    pub(super) bindings: SlotMap<BindingId, Binding>,
    pub(super) queues: SlotMap<QueueId, Queue>,
    pub(super) queue_names: Map<Box<[u8]>, QueueId>,
    pub(super) consumers: SlotMap<ConsumerId, Consumer>,
    /// Memory for routing.
    pub(super) way: Way,
    /// What a durable, shared queue is whose declaration does not say.
    pub default_queue_type: QueueType,
    /// How many queues there may be.
    pub queue_limit: Option<Limit>,
    pub(super) topic_permissions: TopicPermissions,
    /// Grows with every change that may route a message differently, or forbid it.
    pub(super) topology: u64,
    /// Which RabbitMQ is followed.
    pub compatibility: Compatibility,
    pub permits: Permits,
    /// Milliseconds that a delivery of a quorum queue may go unacknowledged, where nothing else says so.
    pub consumer_timeout: Option<u64>,
    pub commits: Commits,
    pub(super) storage: Storage,
    /// What has changed of durable definitions and has not been handed over.
    pub(super) changes: Vec<Change>,
    /// The number that the next queue's log gets.
    pub(super) log_ids: Arc<AtomicU64>,
    /// Messages moved so far, as a measure of time spent.
    pub(super) work: u64,
    pub(super) totals: Counts,
    pub(super) global: Global,
    /// Of queues that have been deleted.
    pub(super) gone: ByType,
    pub(super) churn: Arc<Churn>,
    pub(super) touched: Touched,
    /// Queues to be dispatched when a run of settlements is over.
    pub(super) due: Vec<QueueId>,
    /// Channels whose windows have room for consumers that wait for it.
    pub(super) widened: Vec<ChannelId>,
    /// Where somebody has got ahead of consumers lately.
    pub(super) behind: Option<Behind>,
    /// Where exchanges that choose at random take their choices from.
    pub(super) chance: Chance,
    /// What the broker itself publishes next.
    pub(super) posts: Vec<Post>,
    /// Whether everything is told to `amq.rabbitmq.trace`.
    pub(super) tracing: bool,
    /// What has happened and has not been handed over, if somebody listens.
    pub(super) events: Option<Vec<Event>>,
    /// On whose behalf something happens.
    pub(super) actor: Actor,
    /// The name of the node, for those who are told something.
    pub(super) node: Name,
    /// What exchanges have decided that drop duplicates, on the way of the message that is being published.
    pub(super) claims: Option<Box<Claims>>,
    /// Whether the node stops: what would go on by itself stays where it is.
    pub(super) stopping: bool,
    /// Octets that the histories of exchanges take.
    pub(super) remembered: usize,
    /// What time it is.
    pub(super) clock: Now,
    /// How many queues with messages were found on disk.
    pub(super) recovered: u64,
    pub(super) timers: Timers,
    pub(super) policies: Arc<Policies>,
    pub(super) watches: Watches,
    /// Queues with dead letters to be brought away.
    pub(super) dead: Vec<QueueId>,
    /// Queues with dead letters that have to be on disk elsewhere first.
    pub(super) writing_dead: Vec<QueueId>,
    /// Streams with messages that have to be on disk before they are delivered.
    pub(super) writing_streams: Vec<QueueId>,
    /// Those who share streams.
    /// Whether a client is publishing, whose messages come in the order of their numbers.
    pub(super) is_publishing: bool,
    pub(super) groups: Groups,
    /// Super streams whose partitions are not those that groups know.
    pub(super) regrouping: BTreeSet<Name>,
}

/// The exchanges every vhost has from the start.
const PREDECLARED: [(&str, Kind, bool); 7] = [
    ("", Kind::Direct, false),
    ("amq.direct", Kind::Direct, false),
    ("amq.fanout", Kind::Fanout, false),
    ("amq.topic", Kind::Topic, false),
    ("amq.headers", Kind::Headers, false),
    ("amq.match", Kind::Headers, false),
    ("amq.rabbitmq.trace", Kind::Topic, true),
];

impl Vhost {
    pub fn new(name: &str) -> Self {
        let mut vhost = Self {
            name: name.into(),
            connections: SlotMap::with_key(),
            channels: SlotMap::with_key(),
            exchanges: SlotMap::with_key(),
            exchange_names: Map::default(),
            bindings: SlotMap::with_key(),
            queues: SlotMap::with_key(),
            queue_names: Map::default(),
            consumers: SlotMap::with_key(),
            way: Way::default(),
            default_queue_type: QueueType::default(),
            queue_limit: None,
            topic_permissions: TopicPermissions::default(),
            topology: 1,
            compatibility: Compatibility::default(),
            permits: Permits::default(),
            consumer_timeout: None,
            commits: Commits::default(),
            storage: Storage::default(),
            changes: Vec::new(),
            log_ids: Arc::new(AtomicU64::new(1)),
            work: 0,
            totals: Counts::default(),
            global: Global::default(),
            gone: ByType::default(),
            churn: Arc::default(),
            touched: Touched::default(),
            due: Vec::new(),
            widened: Vec::new(),
            behind: None,
            chance: Chance::default(),
            posts: Vec::new(),
            tracing: false,
            events: None,
            actor: Actor::default(),
            node: "".into(),
            claims: None,
            stopping: false,
            remembered: 0,
            clock: 0,
            recovered: 0,
            timers: Timers::default(),
            policies: Arc::default(),
            watches: Watches::default(),
            dead: Vec::new(),
            writing_dead: Vec::new(),
            writing_streams: Vec::new(),
            is_publishing: false,
            groups: Groups::default(),
            regrouping: BTreeSet::new(),
        };
        for (name, kind, internal) in PREDECLARED {
            vhost.insert_exchange(Exchange::new(
                name.into(),
                kind,
                true,
                false,
                internal,
                FieldTable::default(),
            ));
        }
        vhost
    }

    /// Says who has made it, and the exchanges that are there from the beginning.
    pub fn set_creator(&mut self, creator: Option<&Name>) {
        for (name, ..) in PREDECLARED {
            let found = self.exchange_names.get(name.as_bytes()).and_then(|id| self.exchanges.get_mut(*id));
            if let Some(exchange) = found {
                exchange.creator = creator.cloned();
            }
        }
    }

    /// What random choices begin with.
    pub fn seed(&mut self, seed: u64) {
        self.chance = Chance::new(seed);
    }

    /// Says what the node is called.
    pub fn live_on(&mut self, node: &str) {
        self.node = node.into();
    }

    /// What the node is called.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Greets a connection.
    pub fn connect(&mut self) -> ConnectionId {
        count(&self.churn.connection_created);
        self.connections.insert(Connection::default())
    }

    /// A connection ends: its channels close, its exclusive queues go.
    pub fn disconnect(&mut self, id: ConnectionId, fx: &mut impl Effects) {
        self.channels_closed(id);
        let Some(connection) = self.connections.remove(id) else { return };
        count(&self.churn.connection_closed);
        let mut channels: Vec<_> = connection.channels.into_iter().collect();
        channels.sort_unstable();
        self.close_channels(&channels, fx);
        for queue in connection.exclusive_queues {
            self.remove_queue(queue, fx);
        }
        self.dispatch_due(fx);
    }

    pub fn open_channel(&mut self, connection: ConnectionId, number: u16) -> ChannelId {
        let id = self.channels.insert(Channel::new(connection, number));
        count(&self.churn.channel_created);
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.channels.insert(id);
        }
        self.channel_created(id);
        id
    }

    /// A channel ends: its consumers are cancelled, what it did not acknowledge is requeued.
    pub fn close_channel(&mut self, id: ChannelId, fx: &mut impl Effects) {
        self.channel_closed(id);
        let Some(channel) = self.channels.get(id) else { return };
        if let Some(connection) = self.connections.get_mut(channel.connection) {
            connection.channels.remove(&id);
        }
        self.close_channels(&[id], fx);
        self.dispatch_due(fx);
    }

    fn close_channels(&mut self, ids: &[ChannelId], fx: &mut impl Effects) {
        let channels = ids.iter().filter_map(|id| self.channels.get(*id));
        let consumers: Vec<_> = channels.flat_map(|channel| channel.consumers.values().copied()).collect();
        // First the consumers, so that nothing that is requeued comes back to these channels.
        let queues = self.detach_consumers(&consumers);
        for id in ids {
            self.requeue_all(*id, Verdict::Fail, fx);
            if let Some(mut gone) = self.channels.remove(*id) {
                count(&self.churn.channel_closed);
                self.watches.set(&mut gone.watch, *id, None);
            }
        }
        for queue in queues {
            self.delete_if_deserted(queue, fx);
            // Somebody else may be the active consumer now.
            self.dispatch(queue, fx);
        }
    }

    /// A connection's outbox takes deliveries again.
    pub fn resume(&mut self, id: ConnectionId, fx: &mut impl Effects) {
        // Those that wait longest come first, and those that are stalled anew after those that still wait.
        let waiting = self.connections.get(id).map_or(0, |connection| connection.stalled.len());
        for _ in 0..waiting {
            if !fx.has_credit(id) {
                break;
            }
            let next = self.connections.get_mut(id).and_then(|connection| connection.stalled.pop_front());
            let Some(consumer) = next else { break };
            self.unstall(consumer, fx);
        }
        self.dispatch_due(fx);
    }

    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id)
    }

    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(id)
    }

    /// The prefetch count for consumers yet to come on a channel; 0 is no limit.
    pub fn set_prefetch(&mut self, channel: ChannelId, count: u16) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.prefetch = count;
        }
    }

    pub fn exchange(&self, name: &[u8]) -> Option<&Exchange> {
        self.exchanges.get(*self.exchange_names.get(name)?)
    }

    /// The exchange of a name; one that is never there if there is none.
    pub fn exchange_named(&self, name: &[u8]) -> ExchangeId {
        self.exchange_names.get(name).copied().unwrap_or_default()
    }

    pub(super) fn exchange_id(&self, name: &[u8]) -> Result<ExchangeId, Exception> {
        self.exchange_names.get(name).copied().ok_or_else(|| self.no_exchange(name))
    }

    pub fn queue(&self, name: &[u8]) -> Option<&Queue> {
        self.queues.get(*self.queue_names.get(name)?).filter(|queue| !queue.hidden)
    }

    /// The name of a queue, as long as it is there.
    pub fn queue_name(&self, id: QueueId) -> Option<Name> {
        self.queues.get(id).map(|queue| Name::clone(&queue.name))
    }

    pub(super) fn queue_id(&self, name: &[u8]) -> Result<QueueId, Exception> {
        self.queue_names.get(name).copied().ok_or_else(|| self.no_queue(name))
    }

    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values().filter(|queue| !queue.hidden)
    }

    /// How many consumers there are on all queues.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// A number that grows with every change that may route a message differently, or forbid it.
    pub fn topology(&self) -> u64 {
        self.topology
    }

    /// A number that grows with every message moved: how long the vhost has been at work.
    pub fn work(&self) -> u64 {
        self.work
    }

    pub(super) fn insert_exchange(&mut self, mut exchange: Exchange) -> ExchangeId {
        self.adopt_exchange(&mut exchange);
        let name = exchange.name.as_bytes().into();
        let id = self.exchanges.insert(exchange);
        self.exchange_names.insert(name, id);
        self.topology += 1;
        id
    }

    pub(super) fn insert_queue(&mut self, mut queue: Queue) -> QueueId {
        self.adopt_queue(&mut queue);
        queue.idle_since = self.clock;
        let name = queue.name.as_bytes().into();
        let id = self.queues.insert(queue);
        self.queue_names.insert(name, id);
        self.topology += 1;
        id
    }

    pub(super) fn no_exchange(&self, name: &[u8]) -> Exception {
        Exception::not_found(format!("no {}", self.describe("exchange", name)))
    }

    pub(super) fn no_queue(&self, name: &[u8]) -> Exception {
        Exception::not_found(format!("no {}", self.describe("queue", name)))
    }

    /// A resource the way RabbitMQ's texts name it.
    pub fn describe(&self, kind: &str, name: &[u8]) -> String {
        format!("{kind} '{}' in vhost '{}'", super::text(name), self.name)
    }
}
