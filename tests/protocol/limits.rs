//! Limits of vhosts, users and the node: what one more is told.

use std::sync::Arc;

use leveret::auth::limits::Limit;
use leveret::broker::queue::arguments::QueueType;
use leveret::node::Node;
use leveret::node::limits::NodeLimits;

use crate::common::client::{Client, start_ok};
use crate::common::method::method;
use crate::common::{Broker, wait_until};

const ALL: (&str, &str, &str) = (".*", ".*", ".*");

/// The answer to `connection.open`, and the client who got it.
fn open(broker: &Broker, user: &str, vhost: &str) -> (String, Client) {
    let mut client = Client::begun(broker.address);
    client.call(0, start_ok(user, user));
    client.send(0, "connection.tune-ok channel-max=2047 frame-max=131072");
    let answer = client.call(0, method("connection.open").set("virtual-host", vhost));
    (answer, client)
}

/// A client who got in, which may take a moment if somebody else has to be gone first.
fn let_in(broker: &Broker, user: &str, vhost: &str) -> Client {
    let mut last = None;
    wait_until(
        || {
            let (answer, client) = open(broker, user, vhost);
            let entered = answer == "connection.open-ok";
            last = Some(client);
            entered
        },
        || format!("{user} is not let in"),
    );
    last.unwrap()
}

fn limit_vhost(broker: &Broker, connections: Option<i64>, queues: Option<i64>) {
    for (name, max) in [("max-connections", connections), ("max-queues", queues)] {
        assert!(broker.node.limit_vhost("/", name, max.map(Limit)));
    }
}

fn limit_user(broker: &Broker, connections: Option<i64>, channels: Option<i64>) {
    for (name, max) in [("max-connections", connections), ("max-channels", channels)] {
        assert!(broker.node.limit_user("somebody", name, max.map(Limit)));
    }
}

fn with_somebody() -> Broker {
    let broker = Broker::start();
    broker.add_user("somebody", ALL);
    broker
}

const OF_VHOST: &str = "connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'somebody': connection limit (MAX) is \
     reached (10,40)";
const OF_USER: &str = "connection.close 530 NOT_ALLOWED - connection refused for user 'somebody': user connection \
                       limit (MAX) is reached (10,40)";

#[test]
fn connections_to_a_vhost() {
    let broker = with_somebody();
    limit_vhost(&broker, Some(0), None);
    let refused = |max| OF_VHOST.replace("MAX", max);
    assert_eq!(open(&broker, "somebody", "/").0, refused("0"));
    // A limit is looked at before permissions are.
    broker.node.remove_permission("somebody", "/");
    assert_eq!(open(&broker, "somebody", "/").0, refused("0"));
    broker.add_user("somebody", ALL);

    limit_vhost(&broker, Some(2), None);
    let _first = let_in(&broker, "somebody", "/");
    let mut second = let_in(&broker, "guest", "/");
    assert_eq!(open(&broker, "somebody", "/").0, refused("2"));
    // It is there until the client has ended the TCP connection, not until it has said goodbye.
    second.call(0, "connection.close");
    assert_eq!(open(&broker, "somebody", "/").0, refused("2"));
    second.drop_it();
    let _third = let_in(&broker, "somebody", "/");
    // Whoever is in stays.
    limit_vhost(&broker, Some(1), None);
    assert_eq!(open(&broker, "somebody", "/").0, refused("1"));
    limit_vhost(&broker, Some(-1), None);
    assert_eq!(open(&broker, "somebody", "/").0, "connection.open-ok");
}

#[test]
fn connections_of_a_user() {
    let broker = with_somebody();
    broker.node.put_vhost("other", |_| {});
    broker.node.put_permission("somebody", "other", leveret::auth::Permission::all().unwrap());
    let refused = |max| OF_USER.replace("MAX", max);
    limit_user(&broker, Some(0), None);
    assert_eq!(open(&broker, "somebody", "/").0, refused("0"));
    // The vhost is looked for first, and its limit looked at.
    let missing = "connection.close 530 NOT_ALLOWED - vhost nosuch not found (10,40)";
    assert_eq!(open(&broker, "somebody", "nosuch").0, missing);
    limit_vhost(&broker, Some(0), None);
    assert_eq!(open(&broker, "somebody", "/").0, OF_VHOST.replace("MAX", "0"));
    limit_vhost(&broker, None, None);

    limit_user(&broker, Some(1), None);
    let first = let_in(&broker, "somebody", "other");
    assert_eq!(open(&broker, "somebody", "/").0, refused("1"), "all vhosts count");
    assert_eq!(open(&broker, "guest", "/").0, "connection.open-ok", "others do not");
    // Neither a new password nor new tags make a new user.
    broker.add_user("somebody", ALL);
    assert_eq!(open(&broker, "somebody", "/").0, refused("1"));
    first.drop_it();
    let _second = let_in(&broker, "somebody", "/");
}

#[test]
fn channels_of_a_user() {
    let broker = with_somebody();
    let too_many = |max| {
        format!(
            "connection.close 530 NOT_ALLOWED - number of channels opened for user 'somebody' has reached the maximum \
             allowed user limit of {max} (0,0)"
        )
    };
    limit_user(&broker, None, Some(3));
    let (mut a, mut b) = (let_in(&broker, "somebody", "/"), let_in(&broker, "somebody", "/"));
    a.open_channel(1);
    a.open_channel(2);
    b.open_channel(1);
    assert_eq!(b.call(2, "channel.open"), too_many(3));
    // With the connection its channel has gone; one that is closed by either side makes room as well.
    a.open_channel(3);
    a.all_ok(2, &["channel.close"]);
    a.open_channel(2);
    assert!(a.call(2, "queue.declare queue=q passive").starts_with("channel.close 404"));
    a.open_channel(4);
    // Those that are open stay when the limit is lowered. A queue's empty name opens a channel, in a way.
    limit_user(&broker, None, Some(0));
    a.all_ok(1, &["basic.qos"]);
    assert_eq!(a.call(9, "queue.bind exchange=amq.topic"), too_many(0));
    let mut c = let_in(&broker, "somebody", "/");
    limit_user(&broker, None, Some(-1));
    (1..=5).for_each(|number| c.open_channel(number));
    // What the two sides have agreed on comes first.
    limit_user(&broker, None, Some(1));
    let mut d = Client::begun(broker.address);
    d.call(0, start_ok("somebody", "somebody"));
    d.send(0, "connection.tune-ok channel-max=1 frame-max=131072");
    d.all_ok(0, &["connection.open virtual-host=/"]);
    drop((a, b, c));
    wait_until(|| broker.node.connections.all().len() == 1, || "others are there".to_owned());
    d.open_channel(1);
    assert_eq!(
        d.call(2, "channel.open"),
        "connection.close 530 NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1) (0,0)"
    );
}

#[test]
fn queues_in_a_vhost() {
    let broker = Broker::start();
    limit_vhost(&broker, None, Some(2));
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=a durable", "queue.declare queue=b exclusive"]);
    let full = |queue: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - cannot declare queue '{queue}': queue limit in vhost '/' (2) is \
             reached (50,10)"
        )
    };
    let mut case = |declare: &str, wanted: &str| {
        let got = client.call(1, declare);
        assert_eq!(got, wanted, "{declare}");
        if got.starts_with("channel.close") {
            client.send(1, "channel.close-ok");
            client.open_channel(1);
        }
    };
    case("queue.declare queue=c", &full("c"));
    case("queue.declare queue=c exclusive auto-delete", &full("c"));
    // Those that are there can be declared again, and what is wrong with a new one is said first.
    case("queue.declare queue=a durable", "queue.declare-ok queue='a' message-count=0 consumer-count=0");
    case("queue.declare queue=c passive", "channel.close 404 NOT_FOUND - no queue 'c' in vhost '/' (50,10)");
    case(
        "queue.declare queue=amq.c",
        "channel.close 403 ACCESS_REFUSED - queue name 'amq.c' contains reserved prefix 'amq.*' (50,10)",
    );
    case("queue.delete queue=a", "queue.delete-ok message-count=0");
    case("queue.declare queue=c", "queue.declare-ok queue='c' message-count=0 consumer-count=0");
    case("queue.declare queue=d", &full("d"));
    limit_vhost(&broker, None, Some(-1));
    case("queue.declare queue=d", "queue.declare-ok queue='d' message-count=0 consumer-count=0");
}

fn limited(change: impl FnOnce(&mut NodeLimits)) -> Broker {
    let mut limits = NodeLimits::default();
    change(&mut limits);
    let node = Node::empty(16 << 20, usize::MAX).with_limits(&limits);
    node.begin().unwrap();
    Broker::serve(Arc::new(node))
}

#[test]
fn connections_of_a_node() {
    let broker = limited(|limits| limits.connection_max = Some(1));
    let first = let_in(&broker, "guest", "/");
    let full =
        "connection.close 530 NOT_ALLOWED - connection refused: node connection limit (1) is reached (10,40)";
    assert_eq!(open(&broker, "guest", "/").0, full);
    first.drop_it();
    let _second = let_in(&broker, "guest", "/");
}

#[test]
fn consumers_of_a_channel() {
    let broker = limited(|limits| limits.consumer_max = Some(2));
    let mut client = broker.channel();
    client.all_ok(
        1,
        &["queue.declare queue=q", "basic.consume queue=q consumer-tag=a", "basic.consume queue=q"],
    );
    client.open_channel(2);
    client.all_ok(2, &["basic.consume queue=q consumer-tag=a"]);
    client.all_ok(1, &["basic.cancel consumer-tag=a", "basic.consume queue=q consumer-tag=a"]);
    let full = "connection.close 530 NOT_ALLOWED - reached maximum (2) of consumers per channel (60,20)";
    assert_eq!(client.call(1, "basic.consume queue=nosuch"), full);
    // A tag that is taken is noticed first.
    let mut client = broker.channel();
    client.all_ok(1, &["basic.consume queue=q consumer-tag=a", "basic.consume queue=q consumer-tag=b"]);
    let got = client.call(1, "basic.consume queue=q consumer-tag=a");
    assert!(got.contains("attempt to reuse consumer tag 'a'"), "{got}");
}

/// 0 lets a client have as many channels as there are numbers, and say so.
#[test]
fn channels_without_a_limit() {
    let broker = limited(|limits| limits.channel_max = 0);
    for agreed in ["0", "65535"] {
        let mut client = Client::begun(broker.address);
        let tune = client.call(0, start_ok("guest", "guest"));
        assert!(tune.starts_with("connection.tune channel-max=0 "), "{tune}");
        client.send(0, method("connection.tune-ok frame-max=131072").set("channel-max", agreed));
        client.all_ok(0, &["connection.open virtual-host=/"]);
        client.open_channel(1);
        client.open_channel(65535);
    }
}

#[test]
fn queues_of_the_nodes_type() {
    let broker = limited(|limits| limits.default_queue_type = QueueType::Quorum);
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q durable", "queue.declare queue=t"]);
    let got = client.call(
        1,
        method("queue.declare queue=q durable")
            .args(&[("x-queue-type", crate::common::table::text("classic"))]),
    );
    assert_eq!(
        got,
        "channel.close 406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received \
         'classic' but current is 'quorum' (50,10)"
    );
}
