//! The log over a disk that fails: whatever happens between two operations of the disk, what was confirmed is there
//! afterwards, once and in order, and nothing else is.
//!
//! Each seed is a few lives of a node with a few logs, worked on as queues and the committer do, one step at a time.
//! `LEVERET_SEED=n` runs one seed, with `LEVERET_TRACE=1` step by step; `LEVERET_SEEDS=n` runs as many.
//!
//! - [`model`]: what each log has to hold
//! - [`world`]: logs, committer, reader and disk, one step at a time
//! - [`steps`]: what happens in a life
//! - [`check`]: what is found after it
//! - [`watch`]: what the disk was told to keep

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail")]

#[path = "../support/random.rs"]
mod random;
#[path = "../support/sim_disk.rs"]
mod sim_disk;

mod check;
mod model;
mod steps;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use steps::{End, Plan};
use world::World;

/// The seeds of a test, if the environment does not say others.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    match (number("LEVERET_SEED"), number("LEVERET_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count_wanted) => 0..count_wanted.unwrap_or(count),
    }
}

/// Runs something, and says which seed it was if it fails.
fn named<T>(seed: u64, what: &str, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        eprintln!("seed {seed}, {what}: LEVERET_SEED={seed} runs it again");
        resume_unwind(panic)
    })
}

/// Several lives, each ended in its own way, and in the end everything is taken out.
#[test]
fn what_was_confirmed_is_there_after_any_end() {
    for seed in seeds(3500) {
        named(seed, "many lives", || {
            let mut world = World::new(seed, 60);
            for _ in 0..world.random.below(5) + 1 {
                let plan = Plan::any(&mut world.random);
                world.live(&plan);
            }
            world.end();
        });
    }
}

/// The same life, ended at each operation of the disk.
#[test]
fn what_was_confirmed_is_there_after_a_crash_at_each_operation() {
    for seed in seeds(80) {
        let full = (seed % 4 == 3).then_some((10, 25));
        let plan = Plan { steps: 40, full, end: End::Stop, ..Plan::default() };
        let operations = named(seed, "the whole life", || {
            let mut world = World::new(seed, 25);
            world.live(&plan);
            world.lived
        });
        for n in 0..operations {
            for off in [End::PowerLoss, End::Kill] {
                named(seed, &format!("{off:?} at operation {n}"), || {
                    let mut world = World::new(seed, 25);
                    world.live(&Plan { crash_at: Some(n), off, ..plan });
                    world.live(&Plan { steps: 10, end: End::PowerLoss, ..Plan::default() });
                });
            }
        }
    }
}
