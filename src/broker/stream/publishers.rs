//! Publishers that number their messages: a message that is published once more is stored once.
//!
//! A message says who published it and which number it has (`x-stream-publisher`, `x-stream-sequence`). One whose number is not
//! above the last one of its publisher has been stored already: it is confirmed like that one, and dropped. What is known is
//! kept now and then as of some offset; after a restart the rest is read from the messages behind it.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::{About, Mark};
use crate::broker::Name;
use crate::broker::commit::Commit;
use crate::log::Position;
use crate::log::record::Record;
use crate::wire::properties::{self, HEADERS};
use crate::wire::table::{self, Value};

/// So many publishers of a stream are known; then those that have been silent for longest are forgotten.
const PUBLISHERS_MAX: usize = 20_000;

/// Who published a message, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    pub publisher: &'a str,
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    /// Where that message is, or is not far from.
    at: Position,
}

/// The publishers of a stream.
#[derive(Debug, Default)]
pub struct Publishers {
    known: BTreeMap<Name, Last>,
    /// Those that have published something since they were kept.
    dirty: BTreeSet<Name>,
    /// Up to which offset what is kept goes; `None` if nothing ever was.
    end: Option<Position>,
    /// What is to be kept as soon as what is before this offset is on disk.
    keeping: Option<(Position, Vec<Mark>)>,
    /// With which commit it comes to be kept up to which offset.
    kept: Option<(Commit, Position)>,
    /// Those whose numbers are not to be kept any longer.
    forgotten: Vec<Name>,
    /// How many messages have been dropped.
    pub dropped: u64,
}

/// What a message says of its publisher, if it does.
pub fn numbered(raw: &[u8]) -> Option<Numbered<'_>> {
    let headers = properties::find(raw, HEADERS)?;
    let Value::Octets(publisher) = table::find(headers, b"x-stream-publisher")?.value() else { return None };
    let Value::Int(sequence) = table::find(headers, b"x-stream-sequence")?.value() else { return None };
    let publisher = std::str::from_utf8(publisher).ok().filter(|name| (1..=255).contains(&name.len()))?;
    Some(Numbered { publisher, sequence: u64::try_from(sequence).ok()? })
}

impl Publishers {
    pub fn restore(&mut self, publisher: Name, sequence: u64) {
        self.known.insert(publisher, Last { sequence, at: 0 });
    }

    pub fn restore_end(&mut self, end: Position) {
        self.end = Some(end);
    }

    /// From which offset on messages have to be read after a restart, if any.
    pub fn unread(&self) -> Option<Position> {
        self.end
    }

    /// What has been read of a message at the start.
    pub fn learn(&mut self, position: Position, record: &Record<'_>) {
        if let Some(found) = numbered(record.parts.properties) {
            self.note(&found, position);
        }
    }

    /// Whether a message has been stored before.
    pub fn has(&self, message: &Numbered<'_>) -> bool {
        self.known.get(message.publisher).is_some_and(|last| message.sequence <= last.sequence)
    }

    /// Notes a message that is stored.
    pub fn note(&mut self, message: &Numbered<'_>, at: Position) {
        let last = Last { sequence: message.sequence, at };
        match self.known.get_mut(message.publisher) {
            Some(known) if known.sequence >= last.sequence => return,
            Some(known) => *known = last,
            None => {
                self.make_room();
                self.known.insert(message.publisher.into(), last);
            }
        }
        if !self.dirty.contains(message.publisher) {
            self.dirty.insert(message.publisher.into());
        }
    }

    /// Forgets a quarter of the publishers, when there are too many.
    fn make_room(&mut self) {
        if self.known.len() < PUBLISHERS_MAX {
            return;
        }
        let mut all: Vec<_> = self.known.iter().map(|(name, last)| (last.at, Name::clone(name))).collect();
        all.sort_unstable();
        // After a restart nobody knows when most of them were here last: a quarter goes all the same, and not all.
        all.truncate(self.known.len() - PUBLISHERS_MAX * 3 / 4);
        let gone: BTreeSet<_> = all.iter().map(|(_, name)| name).collect();
        if let Some((_, marks)) = &mut self.keeping {
            marks.retain(|(about, name, _)| *about != About::Publisher || !gone.contains(name));
        }
        for (_, name) in all {
            self.known.remove(&name);
            self.dirty.remove(&name);
            self.forgotten.push(name);
        }
    }

    /// Those that have been forgotten since this was asked.
    pub fn take_forgotten(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.forgotten)
    }

    /// The first message with a number comes: from its offset on they have to be read. Returns what has to be kept with it.
    pub fn begin(&mut self, at: Position) -> Option<Mark> {
        if self.end.is_some() {
            return None;
        }
        self.end = Some(at);
        Some((About::Publishers, "".into(), at))
    }

    /// Whether there is something to be kept.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What is known now is to be kept, as of an offset.
    pub fn begin_keeping(&mut self, next: Position) {
        // What waits to be on disk goes first. Or nobody ever gave a number, or nothing has come since.
        if self.keeping.is_some() || self.end.is_none_or(|end| end == next) {
            return;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let known = dirty.into_iter().filter_map(|name| {
            let sequence = self.known.get(&name)?.sequence;
            Some((About::Publisher, name, sequence))
        });
        let mut marks: Vec<_> = known.collect();
        marks.push((About::Publishers, "".into(), next));
        self.keeping = Some((next, marks));
    }

    /// What can be kept now, with a commit, that everything before an offset is on disk: a number for a message that is not
    /// there would have a retry dropped.
    pub fn take_kept(&mut self, committed: Position, commit: Option<Commit>) -> Vec<Mark> {
        let ready = self.keeping.take_if(|(end, _)| *end <= committed);
        let Some((end, marks)) = ready else { return Vec::new() };
        self.kept = Some((commit.unwrap_or_default(), end));
        marks
    }

    /// All commits up to this one are on disk, and so is what was kept with them: the messages are not needed for it.
    pub fn note_commit(&mut self, commit: Commit) {
        if let Some((_, end)) = self.kept.take_if(|(kept_with, _)| *kept_with <= commit) {
            self.end = Some(end);
        }
    }

    /// All publishers with their last numbers.
    pub fn all(&self) -> Vec<(Name, u64)> {
        self.known.iter().map(|(name, last)| (Name::clone(name), last.sequence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(publisher: &str, sequence: u64) -> Numbered<'_> {
        Numbered { publisher, sequence }
    }

    #[test]
    fn numbers_are_kept_when_their_messages_are_on_disk() {
        let mut publishers = Publishers::default();
        assert_eq!(publishers.begin(5), Some((About::Publishers, "".into(), 5)));
        assert_eq!(publishers.begin(6), None);
        publishers.note(&message("a", 10), 5);
        assert!(publishers.has(&message("a", 10)) && publishers.has(&message("a", 3)));
        assert!(!publishers.has(&message("a", 11)) && !publishers.has(&message("b", 1)));
        publishers.begin_keeping(6);
        publishers.note(&message("a", 11), 6);
        assert_eq!(publishers.take_kept(5, Some(3)), []);
        let marks = publishers.take_kept(6, Some(3));
        publishers.note_commit(2);
        assert_eq!(publishers.unread(), Some(5), "that is not on disk");
        publishers.note_commit(3);
        assert_eq!(publishers.unread(), Some(6));
        assert_eq!(marks, [(About::Publisher, "a".into(), 10), (About::Publishers, "".into(), 6)]);
        assert!(publishers.is_dirty());
    }

    #[test]
    fn those_that_were_silent_for_longest_are_forgotten() {
        let mut publishers = Publishers::default();
        for n in 0..PUBLISHERS_MAX as u64 + 10 {
            publishers.note(&message(&format!("p{n}"), 1), n);
        }
        assert!(publishers.all().len() <= PUBLISHERS_MAX);
        assert!(!publishers.has(&message("p0", 1)));
        assert!(publishers.has(&message(&format!("p{PUBLISHERS_MAX}"), 1)));
        let forgotten = publishers.take_forgotten();
        assert!(forgotten.iter().any(|name| **name == *"p0"));
        assert_eq!(forgotten.len() + publishers.all().len(), PUBLISHERS_MAX + 10);
    }

    #[test]
    fn a_quarter_is_forgotten_after_a_restart_and_kept_no_longer() {
        let mut publishers = Publishers::default();
        for n in 0..PUBLISHERS_MAX {
            publishers.restore(format!("p{n:05}").into(), 1);
        }
        publishers.restore_end(0);
        publishers.note(&message("p00000", 2), 0);
        publishers.begin_keeping(1);
        publishers.note(&message("q", 1), 1);
        assert_eq!(publishers.all().len(), PUBLISHERS_MAX * 3 / 4 + 1);
        assert!(!publishers.has(&message("p00000", 1)), "it is among the first of those that are as old");
        assert_eq!(publishers.take_kept(1, None), [(About::Publishers, "".into(), 1)]);
        assert_eq!(publishers.take_forgotten().len(), PUBLISHERS_MAX / 4);
    }

    #[test]
    fn what_was_to_be_kept_of_who_is_forgotten_is_not() {
        let mut publishers = Publishers::default();
        publishers.begin(0);
        publishers.note(&message("p", 100), 0);
        publishers.begin_keeping(1);
        for n in 0..PUBLISHERS_MAX as u64 {
            publishers.note(&message(&format!("q{n}"), 1), 1 + n);
        }
        assert!(publishers.take_forgotten().iter().any(|name| **name == *"p"));
        publishers.note(&message("p", 5), 30_000);
        assert_eq!(
            publishers.take_kept(1, None),
            [(About::Publishers, "".into(), 1)],
            "or p's 6 would be dropped"
        );
    }
}
