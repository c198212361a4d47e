//! A channel as the broker sees it: its consumers, and the deliveries that wait for acknowledgement.

use std::collections::VecDeque;

use super::counts::Counts;
use super::overdue::Watch;
use super::window::Window;
use super::{ConnectionId, ConsumerId, Map, QueueId};
use crate::log::Position;

/// A delivery that has not been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacked {
    pub delivery_tag: u64,
    pub queue: QueueId,
    pub position: Position,
    /// Octets of its body.
    pub size: u32,
    /// Whether it has been taken back since it was not acknowledged in time ([`overdue`](super::overdue)).
    pub late: bool,
    /// When it was delivered, for the same.
    pub stamp: u32,
    /// The consumer it went to; `None` for `basic.get`.
    pub consumer: Option<ConsumerId>,
}

/// How a channel publishes and settles, as far as others may know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Plain,
    Confirm,
    /// With so many messages and settlements that wait for its commit.
    Tx {
        messages: usize,
        settlements: usize,
    },
}

#[derive(Debug)]
pub struct Channel {
    pub connection: ConnectionId,
    pub number: u16,
    /// Consumers by their tags.
    pub consumers: Map<Box<[u8]>, ConsumerId>,
    /// The prefetch count that the next consumers get; 0 is no limit.
    pub prefetch: u16,
    /// The consumer that gets replies.
    pub replies: Option<ConsumerId>,
    /// The limit for all consumers together, where there is one.
    pub(super) window: Option<Box<Window>>,
    pub(super) watch: Watch,
    pub counts: Counts,
    pub manner: Manner,
    last_delivery_tag: u64,
    unacked: UnackedSet,
}

impl Channel {
    pub fn new(connection: ConnectionId, number: u16) -> Self {
        Self {
            connection,
            number,
            consumers: Map::default(),
            prefetch: 0,
            replies: None,
            window: None,
            watch: Watch::default(),
            counts: Counts::default(),
            manner: Manner::Plain,
            last_delivery_tag: 0,
            unacked: UnackedSet::default(),
        }
    }

    /// The tag for one more delivery.
    pub fn next_delivery_tag(&mut self) -> u64 {
        self.last_delivery_tag += 1;
        self.last_delivery_tag
    }

    /// What has not been acknowledged, oldest first.
    pub fn deliveries(&self) -> impl Iterator<Item = &Unacked> {
        self.unacked.iter()
    }

    /// How many that is.
    pub fn unacknowledged(&self) -> usize {
        self.unacked.live
    }

    pub fn unacked(&mut self) -> &mut UnackedSet {
        &mut self.unacked
    }
}

/// Unacknowledged deliveries in the order of their tags.
///
/// Acknowledged ones in the middle leave a hole; holes go when they are at the front, or when they are
/// the half of it, so that one delivery that is never acknowledged does not hold the memory of all later ones.
#[derive(Debug, Default)]
pub struct UnackedSet {
    entries: VecDeque<(u64, Option<Unacked>)>,
    live: usize,
}

impl UnackedSet {
    /// Adds a delivery, whose tag is above all others in here.
    pub fn push(&mut self, delivery: Unacked) {
        self.entries.push_back((delivery.delivery_tag, Some(delivery)));
        self.live += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Unacked> {
        self.entries.iter().filter_map(|(_, entry)| entry.as_ref())
    }

    /// Takes out the delivery with this tag, if it is here.
    pub fn take(&mut self, delivery_tag: u64) -> Option<Unacked> {
        let index = self.index(delivery_tag)?;
        let taken = self.entries.get_mut(index)?.1.take()?;
        self.live -= 1;
        self.tidy();
        Some(taken)
    }

    /// Takes out the first delivery if its tag is at most `delivery_tag`.
    pub fn take_front(&mut self, delivery_tag: u64) -> Option<Unacked> {
        while let Some((tag, entry)) = self.entries.front_mut() {
            if *tag > delivery_tag {
                return None;
            }
            let taken = entry.take();
            self.entries.pop_front();
            if taken.is_some() {
                self.live -= 1;
                return taken;
            }
        }
        None
    }

    /// A delivery has been taken back; its tag stays.
    pub fn mark_late(&mut self, delivery_tag: u64) {
        let index = self.index(delivery_tag);
        if let Some((_, Some(delivery))) = index.and_then(|index| self.entries.get_mut(index)) {
            delivery.late = true;
        }
    }

    /// The last tag that `multiple` means: all there are if it is 0. `None` if it is not here.
    pub fn last_of(&self, delivery_tag: u64) -> Option<u64> {
        let is_here = |tag| self.index(tag).is_some_and(|index| self.entries[index].1.is_some());
        match delivery_tag {
            0 => Some(u64::MAX),
            tag => is_here(tag).then_some(tag),
        }
    }

    /// Puts back deliveries that were taken, in the order of their tags (`tx.rollback`).
    ///
    /// Costs as much as there are deliveries from the first of them on.
    pub fn restore(&mut self, mut deliveries: Vec<Unacked>) {
        let Some(first) = deliveries.iter().map(|delivery| delivery.delivery_tag).min() else { return };
        self.live += deliveries.len();
        let later = self.entries.partition_point(|(tag, _)| *tag < first);
        deliveries.extend(self.entries.drain(later..).filter_map(|(_, entry)| entry));
        deliveries.sort_unstable_by_key(|delivery| delivery.delivery_tag);
        self.entries.extend(deliveries.into_iter().map(|d| (d.delivery_tag, Some(d))));
    }

    fn index(&self, delivery_tag: u64) -> Option<usize> {
        let (first, _) = self.entries.front()?;
        let guess = usize::try_from(delivery_tag.checked_sub(*first)?).ok()?;
        // Without gaps, which no-ack deliveries and compaction leave, the guess is right.
        match self.entries.get(guess) {
            Some((tag, _)) if *tag == delivery_tag => Some(guess),
            _ => self.entries.binary_search_by_key(&delivery_tag, |(tag, _)| *tag).ok(),
        }
    }

    fn tidy(&mut self) {
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
        }
        if self.entries.len() > 64 && self.live < self.entries.len() / 2 {
            self.entries.retain(|(_, entry)| entry.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(delivery_tag: u64) -> Unacked {
        Unacked {
            delivery_tag,
            queue: QueueId::default(),
            position: delivery_tag,
            size: 0,
            late: false,
            stamp: 0,
            consumer: None,
        }
    }

    #[test]
    fn out_of_order_and_with_gaps() {
        let mut set = UnackedSet::default();
        for tag in (1..=1000).filter(|tag| tag % 3 != 0) {
            set.push(delivery(tag));
        }
        assert!(set.take(3).is_none() && set.last_of(3).is_none() && set.last_of(0) == Some(u64::MAX));
        for tag in (2..=1000).filter(|tag| tag % 3 != 0) {
            assert_eq!(set.take(tag), Some(delivery(tag)), "tag {tag}");
            assert_eq!(set.take(tag), None);
        }
        assert!(set.last_of(1) == Some(1) && !set.is_empty());
        assert!(set.entries.len() <= 64, "holes are given back: {}", set.entries.len());
        assert_eq!(set.take_front(5), Some(delivery(1)));
        assert!(set.is_empty() && set.take_front(9999).is_none());
    }

    #[test]
    fn restored_in_order() {
        let mut set = UnackedSet::default();
        (1..=5).for_each(|tag| set.push(delivery(tag)));
        let taken = vec![set.take(4).expect("4"), set.take(2).expect("2")];
        set.restore(taken);
        let all: Vec<_> = std::iter::from_fn(|| set.take_front(9)).map(|d| d.delivery_tag).collect();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }
}
