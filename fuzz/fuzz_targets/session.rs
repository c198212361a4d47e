//! Arbitrary octets to a session that is open, cut into reads. The first octet chooses how, and whether there are
//! channels and a queue already. Nothing may panic, and what goes out has to be whole frames of known methods.

#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use support::bench::Bench;
use support::cuts::Cuts;
use support::frames;
use support::random::Random;

/// What a client sends before the fuzzer takes over.
const PREPARED: [(u16, &str); 6] = [
    (1, "channel.open"),
    (2, "channel.open"),
    (1, "queue.declare q"),
    (1, "queue.bind q amq.fanout"),
    (1, "basic.publish \"\" q : m"),
    (1, "basic.qos 3"),
];

fuzz_target!(|input: &[u8]| {
    let Some((&how, octets)) = input.split_first() else { return };
    let cuts = match how {
        0 => Cuts::Whole,
        1 => Cuts::Everywhere,
        2..100 => Cuts::At(how.into()),
        _ => Cuts::Random(Random::new(how.into())),
    };
    let mut bench = Bench::new(cuts);
    bench.connect(1, true);
    if how % 2 == 1 {
        PREPARED.iter().for_each(|(channel, line)| bench.send(1, &frames::encode(*channel, line)));
    }
    bench.send(1, octets);
    for (_, octets) in bench.received() {
        frames::decode(&octets);
    }
    bench.lose(1);
});
