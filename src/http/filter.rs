//! Which messages of a queue are meant.

use fancy_regex::{Regex, RegexBuilder};
use memchr::memmem::Finder;
use serde_json::Value;

use super::properties;
use super::refusal::Refusal;
use crate::broker::browse::Found;

/// Octets that each part may have.
const PART_MAX: usize = 1024;
/// Steps that it may go back for a message.
const STEPS_MAX: usize = 10_000;
/// Octets of a body that it is matched against, from the first one on.
const MATCHED_MAX: usize = 64 << 10;

const KNOWN: [&str; 5] = ["routing_key", "header", "body", "body_regex", "state"];

/// What all of a message has to be like.
#[derive(Debug, Default)]
pub(super) struct Filter {
    routing_key: Option<String>,
    /// A header that is there, and its value if that counts.
    header: Option<(String, Option<String>)>,
    /// What is in the body.
    body: Option<Finder<'static>>,
    body_regex: Option<Regex>,
    /// Whether it waits for a consumer.
    ready: Option<bool>,
}

impl Filter {
    /// Reads a filter, of which `get` knows the parts by their names. There are no others.
    pub(super) fn new(get: impl Fn(&str) -> Option<String>) -> Result<Self, Refusal> {
        let bad = |why: &str| Refusal::bad_request(why);
        for name in KNOWN {
            if get(name).is_some_and(|part| part.len() > PART_MAX) {
                return Err(Refusal::bad_request(format!("{name} is too long")));
            }
        }
        let header = get("header").map(|header| match header.split_once(':') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (header, None),
        });
        let body_regex = match get("body_regex") {
            Some(source) => {
                let built = RegexBuilder::new(&source).backtrack_limit(STEPS_MAX).build();
                Some(built.map_err(|e| Refusal::bad_request(format!("body_regex: {e}")))?)
            }
            None => None,
        };
        let ready = match get("state").as_deref() {
            None => None,
            Some("ready") => Some(true),
            Some("unacknowledged") => Some(false),
            Some(_) => return Err(bad("state must be 'ready' or 'unacknowledged'")),
        };
        let body = get("body").map(|body| Finder::new(&body).into_owned());
        Ok(Self { routing_key: get("routing_key"), header, body, body_regex, ready })
    }

    /// The same out of a JSON object; none means every message.
    pub(super) fn from_json(value: Option<&Value>) -> Result<Self, Refusal> {
        let fields = match value {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(Refusal::bad_request("filter must be an object")),
        };
        for (name, value) in fields {
            // One that is not understood must not mean every message.
            if !KNOWN.contains(&name.as_str()) || !value.is_string() {
                return Err(Refusal::bad_request(format!("filter: '{name}' is not understood")));
            }
        }
        Self::new(|name| fields.get(name).and_then(Value::as_str).map(str::to_owned))
    }

    /// Whether matching may take a while.
    pub(super) fn is_costly(&self) -> bool {
        self.body_regex.is_some() || self.body.is_some() || self.header.is_some()
    }

    pub(super) fn matches(&self, found: &Found) -> bool {
        let message = found.message.message();
        self.ready.is_none_or(|ready| ready == found.ready)
            && self.routing_key.as_ref().is_none_or(|key| key.as_bytes() == message.routing_key)
            && self.header.as_ref().is_none_or(|header| has(message.properties, header))
            && self.body.as_ref().is_none_or(|wanted| wanted.find(message.body.octets()).is_some())
            && self.body_regex.as_ref().is_none_or(|regex| is_match(regex, message.body.octets()))
    }
}

fn has(raw: &[u8], (name, wanted): &(String, Option<String>)) -> bool {
    let properties = properties::to_json(raw);
    match (properties.get("headers").and_then(|headers| headers.get(name)), wanted) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(Value::String(text)), Some(wanted)) => text == wanted,
        (Some(other), Some(wanted)) => {
            let shown = other.to_string();
            shown == *wanted
        }
    }
}

/// One that takes too long does not match.
fn is_match(regex: &Regex, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&body[..body.len().min(MATCHED_MAX)]);
    regex.is_match(&text).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::post::Kept;
    use crate::wire::content::{Body, Message};
    use serde_json::json;

    fn found(body: &str) -> Found {
        let properties = properties::from_json(&json!({ "headers": { "a": 1, "b": "x:y", "c": true } }));
        let message = Message {
            exchange: b"x",
            routing_key: b"a.b",
            properties: &properties.expect("properties"),
            body: Body::Inline(body.as_bytes()),
        };
        Found { position: 0, came: 0, ready: true, marks: 0, message: Kept::of(&message) }
    }

    #[test]
    fn parts_of_a_filter() {
        let order = found("{\"order\": 42}");
        for (filter, expected) in [
            (json!({}), true),
            (json!({ "routing_key": "a.b" }), true),
            (json!({ "routing_key": "a" }), false),
            (json!({ "header": "a" }), true),
            (json!({ "header": "z" }), false),
            (json!({ "header": "a:1" }), true),
            (json!({ "header": "a:2" }), false),
            (json!({ "header": "b:x:y" }), true),
            (json!({ "header": "c:true" }), true),
            (json!({ "body": "order" }), true),
            (json!({ "body": "" }), true),
            (json!({ "body": "no" }), false),
            (json!({ "body_regex": "order\": 4[12]" }), true),
            (json!({ "body_regex": "^order" }), false),
            (json!({ "state": "ready" }), true),
            (json!({ "state": "unacknowledged" }), false),
            (json!({ "body": "order", "header": "z" }), false),
        ] {
            let read = Filter::from_json(Some(&filter)).expect("a filter");
            assert_eq!(read.matches(&order), expected, "{filter}");
        }
        for wrong in [json!(5), json!({ "nosuch": "x" }), json!({ "body": 5 }), json!({ "state": "x" })] {
            assert!(Filter::from_json(Some(&wrong)).is_err(), "{wrong}");
        }
        assert!(Filter::from_json(Some(&json!({ "body_regex": "(" }))).is_err());
        for part in ["routing_key", "header", "body", "body_regex"] {
            assert!(Filter::from_json(Some(&json!({ part: "a".repeat(1024) }))).is_ok(), "{part}");
            assert!(Filter::from_json(Some(&json!({ part: "a".repeat(1025) }))).is_err(), "{part}");
        }
    }

    #[test]
    fn expressions_that_take_too_long_do_not_match() {
        let evil = Filter::from_json(Some(&json!({ "body_regex": "(?=(a+))(a|aa)+$(?<=b)" })));
        let begun = std::time::Instant::now();
        assert!(!evil.expect("a filter").matches(&found(&"a".repeat(60_000))));
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it ends");
    }
}
