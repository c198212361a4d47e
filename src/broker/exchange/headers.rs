//! Headers matching: a binding's arguments against a message's header table.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::arguments::{show_erlang, type_name};
use crate::wire::reply::Exception;
use crate::wire::table::{self, Field, Value};

/// What a binding asks of a message's headers.
#[derive(Debug)]
pub struct Pattern {
    /// Whether every field has to match, or one of them.
    all: bool,
    fields: Vec<(Box<[u8]>, AMQPValue)>,
}

/// The values of `x-match`: whether all fields must match, and whether fields whose names begin with `x-` count.
const MODES: [(&[u8], bool, bool); 4] = [
    (b"all", true, false),
    (b"any", false, false),
    (b"all-with-x", true, true),
    (b"any-with-x", false, true),
];

/// Refuses an `x-match` that RabbitMQ refuses, with its texts.
pub fn check(arguments: &FieldTable) -> Result<(), Exception> {
    match arguments.inner().get("x-match") {
        None => Ok(()),
        Some(AMQPValue::LongString(mode)) if MODES.iter().any(|(name, _, _)| *name == mode.as_bytes()) => {
            Ok(())
        }
        Some(AMQPValue::LongString(mode)) => Err(Exception::precondition_failed(format!(
            "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
            show_erlang(&AMQPValue::LongString(mode.clone()))
        ))),
        Some(other) => Err(Exception::precondition_failed(format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            type_name(other),
            show_erlang(other)
        ))),
    }
}

impl Pattern {
    /// Reads arguments that [`check`] has let through.
    pub fn new(arguments: &FieldTable) -> Self {
        let mode = match arguments.inner().get("x-match") {
            Some(AMQPValue::LongString(mode)) => MODES.iter().find(|(name, _, _)| *name == mode.as_bytes()),
            _ => None,
        };
        let (all, with_x) = mode.map_or((true, false), |(_, all, with_x)| (*all, *with_x));
        let fields = arguments.inner().iter().filter(|(name, _)| {
            let name = name.as_str();
            name != "x-match" && (with_x || !name.starts_with("x-"))
        });
        Self {
            all,
            fields: fields.map(|(name, value)| (name.as_str().as_bytes().into(), value.clone())).collect(),
        }
    }

    /// Whether it takes a message with this header table.
    pub fn matches(&self, headers: &[u8]) -> bool {
        let matches = |(name, wanted): &(Box<[u8]>, AMQPValue)| {
            table::find(headers, name).is_some_and(|field| equal(wanted, &field))
        };
        if self.all { self.fields.iter().all(matches) } else { self.fields.iter().any(matches) }
    }
}

/// Compares as RabbitMQ does, by the value behind the type: whole numbers of any width are equal, so are floats and
/// doubles, and texts and octets. A void in the binding asks only that the field is there. A message's
/// timestamps count in milliseconds, a binding's in seconds.
fn equal(wanted: &AMQPValue, field: &Field<'_>) -> bool {
    let value = field.value();
    if matches!(wanted, AMQPValue::Void) {
        return true;
    }
    if let Some(wanted) = integer(wanted) {
        return match value {
            Value::Int(found) => found == wanted,
            Value::Timestamp(seconds) => i128::from(seconds) * 1000 == wanted,
            _ => false,
        };
    }
    match (wanted, value) {
        (AMQPValue::Boolean(wanted), Value::Bool(found)) => *wanted == found,
        (AMQPValue::Float(wanted), Value::Float(found)) => f64::from(*wanted) == found,
        (AMQPValue::Double(wanted), Value::Float(found)) => *wanted == found,
        (AMQPValue::DecimalValue(wanted), Value::Decimal(scale, number)) => {
            (wanted.scale, wanted.value) == (scale, number)
        }
        (AMQPValue::LongString(wanted), Value::Octets(found)) => wanted.as_bytes() == found,
        (AMQPValue::ByteArray(wanted), Value::Octets(found)) => wanted.as_slice() == found,
        (AMQPValue::FieldArray(_), Value::Array(_)) | (AMQPValue::FieldTable(_), Value::Table(_)) => {
            table::decode(field).is_some_and(|found| found == *wanted)
        }
        _ => false,
    }
}

/// A whole number, timestamps included.
fn integer(value: &AMQPValue) -> Option<i128> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => i128::from(*n),
        AMQPValue::ShortShortUInt(n) => i128::from(*n),
        AMQPValue::ShortInt(n) => i128::from(*n),
        AMQPValue::ShortUInt(n) => i128::from(*n),
        AMQPValue::LongInt(n) => i128::from(*n),
        AMQPValue::LongUInt(n) => i128::from(*n),
        AMQPValue::LongLongInt(n) => i128::from(*n),
        AMQPValue::Timestamp(n) => i128::from(*n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(mode: &str, fields: &[(&str, AMQPValue)]) -> Pattern {
        let mut arguments = FieldTable::default();
        arguments.insert("x-match".into(), AMQPValue::LongString(mode.into()));
        for (name, value) in fields {
            arguments.insert((*name).into(), value.clone());
        }
        check(&arguments).expect("a mode that exists");
        Pattern::new(&arguments)
    }

    #[test]
    fn fields_with_x_count_only_where_the_mode_says_so() {
        let fields = [("a", AMQPValue::LongInt(1)), ("x-b", AMQPValue::LongInt(2))];
        let only_a = b"\x01aI\0\0\0\x01";
        let only_x = b"\x03x-bI\0\0\0\x02";
        for (mode, with_a, with_x) in [
            ("all", true, false),
            ("any", true, false),
            ("all-with-x", false, false),
            ("any-with-x", true, true),
        ] {
            let pattern = pattern(mode, &fields);
            assert_eq!((pattern.matches(only_a), pattern.matches(only_x)), (with_a, with_x), "{mode}");
        }
        assert!(pattern("all", &[]).matches(b"") && !pattern("any", &[]).matches(only_a));
    }

    #[test]
    fn values_of_one_class_are_equal() {
        let takes = |wanted, octets: &[u8]| pattern("all", &[("a", wanted)]).matches(octets);
        assert!(takes(AMQPValue::LongInt(5), b"\x01al\0\0\0\0\0\0\0\x05"));
        assert!(takes(AMQPValue::Timestamp(5), b"\x01ab\x05"));
        assert!(!takes(AMQPValue::LongInt(5), b"\x01aT\0\0\0\0\0\0\0\x05"));
        assert!(takes(AMQPValue::LongInt(5000), b"\x01aT\0\0\0\0\0\0\0\x05"));
        assert!(takes(AMQPValue::Double(1.5), b"\x01af\x3f\xc0\0\0"));
        assert!(!takes(AMQPValue::Double(1.0), b"\x01ab\x01"));
        assert!(takes(AMQPValue::LongString("s".into()), b"\x01ax\0\0\0\x01s"));
        assert!(takes(AMQPValue::Void, b"\x01at\x01") && !takes(AMQPValue::Void, b"\x01bt\x01"));
        assert!(!takes(AMQPValue::Boolean(true), b"\x01ab\x01"));
    }
}
