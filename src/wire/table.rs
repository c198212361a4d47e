//! Field tables as they lie on the wire (AMQP 0-9-1, section 4.2.5.5 with RabbitMQ's types).
//!
//! Tables that only pass through are never decoded: this module walks them in place, to check that
//! they are whole and to find single fields. What is to be decoded, by `amq-protocol`, which recurses, is first
//! [`check`]ed for its depth.

use amq_protocol::types::{AMQPValue, FieldTable};

/// How deep tables and arrays that are decoded may lie in each other. RabbitMQ has no limit; no client comes near
/// this.
pub const DEPTH_MAX: usize = 64;

/// What is wrong with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a field runs over the end of its table")]
    Truncated,
    #[error("unknown field type {0}")]
    Type(u8),
    #[error("tables nested too deeply")]
    Depth,
}

/// A field's type and the octets of its value, without a length prefix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    pub kind: u8,
    pub octets: &'a [u8],
}

/// What a field means, as far as routing and checks need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i128),
    /// Seconds.
    Timestamp(u64),
    Float(f64),
    Decimal(u8, u32),
    Octets(&'a [u8]),
    Array(&'a [u8]),
    Table(&'a [u8]),
    Void,
}

impl<'a> Field<'a> {
    pub fn value(&self) -> Value<'a> {
        let o = self.octets;
        match self.kind {
            b't' => Value::Bool(o[0] != 0),
            b'b' => Value::Int(i128::from(o[0].cast_signed())),
            b'B' => Value::Int(i128::from(o[0])),
            b's' | b'U' => Value::Int(i128::from(i16::from_be_bytes(fixed(o)))),
            b'u' => Value::Int(i128::from(u16::from_be_bytes(fixed(o)))),
            b'I' => Value::Int(i128::from(i32::from_be_bytes(fixed(o)))),
            b'i' => Value::Int(i128::from(u32::from_be_bytes(fixed(o)))),
            b'l' | b'L' => Value::Int(i128::from(i64::from_be_bytes(fixed(o)))),
            b'T' => Value::Timestamp(u64::from_be_bytes(fixed(o))),
            b'f' => Value::Float(f64::from(f32::from_be_bytes(fixed(o)))),
            b'd' => Value::Float(f64::from_be_bytes(fixed(o))),
            b'D' => Value::Decimal(o[0], u32::from_be_bytes(fixed(&o[1..]))),
            b'S' | b'x' => Value::Octets(o),
            b'A' => Value::Array(o),
            b'F' => Value::Table(o),
            _ => Value::Void,
        }
    }
}

/// The first `N` octets; [`take`] has made sure that they are there.
fn fixed<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&octets[..N]);
    out
}

/// Splits one typed value off the front of `rest`.
fn take<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, Malformed> {
    let (&kind, tail) = rest.split_first().ok_or(Malformed::Truncated)?;
    let (skip, size) = match kind {
        b't' | b'b' | b'B' => (0, 1),
        b's' | b'U' | b'u' => (0, 2),
        b'I' | b'i' | b'f' => (0, 4),
        b'l' | b'L' | b'T' | b'd' => (0, 8),
        b'D' => (0, 5),
        b'V' => (0, 0),
        b'S' | b'x' | b'A' | b'F' => {
            let length = tail.get(..4).ok_or(Malformed::Truncated)?;
            (4, u32::from_be_bytes(fixed(length)) as usize)
        }
        other => return Err(Malformed::Type(other)),
    };
    let octets = tail.get(skip..skip + size).ok_or(Malformed::Truncated)?;
    *rest = &tail[skip + size..];
    Ok(Field { kind, octets })
}

/// The fields of a table's octets (without its length prefix), in order.
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// Walks the fields of a table; stops at the first malformed one.
pub fn fields(octets: &[u8]) -> Fields<'_> {
    Fields { rest: octets }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(&'a [u8], Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&size, tail) = self.rest.split_first()?;
        let found = (|| {
            let name = tail.get(..size as usize).ok_or(Malformed::Truncated)?;
            let mut rest = &tail[size as usize..];
            let field = take(&mut rest)?;
            self.rest = rest;
            Ok((name, field))
        })();
        if found.is_err() {
            self.rest = &[];
        }
        Some(found)
    }
}

/// The fields of a table, each with its name and its value as it lies there, type first.
pub fn raw_fields(octets: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Malformed>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (&size, tail) = rest.split_first()?;
        let mut one = || {
            let (name, value) = tail.split_at_checked(size.into()).ok_or(Malformed::Truncated)?;
            let mut after = value;
            take(&mut after)?;
            rest = after;
            Ok((name, &value[..value.len() - after.len()]))
        };
        let found = one();
        if found.is_err() {
            rest = &[];
        }
        Some(found)
    })
}

/// The values of an array, in order; stops at the first malformed one.
pub fn values(octets: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = octets;
    std::iter::from_fn(move || if rest.is_empty() { None } else { take(&mut rest).ok() })
}

/// The field called `name`, if the table has it.
pub fn find<'a>(octets: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    fields(octets).map_while(Result::ok).find(|(n, _)| *n == name).map(|(_, field)| field)
}

/// Checks a table's octets through all its depths, of which there may be `depth_max`, without recursion and without
/// allocation in the usual case of a flat table.
pub fn check(octets: &[u8], depth_max: usize) -> Result<(), Malformed> {
    let mut open: Vec<(&[u8], usize, bool)> = Vec::new();
    let (mut rest, mut depth, mut table) = (octets, 1, true);
    loop {
        while !rest.is_empty() {
            if table {
                let (&size, tail) = rest.split_first().ok_or(Malformed::Truncated)?;
                let name = tail.get(..size as usize).ok_or(Malformed::Truncated)?;
                rest = &tail[name.len()..];
            }
            let field = take(&mut rest)?;
            if matches!(field.kind, b'A' | b'F') && !field.octets.is_empty() {
                if depth >= depth_max {
                    return Err(Malformed::Depth);
                }
                open.push((field.octets, depth + 1, field.kind == b'F'));
            }
        }
        match open.pop() {
            Some(inner) => (rest, depth, table) = inner,
            None => return Ok(()),
        }
    }
}

/// Decodes a value, for comparisons that need its structure; `None` if it cannot be or is too deep.
pub fn decode(field: &Field<'_>) -> Option<AMQPValue> {
    decode_within(field, DEPTH_MAX)
}

fn decode_within(field: &Field<'_>, depth_max: usize) -> Option<AMQPValue> {
    let named =
        [b"\0", [field.kind].as_slice(), &(field.octets.len() as u32).to_be_bytes(), field.octets].concat();
    if matches!(field.kind, b'A' | b'F') && check(&named, depth_max).is_err() {
        return None;
    }
    let mut octets = vec![field.kind];
    if matches!(field.kind, b'S' | b'x' | b'A' | b'F') {
        octets.extend_from_slice(&(field.octets.len() as u32).to_be_bytes());
    }
    octets.extend_from_slice(field.octets);
    let (_, value) = amq_protocol::types::parsing::parse_value(octets.as_slice()).ok()?;
    Some(value)
}

/// The long strings of an array's octets. What else is in it is passed over.
pub fn long_strings(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    values(array).filter(|field| field.kind == b'S').map(|field| field.octets)
}

/// Decodes a table's octets (without length prefix); `None` if they are none, or too deep.
pub fn decode_table(octets: &[u8]) -> Option<FieldTable> {
    decode_table_within(octets, DEPTH_MAX)
}

/// The same with another limit of depth, which counts the table itself twice.
pub fn decode_table_within(octets: &[u8], depth_max: usize) -> Option<FieldTable> {
    match decode_within(&Field { kind: b'F', octets }, depth_max) {
        Some(AMQPValue::FieldTable(table)) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, value: &str) -> Vec<u8> {
        let mut out = vec![name.len() as u8];
        out.extend_from_slice(name.as_bytes());
        out.push(b'S');
        out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
        out
    }

    fn nested(levels: usize) -> Vec<u8> {
        let mut inner = Vec::new();
        for _ in 0..levels {
            let mut outer = vec![1, b'n', b'F'];
            outer.extend_from_slice(&(inner.len() as u32).to_be_bytes());
            outer.extend_from_slice(&inner);
            inner = outer;
        }
        inner
    }

    #[test]
    fn every_type_has_its_size() {
        let octets = b"\x01at\x01\x01bb\xfb\x01cB\xc8\x01ds\xfe\xd4\x01eu\xea\x60\x01fI\xff\xff\xff\xff\
            \x01gi\xff\xff\xff\xff\x01hl\xff\xff\xff\xff\xff\xff\xff\xff\x01if\x3f\xc0\0\0\
            \x01jd\xc0\x02\0\0\0\0\0\0\x01kD\x02\0\0\x01\x3a\x01lT\0\0\0\0\0\0\0\x05\x01mV";
        let found: Vec<_> = fields(octets).map(|f| f.expect("good").1.value()).collect();
        assert_eq!(check(octets, DEPTH_MAX), Ok(()));
        assert_eq!(
            found,
            [
                Value::Bool(true),
                Value::Int(-5),
                Value::Int(200),
                Value::Int(-300),
                Value::Int(60000),
                Value::Int(-1),
                Value::Int(4_294_967_295),
                Value::Int(-1),
                Value::Float(1.5),
                Value::Float(-2.25),
                Value::Decimal(2, 314),
                Value::Timestamp(5),
                Value::Void
            ]
        );
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = [text("a", "bc"), text("name", "value")].concat();
        let cuts: Vec<usize> = (1..whole.len()).filter(|cut| *cut != text("a", "bc").len()).collect();
        for cut in cuts {
            assert_eq!(check(&whole[..cut], DEPTH_MAX), Err(Malformed::Truncated), "{cut} octets");
        }
        assert_eq!(find(&whole, b"name").map(|f| f.octets), Some(&b"value"[..]));
    }

    #[test]
    fn nesting_is_bounded_without_recursion() {
        assert_eq!(check(&nested(DEPTH_MAX - 1), DEPTH_MAX), Ok(()));
        assert_eq!(check(&nested(20_000), DEPTH_MAX), Err(Malformed::Depth));
        assert_eq!(check(&nested(20_000), usize::MAX), Ok(()));
        assert!(decode_table(&nested(DEPTH_MAX - 2)).is_some());
        assert!(decode_table(&nested(20_000)).is_none());
    }

    #[test]
    fn unknown_types_and_names() {
        assert_eq!(check(b"\x01az", DEPTH_MAX), Err(Malformed::Type(b'z')));
        assert_eq!(check(b"\x01\xfft\x01", DEPTH_MAX), Ok(()), "any octets may be a name");
        assert_eq!(decode_table(b"\x01\xfft\x01"), None, "but not one that is decoded");
    }
}
