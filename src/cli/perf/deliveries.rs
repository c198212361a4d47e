//! The consuming side of the protocol: counts deliveries, reads stamps and builds acknowledgements.

use amq_protocol::protocol::{AMQPClass, basic, channel, tx};
use hdrhistogram::Histogram;

use super::{
    batch, conn,
    conn::CHANNEL,
    error::PerfError,
    shared::Shared,
    wire::{self, BASIC_ACK, BASIC_DELIVER, BASIC_GET_EMPTY, BASIC_GET_OK, Frame, WireError},
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

/// How messages are acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acking {
    /// Messages per acknowledgement, 0 for none.
    pub every: u16,
    /// Messages of each channel that stay unacknowledged until as many more have come.
    pub keep: u32,
    /// Whether each acknowledgement is committed.
    pub commit: bool,
}

/// What one consuming connection has received.
pub struct Deliveries<'a> {
    shared: &'a Shared,
    /// Messages received completely.
    pub complete: u64,
    /// Bytes in their bodies.
    pub octets: u64,
    /// Answers to `basic.get` without a message.
    pub empties: u64,
    /// Consumers that the broker has started.
    pub subscribed: usize,
    /// Time from sending to receiving, in nanoseconds, of stamped messages of the measured
    /// interval.
    pub latency: Histogram<u64>,
    /// Acknowledgements to send, and whatever else is; the owner removes what it has sent.
    pub acks: Vec<u8>,
    acking: Acking,
    /// The channels, from [`CHANNEL`] on.
    lanes: Vec<Lane>,
}

/// One channel of a consumer.
#[derive(Clone, Default)]
struct Lane {
    unacked: u64,
    /// Delivery tag of the message being received.
    arriving: u64,
    /// Delivery tag of the message received last.
    arrived: u64,
    /// Bytes of the current body.
    size: u64,
    /// Bytes of it that have not come yet.
    missing: u64,
    /// Whether the next body frame is the first of its message.
    at_start: bool,
    /// Send time of the current message.
    sent: Option<u64>,
}

impl<'a> Deliveries<'a> {
    /// Nothing received yet, on so many channels.
    ///
    /// # Errors
    ///
    /// Never in practice; see [`histogram`].
    pub fn new(shared: &'a Shared, acking: Acking, channels: usize) -> Result<Self, PerfError> {
        Ok(Self {
            shared,
            complete: 0,
            octets: 0,
            empties: 0,
            subscribed: 0,
            latency: histogram()?,
            acks: Vec::new(),
            acking,
            lanes: vec![Lane::default(); channels],
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
        let index = usize::from(frame.channel.wrapping_sub(CHANNEL));
        let Some(lane) = self.lanes.get_mut(index) else {
            // Channel 0 is the connection's.
            return if frame.kind == wire::METHOD { self.other_method(frame.payload) } else { Ok(()) };
        };
        let complete = match frame.kind {
            wire::METHOD if frame.payload.starts_with(&BASIC_DELIVER) => {
                lane.arriving = delivery_tag(frame.payload)?;
                false
            }
            wire::HEADER => lane.header(frame.payload)?,
            wire::BODY => lane.body(frame.payload, self.shared.mark)?,
            wire::METHOD if frame.payload.starts_with(&BASIC_GET_OK) => {
                let tag = frame.payload.get(4..).and_then(|rest| rest.first_chunk());
                lane.arriving = u64::from_be_bytes(*tag.ok_or(WireError::Malformed("basic.get-ok"))?);
                false
            }
            wire::METHOD if frame.payload.starts_with(&BASIC_GET_EMPTY) => {
                self.empties += 1;
                false
            }
            wire::METHOD => return self.other_method(frame.payload),
            _ => false,
        };
        if complete {
            self.finish(index, now);
        }
        Ok(())
    }

    /// Counts the message that is now complete, and acknowledges when it is time to.
    #[inline]
    fn finish(&mut self, index: usize, now: u64) {
        let lane = &mut self.lanes[index];
        self.complete += 1;
        self.octets += lane.size;
        if let Some(sent) = lane.sent.take()
            && self.shared.measures(sent)
        {
            self.latency.saturating_record(now.saturating_sub(sent));
        }
        if self.acking.every > 0 {
            lane.arrived = lane.arriving;
            lane.unacked += 1;
            let keep = u64::from(self.acking.keep);
            if lane.unacked >= keep + u64::from(self.acking.every) {
                self.acknowledge_but(index, keep);
            }
        }
    }

    /// Acknowledges everything received completely, if anything is left to acknowledge.
    pub fn acknowledge(&mut self) {
        for index in 0..self.lanes.len() {
            if self.lanes[index].unacked > 0 {
                self.acknowledge_but(index, 0);
            }
        }
    }

    /// Acknowledges all messages of a channel but the last so many. Tags count up by one.
    fn acknowledge_but(&mut self, index: usize, keep: u64) {
        let lane = &mut self.lanes[index];
        lane.unacked = keep;
        let [t0, t1, t2, t3, t4, t5, t6, t7] = lane.arrived.saturating_sub(keep).to_be_bytes();
        // No more channels were opened than have a number.
        let channel = u16::try_from(index).unwrap_or_default() + CHANNEL;
        wire::push_method(&mut self.acks, channel, BASIC_ACK, &[t0, t1, t2, t3, t4, t5, t6, t7, 1]);
        if self.acking.commit {
            wire::push_method(&mut self.acks, channel, wire::TX_COMMIT, &[]);
        }
    }

    /// Handles whatever is not a message: mostly bad news.
    #[cold]
    fn other_method(&mut self, payload: &[u8]) -> Result<(), PerfError> {
        let method = conn::parse_method(payload)?;
        if let Some(error) = conn::closed(&method) {
            return Err(error);
        }
        match method {
            AMQPClass::Basic(basic::AMQPMethod::Cancel(_)) => Err(PerfError::Cancelled),
            AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_)) => {
                self.subscribed += 1;
                Ok(())
            }
            // connection.blocked and the like concern producers only.
            AMQPClass::Connection(_)
            | AMQPClass::Channel(channel::AMQPMethod::Flow(_))
            | AMQPClass::Tx(tx::AMQPMethod::CommitOk(_)) => Ok(()),
            other => Err(PerfError::Protocol(format!("method {other:?} on a consuming channel"))),
        }
    }
}

impl Lane {
    /// Starts a message: the size of the body follows class and weight. True when it has none.
    #[inline]
    fn header(&mut self, payload: &[u8]) -> Result<bool, WireError> {
        let size = payload.get(4..).and_then(|rest| rest.first_chunk());
        self.size = u64::from_be_bytes(*size.ok_or(WireError::Malformed("header"))?);
        self.missing = self.size;
        self.at_start = true;
        self.sent = None;
        Ok(self.size == 0)
    }

    /// Continues a message; true when it is complete.
    #[inline]
    fn body(&mut self, payload: &[u8], mark: u64) -> Result<bool, WireError> {
        if self.at_start {
            self.sent = batch::stamp(payload, mark);
            self.at_start = false;
        }
        let rest = self.missing.checked_sub(payload.len() as u64);
        self.missing = rest.ok_or(WireError::Malformed("body"))?;
        Ok(self.missing == 0)
    }
}

/// The delivery tag of a `basic.deliver`, which follows the consumer tag.
fn delivery_tag(payload: &[u8]) -> Result<u64, WireError> {
    let length = payload.get(4).copied().map(usize::from);
    let tag = length.and_then(|length| payload.get(5 + length..)?.first_chunk());
    tag.map(|tag| u64::from_be_bytes(*tag)).ok_or(WireError::Malformed("basic.deliver"))
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
        let channel = u16::from_be_bytes([bytes[1], bytes[2]]);
        let frame = Frame { kind: bytes[0], channel, payload: &bytes[7..bytes.len() - 1] };
        taker.take(&frame, now)
    }

    fn deliver(taker: &mut Deliveries<'_>, tag: u64, body: &[u8], part: usize, now: u64) {
        deliver_on(1, taker, tag, body, part, now);
    }

    fn deliver_on(channel: u16, taker: &mut Deliveries<'_>, tag: u64, body: &[u8], part: usize, now: u64) {
        let deliver = basic::Deliver { delivery_tag: tag, consumer_tag: "c".into(), ..Default::default() };
        let method = AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver));
        let size = body.len() as u64;
        let properties = BasicProperties::default();
        let header = AMQPContentHeader { class_id: 60, body_size: size, properties };
        give(taker, &AMQPFrame::Method(channel, method), now).unwrap();
        give(taker, &AMQPFrame::Header(channel, header), now).unwrap();
        for chunk in body.chunks(part) {
            give(taker, &AMQPFrame::Body(channel, chunk.to_vec()), now).unwrap();
        }
    }

    #[test]
    fn messages_count_when_they_are_complete() {
        let shared = running();
        let mut taker = Deliveries::new(&shared, Acking::default(), 1).unwrap();
        deliver(&mut taker, 1, &[], 1, 0);
        deliver(&mut taker, 2, &[1; 100], 16, 0);
        assert_eq!((taker.complete, taker.octets), (2, 100));
        assert!(taker.acks.is_empty());
        assert!(give(&mut taker, &AMQPFrame::Body(1, vec![0]), 0).is_err());
    }

    #[test]
    fn every_second_message_is_acknowledged_with_multiple() {
        let shared = running();
        let mut taker = Deliveries::new(&shared, Acking { every: 2, ..Acking::default() }, 1).unwrap();
        for tag in 1..=5 {
            deliver(&mut taker, tag, b"hello", 5, 0);
        }
        taker.acknowledge();
        taker.acknowledge();
        assert_eq!(taker.acks, [ack(1, 2), ack(1, 4), ack(1, 5)].concat());
    }

    fn ack(channel: u16, delivery_tag: u64) -> Vec<u8> {
        let ack = basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: true });
        wire::encode(&AMQPFrame::Method(channel, AMQPClass::Basic(ack))).unwrap()
    }

    #[test]
    fn some_messages_stay_unacknowledged_until_the_end() {
        let shared = running();
        let acking = Acking { every: 2, keep: 3, commit: false };
        let mut taker = Deliveries::new(&shared, acking, 1).unwrap();
        for tag in 1..=4 {
            deliver(&mut taker, tag, b"hello", 5, 0);
        }
        assert!(taker.acks.is_empty());
        for tag in 5..=8 {
            deliver(&mut taker, tag, b"hello", 5, 0);
        }
        assert_eq!(taker.acks, [ack(1, 2), ack(1, 4)].concat());
        taker.acknowledge();
        assert_eq!(taker.acks, [ack(1, 2), ack(1, 4), ack(1, 8)].concat());
    }

    #[test]
    fn channels_have_messages_and_tags_of_their_own() {
        let shared = running();
        let acking = Acking { every: 1, keep: 0, commit: true };
        let mut taker = Deliveries::new(&shared, acking, 2).unwrap();
        // A message on the second channel comes between the frames of one on the first.
        let size = 2;
        let header =
            |body_size| AMQPContentHeader { class_id: 60, body_size, properties: Default::default() };
        give(&mut taker, &AMQPFrame::Header(1, header(size)), 0).unwrap();
        deliver_on(2, &mut taker, 7, &[1; 30], 10, 0);
        give(&mut taker, &AMQPFrame::Body(1, vec![0; 2]), 0).unwrap();
        assert_eq!((taker.complete, taker.octets), (2, 32));
        let commit = |channel| {
            let commit = AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}));
            wire::encode(&AMQPFrame::Method(channel, commit)).unwrap()
        };
        assert_eq!(taker.acks, [ack(2, 7), commit(2), ack(1, 0), commit(1)].concat());
        let ok = AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {}));
        assert!(give(&mut taker, &AMQPFrame::Method(2, ok), 0).is_ok());
    }

    #[test]
    fn answers_to_gets_are_messages_or_empty() {
        let shared = running();
        let mut taker = Deliveries::new(&shared, Acking { every: 1, ..Acking::default() }, 1).unwrap();
        let empty = AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {}));
        give(&mut taker, &AMQPFrame::Method(1, empty), 0).unwrap();
        let found = basic::GetOk { delivery_tag: 9, exchange: "x".into(), ..Default::default() };
        let found = AMQPClass::Basic(basic::AMQPMethod::GetOk(found));
        give(&mut taker, &AMQPFrame::Method(1, found), 0).unwrap();
        let header = AMQPContentHeader { class_id: 60, body_size: 0, properties: Default::default() };
        give(&mut taker, &AMQPFrame::Header(1, header), 0).unwrap();
        assert_eq!((taker.complete, taker.empties), (1, 1));
        assert_eq!(taker.acks, ack(1, 9));
    }

    #[test]
    fn latency_is_taken_from_stamps_of_the_measured_interval() {
        let shared = running();
        let sent = shared.now();
        let mut taker = Deliveries::new(&shared, Acking::default(), 1).unwrap();
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
        let mut taker = Deliveries::new(&shared, Acking::default(), 1).unwrap();
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
