//! Little memory, and many who read.

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::queue::consumer::Consume;
use leveret::broker::storage::Need;
use leveret::node::reader;

use super::World;
use super::random::Random;

/// Octets of memory that there are.
const LIMIT: usize = 8000;

impl World {
    /// Some memory is needed, or much, or readers are to read no more than they need.
    pub fn trim_somehow(&mut self) {
        let need = if self.random.chance(50) { Need::Some } else { Need::Much };
        self.vhost.trim(need, &mut Vec::new());
        self.budget.set_short(self.random.chance(30));
    }

    /// As the committer does it.
    fn let_leave(&mut self) {
        if !self.budget.is_over() {
            return;
        }
        self.vhost.trim(Need::Some, &mut Vec::new());
        self.budget.set_short(!self.budget.has_room());
        if !self.budget.has_room() {
            self.vhost.trim(Need::Much, &mut Vec::new());
        }
        self.budget.trimmed();
    }

    fn consume_from(&mut self, tag: &[u8], offset: usize) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongLongInt(offset as i64));
        let consume = Consume { queue: b"s", tag, no_ack: false, exclusive: false, arguments };
        let id = self.vhost.consume(self.channel, consume).expect("a consumer");
        self.vhost.start_consumer(id, &mut self.outside);
    }
}

/// A stream that stays whole, of many times as much as there is memory for, on disk.
fn long_stream() -> World {
    let stays_whole = |world: &World| world.max_octets.is_none() && world.max_age.is_none();
    let mut worlds = (0..).map(World::new);
    let mut world = worlds.find(stays_whole).expect("there are more");
    world.outside.credit = 1000;
    for _ in 0..400 {
        world.publish();
        (0..2).for_each(|_| world.commit_step());
        world.let_leave();
    }
    assert!(world.budget.resident() <= LIMIT && world.disk.used() > 10 * LIMIT as u64);
    world
}

#[test]
fn those_who_wait_for_their_clients_keep_nothing_in_memory() {
    const READERS: usize = 60;
    let mut world = long_stream();
    world.vhost.set_prefetch(world.channel, 1);
    let mut offsets: Vec<_> = (0..READERS).map(|n| n * world.entries.len() / READERS).collect();
    // Not in the order in which they are read ahead.
    let mut random = Random::new(1);
    (1..READERS).for_each(|at| offsets.swap(at, random.below(at + 1)));
    for (n, offset) in offsets.iter().enumerate() {
        world.consume_from(format!("r{n}").as_bytes(), *offset);
    }
    let mut most = 0;
    loop {
        let requests = world.vhost.take_requests();
        if requests.is_empty() {
            break;
        }
        for (queue, first, request) in requests {
            let (data, _) = reader::read(&world.disk, &request).expect("read");
            assert_eq!(world.vhost.arrive(queue, first, data, &mut world.outside), 0);
            world.let_leave();
            most = most.max(world.budget.resident());
        }
    }
    let mut got: Vec<_> = world.outside.deliveries.iter().map(|(.., offset, _)| *offset as usize).collect();
    got.sort_unstable();
    offsets.sort_unstable();
    assert_eq!(got, offsets);
    assert!(most <= LIMIT + 4 * world.sizes.chunk, "{most}");
}
