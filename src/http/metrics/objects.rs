//! What is told of each object, or of all of a kind together: queues, exchanges, channels, connections.

use super::families as of;
use super::page::Page;
use super::sheet::Number::{None, Real};
use super::sheet::{Number, labels};
use crate::broker::channel::Manner;
use crate::broker::counts::{Deliveries, Publishes};
use crate::broker::exchange::list::Which;
use crate::broker::look::QueueLook;
use crate::broker::queue::arguments::QueueType;
use crate::node::cell::VhostCell;
use crate::node::connections::ConnectionInfo;
use crate::node::looking::Channel;

/// How many there are of what is not counted elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub queues: u64,
    pub channels: u64,
    /// Channels that have published.
    pub publishers: u64,
}

/// In the order of the families' metrics.
fn delivered(of: &Deliveries) -> [Number; 7] {
    let Deliveries { deliver, deliver_no_ack, get, get_no_ack, get_empty, redeliver, ack } = *of;
    [get, get_no_ack, deliver, deliver_no_ack, redeliver, ack, get_empty].map(Number::from)
}

/// All queues of a vhost.
pub(super) fn queues(page: &mut Page, cell: &VhostCell, seen: &mut Seen) {
    cell.for_each_queue(|queue| {
        seen.queues += 1;
        queue_row(page, &cell.name, &queue);
    });
}

fn queue_row(page: &mut Page, vhost: &str, queue: &QueueLook) {
    let (name, each) = (&*queue.name, page.tells_each());
    let own = labels(&[("vhost", vhost), ("queue", name)]);
    let (ready, unacked, all) = (queue.ready.into(), queue.unacknowledged.into(), queue.messages().into());
    page.add(&of::QUEUE_COARSE, &own, &[ready, unacked, all, None]);
    page.add(&of::QUEUE_CONSUMER_COUNT, &own, &[queue.consumers.into(), None]);
    let capacity = u64::from(queue.consumers > 0 && queue.has_room).into();
    let persistent = if queue.durable { (queue.messages(), queue.bytes()) } else { (0, 0) };
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below what is exact")]
    let timestamp = Real(queue.head_timestamp.map_or(f64::NAN, |seconds| seconds as f64));
    // Of these no sum means anything.
    let [capacity, timestamp] = if each { [capacity, timestamp] } else { [None, None] };
    let numbers = [
        queue.consumers.into(),
        capacity,
        capacity,
        queue.memory.into(),
        queue.in_memory.min(queue.messages()).into(),
        persistent.0.into(),
        persistent.1.into(),
        queue.bytes().into(),
        queue.ready_bytes.into(),
        queue.unacknowledged_bytes.into(),
        timestamp,
        queue.stream.as_ref().map_or(None, |stream| stream.segments.into()),
        None,
    ];
    page.add(&of::QUEUE, &own, &numbers);
    page.add(&of::QUEUE_DELIVERY, &own, &delivered(&queue.deliveries));
    let published = [queue.published.into()];
    page.add(&of::QUEUE_EXCHANGE, &own, &published);
    let to = labels(&[("queue_vhost", vhost), ("queue", name)]);
    page.add(&of::CHANNEL_QUEUE_EXCHANGE, &to, &published);
    if each {
        let kind = match queue.queue_type() {
            QueueType::Classic => "rabbit_classic_queue",
            QueueType::Quorum => "rabbit_quorum_queue",
            QueueType::Stream => "rabbit_stream_queue",
        };
        let all = [("vhost", vhost), ("queue", name), ("queue_type", kind), ("membership", "leader")];
        let (info, one) = (labels(&all), Number::Whole(1));
        page.add(&of::QUEUE_COARSE, &info, &[None, None, None, one]);
        page.add(&of::QUEUE_CONSUMER_COUNT, &info, &[None, one]);
        let mut numbers = [None; 13];
        numbers[12] = one;
        page.add(&of::QUEUE, &info, &numbers);
    }
}

/// All exchanges of a vhost, where what is published to them is asked for.
pub(super) fn exchanges(page: &mut Page, cell: &VhostCell) {
    if !page.wants(&of::EXCHANGE) {
        return;
    }
    for exchange in cell.look_at_exchanges() {
        let passed = exchange.passed.publish_in;
        if passed > 0 {
            let own = labels(&[("vhost", &cell.name), ("exchange", &exchange.name)]);
            page.add(&of::EXCHANGE, &own, &[passed.into()]);
        }
    }
}

/// The names of all exchanges of a vhost but the default one, and how many bindings go out from them.
pub(super) fn names(page: &mut Page, cell: &VhostCell) {
    page.add(&of::VHOST_STATUS, &labels(&[("vhost", &cell.name)]), &[1u64.into()]);
    if !page.wants(&of::EXCHANGE_NAMES) && !page.wants(&of::EXCHANGE_BINDINGS) {
        return;
    }
    for exchange in cell.look_at_exchanges().iter().filter(|exchange| !exchange.name.is_empty()) {
        let (name, kind) = (&*exchange.name, exchange.kind.name());
        let own = labels(&[("vhost", &cell.name), ("exchange", name), ("type", kind)]);
        page.add(&of::EXCHANGE_NAMES, &own, &[1u64.into()]);
        if page.wants(&of::EXCHANGE_BINDINGS) {
            let bindings = cell.with_vhost(|vhost| vhost.binding_ids(Which::From(name)).len());
            page.add(&of::EXCHANGE_BINDINGS, &own, &[bindings.into()]);
        }
    }
}

/// A connection and, where they are asked for, its channels.
pub(super) fn connection(
    page: &mut Page,
    connection: &ConnectionInfo,
    cell: Option<&VhostCell>,
    seen: &mut Seen,
) {
    // RabbitMQ has the connection's process in a label of this name.
    let own = labels(&[("channel", &connection.name)]);
    let carried = connection.traffic.carried();
    page.add(&of::CONNECTION_COARSE, &own, &[carried.received.into(), carried.sent.into()]);
    let (pending, channels) = (connection.traffic.pending(), connection.channels());
    let numbers = [carried.reads.into(), carried.writes.into(), pending.into(), channels.into()];
    page.add(&of::CONNECTION, &own, &numbers);
    seen.channels += channels as u64;
    let Some(cell) = cell.filter(|_| page.wants_channels()) else { return };
    for channel in cell.look_at_channels(connection) {
        seen.publishers += u64::from(channel.look.counts.publishes.publish > 0);
        channel_row(page, connection, &channel);
    }
}

fn channel_row(page: &mut Page, connection: &ConnectionInfo, channel: &Channel) {
    let look = &channel.look;
    let name = format!("{} ({})", connection.name, look.number);
    let (messages, settlements) = match look.manner {
        Manner::Tx { messages, settlements } => (messages.into(), settlements.into()),
        Manner::Plain | Manner::Confirm => (0u64.into(), 0u64.into()),
    };
    let own = labels(&[("channel", &name)]);
    let numbers = [
        look.consumers.into(),
        look.unacknowledged.into(),
        channel.unconfirmed.into(),
        messages,
        settlements,
        u64::from(look.prefetch).into(),
        look.window.map_or(None, |window| u64::from(window).into()),
    ];
    page.add(&of::CHANNEL, &own, &numbers);
    if !page.includes(&connection.vhost) {
        return;
    }
    let own = labels(&[("channel", &name), ("vhost", &connection.vhost)]);
    let Publishes { publish, confirm, return_unroutable, drop_unroutable } = look.counts.publishes;
    let confirmed = confirm.saturating_sub(channel.unconfirmed);
    let numbers = [publish, confirmed, return_unroutable, drop_unroutable].map(Number::from);
    page.add(&of::CHANNEL_EXCHANGE, &own, &numbers);
    page.add(&of::CHANNEL_QUEUE, &own, &delivered(&look.counts.deliveries));
}
