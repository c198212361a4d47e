//! What clients have seen, in an order that all of them agree on: what a client does is stamped before it is sent, what
//! happens to it after it has come. So whatever follows from something else has the higher stamp.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::message::Id;
use crate::topology::QueueNo;

pub type Stamp = u64;

/// A connection's number, given once.
pub type Session = u32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Is published, or becomes so with the commit of its transaction.
    Sent(Id),
    /// Its confirm has come, or the `tx.commit-ok` of its transaction.
    Confirmed(Id),
    Delivered {
        queue: QueueNo,
        id: Id,
        redelivered: bool,
    },
    /// Is acknowledged, or becomes so with the commit of the transaction.
    Acked {
        queue: QueueNo,
        id: Id,
    },
    Requeued {
        queue: QueueNo,
        id: Id,
    },
    /// A marker has been confirmed that was published at this stamp.
    Landed {
        since: Stamp,
    },
    /// A method has been answered that was sent at this stamp.
    Synced {
        since: Stamp,
    },
    /// The client ends its connection.
    Ended,
    /// The broker is about to be stopped, and may close connections from now on.
    Stopping,
    /// Something came that was not published by anybody.
    Torn {
        queue: QueueNo,
        what: String,
    },
    /// The broker has refused something, or dropped a connection.
    Refused(String),
}

#[derive(Clone, Debug)]
pub struct Event {
    pub stamp: Stamp,
    pub session: Session,
    pub step: Step,
}

/// Gives stamps and numbers to all.
#[derive(Debug, Default)]
pub struct Clock {
    stamps: AtomicU64,
    sessions: AtomicU32,
}

impl Clock {
    fn stamp(&self) -> Stamp {
        self.stamps.fetch_add(1, Ordering::SeqCst)
    }

    pub fn session(&self) -> Session {
        self.sessions.fetch_add(1, Ordering::SeqCst)
    }
}

/// Writes down what one client sees.
pub struct Scribe<'a> {
    clock: &'a Clock,
    session: Session,
    events: Vec<Event>,
}

impl<'a> Scribe<'a> {
    pub fn new(clock: &'a Clock) -> Self {
        Self { clock, session: clock.session(), events: Vec::new() }
    }

    /// From now on it is another connection.
    pub fn new_session(&mut self) {
        self.session = self.clock.session();
    }

    pub fn note(&mut self, step: Step) -> Stamp {
        let stamp = self.clock.stamp();
        self.events.push(Event { stamp, session: self.session, step });
        stamp
    }

    /// A stamp for something that is not a step.
    pub fn stamp(&self) -> Stamp {
        self.clock.stamp()
    }

    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}

/// What several clients have seen, in order.
pub fn merge(clients: Vec<Vec<Event>>) -> Vec<Event> {
    let mut events: Vec<_> = clients.into_iter().flatten().collect();
    events.sort_by_key(|event| event.stamp);
    events
}
