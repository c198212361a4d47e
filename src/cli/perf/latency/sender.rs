//! One publishing connection: sends each message at its time.

use std::{io::Write as _, net::TcpStream, sync::atomic::Ordering};

use amq_protocol::protocol::{AMQPClass, confirm};
use hdrhistogram::Histogram;

use super::{
    super::{
        conn::{self, CHANNEL, Connection},
        deliveries,
        error::PerfError,
        shared::Counter,
        uri::AmqpUri,
    },
    Crew,
    alarm::Alarm,
    message::Message,
    schedule::Schedule,
};

/// Bytes that are sent at a time where many messages are due.
const TOGETHER: usize = 128 * 1024;

/// Connects a producer; confirms are asked for with `confirm`.
///
/// # Errors
///
/// When the broker cannot be reached or refuses.
pub fn connect(uri: &AmqpUri, number: u16, confirm: bool) -> Result<Connection, PerfError> {
    let mut connection = Connection::open(uri, &format!("leveret perf producer {number}"))?;
    if confirm {
        let select = AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }));
        connection.call(CHANNEL, select, "confirm.select", |answer| {
            matches!(answer, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)))
        })?;
    }
    Ok(connection)
}

/// The writing half of a connection.
pub struct Sender {
    stream: TcpStream,
    message: Message,
    schedule: Schedule,
}

/// What one sender has done.
#[derive(Debug)]
pub struct Sent {
    /// How much later than they were due messages of the measured interval were sent, in
    /// nanoseconds.
    pub delay: Histogram<u64>,
    /// Messages sent in the whole run.
    pub count: u64,
    /// Messages that were due, but not sent when the run ended.
    pub unsent: u64,
}

impl Sent {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// Never in practice; see [`deliveries::histogram`].
    pub fn new() -> Result<Self, PerfError> {
        Ok(Self { delay: deliveries::histogram()?, count: 0, unsent: 0 })
    }
}

impl Sender {
    /// The writing half of `connection`, the other half of which someone else reads from.
    ///
    /// # Errors
    ///
    /// When the socket cannot be shared.
    pub fn new(connection: &Connection, message: Message, schedule: Schedule) -> Result<Self, PerfError> {
        let stream = connection.stream.try_clone().map_err(PerfError::Io)?;
        Ok(Self { stream, message, schedule })
    }

    /// Sends everything at its time, or later, but never leaves anything out.
    ///
    /// # Errors
    ///
    /// Never in practice: what is wrong with the connection is found by who reads from it.
    pub fn run(mut self, crew: &Crew, counter: &Counter) -> Result<Sent, PerfError> {
        let mut sent = Sent::new()?;
        let alarm = Alarm::new(self.schedule.interval());
        let total = self.schedule.count_before(crew.plan.to);
        let mut out = Vec::with_capacity(2 * TOGETHER);
        while sent.count < total {
            let now = alarm.wait_until(&crew.shared, self.schedule.at(sent.count));
            out.clear();
            let mut next = sent.count;
            while next < total && out.len() < TOGETHER {
                let due = self.schedule.at(next);
                if due > now {
                    break;
                }
                self.message.push(&mut out, due);
                if crew.plan.measures(due) {
                    sent.delay.saturating_record(now - due);
                }
                next += 1;
            }
            if !self.write(&out, crew) {
                break;
            }
            sent.count = next;
            counter.set(next);
        }
        sent.unsent = total - sent.count;
        Ok(sent)
    }

    /// Writes whole messages; false when the run has ended or the connection has failed.
    fn write(&mut self, bytes: &[u8], crew: &Crew) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if conn::is_retry(&error) => {
                    if crew.shared.stop_producers.load(Ordering::Relaxed) {
                        return false;
                    }
                }
                Err(_) => {
                    crew.failing.store(true, Ordering::Relaxed);
                    return false;
                }
            }
        }
        !crew.shared.stop_producers.load(Ordering::Relaxed)
    }
}
