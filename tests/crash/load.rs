//! The load of one round: several producers and consumers, one thread and connection each, until the broker is gone or
//! all are told to go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::consumer;
use crate::definitions::Definitions;
use crate::history::{Clock, Event, Scribe, Step, merge};
use crate::link::{Broken, Link};
use crate::message::Producer;
use crate::plan::{ConsumerPlan, Plan, ProducerPlan};
use crate::producer;
use crate::random::Random;

/// How often somebody who has nothing to do looks whether there is something.
pub const PULSE: Duration = Duration::from_millis(20);

/// What all of them are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Go,
    /// Start nothing new, wait until the broker has worked off what it got, and stay.
    Quiet,
    /// End the connection.
    Close,
}

/// What the threads of a load share.
pub struct Stage {
    pub address: SocketAddr,
    pub clock: Arc<Clock>,
    phase: AtomicU8,
    /// How many have become quiet or have gone.
    quiet: AtomicUsize,
    /// The broker is about to end, so that connections may as well.
    ending: AtomicBool,
}

impl Stage {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Go,
            1 => Phase::Quiet,
            _ => Phase::Close,
        }
    }

    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Becomes quiet: all that was sent is worked off. What is still to come stays in the link.
    pub fn hush(&self, link: &mut Link, scribe: &mut Scribe) -> Result<(), Broken> {
        let since = scribe.stamp();
        link.sync()?;
        scribe.note(Step::Synced { since });
        self.quiet.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Notes why a connection has ended, if it should not have.
    fn judge(&self, ended: Result<(), Broken>, scribe: &mut Scribe) {
        let why = match ended {
            Ok(()) => return,
            Err(Broken::Ended(_)) if self.ending.load(Ordering::SeqCst) => return,
            Err(Broken::Ended(why)) => format!("dropped: {why}"),
            Err(Broken::Refused(why)) => why,
        };
        scribe.note(Step::Refused(why));
    }
}

/// What a thread comes back with: what it has seen, and its next number.
type Outcome = (Vec<Event>, u64);

#[derive(Clone)]
enum Role {
    Producer(ProducerPlan),
    Consumer(ConsumerPlan),
}

pub struct Load {
    stage: Arc<Stage>,
    /// In the order of their numbers as producers; consumers publish markers.
    threads: Vec<JoinHandle<Outcome>>,
    definer: JoinHandle<(Vec<Event>, Definitions)>,
    events: Vec<Event>,
}

impl Load {
    /// Starts all of them. `next` is each one's next number.
    pub fn start(
        address: SocketAddr,
        clock: &Arc<Clock>,
        plan: &Plan,
        next: &[u64],
        definitions: Definitions,
    ) -> Self {
        let stage = Arc::new(Stage {
            address,
            clock: Arc::clone(clock),
            phase: AtomicU8::new(Phase::Go as u8),
            quiet: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
        });
        let producers = plan.producers.iter().cloned().map(Role::Producer);
        let roles = producers.chain(plan.consumers.iter().cloned().map(Role::Consumer));
        let play = |((number, role), next): ((usize, Role), &u64)| {
            let (stage, next) = (Arc::clone(&stage), *next);
            thread::spawn(move || run(&stage, role, number as Producer, next))
        };
        let threads = roles.enumerate().zip(next).map(play).collect();
        let (stage2, random) = (Arc::clone(&stage), plan.random.clone());
        let definer = thread::spawn(move || define(&stage2, definitions, random));
        Self { stage, threads, definer, events: Vec::new() }
    }

    /// Waits until all have become quiet.
    pub fn quiet(&self) {
        self.stage.set(Phase::Quiet);
        let end = Instant::now() + 3 * PATIENCE;
        while self.stage.quiet.load(Ordering::SeqCst) <= self.threads.len() {
            if self.definer.is_finished() || self.threads.iter().any(JoinHandle::is_finished) {
                // It has met with something that it will tell.
                return;
            }
            assert!(Instant::now() < end, "some do not become quiet");
            thread::sleep(PULSE / 4);
        }
    }

    /// The broker is about to end; if it is stopped, it may take a moment.
    pub fn expect_the_end(&mut self, stopped: bool) {
        self.stage.ending.store(true, Ordering::SeqCst);
        if stopped {
            let mut scribe = Scribe::new(&self.stage.clock);
            scribe.note(Step::Stopping);
            self.events = scribe.into_events();
        }
    }

    /// Tells all to end their connections.
    pub fn close(&self) {
        self.stage.set(Phase::Close);
    }

    /// Waits for all of them. Returns what they have seen, and sets their next numbers.
    pub fn join(self, next: &mut [u64]) -> (Vec<Event>, Definitions) {
        let mut events = vec![self.events];
        for (thread, next) in self.threads.into_iter().zip(next) {
            let (seen, number) = thread.join().expect("a client does not panic");
            events.push(seen);
            *next = number;
        }
        let (seen, definitions) = self.definer.join().expect("a client does not panic");
        events.push(seen);
        (merge(events), definitions)
    }
}

fn run(stage: &Stage, role: Role, me: Producer, mut next: u64) -> Outcome {
    let mut scribe = Scribe::new(&stage.clock);
    let ended = match role {
        Role::Producer(plan) => producer::run(stage, plan, me, &mut next, &mut scribe),
        Role::Consumer(plan) => consumer::run(stage, &plan, me, &mut next, &mut scribe),
    };
    stage.judge(ended, &mut scribe);
    (scribe.into_events(), next)
}

fn define(stage: &Stage, mut definitions: Definitions, random: Random) -> (Vec<Event>, Definitions) {
    let mut scribe = Scribe::new(&stage.clock);
    let ended = definitions.change(stage, random, &mut scribe);
    stage.judge(ended, &mut scribe);
    (scribe.into_events(), definitions)
}
