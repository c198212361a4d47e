//! The end of a life, and what is found after it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use leveret::log::batch::Batch;
use leveret::log::chunk::Data;
use leveret::log::disk::{Disk, FileName, Kind};
use leveret::log::recover::{Damage, Recovered, recover};
use leveret::log::spill::Spill;
use leveret::log::{At, Log, Position};

use super::model::{Content, Message, Model, Stage};
use super::steps::End;
use super::watch::Watch;
use super::world::{Phase, Side, World};

impl World {
    /// Ends the life, and begins the next one.
    pub fn die(&mut self, end: End) {
        let mut end = end;
        let mut lost_power = false;
        self.lived = self.operations();
        loop {
            self.note(|| format!("ends: {end:?}"));
            // Stopped in order, anything may follow.
            let loses_power = end == End::PowerLoss || (end == End::Stop && self.random.chance(50));
            lost_power |= loses_power;
            let found = if loses_power { self.disk.disk.crash() } else { self.disk.disk.kill() };
            found.full(false);
            self.disk = self.disk.found(found);
            if self.random.chance(10) {
                self.disk.disk.crash_at(self.random.below(4) as u64);
            }
            self.is_tainted |= self.has_lied && !loses_power;
            self.begin();
            let result = self.recover(end, lost_power);
            if result.is_ok() {
                self.disk.disk.crash_at(u64::MAX / 2);
                break;
            }
            assert!(self.disk.disk.is_off(), "{result:?}");
            if end == End::Stop {
                end = End::Kill;
            }
            if self.random.chance(50) {
                end = End::PowerLoss;
            }
        }
    }

    /// Forgets what a life had in memory.
    fn begin(&mut self) {
        self.readings.clear();
        self.leavers.clear();
        self.settled.clear();
        self.batch = Batch::default();
        self.phase = Phase::Idle;
        self.has_misread = self.is_tainted;
        self.spill = Spill::with_size(1 + self.random.below(4 * self.sizes.chunk) as u32);
        self.sides.iter_mut().for_each(|side| side.log = Log::default());
        assert_eq!((self.budget.resident(), self.budget.unwritten()), (0, 0), "counted and not there");
        self.budget = self.new_budget();
    }

    fn recover(&mut self, end: End, lost_power: bool) -> io::Result<()> {
        let files = self.disk.list()?;
        Spill::clear(&self.disk, &files)?;
        let mut unsynced = Vec::new();
        let mut found = Vec::new();
        for number in 0..self.sides.len() {
            let Some(id) = self.sides[number].model.id else {
                found.push(None);
                continue;
            };
            let budget = self.new_budget();
            let mut first = recover(&self.disk, id, budget, &files)?;
            let held = walk(&self.disk, &mut first.log, self.is_tainted)?;
            let second = recover(&self.disk, id, Arc::clone(&self.budget), &files)?;
            let counts = |found: &Recovered| (found.messages, found.bytes, found.delivered, found.log.next());
            assert_eq!(counts(&first), counts(&second), "twice the same");
            let bytes = held.values().map(|(size, _)| *size as u64).sum();
            let is_exact = (second.messages, second.bytes) == (held.len(), bytes);
            assert!(is_exact || self.is_tainted, "{} messages, {} are there", second.messages, held.len());
            self.check_damage(&second.damage);
            unsynced.extend_from_slice(&second.unsynced);
            found.push(Some((second, held)));
        }
        // Only then may anything be relied on; until then all could happen again.
        self.disk.sync(&unsynced, true)?;
        for (number, found) in found.into_iter().enumerate() {
            let Some((found, held)) = found else {
                let log = Log::new(None, Arc::clone(&self.budget));
                self.sides[number] = Side { log, model: Model::default(), dirty: false };
                continue;
            };
            let model = &mut self.sides[number].model;
            let asked = Asked { end, lost_power, lied: self.has_lied };
            settle_accounts(model, &asked, &found, &held);
            self.sides[number].log = found.log;
            self.heed(number);
        }
        if lost_power {
            self.has_lied = false;
        }
        Ok(())
    }

    /// What was durable is never damaged.
    fn check_damage(&mut self, damage: &[Damage]) {
        for Damage { file, offset, size } in damage {
            self.note(|| format!("{file} has damage at {offset}, {size} octets"));
            let durable = self.disk.synced(*file) > *offset;
            let known = !self.damaged.insert((*file, *offset));
            assert!(!durable || known || self.is_tainted, "{file} is damaged at {offset}, {size} octets");
        }
    }

    /// Nothing is wanted any more: next to nothing may be left of it.
    pub fn look_for_remains(&mut self) {
        let files = self.disk.list().expect("a list");
        for file in &files {
            assert!(file.kind != Kind::Spill, "{file} is left");
        }
        for Side { log, model, .. } in &self.sides {
            let Some(id) = model.id else { continue };
            let is_known = |file: &&FileName| !self.damaged.contains(&(**file, 0));
            let own = files.iter().filter(|file| file.log == id && file.kind == Kind::Records);
            let own: Vec<_> = own.filter(is_known).collect();
            // What cannot be read stays until somebody has looked at it.
            if self.is_tainted {
                continue;
            }
            assert!(own.len() <= 1, "{own:?} are left");
            for file in own {
                let size = self.disk.size(*file).expect("a size");
                assert!(size <= u64::from(self.sizes.empty_max) + 100, "{file} has {size} octets");
            }
            assert!(log.resident() < 64 << 10, "{} octets in an empty log", log.resident());
        }
    }
}

/// What the check has to know of the end.
struct Asked {
    end: End,
    lost_power: bool,
    lied: bool,
}

/// Size and number of each message that is found.
type Held = BTreeMap<Position, (usize, Content)>;

/// Reads all that a log has.
fn walk(disk: &Watch, log: &mut Log, is_tainted: bool) -> io::Result<Held> {
    let mut held = Held::new();
    let mut from = 0;
    loop {
        match log.seek(from) {
            At::Here(position) => {
                let record = log.get(position).expect("a record");
                let size = record.parts.body.size();
                let content = Content { number: record.timestamp, size };
                assert!(content.is(&record), "a phantom at {position}: {record:?}");
                held.insert(position, (size, content));
                from = position + 1;
            }
            At::OnDisk => {
                for request in log.take_requests() {
                    let mut image = vec![0; request.size];
                    let count = disk.read(request.file, request.offset, &mut image)?;
                    let (data, bad) = Data::read(&image[..count], &request.span);
                    let whole = (count, bad) == (request.size, None);
                    assert!(whole || is_tainted, "{request:?} is damaged");
                    let lost = log.arrive(request.span.first, data);
                    assert!(lost.is_empty() || is_tainted, "{lost:?} are lost");
                }
            }
            At::End => return Ok(held),
        }
    }
}

/// Compares what is found with what has to be there, and goes on with what is.
fn settle_accounts(model: &mut Model, asked: &Asked, found: &Recovered, held: &Held) {
    let next = found.log.next();
    let log = model.id.map_or(0, |id| id.0);
    assert!(next >= found.delivered, "log {log}: what is new would have been delivered");
    for (position, (_, content)) in held {
        let message = model.messages.get(position);
        assert!(
            message.is_some_and(|message| message.content == *content),
            "log {log}: a phantom: {content:?} at {position}"
        );
        assert!(*position < next, "{position} is not before {next}");
    }
    for (position, message) in &model.messages {
        let is_held = held.contains_key(position);
        let must = must_be(message, asked);
        assert!(must != Some(true) || is_held, "log {log}: {position} is not there: {message:?}");
        assert!(must != Some(false) || !is_held, "log {log}: {position} is there: {message:?}");
        let told = message.delivered == Some(Stage::Durable) && !message.doubtful && !asked.lied;
        assert!(
            !(is_held && told) || *position < found.delivered,
            "log {log}: {position} was delivered, and the mark is {}: {message:?}",
            found.delivered
        );
    }
    assert!(model.was_read || found.delivered == 0, "nobody has read, and the mark is {}", found.delivered);
    if asked.end == End::Stop && !held.is_empty() {
        assert_eq!(found.delivered, model.read.max(model.mark), "the mark after an orderly stop");
    }
    renew(model, asked, found, held);
}

/// Whether a message has to be there; there is no saying for some.
fn must_be(message: &Message, asked: &Asked) -> Option<bool> {
    if !message.persistent {
        return Some(false);
    }
    let enough = if asked.lost_power && asked.end != End::Stop { Stage::Durable } else { Stage::Written };
    match message.settled {
        None if message.stored == Stage::Durable && !message.doubtful => Some(true),
        None if message.stored >= enough && !asked.lied && !message.doubtful => Some(true),
        Some(stage) if !asked.lost_power && stage >= Stage::Written && !asked.lied => Some(false),
        _ => None,
    }
}

fn renew(model: &mut Model, asked: &Asked, found: &Recovered, held: &Held) {
    let next = found.log.next();
    model.messages.retain(|position, message| {
        message.unreadable = false;
        let marked = *position < found.delivered;
        if held.contains_key(position) {
            if asked.lied && !asked.lost_power {
                message.doubtful |= message.stored != Stage::Durable || message.settled.is_some();
            } else {
                message.stored = Stage::Durable;
                message.doubtful &= !asked.lost_power;
            }
            message.settled = None;
            message.delivered =
                (message.delivered.is_some() && marked && !asked.lied).then_some(Stage::Durable);
            return true;
        }
        // What was settled may come back as long as that is not durable, if its position is not given again.
        let may_return = !asked.lost_power && (message.settled.is_some() || asked.lied) && *position < next;
        message.settled = Some(Stage::Written);
        // No commit of the next life promises anything of it.
        message.doubtful = true;
        may_return
    });
    model.unacked.clear();
    model.requeued.clear();
    (model.read, model.next, model.mark) = (0, next, found.delivered);
}
