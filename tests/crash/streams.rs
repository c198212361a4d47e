//! A stream under kill -9: what was confirmed keeps its offset, numbered messages that are published again are stored once,
//! and a group goes on where it was.

use crate::common::client::{Client, Event};
use crate::common::method::method;
use crate::common::table::{headers, int, text};
use crate::server::{Folder, Server};

const PUBLISH: u16 = 1;
const READ: u16 = 2;
const GROUP: u16 = 3;
/// Messages that are published anew in a round, and of these the ones whose confirms are waited for.
const MORE: u64 = 600;
const CONFIRMED: u64 = 400;
/// Confirmed messages that are published once more.
const AGAIN: u64 = 50;
/// Messages that the group reads in a round; the last of them are not acknowledged.
const GROUP_READS: u64 = 120;
const OPEN: u64 = 15;

/// What the clients know.
#[derive(Default)]
struct Known {
    /// Everything before it was confirmed.
    confirmed: u64,
    /// Where the group goes on: it has got to the first one on disk for sure, and to the second one at most.
    group: (u64, u64),
}

fn open(server: &Server) -> Client {
    let mut client = Client::open(server.address);
    for channel in [PUBLISH, READ, GROUP] {
        client.open_channel(channel);
    }
    let declare = method("queue.declare queue=events durable").args(&[
        ("x-queue-type", text("stream")),
        // So small that there are several.
        ("x-stream-max-segment-size-bytes", int(16 << 10)),
    ]);
    let answer = client.call(PUBLISH, declare);
    assert!(answer.starts_with("queue.declare-ok"), "{answer}");
    client
}

/// Publishes from a number on until enough is confirmed, and more.
fn publish(client: &mut Client, known: &mut Known) {
    let begin = known.confirmed.saturating_sub(AGAIN);
    client.all_ok(PUBLISH, &["confirm.select"]);
    for number in begin..known.confirmed + MORE {
        let sequence = int(i32::try_from(number).unwrap());
        let properties = headers(&[("x-stream-publisher", text("p")), ("x-stream-sequence", sequence)]);
        client.publish_with(PUBLISH, "basic.publish routing-key=events", &properties, &body(number));
    }
    let enough = known.confirmed + CONFIRMED;
    let (mut tags, mut single) = (0, std::collections::BTreeSet::new());
    while begin + tags < enough {
        let event = client.next(PUBLISH);
        assert!(event.text.starts_with("basic.ack "), "{event}");
        if event.text.contains(" multiple") {
            tags = tags.max(event.tag());
        } else {
            single.insert(event.tag());
        }
        while single.remove(&(tags + 1)) {
            tags += 1;
        }
    }
    known.confirmed = begin + tags;
}

fn body(number: u64) -> Vec<u8> {
    format!("event {number} {}", "x".repeat(100)).into_bytes()
}

fn consume(client: &mut Client, channel: u16, argument: (&str, &str), prefetch: u16) {
    client.all_ok(channel, &[&format!("basic.qos prefetch-count={prefetch}")]);
    let consume = method("basic.consume queue=events").args(&[(argument.0, text(argument.1))]);
    let answer = client.call(channel, consume);
    assert!(answer.starts_with("basic.consume-ok"), "{answer}");
}

/// The next message, and its number, which is its offset.
fn next(client: &mut Client, channel: u16) -> (Event, u64) {
    let event = client.next(channel);
    assert!(event.text.starts_with("basic.deliver "), "{event}");
    let name = b"\x0fx-stream-offsetl";
    let at =
        event.properties.windows(name.len()).position(|found| found == name).expect("an offset") + name.len();
    let offset = u64::from_be_bytes(event.properties[at..at + 8].try_into().unwrap());
    assert_eq!(event.body, body(offset), "offset {offset}");
    (event, offset)
}

/// Everything that was confirmed is there, once, and in order: the message with the number n at the offset n.
fn read_all(client: &mut Client, known: &Known) {
    consume(client, READ, ("x-stream-offset", "first"), 60_000);
    for number in 0..known.confirmed {
        assert_eq!(next(client, READ).1, number);
    }
}

/// The group goes on where it was, and leaves something open. Returns the first number that it has not acknowledged.
fn read_in_group(client: &mut Client, known: &Known) -> u64 {
    consume(client, GROUP, ("x-stream-group", "g"), 30);
    let (sure, most) = known.group;
    let (mut event, begin) = next(client, GROUP);
    assert!((sure..=most).contains(&begin), "the group begins at {begin}, not within {sure}..={most}");
    let mut number = begin;
    while number < begin + GROUP_READS - OPEN {
        let tag = event.tag();
        client.send(GROUP, method(&format!("basic.ack delivery-tag={tag}")));
        number += 1;
        let (following, offset) = next(client, GROUP);
        assert_eq!(offset, number, "in a group");
        event = following;
    }
    // The acknowledgements have been worked off when this is answered; what came meanwhile stays open.
    client.send(GROUP, "basic.cancel consumer-tag=none");
    while !client.next(GROUP).text.starts_with("basic.cancel-ok") {}
    number
}

fn round(folder: &Folder, known: &mut Known, is_killed: bool) {
    let server = Server::start(&folder.0);
    let mut client = open(&server);
    publish(&mut client, known);
    read_all(&mut client, known);
    let done = read_in_group(&mut client, known);
    if is_killed {
        // It was not stored yet, or it was; what was sure stays so.
        known.group.1 = known.group.1.max(done);
        server.kill();
    } else {
        client.drop_it();
        server.stop();
        known.group = (done, done);
    }
}

#[test]
fn offsets_stay_and_groups_go_on() {
    let folder = Folder::new("streams");
    let mut known = Known::default();
    for is_killed in [true, false, true, true, false, true] {
        round(&folder, &mut known, is_killed);
    }
    assert!(known.group.0 > 0, "the group has never got on");
}
