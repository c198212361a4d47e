//! Output that has been encoded and not been handed over yet, and gates in it: what is behind a gate stays until the
//! gate's commit is on disk, and so does everything after it, since the order of output never changes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::outbox::Meter;
use crate::broker::commit::Commit;
use crate::wire::content::Sink;

/// Shared bodies below this many octets are copied all the same.
const COPY_BELOW: usize = 8 << 10;
/// A commit that never comes.
const NEVER: Commit = Commit::MAX;

/// Octets in the order they are to be written.
#[derive(Debug)]
pub enum Piece {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Piece {
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Owned(octets) => octets,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Cuts off the first octets.
    fn cut(&mut self, count: usize) -> Self {
        match self {
            Self::Owned(octets) => {
                let rest = octets.split_off(count);
                Self::Owned(std::mem::replace(octets, rest))
            }
            Self::Shared(bytes) => Self::Shared(bytes.split_to(count)),
        }
    }
}

/// What is from here on, counted in staged octets, waits for a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gate {
    from: usize,
    commit: Commit,
}

#[derive(Debug, Default)]
pub struct Staged {
    buffer: Vec<u8>,
    /// What came before `buffer`, once a shared body is among it.
    pieces: Vec<Piece>,
    pieces_size: usize,
    /// Both their places and their commits grow.
    gates: VecDeque<Gate>,
    /// The first octets that the meter knows of already, since they were held when others left.
    metered: usize,
}

impl Staged {
    /// Octets in here.
    pub fn size(&self) -> usize {
        self.buffer.len() + self.pieces_size
    }

    /// Gives up its memory if it is empty.
    pub fn relax(&mut self) {
        if self.size() == 0 && self.gates.is_empty() {
            *self = Self::default();
        }
    }

    /// Octets that the meter does not know of yet.
    pub fn unmetered(&self) -> usize {
        self.size() - self.metered
    }

    /// Whether some of it waits for a commit.
    pub fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// What is staged from `from` on, and what will be, waits for a commit.
    pub fn gate(&mut self, from: usize, commit: Commit) {
        // Behind a gate that waits for as much it waits anyway.
        if self.gates.back().is_none_or(|last| last.commit < commit) {
            self.gates.push_back(Gate { from, commit });
        }
    }

    /// What is staged from now on is never to leave.
    pub fn shut(&mut self) {
        self.gate(self.size(), NEVER);
    }

    pub fn is_shut(&self) -> bool {
        self.gates.back().is_some_and(|gate| gate.commit == NEVER)
    }

    /// A commit, and all before it, is on disk.
    pub fn release(&mut self, commit: Commit) {
        let count = self.gates.partition_point(|gate| gate.commit <= commit);
        self.gates.drain(..count);
    }

    /// Drops what waits, gates and all.
    pub fn drop_held(&mut self, meter: &Meter) {
        let Some(gate) = self.gates.front() else { return };
        let (from, metered) = (gate.from, self.metered.min(gate.from));
        let pieces = self.take_front(from);
        meter.forget(self.metered);
        *self = Self { pieces, pieces_size: from, metered, ..Self::default() };
    }

    /// Hands over what may leave, and tells the meter of everything.
    pub fn hand_over(&mut self, meter: &Meter, hand_over: impl FnOnce(&mut Vec<Piece>, &mut Vec<u8>)) {
        meter.add(self.unmetered());
        if self.gates.is_empty() {
            self.metered = 0;
            self.pieces_size = 0;
            hand_over(&mut self.pieces, &mut self.buffer);
            self.pieces.clear();
            self.buffer.clear();
            return;
        }
        self.metered = self.size();
        let free = self.gates.front().map_or(0, |gate| gate.from);
        if free > 0 {
            hand_over(&mut self.take_front(free), &mut Vec::new());
        }
    }

    /// Takes the first octets out.
    fn take_front(&mut self, count: usize) -> Vec<Piece> {
        self.split();
        let mut missing = count;
        let whole = self.pieces.iter().take_while(|piece| {
            let fits = piece.octets().len() <= missing;
            missing -= if fits { piece.octets().len() } else { 0 };
            fits
        });
        let whole = whole.count();
        let mut front: Vec<_> = self.pieces.drain(..whole).collect();
        if let Some(piece) = self.pieces.first_mut().filter(|_| missing > 0) {
            front.push(piece.cut(missing));
        }
        self.pieces_size -= count;
        self.metered = self.metered.saturating_sub(count);
        self.gates.iter_mut().for_each(|gate| gate.from -= count);
        front
    }

    fn split(&mut self) {
        if !self.buffer.is_empty() {
            self.pieces_size += self.buffer.len();
            self.pieces.push(Piece::Owned(std::mem::take(&mut self.buffer)));
        }
    }
}

impl Sink for Staged {
    /// The buffer to append frames to.
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn shared(&mut self, octets: Bytes) {
        if octets.len() < COPY_BELOW {
            self.buffer.extend_from_slice(&octets);
        } else {
            self.split();
            self.pieces_size += octets.len();
            self.pieces.push(Piece::Shared(octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Rig {
        staged: Staged,
        meter: Meter,
    }

    impl Rig {
        fn put(&mut self, text: &str) {
            self.staged.buffer().extend_from_slice(text.as_bytes());
        }

        /// A reply that waits for a commit.
        fn put_gated(&mut self, text: &str, commit: Commit) {
            let from = self.staged.size();
            self.put(text);
            self.staged.gate(from, commit);
        }

        /// What leaves, and what has been counted and not been written.
        fn leave(&mut self) -> (String, usize) {
            let mut left = Vec::new();
            self.staged.hand_over(&self.meter, |pieces, buffer| {
                pieces.iter().for_each(|piece| left.extend_from_slice(piece.octets()));
                left.extend_from_slice(buffer);
            });
            let _ = self.meter.written(left.len());
            (String::from_utf8(left).expect("text"), self.meter.queued())
        }
    }

    #[test]
    fn each_commit_lets_out_what_waited_for_it() {
        let mut rig = Rig::default();
        rig.put("free ");
        rig.put_gated("one ", 3);
        rig.put_gated("two ", 3);
        rig.put("after ");
        rig.put_gated("three ", 4);
        assert_eq!(rig.leave(), ("free ".into(), 20));
        rig.put_gated("four", 6);
        assert_eq!((rig.leave(), rig.staged.gates.len()), (("".into(), 24), 3));
        rig.staged.release(2);
        assert_eq!(rig.leave().0, "");
        rig.staged.release(3);
        assert_eq!(rig.leave(), ("one two after ".into(), 10));
        rig.staged.release(5);
        assert_eq!(rig.leave(), ("three ".into(), 4));
        assert!(rig.staged.is_gated());
        rig.staged.release(6);
        assert_eq!(rig.leave(), ("four".into(), 0));
        rig.put("free again");
        assert!(!rig.staged.is_gated());
        assert_eq!(rig.leave(), ("free again".into(), 0));
    }

    #[test]
    fn gates_stand_anywhere_among_shared_bodies() {
        let body = "b".repeat(COPY_BELOW);
        // A gate inside of a buffer, between pieces, and inside of what became a piece because a body came after it.
        for from in [1, 4, 4 + COPY_BELOW, 5 + COPY_BELOW] {
            let mut rig = Rig::default();
            rig.put("head");
            rig.staged.shared(Bytes::from(body.clone()));
            rig.put("middle");
            rig.staged.shared(Bytes::from(body.clone()));
            let all = format!("head{body}middle{body}");
            rig.staged.gate(from, 1);
            let (first, left) = rig.leave();
            assert_eq!((first.as_str(), left), (&all[..from], all.len() - from), "{from}");
            rig.put("end");
            rig.staged.release(1);
            assert_eq!(rig.leave(), (format!("{}end", &all[from..]), 0), "{from}");
        }
    }

    /// A commit and the failure of the next one in one batch: what the first lets out has been counted.
    #[test]
    fn what_is_kept_is_counted_once() {
        let mut rig = Rig::default();
        rig.put_gated("one ", 1);
        rig.put_gated("two ", 2);
        assert_eq!(rig.leave(), ("".into(), 8));
        rig.staged.release(1);
        rig.staged.drop_held(&rig.meter);
        assert_eq!(rig.leave(), ("one ".into(), 0));
    }

    #[test]
    fn what_is_dropped_is_not_counted() {
        let mut rig = Rig::default();
        rig.put("before ");
        rig.put_gated("held ", 1);
        assert_eq!(rig.leave(), ("before ".into(), 5));
        rig.put("behind");
        rig.staged.drop_held(&rig.meter);
        rig.staged.shut();
        rig.put("never");
        assert!(rig.staged.is_shut());
        assert_eq!(rig.leave(), ("".into(), 5));
        rig.staged.release(NEVER - 1);
        rig.staged.drop_held(&rig.meter);
        rig.put("close");
        assert!(!rig.staged.is_shut());
        assert_eq!(rig.leave(), ("close".into(), 0));
    }
}
