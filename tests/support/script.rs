//! A script: what clients do and what they get, line by line.
//!
//! ```text
//! == A title begins a scenario on a new vhost
//! # a remark
//! 1.1 > queue.declare q durable        client 1 sends this on channel 1
//! 1.1 < queue.declare-ok q 0 0         ... and receives that
//! 1.1 + basic.publish "" q : body      sent together with the next > of this client
//! 2 connects without cancel-notify     other clients connect when they are first named
//! 2 stops reading, 2 reads again       its writer is stuck, and is not
//! 2 is lost                            its TCP connection is gone
//! compatibility 4.0                    the RabbitMQ that is followed from here on
//! count q                              = the queue in numbers
//! delayed x                            = how many messages wait at an exchange
//! take q r                             = the bodies of the ready messages, which are taken out
//! wait 500                             milliseconds go by
//! ```
//!
//! Channels are opened when they are first named, and not again. Running a script gives the same text with the lines
//! `<` and `=` as they really came.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::bench::Bench;
use super::cuts::Cuts;
use super::frames;

pub struct Scenario {
    pub title: String,
    lines: Vec<String>,
    /// The octets that lines stand for, found once for all runs.
    octets: RefCell<HashMap<String, Vec<u8>>>,
}

/// The scenarios of a file; what comes before the first title is a preface.
pub fn scenarios(text: &str) -> Vec<Scenario> {
    let mut out: Vec<Scenario> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            out.push(Scenario { title: title.to_owned(), lines: Vec::new(), octets: RefCell::default() });
        } else if let Some(scenario) = out.last_mut() {
            scenario.lines.push(line.to_owned());
        }
    }
    out
}

impl Scenario {
    /// As it is written.
    pub fn expected(&self) -> Vec<String> {
        self.lines.clone()
    }

    /// As it comes.
    pub fn run(&self, cuts: Cuts) -> Vec<String> {
        let mut run = Run {
            bench: Bench::new(cuts),
            opened: BTreeSet::new(),
            staged: BTreeMap::new(),
            out: Vec::new(),
            scenario: self,
        };
        for line in self.lines.iter().filter(|line| !is_answer(line)) {
            run.out.push(line.clone());
            run.step(line);
        }
        run.out
    }

    /// Everything that clients send, one after the other as if it were one client.
    pub fn octets(&self) -> Vec<u8> {
        let mut opened = BTreeSet::new();
        let mut out = Vec::new();
        for (_, channel, _, words) in self.lines.iter().filter_map(|line| sent(line)) {
            if channel != 0 && opened.insert(channel) && words != "channel.open" {
                out.extend(self.encode(channel, "channel.open"));
            }
            out.extend(self.encode(channel, words));
        }
        out
    }

    fn encode(&self, channel: u16, words: &str) -> Vec<u8> {
        let mut octets = self.octets.borrow_mut();
        let key = format!("{channel} {words}");
        octets.entry(key).or_insert_with(|| frames::encode(channel, words)).clone()
    }

    /// The octets of the largest send.
    pub fn longest_send(&self) -> usize {
        let sends = self.lines.iter().filter_map(|line| sent(line));
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        let mut longest = 0;
        for (client, channel, at_once, words) in sends {
            let size = sizes.entry(client).or_default();
            *size += self.encode(channel, words).len();
            longest = longest.max(*size);
            if at_once {
                *size = 0;
            }
        }
        longest
    }
}

/// Whether a line is what comes out of a script and not what goes in.
fn is_answer(line: &str) -> bool {
    line.starts_with("= ") || line.split_once(" < ").is_some_and(|(front, _)| address(front).is_some())
}

/// Client, channel, whether it goes off at once, and the words of a line that sends something.
fn sent(line: &str) -> Option<(u32, u16, bool, &str)> {
    let (from, rest) = line.split_once(' ')?;
    let (client, channel) = address(from)?;
    match rest.split_at_checked(2)? {
        ("> ", words) => Some((client, channel, true, words)),
        ("+ ", words) => Some((client, channel, false, words)),
        _ => None,
    }
}

fn address(text: &str) -> Option<(u32, u16)> {
    let (client, channel) = text.split_once('.')?;
    Some((client.parse().ok()?, channel.parse().ok()?))
}

struct Run<'a> {
    scenario: &'a Scenario,
    bench: Bench,
    opened: BTreeSet<(u32, u16)>,
    staged: BTreeMap<u32, Vec<u8>>,
    out: Vec<String>,
}

impl Run<'_> {
    fn step(&mut self, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        if let Some((client, channel, at_once, words)) = sent(line) {
            self.send(client, channel, at_once, words);
        } else if let Some(names) = line.strip_prefix("count ") {
            for name in names.split_whitespace() {
                self.out.push(format!("= {name}: {}", self.bench.describe(name)));
            }
        } else if let Some(names) = line.strip_prefix("delayed ") {
            for name in names.split_whitespace() {
                self.out.push(format!("= {name}: {}", self.bench.delayed(name)));
            }
        } else if let Some(level) = line.strip_prefix("compatibility ") {
            self.bench.follow(level);
        } else if let Some(names) = line.strip_prefix("take ") {
            for name in names.split_whitespace() {
                let bodies: Vec<_> =
                    self.bench.take_all(name).iter().map(|body| frames::show(body)).collect();
                self.out.push(format!("= {name}: {}", bodies.join(" ")).trim_end().to_owned());
            }
        } else if let Some(milliseconds) = line.strip_prefix("wait ") {
            self.bench.wait(milliseconds.parse().expect("a number"));
        } else {
            self.happen(line);
        }
        self.note_received();
    }

    fn happen(&mut self, line: &str) {
        let (client, what) = line.split_once(' ').unwrap_or((line, ""));
        let client: u32 = client.parse().unwrap_or_else(|_| panic!("not understood: {line}"));
        match what {
            "connects" => self.bench.connect(client, true),
            "connects without cancel-notify" => self.bench.connect(client, false),
            "stops reading" => self.bench.set_reading(client, false),
            "reads again" => {
                self.out.push(format!("= {} octets were waiting", self.bench.unwritten(client)));
                self.bench.set_reading(client, true);
            }
            "is lost" => {
                self.bench.lose(client);
                self.opened.retain(|(other, _)| *other != client);
            }
            _ => panic!("not understood: {line}"),
        }
    }

    fn send(&mut self, client: u32, channel: u16, at_once: bool, words: &str) {
        if !self.bench.is_connected(client) {
            self.bench.connect(client, true);
        }
        if channel != 0 && self.opened.insert((client, channel)) && words != "channel.open" {
            self.bench.send(client, &self.scenario.encode(channel, "channel.open"));
            let opened = self.bench.received();
            assert!(opened.len() <= 1, "a channel that opens bothers nobody else");
        }
        let staged = self.staged.entry(client).or_default();
        staged.extend(self.scenario.encode(channel, words));
        if at_once {
            let octets = std::mem::take(staged);
            self.bench.send(client, &octets);
        }
    }

    fn note_received(&mut self) {
        for (client, octets) in self.bench.received() {
            for (channel, line) in frames::decode(&octets) {
                self.out.push(format!("{client}.{channel} < {line}"));
            }
        }
    }
}

/// By channel, the numbers of what was confirmed (`true`) or refused.
pub type Confirmed = BTreeMap<String, Vec<(u64, bool)>>;

/// A transcript with the confirms taken out of it, and the numbers confirmed by channel: how confirms are batched
/// depends on how input is spread over reads, all else does not.
pub fn without_confirms(transcript: &[String]) -> (Vec<String>, Confirmed) {
    let mut confirmed = Confirmed::new();
    let mut rest = Vec::new();
    for line in transcript {
        let refused = line.split_once(" < basic.nack ");
        let Some((channel, confirm)) = line.split_once(" < basic.ack ").or(refused) else {
            rest.push(line.clone());
            continue;
        };
        let (number, flags) = confirm.split_once(' ').unwrap_or((confirm, ""));
        let number: u64 = number.parse().expect("a number");
        let numbers = confirmed.entry(channel.to_owned()).or_default();
        let before = numbers.last().map_or(0, |(last, _)| *last).min(number);
        let first = if flags.starts_with("multiple") { before + 1 } else { number };
        numbers.extend((first..=number).map(|number| (number, refused.is_none())));
    }
    (rest, confirmed)
}
