//! A node's logs with their disk, worked on by one thread instead of four.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use leveret::log::batch::Batch;
use leveret::log::budget::{Budget, Sizes};
use leveret::log::chunk::Data;
use leveret::log::disk::{Disk, FileName};
use leveret::log::resident::{Leaver, Request};
use leveret::log::spill::Spill;
use leveret::log::{Log, LogId};

use super::model::Model;
use super::random::Random;
use super::sim_disk::SimDisk;
use super::watch::Watch;

/// A log, and what it has to hold.
#[derive(Debug)]
pub struct Side {
    pub log: Log,
    pub model: Model,
    pub dirty: bool,
}

/// How far the committer is with the commit it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Gathered,
    Written,
    Synced,
}

/// What the reader is at.
#[derive(Debug)]
pub struct Reading {
    pub side: usize,
    pub request: Request,
    pub data: Option<Data>,
}

#[derive(Debug)]
pub struct World {
    pub random: Random,
    pub disk: Watch,
    pub sizes: Sizes,
    pub budget: Arc<Budget>,
    pub sides: Vec<Side>,
    /// Operations of the disk in the life before.
    pub lived: u64,
    /// Messages so far.
    pub count: u64,
    pub phase: Phase,
    pub batch: Batch,
    pub spill: Spill,
    pub thorough: bool,
    /// Files of settlements that have been written and are not durable.
    pub settled: BTreeSet<FileName>,
    pub leavers: Vec<(usize, Leaver)>,
    pub readings: Vec<Reading>,
    /// Damage that a crash has left, as it may.
    pub damaged: BTreeSet<(FileName, u64)>,
    /// A sync has failed since the power came back.
    pub has_lied: bool,
    /// A node has gone on with what it had read after that: holes may be anywhere but in what was confirmed.
    pub is_tainted: bool,
    /// Reads may have failed in this life.
    pub has_misread: bool,
    pub trace: bool,
}

impl World {
    /// `steps` is how many steps a life has about, for the size of things.
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut random = Random::new(seed);
        let small = random.chance(80);
        let sizes = if small {
            let chunk = 100 + random.below(10 * steps);
            let segment = (chunk as u64) * (1 + random.below(6) as u64);
            let empty_max = 100 + random.below(chunk) as u32;
            Sizes { chunk, segment, empty_max, index_min: random.below(2 * chunk) as u32 }
        } else {
            Sizes::default()
        };
        let mut world = Self {
            disk: Watch::new(SimDisk::new(random.next())),
            sizes,
            budget: Arc::default(),
            sides: Vec::new(),
            lived: 0,
            count: 0,
            phase: Phase::Idle,
            batch: Batch::default(),
            spill: Spill::default(),
            thorough: false,
            settled: BTreeSet::new(),
            leavers: Vec::new(),
            readings: Vec::new(),
            damaged: BTreeSet::new(),
            has_lied: false,
            is_tainted: false,
            has_misread: false,
            trace: std::env::var_os("LEVERET_TRACE").is_some(),
            random,
        };
        world.budget = world.new_budget();
        for number in 0..1 + world.random.below(3) as u64 {
            world.add(Some(LogId(number + 1)));
        }
        if world.random.chance(50) {
            world.add(None);
        }
        world
    }

    fn add(&mut self, id: Option<LogId>) {
        let log = Log::new(id, Arc::clone(&self.budget));
        let model = Model { id, ..Model::default() };
        self.sides.push(Side { log, model, dirty: false });
    }

    /// The budget of a life.
    pub fn new_budget(&mut self) -> Arc<Budget> {
        let limit = match self.random.below(3) {
            0 => 0,
            1 => self.sizes.chunk * self.random.below(10),
            _ => usize::MAX,
        };
        let seed = self.random.next() as u32;
        Arc::new(Budget::with_sizes(limit, seed, self.sizes))
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:4} {:?} {}", self.operations(), self.phase, what());
        }
    }

    /// Operations of the disk in this life.
    pub fn operations(&self) -> u64 {
        self.disk.disk.operations()
    }

    /// Hears what a log asks for.
    pub fn heed(&mut self, side: usize) {
        let Side { log, dirty, .. } = &mut self.sides[side];
        let Some(calls) = log.take_calls() else { return };
        *dirty |= calls.gather;
        if calls.read {
            let requests = log.take_requests();
            self.readings.extend(requests.into_iter().map(|request| Reading { side, request, data: None }));
        }
    }

    /// The committer comes one phase further.
    pub fn commit_on(&mut self) -> io::Result<()> {
        match self.phase {
            Phase::Idle => {
                self.thorough = self.random.chance(20);
                self.trim();
                self.gather(true);
                self.phase = Phase::Gathered;
            }
            Phase::Gathered => {
                self.batch.write(&self.disk)?;
                self.sides.iter_mut().for_each(|side| side.model.written());
                self.phase = Phase::Written;
            }
            Phase::Written => {
                self.sync()?;
                self.phase = Phase::Synced;
            }
            Phase::Synced => {
                self.batch.remove_files(&self.disk)?;
                for extent in self.batch.clear() {
                    self.spill.free(&self.disk, extent)?;
                }
                let thorough = self.thorough && !self.has_lied;
                self.sides.iter_mut().for_each(|side| side.model.announced(thorough));
                self.phase = Phase::Idle;
                self.write_spills()?;
            }
        }
        self.note(|| "commits".to_owned());
        Ok(())
    }

    /// A whole commit, after the one that is on its way.
    pub fn commit(&mut self, thorough: bool) -> io::Result<()> {
        while self.phase != Phase::Idle {
            self.commit_on()?;
        }
        self.commit_on()?;
        self.thorough |= thorough;
        while self.phase != Phase::Idle {
            self.commit_on()?;
        }
        Ok(())
    }

    fn trim(&mut self) {
        if !self.budget.is_over() {
            return;
        }
        for number in 0..self.sides.len() {
            let Side { log, model, .. } = &mut self.sides[number];
            let keep = match self.random.below(3) {
                0 => model.read..model.read,
                1 => log.window(model.read),
                _ => {
                    let first = self.random.below(model.next as usize + 1) as u64;
                    first..first + self.random.below(20) as u64
                }
            };
            let is_kept = |chunk: std::ops::Range<u64>| chunk.start < keep.end && keep.start < chunk.end;
            let left = log.evict(is_kept, self.random.chance(50));
            self.leavers.extend(left.into_iter().map(|leaver| (number, leaver)));
        }
    }

    /// Moves what has gathered into the batch.
    pub fn gather(&mut self, durable: bool) {
        for number in 0..self.sides.len() {
            self.heed(number);
            let Side { log, model, dirty } = &mut self.sides[number];
            if std::mem::take(dirty) {
                log.gather(durable, &mut self.batch);
            }
            model.gathered();
            self.heed(number);
        }
        assert_eq!(self.budget.unwritten(), 0, "everything is gathered");
    }

    fn sync(&mut self) -> io::Result<()> {
        for file in self.batch.removed() {
            self.settled.remove(file);
        }
        self.settled.extend(self.batch.settled());
        let none = BTreeSet::new();
        let settled = if self.thorough { &self.settled } else { &none };
        self.batch.sync(&self.disk, settled)?;
        if self.thorough {
            self.settled.clear();
        }
        Ok(())
    }

    fn write_spills(&mut self) -> io::Result<()> {
        for (number, Leaver { first, data, salt }) in std::mem::take(&mut self.leavers) {
            let written = self.spill.write(&self.disk, &data, salt);
            drop(data);
            let log = &mut self.sides[number].log;
            match written {
                Ok(extent) => {
                    if let Some(extent) = log.spilled(first, extent) {
                        self.spill.free(&self.disk, extent)?;
                    }
                }
                Err(error) if self.disk.disk.is_off() => return Err(error),
                Err(_) => log.not_spilled(first),
            }
        }
        Ok(())
    }

    /// The reader does something: reads, or hands over what it has read.
    pub fn read_on(&mut self, which: usize) {
        if let Some(reading) = self.readings.get_mut(which) {
            let Request { file, offset, size, span } = &reading.request;
            if reading.data.is_none() {
                let mut image = vec![0; *size];
                let count = self.disk.read(*file, *offset, &mut image).unwrap_or(0);
                reading.data = Some(Data::read(&image[..count], span).0);
                return;
            }
            let Reading { side, request, data } = self.readings.swap_remove(which);
            self.arrive(side, request.span.first, data.expect("read"));
        }
    }

    fn arrive(&mut self, number: usize, first: u64, data: Data) {
        let off = self.disk.disk.is_off();
        let Side { log, model, .. } = &mut self.sides[number];
        for position in log.arrive(first, data) {
            assert!(self.has_misread || off, "position {position} is lost");
            // As a queue does.
            if !model.requeued.remove(&position) && position < model.read {
                continue;
            }
            match model.messages.get_mut(&position) {
                Some(message) => message.unreadable = true,
                None => assert!(self.is_tainted, "position {position} was never there"),
            }
            log.forget(position);
        }
        self.heed(number);
    }

    /// The reader reads all there is to read.
    pub fn read_all(&mut self) {
        while !self.readings.is_empty() {
            self.read_on(0);
        }
    }
}
