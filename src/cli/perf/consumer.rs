//! One consuming connection.

use std::{io::Write, sync::atomic::Ordering, thread, time::Duration};

use amq_protocol::{
    frame::AMQPFrame,
    protocol::{AMQPClass, basic, tx},
    types::FieldTable,
};
use hdrhistogram::Histogram;

use super::{
    conn::{self, CHANNEL, Connection},
    deliveries::{Acking, Deliveries},
    error::PerfError,
    poll::Poll,
    shared::{Counter, Shared},
    uri::AmqpUri,
    wire,
};

/// Pause while there is nothing to read and the broker does not take acknowledgements.
const STUCK_PAUSE: Duration = Duration::from_micros(200);

/// How a consumer takes messages.
#[derive(Clone, Debug, Default)]
pub struct Taking {
    /// Unacknowledged messages it may have, 0 for no limit.
    pub prefetch: u16,
    /// Messages per acknowledgement; without it the broker acknowledges on delivery.
    pub ack_every: Option<u16>,
    /// Messages of each channel that stay unacknowledged until as many more have come.
    pub unacked: u32,
    /// Whether each acknowledgement is committed.
    pub ack_tx: bool,
    /// Asks for messages one by one, with so many requests unanswered on each channel.
    pub get: Option<u16>,
    /// Arguments of `basic.consume`.
    pub arguments: FieldTable,
}

/// What a consumer has found out.
pub struct Received {
    /// Time from sending to receiving, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Requests for a message that found none.
    pub empties: u64,
}

/// A connection that is ready to consume.
pub struct Consumer {
    connection: Connection,
    acking: Acking,
    channels: usize,
    /// What starts its consumers, and how many those are.
    subscriptions: Vec<u8>,
    consumers: usize,
    poll: Option<Poll>,
}

impl Consumer {
    /// Connects, to consume from `queues` on one channel. `number` tells connections apart in the
    /// broker's lists.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or refuses.
    pub fn subscribe(
        uri: &AmqpUri,
        queues: &[&str],
        taking: &Taking,
        number: u16,
    ) -> Result<Self, PerfError> {
        Self::attach(uri, &[queues.to_vec()], taking, number)
    }

    /// Connects, to consume from these queues on each of so many channels: one consumer for each
    /// time that a queue is named. See [`Consumer::subscribe`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn attach(
        uri: &AmqpUri,
        channels: &[Vec<&str>],
        taking: &Taking,
        number: u16,
    ) -> Result<Self, PerfError> {
        let mut connection = Connection::open(uri, &format!("leveret perf consumer {number}"))?;
        for (channel, _) in (CHANNEL..).zip(channels) {
            if channel != CHANNEL {
                connection.open_channel_number(channel)?;
            }
            prepare_channel(&mut connection, channel, taking)?;
        }
        let no_ack = taking.ack_every.is_none();
        let (mut subscriptions, mut consumers, mut poll) = (Vec::new(), 0, None);
        if let Some(pipeline) = taking.get {
            poll = Some(Poll::new(channels, no_ack, pipeline)?);
        } else {
            for (channel, queues) in (CHANNEL..).zip(channels) {
                for (nth, queue) in queues.iter().enumerate() {
                    subscriptions.extend(consume(channel, nth, queue, taking)?);
                    consumers += 1;
                }
            }
        }
        let every = taking.ack_every.unwrap_or(0);
        let acking = Acking { every, keep: taking.unacked, commit: taking.ack_tx };
        Ok(Self { connection, acking, channels: channels.len(), subscriptions, consumers, poll })
    }

    /// Receives until told to stop, keeping the number of messages in `received`.
    ///
    /// # Errors
    ///
    /// When the broker refuses a consumer or cancels it, or closes the connection.
    pub fn run(mut self, shared: &Shared, received: &Counter) -> Result<Received, PerfError> {
        let mut deliveries = Deliveries::new(shared, self.acking, self.channels)?;
        // Their answers come among the first messages.
        deliveries.acks.append(&mut self.subscriptions);
        let mut announced = false;
        loop {
            let now = shared.now();
            while let Some(frame) = self.connection.input.next_frame()? {
                deliveries.take(&frame, now)?;
            }
            received.set(deliveries.complete);
            received.set_octets(deliveries.octets);
            if !announced && deliveries.subscribed == self.consumers {
                announced = true;
                shared.subscribed.fetch_add(1, Ordering::Relaxed);
            }
            let stop = shared.stop_consumers.load(Ordering::Relaxed);
            if stop {
                deliveries.acknowledge();
            } else if let Some(poll) = &mut self.poll {
                poll.top_up(deliveries.complete + deliveries.empties, &mut deliveries.acks);
            }
            self.send_acks(&mut deliveries.acks)?;
            if stop {
                break;
            }
            if deliveries.acks.is_empty() {
                self.connection.read_some()?;
            } else if !self.connection.read_available()? {
                thread::sleep(STUCK_PAUSE);
            }
        }
        if deliveries.acks.is_empty() {
            self.connection.close();
        }
        Ok(Received { latency: deliveries.latency, empties: deliveries.empties })
    }

    /// Writes as much of `acks` as the socket takes without waiting: a broker that waits for
    /// this consumer to read must not be waited for in turn.
    fn send_acks(&mut self, acks: &mut Vec<u8>) -> Result<(), PerfError> {
        if acks.is_empty() {
            return Ok(());
        }
        let mut stream = &self.connection.stream;
        stream.set_nonblocking(true).map_err(PerfError::Io)?;
        let written = stream.write(acks);
        stream.set_nonblocking(false).map_err(PerfError::Io)?;
        match written {
            Ok(count) if count == acks.len() => acks.clear(),
            Ok(count) => drop(acks.drain(..count)),
            Err(error) if conn::is_retry(&error) => {}
            Err(error) => return Err(self.connection.explain(error)),
        }
        Ok(())
    }
}

/// Asks for the prefetch count and for transactions, where they are wanted.
fn prepare_channel(connection: &mut Connection, channel: u16, taking: &Taking) -> Result<(), PerfError> {
    if taking.prefetch > 0 {
        let qos = basic::Qos { prefetch_count: taking.prefetch, global: false };
        let qos = AMQPClass::Basic(basic::AMQPMethod::Qos(qos));
        connection.call(channel, qos, "basic.qos", |answer| {
            matches!(answer, AMQPClass::Basic(basic::AMQPMethod::QosOk(_)))
        })?;
    }
    if taking.ack_tx {
        let select = AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}));
        connection.call(channel, select, "tx.select", |answer| {
            matches!(answer, AMQPClass::Tx(tx::AMQPMethod::SelectOk(_)))
        })?;
    }
    Ok(())
}

/// The frame that starts the consumer of this number on a channel.
fn consume(channel: u16, nth: usize, queue: &str, taking: &Taking) -> Result<Vec<u8>, PerfError> {
    let consume = basic::Consume {
        queue: conn::short(queue)?,
        consumer_tag: conn::short(&format!("perf-{nth}"))?,
        no_local: false,
        no_ack: taking.ack_every.is_none(),
        exclusive: false,
        nowait: false,
        arguments: taking.arguments.clone(),
    };
    let consume = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
    Ok(wire::encode(&AMQPFrame::Method(channel, consume))?)
}
