//! The reading half of a publishing connection: confirms and bad news.

use std::{collections::VecDeque, io, sync::atomic::Ordering};

use hdrhistogram::Histogram;

use super::{
    super::{
        conn::{self, Connection},
        deliveries,
        error::PerfError,
        shared::Counter,
        wire::{self, BASIC_ACK, BASIC_NACK},
    },
    Crew,
    schedule::Schedule,
};

/// Whoever reads what the broker answers to a producer.
pub struct Answers {
    connection: Connection,
    schedule: Schedule,
    /// Where confirms were asked for, which of them have come.
    tags: Option<Tags>,
    confirmed: Confirmed,
}

/// What the broker has confirmed.
#[derive(Debug)]
pub struct Confirmed {
    /// Time from when messages of the measured interval were due to their confirms, in nanoseconds.
    pub latency: Histogram<u64>,
    pub acked: u64,
    pub nacked: u64,
}

impl Confirmed {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// Never in practice; see [`deliveries::histogram`].
    pub fn new() -> Result<Self, PerfError> {
        Ok(Self { latency: deliveries::histogram()?, acked: 0, nacked: 0 })
    }
}

impl Answers {
    /// Of a connection whose messages go out by this schedule.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn new(connection: Connection, schedule: Schedule, confirm: bool) -> Result<Self, PerfError> {
        let tags = confirm.then(Tags::default);
        Ok(Self { connection, schedule, tags, confirmed: Confirmed::new()? })
    }

    /// Reads until the run ends, and keeps the number of messages that were answered in `settled`.
    ///
    /// # Errors
    ///
    /// When the broker closes the channel or the connection.
    pub fn run(mut self, crew: &Crew, settled: &Counter) -> Result<Confirmed, PerfError> {
        while !crew.shared.stop_consumers.load(Ordering::Relaxed) {
            if !self.connection.read_some()? && crew.failing.load(Ordering::Relaxed) {
                let error = io::Error::from(io::ErrorKind::BrokenPipe);
                return Err(self.connection.explain(error));
            }
            let now = crew.shared.now();
            while let Some(frame) = self.connection.input.next_frame()? {
                if frame.kind != wire::METHOD {
                    continue;
                }
                if let Some(answer) = Answer::read(frame.payload)
                    && let Some(tags) = &mut self.tags
                {
                    let (schedule, confirmed) = (&self.schedule, &mut self.confirmed);
                    tags.settle(answer.tag, answer.multiple, |tag| {
                        confirmed.settle(schedule.at(tag - 1), now, answer.accepted, crew);
                    });
                } else if let Some(error) = conn::closed(&conn::parse_method(frame.payload)?) {
                    return Err(error);
                }
            }
            settled.set(self.confirmed.acked + self.confirmed.nacked);
        }
        self.connection.close();
        Ok(self.confirmed)
    }
}

impl Confirmed {
    /// Counts the answer to a message that was due at `due`.
    fn settle(&mut self, due: u64, now: u64, accepted: bool, crew: &Crew) {
        if !accepted {
            self.nacked += 1;
            return;
        }
        self.acked += 1;
        if crew.plan.measures(due) {
            self.latency.saturating_record(now.saturating_sub(due));
        }
    }
}

/// A `basic.ack` or `basic.nack`.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    tag: u64,
    multiple: bool,
    accepted: bool,
}

impl Answer {
    /// The answer in the payload of a method frame, if it is one.
    fn read(payload: &[u8]) -> Option<Self> {
        let (&id, rest) = payload.split_first_chunk::<4>()?;
        if id != BASIC_ACK && id != BASIC_NACK {
            return None;
        }
        let (&tag, flags) = rest.split_first_chunk()?;
        let multiple = flags.first()? & 1 != 0;
        Some(Self { tag: u64::from_be_bytes(tag), multiple, accepted: id == BASIC_ACK })
    }
}

/// Which messages have been answered; brokers may do so in any order.
#[derive(Debug, Default)]
struct Tags {
    /// Messages before all in `settled`.
    done: u64,
    /// Whether each of the next ones has been answered, as far as answers have come.
    settled: VecDeque<bool>,
}

impl Tags {
    /// Notes an answer to a tag, or to all up to it, and tells `each` the tags it settles.
    fn settle(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(u64)) {
        let Some(place) = tag.checked_sub(self.done + 1).and_then(|place| usize::try_from(place).ok()) else {
            return;
        };
        if self.settled.len() <= place {
            self.settled.resize(place + 1, false);
        }
        let first = if multiple { 0 } else { place };
        for (tag, settled) in (self.done + 1..).zip(&mut self.settled).take(place + 1).skip(first) {
            if !std::mem::replace(settled, true) {
                each(tag);
            }
        }
        while self.settled.front() == Some(&true) {
            self.settled.pop_front();
            self.done += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(tags: &mut Tags, tag: u64, multiple: bool) -> Vec<u64> {
        let mut found = Vec::new();
        tags.settle(tag, multiple, |tag| found.push(tag));
        found
    }

    #[test]
    fn each_tag_is_settled_once() {
        let mut tags = Tags::default();
        assert_eq!(settled(&mut tags, 1, false), [1]);
        assert_eq!(settled(&mut tags, 4, false), [4]);
        assert_eq!(settled(&mut tags, 3, true), [2, 3]);
        assert_eq!((tags.done, tags.settled.len()), (4, 0));
        assert_eq!(settled(&mut tags, 3, true), [0_u64; 0]);
        assert_eq!(settled(&mut tags, 4, false), [0_u64; 0]);
        assert_eq!(settled(&mut tags, 7, true), [5, 6, 7]);
        assert_eq!(settled(&mut tags, 0, false), [0_u64; 0]);
    }

    #[test]
    fn confirms_are_read_and_nothing_else() {
        let ack = [&BASIC_ACK[..], &7_u64.to_be_bytes(), &[1]].concat();
        assert_eq!(Answer::read(&ack), Some(Answer { tag: 7, multiple: true, accepted: true }));
        let nack = [&BASIC_NACK[..], &8_u64.to_be_bytes(), &[2]].concat();
        assert_eq!(Answer::read(&nack), Some(Answer { tag: 8, multiple: false, accepted: false }));
        assert_eq!(Answer::read(&ack[..12]), None);
        assert_eq!(Answer::read(&[0, 60, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
