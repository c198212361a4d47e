//! A life: steps at random, and its end.

use std::io;
use std::ops::Range;

use leveret::log::{At, Position};
use rustix::io::Errno;

use super::model::Content;
use super::random::Random;
use super::sim_disk::Failure;
use super::world::{Phase, Side, World};

/// How a life ends if nothing ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    PowerLoss,
    Kill,
    /// In order.
    Stop,
}

/// What is to happen in a life.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub steps: usize,
    /// The disk goes off in the middle of this operation.
    pub crash_at: Option<u64>,
    pub failure: Option<(u64, Failure)>,
    /// From which step to which the disk is full.
    pub full: Option<(usize, usize)>,
    pub end: End,
    /// What it is when the disk goes off: the power or only the process.
    pub off: End,
}

impl Default for Plan {
    fn default() -> Self {
        Self { steps: 0, crash_at: None, failure: None, full: None, end: End::PowerLoss, off: End::PowerLoss }
    }
}

impl Plan {
    pub fn any(random: &mut Random) -> Self {
        let steps = random.below(90);
        let crash_at = random.chance(50).then(|| random.below(60) as u64);
        let full = random.chance(20).then(|| {
            let from = random.below(steps + 1);
            (from, from + random.below(20))
        });
        let failure = random.chance(30).then(|| {
            let failures = [
                Failure::Io,
                Failure::Sync,
                Failure::Read,
                Failure::Read,
                Failure::Full,
                Failure::FullInside,
            ];
            (random.below(30) as u64, failures[random.below(failures.len())])
        });
        let end = [End::PowerLoss, End::Kill, End::Stop][random.below(3)];
        let off = [End::PowerLoss, End::Kill][random.below(2)];
        Self { steps, crash_at, failure, full, end, off }
    }
}

/// Why a life ends before its time.
enum Broken {
    /// The disk has gone off.
    Off,
    /// Nothing can be kept any more.
    Poisoned,
    /// The same while files were removed. If they could come back long after the next start, no numbers would be safe;
    /// no disk is that bad.
    HalfRemoved,
}

impl World {
    pub fn live(&mut self, plan: &Plan) {
        self.note(|| format!("--- {plan:?}"));
        let disk = &self.disk.disk;
        if let Some(n) = plan.crash_at {
            disk.crash_at(n);
        }
        if let Some((n, failure)) = plan.failure {
            disk.fail_after(n, failure);
            self.has_misread |= failure == Failure::Read;
        }
        let result = self.steps(plan);
        let end = match result {
            Ok(()) => plan.end,
            Err(Broken::Off) => plan.off,
            Err(Broken::HalfRemoved) => End::PowerLoss,
            Err(Broken::Poisoned) if plan.end == End::Stop => End::PowerLoss,
            Err(Broken::Poisoned) => plan.end,
        };
        self.die(end);
    }

    fn steps(&mut self, plan: &Plan) -> Result<(), Broken> {
        for step in 0..plan.steps {
            if let Some((from, to)) = plan.full {
                if step == from || step == to {
                    self.disk.disk.full(step == from);
                }
            }
            let result = self.step();
            self.weigh(result)?;
        }
        self.disk.disk.full(false);
        if plan.end == End::Stop {
            for _ in 0..20 {
                let result = self.stop();
                let full = result.as_ref().is_err_and(is_full);
                self.weigh(result)?;
                if !full {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What an error means.
    fn weigh(&mut self, result: io::Result<()>) -> Result<(), Broken> {
        let Err(error) = result else { return Ok(()) };
        self.note(|| format!("{error}"));
        if self.disk.disk.is_off() {
            return Err(Broken::Off);
        }
        if is_full(&error) && self.phase == Phase::Gathered {
            self.gather(false);
            let result = self.batch.make_room(&self.disk);
            self.note(|| format!("makes room: {result:?}"));
            return match result {
                Ok(()) => Ok(()),
                Err(_) if self.disk.disk.is_off() => Err(Broken::Off),
                Err(_) => Err(Broken::HalfRemoved),
            };
        }
        self.has_lied |= self.phase == Phase::Written;
        Err(if self.phase == Phase::Synced { Broken::HalfRemoved } else { Broken::Poisoned })
    }

    fn step(&mut self) -> io::Result<()> {
        let side = self.random.below(self.sides.len());
        match self.random.below(100) {
            0..30 => {
                let count = if self.random.chance(10) { 30 } else { 3 };
                for _ in 0..1 + self.random.below(count) {
                    self.append(side);
                }
            }
            30..45 => {
                for _ in 0..1 + self.random.below(12) {
                    self.deliver(side);
                }
            }
            45..60 => self.settle(side),
            60..63 => self.put_back(side),
            63..65 => self.purge(side),
            65..75 => {
                let which = self.random.below(self.readings.len() + 1);
                self.read_on(which);
            }
            75..97 => self.commit_on()?,
            _ => self.commit(false)?,
        }
        self.heed(side);
        Ok(())
    }

    fn size(&mut self) -> usize {
        let range: Range<usize> = match self.random.below(1000) {
            0..700 => 0..40,
            700..900 => 0..300,
            900..985 => 0..3000,
            985..998 => 0..40_000,
            _ => 0..350_000,
        };
        self.random.below(range.end)
    }

    fn append(&mut self, number: usize) {
        self.count += 1;
        let content = Content { number: self.count, size: self.size() };
        let persistent = self.random.chance(if number == 0 { 100 } else { 60 });
        let shared = content.size > 8000 || self.random.chance(10);
        let Side { log, model, .. } = &mut self.sides[number];
        let (position, kept) =
            content.with_parts(shared, |parts| log.append(content.number, persistent, parts));
        assert_eq!(kept, persistent && model.id.is_some());
        model.append(position, content, kept);
        assert_eq!(log.next(), model.next);
        self.note(|| format!("log {}: {position} = {content:?} {kept}", number + 1));
    }

    /// A consumer takes the next message, if it can be had.
    fn deliver(&mut self, number: usize) {
        let Side { log, model, .. } = &mut self.sides[number];
        if let Some(position) = model.requeued.first().copied() {
            if log.fetch(position) {
                model.requeued.pop_first();
                model.deliver(position);
                self.look_at(number, position);
            }
            return;
        }
        let expected = model.unread();
        match log.seek(model.read) {
            At::Here(position) => {
                assert_eq!(Some(position), expected.map(|(position, _)| position), "the next one");
                log.note_delivered(position);
                model.deliver(position);
                self.look_at(number, position);
            }
            At::OnDisk => assert!(expected.is_some() || self.has_misread, "asked for in vain"),
            At::End => assert_eq!(expected, None, "not found"),
        }
    }

    fn look_at(&self, number: usize, position: Position) {
        let Side { log, model, .. } = &self.sides[number];
        let content = model.messages[&position].content;
        match log.get(position) {
            Some(record) => assert!(content.is(&record), "{position} is not {content:?} but {record:?}"),
            None => assert!(self.has_misread, "{position} is not there"),
        }
        self.note(|| format!("log {}: delivers {position}", number + 1));
    }

    fn settle(&mut self, number: usize) {
        let unacked: Vec<_> = self.sides[number].model.unacked.iter().copied().collect();
        if unacked.is_empty() {
            return;
        }
        let at = self.random.below(unacked.len());
        let chosen = match self.random.below(4) {
            0 => &unacked[..1],
            1 => &unacked[at..=at],
            2 => &unacked[..=at],
            _ => &unacked,
        };
        let mut chosen = chosen.to_vec();
        if self.random.chance(20) {
            chosen.reverse();
        }
        self.note(|| format!("log {}: settles {chosen:?}", number + 1));
        let Side { log, model, .. } = &mut self.sides[number];
        for position in chosen {
            log.settle(position);
            model.settle(position);
        }
    }

    fn put_back(&mut self, number: usize) {
        let model = &mut self.sides[number].model;
        let unacked: Vec<_> = model.unacked.iter().copied().collect();
        for position in unacked {
            if self.random.chance(50) {
                model.unacked.remove(&position);
                model.requeued.insert(position);
            }
        }
    }

    fn purge(&mut self, number: usize) {
        let Side { log, model, .. } = &mut self.sides[number];
        for position in std::mem::take(&mut model.requeued) {
            log.settle(position);
            model.settle(position);
        }
        let unread = model.messages.range(model.read..).filter(|(_, message)| message.is_wanted());
        let unread: Vec<_> = unread.map(|(position, _)| *position).collect();
        let range = model.read..log.next();
        let count = log.settle_all(range.clone());
        assert!(count == unread.len() || self.is_tainted, "{count} purged of {range:?}");
        unread.into_iter().for_each(|position| model.settle(position));
        (model.read, model.was_read) = (model.next, true);
        self.note(|| format!("log {}: purges {range:?}", number + 1));
    }

    /// The node stops in order.
    fn stop(&mut self) -> io::Result<()> {
        while self.phase != Phase::Idle {
            self.commit_on()?;
        }
        for number in 0..self.sides.len() {
            let Side { log, model, .. } = &mut self.sides[number];
            log.note_stop(model.read.max(model.mark));
            self.heed(number);
        }
        self.commit(true)
    }

    /// A last life, in which everything is taken out, and then there is nothing left of it.
    pub fn end(&mut self) {
        let result = self.steps(&Plan { steps: 30, ..Plan::default() });
        assert!(result.is_ok(), "a disk in order");
        for number in 0..self.sides.len() {
            self.read_all();
            let Side { log, model, .. } = &mut self.sides[number];
            let delivered: Vec<_> = model.unacked.union(&model.requeued).copied().collect();
            for position in delivered {
                log.settle(position);
                model.settle(position);
            }
            self.purge(number);
        }
        for _ in 0..4 {
            self.commit(true).expect("a disk in order");
        }
        self.look_for_remains();
    }
}

fn is_full(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOSPC)
}
