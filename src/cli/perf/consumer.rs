//! One consuming connection.

use std::{io::Write, sync::atomic::Ordering, thread, time::Duration};

use amq_protocol::{
    protocol::{AMQPClass, basic},
    types::FieldTable,
};
use hdrhistogram::Histogram;

use super::{
    conn::{self, CHANNEL, Connection},
    deliveries::Deliveries,
    error::PerfError,
    shared::{Counter, Shared},
    uri::AmqpUri,
};

/// Pause while there is nothing to read and the broker does not take acknowledgements.
const STUCK_PAUSE: Duration = Duration::from_micros(200);

/// How a consumer takes messages.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    /// Unacknowledged messages it may have, 0 for no limit.
    pub prefetch: u16,
    /// Messages per acknowledgement; without it the broker acknowledges on delivery.
    pub ack_every: Option<u16>,
}

/// A connection that consumes, ready to receive.
pub struct Consumer {
    connection: Connection,
    ack_every: u16,
}

impl Consumer {
    /// Connects and subscribes to `queues`, which must be empty if they are several: deliveries
    /// from one would be lost among the answers for the next. `number` tells connections apart in
    /// the broker's lists.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or refuses.
    pub fn subscribe(uri: &AmqpUri, queues: &[&str], taking: Taking, number: u16) -> Result<Self, PerfError> {
        let mut connection = Connection::open(uri, &format!("leveret perf consumer {number}"))?;
        let prefetch_count = taking.prefetch;
        if prefetch_count > 0 {
            let qos = basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global: false });
            connection.call(CHANNEL, AMQPClass::Basic(qos), "basic.qos", |answer| {
                matches!(answer, AMQPClass::Basic(basic::AMQPMethod::QosOk(_)))
            })?;
        }
        for (nth, queue) in queues.iter().enumerate() {
            let consume = basic::Consume {
                queue: conn::short(queue)?,
                consumer_tag: conn::short(&format!("perf-{nth}"))?,
                no_local: false,
                no_ack: taking.ack_every.is_none(),
                exclusive: false,
                nowait: false,
                arguments: FieldTable::default(),
            };
            let consume = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
            connection.call(CHANNEL, consume, "basic.consume", |answer| {
                matches!(answer, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_)))
            })?;
        }
        Ok(Self { connection, ack_every: taking.ack_every.unwrap_or(0) })
    }

    /// Receives until told to stop, keeping the number of messages in `received`, and returns the
    /// latencies in nanoseconds.
    ///
    /// # Errors
    ///
    /// When the broker closes the connection or cancels the consumer.
    pub fn run(mut self, shared: &Shared, received: &Counter) -> Result<Histogram<u64>, PerfError> {
        let mut deliveries = Deliveries::new(shared, self.ack_every)?;
        loop {
            let now = shared.now();
            while let Some(frame) = self.connection.input.next_frame()? {
                deliveries.take(&frame, now)?;
            }
            received.set(deliveries.complete);
            let stop = shared.stop_consumers.load(Ordering::Relaxed);
            if stop {
                deliveries.acknowledge();
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
        Ok(deliveries.latency)
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
