//! Consumers: tags, arguments, exclusivity, turns, cancelling.

use crate::common::Broker;
use crate::common::method::method;
use crate::common::table::{double, flag, int, list, long, text, typed, void};
use crate::{Bench, load};

const IN_USE: &str = "channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use (60,20)";

#[test]
fn tags() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(1, &["queue.declare queue=q"]);
    assert_eq!(client.call(1, "basic.consume queue=q consumer-tag=t"), "basic.consume-ok consumer-tag='t'");
    // On another channel it is another tag.
    assert_eq!(client.call(2, "basic.consume queue=q consumer-tag=t"), "basic.consume-ok consumer-tag='t'");
    for (sent, wanted) in [("unheard-of", "unheard-of"), ("", ""), ("t", "t"), ("t", "t")] {
        let cancel = method("basic.cancel").set("consumer-tag", sent);
        assert_eq!(client.call(1, cancel), format!("basic.cancel-ok consumer-tag='{wanted}'"));
    }
    assert_eq!(broker.queue("q").unwrap().consumers, 1);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=t", "basic.cancel consumer-tag=t"]);
    // A tag that is taken is noticed first.
    for queue in ["q", "nope"] {
        let mut client = broker.channel();
        client.all_ok(1, &["basic.consume queue=q consumer-tag=amq.x"]);
        assert_eq!(
            client.call(1, method("basic.consume consumer-tag=amq.x").set("queue", queue)),
            "connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 'amq.x' (60,20)"
        );
    }
}

#[test]
fn arguments() {
    let mut bench = Bench::new(&["queue.declare queue=q"]);
    let ok = "basic.consume-ok consumer-tag='p'";
    let not_integer = |kind: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \
             \"expected integer, got {kind}\" (60,20)"
        )
    };
    let foreign = |key: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - invalid arg '{key}' for queue 'q' in vhost '/' of queue type \
             rabbit_classic_queue (60,20)"
        )
    };
    for (key, value, wanted) in [
        ("x-priority", int(5), ok.to_owned()),
        ("x-priority", int(-5), ok.to_owned()),
        ("x-priority", long(1 << 40), ok.to_owned()),
        ("x-priority", typed(b's', &[0, 3]), ok.to_owned()),
        ("x-priority", text("5"), not_integer("longstr")),
        ("x-priority", double(1.5), not_integer("double")),
        ("x-priority", flag(true), not_integer("bool")),
        ("x-priority", void(), not_integer("void")),
        ("x-priority", typed(b'T', &[0; 8]), not_integer("timestamp")),
        ("x-priority", list(&[int(1)]), not_integer("array")),
        ("x-consumer-timeout", int(1000), foreign("x-consumer-timeout")),
        ("x-stream-offset", text("first"), foreign("x-stream-offset")),
        ("x-cancel-on-ha-failover", text("x"), ok.to_owned()),
        ("x-foo", int(1), ok.to_owned()),
    ] {
        bench.case(method("basic.consume queue=q consumer-tag=p").args(&[(key, value)]), &wanted);
    }
    let missing = "channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (60,20)";
    bench.case(method("basic.consume queue=nope").args(&[("x-priority", text("5"))]), missing);
}

#[test]
fn exclusive_consumers() {
    let mut bench = Bench::new(&["queue.declare queue=q", "basic.consume queue=q consumer-tag=one"]);
    bench.case("basic.consume queue=q exclusive", IN_USE);
    bench
        .client
        .all_ok(1, &["basic.cancel consumer-tag=one", "basic.consume queue=q consumer-tag=alone exclusive"]);
    bench.cases(&[
        ("basic.consume queue=q", IN_USE),
        ("basic.consume queue=q exclusive", IN_USE),
        ("basic.get queue=q", "basic.get-empty"),
        ("queue.purge queue=q", "queue.purge-ok message-count=0"),
        ("queue.declare queue=q", "queue.declare-ok queue='q' message-count=0 consumer-count=1"),
        (
            "queue.delete queue=q if-unused",
            "channel.close 406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use (50,40)",
        ),
    ]);
    assert_eq!(bench.broker.channel().call(1, "basic.consume queue=q"), IN_USE);
    bench.client.all_ok(1, &["basic.cancel consumer-tag=alone", "basic.consume queue=q consumer-tag=free"]);
}

#[test]
fn no_local_is_ignored() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=c no-local no-ack"]);
    client.publish(1, "", "q", "own");
    assert_eq!(client.next(1).short(), "c#1:own");
}

#[test]
fn a_cancelled_consumer_gets_nothing_more() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=c"]);
    client.publish(1, "", "q", "m0");
    assert_eq!(client.next(1).short(), "c#1:m0");
    client.all_ok(1, &["basic.cancel consumer-tag=c"]);
    client.publish(1, "", "q", "m1");
    client.quiet(1);
    // What it had is still unacknowledged, and comes back with the channel's end.
    client.send(1, "basic.cancel consumer-tag=c no-wait");
    client.quiet(1);
    assert_eq!(client.get_all(1, "q", ""), "m1#2(left 0)");
    client.all_ok(1, &["channel.close"]);
    client.open_channel(1);
    assert_eq!(client.get_all(1, "q", ""), "m0R#1(left 1) m1R#2(left 0)");
}

#[test]
fn consuming_without_waiting_for_the_answer() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    client.publish(1, "", "q", "m");
    client.send(1, "basic.consume queue=q no-wait");
    let event = client.next(1);
    assert!(event.get("consumer-tag").starts_with("amq.ctag-"), "{event}");
    // The answer comes before the first message.
    client.all_ok(1, &["basic.cancel", "queue.declare queue=r"]);
    client.publish(1, "", "r", "m");
    assert_eq!(client.call(1, "basic.consume queue=r consumer-tag=c"), "basic.consume-ok consumer-tag='c'");
    assert_eq!(client.next(1).short(), "c#2:m");
}

/// Consumers on channels of their own, with these prefetch counts, and what each gets of nine messages.
fn turns(counts: [u16; 3], ready_first: bool) -> [String; 3] {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.open_channel(9);
    client.all_ok(9, &["queue.declare queue=q"]);
    if ready_first {
        load(&broker, "q", 9);
    }
    for (number, count) in (1..).zip(counts) {
        client.open_channel(number);
        client.all_ok(number, &[&format!("basic.qos prefetch-count={count}")]);
        client.all_ok(number, &[&format!("basic.consume queue=q consumer-tag=c{number}")]);
    }
    if !ready_first {
        load(&broker, "q", 9);
    }
    [1, 2, 3].map(|number| client.so_far(number))
}

#[test]
fn consumers_take_turns() {
    for (counts, wanted) in [
        ([0, 0, 0], ["c1#1:m0 c1#2:m3 c1#3:m6", "c2#1:m1 c2#2:m4 c2#3:m7", "c3#1:m2 c3#2:m5 c3#3:m8"]),
        ([1, 1, 1], ["c1#1:m0", "c2#1:m1", "c3#1:m2"]),
        ([1, 2, 3], ["c1#1:m0", "c2#1:m1 c2#2:m3", "c3#1:m2 c3#2:m4 c3#3:m5"]),
        ([3, 1, 0], ["c1#1:m0 c1#2:m3 c1#3:m5", "c2#1:m1", "c3#1:m2 c3#2:m4 c3#3:m6 c3#4:m7 c3#5:m8"]),
        ([10, 10, 10], ["c1#1:m0 c1#2:m3 c1#3:m6", "c2#1:m1 c2#2:m4 c2#3:m7", "c3#1:m2 c3#2:m5 c3#3:m8"]),
    ] {
        assert_eq!(turns(counts, false), wanted, "{counts:?}");
    }
    for (counts, wanted) in [
        ([1, 1, 1], ["c1#1:m0", "c2#1:m1", "c3#1:m2"]),
        ([1, 2, 3], ["c1#1:m0", "c2#1:m1 c2#2:m2", "c3#1:m3 c3#2:m4 c3#3:m5"]),
        ([2, 0, 2], ["c1#1:m0 c1#2:m1", "c2#1:m2 c2#2:m3 c2#3:m4 c2#4:m5 c2#5:m6 c2#6:m7 c2#7:m8", ""]),
    ] {
        assert_eq!(turns(counts, true), wanted, "{counts:?}, ready first");
    }
}

#[test]
fn whoever_acknowledges_gets_the_next() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.open_channel(9);
    client.all_ok(9, &["queue.declare queue=q"]);
    load(&broker, "q", 9);
    for number in 1..=3 {
        client.open_channel(number);
        client.all_ok(number, &["basic.qos prefetch-count=1"]);
        client.all_ok(number, &[&format!("basic.consume queue=q consumer-tag=c{number}")]);
        assert_eq!(client.next(number).short(), format!("c{number}#1:m{}", number - 1));
    }
    for (number, wanted) in [(2, "c2#2:m3"), (1, "c1#2:m4"), (3, "c3#2:m5")] {
        client.send(number, "basic.ack delivery-tag=1");
        assert_eq!(client.next(number).short(), wanted);
    }
    // One that is cancelled leaves its turn to the others.
    client.all_ok(2, &["basic.cancel consumer-tag=c2"]);
    client.send(2, "basic.ack delivery-tag=2");
    client.quiet(2);
    client.send(3, "basic.ack delivery-tag=2");
    assert_eq!(client.next(3).short(), "c3#3:m6");
    assert_eq!(client.so_far(1), "");
}

#[test]
fn consumers_of_two_queues_do_not_disturb_each_other() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=one", "queue.declare queue=two", "basic.qos prefetch-count=1"]);
    client.all_ok(1, &["basic.consume queue=one consumer-tag=a", "basic.consume queue=two consumer-tag=b"]);
    for body in ["x", "y"] {
        client.publish(1, "", "one", body);
        client.publish(1, "", "two", body);
    }
    assert_eq!(client.so_far(1), "a#1:x b#2:x");
    client.send(1, "basic.ack delivery-tag=2");
    assert_eq!(client.so_far(1), "b#3:y");
    client.send(1, "basic.ack delivery-tag=3 multiple");
    assert_eq!(client.so_far(1), "a#4:y");
}
