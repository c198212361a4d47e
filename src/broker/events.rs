//! What comes and goes in a vhost, told to whoever listens to the exchange `amq.rabbitmq.event`.
//!
//! The vhost only notes what happens, with RabbitMQ's headers, if somebody wants to know at all; it is for the node to
//! bring it to the vhost that has the exchange. Where RabbitMQ has the id of a process stands a name.

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, ShortString};

use super::exchange::arguments::{erlang_text, show_erlang, type_name};
use super::exchange::{Binding, Destination, Exchange, Kind};
use super::queue::arguments::QueueType;
use super::queue::{Consumer, Queue};
use super::vhost::Vhost;
use super::{BindingId, ChannelId, ConnectionId, ConsumerId, ExchangeId, Name, Now, QueueId, text};

/// Where events go, in the vhost `/`.
pub const EXCHANGE: &str = "amq.rabbitmq.event";
/// Who does what nobody has asked for.
pub const NOBODY: &str = "rmq-internal";

/// Arguments that are shown, and characters of each: headers have to fit into a frame.
const SHOWN_MAX: usize = 50;
const LENGTH_MAX: usize = 1000;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at: Now,
    /// What it is, which is the routing key.
    pub key: &'static str,
    pub facts: Facts,
}

/// What there is to say of an event, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts(pub FieldTable);

/// On whose behalf something happens.
#[derive(Clone, Debug, Default)]
pub(super) enum Actor {
    #[default]
    Nobody,
    Connection(ConnectionId),
    User(Name),
}

impl Facts {
    pub fn value(mut self, name: &str, value: AMQPValue) -> Self {
        self.0.insert(name.into(), value);
        self
    }

    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        let value: String = value.into();
        self.value(name, AMQPValue::LongString(value.into()))
    }

    pub fn flag(self, name: &str, value: bool) -> Self {
        self.value(name, AMQPValue::Boolean(value))
    }

    pub fn number(self, name: &str, value: u64) -> Self {
        self.value(name, AMQPValue::LongLongInt(value.cast_signed()))
    }

    pub fn texts<T: Into<String>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(|value| AMQPValue::LongString(value.into().into()));
        self.value(name, AMQPValue::FieldArray(FieldArray::from(values.collect::<Vec<_>>())))
    }

    /// A table as RabbitMQ shows one here: an Erlang term for each field.
    pub fn terms(self, name: &str, table: &FieldTable) -> Self {
        let term = |(name, value): (&ShortString, &AMQPValue)| {
            let mut shown = format!(
                "{{{},{},{}}}",
                erlang_text(name.as_str().as_bytes()),
                type_name(value),
                show_erlang(value)
            );
            if let Some((end, _)) = shown.char_indices().nth(LENGTH_MAX) {
                shown.truncate(end);
            }
            shown
        };
        self.texts(name, table.inner().iter().take(SHOWN_MAX).map(term))
    }
}

impl Vhost {
    /// From now on what happens is noted.
    pub fn note_events(&mut self) {
        self.events.get_or_insert_default();
    }

    /// Adds an exchange for what the node tells, if there is none of that name.
    pub fn open_exchange(&mut self, name: &str) {
        if self.exchange(name.as_bytes()).is_none() {
            let (name, arguments) = (name.into(), FieldTable::default());
            self.insert_exchange(Exchange::new(name, Kind::Topic, true, false, true, arguments));
        }
    }

    /// What has happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub fn notes_events(&self) -> bool {
        self.events.is_some()
    }

    /// What happens next is done by the user of a connection.
    pub fn act_for_connection(&mut self, id: ConnectionId) {
        self.actor = Actor::Connection(id);
    }

    /// What happens next is done by a user, or by nobody.
    pub fn act_for(&mut self, user: Option<Name>) {
        self.actor = user.map_or(Actor::Nobody, Actor::User);
    }

    /// The user on whose behalf something happens.
    pub(super) fn actor(&self) -> String {
        match &self.actor {
            Actor::Nobody => NOBODY.to_owned(),
            Actor::User(name) => name.to_string(),
            Actor::Connection(id) => self.user_of(*id),
        }
    }

    fn user_of(&self, id: ConnectionId) -> String {
        let who = self.connections.get(id).and_then(|connection| connection.who.as_ref());
        who.map_or(NOBODY, |who| &who.user).to_owned()
    }

    /// A channel by a name, which stands for its process.
    fn channel_name(&self, id: ChannelId) -> String {
        let Some(channel) = self.channels.get(id) else { return String::new() };
        format!("{} ({})", self.connection_name(channel.connection), channel.number)
    }

    fn connection_name(&self, id: ConnectionId) -> String {
        let who = self.connections.get(id).and_then(|connection| connection.who.as_ref());
        who.map_or("", |who| &who.name).to_owned()
    }

    /// Notes that something happens. What is to be said of it is looked for only if somebody listens.
    fn happens(&mut self, key: &'static str, say: impl FnOnce(&Self) -> Facts) {
        if self.events.is_none() {
            return;
        }
        let mut facts = say(self);
        if !facts.0.contains_key("user_who_performed_action") {
            facts = facts.text("user_who_performed_action", self.actor());
        }
        let event = Event { at: self.clock, key, facts };
        self.events.get_or_insert_default().push(event);
    }

    pub(super) fn queue_created(&mut self, id: QueueId) {
        self.happens("queue.created", |vhost| {
            let Some(queue) = vhost.queues.get(id) else { return Facts::default() };
            let queue_type = queue.settings.queue_type;
            let mut arguments = queue.arguments.clone();
            if !arguments.contains_key("x-queue-type") {
                let name = AMQPValue::LongString(queue_type.name().into());
                arguments.insert("x-queue-type".into(), name);
            }
            let facts = vhost.facts_of_queue(queue).terms("arguments", &arguments);
            let facts = facts.flag("durable", queue.durable).flag("auto_delete", queue.auto_delete);
            let facts = facts.flag("exclusive", queue.owner.is_some());
            if queue_type != QueueType::Classic {
                return facts;
            }
            let owner = queue.owner.map_or(String::new(), |id| vhost.connection_name(id));
            facts.text("leader", &*vhost.node).texts("members", [&*vhost.node]).text("owner_pid", owner)
        });
    }

    pub(super) fn queue_deleted(&mut self, queue: &Queue) {
        if queue.hidden {
            return;
        }
        self.happens("queue.deleted", |vhost| vhost.facts_of_queue(queue));
    }

    fn facts_of_queue(&self, queue: &Queue) -> Facts {
        let facts = Facts::default().text("name", &*queue.name).text("vhost", &*self.name);
        facts.text("type", queue.settings.queue_type.module())
    }

    pub(super) fn exchange_created(&mut self, id: ExchangeId) {
        self.happens("exchange.created", |vhost| {
            let Some(exchange) = vhost.exchanges.get(id) else { return Facts::default() };
            let facts = Facts::default().text("name", &*exchange.name).text("vhost", &*vhost.name);
            let facts = facts.text("type", exchange.kind.name()).terms("arguments", &exchange.arguments);
            let facts = facts.flag("durable", exchange.durable).flag("auto_delete", exchange.auto_delete);
            facts.flag("internal", exchange.internal).text("policy", "")
        });
    }

    pub(super) fn exchange_deleted(&mut self, name: &Name) {
        self.happens("exchange.deleted", |vhost| {
            Facts::default().text("name", &**name).text("vhost", &*vhost.name)
        });
    }

    pub(super) fn binding_created(&mut self, id: BindingId) {
        self.happens("binding.created", |vhost| {
            vhost.bindings.get(id).map_or_else(Facts::default, |binding| vhost.facts_of_binding(binding))
        });
    }

    /// Its ends may be gone already, but for their names.
    pub(super) fn binding_deleted(&mut self, binding: &Binding) {
        self.happens("binding.deleted", |vhost| vhost.facts_of_binding(binding));
    }

    fn facts_of_binding(&self, binding: &Binding) -> Facts {
        let exchange = |id| self.exchanges.get(id).map_or("", |exchange| &*exchange.name);
        let (kind, destination) = match binding.destination {
            Destination::Queue(id) => ("queue", self.queues.get(id).map_or("", |queue| &*queue.name)),
            Destination::Exchange(id) => ("exchange", exchange(id)),
        };
        let facts = Facts::default().text("source_kind", "exchange").text("destination_kind", kind);
        let facts = facts.text("source_name", exchange(binding.source)).text("destination_name", destination);
        let facts = facts.text("routing_key", text(&binding.routing_key));
        facts.terms("arguments", &binding.arguments).text("vhost", &*self.name)
    }

    /// Whether somebody is to know of a consumer: not of those of direct replies.
    fn is_shown(&self, consumer: ConsumerId) -> bool {
        let queue = self.consumers.get(consumer).and_then(|consumer| self.queues.get(consumer.queue));
        queue.is_some_and(|queue| !queue.hidden)
    }

    pub(super) fn consumer_created(&mut self, consumer: ConsumerId) {
        if self.events.is_none() || !self.is_shown(consumer) {
            return;
        }
        self.happens("consumer.created", |vhost| {
            let Some(consumer) = vhost.consumers.get(consumer) else { return Facts::default() };
            let facts = vhost.facts_of_consumer(consumer).terms("arguments", &consumer.arguments);
            let facts = facts.flag("ack_required", !consumer.no_ack).flag("exclusive", consumer.exclusive);
            facts.number("prefetch_count", consumer.prefetch.into())
        });
    }

    pub(super) fn consumer_deleted(&mut self, consumer: ConsumerId) {
        if self.events.is_none() || !self.is_shown(consumer) {
            return;
        }
        self.happens("consumer.deleted", |vhost| {
            vhost.consumers.get(consumer).map_or_else(Facts::default, |found| vhost.facts_of_consumer(found))
        });
    }

    /// A queue is about to go, and its consumers with it.
    pub(super) fn consumers_deleted(&mut self, queue: QueueId) {
        if self.events.is_some() {
            self.consumers_going_with(queue).into_iter().for_each(|id| self.consumer_deleted(id));
        }
    }

    fn facts_of_consumer(&self, consumer: &Consumer) -> Facts {
        let queue = self.queues.get(consumer.queue).map_or("", |queue| &*queue.name);
        let facts = Facts::default().text("consumer_tag", text(&consumer.tag)).text("queue", queue);
        facts.text("channel", self.channel_name(consumer.channel)).text("vhost", &*self.name)
    }

    pub(super) fn channel_created(&mut self, id: ChannelId) {
        self.happens("channel.created", |vhost| {
            let Some(channel) = vhost.channels.get(id) else { return Facts::default() };
            let (name, user) = (vhost.channel_name(id), vhost.user_of(channel.connection));
            let facts = Facts::default().text("name", &*name).text("pid", name);
            let facts = facts.number("number", channel.number.into()).text("user", &*user);
            let facts = facts.text("user_who_performed_action", user).text("vhost", &*vhost.name);
            facts.text("connection", vhost.connection_name(channel.connection))
        });
    }

    /// A channel is about to close.
    pub(super) fn channel_closed(&mut self, id: ChannelId) {
        self.happens("channel.closed", |vhost| {
            let Some(channel) = vhost.channels.get(id) else { return Facts::default() };
            let facts = Facts::default().text("pid", vhost.channel_name(id));
            let facts = facts.number("consumer_count", channel.consumers.len() as u64);
            facts.text("user_who_performed_action", vhost.user_of(channel.connection))
        });
    }

    /// A connection is about to end, and its channels with it.
    pub(super) fn channels_closed(&mut self, id: ConnectionId) {
        if self.events.is_some() {
            let channels = self.connections.get(id).map(|connection| connection.channels.iter().copied());
            let mut channels: Vec<_> = channels.into_iter().flatten().collect();
            channels.sort_unstable();
            channels.into_iter().for_each(|id| self.channel_closed(id));
        }
    }

    /// The vhost is new: so is what it has from the start.
    pub fn tell_begin(&mut self) {
        let ids: Vec<_> = self.exchanges.keys().collect();
        ids.into_iter().for_each(|id| self.exchange_created(id));
    }

    /// The vhost is about to go, with all that is in it.
    pub fn tell_end(&mut self) {
        if self.events.is_none() {
            return;
        }
        let queues: Vec<_> = self
            .queues
            .values()
            .filter(|queue| !queue.hidden)
            .map(|queue| self.facts_of_queue(queue))
            .collect();
        queues.into_iter().for_each(|facts| self.happens("queue.deleted", |_| facts));
        let exchanges: Vec<_> = self.exchanges.values().map(|exchange| Name::clone(&exchange.name)).collect();
        exchanges.iter().for_each(|name| self.exchange_deleted(name));
    }
}
