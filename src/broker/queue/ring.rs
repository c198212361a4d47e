//! Whose turn it is: consumers that can take a message, those of the highest priority first, in fair turns.

use std::collections::VecDeque;

use crate::broker::ConsumerId;

/// Only consumers with room are in here, so that the next one is found at once however many there are.
#[derive(Debug, Default)]
pub struct Ring {
    /// Highest priority first. None is empty but for one that is alone: the same consumer is likely to come back, and
    /// with every acknowledgement if its prefetch count is what holds it back.
    levels: Vec<(i64, VecDeque<ConsumerId>)>,
}

impl Ring {
    pub fn is_empty(&self) -> bool {
        self.levels.first().is_none_or(|(_, turn)| turn.is_empty())
    }

    /// The consumer whose turn it is.
    pub fn front(&self) -> Option<ConsumerId> {
        self.levels.first()?.1.front().copied()
    }

    /// The one in front has had its turn.
    pub fn rotate(&mut self) {
        if let Some((_, turn)) = self.levels.first_mut() {
            if turn.len() > 1 {
                turn.rotate_left(1);
            }
        }
    }

    /// Adds a consumer after the others of its priority.
    pub fn push(&mut self, consumer: ConsumerId, priority: i64) {
        if let [(other, turn)] = &mut self.levels[..] {
            if turn.is_empty() {
                *other = priority;
                return turn.push_back(consumer);
            }
        }
        let at = self.levels.partition_point(|(other, _)| *other > priority);
        match self.levels.get_mut(at) {
            Some((other, turn)) if *other == priority => turn.push_back(consumer),
            _ => self.levels.insert(at, (priority, VecDeque::from([consumer]))),
        }
    }

    /// Takes the one in front out.
    pub fn pop(&mut self) {
        if let Some((_, turn)) = self.levels.first_mut() {
            turn.pop_front();
            if turn.is_empty() && self.levels.len() > 1 {
                self.levels.remove(0);
            }
        }
    }

    /// Takes out all consumers that are not to stay.
    pub fn retain(&mut self, stays: impl Fn(ConsumerId) -> bool) {
        for (_, turn) in &mut self.levels {
            turn.retain(|consumer| stays(*consumer));
        }
        self.levels.retain(|(_, turn)| !turn.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn turns_within_a_priority_and_priorities_before_turns() {
        let mut names: SlotMap<ConsumerId, ()> = SlotMap::with_key();
        let [a, b, c] = std::array::from_fn(|_| names.insert(()));
        let mut ring = Ring::default();
        ring.push(a, 0);
        ring.push(b, 0);
        ring.push(c, 5);
        assert_eq!(ring.front(), Some(c));
        ring.rotate();
        assert_eq!(ring.front(), Some(c), "alone on its level");
        ring.pop();
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.extend(ring.front());
            ring.rotate();
        }
        assert_eq!(turns, [a, b, a, b]);
        ring.retain(|consumer| consumer != a);
        ring.pop();
        assert!(ring.is_empty() && ring.front().is_none());
        ring.rotate();
        ring.push(c, 5);
        ring.push(a, 0);
        assert_eq!(ring.front(), Some(c));
        ring.pop();
        assert_eq!(ring.front(), Some(a));
        ring.pop();
        ring.push(a, 0);
        ring.push(c, 5);
        ring.push(b, 9);
        assert_eq!(std::iter::from_fn(|| (ring.front(), ring.pop()).0).collect::<Vec<_>>(), [b, c, a]);
    }
}
