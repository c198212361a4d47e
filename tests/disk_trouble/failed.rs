//! A write or a sync fails: nobody knows what is on disk, so nothing is confirmed until the node is started again.

use crate::common::client::Client;
use crate::http::Request;
use crate::publisher::Publisher;
use crate::rig::{Rig, delivered};
use crate::sim_disk::Failure;

const SIZE: usize = 1000;

/// Waits until everything that is not confirmed has been refused, or its publisher has been told to wait.
fn refused(publisher: &mut Publisher) {
    publisher.until(|own| own.open() == 0 || own.blocked > 0);
}

fn nothing_is_promised_any_more(name: &str, failure: Failure) {
    let mut rig = Rig::start(name, 64 << 20);
    let declared =
        ["queue.declare queue=q durable", "queue.declare queue=mixed durable", "queue.declare queue=t"];
    rig.client().all_ok(1, &declared);
    let mut publisher = rig.publisher("q");
    publisher.confirmed(100, SIZE);
    let mut waiting = rig.client();
    rig.disk.fail_after(0, failure);
    publisher.publish(20, SIZE);
    refused(&mut publisher);
    let line = rig.until_said("nothing is confirmed any more");
    assert!(line.contains("ERROR") && line.contains("please restart the node"), "{line}");
    // Later ones are no better off; what needs no disk may be confirmed.
    for (queue, persistent) in [("q", true), ("mixed", false), ("t", true), ("t", false)] {
        let mut later = rig.publisher(queue);
        if persistent {
            later.publish(3, SIZE);
        } else {
            later.publish_transient(3, SIZE);
        }
        refused(&mut later);
        let promised = !later.acked.is_empty();
        assert!(!promised || queue != "q", "{queue}: {later}");
        assert!(later.blocked > 0 || promised == (queue != "q"), "{queue}: {later}");
    }
    publisher.look();
    assert_eq!(publisher.acked.len(), 100, "{publisher}");
    what_is_in_memory_is_delivered(&mut waiting);
    nothing_can_be_defined(&rig);
    rig.restart(rig.disk.crash());
    let found = rig.numbers("q");
    assert_eq!(found[..100], (1..=100).collect::<Vec<_>>());
    assert!(found.len() <= 123, "{found:?}");
    rig.publisher("q").confirmed(10, SIZE);
}

fn what_is_in_memory_is_delivered(client: &mut Client) {
    client.send(1, "basic.get queue=q");
    assert_eq!(delivered(&client.next(1)), 1);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    for wanted in 2..=100 {
        let event = client.next(1);
        assert_eq!(delivered(&event), wanted);
        client.send(1, "basic.ack delivery-tag=0 multiple");
    }
}

fn nothing_can_be_defined(rig: &Rig) {
    for declare in ["queue.declare queue=new durable", "exchange.declare exchange=new type=fanout durable"] {
        let mut client = rig.client();
        client.send(1, declare);
        let end = client.until_end();
        let wanted = "connection.close 541 INTERNAL_ERROR - the data folder cannot be written";
        assert!(end.starts_with(wanted), "{declare}: {end}");
    }
    for (path, body) in
        [("/api/vhosts/new", "{}"), ("/api/users/new", r#"{"password":"new","tags":""}"#), (QUEUE, DURABLE)]
    {
        let reply = rig.request(Request::new("PUT", path).body(body));
        assert_eq!(reply.status, 500, "{path}: {reply:?}");
        assert_eq!(reply.body["reason"], "the data folder cannot be written");
    }
    assert_eq!(rig.request(Request::new("GET", "/api/queues")).status, 200);
}

const QUEUE: &str = "/api/queues/%2F/newer";
const DURABLE: &str = r#"{"durable":true}"#;

#[test]
fn after_a_failed_write() {
    nothing_is_promised_any_more("write", Failure::Io);
}

#[test]
fn after_a_failed_sync() {
    nothing_is_promised_any_more("sync", Failure::Sync);
}

/// What waits when it happens is answered.
#[test]
fn whoever_waits_is_told() {
    let rig = Rig::start("waiting", 64 << 20);
    rig.client().all_ok(1, &["queue.declare queue=q durable"]);
    let mut transaction = rig.client();
    transaction.all_ok(1, &["tx.select"]);
    transaction.publish_with(1, crate::publisher::publish("q"), crate::publisher::PERSISTENT, b"one");
    transaction.quiet(1);
    rig.disk.fail_after(0, Failure::Sync);
    transaction.send(1, "tx.commit");
    let end = transaction.until_end();
    assert!(
        end.starts_with("connection.close 541 INTERNAL_ERROR - the data folder cannot be written"),
        "{end}"
    );
}
