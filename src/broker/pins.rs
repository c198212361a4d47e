//! Chunks that are read from disk for somebody who only looks at messages: they stay in memory until they have been looked
//! at, however little memory there is. Else a queue could not be looked at where chunks leave as soon as they come.

use super::QueueId;
use crate::log::Position;

/// How long a chunk is kept for somebody who does not come back for it, in milliseconds.
const PATIENCE: u64 = 1000;
/// Chunks kept at once. Of more, those asked for longest ago go.
const MAX: usize = 32;

#[derive(Debug)]
struct Pin {
    queue: QueueId,
    /// The first position of the chunk.
    first: Position,
    /// When it was last asked for, in milliseconds.
    at: u64,
}

/// What is kept for those who look, over all queues of a vhost.
#[derive(Debug, Default)]
pub(super) struct Pins(Vec<Pin>);

impl Pins {
    pub(super) fn add(&mut self, queue: QueueId, first: Position, now: u64) {
        self.0.retain(|pin| (pin.queue, pin.first) != (queue, first));
        if self.0.len() == MAX {
            self.0.remove(0);
        }
        self.0.push(Pin { queue, first, at: now });
    }

    /// The message at a position has been looked at: its chunk, which is the last one that begins no later, need not stay.
    pub(super) fn remove(&mut self, queue: QueueId, position: Position) {
        let before = self.0.iter().filter(|pin| pin.queue == queue && pin.first <= position);
        if let Some(first) = before.map(|pin| pin.first).max() {
            self.0.retain(|pin| (pin.queue, pin.first) != (queue, first));
        }
    }

    /// The first positions of chunks that are to stay.
    pub(super) fn of(&mut self, queue: QueueId, now: u64) -> Vec<Position> {
        self.0.retain(|pin| now < pin.at + PATIENCE);
        self.0.iter().filter(|pin| pin.queue == queue).map(|pin| pin.first).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_stays_until_it_is_looked_at_or_nobody_comes() {
        let mut pins = Pins::default();
        let mut ids = slotmap::SlotMap::<QueueId, ()>::with_key();
        let (queue, other) = (ids.insert(()), ids.insert(()));
        pins.add(queue, 10, 0);
        pins.add(queue, 20, 500);
        pins.add(other, 20, 500);
        pins.remove(queue, 9);
        assert_eq!(pins.of(queue, 600), [10, 20]);
        // Within the second chunk: the first is still waited for.
        pins.remove(queue, 25);
        assert_eq!((pins.of(queue, 600), pins.of(other, 600)), (vec![10], vec![20]));
        pins.add(queue, 10, 900);
        assert_eq!((pins.of(queue, 1600), pins.of(other, 1600)), (vec![10], vec![]));
        for first in 100..200 {
            pins.add(queue, first, 1700);
        }
        assert_eq!(pins.of(queue, 1700), (200 - MAX as u64..200).collect::<Vec<_>>());
    }
}
