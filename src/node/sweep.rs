//! What is done now and then, whatever happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Node;

/// Shorter than the time-outs that a connection's life is full of, so that these are never the next timer of all: for a
/// timer that is, tokio wakes the thread that waits for sockets, which is a write, a wake-up and a wait more, and there
/// were three of these to each short connection.
const TICK: Duration = Duration::from_secs(1);
/// Connections that have written nothing for so many ticks give up their buffers.
const IDLE: u32 = 5;

/// Sweeps until the node goes down.
pub async fn sweep(node: Arc<Node>) {
    let mut going_down = node.going_down();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = going_down.wait_for(|down| *down) => return,
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(IDLE) {
            node.relax();
        }
    }
}
