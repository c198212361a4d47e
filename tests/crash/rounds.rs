//! Round after round on the same data: load, an end, a new start, and a look at what is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use crate::common::PATIENCE;
use crate::definitions::Definitions;
use crate::history::Clock;
use crate::ledger::{End, Kind, Ledger};
use crate::link::{Broken, Link};
use crate::load::Load;
use crate::look::{self, Looker};
use crate::message::Producer;
use crate::plan::{CONSUMERS, Ending, Endings, Look, PRODUCERS, Plan};
use crate::random::Random;
use crate::server::{Folder, Server, false_start, tail};
use crate::topology::{self, QUEUES};

/// Of each kind of fault so many are shown.
const SHOWN: usize = 5;

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// `LEVERET_SEED`, or one that is another each time.
pub fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    setting("LEVERET_SEED").unwrap_or(u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()) << 32)
}

/// Where the broker is.
enum Place {
    /// A process of our own, on this folder. There is none between an end and a start.
    Ours { folder: Folder, server: Option<Server> },
    /// Somebody else's, that only clients come to and leave.
    Theirs(SocketAddr),
}

impl Place {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Ours { server, .. } => server.as_ref().expect("a server that runs").address,
            Self::Theirs(address) => *address,
        }
    }
}

/// What is known of one data folder, over all its rounds.
pub struct Run {
    name: &'static str,
    seed: u64,
    random: Random,
    place: Place,
    clock: Arc<Clock>,
    ledger: Ledger,
    definitions: Definitions,
    /// Everybody's next number, the looker's at the end.
    next: [u64; PRODUCERS + CONSUMERS + 1],
    /// What the last server has said on standard error.
    log: String,
}

impl Run {
    /// With a server of its own.
    pub fn on_folder(name: &'static str, seed: u64) -> Self {
        let folder = Folder::new(name);
        let server = Some(Server::start(&folder.0));
        Self::new(name, seed, Place::Ours { folder, server })
    }

    /// With a broker that is there already.
    pub fn on_peer(address: SocketAddr, seed: u64) -> Self {
        Self::new("peer", seed, Place::Theirs(address))
    }

    fn new(name: &'static str, seed: u64, place: Place) -> Self {
        let ledger = Ledger::new(matches!(place, Place::Ours { .. }));
        let mut run = Self {
            name,
            seed,
            random: Random::new(seed),
            place,
            clock: Arc::default(),
            ledger,
            definitions: Definitions::default(),
            next: [0; PRODUCERS + CONSUMERS + 1],
            log: String::new(),
        };
        run.on_link(|link| {
            topology::declare(link)?;
            Definitions::declare(link)
        });
        run
    }

    fn on_link(&mut self, work: impl FnOnce(&mut Link) -> Result<(), Broken>) {
        let done = Link::open(self.place.address()).and_then(|mut link| {
            work(&mut link)?;
            link.close()
        });
        self.must(done);
    }

    /// Nobody else is there, so that nothing may go wrong.
    fn must(&mut self, done: Result<(), Broken>) {
        if let Err(broken) = done {
            self.ledger.fault(Kind::Refused, format!("{broken:?}"));
        }
        self.judge();
    }

    /// Fails if anything was wrong.
    fn judge(&mut self) {
        let mut faults = self.ledger.take_faults();
        if faults.is_empty() {
            return;
        }
        faults.sort_by_key(|fault| fault.kind);
        let mut text = format!("{} faults in round {} of {}:", faults.len(), self.ledger.round(), self.name);
        for of_kind in faults.chunk_by(|a, b| a.kind == b.kind) {
            text += &format!("\n{:?}: {}", of_kind[0].kind, of_kind.len());
            of_kind.iter().take(SHOWN).for_each(|fault| text += &format!("\n    {}", fault.text));
        }
        panic!("{text}\nthe server before said:\n{}\nLEVERET_SEED={}", tail(&self.log), self.seed);
    }

    /// One round.
    pub fn round(&mut self, endings: Endings) {
        let plan = Plan::new(&mut self.random, self.ledger.round(), endings);
        let definitions = std::mem::take(&mut self.definitions);
        let mut load = Load::start(self.place.address(), &self.clock, &plan, &self.next, definitions);
        thread::sleep(plan.length);
        let end = self.end(&mut load, plan.ending);
        let (events, definitions) = load.join(&mut self.next);
        self.definitions = definitions;
        self.ledger.feed(events);
        self.ledger.ends(end);
        self.definitions.ends(end);
        if let Place::Ours { folder, server } = &mut self.place {
            if let Some(life) = plan.false_start.filter(|_| end != End::Pause) {
                false_start(&folder.0, life);
            }
            server.get_or_insert_with(|| Server::start(&folder.0));
        } else {
            self.on_link(|link| (0..QUEUES.len()).try_for_each(|queue| look::settles(link, queue)));
        }
        self.judge();
        self.look(&plan.looks);
    }

    /// Ends the broker, or what its clients do.
    fn end(&mut self, load: &mut Load, ending: Ending) -> End {
        if matches!(ending, Ending::QuietStop | Ending::Pause) {
            load.quiet();
        }
        if ending == Ending::Pause {
            load.close();
            return End::Pause;
        }
        load.expect_the_end(ending != Ending::Kill);
        let Place::Ours { server, .. } = &mut self.place else { panic!("a broker of others is ended") };
        let server = server.take().expect("a server that runs");
        if ending == Ending::Kill {
            self.log = server.kill();
            return End::Kill;
        }
        self.log = server.stop();
        End::Stop
    }

    fn look(&mut self, looks: &[Look; QUEUES.len()]) {
        let address = self.place.address();
        let checked = self.definitions.check(address).map(|faults| {
            faults.into_iter().for_each(|fault| self.ledger.fault(fault.kind, fault.text));
        });
        self.must(checked);
        for (queue, look) in looks.iter().enumerate().filter(|(_, look)| **look != Look::Trust) {
            let me = self.next.len() - 1;
            let next = &mut self.next[me];
            let mut looker =
                Looker { address, clock: &self.clock, me: me as Producer, next, patience: PATIENCE };
            let done = looker.look(&mut self.ledger, queue, *look);
            self.must(done);
        }
    }

    /// A last look at everything. Returns how many messages were published.
    pub fn finish(mut self) -> u64 {
        self.look(&[Look::Drain; QUEUES.len()]);
        if let Place::Theirs(_) = self.place {
            let definitions = std::mem::take(&mut self.definitions);
            self.on_link(|link| {
                topology::delete(link)?;
                definitions.delete(link)
            });
        }
        self.next.iter().sum()
    }
}
