//! Consistent hashing: every destination has a share of all keys, as large as its weight says, and a key changes its
//! destination only if that goes, or if a new one takes it over.
//!
//! For a key every destination draws a time, from the key and its name alone, and the earliest gets it; one with twice
//! the weight is twice as early on average. So nothing is kept but the weights, whatever they are, and LavinMQ's two
//! algorithms (`ring` and `jump`) are the same here.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::Destination;
use super::arguments::{erlang_text, show};
use crate::broker::BindingId;
use crate::broker::chance::{mix, stable_hash};
use crate::wire::content::Message;
use crate::wire::properties::{self, CORRELATION_ID, MESSAGE_ID, TIMESTAMP};
use crate::wire::reply::Exception;
use crate::wire::table::{self, Value};

/// The largest weight of a binding.
const WEIGHT_MAX: i128 = 10_000;

/// The properties that may be hashed, and their names in `hash-property`.
const PROPERTIES: [(&str, u16); 3] =
    [("correlation_id", CORRELATION_ID), ("message_id", MESSAGE_ID), ("timestamp", TIMESTAMP)];

/// What of a message decides.
#[derive(Debug, PartialEq, Eq)]
pub enum HashOn {
    RoutingKey,
    Header(Box<[u8]>),
    /// A property, by its flag.
    Property(u16),
}

/// Refuses the arguments of a declaration that RabbitMQ refuses. A value of another type than a string ends the
/// connection there.
pub fn check(arguments: &FieldTable) -> Result<(), Exception> {
    let (header, property) = (arguments.inner().get("hash-header"), arguments.inner().get("hash-property"));
    match (header, property) {
        (Some(_), Some(_)) => {
            Err(Exception::precondition_failed("hash-header and hash-property are mutually exclusive"))
        }
        (None, None) | (Some(AMQPValue::LongString(_)), None) => Ok(()),
        (None, Some(AMQPValue::LongString(name))) => {
            let known = PROPERTIES.iter().any(|(known, _)| known.as_bytes() == name.as_bytes());
            let shown = show(&AMQPValue::LongString(name.clone()));
            if known {
                Ok(())
            } else {
                Err(Exception::precondition_failed(format!("Unsupported property: {shown}")))
            }
        }
        _ => Err(Exception::internal_error("")),
    }
}

/// Refuses a binding key that is no weight.
pub fn check_weight(key: &[u8]) -> Result<(), Exception> {
    let refuse = |text: String| Err(Exception::precondition_failed(text));
    match integer(key) {
        None => refuse(format!("The binding key must be an integer: {}", erlang_text(key))),
        Some(weight) if weight < 1 => refuse("The binding key must be greater than 0".to_owned()),
        Some(weight) if weight > WEIGHT_MAX => {
            refuse(format!("The binding key must not exceed {WEIGHT_MAX}"))
        }
        Some(_) => Ok(()),
    }
}

/// A whole number in digits, perhaps with a sign. What is too large for any use is the largest there is.
fn integer(text: &[u8]) -> Option<i128> {
    let (digits, sign) = match text {
        [b'-', digits @ ..] => (digits, -1),
        [b'+', digits @ ..] => (digits, 1),
        digits => (digits, 1),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: i128, digit: &u8| sum.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    Some(sign * digits.iter().fold(0, add))
}

impl HashOn {
    /// Reads arguments that [`check`] has let through. `x-hash-on` is LavinMQ's word for `hash-header`.
    pub fn new(arguments: &FieldTable) -> Self {
        let text = |key: &str| match arguments.inner().get(key) {
            Some(AMQPValue::LongString(text)) => Some(text.as_bytes()),
            _ => None,
        };
        let property = text("hash-property")
            .and_then(|name| PROPERTIES.iter().find(|(known, _)| known.as_bytes() == name));
        match (text("hash-header").or_else(|| text("x-hash-on")), property) {
            (_, Some((_, flag))) => Self::Property(*flag),
            (Some(header), None) => Self::Header(header.into()),
            (None, None) => Self::RoutingKey,
        }
    }

    /// What a message is hashed to. All that lack the header or the property are the same.
    fn hash(&self, message: &Message<'_>) -> u64 {
        match self {
            Self::RoutingKey => stable_hash(message.routing_key),
            Self::Property(flag) => {
                stable_hash(properties::find(message.properties, *flag).unwrap_or_default())
            }
            Self::Header(name) => {
                let headers = properties::find(message.properties, properties::HEADERS).unwrap_or_default();
                match table::find(headers, name).map(|field| (field, field.value())) {
                    None => stable_hash(&[]),
                    Some((_, Value::Octets(octets))) => stable_hash(octets),
                    // A number is the same whatever its width.
                    Some((_, Value::Int(number))) => stable_hash(&number.to_be_bytes()),
                    Some((field, _)) => stable_hash(field.octets),
                }
            }
        }
    }
}

/// The destinations of an exchange and their shares.
#[derive(Debug)]
pub struct Shares {
    pub on: HashOn,
    shares: Vec<Share>,
}

#[derive(Debug)]
struct Share {
    /// A number that stands for its name.
    name: u64,
    destination: Destination,
    /// Its bindings and what they weigh, in the order in which they came. The first one counts.
    bindings: Vec<(BindingId, f64)>,
}

impl Shares {
    pub fn new(arguments: &FieldTable) -> Self {
        Self { on: HashOn::new(arguments), shares: Vec::new() }
    }

    /// Adds a binding with a key that [`check_weight`] has let through; `name` stands for the destination's.
    pub fn insert(&mut self, id: BindingId, key: &[u8], name: u64, destination: Destination) {
        let weight = integer(key).map_or(1.0, |weight| weight.clamp(1, WEIGHT_MAX) as f64);
        match self.shares.iter_mut().find(|share| share.destination == destination) {
            Some(share) => share.bindings.push((id, weight)),
            None => self.shares.push(Share { name, destination, bindings: vec![(id, weight)] }),
        }
    }

    pub fn remove(&mut self, id: BindingId, destination: Destination) {
        let Some(at) = self.shares.iter().position(|share| share.destination == destination) else { return };
        if let Some(share) = self.shares.get_mut(at) {
            share.bindings.retain(|(other, _)| *other != id);
            if share.bindings.is_empty() {
                self.shares.swap_remove(at);
            }
        }
    }

    /// The destination that a message belongs to.
    pub fn pick(&self, message: &Message<'_>) -> Option<Destination> {
        let key = self.on.hash(message);
        let time = |share: &Share| {
            let drawn = mix(key ^ share.name);
            // Between 0 and 1, and neither of them.
            let fraction = ((drawn >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            -fraction.ln() / share.bindings.first().map_or(1.0, |(_, weight)| *weight)
        };
        let earliest = self.shares.iter().map(|share| (time(share), share.name, share.destination));
        let earliest = earliest.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        earliest.map(|(_, _, destination)| destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::QueueId;
    use crate::wire::content::Body;
    use slotmap::SlotMap;

    struct World {
        queues: SlotMap<QueueId, ()>,
        bindings: SlotMap<BindingId, ()>,
        shares: Shares,
    }

    impl World {
        fn new() -> Self {
            let shares = Shares::new(&FieldTable::default());
            Self { queues: SlotMap::with_key(), bindings: SlotMap::with_key(), shares }
        }

        fn bind(&mut self, name: &str, weight: &str) -> (BindingId, Destination) {
            let destination = Destination::Queue(self.queues.insert(()));
            (self.bind_again(destination, name, weight), destination)
        }

        fn bind_again(&mut self, destination: Destination, name: &str, weight: &str) -> BindingId {
            let id = self.bindings.insert(());
            self.shares.insert(id, weight.as_bytes(), stable_hash(name.as_bytes()), destination);
            id
        }

        /// Where 20,000 keys lead.
        fn keys(&self) -> Vec<Destination> {
            (0..20_000).map(|n| self.shares.pick(&by_key(&format!("key.{n}"))).expect("somewhere")).collect()
        }
    }

    fn by_key(key: &str) -> Message<'_> {
        Message { exchange: b"x", routing_key: key.as_bytes(), properties: &[0, 0], body: Body::Inline(b"") }
    }

    fn count(keys: &[Destination], wanted: Destination) -> usize {
        keys.iter().filter(|found| **found == wanted).count()
    }

    #[test]
    fn shares_are_as_large_as_weights_say() {
        let mut world = World::new();
        let (light, a) = world.bind("a", "1");
        let (_, b) = world.bind("b", "2");
        let (_, c) = world.bind("c", "7");
        let keys = world.keys();
        for (destination, tenths) in [(a, 1), (b, 2), (c, 7)] {
            let found = count(&keys, destination);
            assert!(found.abs_diff(2000 * tenths) < 300, "{tenths} tenths: {found}");
        }
        // A second binding waits for the first one to go.
        world.bind_again(a, "a", "18");
        assert_eq!(world.keys(), keys);
        world.shares.remove(light, a);
        assert!(count(&world.keys(), a).abs_diff(20_000 * 18 / 27) < 600);
    }

    #[test]
    fn a_key_moves_only_to_a_new_destination_or_from_one_that_goes() {
        let mut world = World::new();
        for n in 0..9 {
            world.bind(&format!("q{n}"), "5");
        }
        let before = world.keys();
        let (id, new) = world.bind("new", "5");
        let with = world.keys();
        let moved: Vec<_> = before.iter().zip(&with).filter(|(old, now)| old != now).collect();
        assert!(moved.iter().all(|(_, now)| **now == new));
        assert!(moved.len().abs_diff(2000) < 300, "{} moved", moved.len());
        world.shares.remove(id, new);
        assert_eq!(world.keys(), before);
    }

    #[test]
    fn nobody_bound_is_nobody_found() {
        let mut world = World::new();
        let (id, a) = world.bind("a", "1");
        world.shares.remove(id, a);
        assert_eq!(world.shares.pick(&by_key("k")), None);
    }

    #[test]
    fn headers_and_properties_are_hashed_by_their_values() {
        let on = |key: &str, value: &str| {
            let mut arguments = FieldTable::default();
            arguments.insert(key.into(), AMQPValue::LongString(value.into()));
            check(&arguments).expect("an argument that there is");
            HashOn::new(&arguments)
        };
        let hash = |on: &HashOn, properties: &[u8]| {
            on.hash(&Message { exchange: b"", routing_key: b"k", properties, body: Body::Inline(b"") })
        };
        let small: &[u8] = b"\x20\0\0\0\0\x04\x01hb\x05";
        let wide: &[u8] = b"\x20\0\0\0\0\x0b\x01hl\0\0\0\0\0\0\0\x05";
        for header in [on("hash-header", "h"), on("x-hash-on", "h")] {
            assert_eq!(header, HashOn::Header((*b"h").into()));
            assert_eq!(hash(&header, small), hash(&header, wide));
            assert_ne!(hash(&header, small), hash(&header, b"\0\0"));
        }
        let message_id = on("hash-property", "message_id");
        assert_ne!(hash(&message_id, b"\0\x80\x01a"), hash(&message_id, b"\0\x80\x01b"));
        assert_eq!(hash(&message_id, b"\0\0"), hash(&message_id, small));
    }

    #[test]
    fn weights_as_rabbitmq_reads_them() {
        for good in ["1", "+1", "007", "10000"] {
            assert_eq!(check_weight(good.as_bytes()), Ok(()), "{good}");
        }
        for (bad, text) in [
            ("", "The binding key must be an integer: <<>>"),
            (" 1", "The binding key must be an integer: <<\" 1\">>"),
            ("1\n", "The binding key must be an integer: <<\"1\\n\">>"),
            ("٣", "The binding key must be an integer: <<\"٣\"/utf8>>"),
            ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
            ("+", "The binding key must be an integer: <<\"+\">>"),
            ("0", "The binding key must be greater than 0"),
            ("-12", "The binding key must be greater than 0"),
            ("10001", "The binding key must not exceed 10000"),
            (&"9".repeat(255), "The binding key must not exceed 10000"),
        ] {
            let refused = check_weight(bad.as_bytes()).map_err(|e| e.explanation);
            assert_eq!(refused, Err(text.to_owned()), "{bad}");
        }
    }
}
