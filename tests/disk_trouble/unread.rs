//! What cannot be read is reported, and others go on.

use crate::rig::{Rig, delivered};
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
    let mut rig = Rig::start(name, 1 << 20);
    rig.client().all_ok(1, &["queue.declare queue=q durable"]);
    rig.publisher("q").confirmed(count, SIZE);
    rig.restart(rig.disk.kill());
    assert_eq!(rig.queue("q").ready as u64, count);
    // The committer looks how much is free after its first commit, and then not for a while: that would take the
    // failure of a read. A second commit comes after that look.
    rig.client().all_ok(1, &["queue.declare queue=a durable", "queue.declare queue=b durable"]);
    rig
}

#[test]
fn whoever_waits_gets_the_next_that_can_be_read() {
    let mut rig = cold("get", COUNT);
    rig.disk.fail_after(0, Failure::Read);
    let mut client = rig.client();
    client.send(1, "basic.get queue=q no-ack");
    let first = delivered(&client.next(1));
    let lost = lost(&rig.until_said("cannot be read"));
    assert!(!rig.disk.fails_yet());
    let mut rest = rig.numbers("q");
    // One run is missing, be it at the front or, as several are read ahead, behind it.
    rest.insert(0, first);
    assert_eq!(rest.len() as u64, COUNT - lost);
    assert!(rest.is_sorted_by(|a, b| a < b));
    // It may have passed, and then they are there again.
    rig.restart(rig.disk.kill());
    let found = rig.numbers("q");
    assert_eq!(found, (1..=COUNT).filter(|number| *number != first).collect::<Vec<_>>());
}

#[test]
fn a_consumer_goes_on_with_the_next() {
    let rig = cold("consume", COUNT);
    rig.disk.fail_after(0, Failure::Read);
    let mut consumer = rig.client();
    consumer.all_ok(1, &["basic.consume queue=q consumer-tag=c no-ack"]);
    let mut found = vec![delivered(&consumer.next(1))];
    while *found.last().unwrap() < COUNT {
        found.push(delivered(&consumer.next(1)));
    }
    assert!(found.is_sorted_by(|a, b| a < b));
    assert_eq!(found.len() as u64, COUNT - lost(&rig.until_said("cannot be read")));
    rig.until("q", 0, 0);
    let mut publisher = rig.publisher("q");
    publisher.confirmed(1, SIZE);
    assert_eq!(delivered(&consumer.next(1)), 1);
}

/// Nothing is left of the queue: that is an answer too.
#[test]
fn a_queue_of_which_nothing_can_be_read_is_empty() {
    let rig = cold("nothing", 3);
    rig.disk.fail_after(0, Failure::Read);
    let mut client = rig.client();
    assert_eq!(client.call(1, "basic.get queue=q"), "basic.get-empty");
    assert_eq!(lost(&rig.until_said("cannot be read")), 3);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c no-ack"]);
    rig.publisher("q").confirmed(1, SIZE);
    assert_eq!(delivered(&client.next(1)), 1);
}
