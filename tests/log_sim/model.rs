//! What a log has to hold, kept in the simplest way there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use bytes::Bytes;
use leveret::log::record::Record;
use leveret::log::{LogId, Position};
use leveret::wire::content::{Body, Message as Parts};

use super::random::Random;

/// How far something has come on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Pending,
    Gathered,
    Written,
    /// Durable, and announced as that.
    Durable,
}

/// What a message is made of, all of it out of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub number: u64,
    pub size: usize,
}

/// More octets than any body has.
const OCTETS: usize = 400 << 10;

fn octets() -> &'static Bytes {
    static OCTETS_OF_BODIES: OnceLock<Bytes> = OnceLock::new();
    OCTETS_OF_BODIES.get_or_init(|| {
        let mut random = Random::new(7);
        (0..OCTETS / 8).flat_map(|_| random.next().to_le_bytes()).collect::<Vec<_>>().into()
    })
}

impl Content {
    fn begin(&self) -> usize {
        self.number as usize * 61 % 4096
    }

    pub fn body(&self) -> Bytes {
        octets().slice(self.begin()..self.begin() + self.size)
    }

    /// What is appended, with a shared body or a copied one.
    pub fn with_parts<T>(&self, shared: bool, then: impl FnOnce(&Parts<'_>) -> T) -> T {
        let (key, body) = (self.number.to_be_bytes(), self.body());
        let exchange = &octets()[..self.number as usize % 7];
        let body = if shared { Body::Shared(&body) } else { Body::Inline(&body) };
        then(&Parts { exchange, routing_key: &key, properties: &key[8 - self.number as usize % 5..], body })
    }

    /// Whether a record is this message and nothing else.
    pub fn is(&self, record: &Record<'_>) -> bool {
        self.with_parts(false, |own| {
            record.timestamp == self.number
                && record.parts.exchange == own.exchange
                && record.parts.routing_key == own.routing_key
                && record.parts.properties == own.properties
                && record.parts.body.octets() == own.body.octets()
        })
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub content: Content,
    pub persistent: bool,
    pub stored: Stage,
    pub delivered: Option<Stage>,
    pub settled: Option<Stage>,
    /// What becomes of it was never promised, or by a disk that has lied.
    pub doubtful: bool,
    /// It could not be read in this life.
    pub unreadable: bool,
}

impl Message {
    pub fn is_wanted(&self) -> bool {
        self.settled.is_none() && !self.unreadable
    }

    fn go_on(&mut self, from: Stage, to: Stage) {
        if self.persistent && self.stored == from {
            self.stored = to;
        }
        if self.delivered == Some(from) {
            self.delivered = Some(to);
        }
    }

    fn settling_goes_on(&mut self, from: Stage, to: Stage) {
        if self.settled == Some(from) {
            self.settled = Some(to);
        }
    }
}

/// A queue, and what its log has to hold.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub id: Option<LogId>,
    /// All messages that are there or may come back.
    pub messages: BTreeMap<Position, Message>,
    pub next: Position,
    pub read: Position,
    pub unacked: BTreeSet<Position>,
    pub requeued: BTreeSet<Position>,
    /// What was found as the mark when this life began.
    pub mark: Position,
    /// Whether anything has ever been delivered.
    pub was_read: bool,
}

impl Model {
    /// The first message that has not been read.
    pub fn unread(&self) -> Option<(Position, Content)> {
        let mut rest = self.messages.range(self.read..).filter(|(_, message)| message.is_wanted());
        rest.next().map(|(position, message)| (*position, message.content))
    }

    pub fn append(&mut self, position: Position, content: Content, persistent: bool) {
        assert!(position >= self.next, "position {position} is given again");
        let message = Message {
            content,
            persistent,
            stored: Stage::Pending,
            delivered: None,
            settled: None,
            doubtful: false,
            unreadable: false,
        };
        let before = self.messages.insert(position, message);
        assert!(before.is_none(), "position {position} is given again: {before:?}");
        self.next = position + 1;
    }

    pub fn deliver(&mut self, position: Position) {
        self.was_read = true;
        self.unacked.insert(position);
        let message = self.messages.get_mut(&position).expect("a message");
        message.delivered.get_or_insert(Stage::Pending);
        if position >= self.read {
            self.read = position + 1;
        }
    }

    pub fn settle(&mut self, position: Position) {
        self.unacked.remove(&position);
        self.requeued.remove(&position);
        let message = self.messages.get_mut(&position).expect("a message");
        assert!(message.settled.is_none());
        if !message.persistent || message.stored == Stage::Pending {
            // Never on disk.
            self.messages.remove(&position);
        } else {
            message.settled = Some(Stage::Pending);
        }
    }

    pub fn gathered(&mut self) {
        for message in self.messages.values_mut() {
            message.go_on(Stage::Pending, Stage::Gathered);
            message.settling_goes_on(Stage::Pending, Stage::Gathered);
        }
    }

    pub fn written(&mut self) {
        self.messages.values_mut().for_each(|message| message.go_on(Stage::Gathered, Stage::Written));
    }

    /// The records are durable; with `thorough` the settlements are too. What says that something is settled may be
    /// that its file is removed.
    pub fn announced(&mut self, thorough: bool) {
        for message in self.messages.values_mut() {
            message.go_on(Stage::Written, Stage::Durable);
            message.settling_goes_on(Stage::Gathered, Stage::Written);
        }
        if thorough {
            self.messages.retain(|_, message| message.settled < Some(Stage::Written) || message.doubtful);
        }
    }
}
