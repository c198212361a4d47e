//! Looking at a queue's messages without taking them, and moving some of them elsewhere.
//!
//! Messages are gone through by their positions, lane by lane, the highest priority first. A position names a message for
//! as long as it is in the queue, so that whoever looks at some can go on behind the last one later. What is on disk is
//! asked for, and comes later; in the meantime the vhost does other things.

use super::QueueId;
use super::effects::Effects;
use super::post::Kept;
use super::publish::{Outcome, Route};
use super::queue::Queue;
use super::queue::arguments::QueueType;
use super::queue::lane::{Lane, inside, lane_of};
use super::vhost::Vhost;
use crate::log::{At, Position};
use crate::wire::reply::Exception;

/// A message as it lies in a queue.
#[derive(Clone, Debug)]
pub struct Found {
    pub position: Position,
    /// When it came to the queue, in milliseconds since 1970.
    pub came: u64,
    /// Whether it waits for a consumer; if not, somebody has it, or it waits for something else.
    pub ready: bool,
    /// What stays with it (`dead_letter`).
    pub marks: u8,
    /// As it would be delivered.
    pub message: Kept,
}

/// What comes of going on.
#[derive(Debug)]
pub enum Step {
    Found(Box<Found>),
    /// It is on disk and has been asked for.
    Wait,
    /// There is nothing more, or there is no such queue any more.
    End,
}

impl Queue {
    /// Whether a message, which is there, waits for a consumer.
    fn is_ready(&self, position: Position) -> bool {
        self.lane_at(position).is_some_and(|lane| lane.is_ready(position)) || self.has_returned(position)
    }

    /// Looks for just this message, which has to be where it can be dropped.
    fn find(&mut self, position: Position) -> At {
        let Some(lane) = self.lane_at_mut(position) else { return At::End };
        match lane.log.seek(inside(position)) {
            At::Here(found) if found != inside(position) || !lane.log.is_wanted(found) => At::End,
            At::Here(found) if !lane.log.is_removable(found) => At::OnDisk,
            At::Here(_) => At::Here(position),
            other => other,
        }
    }

    /// Ends of all lanes: what comes to the queue later is at or behind one of these, or in another lane.
    fn ends(&self) -> Vec<Position> {
        self.lanes().map(|lane| lane.outside(lane.log.next())).collect()
    }

    /// Goes on in a lane from a position, or in the lanes behind it. Also says from where on in a lane it has looked last.
    fn seek_from(&mut self, from: Option<Position>) -> (At, Position) {
        let mut lanes: Vec<_> = self.lanes().map(|lane| (lane.priority, lane.number)).collect();
        lanes.sort_unstable_by(|a, b| b.cmp(a));
        let at = match from.map(lane_of) {
            Some(number) => lanes.iter().position(|(_, lane)| *lane == number),
            None => Some(0),
        };
        // A lane that has gone, which cannot be unless the queue has been deleted and declared again, ends it.
        let Some(at) = at else { return (At::End, 0) };
        for (n, (_, number)) in lanes.into_iter().skip(at).enumerate() {
            let begin = if n == 0 { from.map_or(0, inside) } else { 0 };
            let Some(lane) = self.lanes_mut().find(|lane| lane.number == number) else { continue };
            match seek_wanted(lane, begin) {
                (At::Here(position), from) => return (At::Here(lane.outside(position)), lane.outside(from)),
                (At::OnDisk, from) => return (At::OnDisk, lane.outside(from)),
                (At::End, _) => {}
            }
        }
        (At::End, 0)
    }
}

/// The first record at or after a position within a lane that is not done with, and from where on it was looked for last.
fn seek_wanted(lane: &mut Lane, mut from: Position) -> (At, Position) {
    loop {
        match lane.log.seek(from) {
            At::Here(position) if !lane.log.is_wanted(position) => from = position + 1,
            other => return (other, from),
        }
    }
}

impl Vhost {
    /// Refuses a queue that is not there, that is somebody's own, or that is a stream, which has ways of its own to be read.
    pub fn check_browsable(&self, queue: &[u8]) -> Result<(), Exception> {
        let id = self.queue_id(queue)?;
        self.check_not_locked(id, None)?;
        match self.queues.get(id) {
            Some(found) if found.settings.queue_type == QueueType::Stream => {
                let described = self.describe("queue", queue);
                Err(Exception::precondition_failed(format!(
                    "browsing is not supported by stream queues: {described}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The first message of a queue at or behind a position, or the first of all.
    pub fn browse(&mut self, queue: &[u8], from: Option<Position>) -> Step {
        let Ok(id) = self.queue_id(queue) else { return Step::End };
        let Some(queue) = self.queues.get_mut(id).filter(|queue| !queue.hidden) else { return Step::End };
        let (at, from) = queue.seek_from(from);
        let step = match at {
            At::End => Step::End,
            At::OnDisk => Step::Wait,
            At::Here(position) => match queue.record(position) {
                Some(record) => Step::Found(Box::new(Found {
                    position,
                    came: record.timestamp,
                    ready: queue.is_ready(position),
                    marks: record.marks,
                    message: queue.shown(position, &record, Kept::of),
                })),
                None => Step::Wait,
            },
        };
        match &step {
            Step::Found(found) => self.unpin(id, found.position),
            Step::Wait => self.pin(id, from),
            Step::End => {}
        }
        self.heed(id);
        step
    }

    /// Ends of what there is of a queue's messages now: what comes later is not [before](is_before) any of these.
    pub fn browse_ends(&self, queue: &[u8]) -> Vec<Position> {
        self.queue(queue).map(Queue::ends).unwrap_or_default()
    }

    /// Publishes a message of a queue once more, as it is, to where exchange and routing key lead, if it is still ready.
    /// More keys (`CC`)
    /// do not count.
    pub fn forward(
        &mut self,
        queue: &[u8],
        found: &Found,
        (exchange, routing_key): (&[u8], &[u8]),
        fx: &mut impl Effects,
    ) -> Forwarded {
        let Ok(id) = self.queue_id(queue) else { return Forwarded::Gone };
        let Some(source) = self.queues.get_mut(id) else { return Forwarded::Gone };
        match source.find(found.position) {
            At::Here(position) if source.is_ready(position) => self.unpin(id, position),
            At::OnDisk => {
                self.pin(id, found.position);
                self.heed(id);
                return Forwarded::Wait;
            }
            At::Here(_) | At::End => return Forwarded::Gone,
        }
        let mut message = found.message.message();
        (message.exchange, message.routing_key) = (exchange, routing_key);
        let Route { targets, filtered, .. } = self.route(&message);
        if targets.is_empty() && !filtered {
            self.give_back(targets);
            return Forwarded::Unroutable;
        }
        // What it has been through elsewhere counts for nothing there.
        let outcome = self.publish_marked(&targets, &message, 0, self.clock, fx);
        self.give_back(targets);
        Forwarded::Published(outcome)
    }

    /// Takes a ready message out of a queue for good.
    pub fn drop_ready(&mut self, queue: &[u8], position: Position) -> Dropped {
        let Ok(id) = self.queue_id(queue) else { return Dropped::Gone };
        let Some(queue) = self.queues.get_mut(id) else { return Dropped::Gone };
        match queue.find(position) {
            At::Here(position) if queue.is_ready(position) => {}
            At::OnDisk => {
                self.pin(id, position);
                self.heed(id);
                return Dropped::Wait;
            }
            At::Here(_) | At::End => return Dropped::Gone,
        }
        queue.drop_at(position);
        self.unpin(id, position);
        self.note_taken_away(id);
        Dropped::Done
    }

    /// What was taken away does not come back after a crash, once somebody has been told.
    fn note_taken_away(&mut self, id: QueueId) {
        if self.queues.get(id).is_some_and(|queue| queue.is_kept()) {
            self.commits.note_definition();
            self.commits.make_thorough();
        }
        self.heed(id);
    }
}

/// What became of a message that was to be published once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    Published(Outcome),
    Unroutable,
    /// It is on disk and has been asked for.
    Wait,
    /// It is not in the queue any more, or somebody has it.
    Gone,
}

/// What became of a message that was to be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    Done,
    /// It is on disk and has been asked for.
    Wait,
    /// It is not there any more, or somebody has it.
    Gone,
}

/// Whether a message was in a queue when these were its [ends](Vhost::browse_ends).
pub fn is_before(position: Position, ends: &[Position]) -> bool {
    ends.iter().any(|end| lane_of(*end) == lane_of(position) && position < *end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::definitions::tests::Nobody;
    use crate::broker::queue::declare::Declaration;
    use crate::wire::content::{Body, Message};
    use amq_protocol::types::{AMQPValue, FieldTable};

    fn vhost() -> Vhost {
        let mut vhost = Vhost::new("v");
        for name in ["q", "to"] {
            let mut arguments = FieldTable::default();
            arguments.insert("x-max-priority".into(), AMQPValue::LongInt(5));
            let declaration = Declaration {
                name: name.into(),
                durable: true,
                exclusive: false,
                auto_delete: false,
                arguments,
                creator: None,
            };
            vhost.declare_queue(None, declaration).expect("a queue");
        }
        vhost
    }

    fn publish(vhost: &mut Vhost, priority: u8, body: &str) {
        let properties = [0x08, 0, priority];
        let body = Body::Inline(body.as_bytes());
        let message = Message { exchange: b"", routing_key: b"q", properties: &properties, body };
        let targets = vhost.route(&message).targets;
        vhost.publish(&targets, &message, 0, &mut Nobody);
    }

    /// All messages as they are gone through: body, and whether it is ready.
    fn all(vhost: &mut Vhost) -> Vec<(String, bool, Position)> {
        let (mut found, mut from) = (Vec::new(), None);
        while let Step::Found(one) = vhost.browse(b"q", from) {
            let body = String::from_utf8_lossy(one.message.message().body.octets()).into_owned();
            found.push((body, one.ready, one.position));
            from = Some(one.position + 1);
        }
        found
    }

    fn bodies(vhost: &mut Vhost) -> Vec<String> {
        all(vhost).into_iter().map(|(body, ..)| body).collect()
    }

    #[test]
    fn nothing_is_taken_and_the_highest_priority_comes_first() {
        let mut vhost = vhost();
        for (priority, body) in [(0, "a"), (5, "b"), (0, "c"), (5, "d"), (3, "e")] {
            publish(&mut vhost, priority, body);
        }
        for _ in 0..2 {
            assert_eq!(bodies(&mut vhost), ["b", "d", "e", "a", "c"]);
        }
        assert_eq!(vhost.queue(b"q").map(Queue::ready), Some(5));
        let connection = vhost.connect();
        let channel = vhost.open_channel(connection, 1);
        vhost.get(channel, b"q", false, &mut Nobody).expect("a message");
        let ready: Vec<_> = all(&mut vhost).into_iter().map(|(_, ready, _)| ready).collect();
        assert_eq!(ready, [false, true, true, true, true]);
    }

    #[test]
    fn messages_leave_from_anywhere_but_not_from_those_who_have_them() {
        let mut vhost = vhost();
        for body in ["a", "b", "c", "d"] {
            publish(&mut vhost, 0, body);
        }
        let connection = vhost.connect();
        let channel = vhost.open_channel(connection, 1);
        vhost.get(channel, b"q", false, &mut Nobody).expect("a message");
        let positions: Vec<_> = all(&mut vhost).into_iter().map(|(_, _, position)| position).collect();
        assert_eq!(vhost.drop_ready(b"q", positions[0]), Dropped::Gone);
        assert_eq!(vhost.drop_ready(b"q", positions[2]), Dropped::Done);
        assert_eq!(vhost.drop_ready(b"q", positions[2]), Dropped::Gone);
        assert_eq!(vhost.queue(b"q").map(|q| (q.ready(), q.unacked(), q.ready_bytes())), Some((2, 1, 2)));
        assert_eq!(bodies(&mut vhost), ["a", "b", "d"]);
        // What is left comes in its order.
        vhost.close_channel(channel, &mut Nobody);
        assert_eq!(vhost.drop_ready(b"q", positions[0]), Dropped::Done);
        let channel = vhost.open_channel(connection, 2);
        for left in [1, 0] {
            vhost.get(channel, b"q", true, &mut Nobody).expect("a message");
            assert_eq!(vhost.queue(b"q").map(Queue::ready), Some(left));
        }
        assert_eq!(vhost.purge(None, b"q", &mut Nobody), Ok(0));
    }

    #[test]
    fn what_is_forwarded_stays_until_it_is_dropped() {
        let mut vhost = vhost();
        publish(&mut vhost, 0, "a");
        let Step::Found(found) = vhost.browse(b"q", None) else { panic!("nothing found") };
        let to = |key: &'static [u8]| (&b""[..], key);
        assert_eq!(vhost.forward(b"q", &found, to(b"no"), &mut Nobody), Forwarded::Unroutable);
        let published = Forwarded::Published(Outcome::Done);
        assert_eq!(vhost.forward(b"q", &found, to(b"to"), &mut Nobody), published);
        let ready = |vhost: &Vhost, name: &str| vhost.queue(name.as_bytes()).map(Queue::ready);
        assert_eq!((ready(&vhost, "q"), ready(&vhost, "to")), (Some(1), Some(1)));
        let ends = vhost.browse_ends(b"q");
        assert!(is_before(found.position, &ends) && !is_before(found.position + 1, &ends));
        assert_eq!(vhost.drop_ready(b"q", found.position), Dropped::Done);
        assert_eq!(vhost.forward(b"no", &found, to(b"to"), &mut Nobody), Forwarded::Gone);
    }
}
