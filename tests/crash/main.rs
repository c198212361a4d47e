//! kill -9 under confirmed load: what the broker has promised is there afterwards.
//!
//! Producers and consumers, each with a connection of its own, work on durable queues of both kinds, some with
//! priorities. At a random moment the server is killed, or stopped, or left alone, and started again on the same data;
//! what it holds then is compared with what the clients have seen, and the next round begins with what is left. `ledger`
//! holds the brokers to this:
//!
//! - **Promised.** A persistent message whose confirm or `tx.commit-ok` the publisher has got is in every queue that it
//!   was routed to, until it is acknowledged. After a clean stop that is so for every persistent message that the broker
//!   has worked off, confirmed or not: a later method on its channel has been answered. What has been there after
//!   one restart is there after the next.
//! - **Not promised.** Any other message that was sent may be there or not, in each of its queues by itself. Once all of
//!   a queue has been looked at, that is settled. What is in a transaction that was rolled back, or whose commit has
//!   not been sent, is never there.
//! - **Acknowledged.** What was acknowledged does not come again while the broker runs. After a kill it does not come back
//!   once the acknowledgement has *landed*: a persistent message published behind it on the same channel (a marker) has
//!   been confirmed, or it was in a transaction with one. After a clean stop it does not come back if the broker has worked
//!   it off. Before that, it may be there or not.
//! - **Once.** A message is there once, and with one consumer at a time.
//! - **Redelivered.** What comes after it was delivered says so. A kill may wipe out a delivery that has not landed (no
//!   marker published behind it on the consumer's channel was confirmed); a clean stop may not. A message that no
//!   client has got may say so as well.
//! - **Order.** What is looked at after a round is in the order of publishing for each producer, whatever was delivered
//!   before, and higher priorities before lower ones. (In a quorum queue what was delivered before goes first, in any
//!   order.) While consumers are at work, first deliveries to each of them are, within a priority.
//! - **Nothing else.** No message comes that was not sent to that queue, and each is as it was published, to the last
//!   octet of body and properties.
//! - **Transient** messages are gone after a restart. In a quorum queue they may be.
//! - **Counts.** What `queue.declare` says when nobody else is there is what comes.
//! - **Definitions.** What was declared, bound or deleted, and answered, is so afterwards, with its arguments; what is not
//!   durable is gone.
//!
//! `LEVERET_CRASH_ROUNDS=1000` makes it long. `LEVERET_SEED=n` replays the plan of a run: who publishes and consumes how,
//! and when each round ends, but not what the scheduler made of it. `LEVERET_CRASH_PEER=127.0.0.1:5673` runs the load
//! against another broker, which is never ended. A failing run keeps its data folder.
//!
//! - [`rounds`]: one round after the other
//! - [`plan`]: what happens in a round
//! - [`load`], [`producer`], [`consumer`], [`link`]: the clients
//! - [`topology`], [`message`]: what is declared and published
//! - [`definitions`]: what is declared and deleted under load
//! - [`history`], [`ledger`]: what clients have seen, and what is wrong with it
//! - [`look`]: all of a queue
//! - [`server`]: the process
//! - [`streams`]: a stream, its groups and numbered publishers
//! - [`damage`]: files that are torn or corrupt

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../support/random.rs"]
mod random;

mod consumer;
mod damage;
mod definitions;
mod history;
mod ledger;
mod ledger_tests;
mod link;
mod load;
mod look;
mod message;
mod plan;
mod producer;
mod rounds;
mod server;
mod streams;
mod topology;

use plan::Endings;
use rounds::{Run, seed, setting};

fn rounds(usual: u64) -> u64 {
    setting("LEVERET_CRASH_ROUNDS").unwrap_or(usual)
}

#[test]
fn kills() {
    let mut run = Run::on_folder("kills", seed());
    for _ in 0..rounds(24) {
        run.round(Endings::Kills);
    }
    assert!(run.finish() > 1000, "hardly any load");
}

#[test]
fn clean_stops() {
    let mut run = Run::on_folder("stops", seed());
    for _ in 0..rounds(24) / 4 {
        run.round(Endings::Stops);
    }
    run.finish();
}

/// The broker goes on, so that the load and the ledger are right if this finds nothing wrong.
#[test]
fn pauses() {
    let mut run = match std::env::var("LEVERET_CRASH_PEER") {
        Ok(address) => Run::on_peer(address.parse().expect("an address and a port"), seed()),
        Err(_) => Run::on_folder("pauses", seed()),
    };
    for _ in 0..rounds(24) / 6 {
        run.round(Endings::Pauses);
    }
    assert!(run.finish() > 1000, "hardly any load");
}
