//! A message's properties as JSON, and back.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::table;
use crate::wire::method;
use crate::wire::properties::{DELIVERY_MODE, HEADERS, PRIORITY, TIMESTAMP, each};
use crate::wire::table::decode_table;

/// All properties with their flags, in the order in which they lie in a message (AMQP 0-9-1, section 4.2.6.1).
const NAMES: [(u16, &str); 14] = [
    (1 << 15, "content_type"),
    (1 << 14, "content_encoding"),
    (HEADERS, "headers"),
    (DELIVERY_MODE, "delivery_mode"),
    (PRIORITY, "priority"),
    (1 << 10, "correlation_id"),
    (1 << 9, "reply_to"),
    (1 << 8, "expiration"),
    (1 << 7, "message_id"),
    (TIMESTAMP, "timestamp"),
    (1 << 5, "type"),
    (1 << 4, "user_id"),
    (1 << 3, "app_id"),
    (1 << 2, "cluster_id"),
];

/// Properties that lie in a message. None at all are an empty array, as RabbitMQ writes them.
pub(super) fn to_json(raw: &[u8]) -> Value {
    let mut found = Map::new();
    for (flag, octets) in each(raw) {
        let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == flag) else { continue };
        let value = match (flag, octets) {
            (HEADERS, table) => table::to_json(&decode_table(table).unwrap_or_default()),
            (DELIVERY_MODE | PRIORITY, [octet]) => (*octet).into(),
            (TIMESTAMP, octets) => octets.iter().fold(0u64, |all, octet| all << 8 | u64::from(*octet)).into(),
            (_, text) => String::from_utf8_lossy(text).into(),
        };
        found.insert((*name).to_owned(), value);
    }
    if found.is_empty() { json!([]) } else { Value::Object(found) }
}

/// Properties as they lie in a message. An empty array is as good as an empty object; other names mean nothing.
pub(super) fn from_json(value: &Value) -> Result<Vec<u8>, Refusal> {
    let none = Map::new();
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(empty) if empty.is_empty() => &none,
        _ => return Err(Refusal::bad_request("properties must be an object")),
    };
    let (mut flags, mut list) = (0u16, Vec::new());
    for (flag, name) in NAMES {
        let Some(value) = fields.get(name) else { continue };
        flags |= flag;
        match flag {
            HEADERS => list.extend_from_slice(&method::encode_table(&table::from_json(value)?)),
            // Numbers that are too large lose what does not fit, as in RabbitMQ.
            DELIVERY_MODE | PRIORITY => list.push(integer(name, value)?.to_le_bytes()[0]),
            TIMESTAMP => list.extend_from_slice(&integer(name, value)?.to_be_bytes()),
            _ => {
                let text = value.as_str().ok_or_else(|| Refusal::bad_request(json!(["not_string", name])))?;
                let long = |_| Refusal::bad_request(format!("property '{name}' is longer than 255 bytes"));
                list.push(u8::try_from(text.len()).map_err(long)?);
                list.extend_from_slice(text.as_bytes());
            }
        }
    }
    Ok([&flags.to_be_bytes(), &*list].concat())
}

fn integer(name: &str, value: &Value) -> Result<i64, Refusal> {
    let number = value.as_i64().or_else(|| value.as_u64().map(u64::cast_signed));
    number.ok_or_else(|| Refusal::bad_request(json!(["not_int", name])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let all = json!({
            "content_type": "text/plain", "content_encoding": "x", "headers": { "a": 1, "b": [true, { "c": "é" }] },
            "delivery_mode": 2, "priority": 3, "correlation_id": "c", "reply_to": "r", "expiration": "60000",
            "message_id": "m", "timestamp": 1_700_000_000, "type": "ty", "user_id": "guest", "app_id": "app",
            "cluster_id": "cl",
        });
        let raw = from_json(&all).expect("properties");
        assert_eq!(to_json(&raw), all);
        assert!(crate::wire::properties::check(&raw).is_ok());
        for nothing in [json!({}), json!([]), json!({ "nosuch": 1 })] {
            let raw = from_json(&nothing).expect("none");
            assert_eq!((&*raw, to_json(&raw)), (&[0, 0][..], json!([])));
        }
    }

    #[test]
    fn wrong_types_are_named_and_large_numbers_are_cut() {
        for (wrong, reason) in [
            (json!({ "expiration": 60_000 }), json!(["not_string", "expiration"])),
            (json!({ "delivery_mode": "2" }), json!(["not_int", "delivery_mode"])),
            (json!({ "timestamp": 1.5 }), json!(["not_int", "timestamp"])),
            (json!({ "headers": { "a": null } }), json!("null_not_allowed")),
        ] {
            assert_eq!(from_json(&wrong), Err(Refusal::BadRequest(reason)), "{wrong}");
        }
        for wrong in [json!("x"), json!(null), json!([1]), json!({ "headers": 5 })] {
            assert!(from_json(&wrong).is_err(), "{wrong}");
        }
        assert!(from_json(&json!({ "type": "x".repeat(256) })).is_err());
        let cut = from_json(&json!({ "delivery_mode": 300, "priority": -1 })).expect("properties");
        assert_eq!(to_json(&cut), json!({ "delivery_mode": 44, "priority": 255 }));
    }
}
