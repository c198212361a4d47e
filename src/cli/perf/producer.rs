//! One publishing connection.

use std::{
    collections::VecDeque,
    io::Write,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use amq_protocol::protocol::{AMQPClass, channel, confirm, connection};
use hdrhistogram::Histogram;

use super::{
    batch::{Batch, Message},
    confirms::Confirms,
    conn::{self, CHANNEL, Connection},
    deliveries,
    error::PerfError,
    shared::{Counter, Shared},
    uri::AmqpUri,
    wire,
};

/// Nanoseconds between looks at what the broker sent, while there is room to publish.
const LOOK_INTERVAL: u64 = 10_000_000;
/// Longest wait for outstanding confirms after publishing has stopped.
const CONFIRM_GRACE: Duration = Duration::from_secs(1);

/// What became of one producer's messages.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Publishes the broker confirmed; 0 without confirms.
    pub confirmed: u64,
    /// Publishes the broker refused with `basic.nack`.
    pub nacked: u64,
    /// Time during which the broker announced, by `connection.blocked`, that it reads no more;
    /// `None` if it never did.
    pub blocked: Option<Duration>,
    /// Time from sending the first message of each write to its confirm, in nanoseconds, within
    /// the measured interval; `None` without confirms.
    pub confirm_latency: Option<Histogram<u64>>,
}

impl Outcome {
    /// Adds what another producer heard.
    ///
    /// # Errors
    ///
    /// Never in practice: all histograms have the same bounds.
    pub fn add(&mut self, other: Self) -> Result<(), PerfError> {
        self.confirmed += other.confirmed;
        self.nacked += other.nacked;
        self.blocked = self.blocked.max(other.blocked);
        match (&mut self.confirm_latency, other.confirm_latency) {
            (Some(all), Some(one)) => all.add(one).map_err(|error| PerfError::Worker(error.to_string())),
            (None, one) => {
                self.confirm_latency = one;
                Ok(())
            }
            (Some(_), None) => Ok(()),
        }
    }
}

/// A connection that is ready to publish.
pub struct Producer {
    link: Link,
    batch: Batch,
}

/// The connection of a producer with what the broker has said on it.
struct Link {
    connection: Connection,
    confirms: Option<Confirms>,
    /// Tag of the first message of each write that is not confirmed yet, and when it was sent.
    timed: VecDeque<(u64, u64)>,
    confirm_latency: Histogram<u64>,
    blocked: Blocked,
    /// Set while the broker asks for no content, by `channel.flow`.
    paused: bool,
    /// Whether the last `channel.flow` still has to be answered.
    owes_flow_ok: bool,
}

/// Whether the broker reads no more, and for how long it did not.
#[derive(Default)]
struct Blocked {
    since: Option<Instant>,
    before: Option<Duration>,
}

impl Producer {
    /// Connects and encodes a batch of `message`; with `window`, switches to confirm mode.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or refuses.
    pub fn prepare(
        uri: &AmqpUri,
        message: &Message,
        window: Option<u32>,
        number: u16,
    ) -> Result<Self, PerfError> {
        let mut connection = Connection::open(uri, &format!("leveret perf producer {number}"))?;
        if window.is_some() {
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
            connection.call(CHANNEL, AMQPClass::Confirm(select), "confirm.select", |answer| {
                matches!(answer, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)))
            })?;
        }
        let batch = Batch::new(message, connection.frame_max)?;
        let confirms = window.map(Confirms::new);
        let link = Link {
            connection,
            confirms,
            timed: VecDeque::new(),
            confirm_latency: deliveries::histogram()?,
            blocked: Blocked::default(),
            paused: false,
            owes_flow_ok: false,
        };
        Ok(Self { link, batch })
    }

    /// Publishes until told to stop, keeping the number of messages in `published`.
    ///
    /// # Errors
    ///
    /// When the broker closes the connection or channel.
    pub fn run(self, shared: &Shared, published: &Counter) -> Result<Outcome, PerfError> {
        let Self { mut link, mut batch } = self;
        let mut total = 0;
        let mut looked = shared.now();
        let mut whole = true;
        while whole && !shared.stop_producers.load(Ordering::Relaxed) {
            let room = link.room();
            if room == 0 {
                link.wait_for_input(shared)?;
                continue;
            }
            let now = shared.now();
            let (count, bytes) = batch.take(room, now);
            whole = link.write(bytes, shared)?;
            if whole {
                link.published(count, now);
                total += count as u64;
                published.set(total);
            }
            if now - looked > LOOK_INTERVAL {
                looked = now;
                link.look(shared)?;
            }
        }
        Ok(link.finish(whole, shared))
    }

    /// Publishes `messages` and waits until the broker has confirmed or refused all of them, or
    /// until told to stop, keeping their number in `settled`. Needs a window.
    ///
    /// # Errors
    ///
    /// As [`Producer::run`].
    pub fn fill(self, messages: u64, shared: &Shared, settled: &Counter) -> Result<Outcome, PerfError> {
        let Self { mut link, mut batch } = self;
        let mut left = messages;
        let mut looked = shared.now();
        let mut whole = true;
        while whole && settled.get() < messages && !shared.stop_producers.load(Ordering::Relaxed) {
            let room = link.room().min(usize::try_from(left).unwrap_or(usize::MAX));
            let now = shared.now();
            if room == 0 {
                link.wait_for_input(shared)?;
            } else {
                let (count, bytes) = batch.take(room, now);
                whole = link.write(bytes, shared)?;
                link.published(count, now);
                left -= count as u64;
            }
            if now - looked > LOOK_INTERVAL {
                looked = now;
                link.look(shared)?;
            }
            settled.set(link.confirms.as_ref().map_or(0, |confirms| confirms.acked + confirms.nacked));
        }
        Ok(link.finish(whole, shared))
    }
}

impl Link {
    /// How many messages may be published now.
    fn room(&self) -> usize {
        match &self.confirms {
            _ if self.paused => 0,
            Some(confirms) => confirms.room(),
            None => usize::MAX,
        }
    }

    /// Notes that `count` messages have been written, at `now`.
    fn published(&mut self, count: usize, now: u64) {
        if let Some(confirms) = &mut self.confirms {
            self.timed.push_back((confirms.next(), now));
            confirms.published(count);
        }
    }

    /// Writes all of `bytes`; false when the broker has stopped reading and the run is over.
    fn write(&mut self, bytes: &[u8], shared: &Shared) -> Result<bool, PerfError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.connection.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if conn::is_retry(&error) => {
                    if self.connection.read_available()? {
                        self.take_input(shared)?;
                    }
                    if shared.stop_producers.load(Ordering::Relaxed) {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(self.connection.explain(error)),
            }
        }
        Ok(true)
    }

    /// Handles what the broker has sent, waiting a moment for it. Only between messages.
    fn wait_for_input(&mut self, shared: &Shared) -> Result<(), PerfError> {
        if self.connection.read_some()? {
            self.take_input(shared)?;
        }
        self.answer_flow()
    }

    /// Handles what the broker has sent so far. Only between messages.
    fn look(&mut self, shared: &Shared) -> Result<(), PerfError> {
        if self.connection.read_available()? {
            self.take_input(shared)?;
        }
        self.answer_flow()
    }

    /// Handles all frames that have been read.
    fn take_input(&mut self, shared: &Shared) -> Result<(), PerfError> {
        let now = shared.now();
        while let Some(frame) = self.connection.input.next_frame()? {
            if frame.kind != wire::METHOD {
                continue;
            }
            if let Some(confirms) = &mut self.confirms
                && confirms.apply(frame.payload)
            {
                continue;
            }
            let method = conn::parse_method(frame.payload)?;
            if let Some(error) = conn::closed(&method) {
                return Err(error);
            }
            match method {
                AMQPClass::Connection(connection::AMQPMethod::Blocked(_)) => self.blocked.begin(),
                AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => self.blocked.end(),
                AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) => {
                    self.paused = !flow.active;
                    self.owes_flow_ok = true;
                }
                _ => {}
            }
        }
        self.note_confirms(shared, now);
        Ok(())
    }

    /// Takes the times of all confirms that had arrived at `now`.
    fn note_confirms(&mut self, shared: &Shared, now: u64) {
        let Some(confirms) = &self.confirms else {
            return;
        };
        while let Some(&(tag, sent)) = self.timed.front()
            && tag < confirms.oldest()
        {
            self.timed.pop_front();
            if shared.measures(sent) {
                self.confirm_latency.saturating_record(now.saturating_sub(sent));
            }
        }
    }

    /// Answers `channel.flow`, which is only possible between messages.
    fn answer_flow(&mut self) -> Result<(), PerfError> {
        if !std::mem::take(&mut self.owes_flow_ok) {
            return Ok(());
        }
        let answer = channel::FlowOk { active: !self.paused };
        self.connection.send(CHANNEL, AMQPClass::Channel(channel::AMQPMethod::FlowOk(answer)))
    }

    /// Waits for outstanding confirms and closes the connection; `whole` tells whether the last
    /// message has been written completely, without which nothing more can be sent.
    fn finish(mut self, whole: bool, shared: &Shared) -> Outcome {
        let deadline = Instant::now() + CONFIRM_GRACE;
        let open = |link: &Self| link.confirms.as_ref().is_some_and(|c| c.outstanding() > 0);
        while open(&self) && Instant::now() < deadline && self.wait_for_input(shared).is_ok() {}
        self.blocked.end();
        let confirms = self.confirms.as_ref();
        let outcome = Outcome {
            confirmed: confirms.map_or(0, |confirms| confirms.acked),
            nacked: confirms.map_or(0, |confirms| confirms.nacked),
            blocked: self.blocked.before,
            confirm_latency: confirms.map(|_| self.confirm_latency),
        };
        if whole {
            self.connection.close();
        }
        outcome
    }
}

impl Blocked {
    /// Takes `connection.blocked`, which may come again for another reason.
    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
        self.before.get_or_insert_default();
    }

    /// Takes `connection.unblocked`, or the end of the run.
    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            *self.before.get_or_insert_default() += since.elapsed();
        }
    }
}
