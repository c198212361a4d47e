//! What is told of each object, or of all of a kind together: queues, exchanges, channels, connections.

use super::families as of;
use super::page::Page;
use super::sheet::Number::{None, Real};
use super::sheet::{Number, labels};
use crate::broker::channel::Manner;
use crate::broker::counts::{Deliveries, Publishes};
use crate::broker::exchange::list::Which;
use crate::broker::look::QueueLook;
use crate::broker::look::queue::Lags;
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
        queue_rows(page, &cell.name, &queue);
        if queue.stream.is_some() && (page.wants(&of::STREAM_CONSUMER) || page.wants(&of::STREAM_GROUP)) {
            let lags = cell.with_vhost(|vhost| vhost.stream_lags(queue.id));
            lags.iter().for_each(|lags| stream_rows(page, &cell.name, &queue.name, lags));
        }
    });
}

fn queue_rows(page: &mut Page, vhost: &str, queue: &QueueLook) {
    let name = &*queue.name;
    let own = labels(&[("vhost", vhost), ("queue", name)]);
    let consumers = queue.consumers.into();
    page.add(
        &of::QUEUE_COARSE,
        &own,
        &[queue.ready.into(), queue.unacknowledged.into(), queue.messages().into()],
    );
    page.add(&of::QUEUE_CONSUMER_COUNT, &own, &[consumers]);
    page.add(&of::QUEUE, &own, &queue_numbers(queue));
    if queue.deliveries != Deliveries::default() {
        page.add(&of::QUEUE_DELIVERY, &own, &delivered(&queue.deliveries));
    }
    if queue.published > 0 {
        let published = [queue.published.into()];
        page.add(&of::QUEUE_EXCHANGE, &own, &published);
        let to = labels(&[("queue_vhost", vhost), ("queue", name)]);
        page.add(&of::CHANNEL_QUEUE_EXCHANGE, &to, &published);
    }
    let kind = match queue.queue_type() {
        QueueType::Classic => "rabbit_classic_queue",
        QueueType::Quorum => "rabbit_quorum_queue",
        QueueType::Stream => "rabbit_stream_queue",
    };
    let info = [("vhost", vhost), ("queue", name), ("queue_type", kind), ("membership", "leader")];
    page.add(&of::QUEUE_INFO, &labels(&info), &[1u64.into()]);
}

/// In the order of the family's metrics. Of a stream hardly anything is known of its messages.
fn queue_numbers(queue: &QueueLook) -> [Number; 15] {
    let (consumers, memory) = (queue.consumers.into(), queue.memory.into());
    if let Some(stream) = &queue.stream {
        let mut numbers = [None; 15];
        (numbers[0], numbers[3], numbers[14]) = (consumers, memory, stream.segments.into());
        return numbers;
    }
    let capacity = u64::from(queue.consumers > 0 && queue.has_room).into();
    let persistent = if queue.durable { (queue.messages(), queue.bytes()) } else { (0, 0) };
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below what is exact")]
    let timestamp = Real(queue.head_timestamp.map_or(f64::NAN, |seconds| seconds as f64));
    let resident = queue.resident();
    [
        consumers,
        capacity,
        capacity,
        memory,
        resident.messages.into(),
        resident.bytes.into(),
        resident.ready.into(),
        resident.unacknowledged.into(),
        persistent.0.into(),
        persistent.1.into(),
        queue.bytes().into(),
        queue.ready_bytes.into(),
        queue.unacknowledged_bytes.into(),
        if queue.queue_type() == QueueType::Classic { timestamp } else { None },
        None,
    ]
}

fn stream_rows(page: &mut Page, vhost: &str, stream: &str, lags: &Lags) {
    let own = [("vhost", vhost), ("queue", stream)];
    if let Some(lag) = lags.consumers {
        page.add(&of::STREAM_CONSUMER, &labels(&own), &[lag.into()]);
    }
    for (group, lag) in &lags.groups {
        page.add(&of::STREAM_GROUP, &labels(&[own[0], own[1], ("group", group)]), &[(*lag).into()]);
    }
}

/// All exchanges of a vhost, where what is published to them is asked for.
pub(super) fn exchanges(page: &mut Page, cell: &VhostCell) {
    if !page.wants(&of::EXCHANGE) {
        return;
    }
    for exchange in cell.look_at_exchanges() {
        let Publishes { publish, confirm, return_unroutable, drop_unroutable } = exchange.publishes;
        if publish > 0 {
            let own = labels(&[("vhost", &cell.name), ("exchange", &exchange.name)]);
            let numbers = [publish, confirm, return_unroutable, drop_unroutable].map(Number::from);
            page.add(&of::EXCHANGE, &own, &numbers);
        }
    }
}

/// The names of all exchanges of a vhost that clients may publish to, but the default one, and how many bindings go out
/// from them.
pub(super) fn names(page: &mut Page, cell: &VhostCell) {
    page.add(&of::VHOST_STATUS, &labels(&[("vhost", &cell.name)]), &[1u64.into()]);
    if !page.wants(&of::EXCHANGE_NAMES) && !page.wants(&of::EXCHANGE_BINDINGS) {
        return;
    }
    let exchanges = cell.look_at_exchanges();
    for exchange in exchanges.iter().filter(|exchange| !exchange.name.is_empty() && !exchange.internal) {
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
    if publish > 0 {
        let numbers = [publish, confirmed, return_unroutable, drop_unroutable].map(Number::from);
        page.add(&of::CHANNEL_EXCHANGE, &own, &numbers);
    }
    if look.counts.deliveries != Deliveries::default() {
        page.add(&of::CHANNEL_QUEUE, &own, &delivered(&look.counts.deliveries));
    }
}
