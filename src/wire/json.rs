//! Field tables as JSON, and back, as RabbitMQ's management API and its definitions have them.

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

/// Why JSON is no table of arguments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTable {
    #[error("arguments must be an object")]
    Other,
    #[error("null_not_allowed")]
    Null,
    #[error("argument name '{0}' is longer than 255 bytes")]
    Name(String),
}

/// A table as a JSON object. Octets that are not UTF-8 show as replacement characters.
pub fn to_json(table: &FieldTable) -> Value {
    let fields = table.inner().iter().map(|(key, value)| (key.to_string(), value_to_json(value)));
    Value::Object(fields.collect())
}

fn value_to_json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(v) => (*v).into(),
        AMQPValue::ShortShortInt(v) => (*v).into(),
        AMQPValue::ShortShortUInt(v) => (*v).into(),
        AMQPValue::ShortInt(v) => (*v).into(),
        AMQPValue::ShortUInt(v) => (*v).into(),
        AMQPValue::LongInt(v) => (*v).into(),
        AMQPValue::LongUInt(v) => (*v).into(),
        AMQPValue::LongLongInt(v) => (*v).into(),
        AMQPValue::Float(v) => float(f64::from(*v)),
        AMQPValue::Double(v) => float(*v),
        AMQPValue::DecimalValue(v) => float(f64::from(v.value) / 10f64.powi(i32::from(v.scale))),
        AMQPValue::ShortString(v) => v.as_str().into(),
        AMQPValue::LongString(v) => String::from_utf8_lossy(v.as_bytes()).into(),
        AMQPValue::FieldArray(v) => v.as_slice().iter().map(value_to_json).collect(),
        AMQPValue::Timestamp(v) => (*v).into(),
        AMQPValue::FieldTable(v) => to_json(v),
        AMQPValue::ByteArray(v) => String::from_utf8_lossy(v.as_slice()).into(),
        AMQPValue::Void => Value::Null,
    }
}

/// JSON has no infinities and no NaN.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A table of arguments out of a JSON object. An empty array is an empty table, as PHP writes it.
pub fn from_json(value: &Value) -> Result<FieldTable, NoTable> {
    read(value, None)
}

/// The same where `null` is a field without a value, as it was in the table that the JSON was made of.
pub fn from_json_with_voids(value: &Value) -> Result<FieldTable, NoTable> {
    read(value, Some(&AMQPValue::Void))
}

fn read(value: &Value, null: Option<&AMQPValue>) -> Result<FieldTable, NoTable> {
    match value {
        Value::Object(fields) => table(fields, null),
        Value::Array(empty) if empty.is_empty() => Ok(FieldTable::default()),
        _ => Err(NoTable::Other),
    }
}

fn table(fields: &Map<String, Value>, null: Option<&AMQPValue>) -> Result<FieldTable, NoTable> {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        let name = ShortString::try_new(key.as_str()).map_err(|_| NoTable::Name(key.clone()))?;
        table.insert(name, value_from_json(value, null)?);
    }
    Ok(table)
}

fn value_from_json(value: &Value, null: Option<&AMQPValue>) -> Result<AMQPValue, NoTable> {
    Ok(match value {
        Value::Null => null.cloned().ok_or(NoTable::Null)?,
        Value::Bool(v) => AMQPValue::Boolean(*v),
        Value::Number(v) => match v.as_i64() {
            Some(integer) => AMQPValue::LongLongInt(integer),
            None => AMQPValue::Double(v.as_f64().unwrap_or_default()),
        },
        Value::String(v) => AMQPValue::LongString(v.as_str().into()),
        Value::Array(v) => {
            let values: Result<Vec<_>, _> = v.iter().map(|value| value_from_json(value, null)).collect();
            AMQPValue::FieldArray(FieldArray::from(values?))
        }
        Value::Object(v) => AMQPValue::FieldTable(table(v, null)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let json = json!({"b": true, "i": -1, "d": 1.5, "s": "é", "l": [1, "a"], "t": {"x": {}}});
        assert_eq!(to_json(&from_json(&json).expect("a table")), json);
    }

    #[test]
    fn what_is_no_table() {
        assert_eq!(from_json(&json!([])), Ok(FieldTable::default()));
        assert_eq!(from_json(&json!({"a": [null]})), Err(NoTable::Null));
        assert!(from_json(&json!({"x".repeat(256): 1})).is_err());
        let voids = from_json_with_voids(&json!({"a": null})).expect("a table");
        assert_eq!(voids.inner().get("a"), Some(&AMQPValue::Void));
        for wrong in [json!([1]), json!("x"), json!(null)] {
            assert!(from_json(&wrong).is_err(), "{wrong}");
        }
    }
}
