//! Policies out of JSON, with RabbitMQ's refusals, and back. The catalog keeps them as JSON, too.

use serde_json::{Map, Value as Json, json};

use super::keys::{self, Key, Last};
use super::{ApplyTo, Definition, Policy, Rank, Value};
use crate::auth::Pattern;
use crate::broker::compatibility::Compatibility;

const FIELDS: [&str; 4] = ["definition", "apply-to", "pattern", "priority"];

impl Policy {
    /// Reads a policy that is set over HTTP or kept in the catalog: an object with `pattern`, `definition`, `priority`
    /// and, if need be, `apply-to`. The refusal says what is wrong with each.
    pub fn from_json(
        name: &str,
        rank: Rank,
        level: Compatibility,
        fields: &Map<String, Json>,
    ) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let definition =
            note(&mut wrong, read(name, fields, "definition", |json| definition(rank, level, json)));
        let apply_to = match fields.get("apply-to") {
            None => Some(ApplyTo::All),
            Some(json) => note(&mut wrong, apply_to(json)),
        };
        let pattern = note(&mut wrong, read(name, fields, "pattern", pattern));
        let priority = note(&mut wrong, read(name, fields, "priority", priority));
        let unknown = fields.iter().filter(|(field, _)| !FIELDS.contains(&field.as_str()));
        let unknown: Vec<_> = unknown.map(|(field, json)| pair(field, json)).collect();
        if !unknown.is_empty() {
            wrong.push(format!("Unrecognised terms [{}] in {name}", unknown.join(",")));
        }
        match (definition, apply_to, pattern, priority) {
            (Some(definition), Some(apply_to), Some(pattern), Some(priority)) if wrong.is_empty() => {
                Ok(Self { name: name.into(), pattern, apply_to, priority, definition })
            }
            _ => Err(failed(&wrong)),
        }
    }

    pub fn to_json(&self) -> Json {
        json!({
            "pattern": &*self.pattern.source,
            "definition": definition_to_json(&self.definition),
            "priority": number(self.priority),
            "apply-to": self.apply_to.name(),
        })
    }
}

pub fn definition_to_json(definition: &Definition) -> Json {
    let fields = definition.iter().map(|(name, value)| {
        let json = match value {
            Value::Integer(number) => Json::from(*number),
            Value::Text(text) => Json::from(&**text),
            Value::Texts(texts) => texts.iter().map(|text| Json::from(&**text)).collect(),
        };
        ((*name).to_owned(), json)
    });
    Json::Object(fields.collect())
}

/// The refusal of a parameter, with what is wrong, a line each.
pub fn failed(wrong: &[String]) -> String {
    format!("Validation failed\n\n{}\n", wrong.join("\n"))
}

/// A value as an Erlang term, which is how it comes in RabbitMQ's texts.
pub fn term(json: &Json) -> String {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => json.to_string(),
        Json::String(text) if text.is_empty() => "<<>>".to_owned(),
        Json::String(text) => format!("<<\"{text}\">>"),
        Json::Array(values) => format!("[{}]", values.iter().map(term).collect::<Vec<_>>().join(",")),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("<<\"{key}\">> => {}", term(value)));
            format!("#{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

fn pair(key: &str, json: &Json) -> String {
    format!("{{<<\"{key}\">>,{}}}", term(json))
}

fn note<T>(wrong: &mut Vec<String>, read: Result<T, String>) -> Option<T> {
    read.map_err(|why| wrong.push(why)).ok()
}

fn read<T>(
    name: &str,
    fields: &Map<String, Json>,
    field: &str,
    read: impl FnOnce(&Json) -> Result<T, String>,
) -> Result<T, String> {
    fields.get(field).ok_or_else(|| format!("Key \"{field}\" not found in {name}")).and_then(read)
}

fn apply_to(json: &Json) -> Result<ApplyTo, String> {
    let shown = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    json.as_str().and_then(ApplyTo::from_name).ok_or_else(|| {
        format!(
            "apply-to '{shown}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
             'streams', 'exchanges', or 'all'"
        )
    })
}

fn pattern(json: &Json) -> Result<Pattern, String> {
    let source = json.as_str().ok_or_else(|| format!("pattern should be a binary but was {}", term(json)))?;
    Pattern::new(source).map_err(|e| format!("pattern should be regular expression but is invalid: {e}"))
}

fn priority(json: &Json) -> Result<f64, String> {
    json.as_f64().ok_or_else(|| format!("priority should be a number, actually was {}", term(json)))
}

/// A priority as it is shown: mostly whole.
fn number(priority: f64) -> Json {
    // Up to here numbers are exact.
    if priority.fract() == 0.0 && priority.abs() < 9e15 { (priority as i64).into() } else { priority.into() }
}

/// Values that are wrong are told before keys that nobody knows.
fn definition(rank: Rank, level: Compatibility, json: &Json) -> Result<Definition, String> {
    let fields = match json {
        Json::Object(fields) => fields,
        Json::Array(none) if none.is_empty() => return Err("no policy provided".to_owned()),
        other => return Err(format!("definition should be an object but was {}", term(other))),
    };
    let mut definition = Definition::new();
    let mut unknown = Vec::new();
    for (name, json) in fields {
        let key = keys::find(name).filter(|key| key.allows(rank));
        let given_up = key.and_then(|key| key.given_up(level));
        if let Some(last) = given_up {
            last.hint.log_once();
        }
        match (key, given_up) {
            (_, Some(Last { refusal: Some(refusal), .. })) => return Err(refusal.to_owned()),
            (Some(key), None) => drop(definition.insert(key.name, value(key, json)?)),
            _ => unknown.push(pair(name, json)),
        }
    }
    check_delayed_retry(&definition)?;
    match (fields.is_empty(), unknown.is_empty()) {
        (true, _) => Err("no policy provided".to_owned()),
        (_, true) => Ok(definition),
        _ => Err(format!("[{}] are not recognised policy settings", unknown.join(","))),
    }
}

fn value(key: &Key, json: &Json) -> Result<Value, String> {
    let value = match json {
        Json::String(text) => Some(Value::Text(text.as_str().into())),
        Json::Array(texts) => {
            texts.iter().map(|text| text.as_str().map(Box::from)).collect::<Option<_>>().map(Value::Texts)
        }
        other => other.as_i64().map(Value::Integer),
    };
    value.filter(|value| key.takes(value)).ok_or_else(|| format!("{} {}", term(json), key.refusal))
}

fn check_delayed_retry(definition: &Definition) -> Result<(), String> {
    let number = |name| match definition.get(name) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    let (min, max) = (number("delayed-retry-min"), number("delayed-retry-max"));
    match definition.get("delayed-retry-type") {
        Some(Value::Text(which)) if min.is_none() && &**which != "disabled" => {
            return Err(format!("delayed-retry-min is required when delayed-retry-type is {which}"));
        }
        _ => {}
    }
    match (min, max) {
        (Some(min), Some(max)) if max < min => {
            Err(format!("delayed-retry-max ({max}) must not be smaller than delayed-retry-min ({min})"))
        }
        _ => Ok(()),
    }
}
