//! Entries back into definitions. An entry that makes no sense, as one of a later version may, is told and passed
//! over, unless messages hang on it: queues and vhosts come back whatever their properties say.

use std::collections::BTreeMap;

use amq_protocol::types::FieldTable;
use redb::{Key, ReadOnlyTable, ReadTransaction, ReadableTable as _, TableDefinition, TableError, Value};
use serde::de::DeserializeOwned;

use super::definitions::{
    About, Definitions, GlobalParameter, ParameterDefinition, PermissionDefinition, UserDefinition,
    VhostDefinition, VhostNumber,
};
use super::tables::{
    BINDINGS, EXCHANGES, ExchangeProperties, GLOBAL_PARAMETERS, MARKS, META, NEXT_LOG, NEXT_VHOST,
    PARAMETERS, PERMISSIONS, PermissionProperties, QUEUES, QueueProperties, TO_EXCHANGE, TO_QUEUE,
    TOPIC_PERMISSIONS, TopicPermissionProperties, USERS, UserProperties, VHOSTS, VhostProperties,
};
use crate::auth::password::{Algorithm, PasswordHash};
use crate::broker::Name;
use crate::broker::definitions::{self, DurableBinding, DurableExchange, DurableQueue};
use crate::broker::definitions::{DurableTopicPermission, End};
use crate::broker::exchange::Kind;
use crate::broker::queue::arguments::QueueType;
use crate::broker::stream::marks::{About as Marked, DurableMark};
use crate::log::disk::LogId;
use crate::wire::table;

/// How deep arguments may lie in each other, counted by `wire::table`. More than anybody can declare: AMQP allows 64,
/// JSON 128.
const DEPTH_MAX: usize = 160;

/// Why an entry is passed over, or not all of it taken.
#[derive(Debug, thiserror::Error)]
enum Senseless {
    #[error("a name is not UTF-8")]
    Name(#[from] std::str::Utf8Error),
    #[error("its properties cannot be read: {0}")]
    Properties(#[from] serde_json::Error),
    #[error("its arguments cannot be read")]
    Arguments,
    #[error("its type is unknown: {0:?}")]
    Kind(String),
    #[error("its password cannot be read, and lets nobody in")]
    Password,
    #[error("there is no vhost with number {0}")]
    Vhost(VhostNumber),
}

type Vhosts = BTreeMap<VhostNumber, (VhostDefinition, definitions::Definitions)>;

/// Reads everything.
pub fn read(transaction: &ReadTransaction) -> Result<Definitions, redb::Error> {
    let mut vhosts = read_vhosts(transaction)?;
    read_exchanges(transaction, &mut vhosts)?;
    read_queues(transaction, &mut vhosts)?;
    read_bindings(transaction, &mut vhosts)?;
    read_topic_permissions(transaction, &mut vhosts)?;
    read_marks(transaction, &mut vhosts)?;
    let meta = transaction.open_table(META)?;
    let number = |name| meta.get(name).map(|found| found.map(|number| number.value()));
    let next_vhost = number(NEXT_VHOST)?.map(|next| VhostNumber::try_from(next).unwrap_or(VhostNumber::MAX));
    let next_log = number(NEXT_LOG)?.unwrap_or(1);
    let (users, permissions) = (read_users(transaction)?, read_permissions(transaction)?);
    let parameters = read_parameters(transaction, &vhosts)?;
    let global_parameters = read_global_parameters(transaction)?;
    let vhosts = vhosts.into_values().collect();
    Ok(Definitions { vhosts, users, permissions, parameters, global_parameters, next_vhost, next_log })
}

fn read_vhosts(transaction: &ReadTransaction) -> Result<Vhosts, redb::Error> {
    let mut vhosts = Vhosts::new();
    for entry in transaction.open_table(VHOSTS)?.iter()? {
        let (key, value) = entry?;
        let (number, (name, properties)) = (key.value(), value.value());
        let properties: VhostProperties = properties_of("vhost", name, properties);
        let queue_type = QueueType::from_name(properties.default_queue_type.as_bytes());
        if queue_type.is_none() {
            tell("vhost", name, &Senseless::Kind(properties.default_queue_type));
        }
        let about = About {
            description: properties.description,
            tags: properties.tags,
            default_queue_type: queue_type.unwrap_or_default(),
            protected: properties.protected,
            tracing: properties.tracing,
            creator: properties.creator.map(Into::into),
            limits: properties.limits,
        };
        let vhost = VhostDefinition { number, name: name.into(), about };
        vhosts.insert(number, (vhost, definitions::Definitions::default()));
    }
    Ok(vhosts)
}

fn read_users(transaction: &ReadTransaction) -> Result<Vec<UserDefinition>, redb::Error> {
    let mut users = Vec::new();
    for entry in transaction.open_table(USERS)?.iter()? {
        let (key, value) = entry?;
        let name = key.value();
        let properties: UserProperties = properties_of("user", name, value.value());
        let password = properties.password_hash.as_deref().and_then(|hash| {
            let algorithm = Algorithm::from_name(&properties.hashing_algorithm);
            let password = algorithm.and_then(|algorithm| PasswordHash::from_base64(hash, algorithm));
            if password.is_none() {
                tell("user", name, &Senseless::Password);
            }
            password
        });
        let UserProperties { tags, limits, .. } = properties;
        users.push(UserDefinition { name: name.into(), password, tags, limits });
    }
    Ok(users)
}

fn read_permissions(transaction: &ReadTransaction) -> Result<Vec<PermissionDefinition>, redb::Error> {
    let mut permissions = Vec::new();
    for entry in transaction.open_table(PERMISSIONS)?.iter()? {
        let (key, value) = entry?;
        let (user, vhost) = key.value();
        match serde_json::from_str(value.value()) {
            Ok(PermissionProperties { configure, write, read }) => {
                permissions.push(PermissionDefinition { user: user.into(), vhost, configure, write, read });
            }
            Err(e) => tell("permissions of user", user, &Senseless::Properties(e)),
        }
    }
    Ok(permissions)
}

fn read_exchanges(transaction: &ReadTransaction, vhosts: &mut Vhosts) -> Result<(), redb::Error> {
    for entry in transaction.open_table(EXCHANGES)?.iter()? {
        let (key, value) = entry?;
        let ((vhost, name), (properties, arguments)) = (key.value(), value.value());
        match in_vhost(vhosts, vhost).and_then(|found| Ok((found, exchange(name, properties, arguments)?))) {
            Ok((vhost, exchange)) => vhost.exchanges.push(exchange),
            Err(why) => tell("exchange", &String::from_utf8_lossy(name), &why),
        }
    }
    Ok(())
}

fn exchange(name: &[u8], properties: &str, octets: &[u8]) -> Result<DurableExchange, Senseless> {
    let name = Name::from(std::str::from_utf8(name)?);
    let ExchangeProperties { kind, auto_delete, internal, log, creator } = serde_json::from_str(properties)?;
    let kind = Kind::from_name(&kind).ok_or(Senseless::Kind(kind))?;
    let (arguments, log) = (arguments(octets)?, log.map(LogId));
    let creator = creator.map(Into::into);
    Ok(DurableExchange { name, kind, auto_delete, internal, arguments, log, creator })
}

fn read_queues(transaction: &ReadTransaction, vhosts: &mut Vhosts) -> Result<(), redb::Error> {
    // Mostly many queues have one creator, whose name is kept once.
    let mut last = Name::from("");
    for entry in transaction.open_table(QUEUES)?.iter()? {
        let (key, value) = entry?;
        let ((vhost, octets), (log, properties, args)) = (key.value(), value.value());
        let name = String::from_utf8_lossy(octets);
        let arguments = arguments(args).unwrap_or_else(|why| {
            tell("queue", &name, &why);
            FieldTable::default()
        });
        let QueueProperties { auto_delete, creator } = properties_of("queue", &name, properties);
        match in_vhost(vhosts, vhost) {
            Ok(vhost) => {
                let creator = creator.map(|creator| shared(&mut last, &creator));
                let (name, log) = ((&*name).into(), LogId(log));
                let queue = DurableQueue { name, log, auto_delete, arguments, creator };
                vhost.queues.push(queue);
            }
            Err(why) => tell("queue", &name, &why),
        }
    }
    Ok(())
}

/// A name, which is the last one if it is the same.
fn shared(last: &mut Name, name: &str) -> Name {
    if &**last != name {
        *last = name.into();
    }
    Name::clone(last)
}

fn read_bindings(transaction: &ReadTransaction, vhosts: &mut Vhosts) -> Result<(), redb::Error> {
    // Bindings of one source come together: its name is kept once.
    let mut source = Name::from("");
    for entry in transaction.open_table(BINDINGS)?.iter()? {
        let (key, value) = entry?;
        let (vhost, from, kind, to, routing_key, _) = key.value();
        let binding = in_vhost(vhosts, vhost).and_then(|found| {
            if source.as_bytes() != from {
                source = std::str::from_utf8(from)?.into();
            }
            Ok((found, binding(&source, (kind, to), routing_key, value.value().1)?))
        });
        match binding {
            Ok((vhost, binding)) => vhost.bindings.push(binding),
            Err(why) => tell("binding from exchange", &String::from_utf8_lossy(from), &why),
        }
    }
    Ok(())
}

fn binding(
    source: &Name,
    (kind, to): (u8, &[u8]),
    routing_key: &[u8],
    octets: &[u8],
) -> Result<DurableBinding, Senseless> {
    let to = Name::from(std::str::from_utf8(to)?);
    let destination = match kind {
        TO_QUEUE => End::Queue(to),
        TO_EXCHANGE => End::Exchange(to),
        other => return Err(Senseless::Kind(other.to_string())),
    };
    let (source, routing_key, arguments) = (Name::clone(source), routing_key.into(), arguments(octets)?);
    Ok(DurableBinding { source, destination, routing_key, arguments })
}

/// A table, if it is there: older catalogs lack those that came later.
fn table<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'static, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, redb::Error> {
    match transaction.open_table(definition) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}

fn read_parameters(
    transaction: &ReadTransaction,
    vhosts: &Vhosts,
) -> Result<Vec<ParameterDefinition>, redb::Error> {
    let mut parameters = Vec::new();
    let Some(table) = table(transaction, PARAMETERS)? else { return Ok(parameters) };
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (vhost, component, name) = key.value();
        if vhosts.contains_key(&vhost) {
            let (component, name, value) = (component.into(), name.into(), value.value().into());
            parameters.push(ParameterDefinition { vhost, component, name, value });
        } else {
            tell(component, name, &Senseless::Vhost(vhost));
        }
    }
    Ok(parameters)
}

fn read_global_parameters(transaction: &ReadTransaction) -> Result<Vec<GlobalParameter>, redb::Error> {
    let mut parameters = Vec::new();
    let Some(table) = table(transaction, GLOBAL_PARAMETERS)? else { return Ok(parameters) };
    for entry in table.iter()? {
        let (name, value) = entry?;
        parameters.push(GlobalParameter { name: name.value().into(), value: value.value().into() });
    }
    Ok(parameters)
}

fn read_topic_permissions(transaction: &ReadTransaction, vhosts: &mut Vhosts) -> Result<(), redb::Error> {
    let table = match transaction.open_table(TOPIC_PERMISSIONS) {
        // A catalog from before there were any.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (vhost, exchange, user) = key.value();
        let found = in_vhost(vhosts, vhost)
            .and_then(|found| Ok((found, topic_permission(exchange, user, value.value())?)));
        match found {
            Ok((vhost, permission)) => vhost.topic_permissions.push(permission),
            Err(why) => tell("topic permissions on exchange", &String::from_utf8_lossy(exchange), &why),
        }
    }
    Ok(())
}

fn read_marks(transaction: &ReadTransaction, vhosts: &mut Vhosts) -> Result<(), redb::Error> {
    let table = match transaction.open_table(MARKS) {
        // A catalog from before there were any.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (vhost, log, about, name) = key.value();
        let kind = Marked::from_number(about).ok_or_else(|| Senseless::Kind(about.to_string()));
        match in_vhost(vhosts, vhost).and_then(|found| Ok((found, kind?))) {
            Ok((vhost, about)) => {
                let (log, name, number) = (LogId(log), name.into(), value.value());
                vhost.marks.push(DurableMark { log, about, name, number });
            }
            Err(why) => tell("a number of a stream", name, &why),
        }
    }
    Ok(())
}

fn topic_permission(
    exchange: &[u8],
    user: &[u8],
    properties: &str,
) -> Result<DurableTopicPermission, Senseless> {
    let [exchange, user] = [std::str::from_utf8(exchange)?, std::str::from_utf8(user)?].map(Name::from);
    let TopicPermissionProperties { write, read } = serde_json::from_str(properties)?;
    Ok(DurableTopicPermission { exchange, user, write, read })
}

fn in_vhost(vhosts: &mut Vhosts, number: VhostNumber) -> Result<&mut definitions::Definitions, Senseless> {
    vhosts.get_mut(&number).map(|(_, found)| found).ok_or(Senseless::Vhost(number))
}

fn arguments(octets: &[u8]) -> Result<FieldTable, Senseless> {
    table::decode_table_within(octets, DEPTH_MAX).ok_or(Senseless::Arguments)
}

/// Properties, the default ones where they cannot be read.
fn properties_of<T: DeserializeOwned + Default>(what: &str, name: &str, properties: &str) -> T {
    serde_json::from_str(properties).unwrap_or_else(|e| {
        tell(what, name, &Senseless::Properties(e));
        T::default()
    })
}

fn tell(what: &str, name: &str, why: &Senseless) {
    tracing::error!("the catalog's entry for {what} '{name}' makes no sense: {why}");
}
