//! How many partitions each member of a group is to have: as many as any other, or one more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::groups::Partition;
use crate::broker::ConsumerId;

/// Who has how much.
#[derive(Debug)]
pub(super) struct Shares {
    by_member: BTreeMap<ConsumerId, Share>,
    /// Those who may have more: by how many they have, and by the order in which they came.
    open: BTreeSet<(usize, usize, ConsumerId)>,
}

#[derive(Debug)]
struct Share {
    /// When it came, among all.
    order: usize,
    count: usize,
    quota: usize,
}

impl Shares {
    /// There is at least one member.
    pub fn new(partitions: &[Partition], members: &[ConsumerId]) -> Self {
        let bound = partitions.iter().filter(|partition| partition.is_bound()).count();
        let (each, more) = (bound / members.len(), bound % members.len());
        let shares = members.iter().enumerate();
        let mut by_member: BTreeMap<_, _> =
            shares.map(|(order, id)| (*id, Share { order, count: 0, quota: each })).collect();
        for keeper in partitions.iter().filter_map(Partition::keeper) {
            if let Some(share) = by_member.get_mut(&keeper) {
                share.count += 1;
            }
        }
        // Where it does not come out even those who have most keep one more, so that little has to move.
        let mut by_count: Vec<_> = by_member.values_mut().collect();
        by_count.sort_by_key(|share| (Reverse(share.count), share.order));
        by_count.into_iter().take(more).for_each(|share| share.quota += 1);
        let mut shares = Self { by_member, open: BTreeSet::new() };
        members.iter().for_each(|id| shares.open(*id));
        shares
    }

    fn open(&mut self, id: ConsumerId) {
        if let Some(share) = self.by_member.get(&id).filter(|share| share.count < share.quota) {
            self.open.insert((share.count, share.order, id));
        }
    }

    fn change(&mut self, id: ConsumerId, change: impl Fn(&mut usize)) {
        let Some(share) = self.by_member.get_mut(&id) else { return };
        self.open.remove(&(share.count, share.order, id));
        change(&mut share.count);
        self.open(id);
    }

    pub fn has_room(&self, id: ConsumerId) -> bool {
        self.by_member.get(&id).is_some_and(|share| share.count < share.quota)
    }

    pub fn has_too_many(&self, id: ConsumerId) -> bool {
        self.by_member.get(&id).is_none_or(|share| share.count > share.quota)
    }

    pub fn add(&mut self, id: ConsumerId) {
        self.change(id, |count| *count += 1);
    }

    pub fn remove(&mut self, id: ConsumerId) {
        self.change(id, |count| *count -= 1);
    }

    /// Who is to have one more, which it has then; nobody, if what is left is still to be given up by somebody.
    pub fn take_least(&mut self) -> Option<ConsumerId> {
        let (.., id) = self.open.first().copied()?;
        self.add(id);
        Some(id)
    }
}
