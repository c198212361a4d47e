//! Declaring, purging and deleting queues.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::Queue;
use super::arguments::{self, Declared, QueueType};
use crate::auth::limits::Limit;
use crate::broker::compatibility::Compatibility;
use crate::broker::counts::count;
use crate::broker::dedup;
use crate::broker::definitions::{Change, End};
use crate::broker::effects::Effects;
use crate::broker::exchange::arguments::inequivalent;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{ConnectionId, ConsumerId, Name, QueueId};
use crate::wire::reply::Exception;

/// What `queue.declare` asks for, the name made up already where the server chooses it.
#[derive(Debug)]
pub struct Declaration {
    pub name: Name,
    /// As it was sent; an exclusive queue is kept as a transient one nevertheless.
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: FieldTable,
    /// Who declares it, if anybody does.
    pub creator: Option<Name>,
}

/// What `queue.declare-ok` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub ready: usize,
    pub consumers: usize,
}

impl Vhost {
    /// Names the vhost's default type in a declaration that names none, as RabbitMQ does; queues that are transient,
    /// exclusive or auto-delete stay classic. To be called before anything is checked.
    pub fn add_default_type(&self, arguments: &mut FieldTable, declared: &Declared) {
        let other = self.default_queue_type != QueueType::Classic;
        if other
            && declared.durable
            && !declared.exclusive
            && !declared.auto_delete
            && !arguments.contains_key("x-queue-type")
        {
            let name = self.default_queue_type.name();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(name.into()));
        }
    }

    /// The counts of a queue that is there and not locked (`queue.declare` with `passive`).
    pub fn check_queue(&mut self, connection: ConnectionId, name: &[u8]) -> Result<Counts, Exception> {
        let id = self.queue_id(name)?;
        self.check_not_locked(id, Some(connection))?;
        self.note_use(id);
        self.expire_first(id);
        Ok(self.counts(id))
    }

    /// Creates the queue, or checks that the one of that name is the same.
    ///
    /// Without a connection (over HTTP) exclusive queues cannot be declared, and are locked.
    pub fn declare_queue(
        &mut self,
        connection: Option<ConnectionId>,
        declaration: Declaration,
    ) -> Result<Counts, Exception> {
        if let Some(&id) = self.queue_names.get(declaration.name.as_bytes()) {
            self.check_same_queue(id, connection, &declaration)?;
            count(&self.churn.queue_declared);
            self.note_use(id);
            self.expire_first(id);
            return Ok(self.counts(id));
        }
        let described = self.describe("queue", declaration.name.as_bytes());
        let Declaration { name, durable, exclusive, auto_delete, arguments, creator } = declaration;
        let declared = Declared { durable, exclusive, auto_delete };
        let level = if self.permits.master_locator {
            self.compatibility.min(Compatibility::V4_0)
        } else {
            self.compatibility
        };
        let settings = arguments::parse_as(level, &arguments, &declared, &described)?;
        self.check_queue_limit(&name)?;
        dedup::check_queue(&arguments)?;
        let owner = connection.filter(|_| exclusive);
        let durable = durable && !exclusive;
        let log = self.new_log(durable);
        let mut queue = Queue::new(name, durable, owner, auto_delete, log);
        queue.creator = creator;
        queue.define(settings, arguments);
        let deduplicates = queue.filter.is_some();
        let id = self.insert_queue(queue);
        self.note_use(id);
        if let Some(owner) = owner.and_then(|owner| self.connections.get_mut(owner)) {
            owner.exclusive_queues.insert(id);
        }
        self.record(|vhost| vhost.queues[id].durable().map(Change::PutQueue));
        if deduplicates {
            let name = Name::clone(&self.queues[id].name);
            self.open_ledger(&End::Queue(name));
        }
        count(&self.churn.queue_declared);
        count(&self.churn.queue_created);
        self.queue_created(id);
        Ok(Counts { ready: 0, consumers: 0 })
    }

    /// Refuses one queue more where there are as many as there may be.
    fn check_queue_limit(&self, name: &str) -> Result<(), Exception> {
        match self.queue_limit.filter(|limit| limit.is_reached(self.queues.len())) {
            Some(Limit(max)) => Err(Exception::precondition_failed(format!(
                "cannot declare queue '{name}': queue limit in vhost '{}' ({max}) is reached",
                self.name
            ))),
            None => Ok(()),
        }
    }

    fn counts(&self, id: QueueId) -> Counts {
        let queue = &self.queues[id];
        // Consumers that wait to be the active one of a quorum queue do not count.
        let others_count =
            queue.settings.queue_type != QueueType::Quorum || !queue.settings.single_active_consumer;
        // Nobody counts those of streams here.
        let consumers = if queue.is_stream() {
            0
        } else if others_count {
            queue.consumer_count()
        } else {
            queue.consumer_count().min(1)
        };
        Counts { ready: queue.available(), consumers }
    }

    fn check_same_queue(
        &self,
        id: QueueId,
        connection: Option<ConnectionId>,
        wanted: &Declaration,
    ) -> Result<(), Exception> {
        let queue = &self.queues[id];
        let owner = connection.filter(|_| wanted.exclusive);
        if self.permits.relaxed_checks
            && arguments::is_classic_for_quorum(queue.settings.queue_type, &wanted.arguments)
        {
            let described = self.describe("queue", queue.name.as_bytes());
            let wanted = arguments::as_quorum(&wanted.arguments);
            return arguments::check_equivalent(QueueType::Quorum, &queue.arguments, &wanted, &described);
        }
        if queue.owner != owner {
            return Err(self.locked(queue));
        }
        let described = self.describe("queue", queue.name.as_bytes());
        let durable = wanted.durable && !wanted.exclusive;
        for (key, new, old) in
            [("durable", durable, queue.durable), ("auto_delete", wanted.auto_delete, queue.auto_delete)]
        {
            if new != old {
                return Err(inequivalent(key, &described, &format!("'{new}'"), &format!("'{old}'")));
            }
        }
        let kind = queue.settings.queue_type;
        arguments::check_equivalent(kind, &queue.arguments, &wanted.arguments, &described)
    }

    /// Refuses what another connection's exclusive queue does not allow.
    pub fn check_not_locked(&self, id: QueueId, connection: Option<ConnectionId>) -> Result<(), Exception> {
        match self.queues.get(id) {
            Some(queue) if queue.owner.is_some() && queue.owner != connection => Err(self.locked(queue)),
            _ => Ok(()),
        }
    }

    fn locked(&self, queue: &Queue) -> Exception {
        let described = self.describe("queue", queue.name.as_bytes());
        Exception::resource_locked(format!(
            "cannot obtain exclusive access to locked {described}. It could be originally declared on another \
             connection or the exclusive property value does not match that of the original declaration."
        ))
    }

    /// Drops the ready messages of a queue and says how many there were.
    pub fn purge(
        &mut self,
        connection: Option<ConnectionId>,
        name: &[u8],
        fx: &mut impl Effects,
    ) -> Result<usize, Exception> {
        let id = self.queue_id(name)?;
        self.check_not_locked(id, connection)?;
        self.check_not_stream(id, "queue.purge")?;
        let count = self.queues[id].purge();
        if count > 0 && self.queues[id].is_kept() {
            // Purged messages do not come back after a crash, once the client has been told.
            self.commits.note_definition();
            self.commits.make_thorough();
        }
        // What they wait for is not going to come.
        std::mem::take(&mut self.queues[id].fetchers).into_iter().for_each(|connection| fx.retry(connection));
        self.heed(id);
        Ok(count)
    }

    /// Deletes a queue and says how many ready messages it held; one that is not there is as good as deleted.
    pub fn delete_queue(
        &mut self,
        connection: Option<ConnectionId>,
        name: &[u8],
        if_unused: bool,
        if_empty: bool,
        fx: &mut impl Effects,
    ) -> Result<usize, Exception> {
        self.deletable(connection, name, if_unused, if_empty)?;
        match self.queue_names.get(name) {
            Some(&id) => Ok(self.remove_queue(id, fx)),
            None => Ok(0),
        }
    }

    /// Says how many ready messages a deletion would take, or refuses as it would.
    pub fn deletable(
        &self,
        connection: Option<ConnectionId>,
        name: &[u8],
        if_unused: bool,
        if_empty: bool,
    ) -> Result<usize, Exception> {
        let Some(&id) = self.queue_names.get(name) else { return Ok(0) };
        self.check_not_locked(id, connection)?;
        self.check_conditions(&self.queues[id], if_unused, if_empty)?;
        Ok(self.queues[id].ready())
    }

    /// The conditions of `queue.delete`: quorum queues know none, streams ignore them.
    fn check_conditions(&self, queue: &Queue, if_unused: bool, if_empty: bool) -> Result<(), Exception> {
        let described = || self.describe("queue", queue.name.as_bytes());
        match queue.settings.queue_type {
            QueueType::Classic if if_empty && !queue.is_empty() => {
                Err(Exception::precondition_failed(format!("{} not empty", described())))
            }
            QueueType::Classic if if_unused && queue.consumer_count() > 0 => {
                Err(Exception::precondition_failed(format!("{} in use", described())))
            }
            QueueType::Quorum if if_unused || if_empty => {
                let flag = if if_unused { "if-unused" } else { "if-empty" };
                Err(Exception::not_implemented(format!(
                    "cannot delete {}. queue.delete operations with {flag} flag set are not supported by quorum queues",
                    described()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what streams do not know.
    pub(super) fn check_not_stream(&self, id: QueueId, method: &str) -> Result<(), Exception> {
        let queue = &self.queues[id];
        if queue.settings.queue_type == QueueType::Stream {
            let described = self.describe("queue", queue.name.as_bytes());
            let text = format!("{method} not supported by stream queues {described}");
            return Err(Exception::not_implemented(text));
        }
        Ok(())
    }

    /// Takes a queue away with its bindings and consumers, who are told. Returns the ready messages lost.
    pub(in crate::broker) fn remove_queue(&mut self, id: QueueId, fx: &mut impl Effects) -> usize {
        self.consumers_deleted(id);
        let consumers = self.consumers_going_with(id);
        self.remove_bindings_of(id);
        Alarm::ALL.into_iter().for_each(|alarm| self.set_alarm(id, alarm, None));
        let Some(queue) = self.queues.remove(id) else { return 0 };
        self.retire(&queue);
        self.topology += 1;
        if queue.durable {
            let (name, log) = (Name::clone(&queue.name), queue.log_id());
            self.record(|_| Some(Change::DeleteQueue { name, log }));
        }
        self.queue_names.remove(queue.name.as_bytes());
        if let Some(owner) = queue.owner.and_then(|owner| self.connections.get_mut(owner)) {
            owner.exclusive_queues.remove(&id);
        }
        queue.fetchers.iter().for_each(|connection| fx.retry(*connection));
        if queue.is_stream() {
            self.note_stream_gone(id);
        }
        self.leave_groups(&consumers);
        for id in consumers {
            if let Some(consumer) = self.consumers.remove(id) {
                if let Some(channel) = self.channels.get_mut(consumer.channel) {
                    channel.consumers.remove(&consumer.tag);
                }
                fx.cancelled(consumer.connection, consumer.number, &consumer.tag);
            }
        }
        if let Some(filter) = &queue.filter {
            self.close_ledger(&filter.known);
        }
        let ready = queue.ready();
        count(&self.churn.queue_deleted);
        self.queue_deleted(&queue);
        self.discard(queue);
        // It is looked at once more, to be forgotten.
        self.touched.queues.push(id);
        ready
    }

    /// The consumers that go when a queue does. Who reads a super stream stays, with its other partitions.
    pub(in crate::broker) fn consumers_going_with(&self, id: QueueId) -> Vec<ConsumerId> {
        let all = self.queues.get(id).map(|queue| &*queue.consumers).unwrap_or_default();
        all.iter().copied().filter(|id| !self.reads_super_stream(*id)).collect()
    }

    /// Deletes an auto-delete queue whose last consumer has gone.
    pub(in crate::broker) fn delete_if_deserted(&mut self, id: QueueId, fx: &mut impl Effects) {
        if self.queues.get(id).is_some_and(|q| q.auto_delete && q.consumers.is_empty()) {
            self.remove_queue(id, fx);
        }
    }
}
