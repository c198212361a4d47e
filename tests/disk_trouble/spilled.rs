//! No space for what has no room in memory: it stays there, and publishers wait.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::client::PLAIN;
use crate::publisher::{body, publish};
use crate::rig::{Rig, delivered};

const SIZE: usize = 16 << 10;
/// 64 MiB.
const COUNT: u64 = 4 << 10;
const MEMORY: usize = 1 << 20;
/// What may be in memory beyond the budget: what the broker lets come while it writes, and then some.
const BEYOND: usize = 32 << 20;

#[test]
fn memory_stays_bounded_and_nothing_is_lost() {
    let rig = Rig::start("spill", MEMORY);
    rig.client().all_ok(1, &["queue.declare queue=t"]);
    rig.disk.full(true);
    let sent = AtomicU64::new(0);
    let mut publisher = rig.client();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=COUNT {
                publisher.publish_with(1, publish("t"), PLAIN, &body(number, SIZE));
                sent.store(number, Ordering::SeqCst);
            }
        });
        rig.until_said("spill file");
        // Until no more is taken however often the disk is tried.
        let mut before = 0;
        while before != rig.queue("t").ready {
            before = rig.queue("t").ready;
            rig.until_tried(3);
        }
        let resident = rig.node().budget().resident();
        assert!(resident < MEMORY + BEYOND, "{resident} octets in memory");
        assert!(sent.load(Ordering::SeqCst) < COUNT, "everything was taken");
        let mut consumer = rig.client();
        consumer.all_ok(1, &["basic.qos prefetch-count=200", "basic.consume queue=t consumer-tag=c"]);
        for wanted in 1..=10 {
            assert_eq!(delivered(&consumer.next(1)), wanted);
        }
        rig.disk.full(false);
        for wanted in 11..=COUNT {
            if wanted % 100 == 1 {
                let tag = wanted - 1;
                consumer.send(1, &*format!("basic.ack delivery-tag={tag} multiple"));
            }
            assert_eq!(delivered(&consumer.next(1)), wanted);
        }
    });
    rig.until_said("publishers go on");
}
