//! What cannot be read for now is waited for; what is damaged is reported, and others go on.

use leveret::log::disk::{Disk, FileName, Kind};

use crate::common::client::Client;
use crate::common::method::method;
use crate::common::table::text;
use crate::publisher::number_of;
use crate::rig::{Rig, delivered, said};
use crate::sim_disk::Failure;

const SIZE: usize = 1000;
const COUNT: u64 = 4000;

/// How many messages a line of the log says are lost. It names the file and the offset.
fn lost(line: &str) -> u64 {
    let (before, after) = line.split_once(" messages cannot be read: ").expect("a report");
    assert!(after.contains(".log at offset ") || after.contains(".log is damaged at offset "), "{line}");
    before.rsplit(' ').next().unwrap().parse().expect("a number")
}

/// A node that has just been started again, so that nothing of its queue is in memory.
fn cold(name: &str, count: u64) -> Rig {
    let rig = cold_with(name, count, method("queue.declare queue=q durable"));
    assert_eq!(rig.queue("q").ready as u64, count);
    rig
}

fn cold_with(name: &str, count: u64, declare: crate::common::method::Method) -> Rig {
    let mut rig = Rig::start(name, 1 << 20);
    assert!(rig.client().call(1, declare).starts_with("queue.declare-ok"));
    rig.publisher("q").confirmed(count, SIZE);
    rig.restart(rig.disk.kill());
    // The committer looks how much is free after its first commit, and then not for a while: that would take the
    // failure of a read. A second commit comes after that look.
    rig.client().all_ok(1, &["queue.declare queue=a durable", "queue.declare queue=b durable"]);
    rig
}

/// The file with the messages.
fn file(rig: &Rig) -> FileName {
    let files = rig.disk.list().unwrap();
    let records = files.into_iter().filter(|file| file.kind == Kind::Records);
    records.max_by_key(|file| rig.disk.size(*file).unwrap()).expect("a file")
}

#[test]
fn whoever_waits_gets_all_when_the_trouble_is_over() {
    let rig = cold("get", COUNT);
    rig.disk.fail_after(0, Failure::Read);
    let mut client = rig.client();
    client.send(1, "basic.get queue=q no-ack");
    let first = delivered(&client.next(1));
    rig.until_said("messages cannot be read yet, that is tried again: ");
    assert!(!rig.disk.fails_yet());
    assert_eq!(first, 1);
    assert_eq!(rig.numbers("q"), (2..=COUNT).collect::<Vec<_>>());
    assert!(!said().contains(" messages cannot be read: "));
}

/// What can be read meanwhile is, and nothing is given up.
#[test]
fn a_consumer_waits_until_the_trouble_is_over() {
    let rig = cold("consume", COUNT);
    rig.disk.unreadable(true);
    let mut consumer = rig.client();
    consumer.all_ok(1, &["basic.consume queue=q consumer-tag=c no-ack"]);
    rig.until_said("messages cannot be read yet, that is tried again: ");
    rig.publisher("b").confirmed(1, SIZE);
    assert_eq!(rig.numbers("b"), [1]);
    rig.disk.unreadable(false);
    for wanted in 1..=COUNT {
        assert_eq!(delivered(&consumer.next(1)), wanted);
    }
    rig.until("q", 0, 0);
    rig.publisher("q").confirmed(1, SIZE);
    assert_eq!(delivered(&consumer.next(1)), 1);
}

/// Reads as a member of a group.
fn member(rig: &Rig) -> Client {
    let mut client = rig.client();
    client.all_ok(1, &["basic.qos prefetch-count=500"]);
    let consume = method("basic.consume queue=q consumer-tag=c").args(&[("x-stream-group", text("g"))]);
    assert!(client.call(1, consume).starts_with("basic.consume-ok"));
    client
}

#[test]
fn a_group_passes_over_nothing() {
    let declare = method("queue.declare queue=q durable").args(&[("x-queue-type", text("stream"))]);
    let rig = cold_with("group", COUNT, declare);
    rig.disk.fail_after(0, Failure::Read);
    let mut client = member(&rig);
    for wanted in 1..=COUNT {
        let event = client.next(1);
        assert_eq!(number_of(&event.body), wanted);
        client.send(1, &*format!("basic.ack delivery-tag={}", event.tag()));
    }
    assert!(!rig.disk.fails_yet());
    rig.until_said("messages cannot be read yet, that is tried again: ");
}

/// Nobody waits for what the disk has lost.
#[test]
fn a_consumer_goes_on_behind_what_is_damaged() {
    let rig = cold("damage", COUNT);
    let file = file(&rig);
    rig.disk.corrupt(file, rig.disk.size(file).unwrap() / 2);
    let mut consumer = rig.client();
    consumer.all_ok(1, &["basic.consume queue=q consumer-tag=c no-ack"]);
    let mut found = vec![delivered(&consumer.next(1))];
    while *found.last().unwrap() < COUNT {
        found.push(delivered(&consumer.next(1)));
    }
    assert!(found.is_sorted_by(|a, b| a < b));
    let lost = lost(&rig.until_said(" messages cannot be read: "));
    assert!((1..100).contains(&lost), "{lost}");
    assert_eq!(found.len() as u64, COUNT - lost);
    rig.until("q", 0, 0);
}

/// Nothing is left of the queue: that is an answer too.
#[test]
fn what_can_never_be_read_is_given_up_until_the_next_start() {
    let mut rig = cold("nothing", 3);
    rig.disk.unreadable(true);
    let mut client = rig.client();
    assert_eq!(client.call(1, "basic.get queue=q"), "basic.get-empty");
    rig.until_said("messages cannot be read yet, that is tried again: ");
    assert_eq!(lost(&rig.until_said(" messages cannot be read: ")), 3);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    rig.publisher("q").confirmed(1, SIZE);
    assert_eq!(delivered(&client.next(1)), 1);
    drop(client);
    // It may have passed, and then they are there again.
    rig.disk.unreadable(false);
    rig.restart(rig.disk.kill());
    assert_eq!(rig.numbers("q"), [1, 2, 3, 1]);
}
