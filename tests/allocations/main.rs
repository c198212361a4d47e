//! What the broker takes from the allocator for each message, once it is warm: nothing.
//!
//! The allocator counts for the whole process, so the clients here allocate nothing while it is looked at, and there is
//! one test, which goes through all cases one after the other. A case goes in rounds: publishers send a prepared burst,
//! and everybody reads until all has arrived that is to arrive.
//!
//! Where an allocation comes from is best found with `dhat` in the place of `stats_alloc` and one case alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod peer;

use std::alloc::System;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use leveret::node::Node;
use leveret::node::storage::Storage;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use cases::{Case, Plan};
use common::client::{Client, start_ok};
use common::{Broker, Table};
use peer::Peer;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often something was taken from the allocator while this ran, by any thread.
fn allocations(run: impl FnOnce()) -> usize {
    let count = || {
        let stats = ALLOCATOR.stats();
        stats.allocations + stats.reallocations
    };
    let before = count();
    run();
    count() - before
}

/// A data folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A broker, on disk or not. What is on disk ends in this order.
struct Rig {
    storage: Option<Storage>,
    broker: Broker,
    _folder: Option<Folder>,
}

impl Rig {
    fn in_memory() -> Self {
        Self { storage: None, broker: Broker::start(), _folder: None }
    }

    fn on_disk() -> Self {
        let path = std::env::temp_dir().join(format!("leveret-allocations-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let node = Arc::new(Node::empty(16 << 20, 20 << 20));
        let storage = Storage::open(&path, &node, 0).unwrap();
        Self { storage: Some(storage), broker: Broker::serve(node), _folder: Some(Folder(path)) }
    }

    /// Opens a connection for each plan of a case, on which everything succeeds up to where rounds begin.
    fn peers(&self, case: &Case) -> Vec<Peer> {
        let mut client = self.broker.channel();
        if let Some(declare) = &case.declare {
            assert!(client.call(1, declare.clone()).starts_with("queue.declare-ok"));
        }
        client.all_ok(1, &case.setup);
        client.close();
        let open = |plan: &Plan| {
            let login = start_ok("guest", "guest");
            let mut client = Client::open_as(self.broker.address, case.name, &login, plan.frame_max);
            for channel in 1..=plan.channels {
                client.open_channel(channel);
                client.all_ok(channel, &plan.setup);
            }
            Peer::new(client.into_stream(), plan.turn.clone())
        };
        case.plans.iter().map(open).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.storage.take());
    }
}

fn round(peers: &mut [Peer]) {
    peers.iter_mut().for_each(Peer::send);
    peers.iter_mut().for_each(Peer::receive);
}

/// How many allocations a case has in the rounds that are looked at, after some that are not.
fn measure(case: &Case) -> u64 {
    let rig = if case.on_disk { Rig::on_disk() } else { Rig::in_memory() };
    let mut peers = rig.peers(case);
    (0..10 + case.rounds / 4).for_each(|_| round(&mut peers));
    allocations(|| (0..case.rounds).for_each(|_| round(&mut peers))) as u64
}

#[test]
fn nothing_is_allocated_for_a_message() {
    // The counter counts, or else everything would be fine.
    assert!(allocations(|| drop(black_box(vec![0_u8; 100]))) > 0);
    let mut table = Table::default();
    for case in cases::all() {
        let (found, most, messages) = (measure(&case), case.most(), case.messages());
        let shown = |count| format!("{count} allocations for {messages} messages, {most} at the most");
        println!("{}: {}", case.name, shown(found));
        table.check(case.name, &shown(found), &shown(found.min(most)));
    }
}
