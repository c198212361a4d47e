//! What is told of the node as a whole.

use std::thread::available_parallelism;
use std::time::Duration;

use super::families as of;
use super::objects::Seen;
use super::page::Page;
use super::sheet::Number::{self, Real};
use super::sheet::labels;
use crate::broker::counts::{Deaths, STEPS, Strategy};
use crate::broker::dead_letter::Reason;
use crate::http::nodes::parts;
use crate::http::overview::ERLANG_VERSION;
use crate::node::alarms::Alarm;
use crate::node::disk_use::Used;
use crate::node::process::{Figures, files_max};
use crate::node::{Node, now};

/// By their places in what is counted by type of queue.
const TYPES: [&str; 4] =
    ["rabbit_classic_queue", "rabbit_quorum_queue", "rabbit_stream_queue", "rabbit_volatile_queue"];
const PROTOCOL: (&str, &str) = ("protocol", "amqp091");

/// What there is of the node at every endpoint: who it is, and which versions it follows.
pub(super) fn identity(page: &mut Page, node: &Node) {
    let version = &*node.offer.version;
    let versions = [
        ("rabbitmq_version", version),
        ("prometheus_plugin_version", version),
        ("prometheus_client_version", env!("CARGO_PKG_VERSION")),
        ("erlang_version", ERLANG_VERSION),
    ];
    page.one(&of::BUILD, &labels(&versions), &[1u64.into()]);
    let id = node.parameter("internal_cluster_id").and_then(|id| id.as_str().map(str::to_owned));
    let names = [
        ("rabbitmq_node", node.name()),
        ("rabbitmq_cluster", &node.cluster_name()),
        ("rabbitmq_cluster_permanent_id", id.as_deref().unwrap_or_default()),
        ("rabbitmq_endpoint", page.endpoint().name()),
    ];
    page.one(&of::IDENTITY, &labels(&names), &[1u64.into()]);
}

/// What comes and goes, what the process takes, and who has logged in.
pub(super) fn figures(page: &mut Page, node: &Node) {
    let churned = node.churned();
    let numbers = [
        churned.connection_created,
        churned.connection_closed,
        churned.channel_created,
        churned.channel_closed,
        churned.queue_declared,
        churned.queue_created,
        churned.queue_deleted,
    ];
    page.one(&of::CHURN, "", &numbers.map(Number::from));
    let Figures { memory, files, threads, running, switches, disk_free, reads, writes, syncs } =
        Figures::read(&node.disk_use);
    page.one(&of::NODE_COARSE, "", &[files, memory, disk_free, threads, switches].map(Number::from));
    let process = &node.process;
    let numbers = [
        files_max().into(),
        process.memory_limit().into(),
        process.disk_free_limit().into(),
        running.into(),
        Real(node.control.since.elapsed().as_secs_f64()),
    ];
    page.one(&of::NODE, "", &numbers);
    let seconds = |used: Used| Real(Duration::from_micros(used.microseconds).as_secs_f64());
    let counts =
        [reads.count, reads.octets, writes.count, writes.octets, syncs.count, reads.count, writes.count];
    let mut numbers = counts.map(Number::from).to_vec();
    numbers.extend([reads, writes, syncs].map(seconds));
    page.one(&of::PERSISTER, "", &numbers);
    for (protocol, attempts) in node.attempts.all() {
        let (succeeded, failed) = attempts.counts();
        let numbers = [succeeded + failed, succeeded, failed].map(Number::from);
        page.each(&of::ATTEMPTS, &labels(&[("protocol", protocol)]), &numbers);
    }
}

/// How many there are, what has been counted of messages, alarms, and what any process has.
pub(super) fn whole(page: &mut Page, node: &Node, seen: &Seen) {
    let consumers: usize =
        node.vhosts().iter().map(|cell| cell.with_vhost(|vhost| vhost.consumer_count())).sum();
    let connections = node.connections.count();
    let numbers = [connections.into(), seen.channels.into(), consumers.into(), seen.queues.into()];
    page.one(&of::OBJECTS, "", &numbers);
    let (published, global) = (node.totals().publishes, node.global());
    let numbers = [
        global.sizes.count(),
        global.confirmable,
        published.confirm,
        global.routed,
        published.return_unroutable,
        published.drop_unroutable,
        seen.publishers,
        consumers as u64,
    ];
    page.one(&of::PUBLISHED, &labels(&[PROTOCOL]), &numbers.map(Number::from));
    page.histogram(&of::SIZES, &[PROTOCOL], (&STEPS, &global.sizes.counts), global.sizes.octets);
    died(page, &global.deaths);
    for (kind, delivered) in TYPES.iter().zip(node.delivered()) {
        let numbers = [
            delivered.deliver_get(),
            delivered.deliver,
            delivered.deliver_no_ack,
            delivered.get,
            delivered.get_no_ack,
            delivered.get_empty,
            delivered.redeliver,
            delivered.ack,
        ];
        page.each(&of::DELIVERED, &labels(&[PROTOCOL, ("queue_type", kind)]), &numbers.map(Number::from));
    }
    let in_effect = node.alarms.in_effect();
    let is = |wanted| u64::from(in_effect.iter().any(|alarm| alarm == wanted));
    page.one(&of::ALARMS, "", &[is(Alarm::Disk), is(Alarm::Memory), 0].map(Number::from));
    process(page, node);
}

/// What messages have died of. Not every queue can do everything with them; RabbitMQ has these rows.
fn died(page: &mut Page, deaths: &Deaths) {
    use Reason::{DeliveryLimit, Expired, MaxLength, Rejected};
    use Strategy::{AtLeastOnce, AtMostOnce, Disabled};
    let (classic, quorum, volatile) = (0, 1, 3);
    for (place, strategy, reasons) in [
        (classic, AtMostOnce, &[MaxLength, Expired, Rejected][..]),
        (classic, Disabled, &[MaxLength, Expired, Rejected]),
        (quorum, AtLeastOnce, &[Expired, Rejected, DeliveryLimit]),
        (quorum, AtMostOnce, &[MaxLength, Expired, Rejected, DeliveryLimit]),
        (quorum, Disabled, &[MaxLength, Expired, Rejected, DeliveryLimit]),
        (volatile, Disabled, &[MaxLength]),
    ] {
        let of = |reason| match reasons.contains(&reason) {
            true => deaths.count(place, strategy, reason).into(),
            false => Number::None,
        };
        let (safe, name) = match strategy {
            AtLeastOnce => (deaths.safe.into(), "at_least_once"),
            AtMostOnce => (Number::None, "at_most_once"),
            Disabled => (Number::None, "disabled"),
        };
        let numbers = [of(MaxLength), of(Expired), of(Rejected), of(DeliveryLimit), safe];
        let pairs = [("queue_type", TYPES[place]), ("dead_letter_strategy", name)];
        page.each(&of::DIED, &labels(&pairs), &numbers);
    }
}

/// The memory of the process by parts, as the API tells it.
pub(super) fn memory(page: &mut Page, node: &Node) {
    let numbers: Vec<_> = parts(node).0.into_iter().map(|(_, octets)| octets.into()).collect();
    page.one(&of::MEMORY, "", &numbers);
}

fn process(page: &mut Page, node: &Node) {
    let figures = Figures::read(&node.disk_use);
    let processors = available_parallelism().map_or(1, usize::from) as u64;
    let carried = node.connections.carried();
    let started = (now() / 1000).saturating_sub(node.control.since.elapsed().as_secs());
    let numbers = [
        started,
        processors,
        processors,
        processors,
        figures.switches,
        figures.running,
        carried.received,
        carried.sent,
        figures.threads,
    ];
    page.one(&of::PROCESS, "", &numbers.map(Number::from));
}
