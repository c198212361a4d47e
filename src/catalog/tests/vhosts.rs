//! Random changes of a vhost, through the catalog and back.

use super::disk::{Disk, Random};
use super::*;
use crate::broker::ConnectionId;
use crate::broker::Vhost;
use crate::broker::definitions::tests::Nobody;
use crate::broker::exchange::declare::Declaration as NewExchange;
use crate::broker::queue::consumer::Consume;
use crate::broker::queue::declare::Declaration as NewQueue;

const NAMES: [&str; 7] = ["a", "b", "c", "d", "amq.topic", "amq.fanout", "e"];

struct Run {
    random: Random,
    vhost: Vhost,
    connection: ConnectionId,
}

impl Run {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len())]
    }

    fn chance(&mut self) -> bool {
        self.random.below(2) == 0
    }

    fn arguments(&mut self) -> FieldTable {
        match self.random.below(4) {
            0 => all_types(),
            1 => table([("y", AMQPValue::LongInt(self.random.below(3) as i32))]),
            _ => FieldTable::default(),
        }
    }

    /// Does something. A refusal is fine, as long as it changes nothing.
    fn step(&mut self) {
        let (name, other) = (self.pick(&NAMES), self.pick(&NAMES));
        let (durable, auto_delete, third) =
            (self.random.below(4) > 0, self.random.below(5) == 0, self.chance());
        let (key, arguments) = (self.pick(&["k", "a.*", "", "1"]), self.arguments());
        let kind = self.pick(&Kind::ALL);
        let what = self.random.below(16);
        let creator = [None, Some("guest".into())][usize::from(self.chance())].clone();
        let Self { vhost, connection, .. } = self;
        let (from, to, key) = (name.as_bytes(), other.as_bytes(), key.as_bytes());
        let _ = match what {
            0..3 => {
                let (name, internal) = (name.into(), third);
                vhost.declare_exchange(NewExchange {
                    name,
                    kind,
                    durable,
                    auto_delete,
                    internal,
                    arguments,
                    creator,
                })
            }
            3..6 => {
                let (name, exclusive) = (name.into(), third && auto_delete);
                let wanted = NewQueue { name, durable, exclusive, auto_delete, arguments, creator };
                vhost.declare_queue(Some(*connection), wanted).map(drop)
            }
            6..9 => vhost.bind_queue(Some(*connection), to, from, key, arguments),
            9..11 => vhost.bind_exchange(to, from, key, arguments),
            11 => vhost.unbind_queue(Some(*connection), to, from, key, &arguments),
            12 => vhost.unbind_exchange(to, from, key, &arguments),
            13 => vhost.delete_exchange(from, third),
            14 => vhost.delete_queue(Some(*connection), from, third, false, &mut Nobody).map(drop),
            _ => {
                let channel = vhost.open_channel(*connection, 1);
                let arguments = FieldTable::default();
                let wanted = Consume { queue: from, tag: b"t", no_ack: true, exclusive: false, arguments };
                let consumed = vhost.consume(channel, wanted).map(drop);
                vhost.close_channel(channel, &mut Nobody);
                consumed
            }
        };
    }

    fn apply_to(&mut self, catalog: &Catalog) {
        let changes = self.vhost.take_changes().into_iter();
        let changes: Vec<_> = changes.map(|change| NodeChange::InVhost { vhost: 1, change }).collect();
        catalog.apply(&changes).expect("room");
    }
}

/// A vhost as the catalog has it.
fn restored(catalog: &Catalog) -> (Vhost, ConnectionId) {
    let mut vhost = Vhost::new("/");
    let all = catalog.load().expect("what is there");
    vhost.share_log_ids(std::sync::Arc::new(all.next_log.into()));
    let inside = all.vhosts.into_iter().find(|(vhost, _)| vhost.number == 1);
    let errors = inside.map(|(_, inside)| vhost.restore_definitions(inside)).unwrap_or_default();
    assert_eq!(errors, []);
    vhost.commits.turn_on();
    let connection = vhost.connect();
    (vhost, connection)
}

fn run(seed: u64) -> usize {
    let mut disk = Disk::default();
    let mut catalog = Catalog::open_in(Box::new(disk.clone())).expect("a new one");
    catalog.apply(&[vhost(1, "/"), vhost(2, "other"), queue(2, "a", 1)]).expect("room");
    let (vhost, connection) = restored(&catalog);
    let mut run = Run { random: Random(seed), vhost, connection };
    let mut most = 0;
    for restart in 0..4 {
        for _ in 0..8 {
            (0..run.random.below(40)).for_each(|_| run.step());
            run.apply_to(&catalog);
        }
        // Killed or closed well, what is durable is the same afterwards.
        if run.chance() {
            std::mem::forget(catalog);
        } else {
            drop(catalog);
        }
        disk = disk.after_kill();
        catalog = Catalog::open_in(Box::new(disk.clone())).expect("what was there");
        let (vhost, connection) = restored(&catalog);
        let (before, after) = (run.vhost.definitions(), vhost.definitions());
        assert_eq!(before, after, "seed {seed}, restart {restart}");
        most = most.max(before.bindings.len());
        (run.vhost, run.connection) = (vhost, connection);
    }
    most
}

#[test]
fn what_is_durable_comes_back_and_nothing_else() {
    let most = (0..30).map(run).max();
    assert!(most > Some(10), "{most:?} bindings at a time");
}
