//! Groups of consumers: they share a stream, or the partitions of a super stream, so that each is read by one of them at a
//! time, from where the group has got to.
//!
//! The partitions are spread evenly. Who has too many when somebody joins gives some up, each as soon as everything that was
//! delivered of it is settled; those of one who leaves are moved at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::filter::Filter;
use super::offset::Start;
use super::reader::{Reader, Reading};
use super::tracking::Tracked;
use crate::broker::vhost::Vhost;
use crate::broker::{ConsumerId, Name, Now, QueueId};
use crate::log::Position;

/// What a group reads, and its name.
pub type Key = (Name, Name);

/// All groups that have members.
pub type Groups = BTreeMap<Key, Group>;

/// A group.
#[derive(Debug, Default)]
pub struct Group {
    partitions: Vec<Partition>,
    /// In the order in which they came.
    members: Vec<ConsumerId>,
}

/// A stream that a group reads.
#[derive(Debug)]
struct Partition {
    stream: QueueId,
    owner: Option<ConsumerId>,
    /// Whether the owner gives it up as soon as it has settled everything.
    leaving: bool,
    /// Whether somebody has owned it since the group came together.
    begun: bool,
    /// Messages from before this time are passed over.
    since: Option<Now>,
}

/// That a consumer is in a group.
#[derive(Debug)]
pub struct Member {
    pub key: Key,
    /// Where it wants to begin, if it is the first of its group.
    pub start: Option<Start>,
    pub filter: Option<Arc<Filter>>,
}

/// What is shown of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFigures {
    /// The stream, or super stream.
    pub target: Name,
    pub group: Name,
    pub members: usize,
    pub partitions: Vec<PartitionFigures>,
}

/// What is shown of one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFigures {
    pub stream: Name,
    /// The tag and the channel's number of the one who reads it.
    pub owner: Option<(Box<[u8]>, u16)>,
    /// Where the group goes on.
    pub offset: Position,
    /// How many messages there are from there on.
    pub lag: u64,
}

impl Vhost {
    /// A consumer joins its group, on these streams.
    pub(in crate::broker) fn join_group(&mut self, id: ConsumerId, streams: &[QueueId]) {
        let member = self.consumers.get(id).and_then(|c| c.reading.as_ref()).and_then(|r| r.member.as_ref());
        let Some(key) = member.map(|member| member.key.clone()) else { return };
        let group = self.groups.entry(key.clone()).or_default();
        for stream in streams {
            if !group.partitions.iter().any(|partition| partition.stream == *stream) {
                let stream = *stream;
                group.partitions.push(Partition {
                    stream,
                    owner: None,
                    leaving: false,
                    begun: false,
                    since: None,
                });
            }
        }
        group.members.push(id);
        self.rebalance(&key);
    }

    /// A consumer is about to go: others read on where it was.
    pub(in crate::broker) fn leave_group(&mut self, id: ConsumerId) {
        let member = self.consumers.get(id).and_then(|c| c.reading.as_ref()).and_then(|r| r.member.as_ref());
        let Some(key) = member.map(|member| member.key.clone()) else { return };
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.members.retain(|member| *member != id);
        let mut streams = Vec::new();
        for partition in &mut group.partitions {
            streams.push(partition.stream);
            if partition.owner == Some(id) {
                (partition.owner, partition.leaving) = (None, false);
            }
        }
        for stream in streams {
            if let Some(queue) = self.queues.get_mut(stream) {
                queue.consumers.retain(|other| *other != id);
                if let Some((stream, _)) = queue.stream_parts() {
                    stream.forget(|other| other != id);
                }
            }
        }
        self.rebalance(&key);
    }

    /// A stream is gone, and no group reads it any more.
    pub(in crate::broker) fn forget_partition(&mut self, id: QueueId) {
        for group in self.groups.values_mut() {
            group.partitions.retain(|partition| partition.stream != id);
        }
    }

    /// Where a group goes on in a stream has been set, be it before the time at which it was to begin.
    pub(super) fn forget_since(&mut self, stream: QueueId, name: &str) {
        let groups = self.groups.iter_mut().filter(|((_, group), _)| **group == *name);
        let partitions = groups.flat_map(|(_, group)| &mut group.partitions);
        for partition in partitions.filter(|partition| partition.stream == stream) {
            partition.since = None;
        }
    }

    /// Somebody who was to give up a partition has settled everything.
    pub(super) fn pass_on(&mut self, id: ConsumerId, stream: QueueId) {
        let reading = self.consumers.get_mut(id).and_then(|consumer| consumer.reading.as_mut());
        let Some(key) = reading.and_then(|reading| {
            reading.readers.retain(|reader| reader.stream != stream);
            reading.member.as_ref().map(|member| member.key.clone())
        }) else {
            return;
        };
        if let Some((parts, _)) = self.queues.get_mut(stream).and_then(|queue| queue.stream_parts()) {
            parts.forget(|other| other != id);
        }
        let partitions = self.groups.get_mut(&key).into_iter().flat_map(|group| &mut group.partitions);
        for partition in partitions.filter(|partition| partition.stream == stream) {
            (partition.owner, partition.leaving) = (None, false);
        }
        self.rebalance(&key);
    }

    /// Spreads the partitions of a group over its members.
    fn rebalance(&mut self, key: &Key) {
        let Some(mut group) = self.groups.remove(key) else { return };
        let Group { partitions, members } = &mut group;
        if members.is_empty() {
            return;
        }
        let (each, more) = (partitions.len() / members.len(), partitions.len() % members.len());
        let quota = |at: usize| each + usize::from(at < more);
        let mut counts: Vec<usize> = Vec::new();
        for (at, member) in members.iter().enumerate() {
            let mut count = partitions.iter().filter(|p| p.owner == Some(*member) && !p.leaving).count();
            for partition in partitions.iter_mut().rev() {
                if count > quota(at) && partition.owner == Some(*member) && !partition.leaving {
                    count -= 1;
                    partition.leaving = !self.give_up(*member, partition.stream);
                    if !partition.leaving {
                        partition.owner = None;
                    }
                }
            }
            counts.push(count);
        }
        for partition in partitions.iter_mut().filter(|partition| partition.owner.is_none()) {
            let below = (0..members.len()).filter(|at| counts[*at] < quota(*at));
            let Some(at) = below.min_by_key(|at| counts[*at]) else { continue };
            counts[at] += 1;
            partition.owner = Some(members[at]);
            self.give(key, partition, members[at]);
        }
        self.groups.insert(key.clone(), group);
    }

    /// A member is to give up a stream. Returns whether it has; else it does when it has settled everything.
    fn give_up(&mut self, id: ConsumerId, stream: QueueId) -> bool {
        let Some(reading) = self.consumers.get_mut(id).and_then(|consumer| consumer.reading.as_mut()) else {
            return true;
        };
        if let Some(tracked) = reading.reader_of(stream).and_then(|reader| reader.tracked.as_deref_mut()) {
            if !tracked.is_idle() {
                tracked.leaving = true;
                return false;
            }
        }
        reading.readers.retain(|reader| reader.stream != stream);
        if let Some((parts, _)) = self.queues.get_mut(stream).and_then(|queue| queue.stream_parts()) {
            parts.forget(|other| other != id);
        }
        true
    }

    /// A member gets a stream to read: from where its group has got to.
    fn give(&mut self, key: &Key, partition: &mut Partition, id: ConsumerId) {
        let Some(member) =
            self.consumers.get(id).and_then(|c| c.reading.as_ref()).and_then(|r| r.member.as_ref())
        else {
            return;
        };
        let (start, filter) = (member.start.filter(|_| !partition.begun), member.filter.clone());
        let Some((stream, log)) =
            self.queues.get_mut(partition.stream).and_then(|queue| queue.stream_parts())
        else {
            return;
        };
        let group = &key.1;
        let next = match (start, stream.tracking.get(group)) {
            (None, Some(next)) => next,
            (start, _) => {
                let (next, since) = start.unwrap_or(Start::First).locate(stream, log);
                partition.since = since;
                next
            }
        };
        partition.begun = true;
        let mut reader = Reader::new(partition.stream, next, partition.since, filter);
        reader.tracked = Some(Box::new(Tracked::new(Name::clone(group))));
        // Also before anything is acknowledged: whoever comes after it begins there too.
        self.store_offset(partition.stream, group, next);
        if let Some(reading) = self.consumers.get_mut(id).and_then(|consumer| consumer.reading.as_mut()) {
            reading.readers.push(reader);
        }
        self.grow_hungry(id);
    }

    /// All groups that have members, or have had some on a stream.
    pub fn group_figures(&self) -> Vec<GroupFigures> {
        let mut all = Vec::new();
        for ((target, name), group) in &self.groups {
            let partitions = group.partitions.iter().filter_map(|partition| {
                let owner = partition.owner.and_then(|id| self.consumers.get(id));
                let owner = owner.map(|consumer| (consumer.tag.clone(), consumer.number));
                self.partition_figures(partition.stream, name, owner)
            });
            let partitions = partitions.collect();
            all.push(GroupFigures {
                target: Name::clone(target),
                group: Name::clone(name),
                members: group.members.len(),
                partitions,
            });
        }
        let is_read = |stream: QueueId, name: &Name| {
            self.groups.iter().any(|((_, group), found)| {
                group == name && found.partitions.iter().any(|partition| partition.stream == stream)
            })
        };
        for (id, queue) in &self.queues {
            for (group, _) in queue.tracking().map(|tracking| tracking.all()).unwrap_or_default() {
                if !is_read(id, &group) {
                    let partitions = self.partition_figures(id, &group, None).into_iter().collect();
                    let target = Name::clone(&queue.name);
                    all.push(GroupFigures { target, group, members: 0, partitions });
                }
            }
        }
        all
    }

    fn partition_figures(
        &self,
        id: QueueId,
        group: &Name,
        owner: Option<(Box<[u8]>, u16)>,
    ) -> Option<PartitionFigures> {
        let queue = self.queues.get(id)?;
        let figures = queue.stream_figures()?;
        let offset = queue.tracking().and_then(|tracking| tracking.get(group)).unwrap_or(figures.first);
        let lag = figures.committed.saturating_sub(offset.max(figures.first));
        Some(PartitionFigures { stream: Name::clone(&queue.name), owner, offset, lag })
    }
}

impl Reading {
    /// The reader of a stream.
    pub fn reader_of(&mut self, stream: QueueId) -> Option<&mut Reader> {
        self.readers.iter_mut().find(|reader| reader.stream == stream)
    }
}
