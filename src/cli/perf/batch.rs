//! Pre-encoded runs of identical `basic.publish` messages.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{AMQPClass, BasicProperties, basic},
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    conn::CHANNEL,
    wire::{self, FRAME_OVERHEAD, WireError},
};

/// Bytes that one full batch should have on the wire, unless a single message has more.
const TARGET: usize = 128 * 1024;
/// Bytes that a body needs to carry a send time: a run's mark and the time.
pub const STAMP: usize = 16;

/// What every message of a run looks like.
#[derive(Clone, Debug)]
pub struct Message {
    /// Exchange to publish to, empty for the default one.
    pub exchange: ShortString,
    /// Routing key.
    pub routing_key: ShortString,
    /// Headers, for a headers exchange.
    pub headers: Option<FieldTable>,
    /// Whether messages carry delivery mode 2.
    pub persistent: bool,
    /// Bytes in the body.
    pub size: u32,
    /// Number that marks the stamped messages of this run; not 0.
    pub mark: u64,
}

/// Many copies of one message, of which the first may carry a send time.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    message_len: usize,
    count: usize,
    /// Where the send time goes, when bodies are large enough.
    stamp_at: Option<usize>,
}

impl Batch {
    /// Encodes a batch of about 128 KiB, at least one message, in frames of at most `frame_max`
    /// bytes.
    ///
    /// # Errors
    ///
    /// When a field cannot be encoded.
    pub fn new(message: &Message, frame_max: u32) -> Result<Self, WireError> {
        let preamble = preamble(message)?;
        let mut one = preamble.clone();
        let body = vec![0; message.size as usize];
        for chunk in body.chunks(frame_max as usize - FRAME_OVERHEAD) {
            one.extend(wire::encode(&AMQPFrame::Body(CHANNEL, chunk.to_vec()))?);
        }
        let count = (TARGET / one.len()).max(1);
        let mut bytes = one.repeat(count);
        let body_at = preamble.len() + FRAME_OVERHEAD - 1;
        let stamp_at = (body.len() >= STAMP).then_some(body_at + 8);
        if stamp_at.is_some() {
            bytes[body_at..body_at + 8].copy_from_slice(&message.mark.to_be_bytes());
        }
        Ok(Self { message_len: one.len(), bytes, count, stamp_at })
    }

    /// Messages in a full batch, at least 1.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first `count` messages (at most [`Batch::count`]) as bytes to send; the first of them
    /// is stamped with `now`, in nanoseconds since the start of the run.
    pub fn first(&mut self, count: usize, now: u64) -> &[u8] {
        if let Some(at) = self.stamp_at {
            self.bytes[at..at + 8].copy_from_slice(&now.to_be_bytes());
        }
        &self.bytes[..count.min(self.count) * self.message_len]
    }
}

/// The send time in a body, or in the first part of one, if it is stamped with `mark`.
#[inline]
pub fn stamp(body: &[u8], mark: u64) -> Option<u64> {
    let (marked, rest) = body.split_first_chunk()?;
    if u64::from_be_bytes(*marked) != mark {
        return None;
    }
    rest.first_chunk().map(|time| u64::from_be_bytes(*time))
}

/// The method and header frames of `message`.
fn preamble(message: &Message) -> Result<Vec<u8>, WireError> {
    let publish = basic::Publish {
        exchange: message.exchange.clone(),
        routing_key: message.routing_key.clone(),
        mandatory: false,
        immediate: false,
    };
    let mut properties = BasicProperties::default();
    if message.persistent {
        properties = properties.with_delivery_mode(2);
    }
    if let Some(headers) = &message.headers {
        properties = properties.with_headers(headers.clone());
    }
    let method = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
    let header = AMQPContentHeader { class_id: 60, body_size: message.size.into(), properties };
    let mut bytes = wire::encode(&AMQPFrame::Method(CHANNEL, method))?;
    bytes.extend(wire::encode(&AMQPFrame::Header(CHANNEL, header))?);
    Ok(bytes)
}

/// The header that a headers exchange routes this client's messages by.
pub fn routing_header() -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("perf".into(), AMQPValue::LongString("load".into()));
    headers
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::parse_frame;

    use super::*;

    const MARK: u64 = 0x1122_3344_5566_7788;

    fn message(size: u32) -> Message {
        Message {
            exchange: "x".into(),
            routing_key: "key".into(),
            headers: None,
            persistent: true,
            size,
            mark: MARK,
        }
    }

    fn frames(mut bytes: &[u8]) -> Vec<AMQPFrame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (rest, frame) = parse_frame(bytes).unwrap();
            frames.push(frame);
            bytes = rest;
        }
        frames
    }

    fn bodies(frames: &[AMQPFrame]) -> Vec<&[u8]> {
        let body = |frame: &'_ AMQPFrame| matches!(frame, AMQPFrame::Body(..));
        let found = frames.iter().filter(|frame| body(frame));
        found.map(|frame| if let AMQPFrame::Body(_, data) = frame { &data[..] } else { &[] }).collect()
    }

    #[test]
    fn a_batch_is_whole_messages_of_three_frames() {
        let mut batch = Batch::new(&message(16), 4096).unwrap();
        let count = batch.count();
        assert!(count > 1000);
        let frames = frames(batch.first(usize::MAX, 5));
        assert_eq!(frames.len(), 3 * count);
        for three in frames.chunks(3) {
            let AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))) = &three[0]
            else {
                panic!("no publish: {:?}", three[0]);
            };
            assert_eq!((publish.exchange.as_str(), publish.routing_key.as_str()), ("x", "key"));
            let AMQPFrame::Header(1, header) = &three[1] else { panic!("no header") };
            assert_eq!((header.class_id, header.body_size), (60, 16));
            assert_eq!(*header.properties.delivery_mode(), Some(2));
        }
    }

    #[test]
    fn only_the_first_message_is_stamped() {
        let mut batch = Batch::new(&message(16), 4096).unwrap();
        for time in [7, u64::MAX] {
            let frames = frames(batch.first(3, time));
            let stamps: Vec<_> = bodies(&frames).iter().map(|body| stamp(body, MARK)).collect();
            assert_eq!(stamps, [Some(time), None, None]);
        }
        assert_eq!(stamp(&MARK.to_be_bytes(), MARK), None);
    }

    #[test]
    fn small_bodies_carry_no_stamp() {
        for size in [0, 1, 15] {
            let mut batch = Batch::new(&message(size), 4096).unwrap();
            let frames = frames(batch.first(1, 7));
            let bodies = bodies(&frames);
            assert_eq!(bodies.iter().map(|body| body.len()).sum::<usize>(), size as usize);
            assert!(bodies.iter().all(|body| stamp(body, MARK).is_none()));
        }
    }

    #[test]
    fn large_bodies_are_split_into_frames() {
        let mut batch = Batch::new(&message(1_000_000), 4096).unwrap();
        assert_eq!(batch.count(), 1);
        let frames = frames(batch.first(1, 7));
        let bodies = bodies(&frames);
        assert_eq!(bodies.len(), 1_000_000_usize.div_ceil(4088));
        assert_eq!(bodies.iter().map(|body| body.len()).sum::<usize>(), 1_000_000);
        assert_eq!(stamp(bodies[0], MARK), Some(7));
    }
}
