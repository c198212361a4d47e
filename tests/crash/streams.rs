//! A super stream under kill -9, at random moments: what was confirmed keeps its offset, numbered messages that are
//! published again are stored once, and a group whose members come and go passes over nothing.
//!
//! The message with the number n lies at the offset n of its partition, always: whoever publishes begins a little before
//! what was confirmed last, and numbers its messages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::PATIENCE;
use crate::common::method::method;
use crate::common::table::{flag, headers, int, text};
use crate::link::{Broken, Incoming, Link};
use crate::message::Message;
use crate::random::Random;
use crate::rounds::{seed, setting};
use crate::server::{Folder, Server};

const PARTITIONS: usize = 3;
const MEMBERS: usize = 3;
/// Confirmed messages of each partition that are published once more.
const AGAIN: u64 = 50;
/// Messages that are published in a round.
const TARGET: u64 = 3000;
const SHORT: Duration = Duration::from_millis(20);

/// Of a partition.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Everything before it was confirmed.
    confirmed: u64,
    /// Where the group goes on, or beyond it.
    sure: u64,
    /// What members have acknowledged, be it that the broker knows or not.
    acked: BTreeSet<u64>,
    /// The part of it that the broker has worked off, since it was killed last.
    certain: BTreeSet<u64>,
}

/// Partitions and offsets.
type Places = Vec<(usize, u64)>;

/// What a member has seen and done.
#[derive(Default)]
struct Seen {
    delivered: Places,
    acked: Places,
    certain: Places,
}

fn declare(address: SocketAddr) -> Result<(), Broken> {
    let mut link = Link::open(address)?;
    link.call(
        method("exchange.declare exchange=events type=direct durable")
            .args(&[("x-super-stream", flag(true))]),
    )?;
    for partition in 0..PARTITIONS {
        let (queue, order) = (format!("events-{partition}"), i32::try_from(partition).unwrap());
        // Segments are so small that there are several.
        let arguments =
            [("x-queue-type", text("stream")), ("x-stream-max-segment-size-bytes", int(16 << 10))];
        link.call(method("queue.declare durable").set("queue", queue.as_str()).args(&arguments))?;
        let bind = method("queue.bind exchange=events").set("queue", queue.as_str());
        let bind = bind.set("routing-key", partition.to_string().as_str());
        link.call(bind.args(&[("x-stream-partition-order", int(order))]))?;
    }
    link.close()
}

fn body(number: u64) -> Vec<u8> {
    format!("event {number} {}", "x".repeat(100)).into_bytes()
}

/// The partition and the offset of a message, which has to be the right one.
fn place(message: &Message) -> (usize, u64) {
    let name = b"\x0fx-stream-offsetl";
    let at = message.properties.windows(name.len()).position(|found| found == name).expect("an offset");
    let at = at + name.len();
    let offset = u64::from_be_bytes(message.properties[at..at + 8].try_into().unwrap());
    assert_eq!(message.body, body(offset), "at offset {offset} of {}", message.key);
    (message.key.parse().expect("a partition"), offset)
}

/// Publishes to all partitions until the broker is gone. Returns up to where everything is confirmed.
fn publish(
    address: SocketAddr,
    mut next: [u64; PARTITIONS],
    window: usize,
    mut random: Random,
) -> [u64; PARTITIONS] {
    let mut open: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    let mut tag = 0;
    let mut publish = || -> Result<(), Broken> {
        let mut link = Link::open(address)?;
        link.call("confirm.select")?;
        loop {
            while open.len() < window && tag < TARGET {
                let partition = random.below(PARTITIONS);
                let number = next[partition];
                let sequence = int(i32::try_from(number).unwrap());
                let properties =
                    headers(&[("x-stream-publisher", text("p")), ("x-stream-sequence", sequence)]);
                let key = partition.to_string();
                let publish = method("basic.publish exchange=events").set("routing-key", key.as_str());
                link.publish(&publish, &properties, &body(number))?;
                (tag, next[partition]) = (tag + 1, number + 1);
                open.insert(tag, (partition, number));
            }
            match link.next(if open.is_empty() { SHORT } else { PATIENCE })? {
                Some(Incoming::Confirm { tag, multiple, nack }) => {
                    assert!(!nack, "refused");
                    open.retain(|other, _| *other != tag && !(multiple && *other < tag));
                }
                None if open.is_empty() => {}
                other => panic!("instead of a confirm: {other:?}"),
            }
        }
    };
    let Err(Broken::Ended(_)) = publish() else { panic!("publishing ended in another way") };
    for (partition, number) in open.into_values() {
        next[partition] = next[partition].min(number);
    }
    next
}

/// Reads for the group until the broker is gone, or until all are to be quiet. Comes and goes now and then.
fn read(address: SocketAddr, quiet: &AtomicBool, mut random: Random) -> Seen {
    let mut seen = Seen::default();
    while !quiet.load(Ordering::SeqCst) {
        match visit(address, quiet, &mut random, &mut seen) {
            Ok(()) => {}
            Err(Broken::Ended(_)) => break,
            Err(refused) => panic!("{refused:?}"),
        }
    }
    seen
}

fn visit(
    address: SocketAddr,
    quiet: &AtomicBool,
    random: &mut Random,
    seen: &mut Seen,
) -> Result<(), Broken> {
    let mut link = Link::open(address)?;
    link.call(&*format!("basic.qos prefetch-count={}", 1 + random.below(60)))?;
    link.call(method("basic.consume queue=events").args(&[("x-stream-group", text("g"))]))?;
    let stay = if random.chance(50) { usize::MAX } else { random.below(200) };
    let (batch, mut open, mut last) = (1 + random.below(20), Vec::new(), [None; PARTITIONS]);
    let before = seen.acked.len();
    for _ in 0..stay {
        if quiet.load(Ordering::SeqCst) {
            break;
        }
        let idle = match link.next(SHORT)? {
            Some(Incoming::Message(message)) => {
                let (partition, offset) = place(&message);
                assert!(
                    last[partition] < Some(offset),
                    "{offset} of {partition} after {:?}",
                    last[partition]
                );
                last[partition] = Some(offset);
                seen.delivered.push((partition, offset));
                open.push((message.tag, partition, offset));
                false
            }
            Some(other) => panic!("instead of a message: {other:?}"),
            None => true,
        };
        if idle || open.len() >= batch {
            let Some((tag, ..)) = open.last().copied() else { continue };
            // Before they are sent, since nobody knows what still arrives.
            seen.acked.extend(open.drain(..).map(|(_, partition, offset)| (partition, offset)));
            link.tell(&*format!("basic.ack multiple delivery-tag={tag}"))?;
        }
    }
    if random.chance(50) || quiet.load(Ordering::SeqCst) {
        link.sync()?;
        seen.certain.extend_from_slice(&seen.acked[before..]);
    }
    Ok(())
}

/// Everything of a partition, in order, and nothing twice.
fn check(address: SocketAddr, partition: usize, known: &Known) -> Result<(), Broken> {
    let mut link = Link::open(address)?;
    link.call("basic.qos prefetch-count=60000")?;
    let consume = method("basic.consume").set("queue", format!("events-{partition}").as_str());
    link.call(consume.args(&[("x-stream-offset", text("first"))]))?;
    let mut next = 0;
    while let Some(Incoming::Message(message)) =
        link.next(if next < known.confirmed { PATIENCE } else { SHORT })?
    {
        assert_eq!(place(&message), (partition, next));
        next += 1;
    }
    assert!(next >= known.confirmed, "{next} of {} in {partition}", known.confirmed);
    link.close()
}

fn round(folder: &Folder, known: &mut [Known; PARTITIONS], random: &mut Random) {
    let server = Server::start(&folder.0);
    let address = server.address;
    declare(address).expect("declared");
    for (partition, known) in known.iter().enumerate() {
        check(address, partition, known).expect("read");
    }
    let quiet = Arc::new(AtomicBool::new(false));
    let members = [(); MEMBERS].map(|()| {
        let (quiet, random) = (Arc::clone(&quiet), Random::new(random.next()));
        thread::spawn(move || read(address, &quiet, random))
    });
    let begin = [0, 1, 2].map(|at: usize| known[at].confirmed.saturating_sub(AGAIN));
    let (window, own) = (1 + random.below(300), Random::new(random.next()));
    let publisher = thread::spawn(move || publish(address, begin, window, own));
    thread::sleep(Duration::from_millis(20 + random.below(600) as u64));
    let (is_killed, is_quiet) = (random.chance(70), random.chance(50));
    if is_quiet {
        quiet.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(random.below(1200) as u64));
    }
    let end = |server: Server| if is_killed { server.kill() } else { server.stop() };
    let seen = if is_quiet {
        let seen = members.map(|member| member.join().expect("a member"));
        end(server);
        seen
    } else {
        end(server);
        members.map(|member| member.join().expect("a member"))
    };
    let confirmed = publisher.join().expect("a publisher");
    for (partition, known) in known.iter_mut().enumerate() {
        known.confirmed = known.confirmed.max(confirmed[partition]);
        let of = |all: fn(&Seen) -> &Places| -> BTreeSet<u64> {
            let all = seen.iter().flat_map(all).filter(|(found, _)| *found == partition);
            all.map(|(_, offset)| *offset).collect()
        };
        if let Some(begin) = of(|seen| &seen.delivered).first().copied() {
            assert!(begin >= known.sure, "{partition} begins at {begin}, before {}", known.sure);
            let passed = (known.sure..begin).find(|offset| !known.acked.contains(offset));
            assert_eq!(passed, None, "of {partition} was passed over, which begins at {begin}");
            known.sure = begin;
        }
        known.acked.extend(of(|seen| &seen.acked));
        if is_killed {
            // What groups have got to is on disk within about a second: the last of it may be lost.
            known.certain.clear();
        } else {
            known.certain.extend(of(|seen| &seen.certain));
            while known.certain.contains(&known.sure) {
                known.sure += 1;
            }
        }
    }
}

#[test]
fn offsets_stay_and_groups_go_on() {
    let (folder, seed) = (Folder::new("streams"), seed());
    let (mut known, mut random) = (<[Known; PARTITIONS]>::default(), Random::new(seed));
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..setting("LEVERET_CRASH_ROUNDS").unwrap_or(10) {
            round(&folder, &mut known, &mut random);
        }
    }));
    assert!(played.is_ok(), "LEVERET_SEED={seed}");
    assert!(known.iter().all(|known| known.confirmed > 0), "hardly any load");
    assert!(known.iter().any(|known| known.sure > 0), "the group has never got on");
}
