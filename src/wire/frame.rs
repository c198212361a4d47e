//! The frame layer (AMQP 0-9-1, section 2.3.5): type, channel, size, payload, end octet.

use super::reply::Exception;

pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const HEARTBEAT: u8 = 8;
/// The octet after every payload.
pub const END: u8 = 0xCE;
/// Octets of a frame besides its payload.
pub const OVERHEAD: usize = 8;
/// Octets before the payload.
pub const HEAD: usize = 7;

/// A whole frame inside an input buffer, by offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub channel: u16,
    /// Where the payload begins and ends in the buffer.
    pub start: usize,
    pub end: usize,
}

impl Frame {
    /// The offset of the frame after this one.
    pub fn next(&self) -> usize {
        self.end + 1
    }

    pub fn payload<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        &input[self.start..self.end]
    }
}

/// The frame at `at`, or `None` while it has not arrived whole.
///
/// `frame_max` is the negotiated limit in octets, overhead included; 0 is no limit.
/// A frame over the limit or without its end octet is a 501 on the connection.
pub fn at(input: &[u8], at: usize, frame_max: usize) -> Result<Option<Frame>, Exception> {
    let Some(head) = input.get(at..at + HEAD) else {
        return Ok(None);
    };
    let kind = head[0];
    let channel = u16::from_be_bytes([head[1], head[2]]);
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    // RabbitMQ compares the payload with the limit, and names the limit without the overhead.
    if frame_max != 0 && size > frame_max {
        let reason = format!("{{frame_too_large,{size},{}}}", frame_max - OVERHEAD);
        return Err(fault(kind, &[], &reason));
    }
    let start = at + HEAD;
    match input.get(start + size) {
        None => Ok(None),
        Some(&END) => Ok(Some(Frame { kind, channel, start, end: start + size })),
        Some(&other) => {
            let reason = format!("{{invalid_frame_end_marker,{other}}}");
            Err(fault(kind, &input[start..start + size], &reason))
        }
    }
}

/// RabbitMQ's 501 for a frame it cannot take, quoting at most 16 octets of the payload.
pub fn fault(kind: u8, payload: &[u8], reason: &str) -> Exception {
    Exception::frame_error(format!("{}: {reason}", snippet(kind, payload)))
}

/// RabbitMQ's 505 for a frame that has no place on its channel.
pub fn unexpected(kind: u8, payload: &[u8]) -> Exception {
    Exception::unexpected_frame(snippet(kind, payload))
}

fn snippet(kind: u8, payload: &[u8]) -> String {
    let (how_many, shown) = match payload.get(..16) {
        Some(front) if payload.len() > 16 => ("first 16", front),
        _ => ("all", payload),
    };
    format!("type {kind}, {how_many} octets = {}", erlang_binary(shown))
}

/// Octets the way Erlang prints a binary, which is what RabbitMQ's frame errors quote.
pub fn erlang_binary(octets: &[u8]) -> String {
    let printable = !octets.is_empty() && octets.iter().all(|b| (32..127).contains(b));
    if printable { format!("<<\"{}\">>", String::from_utf8_lossy(octets)) } else { erlang_octets(octets) }
}

/// Octets as Erlang prints them where it does not look for text.
pub fn erlang_octets(octets: &[u8]) -> String {
    // Reply texts hold 255 octets; more need not be shown.
    let numbers: Vec<String> = octets.iter().take(255).map(u8::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

/// Appends a frame's head, for a payload of `size` octets that the caller appends next.
pub fn put_head(out: &mut Vec<u8>, kind: u8, channel: u16, size: usize) {
    let channel = channel.to_be_bytes();
    let size = (size as u32).to_be_bytes();
    out.extend_from_slice(&[kind, channel[0], channel[1], size[0], size[1], size[2], size[3]]);
}

/// A heartbeat, whole.
pub const HEARTBEAT_FRAME: [u8; 8] = [HEARTBEAT, 0, 0, 0, 0, 0, 0, END];

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_head(&mut out, METHOD, 3, payload.len());
        out.extend_from_slice(payload);
        out.push(END);
        out
    }

    #[test]
    fn incomplete_until_the_end_octet() {
        let whole = frame(b"abc");
        for cut in 0..whole.len() {
            assert_eq!(at(&whole[..cut], 0, 4096), Ok(None), "{cut} octets");
        }
        let found = at(&whole, 0, 4096).expect("good").expect("whole");
        assert_eq!((found.channel, found.payload(&whole), found.next()), (3, &b"abc"[..], whole.len()));
    }

    #[test]
    fn limits_and_markers() {
        let mut bad = frame(b"abc");
        *bad.last_mut().expect("an octet") = 7;
        let e = at(&bad, 0, 4096).expect_err("wrong marker");
        assert!(e.explanation.ends_with("{invalid_frame_end_marker,7}"), "{e:?}");
        let big = frame(&[0; 100]);
        assert!(at(&big, 0, 99).is_err() && at(&big, 0, 100).is_ok() && at(&big, 0, 0).is_ok());
    }
}
