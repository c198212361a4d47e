//! Prefetch: how many messages a consumer may have unacknowledged.

use crate::common::Broker;
use crate::common::client::Client;
use crate::load;

/// A queue with twelve messages.
fn twelve() -> (Broker, Client) {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    load(&broker, "q", 12);
    (broker, client)
}

const ALL: &str = "c1#1:m0 c1#2:m1 c1#3:m2 c1#4:m3 c1#5:m4 c1#6:m5 c1#7:m6 c1#8:m7 c1#9:m8 c1#10:m9 c1#11:m10 \
                   c1#12:m11";

/// RabbitMQ 4.3 has a window for each consumer, whatever `global` says.
#[test]
fn each_consumer_has_a_window() {
    for (qos, one, two) in [
        ("basic.qos prefetch-count=3", "c1#1:m0 c1#2:m1 c1#3:m2", "c2#4:m3 c2#5:m4 c2#6:m5"),
        ("basic.qos prefetch-count=3 global", "c1#1:m0 c1#2:m1 c1#3:m2", "c2#4:m3 c2#5:m4 c2#6:m5"),
        ("basic.qos prefetch-count=1", "c1#1:m0", "c2#2:m1"),
        ("basic.qos", ALL, ""),
        ("basic.qos global", ALL, ""),
    ] {
        let (_broker, mut client) = twelve();
        client.all_ok(1, &[qos]);
        client.all_ok(1, &["basic.consume queue=q consumer-tag=c1"]);
        assert_eq!(client.so_far(1), one, "{qos}");
        client.all_ok(1, &["basic.consume queue=q consumer-tag=c2"]);
        assert_eq!(client.so_far(1), two, "{qos}");
    }
}

#[test]
fn a_window_is_that_of_the_time_of_consuming() {
    let (_broker, mut client) = twelve();
    client.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=q consumer-tag=c1"]);
    assert_eq!(client.so_far(1), "c1#1:m0");
    client.all_ok(1, &["basic.qos prefetch-count=4"]);
    assert_eq!(client.so_far(1), "");
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c2"]);
    assert_eq!(client.so_far(1), "c2#2:m1 c2#3:m2 c2#4:m3 c2#5:m4");
    client.send(1, "basic.ack delivery-tag=1");
    assert_eq!(client.so_far(1), "c1#6:m5");
}

#[test]
fn acknowledging_makes_room() {
    let (broker, mut client) = twelve();
    client.all_ok(1, &["basic.qos prefetch-count=3", "basic.consume queue=q consumer-tag=c"]);
    assert_eq!(client.so_far(1), "c#1:m0 c#2:m1 c#3:m2");
    client.send(1, "basic.ack delivery-tag=2");
    assert_eq!(client.so_far(1), "c#4:m3");
    client.send(1, "basic.ack delivery-tag=3 multiple");
    assert_eq!(client.so_far(1), "c#5:m4 c#6:m5");
    client.send(1, "basic.reject delivery-tag=4");
    client.send(1, "basic.nack delivery-tag=5");
    assert_eq!(client.so_far(1), "c#7:m6 c#8:m7");
    client.send(1, "basic.ack delivery-tag=0 multiple");
    assert_eq!(client.so_far(1), "c#9:m8 c#10:m9 c#11:m10");
    broker.until("q", 1, 3);
}

#[test]
fn no_ack_knows_no_window() {
    let (broker, mut client) = twelve();
    client.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=q consumer-tag=c1 no-ack"]);
    assert_eq!(client.so_far(1), ALL);
    broker.until("q", 0, 0);
    client.publish(1, "", "q", "more");
    assert_eq!(client.so_far(1), "c1#13:more");
}

/// What a channel has fetched takes no room of its consumers'.
#[test]
fn fetching_knows_no_window() {
    let (_broker, mut client) = twelve();
    client.all_ok(1, &["basic.qos prefetch-count=1"]);
    assert!(client.call(1, "basic.get queue=q").ends_with("message-count=11 | m0"));
    assert!(client.call(1, "basic.get queue=q").ends_with("message-count=10 | m1"));
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    assert_eq!(client.so_far(1), "c#3:m2");
    client.send(1, "basic.ack delivery-tag=1");
    assert_eq!(client.so_far(1), "");
}

#[test]
fn consumers_with_a_full_window_are_passed_over() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(1, &["queue.declare queue=q", "basic.qos prefetch-count=1"]);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=one"]);
    load(&broker, "q", 1);
    client.all_ok(2, &["basic.qos prefetch-count=10", "basic.consume queue=q consumer-tag=two"]);
    load(&broker, "q", 3);
    assert_eq!(client.so_far(1), "one#1:m0");
    assert_eq!(client.so_far(2), "two#1:m0 two#2:m1 two#3:m2");
    client.send(1, "basic.ack delivery-tag=1");
    client.quiet(1);
    load(&broker, "q", 2);
    // Whose turn it is now is up to the broker; both have room, and neither gets both.
    let (one, two) = (client.so_far(1), client.so_far(2));
    assert_eq!(one.split_whitespace().count() + two.split_whitespace().count(), 2, "{one} / {two}");
    assert_eq!(one.split_whitespace().count(), 1, "{one} / {two}");
}
