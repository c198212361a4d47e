//! Exchanges, queues and bindings that are declared and deleted under load. What was answered holds after a crash;
//! what was asked for and not answered may hold.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::PATIENCE;
use crate::common::method::{Method, method};
use crate::common::table::{headers, int, text};
use crate::history::Scribe;
use crate::ledger::{End, Fault, Kind};
use crate::link::{Broken, Incoming, Link};
use crate::load::{PULSE, Phase, Stage};
use crate::random::Random;

/// So many of each are there at most.
const LIVE: usize = 12;
/// So many rounds of changes are made between two crashes at most.
const CHANGES: usize = 12;

/// Something durable with a number; a binding leads from the exchange to the queue of its number, an entrance from one
/// exchange for all to that exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Exchange(u32),
    Queue(u32),
    Binding(u32),
    Entrance(u32),
    /// An exchange that is not durable.
    Passing(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    There,
    Gone,
    /// Was asked for, to be made or to be removed.
    Asked,
}

use State::{Asked, Gone, There};
use Thing::{Binding, Entrance, Exchange, Passing, Queue};

const ENTRY: &str = "exchange.declare exchange=crash.def.entry type=direct durable";

#[derive(Default)]
pub struct Definitions {
    things: BTreeMap<Thing, State>,
    next: u32,
}

fn key(n: u32) -> String {
    format!("k.{n}")
}

fn exchange(n: u32) -> String {
    format!("crash.def.x{n}")
}

fn queue(n: u32) -> String {
    format!("crash.def.q{n}")
}

fn declare_exchange(n: u32) -> Method {
    let kind = ["direct", "topic", "headers", "fanout"][(n % 4) as usize];
    let alternate = format!("crash.def.nowhere{n}");
    method("exchange.declare durable")
        .set("exchange", exchange(n))
        .set("type", kind)
        .args(&[("alternate-exchange", text(&alternate))])
}

fn declare_queue(n: u32) -> Method {
    let declare = method("queue.declare durable").set("queue", queue(n));
    let (length, dead) = (("x-max-length", int(10 + n as i32)), format!("crash.def.dead{n}"));
    let dead = ("x-dead-letter-exchange", text(&dead));
    if n.is_multiple_of(3) {
        declare.args(&[("x-queue-type", text("quorum")), length, dead])
    } else {
        declare.args(&[length, ("x-message-ttl", int(3_600_000)), dead])
    }
}

/// `queue.bind` or `queue.unbind`.
fn binding(name: &str, n: u32) -> Method {
    let arguments = [("x-match", text("all")), ("n", int(n as i32))];
    let pattern = if n % 4 == 1 { format!("k.{n}.#") } else { key(n) };
    let arguments = if n % 4 == 2 { &arguments[..] } else { &arguments[1..] };
    method(name)
        .set("queue", queue(n))
        .set("exchange", exchange(n))
        .set("routing-key", pattern)
        .args(arguments)
}

/// `exchange.bind` or `exchange.unbind`.
fn entrance(name: &str, n: u32) -> Method {
    method(&format!("{name} source=crash.def.entry"))
        .set("destination", exchange(n))
        .set("routing-key", key(n))
}

fn passing(n: u32) -> Method {
    method("exchange.declare type=fanout").set("exchange", format!("crash.def.t{n}"))
}

impl Definitions {
    /// Declares what all of them begin with.
    pub fn declare(link: &mut Link) -> Result<(), Broken> {
        link.call(ENTRY).map(drop)
    }

    /// Makes and removes things until it is told to be quiet.
    pub fn change(&mut self, stage: &Stage, mut random: Random, scribe: &mut Scribe) -> Result<(), Broken> {
        let mut link = Link::open(stage.address)?;
        let mut changes = 0;
        while stage.phase() == Phase::Go {
            if changes == CHANGES {
                link.next(PULSE)?;
                continue;
            }
            changes += 1;
            let live: Vec<u32> = self.numbers();
            if live.len() < LIVE && random.chance(60) || live.is_empty() {
                self.make(&mut link)?;
            } else {
                let n = live[random.below(live.len())];
                self.alter(&mut link, n, random.below(4))?;
            }
        }
        stage.hush(&mut link, scribe)?;
        while stage.phase() != Phase::Close {
            link.next(PULSE)?;
        }
        link.close()
    }

    fn numbers(&self) -> Vec<u32> {
        let there = self.things.iter().filter(|(_, state)| **state == There);
        there.filter_map(|(thing, _)| if let Exchange(n) = thing { Some(*n) } else { None }).collect()
    }

    fn is(&self, thing: Thing) -> bool {
        self.things.get(&thing) == Some(&There)
    }

    /// Something of everything.
    fn make(&mut self, link: &mut Link) -> Result<(), Broken> {
        let n = self.next;
        self.next += 1;
        self.ask(link, &[Exchange(n)], There, declare_exchange(n))?;
        self.ask(link, &[Queue(n)], There, declare_queue(n))?;
        self.ask(link, &[Binding(n)], There, binding("queue.bind", n))?;
        self.ask(link, &[Entrance(n)], There, entrance("exchange.bind", n))?;
        if n.is_multiple_of(4) {
            self.ask(link, &[Passing(n)], There, passing(n))?;
        }
        Ok(())
    }

    /// Removes something that is there, or makes again what is not.
    fn alter(&mut self, link: &mut Link, n: u32, what: usize) -> Result<(), Broken> {
        let (bound, both) = (self.is(Binding(n)), self.is(Queue(n)) && self.is(Exchange(n)));
        match what {
            0 if bound => self.ask(link, &[Binding(n)], Gone, binding("queue.unbind", n)),
            0 if both => self.ask(link, &[Binding(n)], There, binding("queue.bind", n)),
            1 if self.is(Entrance(n)) => self.ask(link, &[Entrance(n)], Gone, entrance("exchange.unbind", n)),
            1 => self.ask(link, &[Entrance(n)], There, entrance("exchange.bind", n)),
            2 => {
                let delete = method("queue.delete").set("queue", queue(n));
                self.ask(link, &[Queue(n), Binding(n)], Gone, delete)
            }
            _ => {
                let delete = method("exchange.delete").set("exchange", exchange(n));
                self.ask(link, &[Exchange(n), Binding(n), Entrance(n)], Gone, delete)
            }
        }
    }

    fn ask(
        &mut self,
        link: &mut Link,
        things: &[Thing],
        to: State,
        method: impl Into<Method>,
    ) -> Result<(), Broken> {
        // What is known not to be there does not come by being removed with something else.
        let known = |thing: &&Thing| self.things.get(thing).is_some_and(|state| *state != Gone);
        let things: Vec<_> = things.iter().filter(|thing| to == There || known(thing)).copied().collect();
        self.things.extend(things.iter().map(|thing| (*thing, Asked)));
        link.call(method)?;
        self.things.extend(things.iter().map(|thing| (*thing, to)));
        Ok(())
    }

    /// The round is over.
    pub fn ends(&mut self, end: End) {
        for (thing, state) in &mut self.things {
            if matches!(thing, Passing(_)) && end != End::Pause {
                *state = Gone;
            }
        }
    }

    /// Holds a broker against what is known.
    pub fn check(&mut self, address: SocketAddr) -> Result<Vec<Fault>, Broken> {
        let mut probe = Probe { link: Probe::link(address)?, address, count: 0 };
        let mut faults = Vec::new();
        let things: Vec<_> = self.things.keys().copied().collect();
        for thing in things {
            if let Some(found) = probe.find(thing, self)? {
                faults.extend(self.settle(thing, found));
            }
        }
        // What is gone for good is not looked for again and again.
        let next = self.next;
        let old = |thing: &Thing| {
            let (Exchange(n) | Queue(n) | Binding(n) | Entrance(n) | Passing(n)) = thing;
            n + 3 * LIVE as u32 <= next
        };
        self.things.retain(|thing, state| *state != Gone || !old(thing));
        Ok(faults)
    }

    /// What was found is the truth from then on.
    fn settle(&mut self, thing: Thing, found: Found) -> Option<Fault> {
        let state = self.things.insert(thing, if found == Found::Missing { Gone } else { There });
        let what = match (state?, found) {
            (There, Found::Missing) => "was there, and is not",
            (Gone, Found::Whole | Found::Different) => "was removed, and is there",
            (_, Found::Different) => "is there, but not as it was declared",
            _ => return None,
        };
        Some(Fault { kind: Kind::Definition, text: format!("{thing:?} {what}") })
    }

    /// Takes all of it away, from a broker that is not ours alone.
    pub fn delete(&self, link: &mut Link) -> Result<(), Broken> {
        link.call("exchange.delete exchange=crash.def.entry")?;
        for thing in self.things.keys() {
            match thing {
                Exchange(n) => link.call(method("exchange.delete").set("exchange", exchange(*n)))?,
                Passing(n) => {
                    link.call(method("exchange.delete").set("exchange", format!("crash.def.t{n}")))?
                }
                Queue(n) => link.call(method("queue.delete").set("queue", queue(*n)))?,
                Binding(_) | Entrance(_) => continue,
            };
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Whole,
    Missing,
    /// Its arguments are others.
    Different,
}

/// Finds out what is there by using it.
struct Probe {
    link: Link,
    address: SocketAddr,
    count: u64,
}

impl Probe {
    fn link(address: SocketAddr) -> Result<Link, Broken> {
        let mut link = Link::open(address)?;
        link.call("confirm.select")?;
        Ok(link)
    }

    /// `None` if that cannot be told.
    fn find(&mut self, thing: Thing, known: &Definitions) -> Result<Option<Found>, Broken> {
        let found = match thing {
            Exchange(n) => self.declared(declare_exchange(n))?,
            Queue(n) => self.declared(declare_queue(n))?,
            Passing(n) => self.declared(passing(n))?,
            Binding(n) if !known.is(Queue(n)) || !known.is(Exchange(n)) => return Ok(None),
            Binding(n) => self.leads(n, &exchange(n))?,
            Entrance(n) if !known.is(Binding(n)) => return Ok(None),
            Entrance(n) => self.leads(n, "crash.def.entry")?,
        };
        Ok(Some(found))
    }

    fn declared(&mut self, declare: Method) -> Result<Found, Broken> {
        if !self.accepts(declare.clone().set("passive", "1"), "404")? {
            return Ok(Found::Missing);
        }
        Ok(if self.accepts(declare, "406")? { Found::Whole } else { Found::Different })
    }

    /// Whether a method is not refused with this code.
    fn accepts(&mut self, method: Method, code: &str) -> Result<bool, Broken> {
        match self.link.call(method) {
            Ok(_) => Ok(true),
            Err(Broken::Refused(why)) if why.starts_with(&format!("channel.close {code}")) => {
                self.link = Self::link(self.address)?;
                Ok(false)
            }
            Err(broken) => Err(broken),
        }
    }

    /// Whether a message comes from an exchange to the queue of this number, and one with other headers only where
    /// these make no difference.
    fn leads(&mut self, n: u32, exchange: &str) -> Result<Found, Broken> {
        if !self.comes(n, exchange, n as i32)? {
            return Ok(Found::Missing);
        }
        let comes = self.comes(n, exchange, -1)?;
        Ok(if comes == (n % 4 != 2) { Found::Whole } else { Found::Different })
    }

    fn comes(&mut self, n: u32, exchange: &str, header: i32) -> Result<bool, Broken> {
        self.count += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let body = format!("probe {} {now}", self.count).into_bytes();
        let publish = method("basic.publish").set("exchange", exchange).set("routing-key", key(n));
        self.link.publish(&publish, &headers(&[("n", int(header))]), &body)?;
        // In RabbitMQ's quorum queues a get may overtake a publish.
        match self.link.next(PATIENCE)? {
            Some(Incoming::Confirm { nack: false, .. }) => {}
            other => return Err(Broken::Refused(format!("instead of a confirm came {other:?}"))),
        }
        loop {
            self.link.tell(method("basic.get no-ack").set("queue", queue(n)))?;
            match self.link.next(PATIENCE)? {
                Some(Incoming::Message(message)) if message.body == body => return Ok(true),
                // A quorum queue keeps what was left there when the broker was killed, transient or not.
                Some(Incoming::Message(message)) if message.body.starts_with(b"probe ") => {}
                Some(Incoming::Answer(text)) if text.starts_with("basic.get-empty") => return Ok(false),
                other => return Err(Broken::Refused(format!("instead of a probe came {other:?}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found wrong with an exchange in this state.
    fn fault(state: State, found: Found) -> Option<String> {
        let mut definitions = Definitions { things: BTreeMap::from([(Exchange(0), state)]), next: 1 };
        let fault = definitions.settle(Exchange(0), found);
        assert_eq!(definitions.is(Exchange(0)), found != Found::Missing, "what was found is true");
        fault.map(|fault| fault.text)
    }

    #[test]
    fn what_was_answered_holds() {
        assert_eq!(fault(There, Found::Whole), None);
        assert_eq!(fault(Gone, Found::Missing), None);
        assert!(fault(There, Found::Missing).is_some_and(|text| text.contains("and is not")));
        assert!(fault(Gone, Found::Whole).is_some_and(|text| text.contains("and is there")));
        assert!(fault(There, Found::Different).is_some_and(|text| text.contains("not as it was")));
    }

    #[test]
    fn what_was_not_answered_may_hold() {
        assert_eq!(fault(Asked, Found::Whole), None);
        assert_eq!(fault(Asked, Found::Missing), None);
        assert!(fault(Asked, Found::Different).is_some());
    }

    #[test]
    fn what_is_not_durable_goes_with_the_broker() {
        for (end, state) in [(End::Kill, Gone), (End::Stop, Gone), (End::Pause, There)] {
            let things = BTreeMap::from([(Passing(0), There), (Exchange(0), There)]);
            let mut definitions = Definitions { things, next: 1 };
            definitions.ends(end);
            assert_eq!((definitions.things[&Passing(0)], definitions.is(Exchange(0))), (state, true));
        }
    }
}
