//! Other headers for a message on its way: a raw property list with header fields replaced.
//!
//! What is not replaced stays as its publisher wrote it, octet for octet. Fields are sorted by their names, as RabbitMQ
//! sorts them when it adds some.

use super::properties::{self, HEADERS, Malformed};
use super::table;

/// A field's name, and its value as it lies on the wire: type, length where there is one, octets.
pub type Named<'a> = (&'a [u8], &'a [u8]);

/// Appends a raw property list to `out` that has the properties of `raw` but for the `flags` in `drop`, and the headers
/// of `raw` but for those that `keeps` does not want, and `added`. If there were headers there are some after it, if none at
/// all.
pub fn edit(
    raw: &[u8],
    drop: u16,
    keeps: impl Fn(&[u8]) -> bool,
    added: &[Named<'_>],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let old = properties::walk(raw)?.headers.unwrap_or_default();
    let mut fields = Vec::new();
    for field in table::raw_fields(old) {
        let (name, value) = field?;
        if keeps(name) {
            fields.push((name, value));
        }
    }
    fields.extend_from_slice(added);
    fields.sort_by_key(|(name, _)| *name);
    let size: usize = fields.iter().map(|(name, value)| 1 + name.len() + value.len()).sum();
    let mut flags = properties::flags(raw) & !drop;
    if !fields.is_empty() {
        flags |= HEADERS;
    }
    out.extend_from_slice(&flags.to_be_bytes());
    properties::pieces(raw, |flag, piece| {
        // The headers come after the first two properties, whether there were any before or not.
        if flag == HEADERS && flags & HEADERS != 0 {
            out.extend_from_slice(&(size as u32).to_be_bytes());
            for (name, value) in &fields {
                out.push(name.len() as u8);
                out.extend_from_slice(name);
                out.extend_from_slice(value);
            }
        } else if flag != HEADERS && flags & flag != 0 {
            out.extend_from_slice(piece);
        }
    })
}

/// A raw property list without one header; `None` if it is malformed.
pub fn without(raw: &[u8], header: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    edit(raw, 0, |name| name != header, &[], &mut out).ok()?;
    Some(out)
}

/// Appends a long string as a field's value.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'S');
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// Appends a signed number of 64 bits as a field's value.
pub fn put_long(out: &mut Vec<u8>, number: i64) {
    out.push(b'l');
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a table or an array (`kind` `F` or `A`) as a field's value.
pub fn put_nested(out: &mut Vec<u8>, kind: u8, octets: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(octets.len() as u32).to_be_bytes());
    out.extend_from_slice(octets);
}

/// Appends a field's name, which its value has to follow.
pub fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_headers(fields: &[u8]) -> Vec<u8> {
        // content type, headers, delivery mode, expiration
        let mut raw = vec![0xb1, 0x00];
        raw.extend_from_slice(b"\x02ct");
        raw.extend_from_slice(&(fields.len() as u32).to_be_bytes());
        raw.extend_from_slice(fields);
        raw.extend_from_slice(b"\x02\x0250");
        raw
    }

    #[test]
    fn fields_are_replaced_and_sorted_and_the_rest_stays() {
        let raw = with_headers(b"\x02zzV\x02aaI\0\0\0\x01\x02goV\x02mmt\x01");
        let mut value = Vec::new();
        put_text(&mut value, b"new");
        let mut out = Vec::new();
        edit(&raw, properties::EXPIRATION, |name| name != b"go", &[(b"bb", &value)], &mut out).expect("good");
        assert!(properties::check(&out).is_ok());
        let found = properties::walk(&out).expect("good");
        assert_eq!((found.expiration, found.delivery_mode), (None, Some(2)));
        assert_eq!(found.headers, Some(&b"\x02aaI\0\0\0\x01\x02bbS\0\0\0\x03new\x02mmt\x01\x02zzV"[..]));
        assert_eq!(&out[2..5], b"\x02ct");
    }

    #[test]
    fn headers_come_and_go() {
        let mut out = Vec::new();
        edit(&[0x10, 0, 1], 0, |_| true, &[(b"a", b"V")], &mut out).expect("good");
        assert_eq!(out, b"\x30\0\0\0\0\x03\x01aV\x01");
        let mut back = Vec::new();
        edit(&out, 0, |_| false, &[], &mut back).expect("good");
        assert_eq!(back, [0x30, 0, 0, 0, 0, 0, 1]);
        edit(&[0x20, 0, 0, 0, 0, 1, 5], 0, |_| true, &[], &mut Vec::new()).expect_err("cut off");
    }
}
