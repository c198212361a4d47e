//! Field tables, written octet by octet.

/// A field's type and its value.
#[derive(Clone, Debug)]
pub struct Field(pub Vec<u8>);

/// A field of any type, with its octets as they are.
pub fn typed(kind: u8, octets: &[u8]) -> Field {
    Field([&[kind], octets].concat())
}

fn prefixed(kind: u8, octets: &[u8]) -> Field {
    let size = u32::try_from(octets.len()).unwrap().to_be_bytes();
    Field([&[kind], &size[..], octets].concat())
}

/// `I`, what most clients send for whole numbers.
pub fn int(value: i32) -> Field {
    typed(b'I', &value.to_be_bytes())
}

/// `l`.
pub fn long(value: i64) -> Field {
    typed(b'l', &value.to_be_bytes())
}

pub fn double(value: f64) -> Field {
    typed(b'd', &value.to_be_bytes())
}

pub fn flag(value: bool) -> Field {
    typed(b't', &[u8::from(value)])
}

pub fn void() -> Field {
    typed(b'V', &[])
}

/// `S`, a long string.
pub fn text(value: &str) -> Field {
    prefixed(b'S', value.as_bytes())
}

/// `x`, a byte array.
pub fn binary(value: &[u8]) -> Field {
    prefixed(b'x', value)
}

pub fn list(fields: &[Field]) -> Field {
    let octets: Vec<u8> = fields.iter().flat_map(|field| field.0.clone()).collect();
    prefixed(b'A', &octets)
}

pub fn map(fields: &[(&str, Field)]) -> Field {
    typed(b'F', &table(fields))
}

/// A whole table with its length prefix.
pub fn table(fields: &[(&str, Field)]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, field) in fields {
        octets.push(u8::try_from(name.len()).unwrap());
        octets.extend_from_slice(name.as_bytes());
        octets.extend_from_slice(&field.0);
    }
    sized(&octets)
}

/// Octets behind their length in four.
pub fn sized(octets: &[u8]) -> Vec<u8> {
    [&u32::try_from(octets.len()).unwrap().to_be_bytes()[..], octets].concat()
}

/// A property list of a header table and nothing else.
pub fn headers(fields: &[(&str, Field)]) -> Vec<u8> {
    [&[0x20, 0x00][..], &table(fields)].concat()
}
