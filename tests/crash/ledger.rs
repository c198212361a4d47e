//! The checker: what every copy of every message may do and must do, held against what clients have seen. The contract
//! is in the comment of `main.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{Event, Session, Stamp, Step};
use crate::message::{Id, Producer};
use crate::topology::{QUEUES, QueueNo, ROUTES};

/// In how many rounds what became of a message is remembered, for a better report.
const REMEMBERED: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Was promised, and is not there.
    Lost,
    /// Was never published, or not to this queue.
    Phantom,
    /// Is not what was published.
    Torn,
    /// Is there twice, or with two consumers.
    Duplicate,
    /// Was delivered before and does not say so.
    Unflagged,
    /// Comes before an earlier one of the same producer.
    Reordered,
    /// Was acknowledged for good.
    CameBack,
    /// Was transient, and has outlived a restart.
    Survived,
    /// A queue does not hold what it says.
    Miscounted,
    /// A queue, an exchange or a binding is not what it was.
    Definition,
    /// The broker did not do what it should.
    Refused,
}

#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub text: String,
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// kill -9.
    Kill,
    /// SIGTERM.
    Stop,
    /// The clients go and the broker stays.
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ack {
    /// Was sent in this run of the broker.
    Sent,
    /// Was sent in this run, and the broker has worked it off.
    Worked,
    /// Is durable.
    Landed,
    /// Was in flight when the broker ended: the copy may be there or not.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Never,
    /// Was delivered, but a kill may have wiped that out.
    Perhaps,
    /// Was delivered in this run of the broker.
    Now,
    /// Was delivered, and the broker may not forget it.
    Forever,
}

/// Producer and sequence number.
type Key = (Producer, u64);

/// One message in one queue.
struct Copy {
    id: Id,
    /// It has to be there after a kill.
    promised: bool,
    /// It has to be there after a clean stop.
    worked: bool,
    /// The run of the broker that it was sent to.
    run: u32,
    holder: Option<Session>,
    ack: Option<Ack>,
    seen: Seen,
    /// The run of the broker in which it was last delivered as a new one.
    fresh: Option<u32>,
    /// Why it may never come again, and since which round.
    gone: Option<(&'static str, Kind, u32)>,
    trail: Vec<Trace>,
}

type Trace = (u32, Stamp, Session, &'static str);

impl Copy {
    fn history(&self) -> String {
        let steps = self.trail.iter();
        let steps: Vec<_> = steps
            .map(|(round, stamp, session, what)| format!("{what} r{round}@{stamp}/c{session}"))
            .collect();
        steps.join(", ")
    }
}

/// A step of a session that is not known to be durable.
enum Pending {
    Sent(QueueNo, Key),
    Acked(QueueNo, Key),
    Delivered(QueueNo, Key),
}

#[derive(Default)]
struct Client {
    pending: Vec<(Stamp, Pending)>,
    held: BTreeSet<(QueueNo, Key)>,
    /// The last first delivery by queue, priority there, and producer.
    fresh: HashMap<(QueueNo, u8, Producer), u64>,
}

#[derive(Default)]
pub struct Ledger {
    /// RabbitMQ's quorum queues need some leave: an acknowledgement that has not landed may be overtaken by the end of its
    /// channel.
    strict: bool,
    round: u32,
    /// How often the broker has ended.
    run: u32,
    /// The broker may close connections one after the other: one consumer may get what another one, which does not know
    /// of its end yet, still has.
    stopping: bool,
    copies: Vec<BTreeMap<Key, Copy>>,
    clients: HashMap<Session, Client>,
    /// The highest number sent, by producer.
    sent: HashMap<Producer, u64>,
    faults: Vec<Fault>,
}

impl Ledger {
    pub fn new(strict: bool) -> Self {
        Self { strict, copies: QUEUES.iter().map(|_| BTreeMap::new()).collect(), ..Self::default() }
    }

    pub fn round(&self) -> u32 {
        self.round
    }

    /// What was wrong so far; it is told once.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    pub fn fault(&mut self, kind: Kind, text: String) {
        self.faults.push(Fault { kind, text });
    }

    /// Takes what clients have seen, in order.
    pub fn feed(&mut self, events: Vec<Event>) {
        for event in events {
            self.step(event);
        }
    }

    fn step(&mut self, Event { stamp, session, step }: Event) {
        match step {
            Step::Sent(id) => self.sent(stamp, session, id),
            Step::Confirmed(id) => self.confirmed(stamp, session, id),
            Step::Delivered { queue, id, redelivered } => {
                self.delivered(stamp, session, queue, id, redelivered);
            }
            Step::Acked { queue, id } => self.acked(stamp, session, queue, id),
            Step::Requeued { queue, id } => {
                self.release(session, queue, key(&id), (self.round, stamp, session, "requeued"));
            }
            Step::Landed { since } => self.landed(session, since),
            Step::Synced { since } => self.synced(session, since),
            Step::Ended => self.ended(stamp, session),
            Step::Stopping => self.stopping = true,
            Step::Torn { queue, what } => {
                self.fault(Kind::Torn, format!("{} gave {what}", QUEUES[queue].name));
            }
            Step::Refused(what) => self.fault(Kind::Refused, format!("c{session}: {what}")),
        }
    }

    fn sent(&mut self, stamp: Stamp, session: Session, id: Id) {
        let highest = self.sent.entry(id.producer).or_default();
        *highest = id.seq.max(*highest);
        for queue in ROUTES[usize::from(id.route)].queues {
            let copy = Copy {
                id,
                promised: false,
                worked: false,
                run: self.run,
                holder: None,
                ack: None,
                seen: Seen::Never,
                fresh: None,
                gone: None,
                trail: vec![(self.round, stamp, session, "sent")],
            };
            let before = self.copies[*queue].insert(key(&id), copy);
            assert!(before.is_none(), "{id:?} is sent twice");
            let client = self.clients.entry(session).or_default();
            client.pending.push((stamp, Pending::Sent(*queue, key(&id))));
        }
    }

    fn confirmed(&mut self, stamp: Stamp, session: Session, id: Id) {
        for queue in ROUTES[usize::from(id.route)].queues {
            if let Some(copy) = self.copies[*queue].get_mut(&key(&id)) {
                copy.worked = true;
                copy.promised = id.durable;
                copy.trail.push((self.round, stamp, session, "confirmed"));
            }
        }
    }

    fn delivered(&mut self, stamp: Stamp, session: Session, queue: QueueNo, id: Id, redelivered: bool) {
        if !self.arrives(queue, id, redelivered, (self.round, stamp, session, "delivered")) {
            return;
        }
        let Some(copy) = self.copies[queue].get_mut(&key(&id)) else { return };
        copy.holder = Some(session);
        let client = self.clients.entry(session).or_default();
        client.pending.push((stamp, Pending::Delivered(queue, key(&id))));
        client.held.insert((queue, key(&id)));
        if !redelivered {
            let level = QUEUES[queue].level(id.priority());
            let last = client.fresh.insert((queue, level, id.producer), id.seq);
            if last.is_some_and(|last| last > id.seq) {
                let text = format!("{} first gave {last:?} and then {}", QUEUES[queue].name, named(&id));
                self.fault(Kind::Reordered, text);
            }
        }
    }

    /// A message comes out of a queue, to be held against all that is known of it. Whether anything is.
    fn arrives(&mut self, queue: QueueNo, id: Id, redelivered: bool, trace: Trace) -> bool {
        let (name, run) = (QUEUES[queue].name, self.run);
        let Some(copy) = self.copies[queue].get_mut(&key(&id)).filter(|copy| copy.id == id) else {
            let known = self.sent.get(&id.producer).is_some_and(|highest| id.seq <= *highest);
            let why = if known { "not sent there, or settled long ago" } else { "never sent" };
            self.fault(Kind::Phantom, format!("{name} gave {}, {why} (c{}): {id:?}", named(&id), trace.2));
            return false;
        };
        let (flag, step) = if redelivered { ("R", "redelivered") } else { ("", "delivered") };
        copy.trail.push((trace.0, trace.1, trace.2, step));
        let mut found = Vec::new();
        if let Some((why, kind, _)) = copy.gone.take() {
            found.push((kind, why.to_owned()));
        } else if matches!(copy.ack, Some(Ack::Worked | Ack::Landed))
            || copy.ack == Some(Ack::Sent) && !self.stopping
        {
            found.push((Kind::CameBack, "acknowledged, and no restart since".to_owned()));
        }
        if let Some(holder) = copy.holder.filter(|_| !self.stopping) {
            found.push((Kind::Duplicate, format!("while c{holder} has it")));
        }
        // While the broker stops, what it takes from one client comes to another that may be quicker to read it.
        let again = copy.seen == Seen::Forever
            || copy.seen == Seen::Now && (!self.stopping || copy.fresh == Some(run));
        if !redelivered && again {
            found.push((Kind::Unflagged, "a second time without redelivered".to_owned()));
        }
        if !redelivered {
            copy.fresh = Some(run);
        }
        copy.ack = None;
        // What has come through a restart is on disk.
        copy.promised |= copy.run < run;
        if copy.seen != Seen::Forever {
            copy.seen = Seen::Now;
        }
        let history = if found.is_empty() { String::new() } else { copy.history() };
        for (kind, why) in found {
            self.fault(kind, format!("{name} gave {}{flag}, {why}: {history}", named(&id)));
        }
        true
    }

    fn acked(&mut self, stamp: Stamp, session: Session, queue: QueueNo, id: Id) {
        self.release(session, queue, key(&id), (self.round, stamp, session, "acked"));
        if let Some(copy) = self.copies[queue].get_mut(&key(&id)) {
            copy.ack = Some(Ack::Sent);
            let client = self.clients.entry(session).or_default();
            client.pending.push((stamp, Pending::Acked(queue, key(&id))));
        }
    }

    /// A consumer does not have a copy any more.
    fn release(&mut self, session: Session, queue: QueueNo, key: Key, trace: Trace) {
        self.clients.entry(session).or_default().held.remove(&(queue, key));
        if let Some(copy) = self.copies[queue].get_mut(&key) {
            copy.trail.push(trace);
            copy.holder = copy.holder.filter(|holder| *holder != session);
        }
    }

    fn landed(&mut self, session: Session, since: Stamp) {
        let client = self.clients.entry(session).or_default();
        let count = client.pending.partition_point(|(stamp, _)| *stamp < since);
        for (_, pending) in client.pending.drain(..count) {
            let (Pending::Sent(queue, key) | Pending::Acked(queue, key) | Pending::Delivered(queue, key)) =
                pending;
            let Some(copy) = self.copies[queue].get_mut(&key) else { continue };
            match pending {
                Pending::Sent(..) => copy.worked = true,
                Pending::Acked(..) if copy.ack.is_some() => copy.ack = Some(Ack::Landed),
                Pending::Acked(..) => {}
                Pending::Delivered(..) => copy.seen = Seen::Forever,
            }
        }
    }

    fn synced(&mut self, session: Session, since: Stamp) {
        let client = self.clients.entry(session).or_default();
        for (_, pending) in client.pending.iter().take_while(|(stamp, _)| *stamp < since) {
            match pending {
                Pending::Sent(queue, key) => {
                    if let Some(copy) = self.copies[*queue].get_mut(key) {
                        copy.worked = true;
                        copy.trail.push((self.round, since, session, "worked off"));
                    }
                }
                Pending::Acked(queue, key) => {
                    if let Some(copy) = self.copies[*queue].get_mut(key).filter(|c| c.ack == Some(Ack::Sent))
                    {
                        copy.ack = Some(Ack::Worked);
                    }
                }
                Pending::Delivered(..) => {}
            }
        }
    }

    fn ended(&mut self, stamp: Stamp, session: Session) {
        let client = self.clients.entry(session).or_default();
        if !self.strict {
            for (_, pending) in client.pending.drain(..) {
                let Pending::Acked(queue, key) = pending else { continue };
                let copy = self.copies[queue].get_mut(&key).filter(|copy| copy.ack.is_some());
                if let Some(copy) = copy.filter(|_| QUEUES[queue].quorum) {
                    copy.ack = Some(Ack::Unknown);
                }
            }
        }
        let held = std::mem::take(&mut client.held);
        for (queue, key) in held {
            self.release(session, queue, key, (self.round, stamp, session, "given up"));
        }
    }

    /// The round is over, and so are all connections.
    pub fn ends(&mut self, end: End) {
        self.round += 1;
        self.run += u32::from(end != End::Pause);
        self.stopping = false;
        self.clients.clear();
        for (queue, copies) in self.copies.iter_mut().enumerate() {
            for copy in copies.values_mut() {
                copy.holder = None;
                match end {
                    End::Pause => {}
                    End::Stop => copy.stopped(self.round, QUEUES[queue].quorum),
                    End::Kill => copy.killed(self.round, QUEUES[queue].quorum),
                }
            }
            copies.retain(|_, copy| copy.gone.is_none_or(|(_, _, since)| since + REMEMBERED > self.round));
        }
    }

    /// All of a queue as one consumer got it, with nobody else there, and how many it said to hold.
    pub fn look(&mut self, queue: QueueNo, count: usize, seen: &[(Id, bool)]) {
        let name = QUEUES[queue].name;
        if count != seen.len() {
            self.fault(Kind::Miscounted, format!("{name} says {count} and gave {}", seen.len()));
        }
        let trace = (self.round, 0, 0, "looked at");
        let mut last = HashMap::new();
        let mut there = BTreeSet::new();
        for (id, redelivered) in seen {
            if there.contains(&key(id)) {
                self.fault(Kind::Duplicate, format!("{name} gave {} twice", named(id)));
                continue;
            }
            if self.arrives(queue, *id, *redelivered, trace) {
                there.insert(key(id));
            }
            // What comes back to a quorum queue goes first, in the order in which it came back.
            if !QUEUES[queue].quorum || !redelivered {
                let place = (Reverse(QUEUES[queue].level(id.priority())), id.seq);
                let last = last.insert(id.producer, place);
                if last.is_some_and(|last| last > place) {
                    let text = format!("{name} gave {last:?} and then {}", named(id));
                    self.fault(Kind::Reordered, text);
                }
            }
        }
        self.miss(queue, &there);
    }

    /// What is not there must not have to be.
    fn miss(&mut self, queue: QueueNo, there: &BTreeSet<Key>) {
        let mut lost = Vec::new();
        for (key, copy) in &mut self.copies[queue] {
            if there.contains(key) {
                copy.worked = true;
                continue;
            }
            if copy.gone.is_some() {
                continue;
            }
            if copy.ack.is_none() && (copy.promised || copy.worked) {
                lost.push(format!("{} has lost {}: {}", QUEUES[queue].name, named(&copy.id), copy.history()));
            }
            copy.gone = Some(("was not there when all was looked at", Kind::Phantom, self.round));
        }
        for text in lost {
            self.fault(Kind::Lost, text);
        }
    }

    /// What was looked at has been acknowledged, and that is durable.
    pub fn drained(&mut self, queue: QueueNo) {
        for copy in self.copies[queue].values_mut().filter(|copy| copy.gone.is_none()) {
            copy.ack = Some(Ack::Landed);
            copy.seen = Seen::Forever;
            copy.trail.push((self.round, 0, 0, "drained"));
        }
    }

    /// What was looked at has been given back, and that it was delivered is durable.
    pub fn given_back(&mut self, queue: QueueNo) {
        for copy in self.copies[queue].values_mut().filter(|copy| copy.gone.is_none()) {
            copy.seen = Seen::Forever;
        }
    }

    /// How many messages may be in a queue.
    pub fn live(&self, queue: QueueNo) -> usize {
        let live = |copy: &&Copy| copy.gone.is_none() && copy.ack != Some(Ack::Landed);
        self.copies[queue].values().filter(live).count()
    }
}

impl Copy {
    fn killed(&mut self, round: u32, quorum: bool) {
        if self.seen == Seen::Now {
            self.seen = Seen::Perhaps;
        }
        // What was there after an earlier restart, or was confirmed, stays promised.
        self.worked = self.promised;
        self.restarted(round, quorum);
    }

    fn stopped(&mut self, round: u32, quorum: bool) {
        if self.seen == Seen::Now {
            self.seen = Seen::Forever;
        }
        if self.ack == Some(Ack::Worked) {
            self.ack = Some(Ack::Landed);
        }
        self.promised |= self.worked && self.id.durable;
        self.worked = self.promised;
        self.restarted(round, quorum);
    }

    fn restarted(&mut self, round: u32, quorum: bool) {
        match self.ack {
            Some(Ack::Landed) => self.end("was acknowledged for good", Kind::CameBack, round),
            Some(_) => self.ack = Some(Ack::Unknown),
            None => {}
        }
        if !self.id.durable && !quorum {
            self.end("was transient", Kind::Survived, round);
        }
    }

    fn end(&mut self, why: &'static str, kind: Kind, round: u32) {
        if self.gone.is_none() {
            self.gone = Some((why, kind, round));
        }
    }
}

fn key(id: &Id) -> Key {
    (id.producer, id.seq)
}

fn named(id: &Id) -> String {
    let mode = if id.durable { "" } else { ", transient" };
    format!("{}-{} ({} octets{mode})", id.producer, id.seq, id.size)
}
