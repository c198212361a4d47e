//! Messages in the order in which they are due: sixteen octets for each and a third more at the most, as long as they
//! come and go in masses.
//!
//! They lie in blocks, each sorted. A block that is full is cut in two, unless what comes is later than everything: then
//! it stays full, and so messages that all wait equally long take no more than their sixteen octets.

use std::collections::{BTreeMap, VecDeque};

use crate::broker::Now;
use crate::log::Position;

/// When a message is due, and where it is in the log.
pub type Entry = (Now, Position);

/// Entries in a full block.
const FULL: usize = 512;

#[derive(Debug, Default)]
pub struct Index {
    /// Each under an entry that is not after its first one and not before the last one of the block before.
    blocks: BTreeMap<Entry, VecDeque<Entry>>,
    len: usize,
}

impl Index {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The one that is due first.
    pub fn first(&self) -> Option<Entry> {
        self.blocks.first_key_value()?.1.front().copied()
    }

    /// Adds an entry, unless it is there.
    pub fn insert(&mut self, entry: Entry) {
        let is_last = self.blocks.last_key_value().is_some_and(|(key, _)| *key <= entry);
        let Some((_, block)) = self.blocks.range_mut(..=entry).next_back() else {
            return self.insert_first(entry);
        };
        let at = block.partition_point(|other| *other < entry);
        if block.get(at) == Some(&entry) {
            return;
        }
        self.len += 1;
        if block.len() < FULL {
            block.insert(at, entry);
        } else if is_last && at == FULL {
            self.blocks.insert(entry, VecDeque::from([entry]));
        } else {
            let mut upper = block.split_off(FULL / 2);
            let half = if at < FULL / 2 { &mut *block } else { &mut upper };
            half.insert(at % (FULL / 2), entry);
            block.shrink_to_fit();
            if let Some(first) = upper.front().copied() {
                self.blocks.insert(first, upper);
            }
        }
    }

    /// Adds what is before everything else.
    fn insert_first(&mut self, entry: Entry) {
        self.len += 1;
        let has_room = self.blocks.first_key_value().is_some_and(|(_, block)| block.len() < FULL);
        let first = if has_room { self.blocks.pop_first() } else { None };
        let mut block = first.map(|(_, block)| block).unwrap_or_default();
        block.push_front(entry);
        self.blocks.insert(entry, block);
    }

    pub fn contains(&self, entry: Entry) -> bool {
        let block = self.blocks.range(..=entry).next_back();
        block.is_some_and(|(_, block)| block.binary_search(&entry).is_ok())
    }

    /// Takes an entry out, and says whether it was there.
    pub fn remove(&mut self, entry: Entry) -> bool {
        let Some((key, block)) = self.blocks.range_mut(..=entry).next_back() else { return false };
        let Ok(at) = block.binary_search(&entry) else { return false };
        let key = *key;
        block.remove(at);
        if block.is_empty() {
            self.blocks.remove(&key);
        } else if block.len() * 4 < block.capacity() {
            block.shrink_to(block.len() * 2);
        }
        self.len -= 1;
        true
    }

    /// The entries after another one, or all, in their order.
    pub fn after(&self, entry: Option<Entry>) -> impl Iterator<Item = Entry> {
        let before = entry.and_then(|entry| self.blocks.range(..=entry).next_back()).map(|(key, _)| *key);
        let blocks = self.blocks.range(before.unwrap_or_default()..);
        blocks.flat_map(|(_, block)| block.iter().copied()).filter(move |other| Some(*other) > entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A generator of numbers that look random (a multiplication and a shift for each).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    #[test]
    fn it_holds_what_a_sorted_set_holds() {
        for seed in 1..20 {
            let mut numbers = Numbers(seed);
            // From many at once to hardly two at the same time.
            let times = [3, 200, 1 << 30][seed as usize % 3];
            let (mut index, mut set) = (Index::default(), BTreeSet::new());
            for position in 0..8_000 {
                let entry = (numbers.below(times), position);
                index.insert(entry);
                set.insert(entry);
                for _ in 0..numbers.below(4) / 2 {
                    assert_eq!(index.first(), set.first().copied());
                    let first = set.pop_first();
                    assert!(first.is_none_or(|first| index.remove(first)));
                }
                let other = (numbers.below(times), numbers.below(8_000));
                assert_eq!(index.remove(other), set.remove(&other), "{other:?}");
                index.insert(entry);
                set.insert(entry);
            }
            assert_eq!(index.len(), set.len());
            assert!(index.after(None).eq(set.iter().copied()), "seed {seed}");
            let middle = set.iter().nth(set.len() / 2).copied().expect("some");
            assert!(index.after(Some(middle)).eq(set.range(middle..).skip(1).copied()));
            while let Some(first) = index.first() {
                assert_eq!(set.pop_first(), Some(first));
                assert!(index.remove(first) && !index.remove(first));
            }
            assert!(set.is_empty() && index.is_empty() && index.blocks.is_empty());
        }
    }

    #[test]
    fn an_entry_takes_little_memory_in_whatever_order_they_come() {
        const COUNT: u64 = 200_000;
        let mut numbers = Numbers(7);
        type Order = Box<dyn FnMut(u64) -> u64>;
        let orders: [(&str, Order, usize); 4] = [
            ("ever later", Box::new(|n| n), 17),
            ("ever earlier", Box::new(|n| COUNT - n), 17),
            ("inwards", Box::new(|n| if n % 2 == 0 { n } else { 2 * COUNT - n }), 26),
            ("at random", Box::new(move |_| numbers.below(1 << 30)), 26),
        ];
        for (order, mut due, most) in orders {
            let mut index = Index::default();
            (0..COUNT).for_each(|n| index.insert((due(n), n)));
            let octets: usize =
                index.blocks.values().map(|block| block.capacity() * size_of::<Entry>()).sum();
            let each = octets / COUNT as usize;
            assert!(each <= most, "{order}: {each} octets for each");
        }
    }
}
