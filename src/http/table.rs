//! AMQP field tables as JSON, and back (`wire/json`), with refusals.

use amq_protocol::types::FieldTable;
use serde_json::Value;

use super::refusal::Refusal;
use crate::wire::json;

pub(super) use json::to_json;

/// A table of arguments out of a JSON object. An empty array is an empty table, as PHP writes it.
pub(super) fn from_json(value: &Value) -> Result<FieldTable, Refusal> {
    json::from_json(value).map_err(|why| Refusal::bad_request(why.to_string()))
}
