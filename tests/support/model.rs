//! The reference: queues so simple that they are easy to believe. Every queue is a list of messages in the order they
//! came, every question is answered by looking through it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use leveret::broker::{ChannelId, ConnectionId, QueueId};

/// What the outside sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Deliver {
        connection: ConnectionId,
        channel: u16,
        consumer: String,
        tag: u64,
        redelivered: bool,
        message: usize,
    },
    Got {
        connection: ConnectionId,
        channel: u16,
        tag: u64,
        redelivered: bool,
        left: usize,
        message: usize,
    },
    Cancelled {
        connection: ConnectionId,
        channel: u16,
        consumer: String,
    },
}

/// A message by the number it was published under.
#[derive(Clone, Debug)]
pub struct Message {
    pub number: usize,
    pub size: usize,
    priority: u8,
    delivered: bool,
    /// Delivered and neither settled nor requeued since.
    unacked: bool,
    /// When it was requeued last, in a quorum queue.
    returned: Option<u64>,
}

/// What kind of queue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// A classic queue with priorities up to this one.
    Priorities(u8),
    Quorum,
}

impl Kind {
    fn priority(self, named: Option<u8>) -> u8 {
        match (self, named) {
            (Self::Plain, _) | (Self::Priorities(_), None) => 0,
            (Self::Priorities(max), Some(named)) => named.min(max),
            (Self::Quorum, None) => 4,
            (Self::Quorum, Some(named)) => named.min(31),
        }
    }
}

/// Who of a queue's consumers get messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    All,
    /// A single active one.
    One,
    /// A single active one, which stands down for one of a higher priority.
    Best,
}

#[derive(Debug)]
pub struct Queue {
    kind: Kind,
    pub messages: Vec<Message>,
    pub sharing: Sharing,
    /// The active consumer where there is a single one, and whether it is to stand down.
    active: Option<(String, bool)>,
    returns: u64,
}

impl Queue {
    pub fn ready(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| !message.unacked)
    }

    pub fn unacked(&self) -> usize {
        self.messages.len() - self.ready().count()
    }

    /// Marks the first ready message as delivered: it, and whether it had been before. Of those with the highest
    /// priority it is the oldest; in a quorum queue those that came back go first.
    fn take(&mut self) -> Option<(Message, bool)> {
        let ready = self.messages.iter_mut().filter(|message| !message.unacked);
        let turn = |message: &&mut Message| (message.returned.unwrap_or(u64::MAX), Reverse(message.priority));
        let message = ready.min_by_key(turn)?;
        let before = std::mem::replace(&mut message.delivered, true);
        (message.unacked, message.returned) = (true, None);
        Some((message.clone(), before))
    }

    fn put_back(&mut self, number: usize) {
        let message = self.messages.iter_mut().find(|message| message.number == number);
        let message = message.expect("an unacknowledged message");
        message.unacked = false;
        self.returns += 1;
        message.returned = (self.kind == Kind::Quorum).then_some(self.returns);
    }

    fn remove(&mut self, number: usize) {
        self.messages.retain(|message| message.number != number);
    }
}

#[derive(Debug)]
pub struct Consumer {
    pub name: String,
    pub channel: ChannelId,
    /// The queue; another one of the same name later has another id.
    pub queue: QueueId,
    pub no_ack: bool,
    pub priority: i64,
    pub prefetch: usize,
    pub unacked: usize,
    /// Passed over because its connection had no credit.
    pub stalled: bool,
    /// When it last had its turn or became able to have one.
    pub turn: u64,
}

impl Consumer {
    pub fn is_full(&self) -> bool {
        !self.no_ack && self.prefetch > 0 && self.unacked >= self.prefetch
    }
}

#[derive(Clone, Debug)]
pub struct Unacked {
    pub tag: u64,
    queue: QueueId,
    message: usize,
    consumer: Option<String>,
}

#[derive(Debug)]
pub struct Channel {
    pub connection: ConnectionId,
    pub number: u16,
    last_tag: u64,
    pub unacked: Vec<Unacked>,
}

/// What a client says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Gone,
    Back,
}

#[derive(Debug, Default)]
pub struct Model {
    /// A message that goes to several queues goes to them in the order of their ids.
    pub queues: BTreeMap<QueueId, Queue>,
    /// In the order in which they came.
    pub consumers: Vec<Consumer>,
    pub channels: BTreeMap<ChannelId, Channel>,
    /// How many more deliveries a connection takes.
    pub credit: BTreeMap<ConnectionId, usize>,
    /// Consumers that were passed over, in the order in which they were.
    stalled: Vec<(ConnectionId, String)>,
    clock: u64,
    pub events: Vec<Event>,
}

impl Model {
    pub fn connect(&mut self, id: ConnectionId) {
        self.credit.insert(id, usize::MAX);
    }

    pub fn open_channel(&mut self, connection: ConnectionId, id: ChannelId, number: u16) {
        self.channels.insert(id, Channel { connection, number, last_tag: 0, unacked: Vec::new() });
    }

    pub fn declare(&mut self, id: QueueId, kind: Kind, sharing: Sharing) {
        self.queues.insert(id, Queue { kind, messages: Vec::new(), sharing, active: None, returns: 0 });
    }

    pub fn publish(&mut self, queue: QueueId, number: usize, size: usize, priority: Option<u8>) {
        if let Some(found) = self.queues.get_mut(&queue) {
            let priority = found.kind.priority(priority);
            let message =
                Message { number, size, priority, delivered: false, unacked: false, returned: None };
            found.messages.push(message);
            self.dispatch(queue);
        }
    }

    pub fn consume(&mut self, mut consumer: Consumer) {
        consumer.turn = self.tick();
        let (queue, priority) = (consumer.queue, consumer.priority);
        self.consumers.push(consumer);
        self.overtake(queue, priority);
        self.elect(queue);
        self.dispatch(queue);
    }

    pub fn cancel(&mut self, name: &str) {
        self.consumers.retain(|consumer| consumer.name != name);
        self.elect_everywhere();
        self.dispatch_all();
    }

    /// The active consumer has to stand down for one of a higher priority, at once if it has nothing.
    fn overtake(&mut self, id: QueueId, priority: i64) {
        let Some(queue) = self.queues.get_mut(&id).filter(|queue| queue.sharing == Sharing::Best) else {
            return;
        };
        let Some((name, leaving)) = &mut queue.active else { return };
        let active = self.consumers.iter().find(|consumer| consumer.name == *name).expect("the active one");
        if priority > active.priority {
            *leaving = true;
            if active.unacked == 0 {
                self.stand_down(id);
            }
        }
    }

    fn stand_down(&mut self, id: QueueId) {
        let (name, _) =
            self.queues.get_mut(&id).and_then(|queue| queue.active.take()).expect("an active one");
        let at = self.consumers.iter().position(|consumer| consumer.name == name).expect("the active one");
        let consumer = self.consumers.remove(at);
        self.consumers.push(consumer);
    }

    /// If a queue needs an active consumer it is the first of those with the highest priority.
    fn elect(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id).filter(|queue| queue.sharing != Sharing::All) else {
            return;
        };
        if queue.active.as_ref().is_some_and(|(name, _)| self.consumers.iter().any(|c| c.name == *name)) {
            return;
        }
        let there = self.consumers.iter_mut().filter(|consumer| consumer.queue == id);
        let best = there.min_by_key(|consumer| -consumer.priority);
        queue.active = best.map(|consumer| {
            consumer.stalled = false;
            (consumer.name.clone(), false)
        });
    }

    fn elect_everywhere(&mut self) {
        self.queues.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.elect(id));
    }

    fn dispatch_all(&mut self) {
        self.queues.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.dispatch(id));
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Consumers who could take a message of a queue, the one whose turn it is first.
    pub fn able(&self, queue: QueueId) -> Vec<&Consumer> {
        let found = self.queues.get(&queue);
        let is_active = |c: &Consumer| match found {
            Some(Queue { sharing: Sharing::All, .. }) => true,
            Some(Queue { active: Some((name, leaving)), .. }) => *name == c.name && !leaving,
            _ => false,
        };
        let able = |c: &&Consumer| c.queue == queue && !c.is_full() && !c.stalled && is_active(c);
        let mut found: Vec<_> = self.consumers.iter().filter(able).collect();
        found.sort_by_key(|consumer| (-consumer.priority, consumer.turn));
        found
    }

    fn dispatch(&mut self, queue: QueueId) {
        while self.queues.get(&queue).is_some_and(|found| found.ready().next().is_some()) {
            let Some(name) = self.able(queue).first().map(|consumer| consumer.name.clone()) else { return };
            self.turn(queue, &name);
        }
    }

    /// A consumer has its turn: a message, or none because its connection is full.
    fn turn(&mut self, queue: QueueId, name: &str) {
        let now = self.tick();
        let consumer = self.consumers.iter_mut().find(|consumer| consumer.name == name).expect("a consumer");
        let channel = self.channels.get_mut(&consumer.channel).expect("its channel");
        let credit = self.credit.get_mut(&channel.connection).expect("its connection");
        if *credit == 0 {
            consumer.stalled = true;
            self.stalled.push((channel.connection, name.to_owned()));
            return;
        }
        *credit -= 1;
        consumer.turn = now;
        channel.last_tag += 1;
        let tag = channel.last_tag;
        let found = self.queues.get_mut(&queue).expect("a queue");
        let (message, redelivered) = found.take().expect("a ready message");
        if consumer.no_ack {
            found.remove(message.number);
        } else {
            consumer.unacked += 1;
            let consumer = Some(name.to_owned());
            channel.unacked.push(Unacked { tag, queue, message: message.number, consumer });
        }
        self.events.push(Event::Deliver {
            connection: channel.connection,
            channel: channel.number,
            consumer: name.to_owned(),
            tag,
            redelivered,
            message: message.number,
        });
    }

    pub fn get(&mut self, channel: ChannelId, queue: QueueId, no_ack: bool) -> bool {
        let Some((message, redelivered)) = self.queues.get_mut(&queue).and_then(Queue::take) else {
            return false;
        };
        let found = self.queues.get_mut(&queue).expect("a queue");
        let left = found.ready().count();
        if no_ack {
            found.remove(message.number);
        }
        let on = self.channels.get_mut(&channel).expect("a channel");
        on.last_tag += 1;
        let tag = on.last_tag;
        if !no_ack {
            on.unacked.push(Unacked { tag, queue, message: message.number, consumer: None });
        }
        let (connection, channel) = (on.connection, on.number);
        let message = message.number;
        self.events.push(Event::Got { connection, channel, tag, redelivered, left, message });
        true
    }

    /// Settles one tag, or with `multiple` all up to it (all for 0). Returns whether that is allowed.
    pub fn settle(&mut self, channel: ChannelId, tag: u64, multiple: bool, fate: Fate) -> bool {
        let unacked = &mut self.channels.get_mut(&channel).expect("a channel").unacked;
        if !(unacked.iter().any(|one| one.tag == tag) || (multiple && tag == 0)) {
            return false;
        }
        let meant = |one: &Unacked| if multiple { tag == 0 || one.tag <= tag } else { one.tag == tag };
        let taken: Vec<_> = unacked.iter().filter(|one| meant(one)).cloned().collect();
        unacked.retain(|one| !meant(one));
        self.end(&taken, fate);
        true
    }

    fn end(&mut self, taken: &[Unacked], fate: Fate) {
        let mut queues: Vec<QueueId> = Vec::new();
        for one in taken {
            let freed = self.free(one.consumer.as_deref());
            let Some(queue) = self.queues.get_mut(&one.queue) else { continue };
            if fate == Fate::Back {
                queue.put_back(one.message);
            } else {
                queue.remove(one.message);
            }
            if (freed || fate == Fate::Back) && !queues.contains(&one.queue) {
                queues.push(one.queue);
            }
        }
        queues.into_iter().for_each(|queue| self.dispatch(queue));
    }

    /// A consumer has one unacknowledged delivery less; says whether that lets it take messages again.
    fn free(&mut self, name: Option<&str>) -> bool {
        let now = self.tick();
        let Some(consumer) = self.consumers.iter_mut().find(|c| Some(c.name.as_str()) == name) else {
            return false;
        };
        let was_full = consumer.is_full();
        consumer.unacked -= 1;
        let freed = was_full && !consumer.is_full();
        if freed {
            consumer.turn = now;
        }
        let (id, has_none) = (consumer.queue, consumer.unacked == 0);
        let active = self.queues.get(&id).and_then(|queue| queue.active.as_ref());
        if has_none && active.is_some_and(|(active, leaving)| Some(active.as_str()) == name && *leaving) {
            self.stand_down(id);
            self.elect(id);
            return true;
        }
        freed
    }

    pub fn close_channel(&mut self, id: ChannelId) {
        self.close_channels(&[id]);
    }

    /// The consumers go first, so that nothing comes back to channels that are about to close.
    fn close_channels(&mut self, ids: &[ChannelId]) {
        self.consumers.retain(|consumer| !ids.contains(&consumer.channel));
        self.elect_everywhere();
        for id in ids {
            self.settle(*id, 0, true, Fate::Back);
            self.channels.remove(id);
        }
        self.dispatch_all();
    }

    pub fn disconnect(&mut self, id: ConnectionId) {
        let channels = self.channels.iter().filter(|(_, channel)| channel.connection == id);
        let channels: Vec<_> = channels.map(|(id, _)| *id).collect();
        self.close_channels(&channels);
        self.credit.remove(&id);
    }

    pub fn purge(&mut self, id: QueueId) -> usize {
        let queue = self.queues.get_mut(&id).expect("a queue");
        let count = queue.ready().count();
        queue.messages.retain(|message| message.unacked);
        count
    }

    pub fn delete(&mut self, id: QueueId) -> usize {
        let queue = self.queues.remove(&id).expect("a queue");
        for consumer in self.consumers.iter().filter(|consumer| consumer.queue == id) {
            let on = &self.channels[&consumer.channel];
            let consumer = consumer.name.clone();
            self.events.push(Event::Cancelled { connection: on.connection, channel: on.number, consumer });
        }
        self.consumers.retain(|consumer| consumer.queue != id);
        queue.ready().count()
    }

    /// A connection takes deliveries again. Who waits longest comes first; who is passed over anew comes after those
    /// who still wait.
    pub fn resume(&mut self, id: ConnectionId, credit: usize) {
        self.credit.insert(id, credit);
        let waiting = self.stalled.iter().filter(|(connection, _)| *connection == id).count();
        for _ in 0..waiting {
            if self.credit[&id] == 0 {
                return;
            }
            let at =
                self.stalled.iter().position(|(connection, _)| *connection == id).expect("one that waits");
            let (_, name) = self.stalled.remove(at);
            let now = self.tick();
            // One that was cancelled meanwhile has nothing to get.
            if let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.name == name) {
                consumer.stalled = false;
                consumer.turn = now;
                let queue = consumer.queue;
                self.dispatch(queue);
            }
        }
    }
}
