use std::collections::BTreeMap;
use std::io;

use parking_lot::Mutex;

use super::batch::Batch;
use super::chunk::Data;
use super::disk::{Disk, FileName, Kind};
use super::spill::Spill;
use super::*;
use crate::wire::content::Body;

/// Files in memory that never fail; `tests/support` has a disk that does.
#[derive(Default)]
pub(super) struct Memory(pub Mutex<BTreeMap<FileName, Vec<u8>>>);

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<FileName>> {
        Ok(self.0.lock().keys().copied().collect())
    }

    fn size(&self, file: FileName) -> io::Result<u64> {
        self.0.lock().get(&file).map(|octets| octets.len() as u64).ok_or(io::ErrorKind::NotFound.into())
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let files = self.0.lock();
        let octets = files.get(&file).ok_or(io::ErrorKind::NotFound)?;
        let from = octets.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write(&self, file: FileName, offset: u64, octets: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock();
        let found = files.entry(file).or_default();
        let end = offset as usize + octets.len();
        found.resize(found.len().max(end), 0);
        found[offset as usize..end].copy_from_slice(octets);
        Ok(())
    }

    fn truncate(&self, file: FileName, size: u64) -> io::Result<()> {
        self.0.lock().entry(file).or_default().truncate(size as usize);
        Ok(())
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        self.0.lock().remove(&file);
        Ok(())
    }

    fn sync(&self, _: &[FileName], _: bool) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

pub(super) const ID: LogId = LogId(5);

pub(super) fn parts(body: &[u8]) -> Parts<'_> {
    Parts { exchange: b"x", routing_key: b"key", properties: &[0, 0], body: Body::Inline(body) }
}

fn body_of(log: &Log, position: Position) -> Option<Vec<u8>> {
    log.get(position).map(|r| r.parts.body.octets().to_vec())
}

/// A log with its disk.
pub(super) struct Bench {
    pub disk: Memory,
    pub log: Log,
    pub spill: Spill,
}

impl Bench {
    fn new(durable: bool) -> Self {
        let log = Log::new(durable.then_some(ID), Arc::default());
        Self { disk: Memory::default(), log, spill: Spill::default() }
    }

    fn fill(&mut self, count: u64, persistent: bool) {
        for n in 0..count {
            self.log.append(n + 7, persistent, &parts(&n.to_be_bytes()));
        }
    }

    pub fn commit(&mut self) {
        let mut batch = Batch::default();
        self.log.gather(true, &mut batch);
        batch.write(&self.disk).expect("written");
        batch.remove_files(&self.disk).expect("removed");
        for extent in batch.clear() {
            self.spill.free(&self.disk, extent).expect("freed");
        }
    }

    /// Everything leaves memory that can.
    pub fn evict(&mut self) {
        for leaver in self.log.evict(|_| false, false) {
            let extent = self.spill.write(&self.disk, &leaver.data, leaver.salt).expect("written");
            if let Some(extent) = self.log.spilled(leaver.first, extent) {
                self.spill.free(&self.disk, extent).expect("freed");
            }
        }
    }

    /// Everything that was asked for arrives.
    pub fn read(&mut self) {
        for request in self.log.take_requests() {
            let mut image = vec![0; request.size];
            let count = self.disk.read(request.file, request.offset, &mut image).expect("read");
            let (data, bad) = Data::read(&image[..count], &request.span);
            assert_eq!(bad, None);
            assert!(self.log.arrive(request.span.first, data).is_empty());
        }
    }

    /// All bodies from a position on.
    fn drain(&mut self, mut from: Position) -> Vec<u64> {
        let mut found = Vec::new();
        loop {
            match self.log.seek(from) {
                At::Here(position) => {
                    let body = body_of(&self.log, position).expect("there");
                    found.push(u64::from_be_bytes(body.try_into().expect("eight octets")));
                    from = position + 1;
                }
                At::OnDisk => self.read(),
                At::End => return found,
            }
        }
    }

    fn recovered(&self) -> recover::Recovered {
        let files = self.disk.list().expect("listed");
        recover::recover(&self.disk, ID, Arc::default(), &files).expect("recovered")
    }
}

#[test]
fn reads_back_what_was_appended() {
    let mut log = Log::default();
    for n in 0u64..50_000 {
        assert_eq!(log.append(n + 7, true, &parts(&n.to_be_bytes())), (n, false));
    }
    for n in (0u64..50_000).step_by(77) {
        let record = log.get(n).expect("there");
        assert_eq!((record.timestamp, record.parts.exchange), (n + 7, &b"x"[..]));
        assert_eq!(record.parts.body.octets(), n.to_be_bytes());
    }
    assert!(log.get(50_000).is_none());
    assert!(log.chunks.len() > 3);
}

#[test]
fn settling_in_any_order_frees_everything_and_nothing_else() {
    let mut log = Log::default();
    let count = 30_000u64;
    for n in 0..count {
        log.append(0, false, &parts(&n.to_be_bytes()));
    }
    // Odd ones backwards, then the even ones forwards.
    for n in (0..count).rev().filter(|n| n % 2 == 1) {
        log.settle(n);
    }
    for n in (0..count).step_by(2) {
        assert_eq!(body_of(&log, n), Some(n.to_be_bytes().to_vec()));
        log.settle(n);
    }
    assert_eq!(log.chunks.len(), 1);
    assert_eq!(log.append(0, false, &parts(b"after")).0, count);
    assert_eq!(body_of(&log, count), Some(b"after".to_vec()));
    assert!(log.budget.resident() < 2 * chunk::FULL, "{} octets", log.budget.resident());
}

#[test]
fn a_range_is_settled_whole() {
    let mut log = Log::default();
    for n in 0u64..30_000 {
        log.append(0, false, &parts(&n.to_be_bytes()));
    }
    assert_eq!(log.settle_all(10..29_990), 29_980);
    assert!(log.chunks.len() <= 3, "{} chunks", log.chunks.len());
    for n in (0..10).chain(29_990..30_000) {
        assert_eq!(body_of(&log, n), Some(n.to_be_bytes().to_vec()));
    }
}

#[test]
fn shared_bodies_stay_shared() {
    let mut log = Log::default();
    let bytes = bytes::Bytes::from(vec![7; 100_000]);
    let body = Body::Shared(&bytes);
    let (at, _) =
        log.append(0, false, &Parts { exchange: b"", routing_key: b"q", properties: &[0, 0], body });
    match log.get(at).expect("there").parts.body {
        Body::Shared(found) => assert_eq!(found.as_ptr(), bytes.as_ptr()),
        Body::Inline(_) => panic!("copied"),
    }
}

#[test]
fn what_left_memory_comes_back() {
    for (durable, persistent) in [(true, true), (true, false), (false, false)] {
        let mut bench = Bench::new(durable);
        bench.fill(20_000, persistent);
        bench.commit();
        for n in (1000..2000).step_by(3) {
            bench.log.settle(n);
        }
        bench.evict();
        assert_eq!(bench.log.budget.resident(), 0, "{durable} {persistent}");
        assert_eq!(bench.log.append(0, persistent, &parts(&20_000u64.to_be_bytes())).0, 20_000);
        bench.log.settle(4000);
        assert_eq!(bench.drain(5000), (5000..=20_000).collect::<Vec<_>>());
        bench.log.settle_all(5000..20_000);
        bench.commit();
        assert_eq!(bench.drain(20_000), [20_000]);
    }
}

#[test]
fn a_recovered_log_has_what_was_not_settled() {
    let mut bench = Bench::new(true);
    // Enough for more than one segment, with an index.
    bench.fill(400_000, true);
    bench.commit();
    bench.fill(10, false);
    bench.commit();
    for n in 0..1000 {
        bench.log.note_delivered(n);
        bench.log.settle(n);
    }
    bench.log.settle(1001);
    bench.log.settle_all(300_000..399_000);
    bench.commit();
    bench.commit();
    let found = bench.recovered();
    assert_eq!((found.messages, found.bytes), (400_000 - 1001 - 99_000, (400_000 - 1001 - 99_000) * 8));
    assert!(found.delivered >= 1000 && found.delivered < 3000, "{}", found.delivered);
    assert_eq!(found.damage, []);
    assert!(found.log.next() >= 400_000);
    let mut again = Bench { disk: bench.disk, log: found.log, spill: Spill::default() };
    let wanted: Vec<u64> = [1000].into_iter().chain(1002..300_000).chain(399_000..400_000).collect();
    assert!(again.drain(0) == wanted);
    // And it goes on.
    again.fill(5, true);
    again.log.settle(1000);
    again.commit();
    again.commit();
    let found = again.recovered();
    assert_eq!(found.messages, wanted.len() + 5 - 1);
}

/// What leaves memory is found without looking at all that has left before: the list of the rest has to be true.
#[test]
fn it_is_known_which_chunks_are_in_memory() {
    for (seed, persistent) in (0..20u64).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut bench = Bench::new(true);
        bench.log.sizes.chunk = 500;
        let (mut unsettled, mut purged) = (BTreeSet::new(), 0);
        for step in 0..400u64 {
            let dice = (step + 1).wrapping_mul(seed * 2 + 0x9e37_79b9_7f4a_7c15) >> 33;
            let any = unsettled.iter().nth(dice as usize / 8 % unsettled.len().max(1)).copied();
            match (dice % 8, any) {
                (0, _) => bench.evict(),
                (1, _) => bench.commit(),
                (2, Some(position)) => {
                    bench.log.fetch(position);
                    bench.read();
                }
                (3 | 4, Some(position)) => {
                    unsettled.remove(&position);
                    bench.log.settle(position);
                }
                (5, _) if dice % 64 == 5 => {
                    let end = bench.log.next();
                    let from = unsettled.iter().nth(unsettled.len() / 2).copied().unwrap_or(end).max(purged);
                    // Those that were settled one by one are behind where it begins.
                    if unsettled.range(from..).count() as u64 == end - from {
                        bench.log.settle_all(from..end);
                        unsettled.retain(|position| *position < from);
                        purged = end;
                    }
                }
                _ => {
                    unsettled.extend(bench.log.next()..bench.log.next() + 5);
                    bench.fill(5, persistent);
                }
            }
            let before_last = bench.log.chunks.len().saturating_sub(1);
            let warm = bench.log.chunks.iter().take(before_last).filter(|chunk| chunk.data().is_some());
            assert!(warm.map(|chunk| chunk.first).eq(bench.log.warm.iter().copied()), "{seed} step {step}");
            let weight: usize = bench.log.chunks.iter().map(Chunk::weight).sum();
            assert_eq!(
                (bench.log.resident(), bench.log.budget.resident()),
                (weight, weight),
                "{seed} step {step}"
            );
        }
    }
}

#[test]
fn files_go_with_their_last_record() {
    let mut bench = Bench::new(true);
    bench.fill(900_000, true);
    bench.commit();
    bench.commit();
    let files = bench.disk.list().expect("listed").len();
    bench.log.settle_all(0..890_000);
    bench.commit();
    let left = bench.disk.list().expect("listed");
    assert!(left.len() < files, "{files} files, then {left:?}");
    bench.log.settle_all(890_000..900_000);
    bench.commit();
    assert_eq!(bench.disk.list().expect("listed"), []);
    assert_eq!(bench.recovered().messages, 0);
}

#[test]
fn what_is_settled_before_it_is_written_is_not_written() {
    let mut bench = Bench::new(true);
    bench.fill(100, true);
    (0..100).filter(|n| *n != 50).for_each(|n| bench.log.settle(n));
    bench.commit();
    let file = FileName { log: ID, first: 0, kind: Kind::Records };
    assert!(bench.disk.size(file).expect("there") < 120);
    let found = bench.recovered();
    assert_eq!(found.messages, 1);
    let mut again = Bench { disk: bench.disk, log: found.log, spill: Spill::default() };
    assert_eq!(again.drain(0), [50]);
}

#[test]
fn torn_tails_are_cut_and_damage_is_reported() {
    let mut bench = Bench::new(true);
    bench.fill(100, true);
    bench.commit();
    let file = FileName { log: ID, first: 0, kind: Kind::Records };
    let size = bench.disk.size(file).expect("there");
    let half = bench.disk.0.lock()[&file][40..60].to_vec();
    for torn in [&[0; 100][..], &[0xff; 30], &half] {
        bench.disk.write(file, size, torn).expect("written");
        let found = bench.recovered();
        assert_eq!((found.messages, found.damage.len()), (100, 0));
        assert_eq!(bench.disk.size(file).expect("there"), size);
    }
    // In the middle of the tenth record.
    let record = (size - 40) / 100;
    let at = 40 + 9 * record + 5;
    bench.disk.0.lock().get_mut(&file).expect("there")[at as usize] ^= 1;
    let found = bench.recovered();
    assert_eq!(found.messages, 99);
    let damage = recover::Damage { file, offset: 40 + 9 * record, size: record };
    assert_eq!(found.damage, [damage]);
}

#[test]
fn what_was_found_or_has_left_once_takes_no_more() {
    for persistent in [true, false] {
        let mut bench = Bench::new(persistent);
        bench.fill(3, persistent);
        bench.commit();
        bench.evict();
        assert_eq!(bench.drain(0), [0, 1, 2]);
        let (next, _) = bench.log.append(0, persistent, &parts(&3u64.to_be_bytes()));
        bench.commit();
        bench.evict();
        assert_eq!((next, bench.drain(0)), (3, vec![0, 1, 2, 3]));
        if persistent {
            let found = bench.recovered();
            let mut again = Bench { disk: bench.disk, log: found.log, spill: Spill::default() };
            assert_eq!(again.drain(0), [0, 1, 2, 3]);
            again.log.append(0, true, &parts(&4u64.to_be_bytes()));
            again.commit();
            again.log.settle(0);
            again.commit();
            let found = again.recovered();
            assert_eq!(found.messages, 4);
        }
    }
}

#[test]
fn what_counts_as_unwritten_is_written_in_the_end() {
    let body = bytes::Bytes::from(vec![7; 100_000]);
    for (persistent, shared) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut bench = Bench::new(true);
        for round in 0..5 {
            for _ in 0..20 {
                let body = if shared { Body::Shared(&body) } else { Body::Inline(&body) };
                bench.log.append(0, persistent, &Parts { body, ..parts(b"") });
            }
            assert_eq!(bench.log.budget.unwritten() > 1_000_000, persistent, "{shared} {round}");
            bench.commit();
            assert_eq!(bench.log.budget.unwritten(), 0, "{persistent} {shared} {round}");
        }
    }
}

#[test]
fn what_could_not_be_read_is_there_after_the_next_start() {
    let mut bench = Bench::new(true);
    bench.fill(400_000, true);
    bench.commit();
    bench.evict();
    assert_eq!(bench.log.seek(0), At::OnDisk);
    let mut lost = 0;
    for request in bench.log.take_requests() {
        let (data, _) = Data::read(&[], &request.span);
        for position in bench.log.arrive(request.span.first, data) {
            bench.log.forget(position);
            lost += 1;
        }
    }
    bench.log.settle_all(lost..400_000);
    bench.commit();
    bench.commit();
    assert_eq!(bench.recovered().messages as u64, lost);
    // The index of the segment would not have known of them.
    bench.log.append(0, true, &parts(b""));
    bench.commit();
    assert_eq!(bench.recovered().messages as u64, lost + 1);
}

#[test]
fn runs_of_settled_records_may_lie_in_one_another() {
    let mut bench = Bench::new(true);
    bench.fill(5000, true);
    bench.commit();
    bench.log.settle_all(3..5);
    bench.commit();
    let found = bench.recovered();
    assert_eq!(found.messages, 4998);
    let mut again = Bench { disk: bench.disk, log: found.log, spill: Spill::default() };
    assert_eq!(again.log.settle_all(0..4000), 3998);
    again.commit();
    let found = again.recovered();
    let mut last = Bench { disk: again.disk, log: found.log, spill: Spill::default() };
    assert_eq!(last.drain(0), (4000..5000).collect::<Vec<_>>());
}
