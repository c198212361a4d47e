//! Delayed messages lie on disk like others, and are delivered once, however often the node is started again.

use leveret::broker::delay::index::Entry;

use crate::common::client::Client;
use crate::common::method::method;
use crate::common::table::{headers, long};
use crate::common::wait_until;
use crate::http::Request;
use crate::publisher::body;
use crate::rig::Rig;
use serde_json::json;

const HOUR: i64 = 3_600_000;
const SIZE: usize = 1000;

/// Durable queues `q` and `r` behind a durable delayed exchange `x`.
fn begin(rig: &Rig) -> Client {
    let mut client = rig.client();
    let declare = method("exchange.declare exchange=x type=x-delayed-message durable");
    let routes_as = [("x-delayed-type", crate::common::table::text("fanout"))];
    assert_eq!(client.call(1, declare.args(&routes_as)), "exchange.declare-ok");
    for queue in ["q", "r"] {
        client.all_ok(1, &[&format!("queue.declare queue={queue} durable")]);
        client.all_ok(1, &[&format!("queue.bind queue={queue} exchange=x")]);
    }
    client.all_ok(1, &["tx.select"]);
    client
}

/// Publishes messages with these delays, numbered from 1, and has them on disk.
fn publish(client: &mut Client, delays: impl Iterator<Item = i64>) {
    for (number, delay) in (1..).zip(delays) {
        let mut properties = headers(&[("x-delay", long(delay))]);
        // With the delivery mode.
        properties[0] |= 0x10;
        properties.push(2);
        let publish = method("basic.publish exchange=x routing-key=k");
        client.publish_with(1, publish, &properties, &body(number, SIZE));
    }
    client.all_ok(1, &["tx.commit"]);
}

impl Rig {
    fn delayed(&self) -> usize {
        let count = self.node().vhost("/").unwrap().with_vhost(|vhost| vhost.delayed(b"x"));
        count.expect("a delayed exchange")
    }

    fn entries(&self) -> Vec<Entry> {
        self.node().vhost("/").unwrap().with_vhost(|vhost| vhost.delayed_after(b"x", None, usize::MAX))
    }

    /// Waits until so many are known with their times.
    fn until_known(&self, count: usize) {
        let known = || self.entries().len();
        wait_until(|| known() == count, || format!("{} of {} are known", known(), self.delayed()));
    }

    fn until_delivered(&self) {
        wait_until(|| self.delayed() == 0, || format!("{} wait", self.delayed()));
    }

    /// The numbers of all messages in a queue, sorted.
    fn sorted(&self, queue: &str) -> Vec<u64> {
        let mut numbers = self.numbers(queue);
        numbers.sort_unstable();
        numbers
    }
}

/// More than has room in memory, in an order of its own.
#[test]
fn what_waits_is_found_again() {
    const COUNT: u64 = 4000;
    let mut rig = Rig::start("waiting", 1 << 20);
    publish(&mut begin(&rig), (1..=COUNT).map(|n| HOUR + (n * 7919 % COUNT) as i64 * 100));
    assert_eq!(rig.delayed() as u64, COUNT);
    let before = rig.entries();
    assert!(before.is_sorted() && !before.is_sorted_by_key(|(_, position)| *position));
    rig.restart(rig.disk.crash());
    assert_eq!(rig.delayed() as u64, COUNT);
    rig.until_known(COUNT as usize);
    assert_eq!(rig.entries(), before);
    let shown = rig.request(Request::new("GET", "/api/exchanges/%2F/x/delayed?count=1000")).body;
    assert_eq!(
        (&shown["messages_delayed"], shown["items"].as_array().map(Vec::len)),
        (&json!(COUNT), Some(1000))
    );
    let all_there = |item: &serde_json::Value| item["payload_bytes"] == SIZE && item["routing_key"] == "k";
    assert!(shown["items"].as_array().unwrap().iter().all(all_there));
    // Half of them are dropped, and the others delivered now.
    rig.node().vhost("/").unwrap().with_vhost(|vhost| {
        for entry in &before {
            let done = match entry.1 % 2 {
                0 => vhost.drop_delayed(b"x", *entry),
                _ => vhost.deliver_delayed(b"x", *entry),
            };
            assert!(done && !vhost.drop_delayed(b"x", *entry));
        }
    });
    rig.until_delivered();
    rig.until("q", COUNT as usize / 2, 0);
    rig.stop();
    rig.restart(rig.disk.kill());
    assert_eq!(rig.delayed(), 0);
    for queue in ["q", "r"] {
        let numbers = rig.numbers(queue);
        assert_eq!(numbers.len() as u64, COUNT / 2);
        assert!(numbers.is_sorted() && numbers.iter().all(|number| number % 2 == numbers[0] % 2));
    }
}

#[test]
fn a_node_that_stops_in_order_delivers_each_once() {
    const COUNT: u64 = 3000;
    let mut rig = Rig::start("stopped", 1 << 20);
    // Some now and some then: the node stops in the middle of it.
    publish(&mut begin(&rig), (1..=COUNT).map(|n| 1 + (n * 7919 % COUNT) as i64 / 5));
    for _ in 0..5 {
        let before = rig.delayed();
        wait_until(|| before == 0 || rig.delayed() < before, || format!("{before} stay"));
        rig.stop();
        rig.restart(rig.disk.kill());
    }
    rig.until_delivered();
    let all: Vec<_> = (1..=COUNT).collect();
    assert_eq!((rig.sorted("q"), rig.sorted("r")), (all.clone(), all));
}

#[test]
fn whatever_ends_the_node_none_is_lost() {
    const COUNT: u64 = 3000;
    let mut rig = Rig::start("lost", 1 << 20);
    publish(&mut begin(&rig), (1..=COUNT).map(|n| 1 + (n * 7919 % COUNT) as i64 / 5));
    for round in 0..6 {
        let before = rig.delayed();
        wait_until(|| before == 0 || rig.delayed() < before, || format!("{before} stay"));
        rig.restart(if round % 2 == 0 { rig.disk.crash() } else { rig.disk.kill() });
    }
    rig.until_delivered();
    for queue in ["q", "r"] {
        // One that was on its way may be there twice.
        let mut numbers = rig.sorted(queue);
        numbers.dedup();
        assert_eq!(numbers, (1..=COUNT).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_dropped_does_not_come_back() {
    let mut rig = Rig::start("dropped", 1 << 20);
    let mut client = begin(&rig);
    publish(&mut client, (1..=100).map(|n| HOUR + n));
    let (first, second) = (rig.entries()[0], rig.entries()[1]);
    let path = |entry: Entry| format!("/api/exchanges/%2F/x/delayed/{}-{}", entry.0, entry.1);
    assert_eq!(rig.request(Request::new("DELETE", &path(first))).status, 204);
    assert_eq!(rig.request(Request::new("DELETE", &path(first))).status, 404);
    let (shown, deliver) = (path(second), path(second) + "/deliver");
    let item = rig.request(Request::new("GET", &shown)).body;
    assert_eq!((&item["due"], &item["headers"]["x-delay"]), (&json!(second.0), &json!(HOUR + 2)));
    assert_eq!(rig.request(Request::new("POST", &deliver)).status, 204);
    rig.until("q", 1, 0);
    assert_eq!(rig.request(Request::new("POST", &deliver)).status, 404);
    assert_eq!(rig.request(Request::new("GET", &shown)).status, 404);
    let exchange = rig.request(Request::new("GET", "/api/exchanges/%2F/x")).body;
    assert_eq!((&exchange["type"], &exchange["messages_delayed"]), (&json!("x-delayed-message"), &json!(98)));
    for (query, status) in [("?after=x", 400), ("?count=-1", 400), ("?count=0", 200)] {
        let list = format!("/api/exchanges/%2F/x/delayed{query}");
        assert_eq!(rig.request(Request::new("GET", &list)).status, status, "{query}");
    }
    for other in ["amq.direct", "none"] {
        let list = format!("/api/exchanges/%2F/{other}/delayed");
        assert_eq!(rig.request(Request::new("GET", &list)).status, 404);
        assert_eq!(rig.request(Request::new("DELETE", &list)).status, 404);
    }
    // It has left the queue behind the exchange for good when it is on disk in the others.
    rig.stop();
    rig.restart(rig.disk.crash());
    rig.until_known(98);
    assert_eq!(rig.request(Request::new("DELETE", "/api/exchanges/%2F/x/delayed")).status, 204);
    assert_eq!(rig.delayed(), 0);
    rig.restart(rig.disk.crash());
    assert_eq!(rig.delayed(), 0);
    rig.client().all_ok(1, &["exchange.delete exchange=x"]);
    rig.restart(rig.disk.crash());
    assert!(rig.node().vhost("/").unwrap().with_vhost(|vhost| vhost.delayed(b"x")).is_none());
}
