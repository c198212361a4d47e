//! Which publishes of a channel in confirm mode are still unconfirmed.

use std::collections::VecDeque;

use super::wire::{BASIC_ACK, BASIC_NACK};

/// Publishes awaiting confirmation, by delivery tag; brokers may confirm out of order.
#[derive(Debug)]
pub struct Confirms {
    limit: usize,
    /// Tag of the front of `settled`.
    base: u64,
    /// For every publish from `base` on, whether it has been settled.
    settled: VecDeque<bool>,
    outstanding: usize,
    /// Publishes that the broker refused.
    pub nacked: u64,
    /// Publishes that the broker accepted.
    pub acked: u64,
}

impl Confirms {
    /// Nothing published yet, and at most `limit` publishes unconfirmed at a time.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit as usize, base: 1, settled: VecDeque::new(), outstanding: 0, nacked: 0, acked: 0 }
    }

    /// How many messages may be published now.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.outstanding)
    }

    /// Tag of the oldest publish that is unconfirmed, or else of the next one.
    pub fn oldest(&self) -> u64 {
        self.base
    }

    /// Tag of the next publish.
    pub fn next(&self) -> u64 {
        self.base + self.settled.len() as u64
    }

    /// How many publishes are unconfirmed.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Notes that `count` more messages are published.
    pub fn published(&mut self, count: usize) {
        self.settled.resize(self.settled.len() + count, false);
        self.outstanding += count;
    }

    /// Applies a method payload if it is `basic.ack` or `basic.nack`; false if it is not.
    pub fn apply(&mut self, payload: &[u8]) -> bool {
        let Some((&ids, rest)) = payload.split_first_chunk::<4>() else {
            return false;
        };
        let accepted = ids == BASIC_ACK;
        if !accepted && ids != BASIC_NACK {
            return false;
        }
        let Some((tag, [flags, ..])) = rest.split_first_chunk() else {
            return false;
        };
        let count = self.settle(u64::from_be_bytes(*tag), flags & 1 != 0);
        if accepted {
            self.acked += count;
        } else {
            self.nacked += count;
        }
        true
    }

    /// Takes the answer to a commit: everything published has been accepted.
    pub fn commit(&mut self) {
        self.acked += self.settle(0, true);
    }

    /// Settles one tag, or with `multiple` all tags up to it (all of them for tag 0), and returns
    /// how many were settled. Tags that are not outstanding are ignored.
    fn settle(&mut self, tag: u64, multiple: bool) -> u64 {
        let before = self.outstanding;
        let last = match tag {
            0 if multiple => self.settled.len().checked_sub(1),
            tag => tag.checked_sub(self.base).and_then(|index| usize::try_from(index).ok()),
        };
        let Some(last) = last.filter(|&index| index < self.settled.len()) else {
            return 0;
        };
        if multiple {
            let open = self.settled.drain(..=last).filter(|done| !done).count();
            self.base += last as u64 + 1;
            self.outstanding -= open;
        } else if let Some(done) = self.settled.get_mut(last)
            && !*done
        {
            *done = true;
            self.outstanding -= 1;
        }
        while self.settled.front() == Some(&true) {
            self.settled.pop_front();
            self.base += 1;
        }
        (before - self.outstanding) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(ids: [u8; 4], tag: u64, flags: u8) -> Vec<u8> {
        [&ids[..], &tag.to_be_bytes(), &[flags]].concat()
    }

    #[test]
    fn confirms_in_any_order_free_the_window() {
        let mut confirms = Confirms::new(10);
        confirms.published(10);
        assert_eq!(confirms.room(), 0);
        assert_eq!(confirms.settle(3, false), 1);
        assert_eq!(confirms.settle(3, false), 0);
        assert_eq!(confirms.settle(5, true), 4);
        assert_eq!((confirms.room(), confirms.oldest(), confirms.next()), (5, 6, 11));
        assert_eq!(confirms.settle(7, false), 1);
        assert_eq!(confirms.settle(6, false), 1);
        assert_eq!(confirms.base, 8);
        assert_eq!(confirms.settle(0, true), 3);
        assert_eq!((confirms.outstanding(), confirms.oldest(), confirms.next()), (0, 11, 11));
        confirms.published(1);
        assert_eq!(confirms.settle(11, true), 1);
    }

    #[test]
    fn a_commit_settles_everything() {
        let mut confirms = Confirms::new(3);
        confirms.commit();
        confirms.published(3);
        assert_eq!((confirms.room(), confirms.acked), (0, 0));
        confirms.commit();
        assert_eq!((confirms.room(), confirms.acked, confirms.oldest()), (3, 3, 4));
    }

    #[test]
    fn unknown_tags_change_nothing() {
        let mut confirms = Confirms::new(5);
        assert_eq!(confirms.settle(0, true), 0);
        confirms.published(2);
        assert_eq!(confirms.settle(0, false), 0);
        assert_eq!(confirms.settle(3, true), 0);
        assert_eq!(confirms.settle(u64::MAX, false), 0);
        assert_eq!(confirms.outstanding(), 2);
    }

    #[test]
    fn only_acks_and_nacks_apply() {
        let mut confirms = Confirms::new(5);
        confirms.published(5);
        assert!(confirms.apply(&payload(BASIC_ACK, 3, 1)));
        assert!(confirms.apply(&payload(BASIC_NACK, 4, 2)));
        assert!(!confirms.apply(&payload([0, 60, 0, 50], 5, 0)));
        assert!(!confirms.apply(&[0, 60]));
        assert!(!confirms.apply(&BASIC_ACK));
        assert_eq!((confirms.acked, confirms.nacked, confirms.outstanding()), (3, 1, 1));
    }
}
