//! No space: confirms wait, consumers go on, and what they are done with makes room.

use crate::rig::{Rig, delivered};

const SIZE: usize = 10_000;

/// Fills the disk up while a publisher has 100 messages confirmed and 20 more on their way.
fn filled(name: &str) -> (Rig, crate::publisher::Publisher) {
    let rig = Rig::start(name, 64 << 20);
    rig.client().all_ok(1, &["queue.declare queue=q durable"]);
    let mut publisher = rig.publisher("q");
    publisher.confirmed(100, SIZE);
    rig.disk.full(true);
    publisher.publish(20, SIZE);
    rig.until_said("the disk is full, publishers are blocked until there is space");
    // Tried again, and again in vain.
    rig.until_tried(4);
    publisher.look();
    assert_eq!((publisher.acked.len(), publisher.open()), (100, 20), "{publisher}");
    (rig, publisher)
}

#[test]
fn confirms_come_when_there_is_space() {
    let (mut rig, mut publisher) = filled("space");
    let mut consumer = rig.client();
    consumer.all_ok(1, &["basic.qos prefetch-count=50", "basic.consume queue=q consumer-tag=c"]);
    for wanted in 1..=50 {
        assert_eq!(delivered(&consumer.next(1)), wanted);
    }
    consumer.send(1, "basic.ack delivery-tag=30 multiple");
    for wanted in 51..=80 {
        assert_eq!(delivered(&consumer.next(1)), wanted);
    }
    rig.until_tried(2);
    publisher.look();
    assert_eq!(publisher.acked.len(), 100, "{publisher}");
    rig.disk.full(false);
    publisher.until_all_acked();
    rig.until_said("publishers go on");
    publisher.until(|own| own.unblocked == own.blocked);
    // What was acknowledged before is on disk with this one at the latest.
    publisher.confirmed(1, SIZE);
    rig.restart(rig.disk.kill());
    assert_eq!(rig.numbers("q"), (31..=121).collect::<Vec<_>>());
}

#[test]
fn what_consumers_are_done_with_makes_room() {
    let (mut rig, mut publisher) = filled("drain");
    let mut consumer = rig.client();
    consumer.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    for wanted in 1..=120 {
        let event = consumer.next(1);
        assert_eq!(delivered(&event), wanted);
        let ack = crate::common::method::method(&format!("basic.ack delivery-tag={}", event.tag()));
        consumer.send(1, ack);
    }
    publisher.until_all_acked();
    rig.until_said("publishers go on");
    rig.until("q", 0, 0);
    consumer.close();
    publisher.confirmed(20, SIZE);
    rig.restart(rig.disk.kill());
    assert_eq!(rig.numbers("q"), (121..=140).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_does_not_keep_a_node_from_ending() {
    let (mut rig, publisher) = filled("end");
    // The node ends first, and then somebody makes room.
    drop(publisher);
    rig.stop();
    rig.disk.full(false);
    rig.restart(rig.disk.kill());
    let found = rig.numbers("q");
    assert_eq!(found[..100], (1..=100).collect::<Vec<_>>());
    assert!(found.is_sorted() && found.len() <= 120, "{found:?}");
}

/// One message that nobody is done with does not keep the room of the segments behind it.
#[test]
fn one_message_does_not_keep_the_room_of_others() {
    const LARGE: usize = 256 << 10;
    let mut rig = Rig::start("one", 64 << 20);
    rig.client().all_ok(1, &["queue.declare queue=q durable"]);
    let mut publisher = rig.publisher("q");
    let mut holder = rig.client();
    holder.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=q consumer-tag=holder"]);
    publisher.confirmed(160, LARGE);
    assert_eq!(delivered(&holder.next(1)), 1);
    rig.disk.full(true);
    publisher.publish(10, SIZE);
    rig.until_said("the disk is full");
    let mut consumer = rig.client();
    consumer.all_ok(1, &["basic.qos prefetch-count=10", "basic.consume queue=q consumer-tag=c"]);
    for wanted in 2..=170 {
        let event = consumer.next(1);
        assert_eq!(delivered(&event), wanted);
        consumer.send(1, &*format!("basic.ack delivery-tag={}", event.tag()));
    }
    publisher.until_all_acked();
    publisher.confirmed(10, SIZE);
    rig.restart(rig.disk.kill());
    let found = rig.numbers("q");
    assert_eq!(found.first(), Some(&1));
    assert!(found.len() <= 11, "{found:?}");
}
