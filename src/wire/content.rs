//! Content: the header frame that follows a method with content, and messages on their way out.

use super::frame::{self, BODY, END, HEAD, HEADER, METHOD, OVERHEAD};

/// The class id of `basic`, the only class with content.
pub const BASIC: u16 = 60;

/// A content header's fixed part; the raw property list follows it at offset [`HEADER_FIXED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub class: u16,
    /// Octets of the body.
    pub body_size: u64,
}

/// Octets before the property flags: class, weight, body size.
pub const HEADER_FIXED: usize = 12;

/// The header in a frame's payload, or `None` if the payload is too short to be one.
pub fn header(payload: &[u8]) -> Option<Header> {
    let fixed = payload.get(..HEADER_FIXED)?;
    Some(Header {
        class: u16::from_be_bytes([fixed[0], fixed[1]]),
        body_size: u64::from_be_bytes([
            fixed[4], fixed[5], fixed[6], fixed[7], fixed[8], fixed[9], fixed[10], fixed[11],
        ]),
    })
}

/// Where a message was published to and what it is, as raw octets.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
    /// The raw property list, flags first.
    pub properties: &'a [u8],
    pub body: Body<'a>,
}

/// A body: small ones lie in a buffer and are copied, large ones are shared.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    Inline(&'a [u8]),
    Shared(&'a bytes::Bytes),
}

impl Body<'_> {
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Inline(octets) => octets,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Octets.
    pub fn size(&self) -> usize {
        self.octets().len()
    }
}

/// Something that takes encoded output; lets a shared body pass without being copied.
pub trait Sink {
    fn buffer(&mut self) -> &mut Vec<u8>;
    fn shared(&mut self, octets: bytes::Bytes);
}

impl Sink for Vec<u8> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }

    fn shared(&mut self, octets: bytes::Bytes) {
        self.extend_from_slice(&octets);
    }
}

/// Writes `basic.deliver` with its content.
pub fn put_deliver(
    out: &mut impl Sink,
    channel: u16,
    frame_max: usize,
    consumer_tag: &[u8],
    delivery_tag: u64,
    redelivered: bool,
    message: &Message<'_>,
) {
    let size = 4 + 1 + consumer_tag.len() + 9 + 2 + message.exchange.len() + message.routing_key.len();
    let buffer = begin(out, channel, size, message);
    buffer.extend_from_slice(&[0, 60, 0, 60]);
    put_short(buffer, consumer_tag);
    put_tag(buffer, delivery_tag, redelivered);
    put_short(buffer, message.exchange);
    put_short(buffer, message.routing_key);
    buffer.push(END);
    put_content(out, channel, frame_max, message);
}

/// Writes `basic.get-ok` with its content. `left` is the number of messages still ready.
pub fn put_get_ok(
    out: &mut impl Sink,
    channel: u16,
    frame_max: usize,
    delivery_tag: u64,
    redelivered: bool,
    left: u32,
    message: &Message<'_>,
) {
    let size = 4 + 9 + 2 + message.exchange.len() + message.routing_key.len() + 4;
    let buffer = begin(out, channel, size, message);
    buffer.extend_from_slice(&[0, 60, 0, 71]);
    put_tag(buffer, delivery_tag, redelivered);
    put_short(buffer, message.exchange);
    put_short(buffer, message.routing_key);
    buffer.extend_from_slice(&left.to_be_bytes());
    buffer.push(END);
    put_content(out, channel, frame_max, message);
}

/// Writes `basic.return` with its content. RabbitMQ's text is the bare name of the code.
pub fn put_return(
    out: &mut impl Sink,
    channel: u16,
    frame_max: usize,
    code: super::reply::ReplyCode,
    message: &Message<'_>,
) {
    let text = code.name().as_bytes();
    let size = 4 + 2 + 3 + text.len() + message.exchange.len() + message.routing_key.len();
    let buffer = begin(out, channel, size, message);
    buffer.extend_from_slice(&[0, 60, 0, 50]);
    buffer.extend_from_slice(&code.number().to_be_bytes());
    put_short(buffer, text);
    put_short(buffer, message.exchange);
    put_short(buffer, message.routing_key);
    buffer.push(END);
    put_content(out, channel, frame_max, message);
}

/// Makes room for the whole message and writes the head of its method frame.
fn begin<'o>(out: &'o mut impl Sink, channel: u16, size: usize, message: &Message<'_>) -> &'o mut Vec<u8> {
    let inline = match message.body {
        Body::Inline(octets) => octets.len() + OVERHEAD,
        Body::Shared(_) => 0,
    };
    let buffer = out.buffer();
    buffer.reserve(size + message.properties.len() + inline + 2 * OVERHEAD + HEADER_FIXED);
    frame::put_head(buffer, METHOD, channel, size);
    buffer
}

fn put_tag(buffer: &mut Vec<u8>, delivery_tag: u64, redelivered: bool) {
    buffer.extend_from_slice(&delivery_tag.to_be_bytes());
    buffer.push(u8::from(redelivered));
}

fn put_short(buffer: &mut Vec<u8>, text: &[u8]) {
    buffer.push(text.len() as u8);
    buffer.extend_from_slice(text);
}

/// Writes the header frame, and the body in frames of at most `frame_max` octets.
fn put_content(out: &mut impl Sink, channel: u16, frame_max: usize, message: &Message<'_>) {
    let size = message.body.size();
    let buffer = out.buffer();
    frame::put_head(buffer, HEADER, channel, HEADER_FIXED + message.properties.len());
    buffer.extend_from_slice(&[0, 60, 0, 0]);
    buffer.extend_from_slice(&(size as u64).to_be_bytes());
    buffer.extend_from_slice(message.properties);
    buffer.push(END);
    let room = frame_max.saturating_sub(OVERHEAD).max(1);
    match message.body {
        Body::Inline(octets) => {
            for part in octets.chunks(room) {
                buffer.reserve(part.len() + HEAD + 1);
                frame::put_head(buffer, BODY, channel, part.len());
                buffer.extend_from_slice(part);
                buffer.push(END);
            }
        }
        Body::Shared(bytes) => {
            for from in (0..size).step_by(room) {
                let part = bytes.slice(from..size.min(from + room));
                frame::put_head(out.buffer(), BODY, channel, part.len());
                out.shared(part);
                out.buffer().push(END);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(out: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let (mut found, mut next) = (Vec::new(), 0);
        while let Some(f) = frame::at(out, next, 0).expect("well formed") {
            assert_eq!(f.channel, 5);
            found.push((f.kind, f.payload(out).to_vec()));
            next = f.next();
        }
        assert_eq!(next, out.len());
        found
    }

    #[test]
    fn bodies_are_cut_to_frames_whether_shared_or_not() {
        let shared = bytes::Bytes::from_static(b"0123456789");
        for body in [Body::Inline(b"0123456789"), Body::Shared(&shared)] {
            let message = Message { exchange: b"x", routing_key: b"k", properties: &[0x10, 0, 2], body };
            let mut out = Vec::new();
            put_deliver(&mut out, 5, 12, b"tag", 7, true, &message);
            let found = frames(&out);
            assert_eq!(found[0].1, b"\0\x3c\0\x3c\x03tag\0\0\0\0\0\0\0\x07\x01\x01x\x01k");
            assert_eq!(found[1].1, b"\0\x3c\0\0\0\0\0\0\0\0\0\x0a\x10\0\x02");
            assert_eq!(header(&found[1].1), Some(Header { class: 60, body_size: 10 }));
            let bodies: Vec<_> = found[2..].iter().map(|f| f.1.clone()).collect();
            assert_eq!(bodies, [b"0123".to_vec(), b"4567".to_vec(), b"89".to_vec()]);
        }
    }

    #[test]
    fn an_empty_body_has_no_frame() {
        let message =
            Message { exchange: b"", routing_key: b"q", properties: &[0, 0], body: Body::Inline(b"") };
        let mut out = Vec::new();
        put_get_ok(&mut out, 5, 4096, 1, false, 3, &message);
        let found = frames(&out);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1, b"\0\x3c\0\x47\0\0\0\0\0\0\0\x01\0\0\x01q\0\0\0\x03");
    }
}
