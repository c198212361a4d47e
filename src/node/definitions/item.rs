//! One object of a file, and RabbitMQ's words for what is wrong with it.

use amq_protocol::types::FieldTable;
use serde_json::{Map, Value};

use crate::broker::policy::json::term;
use crate::wire::json;

/// An object of a file. Where RabbitMQ crashes on a value, it is refused with a reason here.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub fields: &'a Map<String, Value>,
    /// What kind of thing it is.
    kind: &'static str,
}

impl<'a> Item<'a> {
    pub fn new(kind: &'static str, fields: &'a Map<String, Value>) -> Self {
        Self { fields, kind }
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// A text that has to be there.
    pub fn text(&self, key: &str) -> Result<&'a str, String> {
        match self.get(key) {
            Some(Value::String(text)) => Ok(text),
            None => Err(format!("{}: '{key}' is missing", self.kind)),
            Some(other) => Err(format!("{}: '{key}' should be a string but was {}", self.kind, term(other))),
        }
    }

    /// A name: without line ends, which RabbitMQ takes out, and not longer than AMQP has room for.
    pub fn name(&self, key: &str) -> Result<String, String> {
        let name = self.text(key)?.replace(['\r', '\n'], "");
        match name.len() {
            0..=255 => Ok(name),
            size => Err(format!("{}: '{key}' should be at most 255 bytes but has {size}", self.kind)),
        }
    }

    /// A boolean; none is `false`.
    pub fn flag(&self, key: &str) -> Result<bool, String> {
        self.flag_if(key).map(Option::unwrap_or_default)
    }

    pub fn flag_if(&self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(format!("{}: '{key}' should be a boolean but was {}", self.kind, term(other))),
        }
    }

    /// The arguments; none are as good as empty ones. What was exported as `null` has no value.
    pub fn arguments(&self) -> Result<FieldTable, String> {
        let Some(arguments) = self.get("arguments") else { return Ok(FieldTable::default()) };
        json::from_json_with_voids(arguments).map_err(|why| format!("{}: {why}", self.kind))
    }

    /// Tags: an array, or a text with commas. `None` if it says nothing of them.
    pub fn tags(&self) -> Result<Option<Vec<String>>, String> {
        let words = match self.get("tags") {
            None => return Ok(None),
            Some(Value::String(text)) => text.split(',').map(|tag| Some(tag.trim().to_owned())).collect(),
            Some(Value::Array(tags)) => {
                tags.iter().map(|tag| tag.as_str().map(|tag| tag.trim().to_owned())).collect::<Option<_>>()
            }
            Some(_) => None,
        };
        let mut words: Vec<_> = words.ok_or_else(|| format!("{}: 'tags' should be strings", self.kind))?;
        words.retain(|word| !word.is_empty());
        Ok(Some(words))
    }
}

/// A name as an Erlang binary.
pub(super) fn binary(name: &str) -> String {
    term(&Value::from(name))
}

pub(super) fn no_vhost(name: &str) -> String {
    format!("Please create virtual host \"{name}\" prior to importing definitions.")
}
