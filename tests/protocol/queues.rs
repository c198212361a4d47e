//! Queues: names, owners, counts, deleting, and those that go by themselves.

use leveret::broker::queue::arguments::QueueType;

use crate::common::client::{Client, start_ok};
use crate::common::method::method;
use crate::common::table::{flag, map, table};
use crate::common::{Broker, Counts, locked};
use crate::{Bench, load};

fn declared(name: &str, messages: usize, consumers: usize) -> String {
    format!("queue.declare-ok queue='{name}' message-count={messages} consumer-count={consumers}")
}

fn missing(name: &str, id: &str) -> String {
    format!("channel.close 404 NOT_FOUND - no queue '{name}' in vhost '/' {id}")
}

#[test]
fn names() {
    let mut bench = Bench::new(&[]);
    let reserved = |name: &str| {
        format!(
            "channel.close 403 ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*' (50,10)"
        )
    };
    bench.cases(&[
        ("queue.declare queue=amq.x", &reserved("amq.x")),
        ("queue.declare queue=amq.gen-x exclusive", &reserved("amq.gen-x")),
        ("queue.declare queue=amq.x passive", &missing("amq.x", "(50,10)")),
        ("queue.declare queue=nope passive", &missing("nope", "(50,10)")),
        ("queue.declare queue=nope passive no-wait", &missing("nope", "(50,10)")),
        ("queue.declare passive", &missing("", "(50,10)")),
        ("queue.purge queue=nope", &missing("nope", "(50,30)")),
        ("basic.get queue=nope", &missing("nope", "(60,70)")),
        ("basic.consume queue=nope", &missing("nope", "(60,20)")),
        ("queue.delete queue=nope", "queue.delete-ok message-count=0"),
        ("queue.delete queue=nope if-unused if-empty", "queue.delete-ok message-count=0"),
        ("queue.declare queue=amq", &declared("amq", 0, 0)),
    ]);
}

#[test]
fn made_up_names() {
    let mut bench = Bench::new(&[]);
    let mut seen = Vec::new();
    for options in ["", " exclusive", " durable"] {
        bench.client.send(1, method(&format!("queue.declare{options}")));
        let name = bench.client.next(1).get("queue");
        assert!(name.starts_with("amq.gen-") && name.len() == 30, "{name}");
        assert!(!seen.contains(&name), "{name} twice");
        bench.client.publish(1, "", &name, "m");
        assert_eq!(bench.client.bodies(1, ""), ["m"], "{name}");
        seen.push(name);
    }
    bench.client.send(1, "basic.consume");
    let tag = bench.client.next(1).get("consumer-tag");
    assert!(tag.starts_with("amq.ctag-") && tag.len() == 31, "{tag}");
    bench.client.all_ok(1, &["queue.delete"]);
    assert_eq!(bench.broker.queue(&seen[2]), None);
}

#[test]
fn the_queue_declared_last() {
    let mut bench = Bench::new(&[]);
    let none = |id: &str| format!("channel.close 404 NOT_FOUND - no previously declared queue {id}");
    bench.cases(&[
        ("queue.bind exchange=amq.direct", &none("(50,20)")),
        ("queue.bind exchange=amq.direct routing-key=k", &none("(50,20)")),
        ("queue.unbind exchange=amq.direct", &none("(50,50)")),
        ("queue.purge", &none("(50,30)")),
        ("queue.delete", &none("(50,40)")),
        ("basic.consume", &none("(60,20)")),
        ("basic.get", &none("(60,70)")),
    ]);
    let Bench { broker, mut client, .. } = bench;
    client.all_ok(1, &["queue.declare queue=k1", "queue.declare queue=k2", "queue.declare queue=k1 passive"]);
    // Neither queue nor key is named: the key is the queue's name.
    client.all_ok(1, &["queue.declare queue=k1", "queue.bind exchange=amq.direct"]);
    client.publish(1, "amq.direct", "k1", "m");
    assert_eq!(client.bodies(1, ""), ["m"]);
    client.all_ok(1, &["queue.unbind exchange=amq.direct"]);
    client.publish(1, "amq.direct", "k1", "lost");
    assert_eq!(client.call(1, "basic.get"), "basic.get-empty");
    // A passive declaration counts as well, and one without an answer.
    client.all_ok(1, &["queue.declare queue=k2 passive"]);
    client.publish(1, "", "k2", "in k2");
    assert_eq!(client.bodies(1, ""), ["in k2"]);
    client.send(1, "queue.declare queue=k3 no-wait");
    client.publish(1, "", "k3", "in k3");
    assert_eq!(client.bodies(1, ""), ["in k3"]);
    // It is the channel's own.
    client.open_channel(3);
    assert_eq!(client.call(3, "basic.get"), none("(60,70)"));
    // An empty name in a passive declaration is just an empty name.
    assert_eq!(client.call(1, "queue.declare passive"), missing("", "(50,10)"));
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    assert_eq!(client.call(1, "basic.get"), none("(60,70)"));
    client.send(1, "channel.close-ok");
    // It stays when its queue goes.
    client.open_channel(1);
    client.all_ok(1, &["queue.declare queue=k3", "queue.delete queue=k3"]);
    assert_eq!(client.call(1, "queue.purge"), missing("k3", "(50,30)"));
    assert_eq!(broker.queue("k3"), None);
}

#[test]
fn declared_differently() {
    let mut bench = Bench::new(&[
        "queue.declare queue=r1 durable",
        "queue.declare queue=re exclusive",
        "queue.declare queue=ra auto-delete",
    ]);
    let differs = |what: &str, name: &str, how: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - inequivalent arg '{what}' for queue '{name}' in vhost '/': \
             received {how} (50,10)"
        )
    };
    let durable = differs("durable", "r1", "'false' but current is 'true'");
    bench.cases(&[
        ("queue.declare queue=r1", &durable),
        ("queue.declare queue=r1 auto-delete", &durable),
        (
            "queue.declare queue=r1 durable auto-delete",
            &differs("auto_delete", "r1", "'true' but current is 'false'"),
        ),
        ("queue.declare queue=ra", &differs("auto_delete", "ra", "'false' but current is 'true'")),
        ("queue.declare queue=r1 durable exclusive", &locked("r1", "(50,10)")),
        ("queue.declare queue=r1 exclusive auto-delete", &locked("r1", "(50,10)")),
        ("queue.declare queue=re", &locked("re", "(50,10)")),
        ("queue.declare queue=re exclusive", &declared("re", 0, 0)),
        // An exclusive queue is never durable, whatever is asked for.
        ("queue.declare queue=re exclusive durable", &declared("re", 0, 0)),
        (
            "queue.declare queue=re exclusive auto-delete",
            &differs("auto_delete", "re", "'true' but current is 'false'"),
        ),
        ("queue.declare queue=r1 passive auto-delete exclusive", &declared("r1", 0, 0)),
        ("queue.declare queue=r1 durable", &declared("r1", 0, 0)),
    ]);
}

#[test]
fn somebody_elses_exclusive_queue() {
    let mut bench = Bench::new(&[]);
    let mut owner = bench.broker.channel();
    owner.all_ok(1, &["queue.declare queue=ex exclusive"]);
    bench.cases(&[
        ("queue.declare queue=ex exclusive", &locked("ex", "(50,10)")),
        ("queue.declare queue=ex", &locked("ex", "(50,10)")),
        ("queue.declare queue=ex passive", &locked("ex", "(50,10)")),
        ("queue.delete queue=ex", &locked("ex", "(50,40)")),
        ("queue.delete queue=ex if-unused", &locked("ex", "(50,40)")),
        ("queue.purge queue=ex", &locked("ex", "(50,30)")),
        ("queue.bind queue=ex exchange=amq.direct", &locked("ex", "(50,20)")),
        (
            "queue.bind queue=ex exchange=nosuch",
            "channel.close 404 NOT_FOUND - no exchange 'nosuch' in vhost '/' (50,20)",
        ),
        ("queue.unbind queue=ex exchange=amq.direct", "queue.unbind-ok"),
        ("queue.unbind queue=ex exchange=nosuch", "queue.unbind-ok"),
        ("basic.consume queue=ex", &locked("ex", "(60,20)")),
        ("basic.get queue=ex", &locked("ex", "(60,70)")),
    ]);
    // Publishing to it is free to all, and another channel of its owner may do everything.
    bench.client.publish(1, "", "ex", "from elsewhere");
    bench.client.quiet(1);
    owner.open_channel(2);
    assert_eq!(owner.call(2, "queue.declare queue=ex passive"), declared("ex", 1, 0));
    assert_eq!(owner.bodies(2, "ex"), ["from elsewhere"]);
    owner.all_ok(
        2,
        &[
            "queue.bind queue=ex exchange=amq.direct",
            "queue.unbind queue=ex exchange=amq.direct",
            "queue.purge queue=ex",
            "basic.consume queue=ex consumer-tag=c",
            "basic.cancel consumer-tag=c",
        ],
    );
    // It outlives its channel, and goes with its connection.
    owner.all_ok(1, &["channel.close"]);
    assert!(bench.broker.queue("ex").is_some());
    owner.close();
    bench.case("queue.declare queue=ex passive", &missing("ex", "(50,10)"));
}

#[test]
fn exclusive_queues_go_with_their_connection() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(
        1,
        &[
            "queue.declare queue=durable durable exclusive",
            "queue.declare queue=exclusive exclusive",
            "queue.declare queue=auto auto-delete",
            "queue.declare queue=plain",
        ],
    );
    client.drop_it();
    broker.until_gone("durable");
    broker.until_gone("exclusive");
    let empty = Some(Counts { ready: 0, unacked: 0, consumers: 0 });
    assert_eq!((broker.queue("auto"), broker.queue("plain")), (empty, empty));
}

#[test]
fn auto_delete_queues_go_with_their_last_consumer() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(1, &["queue.declare queue=a auto-delete"]);
    assert_eq!(client.call(1, "basic.get queue=a"), "basic.get-empty");
    // Two consumers, of which one stays for a while.
    client.all_ok(
        1,
        &[
            "basic.consume queue=a consumer-tag=one",
            "basic.consume queue=a consumer-tag=two",
            "basic.cancel consumer-tag=one",
            "queue.declare queue=a passive",
            "basic.cancel consumer-tag=two",
        ],
    );
    assert_eq!(broker.queue("a"), None);
    // A channel's end is the end of its consumers.
    client.all_ok(1, &["queue.declare queue=a auto-delete"]);
    client.all_ok(2, &["basic.consume queue=a", "channel.close"]);
    assert_eq!(broker.queue("a"), None);
    // So is a connection's; but not that of a channel which never consumed.
    client.open_channel(2);
    client.all_ok(2, &["queue.declare queue=a auto-delete", "channel.close"]);
    assert!(broker.queue("a").is_some());
    client.all_ok(1, &["basic.consume queue=a"]);
    client.drop_it();
    broker.until_gone("a");
}

#[test]
fn counts() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    load(&broker, "q", 3);
    assert_eq!(client.call(1, "queue.declare queue=q"), declared("q", 3, 0));
    client.all_ok(1, &["basic.qos prefetch-count=1"]);
    // One that is fetched and not acknowledged does not count.
    assert!(client.call(1, "basic.get queue=q").ends_with("message-count=2 | m0"));
    assert_eq!(client.call(1, "queue.declare queue=q passive"), declared("q", 2, 0));
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c"]);
    assert_eq!(client.next(1).short(), "c#2:m1");
    assert_eq!(client.call(1, "queue.declare queue=q passive"), declared("q", 1, 1));
    assert_eq!(broker.queue("q"), Some(Counts { ready: 1, unacked: 2, consumers: 1 }));
}

#[test]
fn purging() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    load(&broker, "q", 3);
    assert!(client.call(1, "basic.get queue=q").ends_with("| m0"));
    assert_eq!(client.call(1, "queue.purge queue=q"), "queue.purge-ok message-count=2");
    // What is unacknowledged stays, and can come back.
    client.send(1, "basic.reject delivery-tag=1 requeue");
    client.send(1, "queue.declare queue=q passive");
    assert_eq!(client.next(1).to_string(), declared("q", 1, 0));
    load(&broker, "q", 1);
    assert_eq!(client.call(1, "queue.purge queue=q"), "queue.purge-ok message-count=2");
    client.send(1, "queue.purge queue=q no-wait");
    client.quiet(1);
    // A queue that was purged is as good as new.
    load(&broker, "q", 2);
    assert_eq!(client.get_all(1, "q", ""), "m0#2(left 1) m1#3(left 0)");
}

#[test]
fn deleting() {
    let mut bench =
        Bench::new(&["queue.declare queue=used", "queue.declare queue=full", "queue.declare queue=both"]);
    load(&bench.broker, "full", 3);
    let client = &mut bench.client;
    client.all_ok(1, &["basic.qos prefetch-count=1", "basic.consume queue=used consumer-tag=c"]);
    load(&bench.broker, "both", 2);
    client.all_ok(1, &["basic.consume queue=both consumer-tag=d"]);
    assert_eq!(client.next(1).short(), "d#1:m0");
    let in_use = |name: &str| {
        format!("channel.close 406 PRECONDITION_FAILED - queue '{name}' in vhost '/' in use (50,40)")
    };
    let not_empty = |name: &str| {
        format!("channel.close 406 PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty (50,40)")
    };
    bench.cases(&[
        ("queue.delete queue=used if-unused", &in_use("used")),
        ("queue.delete queue=used if-unused if-empty", &in_use("used")),
        ("queue.delete queue=full if-empty", &not_empty("full")),
        ("queue.delete queue=full if-unused if-empty", &not_empty("full")),
        ("queue.delete queue=both if-unused if-empty", &not_empty("both")),
        ("queue.delete queue=full if-unused", "queue.delete-ok message-count=3"),
        ("queue.declare queue=full passive", &missing("full", "(50,10)")),
    ]);
    // What is unacknowledged counts for nothing.
    bench.client.all_ok(1, &["queue.declare queue=held"]);
    load(&bench.broker, "held", 1);
    assert!(bench.client.call(1, "basic.get queue=held").ends_with("| m0"));
    bench.case("queue.delete queue=held if-empty", "queue.delete-ok message-count=0");
    // Its message is gone, and may be settled all the same, once.
    bench.client.send(1, "basic.reject delivery-tag=2 requeue");
    bench.client.quiet(1);
    bench.client.send(1, "basic.ack delivery-tag=2");
    assert_eq!(
        bench.client.next(1).to_string(),
        "channel.close 406 PRECONDITION_FAILED - unknown delivery tag 2 (60,80)"
    );
}

/// A deleted queue's name is free: nothing of the old one shows in a new one.
#[test]
fn declared_again_after_deleting() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "queue.bind queue=q exchange=amq.fanout"]);
    client.publish(1, "", "q", "old");
    client.publish(1, "amq.fanout", "", "old as well");
    client.all_ok(1, &["queue.delete queue=q", "queue.declare queue=q durable"]);
    client.publish(1, "amq.fanout", "", "not bound");
    client.publish(1, "", "q", "new");
    assert_eq!(client.bodies(1, "q"), ["new"]);
}

#[test]
fn consumers_hear_of_a_deletion() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=t1"]);
    client.all_ok(2, &["basic.consume queue=q consumer-tag=t2"]);
    client.publish(1, "", "q", "m");
    assert_eq!(client.next(1).short(), "t1#1:m");
    let mut other = broker.channel();
    assert_eq!(other.call(1, "queue.delete queue=q"), "queue.delete-ok message-count=0");
    assert_eq!(client.next(1).to_string(), "basic.cancel consumer-tag='t1' no-wait");
    assert_eq!(client.next(2).to_string(), "basic.cancel consumer-tag='t2' no-wait");
    // Cancelling it again and acknowledging what it got does no harm.
    assert_eq!(client.call(1, "basic.cancel consumer-tag=t1"), "basic.cancel-ok consumer-tag='t1'");
    client.send(1, "basic.ack delivery-tag=1");
    client.quiet(1);
    // The answer comes before the notice of the same channel.
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=t1"]);
    assert_eq!(client.call(1, "queue.delete queue=q"), "queue.delete-ok message-count=0");
    assert_eq!(client.next(1).to_string(), "basic.cancel consumer-tag='t1' no-wait");
    // The tag is free again.
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=t1"]);
}

#[test]
fn clients_that_did_not_ask_hear_nothing() {
    let broker = Broker::start();
    for capabilities in
        [table(&[]), table(&[("capabilities", map(&[("consumer_cancel_notify", flag(false))]))])]
    {
        let login = start_ok("guest", "guest").set("client-properties", capabilities);
        let mut client = Client::open_as(broker.address, "guest", &login, 131_072);
        client.open_channel(1);
        client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=t"]);
        broker.channel().all_ok(1, &["queue.delete queue=q"]);
        client.quiet(1);
        assert_eq!(client.call(1, "basic.cancel consumer-tag=t"), "basic.cancel-ok consumer-tag='t'");
    }
}

#[test]
fn no_wait_gets_no_answer() {
    let broker = Broker::start();
    let mut client = broker.channel();
    for text in [
        "queue.declare queue=q no-wait",
        "queue.bind queue=q exchange=amq.direct routing-key=k no-wait",
        "basic.publish",
    ] {
        if text == "basic.publish" {
            client.publish(1, "amq.direct", "k", "m");
        } else {
            client.send(1, text);
        }
        client.quiet(1);
    }
    assert_eq!(client.call(1, "queue.declare queue=q passive"), declared("q", 1, 0));
    client.send(1, "queue.delete queue=q no-wait");
    client.quiet(1);
    assert_eq!(broker.queue("q"), None);
}

#[test]
fn a_vhost_has_a_default_type() {
    let broker = Broker::start();
    broker.node.describe_vhost("/", |about| about.default_queue_type = QueueType::Quorum);
    let mut client = broker.channel();
    let kind = |name: &str| {
        let vhost = broker.node.vhost("/").unwrap();
        vhost.with(|vhost, _| vhost.queue(name.as_bytes()).map(|queue| queue.settings.queue_type))
    };
    for (name, flags, wanted) in [
        ("durable", "durable", QueueType::Quorum),
        ("exclusive", "durable exclusive", QueueType::Classic),
        ("auto", "durable auto-delete", QueueType::Classic),
        ("transient", "", QueueType::Classic),
    ] {
        let declare = format!("queue.declare queue={name} {flags}").trim_end().to_owned();
        // And once more, which is the same.
        client.all_ok(1, &[&declare, &declare]);
        assert_eq!(kind(name), Some(wanted), "{name}");
    }
    let wanted = "channel.close 406 PRECONDITION_FAILED - Cannot declare a server-named queue for type \
                  rabbit_quorum_queue (50,10)";
    assert_eq!(client.call(1, "queue.declare durable"), wanted);
}
