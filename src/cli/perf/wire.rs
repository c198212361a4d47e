//! Frames on the wire: an input buffer whose frames are walked in place, and frame encoding.

use std::io::{self, Read};

use amq_protocol::{
    frame::{AMQPFrame, WriteContext, gen_frame},
    types::ShortString,
};

/// Frame type of a method.
pub const METHOD: u8 = 1;
/// Frame type of a content header.
pub const HEADER: u8 = 2;
/// Frame type of a piece of content body.
pub const BODY: u8 = 3;
/// Class and method id of `basic.deliver`, as they start a method payload.
pub const BASIC_DELIVER: [u8; 4] = [0, 60, 0, 60];
/// Class and method id of `basic.ack`.
pub const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
/// Class and method id of `basic.nack`.
pub const BASIC_NACK: [u8; 4] = [0, 60, 0, 120];

/// Class and method id of `basic.return`.
pub const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];
/// Class and method id of `basic.get-ok`.
pub const BASIC_GET_OK: [u8; 4] = [0, 60, 0, 71];
/// Class and method id of `basic.get-empty`.
pub const BASIC_GET_EMPTY: [u8; 4] = [0, 60, 0, 72];
/// Class and method id of `tx.commit`, which has no arguments.
pub const TX_COMMIT: [u8; 4] = [0, 90, 0, 20];
/// Class and method id of `tx.commit-ok`, which has no arguments.
pub const TX_COMMIT_OK: [u8; 4] = [0, 90, 0, 21];

/// Bytes of a frame besides its payload: type, channel, length and end marker.
pub const FRAME_OVERHEAD: usize = 8;
/// Largest frame, in bytes including its overhead, that this client accepts or sends.
pub const MAX_FRAME: u32 = 131_072;

/// Last byte of every frame.
pub const FRAME_END: u8 = 0xCE;
/// Bytes before a frame's payload.
const PREFIX: usize = 7;
/// Most bytes asked from the socket at a time.
const READ_CHUNK: usize = 256 * 1024;
/// The same on a connection that receives little.
const SMALL_CHUNK: usize = 4096;

/// The peer sent something that cannot be a frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A frame is larger than was negotiated; typical of a peer that does not speak AMQP 0-9-1.
    #[error("a frame of {0} bytes (is this an AMQP 0-9-1 port?)")]
    TooLarge(usize),
    /// The end marker of a frame is missing.
    #[error("a frame without its end marker")]
    NoEnd,
    /// A method payload is too short or malformed.
    #[error("a malformed {0} frame")]
    Malformed(&'static str),
}

/// One complete frame, borrowed from the buffer it was read into.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Frame type: [`METHOD`], [`HEADER`], [`BODY`] or 8 for a heartbeat.
    pub kind: u8,
    /// The channel it belongs to, 0 for the connection.
    pub channel: u16,
    /// The payload, without prefix and end marker.
    pub payload: &'a [u8],
}

/// Bytes read from the broker, handed out frame by frame without copying.
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Most bytes to read at a time.
    chunk: usize,
}

impl FrameBuffer {
    /// An empty buffer with room for one read besides an incomplete frame.
    pub fn new() -> Self {
        Self { bytes: vec![0; 2 * READ_CHUNK], start: 0, end: 0, chunk: READ_CHUNK }
    }

    /// An empty buffer for one of many connections, which grows with the frames that come.
    pub fn small() -> Self {
        Self { bytes: vec![0; SMALL_CHUNK], start: 0, end: 0, chunk: SMALL_CHUNK }
    }

    /// Reads once from `source`, at most 256 KiB, and returns the number of bytes; 0 means the
    /// source has ended. All complete frames should have been taken out before.
    ///
    /// # Errors
    ///
    /// Whatever `source` reports, including timeouts.
    pub fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end + self.chunk > self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            // A frame that is larger than a small buffer.
            self.bytes.resize(2 * self.end, 0);
        }
        let limit = self.bytes.len().min(self.end + self.chunk);
        let count = source.read(&mut self.bytes[self.end..limit])?;
        self.end += count;
        Ok(count)
    }

    /// Takes the next complete frame; `None` when more bytes have to be read first.
    ///
    /// # Errors
    ///
    /// When the bytes cannot be a frame.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let pending = &self.bytes[self.start..self.end];
        let Some(&[kind, c0, c1, l0, l1, l2, l3]) = pending.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length + FRAME_OVERHEAD > MAX_FRAME as usize {
            return Err(WireError::TooLarge(length));
        }
        let Some(&last) = pending.get(PREFIX + length) else {
            return Ok(None);
        };
        if last != FRAME_END {
            return Err(WireError::NoEnd);
        }
        self.start += length + FRAME_OVERHEAD;
        let channel = u16::from_be_bytes([c0, c1]);
        Ok(Some(Frame { kind, channel, payload: &pending[PREFIX..PREFIX + length] }))
    }
}

/// Appends a method frame with these arguments, which the caller has encoded.
pub fn push_method(out: &mut Vec<u8>, channel: u16, id: [u8; 4], arguments: &[u8]) {
    let [c0, c1] = channel.to_be_bytes();
    // Arguments are short strings and numbers here, far below the limit of 4 GiB.
    let [l0, l1, l2, l3] = u32::try_from(id.len() + arguments.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend([METHOD, c0, c1, l0, l1, l2, l3]);
    out.extend(id);
    out.extend(arguments);
    out.push(FRAME_END);
}

/// Appends a short string: its length, which fits in an octet, and its text.
pub fn push_short(out: &mut Vec<u8>, text: &ShortString) {
    let text = text.as_str().as_bytes();
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text);
}

/// Makes all of these whole frames belong to `channel`.
pub fn readdress(frames: &mut [u8], channel: u16) {
    let mut rest = frames;
    while let Some((&mut [_, ref mut c0, ref mut c1, l0, l1, l2, l3], after)) =
        rest.split_first_chunk_mut::<PREFIX>()
    {
        [*c0, *c1] = channel.to_be_bytes();
        let next = u32::from_be_bytes([l0, l1, l2, l3]) as usize + 1;
        rest = after.get_mut(next..).unwrap_or_default();
    }
}

/// The encoded form of `frame`.
///
/// # Errors
///
/// When the frame holds a value its field cannot carry.
pub fn encode(frame: &AMQPFrame) -> Result<Vec<u8>, WireError> {
    let context = gen_frame(frame)(WriteContext::from(Vec::new()));
    context.map(|done| done.write).map_err(|_| WireError::Malformed("outgoing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out its bytes at most `step` at a time.
    struct Trickle<'a> {
        bytes: &'a [u8],
        step: usize,
    }

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.step.min(out.len()).min(self.bytes.len());
            out[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes = &self.bytes[count..];
            Ok(count)
        }
    }

    fn body(size: usize) -> Vec<u8> {
        let payload = (0..=255).cycle().take(size).collect();
        encode(&AMQPFrame::Body(1, payload)).unwrap()
    }

    fn walk(bytes: &[u8], step: usize) -> Result<Vec<(u8, Vec<u8>)>, WireError> {
        walk_in(FrameBuffer::new(), bytes, step)
    }

    fn walk_in(mut buffer: FrameBuffer, bytes: &[u8], step: usize) -> Result<Vec<(u8, Vec<u8>)>, WireError> {
        let mut source = Trickle { bytes, step };
        let mut frames = Vec::new();
        while buffer.fill(&mut source).unwrap() > 0 {
            while let Some(frame) = buffer.next_frame()? {
                frames.push((frame.kind, frame.payload.to_vec()));
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_found_wherever_reads_split_them() {
        let sizes = [0, 1, 16, 300, 7];
        let wire: Vec<u8> = sizes.iter().flat_map(|&size| body(size)).collect();
        for step in 1..wire.len() {
            let frames = walk(&wire, step).unwrap();
            let found: Vec<usize> = frames.iter().map(|(_, payload)| payload.len()).collect();
            assert_eq!(found, sizes, "reads of {step} bytes");
            assert!(frames.iter().all(|&(kind, _)| kind == BODY));
        }
    }

    #[test]
    fn long_streams_of_large_frames_pass_through_one_buffer() {
        let frame = body(MAX_FRAME as usize - FRAME_OVERHEAD);
        let wire: Vec<u8> = std::iter::repeat_n(frame.as_slice(), 20).flatten().copied().collect();
        for step in [usize::MAX, 100_000, 65_537] {
            let frames = walk(&wire, step).unwrap();
            assert_eq!(frames.len(), 20);
            assert!(frames.iter().all(|(_, payload)| payload[..] == frame[7..frame.len() - 1]));
        }
    }

    #[test]
    fn a_small_buffer_grows_with_its_frames() {
        let sizes = [10, 5000, 4087, 4088, 4089, 100_000, 3];
        let wire: Vec<u8> = sizes.iter().flat_map(|&size| body(size)).collect();
        for step in [usize::MAX, 4096, 999] {
            let frames = walk_in(FrameBuffer::small(), &wire, step).unwrap();
            let found: Vec<usize> = frames.iter().map(|(_, payload)| payload.len()).collect();
            assert_eq!(found, sizes, "reads of {step} bytes");
        }
    }

    #[test]
    fn heartbeats_are_frames() {
        let wire = encode(&AMQPFrame::Heartbeat).unwrap();
        assert_eq!(walk(&wire, 3).unwrap(), [(8, Vec::new())]);
    }

    #[test]
    fn frames_change_their_channel_and_nothing_else() {
        let on = |channel: u16| {
            let mut frames = Vec::new();
            push_method(&mut frames, channel, BASIC_ACK, &[0; 9]);
            frames.extend(encode(&AMQPFrame::Body(channel, vec![7; 300])).unwrap());
            push_method(&mut frames, channel, TX_COMMIT, &[]);
            frames
        };
        let mut frames = on(1);
        readdress(&mut frames, 0x0102);
        assert_eq!(frames, on(0x0102));
        let mut source = Trickle { bytes: &frames, step: 1000 };
        let mut buffer = FrameBuffer::new();
        buffer.fill(&mut source).unwrap();
        for _ in 0..3 {
            assert_eq!(buffer.next_frame().unwrap().map(|frame| frame.channel), Some(0x0102));
        }
        assert_eq!(buffer.next_frame(), Ok(None));
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(walk(b"AMQP\0\0\x09\x01", 8), Err(WireError::TooLarge(0x5000_0009)));
        let mut wire = body(3);
        *wire.last_mut().unwrap() = 0;
        assert_eq!(walk(&wire, 8), Err(WireError::NoEnd));
    }
}
