//! What is remembered of a message: a digest of a header's value and of its type.

use sha2::{Digest as _, Sha256};

use crate::wire::properties::{self, HEADERS};
use crate::wire::table::{self, Value};

/// Half of a SHA-256: so long that two are the same only for the same value, whoever chooses the values, and the same
/// after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64, u64);

impl Key {
    /// How it is kept.
    pub const SIZE: usize = 16;

    /// The key in a header of this name. Tables and arrays are none.
    ///
    /// Types tell values apart as Erlang's do: 1 is not "1" and not 1.0, but it is the same in every width.
    pub fn find(raw: &[u8], header: &[u8]) -> Option<Self> {
        let field = table::find(properties::find(raw, HEADERS)?, header)?;
        Some(match field.value() {
            Value::Bool(flag) => Self::of(b't', &[u8::from(flag)]),
            Value::Int(number) => Self::of(b'l', &number.to_be_bytes()),
            Value::Timestamp(seconds) => Self::of(b'T', &seconds.to_be_bytes()),
            Value::Float(number) => Self::of(b'd', &number.to_be_bytes()),
            Value::Decimal(scale, number) => Self::of(b'D', &[&[scale], &number.to_be_bytes()[..]].concat()),
            Value::Octets(octets) => Self::of(b'S', octets),
            Value::Void => Self::of(b'V', &[]),
            Value::Array(_) | Value::Table(_) => return None,
        })
    }

    fn of(kind: u8, octets: &[u8]) -> Self {
        let digest = Sha256::new().chain_update([kind]).chain_update(octets).finalize();
        Self::read(&digest).unwrap_or(Self(0, 0))
    }

    pub fn read(octets: &[u8]) -> Option<Self> {
        let (front, rest) = octets.split_first_chunk()?;
        let (back, _) = rest.split_first_chunk()?;
        Some(Self(u64::from_be_bytes(*front), u64::from_be_bytes(*back)))
    }

    pub fn to_octets(self) -> [u8; Self::SIZE] {
        ((u128::from(self.0) << 64) | u128::from(self.1)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &[u8]) -> Vec<u8> {
        let table = [b"\x01k", value].concat();
        [&[0x20, 0][..], &(table.len() as u32).to_be_bytes(), &table].concat()
    }

    fn key(value: &[u8]) -> Option<Key> {
        Key::find(&with(value), b"k")
    }

    #[test]
    fn types_tell_keys_apart_and_widths_do_not() {
        let one = key(b"b\x01").expect("a key");
        assert_eq!(key(b"l\0\0\0\0\0\0\0\x01"), Some(one));
        assert_eq!(key(b"I\0\0\0\x01"), Some(one));
        let different: &[&[u8]] = &[
            b"S\0\0\0\x011",
            b"S\0\0\0\0",
            b"t\x01",
            b"t\x00",
            b"V",
            b"d\x3f\xf0\0\0\0\0\0\0",
            b"T\0\0\0\0\0\0\0\x01",
            b"D\0\0\0\0\x01",
            b"D\x01\0\0\0\x01",
        ];
        let mut all: Vec<_> = different.iter().map(|value| key(value).expect("a key")).collect();
        all.push(one);
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(at), "{at} is the same as another");
            assert_eq!(Key::read(&one.to_octets()), Some(*one));
        }
        assert_eq!(key(b"f\x3f\x80\0\0"), key(b"d\x3f\xf0\0\0\0\0\0\0"));
        assert_eq!(key(b"x\0\0\0\x011"), key(b"S\0\0\0\x011"));
    }

    #[test]
    fn no_header_no_key() {
        assert_eq!(Key::find(&[0, 0], b"k"), None);
        assert_eq!(Key::find(&with(b"t\x01"), b"other"), None);
        assert_eq!(key(b"A\0\0\0\x02t\x01"), None);
        assert_eq!(key(b"F\0\0\0\0"), None);
        assert_eq!(Key::read(&[0; 15]), None);
    }
}
