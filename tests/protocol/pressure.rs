//! Publishers that are held up while others go on.

use crate::common::client::Client;
use crate::common::{Broker, wait_until};

/// As much as makes the broker look at everything else it has been sent.
fn others_go_on(client: &mut Client) {
    for _ in 0..50 {
        client.quiet(1);
    }
}

#[test]
fn congestion_holds_up_those_who_publish() {
    let broker = Broker::start();
    let (mut publisher, mut consumer) = (broker.channel(), broker.channel());
    consumer.all_ok(1, &["queue.declare queue=q", "queue.declare queue=r"]);
    broker.node.congestion.set(true);
    // One that has not published yet is not known to.
    publisher.all_ok(1, &["confirm.select"]);
    publisher.publish(1, "", "q", "one");
    assert_eq!(publisher.next(1).text, "basic.ack delivery-tag=1");
    publisher.publish(1, "", "q", "two");
    publisher.send(1, "channel.flow active");
    consumer.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=q consumer-tag=c"]);
    let first = consumer.next(1);
    assert_eq!(first.short(), "c#1:one");
    consumer.send(1, "basic.ack delivery-tag=1");
    others_go_on(&mut consumer);
    assert_eq!(consumer.so_far(1), "");
    broker.node.congestion.set(false);
    assert_eq!(consumer.next(1).short(), "c#2:two");
    assert_eq!(publisher.next(1).text, "basic.ack delivery-tag=2");
    assert_eq!(publisher.next(1).text, "channel.flow-ok active");
}

#[test]
fn one_that_is_held_up_can_be_closed() {
    let broker = Broker::start();
    let mut publisher = broker.channel();
    broker.node.congestion.set(true);
    publisher.all_ok(1, &["queue.declare queue=q"]);
    publisher.publish(1, "", "q", "one");
    broker.until("q", 1, 0);
    publisher.publish(1, "", "q", "two");
    broker.node.connections.all()[0].close(leveret::wire::reply::Exception::internal_error("enough"));
    // The answer is read although publishers wait, and what comes before it is not taken.
    assert_eq!(publisher.until_end(), "connection.close 541 INTERNAL_ERROR - enough (0,0)");
    wait_until(|| broker.node.connections.all().is_empty(), || "it is still there".to_owned());
    assert_eq!(broker.queue("q").unwrap().ready, 1);
}
