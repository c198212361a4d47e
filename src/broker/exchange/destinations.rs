//! The destinations of one key, each with the number of its bindings.

use std::collections::BTreeMap;

use super::Destination;

/// Up to this many are kept in a list, which is small and quick; more in a tree, so that the costs of binding and
/// unbinding do not grow with them.
const FEW: usize = 8;

/// A bag of destinations. The same one may be bound more than once, with different arguments.
#[derive(Debug)]
pub enum Destinations {
    Few(Vec<Destination>),
    Many(BTreeMap<Destination, usize>),
}

impl Default for Destinations {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Destinations {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Few(list) => list.is_empty(),
            Self::Many(tree) => tree.is_empty(),
        }
    }

    pub fn add(&mut self, destination: Destination) {
        match self {
            Self::Few(list) if list.len() < FEW => list.push(destination),
            Self::Few(list) => {
                let mut tree = BTreeMap::new();
                for destination in list.drain(..).chain([destination]) {
                    *tree.entry(destination).or_default() += 1;
                }
                *self = Self::Many(tree);
            }
            Self::Many(tree) => *tree.entry(destination).or_default() += 1,
        }
    }

    /// Takes one binding to a destination away.
    pub fn remove(&mut self, destination: Destination) {
        match self {
            Self::Few(list) => {
                if let Some(at) = list.iter().position(|other| *other == destination) {
                    list.swap_remove(at);
                }
            }
            Self::Many(tree) => {
                if let Some(count) = tree.get_mut(&destination) {
                    *count -= 1;
                    if *count == 0 {
                        tree.remove(&destination);
                    }
                }
            }
        }
    }

    /// Appends them; the same one may come more than once.
    pub fn append_to(&self, out: &mut Vec<Destination>) {
        match self {
            Self::Few(list) => out.extend_from_slice(list),
            Self::Many(tree) => out.extend(tree.keys()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::QueueId;
    use slotmap::SlotMap;

    #[test]
    fn a_destination_stays_as_long_as_one_of_its_bindings() {
        let mut names: SlotMap<QueueId, ()> = SlotMap::with_key();
        let all: Vec<_> = (0..3 * FEW).map(|_| Destination::Queue(names.insert(()))).collect();
        for count in [FEW / 2, 3 * FEW] {
            let mut bag = Destinations::default();
            for destination in all[..count].iter().chain(&all[..count]) {
                bag.add(*destination);
            }
            for times in 0..2 {
                let mut found = Vec::new();
                bag.append_to(&mut found);
                found.sort_unstable();
                found.dedup();
                assert_eq!(found, all[..count], "{count} destinations, {times} bindings removed");
                all[..count].iter().for_each(|destination| bag.remove(*destination));
            }
            assert!(bag.is_empty());
        }
    }
}
