//! The firehose: what happens to messages, told to `amq.rabbitmq.trace`.

use crate::common::Broker;
use crate::common::client::{Client, Event, PLAIN};
use crate::common::method::method;
use crate::common::table::{Field, int, list, long, map, table, text};

/// A broker that traces into the queue `trace`, and a client with channel 1.
fn traced() -> (Broker, Client) {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(
        1,
        &[
            "queue.declare queue=q",
            "queue.declare queue=trace",
            "queue.bind queue=trace exchange=amq.rabbitmq.trace routing-key=#",
        ],
    );
    assert!(broker.node.describe_vhost("/", |about| about.tracing = true));
    (broker, client)
}

/// Everything in the queue `trace`.
fn told(client: &mut Client) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        client.send(1, "basic.get queue=trace no-ack");
        let event = client.next(1);
        if event.text == "basic.get-empty" {
            return all;
        }
        assert_eq!(event.get("exchange"), "amq.rabbitmq.trace");
        all.push(event);
    }
}

/// The routing keys and bodies of all that was told.
fn keys(client: &mut Client) -> Vec<String> {
    let told = told(client).into_iter();
    told.map(|event| format!("{}:{}", event.get("routing-key"), String::from_utf8_lossy(&event.body)))
        .collect()
}

/// A property list of just these headers.
fn headers(fields: &[(&str, Field)]) -> Vec<u8> {
    [&[0x20, 0][..], &table(fields)].concat()
}

#[test]
fn headers_are_rabbitmqs() {
    let (broker, mut client) = traced();
    client.all_ok(1, &["queue.bind queue=q exchange=amq.fanout routing-key=x"]);
    let connection = text(&broker.node.connections.all()[0].name);
    // Content type, headers, delivery mode, priority, timestamp.
    let cc = list(&[text("c1"), text("c2")]);
    let own = [("CC", cc), ("h", int(1))];
    let raw = [&[0b1011_1000, 0b0100_0000][..], b"\x04text", &table(&own), &[2, 5], &12345u64.to_be_bytes()];
    client.publish_with(1, "basic.publish exchange=amq.fanout routing-key=k", &raw.concat(), b"body");
    client.all_ok(1, &["basic.get queue=q"]);
    client.send(1, "basic.ack delivery-tag=1");
    let told = told(&mut client);
    let names: Vec<_> = told.iter().map(|event| event.get("routing-key")).collect();
    assert_eq!(names, ["publish.amq.fanout", "deliver.q", "ack.q"]);
    assert!(told.iter().all(|event| event.body == b"body"));
    let properties = map(&[
        ("timestamp", int(12345)),
        ("priority", int(5)),
        ("delivery_mode", int(2)),
        ("headers", map(&own)),
        ("content_type", text("text")),
    ]);
    let keys = list(&[text("k"), text("c1"), text("c2")]);
    let (node, user, vhost) = (text("rabbit@localhost"), text("guest"), text("/"));
    let published = [
        ("channel", int(1)),
        ("connection", connection.clone()),
        ("exchange_name", text("amq.fanout")),
        ("node", node.clone()),
        ("properties", properties.clone()),
        ("routed_queues", list(&[text("q")])),
        ("routing_keys", keys.clone()),
        ("user", user.clone()),
        ("vhost", vhost.clone()),
    ];
    assert_eq!(told[0].properties, headers(&published));
    let mut delivered = published.clone();
    delivered[5] = ("redelivered", int(0));
    assert_eq!(told[1].properties, headers(&delivered));
    let acked = [
        ("channel", int(1)),
        ("connection", connection),
        ("delivery_tag", long(1)),
        ("exchange_name", text("amq.fanout")),
        ("node", node),
        ("properties", properties),
        ("routing_keys", keys),
        ("user", user),
        ("vhost", vhost),
    ];
    assert_eq!(told[2].properties, headers(&acked));
}

#[test]
fn every_way_to_a_consumer_and_back_is_told() {
    let (_broker, mut client) = traced();
    client.all_ok(1, &["basic.consume queue=q consumer-tag=a no-ack"]);
    client.publish(1, "", "q", "m1");
    assert_eq!(client.so_far(1), "a#1:m1");
    client.all_ok(1, &["basic.cancel consumer-tag=a", "basic.consume queue=q consumer-tag=b"]);
    client.publish(1, "", "q", "m2");
    assert_eq!(client.so_far(1), "b#2:m2");
    client.send(1, "basic.nack delivery-tag=2 requeue");
    assert_eq!(client.so_far(1), "b#3:m2R");
    client.send(1, "basic.reject delivery-tag=3");
    client.all_ok(1, &["basic.cancel consumer-tag=b"]);
    client.publish(1, "", "q", "m3");
    client.publish(1, "", "nobody", "m4");
    let wanted = [
        "publish.:m1",
        "deliver.q:m1",
        "publish.:m2",
        "deliver.q:m2",
        "reject.q:m2",
        "deliver.q:m2",
        "reject.q:m2",
        "publish.:m3",
        "publish.:m4",
    ];
    assert_eq!(keys(&mut client), wanted);
    // Fetching what was told is not told.
    assert_eq!(keys(&mut client), [""; 0]);
}

#[test]
fn transactions_are_told_when_they_publish_and_when_they_settle() {
    let (_broker, mut client) = traced();
    client.all_ok(1, &["tx.select"]);
    client.publish(1, "", "q", "m1");
    client.quiet(1);
    assert_eq!(keys(&mut client), ["publish.:m1"]);
    client.all_ok(1, &["tx.commit"]);
    client.all_ok(1, &["basic.get queue=q"]);
    // The first tag was that of what was told.
    client.send(1, "basic.ack delivery-tag=2");
    client.quiet(1);
    assert_eq!(keys(&mut client), ["deliver.q:m1"]);
    client.all_ok(1, &["tx.commit"]);
    assert_eq!(keys(&mut client), ["ack.q:m1"]);
}

#[test]
fn nothing_is_told_once_it_is_off_and_long_names_are_cut() {
    let (broker, mut client) = traced();
    let long = "n".repeat(255);
    client.call(1, method("queue.declare").set("queue", &long));
    client.publish_with(1, method("basic.publish").set("routing-key", &long), PLAIN, b"m");
    client.call(1, method("basic.get no-ack").set("queue", &long));
    let told = keys(&mut client);
    assert_eq!(told, ["publish.:m".to_owned(), format!("deliver.{}:m", "n".repeat(247))]);
    assert!(broker.node.describe_vhost("/", |about| about.tracing = false));
    client.publish(1, "", "q", "m");
    client.all_ok(1, &["basic.get queue=q no-ack"]);
    assert_eq!(keys(&mut client), [""; 0]);
}
