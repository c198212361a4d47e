//! One publishing connection.

use std::{
    collections::VecDeque,
    io::Write,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use amq_protocol::protocol::{AMQPClass, channel, confirm, connection, tx};
use hdrhistogram::Histogram;

use super::{
    batch::{Batch, Message},
    confirms::Confirms,
    conn::{self, CHANNEL, Connection},
    deliveries,
    error::PerfError,
    pace::Pace,
    shared::{Counter, Shared},
    uri::AmqpUri,
    wire,
};

/// Nanoseconds between looks at what the broker sent, while there is room to publish.
const LOOK_INTERVAL: u64 = 10_000_000;
/// Longest wait for outstanding confirms and commits after publishing has stopped.
const SETTLE_GRACE: Duration = Duration::from_secs(1);

/// What became of one producer's messages.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Publishes the broker confirmed or committed; 0 without confirms and transactions.
    pub confirmed: u64,
    /// Publishes the broker refused with `basic.nack`.
    pub nacked: u64,
    /// Mandatory publishes that came back.
    pub returned: u64,
    /// Time during which the broker announced, by `connection.blocked`, that it reads no more;
    /// `None` if it never did.
    pub blocked: Option<Duration>,
    /// Time from sending the first message of each write to its confirm or commit, in nanoseconds,
    /// within the measured interval; `None` without either.
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
        self.returned += other.returned;
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

/// How a connection publishes.
#[derive(Clone, Copy, Debug)]
pub struct Publishing {
    /// How the broker says that it has the messages.
    pub settling: Settling,
    /// Channels that batches go to in turn, one at least.
    pub channels: u16,
    /// Messages per second at most.
    pub rate: Option<u32>,
}

/// How the broker says that it has messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Not at all.
    Never,
    /// By confirms, with so many messages unconfirmed at most on each channel.
    Confirm(u32),
    /// By transactions of so many messages.
    Transaction(u32),
}

impl Default for Publishing {
    /// One channel, without confirms, as fast as can be.
    fn default() -> Self {
        Self { settling: Settling::Never, channels: 1, rate: None }
    }
}

/// A connection that is ready to publish.
pub struct Producer {
    link: Link,
    batch: Batch,
    rate: Option<u32>,
}

/// The connection of a producer with what the broker has said on it.
struct Link {
    connection: Connection,
    /// The channels, from [`CHANNEL`] on.
    lanes: Vec<Lane>,
    /// The channel whose turn it is to publish.
    turn: usize,
    confirm_latency: Histogram<u64>,
    blocked: Blocked,
    /// Messages that have come back.
    returned: u64,
}

/// One channel of a producer.
struct Lane {
    channel: u16,
    settling: Settling,
    /// Messages that are not settled; nothing is noted here where they never are.
    confirms: Confirms,
    /// Tag of the first message of each write that is not settled yet, and when it was sent.
    timed: VecDeque<(u64, u64)>,
    /// Whether a commit has been sent that is not answered yet.
    committing: bool,
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
    /// Connects, opens channels in their mode and encodes a batch of `message`.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached or refuses.
    pub fn prepare(
        uri: &AmqpUri,
        message: &Message,
        publishing: Publishing,
        number: u16,
    ) -> Result<Self, PerfError> {
        let Publishing { settling, channels, rate } = publishing;
        let mut connection = Connection::open(uri, &format!("leveret perf producer {number}"))?;
        let mut lanes = Vec::new();
        for channel in CHANNEL..=channels {
            if channel != CHANNEL {
                connection.open_channel_number(channel)?;
            }
            settling.select(&mut connection, channel)?;
            lanes.push(Lane::new(channel, settling));
        }
        let batch = Batch::new(message, connection.frame_max)?;
        let confirm_latency = deliveries::histogram()?;
        let blocked = Blocked::default();
        let link = Link { connection, lanes, turn: 0, confirm_latency, blocked, returned: 0 };
        Ok(Self { link, batch, rate })
    }

    /// Publishes until told to stop, keeping the number of messages in `published`.
    ///
    /// # Errors
    ///
    /// When the broker closes the connection or channel.
    pub fn run(self, shared: &Shared, published: &Counter) -> Result<Outcome, PerfError> {
        let Self { mut link, mut batch, rate } = self;
        let mut total = 0;
        let mut looked = shared.now();
        let mut pace = rate.map(|rate| Pace::new(rate, looked));
        let mut whole = true;
        while whole && !shared.stop_producers.load(Ordering::Relaxed) {
            let Some(lane) = link.next_lane() else {
                link.wait_for_input(shared)?;
                continue;
            };
            let now = shared.now();
            let due = pace.as_mut().map_or(usize::MAX, |pace| pace.due(now));
            if let Some(pace) = &pace
                && due == 0
            {
                link.wait_for_input_until(pace.wait(now), shared)?;
                continue;
            }
            let (sent, count) = link.publish(lane, due, &mut batch, shared, now)?;
            whole = sent;
            if whole {
                total += count as u64;
                published.set(total);
            }
            if let Some(pace) = &mut pace {
                pace.sent(count);
            }
            if now - looked > LOOK_INTERVAL {
                looked = now;
                link.look(shared)?;
            }
        }
        link.finish(whole, shared)
    }

    /// Publishes `messages` and waits until the broker has confirmed or refused all of them, or
    /// until told to stop, keeping their number in `settled`. Needs a window.
    ///
    /// # Errors
    ///
    /// As [`Producer::run`].
    pub fn fill(self, messages: u64, shared: &Shared, settled: &Counter) -> Result<Outcome, PerfError> {
        let Self { mut link, mut batch, .. } = self;
        let mut left = messages;
        let mut looked = shared.now();
        let mut whole = true;
        while whole && settled.get() < messages && !shared.stop_producers.load(Ordering::Relaxed) {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let lane = if most == 0 { None } else { link.next_lane() };
            let now = shared.now();
            if let Some(lane) = lane {
                let (sent, count) = link.publish(lane, most, &mut batch, shared, now)?;
                whole = sent;
                left -= count as u64;
            } else {
                link.wait_for_input(shared)?;
            }
            if now - looked > LOOK_INTERVAL {
                looked = now;
                link.look(shared)?;
            }
            settled.set(link.lanes.iter().map(|lane| lane.confirms.acked + lane.confirms.nacked).sum());
        }
        link.finish(whole, shared)
    }
}

impl Settling {
    /// Switches a channel to this mode.
    fn select(self, connection: &mut Connection, channel: u16) -> Result<(), PerfError> {
        match self {
            Self::Never => return Ok(()),
            Self::Confirm(_) => {
                let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
                connection.call(channel, AMQPClass::Confirm(select), "confirm.select", |answer| {
                    matches!(answer, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)))
                })?;
            }
            Self::Transaction(_) => {
                let select = AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}));
                connection.call(channel, select, "tx.select", |answer| {
                    matches!(answer, AMQPClass::Tx(tx::AMQPMethod::SelectOk(_)))
                })?;
            }
        }
        Ok(())
    }
}

impl Lane {
    fn new(channel: u16, settling: Settling) -> Self {
        let limit = match settling {
            Settling::Never => u32::MAX,
            Settling::Confirm(limit) | Settling::Transaction(limit) => limit,
        };
        Self {
            channel,
            settling,
            confirms: Confirms::new(limit),
            timed: VecDeque::new(),
            committing: false,
            paused: false,
            owes_flow_ok: false,
        }
    }

    /// How many messages may be published now.
    fn room(&self) -> usize {
        match self.settling {
            _ if self.paused || self.committing => 0,
            Settling::Never => usize::MAX,
            Settling::Confirm(_) | Settling::Transaction(_) => self.confirms.room(),
        }
    }

    /// Notes that `count` messages have been written, at `now`.
    fn published(&mut self, count: usize, now: u64) {
        if self.settling != Settling::Never {
            self.timed.push_back((self.confirms.next(), now));
            self.confirms.published(count);
        }
    }

    /// Starts a commit if it is time to, or if there is anything to commit at all and this is the
    /// `last` one; the frame to send, then.
    fn commit(&mut self, last: bool) -> Option<Vec<u8>> {
        let open = self.confirms.outstanding() > 0 && (last || self.confirms.room() == 0);
        if self.committing || !open || !matches!(self.settling, Settling::Transaction(_)) {
            return None;
        }
        self.committing = true;
        let mut frame = Vec::new();
        wire::push_method(&mut frame, self.channel, wire::TX_COMMIT, &[]);
        Some(frame)
    }

    /// Takes a method payload if it says that messages are settled; false if it does not.
    fn settle(&mut self, payload: &[u8]) -> bool {
        match self.settling {
            Settling::Never => false,
            Settling::Confirm(_) => self.confirms.apply(payload),
            Settling::Transaction(_) => {
                let committed = payload == wire::TX_COMMIT_OK;
                if committed {
                    self.committing = false;
                    self.confirms.commit();
                }
                committed
            }
        }
    }
}

impl Link {
    /// The next channel in turn that takes messages now.
    fn next_lane(&mut self) -> Option<usize> {
        for _ in 0..self.lanes.len() {
            let lane = self.turn;
            self.turn = (lane + 1) % self.lanes.len();
            if self.lanes[lane].room() > 0 {
                return Some(lane);
            }
        }
        None
    }

    /// Publishes on one channel what it has room for, at most `most` messages, at `now`, and
    /// commits if it is time to; false when the broker has stopped reading and the run is over.
    fn publish(
        &mut self,
        lane: usize,
        most: usize,
        batch: &mut Batch,
        shared: &Shared,
        now: u64,
    ) -> Result<(bool, usize), PerfError> {
        let (count, bytes) = batch.take(most.min(self.lanes[lane].room()), now);
        if self.lanes.len() > 1 {
            wire::readdress(bytes, self.lanes[lane].channel);
        }
        let mut whole = self.write(bytes, shared)?;
        if whole {
            self.lanes[lane].published(count, now);
            if let Some(frame) = self.lanes[lane].commit(false) {
                whole = self.write(&frame, shared)?;
            }
        }
        Ok((whole, count))
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

    /// The same, waiting for `time` at most.
    fn wait_for_input_until(&mut self, time: Duration, shared: &Shared) -> Result<(), PerfError> {
        if self.connection.read_within(time)? {
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
            let lane = usize::from(frame.channel).checked_sub(CHANNEL.into());
            let mut lane = lane.and_then(|lane| self.lanes.get_mut(lane));
            if lane.as_mut().is_some_and(|lane| lane.settle(frame.payload)) {
                continue;
            }
            if frame.payload.starts_with(&wire::BASIC_RETURN) {
                self.returned += 1;
                continue;
            }
            let method = conn::parse_method(frame.payload)?;
            if let Some(error) = conn::closed(&method) {
                return Err(error);
            }
            match (method, lane) {
                (AMQPClass::Connection(connection::AMQPMethod::Blocked(_)), _) => self.blocked.begin(),
                (AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)), _) => self.blocked.end(),
                (AMQPClass::Channel(channel::AMQPMethod::Flow(flow)), Some(lane)) => {
                    lane.paused = !flow.active;
                    lane.owes_flow_ok = true;
                }
                _ => {}
            }
        }
        self.note_settled(shared, now);
        Ok(())
    }

    /// Takes the times of all messages that were settled at `now`.
    fn note_settled(&mut self, shared: &Shared, now: u64) {
        for lane in &mut self.lanes {
            while let Some(&(tag, sent)) = lane.timed.front()
                && tag < lane.confirms.oldest()
            {
                lane.timed.pop_front();
                if shared.measures(sent) {
                    self.confirm_latency.saturating_record(now.saturating_sub(sent));
                }
            }
        }
    }

    /// Answers `channel.flow`, which is only possible between messages.
    fn answer_flow(&mut self) -> Result<(), PerfError> {
        for lane in &mut self.lanes {
            if std::mem::take(&mut lane.owes_flow_ok) {
                let answer = channel::FlowOk { active: !lane.paused };
                let answer = AMQPClass::Channel(channel::AMQPMethod::FlowOk(answer));
                self.connection.send(lane.channel, answer)?;
            }
        }
        Ok(())
    }

    /// Commits what is left, waits for what is not settled and closes the connection; `whole`
    /// tells whether the last message has been written completely, without which nothing more can
    /// be sent.
    fn finish(mut self, mut whole: bool, shared: &Shared) -> Result<Outcome, PerfError> {
        if whole {
            let commits: Vec<u8> =
                self.lanes.iter_mut().filter_map(|lane| lane.commit(true)).flatten().collect();
            whole = self.write(&commits, shared)?;
        }
        let deadline = Instant::now() + SETTLE_GRACE;
        let open = |link: &Self| link.lanes.iter().any(|lane| lane.confirms.outstanding() > 0);
        while open(&self) && Instant::now() < deadline && self.wait_for_input(shared).is_ok() {}
        self.blocked.end();
        let sum = |count: fn(&Confirms) -> u64| self.lanes.iter().map(|lane| count(&lane.confirms)).sum();
        let settles = self.lanes.iter().any(|lane| lane.settling != Settling::Never);
        let outcome = Outcome {
            confirmed: sum(|confirms| confirms.acked),
            nacked: sum(|confirms| confirms.nacked),
            returned: self.returned,
            blocked: self.blocked.before,
            confirm_latency: settles.then_some(self.confirm_latency),
        };
        if whole {
            self.connection.close();
        }
        Ok(outcome)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_committed_when_it_is_full_or_the_run_ends() {
        let mut lane = Lane::new(3, Settling::Transaction(10));
        assert_eq!((lane.room(), lane.commit(true)), (10, None), "nothing to commit");
        lane.published(4, 100);
        assert_eq!((lane.room(), lane.commit(false)), (6, None));
        lane.published(6, 200);
        let commit = [1, 0, 3, 0, 0, 0, 4, 0, 90, 0, 20, 0xce];
        assert_eq!(lane.commit(false).as_deref(), Some(&commit[..]));
        assert_eq!((lane.room(), lane.commit(true)), (0, None), "only once");
        assert!(!lane.settle(&[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 10, 1]));
        assert!(lane.settle(&wire::TX_COMMIT_OK));
        assert_eq!((lane.room(), lane.confirms.acked), (10, 10));
        lane.published(1, 300);
        assert!(lane.commit(true).is_some());
    }

    #[test]
    fn only_channels_with_something_open_commit_or_wait() {
        let mut plain = Lane::new(1, Settling::Never);
        plain.published(usize::MAX, 0);
        assert_eq!((plain.room(), plain.commit(true)), (usize::MAX, None));
        let mut confirming = Lane::new(1, Settling::Confirm(2));
        confirming.published(2, 0);
        assert_eq!((confirming.room(), confirming.commit(true)), (0, None));
        assert!(confirming.settle(&[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 2, 0]));
        assert_eq!(confirming.room(), 1);
        confirming.paused = true;
        assert_eq!(confirming.room(), 0);
    }
}
