//! One publishing connection.

use std::{
    io::Write,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use amq_protocol::protocol::{AMQPClass, channel, confirm, connection};

use super::{
    batch::{Batch, Message},
    confirms::Confirms,
    conn::{self, CHANNEL, Connection},
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Publishes the broker confirmed; 0 without confirms.
    pub confirmed: u64,
    /// Publishes the broker refused with `basic.nack`.
    pub nacked: u64,
    /// Whether the broker announced, by `connection.blocked`, that it reads no more.
    pub blocked: bool,
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
    blocked: bool,
    /// Set while the broker asks for no content, by `channel.flow`.
    paused: bool,
    /// Whether the last `channel.flow` still has to be answered.
    owes_flow_ok: bool,
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
        let link = Link { connection, confirms, blocked: false, paused: false, owes_flow_ok: false };
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
            let room = link.room().min(batch.count());
            if room == 0 {
                link.wait_for_input()?;
                continue;
            }
            let now = shared.now();
            whole = link.write(batch.first(room, now), shared)?;
            if whole {
                link.published(room);
                total += room as u64;
                published.set(total);
            }
            if now - looked > LOOK_INTERVAL {
                looked = now;
                link.look()?;
            }
        }
        Ok(link.finish(whole))
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

    /// Notes that `count` messages have been written.
    fn published(&mut self, count: usize) {
        if let Some(confirms) = &mut self.confirms {
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
                        self.take_input()?;
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
    fn wait_for_input(&mut self) -> Result<(), PerfError> {
        if self.connection.read_some()? {
            self.take_input()?;
        }
        self.answer_flow()
    }

    /// Handles what the broker has sent so far. Only between messages.
    fn look(&mut self) -> Result<(), PerfError> {
        if self.connection.read_available()? {
            self.take_input()?;
        }
        self.answer_flow()
    }

    /// Handles all frames that have been read.
    fn take_input(&mut self) -> Result<(), PerfError> {
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
                AMQPClass::Connection(connection::AMQPMethod::Blocked(_)) => self.blocked = true,
                AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) => {
                    self.paused = !flow.active;
                    self.owes_flow_ok = true;
                }
                _ => {}
            }
        }
        Ok(())
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
    fn finish(mut self, whole: bool) -> Outcome {
        let deadline = Instant::now() + CONFIRM_GRACE;
        let open = |link: &Self| link.confirms.as_ref().is_some_and(|c| c.outstanding() > 0);
        while open(&self) && Instant::now() < deadline && self.wait_for_input().is_ok() {}
        let confirms = self.confirms.as_ref();
        let outcome = Outcome {
            confirmed: confirms.map_or(0, |confirms| confirms.acked),
            nacked: confirms.map_or(0, |confirms| confirms.nacked),
            blocked: self.blocked,
        };
        if whole {
            self.connection.close();
        }
        outcome
    }
}
