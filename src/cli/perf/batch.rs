//! Pre-encoded runs of `basic.publish` messages that differ in nothing but their routing keys.

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
    /// Routing keys that messages carry in turn, one at least and all of one length.
    pub routing_keys: Vec<ShortString>,
    /// Headers, for a headers exchange.
    pub headers: Option<FieldTable>,
    /// Whether messages carry delivery mode 2.
    pub persistent: bool,
    /// Bytes in the body.
    pub size: u32,
    /// Number that marks the stamped messages of this run; not 0.
    pub mark: u64,
}

/// Many copies of one message, of which one may carry a send time.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    message_len: usize,
    count: usize,
    /// How many messages it takes until the routing keys come round again.
    turn: usize,
    /// The message that is the next one's turn.
    next: usize,
    /// The time and the mark of a message, where bodies are large enough.
    stamp: Option<Stamp>,
}

/// Where a message carries a mark and a send time, and which message does so now.
#[derive(Debug)]
struct Stamp {
    mark: u64,
    /// Where the mark is in each message; the time follows.
    offset: usize,
    stamped: usize,
}

impl Batch {
    /// Encodes a batch of about 128 KiB, at least one message for each routing key, in frames of
    /// at most `frame_max` bytes.
    ///
    /// # Errors
    ///
    /// When a field cannot be encoded.
    pub fn new(message: &Message, frame_max: u32) -> Result<Self, WireError> {
        let mut body = Vec::new();
        let content = vec![0; message.size as usize];
        for chunk in content.chunks(frame_max as usize - FRAME_OVERHEAD) {
            body.extend(wire::encode(&AMQPFrame::Body(CHANNEL, chunk.to_vec()))?);
        }
        let mut round = Vec::new();
        let mut preamble_len = 0;
        for key in &message.routing_keys {
            let preamble = preamble(message, key)?;
            preamble_len = preamble.len();
            round.extend(preamble);
            round.extend(&body);
        }
        let message_len = preamble_len + body.len();
        let turn = message.routing_keys.len();
        if turn == 0 || round.len() != turn * message_len {
            return Err(WireError::Malformed("outgoing"));
        }
        let rounds = (TARGET / round.len()).max(1);
        let offset = preamble_len + FRAME_OVERHEAD - 1;
        let stamp = (content.len() >= STAMP).then_some(Stamp { mark: message.mark, offset, stamped: 0 });
        let (bytes, count) = (round.repeat(rounds), rounds * turn);
        Ok(Self { message_len, bytes, count, turn, next: 0, stamp })
    }

    /// At most `room` messages, one at least, as bytes to send, and how many they are; the first
    /// of them is stamped with `now`, in nanoseconds since the start of the run.
    pub fn take(&mut self, room: usize, now: u64) -> (usize, &[u8]) {
        let from = self.next;
        let count = room.clamp(1, self.count - from);
        self.next = (from + count) % self.turn;
        if let Some(stamp) = &mut self.stamp {
            let at = |message| message * self.message_len + stamp.offset;
            let (last, first) = (at(stamp.stamped), at(from));
            self.bytes[last..last + 8].fill(0);
            self.bytes[first..first + 8].copy_from_slice(&stamp.mark.to_be_bytes());
            self.bytes[first + 8..first + STAMP].copy_from_slice(&now.to_be_bytes());
            stamp.stamped = from;
        }
        let bytes = &self.bytes[from * self.message_len..(from + count) * self.message_len];
        (count, bytes)
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

/// The method and header frames of `message` with one of its routing keys.
fn preamble(message: &Message, routing_key: &ShortString) -> Result<Vec<u8>, WireError> {
    let publish = basic::Publish {
        exchange: message.exchange.clone(),
        routing_key: routing_key.clone(),
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
            routing_keys: vec!["key".into()],
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
        let (count, bytes) = batch.take(usize::MAX, 5);
        assert!(count > 1000);
        let frames = frames(bytes);
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
            let frames = frames(batch.take(3, time).1);
            let stamps: Vec<_> = bodies(&frames).iter().map(|body| stamp(body, MARK)).collect();
            assert_eq!(stamps, [Some(time), None, None]);
        }
        assert_eq!(stamp(&MARK.to_be_bytes(), MARK), None);
    }

    #[test]
    fn routing_keys_come_in_turn_whatever_room_there_is() {
        let routing_keys = ["a".into(), "b".into(), "c".into()].to_vec();
        let mut batch = Batch::new(&Message { routing_keys, ..message(100) }, 4096).unwrap();
        let mut keys = String::new();
        for (time, room) in [1, 1, 2, 4, usize::MAX, 0, 5].into_iter().enumerate() {
            let (count, bytes) = batch.take(room, time as u64);
            assert!(count >= 1 && count <= room.max(1));
            let frames = frames(bytes);
            assert_eq!(frames.len(), 3 * count);
            for frame in &frames {
                if let AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))) = frame {
                    keys.push_str(publish.routing_key.as_str());
                }
            }
            let stamps: Vec<_> = bodies(&frames).iter().map(|body| stamp(body, MARK)).collect();
            assert_eq!(stamps[0], Some(time as u64));
            assert!(stamps[1..].iter().all(Option::is_none));
        }
        assert!(keys.len() > 100);
        assert!("abc".repeat(keys.len()).starts_with(&keys), "{keys}");
        let routing_keys = ["a".into(), "bb".into()].to_vec();
        assert!(Batch::new(&Message { routing_keys, ..message(1) }, 4096).is_err());
    }

    #[test]
    fn small_bodies_carry_no_stamp() {
        for size in [0, 1, 15] {
            let mut batch = Batch::new(&message(size), 4096).unwrap();
            let frames = frames(batch.take(1, 7).1);
            let bodies = bodies(&frames);
            assert_eq!(bodies.iter().map(|body| body.len()).sum::<usize>(), size as usize);
            assert!(bodies.iter().all(|body| stamp(body, MARK).is_none()));
        }
    }

    #[test]
    fn large_bodies_are_split_into_frames() {
        let mut batch = Batch::new(&message(1_000_000), 4096).unwrap();
        let (count, bytes) = batch.take(10, 7);
        assert_eq!(count, 1);
        let frames = frames(bytes);
        let bodies = bodies(&frames);
        assert_eq!(bodies.len(), 1_000_000_usize.div_ceil(4088));
        assert_eq!(bodies.iter().map(|body| body.len()).sum::<usize>(), 1_000_000);
        assert_eq!(stamp(bodies[0], MARK), Some(7));
    }
}
