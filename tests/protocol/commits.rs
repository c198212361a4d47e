//! What waits for the disk: replies to definitions, and all that comes after them. Here the test is the one who writes.

use crate::common::client::Client;
use crate::common::{Broker, wait_until};

const UNWRITABLE: &str = "connection.close 541 INTERNAL_ERROR - the data folder cannot be written";

/// A broker whose vhost is kept on disk, on which a durable definition has just changed.
fn kept() -> Broker {
    let broker = Broker::start();
    broker.node.vhost("/").unwrap().with(|vhost, _| vhost.commits.turn_on());
    define(&broker);
    broker
}

fn define(broker: &Broker) {
    broker.node.vhost("/").unwrap().with(|vhost, _| vhost.commits.note_definition());
}

/// Begins to write what there is, and says whether acknowledgements are to be in it.
fn begin(broker: &Broker) -> (u64, bool) {
    broker.node.vhost("/").unwrap().with(|vhost, _| vhost.commits.close())
}

/// Everything up to this commit is on disk.
fn end(broker: &Broker, commit: u64) {
    broker.node.vhost("/").unwrap().with(|vhost, outboxes| {
        vhost.commits.announce(commit);
        outboxes.committed(commit);
    });
}

fn fail(broker: &Broker) {
    broker.node.vhost("/").unwrap().with(|_, outboxes| outboxes.failed());
}

/// Sends something that changes definitions and is not answered, and waits until it has happened.
fn declare(broker: &Broker, client: &mut Client, queue: &str) {
    client.send(1, &*format!("queue.declare queue={queue} durable"));
    wait_until(|| broker.queue(queue).is_some(), || format!("{queue} is not there"));
}

#[test]
fn replies_to_definitions_wait_and_what_comes_after_them_as_well() {
    let broker = kept();
    let mut client = broker.channel();
    client.all_ok(1, &["basic.qos prefetch-count=1"]);
    declare(&broker, &mut client, "a");
    client.send(1, "queue.bind queue=a exchange=amq.direct routing-key=k");
    client.publish(1, "", "a", "m");
    client.send(1, "basic.get queue=a");
    client.send(1, "queue.unbind queue=a exchange=amq.direct routing-key=k");
    broker.until("a", 0, 1);
    let (first, thorough) = begin(&broker);
    assert!(!thorough);
    // Others are not held up.
    let mut other = broker.channel();
    other.quiet(1);
    end(&broker, first);
    for wanted in ["queue.declare-ok ", "queue.bind-ok", "basic.get-ok ", "queue.unbind-ok"] {
        let found = client.next(1).text;
        assert!(found.starts_with(wanted), "{found}, not {wanted}");
    }
    client.all_ok(1, &["queue.declare queue=a durable"]);
}

#[test]
fn each_commit_answers_what_it_holds_and_a_failure_the_rest() {
    let broker = kept();
    let (mut client, mut reader) = (broker.channel(), broker.channel());
    declare(&broker, &mut client, "a");
    client.send(1, "exchange.declare exchange=x type=direct");
    let vhost = broker.node.vhost("/").unwrap();
    let declared = || vhost.with(|vhost, _| vhost.exchange(b"x").is_some());
    wait_until(declared, || "x is not there".to_owned());
    let (first, _) = begin(&broker);
    define(&broker);
    declare(&broker, &mut client, "b");
    client.send(1, "channel.flow active");
    end(&broker, first);
    assert!(client.next(1).text.starts_with("queue.declare-ok queue='a'"));
    assert!(client.next(1).text.starts_with("exchange.declare-ok"));
    fail(&broker);
    assert_eq!(client.until_end(), format!("{UNWRITABLE} (0,0)"));
    // A reader has nothing to wait for; whoever changes something now hears of it.
    reader.quiet(1);
    reader.send(1, "queue.declare queue=c durable");
    assert_eq!(reader.until_end(), format!("{UNWRITABLE} (50,10)"));
}

#[test]
fn what_changes_nothing_is_answered_at_once() {
    let broker = kept();
    let mut client = broker.channel();
    client.send(1, "queue.declare queue=a durable no-wait");
    client.all_ok(1, &["queue.declare queue=a passive", "exchange.declare exchange=amq.direct passive"]);
    client.send(1, "queue.bind queue=a exchange=amq.direct no-wait");
    client.send(1, "queue.bind queue=a exchange=none");
    assert!(client.next(1).text.starts_with("channel.close 404 "), "a refusal changes nothing");
    client.close();
}

/// A refusal queues up behind what is held; so does the answer to a close.
#[test]
fn closes_keep_their_place() {
    let broker = kept();
    let (mut refused, mut leaving, mut lost) = (broker.channel(), broker.channel(), broker.channel());
    declare(&broker, &mut refused, "a");
    refused.send(1, "queue.bind queue=a exchange=none");
    declare(&broker, &mut leaving, "b");
    leaving.send(0, "connection.close reply-code=200");
    let (first, _) = begin(&broker);
    define(&broker);
    declare(&broker, &mut lost, "c");
    lost.send(0, "connection.close reply-code=200");
    let left = || broker.node.connections.all().iter().filter(|c| c.channels() == 0).count();
    wait_until(|| left() == 2, || format!("{} have left", left()));
    end(&broker, first);
    assert!(refused.next(1).text.starts_with("queue.declare-ok "));
    assert!(refused.next(1).text.starts_with("channel.close 404 "));
    assert!(leaving.next(1).text.starts_with("queue.declare-ok "));
    assert_eq!(leaving.next(0).text, "connection.close-ok");
    fail(&broker);
    // It is neither told that `c` is there nor that it has closed, but that something went wrong.
    assert_eq!(lost.until_end(), format!("{UNWRITABLE} (0,0)"));
}

#[test]
fn a_transaction_is_answered_when_it_is_on_disk() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "tx.select"]);
    broker.channel().publish(1, "", "q", "m");
    broker.until("q", 1, 0);
    client.send(1, "basic.get queue=q");
    let tag = client.next(1).tag();
    broker.node.vhost("/").unwrap().with(|vhost, _| vhost.commits.turn_on());
    // Nothing in it is to be kept.
    client.all_ok(1, &["tx.commit"]);
    client.send(1, &*format!("basic.ack delivery-tag={tag}"));
    client.send(1, "tx.commit");
    broker.until("q", 0, 0);
    let (commit, thorough) = begin(&broker);
    assert!(thorough, "acknowledgements are to be written");
    end(&broker, commit);
    assert_eq!(client.next(1).text, "tx.commit-ok");
    broker.channel().publish(1, "", "q", "m");
    broker.until("q", 1, 0);
    client.send(1, "basic.get queue=q no-ack");
    client.next(1);
    client.all_ok(1, &["tx.rollback"]);
    broker.channel().publish(1, "", "q", "m");
    broker.until("q", 1, 0);
    client.send(1, "basic.get queue=q");
    let tag = client.next(1).tag();
    client.send(1, &*format!("basic.ack delivery-tag={tag}"));
    client.send(1, "tx.commit");
    broker.until("q", 0, 0);
    fail(&broker);
    assert_eq!(client.until_end(), format!("{UNWRITABLE} (0,0)"));
}
