//! Dead letters that must not get lost (`x-dead-letter-strategy: at-least-once` of quorum queues).
//!
//! A message stays in its queue until every queue it goes to has it, on disk where that one is durable. As long as it
//! leads nowhere, or a queue has no room for it, it is held and tried again: now and then, a few at a time. Like in
//! RabbitMQ it may come twice if the node stops in between, and it takes `x-overflow: reject-publish` (otherwise the
//! source could not be held back either).

use std::collections::VecDeque;

use super::{Dying, Letter};
use crate::broker::commit::Commit;
use crate::broker::effects::Effects;
use crate::broker::queue::Queue;
use crate::broker::queue::arguments::{DeadLetterStrategy, Overflow, QueueType};
use crate::broker::queue::dispatch::Accepted;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{Map, QueueId};
use crate::log::Position;

/// Milliseconds until what could not be brought away is tried again.
const RETRY: u64 = 1_000;
/// Messages that are tried again at once, as long as that fails.
const TRIED: usize = 32;

/// The dead letters of a queue that are not safe yet.
#[derive(Debug, Default)]
pub struct Pending {
    /// Those to be tried again.
    held: VecDeque<Dying>,
    /// The queues that have not taken one yet, where others have.
    owed: Map<Position, Vec<QueueId>>,
    /// Those that are where they go when a commit is on disk, with the octets of their bodies.
    written: VecDeque<(Commit, (Position, u32))>,
}

impl Pending {
    /// How many there are, and the octets of their bodies.
    pub fn waiting(&self) -> (usize, u64) {
        let held = self.held.iter().map(|dying| dying.size);
        let sizes = held.chain(self.written.iter().map(|(_, (_, size))| *size));
        (self.held.len() + self.written.len(), sizes.map(u64::from).sum())
    }

    /// Whether a message waits for a commit.
    pub fn is_written(&self, position: Position) -> bool {
        self.written.iter().any(|(_, (written, _))| *written == position)
    }
}

impl Queue {
    pub(super) fn keeps_dead_letters(&self) -> bool {
        self.settings.dead_letter_strategy == DeadLetterStrategy::AtLeastOnce
            && self.settings.queue_type == QueueType::Quorum
            && self.settings.overflow == Overflow::RejectPublish
    }
}

impl Vhost {
    /// Brings a dead letter of a queue that keeps it to where it goes, or holds it.
    pub(super) fn bury_safely(&mut self, id: QueueId, dying: Dying, letter: &Letter, fx: &mut impl Effects) {
        let owed = self.pending_of(id).and_then(|pending| pending.owed.remove(&dying.position));
        let (mut targets, rounds) = match owed {
            Some(targets) => (targets, 0),
            None => self.targets_of(letter, dying.reason),
        };
        targets.retain(|target| self.queues.contains_key(*target));
        if targets.is_empty() && rounds == 0 {
            return self.hold(id, dying, targets);
        }
        let mut kept = false;
        targets.retain(|target| match self.hand_over(*target, letter, fx) {
            Accepted::Done => false,
            Accepted::Kept => {
                kept = true;
                false
            }
            Accepted::Refused => true,
        });
        if !targets.is_empty() {
            return self.hold(id, dying, targets);
        }
        let clock = self.clock;
        self.settle_when(id, (dying.position, dying.size), kept);
        // Where one finds room others may.
        if self.pending_of(id).is_some_and(|pending| !pending.held.is_empty()) {
            self.set_alarm(id, Alarm::Retry, Some(clock));
        }
    }

    /// Settles a message that has gone elsewhere, whose body has so many octets: if it is `kept` there, when it is on disk.
    pub(in crate::broker) fn settle_when(&mut self, id: QueueId, message: (Position, u32), kept: bool) {
        let commit = self.commits.current().filter(|_| kept);
        let Some(queue) = self.queues.get_mut(id) else { return };
        let Some(commit) = commit else {
            self.global.deaths.safe += u64::from(!queue.hidden);
            return queue.settle(message.0, message.1);
        };
        let pending = queue.pending_dead.get_or_insert_default();
        pending.written.push_back((commit, message));
        if pending.written.len() == 1 {
            self.writing_dead.push(id);
        }
    }

    fn pending_of(&mut self, id: QueueId) -> Option<&mut Pending> {
        self.queues.get_mut(id)?.pending_dead.as_deref_mut()
    }

    fn hold(&mut self, id: QueueId, dying: Dying, owed: Vec<QueueId>) {
        let at = self.clock + RETRY;
        let Some(queue) = self.queues.get_mut(id) else { return };
        let pending = queue.pending_dead.get_or_insert_default();
        if !owed.is_empty() {
            pending.owed.insert(dying.position, owed);
        }
        pending.held.push_back(dying);
        self.set_alarm(id, Alarm::Retry, Some(at));
    }

    /// Tries some of those that are held once more.
    pub(in crate::broker) fn retry_dead(&mut self, id: QueueId) {
        let at = self.clock + RETRY;
        let Some(queue) = self.queues.get_mut(id) else { return };
        let Some(pending) = &mut queue.pending_dead else { return };
        let some = pending.held.len().min(TRIED);
        queue.dying.extend(pending.held.drain(..some));
        if !pending.held.is_empty() {
            self.set_alarm(id, Alarm::Retry, Some(at));
        }
        self.exhume(id);
    }

    /// A commit, and all before it, is on disk: dead letters that were waiting for it may leave their queues.
    pub fn announce(&mut self, commit: Commit) {
        self.commits.announce(commit);
        self.announce_streams(commit);
        for id in std::mem::take(&mut self.writing_dead) {
            let Some(queue) = self.queues.get_mut(id) else { continue };
            let Some(written) = queue.pending_dead.as_mut().map(|pending| &mut pending.written) else {
                continue;
            };
            let count = written.partition_point(|(at, _)| *at <= commit);
            let safe: Vec<_> = written.drain(..count).collect();
            if !written.is_empty() {
                self.writing_dead.push(id);
            }
            // What a hidden queue gives on was only put off.
            self.global.deaths.safe += if queue.hidden { 0 } else { safe.len() as u64 };
            safe.into_iter().for_each(|(_, (position, size))| queue.settle(position, size));
            self.heed(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::counts::Strategy;
    use crate::broker::dead_letter::Reason;
    use crate::broker::definitions::tests::Nobody;
    use crate::broker::queue::declare::Declaration;
    use crate::broker::settle::Verdict;
    use crate::broker::{ChannelId, Now};
    use crate::wire::content::{Body, Message};
    use amq_protocol::types::{AMQPValue, FieldTable};

    struct Rig {
        vhost: Vhost,
        channel: ChannelId,
    }

    impl Rig {
        fn new() -> Self {
            let mut vhost = Vhost::new("v");
            vhost.keep(std::sync::Arc::default());
            let connection = vhost.connect();
            let channel = vhost.open_channel(connection, 1);
            let mut rig = Self { vhost, channel };
            rig.declare(
                "q",
                &[
                    ("x-queue-type", "quorum"),
                    ("x-dead-letter-exchange", ""),
                    ("x-dead-letter-routing-key", "dead"),
                    ("x-dead-letter-strategy", "at-least-once"),
                    ("x-overflow", "reject-publish"),
                ],
                None,
            );
            rig
        }

        fn declare(&mut self, name: &str, texts: &[(&str, &str)], max_length: Option<i32>) {
            let mut arguments = FieldTable::default();
            for (key, value) in texts {
                arguments.insert((*key).into(), AMQPValue::LongString((*value).into()));
            }
            if let Some(max) = max_length {
                arguments.insert("x-max-length".into(), AMQPValue::LongInt(max));
                arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
            }
            let declaration = Declaration {
                name: name.into(),
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments,
                creator: None,
            };
            self.vhost.declare_queue(None, declaration).expect("a queue");
        }

        /// A message comes and is rejected.
        fn reject_one(&mut self) {
            let properties = [0x10, 0, 2];
            let message = Message {
                exchange: b"",
                routing_key: b"q",
                properties: &properties,
                body: Body::Inline(b"m"),
            };
            let targets = self.vhost.route(&message).targets;
            self.vhost.publish(&targets, &message, 0, &mut Nobody);
            self.vhost.get(self.channel, b"q", false, &mut Nobody).expect("a message");
            self.vhost.settle(self.channel, 0, true, Verdict::Discard).expect("settled");
            self.vhost.dispatch_due(&mut Nobody);
        }

        fn commit(&mut self) {
            let (commit, _) = self.vhost.gather(true, &mut Default::default());
            self.vhost.announce(commit);
        }

        fn wait(&mut self, now: Now) {
            self.vhost.set_clock(now);
            while self.vhost.next_alarm().is_some_and(|at| at <= now) {
                self.vhost.tick(&mut Nobody);
            }
        }

        /// What is left in the source, and what has arrived.
        fn counts(&self) -> (usize, usize) {
            let ready = self.vhost.queue(b"dead").map_or(0, Queue::ready);
            (self.vhost.queue(b"q").expect("the source").unacked(), ready)
        }
    }

    #[test]
    fn a_message_leaves_its_queue_when_it_is_on_disk_elsewhere() {
        let mut rig = Rig::new();
        rig.declare("dead", &[], None);
        rig.reject_one();
        assert_eq!(rig.counts(), (1, 1));
        let deaths = |rig: &Rig| {
            let deaths = rig.vhost.global().deaths;
            (deaths.count(1, Strategy::AtLeastOnce, Reason::Rejected), deaths.safe)
        };
        assert_eq!(deaths(&rig), (1, 0));
        rig.commit();
        assert_eq!(rig.counts(), (0, 1));
        assert_eq!(deaths(&rig), (1, 1));
    }

    #[test]
    fn a_message_waits_for_somewhere_to_go() {
        let mut rig = Rig::new();
        (0..100).for_each(|_| rig.reject_one());
        rig.wait(10_000);
        rig.commit();
        assert_eq!(rig.counts(), (100, 0));
        rig.declare("dead", &[], None);
        rig.wait(11_000);
        rig.commit();
        assert_eq!(rig.counts(), (0, 100), "all, once the first have found their way");
    }

    #[test]
    fn a_message_waits_for_room_and_comes_once() {
        let mut rig = Rig::new();
        rig.declare("dead", &[], Some(1));
        rig.reject_one();
        rig.reject_one();
        rig.wait(5_000);
        rig.commit();
        assert_eq!(rig.counts(), (1, 1));
        rig.vhost.purge(None, b"dead", &mut Nobody).expect("purged");
        rig.wait(10_000);
        rig.commit();
        assert_eq!(rig.counts(), (0, 1));
    }
}
