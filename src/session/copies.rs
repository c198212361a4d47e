//! `CC` and `BCC`: headers that name more routing keys (RabbitMQ's sender-selected distribution).

use amq_protocol::types::AMQPValue;

use crate::broker::exchange::arguments::type_name;
use crate::wire::headers;
use crate::wire::properties;
use crate::wire::reply::Exception;
use crate::wire::table::{self, Field, Value};

/// The keys a message names beside its own.
#[derive(Debug)]
pub(super) struct Copies<'a> {
    pub keys: Vec<&'a [u8]>,
    /// The properties without `BCC`, if there was any: what everybody else is to see.
    pub shown: Option<Vec<u8>>,
}

impl<'a> Copies<'a> {
    /// Looks for them in properties. There nearly always are none.
    pub fn find(raw: &'a [u8]) -> Result<Option<Self>, Exception> {
        let Some(octets) = properties::walk(raw).ok().and_then(|found| found.headers) else {
            return Ok(None);
        };
        let (mut cc, mut bcc) = (None, None);
        for (name, field) in table::fields(octets).map_while(Result::ok) {
            match name {
                b"CC" => cc = cc.or(Some(field)),
                b"BCC" => bcc = bcc.or(Some(field)),
                _ => {}
            }
        }
        if cc.is_none() && bcc.is_none() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        cc.map(|field| add("CC", &field, &mut keys)).transpose()?;
        bcc.map(|field| add("BCC", &field, &mut keys)).transpose()?;
        Ok(Some(Self { keys, shown: bcc.and_then(|_| headers::without(raw, b"BCC")) }))
    }
}

/// Whether headers name any, whatever they are.
pub(super) fn are_in(headers: &[u8]) -> bool {
    table::fields(headers).map_while(Result::ok).any(|(name, _)| name == b"CC" || name == b"BCC")
}

/// Elements that are no strings are passed over, as by RabbitMQ.
fn add<'a>(name: &str, field: &Field<'a>, keys: &mut Vec<&'a [u8]>) -> Result<(), Exception> {
    let Value::Array(octets) = field.value() else {
        let kind = table::decode(field).as_ref().map_or("table", |value: &AMQPValue| type_name(value));
        return Err(Exception::precondition_failed(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
        )));
    };
    keys.extend(table::values(octets).filter_map(|value| match value.value() {
        Value::Octets(key) => Some(key),
        _ => None,
    }));
    Ok(())
}
