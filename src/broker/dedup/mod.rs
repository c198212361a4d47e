//! Deduplication: a message whose key has been seen before is dropped, by a queue or by an exchange that was declared
//! so. The key is the value of a header.
//!
//! What comes in are messages on their way and what becomes of those that a queue holds; what goes out is whether one
//! is a duplicate. A key is known as long as a message with it is in the queue, or, where there is a cache, as long as
//! it is among the last ones. Arguments are those of RabbitMQ's community plugin and of LavinMQ.
//!
//! - this file: the arguments
//! - [`key`][]: what is remembered of a message
//! - [`keys`][]: keys by their age, and caches of them
//! - [`claims`][]: exchanges, and what a publish has them remember
//! - [`queues`][]: queues
//! - [`ledger`][]: caches that survive

pub mod claims;
pub mod key;
pub mod keys;
pub mod ledger;
pub mod queues;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::exchange::Kind;
use super::exchange::arguments::integer;
use super::queue::arguments::QueueType;
use crate::wire::content::Message;
use crate::wire::properties::{self, HEADERS};
use crate::wire::reply::Exception;
use crate::wire::table::{self, Value};
use key::Key;
use keys::{Cache, Keys};

const ON: &str = "x-message-deduplication";
const HEADER: &str = "x-deduplication-header";
const SIZE: &str = "x-cache-size";
const TTL: &str = "x-cache-ttl";
const PERSISTENCE: &str = "x-cache-persistence";

/// Entries of a cache whose declaration does not say.
const SIZE_DEFAULT: u64 = 128;

/// What drops duplicates.
#[derive(Debug)]
pub struct Filter {
    /// The header whose value is the key.
    header: Box<[u8]>,
    pub(in crate::broker) known: Known,
    /// How many it has dropped.
    pub duplicates: u64,
}

/// Which keys are known.
#[derive(Debug)]
pub(in crate::broker) enum Known {
    /// Those of the messages in a queue, by their positions.
    Held(Keys),
    /// The last ones.
    Last(Cache),
}

impl Filter {
    /// That of an exchange, if it has one.
    pub fn of_exchange(kind: Kind, arguments: &FieldTable) -> Option<Box<Self>> {
        let is_on = kind == Kind::Deduplication || is_on(arguments);
        is_on.then(|| Box::new(Self::new(arguments, Known::Last(cache(arguments)))))
    }

    /// That of a queue, if it has one. A stream keeps everything.
    pub fn of_queue(queue_type: QueueType, arguments: &FieldTable) -> Option<Box<Self>> {
        if !is_on(arguments) || queue_type == QueueType::Stream {
            return None;
        }
        let cached = arguments.contains_key(SIZE) || arguments.contains_key(TTL);
        let known = if cached { Known::Last(cache(arguments)) } else { Known::Held(Keys::default()) };
        Some(Box::new(Self::new(arguments, known)))
    }

    fn new(arguments: &FieldTable, known: Known) -> Self {
        let header = arguments.inner().get(HEADER).and_then(text).unwrap_or(HEADER.as_bytes());
        Self { header: header.into(), known, duplicates: 0 }
    }

    /// The key of a message, if it has one.
    fn key(&self, message: &Message<'_>) -> Option<Key> {
        Key::find(message.properties, &self.header)
    }

    fn cache(&mut self) -> Option<&mut Cache> {
        match &mut self.known {
            Known::Last(cache) => Some(cache),
            Known::Held(_) => None,
        }
    }
}

/// As in the plugin, all that is not false is on.
fn is_on(arguments: &FieldTable) -> bool {
    let value = arguments.inner().get(ON);
    value.is_some_and(|value| !matches!(value, AMQPValue::Boolean(false) | AMQPValue::Void))
}

fn cache(arguments: &FieldTable) -> Cache {
    let number = |key: &str| arguments.inner().get(key).and_then(positive);
    Cache::new(number(SIZE).unwrap_or(SIZE_DEFAULT), number(TTL), survives(arguments))
}

/// Whether a cache is to survive if its owner does.
fn survives(arguments: &FieldTable) -> bool {
    arguments.inner().get(PERSISTENCE).and_then(text) != Some(b"memory")
}

/// Refuses what a new exchange may not have.
pub fn check_exchange(kind: Kind, arguments: &FieldTable) -> Result<(), Exception> {
    let needs_size = kind == Kind::Deduplication;
    if needs_size && !arguments.contains_key(SIZE) {
        return Err(not_positive("Missing or invalid", SIZE));
    }
    if needs_size || is_on(arguments) { check(arguments) } else { Ok(()) }
}

/// Refuses what a new queue may not have. Where duplicates are kept, RabbitMQ's word on the arguments is the last.
pub fn check_queue(arguments: &FieldTable) -> Result<(), Exception> {
    if is_on(arguments) { check(arguments) } else { Ok(()) }
}

fn check(arguments: &FieldTable) -> Result<(), Exception> {
    let value = |key: &str| arguments.inner().get(key);
    if value(SIZE).is_some_and(|size| positive(size).is_none()) {
        return Err(not_positive("Missing or invalid", SIZE));
    }
    if value(TTL).is_some_and(|ttl| positive(ttl).is_none()) {
        return Err(not_positive("Invalid", TTL));
    }
    let invalid = |what: &str| Err(Exception::precondition_failed(format!("Invalid argument, {what}")));
    if value(PERSISTENCE).is_some_and(|value| !matches!(text(value), Some(b"disk" | b"memory"))) {
        return invalid("'x-cache-persistence' must be either 'disk' or 'memory'");
    }
    if value(HEADER).is_some_and(|name| text(name).is_none()) {
        return invalid("'x-deduplication-header' must be a string");
    }
    Ok(())
}

fn not_positive(how: &str, key: &str) -> Exception {
    Exception::precondition_failed(format!("{how} argument, '{key}' must be an integer greater than 0"))
}

/// A number above 0. The plugin takes one in a string, too.
fn positive(value: &AMQPValue) -> Option<u64> {
    let number = match text(value) {
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        None => integer(value)?,
    };
    u64::try_from(number).ok().filter(|number| *number > 0)
}

fn text(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// Milliseconds for which a publisher wants the key of its message to be known.
fn own_ttl(message: &Message<'_>) -> Option<u64> {
    let headers = properties::find(message.properties, HEADERS)?;
    match table::find(headers, TTL.as_bytes())?.value() {
        Value::Int(ms) => u64::try_from(ms).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(list: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in list {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn refusal(kind: Kind, list: &[(&str, AMQPValue)]) -> Option<String> {
        check_exchange(kind, &arguments(list)).err().map(|e| e.explanation)
    }

    #[test]
    fn arguments_that_are_refused() {
        let on = (ON, AMQPValue::Boolean(true));
        let size = "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0";
        let ttl = "Invalid argument, 'x-cache-ttl' must be an integer greater than 0";
        assert_eq!(refusal(Kind::Deduplication, &[]).as_deref(), Some(size));
        assert_eq!(refusal(Kind::Direct, std::slice::from_ref(&on)), None);
        for bad in [AMQPValue::LongInt(0), AMQPValue::LongInt(-1), long("many"), AMQPValue::Void] {
            assert_eq!(refusal(Kind::Deduplication, &[(SIZE, bad.clone())]).as_deref(), Some(size));
            assert_eq!(refusal(Kind::Direct, &[(SIZE, bad.clone())]), None, "it is not looked at");
            assert_eq!(refusal(Kind::Direct, &[on.clone(), (TTL, bad.clone())]).as_deref(), Some(ttl));
            let both = arguments(&[on.clone(), (TTL, bad)]);
            assert_eq!(check_queue(&both).err().map(|e| e.explanation).as_deref(), Some(ttl));
        }
        for (key, bad) in [(PERSISTENCE, long("tape")), (HEADER, AMQPValue::LongInt(1))] {
            let text = refusal(Kind::Fanout, &[on.clone(), (key, bad)]).unwrap_or_default();
            assert!(text.starts_with(&format!("Invalid argument, '{key}' must be ")), "{text}");
        }
    }

    #[test]
    fn who_has_a_filter() {
        let of_queue = |value: AMQPValue| Filter::of_queue(QueueType::Classic, &arguments(&[(ON, value)]));
        assert!(of_queue(AMQPValue::Boolean(false)).is_none() && of_queue(AMQPValue::Void).is_none());
        let held = of_queue(AMQPValue::Boolean(true)).expect("a filter");
        assert!(matches!(held.known, Known::Held(_)));
        let sized = arguments(&[(ON, AMQPValue::Boolean(true)), (SIZE, long("5"))]);
        let cached = Filter::of_queue(QueueType::Quorum, &sized).expect("a filter");
        assert!(matches!(cached.known, Known::Last(_)));
        assert!(Filter::of_queue(QueueType::Stream, &sized).is_none());
        assert!(Filter::of_exchange(Kind::Fanout, &FieldTable::default()).is_none());
        assert!(Filter::of_exchange(Kind::Deduplication, &FieldTable::default()).is_some());
    }
}
