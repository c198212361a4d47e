//! Binding and unbinding.

use amq_protocol::types::FieldTable;

use super::declare::check_not_default;
use super::{Binding, BindingKey, Destination, Kind, hash, headers};
use crate::broker::chance::stable_hash;
use crate::broker::definitions::Change;
use crate::broker::queue::arguments::QueueType;
use crate::broker::vhost::Vhost;
use crate::broker::{BindingId, ConnectionId, ExchangeId, QueueId, text};
use crate::wire::method;
use crate::wire::reply::Exception;

impl Vhost {
    /// Binds a queue to an exchange. Both have to be there; the exchange is looked for first, as in RabbitMQ. Without a
    /// connection, queues that are somebody's own are refused.
    pub fn bind_queue(
        &mut self,
        connection: Option<ConnectionId>,
        queue: &[u8],
        exchange: &[u8],
        routing_key: &[u8],
        arguments: FieldTable,
    ) -> Result<(), Exception> {
        check_not_default(exchange)?;
        let source = self.exchange_id(exchange)?;
        let queue = self.queue_id(queue)?;
        self.check_not_locked(queue, connection)?;
        self.bind(source, Destination::Queue(queue), routing_key, arguments)
    }

    /// Binds an exchange to another one.
    pub fn bind_exchange(
        &mut self,
        destination: &[u8],
        source: &[u8],
        routing_key: &[u8],
        arguments: FieldTable,
    ) -> Result<(), Exception> {
        check_not_default(destination)?;
        check_not_default(source)?;
        let source = self.exchange_id(source)?;
        let destination = self.exchange_id(destination)?;
        self.bind(source, Destination::Exchange(destination), routing_key, arguments)
    }

    fn bind(
        &mut self,
        source: ExchangeId,
        destination: Destination,
        routing_key: &[u8],
        arguments: FieldTable,
    ) -> Result<(), Exception> {
        let exchange = &self.exchanges[source];
        match exchange.kind.routing(&exchange.arguments) {
            Kind::Headers => headers::check(&arguments)?,
            Kind::ConsistentHash => hash::check_weight(routing_key)?,
            Kind::LocalRandom => self.check_local(destination, routing_key)?,
            _ => {}
        }
        let routing_key = routing_key.into();
        if let Some(id) = self.insert_binding(Binding { source, destination, routing_key, arguments }) {
            self.record(|vhost| vhost.durable_binding(&vhost.bindings[id]).map(Change::PutBinding));
            self.binding_created(id);
            self.replay(source, destination);
        }
        Ok(())
    }

    /// Refuses what RabbitMQ does not let be bound to an exchange that keeps messages on its node: only classic queues
    /// are sure to be there, and keys would mean nothing.
    fn check_local(&self, destination: Destination, routing_key: &[u8]) -> Result<(), Exception> {
        let refuse = |text: String| Err(Exception::precondition_failed(text));
        if !routing_key.is_empty() {
            return refuse(format!("Non empty binding '{}' key not permitted", text(routing_key)));
        }
        let Destination::Queue(queue) = destination else {
            return refuse("Destination not found".to_owned());
        };
        match self.queues[queue].settings.queue_type {
            QueueType::Classic => Ok(()),
            other => refuse(format!("Queue type {} not valid for this exchange type", other.module())),
        }
    }

    /// Brings what an exchange remembers to a new binding's end.
    fn replay(&mut self, source: ExchangeId, destination: Destination) {
        let Some(history) = self.exchanges.get(source).and_then(|exchange| exchange.history.as_ref()) else {
            return;
        };
        let messages: Vec<_> = history.messages().cloned().collect();
        messages.into_iter().for_each(|message| self.post_to(destination, message));
    }

    /// Adds a binding between ends that are there, unless there is the same already.
    pub(in crate::broker) fn insert_binding(&mut self, binding: Binding) -> Option<BindingId> {
        let (source, destination) = (binding.source, binding.destination);
        let exchange = self.exchanges.get_mut(source)?;
        let key = binding_key(destination, &binding.routing_key, &binding.arguments);
        if exchange.bindings.contains_key(&key) {
            return None;
        }
        let id = self.bindings.insert(binding);
        exchange.bindings.insert(key, id);
        let name = match destination {
            Destination::Queue(queue) => {
                self.queues[queue].bindings.insert(id);
                stable_hash(self.queues[queue].name.as_bytes())
            }
            // Not the number of a queue of that name.
            Destination::Exchange(exchange) => {
                self.exchanges[exchange].inbound.insert(id);
                !stable_hash(self.exchanges[exchange].name.as_bytes())
            }
        };
        if let Some(exchange) = self.exchanges.get_mut(source) {
            exchange.matcher.insert(id, &self.bindings[id], name);
        }
        self.topology += 1;
        self.note_binding(source, destination);
        Some(id)
    }

    /// Unbinds a queue. Neither end nor the binding itself needs to be there.
    pub fn unbind_queue(
        &mut self,
        connection: Option<ConnectionId>,
        queue: &[u8],
        exchange: &[u8],
        routing_key: &[u8],
        arguments: &FieldTable,
    ) -> Result<(), Exception> {
        check_not_default(exchange)?;
        let (Ok(source), Ok(queue)) = (self.exchange_id(exchange), self.queue_id(queue)) else {
            return Ok(());
        };
        // RabbitMQ looks at the queue's owner only when there is something to unbind.
        let key = binding_key(Destination::Queue(queue), routing_key, arguments);
        if self.exchanges[source].bindings.contains_key(&key) {
            self.check_not_locked(queue, connection)?;
            self.unbind(source, &key);
        }
        Ok(())
    }

    /// Unbinds an exchange from another one, whether or not it was bound.
    pub fn unbind_exchange(
        &mut self,
        destination: &[u8],
        source: &[u8],
        routing_key: &[u8],
        arguments: &FieldTable,
    ) -> Result<(), Exception> {
        check_not_default(destination)?;
        check_not_default(source)?;
        if let (Ok(source), Ok(destination)) = (self.exchange_id(source), self.exchange_id(destination)) {
            self.unbind(source, &binding_key(Destination::Exchange(destination), routing_key, arguments));
        }
        Ok(())
    }

    fn unbind(&mut self, source: ExchangeId, key: &BindingKey) {
        if let Some(&id) = self.exchanges[source].bindings.get(key) {
            let source = self.remove_binding(id);
            self.delete_unbound(source.into_iter().collect());
        }
    }

    /// Takes a binding out of everything that knows it. Its source is returned if it was the last one of an
    /// exchange that goes with its last binding.
    pub(in crate::broker) fn remove_binding(&mut self, id: BindingId) -> Option<ExchangeId> {
        let binding = self.bindings.remove(id)?;
        self.topology += 1;
        self.record(|vhost| vhost.durable_binding(&binding).map(Change::DeleteBinding));
        self.binding_deleted(&binding);
        self.note_binding(binding.source, binding.destination);
        match binding.destination {
            Destination::Queue(queue) => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.bindings.remove(&id);
                }
            }
            Destination::Exchange(exchange) => {
                if let Some(exchange) = self.exchanges.get_mut(exchange) {
                    exchange.inbound.remove(&id);
                }
            }
        }
        let exchange = self.exchanges.get_mut(binding.source)?;
        exchange.bindings.remove(&binding_key(binding.destination, &binding.routing_key, &binding.arguments));
        exchange.matcher.remove(id, &binding);
        (exchange.auto_delete && exchange.bindings.is_empty()).then_some(binding.source)
    }

    /// Takes out all bindings of a queue that is about to go.
    pub(in crate::broker) fn remove_bindings_of(&mut self, queue: QueueId) {
        let Some(queue) = self.queues.get(queue) else { return };
        let all: Vec<_> = queue.bindings.iter().copied().collect();
        let sources = all.into_iter().filter_map(|id| self.remove_binding(id)).collect();
        self.delete_unbound(sources);
    }

    /// Deletes auto-delete exchanges that have lost their last binding, and those that lose theirs by that.
    pub(super) fn delete_unbound(&mut self, mut sources: Vec<ExchangeId>) {
        while let Some(id) = sources.pop() {
            if self.exchanges.get(id).is_some_and(|x| x.auto_delete && x.bindings.is_empty()) {
                sources.extend(self.remove_exchange(id));
            }
        }
    }
}

fn binding_key(destination: Destination, routing_key: &[u8], arguments: &FieldTable) -> BindingKey {
    (destination, routing_key.into(), method::encode_table(arguments).into())
}
