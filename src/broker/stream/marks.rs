//! Numbers about streams that outlive a restart beside their messages: what groups have acknowledged, and what publishers
//! have published.

use std::collections::BTreeMap;

use crate::broker::definitions::Change;
use crate::broker::vhost::Vhost;
use crate::broker::{Name, QueueId};
use crate::log::LogId;

/// What a number is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The offset at which a group goes on.
    Group,
    /// The last sequence number of a publisher.
    Publisher,
    /// The offset up to which all publishers are known by their numbers. It has no name.
    Publishers,
}

impl About {
    const ALL: [Self; 3] = [Self::Group, Self::Publisher, Self::Publishers];

    /// As the catalog has it.
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|about| about.number() == number)
    }
}

/// What a number is about, whose it is, and the number.
pub type Mark = (About, Name, u64);

/// A number that is kept. It goes with the queue whose log this is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurableMark {
    pub log: LogId,
    pub about: About,
    /// Of the group or the publisher; at most 255 octets.
    pub name: Name,
    pub number: u64,
}

impl Vhost {
    /// Brings back what was kept of streams that are there.
    pub(in crate::broker) fn restore_marks(&mut self, marks: Vec<DurableMark>) {
        if marks.is_empty() {
            return;
        }
        let streams = self.queues.iter().filter(|(_, queue)| queue.is_stream());
        let streams: BTreeMap<_, _> = streams.map(|(id, queue)| (queue.log_id(), id)).collect();
        for mark in marks {
            let queue = streams.get(&mark.log).and_then(|id| self.queues.get_mut(*id));
            let Some((stream, _)) = queue.and_then(|queue| queue.stream_parts()) else { continue };
            match mark.about {
                About::Group => stream.tracking.restore(mark.name, mark.number),
                About::Publisher => stream.publishers.restore(mark.name, mark.number),
                About::Publishers => stream.publishers.restore_end(mark.number),
            }
        }
    }

    /// Keeps some numbers of a stream, with the next commit.
    pub(super) fn record_marks(&mut self, id: QueueId, marks: Vec<Mark>) {
        let Some(log) = self.queues.get(id).filter(|queue| queue.is_kept()).map(|queue| queue.log_id())
        else {
            return;
        };
        for (about, name, number) in marks {
            self.record(|_| Some(Change::PutMark(DurableMark { log, about, name, number })));
        }
    }

    /// Forgets a number of a stream.
    pub(super) fn record_no_mark(&mut self, id: QueueId, about: About, name: Name) {
        let Some(log) = self.queues.get(id).filter(|queue| queue.is_kept()).map(|queue| queue.log_id())
        else {
            return;
        };
        self.record(|_| Some(Change::DeleteMark { log, about, name }));
    }
}
