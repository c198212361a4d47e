//! The task that takes samples.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::series::{BASIC, STEP, Seconds, Series};
use super::{
    ChannelSamples, ConnectionSamples, Lengths, VhostSamples, churn, counts, deliveries, figures, join,
    passed,
};
use crate::node::cell::VhostCell;
use crate::node::connections::ConnectionInfo;
use crate::node::process::Figures;
use crate::node::traffic::Carried;
use crate::node::{Node, now};

/// Objects looked at with a vhost held once.
const AT_ONCE: usize = 1000;

/// Takes samples at whole multiples of [`STEP`] until the node goes down.
pub async fn run(node: Arc<Node>) {
    let mut going_down = node.going_down();
    loop {
        let into_step = now() % (STEP * 1000);
        tokio::select! {
            () = sleep(Duration::from_millis(STEP * 1000 - into_step)) => {}
            _ = going_down.wait_for(|down| *down) => return,
        }
        let at = (now() / 1000).next_multiple_of(STEP);
        // A sleep may end a moment early, or long after the machine was suspended.
        let at = if now() / 1000 < at { at - STEP } else { at };
        if at > node.samples.taken_at() {
            take(&node, at).await;
        }
    }
}

/// Takes all samples for a time.
pub async fn take(node: &Node, at: Seconds) {
    let room = Some(node.samples.room()).filter(|_| !node.stats.disable_stats);
    let mut objects = 0;
    let carried = sample_connections(node, at, room, &mut objects).await;
    let mut all = [0; super::VHOST];
    for cell in node.vhosts() {
        sample_queues(&cell, at, room).await;
        sample_exchanges(&cell, at, room).await;
        if room.is_some() {
            let mut own = cell.carried();
            own += carried.get(&cell.name).copied().unwrap_or_default();
            let numbers = sample_vhost(&cell, at, own, &mut objects);
            all.iter_mut().zip(numbers).for_each(|(sum, own)| *sum += own);
        }
    }
    if room.is_some() {
        // Of those that have ended, too, and of vhosts that have been removed.
        let Carried { received, sent, .. } = node.connections.carried();
        all[..2].copy_from_slice(&[received, sent]);
        let retired = counts(&node.retired());
        all[super::VHOST - super::CHANNEL..].iter_mut().zip(retired).for_each(|(sum, own)| *sum += own);
        let (churn, figures) = (churn(&node.churned()), figures(&Figures::read(&node.disk_use)));
        node.samples.node.lock().push(at, join(&[&all, &churn, &figures]), usize::MAX);
        node.samples.make_room(objects);
        node.samples.note_taken(at);
    }
}

/// Looks at the queues that have changed. `room` is `None` if nothing is to be kept of them.
async fn sample_queues(cell: &VhostCell, at: Seconds, room: Option<usize>) {
    while sample_some_queues(cell, at, room) == AT_ONCE {
        tokio::task::yield_now().await;
    }
}

fn sample_some_queues(cell: &VhostCell, at: Seconds, room: Option<usize>) -> usize {
    let touched = cell.with_vhost(|vhost| vhost.take_touched_queues(AT_ONCE));
    let count = touched.len();
    let VhostSamples { queues, lengths, .. } = &mut *cell.samples.lock();
    for (id, measured) in touched {
        let last = queues.get(&id).and_then(Series::last);
        let before =
            last.map_or([0; 3], |[messages, ready, unacknowledged, ..]| [messages, ready, unacknowledged]);
        let Some(measured) = measured else {
            replace(lengths, before, [0; 3]);
            queues.remove(&id);
            continue;
        };
        let Some(room) = room else { continue };
        let now = [measured.messages, measured.ready, measured.unacknowledged];
        replace(lengths, before, now);
        let numbers = join(&[&now, &[measured.published], &deliveries(&measured.deliveries)]);
        queues.entry(id).or_insert_with(|| Series::new(BASIC)).push(at, numbers, room);
    }
    count
}

/// Puts a queue's length in the place of what it was before in a sum.
fn replace(sum: &mut Lengths, before: [u64; 3], now: [u64; 3]) {
    let parts = [&mut sum.messages, &mut sum.ready, &mut sum.unacknowledged];
    for ((part, before), now) in parts.into_iter().zip(before).zip(now) {
        *part = (*part + now).saturating_sub(before);
    }
}

async fn sample_exchanges(cell: &VhostCell, at: Seconds, room: Option<usize>) {
    while sample_some_exchanges(cell, at, room) == AT_ONCE {
        tokio::task::yield_now().await;
    }
}

fn sample_some_exchanges(cell: &VhostCell, at: Seconds, room: Option<usize>) -> usize {
    let touched = cell.with_vhost(|vhost| vhost.take_touched_exchanges(AT_ONCE));
    let count = touched.len();
    let exchanges = &mut cell.samples.lock().exchanges;
    for (id, counted) in touched {
        match (counted, room) {
            (None, _) => {
                exchanges.remove(&id);
            }
            (Some(counted), Some(room)) => {
                let series = exchanges.entry(id).or_insert_with(|| Series::new(BASIC));
                series.push(at, passed(&counted), room);
            }
            (Some(_), None) => {}
        }
    }
    count
}

/// Looks at all connections, and at the channels of those that have carried something. Returns what the connections of
/// each vhost have carried. `objects` grows by the number of objects there are samples of.
async fn sample_connections(
    node: &Node,
    at: Seconds,
    room: Option<usize>,
    objects: &mut usize,
) -> HashMap<Arc<str>, Carried> {
    let mut all: HashMap<Arc<str>, Carried> = HashMap::new();
    let Some(room) = room else { return all };
    for some in node.connections.all().chunks(AT_ONCE) {
        for connection in some {
            let carried = connection.traffic.carried();
            *all.entry(Arc::clone(&connection.vhost)).or_default() += carried;
            *objects += sample_connection(node, connection, carried, at, room);
        }
        tokio::task::yield_now().await;
    }
    all
}

/// Looks at a connection, and at its channels if it has carried something. Returns of how many objects there are
/// samples.
fn sample_connection(
    node: &Node,
    connection: &ConnectionInfo,
    carried: Carried,
    at: Seconds,
    room: usize,
) -> usize {
    let numbers = [carried.received, carried.sent];
    let has_changed = |samples: &ConnectionSamples| samples.own.last() != Some(numbers);
    if let Some(samples) = connection.samples.lock().as_ref().filter(|samples| !has_changed(samples)) {
        return 1 + samples.channels.len();
    }
    let counted = node.vhost(&connection.vhost).zip(connection.id());
    let counted = counted.map(|(cell, id)| cell.with_vhost(|vhost| vhost.channel_counts(id)));
    let mut samples = connection.samples.lock();
    let samples = samples.get_or_insert_default();
    samples.own.push(at, numbers, room);
    let mut before = std::mem::take(&mut samples.channels);
    for (id, counted) in counted.unwrap_or_default() {
        let new = || ChannelSamples { series: Series::new(BASIC), changed_at: now() };
        let mut channel = before.remove(&id).unwrap_or_else(new);
        let numbers = counts(&counted);
        if channel.series.last().is_some_and(|last| last != numbers) {
            channel.changed_at = now();
        }
        channel.series.push(at, numbers, room);
        samples.channels.insert(id, channel);
    }
    1 + samples.channels.len()
}

fn sample_vhost(cell: &VhostCell, at: Seconds, carried: Carried, objects: &mut usize) -> [u64; super::VHOST] {
    let totals = counts(&cell.totals());
    let mut samples = cell.samples.lock();
    *objects += samples.queues.len() + samples.exchanges.len();
    let lengths = samples.lengths.numbers();
    let numbers = join(&[&[carried.received, carried.sent], &lengths, &totals]);
    samples.own.push(at, numbers, usize::MAX);
    numbers
}
