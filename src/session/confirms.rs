//! Confirms that wait for a commit, channel by channel. They lie beside the outboxes, so that the one who announces a
//! commit turns them into frames, and no connection has to be woken for it.

use std::collections::{BTreeMap, VecDeque};

use crate::broker::commit::Commit;
use crate::wire::method;

/// Of more channels than this, those on which nothing waits are forgotten.
const IDLE_MAX: usize = 16;

/// What a channel in confirm mode has published since it was last asked, by the messages' sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The last message before these.
    pub before: u64,
    /// Those up to here wait for nothing.
    pub clear: u64,
    /// The last of them.
    pub last: u64,
    /// What those after `clear` wait for, if there are any.
    pub commit: Option<Commit>,
}

/// The confirms that wait on one connection.
#[derive(Debug, Default)]
pub struct Unconfirmed {
    /// In the order of their numbers, so that frames come in an order that can be told beforehand. Where they are few a
    /// channel stays here when nothing waits on it, since that is so after nearly every commit.
    channels: BTreeMap<u16, Waiting>,
    /// On how many of them something waits.
    count: usize,
}

/// The confirms that wait on one channel.
#[derive(Debug, Default)]
struct Waiting {
    /// The last message that is not among them.
    confirmed: u64,
    /// The last message of each run that waits for the same commit, and that commit. Both grow.
    runs: VecDeque<(u64, Commit)>,
}

impl Unconfirmed {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The commit that all that waits is confirmed with.
    pub fn last(&self) -> Option<Commit> {
        self.channels.values().filter_map(|waiting| Some(waiting.runs.back()?.1)).max()
    }

    /// How many messages of a channel wait.
    pub fn waiting(&self, channel: u16) -> u64 {
        let waiting = self.channels.get(&channel);
        waiting.and_then(|w| Some(w.runs.back()?.0 - w.confirmed)).unwrap_or(0)
    }

    /// Confirms what waits neither for a commit nor for earlier messages of its channel; the rest will wait, or is
    /// refused where nothing is committed any more. Says how many are confirmed.
    pub fn add(&mut self, channel: u16, published: Published, broken: bool, out: &mut Vec<u8>) -> u64 {
        let Published { before, clear, last, commit } = published;
        if let Some(waiting) = self.channels.get_mut(&channel).filter(|waiting| !waiting.runs.is_empty()) {
            waiting.add(clear, last, commit);
            return 0;
        }
        if clear > before {
            method::put_ack(out, channel, clear, clear - before > 1);
        }
        match commit {
            Some(_) if broken => method::put_nack(out, channel, last, last - clear > 1),
            Some(commit) => {
                let waiting = self.channels.entry(channel).or_default();
                waiting.confirmed = clear;
                waiting.runs.push_back((last, commit));
                self.count += 1;
            }
            None => {}
        }
        clear - before
    }

    /// Refuses one message. As in RabbitMQ, with `multiple` where nothing before it waits.
    pub fn refuse_one(&mut self, channel: u16, number: u64, out: &mut Vec<u8>) {
        let waits = self.channels.get(&channel).is_some_and(|waiting| !waiting.runs.is_empty());
        method::put_nack(out, channel, number, !waits);
    }

    /// Confirms what waits for a commit or for one before it: one frame a channel. Says how many messages that are.
    pub fn confirm(&mut self, commit: Commit, out: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        for (channel, waiting) in &mut self.channels {
            if let Some(last) = waiting.take(commit) {
                method::put_ack(out, *channel, last, last - waiting.confirmed > 1);
                count += last - waiting.confirmed;
                waiting.confirmed = last;
                self.count -= usize::from(waiting.runs.is_empty());
            }
        }
        if self.channels.len() > IDLE_MAX {
            self.channels.retain(|_, waiting| !waiting.runs.is_empty());
        }
        count
    }

    /// Refuses everything that waits: one frame a channel.
    pub fn refuse(&mut self, out: &mut Vec<u8>) {
        self.count = 0;
        for (channel, mut waiting) in std::mem::take(&mut self.channels) {
            if let Some(last) = waiting.take(Commit::MAX) {
                method::put_nack(out, channel, last, last - waiting.confirmed > 1);
            }
        }
    }

    /// A channel has ended.
    pub fn forget(&mut self, channel: u16) {
        let gone = self.channels.remove(&channel);
        self.count -= usize::from(gone.is_some_and(|waiting| !waiting.runs.is_empty()));
    }

    pub fn forget_all(&mut self) {
        *self = Self::default();
    }
}

impl Waiting {
    /// Adds messages behind those that wait already. Those up to `clear` wait for nothing else.
    fn add(&mut self, clear: u64, last: u64, commit: Option<Commit>) {
        let Some((end, latest)) = self.runs.back_mut() else { return };
        *end = clear.max(*end);
        match commit {
            Some(commit) if commit > *latest => self.runs.push_back((last, commit)),
            _ => *end = last,
        }
    }

    /// Takes what waits for a commit or for one before it, and says which message is the last of it.
    fn take(&mut self, commit: Commit) -> Option<u64> {
        let count = self.runs.partition_point(|(_, run)| *run <= commit);
        self.runs.drain(..count).next_back().map(|(last, _)| last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Confirms in the form `channel+number` and `channel-number`, with `*` for multiple.
    fn shown(out: &mut Vec<u8>) -> String {
        let frames: Vec<_> = std::mem::take(out).chunks(21).map(show).collect();
        frames.join(" ")
    }

    fn show(frame: &[u8]) -> String {
        let number = u64::from_be_bytes(frame[11..19].try_into().expect("eight octets"));
        let sign = match frame[7..11] {
            [0, 60, 0, 80] => '+',
            [0, 60, 0, 120] => '-',
            _ => panic!("neither ack nor nack: {frame:?}"),
        };
        assert_eq!(frame[19] & !1, if sign == '-' { 2 } else { 0 }, "requeue in nacks only: {frame:?}");
        format!("{}{sign}{number}{}", frame[2], if frame[19] & 1 == 1 { "*" } else { "" })
    }

    fn published(before: u64, clear: u64, last: u64, commit: Commit) -> Published {
        Published { before, clear, last, commit: (commit > 0).then_some(commit) }
    }

    #[test]
    fn each_commit_confirms_what_waited_for_it_in_one_frame_a_channel() {
        let (mut all, mut out) = (Unconfirmed::default(), Vec::new());
        all.add(1, published(0, 2, 5, 7), false, &mut out);
        all.add(2, published(0, 1, 2, 7), false, &mut out);
        assert_eq!(shown(&mut out), "1+2* 2+1", "what waits for nothing");
        all.add(1, published(5, 5, 6, 7), false, &mut out);
        assert_eq!(all.channels[&1].runs.len(), 1, "neighbours of one commit are one entry");
        all.add(1, published(6, 6, 8, 8), false, &mut out);
        all.add(1, published(8, 8, 9, 9), false, &mut out);
        assert_eq!(shown(&mut out), "");
        assert_eq!((all.waiting(1), all.waiting(2), all.waiting(3)), (7, 1, 0));
        assert_eq!(all.confirm(6, &mut out), 0);
        assert_eq!(shown(&mut out), "");
        assert_eq!(all.confirm(7, &mut out), 5);
        assert_eq!(shown(&mut out), "1+6* 2+2");
        assert_eq!((all.waiting(1), all.waiting(2)), (3, 0));
        assert_eq!(all.confirm(9, &mut out), 3);
        assert_eq!(shown(&mut out), "1+9*", "two commits at once");
        assert!(all.is_empty());
    }

    #[test]
    fn what_needs_no_commit_waits_behind_what_does() {
        let (mut all, mut out) = (Unconfirmed::default(), Vec::new());
        all.add(1, published(0, 0, 1, 3), false, &mut out);
        all.add(1, published(1, 4, 4, 0), false, &mut out);
        all.add(1, published(4, 6, 7, 4), false, &mut out);
        assert_eq!(all.channels[&1].runs, [(6, 3), (7, 4)]);
        // Other channels do not wait for this one.
        all.add(2, published(10, 11, 11, 0), false, &mut out);
        assert_eq!(shown(&mut out), "2+11");
        all.confirm(3, &mut out);
        assert_eq!(shown(&mut out), "1+6*");
        all.confirm(4, &mut out);
        assert_eq!(shown(&mut out), "1+7");
        all.add(1, published(7, 9, 9, 0), false, &mut out);
        assert_eq!(shown(&mut out), "1+9*", "nothing waits any more");
    }

    #[test]
    fn what_cannot_be_committed_is_refused() {
        let (mut all, mut out) = (Unconfirmed::default(), Vec::new());
        all.add(1, published(0, 1, 2, 5), false, &mut out);
        all.add(1, published(2, 2, 3, 6), false, &mut out);
        all.add(2, published(0, 0, 1, 6), false, &mut out);
        all.confirm(4, &mut out);
        assert_eq!(shown(&mut out), "1+1");
        all.refuse(&mut out);
        assert_eq!(shown(&mut out), "1-3* 2-1");
        assert!(all.is_empty());
        all.add(1, published(3, 5, 7, 6), true, &mut out);
        all.add(2, published(1, 1, 2, 6), true, &mut out);
        assert_eq!(shown(&mut out), "1+5* 1-7* 2-2");
        assert!(all.is_empty());
    }

    #[test]
    fn one_that_is_refused_overtakes_those_that_wait() {
        let (mut all, mut out) = (Unconfirmed::default(), Vec::new());
        all.refuse_one(1, 1, &mut out);
        all.add(1, published(1, 1, 2, 5), false, &mut out);
        all.refuse_one(1, 3, &mut out);
        all.refuse_one(2, 1, &mut out);
        assert_eq!(shown(&mut out), "1-1* 1-3 2-1*");
        all.add(1, published(3, 4, 4, 0), false, &mut out);
        all.confirm(5, &mut out);
        assert_eq!(shown(&mut out), "1+4*");
    }

    #[test]
    fn channels_on_which_nothing_waits_are_remembered_while_they_are_few() {
        let (mut all, mut out) = (Unconfirmed::default(), Vec::new());
        for commit in 1..4 {
            let before = commit - 1;
            all.add(1, published(before, before, commit, commit), false, &mut out);
            assert!(!all.is_empty());
            all.confirm(commit, &mut out);
            assert!(all.is_empty() && all.channels.len() == 1);
        }
        assert_eq!(shown(&mut out), "1+1 1+2 1+3");
        for channel in 2..=40 {
            all.add(channel, published(0, 0, 1, 5), false, &mut out);
        }
        all.add(40, published(1, 1, 2, 6), false, &mut out);
        all.confirm(5, &mut out);
        assert_eq!((all.is_empty(), all.channels.len()), (false, 1));
        all.forget(40);
        assert!(all.is_empty());
    }

    #[test]
    fn a_channel_that_ends_is_forgotten() {
        let (mut all, mut out) = (Unconfirmed::default(), Vec::new());
        all.add(1, published(0, 0, 1, 1), false, &mut out);
        all.add(2, published(0, 0, 1, 1), false, &mut out);
        all.forget(1);
        all.confirm(1, &mut out);
        assert_eq!(shown(&mut out), "2+1");
    }
}
