//! What differs between the versions of RabbitMQ that can be followed.

use std::sync::Arc;

use leveret::broker::compatibility::{Compatibility, Permits};
use leveret::node::Node;
use leveret::node::limits::NodeLimits;

use crate::common::Broker;
use crate::common::client::{Client, PROTOCOL_HEADER};
use crate::common::method::method;
use crate::common::table::{int, text};

fn broker(level: Compatibility) -> Broker {
    let node = Node::empty(16 << 20, usize::MAX).following(level);
    node.begin().unwrap();
    Broker::serve(Arc::new(node))
}

#[test]
fn the_version_that_clients_are_told() {
    for (level, version) in
        [(Compatibility::V3_13, "3.13.7"), (Compatibility::V4_0, "4.0.9"), (Compatibility::V4_3, "4.3.6")]
    {
        let broker = broker(level);
        let mut client = Client::raw(broker.address);
        client.send_bytes(PROTOCOL_HEADER);
        let start = client.read_frame().unwrap().payload;
        // The field's name, its type, the length of the text, and the text.
        let field = [b"\x07versionS\0\0\0", &[version.len() as u8][..], version.as_bytes()].concat();
        assert!(start.windows(field.len()).any(|octets| octets == field), "{level}");
    }
}

#[test]
fn passive_declares_without_permission() {
    let refused = "channel.close 403 ACCESS_REFUSED - configure access to";
    for (level, queue, exchange) in [
        (Compatibility::V3_13, "queue.declare-ok", "exchange.declare-ok"),
        (Compatibility::V4_0, "queue.declare-ok", "exchange.declare-ok"),
        (Compatibility::V4_3, refused, refused),
    ] {
        let broker = broker(level);
        let mut owner = broker.channel();
        owner.all_ok(1, &["queue.declare queue=q durable", "exchange.declare exchange=e type=fanout"]);
        broker.add_user("guarded", ("^$", "^$", "^$"));
        let mut client = Client::user(broker.address, "guarded");
        client.open_channel(2);
        let answers = [
            client.call(1, "queue.declare queue=q passive"),
            client.call(2, "exchange.declare exchange=e passive"),
        ];
        assert!(answers[0].starts_with(queue) && answers[1].starts_with(exchange), "{level}: {answers:?}");
    }
}

/// A channel that the broker closes on its own: the session has to know of it, and so has whoever reads.
#[test]
fn a_delivery_that_is_not_acknowledged_in_time() {
    let broker = broker(Compatibility::V4_0);
    let mut client = broker.channel();
    let arguments = [("x-queue-type", text("quorum")), ("x-consumer-timeout", int(20))];
    let declared = client.call(1, method("queue.declare queue=q durable").args(&arguments));
    assert!(declared.starts_with("queue.declare-ok"), "{declared}");
    client.publish(1, "", "q", "m");
    assert!(client.call(1, "basic.consume queue=q consumer-tag=c").starts_with("basic.consume-ok"));
    assert!(client.next(1).text.starts_with("basic.deliver"));
    let closed = client.next(1).text;
    assert!(
        closed.contains("delivery acknowledgement on channel 1 timed out. Timeout value used: 20 ms."),
        "{closed}"
    );
    // What is still sent on the channel is not looked at.
    client.send(1, "basic.ack delivery-tag=1");
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    assert_eq!(client.call(1, "queue.delete queue=q"), "queue.delete-ok message-count=1");
}

/// As RabbitMQ 4.3.6 answers with the same settings.
#[test]
fn what_is_permitted_beside() {
    let permits = Permits { global_qos: true, master_locator: true, relaxed_checks: true };
    let limits = NodeLimits { permits, ..NodeLimits::default() };
    let node = Node::empty(16 << 20, usize::MAX).with_limits(&limits);
    node.begin().unwrap();
    let broker = Broker::serve(Arc::new(node));
    let mut client = broker.channel();
    let typed = |declare: &str, kind: &str| method(declare).args(&[("x-queue-type", text(kind))]);
    let ok = "queue.declare-ok";
    assert!(client.call(1, typed("queue.declare queue=q durable", "quorum")).starts_with(ok));
    for again in [
        method("queue.declare queue=q durable"),
        method("queue.declare queue=q"),
        method("queue.declare queue=q durable auto-delete"),
        method("queue.declare queue=q durable exclusive"),
        typed("queue.declare queue=q durable", "classic"),
        method("queue.declare queue=q durable").args(&[("x-max-priority", int(5))]),
        method("queue.declare queue=ml durable").args(&[("x-queue-master-locator", text("min-masters"))]),
    ] {
        let got = client.call(1, again);
        assert!(got.starts_with(ok), "{got}");
    }
    for (again, key) in [
        (typed("queue.declare queue=q durable", "stream"), "x-queue-type"),
        (method("queue.declare queue=q durable").args(&[("x-max-length", int(5))]), "x-max-length"),
        (typed("queue.declare queue=ml durable", "quorum"), "x-queue-type"),
        (method("queue.declare queue=ml"), "durable"),
    ] {
        let got = client.call(1, again);
        let wanted = format!("channel.close 406 PRECONDITION_FAILED - inequivalent arg '{key}'");
        assert!(got.starts_with(&wanted), "{got}");
        client = broker.channel();
    }
}
