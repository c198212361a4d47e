//! The header `x-delay`: what a publisher asks for, and what a consumer sees of it.

use crate::wire::headers;
use crate::wire::properties::{self, HEADERS};
use crate::wire::table::{self, Value};

const DELAY: &[u8] = b"x-delay";

/// The milliseconds that a message with these properties is to wait; `None` if it does not ask for any. As with
/// RabbitMQ's plugin they may be written as a text or as a fraction, too.
pub fn wanted(raw: &[u8]) -> Option<u64> {
    let headers = properties::find(raw, HEADERS)?;
    let milliseconds = match table::find(headers, DELAY)?.value() {
        Value::Int(number) => number,
        Value::Float(number) => number as i128,
        Value::Octets(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        _ => return None,
    };
    // What comes out of it is a signed number.
    u64::try_from(milliseconds.min(i64::MAX.into())).ok().filter(|milliseconds| *milliseconds > 0)
}

/// The properties of a message whose time has come: `x-delay` is negative, so that it is not delayed again, and that
/// consumers can see that it was.
pub fn done(raw: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    headers::put_long(&mut value, -i64::try_from(wanted(raw)?).ok()?);
    let mut out = Vec::with_capacity(raw.len() + 8);
    headers::edit(raw, 0, |name| name != DELAY, &[(DELAY, &value)], &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Properties with `x-delay` of a value as it lies on the wire, between two other headers.
    fn with(value: &[u8]) -> Vec<u8> {
        let fields = [b"\x01zt\x01\x07x-delay", value, b"\x01at\0"].concat();
        [&[0x30, 0], &(fields.len() as u32).to_be_bytes()[..], &fields, &[2]].concat()
    }

    #[test]
    fn any_whole_number_counts_and_texts_and_fractions_do() {
        for (value, delay) in [
            (&b"b\x05"[..], Some(5)),
            (b"B\xff", Some(255)),
            (b"s\x01\0", Some(256)),
            (b"u\xff\xff", Some(65_535)),
            (b"I\0\x01\0\0", Some(65_536)),
            (b"i\xff\xff\xff\xff", Some(4_294_967_295)),
            (b"l\0\0\0\x01\0\0\0\0", Some(4_294_967_296)),
            (b"S\0\0\0\x045000", Some(5000)),
            (b"S\0\0\0\x15999999999999999999999", Some(i64::MAX as u64)),
            (b"d\x40\x59\x39\x99\x99\x99\x99\x9a", Some(100)),
            (b"d\x7f\xf8\0\0\0\0\0\0", None),
            (b"b\0", None),
            (b"b\xff", None),
            (b"S\0\0\0\x04soon", None),
            (b"t\x01", None),
            (b"V", None),
            (b"F\0\0\0\0", None),
        ] {
            assert_eq!(wanted(&with(value)), delay, "{value:?}");
        }
        assert_eq!((wanted(&[0, 0]), wanted(&[0x10, 0, 2]), wanted(&[])), (None, None, None));
    }

    #[test]
    fn afterwards_it_is_negative_and_long() {
        let out = done(&with(b"B\x05")).expect("delayed");
        let fields = b"\x01at\0\x07x-delayl\xff\xff\xff\xff\xff\xff\xff\xfb\x01zt\x01";
        assert_eq!(out, [&[0x30, 0, 0, 0, 0, fields.len() as u8], &fields[..], &[2]].concat());
        assert_eq!((wanted(&out), done(&out), done(&[0, 0])), (None, None, None));
    }
}
