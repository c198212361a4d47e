//! The simulated disk: it keeps what a disk has to keep, and nothing that a disk may lose is kept by it for ever. What
//! other tests prove by it is worth as much as this.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail")]

#[path = "support/random.rs"]
mod random;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use leveret::log::disk::{Disk, FileName, Kind, LogId};
use leveret::log::files::Files;
use random::Random;
use sim_disk::{Failure, SimDisk};

/// As many crashes as make each thing that may happen happen.
const CRASHES: u64 = 2000;

const A: FileName = file(1);
const B: FileName = file(2);

const fn file(log: u64) -> FileName {
    FileName { log: LogId(log), first: 0, kind: Kind::Records }
}

fn sorted(disk: &dyn Disk) -> Vec<FileName> {
    let mut names = disk.list().expect("a list");
    names.sort();
    names
}

fn content(disk: &dyn Disk, file: FileName) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; disk.size(file)? as usize + 1];
    let count = disk.read(file, 0, &mut octets)?;
    octets.truncate(count);
    Ok(octets)
}

/// What is found in a file after many crashes of the same disk.
fn outcomes(disk: &SimDisk, file: FileName) -> BTreeSet<Option<Vec<u8>>> {
    (0..CRASHES).map(|_| disk.crash().seen(file)).collect()
}

fn found(octets: &[u8]) -> Option<Vec<u8>> {
    Some(octets.to_vec())
}

/// A disk on which a file is there for certain.
fn disk_with(file: FileName, octets: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.write(file, 0, octets).expect("written");
    disk.sync(&[file], true).expect("synced");
    disk
}

#[test]
fn what_is_synced_stays() {
    let disk = disk_with(A, b"one");
    disk.write(A, 3, b"two").unwrap();
    disk.truncate(A, 5).unwrap();
    disk.sync(&[A], false).unwrap();
    disk.write(B, 0, b"b").unwrap();
    for after in outcomes(&disk, A) {
        assert_eq!(after, found(b"onetw"));
    }
    assert_eq!(disk.durable(A), found(b"onetw"));
    assert_eq!(disk.durable(B), None);
}

#[test]
fn what_is_not_synced_is_there_or_gone_or_torn() {
    let disk = disk_with(A, b"..");
    disk.write(A, 2, b"xy").unwrap();
    disk.write(A, 4, b"zz").unwrap();
    let after = outcomes(&disk, A);
    for wanted in ["..", "..xyzz", "..xy", "..x", "..\0\0zz", "..\0\0", "..\0y", "..xy\0\0"] {
        assert!(after.contains(&found(wanted.as_bytes())), "{wanted:?} never happens");
    }
    for octets in after.into_iter().flatten() {
        assert!(octets.starts_with(b"..") && octets.len() <= 6);
        assert!(octets.iter().zip(b"..xyzz").all(|(is, written)| is == written || *is == 0));
    }
}

#[test]
fn writes_over_writes_and_truncations_come_in_any_order() {
    let disk = disk_with(A, b"aaaa");
    disk.write(A, 0, b"bb").unwrap();
    disk.write(A, 0, b"cc").unwrap();
    disk.truncate(A, 3).unwrap();
    let after = outcomes(&disk, A);
    for wanted in ["aaaa", "bbaa", "ccaa", "aaa", "bba", "cca", "cbaa"] {
        assert!(after.contains(&found(wanted.as_bytes())), "{wanted:?} never happens");
    }
}

#[test]
fn sectors_are_kept_and_lost_one_by_one() {
    let disk = disk_with(A, b"");
    disk.write(A, 500, &[1; 1536]).unwrap();
    let starts = [500, 512, 1024, 1536];
    let torn = outcomes(&disk, A)
        .into_iter()
        .flatten()
        .any(|octets| octets.len() == 2036 && starts.map(|start| octets[start]) == [1, 0, 1, 1]);
    assert!(torn, "never a sector in the middle");
}

#[test]
fn names_are_there_or_gone_until_they_are_synced() {
    let disk = disk_with(A, b"a");
    disk.remove(A).unwrap();
    disk.write(B, 0, b"b").unwrap();
    disk.sync(&[B], false).unwrap();
    assert_eq!(sorted(&disk), [B]);
    let after: BTreeSet<_> = (0..CRASHES).map(|_| sorted(&disk.crash())).collect();
    assert_eq!(after, BTreeSet::from([vec![], vec![A], vec![B], vec![A, B]]));
    // Those that are there are whole.
    assert_eq!(outcomes(&disk, A), BTreeSet::from([None, found(b"a")]));
    assert_eq!(outcomes(&disk, B), BTreeSet::from([None, found(b"b")]));
}

#[test]
fn synced_names_stay() {
    let disk = disk_with(A, b"a");
    disk.remove(A).unwrap();
    disk.write(B, 0, b"b").unwrap();
    disk.sync(&[], true).unwrap();
    assert!((0..CRASHES).all(|_| sorted(&disk.crash()) == [B]));
    // But not what they contain.
    assert_eq!(outcomes(&disk, B), BTreeSet::from([found(b""), found(b"\0"), found(b"b")]));
}

#[test]
fn a_file_made_again_is_another_one() {
    let disk = disk_with(A, b"old");
    disk.remove(A).unwrap();
    disk.write(A, 1, b"n").unwrap();
    assert_eq!(disk.seen(A), found(b"\0n"));
    disk.sync(&[A], false).unwrap();
    assert_eq!(outcomes(&disk, A), BTreeSet::from([None, found(b"old"), found(b"\0n")]));
}

#[test]
fn a_killed_process_loses_nothing_until_power_goes() {
    let disk = SimDisk::new(1);
    disk.write(A, 0, b"abc").unwrap();
    let after = disk.kill();
    assert!(disk.is_off() && disk.write(A, 0, b"x").is_err() && disk.list().is_err());
    assert!(!after.is_off());
    assert_eq!(after.operations(), 0);
    assert_eq!(content(&after, A).unwrap(), b"abc");
    assert!(outcomes(&after, A).contains(&None), "it was never synced");
    let after = disk.kill();
    after.sync(&[A], true).unwrap();
    assert_eq!(outcomes(&after, A), BTreeSet::from([found(b"abc")]));
}

/// Three writes, two syncs, a truncation and a removal, up to the first error.
fn workload(disk: &dyn Disk) -> io::Result<()> {
    disk.write(A, 0, b"abc")?;
    disk.write(B, 0, b"b")?;
    disk.sync(&[A, B], true)?;
    disk.write(A, 3, b"def")?;
    disk.sync(&[A], false)?;
    disk.truncate(A, 2)?;
    disk.remove(B)
}

#[test]
fn a_crash_can_come_in_every_operation() {
    let whole = SimDisk::new(0);
    workload(&whole).unwrap();
    assert_eq!(whole.operations(), 7);
    for n in 0..7 {
        let mut seen = BTreeSet::new();
        for seed in 0..CRASHES {
            let disk = SimDisk::new(seed);
            disk.crash_at(n);
            workload(&disk).expect_err("it goes off");
            assert!(disk.is_off() && disk.operations() == n + 1);
            assert!(
                disk.size(A).is_err() && disk.write(A, 0, b"x").is_err() && disk.sync(&[], true).is_err()
            );
            let after = disk.crash();
            if n > 2 {
                assert!(after.seen(A).is_some_and(|octets| octets.starts_with(b"ab")), "{n}, {seed}");
            }
            if n > 4 {
                let octets = after.seen(A).unwrap();
                assert!(octets == b"abcdef" || octets == b"ab", "{n}, {seed}: {octets:?}");
            }
            seen.insert((after.seen(A), after.seen(B), disk.kill().seen(A)));
            workload(&after).expect("it works again");
        }
        assert!(seen.len() > 1, "{n}: always the same");
    }
}

#[test]
fn a_killed_process_leaves_the_last_write_torn() {
    let kills = (0..CRASHES).map(|seed| {
        let disk = SimDisk::new(seed);
        disk.write(A, 0, b"abc").unwrap();
        disk.crash_at(1);
        disk.write(A, 3, b"de").unwrap_err();
        disk.kill().seen(A)
    });
    let wanted = ["abc", "abcd", "abcde"].map(|octets| found(octets.as_bytes()));
    assert_eq!(kills.collect::<BTreeSet<_>>(), BTreeSet::from(wanted));
}

#[test]
fn operations_fail_when_they_are_told_to() {
    let mut parts = BTreeSet::new();
    for seed in 0..CRASHES {
        let disk = SimDisk::new(seed);
        disk.fail_after(1, Failure::FullInside);
        disk.write(A, 0, b"a").unwrap();
        disk.sync(&[A], true).unwrap();
        assert_eq!(disk.write(A, 1, b"bc").unwrap_err().kind(), io::ErrorKind::StorageFull);
        parts.insert(disk.seen(A).unwrap());
        disk.write(A, 1, b"bc").expect("once");
        disk.fail_after(0, Failure::Full);
        assert_eq!(disk.write(A, 3, b"d").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.seen(A), found(b"abc"));
        disk.fail_after(0, Failure::Read);
        disk.write(A, 0, b"a").unwrap();
        assert_eq!(content(&disk, A).unwrap_err().raw_os_error(), Some(5));
        disk.unreadable(true);
        assert_eq!(content(&disk, A).unwrap_err().raw_os_error(), Some(5));
        disk.unreadable(false);
        content(&disk, A).expect("read");
        disk.fail_after(0, Failure::Remove);
        disk.sync(&[A], true).unwrap();
        assert_eq!(disk.remove(A).unwrap_err().raw_os_error(), Some(5));
        for n in 0..4 {
            let disk = disk_with(A, b"a");
            disk.fail_after(n, Failure::Io);
            let results =
                [disk.write(A, 0, b"b"), disk.truncate(A, 0), disk.sync(&[A], true), disk.remove(A)];
            let failed: Vec<_> = results.iter().map(|result| result.is_err()).collect();
            assert_eq!(failed, [0, 1, 2, 3].map(|at| at == n));
            assert!(!disk.fails_yet());
        }
    }
    assert_eq!(parts, BTreeSet::from([b"a".to_vec(), b"ab".to_vec(), b"abc".to_vec()]));
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let mut after = BTreeSet::new();
    let mut read = BTreeSet::new();
    let mut names = BTreeSet::new();
    for seed in 0..CRASHES {
        let disk = SimDisk::new(seed);
        disk.write(A, 0, b"a").unwrap();
        disk.sync(&[A], true).unwrap();
        disk.write(A, 1, b"b").unwrap();
        disk.write(B, 0, b"b").unwrap();
        disk.fail_after(0, Failure::Sync);
        assert_eq!(disk.sync(&[A, B], true).unwrap_err().raw_os_error(), Some(5));
        read.insert(disk.seen(A).unwrap());
        disk.write(A, 2, b"c").unwrap();
        disk.sync(&[A, B], true).expect("as if nothing had happened");
        let found = disk.crash();
        after.insert(found.seen(A).unwrap());
        names.insert(sorted(&found));
    }
    assert_eq!(read, BTreeSet::from([b"a\0".to_vec(), b"ab".to_vec()]));
    assert_eq!(after, BTreeSet::from([b"a\0c".to_vec(), b"abc".to_vec()]));
    assert_eq!(names, BTreeSet::from([vec![A], vec![A, B]]));
}

#[test]
fn a_full_disk_has_room_again_for_what_is_removed() {
    let disk = SimDisk::new(1);
    disk.write(A, 0, &[1; 100]).unwrap();
    disk.full(true);
    assert_eq!((disk.free().unwrap(), disk.used()), (0, 100));
    disk.write(A, 50, &[2; 50]).expect("nothing more than there was");
    assert_eq!(disk.write(B, 0, &[1; 10]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.used(), 100);
    disk.truncate(A, 95).unwrap();
    assert!(disk.write(B, 0, &[1; 10]).is_err());
    assert_eq!(disk.seen(B), found(&[1; 5]), "as much as there was room for");
    disk.remove(A).unwrap();
    disk.write(B, 0, &[1; 100]).unwrap();
    assert!(disk.crash().write(B, 0, &[1; 101]).is_err(), "as full as before");
    let disk = disk_with(A, b"a");
    disk.set_capacity(Some(3));
    assert_eq!(disk.free().unwrap(), 2);
    disk.full(false);
    disk.write(A, 0, &[1; 100]).unwrap();
    assert!(disk.free().unwrap() > 1 << 30);
}

#[test]
fn a_corrupt_octet_has_one_other_bit() {
    let disk = disk_with(A, &[0; 4]);
    disk.corrupt(A, 2);
    let octets = content(&disk, A).unwrap();
    assert_eq!(octets.iter().map(|octet| octet.count_ones()).collect::<Vec<_>>(), [0, 0, 1, 0]);
    assert_eq!(outcomes(&disk, A), BTreeSet::from([found(&octets)]));
}

#[test]
fn a_seed_says_it_all() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        disk.crash_at(6);
        workload(&disk).unwrap_err();
        let after = disk.crash();
        (after.seen(A), after.list().unwrap(), after.kill().crash().seen(A))
    };
    let runs: BTreeSet<_> = (0..50).map(run).collect();
    assert!(runs.len() > 1);
    assert_eq!(runs, (0..50).map(run).collect());
}

/// A folder of its own that goes with the test.
struct Temp(PathBuf);

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One operation, and what comes of it.
fn step(disk: &dyn Disk, random: &mut Random) -> Result<Vec<u8>, io::ErrorKind> {
    let name = file(random.below(8) as u64);
    let at = random.below(3000) as u64;
    let octets = vec![random.below(256) as u8; random.below(2000)];
    let mut buffer = vec![7; random.below(4000)];
    let result = match random.below(10) {
        0..=2 => disk.write(name, at, &octets).map(|()| Vec::new()),
        3 => disk.truncate(name, at).map(|()| Vec::new()),
        4 => disk.remove(name).map(|()| Vec::new()),
        5 => disk.sync(&[name], random.chance(50)).map(|()| Vec::new()),
        6 => disk.size(name).map(|size| size.to_be_bytes().to_vec()),
        7 => Ok(sorted(disk).iter().map(|name| name.log.0 as u8).collect()),
        _ => disk.read(name, at, &mut buffer).map(|count| {
            buffer.push(count as u8);
            buffer
        }),
    };
    result.map_err(|error| error.kind())
}

#[test]
fn without_failures_it_does_what_a_real_disk_does() {
    for seed in 0..20 {
        let folder = Temp(std::env::temp_dir().join(format!("leveret-sim-{}-{seed}", std::process::id())));
        let real = Files::open(&folder.0).expect("a folder");
        let simulated: Arc<dyn Disk> = Arc::new(SimDisk::new(seed));
        let (mut one, mut other) = (Random::new(seed), Random::new(seed));
        for number in 0..200 {
            let (real, simulated) = (step(&real, &mut one), step(&*simulated, &mut other));
            assert!(real == simulated, "seed {seed}, step {number}: {real:?} and {simulated:?}");
        }
    }
}
