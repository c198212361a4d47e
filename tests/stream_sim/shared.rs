//! Readers that share what comes from disk.

use std::collections::BTreeSet;

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::queue::consumer::Consume;
use leveret::broker::settle::Verdict;
use leveret::node::reader;

use super::World;

/// One of them is in the midst of what the other one has just passed.
#[test]
fn who_read_side_by_side_share_what_was_read() {
    let worlds = (0..99).map(World::new);
    let mut worlds = worlds.filter(|world| world.max_octets.is_none() && world.max_age.is_none());
    let mut world = worlds.next().expect("one of them");
    (0..150).for_each(|_| world.publish());
    (0..6).for_each(|_| world.commit_step());
    world.crash();
    world.outside.credit = usize::MAX;
    world.vhost.set_prefetch(world.channel, 3);
    for tag in [b"a", b"b"] {
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
        let wanted = Consume { queue: b"s", tag, no_ack: false, exclusive: false, arguments };
        let id = world.vhost.consume(world.channel, wanted).expect("a consumer");
        world.vhost.start_consumer(id, &mut world.outside);
    }
    let (mut read, mut count) = (BTreeSet::new(), 0);
    loop {
        for (queue, first, request) in world.vhost.take_requests() {
            assert!(read.insert(first), "{first} is read once more");
            let (data, _) = reader::read(&world.disk, &request).expect("read");
            world.vhost.arrive(queue, first, data, &mut world.outside);
        }
        let deliveries = std::mem::take(&mut world.outside.deliveries);
        count += deliveries.len();
        for (_, tag, ..) in &deliveries {
            world.vhost.settle(world.channel, *tag, false, Verdict::Done).expect("a tag");
            world.vhost.dispatch_due(&mut world.outside);
        }
        if deliveries.is_empty() && !world.vhost.calls().read {
            break;
        }
    }
    assert_eq!(count, 2 * world.entries.iter().flatten().count());
    assert!(read.len() > 20, "{read:?}");
}
