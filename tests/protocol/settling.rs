//! What clients say of their deliveries, and the order in which messages come back.

use crate::common::client::Client;
use crate::common::{Broker, Counts};
use crate::{Bench, load};

const UNKNOWN: &str = "channel.close 406 PRECONDITION_FAILED - unknown delivery tag";

/// A queue that had five messages, of which a channel has fetched three.
fn three_of_five() -> (Broker, Client) {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    load(&broker, "q", 5);
    for (number, left) in [(0, 4), (1, 3), (2, 2)] {
        client.send(1, "basic.get queue=q");
        assert_eq!(client.next(1).short(), format!("m{number}#{}(left {left})", number + 1));
    }
    (broker, client)
}

#[test]
fn tags_that_are_unknown() {
    let mut bench = Bench::new(&[]);
    for (text, tag, id) in [
        ("basic.ack delivery-tag=5", "5", "(60,80)"),
        ("basic.ack delivery-tag=5 multiple", "5", "(60,80)"),
        ("basic.nack delivery-tag=5", "5", "(60,120)"),
        ("basic.nack delivery-tag=5 multiple requeue", "5", "(60,120)"),
        ("basic.reject delivery-tag=5", "5", "(60,90)"),
        ("basic.ack delivery-tag=0", "0", "(60,80)"),
        ("basic.nack delivery-tag=0", "0", "(60,120)"),
        ("basic.reject delivery-tag=0", "0", "(60,90)"),
        ("basic.ack delivery-tag=18446744073709551615", "18446744073709551615", "(60,80)"),
        ("basic.ack delivery-tag=18446744073709551615 multiple", "18446744073709551615", "(60,80)"),
    ] {
        bench.case(text, &format!("{UNKNOWN} {tag} {id}"));
    }
    for text in ["basic.ack delivery-tag=0 multiple", "basic.nack delivery-tag=0 multiple requeue"] {
        bench.client.send(1, text);
        bench.client.quiet(1);
    }
}

/// What is sent in turn when three are unacknowledged, and the tag that is refused in the end.
#[test]
fn tags_that_are_known_no_more() {
    for (sent, tag) in [
        (&["basic.ack delivery-tag=1", "basic.ack delivery-tag=1"][..], 1),
        (&["basic.reject delivery-tag=1", "basic.ack delivery-tag=1"], 1),
        (&["basic.nack delivery-tag=2 requeue", "basic.ack delivery-tag=2"], 2),
        (&["basic.ack delivery-tag=2", "basic.ack delivery-tag=2 multiple"], 2),
        (&["basic.ack delivery-tag=1", "basic.ack delivery-tag=1 multiple"], 1),
        (&["basic.ack delivery-tag=2 multiple", "basic.ack delivery-tag=1 multiple"], 1),
        (&["basic.ack delivery-tag=7 multiple"], 7),
        (&["basic.ack delivery-tag=4"], 4),
        (&["basic.ack delivery-tag=0"], 0),
    ] {
        let (broker, mut client) = three_of_five();
        for text in sent {
            client.send(1, *text);
        }
        assert_eq!(client.next(1).to_string(), format!("{UNKNOWN} {tag} (60,80)"), "{sent:?}");
        // What was not settled is there again.
        let settled = sent.len() - 1 + usize::from(sent[0] == "basic.ack delivery-tag=2 multiple");
        let back = usize::from(sent[0].ends_with("requeue"));
        broker.until("q", 5 - settled + back, 0);
    }
}

#[test]
fn a_tag_belongs_to_its_channel() {
    let (_broker, mut client) = three_of_five();
    client.open_channel(2);
    client.send(2, "basic.ack delivery-tag=1");
    assert_eq!(client.next(2).to_string(), format!("{UNKNOWN} 1 (60,80)"));
    client.send(1, "basic.ack delivery-tag=1");
    client.quiet(1);
    // What needs no acknowledgement has a tag, but it is not one to acknowledge.
    assert!(client.call(1, "basic.get queue=q no-ack").contains(" delivery-tag=4 "));
    client.send(1, "basic.ack delivery-tag=4");
    assert_eq!(client.next(1).to_string(), format!("{UNKNOWN} 4 (60,80)"));
}

#[test]
fn what_is_acknowledged_or_rejected_is_gone() {
    let (broker, mut client) = three_of_five();
    client.send(1, "basic.ack delivery-tag=1");
    client.send(1, "basic.reject delivery-tag=2");
    client.send(1, "basic.nack delivery-tag=3");
    client.quiet(1);
    assert_eq!(broker.queue("q"), Some(Counts { ready: 2, unacked: 0, consumers: 0 }));
    client.all_ok(1, &["channel.close"]);
    client.open_channel(1);
    assert_eq!(client.get_all(1, "q", ""), "m3#1(left 1) m4#2(left 0)");
}

/// Messages come back at the place they had.
#[test]
fn the_order_of_what_comes_back() {
    for (sent, wanted) in [
        (&["basic.reject delivery-tag=2 requeue"][..], "m1R#4(left 2) m3#5(left 1) m4#6(left 0)"),
        (
            &["basic.nack delivery-tag=3 requeue", "basic.nack delivery-tag=1 requeue"],
            "m0R#4(left 3) m2R#5(left 2) m3#6(left 1) m4#7(left 0)",
        ),
        (
            &[
                "basic.nack delivery-tag=1 requeue",
                "basic.nack delivery-tag=2 requeue",
                "basic.nack delivery-tag=3 requeue",
            ],
            "m0R#4(left 4) m1R#5(left 3) m2R#6(left 2) m3#7(left 1) m4#8(left 0)",
        ),
        (
            &["basic.nack delivery-tag=3 multiple requeue"],
            "m0R#4(left 4) m1R#5(left 3) m2R#6(left 2) m3#7(left 1) m4#8(left 0)",
        ),
        (
            &["basic.nack delivery-tag=2 multiple requeue"],
            "m0R#4(left 3) m1R#5(left 2) m3#6(left 1) m4#7(left 0)",
        ),
        (
            &["basic.nack delivery-tag=0 multiple requeue"],
            "m0R#4(left 4) m1R#5(left 3) m2R#6(left 2) m3#7(left 1) m4#8(left 0)",
        ),
        (
            &["basic.ack delivery-tag=2", "basic.nack delivery-tag=0 multiple requeue"],
            "m0R#4(left 3) m2R#5(left 2) m3#6(left 1) m4#7(left 0)",
        ),
        (
            &["basic.recover-async requeue"],
            "m0R#4(left 4) m1R#5(left 3) m2R#6(left 2) m3#7(left 1) m4#8(left 0)",
        ),
    ] {
        let (_broker, mut client) = three_of_five();
        for text in sent {
            client.send(1, *text);
        }
        assert_eq!(client.get_all(1, "q", ""), wanted, "{sent:?}");
    }
}

#[test]
fn what_comes_back_is_before_what_came_later() {
    let (broker, mut client) = three_of_five();
    client.publish(1, "", "q", "new");
    client.send(1, "basic.nack delivery-tag=2 requeue");
    assert_eq!(client.get_all(1, "q", ""), "m1R#4(left 3) m3#5(left 2) m4#6(left 1) new#7(left 0)");
    // Redelivered once more.
    client.send(1, "basic.reject delivery-tag=4 requeue");
    assert_eq!(client.get_all(1, "q", ""), "m1R#8(left 0)");
    broker.until("q", 0, 6);
}

#[test]
fn the_end_of_a_channel_or_connection_brings_everything_back() {
    let wanted = "m0R#1(left 4) m1R#2(left 3) m2R#3(left 2) m3#4(left 1) m4#5(left 0)";
    let (broker, mut client) = three_of_five();
    client.all_ok(1, &["channel.close"]);
    client.open_channel(1);
    assert_eq!(client.get_all(1, "q", ""), wanted);
    client.drop_it();
    broker.until("q", 5, 0);
    let mut client = broker.channel();
    let again = "m0R#1(left 4) m1R#2(left 3) m2R#3(left 2) m3R#4(left 1) m4R#5(left 0)";
    assert_eq!(client.get_all(1, "q", ""), again);
    client.close();
    broker.until("q", 5, 0);
    // An error on the channel is an end as well.
    let (_broker, mut client) = three_of_five();
    client.send(1, "basic.ack delivery-tag=77");
    assert!(client.next(1).text.starts_with("channel.close 406"));
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    assert_eq!(client.get_all(1, "q", ""), wanted);
}

#[test]
fn what_a_consumer_gives_back_may_come_to_it_again() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "basic.qos prefetch-count=2"]);
    load(&broker, "q", 5);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    assert_eq!(client.so_far(1), "c#1:m0 c#2:m1");
    client.send(1, "basic.reject delivery-tag=1 requeue");
    assert_eq!(client.so_far(1), "c#3:m0R");
    client.send(1, "basic.nack delivery-tag=2 requeue");
    assert_eq!(client.so_far(1), "c#4:m1R");
    // Two consumers with a message each: the other one has no room for what the first gives back.
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(1, &["queue.declare queue=r", "basic.qos prefetch-count=1"]);
    client.all_ok(2, &["basic.qos prefetch-count=1"]);
    load(&broker, "r", 3);
    client.all_ok(1, &["basic.consume queue=r consumer-tag=c1"]);
    client.all_ok(2, &["basic.consume queue=r consumer-tag=c2"]);
    client.send(1, "basic.nack delivery-tag=1 requeue");
    assert_eq!(client.so_far(1), "c1#1:m0 c1#2:m0R");
    assert_eq!(client.so_far(2), "c2#1:m1");
}

#[test]
fn the_end_of_one_consumer_feeds_the_others() {
    let broker = Broker::start();
    let (mut one, mut two) = (broker.channel(), broker.channel());
    one.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=one"]);
    load(&broker, "q", 3);
    assert_eq!(one.so_far(1), "one#1:m0 one#2:m1 one#3:m2");
    two.all_ok(1, &["basic.consume queue=q consumer-tag=two"]);
    one.drop_it();
    for wanted in ["two#1:m0R", "two#2:m1R", "two#3:m2R"] {
        assert_eq!(two.next(1).short(), wanted);
    }
}

#[test]
fn recover() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(1, &["queue.declare queue=q", "basic.qos prefetch-count=3"]);
    load(&broker, "q", 6);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    assert_eq!(client.so_far(1), "c#1:m0 c#2:m1 c#3:m2");
    // Another channel's messages are its own.
    client.send(2, "basic.get queue=q");
    assert_eq!(client.next(2).short(), "m3#1(left 2)");
    assert_eq!(client.call(1, "basic.recover requeue"), "basic.recover-ok");
    assert_eq!(client.so_far(1), "c#4:m0R c#5:m1R c#6:m2R");
    client.send(1, "basic.recover-async requeue");
    assert_eq!(client.so_far(1), "c#7:m0R c#8:m1R c#9:m2R");
    client.send(2, "basic.ack delivery-tag=1");
    client.quiet(2);
    client.send(1, "basic.ack delivery-tag=1");
    assert_eq!(client.next(1).to_string(), format!("{UNKNOWN} 1 (60,80)"));
}

#[test]
fn recover_over_two_queues() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=one", "queue.declare queue=two"]);
    load(&broker, "one", 2);
    load(&broker, "two", 2);
    for queue in ["one", "two", "one", "two"] {
        client.send(1, &*format!("basic.get queue={queue}"));
        client.next(1);
    }
    assert_eq!(client.call(1, "basic.recover requeue"), "basic.recover-ok");
    assert_eq!(client.get_all(1, "one", ""), "m0R#5(left 1) m1R#6(left 0)");
    assert_eq!(client.get_all(1, "two", ""), "m0R#7(left 1) m1R#8(left 0)");
}

/// Many messages settled in a strange order: nothing is lost and nothing comes twice.
#[test]
fn many_settled_here_and_there() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=c"]);
    load(&broker, "q", 1000);
    assert_eq!(client.so_far(1).split(' ').count(), 1000);
    for tag in (1..=1000_u32).rev().filter(|tag| tag % 3 != 0) {
        client.send(1, &*format!("basic.ack delivery-tag={tag}"));
    }
    client.all_ok(1, &["basic.cancel consumer-tag=c"]);
    client.all_ok(1, &["channel.close"]);
    client.open_channel(1);
    let wanted: Vec<String> =
        (1..=1000).filter(|tag| tag % 3 == 0).map(|tag| format!("m{}", tag - 1)).collect();
    assert_eq!(client.bodies(1, "q"), wanted);
    assert_eq!(broker.queue("q"), Some(Counts { ready: 0, unacked: 0, consumers: 0 }));
}
