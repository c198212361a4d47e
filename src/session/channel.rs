//! One channel's state that its vhost need not know.

use std::sync::Arc;

use super::confirms::Published;
use super::transaction::Transaction;
use crate::auth::limits::Counted;
use crate::broker::commit::Commit;
use crate::broker::counts::Tally;
use crate::broker::publish::{Outcome, RouteCache};
use crate::broker::{ChannelId, ExchangeId, Vhost};

/// How a channel publishes and settles.
#[derive(Debug)]
pub enum Mode {
    Plain,
    Confirm(Confirms),
    Tx(Box<Transaction>),
}

/// The sequence numbers of a channel in confirm mode.
#[derive(Debug, Default)]
pub struct Confirms {
    /// Messages published since `confirm.select`.
    published: u64,
    /// The last of them that has been handed on, to be confirmed.
    flushed: u64,
    /// If some after it wait for a commit, the last one before the first of these.
    clear: u64,
    /// The latest commit that one of them waits for, 0 if none does.
    commit: Commit,
}

impl Confirms {
    fn wait_for(&mut self, commit: Commit) {
        if self.commit == 0 {
            self.clear = self.published - 1;
        }
        self.commit = self.commit.max(commit);
    }

    /// Counts a message that is refused, everything before it having been flushed. Returns its number.
    pub fn count_refused(&mut self) -> u64 {
        self.published += 1;
        self.flushed = self.published;
        self.published
    }

    /// What has been published since the last call. Messages after one that waits wait with it.
    pub fn flush(&mut self) -> Published {
        let (before, last) = (self.flushed, self.published);
        self.flushed = last;
        match std::mem::take(&mut self.commit) {
            0 => Published { before, clear: last, last, commit: None },
            commit => Published { before, clear: self.clear, last, commit: Some(commit) },
        }
    }
}

impl Mode {
    /// Counts a message that is to be confirmed, after a commit where there is one to wait for, unless it was refused.
    /// Says whether it is the first one to be since the last flush.
    pub fn count_publish(&mut self, outcome: Outcome) -> bool {
        let Self::Confirm(confirms) = self else { return false };
        if outcome == Outcome::Refused {
            return false;
        }
        confirms.published += 1;
        if let Outcome::Kept(commit) = outcome {
            confirms.wait_for(commit);
        }
        confirms.published == confirms.flushed + 1
    }
}

#[derive(Debug)]
pub struct Channel {
    pub id: ChannelId,
    /// Closed by the broker; everything but closing is ignored until the client's `close-ok`.
    pub closing: bool,
    pub mode: Mode,
    pub routes: RouteCache,
    pub tally: Tally,
    /// Of the messages in there, those that were refused.
    pub refused: u64,
    /// Whether it is among those that have something to be counted.
    pub tallied: bool,
    /// The queue declared last on this channel, which an empty name means.
    pub last_queue: Option<Arc<str>>,
    /// Its place among the channels of its user, until it is closed by either side.
    pub counted: Option<Counted>,
}

impl Channel {
    pub fn new(id: ChannelId) -> Self {
        Self {
            id,
            closing: false,
            mode: Mode::Plain,
            routes: RouteCache::default(),
            tally: Tally::default(),
            refused: 0,
            tallied: false,
            last_queue: None,
            counted: None,
        }
    }

    /// Notes a message to an exchange which has led to so many queues, to be counted later. Says whether the channel has
    /// to be put among those that have something to be counted.
    #[inline]
    pub fn note_published(&mut self, exchange: ExchangeId, queues: usize, vhost: &mut Vhost) -> bool {
        if self.tally.exchange != exchange {
            self.count(vhost);
            self.tally.exchange = exchange;
        }
        self.tally.passed.publish_in += 1;
        self.tally.passed.publish_out += queues as u64;
        !std::mem::replace(&mut self.tallied, true)
    }

    /// Notes that a message has led nowhere.
    pub fn note_unroutable(&mut self, returned: bool) {
        if returned {
            self.tally.return_unroutable += 1;
        } else {
            self.tally.drop_unroutable += 1;
        }
    }

    /// Counts what has been noted.
    pub fn count(&mut self, vhost: &mut Vhost) {
        if self.tally.passed.publish_in > 0 {
            let refused = std::mem::take(&mut self.refused);
            if matches!(self.mode, Mode::Confirm(_)) {
                self.tally.confirm = self.tally.passed.publish_in - refused;
            }
            vhost.count_published(self.id, &self.tally);
            self.tally = Tally { exchange: self.tally.exchange, ..Tally::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_up_to_the_first_that_waits() {
        let mut mode = Mode::Confirm(Confirms::default());
        let mut publish = |commits: &[Option<Commit>]| {
            let outcomes = commits.iter().map(|commit| commit.map_or(Outcome::Done, Outcome::Kept));
            let first: Vec<_> = outcomes.map(|outcome| mode.count_publish(outcome)).collect();
            let Mode::Confirm(confirms) = &mut mode else { panic!("another mode") };
            (first, confirms.flush())
        };
        let (first, flushed) = publish(&[None, None]);
        assert_eq!(first, [true, false]);
        assert_eq!(flushed, Published { before: 0, clear: 2, last: 2, commit: None });
        let (first, flushed) = publish(&[None, Some(4), None, Some(5), None]);
        assert_eq!(first, [true, false, false, false, false]);
        assert_eq!(flushed, Published { before: 2, clear: 3, last: 7, commit: Some(5) });
        let (first, flushed) = publish(&[None]);
        assert_eq!(first, [true]);
        assert_eq!(flushed, Published { before: 7, clear: 8, last: 8, commit: None });
    }
}
