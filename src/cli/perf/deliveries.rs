//! The consuming side of the protocol: counts deliveries, reads stamps and builds acknowledgements.

use amq_protocol::protocol::{AMQPClass, basic, channel};
use hdrhistogram::Histogram;

use super::{
    batch, conn,
    conn::CHANNEL,
    error::PerfError,
    shared::Shared,
    wire::{self, BASIC_ACK, BASIC_DELIVER, Frame, WireError},
};

/// Longest latency that is told apart, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// An empty latency histogram, in nanoseconds, with 3 significant digits.
///
/// # Errors
///
/// Never with these bounds, which are valid.
pub fn histogram() -> Result<Histogram<u64>, PerfError> {
    Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| PerfError::Worker(error.to_string()))
}

/// What one consumer has received.
pub struct Deliveries<'a> {
    shared: &'a Shared,
    /// Messages received completely.
    pub complete: u64,
    /// Time from sending to receiving, in nanoseconds, of stamped messages of the measured
    /// interval.
    pub latency: Histogram<u64>,
    /// Acknowledgements to send; the owner removes what it has sent.
    pub acks: Vec<u8>,
    /// Messages per acknowledgement, 0 for none.
    ack_every: u16,
    unacked: u16,
    /// Delivery tag of the message being received.
    arriving: u64,
    /// Delivery tag of the message received last.
    arrived: u64,
    /// Bytes of the current body that have not come yet.
    missing: u64,
    /// Whether the next body frame is the first of its message.
    at_start: bool,
    /// Send time of the current message.
    sent: Option<u64>,
}

impl<'a> Deliveries<'a> {
    /// Nothing received yet. Every `ack_every` messages are acknowledged, none when it is 0.
    ///
    /// # Errors
    ///
    /// Never in practice; see [`histogram`].
    pub fn new(shared: &'a Shared, ack_every: u16) -> Result<Self, PerfError> {
        Ok(Self {
            shared,
            complete: 0,
            latency: histogram()?,
            acks: Vec::new(),
            ack_every,
            unacked: 0,
            arriving: 0,
            arrived: 0,
            missing: 0,
            at_start: false,
            sent: None,
        })
    }

    /// Takes one frame that was read at `now`, in nanoseconds since the start of the run.
    ///
    /// # Errors
    ///
    /// When the broker closes the channel or connection, cancels the consumer, or sends a frame
    /// that cannot be understood.
    #[inline]
    pub fn take(&mut self, frame: &Frame<'_>, now: u64) -> Result<(), PerfError> {
        match frame.kind {
            wire::METHOD if frame.payload.starts_with(&BASIC_DELIVER) => {
                self.arriving = delivery_tag(frame.payload)?;
            }
            wire::HEADER => self.header(frame.payload, now)?,
            wire::BODY => self.body(frame.payload, now)?,
            wire::METHOD => return other_method(frame.payload),
            _ => {}
        }
        Ok(())
    }

    /// Starts a message: the size of the body follows class and weight.
    fn header(&mut self, payload: &[u8], now: u64) -> Result<(), WireError> {
        let size = payload.get(4..).and_then(|rest| rest.first_chunk());
        self.missing = u64::from_be_bytes(*size.ok_or(WireError::Malformed("header"))?);
        self.at_start = true;
        self.sent = None;
        if self.missing == 0 {
            self.finish(now);
        }
        Ok(())
    }

    /// Continues a message.
    fn body(&mut self, payload: &[u8], now: u64) -> Result<(), WireError> {
        if self.at_start {
            self.sent = batch::stamp(payload, self.shared.mark);
            self.at_start = false;
        }
        let rest = self.missing.checked_sub(payload.len() as u64);
        self.missing = rest.ok_or(WireError::Malformed("body"))?;
        if self.missing == 0 {
            self.finish(now);
        }
        Ok(())
    }

    /// Counts the message that is now complete, and acknowledges when it is time to.
    fn finish(&mut self, now: u64) {
        self.complete += 1;
        if let Some(sent) = self.sent.take()
            && self.shared.measures(sent)
        {
            self.latency.saturating_record(now.saturating_sub(sent));
        }
        if self.ack_every > 0 {
            self.arrived = self.arriving;
            self.unacked += 1;
            if self.unacked >= self.ack_every {
                self.acknowledge();
            }
        }
    }

    /// Acknowledges everything received completely, if anything is left to acknowledge.
    pub fn acknowledge(&mut self) {
        if self.unacked == 0 {
            return;
        }
        self.unacked = 0;
        let channel = CHANNEL.to_be_bytes();
        self.acks.extend([wire::METHOD, channel[0], channel[1], 0, 0, 0, 13]);
        self.acks.extend(BASIC_ACK);
        self.acks.extend(self.arrived.to_be_bytes());
        self.acks.extend([1, wire::FRAME_END]);
    }
}

/// The delivery tag of a `basic.deliver`, which follows the consumer tag.
fn delivery_tag(payload: &[u8]) -> Result<u64, WireError> {
    let length = payload.get(4).copied().map(usize::from);
    let tag = length.and_then(|length| payload.get(5 + length..)?.first_chunk());
    tag.map(|tag| u64::from_be_bytes(*tag)).ok_or(WireError::Malformed("basic.deliver"))
}

/// Handles whatever is not a delivery: mostly bad news.
fn other_method(payload: &[u8]) -> Result<(), PerfError> {
    let method = conn::parse_method(payload)?;
    if let Some(error) = conn::closed(&method) {
        return Err(error);
    }
    match method {
        AMQPClass::Basic(basic::AMQPMethod::Cancel(_)) => Err(PerfError::Cancelled),
        // connection.blocked and the like concern producers only.
        AMQPClass::Connection(_) | AMQPClass::Channel(channel::AMQPMethod::Flow(_)) => Ok(()),
        other => Err(PerfError::Protocol(format!("method {other:?} on a consuming channel"))),
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::{
        frame::{AMQPContentHeader, AMQPFrame},
        protocol::BasicProperties,
    };

    use super::*;

    const MARK: [u8; 8] = [9; 8];

    fn running() -> Shared {
        let mut shared = Shared::new();
        shared.mark = u64::from_be_bytes(MARK);
        shared.measure_from_now();
        shared
    }

    fn give(taker: &mut Deliveries<'_>, frame: &AMQPFrame, now: u64) -> Result<(), PerfError> {
        let bytes = wire::encode(frame).unwrap();
        let frame = Frame { kind: bytes[0], payload: &bytes[7..bytes.len() - 1] };
        taker.take(&frame, now)
    }

    fn deliver(taker: &mut Deliveries<'_>, tag: u64, body: &[u8], part: usize, now: u64) {
        let deliver = basic::Deliver { delivery_tag: tag, consumer_tag: "c".into(), ..Default::default() };
        let method = AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver));
        let size = body.len() as u64;
        let properties = BasicProperties::default();
        let header = AMQPContentHeader { class_id: 60, body_size: size, properties };
        give(taker, &AMQPFrame::Method(1, method), now).unwrap();
        give(taker, &AMQPFrame::Header(1, header), now).unwrap();
        for chunk in body.chunks(part) {
            give(taker, &AMQPFrame::Body(1, chunk.to_vec()), now).unwrap();
        }
    }

    #[test]
    fn messages_count_when_they_are_complete() {
        let shared = running();
        let mut taker = Deliveries::new(&shared, 0).unwrap();
        deliver(&mut taker, 1, &[], 1, 0);
        deliver(&mut taker, 2, &[1; 100], 16, 0);
        assert_eq!(taker.complete, 2);
        assert!(taker.acks.is_empty());
        assert!(give(&mut taker, &AMQPFrame::Body(1, vec![0]), 0).is_err());
    }

    #[test]
    fn every_second_message_is_acknowledged_with_multiple() {
        let shared = running();
        let mut taker = Deliveries::new(&shared, 2).unwrap();
        for tag in 1..=5 {
            deliver(&mut taker, tag, b"hello", 5, 0);
        }
        taker.acknowledge();
        taker.acknowledge();
        let ack = |delivery_tag| {
            let ack = basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: true });
            wire::encode(&AMQPFrame::Method(1, AMQPClass::Basic(ack))).unwrap()
        };
        assert_eq!(taker.acks, [ack(2), ack(4), ack(5)].concat());
    }

    #[test]
    fn latency_is_taken_from_stamps_of_the_measured_interval() {
        let shared = running();
        let sent = shared.now();
        let mut taker = Deliveries::new(&shared, 0).unwrap();
        let stamped = |time: u64| [&MARK[..], &time.to_be_bytes(), &[0; 50]].concat();
        deliver(&mut taker, 1, &stamped(sent), 30, sent + 1000);
        deliver(&mut taker, 2, &stamped(0), 30, sent + 1000);
        deliver(&mut taker, 3, &[0; 66], 30, sent + 1000);
        assert_eq!(taker.latency.len(), 1);
        assert_eq!(taker.latency.max(), 1000);
    }

    #[test]
    fn bad_news_ends_the_run() {
        let shared = running();
        let mut taker = Deliveries::new(&shared, 0).unwrap();
        let close = channel::Close { reply_code: 404, reply_text: "gone".into(), ..Default::default() };
        let close = AMQPClass::Channel(channel::AMQPMethod::Close(close));
        let error = give(&mut taker, &AMQPFrame::Method(1, close), 0).unwrap_err();
        assert_eq!(error.to_string(), "the broker closed the channel: 404 gone");
        let cancel = basic::AMQPMethod::Cancel(basic::Cancel::default());
        let cancel = AMQPFrame::Method(1, AMQPClass::Basic(cancel));
        assert!(matches!(give(&mut taker, &cancel, 0), Err(PerfError::Cancelled)));
        assert!(give(&mut taker, &AMQPFrame::Heartbeat, 0).is_ok());
    }
}
