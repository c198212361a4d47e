//! The tables, and how a change becomes entries in them.
//!
//! Keys are what tells things apart. Values are JSON for properties, of which there may be more one day, and beside it
//! what is no text: arguments as AMQP has them, without a length in front.

use std::borrow::Borrow;
use std::ops::RangeBounds;

use amq_protocol::types::FieldTable;
use redb::{
    Key, ReadableTable as _, StorageError, Table, TableDefinition, TableError, Value, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::definitions::{
    About, GlobalParameter, NodeChange, PermissionDefinition, UserDefinition, VhostDefinition, VhostNumber,
};
use crate::auth::limits::{UserLimits, VhostLimits};
use crate::broker::definitions::{
    Change, DurableBinding, DurableExchange, DurableQueue, DurableTopicPermission, End,
};
use crate::broker::stream::marks::DurableMark;
use crate::wire::method;

type Octets = &'static [u8];

/// Numbers that are given once: those for the next vhost and the next queue's log.
pub const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// Name and properties.
pub const VHOSTS: TableDefinition<'static, VhostNumber, (&str, &str)> = TableDefinition::new("vhosts");
pub const USERS: TableDefinition<'static, &str, &str> = TableDefinition::new("users");
pub const PERMISSIONS: TableDefinition<'static, (&str, VhostNumber), &str> =
    TableDefinition::new("permissions");
pub const EXCHANGES: TableDefinition<'static, (VhostNumber, Octets), (&str, Octets)> =
    TableDefinition::new("exchanges");
/// Log, properties, arguments.
pub const QUEUES: TableDefinition<'static, (VhostNumber, Octets), (u64, &str, Octets)> =
    TableDefinition::new("queues");
pub const BINDINGS: TableDefinition<'static, BindingKey<'static>, (&str, Octets)> =
    TableDefinition::new("bindings");

/// By vhost, component and name. It is made when it is first written to.
pub const PARAMETERS: TableDefinition<'static, ParameterKey<'static>, &str> =
    TableDefinition::new("parameters");
/// The same.
pub const GLOBAL_PARAMETERS: TableDefinition<'static, &str, &str> = TableDefinition::new("global_parameters");

pub type ParameterKey<'a> = (VhostNumber, &'a str, &'a str);
/// Vhost, exchange, user.
pub const TOPIC_PERMISSIONS: TableDefinition<'static, TopicPermissionKey<'static>, &str> =
    TableDefinition::new("topic_permissions");

/// Numbers about streams, by vhost, log, what they are about, and name.
pub const MARKS: TableDefinition<'static, MarkKey<'static>, u64> = TableDefinition::new("marks");

pub type MarkKey<'a> = (VhostNumber, u64, u8, &'a str);

pub type TopicPermissionKey<'a> = (VhostNumber, &'a [u8], &'a [u8]);

/// Vhost, source, kind of destination, destination, routing key, and a hash of the arguments if there are any.
pub type BindingKey<'a> = (VhostNumber, &'a [u8], u8, &'a [u8], &'a [u8], &'a [u8]);

pub const TO_QUEUE: u8 = 0;
pub const TO_EXCHANGE: u8 = 1;

pub const NEXT_VHOST: &str = "next_vhost";
pub const NEXT_LOG: &str = "next_log";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VhostProperties {
    pub description: String,
    pub tags: Vec<String>,
    pub default_queue_type: String,
    pub protected: bool,
    pub tracing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<VhostLimits>,
}

impl From<&About> for VhostProperties {
    fn from(about: &About) -> Self {
        Self {
            description: about.description.clone(),
            tags: about.tags.clone(),
            default_queue_type: about.default_queue_type.name().to_owned(),
            protected: about.protected,
            tracing: about.tracing,
            creator: about.creator.as_deref().map(Into::into),
            limits: about.limits,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UserProperties {
    /// In base64, salt included; none lets nobody in.
    pub password_hash: Option<String>,
    pub hashing_algorithm: String,
    pub tags: Vec<Box<str>>,
    pub limits: UserLimits,
}

impl From<&UserDefinition> for UserProperties {
    fn from(user: &UserDefinition) -> Self {
        let password = user.password.as_ref();
        Self {
            password_hash: password.map(|hash| hash.to_base64()),
            hashing_algorithm: password.map(|hash| hash.algorithm.name().to_owned()).unwrap_or_default(),
            tags: user.tags.clone(),
            limits: user.limits,
        }
    }
}

/// What is missing allows nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PermissionProperties {
    pub configure: Box<str>,
    pub write: Box<str>,
    pub read: Box<str>,
}

/// The same for topics.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicPermissionProperties {
    pub write: Box<str>,
    pub read: Box<str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ExchangeProperties {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_delete: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Where the messages are that it delays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<Box<str>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueProperties {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_delete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<Box<str>>,
}

/// All tables, open for changes.
pub struct Writer<'t> {
    meta: Table<'t, &'static str, u64>,
    vhosts: Table<'t, VhostNumber, (&'static str, &'static str)>,
    users: Table<'t, &'static str, &'static str>,
    permissions: Table<'t, (&'static str, VhostNumber), &'static str>,
    exchanges: Table<'t, (VhostNumber, Octets), (&'static str, Octets)>,
    queues: Table<'t, (VhostNumber, Octets), (u64, &'static str, Octets)>,
    bindings: Table<'t, BindingKey<'static>, (&'static str, Octets)>,
    parameters: Table<'t, ParameterKey<'static>, &'static str>,
    global_parameters: Table<'t, &'static str, &'static str>,
    topic_permissions: Table<'t, TopicPermissionKey<'static>, &'static str>,
    marks: Table<'t, MarkKey<'static>, u64>,
    /// The vhost that was looked for last, and whether it is there.
    last_vhost: Option<(VhostNumber, bool)>,
}

impl<'t> Writer<'t> {
    /// Opens the tables; those that are missing are made.
    pub fn new(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            vhosts: transaction.open_table(VHOSTS)?,
            users: transaction.open_table(USERS)?,
            permissions: transaction.open_table(PERMISSIONS)?,
            exchanges: transaction.open_table(EXCHANGES)?,
            queues: transaction.open_table(QUEUES)?,
            bindings: transaction.open_table(BINDINGS)?,
            parameters: transaction.open_table(PARAMETERS)?,
            global_parameters: transaction.open_table(GLOBAL_PARAMETERS)?,
            topic_permissions: transaction.open_table(TOPIC_PERMISSIONS)?,
            marks: transaction.open_table(MARKS)?,
            last_vhost: None,
        })
    }

    /// Makes a change. What belongs to a vhost that is gone goes nowhere.
    pub fn apply(&mut self, change: &NodeChange) -> Result<(), StorageError> {
        match change {
            NodeChange::PutVhost(vhost) => self.put_vhost(vhost),
            NodeChange::DeleteVhost { number, .. } => self.delete_vhost(*number),
            NodeChange::PutUser(user) => self.put_user(user),
            NodeChange::DeleteUser(name) => self.delete_user(name),
            NodeChange::PutPermission(permission) if self.has_vhost(permission.vhost)? => {
                self.put_permission(permission)
            }
            NodeChange::DeletePermission { user, vhost } => {
                self.permissions.remove((&**user, *vhost)).map(drop)
            }
            NodeChange::PutParameter(parameter) if self.has_vhost(parameter.vhost)? => {
                let key = (parameter.vhost, &*parameter.component, &*parameter.name);
                self.parameters.insert(key, &*parameter.value).map(drop)
            }
            NodeChange::DeleteParameter { vhost, component, name } => {
                self.parameters.remove((*vhost, &**component, &**name)).map(drop)
            }
            NodeChange::PutGlobalParameter(GlobalParameter { name, value }) => {
                self.global_parameters.insert(&**name, &**value).map(drop)
            }
            NodeChange::DeleteGlobalParameter(name) => self.global_parameters.remove(&**name).map(drop),
            NodeChange::InVhost { vhost, change } if self.has_vhost(*vhost)? => {
                self.apply_in_vhost(*vhost, change)
            }
            NodeChange::PutPermission(_) | NodeChange::PutParameter(_) | NodeChange::InVhost { .. } => Ok(()),
        }
    }

    fn has_vhost(&mut self, number: VhostNumber) -> Result<bool, StorageError> {
        match self.last_vhost {
            Some((last, there)) if last == number => Ok(there),
            _ => {
                let there = self.vhosts.get(number)?.is_some();
                self.last_vhost = Some((number, there));
                Ok(there)
            }
        }
    }

    /// A counter is never set back.
    fn count_on(&mut self, counter: &str, next: u64) -> Result<(), StorageError> {
        if self.meta.get(counter)?.is_none_or(|current| current.value() < next) {
            self.meta.insert(counter, next)?;
        }
        Ok(())
    }

    fn put_vhost(&mut self, vhost: &VhostDefinition) -> Result<(), StorageError> {
        self.last_vhost = None;
        let properties = json(&VhostProperties::from(&vhost.about))?;
        self.vhosts.insert(vhost.number, (&*vhost.name, &*properties))?;
        self.count_on(NEXT_VHOST, u64::from(vhost.number) + 1)
    }

    fn delete_vhost(&mut self, number: VhostNumber) -> Result<(), StorageError> {
        self.last_vhost = None;
        self.vhosts.remove(number)?;
        let none: &[u8] = &[];
        let next = number.saturating_add(1);
        let first = |number| (number, none, 0, none, none, none);
        clear(&mut self.permissions, ("", 0).., |(_, vhost)| *vhost == number)?;
        clear(&mut self.exchanges, (number, none)..(next, none), |_| true)?;
        clear(&mut self.queues, (number, none)..(next, none), |_| true)?;
        clear(&mut self.bindings, first(number)..first(next), |_| true)?;
        clear(&mut self.parameters, (number, "", "")..(next, "", ""), |_| true)?;
        clear(&mut self.marks, (number, 0, 0, "")..(next, 0, 0, ""), |_| true)?;
        clear(&mut self.topic_permissions, (number, none, none)..(next, none, none), |_| true)
    }

    fn put_user(&mut self, user: &UserDefinition) -> Result<(), StorageError> {
        let properties = json(&UserProperties::from(user))?;
        self.users.insert(&*user.name, &*properties).map(drop)
    }

    fn delete_user(&mut self, name: &str) -> Result<(), StorageError> {
        self.users.remove(name)?;
        clear(&mut self.permissions, (name, 0)..=(name, VhostNumber::MAX), |_| true)
    }

    fn put_permission(&mut self, permission: &PermissionDefinition) -> Result<(), StorageError> {
        let PermissionDefinition { user, vhost, configure, write, read } = permission;
        let properties =
            PermissionProperties { configure: configure.clone(), write: write.clone(), read: read.clone() };
        self.permissions.insert((&**user, *vhost), &*json(&properties)?).map(drop)
    }

    fn apply_in_vhost(&mut self, vhost: VhostNumber, change: &Change) -> Result<(), StorageError> {
        match change {
            Change::PutExchange(exchange) => self.put_exchange(vhost, exchange),
            Change::DeleteExchange(name) => self.exchanges.remove((vhost, name.as_bytes())).map(drop),
            Change::PutQueue(queue) => self.put_queue(vhost, queue),
            Change::DeleteQueue { name, log } => {
                self.queues.remove((vhost, name.as_bytes()))?;
                clear(&mut self.marks, (vhost, log.0, 0, "")..(vhost, log.0 + 1, 0, ""), |_| true)
            }
            Change::PutBinding(binding) => {
                let arguments = octets(&binding.arguments);
                let hash = hash(&arguments);
                self.bindings.insert(binding_key(vhost, binding, &hash), ("", &*arguments)).map(drop)
            }
            Change::DeleteBinding(binding) => {
                let hash = hash(&octets(&binding.arguments));
                self.bindings.remove(binding_key(vhost, binding, &hash)).map(drop)
            }
            Change::PutTopicPermission(permission) => self.put_topic_permission(vhost, permission),
            Change::PutMark(DurableMark { log, about, name, number }) => {
                self.marks.insert((vhost, log.0, about.number(), &**name), number).map(drop)
            }
            Change::DeleteMark { log, about, name } => {
                self.marks.remove((vhost, log.0, about.number(), &**name)).map(drop)
            }
            Change::DeleteTopicPermission { exchange, user } => {
                self.topic_permissions.remove((vhost, exchange.as_bytes(), user.as_bytes())).map(drop)
            }
        }
    }

    fn put_exchange(&mut self, vhost: VhostNumber, exchange: &DurableExchange) -> Result<(), StorageError> {
        let DurableExchange { name, kind, auto_delete, internal, arguments, log, creator } = exchange;
        let properties = ExchangeProperties {
            kind: kind.name().to_owned(),
            auto_delete: *auto_delete,
            internal: *internal,
            log: log.map(|log| log.0),
            creator: creator.as_deref().map(Into::into),
        };
        let value = (&*json(&properties)?, &*octets(arguments));
        self.exchanges.insert((vhost, name.as_bytes()), value)?;
        log.map_or(Ok(()), |log| self.count_on(NEXT_LOG, log.0 + 1))
    }

    fn put_topic_permission(
        &mut self,
        vhost: VhostNumber,
        permission: &DurableTopicPermission,
    ) -> Result<(), StorageError> {
        let DurableTopicPermission { exchange, user, write, read } = permission;
        let properties = TopicPermissionProperties { write: write.clone(), read: read.clone() };
        let key = (vhost, exchange.as_bytes(), user.as_bytes());
        self.topic_permissions.insert(key, &*json(&properties)?).map(drop)
    }

    fn put_queue(&mut self, vhost: VhostNumber, queue: &DurableQueue) -> Result<(), StorageError> {
        let DurableQueue { name, log, auto_delete, arguments, creator } = queue;
        let creator = creator.as_deref().map(Into::into);
        let properties = QueueProperties { auto_delete: *auto_delete, creator };
        let value = (log.0, &*json(&properties)?, &*octets(arguments));
        self.queues.insert((vhost, name.as_bytes()), value)?;
        self.count_on(NEXT_LOG, log.0 + 1)
    }
}

/// Removes entries one by one. redb's own `retain_in` copies the way to each of them anew, which is slow by orders.
fn clear<'a, K: Key + 'static, V: Value + 'static, B: Borrow<K::SelfType<'a>> + 'a>(
    table: &mut Table<'_, K, V>,
    range: impl RangeBounds<B> + Clone + 'a,
    chosen: impl Fn(&K::SelfType<'_>) -> bool,
) -> Result<(), StorageError> {
    // So many at a time, for the sake of memory.
    const RUN: usize = 1000;
    loop {
        let mut keys = Vec::new();
        for entry in table.range(range.clone())? {
            let (key, _) = entry?;
            let key = key.value();
            if chosen(&key) {
                keys.push(K::as_bytes(&key).as_ref().to_vec());
            }
            if keys.len() == RUN {
                break;
            }
        }
        for key in &keys {
            table.remove(K::from_bytes(key))?;
        }
        if keys.len() < RUN {
            return Ok(());
        }
    }
}

fn binding_key<'a>(vhost: VhostNumber, binding: &'a DurableBinding, hash: &'a [u8]) -> BindingKey<'a> {
    let (kind, destination) = match &binding.destination {
        End::Queue(name) => (TO_QUEUE, name),
        End::Exchange(name) => (TO_EXCHANGE, name),
    };
    (vhost, binding.source.as_bytes(), kind, destination.as_bytes(), &binding.routing_key, hash)
}

fn json(properties: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(properties).map_err(|e| StorageError::Io(e.into()))
}

/// Arguments as AMQP has them, without the length in front.
fn octets(arguments: &FieldTable) -> Vec<u8> {
    if arguments.inner().is_empty() {
        return Vec::new();
    }
    method::encode_table(arguments).split_off(4)
}

/// What stands for arguments in a key: nothing for none.
fn hash(arguments: &[u8]) -> Vec<u8> {
    if arguments.is_empty() { Vec::new() } else { Sha256::digest(arguments).to_vec() }
}
