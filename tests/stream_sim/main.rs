//! A stream on a disk that loses power: what is published, read, dropped by age and read again after a crash, at random,
//! beside a plain list of what should be there.

#![allow(clippy::expect_used, reason = "a test may fail")]

#[path = "../support/random.rs"]
mod random;
#[path = "../support/sim_disk.rs"]
mod sim_disk;

mod commit;
mod memory;
mod parts;
mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::commit::Commit;
use leveret::broker::definitions::{Change, Definitions};
use leveret::broker::publish::Outcome;
use leveret::broker::queue::consumer::Consume;
use leveret::broker::settle::Verdict;
use leveret::broker::stream::Figures;
use leveret::broker::stream::marks::{About, DurableMark};
use leveret::broker::{ChannelId, ConnectionId, Name, QueueId, Vhost};
use leveret::log::LogId;
use leveret::log::batch::Batch;
use leveret::log::budget::{Budget, Sizes};
use leveret::log::chunk::Data;
use leveret::log::disk::Disk;
use leveret::log::recover::recover_as;
use leveret::log::resident::Request;
use leveret::node::reader;
use leveret::wire::compose::Table;
use leveret::wire::content::{Body, Message};
use parts::{Entry, Outside, Reading, arguments, new_vhost};
use random::Random;
use sim_disk::SimDisk;

const LOG: LogId = LogId(1);
const VALUES: [&str; 3] = ["a", "b", "c"];
const BEGIN: u64 = 1_700_000_000_000;

struct World {
    random: Random,
    disk: SimDisk,
    sizes: Sizes,
    budget: Arc<Budget>,
    arguments: FieldTable,
    max_octets: Option<u64>,
    max_age: Option<u64>,
    now: u64,
    vhost: Vhost,
    queue: QueueId,
    connection: ConnectionId,
    channel: ChannelId,
    outside: Outside,
    entries: Vec<Option<Entry>>,
    waiting: Vec<(Commit, u64)>,
    readings: BTreeMap<Vec<u8>, Reading>,
    requests: Vec<(QueueId, u64, Request)>,
    /// What is being committed, and what is left of it to be removed.
    gathered: Option<Commit>,
    batch: Batch,
    /// Whether the disk has no room for anything more.
    is_full: bool,
    first: u64,
    /// What was before this has been dropped, though its files may be there again after a crash.
    dropped: u64,
    names: usize,
    count: usize,
    /// The last number of each publisher that is stored, and that is known to be on disk.
    numbers: [u64; 2],
    safe_numbers: [u64; 2],
    /// What the group has acknowledged, from where it began.
    group_began: Option<u64>,
    group_acked: BTreeSet<u64>,
    /// What is kept beside the log, and what is to be kept with the commit.
    catalog: BTreeMap<(About, Name), u64>,
    changes: Vec<Change>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(random.next());
        let (arguments, max_octets, max_age) = arguments(&mut random);
        let sizes = Sizes {
            chunk: 200 + random.below(1500),
            segment: 4096,
            empty_max: 100,
            index_min: 1 + random.below(3000) as u32,
        };
        let budget = Arc::new(Budget::with_sizes(8000, 7, sizes));
        let (vhost, queue, connection, channel) = new_vhost(&budget, &arguments, BEGIN);
        let outside = Outside { credit: 50, ..Outside::default() };
        Self {
            random,
            disk,
            sizes,
            budget,
            arguments,
            max_octets,
            max_age,
            now: BEGIN,
            vhost,
            queue,
            connection,
            channel,
            outside,
            entries: Vec::new(),
            waiting: Vec::new(),
            readings: BTreeMap::new(),
            requests: Vec::new(),
            gathered: None,
            batch: Batch::default(),
            is_full: false,
            first: 0,
            dropped: 0,
            names: 0,
            count: 0,
            numbers: [0; 2],
            safe_numbers: [0; 2],
            group_began: None,
            group_acked: BTreeSet::new(),
            catalog: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    fn figures(&self) -> Figures {
        self.vhost.queue(b"s").expect("a queue").stream_figures().expect("a stream")
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.publish(),
            30..45 => self.commit_step(),
            45..60 => self.read(),
            60..78 => self.acknowledge(),
            78..84 => self.resume(),
            84..90 => self.consume(),
            90..92 => self.cancel(),
            92 => self.fill(!self.is_full),
            // What was gathered has to be written before.
            93..96 if self.gathered.is_none() => self.trim_somehow(),
            _ => self.wait(),
        }
        self.look();
    }

    fn publish(&mut self) {
        for _ in 0..=self.random.below(6) {
            let value = self.random.chance(60).then(|| VALUES[self.random.below(3)]);
            let mut headers = Table::default();
            if let Some(value) = value {
                headers.text("x-stream-filter-value", value);
            }
            let numbered = self.random.chance(30).then(|| self.number());
            if let Some((publisher, sequence)) = numbered {
                headers.text("x-stream-publisher", format!("p{publisher}"));
                headers.long_int("x-stream-sequence", sequence as i64);
            }
            self.count += 1;
            let mut body = format!("message {}", self.count).into_bytes();
            body.resize(body.len() + self.random.below(200), b'.');
            let raw = headers.properties();
            let message =
                Message { exchange: b"", routing_key: b"s", properties: &raw, body: Body::Inline(&body) };
            let targets = self.vhost.route(&message).targets;
            let outcome = self.vhost.publish(&targets, &message, self.now, &mut self.outside);
            if let Some((publisher, sequence)) = numbered {
                // What is stored already is dropped.
                if sequence <= self.numbers[publisher] {
                    assert_eq!(self.figures().next, self.entries.len() as u64);
                    let is_open = self
                        .entries
                        .iter()
                        .flatten()
                        .any(|entry| !entry.confirmed && entry.numbered == Some((publisher, sequence)));
                    match outcome {
                        Outcome::Kept(_) => assert!(self.vhost.calls().gather, "a commit that nobody makes"),
                        _ => assert!(!is_open, "as safe as the first one, which is not"),
                    }
                    continue;
                }
                self.numbers[publisher] = sequence;
            }
            let Outcome::Kept(commit) = outcome else { panic!("not kept") };
            self.waiting.push((commit, self.entries.len() as u64));
            self.entries.push(Some(Entry { body, value, time: self.now, numbered, confirmed: false }));
        }
    }

    /// A publisher and a number: mostly the next one, or one that it may have used.
    fn number(&mut self) -> (usize, u64) {
        let publisher = self.random.below(2);
        let last = self.numbers[publisher];
        let again = self.random.chance(30) && last > 0;
        (publisher, if again { 1 + self.random.below(last as usize) as u64 } else { last + 1 })
    }

    fn read(&mut self) {
        self.requests.extend(self.vhost.take_requests());
        while !self.requests.is_empty() && self.random.chance(70) {
            let at = self.random.below(self.requests.len());
            let (queue, first, request) = self.requests.swap_remove(at);
            let (data, trouble) = reader::read(&self.disk, &request).unwrap_or_else(gone(&request));
            let lost = self.vhost.arrive(queue, first, data, &mut self.outside);
            assert!(lost == 0 || trouble.is_none(), "{trouble:?}");
            assert_eq!(
                lost,
                0,
                "{request:?} {:?}",
                self.entries[first as usize..(request.span.end as usize)]
                    .iter()
                    .map(Option::is_some)
                    .collect::<Vec<_>>()
            );
        }
    }

    fn acknowledge(&mut self) {
        let mut tags: Vec<_> =
            self.readings.values().flat_map(|reading| reading.unacked.iter().copied()).collect();
        tags.sort_unstable();
        if tags.is_empty() {
            return;
        }
        let (tag, _) = tags[self.random.below(tags.len())];
        let multiple = self.random.chance(70);
        let verdict = [Verdict::Done, Verdict::Requeue, Verdict::Discard][self.random.below(3)];
        // A group would not get beyond what it has given back.
        let verdict =
            if self.readings.values().any(|reading| reading.in_group) { Verdict::Done } else { verdict };
        self.settle(tag, multiple, verdict);
        self.vhost.dispatch_due(&mut self.outside);
    }

    fn settle(&mut self, tag: u64, multiple: bool, verdict: Verdict) {
        self.vhost.settle(self.channel, tag, multiple, verdict).expect("a tag");
        for reading in self.readings.values_mut() {
            for (other, offset) in std::mem::take(&mut reading.unacked) {
                if other != tag && !(multiple && other < tag) {
                    reading.unacked.push_back((other, offset));
                } else if reading.in_group {
                    self.group_acked.insert(offset);
                }
            }
        }
    }

    fn resume(&mut self) {
        self.outside.credit = self.random.below(60);
        self.vhost.resume(self.connection, &mut self.outside);
    }

    fn consume(&mut self) {
        if self.readings.len() > 5 {
            return;
        }
        self.names += 1;
        let tag = format!("c{}", self.names).into_bytes();
        let mut arguments = FieldTable::default();
        let values = self.random.chance(40).then(|| VALUES[..1 + self.random.below(2)].to_vec());
        let bare = self.random.chance(50);
        if let Some(values) = &values {
            let all = values.iter().map(|value| AMQPValue::LongString((*value).into())).collect::<Vec<_>>();
            arguments.insert("x-stream-filter".into(), AMQPValue::FieldArray(all.into()));
            arguments.insert("x-stream-match-unfiltered".into(), AMQPValue::Boolean(bare));
        }
        let Figures { first, committed, .. } = self.figures();
        let (mut next, mut since) = (committed, None);
        let in_group = self.random.chance(30) && self.readings.values().all(|reading| !reading.in_group);
        let offset = match self.random.below(5) {
            _ if in_group => {
                let marks = self.vhost.queue(b"s").and_then(|queue| queue.stream_marks()).expect("a stream");
                arguments = FieldTable::default();
                arguments.insert("x-stream-group".into(), AMQPValue::LongString("g".into()));
                // Only the first one of all begins there.
                let (word, begin) =
                    [(None, first), (Some("first"), first), (Some("next"), committed)][self.random.below(3)];
                if let Some(word) = word {
                    arguments.insert("x-stream-offset".into(), AMQPValue::LongString(word.into()));
                }
                next = marks.0.first().map_or(begin, |(_, offset)| *offset);
                self.group_began.get_or_insert(next);
                AMQPValue::Void
            }
            0 => {
                next = first;
                AMQPValue::LongString("first".into())
            }
            1 => {
                next = self.random.below(self.entries.len() + 3) as u64;
                AMQPValue::LongLongInt(next as i64)
            }
            2 | 3 => {
                let time = (self.now - self.random.below(100_000) as u64) / 1000;
                let is_late =
                    |entry: &&Option<Entry>| entry.as_ref().is_some_and(|entry| entry.time >= time * 1000);
                if self.entries[first as usize..committed as usize].iter().any(|entry| is_late(&entry)) {
                    (next, since) = (first, Some(time * 1000));
                }
                AMQPValue::Timestamp(time)
            }
            _ => AMQPValue::LongString("next".into()),
        };
        if !in_group {
            arguments.insert("x-stream-offset".into(), offset);
        }
        let (values, bare) = if in_group { (None, true) } else { (values, bare) };
        self.vhost.set_prefetch(self.channel, 1 + self.random.below(40) as u16);
        let consume = Consume { queue: b"s", tag: &tag, no_ack: false, exclusive: false, arguments };
        let id = self.vhost.consume(self.channel, consume).expect("a consumer");
        self.readings
            .insert(tag, Reading { next, since, values, bare, unacked: VecDeque::new(), in_group, id });
        self.vhost.start_consumer(id, &mut self.outside);
    }

    fn cancel(&mut self) {
        let Some(tag) = self.readings.keys().nth(self.random.below(8)).cloned() else { return };
        let gone = self.readings.remove(&tag).expect("a consumer");
        self.vhost.cancel(self.channel, &tag, &mut self.outside);
        for (tag, _) in gone.unacked {
            self.vhost.settle(self.channel, tag, false, Verdict::Done).expect("a tag");
        }
        self.vhost.dispatch_due(&mut self.outside);
    }

    fn wait(&mut self) {
        self.now += self.random.below(20_000) as u64;
        self.vhost.set_clock(self.now);
        self.vhost.tick(&mut self.outside);
    }

    /// Compares what came with what should have come.
    fn look(&mut self) {
        let figures = self.figures();
        assert!(figures.first >= self.first, "the first offset went back");
        for (tag, delivery, offset, body) in std::mem::take(&mut self.outside.deliveries) {
            let reading = self.readings.get_mut(&tag).expect("somebody who consumes");
            let entry = self.entries[offset as usize].as_ref().expect("a message that is there");
            assert!(entry.confirmed, "{offset} was delivered and is not on disk");
            assert_eq!(entry.body, body, "at {offset}");
            assert!(reading.wants(entry), "{offset} was not wanted");
            assert!(offset >= reading.next, "{offset} once more");
            // What was passed over was not wanted, or it had gone already before this step or went in it.
            let from = reading.next.max(figures.first);
            for passed in from..offset {
                let wanted = self.entries[passed as usize].as_ref().is_some_and(|entry| reading.wants(entry));
                assert!(
                    !wanted,
                    "{passed} was passed over on the way to {offset}: {reading:?} {figures:?} {:?}",
                    self.entries[passed as usize]
                );
            }
            (reading.next, reading.since) = (offset + 1, None);
            reading.unacked.push_back((delivery, offset));
        }
        self.first = figures.first;
        self.dropped = self.dropped.max(self.first);
    }

    /// Everything is committed and read.
    fn settle_down(&mut self) {
        self.fill(false);
        for _ in 0..3000 {
            self.outside.credit = 1000;
            self.commit_step();
            self.requests.extend(self.vhost.take_requests());
            for (queue, first, request) in std::mem::take(&mut self.requests) {
                let (data, trouble) = reader::read(&self.disk, &request).unwrap_or_else(gone(&request));
                let lost = self.vhost.arrive(queue, first, data, &mut self.outside);
                // What has gone meanwhile is no loss.
                assert!(lost == 0 || trouble.is_none(), "{trouble:?}");
            }
            self.vhost.resume(self.connection, &mut self.outside);
            self.vhost.tick(&mut self.outside);
            self.look();
            let tags: Vec<_> = self
                .readings
                .values()
                .flat_map(|reading| reading.unacked.iter().map(|(tag, _)| *tag))
                .collect();
            for tag in &tags {
                self.settle(*tag, false, Verdict::Done);
            }
            self.vhost.dispatch_due(&mut self.outside);
            self.look();
            if tags.is_empty()
                && self.waiting.is_empty()
                && self.gathered.is_none()
                && !self.vhost.calls().read
                && self.readings.values().all(|reading| reading.unacked.is_empty())
            {
                break;
            }
        }
        // Time for numbers to be kept, which retention may wait for.
        for _ in 0..3 {
            self.now += 2000;
            self.vhost.set_clock(self.now);
            self.vhost.tick(&mut self.outside);
            (0..2).for_each(|_| self.commit_step());
        }
        self.look();
        let figures = self.figures();
        if let Some(max) = self.max_octets {
            let one = 2 * (5000 + self.sizes.chunk as u64);
            assert!(figures.octets <= max.max(one) + one, "{} octets of {max}", figures.octets);
        }
        let end = self.entries.len() as u64;
        for (tag, reading) in &self.readings {
            for offset in reading.next.max(self.first)..end {
                let wanted = self.entries[offset as usize].as_ref().is_some_and(|entry| reading.wants(entry));
                assert!(
                    !wanted,
                    "{:?} did not get {offset} of {end}: {reading:?} {:?} {:?}",
                    String::from_utf8_lossy(tag),
                    self.vhost.consumer(reading.id),
                    self.figures()
                );
            }
        }
    }

    /// The machine goes off, or the process is killed, and another one takes over.
    fn crash(&mut self) {
        let lost_power = self.random.chance(60);
        if self.gathered.take().is_some() {
            // In the middle of a commit.
            self.disk.crash_at(self.disk.operations() + self.random.below(6) as u64);
            if self.random.chance(80) {
                self.keep();
                let result = self.batch.write(&self.disk);
                let _ = result.and_then(|()| self.batch.sync(&self.disk, &BTreeSet::new()));
            }
        }
        self.changes.clear();
        self.disk = if lost_power { self.disk.crash() } else { self.disk.kill() };
        self.batch = Batch::default();
        self.fill(false);
        self.requests.clear();
        self.readings.clear();
        self.waiting.clear();
        self.outside.deliveries.clear();
        self.budget = Arc::new(Budget::with_sizes(8000, 7, self.sizes));
        (self.vhost, self.queue, self.connection, self.channel) =
            new_vhost(&self.budget, &self.arguments, self.now);
        self.vhost.take_changes();
        let marks = self.catalog.iter().map(|((about, name), number)| DurableMark {
            log: LOG,
            about: *about,
            name: Name::clone(name),
            number: *number,
        });
        let stored = Definitions { marks: marks.collect(), ..Definitions::default() };
        assert_eq!(self.vhost.restore_definitions(stored), []);
        let files = self.disk.list().expect("a list");
        let lasting = self.vhost.lasting(self.queue);
        let found =
            recover_as(&self.disk, LOG, Arc::clone(&self.budget), lasting, &files).expect("recovered");
        let torn = !found.damage.is_empty();
        self.disk.sync(&found.unsynced, true).expect("synced");
        self.vhost.recover(self.queue, found);
        self.vhost.groups_found(self.queue);
        if self.vhost.is_to_be_read(self.queue) {
            for (first, request) in self.vhost.requests_to_learn(self.queue) {
                let (data, _) = reader::read(&self.disk, &request).expect("read");
                let count = request.span.end - request.span.first;
                self.vhost.learn(self.queue, first..first + count, &data);
            }
        }
        self.take_stock(torn);
    }

    /// What was confirmed is there where it was; of the rest some may be.
    fn take_stock(&mut self, torn: bool) {
        let Figures { first, next, committed, .. } = self.figures();
        assert_eq!(next, committed);
        let end = next as usize;
        // Where the front of a file has not come to the disk nobody knows how many messages were to be in it.
        assert!(end <= self.entries.len() || torn, "{end} of {}", self.entries.len());
        self.entries.resize(self.entries.len().max(end), None);
        let lost = self.entries.drain(end..).flatten().any(|entry| entry.confirmed);
        assert!(!lost, "what was confirmed is gone");
        if self.max_octets.is_none() && self.max_age.is_none() {
            assert_eq!(first, 0);
        }
        // What was not confirmed, or had been dropped, is taken as it is found.
        let is_unsure = |at: &usize| {
            let dropped = (*at as u64) < self.dropped;
            self.entries[*at].as_ref().is_some_and(|entry| !entry.confirmed || dropped)
        };
        let unsure: Vec<_> = (first as usize..end).filter(is_unsure).collect();
        let mut there = BTreeSet::new();
        for (queue, position, request) in
            self.vhost.all_requests(self.queue).into_iter().map(|(at, request)| (self.queue, at, request))
        {
            let (data, trouble) = reader::read(&self.disk, &request).expect("read");
            assert_eq!(trouble, None, "{queue:?}");
            let count = request.span.end - request.span.first;
            there.extend((0..count).filter(|at| data.get(*at as usize).is_some()).map(|at| position + at));
        }
        for at in unsure {
            match &mut self.entries[at] {
                Some(entry) if there.contains(&(at as u64)) => entry.confirmed = true,
                entry => *entry = None,
            }
        }
        for at in first..next {
            assert!(self.entries[at as usize].is_none() || there.contains(&at), "{at} is not there");
        }
        self.first = first;
        self.check_marks();
    }

    /// Publishers' numbers are those of the messages that are there, or were; a group does not skip anything.
    fn check_marks(&mut self) {
        self.numbers = self.safe_numbers;
        for (publisher, sequence) in self.entries.iter().flatten().filter_map(|entry| entry.numbered) {
            self.numbers[publisher] = self.numbers[publisher].max(sequence);
        }
        self.safe_numbers = self.numbers;
        let (groups, publishers) =
            self.vhost.queue(b"s").and_then(|queue| queue.stream_marks()).expect("a stream");
        for (publisher, last) in self.numbers.into_iter().enumerate() {
            let name = format!("p{publisher}");
            let known =
                publishers.iter().find(|(known, _)| **known == *name).map_or(0, |(_, number)| *number);
            assert_eq!(known, last, "of {name}");
        }
        if groups.is_empty() {
            // It was never stored, and begins anew.
            self.group_began = None;
        }
        for (_, offset) in groups {
            let began = self.group_began.expect("a group");
            for passed in began.max(self.dropped)..offset {
                let there = self.entries.get(passed as usize).is_some_and(Option::is_some);
                assert!(
                    !there || self.group_acked.contains(&passed),
                    "{passed} is not acknowledged, of {offset}"
                );
            }
        }
    }
}

/// What is read of a file that has gone: nobody wants it.
fn gone(request: &Request) -> impl FnOnce(io::Error) -> (Data, Option<String>) {
    |_| (Data::read(&[], &request.span).0, None)
}

fn play(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..4 {
        for _ in 0..150 + world.random.below(400) {
            world.step();
        }
        if world.random.chance(50) {
            world.settle_down();
        }
        world.crash();
    }
    world.consume();
    world.settle_down();
}

#[test]
fn confirmed_messages_keep_their_offsets_and_readers_get_each_in_order() {
    let seeds = std::env::var("LEVERET_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    for seed in std::env::var("LEVERET_FROM").ok().and_then(|n| n.parse().ok()).unwrap_or(0)..seeds {
        let result = std::panic::catch_unwind(|| play(seed));
        assert!(result.is_ok(), "with seed {seed}");
    }
}
