//! The event exchange: what comes and goes, told to `amq.rabbitmq.event`.

use std::sync::Arc;

use leveret::auth::limits::Limit;
use leveret::auth::topic::TopicPermission;
use leveret::node::alarms::Alarm;
use leveret::node::{Node, events};

use crate::common::client::{Client, Event, start_ok};
use crate::common::table::{Field, flag, int, list, long, text};
use crate::common::{Broker, PATIENCE};

/// A broker with the exchange, and a client whose queue `events` gets everything from now on.
fn listening() -> (Broker, Client) {
    let node = Arc::new(Node::empty(16 << 20, usize::MAX));
    node.events.turn_on();
    node.begin().unwrap();
    let broker = Broker::serve(Arc::clone(&node));
    broker.block_on(async { drop(tokio::spawn(events::run(node))) });
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=events"]);
    client.all_ok(1, &["queue.bind queue=events exchange=amq.rabbitmq.event routing-key=#"]);
    // The last event of the beginning is that of the binding itself.
    while next(&mut client).get("routing-key") != "binding.created" {}
    (broker, client)
}

/// The next event, which may be a moment late.
fn next(client: &mut Client) -> Event {
    let begun = std::time::Instant::now();
    loop {
        client.send(1, "basic.get queue=events no-ack");
        let event = client.next(1);
        if event.text != "basic.get-empty" {
            assert_eq!((event.get("exchange").as_str(), event.body.len()), ("amq.rabbitmq.event", 0));
            return event;
        }
        assert!(begun.elapsed() < PATIENCE, "no more events");
    }
}

/// The next so many events' keys.
fn keys(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| next(client).get("routing-key")).collect()
}

/// Whether an event has these headers.
fn check(event: &Event, fields: &[(&str, Field)]) {
    for (name, value) in fields {
        let octets = [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &value.0].concat();
        let has = event.properties.windows(octets.len()).any(|window| window == octets);
        assert!(has, "{} has no such {name}: {}", event.text, event.properties.escape_ascii());
    }
}

#[test]
fn what_is_declared_and_deleted_is_told() {
    let (_broker, mut client) = listening();
    client.all_ok(1, &["queue.declare queue=q durable", "queue.declare queue=q durable"]);
    let event = next(&mut client);
    assert_eq!(event.get("routing-key"), "queue.created");
    check(
        &event,
        &[
            ("arguments", list(&[text("{<<\"x-queue-type\">>,longstr,<<\"classic\">>}")])),
            ("auto_delete", flag(false)),
            ("durable", flag(true)),
            ("exclusive", flag(false)),
            ("leader", text("rabbit@localhost")),
            ("name", text("q")),
            ("type", text("rabbit_classic_queue")),
            ("user_who_performed_action", text("guest")),
            ("vhost", text("/")),
        ],
    );
    client.all_ok(1, &["exchange.declare exchange=x type=fanout auto-delete"]);
    check(&next(&mut client), &[("type", text("fanout")), ("internal", flag(false)), ("policy", text(""))]);
    client.all_ok(1, &["queue.bind queue=q exchange=x routing-key=k"]);
    let bound = [
        ("arguments", list(&[])),
        ("destination_kind", text("queue")),
        ("destination_name", text("q")),
        ("routing_key", text("k")),
        ("source_kind", text("exchange")),
        ("source_name", text("x")),
    ];
    check(&next(&mut client), &bound);
    client.all_ok(1, &["basic.consume queue=q consumer-tag=c", "basic.cancel consumer-tag=c"]);
    let event = next(&mut client);
    check(&event, &[("ack_required", flag(true)), ("prefetch_count", long(0)), ("queue", text("q"))]);
    assert_eq!(keys(&mut client, 1), ["consumer.deleted"]);
    client.all_ok(1, &["queue.delete queue=q"]);
    let event = next(&mut client);
    assert_eq!(event.get("routing-key"), "binding.deleted");
    check(&event, &bound);
    assert_eq!(keys(&mut client, 2), ["exchange.deleted", "queue.deleted"]);
}

#[test]
fn connections_and_channels_are_told_and_logins_that_fail() {
    let (broker, mut client) = listening();
    let mut other = broker.channel();
    let event = next(&mut client);
    assert_eq!(event.get("routing-key"), "user.authentication.success");
    check(
        &event,
        &[("name", text("guest")), ("auth_mechanism", text("PLAIN")), ("host", text("{127,0,0,1}"))],
    );
    assert_eq!(keys(&mut client, 2), ["connection.created", "channel.created"]);
    other.all_ok(1, &["queue.declare queue=own exclusive", "basic.consume queue=own"]);
    assert_eq!(keys(&mut client, 2), ["queue.created", "consumer.created"]);
    other.drop_it();
    assert_eq!(keys(&mut client, 1), ["channel.closed"]);
    check(&next(&mut client), &[("name", text("own")), ("user_who_performed_action", text("rmq-internal"))]);
    assert_eq!(keys(&mut client, 1), ["connection.closed"]);
    let mut stranger = Client::begun(broker.address);
    stranger.send(0, start_ok("guest", "wrong"));
    let event = next(&mut client);
    assert_eq!(event.get("routing-key"), "user.authentication.failure");
    check(&event, &[("name", text("guest")), ("ssl", flag(false))]);
}

#[test]
fn people_vhosts_and_alarms_are_told() {
    let (broker, mut client) = listening();
    broker.add_user("u", ("a", "b", "c"));
    assert_eq!(keys(&mut client, 2), ["user.created", "user.tags.set"]);
    let permission =
        [("configure", text("a")), ("read", text("c")), ("user", text("u")), ("write", text("b"))];
    check(&next(&mut client), &permission);
    broker.node.remove_permission("u", "/");
    broker.node.put_user("u", None, vec!["management".into()]);
    broker.node.remove_user("u");
    broker.node.remove_user("u");
    assert_eq!(keys(&mut client, 2), ["permission.deleted", "user.password.changed"]);
    check(&next(&mut client), &[("tags", list(&[text("management")]))]);
    assert_eq!(keys(&mut client, 1), ["user.deleted"]);
    broker.node.put_vhost("v", |_| {});
    broker.node.put_vhost("v", |about| about.tracing = true);
    broker.node.remove_vhost("v");
    assert_eq!(keys(&mut client, 8)[6..], ["exchange.created", "vhost.created"]);
    check(&next(&mut client), &[("name", text("v")), ("tracing", flag(true))]);
    assert_eq!(keys(&mut client, 8)[6..], ["exchange.deleted", "vhost.deleted"]);
    broker.node.alarms.raise(Alarm::Memory);
    check(&next(&mut client), &[("source", text("memory")), ("node", text("rabbit@localhost"))]);
    broker.node.alarms.clear(Alarm::Memory);
    assert_eq!(keys(&mut client, 1), ["alarm.cleared"]);
}

#[test]
fn limits_and_topic_permissions_are_told() {
    let (broker, mut client) = listening();
    broker.add_user("u", ("a", "b", "c"));
    keys(&mut client, 3);
    let node = &broker.node;
    let told = |client: &mut Client, key: &str, fields: &[(&str, Field)]| {
        let event = next(client);
        assert_eq!(event.get("routing-key"), key);
        check(&event, fields);
    };
    node.limit_user("u", "max-channels", Some(Limit(3)));
    node.limit_user("u", "max-channels", None);
    node.limit_user("who", "max-channels", None);
    let user = ("username", text("u"));
    told(
        &mut client,
        "user.limits.set",
        &[user.clone(), ("name", text("limits")), ("max-channels", long(3))],
    );
    told(&mut client, "user.limits.cleared", &[user]);

    let vhost = node.vhost("/").unwrap();
    let permission = TopicPermission::new("u", "/", "^w", "^r").unwrap();
    node.put_topic_permission((&vhost, "u"), "amq.topic", permission).unwrap();
    node.remove_topic_permissions((&vhost, "u"), None);
    node.remove_topic_permissions((&vhost, "u"), None);
    let exchange = ("exchange", text("amq.topic"));
    told(&mut client, "topic.permission.created", &[exchange, ("write", text("^w")), ("read", text("^r"))]);
    told(&mut client, "topic.permission.deleted", &[("user", text("u")), ("vhost", text("/"))]);

    node.put_vhost("v", |_| {});
    assert_eq!(keys(&mut client, 8)[7], "vhost.created");
    for limit in [Some(Limit(-1)), Some(Limit(-1)), None] {
        node.limit_vhost("v", "max-queues", limit);
    }
    told(&mut client, "vhost.limits.set", &[("vhost", text("v")), ("max-queues", long(-1))]);
    told(&mut client, "vhost.limits.set", &[("vhost", text("v")), ("name", text("limits"))]);
    node.remove_vhost("v");
    assert_eq!(keys(&mut client, 9)[7..], ["vhost.limits.cleared", "vhost.deleted"]);
}

#[test]
fn many_at_once_come_in_their_order() {
    let (broker, mut client) = listening();
    let names: Vec<_> = (0..1100).map(|n| format!("u{n}")).collect();
    names.iter().for_each(|name| assert!(!broker.node.remove_user(name)));
    names.iter().for_each(|name| assert!(broker.node.put_user(name, None, Vec::new())));
    let removed: Vec<_> = names.iter().map(String::as_str).chain(["nobody", "u0"]).collect();
    assert_eq!(broker.node.remove_users(&removed), 1100);
    for name in &names {
        let told = [next(&mut client), next(&mut client)];
        assert_eq!(told[0].get("routing-key"), "user.created");
        told.iter().for_each(|event| check(event, &[("name", text(name))]));
    }
    assert_eq!(keys(&mut client, 1100), vec!["user.deleted"; 1100]);
}

#[test]
fn what_is_shown_of_arguments_is_bounded() {
    let (_broker, mut client) = listening();
    let long = "x".repeat(100_000);
    let declare = crate::common::method::method("queue.declare queue=q");
    client.call(1, declare.args(&[("long", text(&long)), ("n", int(1))]));
    let event = next(&mut client);
    assert_eq!(event.get("routing-key"), "queue.created");
    assert!(event.properties.len() < 2000, "{} octets", event.properties.len());
}

#[test]
fn without_being_asked_for_there_is_none() {
    let broker = Broker::start();
    let mut client = broker.channel();
    let answer = client.call(1, "exchange.declare exchange=amq.rabbitmq.event type=topic passive");
    assert!(answer.contains("NOT_FOUND - no exchange 'amq.rabbitmq.event' in vhost '/'"), "{answer}");
}
