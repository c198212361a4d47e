//! Erlang's `phash2` of a table of arguments, by which RabbitMQ names bindings that have any.
//!
//! The hash is Bob Jenkins' of 1996, over a term's parts in their order; it is the same in every version of Erlang/OTP
//! and on every machine. Terms are what RabbitMQ makes of arguments: lists of tuples of name, type and value, by name.

use amq_protocol::types::{AMQPValue, FieldTable};

/// What is added to the parts of a term; its multiples tell kinds of terms apart.
const STEP: u32 = 0x9e37_79b9;

/// The hash of an empty list, where nothing was hashed before it.
const NIL: u32 = 3_468_870_702;

/// The hash of arguments, all 32 bits of it.
pub(super) fn phash2(arguments: &FieldTable) -> u32 {
    let mut hash = Hash(0);
    hash.table(arguments);
    hash.0
}

struct Hash(u32);

impl Hash {
    /// Mixes two numbers in, which belong to a kind of term.
    fn mix(&mut self, first: u32, second: u32, kind: u32) {
        let kind = STEP.wrapping_mul(kind);
        self.0 = mixed(kind.wrapping_add(first), kind.wrapping_add(second), self.0);
    }

    fn nil(&mut self) {
        if self.0 == 0 { self.0 = NIL } else { self.mix(2, 0, 2) }
    }

    fn tuple(&mut self, parts: u32) {
        self.mix(parts, 0, 9);
    }

    /// An atom by its name, which is ASCII here.
    fn atom(&mut self, name: &str) {
        let mut value = 0u32;
        for octet in name.bytes() {
            value = (value << 4).wrapping_add(octet.into());
            let high = value & 0xf000_0000;
            value = (value ^ (high >> 24)) & !high;
        }
        if self.0 == 0 { self.0 = value } else { self.mix(value, 0, 3) }
    }

    fn binary(&mut self, octets: &[u8]) {
        let begin = STEP.wrapping_mul(13).wrapping_add(self.0);
        self.0 = if octets.is_empty() { begin } else { block(octets, begin) };
    }

    fn integer(&mut self, number: i64) {
        if let Ok(small) = i32::try_from(number) {
            if (-(1 << 27)..1 << 27).contains(&small) {
                if small < 0 {
                    self.mix(small.unsigned_abs(), 0, 1);
                }
                return self.mix(small.cast_unsigned(), 0, 1);
            }
        }
        let octets = number.unsigned_abs().to_le_bytes();
        let [a, b, c, d, e, f, g, h] = octets;
        let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        self.mix(low, high, if number < 0 { 10 } else { 11 });
    }

    fn float(&mut self, number: f64) {
        let bits = if number == 0.0 { 0 } else { number.to_bits() };
        let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
        self.mix(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]), 12);
    }

    fn table(&mut self, table: &FieldTable) {
        for (name, value) in table.inner() {
            self.tuple(3);
            self.binary(name.as_str().as_bytes());
            self.typed(value);
        }
        self.nil();
    }

    /// Type and value, the last two parts of a tuple.
    fn typed(&mut self, value: &AMQPValue) {
        match value {
            AMQPValue::Boolean(v) => {
                self.atom("bool");
                self.atom(if *v { "true" } else { "false" });
            }
            AMQPValue::ShortShortInt(v) => self.number("byte", (*v).into()),
            AMQPValue::ShortShortUInt(v) => self.number("unsignedbyte", (*v).into()),
            AMQPValue::ShortInt(v) => self.number("short", (*v).into()),
            AMQPValue::ShortUInt(v) => self.number("unsignedshort", (*v).into()),
            AMQPValue::LongInt(v) => self.number("signedint", (*v).into()),
            AMQPValue::LongUInt(v) => self.number("unsignedint", (*v).into()),
            AMQPValue::LongLongInt(v) => self.number("long", *v),
            AMQPValue::Timestamp(v) => self.number("timestamp", v.cast_signed()),
            AMQPValue::Float(v) => {
                self.atom("float");
                self.float((*v).into());
            }
            AMQPValue::Double(v) => {
                self.atom("double");
                self.float(*v);
            }
            AMQPValue::DecimalValue(v) => {
                self.atom("decimal");
                self.tuple(2);
                self.integer(v.scale.into());
                self.integer(v.value.into());
            }
            AMQPValue::ShortString(v) => self.octets("longstr", v.as_str().as_bytes()),
            AMQPValue::LongString(v) => self.octets("longstr", v.as_bytes()),
            AMQPValue::ByteArray(v) => self.octets("binary", v.as_slice()),
            AMQPValue::FieldArray(values) => {
                self.atom("array");
                for value in values.as_slice() {
                    self.tuple(2);
                    self.typed(value);
                }
                self.nil();
            }
            AMQPValue::FieldTable(table) => {
                self.atom("table");
                self.table(table);
            }
            AMQPValue::Void => {
                self.atom("void");
                self.atom("undefined");
            }
        }
    }

    fn number(&mut self, of: &str, number: i64) {
        self.atom(of);
        self.integer(number);
    }

    fn octets(&mut self, of: &str, octets: &[u8]) {
        self.atom(of);
        self.binary(octets);
    }
}

/// The mixing step of Jenkins' hash; the third number is what it comes to.
fn mixed(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    mix_all(&mut a, &mut b, &mut c);
    c
}

fn mix_all(a: &mut u32, b: &mut u32, c: &mut u32) {
    for (first, second, third) in [(13, 8, 13), (12, 16, 5), (3, 10, 15)] {
        *a = a.wrapping_sub(*b).wrapping_sub(*c) ^ (*c >> first);
        *b = b.wrapping_sub(*c).wrapping_sub(*a) ^ (*a << second);
        *c = c.wrapping_sub(*a).wrapping_sub(*b) ^ (*b >> third);
    }
}

/// Jenkins' hash of octets.
fn block(octets: &[u8], begin: u32) -> u32 {
    let word = |chunk: &[u8], at: usize| {
        let octet = |n: usize| u32::from(chunk.get(at + n).copied().unwrap_or_default());
        octet(0) | octet(1) << 8 | octet(2) << 16 | octet(3) << 24
    };
    let (mut a, mut b, mut c) = (STEP, STEP, begin);
    let mut chunks = octets.chunks_exact(12);
    for chunk in &mut chunks {
        a = a.wrapping_add(word(chunk, 0));
        b = b.wrapping_add(word(chunk, 4));
        c = c.wrapping_add(word(chunk, 8));
        mix_all(&mut a, &mut b, &mut c);
    }
    let rest = chunks.remainder();
    // The lowest octet of the third number is for the length.
    c = c.wrapping_add(u32::try_from(octets.len()).unwrap_or(u32::MAX));
    a = a.wrapping_add(word(rest, 0));
    b = b.wrapping_add(word(rest, 4));
    c = c.wrapping_add(word(rest, 8) << 8);
    mixed(a, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_protocol::types::{DecimalValue, FieldArray};

    fn of(name: &str, value: AMQPValue) -> u32 {
        let mut table = FieldTable::default();
        table.insert(name.into(), value);
        phash2(&table)
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    /// What `erlang:phash2(Arguments, 1 bsl 32)` says.
    #[test]
    fn as_erlang_hashes() {
        assert_eq!(phash2(&FieldTable::default()), 3_468_870_702);
        for (number, expected) in [
            (1, 37_137_917),
            (1_099_511_627_776, 134_029_188),
            (-9_007_199_254_740_993, 246_044_384),
            (134_217_727, 2_890_050_621),
            (134_217_728, 1_878_799_901),
            (-134_217_728, 2_848_721_854),
            (-134_217_729, 1_441_918_508),
            (i64::MAX, 3_174_272_260),
            (i64::MIN, 3_568_775_212),
            (576_460_752_303_423_487, 2_077_513_152),
            (576_460_752_303_423_488, 3_565_894_231),
            (-576_460_752_303_423_488, 853_368_727),
            (-576_460_752_303_423_489, 2_851_791_124),
        ] {
            assert_eq!(of("a", AMQPValue::LongLongInt(number)), expected, "{number}");
        }
        let mut inner = FieldTable::default();
        inner.insert("g".into(), AMQPValue::LongLongInt(1));
        let array = FieldArray::from(vec![AMQPValue::LongLongInt(1), text("x")]);
        for (value, expected) in [
            (AMQPValue::LongInt(-5), 3_168_892_464),
            (AMQPValue::Double(1.5), 3_398_307_074),
            (AMQPValue::Double(0.0), 1_914_965_849),
            (AMQPValue::Double(-0.0), 1_914_965_849),
            (AMQPValue::Boolean(true), 1_802_062_121),
            (AMQPValue::Boolean(false), 2_371_499_032),
            (AMQPValue::Void, 972_185_960),
            (text(""), 1_715_640_515),
            (text("text longer than twelve octets"), 177_410_273),
            (AMQPValue::FieldArray(array), 1_802_141_355),
            (AMQPValue::FieldArray(FieldArray::default()), 2_387_373_417),
            (AMQPValue::FieldTable(FieldTable::default()), 605_878_053),
            (AMQPValue::FieldTable(inner), 308_708_387),
            (AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 }), 2_016_928_084),
            (AMQPValue::Timestamp(1_700_000_000), 3_135_102_134),
            (AMQPValue::ShortShortInt(-1), 3_437_101_984),
            (AMQPValue::ShortShortUInt(200), 3_777_025_267),
            (AMQPValue::ShortInt(-300), 3_890_688_482),
            (AMQPValue::ShortUInt(60_000), 2_835_767_909),
            (AMQPValue::LongUInt(4_000_000_000), 2_925_418_511),
            (AMQPValue::Float(1.5), 2_822_740_314),
            (AMQPValue::ByteArray(vec![1, 2, 3].into()), 179_728_555),
        ] {
            assert_eq!(of("a", value.clone()), expected, "{value:?}");
        }
    }
}
