//! Golden scripts over broker and session, without sockets and clocks: what comes out is compared with what is written
//! in `tests/scripts`, then again with the input cut into other reads, which may change nothing.
//!
//! `LEVERET_BLESS=1 cargo test --test core_scripts` writes down what really came. What is written there has to be what
//! RabbitMQ does; look at the difference before keeping it.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test may fail, and say why")]

mod support;

use support::cuts::Cuts;
use support::random::Random;
use support::script::{Scenario, scenarios, without_confirms};

/// Octets that all runs of one scenario with cut input may send together.
const CUT_OCTETS: usize = 1_500_000;
/// Every octet in a read of its own, unless there are more than this.
const SINGLY_MAX: usize = 4000;

fn check(name: &str) {
    let path = format!("{}/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a script");
    let all = scenarios(&text);
    assert!(!all.is_empty(), "{path} has no scenario");
    if std::env::var_os("LEVERET_BLESS").is_some() {
        let begin = text.find("== ").unwrap_or(0);
        let came = all.iter().map(|s| format!("== {}\n{}\n", s.title, s.run(Cuts::Whole).join("\n")));
        let came: String = came.collect();
        std::fs::write(&path, format!("{}{came}", &text[..begin])).expect("written");
        return;
    }
    for scenario in &all {
        let came = scenario.run(Cuts::Whole);
        compare(name, scenario, "in whole reads", &scenario.expected(), &came);
        cut(name, scenario, &came);
    }
}

/// Runs a scenario with every send cut at every offset, at random, and between all octets.
fn cut(name: &str, scenario: &Scenario, whole: &[String]) {
    let longest = scenario.longest_send();
    let runs = (CUT_OCTETS / longest.max(1)).clamp(8, longest.max(8));
    let offsets = (1..longest).step_by(longest.div_ceil(runs).max(1));
    let mut ways: Vec<_> = offsets.map(Cuts::At).collect();
    ways.extend((1..=8).map(|seed| Cuts::Random(Random::new(seed))));
    if longest <= SINGLY_MAX {
        ways.push(Cuts::Everywhere);
    }
    let whole = without_confirms(whole);
    for way in ways {
        let how = format!("cut {way:?}");
        let came = without_confirms(&scenario.run(way));
        compare(name, scenario, &how, &whole.0, &came.0);
        assert_eq!(whole.1, came.1, "{name}: {}: confirms, {how}", scenario.title);
    }
}

fn compare(name: &str, scenario: &Scenario, how: &str, expected: &[String], came: &[String]) {
    if expected == came {
        return;
    }
    let same = expected.iter().zip(came).take_while(|(one, other)| one == other).count();
    eprintln!("{name}: {}: {how}", scenario.title);
    expected[..same].iter().for_each(|line| eprintln!("  {line}"));
    expected[same..].iter().take(6).for_each(|line| eprintln!("- {line}"));
    came[same..].iter().take(6).for_each(|line| eprintln!("+ {line}"));
    panic!("{name}: {}: another transcript", scenario.title);
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_script_is_run() {
            let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts")).expect("scripts");
            let mut found: Vec<_> = folder.map(|f| f.expect("a file").file_name().into_string().expect("UTF-8")).collect();
            found.sort_unstable();
            assert_eq!(found, [$(concat!(stringify!($name), ".txt")),*]);
        }
    };
}

scripts! {
    consumers copies dead_letters deduplication delayed exchange_types expiry framing global_qos high_water
    lengths lifetimes priorities publishing reply_to returns routing settling single_active stream_groups streams time_out
    turns
}
