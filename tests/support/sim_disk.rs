//! A disk that exists in memory only, and fails as disks do: power is lost between any two operations and what was not
//! synced is there, gone, torn or out of order; it fills up; it errs; a sync fails and what it should have written is
//! never written. The same seed and the same operations give the same outcome.
//!
//! What is on the disk and what is to be seen are two things here. Each file has the content that is durable, a list
//! of changes that are not, and the content that reads see; the folder has names that are durable, changes of names
//! that are not, and the names that are seen.
//!
//! A [`SimDisk`] is a handle. A test keeps one, and gives another to the log as its [`Disk`].

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use leveret::log::disk::{Disk, FileName};
use rustix::io::Errno;

use super::random::Random;

/// A disk writes this much at once or not at all, save for the worst of crashes.
const SECTOR: usize = 512;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A write fails with ENOSPC and has written nothing.
    Full,
    /// A write fails with ENOSPC and has written a part.
    FullInside,
    /// A write, a truncation, a removal or a sync fails with EIO. A write has written a part; a sync fails as with
    /// `Sync`.
    Io,
    /// A sync fails with EIO. What it should have made durable is durable or never will be, even if later syncs
    /// succeed; reads may see it or what is on the disk instead.
    Sync,
    /// A read fails with EIO.
    Read,
    /// A removal fails with EIO.
    Remove,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, octets: Vec<u8> },
    Resize(usize),
}

/// A change that is not durable, and the time of the operation that made it.
#[derive(Clone, Debug)]
struct Unsynced<T> {
    at: u64,
    change: T,
}

/// A file, whatever its name is and whether it has one.
#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    unsynced: Vec<Unsynced<Change>>,
    seen: Vec<u8>,
}

/// A name was given to a file, by number, or taken away.
type NameChange = (FileName, Option<usize>);

#[derive(Clone, Debug)]
struct Machine {
    random: Random,
    contents: Vec<Content>,
    durable_names: BTreeMap<FileName, usize>,
    unsynced_names: Vec<Unsynced<NameChange>>,
    names: BTreeMap<FileName, usize>,
    /// Counts operations, reads not counted.
    now: u64,
    /// The time when this disk was made.
    born: u64,
    crash_at: Option<u64>,
    is_off: bool,
    failure: Option<(u64, Failure)>,
    is_unreadable: bool,
    capacity: Option<u64>,
}

/// What becomes of unsynced changes when the power goes.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    None,
    All,
    /// The changes before this time are kept, and a part of that made then.
    Until(u64),
    /// Each has a fate of its own.
    Any,
}

/// How an operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Done,
    /// The machine goes off in the middle of it.
    Off,
    Fails(Failure),
}

/// A handle of a simulated disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    machine: Arc<Mutex<Machine>>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self::with(Machine::new(Random::new(seed)))
    }

    fn with(machine: Machine) -> Self {
        Self { machine: Arc::new(Mutex::new(machine)) }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().expect("no panic while it was held")
    }

    /// Power is lost, and comes back: turns this disk off for good, and returns the one that is found. Called again it
    /// returns another one that could have been found.
    pub fn crash(&self) -> Self {
        let mut machine = self.lock();
        machine.is_off = true;
        Self::with(machine.after_power_loss())
    }

    /// The process is killed and another one started: turns this disk off for good, and returns one with all that was
    /// written, synced or not.
    pub fn kill(&self) -> Self {
        let mut machine = self.lock();
        machine.is_off = true;
        Self::with(machine.after_kill())
    }

    /// Goes off in the middle of an operation, after `n` have been done since the disk was made (see
    /// [`SimDisk::operations`]): that one is done in part and fails, and so does everything after it.
    pub fn crash_at(&self, n: u64) {
        let mut machine = self.lock();
        machine.crash_at = Some(machine.born + n);
    }

    /// Whether it has gone off.
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// How many operations were done: writes, truncations, removals, syncs, failed ones included.
    pub fn operations(&self) -> u64 {
        let machine = self.lock();
        machine.now - machine.born
    }

    /// Once `n` more operations have been done, the next one that can fail in this way does, once.
    pub fn fail_after(&self, n: u64, failure: Failure) {
        let mut machine = self.lock();
        machine.failure = Some((machine.now + n, failure));
    }

    /// Whether a failure that was asked for is yet to come.
    pub fn fails_yet(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// From now on everything that reads fails with EIO, or nothing does.
    pub fn unreadable(&self, unreadable: bool) {
        self.lock().is_unreadable = unreadable;
    }

    /// Sets how many octets all files may have together. Writes that need more fail, and may have written a part.
    pub fn set_capacity(&self, octets: Option<u64>) {
        self.lock().capacity = octets;
    }

    /// Fills the disk up with something else, or frees it of that. If full, it has room for as much as is removed.
    pub fn full(&self, full: bool) {
        let mut machine = self.lock();
        machine.capacity = full.then(|| machine.used());
    }

    /// Octets of all files.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Inverts a bit of an octet, for whoever reads it now or later.
    pub fn corrupt(&self, file: FileName, offset: u64) {
        let mut machine = self.lock();
        let bit = 1 << machine.random.below(8);
        let content = machine.content(file).expect("a file that is there");
        let offset = offset as usize;
        content.seen[offset] ^= bit;
        if let Some(octet) = content.durable.get_mut(offset) {
            *octet ^= bit;
        }
    }

    /// What reads see of a file, if it is there.
    pub fn seen(&self, file: FileName) -> Option<Vec<u8>> {
        self.lock().content(file).ok().map(|content| content.seen.clone())
    }

    /// What is on the disk for certain of a file, if it is there for certain.
    pub fn durable(&self, file: FileName) -> Option<Vec<u8>> {
        let machine = self.lock();
        let number = *machine.durable_names.get(&file)?;
        Some(machine.contents[number].durable.clone())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<FileName>> {
        let mut machine = self.lock();
        machine.before_read()?;
        let mut names: Vec<_> = machine.names.keys().copied().collect();
        // In no order that anybody could rely on.
        for at in (1..names.len()).rev() {
            names.swap(at, machine.random.below(at + 1));
        }
        Ok(names)
    }

    fn size(&self, file: FileName) -> io::Result<u64> {
        let mut machine = self.lock();
        machine.before_read()?;
        Ok(machine.content(file)?.seen.len() as u64)
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut machine = self.lock();
        machine.before_read()?;
        let seen = &machine.content(file)?.seen;
        let start = seen.len().min(offset as usize);
        let count = buffer.len().min(seen.len() - start);
        buffer[..count].copy_from_slice(&seen[start..start + count]);
        Ok(count)
    }

    fn write(&self, file: FileName, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.lock().write(file, offset as usize, octets)
    }

    fn truncate(&self, file: FileName, size: u64) -> io::Result<()> {
        self.lock().truncate(file, size as usize)
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        self.lock().remove(file)
    }

    fn sync(&self, files: &[FileName], names: bool) -> io::Result<()> {
        self.lock().sync(files, names)
    }

    fn free(&self) -> io::Result<u64> {
        let mut machine = self.lock();
        machine.before_read()?;
        Ok(machine.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(machine.used())))
    }
}

/// The operations.
impl Machine {
    fn new(random: Random) -> Self {
        Self {
            random,
            contents: Vec::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            names: BTreeMap::new(),
            now: 0,
            born: 0,
            crash_at: None,
            is_off: false,
            failure: None,
            is_unreadable: false,
            capacity: None,
        }
    }

    fn content(&mut self, file: FileName) -> io::Result<&mut Content> {
        let number = *self.names.get(&file).ok_or(Errno::NOENT)?;
        Ok(&mut self.contents[number])
    }

    fn used(&self) -> u64 {
        self.names.values().map(|number| self.contents[*number].seen.len() as u64).sum()
    }

    fn before_read(&mut self) -> io::Result<()> {
        if self.is_off {
            return Err(off());
        }
        let fails = self.is_unreadable || self.take_failure(&[Failure::Read]).is_some();
        if fails { Err(Errno::IO.into()) } else { Ok(()) }
    }

    /// Begins an operation that can fail in these ways.
    fn begin(&mut self, failures: &[Failure]) -> io::Result<Course> {
        if self.is_off {
            return Err(off());
        }
        let failure = self.take_failure(failures);
        self.is_off = self.crash_at.is_some_and(|at| self.now >= at);
        self.now += 1;
        Ok(match failure {
            _ if self.is_off => Course::Off,
            Some(failure) => Course::Fails(failure),
            None => Course::Done,
        })
    }

    /// Takes the failure that was asked for, if it is time for it and it is one of these.
    fn take_failure(&mut self, possible: &[Failure]) -> Option<Failure> {
        let now = self.now;
        let is_due = |(at, failure): &mut (u64, Failure)| now >= *at && possible.contains(failure);
        self.failure.take_if(is_due).map(|(_, failure)| failure)
    }

    fn write(&mut self, file: FileName, offset: usize, octets: &[u8]) -> io::Result<()> {
        let course = self.begin(&[Failure::Full, Failure::FullInside, Failure::Io])?;
        let part = match course {
            Course::Done => octets.len(),
            Course::Fails(Failure::Full) => 0,
            Course::Off | Course::Fails(_) => self.random.below(octets.len() + 1),
        };
        let part = part.min(self.room(file, offset));
        if course == Course::Done || part > 0 || self.random.chance(50) {
            let number = self.make(file);
            let octets = octets[..part].to_vec();
            self.contents[number].change(self.now, Change::Write { offset, octets });
        }
        match course.end() {
            Ok(()) if part < octets.len() => Err(Errno::NOSPC.into()),
            end => end,
        }
    }

    /// How many octets can be written from an offset on.
    fn room(&self, file: FileName, offset: usize) -> usize {
        let Some(capacity) = self.capacity else { return usize::MAX };
        let size = self.names.get(&file).map_or(0, |number| self.contents[*number].seen.len());
        let free = capacity.saturating_sub(self.used()) as usize;
        size.saturating_add(free).saturating_sub(offset)
    }

    /// The number of a file, which is made if it is not there.
    fn make(&mut self, file: FileName) -> usize {
        if let Some(number) = self.names.get(&file) {
            return *number;
        }
        let number = self.contents.len();
        self.contents.push(Content::default());
        self.rename((file, Some(number)));
        number
    }

    fn rename(&mut self, change: NameChange) {
        apply_name(&mut self.names, change);
        self.unsynced_names.push(Unsynced { at: self.now, change });
    }

    fn truncate(&mut self, file: FileName, size: usize) -> io::Result<()> {
        let course = self.begin(&[Failure::Io])?;
        let happens = course == Course::Done || self.random.chance(50);
        let now = self.now;
        let content = self.content(file)?;
        if happens {
            content.change(now, Change::Resize(size));
        }
        course.end()
    }

    fn remove(&mut self, file: FileName) -> io::Result<()> {
        let course = self.begin(&[Failure::Io, Failure::Remove])?;
        let happens = course == Course::Done || self.random.chance(50);
        if happens && self.names.contains_key(&file) {
            self.rename((file, None));
        }
        course.end()
    }

    fn sync(&mut self, files: &[FileName], names: bool) -> io::Result<()> {
        let course = self.begin(&[Failure::Io, Failure::Sync])?;
        let fails = match course {
            Course::Done => false,
            Course::Fails(_) => true,
            // What has been done of it and what not is said by the crash.
            Course::Off => return course.end(),
        };
        for file in files {
            let number = *self.names.get(file).ok_or(Errno::NOENT)?;
            let content = &mut self.contents[number];
            if fails { content.sync_fails(&mut self.random) } else { content.sync() }
        }
        if names {
            for Unsynced { change, .. } in std::mem::take(&mut self.unsynced_names) {
                if !fails || self.random.chance(50) {
                    apply_name(&mut self.durable_names, change);
                }
            }
        }
        course.end()
    }
}

/// What is found afterwards.
impl Machine {
    fn after_power_loss(&mut self) -> Self {
        let mut random = Random::new(self.random.next());
        let outcome = self.outcome(&mut random);
        let mut names = self.durable_names.clone();
        for change in &self.unsynced_names {
            if outcome.keeps_all(change.at) || (outcome.may_keep(change.at) && random.chance(50)) {
                apply_name(&mut names, change.change);
            }
        }
        let mut found = Self { capacity: self.capacity, ..Self::new(random) };
        for (name, number) in names {
            let durable = self.contents[number].after(outcome, &mut found.random);
            found.durable_names.insert(name, found.contents.len());
            found.contents.push(Content { seen: durable.clone(), durable, unsynced: Vec::new() });
        }
        found.names = found.durable_names.clone();
        found
    }

    fn outcome(&self, random: &mut Random) -> Outcome {
        match random.below(5) {
            0 => Outcome::None,
            1 => Outcome::All,
            2 => {
                let changes = self.contents.iter().flat_map(|content| &content.unsynced);
                let times: Vec<_> = changes.map(|change| change.at).collect();
                if times.is_empty() {
                    Outcome::None
                } else {
                    Outcome::Until(times[random.below(times.len())])
                }
            }
            _ => Outcome::Any,
        }
    }

    fn after_kill(&mut self) -> Self {
        let random = Random::new(self.random.next());
        Self { random, born: self.now, crash_at: None, is_off: false, failure: None, ..self.clone() }
    }
}

impl Content {
    fn change(&mut self, at: u64, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(Unsynced { at, change });
    }

    fn sync(&mut self) {
        for Unsynced { change, .. } in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn sync_fails(&mut self, random: &mut Random) {
        self.durable = self.after(Outcome::Any, random);
        let at = self.unsynced.last().map_or(0, |last| last.at);
        self.unsynced.clear();
        let size = self.seen.len();
        if random.chance(50) {
            self.seen.clone_from(&self.durable);
            self.seen.resize(size, 0);
        }
        // The size is still known, and a later sync makes it durable, with nothing where something was.
        self.unsynced.push(Unsynced { at, change: Change::Resize(size) });
    }

    /// What is on the disk after a crash.
    fn after(&self, outcome: Outcome, random: &mut Random) -> Vec<u8> {
        let mut octets = self.durable.clone();
        let mut changes: Vec<_> = self.unsynced.iter().collect();
        if matches!(outcome, Outcome::Any) && random.chance(30) {
            (1..changes.len()).for_each(|at| changes.swap(at, random.below(at + 1)));
        }
        for Unsynced { at, change } in changes {
            if outcome.keeps_all(*at) {
                change.apply(&mut octets);
            } else if outcome.may_keep(*at) {
                change.apply_some(&mut octets, random);
            }
        }
        let ends = self.ends();
        if matches!(outcome, Outcome::Any) && !ends.is_empty() && random.chance(25) {
            // The size that a write made, without what was written.
            octets.resize(octets.len().max(ends[random.below(ends.len())]), 0);
        }
        octets
    }

    /// Where the writes end that are not durable.
    fn ends(&self) -> Vec<usize> {
        let end = |unsynced: &Unsynced<Change>| match &unsynced.change {
            Change::Write { offset, octets } => Some(offset + octets.len()),
            Change::Resize(_) => None,
        };
        self.unsynced.iter().filter_map(end).collect()
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, octets } => put(to, *offset, octets),
            Self::Resize(size) => to.resize(*size, 0),
        }
    }

    /// All of it, nothing, or a part.
    fn apply_some(&self, to: &mut Vec<u8>, random: &mut Random) {
        let Self::Write { offset, octets } = self else {
            if random.chance(50) {
                self.apply(to);
            }
            return;
        };
        let cut = random.below(octets.len() + 1);
        match random.below(8) {
            0 | 1 => {}
            2..=4 => self.apply(to),
            5 => put(to, *offset, &octets[..cut]),
            6 => put(to, offset + cut, &octets[cut..]),
            _ => {
                let mut start = 0;
                while start < octets.len() {
                    let end = octets.len().min(start + SECTOR - (offset + start) % SECTOR);
                    if random.chance(50) {
                        put(to, offset + start, &octets[start..end]);
                    }
                    start = end;
                }
            }
        }
    }
}

impl Outcome {
    /// Whether a change made at this time is kept for certain.
    fn keeps_all(self, at: u64) -> bool {
        match self {
            Self::None | Self::Any => false,
            Self::All => true,
            Self::Until(last) => at < last,
        }
    }

    /// Whether a change made at this time may be kept, or a part of it.
    fn may_keep(self, at: u64) -> bool {
        match self {
            Self::None => false,
            Self::All | Self::Any => true,
            Self::Until(last) => at <= last,
        }
    }
}

impl Course {
    fn end(self) -> io::Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::Off => Err(off()),
            Self::Fails(Failure::Full | Failure::FullInside) => Err(Errno::NOSPC.into()),
            Self::Fails(Failure::Io | Failure::Sync | Failure::Read | Failure::Remove) => {
                Err(Errno::IO.into())
            }
        }
    }
}

fn off() -> io::Error {
    io::Error::other("the machine is off")
}

/// Writes octets over others. None of them behind the end make nothing longer.
fn put(to: &mut Vec<u8>, offset: usize, octets: &[u8]) {
    if !octets.is_empty() {
        to.resize(to.len().max(offset + octets.len()), 0);
        to[offset..offset + octets.len()].copy_from_slice(octets);
    }
}

fn apply_name(names: &mut BTreeMap<FileName, usize>, (name, number): NameChange) {
    match number {
        Some(number) => names.insert(name, number),
        None => names.remove(&name),
    };
}
