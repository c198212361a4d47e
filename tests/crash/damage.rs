//! Files that a crash has left torn, or that have rotted. The files are written at as they lie: a record's place is found
//! by what is in it, or by what a file has grown by.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::method::method;
use crate::history::{Clock, Scribe, Step};
use crate::ledger::{End, Fault, Kind, Ledger};
use crate::link::{Incoming, Link, put_ack, put_publish};
use crate::look::Looker;
use crate::message::{Id, Producer};
use crate::plan::Look;
use crate::random::Random;
use crate::rounds::seed;
use crate::server::{Folder, Server};
use crate::topology::{self, QUEUES, QueueNo};

const PUBLISHER: Producer = 1;
const LOOKER: Producer = 2;
/// An offset that is told is at most so far from where the damage is: at the beginning of the record or of what it is in.
const NEAR: u64 = 8192;

/// A data folder, and what is known of it.
struct Store {
    folder: Folder,
    clock: Clock,
    ledger: Ledger,
    random: Random,
    next: [u64; 2],
}

impl Store {
    /// A folder with all queues declared, and nobody on it.
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let seed = seed();
        eprintln!("LEVERET_SEED={seed}");
        let random = Random::new(seed);
        let store = Self { folder, clock: Clock::default(), ledger: Ledger::new(true), random, next: [0; 2] };
        let server = Server::start(&store.folder.0);
        let mut link = Link::open(server.address).unwrap();
        topology::declare(&mut link).unwrap();
        server.kill();
        store
    }

    fn id(&mut self, route: u8, size: u32) -> Id {
        self.next[0] += 1;
        Id { producer: PUBLISHER, seq: self.next[0], route, size, durable: true }
    }

    /// Publishes persistent messages and waits until all are confirmed.
    fn publish(&mut self, server: &Server, ids: &[Id]) {
        let mut scribe = Scribe::new(&self.clock);
        let mut link = Link::open(server.address).unwrap();
        link.call("confirm.select").unwrap();
        let mut out = Vec::new();
        for id in ids {
            scribe.note(Step::Sent(*id));
            put_publish(&mut out, *id);
        }
        link.send(&out).unwrap();
        let mut confirmed = 0;
        while confirmed < ids.len() {
            match link.next(PATIENCE).unwrap() {
                Some(Incoming::Confirm { tag, multiple: true, nack: false }) => confirmed = tag as usize,
                Some(Incoming::Confirm { nack: false, .. }) => confirmed += 1,
                other => panic!("instead of a confirm came {other:?}"),
            }
        }
        for id in ids {
            scribe.note(Step::Confirmed(*id));
        }
        self.ledger.feed(scribe.into_events());
    }

    /// Some messages of several sizes for each queue.
    fn publish_some(&mut self, server: &Server, count: usize) {
        let mut ids = Vec::new();
        for _ in 0..count {
            for route in [0, 1, 2, 3, 4] {
                let size = [0, 16, 1024, 1024, 20_000][self.random.below(5)];
                ids.push(self.id(route, size));
            }
        }
        self.publish(server, &ids);
    }

    /// Acknowledges the first messages of a queue, for good.
    fn acknowledge(&mut self, server: &Server, queue: QueueNo, count: usize) {
        let marker = self.id(topology::TO_MARKERS, 16);
        let mut scribe = Scribe::new(&self.clock);
        let mut link = Link::open(server.address).unwrap();
        let get = method("basic.get").set("queue", QUEUES[queue].name);
        for _ in 0..count {
            link.tell(get.clone()).unwrap();
            let Some(Incoming::Message(message)) = link.next(PATIENCE).unwrap() else { break };
            let id = message.identify(queue).unwrap();
            scribe.note(Step::Delivered { queue, id, redelivered: message.redelivered });
            scribe.note(Step::Acked { queue, id });
            let mut out = Vec::new();
            put_ack(&mut out, message.tag, false);
            link.send(&out).unwrap();
        }
        link.call("confirm.select").unwrap();
        let since = scribe.note(Step::Sent(marker));
        let mut out = Vec::new();
        put_publish(&mut out, marker);
        link.send(&out).unwrap();
        let confirm = link.next(PATIENCE).unwrap();
        assert!(matches!(confirm, Some(Incoming::Confirm { nack: false, .. })), "{confirm:?}");
        scribe.note(Step::Confirmed(marker));
        scribe.note(Step::Landed { since });
        self.ledger.feed(scribe.into_events());
    }

    /// What is found wrong with all queues of a server that has just been started after a kill.
    fn look(&mut self, server: &Server, patience: Duration) -> Vec<Fault> {
        for queue in 0..QUEUES.len() {
            let (address, next) = (server.address, &mut self.next[1]);
            let mut looker = Looker { address, clock: &self.clock, me: LOOKER, next, patience };
            looker.look(&mut self.ledger, queue, Look::Return).unwrap();
        }
        self.ledger.take_faults()
    }

    fn kill(&mut self, server: Server) -> String {
        self.ledger.ends(End::Kill);
        server.kill()
    }

    /// Starts a server, which has to find everything.
    fn start_whole(&mut self, case: &str) -> Server {
        let server = Server::start(&self.folder.0);
        let faults = self.look(&server, PATIENCE);
        assert!(faults.is_empty(), "after {case}: {faults:#?}");
        server
    }

    /// The files with this end.
    fn files(&self, end: &str) -> Vec<PathBuf> {
        let folder = self.folder.0.join("log");
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|found| found == end));
        paths.sort();
        paths
    }

    /// Each log's newest file with this end. The files of a log begin with its number, and sort by their positions.
    fn newest(&self, end: &str) -> Vec<PathBuf> {
        let log = |path: &Path| path.file_name()?.to_str()?.split_once('-').map(|(log, _)| log.to_owned());
        let files = self.files(end);
        assert!(!files.is_empty(), "no file ends with .{end}");
        files.chunk_by(|a, b| log(a) == log(b)).filter_map(|files| files.last().cloned()).collect()
    }

    /// The file that holds these octets, and where.
    fn find(&self, octets: &[u8]) -> (PathBuf, usize) {
        let found = self.files("log").into_iter().find_map(|path| {
            let text = fs::read(&path).unwrap();
            let at = text.windows(octets.len()).position(|window| window == octets)?;
            Some((path, at))
        });
        found.expect("a message's body lies in a file as it is")
    }
}

fn append(path: &Path, octets: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(octets).unwrap();
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Octets that look random.
fn garbage(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.next() as u8).collect()
}

/// Whatever lies behind the last whole record of a file, or behind the last whole settlement.
#[test]
fn torn_tails_are_cut() {
    let mut store = Store::new("tails");
    let mut server = Server::start(&store.folder.0);
    for round in 0..8 {
        store.publish_some(&server, 20);
        store.acknowledge(&server, round % 5, 7);
        store.kill(server);
        let mut case = String::new();
        for end in ["log", "settled"] {
            for path in store.newest(end) {
                let count = [1, 7, 19, 100, 4096, 70_000][store.random.below(6)];
                let zeros = store.random.chance(50);
                let tail = if zeros { vec![0; count] } else { garbage(&mut store.random, count) };
                case += &format!("{} {} octets, zeros: {zeros}\n", path.display(), tail.len());
                append(&path, &tail);
            }
        }
        server = store.start_whole(&case);
    }
    store.kill(server);
}

/// The beginning of a record behind the last whole one.
#[test]
fn half_records_are_cut() {
    let mut store = Store::new("halves");
    let mut server = Server::start(&store.folder.0);
    for part in [1, 8, 16, 40, 200, 600, usize::MAX] {
        // Its octets are what the file grows by.
        let first = [store.id(0, 1024)];
        store.publish(&server, &first);
        let (path, _) = store.find(&first[0].body());
        let before = size(&path) as usize;
        let second = [store.id(0, 1024)];
        store.publish(&server, &second);
        store.kill(server);
        let text = fs::read(&path).unwrap();
        assert!(text.len() > before, "{} has not grown", path.display());
        let record = &text[before..];
        let part = part.min(record.len() - 1);
        append(&path, &record[..part]);
        server = store.start_whole(&format!("{part} octets of a record"));
    }
    store.kill(server);
}

/// The file ends inside of a record that nobody was promised.
#[test]
fn unconfirmed_records_may_be_cut_short() {
    let mut store = Store::new("short");
    let mut server = Server::start(&store.folder.0);
    for percent in [1, 10, 50, 90, 99] {
        let first = [store.id(0, 100)];
        store.publish(&server, &first);
        let (path, _) = store.find(&first[0].body());
        let before = size(&path);
        let (open, grown) = leave_open(&mut store, &server, &path);
        store.kill(server);
        let cut = before + (grown - before) * percent / 100;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut.max(before)).unwrap();
        server = store.start_whole(&format!("{open:?} was cut to {percent} %"));
    }
    store.kill(server);
}

/// Publishes a message and does not wait for its confirm, but until it is in its file.
fn leave_open(store: &mut Store, server: &Server, path: &Path) -> (Id, u64) {
    let id = store.id(0, 5000);
    let before = size(path);
    let mut scribe = Scribe::new(&store.clock);
    let mut link = Link::open(server.address).unwrap();
    scribe.note(Step::Sent(id));
    let mut out = Vec::new();
    put_publish(&mut out, id);
    link.send(&out).unwrap();
    store.ledger.feed(scribe.into_events());
    let end = Instant::now() + PATIENCE;
    while size(path) < before + u64::from(id.size) {
        assert!(Instant::now() < end, "{} does not grow", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
    (id, size(path))
}

/// One octet of one queue's file is another. The node starts, tells where, and has everything else; the queue gives
/// what was before the damage, nothing that was not published, and takes new messages.
fn corrupt(name: &str, place: impl Fn(&[u8], usize) -> usize) {
    const VICTIM: QueueNo = 0;
    let mut store = Store::new(name);
    let server = Server::start(&store.folder.0);
    let ids: Vec<_> = (0..200).map(|_| store.id(0, 1024)).collect();
    store.publish(&server, &ids);
    store.publish_some(&server, 20);
    store.kill(server);

    let hit = ids[100];
    let (path, at) = store.find(&hit.body());
    let mut text = fs::read(&path).unwrap();
    let at = place(&text, at);
    text[at] ^= 0x10;
    fs::write(&path, text).unwrap();

    let server = Server::start(&store.folder.0);
    let mut faults = store.look(&server, Duration::from_secs(2));
    // A record may turn out to be bad only when it is to be delivered.
    faults.retain(|fault| fault.kind != Kind::Miscounted);
    let of_victim = |fault: &Fault| fault.kind == Kind::Lost && fault.text.starts_with(QUEUES[VICTIM].name);
    assert!(!faults.is_empty() && faults.iter().all(of_victim), "{faults:#?}");
    for kept in &ids[..100] {
        let lost = format!(" lost {}-{} ", kept.producer, kept.seq);
        assert!(!faults.iter().any(|fault| fault.text.contains(&lost)), "{faults:#?}");
    }
    let new: Vec<_> = (0..10).map(|_| store.id(0, 1024)).collect();
    store.publish(&server, &new);
    let log = store.kill(server);
    assert!(names_the_place(&log, &path, at as u64), "{} at {at} is not told:\n{log}", path.display());

    let server = Server::start(&store.folder.0);
    let mut faults = store.look(&server, Duration::from_secs(2));
    faults.retain(|fault| fault.kind != Kind::Miscounted);
    assert!(faults.is_empty(), "{faults:#?}");
    store.kill(server);
}

/// Whether a line has the file's name and a number near the place.
fn names_the_place(log: &str, path: &Path, at: u64) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    log.lines().filter(|line| line.contains(name)).any(|line| {
        let rest = line.replace(name, "");
        let numbers =
            rest.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u64>().ok());
        numbers.into_iter().any(|number| number <= at && number + NEAR > at)
    })
}

#[test]
fn a_corrupt_body_is_told_and_harms_nobody_else() {
    corrupt("body", |_, body| body + 500);
}

/// The head of a record lies before its routing key, its size so many octets before that.
#[test]
fn a_corrupt_head_is_told_and_harms_nobody_else() {
    for (name, octets) in [("head", 9), ("size", 24)] {
        corrupt(name, |text, body| {
            let key = QUEUES[0].name.as_bytes();
            let at = text[..body].windows(key.len()).rposition(|window| window == key);
            at.expect("the routing key") - octets
        });
    }
}

#[test]
fn a_place_is_a_name_and_a_number() {
    let path = Path::new("/data/log/1-0000000000000000.log");
    let told = |line: &str| names_the_place(line, path, 10_000);
    assert!(told("ERROR 1-0000000000000000.log at 9500: the checksum is wrong"));
    assert!(told("offset=10000 file=/data/log/1-0000000000000000.log"));
    assert!(!told("ERROR 1-0000000000000000.log is bad"));
    assert!(!told("ERROR 2-0000000000000000.log at 9500"));
    assert!(!told("ERROR 1-0000000000000000.log at 10001"));
    assert!(!told("ERROR 1-0000000000000000.log\nat 9500"));
}
