//! Pre-encoded runs of `basic.publish` messages that differ in nothing but routing keys and sizes.

use std::sync::Arc;

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    conn::CHANNEL,
    wire::{self, FRAME_OVERHEAD, WireError},
};

/// Bytes that one full batch should have on the wire, unless a single message has more.
const TARGET: usize = 128 * 1024;
/// Most bytes of all messages that differ for them to be encoded once and for all.
const WHOLE_MAX: usize = 4 * 1024 * 1024;
/// Bytes that a body needs to carry a send time: a run's mark and the time.
pub const STAMP: usize = 16;
/// Class and method id of `basic.publish`.
const PUBLISH: [u8; 4] = [0, 60, 0, 40];
/// Where a body begins in its first frame.
const BODY_START: usize = FRAME_OVERHEAD - 1;

/// What every message of a run looks like.
#[derive(Clone, Debug)]
pub struct Message {
    /// Exchange to publish to, empty for the default one.
    pub exchange: ShortString,
    /// Routing keys that messages carry in turn, one at least.
    pub routing_keys: Arc<[ShortString]>,
    /// Bytes in the bodies, which messages have in turn; one at least.
    pub sizes: Vec<u32>,
    /// Properties of all messages.
    pub properties: BasicProperties,
    /// Whether messages come back that reach no queue.
    pub mandatory: bool,
    /// Number that marks the stamped messages of this run; not 0.
    pub mark: u64,
}

impl Message {
    /// Bytes in the bodies of the first `count` messages.
    pub fn octets(sizes: &[u32], count: u64) -> u64 {
        let all = |sizes: &[u32]| sizes.iter().copied().map(u64::from).sum::<u64>();
        let turn = sizes.len() as u64;
        let (turns, rest) = (count / turn, usize::try_from(count % turn).unwrap_or_default());
        turns * all(sizes) + all(&sizes[..rest])
    }
}

/// Many messages one after the other, of which one may carry a send time.
#[derive(Debug)]
pub struct Batch {
    encoder: Encoder,
    mark: u64,
    bytes: Vec<u8>,
    /// Where in `bytes` each message begins, and where the last one ends.
    starts: Vec<usize>,
    /// How many messages it takes until keys and sizes come round again.
    turn: usize,
    /// Whether `bytes` has whole turns, or only a part of one.
    whole: bool,
    /// Which message of a turn `bytes` begins with.
    first: usize,
    /// The message in `bytes` that is the next one's turn.
    next: usize,
    /// Where in `bytes` there is a mark, followed by a time.
    stamped: Option<usize>,
}

impl Batch {
    /// Encodes a batch of about 128 KiB, or all messages that differ if they are not much more,
    /// in frames of at most `frame_max` bytes.
    ///
    /// # Errors
    ///
    /// When a field cannot be encoded.
    pub fn new(message: &Message, frame_max: u32) -> Result<Self, WireError> {
        let encoder = Encoder::new(message, frame_max)?;
        let (keys, sizes) = (encoder.keys.len(), encoder.contents.len());
        let turn = keys / gcd(keys, sizes) * sizes;
        let octets = encoder.average() * turn;
        let whole = turn == 1 || octets <= WHOLE_MAX;
        let mut batch = Self {
            encoder,
            mark: message.mark,
            bytes: Vec::new(),
            starts: Vec::new(),
            turn,
            whole,
            first: 0,
            next: 0,
            stamped: None,
        };
        if whole {
            batch.encode(turn * (TARGET / octets).max(1), usize::MAX);
        } else {
            batch.encode(usize::MAX, TARGET);
        }
        Ok(batch)
    }

    /// At most `room` messages, one at least, as bytes to send, and how many they are; the first
    /// of them that is large enough is stamped with `now`, in nanoseconds since the start of the
    /// run.
    pub fn take(&mut self, room: usize, now: u64) -> (usize, &mut [u8]) {
        if self.next == self.len() {
            self.first = (self.first + self.next) % self.turn;
            self.next = 0;
            self.encode(usize::MAX, TARGET);
        }
        let from = self.next;
        let count = room.clamp(1, self.len() - from);
        let to = from + count;
        self.next = if self.whole { to % self.turn } else { to };
        if let Some(last) = self.stamped.take() {
            self.bytes[last..last + 8].fill(0);
        }
        if let Some(body) = self.body_to_stamp(from, to) {
            self.bytes[body..body + 8].copy_from_slice(&self.mark.to_be_bytes());
            self.bytes[body + 8..body + STAMP].copy_from_slice(&now.to_be_bytes());
            self.stamped = Some(body);
        }
        (count, &mut self.bytes[self.starts[from]..self.starts[to]])
    }

    /// How many messages are encoded now.
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Encodes messages from `first` on: so many, or so many bytes.
    fn encode(&mut self, count: usize, octets: usize) {
        self.bytes.clear();
        self.starts.clear();
        self.starts.push(0);
        self.stamped = None;
        while self.len() < count && self.bytes.len() < octets {
            self.encoder.push(self.first + self.len(), &mut self.bytes);
            self.starts.push(self.bytes.len());
        }
    }

    /// Where the body begins of the first of these messages that can carry a stamp.
    fn body_to_stamp(&self, from: usize, to: usize) -> Option<usize> {
        let contents = &self.encoder.contents;
        (from..to).take(contents.len()).find_map(|message| {
            let content = &contents[(self.first + message) % contents.len()];
            let body = self.starts[message + 1].checked_sub(content.body_frames)?;
            (content.size >= STAMP).then_some(body + BODY_START)
        })
    }
}

/// What is needed to encode any message of a run.
#[derive(Debug)]
struct Encoder {
    /// Arguments of `basic.publish` before the routing key.
    before_key: Vec<u8>,
    keys: Arc<[ShortString]>,
    mandatory: bool,
    contents: Vec<Content>,
    /// The arguments of the method at hand, kept for its memory.
    arguments: Vec<u8>,
}

/// The header and body frames of messages of one size.
#[derive(Debug)]
struct Content {
    size: usize,
    frames: Vec<u8>,
    /// Bytes of the body frames, which come last.
    body_frames: usize,
}

impl Encoder {
    fn new(message: &Message, frame_max: u32) -> Result<Self, WireError> {
        let content = |&size: &u32| Content::new(size, &message.properties, frame_max);
        let contents = message.sizes.iter().map(content).collect::<Result<Vec<_>, _>>()?;
        if contents.is_empty() || message.routing_keys.is_empty() {
            return Err(WireError::Malformed("outgoing"));
        }
        // A ticket of two octets that means nothing any more comes first.
        let mut before_key = vec![0, 0];
        wire::push_short(&mut before_key, &message.exchange);
        let keys = Arc::clone(&message.routing_keys);
        Ok(Self { before_key, keys, mandatory: message.mandatory, contents, arguments: Vec::new() })
    }

    /// Bytes that a message has on the average.
    fn average(&self) -> usize {
        let keys: usize = self.keys.iter().map(|key| key.as_str().len()).sum();
        let contents: usize = self.contents.iter().map(|content| content.frames.len()).sum();
        let method = FRAME_OVERHEAD + PUBLISH.len() + self.before_key.len() + 2;
        method + keys.div_ceil(self.keys.len()) + contents.div_ceil(self.contents.len())
    }

    /// Appends the message with this number.
    fn push(&mut self, number: usize, out: &mut Vec<u8>) {
        self.arguments.clear();
        self.arguments.extend(&self.before_key);
        wire::push_short(&mut self.arguments, &self.keys[number % self.keys.len()]);
        self.arguments.push(u8::from(self.mandatory));
        wire::push_method(out, CHANNEL, PUBLISH, &self.arguments);
        out.extend(&self.contents[number % self.contents.len()].frames);
    }
}

impl Content {
    fn new(size: u32, properties: &BasicProperties, frame_max: u32) -> Result<Self, WireError> {
        let header =
            AMQPContentHeader { class_id: 60, body_size: size.into(), properties: properties.clone() };
        let mut frames = wire::encode(&AMQPFrame::Header(CHANNEL, header))?;
        let header = frames.len();
        let size = size as usize;
        for chunk in vec![0; size].chunks(frame_max as usize - FRAME_OVERHEAD) {
            frames.extend(wire::encode(&AMQPFrame::Body(CHANNEL, chunk.to_vec()))?);
        }
        let body_frames = frames.len() - header;
        Ok(Self { size, frames, body_frames })
    }
}

/// Greatest common divisor; neither is 0.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
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

/// The header that a headers exchange routes this client's messages by.
pub fn routing_header() -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("perf".into(), AMQPValue::LongString("load".into()));
    headers
}

#[cfg(test)]
mod tests {
    use amq_protocol::{
        frame::parse_frame,
        protocol::{AMQPClass, basic},
    };

    use super::*;

    const MARK: u64 = 0x1122_3344_5566_7788;

    fn message(size: u32) -> Message {
        Message {
            exchange: "x".into(),
            routing_keys: ["key".into()].into(),
            sizes: vec![size],
            properties: BasicProperties::default().with_delivery_mode(2),
            mandatory: true,
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
            assert!(publish.mandatory && !publish.immediate);
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

    /// The routing keys and body sizes of the messages in a batch's bytes.
    fn contents(bytes: &[u8]) -> Vec<(String, usize)> {
        let mut found: Vec<(String, usize)> = Vec::new();
        for frame in frames(bytes) {
            match frame {
                AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))) => {
                    found.push((publish.routing_key.as_str().to_owned(), 0));
                }
                AMQPFrame::Body(1, data) => found.last_mut().unwrap().1 += data.len(),
                _ => {}
            }
        }
        found
    }

    /// Takes batches of many sizes and checks that keys and sizes come in turn.
    fn check_turns(keys: &[&str], sizes: &[u32], whole: bool) {
        let routing_keys: Arc<[_]> = keys.iter().map(|&key| ShortString::from(key)).collect();
        let sizes = sizes.to_vec();
        let mut batch =
            Batch::new(&Message { routing_keys, sizes: sizes.clone(), ..message(0) }, 4096).unwrap();
        assert_eq!(batch.whole, whole);
        let mut number = 0;
        let rooms = [1, 1, 2, 4, usize::MAX, 0, 5, 10, usize::MAX, usize::MAX, 3];
        for (time, room) in (1..).zip(rooms.into_iter().cycle().take(44)) {
            let (count, bytes) = batch.take(room, time);
            assert!(count >= 1 && count <= room.max(1));
            let found = contents(bytes);
            assert_eq!(found.len(), count);
            for (key, size) in &found {
                assert_eq!(key, keys[number % keys.len()], "message {number}");
                assert_eq!(*size, sizes[number % sizes.len()] as usize, "message {number}");
                number += 1;
            }
            let frames = frames(bytes);
            let stamps = bodies(&frames).into_iter().filter_map(|body| stamp(body, MARK));
            let stamped = found.iter().take(sizes.len()).any(|&(_, size)| size >= STAMP);
            assert_eq!(stamps.collect::<Vec<_>>(), if stamped { vec![time] } else { vec![] });
        }
        assert!(number > 2 * batch.turn.min(100), "{number} messages");
    }

    #[test]
    fn keys_and_sizes_come_in_turn_whatever_room_there_is() {
        check_turns(&["a", "b", "c"], &[100], true);
        check_turns(&["a", "bb", ""], &[8, 16, 5000, 0], true);
        check_turns(&["a", "b", "c", "d"], &[100, 7], true);
        check_turns(&["a"], &[15, 70_000], true);
    }

    #[test]
    fn more_messages_than_fit_are_encoded_as_they_come() {
        check_turns(&["a", "bb", "c", "dd", "e"], &[1, 300_000, 70_000, 900_000], false);
        let keys: Vec<_> = (0..100_000).map(|number| format!("key-{number}")).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        check_turns(&keys, &[16], false);
    }

    #[test]
    fn body_bytes_follow_the_sizes() {
        assert_eq!(Message::octets(&[16], 1000), 16_000);
        assert_eq!(Message::octets(&[1, 20, 300], 7), 2 * 321 + 1);
        assert_eq!(Message::octets(&[1, 20, 300], 8), 2 * 321 + 21);
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
