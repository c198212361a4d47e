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

/// Elements that are no long strings are passed over, as by RabbitMQ.
fn add<'a>(name: &str, field: &Field<'a>, keys: &mut Vec<&'a [u8]>) -> Result<(), Exception> {
    let Value::Array(octets) = field.value() else {
        let kind = table::decode(field).as_ref().map_or("table", |value: &AMQPValue| type_name(value));
        return Err(Exception::precondition_failed(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
        )));
    };
    keys.extend(table::long_strings(octets));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A property list with these fields as its headers.
    fn with_headers(fields: &[u8]) -> Vec<u8> {
        [&[0x20, 0][..], &(fields.len() as u32).to_be_bytes(), fields].concat()
    }

    #[test]
    fn long_strings_are_keys_and_nothing_else_is() {
        let raw = with_headers(
            b"\x02CCA\0\0\0\x14S\0\0\0\x01ax\0\0\0\x01bVt\x01S\0\0\0\0\x03BCCA\0\0\0\x06S\0\0\0\x01c\x01hV",
        );
        let copies = Copies::find(&raw).expect("good").expect("some");
        assert_eq!(copies.keys, [&b"a"[..], b"", b"c"]);
        let shown = copies.shown.expect("without BCC");
        let headers = properties::find(&shown, properties::HEADERS).expect("headers");
        assert!(table::find(headers, b"BCC").is_none());
        assert!(table::find(headers, b"CC").is_some() && table::find(headers, b"h").is_some());
    }

    #[test]
    fn other_headers_mean_nothing() {
        for raw in [with_headers(b"\x02ccV\x03bccV\x04xBCCV"), with_headers(b""), vec![0, 0]] {
            assert!(Copies::find(&raw).expect("good").is_none());
        }
        assert!(are_in(b"\x01hV\x02CCV") && are_in(b"\x03BCCV") && !are_in(b"\x01hV\x02ccV"));
        // What is cut off names none.
        assert!(!are_in(b"\x09hV\x02CCV"));
    }
}
