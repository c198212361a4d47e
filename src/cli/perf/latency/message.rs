//! The message that is sent over and over, each time with another time in it.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{AMQPClass, BasicProperties, basic},
};

use super::super::{
    conn::{self, CHANNEL},
    error::PerfError,
    wire::{self, FRAME_OVERHEAD},
};

/// A message as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
    /// Where the time is.
    time: usize,
}

impl Message {
    /// Encodes a message to a queue, in frames of at most `frame_max` bytes. Its body of at least
    /// 16 bytes begins with the mark of the run and the time.
    ///
    /// # Errors
    ///
    /// When the name of the queue is too long.
    pub fn new(
        queue: &str,
        size: u32,
        persistent: bool,
        mark: u64,
        frame_max: u32,
    ) -> Result<Self, PerfError> {
        let publish = basic::Publish { routing_key: conn::short(queue)?, ..Default::default() };
        let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        let mut properties = BasicProperties::default();
        if persistent {
            properties = properties.with_delivery_mode(2);
        }
        let header = AMQPContentHeader { class_id: 60, body_size: size.into(), properties };
        let mut bytes = wire::encode(&AMQPFrame::Method(CHANNEL, publish))?;
        bytes.extend(wire::encode(&AMQPFrame::Header(CHANNEL, header))?);
        let time = bytes.len() + FRAME_OVERHEAD - 1 + 8;
        let mut body = vec![0; size as usize];
        if let Some(first) = body.first_chunk_mut() {
            *first = mark.to_be_bytes();
        }
        for chunk in body.chunks(frame_max as usize - FRAME_OVERHEAD) {
            bytes.extend(wire::encode(&AMQPFrame::Body(CHANNEL, chunk.to_vec()))?);
        }
        Ok(Self { bytes, time })
    }

    /// Appends the message with this time.
    pub fn push(&self, out: &mut Vec<u8>, time: u64) {
        let at = out.len() + self.time;
        out.extend(&self.bytes);
        out[at..at + 8].copy_from_slice(&time.to_be_bytes());
    }
}

/// The time in a body, or in the first part of one, if it has this mark.
pub fn time_in(body: &[u8], mark: u64) -> Option<u64> {
    let (marked, rest) = body.split_first_chunk()?;
    let time = rest.first_chunk()?;
    (u64::from_be_bytes(*marked) == mark).then(|| u64::from_be_bytes(*time))
}

#[cfg(test)]
mod tests {
    use super::{super::super::wire::FrameBuffer, *};

    /// The type and payload of each frame.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let (mut buffer, mut found) = (FrameBuffer::new(), Vec::new());
        while buffer.fill(&mut bytes).unwrap() > 0 {
            while let Some(frame) = buffer.next_frame().unwrap() {
                found.push((frame.kind, frame.payload.to_vec()));
            }
        }
        found
    }

    #[test]
    fn each_copy_has_its_time() {
        let message = Message::new("a-queue", 30, true, 77, 4096).unwrap();
        let mut out = Vec::new();
        message.push(&mut out, 5);
        message.push(&mut out, u64::MAX);
        let frames = frames(&out);
        let times: Vec<_> = frames.iter().filter(|(kind, _)| *kind == wire::BODY).collect();
        assert_eq!(frames.len(), 6);
        assert_eq!(times[0].1.len(), 30);
        assert_eq!(time_in(&times[0].1, 77), Some(5));
        assert_eq!(time_in(&times[1].1, 77), Some(u64::MAX));
        assert_eq!(time_in(&times[1].1, 78), None);
        assert_eq!(time_in(&[0; 15], 0), None);
    }

    #[test]
    fn a_large_body_has_several_frames() {
        let message = Message::new("q", 10_000, false, 77, 4096).unwrap();
        let mut out = Vec::new();
        message.push(&mut out, 5);
        let sizes: Vec<_> = frames(&out).iter().skip(2).map(|(_, payload)| payload.len()).collect();
        assert_eq!(sizes, [4088, 4088, 1824]);
        assert!(Message::new(&"q".repeat(256), 16, false, 77, 4096).is_err());
    }
}
