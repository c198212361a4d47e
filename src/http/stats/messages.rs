//! What happens to messages (`message_stats`): each kind of it is shown once it has happened, with others that belong to it.

use serde_json::{Map, Value};

use super::Past;
use crate::broker::counts::{Counts, Deliveries, Passed, Publishes};
use crate::node::samples::{DELIVERIES, PASSED, PUBLISHES, deliveries, passed, publishes};

/// Adds what has been counted of messages, if anything has.
pub(in crate::http) fn put(into: &mut Map<String, Value>, stats: Map<String, Value>) {
    if !stats.is_empty() {
        into.insert("message_stats".to_owned(), stats.into());
    }
}

/// Of a queue, whose numbers begin with its lengths.
pub(in crate::http) fn of_queue<const N: usize>(
    published: u64,
    delivered: &Deliveries,
    past: &Past<N>,
    first: usize,
) -> Map<String, Value> {
    let mut stats = Map::new();
    if published > 0 {
        past.put(&mut stats, first, &["publish"], &[published]);
    }
    put_deliveries(&mut stats, delivered, past, first + 1);
    stats
}

/// Of a channel, a vhost or the node.
pub(in crate::http) fn of_channels<const N: usize>(
    counts: &Counts,
    past: &Past<N>,
    first: usize,
) -> Map<String, Value> {
    let mut stats = Map::new();
    if counts.publishes != Publishes::default() {
        past.put(&mut stats, first, &PUBLISHES, &publishes(&counts.publishes));
    }
    put_deliveries(&mut stats, &counts.deliveries, past, first + PUBLISHES.len());
    stats
}

pub(in crate::http) fn of_exchange(counted: &Passed, past: &Past<{ PASSED.len() }>) -> Map<String, Value> {
    let mut stats = Map::new();
    for (index, (name, number)) in PASSED.iter().zip(passed(counted)).enumerate() {
        if number > 0 {
            past.put(&mut stats, index, &[name], &[number]);
        }
    }
    stats
}

fn put_deliveries<const N: usize>(
    stats: &mut Map<String, Value>,
    delivered: &Deliveries,
    past: &Past<N>,
    first: usize,
) {
    if *delivered != Deliveries::default() {
        past.put(stats, first, &DELIVERIES, &deliveries(delivered));
    }
}
