//! Methods in and out. The few that come once a message are decoded here; the rest by `amq-protocol`.

use std::ops::Range;

use amq_protocol::protocol::{self, AMQPClass};

use super::frame::{self, END, METHOD};
use super::reply::{Exception, MethodId};
use super::table::{self, DEPTH_MAX};

/// A method from a client. The hot ones hold offsets into the payload they were read from.
#[derive(Debug)]
pub enum Method {
    Publish(Publish),
    Get(Get),
    Ack {
        delivery_tag: u64,
        multiple: bool,
    },
    Nack {
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    },
    Reject {
        delivery_tag: u64,
        requeue: bool,
    },
    /// A method that only a server sends.
    Foreign,
    Other(Box<AMQPClass>),
}

/// `basic.publish`. Its two strings lie one after the other in the payload.
#[derive(Clone, Copy, Debug)]
pub struct Publish {
    pub exchange_size: u8,
    pub routing_key_size: u8,
    pub mandatory: bool,
    pub immediate: bool,
}

impl Publish {
    pub const ID: MethodId = (60, 40);
    /// Where the exchange's name begins in the payload: after class, method, ticket and length.
    const EXCHANGE: usize = 7;

    /// Exchange and routing key, out of the payload it was decoded from.
    pub fn target<'a>(&self, payload: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let exchange_end = Self::EXCHANGE + self.exchange_size as usize;
        let key = exchange_end + 1;
        (&payload[Self::EXCHANGE..exchange_end], &payload[key..key + self.routing_key_size as usize])
    }

    /// The same in one piece, as it lies there: each with its length in front.
    pub fn names<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        let size = self.exchange_size as usize + 1 + self.routing_key_size as usize;
        &payload[Self::EXCHANGE - 1..Self::EXCHANGE + size]
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let exchange_size = *payload.get(6)?;
        let at = Self::EXCHANGE + exchange_size as usize;
        let routing_key_size = *payload.get(at)?;
        let bits_at = at + 1 + routing_key_size as usize;
        let bits = *payload.get(bits_at)?;
        (payload.len() == bits_at + 1).then_some(Self {
            exchange_size,
            routing_key_size,
            mandatory: bits & 1 != 0,
            immediate: bits & 2 != 0,
        })
    }
}

/// `basic.get`.
#[derive(Clone, Copy, Debug)]
pub struct Get {
    queue_size: u8,
    pub no_ack: bool,
}

impl Get {
    pub const ID: MethodId = (60, 70);
    /// Where the queue's name begins in the payload: after class, method, ticket and length.
    const QUEUE: usize = 7;

    /// The octets of the payload that are the queue's name.
    pub fn queue(&self) -> Range<usize> {
        Self::QUEUE..Self::QUEUE + self.queue_size as usize
    }

    /// Out of a payload that follows the method's layout.
    fn decode(payload: &[u8]) -> Option<Self> {
        let queue_size = *payload.get(Self::QUEUE - 1)?;
        let bits = *payload.get(Self::QUEUE + queue_size as usize)?;
        Some(Self { queue_size, no_ack: bits & 1 != 0 })
    }
}

/// The class and method id a payload begins with.
pub fn id(payload: &[u8]) -> Option<MethodId> {
    match payload {
        [a, b, c, d, ..] => Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        _ => None,
    }
}

/// The name of a method as RabbitMQ's log has it, `queue.declare` for example; `none` for what is no method.
pub fn name((class, method): MethodId) -> String {
    // By tens; those between are their replies.
    let (class, names) = match class {
        10 => ("connection", "start secure tune open close blocked"),
        20 => ("channel", "open flow - close"),
        40 => ("exchange", "declare delete bind unbind"),
        50 => ("queue", "declare bind purge delete unbind"),
        60 => {
            ("basic", "qos consume cancel publish return deliver get ack reject recover_async recover nack")
        }
        85 => ("confirm", "select"),
        90 => ("tx", "select commit rollback"),
        _ => return "none".to_owned(),
    };
    let number = usize::from(method / 10).checked_sub(1);
    let name = number.and_then(|number| names.split(' ').nth(number)).filter(|name| *name != "-");
    let reply = if method % 10 == 0 { "" } else { "_ok" };
    name.map_or_else(|| "none".to_owned(), |name| format!("{class}.{name}{reply}"))
}

/// Decodes a method frame's payload.
///
/// RabbitMQ's answers to what it cannot decode are followed where it has any: 501 for a payload that is no
/// method, for arguments that do not fit the method and for strings that are not UTF-8 (which names the method only
/// on channel 0). Where RabbitMQ just drops the connection (unknown methods, unknown field types) it is a 541 here.
pub fn decode(channel: u16, payload: &[u8]) -> Result<Method, Exception> {
    let Some(id) = id(payload) else {
        return Err(frame::fault(METHOD, payload, "unknown_frame"));
    };
    let cannot = || {
        let text = format!("cannot decode {}", frame::erlang_octets(&payload[4..]));
        Exception::frame_error(text).caused_by(id)
    };
    match id {
        Publish::ID => Publish::decode(payload).map(Method::Publish).ok_or_else(cannot),
        (60, 80) => {
            let (delivery_tag, bits) = tag_and_bits(payload).ok_or_else(cannot)?;
            Ok(Method::Ack { delivery_tag, multiple: bits & 1 != 0 })
        }
        (60, 90) => {
            let (delivery_tag, bits) = tag_and_bits(payload).ok_or_else(cannot)?;
            Ok(Method::Reject { delivery_tag, requeue: bits & 1 != 0 })
        }
        (60, 120) => {
            let (delivery_tag, bits) = tag_and_bits(payload).ok_or_else(cannot)?;
            Ok(Method::Nack { delivery_tag, multiple: bits & 1 != 0, requeue: bits & 2 != 0 })
        }
        _ => decode_other(channel, id, payload, cannot),
    }
}

fn tag_and_bits(payload: &[u8]) -> Option<(u64, u8)> {
    let [t0, t1, t2, t3, t4, t5, t6, t7, bits] = *payload.get(4..)? else {
        return None;
    };
    Some((u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]), bits))
}

fn decode_other(
    channel: u16,
    id: MethodId,
    payload: &[u8],
    cannot: impl Fn() -> Exception,
) -> Result<Method, Exception> {
    let dropped = || Exception::internal_error("");
    // Only what has been walked is given to `amq-protocol`, which trusts the depth of tables.
    let Some(layout) = layout(id) else {
        return match id.0 {
            _ if is_servers(id) => Ok(Method::Foreign),
            // RabbitMQ knows the class but not the method: it finds no way to decode its arguments.
            20 | 30 | 40 | 50 | 60 | 85 | 90 => Err(cannot()),
            _ => Err(dropped()),
        };
    };
    check(layout, &payload[4..]).map_err(|fault| match fault {
        Fault::Short => cannot(),
        Fault::Utf8 => {
            let e = Exception::frame_error("Malformed UTF-8 in shortstr");
            if channel == 0 { e.caused_by(id) } else { e }
        }
        Fault::Table => dropped(),
    })?;
    if id == Get::ID {
        return Get::decode(payload).map(Method::Get).ok_or_else(cannot);
    }
    if id == QOS {
        // A window in octets, which RabbitMQ does not have, and which `amq-protocol` passes over.
        let size = u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]);
        if size != 0 {
            let text = format!("prefetch_size!=0 ({size})");
            return Err(Exception::not_implemented(text).caused_by(id));
        }
    }
    match protocol::parse_class(payload) {
        Ok(([], class)) => Ok(Method::Other(Box::new(class))),
        Ok(_) => Err(cannot()),
        Err(_) => Err(dropped()),
    }
}

const QOS: MethodId = (60, 10);

enum Fault {
    Short,
    Utf8,
    Table,
}

/// The fields of the methods that carry strings or tables: `2`, `4`, `8` octets, `b`its, `s`hort and `l`ong
/// strings, `t`able. `None` for methods that no client sends.
fn layout(id: MethodId) -> Option<&'static str> {
    Some(match id {
        (10, 11) => "tsls",
        (10, 51) | (20, 41) => "",
        (10, 21) => "l",
        (10, 31) => "242",
        (10, 40) => "ssb",
        (10, 50) | (20, 40) => "2s22",
        (10, 70) => "ls",
        (20, 10) => "s",
        (30, 10) => "sb",
        (40, 10) => "2ssbt",
        (40, 20) => "2sb",
        (40, 30 | 40) => "2sssbt",
        (50, 10) => "2sbt",
        (50, 20) => "2sssbt",
        (50, 30) | (50, 40) | (60, 70) => "2sb",
        (50, 50) => "2ssst",
        (60, 10) => "42b",
        (60, 20) => "2ssbt",
        (60, 30) => "sb",
        (60, 100 | 110) | (85, 10) | (20, 20) => "b",
        (90, 10 | 20 | 30) => "",
        _ => return None,
    })
}

/// Whether a method exists but is never a client's to send.
fn is_servers(id: MethodId) -> bool {
    match id.0 {
        10 => matches!(id.1, 10 | 20 | 30 | 41 | 60 | 61 | 71),
        20 => matches!(id.1, 11 | 21),
        30 => id.1 == 11,
        40 => matches!(id.1, 11 | 21 | 31 | 51),
        50 => matches!(id.1, 11 | 21 | 31 | 41 | 51),
        60 => matches!(id.1, 11 | 21 | 31 | 50 | 60 | 71 | 72 | 111),
        85 => id.1 == 11,
        90 => matches!(id.1, 11 | 21 | 31),
        _ => false,
    }
}

/// Walks arguments along their layout. A table that runs over the payload is `Short`, one that is wrong inside
/// is `Table`, as RabbitMQ tells them apart.
fn check(layout: &str, mut rest: &[u8]) -> Result<(), Fault> {
    let mut split = |size: usize| {
        let (front, tail) = rest.split_at_checked(size).ok_or(Fault::Short)?;
        rest = tail;
        Ok(front)
    };
    for field in layout.bytes() {
        match field {
            b'b' => drop(split(1)?),
            b'2' | b'4' => drop(split((field - b'0') as usize)?),
            b's' => {
                let size = split(1)?[0];
                let text = split(size as usize)?;
                std::str::from_utf8(text).map_err(|_| Fault::Utf8)?;
            }
            _ => {
                let size = split(4)?;
                let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]);
                let octets = split(size as usize)?;
                if field == b't' {
                    table::check(octets, DEPTH_MAX).map_err(|_| Fault::Table)?;
                }
            }
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(Fault::Short) }
}

/// Appends a method frame.
pub fn put(out: &mut Vec<u8>, channel: u16, method: &AMQPClass) {
    let at = out.len();
    frame::put_head(out, METHOD, channel, 0);
    let write = protocol::gen_class(method);
    match write(std::mem::take(out).into()) {
        Ok(done) => *out = done.into_inner().0,
        // Writing into a vector cannot fail.
        Err(e) => unreachable!("a method could not be encoded: {e}"),
    }
    finish(out, at);
}

/// Fills in the size of the frame that began at `at` and ends the frame.
fn finish(out: &mut Vec<u8>, at: usize) {
    let size = (out.len() - at - frame::HEAD) as u32;
    out[at + 3..at + frame::HEAD].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

/// Appends `basic.ack` from the broker: a confirm.
pub fn put_ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    frame::put_head(out, METHOD, channel, 13);
    out.extend_from_slice(&[0, 60, 0, 80]);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.extend_from_slice(&[u8::from(multiple), END]);
}

/// Appends `basic.get-empty`.
pub fn put_get_empty(out: &mut Vec<u8>, channel: u16) {
    frame::put_head(out, METHOD, channel, 5);
    out.extend_from_slice(&[0, 60, 0, 72, 0, END]);
}

/// Appends `basic.nack` from the broker: messages that cannot be confirmed.
pub fn put_nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    frame::put_head(out, METHOD, channel, 13);
    out.extend_from_slice(&[0, 60, 0, 120]);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    // The requeue bit means nothing to publishers; RabbitMQ sets it.
    out.extend_from_slice(&[u8::from(multiple) | 2, END]);
}

/// Appends the close that an exception asks for: of the connection if its code is hard or `channel` is 0.
pub fn put_close(out: &mut Vec<u8>, channel: u16, exception: &Exception) {
    let (channel, id): (u16, [u8; 4]) = if channel == 0 || exception.code.is_hard() {
        (0, [0, 10, 0, 50])
    } else {
        (channel, [0, 20, 0, 40])
    };
    let text = exception.reply_text();
    let at = out.len();
    frame::put_head(out, METHOD, channel, 0);
    out.extend_from_slice(&id);
    out.extend_from_slice(&exception.code.number().to_be_bytes());
    out.push(text.len() as u8);
    out.extend_from_slice(&text);
    out.extend_from_slice(&exception.cause.0.to_be_bytes());
    out.extend_from_slice(&exception.cause.1.to_be_bytes());
    finish(out, at);
}

/// A table as octets, length prefix included.
pub fn encode_table(table: &amq_protocol::types::FieldTable) -> Vec<u8> {
    let write = amq_protocol::types::generation::gen_field_table(table);
    match write(Vec::new().into()) {
        Ok(done) => done.into_inner().0,
        // Writing into a vector cannot fail.
        Err(e) => unreachable!("a table could not be encoded: {e}"),
    }
}

/// Appends `basic.cancel` from the broker, which wants no answer.
pub fn put_cancel(out: &mut Vec<u8>, channel: u16, consumer_tag: &[u8]) {
    frame::put_head(out, METHOD, channel, 4 + 1 + consumer_tag.len() + 1);
    out.extend_from_slice(&[0, 60, 0, 30, consumer_tag.len() as u8]);
    out.extend_from_slice(consumer_tag);
    out.extend_from_slice(&[1, END]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array within an array, and so on, as one field.
    fn nested(levels: usize) -> Vec<u8> {
        let mut inner = Vec::new();
        for _ in 0..levels {
            inner = [&b"A"[..], &(inner.len() as u32).to_be_bytes(), &inner].concat();
        }
        inner
    }

    fn table(levels: usize) -> Vec<u8> {
        let field = [&b"\x01n"[..], &nested(levels)].concat();
        [&(field.len() as u32).to_be_bytes()[..], &field].concat()
    }

    #[test]
    fn names_of_methods() {
        for (id, wanted) in [
            ((50, 10), "queue.declare"),
            ((40, 40), "exchange.unbind"),
            ((60, 120), "basic.nack"),
            ((10, 51), "connection.close_ok"),
            ((20, 30), "none"),
            ((20, 40), "channel.close"),
            ((90, 40), "none"),
            ((0, 0), "none"),
            ((10, 65535), "none"),
        ] {
            assert_eq!(name(id), wanted, "{id:?}");
        }
    }

    #[test]
    fn deep_tables_exhaust_no_stack_in_any_method() {
        for levels in [DEPTH_MAX - 1, 5_000, 25_000] {
            let table = table(levels);
            // connection.start, start-ok, queue.declare, and a method that does not exist.
            for head in
                [&b"\0\x0a\0\x0a\0\x09"[..], b"\0\x0a\0\x0b", b"\0\x32\0\x0a\0\0\x01q\0", b"\0\x32\0\x63"]
            {
                let tail = if head[3] == 0x0b { &b"\0\0\0\0\0\0"[..] } else { b"" };
                let decoded = decode(1, &[head, &table, tail].concat());
                if levels > DEPTH_MAX {
                    assert!(!matches!(decoded, Ok(Method::Other(_))), "{head:?} {levels}");
                }
            }
        }
    }

    #[test]
    fn every_method_of_a_client_is_walked_as_it_is_decoded() {
        for class in [10u16, 20, 30, 40, 50, 60, 85, 90] {
            for number in 0..150u16 {
                let Some(layout) = layout((class, number)) else { continue };
                assert!(!is_servers((class, number)), "{class}.{number}");
                let mut payload = [class.to_be_bytes(), number.to_be_bytes()].concat();
                for field in layout.bytes() {
                    let size = match field {
                        b'b' | b's' => 1,
                        b'2' => 2,
                        b'4' | b'l' | b't' => 4,
                        other => panic!("{other}"),
                    };
                    payload.resize(payload.len() + size, 0);
                }
                let decoded = decode(1, &payload);
                assert!(decoded.is_ok(), "{class}.{number}: {decoded:?}");
            }
        }
    }
}
