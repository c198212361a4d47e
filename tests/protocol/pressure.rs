//! Publishers that are held up while others go on: by congestion, and by alarms as RabbitMQ's are.

use leveret::node::alarms::Alarm;

use crate::common::client::{BODY, Client, FRAME_MAX, HEADER, METHOD, PLAIN, frame, header, start_ok};
use crate::common::method::{Method, method};
use crate::common::table::table;
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

fn publish(key: &str) -> Method {
    method("basic.publish").set("routing-key", key)
}

#[test]
fn an_alarm_blocks_those_who_publish_at_their_next_message() {
    let broker = Broker::start();
    let (mut publisher, mut consumer) = (broker.channel(), broker.channel());
    publisher.all_ok(1, &["queue.declare queue=q", "queue.declare queue=r", "confirm.select"]);
    publisher.publish(1, "", "q", "one");
    assert_eq!(publisher.next(1).text, "basic.ack delivery-tag=1");
    broker.node.alarms.raise(Alarm::Disk);
    // Having published before is no reason yet.
    publisher.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=r consumer-tag=p"]);
    // All in one write: what comes before the message is answered, the message and what follows it are not.
    let mut sent = frame(METHOD, 1, &method("channel.flow active").payload());
    sent.extend(frame(METHOD, 1, &publish("q").payload()));
    sent.extend(frame(HEADER, 1, &header(3, PLAIN)));
    sent.extend(frame(BODY, 1, b"two"));
    sent.extend(frame(METHOD, 1, &method("queue.declare queue=q passive").payload()));
    publisher.send_bytes(&sent);
    assert_eq!(publisher.next(0).text, "connection.blocked reason='low on disk'");
    assert_eq!(publisher.next(1).text, "channel.flow-ok active");
    assert_eq!(consumer.get_all(1, "q", ""), "one#1(left 0)");
    others_go_on(&mut consumer);
    assert_eq!(consumer.get_all(1, "q", ""), "");
    // A second alarm, and the end of the first, change nothing for one who is blocked.
    broker.node.alarms.raise(Alarm::Memory);
    broker.node.alarms.clear(Alarm::Disk);
    consumer.send(1, "basic.nack delivery-tag=1 requeue");
    broker.until("q", 1, 0);
    broker.node.alarms.clear(Alarm::Memory);
    assert_eq!(publisher.next(0).text, "connection.unblocked");
    assert_eq!(publisher.next(1).text, "basic.ack delivery-tag=2");
    assert_eq!(publisher.next(1).text, "queue.declare-ok queue='q' message-count=2 consumer-count=0");
    assert_eq!(consumer.so_far(1), "", "it has never published");
    publisher.close();
}

#[test]
fn the_reason_names_what_is_low_at_that_moment() {
    let broker = Broker::start();
    broker.channel().all_ok(1, &["queue.declare queue=q"]);
    let mut blocked = Vec::new();
    let alarms = &broker.node.alarms;
    let cases: [(&str, &dyn Fn()); 3] = [
        ("low on memory", &|| assert!(alarms.raise(Alarm::Memory))),
        ("low on disk & memory", &|| assert!(alarms.raise(Alarm::Disk))),
        ("low on disk", &|| assert!(alarms.clear(Alarm::Memory))),
    ];
    for (wanted, change) in cases {
        change();
        let mut client = broker.channel();
        client.publish(1, "", "q", wanted);
        assert_eq!(client.next(0).text, format!("connection.blocked reason='{wanted}'"));
        blocked.push(client);
    }
    alarms.clear(Alarm::Disk);
    for mut client in blocked {
        assert_eq!(client.next(0).text, "connection.unblocked");
        // Quiet again, and blocked anew by the next alarm.
        client.quiet(1);
        alarms.raise(Alarm::Disk);
        client.publish(1, "", "q", "again");
        assert_eq!(client.next(0).text, "connection.blocked reason='low on disk'");
        alarms.clear(Alarm::Disk);
        assert_eq!(client.next(0).text, "connection.unblocked");
        client.quiet(1);
    }
    broker.until("q", 6, 0);
}

/// What a client did not announce it is not told.
#[test]
fn blocked_without_a_word() {
    let broker = Broker::start();
    let silent = start_ok("guest", "guest").set("client-properties", table(&[]));
    let mut client = Client::open_as(broker.address, "guest", &silent, FRAME_MAX);
    client.open_channel(1);
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=c no-ack"]);
    broker.node.alarms.raise(Alarm::Disk);
    client.publish(1, "", "q", "m");
    client.send(1, "channel.flow active");
    let blocked = || broker.node.connections.all()[0].is_blocked();
    wait_until(blocked, || "it is not blocked".to_owned());
    broker.node.alarms.clear(Alarm::Disk);
    assert_eq!(client.next(1).short(), "c#1:m");
    assert_eq!(client.next(1).text, "channel.flow-ok active");
    assert!(!blocked());
}

#[test]
fn a_message_that_has_begun_is_taken() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    client.send(1, publish("q"));
    client.send_bytes(&[frame(HEADER, 1, &header(2, PLAIN)), frame(BODY, 1, b"m")].concat());
    client.send(2, "channel.open");
    assert_eq!(client.next(2).text, "channel.open-ok");
    broker.node.alarms.raise(Alarm::Memory);
    client.send_bytes(&frame(BODY, 1, b"m"));
    broker.until("q", 1, 0);
    client.publish(1, "", "q", "next");
    assert_eq!(client.next(0).text, "connection.blocked reason='low on memory'");
    assert_eq!(broker.queue("q").unwrap().ready, 1);
}

#[test]
fn a_blocked_connection_gets_deliveries_and_can_be_closed() {
    let broker = Broker::start();
    let (mut client, mut other) = (broker.channel(), broker.channel());
    other.all_ok(1, &["queue.declare queue=q", "queue.declare queue=r"]);
    other.publish(1, "", "r", "m");
    broker.until("r", 1, 0);
    assert_eq!(other.get_all(1, "r", ""), "m#1(left 0)");
    broker.node.alarms.raise(Alarm::Disk);
    client.all_ok(1, &["basic.consume queue=r consumer-tag=c"]);
    client.publish(1, "", "q", "never");
    assert_eq!(client.next(0).text, "connection.blocked reason='low on disk'");
    other.send(1, "basic.nack delivery-tag=1 requeue");
    assert_eq!(client.next(1).short(), "c#1:mR");
    client.send(1, "basic.ack delivery-tag=1");
    let all = broker.node.connections.all();
    let blocked = all.iter().find(|connection| connection.is_blocked()).unwrap();
    blocked.close(leveret::wire::reply::Exception::internal_error("enough"));
    assert_eq!(client.until_end(), "connection.close 541 INTERNAL_ERROR - enough (0,0)");
    broker.until("r", 1, 0);
    assert_eq!(broker.queue("q").unwrap().ready, 0);
}

/// The disk may be what the alarm is about: that a client is blocked does not wait for it.
#[test]
fn blocked_while_replies_are_held() {
    let broker = Broker::start();
    let vhost = broker.node.vhost("/").unwrap();
    vhost.with(|vhost, _| {
        vhost.commits.turn_on();
        vhost.commits.note_definition();
    });
    let mut client = broker.channel();
    broker.node.alarms.raise(Alarm::Disk);
    client.send(1, "queue.declare queue=q durable");
    client.publish(1, "", "q", "m");
    assert_eq!(client.next(1).text, "connection.blocked reason='low on disk'");
    broker.node.alarms.clear(Alarm::Disk);
    assert_eq!(client.next(1).text, "connection.unblocked");
    broker.until("q", 1, 0);
    vhost.with(|vhost, outboxes| {
        let (commit, _) = vhost.commits.close();
        vhost.commits.announce(commit);
        outboxes.committed(commit);
    });
    assert!(client.next(1).text.starts_with("queue.declare-ok "));
}

/// A limit that is exceeded from the start: publishers are told, and consumers served.
#[test]
fn too_little_memory() {
    let broker = Broker::start();
    let (mut publisher, mut consumer) = (broker.channel(), broker.channel());
    consumer.all_ok(1, &["queue.declare queue=q"]);
    consumer.publish(1, "", "q", "one");
    broker.until("q", 1, 0);
    let watch = leveret::node::memory::watch(std::sync::Arc::clone(&broker.node), 1);
    let watching = broker.spawn(watch);
    wait_until(|| broker.node.alarms.any(), || "there is no alarm".to_owned());
    publisher.publish(1, "", "q", "two");
    assert_eq!(publisher.next(0).text, "connection.blocked reason='low on memory'");
    consumer.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=q consumer-tag=c"]);
    assert_eq!(consumer.next(1).short(), "c#1:one");
    watching.abort();
    assert!(broker.block_on(watching).is_err(), "it has ended");
    broker.node.alarms.clear(Alarm::Memory);
    assert_eq!(publisher.next(0).text, "connection.unblocked");
    broker.until("q", 1, 1);
}
