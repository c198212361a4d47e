//! What of a vhost outlives a restart: its durable exchanges, queues and bindings, topic permissions, and how they change.
//!
//! A binding is durable if both its ends are. The exchanges that every vhost has are durable but not kept, since
//! they are always there; bindings from and to them are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use amq_protocol::types::FieldTable;

use super::dedup::ledger;
use super::exchange::{Binding, Destination, Exchange, Kind};
use super::queue::Queue;
use super::queue::arguments::{self, QueueType};
use super::stream::marks::{About, DurableMark};
use super::vhost::Vhost;
use super::{Name, text};
use crate::log::disk::LogId;

#[derive(Clone, Debug, PartialEq)]
pub struct DurableExchange {
    pub name: Name,
    pub kind: Kind,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    /// Where the messages are that it delays.
    pub log: Option<LogId>,
    pub creator: Option<Name>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DurableQueue {
    pub name: Name,
    /// Where its messages are.
    pub log: LogId,
    pub auto_delete: bool,
    pub arguments: FieldTable,
    pub creator: Option<Name>,
}

/// A binding by the names of its ends. All of it together is what tells it from others.
#[derive(Clone, Debug, PartialEq)]
pub struct DurableBinding {
    pub source: Name,
    pub destination: End,
    pub routing_key: Box<[u8]>,
    pub arguments: FieldTable,
}

/// Where a durable binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Queue(Name),
    Exchange(Name),
}

/// A user's permissions for the topics of a durable exchange, as they were given.
#[derive(Clone, Debug, PartialEq)]
pub struct DurableTopicPermission {
    pub exchange: Name,
    pub user: Name,
    pub write: Box<str>,
    pub read: Box<str>,
}

/// Everything durable in a vhost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    pub exchanges: Vec<DurableExchange>,
    pub queues: Vec<DurableQueue>,
    pub bindings: Vec<DurableBinding>,
    pub topic_permissions: Vec<DurableTopicPermission>,
    /// Numbers about streams.
    pub marks: Vec<DurableMark>,
}

/// A change of something durable. What is put was not there before, or was just the same, but for permissions.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    PutExchange(DurableExchange),
    DeleteExchange(Name),
    PutQueue(DurableQueue),
    /// Nobody needs the queue's log any more.
    DeleteQueue {
        name: Name,
        log: LogId,
    },
    PutBinding(DurableBinding),
    DeleteBinding(DurableBinding),
    PutTopicPermission(DurableTopicPermission),
    /// The number may have been another one before.
    PutMark(DurableMark),
    DeleteMark {
        log: LogId,
        about: About,
        name: Name,
    },
    DeleteTopicPermission {
        exchange: Name,
        user: Name,
    },
}

/// Why something that was kept is not back as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRestored {
    #[error("the {0} is there already")]
    Twice(String),
    #[error("{0}; taken for a classic one")]
    QueueType(String),
    #[error("an end of a binding is missing: from exchange '{from}' with key '{key}' to {to}")]
    Dangling { from: Name, key: String, to: String },
    #[error("{0}")]
    TopicPermission(String),
}

impl Vhost {
    /// Takes the numbers of its queues' logs from a counter that others count on, too. It holds the next number.
    pub fn share_log_ids(&mut self, next: Arc<AtomicU64>) {
        self.log_ids = next;
    }

    pub(super) fn next_log_id(&self) -> LogId {
        LogId(self.log_ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands over the changes since the last call, in the order in which they happened. There are none as long as
    /// [`commits`](Self::commits) are off.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Notes a change, if it is one of something durable, and the vhost is kept on disk.
    pub(super) fn record(&mut self, change: impl FnOnce(&Self) -> Option<Change>) {
        if !self.commits.is_on() {
            return;
        }
        if let Some(change) = change(self) {
            self.changes.push(change);
            self.commits.note_definition();
        }
    }

    /// A binding as it is kept, if it is.
    pub(super) fn durable_binding(&self, binding: &Binding) -> Option<DurableBinding> {
        let source = self.exchanges.get(binding.source).filter(|exchange| exchange.durable)?;
        let destination = match binding.destination {
            Destination::Queue(id) => {
                End::Queue(Name::clone(&self.queues.get(id).filter(|queue| queue.durable)?.name))
            }
            Destination::Exchange(id) => {
                End::Exchange(Name::clone(&self.exchanges.get(id).filter(|exchange| exchange.durable)?.name))
            }
        };
        Some(DurableBinding {
            source: Name::clone(&source.name),
            destination,
            routing_key: binding.routing_key.clone(),
            arguments: binding.arguments.clone(),
        })
    }

    /// Brings back what was kept, and says what could not be. What was accepted once is not checked again, and
    /// nothing of this is a change.
    pub fn restore_definitions(&mut self, stored: Definitions) -> Vec<NotRestored> {
        let mut errors = Vec::new();
        for exchange in stored.exchanges {
            errors.extend(self.restore_exchange(exchange).err());
        }
        for queue in stored.queues {
            errors.extend(self.restore_queue(queue).err());
        }
        self.link_ledgers();
        self.restore_marks(stored.marks);
        for binding in stored.bindings {
            errors.extend(self.restore_binding(binding).err());
        }
        for permission in stored.topic_permissions {
            let restored = self.restore_topic_permission(permission);
            errors.extend(restored.map_err(NotRestored::TopicPermission).err());
        }
        errors
    }

    fn restore_exchange(&mut self, stored: DurableExchange) -> Result<(), NotRestored> {
        let DurableExchange { name, kind, auto_delete, internal, arguments, log, creator } = stored;
        if self.exchange(name.as_bytes()).is_some() {
            return Err(NotRestored::Twice(self.describe("exchange", name.as_bytes())));
        }
        if let Some(log) = log {
            self.log_ids.fetch_max(log.0 + 1, Ordering::Relaxed);
        }
        let mut exchange = Exchange::new(name, kind, true, auto_delete, internal, arguments);
        exchange.creator = creator;
        let id = self.insert_exchange(exchange);
        self.add_delays(id, log);
        if log.is_none() && self.exchanges[id].behind.is_some() {
            // A version that knew nothing of delays has left it behind.
            self.record(|vhost| vhost.exchanges[id].durable().map(Change::PutExchange));
        }
        Ok(())
    }

    fn restore_queue(&mut self, stored: DurableQueue) -> Result<(), NotRestored> {
        let DurableQueue { name, log, auto_delete, arguments, creator } = stored;
        let described = self.describe("queue", name.as_bytes());
        if self.queue(name.as_bytes()).is_some() {
            return Err(NotRestored::Twice(described));
        }
        if let Some(owner) = ledger::owner(&name) {
            self.log_ids.fetch_max(log.0 + 1, Ordering::Relaxed);
            let log = self.log_with(Some(log));
            self.add_ledger(&owner, log);
            return Ok(());
        }
        let queue_type = arguments::queue_type(&arguments, &described);
        self.log_ids.fetch_max(log.0 + 1, Ordering::Relaxed);
        let log = self.log_with(Some(log));
        let mut queue = Queue::new(name, true, None, auto_delete, log);
        queue.creator = creator;
        let settings = arguments::read(*queue_type.as_ref().unwrap_or(&QueueType::Classic), &arguments);
        queue.define(settings, arguments);
        let id = self.insert_queue(queue);
        self.note_use(id);
        queue_type.map(drop).map_err(|e| NotRestored::QueueType(e.explanation))
    }

    fn restore_binding(&mut self, stored: DurableBinding) -> Result<(), NotRestored> {
        let DurableBinding { source, destination, routing_key, arguments } = stored;
        let to = match &destination {
            End::Queue(name) => self.queue_names.get(name.as_bytes()).copied().map(Destination::Queue),
            End::Exchange(name) => {
                self.exchange_names.get(name.as_bytes()).copied().map(Destination::Exchange)
            }
        };
        let (Some(&from), Some(to)) = (self.exchange_names.get(source.as_bytes()), to) else {
            let to = match destination {
                End::Queue(name) => self.describe("queue", name.as_bytes()),
                End::Exchange(name) => self.describe("exchange", name.as_bytes()),
            };
            let key = text(&routing_key).into_owned();
            return Err(NotRestored::Dangling { from: source, key, to });
        };
        self.insert_binding(Binding { source: from, destination: to, routing_key, arguments });
        Ok(())
    }
}

impl Exchange {
    /// An exchange as it is kept, if it is.
    pub(super) fn durable(&self) -> Option<DurableExchange> {
        self.durable.then(|| DurableExchange {
            name: Name::clone(&self.name),
            kind: self.kind,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.clone(),
            log: self.behind.and_then(|behind| behind.log),
            creator: self.creator.clone(),
        })
    }
}

impl Queue {
    /// A queue as it is kept, if it is.
    pub(super) fn durable(&self) -> Option<DurableQueue> {
        self.durable.then(|| DurableQueue {
            name: Name::clone(&self.name),
            log: self.log_id(),
            auto_delete: self.auto_delete,
            arguments: self.arguments.clone(),
            creator: self.creator.clone(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
