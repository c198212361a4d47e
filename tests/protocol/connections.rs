//! Connections as a whole: heartbeats, and ends that the broker decides on.

use std::time::{Duration, Instant};

use crate::common::client::{Client, HEARTBEAT, frame, start_ok};
use crate::common::{Broker, wait_until};

/// A connection that agreed on a heartbeat each second.
fn beating(broker: &Broker) -> Client {
    let mut client = Client::begun(broker.address);
    client.call(0, start_ok("guest", "guest"));
    client.send(0, "connection.tune-ok channel-max=2047 frame-max=131072 heartbeat=1");
    client.all_ok(0, &["connection.open virtual-host=/"]);
    client.open_channel(1);
    client
}

#[test]
fn heartbeats_come_and_the_silent_are_dropped() {
    let broker = Broker::start();
    let (mut silent, mut alive) = (beating(&broker), beating(&broker));
    silent.all_ok(1, &["queue.declare queue=q exclusive"]);
    let begin = Instant::now();
    // Each reads a heartbeat about twice a second; only one of them answers.
    let mut beats = 0;
    while broker.queue("q").is_some() {
        assert_eq!(alive.next(0).text, "heartbeat");
        alive.send_bytes(&frame(HEARTBEAT, 0, b""));
        beats += 1;
        assert!(beats < 40, "the silent connection lives on");
    }
    assert!(begin.elapsed() > Duration::from_secs(2), "it was dropped too early");
    let found = silent.until_end();
    assert!(found.starts_with("heartbeat ; heartbeat"), "{found}");
    alive.quiet(1);
}

#[test]
fn the_end_of_the_node() {
    let broker = Broker::start();
    let (mut client, mut idle) = (broker.channel(), broker.connect());
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q"]);
    broker.node.shut_down();
    let text = "connection.close 320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' (0,0)";
    assert_eq!(client.until_end(), text);
    assert_eq!(idle.until_end(), text);
    wait_until(|| broker.node.connections.all().is_empty(), || "connections are left".to_owned());
}

#[test]
fn a_vhost_or_user_that_goes() {
    let broker = Broker::start();
    broker.add_user("somebody", (".*", ".*", ".*"));
    let mut somebody = Client::user(broker.address, "somebody");
    let mut guest = broker.channel();
    assert!(broker.node.remove_user("somebody") && !broker.node.remove_user("somebody"));
    assert_eq!(
        somebody.until_end(),
        "connection.close 320 CONNECTION_FORCED - user 'somebody' is deleted (0,0)"
    );
    guest.quiet(1);
    assert!(broker.node.remove_vhost("/"));
    let wanted = "connection.close 320 CONNECTION_FORCED - vhost '/' is deleted (0,0)";
    assert_eq!(guest.until_end(), wanted);
}

#[test]
fn connections_are_known_while_they_last() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    let all = broker.node.connections.all();
    let [info] = &all[..] else { panic!("{} connections", all.len()) };
    assert_eq!((&*info.user, &*info.vhost, &*info.mechanism), ("guest", "/", "PLAIN"));
    assert_eq!((info.frame_max, info.channel_max, info.heartbeat), (131_072, 2047, 0));
    assert_eq!(info.name, format!("{} -> {}", info.ends.peer, broker.address).into());
    wait_until(|| info.channels() == 2, || format!("{} channels", info.channels()));
    client.all_ok(2, &["channel.close"]);
    wait_until(|| info.channels() == 1, || format!("{} channels", info.channels()));
    client.close();
    wait_until(|| broker.node.connections.all().is_empty(), || "still there".to_owned());
}

/// Many connections that come and go leave nothing behind.
#[test]
fn connections_that_come_and_go() {
    let broker = Broker::start();
    let mut publisher = broker.channel();
    publisher.all_ok(1, &["queue.declare queue=q"]);
    (0..80).for_each(|_| publisher.publish(1, "", "q", "m"));
    broker.until("q", 80, 0);
    publisher.close();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..10 {
                    let mut client = broker.channel();
                    client.all_ok(1, &["queue.declare exclusive", "basic.consume queue=q consumer-tag=c"]);
                    if round % 2 == 0 { client.drop_it() } else { client.close() }
                }
            });
        }
    });
    wait_until(|| broker.node.connections.all().is_empty(), || "connections are left".to_owned());
    let vhost = broker.node.vhost("/").unwrap();
    let left = vhost.with(|vhost, _| (vhost.queues().count(), vhost.consumer_count()));
    assert_eq!(left, (1, 0));
    let counts = broker.queue("q").unwrap();
    assert_eq!((counts.unacked, counts.consumers), (0, 0));
    // Nobody acknowledged: each message is there.
    assert_eq!(counts.ready, 80);
}
