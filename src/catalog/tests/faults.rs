//! What becomes of the catalog when its file does not do as it should.

use super::disk::{Disk, Faults, Random};
use super::*;
use crate::catalog::file::HEAD;

/// A batch after which everything is a little different.
fn batch(n: u64) -> Vec<NodeChange> {
    let name = |n: u64| format!("queue {n} {}", "x".repeat(n as usize % 200));
    let mut batch = vec![queue(1, &name(n), n), queue(1, &name(n + 1), n + 1)];
    batch
        .extend((0..20).map(|k| bind(1, binding("x", &name(n), format!("{k}.{n}").as_bytes(), all_types()))));
    if let Some(old) = n.checked_sub(3) {
        let change = Change::DeleteQueue { name: name(old).into(), log: LogId(old) };
        batch.push(NodeChange::InVhost { vhost: 1, change });
        batch.extend((0..20).map(|k| {
            let gone = binding("x", &name(old), format!("{k}.{old}").as_bytes(), all_types());
            NodeChange::InVhost { vhost: 1, change: Change::DeleteBinding(gone) }
        }));
    }
    if n == 0 {
        batch.insert(0, vhost(1, "/"));
    }
    batch
}

fn open(disk: &Disk) -> Result<Catalog, CatalogError> {
    Catalog::open_in(Box::new(disk.clone()))
}

/// What is there after so many batches.
fn states(count: u64) -> Vec<Definitions> {
    let catalog = open(&Disk::default()).expect("a new one");
    let mut states = vec![loaded(&catalog)];
    for n in 0..count {
        catalog.apply(&batch(n)).expect("room");
        states.push(loaded(&catalog));
    }
    states
}

const BATCHES: u64 = 6;

/// Does all batches until one fails, and says how many have not.
fn run(disk: &Disk) -> u64 {
    let Ok(catalog) = open(disk) else { return 0 };
    (0..BATCHES).find(|n| catalog.apply(&batch(*n)).is_err()).unwrap_or(BATCHES)
}

#[test]
fn a_power_loss_at_any_moment_takes_nothing_that_was_durable() {
    let states = states(BATCHES);
    let disk = Disk::default();
    disk.suffer(Faults::default());
    assert_eq!(run(&disk), BATCHES);
    let all = disk.operations();
    assert!(all > 60, "{all} operations");
    for power in 0..=all {
        let disk = Disk::default();
        disk.suffer(Faults { power: Some(power), ..Faults::default() });
        let done = run(&disk) as usize;
        let after = disk.after_power_loss(&mut Random(power));
        check_after(&after, &states, done, &format!("{power} operations"));
    }
}

/// What was announced is there, and perhaps the batch that was under way. A crash while that is found out changes
/// nothing.
fn check_after(disk: &Disk, states: &[Definitions], done: usize, when: &str) {
    let seed = when.len() as u64;
    let catalog = open(disk).unwrap_or_else(|e| panic!("{when}: {e}"));
    let found = loaded(&catalog);
    let possible = &states[done..(done + 2).min(states.len())];
    assert!(possible.contains(&found), "{when}: {done} batches were done");
    std::mem::forget(catalog);
    let again = disk.after_power_loss(&mut Random(seed));
    let catalog = open(&again).unwrap_or_else(|e| panic!("{when}, and again: {e}"));
    assert_eq!(loaded(&catalog), found, "{when}, and again");
    for n in 0..BATCHES {
        catalog.apply(&batch(n)).unwrap_or_else(|e| panic!("{when}, and then: {e}"));
    }
}

#[test]
fn a_power_loss_while_opening_and_closing() {
    let states = states(BATCHES);
    let disk = Disk::default();
    run(&disk);
    // Closed well by `run`, or killed.
    let killed = Disk::default();
    let catalog = open(&killed).expect("a new one");
    (0..BATCHES).for_each(|n| catalog.apply(&batch(n)).expect("room"));
    for before in [disk, killed.after_kill()] {
        for power in 0..40 {
            let disk = before.after_kill();
            disk.suffer(Faults { power: Some(power), ..Faults::default() });
            drop(open(&disk));
            let after = disk.after_power_loss(&mut Random(power));
            check_after(&after, &states, BATCHES as usize, &format!("{power} operations of opening"));
        }
    }
}

#[test]
fn a_full_disk_refuses_and_heals() {
    let disk = Disk::default();
    let catalog = open(&disk).expect("a new one");
    catalog.apply(&batch(0)).expect("room");
    for more in (0..30).step_by(4) {
        disk.suffer(Faults { room: Some(disk.used() + more), ..Faults::default() });
        let mut failed = None;
        for n in 1..60 {
            let batch: Vec<_> = (0..100).map(|k| queue(1, &format!("{more} {n} {k}"), n)).collect();
            let before = loaded(&catalog);
            if let Err(e) = catalog.apply(&batch) {
                assert!(loaded(&catalog) == before, "all or nothing");
                failed = Some((e, batch));
                break;
            }
        }
        let (e, batch) = failed.expect("the disk is full at some time");
        let full =
            matches!(&e, CatalogError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull);
        assert!(full, "{e}");
        assert!(catalog.apply(&batch).is_err(), "still");
        disk.suffer(Faults::default());
        catalog.apply(&batch).expect("room");
        let queues = loaded(&catalog).vhosts[0].1.queues.len();
        let lost = disk.after_power_loss(&mut Random(more as u64));
        assert_eq!(loaded(&open(&lost).expect("the same")).vhosts[0].1.queues.len(), queues);
    }
}

#[test]
fn a_failed_write_refuses_and_heals() {
    let disk = Disk::default();
    let catalog = open(&disk).expect("a new one");
    catalog.apply(&batch(0)).expect("no fault");
    disk.suffer(Faults { write: true, ..Faults::default() });
    assert!(catalog.apply(&batch(1)).is_err() && catalog.apply(&batch(1)).is_err());
    disk.suffer(Faults::default());
    catalog.apply(&batch(1)).expect("no fault");
    assert_eq!(loaded(&catalog), states(2)[2]);
}

/// After a failed sync the system may show what is not on disk. Syncing once more would succeed and mean nothing.
#[test]
fn after_a_failed_sync_everything_is_written_anew() {
    let states = states(5);
    for seed in 0..20 {
        let disk = Disk::default();
        let catalog = open(&disk).expect("a new one");
        (0..4).for_each(|n| catalog.apply(&batch(n)).expect("no fault"));
        disk.suffer(Faults { sync: true, ..Faults::default() });
        // What this one removes, it will not touch when it is tried again.
        assert!(catalog.apply(&batch(4)).is_err());
        if seed % 2 == 0 {
            assert!(catalog.apply(&batch(4)).is_err(), "as long as it fails");
        }
        disk.suffer(Faults::default());
        catalog.apply(&batch(4)).expect("no fault");
        let after = disk.after_power_loss(&mut Random(seed));
        assert_eq!(loaded(&open(&after).expect("whole")), states[5], "seed {seed}");
    }
}

#[test]
fn another_version_is_refused_and_not_touched() {
    let disk = Disk::default();
    let catalog = open(&disk).expect("a new one");
    catalog.apply(&changes(&everything())).expect("room");
    let open_still = disk.octets();
    drop(catalog);
    for mut octets in [open_still, disk.octets()] {
        octets[16] = 2;
        let later = Disk::with(octets.clone());
        let text = open(&later).err().expect("refused").to_string();
        assert_eq!(text, "the catalog catalog has format version 2, and this program knows version 1 only");
        assert!(later.octets() == octets && later.operations() == 0);
    }
}

#[test]
fn what_is_no_catalog_is_refused_and_not_touched() {
    for octets in [vec![], vec![b'x'; 10], vec![b'x'; 10_000], disk_of_nothing()] {
        let disk = Disk::with(octets.clone());
        let refused = open(&disk).err().expect("refused");
        assert!(matches!(refused, CatalogError::Damaged { .. }), "{refused}");
        assert!(disk.octets() == octets && disk.operations() == 0);
    }
}

/// A catalog's head, and nothing behind it.
fn disk_of_nothing() -> Vec<u8> {
    let disk = Disk::default();
    drop(open(&disk));
    disk.octets()[..HEAD as usize].to_vec()
}

#[test]
fn damage_is_told_and_never_read_as_something_else() {
    let disk = Disk::default();
    let catalog = open(&disk).expect("a new one");
    (0..BATCHES).for_each(|n| catalog.apply(&batch(n)).expect("room"));
    let whole = loaded(&catalog);
    drop(catalog);
    let octets = disk.octets();
    let mut told = 0;
    for page in 0..octets.len() / 4096 {
        for at in [page % 16, 300, 2048 + page] {
            let mut octets = octets.clone();
            octets[page * 4096 + at] ^= 0x10;
            match open(&Disk::with(octets)) {
                Ok(catalog) => assert_eq!(loaded(&catalog), whole, "page {page}, octet {at}"),
                Err(CatalogError::Damaged { .. } | CatalogError::Version { .. }) => told += 1,
                Err(other) => panic!("page {page}, octet {at}: {other}"),
            }
        }
    }
    assert!(told > 20, "{told} times");
    for size in (0..octets.len()).step_by(3000) {
        let cut = open(&Disk::with(octets[..size].to_vec()));
        match cut.map(|catalog| loaded(&catalog)) {
            Ok(found) => assert_eq!(found, whole, "cut at {size}"),
            Err(e) => assert!(matches!(e, CatalogError::Damaged { .. }), "cut at {size}: {e}"),
        }
    }
}
