//! Dead letters: messages that a queue has given up, and where they go.
//!
//! What comes in are messages that were rejected, have expired, had no room or were returned too often; what goes out
//! are the same messages, with their [`death`] written into them, published to the exchange that their queue names.
//!
//! A message that dies stays in its queue's log until it has been brought to where it goes. That is done after what
//! killed it ([`Vhost::bury_dead`]), since one death may mean another, and since the message may have to be read from
//! disk first.
//!
//! - [`death`][]: what is written into a message
//! - [`safe`][]: those that must not get lost

pub mod death;
pub mod safe;

use super::counts::Strategy;
use super::effects::Effects;
use super::queue::Queue;
use super::queue::arguments::QueueType;
use super::queue::dispatch::Accepted;
use super::timers::Alarm;
use super::vhost::Vhost;
use super::{Now, QueueId};
use crate::log::Position;
use crate::wire::content::{Body, Message};
use crate::wire::headers;
use crate::wire::properties;
use crate::wire::table::{self, Value};
use death::Death;

/// Dead letters brought away at once; the vhost is not to be kept from others for long.
const AT_ONCE: usize = 5_000;

/// What a message has died of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

impl Reason {
    /// As `x-death` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A record's mark: it was delivered before it came to this queue.
pub const REDELIVERED: u8 = 0x10;
/// A record's mark: `x-death` and its companions are the broker's.
pub const DIED: u8 = 0x20;
/// A record's mark: it has been sent on with another routing key, so that `CC` and `BCC` say nothing any more.
pub const REROUTED: u8 = 0x40;

/// A record's mark: it has a header `BCC`, which nobody is to see.
pub const BLIND: u8 = 0x80;

/// Shows a message with these marks without what nobody is to see.
#[inline]
pub fn seen<R>(message: &Message<'_>, marks: u8, show: impl FnOnce(&Message<'_>) -> R) -> R {
    let stripped = if marks & BLIND == 0 { None } else { headers::without(message.properties, b"BCC") };
    match stripped {
        Some(properties) => show(&Message { properties: &properties, ..*message }),
        None => show(message),
    }
}

/// A message of a queue that has died and is still in its log.
#[derive(Clone, Copy, Debug)]
pub struct Dying {
    position: Position,
    /// Octets of its body.
    size: u32,
    redelivered: bool,
    reason: Reason,
}

/// A message of its own, on its way from a queue to an exchange.
#[derive(Debug, Default)]
struct Letter {
    exchange: Box<[u8]>,
    /// The first one is the message's; the others are looked at for where it goes.
    keys: Vec<Box<[u8]>>,
    properties: Vec<u8>,
    body: bytes::Bytes,
    marks: u8,
}

impl Letter {
    fn message<'a>(&'a self, routing_key: &'a [u8]) -> Message<'a> {
        let Self { exchange, properties, body, .. } = self;
        Message { exchange, routing_key, properties, body: Body::Shared(body) }
    }
}

impl Queue {
    /// Where its dead letters go, if they go anywhere.
    fn dead_letter_exchange(&self) -> Option<&[u8]> {
        self.settings.dead_letter_exchange.as_deref()
    }

    /// What becomes of its dead letters, where they go to an exchange that `is_there`. A quorum queue does not look.
    fn strategy(&self, is_there: impl Fn(&[u8]) -> bool) -> Strategy {
        match self.dead_letter_exchange() {
            None => Strategy::Disabled,
            Some(_) if self.keeps_dead_letters() => Strategy::AtLeastOnce,
            Some(_) if self.settings.queue_type == QueueType::Quorum => Strategy::AtMostOnce,
            Some(exchange) if is_there(exchange) => Strategy::AtMostOnce,
            Some(_) => Strategy::Disabled,
        }
    }

    /// A message of this queue, in memory, as a dead letter.
    fn letter(&self, dying: Dying, now: Now) -> Option<Letter> {
        let record = self.record(dying.position)?;
        let mut letter = self.letter_of(&record.parts, record.marks, dying.reason, now)?;
        if dying.redelivered {
            letter.marks |= REDELIVERED;
        }
        Some(letter)
    }

    fn letter_of(&self, message: &Message<'_>, marks: u8, reason: Reason, now: Now) -> Option<Letter> {
        let (died_before, rerouted) = (marks & DIED != 0, marks & REROUTED != 0);
        let copies = if rerouted { Copies::default() } else { Copies::of(message.properties) };
        let told: Vec<_> = std::iter::once(message.routing_key).chain(copies.cc.iter().copied()).collect();
        let queue = self.name.as_bytes();
        let death = Death { queue, reason, exchange: message.exchange, routing_keys: &told, now };
        let mut properties = Vec::with_capacity(message.properties.len() + 256);
        death::record(message.properties, died_before, &death, &mut properties).ok()?;
        let own_key = self.settings.dead_letter_routing_key.as_deref();
        let keys = match own_key {
            Some(key) => vec![key.into()],
            None => told.into_iter().chain(copies.bcc).map(Box::from).collect(),
        };
        let body = match message.body {
            Body::Inline(octets) => bytes::Bytes::copy_from_slice(octets),
            Body::Shared(bytes) => bytes.clone(),
        };
        let rerouted = if own_key.is_some() { REROUTED } else { 0 };
        let marks = DIED | rerouted | (marks & (REDELIVERED | REROUTED | BLIND));
        Some(Letter { exchange: self.dead_letter_exchange()?.into(), keys, properties, body, marks })
    }
}

/// What the headers `CC` and `BCC` name.
#[derive(Debug, Default)]
pub(super) struct Copies<'a> {
    pub cc: Vec<&'a [u8]>,
    pub bcc: Vec<&'a [u8]>,
}

impl<'a> Copies<'a> {
    pub fn of(raw: &'a [u8]) -> Self {
        let headers = properties::walk(raw).ok().and_then(|found| found.headers).unwrap_or_default();
        let keys = |name: &[u8]| match table::find(headers, name).map(|field| field.value()) {
            Some(Value::Array(octets)) => table::long_strings(octets).collect(),
            _ => Vec::new(),
        };
        Self { cc: keys(b"CC"), bcc: keys(b"BCC") }
    }
}

impl Vhost {
    /// A message that is unacknowledged, with a body of so many octets, dies: it is dead-lettered soon, or settled where nobody wants it.
    pub(super) fn kill(&mut self, id: QueueId, position: Position, size: u32, reason: Reason) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let strategy = queue.strategy(|exchange| self.exchange_names.contains_key(exchange));
        self.global.deaths.note(queue, strategy, reason);
        if queue.dead_letter_exchange().is_none() {
            queue.settle(position, size);
            return;
        }
        let redelivered = queue.has_failed(position);
        queue.dying.push_back(Dying { position, size, redelivered, reason });
        if queue.dying.len() == 1 {
            self.dead.push(id);
        }
    }

    /// A message that a queue has no room for is dead-lettered without having been in it.
    pub(super) fn kill_at_the_door(
        &mut self,
        id: QueueId,
        message: &Message<'_>,
        marks: u8,
        fx: &mut impl Effects,
    ) {
        let (now, reason) = (self.clock, Reason::MaxLength);
        let Some(queue) = self.queues.get(id) else { return };
        let strategy = queue.strategy(|exchange| self.exchange_names.contains_key(exchange));
        self.global.deaths.note(queue, strategy, reason);
        let has_exchange = queue.dead_letter_exchange().is_some();
        if let Some(letter) = has_exchange.then(|| queue.letter_of(message, marks, reason, now)).flatten() {
            self.send_letter(&letter, reason, fx);
        }
    }

    /// Whether there are dead letters to be brought away.
    pub(super) fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Brings dead letters to where they go; those on disk when they have arrived, and if there are many, those beyond
    /// some with the next tick.
    pub(super) fn bury_dead(&mut self, fx: &mut impl Effects) {
        let mut left = AT_ONCE;
        while let Some(id) = self.dead.pop() {
            while let Some(queue) = self.queues.get_mut(id) {
                let Some(dying) = queue.dying.front().copied() else { break };
                if left == 0 {
                    let now = self.clock;
                    self.set_alarm(id, Alarm::More, Some(now));
                    break;
                }
                if !queue.fetch(dying.position) {
                    break;
                }
                queue.dying.pop_front();
                left -= 1;
                self.bury(id, dying, fx);
            }
            self.heed(id);
        }
    }

    fn bury(&mut self, id: QueueId, dying: Dying, fx: &mut impl Effects) {
        let now = self.clock;
        let Some(queue) = self.queues.get_mut(id) else { return };
        match queue.letter(dying, now) {
            Some(letter) if queue.keeps_dead_letters() => self.bury_safely(id, dying, &letter, fx),
            letter => {
                queue.settle(dying.position, dying.size);
                if let Some(letter) = letter {
                    self.send_letter(&letter, dying.reason, fx);
                }
            }
        }
    }

    /// A queue whose records have arrived goes on with those of them that have died.
    pub(super) fn exhume(&mut self, id: QueueId) {
        if self.queues.get(id).is_some_and(|queue| !queue.dying.is_empty()) {
            self.dead.push(id);
        }
    }

    fn send_letter(&mut self, letter: &Letter, reason: Reason, fx: &mut impl Effects) {
        for target in self.targets_of(letter, reason).0 {
            self.hand_over(target, letter, fx);
        }
    }

    /// The queues a letter goes to, each once, and to how many more it would only go round and round.
    fn targets_of(&mut self, letter: &Letter, reason: Reason) -> (Vec<QueueId>, usize) {
        let Some((key, more)) = letter.keys.split_first() else { return (Vec::new(), 0) };
        let more: Vec<_> = more.iter().map(|key| &**key).collect();
        let message = letter.message(key);
        let mut targets = seen(&message, letter.marks, |message| self.route_copies(message, &more)).targets;
        let dropped = self.settle_claims(targets.is_empty());
        let all = targets.len();
        if reason != Reason::Rejected {
            targets.retain(|target| !self.would_go_round(*target, &letter.properties));
        }
        // One that is a duplicate has been brought away, too.
        let rounds = all - targets.len() + usize::from(dropped);
        (targets, rounds)
    }

    fn hand_over(&mut self, target: QueueId, letter: &Letter, fx: &mut impl Effects) -> Accepted {
        let Some(key) = letter.keys.first() else { return Accepted::Done };
        // Quorum queues know only by their own counts what has been delivered.
        let is_quorum = |queue: &Queue| queue.settings.queue_type == QueueType::Quorum;
        let unseen = self.queues.get(target).is_some_and(is_quorum);
        let marks = if unseen { letter.marks & !REDELIVERED } else { letter.marks };
        self.enqueue(target, &letter.message(key), marks, self.clock, fx)
    }

    fn would_go_round(&self, target: QueueId, properties: &[u8]) -> bool {
        let Some(queue) = self.queues.get(target) else { return true };
        let cycle = death::is_cycle(properties, queue.name.as_bytes());
        if cycle {
            tracing::warn!(
                vhost = &*self.name,
                queue = &*queue.name,
                "a dead letter that nobody has rejected came back to its queue, and was dropped"
            );
        }
        cycle
    }
}
