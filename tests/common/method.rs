//! Methods as text, both ways: `queue.declare queue=q durable` becomes octets, and octets become
//! `queue.declare-ok queue='q' message-count=0 consumer-count=0`.

use std::fmt;
use std::sync::LazyLock;

use super::table::{Field, table};

/// Class, method, name and fields of all methods; fields that begin with `_` are reserved: sent as zero, never shown.
const METHODS: &str = "
10 10 connection.start version-major:octet version-minor:octet server-properties:table mechanisms:long locales:long
10 11 connection.start-ok client-properties:table mechanism:short response:long locale:short
10 20 connection.secure challenge:long
10 21 connection.secure-ok response:long
10 30 connection.tune channel-max:2 frame-max:4 heartbeat:2
10 31 connection.tune-ok channel-max:2 frame-max:4 heartbeat:2
10 40 connection.open virtual-host:short _1:short _2:bit
10 41 connection.open-ok _1:short
10 50 connection.close reply-code:2 reply-text:short class-id:2 method-id:2
10 51 connection.close-ok
10 60 connection.blocked reason:short
10 61 connection.unblocked
10 70 connection.update-secret new-secret:long reason:short
10 71 connection.update-secret-ok
20 10 channel.open _1:short
20 11 channel.open-ok _1:long
20 20 channel.flow active:bit
20 21 channel.flow-ok active:bit
20 40 channel.close reply-code:2 reply-text:short class-id:2 method-id:2
20 41 channel.close-ok
30 10 access.request realm:short exclusive:bit passive:bit active:bit write:bit read:bit
30 11 access.request-ok ticket:2
40 10 exchange.declare _1:2 exchange:short type:short passive:bit durable:bit auto-delete:bit internal:bit \
no-wait:bit arguments:table
40 11 exchange.declare-ok
40 20 exchange.delete _1:2 exchange:short if-unused:bit no-wait:bit
40 21 exchange.delete-ok
40 30 exchange.bind _1:2 destination:short source:short routing-key:short no-wait:bit arguments:table
40 31 exchange.bind-ok
40 40 exchange.unbind _1:2 destination:short source:short routing-key:short no-wait:bit arguments:table
40 51 exchange.unbind-ok
50 10 queue.declare _1:2 queue:short passive:bit durable:bit exclusive:bit auto-delete:bit no-wait:bit arguments:table
50 11 queue.declare-ok queue:short message-count:4 consumer-count:4
50 20 queue.bind _1:2 queue:short exchange:short routing-key:short no-wait:bit arguments:table
50 21 queue.bind-ok
50 30 queue.purge _1:2 queue:short no-wait:bit
50 31 queue.purge-ok message-count:4
50 40 queue.delete _1:2 queue:short if-unused:bit if-empty:bit no-wait:bit
50 41 queue.delete-ok message-count:4
50 50 queue.unbind _1:2 queue:short exchange:short routing-key:short arguments:table
50 51 queue.unbind-ok
60 10 basic.qos prefetch-size:4 prefetch-count:2 global:bit
60 11 basic.qos-ok
60 20 basic.consume _1:2 queue:short consumer-tag:short no-local:bit no-ack:bit exclusive:bit no-wait:bit arguments:table
60 21 basic.consume-ok consumer-tag:short
60 30 basic.cancel consumer-tag:short no-wait:bit
60 31 basic.cancel-ok consumer-tag:short
60 40 basic.publish _1:2 exchange:short routing-key:short mandatory:bit immediate:bit
60 50 basic.return reply-code:2 reply-text:short exchange:short routing-key:short
60 60 basic.deliver consumer-tag:short delivery-tag:8 redelivered:bit exchange:short routing-key:short
60 70 basic.get _1:2 queue:short no-ack:bit
60 71 basic.get-ok delivery-tag:8 redelivered:bit exchange:short routing-key:short message-count:4
60 72 basic.get-empty _1:short
60 80 basic.ack delivery-tag:8 multiple:bit
60 90 basic.reject delivery-tag:8 requeue:bit
60 100 basic.recover-async requeue:bit
60 110 basic.recover requeue:bit
60 111 basic.recover-ok
60 120 basic.nack delivery-tag:8 multiple:bit requeue:bit
85 10 confirm.select no-wait:bit
85 11 confirm.select-ok
90 10 tx.select
90 11 tx.select-ok
90 20 tx.commit
90 21 tx.commit-ok
90 30 tx.rollback
90 31 tx.rollback-ok
";

struct Layout {
    id: (u16, u16),
    name: &'static str,
    fields: Vec<(&'static str, &'static str)>,
}

static LAYOUTS: LazyLock<Vec<Layout>> = LazyLock::new(|| {
    let layout = |line: &'static str| {
        let mut words = line.split_whitespace();
        let mut number = || words.next().unwrap().parse().unwrap();
        let id = (number(), number());
        let name = words.next().unwrap();
        Layout { id, name, fields: words.map(|word| word.split_once(':').unwrap()).collect() }
    };
    METHODS.lines().filter(|line| !line.is_empty()).map(layout).collect()
});

/// A method to be sent.
#[derive(Clone)]
pub struct Method {
    layout: &'static Layout,
    values: Vec<(String, Vec<u8>)>,
}

/// A method out of its name, `field=value` for texts and numbers, and the names of the bits that are set.
pub fn method(text: &str) -> Method {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let layout = LAYOUTS.iter().find(|l| l.name == name).unwrap_or_else(|| panic!("no method {name}"));
    let found = Method { layout, values: Vec::new() };
    words.fold(found, |method, word| {
        let (field, value) = word.split_once('=').unwrap_or((word, "1"));
        method.set(field, value)
    })
}

/// For the names of cases.
impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.layout.name)?;
        let mut values = self.values.iter();
        values.try_for_each(|(field, value)| write!(f, " {field}={}", value.escape_ascii()))
    }
}

impl From<&str> for Method {
    fn from(text: &str) -> Self {
        method(text)
    }
}

impl Method {
    /// Sets a field to any octets.
    pub fn set(mut self, field: &str, value: impl AsRef<[u8]>) -> Self {
        let known = self.layout.fields.iter().any(|(name, _)| *name == field);
        assert!(known, "{} has no field {field}", self.layout.name);
        self.values.push((field.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets `arguments`.
    pub fn args(self, fields: &[(&str, Field)]) -> Self {
        self.set("arguments", table(fields))
    }

    /// The method frame's payload.
    pub fn payload(&self) -> Vec<u8> {
        let (class, id) = self.layout.id;
        let mut out = [class.to_be_bytes(), id.to_be_bytes()].concat();
        let mut bits = 0;
        for (name, kind) in &self.layout.fields {
            let value =
                self.values.iter().rev().find(|(field, _)| field == name).map(|(_, value)| &value[..]);
            if *kind == "bit" {
                if bits == 0 {
                    out.push(0);
                }
                *out.last_mut().unwrap() |= u8::from(value.is_some()) << bits;
                bits += 1;
                continue;
            }
            bits = 0;
            let value = value.unwrap_or_default();
            match *kind {
                "short" => {
                    out.push(u8::try_from(value.len()).unwrap());
                    out.extend_from_slice(value);
                }
                "long" => out.extend_from_slice(&super::table::sized(value)),
                "table" if value.is_empty() => out.extend_from_slice(&[0; 4]),
                "table" => out.extend_from_slice(value),
                octets => {
                    let number: u64 = match value {
                        [] => 0,
                        digits => std::str::from_utf8(digits).unwrap().parse().unwrap(),
                    };
                    let octets: usize = if octets == "octet" { 1 } else { octets.parse().unwrap() };
                    out.extend_from_slice(&number.to_be_bytes()[8 - octets..]);
                }
            }
        }
        out
    }
}

/// Splits octets off the front.
pub fn split<'a>(rest: &mut &'a [u8], size: usize) -> &'a [u8] {
    let (front, tail) = rest.split_at(size);
    *rest = tail;
    front
}

pub fn number(octets: &[u8]) -> u64 {
    octets.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet))
}

/// A received method's name and fields as texts. Tables are left as their octets are.
pub fn decode(payload: &[u8]) -> (&'static str, Vec<(&'static str, Vec<u8>)>) {
    let mut rest = payload;
    let id = (number(split(&mut rest, 2)) as u16, number(split(&mut rest, 2)) as u16);
    let layout = LAYOUTS.iter().find(|l| l.id == id).unwrap_or_else(|| panic!("unknown method {id:?}"));
    let mut fields = Vec::new();
    let (mut bits, mut octet) = (0, 0);
    for (name, kind) in &layout.fields {
        if *kind == "bit" {
            if bits == 0 {
                octet = split(&mut rest, 1)[0];
            }
            if octet >> bits & 1 == 1 {
                fields.push((*name, Vec::new()));
            }
            bits += 1;
            continue;
        }
        let value = match *kind {
            "short" => {
                let size = split(&mut rest, 1)[0];
                split(&mut rest, size.into()).to_vec()
            }
            "long" | "table" => {
                let size = number(split(&mut rest, 4));
                split(&mut rest, size as usize).to_vec()
            }
            "octet" => number(split(&mut rest, 1)).to_string().into_bytes(),
            size => number(split(&mut rest, size.parse().unwrap())).to_string().into_bytes(),
        };
        if !name.starts_with('_') {
            fields.push((*name, value));
        }
    }
    assert!(rest.is_empty(), "{} has {} octets too many", layout.name, rest.len());
    (layout.name, fields)
}

/// A received method as text: strings in quotes, only bits that are set, closes in short.
pub fn show(payload: &[u8]) -> String {
    let (name, fields) = decode(payload);
    let text = |at: usize| String::from_utf8_lossy(&fields[at].1).into_owned();
    if name.ends_with(".close") {
        return format!("{name} {} {} ({},{})", text(0), text(1), text(2), text(3));
    }
    let layout = LAYOUTS.iter().find(|l| l.name == name).unwrap();
    let mut out = name.to_owned();
    for (at, (field, _)) in fields.iter().enumerate() {
        let kind = layout.fields.iter().find(|(name, _)| name == field).unwrap().1;
        out += &match kind {
            "bit" => format!(" {field}"),
            "short" | "long" => format!(" {field}='{}'", text(at)),
            "table" => format!(" {field}=({} octets)", fields[at].1.len()),
            _ => format!(" {field}={}", text(at)),
        };
    }
    out
}
