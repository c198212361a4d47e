//! Connections that are there and do nothing but say that they live.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use super::super::{
    conn::{self, Connection},
    error::PerfError,
    wire,
};

/// A heartbeat frame.
const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, wire::FRAME_END];

/// Many connections, none of which ever waits.
#[derive(Default)]
pub struct Kept {
    connections: Vec<Connection>,
    /// Connections that the broker has closed, and what the first of them was told.
    pub lost: u64,
    pub reason: Option<PerfError>,
}

impl Kept {
    /// Keeps another connection.
    ///
    /// # Errors
    ///
    /// When its socket cannot be told not to wait.
    pub fn add(&mut self, connection: Connection) -> Result<(), PerfError> {
        connection.stream.set_nonblocking(true).map_err(PerfError::Io)?;
        self.connections.push(connection);
        Ok(())
    }

    /// Keeps the connections of another, too.
    pub fn join(&mut self, other: Self) {
        self.connections.extend(other.connections);
        self.lost += other.lost;
        self.reason = self.reason.take().or(other.reason);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Reads what has come for a connection, sends it a heartbeat if `beat`, and drops it if the
    /// broker has closed it. False when it has gone.
    fn attend(&mut self, nth: usize, beat: bool) -> bool {
        let Some(connection) = self.connections.get_mut(nth) else {
            return false;
        };
        let outcome = hear(connection).and_then(|()| if beat { say(connection) } else { Ok(()) });
        if let Err(error) = outcome {
            self.lost += 1;
            self.reason.get_or_insert(error);
            self.connections.swap_remove(nth);
            return false;
        }
        true
    }

    /// Attends to all of them.
    pub fn look(&mut self) {
        for nth in (0..self.connections.len()).rev() {
            self.attend(nth, false);
        }
    }

    /// Closes all of them, and returns how many the broker has let go in order. They are all told
    /// first, so that none is waited for while others could go.
    ///
    /// # Errors
    ///
    /// When a socket cannot be told to wait.
    pub fn close(self) -> Result<u64, PerfError> {
        let mut leaving = Vec::new();
        for mut connection in self.connections {
            connection.stream.set_nonblocking(false).map_err(PerfError::Io)?;
            if connection.say_goodbye().is_ok() {
                leaving.push(connection);
            }
        }
        let gone = leaving.into_iter().map(|mut connection| connection.wait_for_goodbye());
        Ok(gone.filter(Result::is_ok).count() as u64)
    }
}

/// Takes what has come: heartbeats, or bad news.
fn hear(connection: &mut Connection) -> Result<(), PerfError> {
    loop {
        while let Some(frame) = connection.input.next_frame()? {
            if frame.kind == wire::METHOD {
                conn::closed(&conn::parse_method(frame.payload)?).map_or(Ok(()), Err)?;
            }
        }
        if !connection.read_some()? {
            return Ok(());
        }
    }
}

/// Sends a heartbeat. Whoever does not even take that is not talked to: it has not read the last ones.
fn say(connection: &mut Connection) -> Result<(), PerfError> {
    match connection.stream.write(&HEARTBEAT) {
        Ok(count) if count == HEARTBEAT.len() => Ok(()),
        Ok(_) => Err(PerfError::Timeout("heartbeats")),
        Err(error) if conn::is_retry(&error) => Err(PerfError::Timeout("heartbeats")),
        Err(error) => Err(connection.explain(error)),
    }
}

/// Whose turn it is to send a heartbeat: all in one round, evenly spread over its time.
#[derive(Debug)]
pub struct Beats {
    /// How long a round takes; `None` without heartbeats.
    round: Option<Duration>,
    last: Instant,
    /// What is left of a turn, in nanoseconds of all connections together.
    owed: u128,
    next: usize,
}

impl Beats {
    /// For connections whose heartbeats come so many seconds apart, or never for 0. They are sent
    /// twice as often, as the specification asks for.
    pub fn new(heartbeat: u16, now: Instant) -> Self {
        let round = (heartbeat > 0).then(|| Duration::from_secs(heartbeat.into()) / 2);
        Self { round, last: now, owed: 0, next: 0 }
    }

    /// Sends the heartbeats that are due.
    pub fn send(&mut self, kept: &mut Kept, now: Instant) {
        for _ in 0..self.due(kept.len(), now) {
            if self.next >= kept.len() {
                self.next = 0;
            }
            // Where one has gone another has taken its place.
            if kept.attend(self.next, true) {
                self.next += 1;
            }
        }
    }

    /// How many of `count` connections are due.
    fn due(&mut self, count: usize, now: Instant) -> usize {
        let Some(round) = self.round else {
            return 0;
        };
        self.owed += now.saturating_duration_since(self.last).as_nanos() * count as u128;
        self.last = now;
        let turns = self.owed / round.as_nanos();
        self.owed %= round.as_nanos();
        // One that is late has one heartbeat to send, not several.
        usize::try_from(turns).unwrap_or(usize::MAX).min(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_a_frame() {
        let wanted = wire::encode(&amq_protocol::frame::AMQPFrame::Heartbeat).unwrap();
        assert_eq!(HEARTBEAT[..], wanted[..]);
    }

    #[test]
    fn each_has_its_turn_twice_in_the_time_of_a_heartbeat() {
        let start = Instant::now();
        let mut beats = Beats::new(10, start);
        let due: Vec<_> =
            (1..=100).map(|tick| beats.due(70, start + Duration::from_millis(100 * tick))).collect();
        assert_eq!(due.iter().sum::<usize>(), 140);
        assert!(due.iter().all(|&due| due <= 2), "never all at once: {due:?}");
        assert_eq!(beats.due(70, start + Duration::from_secs(60)), 70, "once each, however late");
    }

    #[test]
    fn without_heartbeats_nobody_has_a_turn() {
        let start = Instant::now();
        assert_eq!(Beats::new(0, start).due(1000, start + Duration::from_secs(100)), 0);
    }
}
