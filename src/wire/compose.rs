//! Header tables that the broker writes itself, put together octet by octet.

use super::properties::HEADERS;

/// A table in the making: fields in the order in which they are added. Names are at most 255 octets long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(Vec<u8>);

/// The values of an array in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Array(Vec<u8>);

impl Table {
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.long(name, b'S', value.as_ref())
    }

    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.field(name, b't', &[u8::from(value)])
    }

    /// A number of 32 bits.
    pub fn int(&mut self, name: &str, value: i32) -> &mut Self {
        self.field(name, b'I', &value.to_be_bytes())
    }

    /// A number of 64 bits.
    pub fn long_int(&mut self, name: &str, value: i64) -> &mut Self {
        self.field(name, b'l', &value.to_be_bytes())
    }

    pub fn table(&mut self, name: &str, value: &Self) -> &mut Self {
        self.long(name, b'F', &value.0)
    }

    /// A table by its octets, without a length in front.
    pub fn raw_table(&mut self, name: &str, octets: &[u8]) -> &mut Self {
        self.long(name, b'F', octets)
    }

    pub fn array(&mut self, name: &str, value: &Array) -> &mut Self {
        self.long(name, b'A', &value.0)
    }

    fn long(&mut self, name: &str, kind: u8, octets: &[u8]) -> &mut Self {
        self.field(name, kind, &(octets.len() as u32).to_be_bytes());
        self.0.extend_from_slice(octets);
        self
    }

    fn field(&mut self, name: &str, kind: u8, octets: &[u8]) -> &mut Self {
        let name = &name.as_bytes()[..name.len().min(255)];
        self.0.push(name.len() as u8);
        self.0.extend_from_slice(name);
        self.0.push(kind);
        self.0.extend_from_slice(octets);
        self
    }

    /// A table that has been put together elsewhere, its length in front.
    pub fn encoded(octets: &[u8]) -> Self {
        Self(octets.get(4..).unwrap_or_default().into())
    }

    /// Without a length in front.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// A property list of these headers and nothing else.
    pub fn properties(&self) -> Box<[u8]> {
        self.properties_with(0, &[])
    }

    /// A property list of these headers and properties that follow them, as they lie on the wire.
    pub fn properties_with(&self, flags: u16, rest: &[u8]) -> Box<[u8]> {
        let mut out = Vec::with_capacity(6 + self.0.len() + rest.len());
        out.extend_from_slice(&(flags | HEADERS).to_be_bytes());
        out.extend_from_slice(&(self.0.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.0);
        out.extend_from_slice(rest);
        out.into()
    }
}

impl Array {
    /// An array of texts.
    pub fn of<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut array = Self::default();
        texts.into_iter().for_each(|text| array.text(text.as_ref()));
        array
    }

    pub fn text(&mut self, value: &[u8]) {
        self.0.push(b'S');
        self.0.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.0.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{properties, table};
    use amq_protocol::types::AMQPValue;

    #[test]
    fn what_is_written_is_read_back() {
        let mut inner = Table::default();
        inner.int("i", -1).flag("t", true);
        let mut outer = Table::default();
        outer.text("s", "text").long_int("l", 1 << 40).table("f", &inner);
        outer.array("a", &Array::of(["x", "y"])).raw_table("r", inner.octets());
        let raw = outer.properties_with(properties::DELIVERY_MODE, &[2]);
        properties::check(&raw).expect("well formed");
        assert!(properties::is_persistent(&raw));
        let read = properties::find(&raw, HEADERS).and_then(table::decode_table).expect("a table");
        let field = |name: &str| read.inner().get(name).cloned().expect("a field");
        assert_eq!(field("s"), AMQPValue::LongString("text".into()));
        assert_eq!(field("l"), AMQPValue::LongLongInt(1 << 40));
        let AMQPValue::FieldArray(items) = field("a") else { panic!("no array") };
        assert_eq!(items.as_slice().len(), 2);
        let AMQPValue::FieldTable(nested) = field("f") else { panic!("no table") };
        assert_eq!(nested.inner().get("i"), Some(&AMQPValue::LongInt(-1)));
        assert_eq!(field("r"), AMQPValue::FieldTable(nested));
    }
}
