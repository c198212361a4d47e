//! Nothing a client sends takes the broker down: what the scripts send, with octets and frames changed at random, cut
//! into random reads. Afterwards another client is served as ever.
//!
//! `LEVERET_SEED=17 cargo test --test core_garbage` runs the one seed. `fuzz/` goes on where this ends;
//! `LEVERET_CORPUS=FOLDER` writes down what the scripts send for it.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test may fail, and say why")]

mod support;

use support::bench::Bench;
use support::cuts::Cuts;
use support::frames;
use support::random::Random;
use support::script::scenarios;

const SEEDS: u64 = 3000;
/// Streams longer than this are left to the fuzzer.
const OCTETS_MAX: usize = 6000;
/// Octets that mean something somewhere.
const TELLING: [u8; 16] = [0, 1, 2, 3, 8, 10, 20, 40, 50, 60, 80, 85, 90, 0x7f, 0xce, 0xff];

/// What the clients of each scenario send, frame by frame.
fn corpus() -> Vec<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("scripts").map(|f| f.expect("a file").path()).collect();
    files.sort_unstable();
    for file in files {
        let text = std::fs::read_to_string(file).expect("a script");
        let streams = scenarios(&text).into_iter().map(|scenario| scenario.octets());
        out.extend(streams.filter(|stream| stream.len() <= OCTETS_MAX).map(|stream| split(&stream)));
    }
    assert!(out.len() > 50, "only {} streams", out.len());
    out
}

/// Frames by their sizes; what is not whole stays in one piece.
fn split(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some(head) = stream.get(3..7) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize + 8;
        let (frame, rest) = stream.split_at(size.min(stream.len()));
        out.push(frame.to_vec());
        stream = rest;
    }
    out
}

/// One to four changes: frames lost, repeated, moved, sent on another channel, octets changed, cut out or put in.
fn spoil(stream: &mut Vec<Vec<u8>>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(stream.len());
        let other = random.below(stream.len());
        match random.below(9) {
            0 if stream.len() > 1 => drop(stream.remove(at)),
            1 => stream.insert(other, stream[at].clone()),
            2 => stream.swap(at, other),
            3 => spoil_octet(&mut stream[at], random, 1..3),
            4 => spoil_octet(&mut stream[at], random, 3..7),
            5 => {
                let end = stream[at].len();
                stream[at].truncate(random.below(end.max(1)));
            }
            6 => {
                let octet = random.next() as u8;
                let place = random.below(stream[at].len() + 1);
                stream[at].insert(place, octet);
            }
            _ => {
                let end = stream[at].len();
                spoil_octet(&mut stream[at], random, 0..end);
            }
        }
    }
}

fn spoil_octet(frame: &mut [u8], random: &mut Random, within: std::ops::Range<usize>) {
    let place = within.start + random.below(within.len().max(1));
    if let Some(octet) = frame.get_mut(place) {
        *octet = match random.below(3) {
            0 => *octet ^ 1 << random.below(8),
            1 => TELLING[random.below(TELLING.len())],
            _ => random.next() as u8,
        };
    }
}

fn run(seed: u64, corpus: &[Vec<Vec<u8>>]) {
    let mut random = Random::new(seed);
    let mut stream = corpus[random.below(corpus.len())].clone();
    spoil(&mut stream, &mut random);
    let mut bench = Bench::new(Cuts::Random(random));
    bench.connect(1, true);
    bench.send(1, &stream.concat());
    // What goes out has to be whole frames of known methods whatever came in.
    bench.received().iter().for_each(|(_, octets)| drop(frames::decode(octets)));
    serve(&mut bench);
    bench.lose(1);
    serve(&mut bench);
}

/// A client that behaves gets what it asks for.
fn serve(bench: &mut Bench) {
    bench.connect(9, true);
    for line in
        ["channel.open", "queue.declare fresh exclusive", "basic.publish \"\" fresh : m", "basic.get fresh"]
    {
        bench.send(9, &frames::encode(1, line));
    }
    let received: Vec<_> = bench.received().into_iter().filter(|(client, _)| *client == 9).collect();
    let lines: Vec<_> = frames::decode(&received[0].1).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["channel.open-ok", "queue.declare-ok fresh 0 0", "basic.get-ok 1 \"\" fresh 0 : m"]);
    bench.lose(9);
}

/// One file for each stream, behind the octet that asks the fuzz target for random cuts and nothing prepared.
fn write_down(corpus: &[Vec<Vec<u8>>], folder: &std::path::Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (number, stream) in corpus.iter().enumerate() {
        let octets = [&[200], stream.concat().as_slice()].concat();
        std::fs::write(folder.join(format!("script-{number}")), octets).expect("written");
    }
}

#[test]
fn a_session_survives_anything() {
    let corpus = corpus();
    if let Ok(seed) = std::env::var("LEVERET_SEED") {
        return run(seed.parse().expect("a number"), &corpus);
    }
    if let Some(folder) = std::env::var_os("LEVERET_CORPUS") {
        return write_down(&corpus, folder.as_ref());
    }
    for seed in 1..=SEEDS {
        if let Err(failure) = std::panic::catch_unwind(|| run(seed, &corpus)) {
            eprintln!("seed {seed} failed; LEVERET_SEED={seed} runs only it");
            std::panic::resume_unwind(failure);
        }
    }
}
