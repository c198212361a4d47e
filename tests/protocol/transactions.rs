//! Transactions: nothing happens before the commit.

use crate::Bench;
use crate::common::Broker;
use crate::common::client::{Client, PLAIN};
use crate::load;

const FAILED: &str = "PRECONDITION_FAILED";

#[test]
fn modes_exclude_each_other() {
    let to_confirm = format!("channel.close 406 {FAILED} - cannot switch from tx to confirm mode (85,10)");
    let to_tx = format!("channel.close 406 {FAILED} - cannot switch from confirm to tx mode (90,10)");
    let not_tx = |id: &str| format!("channel.close 406 {FAILED} - channel is not transactional {id}");
    let broker = Broker::start();
    for (sent, wanted) in [
        (&["tx.select", "confirm.select"][..], to_confirm.clone()),
        (&["tx.select", "confirm.select no-wait"], to_confirm),
        (&["confirm.select", "tx.select"], to_tx),
        (&["tx.commit"], not_tx("(90,20)")),
        (&["tx.rollback"], not_tx("(90,30)")),
        (&["confirm.select", "tx.commit"], not_tx("(90,20)")),
        (&["confirm.select", "confirm.select"], "confirm.select-ok".to_owned()),
        (&["tx.select", "tx.select"], "tx.select-ok".to_owned()),
        (&["tx.select", "tx.commit", "tx.rollback", "tx.commit"], "tx.commit-ok".to_owned()),
    ] {
        let mut client = broker.channel();
        let (last, before) = sent.split_last().unwrap();
        client.all_ok(1, before);
        assert_eq!(client.call(1, *last), wanted, "{sent:?}");
    }
}

#[test]
fn publishes() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "tx.select"]);
    let ready = || broker.queue("q").unwrap().ready;
    client.publish(1, "", "q", "one");
    client.publish(1, "", "q", "two");
    client.quiet(1);
    assert_eq!(ready(), 0);
    client.all_ok(1, &["tx.commit"]);
    assert_eq!(ready(), 2);
    client.publish(1, "", "q", "three");
    client.all_ok(1, &["tx.rollback", "tx.commit"]);
    assert_eq!(ready(), 2);
    client.publish(1, "", "q", "four");
    client.all_ok(1, &["channel.close"]);
    client.open_channel(1);
    assert_eq!(client.bodies(1, "q"), ["one", "two"]);
}

#[test]
fn returns_come_with_the_commit() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["tx.select"]);
    client.publish_with(1, "basic.publish exchange=amq.direct routing-key=zz mandatory", PLAIN, b"m");
    client.quiet(1);
    assert_eq!(
        client.call(1, "tx.commit"),
        "basic.return reply-code=312 reply-text='NO_ROUTE' exchange='amq.direct' routing-key='zz' | m"
    );
    assert_eq!(client.next(1).to_string(), "tx.commit-ok");
    client.publish_with(1, "basic.publish exchange=amq.direct routing-key=zz mandatory", PLAIN, b"m");
    client.all_ok(1, &["tx.rollback", "tx.commit"]);
}

/// A message's route is that of the moment it came in.
#[test]
fn routes() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "exchange.declare exchange=x type=fanout", "tx.select"]);
    client.publish(1, "x", "k", "too early");
    client.all_ok(1, &["queue.bind queue=q exchange=x", "tx.commit"]);
    assert_eq!(broker.queue("q").unwrap().ready, 0);
    client.publish(1, "x", "k", "in time");
    client.all_ok(1, &["queue.unbind queue=q exchange=x", "exchange.delete exchange=x", "tx.commit"]);
    assert_eq!(client.bodies(1, "q"), ["in time"]);
}

#[test]
fn errors_come_with_the_publish() {
    let mut bench = Bench::new(&["queue.declare queue=q"]);
    let client = &mut bench.client;
    client.all_ok(1, &["tx.select"]);
    client.publish(1, "", "q", "lost with the others");
    client.publish(1, "nope", "q", "m");
    assert_eq!(
        client.next(1).to_string(),
        "channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (60,40)"
    );
    // The commit is on its way and ignored; the channel is no more.
    client.send(1, "tx.commit");
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    assert_eq!(client.call(1, "basic.get queue=q"), "basic.get-empty");
    client.all_ok(1, &["tx.select"]);
    client.publish_with(1, "basic.publish routing-key=q", b"\x01\0\x01a", b"m");
    assert_eq!(
        client.next(1).to_string(),
        "channel.close 406 PRECONDITION_FAILED - invalid expiration 'a': no_integer (60,40)"
    );
}

/// A transactional channel that has fetched three messages of four.
fn three_of_four() -> (Broker, Client) {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "tx.select"]);
    load(&broker, "q", 4);
    for _ in 0..3 {
        client.send(1, "basic.get queue=q");
        client.next(1);
    }
    (broker, client)
}

#[test]
fn acknowledgements() {
    let (broker, mut client) = three_of_four();
    client.send(1, "basic.ack delivery-tag=1");
    client.send(1, "basic.ack delivery-tag=2");
    client.all_ok(1, &["tx.rollback"]);
    // Nobody has them back: they are unacknowledged still.
    assert_eq!(client.get_all(1, "q", ""), "m3#4(left 0)");
    client.send(1, "basic.ack delivery-tag=1");
    client.send(1, "basic.ack delivery-tag=2");
    client.all_ok(1, &["tx.commit"]);
    broker.until("q", 0, 2);
    client.send(1, "basic.ack delivery-tag=1");
    assert_eq!(
        client.next(1).to_string(),
        "channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 (60,80)"
    );
    broker.until("q", 2, 0);
}

#[test]
fn acknowledgements_of_unknown_tags() {
    for sent in [&["basic.ack delivery-tag=9"][..], &["basic.ack delivery-tag=9", "basic.ack delivery-tag=9"]]
    {
        let (broker, mut client) = three_of_four();
        for text in sent {
            client.send(1, *text);
        }
        let wanted = "channel.close 406 PRECONDITION_FAILED - unknown delivery tag 9 (60,80)";
        assert_eq!(client.next(1).to_string(), wanted);
        broker.until("q", 4, 0);
    }
    // Twice in one transaction is unknown as well; what was acknowledged comes back with the channel's end.
    let (broker, mut client) = three_of_four();
    client.send(1, "basic.ack delivery-tag=1");
    client.send(1, "basic.ack delivery-tag=1");
    let wanted = "channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 (60,80)";
    assert_eq!(client.next(1).to_string(), wanted);
    broker.until("q", 4, 0);
}

#[test]
fn rejections() {
    let (_broker, mut client) = three_of_four();
    client.send(1, "basic.nack delivery-tag=1 requeue");
    assert_eq!(client.get_all(1, "q", ""), "m3#4(left 0)");
    client.all_ok(1, &["tx.commit"]);
    assert_eq!(client.get_all(1, "q", ""), "m0R#5(left 0)");
    client.send(1, "basic.reject delivery-tag=2");
    client.all_ok(1, &["tx.commit", "channel.close"]);
    client.open_channel(1);
    assert_eq!(client.get_all(1, "q", ""), "m0R#1(left 2) m2R#2(left 1) m3R#3(left 0)");
}

#[test]
fn the_end_of_the_channel_undoes_what_is_not_committed() {
    let (_broker, mut client) = three_of_four();
    client.send(1, "basic.ack delivery-tag=1");
    client.send(1, "basic.nack delivery-tag=2");
    client.all_ok(1, &["channel.close"]);
    client.open_channel(1);
    assert_eq!(client.get_all(1, "q", ""), "m0R#1(left 3) m1R#2(left 2) m2R#3(left 1) m3#4(left 0)");
}

#[test]
fn a_connection_that_is_lost_undoes_what_is_not_committed() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "tx.select"]);
    broker.channel().publish(1, "", "q", "m");
    broker.until("q", 1, 0);
    assert_eq!(client.get_all(1, "q", ""), "m#1(left 0)");
    client.send(1, "basic.ack delivery-tag=1");
    client.publish(1, "", "q", "never");
    client.quiet(1);
    client.drop_it();
    broker.until("q", 1, 0);
    assert_eq!(broker.channel().get_all(1, "q", ""), "mR#1(left 0)");
}

#[test]
fn a_window_opens_with_the_commit() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "tx.select", "basic.qos prefetch-count=1"]);
    load(&broker, "q", 2);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=t"]);
    assert_eq!(client.next(1).short(), "t#1:m0");
    client.send(1, "basic.ack delivery-tag=1");
    assert_eq!(client.so_far(1), "");
    client.send(1, "tx.commit");
    // In either order.
    let mut got = [client.next(1).short(), client.next(1).short()];
    got.sort();
    assert_eq!(got, ["t#2:m1", "tx.commit-ok"]);
}

#[test]
fn recover_needs_no_commit() {
    let (_broker, mut client) = three_of_four();
    assert_eq!(client.call(1, "basic.recover requeue"), "basic.recover-ok");
    assert_eq!(client.get_all(1, "q", ""), "m0R#4(left 3) m1R#5(left 2) m2R#6(left 1) m3#7(left 0)");
}

#[test]
fn a_queue_that_is_gone_at_the_commit() {
    for queue in ["fg", "fgone"] {
        let broker = Broker::start();
        let mut client = broker.channel();
        client.all_ok(1, &["queue.declare queue=q", &format!("queue.declare queue={queue}"), "tx.select"]);
        load(&broker, "q", 1);
        assert!(client.call(1, "basic.get queue=q").starts_with("basic.get-ok delivery-tag=1 "));
        client.send(1, "basic.ack delivery-tag=1");
        client.publish(1, "", queue, "m");
        // Both have arrived before the queue goes.
        client.all_ok(1, &["basic.qos"]);
        broker.channel().all_ok(1, &[&format!("queue.delete queue={queue}")]);
        client.send(1, "tx.commit");
        let wanted = format!(
            "connection.close 506 RESOURCE_ERROR - failed to deliver message: \
             {{not_found,{{resource,<<\"/\">>,queue,<<\"{queue}\">>}}}} (90,20)"
        );
        assert_eq!(client.next(1).to_string(), wanted);
        // What was acknowledged and not committed is there.
        broker.until("q", 1, 0);
    }
}
