//! The binary on a file system that is really full, and with too few files.

use crate::common::client::Client;
use crate::common::method::method;
use crate::publisher::{Publisher, number_of};
use crate::rig::delivered;
use crate::server::{Server, Small};

const FULL: &str = "the disk is full, publishers are blocked until there is space";
const SIZE: usize = 32 << 10;
/// Messages that are not confirmed at a time.
const WINDOW: u64 = 20;

/// Publishes until the disk is full, and the publisher is told so.
fn fill_up(server: &Server, publisher: &mut Publisher) {
    while !server.has_said(FULL) && publisher.blocked == 0 {
        publisher.publish(WINDOW - publisher.open(), SIZE);
        publisher.look();
    }
    server.until_said(FULL);
    // Whoever publishes now is not read from, and knows.
    publisher.publish(1, SIZE);
    publisher.until(|own| own.blocked > 0);
}

/// Takes and acknowledges these, one by one.
fn drain(client: &mut Client, numbers: std::ops::RangeInclusive<u64>) {
    for wanted in numbers {
        let event = client.next(1);
        assert_eq!(delivered(&event), wanted);
        client.send(1, method(&format!("basic.ack delivery-tag={}", event.tag())));
    }
}

fn numbers(server: &Server, queue: &str) -> Vec<u64> {
    let mut client = server.client();
    let mut found = Vec::new();
    loop {
        client.send(1, method("basic.get").set("queue", queue));
        let event = client.next(1);
        if event.text == "basic.get-empty" {
            return found;
        }
        found.push(number_of(&event.body));
    }
}

#[test]
fn a_file_system_fills_up_and_is_drained() {
    let Some(small) = Small::mount("drained", 16 << 20) else { return };
    let server = small.serve(Some(0));
    server.client().all_ok(1, &["queue.declare queue=q durable"]);
    let mut publisher = server.publisher("q");
    fill_up(&server, &mut publisher);
    let confirmed = publisher.acked.len() as u64;
    assert!(publisher.open() > 0 && publisher.nacked.is_empty(), "{publisher}");
    let sent = publisher.sent;
    let mut consumer = server.client();
    consumer.all_ok(1, &["basic.qos prefetch-count=100", "basic.consume queue=q consumer-tag=c"]);
    drain(&mut consumer, 1..=sent);
    publisher.until_all_acked();
    publisher.until(|own| own.unblocked == own.blocked);
    // What is acknowledged is on disk with what is confirmed later.
    publisher.confirmed(100, SIZE);
    drain(&mut consumer, sent + 1..=sent + 10);
    consumer.close();
    publisher.confirmed(1, SIZE);
    assert!(confirmed > 100, "{confirmed} were confirmed before it was full");
    server.kill();
    let server = small.serve(Some(0));
    assert_eq!(numbers(&server, "q"), (sent + 11..=sent + 101).collect::<Vec<_>>());
}

/// What was confirmed is there although the server is killed while the disk is full, and the disk still is at its
/// next start.
#[test]
fn a_server_killed_on_a_full_disk_starts_on_it() {
    let Some(small) = Small::mount("killed", 16 << 20) else { return };
    let server = small.serve(Some(0));
    server.client().all_ok(1, &["queue.declare queue=q durable"]);
    let mut publisher = server.publisher("q");
    fill_up(&server, &mut publisher);
    publisher.look();
    let confirmed = publisher.acked.len();
    server.kill();
    let server = small.serve(Some(0));
    let found = numbers(&server, "q");
    assert!(found.len() >= confirmed, "{} of {confirmed}", found.len());
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
    let mut consumer = server.client();
    consumer.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    drain(&mut consumer, 1..=found.len() as u64);
    server.publisher("q").confirmed(100, SIZE);
}

/// One message that nobody is done with does not keep the room of all the others.
#[test]
fn one_message_does_not_keep_the_room_of_others() {
    let Some(small) = Small::mount("one", 48 << 20) else { return };
    let server = small.serve(Some(0));
    server.client().all_ok(1, &["queue.declare queue=q durable"]);
    let mut holder = server.client();
    let mut publisher = server.publisher("q");
    publisher.confirmed(1, SIZE);
    holder.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=q consumer-tag=holder"]);
    assert_eq!(delivered(&holder.next(1)), 1);
    fill_up(&server, &mut publisher);
    let sent = publisher.sent;
    let mut consumer = server.client();
    consumer.all_ok(1, &["basic.qos prefetch-count=100", "basic.consume queue=q consumer-tag=c"]);
    drain(&mut consumer, 2..=sent);
    publisher.until_all_acked();
    publisher.confirmed(100, SIZE);
}

#[test]
fn too_little_is_free_from_the_beginning() {
    let Some(small) = Small::mount("limit", 16 << 20) else { return };
    let server = small.serve(None);
    server.until_said("fewer than the limit of 50000000: publishers are blocked");
    server.client().all_ok(1, &["queue.declare queue=q durable"]);
    let mut publisher = server.publisher("q");
    publisher.publish(1, SIZE);
    publisher.until(|own| own.blocked > 0);
    assert!(publisher.acked.is_empty(), "{publisher}");
    // Others do not publish, and go on.
    assert!(numbers(&server, "q").is_empty());
}

#[test]
fn a_declaration_waits_for_space() {
    let Some(small) = Small::mount("declare", 16 << 20) else { return };
    let server = small.serve(Some(0));
    server.client().all_ok(1, &["queue.declare queue=q durable"]);
    server.publisher("q").confirmed(10, SIZE);
    small.fill(0);
    // The store has some room of its own, which is used up in the end.
    let mut client = server.client();
    let mut declared = 0;
    let name = |number: usize| format!("{number:0200}");
    let mut sent = 0;
    while !server.has_said(FULL) {
        client.send(1, method("queue.declare durable").set("queue", name(sent)));
        sent += 1;
        if sent - declared > 20 {
            while let Some(frame) =
                client.frame_within(std::time::Duration::from_millis(20)).expect("it lives")
            {
                assert_eq!((frame.kind, &frame.payload[..4]), (1, &[0, 50, 0, 11][..]));
                declared += 1;
            }
        }
    }
    // One that is not answered: it waits, and others are served.
    client.send(1, method("queue.declare durable").set("queue", name(sent)));
    sent += 1;
    let mut other = server.client();
    other.send(1, "basic.get queue=q no-ack");
    assert_eq!(delivered(&other.next(1)), 1);
    small.make_room();
    let end = std::time::Instant::now() + crate::common::PATIENCE;
    while declared < sent {
        let frame = client.frame_within(std::time::Duration::from_millis(50)).expect("it lives");
        declared += usize::from(frame.is_some());
        assert!(std::time::Instant::now() < end, "{declared} of {sent} answered");
    }
    server.publisher("q").confirmed(1, SIZE);
    server.kill();
    let server = small.serve(Some(0));
    let mut client = server.client();
    for number in 0..sent {
        client.send(1, method("queue.declare passive").set("queue", name(number)));
        assert!(client.next(1).text.starts_with("queue.declare-ok"));
    }
    assert_eq!(numbers(&server, "q").len(), 10);
}

/// Clients that take all there are keep nobody's messages from the disk.
#[test]
fn clients_take_every_file() {
    let folder = std::env::temp_dir().join(format!("leveret-files-{}", std::process::id()));
    let server = Server::with_files(&folder, 80);
    let queues: Vec<_> = (0..12).map(|n| format!("q{n}")).collect();
    let mut client = server.client();
    for queue in &queues {
        client.all_ok(1, &[&format!("queue.declare queue={queue} durable")]);
    }
    let mut publisher = server.publisher("q0");
    let held: Vec<_> = (0..120).map(|_| std::net::TcpStream::connect(server.address)).collect();
    server.until_said("too many files are open");
    // Each needs a file of its own.
    for queue in &queues {
        publisher.queue.clone_from(queue);
        publisher.confirmed(1, SIZE);
    }
    assert!(!server.has_said("nothing is confirmed any more"));
    drop(held);
    server.kill();
    let _ = std::fs::remove_dir_all(&folder);
}
