//! The consuming connection: takes the time as soon as messages have been read.

use std::sync::atomic::Ordering;

use amq_protocol::protocol::{AMQPClass, basic};
use hdrhistogram::Histogram;

use super::{
    super::{
        conn::{self, CHANNEL, Connection},
        consumer::Taking,
        deliveries,
        error::PerfError,
        uri::AmqpUri,
        wire::{self, BASIC_ACK, BASIC_DELIVER, Frame, WireError},
    },
    Crew,
    message::time_in,
    schedule::Plan,
};

/// A consumer, ready to receive.
pub struct Receiver {
    connection: Connection,
    /// Messages per acknowledgement, 0 for none.
    ack_every: u64,
}

impl Receiver {
    /// Connects and subscribes.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or refuses.
    pub fn subscribe(uri: &AmqpUri, queue: &str, taking: &Taking) -> Result<Self, PerfError> {
        let mut connection = Connection::open(uri, "leveret perf consumer 1")?;
        let qos = basic::Qos { prefetch_count: taking.prefetch, global: false };
        let qos = AMQPClass::Basic(basic::AMQPMethod::Qos(qos));
        connection.call(CHANNEL, qos, "basic.qos", |answer| {
            matches!(answer, AMQPClass::Basic(basic::AMQPMethod::QosOk(_)))
        })?;
        let consume = basic::Consume {
            queue: conn::short(queue)?,
            no_ack: taking.ack_every.is_none(),
            ..Default::default()
        };
        let consume = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
        connection.call(CHANNEL, consume, "basic.consume", |answer| {
            matches!(answer, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_)))
        })?;
        Ok(Self { connection, ack_every: taking.ack_every.unwrap_or(0).into() })
    }

    /// Receives until the run ends, and returns the latencies in nanoseconds.
    ///
    /// # Errors
    ///
    /// When the broker closes the connection or cancels the consumer.
    pub fn run(mut self, crew: &Crew) -> Result<Histogram<u64>, PerfError> {
        let mut arrivals = Arrivals::new(crew.shared.mark, crew.plan)?;
        let (mut acked, mut acks) = (0, Vec::new());
        while !crew.shared.stop_consumers.load(Ordering::Relaxed) {
            if !self.connection.read_some()? {
                continue;
            }
            let now = crew.shared.now();
            while let Some(frame) = self.connection.input.next_frame()? {
                arrivals.take(&frame, now)?;
                if self.ack_every > 0 && arrivals.complete >= acked + self.ack_every {
                    acked = arrivals.complete;
                    push_ack(&mut acks, arrivals.tag);
                }
            }
            crew.received.set(arrivals.complete);
            if !acks.is_empty() {
                self.connection.send_bytes(&acks)?;
                acks.clear();
            }
        }
        self.connection.close();
        Ok(arrivals.latency)
    }
}

/// Appends a `basic.ack` for all messages up to this tag.
fn push_ack(out: &mut Vec<u8>, tag: u64) {
    let [high, low] = CHANNEL.to_be_bytes();
    out.extend([wire::METHOD, high, low, 0, 0, 0, 13]);
    out.extend(BASIC_ACK);
    out.extend(tag.to_be_bytes());
    out.extend([1, wire::FRAME_END]);
}

/// What has been received.
struct Arrivals {
    mark: u64,
    plan: Plan,
    latency: Histogram<u64>,
    /// Messages received completely.
    complete: u64,
    /// Delivery tag of the message received last, or being received.
    tag: u64,
    /// Bytes of the current body that have not come yet.
    missing: u64,
    /// When the current message was due, once its first bytes have come.
    due: Option<u64>,
    /// Whether the next body frame is the first of its message.
    at_start: bool,
}

impl Arrivals {
    fn new(mark: u64, plan: Plan) -> Result<Self, PerfError> {
        let latency = deliveries::histogram()?;
        Ok(Self { mark, plan, latency, complete: 0, tag: 0, missing: 0, due: None, at_start: false })
    }

    /// Takes one frame that was read at `now`.
    fn take(&mut self, frame: &Frame<'_>, now: u64) -> Result<(), PerfError> {
        match frame.kind {
            wire::METHOD if frame.payload.starts_with(&BASIC_DELIVER) => {
                let tag = delivery_tag(frame.payload).ok_or(WireError::Malformed("basic.deliver"))?;
                self.tag = tag;
            }
            wire::METHOD => bad_news(frame.payload)?,
            wire::HEADER => {
                // The size of the body follows class and weight.
                let size = frame.payload.get(4..).and_then(|rest| rest.first_chunk());
                self.missing = u64::from_be_bytes(*size.ok_or(WireError::Malformed("header"))?);
                (self.at_start, self.due) = (true, None);
            }
            wire::BODY => self.body(frame.payload, now)?,
            _ => {}
        }
        Ok(())
    }

    fn body(&mut self, payload: &[u8], now: u64) -> Result<(), WireError> {
        if std::mem::take(&mut self.at_start) {
            self.due = time_in(payload, self.mark);
        }
        let rest = self.missing.checked_sub(payload.len() as u64);
        self.missing = rest.ok_or(WireError::Malformed("body"))?;
        if self.missing == 0 {
            self.complete += 1;
            if let Some(due) = self.due.take().filter(|&due| self.plan.measures(due)) {
                self.latency.saturating_record(now.saturating_sub(due));
            }
        }
        Ok(())
    }
}

/// The delivery tag of a `basic.deliver`, which follows the consumer tag.
fn delivery_tag(payload: &[u8]) -> Option<u64> {
    let length = usize::from(*payload.get(4)?);
    payload.get(5 + length..)?.first_chunk().map(|tag| u64::from_be_bytes(*tag))
}

/// Whatever is no delivery.
fn bad_news(payload: &[u8]) -> Result<(), PerfError> {
    let method = conn::parse_method(payload)?;
    match method {
        AMQPClass::Basic(basic::AMQPMethod::Cancel(_)) => Err(PerfError::Cancelled),
        other => conn::closed(&other).map_or(Ok(()), Err),
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::{
        frame::{AMQPContentHeader, AMQPFrame},
        protocol::BasicProperties,
    };

    use super::{super::super::wire::FrameBuffer, *};

    const MARK: u64 = 99;

    fn frames(arrivals: &mut Arrivals, frames: &[AMQPFrame], now: u64) -> Result<(), PerfError> {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| wire::encode(frame).unwrap()).collect();
        let mut buffer = FrameBuffer::new();
        buffer.fill(&mut &bytes[..]).unwrap();
        while let Some(frame) = buffer.next_frame()? {
            arrivals.take(&frame, now)?;
        }
        Ok(())
    }

    fn delivery(tag: u64, mark: u64, due: u64, size: usize) -> Vec<AMQPFrame> {
        let mut body = [mark.to_be_bytes(), due.to_be_bytes()].concat();
        body.resize(size, 0);
        let deliver = basic::Deliver { delivery_tag: tag, consumer_tag: "ctag".into(), ..Default::default() };
        let deliver = AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver));
        let properties = BasicProperties::default();
        let header = AMQPContentHeader { class_id: 60, body_size: size as u64, properties };
        let mut frames = vec![AMQPFrame::Method(1, deliver), AMQPFrame::Header(1, header)];
        frames.extend(body.chunks(30).map(|chunk| AMQPFrame::Body(1, chunk.to_vec())));
        frames
    }

    #[test]
    fn latency_counts_from_when_a_message_was_due() {
        let mut arrivals = Arrivals::new(MARK, Plan { start: 0, from: 1000, to: 2000 }).unwrap();
        frames(&mut arrivals, &delivery(1, MARK, 999, 16), 5000).unwrap();
        frames(&mut arrivals, &delivery(2, MARK, 1500, 100), 5000).unwrap();
        frames(&mut arrivals, &delivery(3, MARK, 2000, 16), 5000).unwrap();
        frames(&mut arrivals, &delivery(4, MARK + 1, 1500, 16), 5000).unwrap();
        assert_eq!((arrivals.complete, arrivals.tag), (4, 4));
        assert_eq!(arrivals.latency.len(), 1);
        assert!(arrivals.latency.max().abs_diff(3500) < 10, "three digits: {}", arrivals.latency.max());
        let half = &delivery(5, MARK, 1500, 100)[..4];
        frames(&mut arrivals, half, 5000).unwrap();
        assert_eq!(arrivals.complete, 4, "not before it has all come");
    }

    #[test]
    fn bad_news_ends_the_run() {
        let mut arrivals = Arrivals::new(MARK, Plan { start: 0, from: 0, to: 1 }).unwrap();
        let cancel = AMQPClass::Basic(basic::AMQPMethod::Cancel(basic::Cancel::default()));
        let error = frames(&mut arrivals, &[AMQPFrame::Method(1, cancel)], 0);
        assert!(matches!(error, Err(PerfError::Cancelled)));
        assert!(frames(&mut arrivals, &[AMQPFrame::Body(1, vec![0; 20])], 0).is_err());
        assert!(frames(&mut arrivals, &[AMQPFrame::Heartbeat], 0).is_ok());
    }

    #[test]
    fn acknowledgements_are_for_all_up_to_a_tag() {
        let mut out = Vec::new();
        push_ack(&mut out, 7);
        let ack = basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 7, multiple: true });
        assert_eq!(out, wire::encode(&AMQPFrame::Method(1, AMQPClass::Basic(ack))).unwrap());
    }
}
