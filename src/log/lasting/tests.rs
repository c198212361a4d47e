use std::sync::Arc;

use super::*;
use crate::log::batch::Batch;
use crate::log::budget::{Budget, Sizes};
use crate::log::disk::Disk as _;
use crate::log::recover::recover_as;
use crate::log::spill::Spill;
use crate::log::tests::{Bench, ID, Memory, parts};
use crate::wire::content::Body;

const LASTING: Lasting = Lasting { segment: Some(1), labels: 16, labeller: None };

/// A log with a chunk for each record, as many as there are labels.
fn log(labels: impl Iterator<Item = u64>) -> Log {
    let mut log = Log::default();
    log.make_lasting(LASTING);
    for label in labels {
        let body = Body::Inline(&[0; 2000]);
        let parts = Parts { exchange: b"", routing_key: b"s", properties: &[0, 0], body };
        log.append_lasting(1, 0, Some(label), &parts);
    }
    log
}

fn wanted(label: u64) -> Wanted {
    Wanted { bare: false, labels: vec![label] }
}

#[test]
fn a_long_hole_is_gone_through_in_turns() {
    let mut log = log((0..500).map(|n| if n == 400 { 7 } else { 1 << 40 }));
    let (mut from, mut turns) = (3, Vec::new());
    let found = loop {
        let mut looks = 100 * SKIP;
        match log.find(from, Some(&wanted(7)), &mut looks) {
            Found::Nothing(up_to) => turns.push(up_to),
            found => break found,
        }
        from = turns[turns.len() - 1];
    };
    assert_eq!((turns, found), (vec![103, 203, 303], Found::Here(400)));
    assert_eq!(log.find(401, Some(&wanted(7)), &mut 9999), Found::End);
    assert_eq!(log.find(9, None, &mut 0), Found::Here(9), "what is wanted costs nothing");
}

#[test]
fn segments_grow_where_there_are_many() {
    let mut log = log((0..20_000).map(|_| 7));
    let octets = log.octets();
    assert!((1025..6000).contains(&log.segment_count()), "{}", log.segment_count());
    assert!(log.sizes.segment >= octets / SEGMENTS_MANY * 9 / 10, "{}", log.sizes.segment);
    assert!(log.sizes.chunk as u64 >= log.sizes.segment / 5, "{}", log.sizes.chunk);
    let retention = Retention { max_octets: Some(100_000), before: Position::MAX, ..Retention::default() };
    while log.retain(&retention) == Retained::More {}
    log.size_segment();
    assert_eq!(log.sizes.segment, SEGMENT_MIN, "small again");
}

/// A lasting log of segments of some three records each.
fn lasting(count: u64) -> Bench {
    let sizes = Sizes { chunk: 100, segment: 4096, ..Sizes::default() };
    let mut log = Log::new(Some(ID), Arc::new(Budget::with_sizes(usize::MAX, 0, sizes)));
    log.make_lasting(Lasting { segment: Some(1024), labels: 1, labeller: None });
    for n in 0..count {
        log.append_lasting(n, 0, None, &parts(&[0; 400]));
    }
    Bench { disk: Memory::default(), log, spill: Spill::default() }
}

#[test]
fn a_segment_stays_until_the_next_one_is_there_for_certain() {
    let mut bench = lasting(10);
    let second = bench.log.segments[1].first;
    let nothing = |before| Retention { max_octets: Some(0), before, ..Retention::default() };
    assert_eq!(
        bench.log.retain(&nothing(second)),
        Retained::HeldBack,
        "the file of the second one may not be on disk"
    );
    assert_eq!(bench.log.first(), 0);
    assert_eq!(bench.log.retain(&nothing(second + 1)), Retained::HeldBack);
    assert_eq!(bench.log.first(), second);
    assert_eq!(bench.log.retain(&nothing(10)), Retained::Done);
    assert_eq!(bench.log.segment_count(), 1);
}

#[test]
fn what_nobody_waits_for_goes_in_pieces_the_oldest_first() {
    let mut bench = lasting(20);
    bench.commit();
    let files = |bench: &Bench| bench.disk.list().expect("a list");
    let before = files(&bench);
    bench.log.retain(&Retention { max_octets: Some(0), before: 20, ..Retention::default() });
    let mut batch = Batch::default();
    bench.log.gather(true, &mut batch);
    batch.remove_files(&bench.disk).expect("removed");
    assert_eq!(files(&bench), before);
    batch.clear();
    let mut left = before.len();
    while batch.has_idle() {
        // Each has a name for settlements, of which there are none.
        batch.remove_idle(&bench.disk, 2).expect("removed");
        left -= 1;
        assert_eq!(files(&bench), before[before.len() - left..]);
    }
    assert_eq!(left, 1);
    // A full disk waits for all of it.
    let mut other = lasting(20);
    other.commit();
    other.log.retain(&Retention { max_octets: Some(0), before: 20, ..Retention::default() });
    other.log.gather(true, &mut batch);
    batch.make_room(&other.disk).expect("removed");
    assert_eq!((files(&other).len(), batch.has_idle()), (1, false));
    // And so does a log that is gone as a whole.
    std::mem::take(&mut other.log).remove(&mut batch);
    batch.remove_files(&other.disk).expect("removed");
    assert!(batch.has_idle() && files(&other).len() == 1);
}

#[test]
fn what_is_dropped_at_once_is_bounded() {
    let mut log = log((0..100).map(|_| 7));
    let all = log.segment_count();
    let retention = Retention { max_octets: Some(0), before: Position::MAX, ..Retention::default() };
    assert_eq!(log.retain(&retention), Retained::More);
    assert_eq!(log.segment_count(), all - DROPPED_MAX);
    while log.retain(&retention) == Retained::More {}
    assert_eq!(log.segment_count(), 1);
}

#[test]
fn a_clock_that_was_ahead_is_not_believed_for_years() {
    const AHEAD_BY: u64 = 1 << 40;
    let mut log = Log::default();
    log.make_lasting(LASTING);
    // One record each in a segment; the clock goes back by a little first.
    for time in [1000, 900, 2_000_000, AHEAD_BY, AHEAD_BY, 3_000_000, 3_500_000] {
        log.append_lasting(time, 0, None, &parts(&[0; 2000]));
    }
    let times: Vec<_> = (0..7).filter_map(|at| Some(log.get(at)?.timestamp)).collect();
    assert_eq!(times, [1000, 1000, 2_000_000, AHEAD_BY, AHEAD_BY, 3_000_000, 3_500_000]);
    let now = 4_000_000;
    let older = |since| Retention { since: Some(since), now, before: Position::MAX, ..Retention::default() };
    assert_eq!((log.retain(&older(1_500_000)), log.first()), (Retained::Done, 2));
    assert_eq!(
        (log.retain(&older(2_500_000)), log.first(), log.oldest(now)),
        (Retained::Done, 3, Some(3_000_000))
    );
    assert_eq!(log.near(3_200_000).map(|near| near == 3 || near == 6), Some(true));
    assert_eq!((log.retain(&older(3_200_000)), log.first()), (Retained::Done, 6));
    // While it is ahead nobody knows better.
    log.append_lasting(AHEAD_BY, 0, None, &parts(&[0; 2000]));
    log.append_lasting(AHEAD_BY, 0, None, &parts(&[0; 2000]));
    assert_eq!(log.retain(&older(3_600_000)), Retained::Done);
    assert_eq!((log.first(), log.oldest(now)), (7, Some(now)));
}

#[test]
fn small_chunks_take_little_memory() {
    let budget = Arc::new(Budget::default());
    let mut log = Log::new(None, Arc::clone(&budget));
    log.make_lasting(LASTING);
    for _ in 0..100 {
        log.append_lasting(1, 0, None, &parts(&[0; 300]));
    }
    assert!(log.chunks.len() > 20 && budget.resident() < 100_000, "{} octets", budget.resident());
}

/// A log of records of so many octets that are on disk only.
fn cold(count: u64, size: usize) -> Bench {
    let mut log = Log::new(Some(ID), Arc::default());
    log.make_lasting(Lasting { labels: 16, ..Lasting::default() });
    for _ in 0..count {
        log.append_lasting(1, 0, Some(7), &parts(&vec![0; size]));
    }
    let mut bench = Bench { disk: Memory::default(), log, spill: Spill::default() };
    bench.commit();
    bench.evict();
    bench
}

#[test]
fn what_is_read_ahead_is_bounded_in_octets_and_where_memory_is_short() {
    for (size, usual) in [(60 << 10, 16), (400 << 10, 2), (3 << 20, 1)] {
        for is_short in [false, true] {
            for wanted in [None, Some(wanted(7))] {
                let mut bench = cold(30, size);
                bench.log.budget.set_short(is_short);
                assert_eq!(bench.log.find(0, wanted.as_ref(), &mut 999), Found::OnDisk(0));
                let asked = bench.log.take_requests().len();
                assert_eq!(asked, if is_short { 1 } else { usual }, "{size} {is_short}");
            }
        }
        let (window, bench) = (usual as u64, cold(30, size));
        assert_eq!(
            (bench.log.window(0), bench.log.tail().start),
            (0..window, 30 - if size == 3 << 20 { 0 } else { window })
        );
    }
}

#[test]
fn labels_are_known_of_what_is_found_without_an_index() {
    let label_of: Labeller = |parts| Some(parts.body.octets()[0].into());
    let lasting = Lasting { labels: 16, labeller: Some(label_of), ..Lasting::default() };
    let mut log = Log::new(Some(ID), Arc::default());
    log.make_lasting(lasting);
    for n in 0..100_u8 {
        let mut body = [0; 3000];
        body[0] = n / 50;
        log.append_lasting(1, 0, label_of(&parts(&body)), &parts(&body));
    }
    let labels = |log: &Log| log.chunks.iter().map(|chunk| chunk.labels.clone()).collect::<Vec<_>>();
    let before = labels(&log);
    let mut bench = Bench { disk: Memory::default(), log, spill: Spill::default() };
    bench.commit();
    let files = bench.disk.list().expect("a list");
    let found = recover_as(&bench.disk, ID, Arc::default(), Some(lasting), &files).expect("found");
    assert_eq!(labels(&found.log).len(), before.len());
    assert!(before.iter().all(Option::is_some) && labels(&found.log) == before);
}
