//! How often messages of a quorum queue have come back, and from when on that is too often.
//!
//! As RabbitMQ 4.3 counts: `x-acquired-count` is how often a message has been taken before, `x-delivery-count` how often
//! that has failed. `basic.nack` with requeue gives a message back without failure; `basic.reject` with requeue and the
//! end of a channel are failures. Classic queues show nothing of that; they count failures where they dead-letter, since a
//! dead letter that has failed before is marked as redelivered, and another is not.

use super::Queue;
use super::arguments::QueueType;
use crate::broker::Map;
use crate::broker::dead_letter::seen;
use crate::log::Position;
use crate::log::record::Record;
use crate::wire::content::Message;
use crate::wire::headers::{self, Named, put_long};

/// Failures that a message survives where its queue does not say another number.
const LIMIT: i64 = 20;

/// The messages of a queue that have come back.
#[derive(Debug, Default)]
pub struct Returns(Map<Position, Counts>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    acquired: u32,
    failed: u32,
}

impl Queue {
    /// Counts a message that comes back. Returns whether it has failed too often to be delivered once more.
    pub(in crate::broker) fn count_return(&mut self, position: Position, failed: bool) -> bool {
        if self.settings.queue_type != QueueType::Quorum {
            if failed && self.settings.dead_letter_exchange.is_some() {
                self.returns.0.entry(position).or_default().failed = 1;
            }
            return false;
        }
        let counts = self.returns.0.entry(position).or_default();
        counts.acquired = counts.acquired.saturating_add(1);
        counts.failed = counts.failed.saturating_add(failed.into());
        let limit = self.settings.delivery_limit.unwrap_or(LIMIT);
        limit >= 0 && i64::from(counts.failed) > limit
    }

    /// How often a message has failed.
    pub(super) fn failures(&self, position: Position) -> u32 {
        self.returns.0.get(&position).map_or(0, |counts| counts.failed)
    }

    /// Whether a message has come back after a failure.
    pub(in crate::broker) fn has_failed(&self, position: Position) -> bool {
        self.returns.0.get(&position).is_some_and(|counts| counts.failed > 0)
    }

    /// A message is gone, and with it what was counted.
    pub(super) fn forget_returns(&mut self, position: Position) {
        if !self.returns.0.is_empty() {
            self.returns.0.remove(&position);
        }
    }

    /// Shows a message as whoever gets it sees it, with its counts in its headers if it has any.
    #[inline]
    pub(in crate::broker) fn shown<R>(
        &self,
        position: Position,
        record: &Record<'_>,
        show: impl FnOnce(&Message<'_>) -> R,
    ) -> R {
        if self.returns.0.is_empty() || self.settings.queue_type != QueueType::Quorum {
            return seen(&record.parts, record.marks, show);
        }
        let Some(counts) = self.returns.0.get(&position) else {
            return seen(&record.parts, record.marks, show);
        };
        let mut properties = Vec::with_capacity(record.parts.properties.len() + 64);
        match counts.add_to(record.parts.properties, &mut properties) {
            Ok(()) => seen(&Message { properties: &properties, ..record.parts }, record.marks, show),
            Err(_) => seen(&record.parts, record.marks, show),
        }
    }
}

impl Counts {
    fn add_to(self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), crate::wire::properties::Malformed> {
        let (mut acquired, mut failed) = (Vec::new(), Vec::new());
        put_long(&mut acquired, self.acquired.into());
        put_long(&mut failed, self.failed.into());
        let names: [&[u8]; 2] = [b"x-acquired-count", b"x-delivery-count"];
        let both: [Named<'_>; 2] = [(names[0], &acquired), (names[1], &failed)];
        let added = if self.failed > 0 { &both[..] } else { &both[..1] };
        // What its publisher wrote stays where there is no count of ours for it.
        headers::edit(raw, 0, |name| added.iter().all(|(ours, _)| *ours != name), added, out)
    }
}
