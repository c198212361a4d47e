//! Groups of consumers: they share a stream, or the partitions of a super stream, so that each is read by one of them at a
//! time, from where the group has got to.
//!
//! The partitions are spread evenly. Who has too many when somebody joins gives some up, each as soon as everything that was
//! delivered of it is settled; those of one who leaves are moved at once. What is bound to a super stream later is read at
//! once, what is unbound is given up in the same way, and when nothing is left the members are cancelled.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::filter::Filter;
use super::offset::Start;
use super::reader::{Reader, Reading};
use super::shares::Shares;
use super::tracking::Tracked;
use crate::broker::effects::Effects;
use crate::broker::exchange::Destination;
use crate::broker::queue::consumer::Place;
use crate::broker::vhost::Vhost;
use crate::broker::{ConsumerId, ExchangeId, Name, Now, QueueId};
use crate::log::Position;
use crate::wire::reply::Exception;

/// Which group it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The name of the stream or the super stream that it reads.
    pub target: Name,
    /// Whether that is a super stream; there may be a stream of the same name.
    pub is_super: bool,
    pub group: Name,
}

/// All groups that have members.
pub type Groups = BTreeMap<Key, Group>;

/// A group.
#[derive(Debug, Default)]
pub struct Group {
    partitions: Vec<Partition>,
    /// In the order in which they came.
    members: Vec<ConsumerId>,
}

impl Group {
    /// What it reads, but for what is on its way out.
    fn bound(&self) -> BTreeSet<QueueId> {
        let bound = self.partitions.iter().filter(|partition| partition.is_bound);
        bound.map(|partition| partition.stream).collect()
    }

    /// These are to be read, too.
    fn add_partitions(&mut self, streams: &[QueueId]) {
        let known: BTreeSet<_> = self.partitions.iter().map(|partition| partition.stream).collect();
        let new = streams.iter().filter(|stream| !known.contains(stream));
        self.partitions.extend(new.map(|stream| Partition::new(*stream)));
    }
}

/// A stream that a group reads.
#[derive(Debug)]
pub(super) struct Partition {
    stream: QueueId,
    /// Whether it is still a partition of what the group reads.
    is_bound: bool,
    owner: Option<ConsumerId>,
    /// Whether the owner gives it up as soon as it has settled everything.
    leaving: bool,
    /// Whether somebody has owned it since the group came together.
    begun: bool,
    /// Messages from before this time are passed over.
    since: Option<Now>,
}

impl Partition {
    fn new(stream: QueueId) -> Self {
        Self { stream, is_bound: true, owner: None, leaving: false, begun: false, since: None }
    }

    /// Who has it and is to keep it, and it counts.
    pub(super) fn keeper(&self) -> Option<ConsumerId> {
        self.owner.filter(|_| self.is_bound && !self.leaving)
    }

    pub(super) fn is_bound(&self) -> bool {
        self.is_bound
    }
}

/// That a consumer is in a group.
#[derive(Debug)]
pub struct Member {
    pub key: Key,
    /// Where it wants to begin, if its group has never been here.
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
        group.add_partitions(streams);
        group.members.push(id);
        self.rebalance(&key);
    }

    /// Consumers are about to go: others read on where they were.
    pub(in crate::broker) fn leave_groups(&mut self, ids: &[ConsumerId]) {
        let mut leaving: BTreeMap<Key, BTreeSet<ConsumerId>> = BTreeMap::new();
        for id in ids {
            let reading = self.consumers.get(*id).and_then(|consumer| consumer.reading.as_ref());
            if let Some(member) = reading.and_then(|reading| reading.member.as_ref()) {
                leaving.entry(member.key.clone()).or_default().insert(*id);
            }
        }
        for (key, gone) in leaving {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            group.members.retain(|member| !gone.contains(member));
            for partition in &mut group.partitions {
                if partition.owner.is_some_and(|owner| gone.contains(&owner)) {
                    (partition.owner, partition.leaving) = (None, false);
                }
            }
            let streams: Vec<_> = group.partitions.iter().map(|partition| partition.stream).collect();
            streams.into_iter().for_each(|stream| self.forget_members(stream, &gone));
            self.rebalance(&key);
        }
    }

    /// A stream is gone, which groups may have read, be it that it is no longer bound.
    pub(in crate::broker) fn note_stream_gone(&mut self, stream: QueueId) {
        let reads = |(key, group): (&Key, &Group)| {
            let found = key.is_super && group.partitions.iter().any(|partition| partition.stream == stream);
            found.then(|| Name::clone(&key.target))
        };
        let targets: Vec<_> = self.groups.iter().filter_map(reads).collect();
        targets.into_iter().for_each(|target| self.note_super_stream(&target, stream));
    }

    /// The partitions of a super stream are not those that they were.
    fn note_super_stream(&mut self, name: &Name, stream: QueueId) {
        if self.groups.keys().any(|key| key.is_super && key.target == *name) {
            self.regrouping.insert(Name::clone(name));
            // So that it is looked at before anything else happens.
            self.due.push(stream);
        }
    }

    /// A binding comes or goes, which may be that of a partition.
    pub(in crate::broker) fn note_binding(&mut self, source: ExchangeId, destination: Destination) {
        let Destination::Queue(stream) = destination else { return };
        if self.groups.is_empty() {
            return;
        }
        let name = self.exchanges.get(source).filter(|exchange| exchange.is_super_stream());
        if let Some(name) = name.map(|exchange| Name::clone(&exchange.name)) {
            self.note_super_stream(&name, stream);
        }
    }

    /// Whether a consumer shares the partitions of a super stream.
    pub(in crate::broker) fn reads_super_stream(&self, id: ConsumerId) -> bool {
        let reading = self.consumers.get(id).and_then(|consumer| consumer.reading.as_ref());
        reading.and_then(|reading| reading.member.as_ref()).is_some_and(|member| member.key.is_super)
    }

    /// A group is no more: another one of its name may read what it has read.
    fn note_namesakes(&mut self, gone: &Key) {
        let others = self.groups.iter().filter(|(key, _)| key.is_super && key.group == gone.group);
        let others =
            others.filter_map(|(key, group)| Some((Name::clone(&key.target), group.partitions.first()?)));
        let others: Vec<_> = others.map(|(target, partition)| (target, partition.stream)).collect();
        others.into_iter().for_each(|(target, stream)| self.note_super_stream(&target, stream));
    }

    /// The group of this name, and not with this key, that reads a stream.
    fn namesake(&self, of: &Key, stream: QueueId) -> Option<&Key> {
        let mut others = self.groups.iter().filter(|(key, _)| key.group == of.group && *key != of);
        let reads = |group: &Group| group.partitions.iter().any(|partition| partition.stream == stream);
        others.find(|(_, group)| reads(group)).map(|(key, _)| key)
    }

    /// Refuses a consumer whose group would read what another group of that name reads: they share one offset.
    pub(super) fn check_namesakes(&self, key: &Key, streams: &[QueueId]) -> Result<(), Exception> {
        match streams.iter().find_map(|stream| self.namesake(key, *stream)) {
            Some(Key { target, is_super, group }) => Err(Exception::precondition_failed(format!(
                "group '{group}' reads that as it consumes {} '{target}'",
                if *is_super { "super stream" } else { "stream" }
            ))),
            None => Ok(()),
        }
    }

    /// Has groups read the partitions that their super streams have now.
    pub(in crate::broker) fn regroup(&mut self, fx: &mut impl Effects) {
        for name in std::mem::take(&mut self.regrouping) {
            let streams = self.partitions(name.as_bytes());
            let keys = self.groups.keys().filter(|key| key.is_super && key.target == name);
            for key in keys.cloned().collect::<Vec<_>>() {
                if streams.is_empty() {
                    self.disband(&key, fx);
                } else {
                    self.read_partitions(&key, &streams);
                }
            }
        }
    }

    /// Nothing is left that a group could read: its members are cancelled.
    fn disband(&mut self, key: &Key, fx: &mut impl Effects) {
        let Some(Group { members, .. }) = self.groups.get(key) else { return };
        let members = members.clone();
        for id in &members {
            self.consumer_deleted(*id);
            if let Some(consumer) = self.consumers.get(*id) {
                fx.cancelled(consumer.connection, consumer.number, &consumer.tag);
            }
        }
        let queues = self.detach_consumers(&members);
        self.due.extend(queues);
    }

    /// A group reads these streams from now on.
    fn read_partitions(&mut self, key: &Key, streams: &[QueueId]) {
        let free = |stream: &QueueId| self.namesake(key, *stream).is_none();
        let streams: Vec<_> = streams.iter().copied().filter(free).collect();
        let Self { groups, queues, consumers, .. } = self;
        let Some(group) = groups.get_mut(key) else { return };
        let known = group.bound();
        let new: Vec<_> = streams.iter().filter(|stream| !known.contains(stream)).copied().collect();
        group.add_partitions(&streams);
        let order: BTreeMap<_, _> = streams.iter().enumerate().map(|(at, stream)| (*stream, at)).collect();
        for partition in &mut group.partitions {
            partition.is_bound = order.contains_key(&partition.stream);
        }
        group.partitions.retain(|partition| queues.get(partition.stream).is_some());
        group.partitions.sort_by_key(|partition| order.get(&partition.stream).copied().unwrap_or(usize::MAX));
        for id in &group.members {
            let Some(consumer) = consumers.get_mut(*id) else { continue };
            if !order.contains_key(&consumer.queue) {
                consumer.queue = streams.first().copied().unwrap_or(consumer.queue);
            }
            if let Some(reading) = &mut consumer.reading {
                reading.readers.retain(|reader| queues.get(reader.stream).is_some());
            }
        }
        for stream in new {
            let Some(queue) = queues.get_mut(stream) else { continue };
            let there: BTreeSet<_> = queue.consumers.iter().copied().collect();
            queue.consumers.extend(group.members.iter().filter(|id| !there.contains(id)));
        }
        self.rebalance(key);
    }

    /// A stream is no longer consumed by these.
    fn forget_members(&mut self, stream: QueueId, members: &BTreeSet<ConsumerId>) {
        if let Some(queue) = self.queues.get_mut(stream) {
            queue.consumers.retain(|id| !members.contains(id));
            if let Some((stream, _)) = queue.stream_parts() {
                stream.forget(|id| !members.contains(&id));
            }
        }
    }

    /// Whether somebody reads a stream for a group, or waits for a turn to.
    pub(super) fn is_read_by(&self, stream: QueueId, name: &str) -> bool {
        let has_members = self.groups.iter().any(|(key, group)| {
            *key.group == *name && group.partitions.iter().any(|partition| partition.stream == stream)
        });
        let consumers = self.queues.get(stream).into_iter().flat_map(|queue| &queue.consumers);
        let mut readers = consumers
            .filter_map(|id| self.consumers.get(*id)?.reading.as_ref())
            .flat_map(|reading| &reading.readers)
            .filter(|reader| reader.stream == stream);
        has_members
            || readers.any(|reader| reader.tracked.as_ref().is_some_and(|tracked| *tracked.group == *name))
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
            return self.note_namesakes(key);
        }
        let mut shares = Shares::new(partitions, members);
        for partition in partitions.iter_mut().filter(|partition| partition.leaving && partition.is_bound) {
            let Some(owner) = partition.owner.filter(|owner| shares.has_room(*owner)) else { continue };
            // Whom it was to go to is gone again.
            shares.add(owner);
            partition.leaving = false;
            self.take_back(owner, partition.stream);
        }
        for partition in partitions.iter_mut().rev().filter(|partition| !partition.leaving) {
            let Some(owner) = partition.owner else { continue };
            if partition.is_bound && !shares.has_too_many(owner) {
                continue;
            }
            if partition.is_bound {
                shares.remove(owner);
            }
            partition.leaving = !self.give_up(owner, partition.stream);
            if !partition.leaving {
                partition.owner = None;
            }
        }
        let gone = |partition: &mut Partition| !partition.is_bound && partition.owner.is_none();
        let all: BTreeSet<_> = members.iter().copied().collect();
        for partition in partitions.extract_if(.., gone) {
            self.forget_members(partition.stream, &all);
        }
        for partition in partitions.iter_mut().filter(|partition| partition.owner.is_none()) {
            partition.owner = shares.take_least();
            if let Some(owner) = partition.owner {
                self.give(key, partition, owner);
            }
        }
        self.groups.insert(key.clone(), group);
    }

    /// A member that was to give up a stream keeps it.
    fn take_back(&mut self, id: ConsumerId, stream: QueueId) {
        let Some(reading) = self.consumers.get_mut(id).and_then(|consumer| consumer.reading.as_mut()) else {
            return;
        };
        let Some(reader) = reading.reader_of(stream) else { return };
        reader.stay();
        if let Some((parts, _)) = self.queues.get_mut(stream).and_then(|queue| queue.stream_parts()) {
            parts.forget(|other| other != id);
        }
        self.go_on_reading(id);
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
        let group = &key.group;
        let next = match stream.tracking.get(group) {
            Some(next) => next,
            None => {
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
        self.go_on_reading(id);
    }

    /// A member has more to read. Who is out of credit goes on when it comes, as with everything else.
    fn go_on_reading(&mut self, id: ConsumerId) {
        let place = self.consumers.get(id).map(|consumer| consumer.place);
        if place.is_some_and(|place| !matches!(place, Place::Stalled | Place::Sated)) {
            self.grow_hungry(id);
        }
    }

    /// All groups that have members, or have had some on a stream.
    pub fn group_figures(&self) -> Vec<GroupFigures> {
        let mut all = Vec::new();
        for (Key { target, group: name, .. }, group) in &self.groups {
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
        let groups = self.groups.iter();
        let read = groups.flat_map(|(key, found)| found.partitions.iter().map(|p| (p.stream, &*key.group)));
        let read: HashSet<(QueueId, &str)> = read.collect();
        for (id, queue) in &self.queues {
            for (group, _) in queue.tracking().map(|tracking| tracking.all()).unwrap_or_default() {
                if !read.contains(&(id, &*group)) {
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
        let (first, committed) = queue.stream_ends()?;
        let offset = queue.tracking().and_then(|tracking| tracking.get(group)).unwrap_or(first);
        let lag = committed.saturating_sub(offset.max(first));
        Some(PartitionFigures { stream: Name::clone(&queue.name), owner, offset, lag })
    }
}

impl Reading {
    /// The reader of a stream.
    pub fn reader_of(&mut self, stream: QueueId) -> Option<&mut Reader> {
        self.readers.iter_mut().find(|reader| reader.stream == stream)
    }
}
