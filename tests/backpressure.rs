//! Clients that do not read: what is kept for them is bounded, others go on, and nothing is lost, doubled or mixed up
//! once they read again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::Broker;
use common::client::{BODY, Client, HEARTBEAT, PLAIN, PROTOCOL_HEADER, frame, start_ok};
use common::method::method;

/// 32 MiB in messages of 16 KiB.
const COUNT: usize = 2048;
const SIZE: usize = 16 << 10;
/// What may be on its way to one connection: the broker's share is one or two MiB, the rest is what the system's
/// sockets hold.
const ON_THE_WAY: usize = (16 << 20) / SIZE;

fn body(number: usize) -> Vec<u8> {
    let mut body = vec![number as u8; SIZE];
    body[..8].copy_from_slice(&(number as u64).to_be_bytes());
    body
}

/// The number of a body, which has to be whole.
fn number(found: &[u8]) -> usize {
    let number = u64::from_be_bytes(found[..8].try_into().unwrap()) as usize;
    assert!(found == body(number), "body {number} is not what it was");
    number
}

fn full_queue() -> Broker {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    for number in 0..COUNT {
        client.publish_with(1, "basic.publish routing-key=q", PLAIN, &body(number));
    }
    client.quiet(1);
    broker
}

/// Others publish and fetch while somebody does not read.
fn others_go_on(broker: &Broker, rounds: usize) {
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=other", "confirm.select"]);
    for round in 0..rounds {
        client.publish(1, "", "other", &round.to_string());
        assert!(client.next(1).text.starts_with("basic.ack "));
        assert_eq!(client.bodies(1, "other"), [round.to_string()]);
    }
    client.close();
}

#[test]
fn a_consumer_that_does_not_read() {
    for no_ack in ["", " no-ack"] {
        let broker = full_queue();
        let mut slow = broker.narrow_channel();
        slow.send(1, &*format!("basic.consume queue=q consumer-tag=c{no_ack}"));
        others_go_on(&broker, 100);
        let ready = broker.queue("q").unwrap().ready;
        assert!(ready >= COUNT - ON_THE_WAY, "only {ready} of {COUNT} are kept back");
        assert_eq!(slow.next(1).text, "basic.consume-ok consumer-tag='c'");
        for wanted in 0..COUNT {
            let event = slow.next(1);
            assert_eq!((number(&event.body), event.tag()), (wanted, wanted as u64 + 1));
        }
        if no_ack.is_empty() {
            broker.until("q", 0, COUNT);
            slow.send(1, "basic.ack delivery-tag=0 multiple");
        }
        broker.until("q", 0, 0);
        slow.quiet(1);
    }
}

/// What a slow consumer has no room for goes to the one beside it, and it takes part again when it reads.
#[test]
fn a_consumer_beside_one_that_does_not_read() {
    let broker = full_queue();
    let (mut slow, mut quick) = (broker.narrow_channel(), broker.channel());
    slow.send(1, "basic.consume queue=q consumer-tag=slow no-ack");
    others_go_on(&broker, 1);
    quick.all_ok(1, &["basic.qos prefetch-count=100", "basic.consume queue=q consumer-tag=quick"]);
    let mut seen = vec![0_u8; COUNT];
    let mut by_quick = 0;
    // The slow one holds a part; all others come to the quick one.
    while broker.queue("q").unwrap().ready > 0 {
        let event = quick.next(1);
        seen[number(&event.body)] += 1;
        by_quick += 1;
        quick.send(1, method(&format!("basic.ack delivery-tag={}", event.tag())));
    }
    assert!(by_quick >= COUNT - ON_THE_WAY - 100, "{by_quick}");
    quick.finish(&mut seen);
    assert_eq!(slow.next(1).text, "basic.consume-ok consumer-tag='slow'");
    let mut last = None;
    while let Some(missing) = seen.iter().position(|times| *times == 0) {
        let found = number(&slow.next(1).body);
        assert!(last < Some(found), "{found} after {last:?} (and {missing} is missing)");
        last = Some(found);
        seen[found] += 1;
    }
    assert!(seen.iter().all(|times| *times == 1), "something came twice");
    broker.channel().publish(1, "", "q", "to the one or the other");
    broker.until("q", 0, 0);
}

/// The end of a connection that does not read brings back what it has not acknowledged.
#[test]
fn a_consumer_that_never_reads() {
    let broker = full_queue();
    let mut slow = broker.narrow_channel();
    slow.send(1, "basic.consume queue=q consumer-tag=c");
    others_go_on(&broker, 1);
    assert!(broker.queue("q").unwrap().unacked > 0);
    slow.drop_it();
    broker.until("q", COUNT, 0);
    let mut client = broker.channel();
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c no-ack"]);
    for wanted in 0..COUNT {
        assert_eq!(number(&client.next(1).body), wanted);
    }
}

/// Requests are not read while their answers are not.
#[test]
fn somebody_who_fetches_and_does_not_read() {
    let broker = full_queue();
    let mut slow = broker.narrow_channel();
    let get = common::client::frame(1, 1, &method("basic.get queue=q no-ack").payload());
    slow.send_bytes(&get.repeat(COUNT));
    others_go_on(&broker, 100);
    let ready = broker.queue("q").unwrap().ready;
    assert!(ready >= COUNT - ON_THE_WAY, "only {ready} of {COUNT} are kept back");
    for wanted in 0..COUNT {
        assert_eq!(number(&slow.next(1).body), wanted);
    }
    slow.quiet(1);
}

#[test]
fn a_publisher_that_does_not_read_its_returns() {
    let broker = Broker::start();
    let slow = broker.narrow_channel();
    let (mut reader, mut writer) = slow.halves();
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                writer.publish_with(1, "basic.publish routing-key=nobody mandatory", PLAIN, &body(number));
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Until nothing more is taken.
        let mut before = 0;
        while sent.load(Ordering::Relaxed) != before || before == 0 {
            before = sent.load(Ordering::Relaxed);
            others_go_on(&broker, 50);
        }
        assert!(before <= ON_THE_WAY * 3 / 2, "{before} of {COUNT} were taken");
        for wanted in 0..COUNT {
            let event = reader.next(1);
            assert!(event.text.starts_with("basic.return reply-code=312 "), "{event}");
            assert_eq!(number(&event.body), wanted);
        }
    });
}

impl Client {
    /// Reads what was delivered already, until nothing is on its way, and counts it.
    fn finish(&mut self, seen: &mut [u8]) {
        self.send(1, "basic.cancel consumer-tag=quick");
        loop {
            let event = self.next(1);
            if event.text.starts_with("basic.cancel-ok ") {
                break;
            }
            seen[number(&event.body)] += 1;
        }
        self.send(1, "basic.ack delivery-tag=0 multiple");
        self.quiet(1);
    }
}

/// While much waits to be written the broker does not read, heartbeats included: that somebody takes it is the sign of
/// life then.
#[test]
fn a_slow_reader_is_not_a_silent_one() {
    let broker = Broker::start();
    let mut publisher = broker.channel();
    publisher.all_ok(1, &["queue.declare queue=q"]);
    publisher.publish_with(1, "basic.publish routing-key=q", PLAIN, &vec![7; 16 << 20]);
    broker.until("q", 1, 0);
    let mut client = Client::on(broker.narrow_socket());
    client.send_bytes(PROTOCOL_HEADER);
    assert!(client.next(0).text.starts_with("connection.start"));
    client.call(0, start_ok("guest", "guest"));
    client.send(0, "connection.tune-ok channel-max=2047 frame-max=131072 heartbeat=1");
    client.all_ok(0, &["connection.open virtual-host=/"]);
    client.open_channel(1);
    client.send(1, "basic.get queue=q no-ack");
    let begin = Instant::now();
    let mut missing = 16 << 20;
    while missing > 0 {
        let found = client.read_frame().expect("the connection lives");
        missing -= if found.kind == BODY { found.payload.len() } else { 0 };
        if begin.elapsed() < Duration::from_secs(5) {
            client.send_bytes(&frame(HEARTBEAT, 0, b""));
            std::thread::sleep(Duration::from_millis(60));
        }
    }
    client.quiet(1);
}
