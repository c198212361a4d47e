//! Exchanges: declaring, deleting, binding, and those that go by themselves.

use crate::Bench;
use crate::common::method::method;
use crate::common::table::{binary, flag, int, long, text, void};

const DEFAULT: &str = "channel.close 403 ACCESS_REFUSED - operation not permitted on the default exchange";

#[test]
fn names_and_types() {
    let mut bench = Bench::new(&[]);
    bench.cases(&[
        (
            "exchange.declare exchange=amq.x type=direct",
            "channel.close 403 ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*' (40,10)",
        ),
        (
            "exchange.declare exchange=amq.x passive",
            "channel.close 404 NOT_FOUND - no exchange 'amq.x' in vhost '/' (40,10)",
        ),
        ("exchange.declare exchange=amq type=direct", "exchange.declare-ok"),
        ("exchange.declare exchange=AMQ.x type=fanout", "exchange.declare-ok"),
        ("exchange.declare type=direct", &format!("{DEFAULT} (40,10)")),
        ("exchange.declare type=direct durable", &format!("{DEFAULT} (40,10)")),
        ("exchange.declare passive", &format!("{DEFAULT} (40,10)")),
        (
            "exchange.declare type=nosuch",
            "channel.close 406 PRECONDITION_FAILED - unknown exchange type 'nosuch' (40,10)",
        ),
        (
            "exchange.declare exchange=x type=nosuch",
            "channel.close 406 PRECONDITION_FAILED - unknown exchange type 'nosuch' (40,10)",
        ),
        (
            "exchange.declare exchange=amq.direct type=nosuch durable",
            "channel.close 406 PRECONDITION_FAILED - unknown exchange type 'nosuch' (40,10)",
        ),
        (
            "exchange.declare exchange=amq.x type=nosuch",
            "channel.close 406 PRECONDITION_FAILED - unknown exchange type 'nosuch' (40,10)",
        ),
        (
            "exchange.declare exchange=x type=",
            "channel.close 406 PRECONDITION_FAILED - invalid exchange type '' (40,10)",
        ),
        (
            "exchange.declare exchange=x type=Direct",
            "channel.close 406 PRECONDITION_FAILED - unknown exchange type 'Direct' (40,10)",
        ),
        (
            "exchange.declare exchange=nope passive",
            "channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (40,10)",
        ),
        (
            "exchange.declare exchange=nope passive type=nosuch",
            "channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (40,10)",
        ),
        ("exchange.declare exchange=amq.direct passive type=topic", "exchange.declare-ok"),
        ("exchange.declare exchange=amq.direct passive type=nosuch auto-delete", "exchange.declare-ok"),
        ("exchange.declare exchange=amq.direct type=direct durable", "exchange.declare-ok"),
        ("exchange.declare exchange=amq.fanout type=fanout durable", "exchange.declare-ok"),
        ("exchange.declare exchange=amq.topic type=topic durable", "exchange.declare-ok"),
        ("exchange.declare exchange=amq.headers type=headers durable", "exchange.declare-ok"),
        ("exchange.declare exchange=amq.match type=headers durable", "exchange.declare-ok"),
        ("exchange.declare exchange=amq.rabbitmq.trace type=topic durable internal", "exchange.declare-ok"),
    ]);
}

#[test]
fn declared_differently() {
    let mut bench = Bench::new(&["exchange.declare exchange=r1 type=direct"]);
    let r2 = || method("exchange.declare exchange=r2 type=direct");
    bench.case(r2().args(&[("alternate-exchange", text("x"))]), "exchange.declare-ok");
    let differs = |what: &str, name: &str, how: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - inequivalent arg '{what}' for exchange '{name}' in vhost '/': \
             {how} (40,10)"
        )
    };
    let kind = differs("type", "r1", "received 'fanout' but current is 'direct'");
    let durable = differs("durable", "r1", "received 'true' but current is 'false'");
    let auto_delete = differs("auto_delete", "r1", "received 'true' but current is 'false'");
    let internal = differs("internal", "r1", "received 'true' but current is 'false'");
    bench.cases(&[
        ("exchange.declare exchange=r1 type=fanout", &kind),
        ("exchange.declare exchange=r1 type=fanout durable auto-delete internal", &kind),
        ("exchange.declare exchange=r1 type=direct durable", &durable),
        ("exchange.declare exchange=r1 type=direct durable auto-delete internal", &durable),
        ("exchange.declare exchange=r1 type=direct auto-delete", &auto_delete),
        ("exchange.declare exchange=r1 type=direct auto-delete internal", &auto_delete),
        ("exchange.declare exchange=r1 type=direct internal", &internal),
        ("exchange.declare exchange=r1 type=direct", "exchange.declare-ok"),
        (
            "exchange.declare exchange=amq.direct type=direct",
            &differs("durable", "amq.direct", "received 'false' but current is 'true'"),
        ),
        (
            "exchange.declare exchange=amq.direct type=topic durable",
            &differs("type", "amq.direct", "received 'topic' but current is 'direct'"),
        ),
        (
            "exchange.declare exchange=r2 type=direct",
            &differs(
                "alternate-exchange",
                "r2",
                "received none but current is the value 'x' of type 'longstr'",
            ),
        ),
    ]);
    let r1 = || method("exchange.declare exchange=r1 type=direct");
    let ae = |how: &str| differs("alternate-exchange", "r1", how);
    bench.case(
        r1().args(&[("alternate-exchange", text("x"))]),
        &ae("received the value 'x' of type 'longstr' but current is none"),
    );
    bench.case(
        r1().args(&[("alternate-exchange", int(5))]),
        &ae("received the value '5' of type 'signedint' but current is none"),
    );
    bench.case(r1().set("internal", "1").args(&[("alternate-exchange", text("x"))]), &internal);
    let other = differs("alternate-exchange", "r2", "received 'y' but current is 'x'");
    bench.case(r2().args(&[("alternate-exchange", text("y"))]), &other);
    bench.case(r2().args(&[("alternate-exchange", text("x"))]), "exchange.declare-ok");
    bench.case(r1().args(&[("foo", int(1))]), "exchange.declare-ok");
    bench.case(r1().args(&[("x-alternate-exchange", text("x"))]), "exchange.declare-ok");
}

#[test]
fn alternate_exchanges_have_names() {
    let mut bench = Bench::new(&[]);
    let declare = |name: &str, field| {
        method("exchange.declare type=direct").set("exchange", name).args(&[("alternate-exchange", field)])
    };
    let invalid = |kind: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - invalid type '{kind}' for arg 'alternate-exchange' in exchange \
             'i1' in vhost '/' (40,10)"
        )
    };
    bench.case(declare("i1", int(5)), &invalid("signedint"));
    bench.case(declare("i1", flag(true)), &invalid("bool"));
    bench.case(declare("i1", void()), &invalid("void"));
    bench.case(declare("i1", binary(b"x")), &invalid("binary"));
    bench.case(declare("i1", text("")), "exchange.declare-ok");
    bench.case(declare("i2", text("i2")), "exchange.declare-ok");
    bench.case(
        declare("amq.y", int(5)),
        "channel.close 403 ACCESS_REFUSED - exchange name 'amq.y' contains reserved prefix 'amq.*' (40,10)",
    );
}

#[test]
fn deleting() {
    let mut bench = Bench::new(&[
        "queue.declare queue=q",
        "exchange.declare exchange=u1 type=direct",
        "exchange.declare exchange=u2 type=direct",
        "exchange.declare exchange=u3 type=direct",
        "queue.bind queue=q exchange=u1",
        "exchange.bind source=u2 destination=u3",
    ]);
    let system = |name: &str| {
        format!(
            "channel.close 403 ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed (40,20)"
        )
    };
    let in_use = |name: &str| {
        format!("channel.close 406 PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use (40,20)")
    };
    bench.cases(&[
        ("exchange.delete", &format!("{DEFAULT} (40,20)")),
        ("exchange.delete if-unused", &format!("{DEFAULT} (40,20)")),
        ("exchange.delete exchange=amq.direct", &system("amq.direct")),
        ("exchange.delete exchange=amq.direct if-unused", &system("amq.direct")),
        ("exchange.delete exchange=amq.nosuch", &system("amq.nosuch")),
        ("exchange.delete exchange=amq.rabbitmq.trace", &system("amq.rabbitmq.trace")),
        ("exchange.delete exchange=missing", "exchange.delete-ok"),
        ("exchange.delete exchange=missing if-unused", "exchange.delete-ok"),
        ("exchange.delete exchange=u1 if-unused", &in_use("u1")),
        ("exchange.delete exchange=u2 if-unused", &in_use("u2")),
        ("exchange.delete exchange=u3 if-unused", "exchange.delete-ok"),
        ("exchange.delete exchange=u2 if-unused", "exchange.delete-ok"),
        ("exchange.delete exchange=u1", "exchange.delete-ok"),
        (
            "exchange.declare exchange=u1 passive",
            "channel.close 404 NOT_FOUND - no exchange 'u1' in vhost '/' (40,10)",
        ),
    ]);
}

#[test]
fn binding() {
    let mut bench = Bench::new(&["queue.declare queue=q"]);
    let no_exchange = |name: &str, id: &str| {
        format!("channel.close 404 NOT_FOUND - no exchange '{name}' in vhost '/' {id}")
    };
    let no_queue = "channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (50,20)";
    let refused = |id: &str| format!("{DEFAULT} {id}");
    bench.cases(&[
        ("queue.bind queue=q exchange=nope routing-key=k", &no_exchange("nope", "(50,20)")),
        ("queue.bind queue=nope exchange=amq.direct", no_queue),
        ("queue.bind queue=nope exchange=nope", &no_exchange("nope", "(50,20)")),
        ("queue.unbind queue=q exchange=nope", "queue.unbind-ok"),
        ("queue.unbind queue=nope exchange=amq.direct", "queue.unbind-ok"),
        ("queue.unbind queue=nope exchange=nope", "queue.unbind-ok"),
        ("queue.unbind queue=q exchange=amq.direct routing-key=k", "queue.unbind-ok"),
        ("queue.bind queue=q routing-key=q", &refused("(50,20)")),
        ("queue.bind queue=nope", &refused("(50,20)")),
        ("queue.unbind queue=q", &refused("(50,50)")),
        ("queue.unbind queue=nope", &refused("(50,50)")),
        ("exchange.bind source= destination=amq.fanout", &refused("(40,30)")),
        ("exchange.bind source=amq.fanout destination=", &refused("(40,30)")),
        ("exchange.bind source=nope destination=", &refused("(40,30)")),
        ("exchange.unbind source= destination=amq.fanout", &refused("(40,40)")),
        ("exchange.unbind source=amq.fanout destination=", &refused("(40,40)")),
        ("exchange.bind source=nosrc destination=amq.fanout", &no_exchange("nosrc", "(40,30)")),
        ("exchange.bind source=amq.fanout destination=nodst", &no_exchange("nodst", "(40,30)")),
        ("exchange.bind source=nosrc destination=nodst", &no_exchange("nosrc", "(40,30)")),
        ("exchange.unbind source=nosrc destination=amq.fanout", "exchange.unbind-ok"),
        ("exchange.unbind source=amq.fanout destination=nodst", "exchange.unbind-ok"),
        ("exchange.unbind source=nosrc destination=nodst", "exchange.unbind-ok"),
        ("exchange.bind source=amq.fanout destination=amq.fanout", "exchange.bind-ok"),
        ("exchange.unbind source=amq.fanout destination=amq.fanout", "exchange.unbind-ok"),
    ]);
}

#[test]
fn x_match_of_a_headers_binding() {
    let mut bench = Bench::new(&["queue.declare queue=q"]);
    let bind = |queue: &str, field| {
        method("queue.bind exchange=amq.headers").set("queue", queue).args(&[("x-match", field)])
    };
    let value = |shown: &str, id: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - Invalid x-match field value {shown}; expected all, any, \
             all-with-x, or any-with-x {id}"
        )
    };
    let kind = |shown: &str| {
        format!(
            "channel.close 406 PRECONDITION_FAILED - Invalid x-match field type {shown}; expected longstr (50,20)"
        )
    };
    bench.case(bind("q", text("foo")), &value("<<\"foo\">>", "(50,20)"));
    bench.case(bind("q", text("")), &value("<<>>", "(50,20)"));
    bench.case(bind("q", text("ALL")), &value("<<\"ALL\">>", "(50,20)"));
    bench.case(bind("q", int(5)), &kind("signedint (value 5)"));
    bench.case(bind("q", flag(true)), &kind("bool (value true)"));
    bench.case(bind("q", void()), &kind("void (value undefined)"));
    bench.case(bind("q", binary(b"all")), &kind("binary (value <<\"all\">>)"));
    bench.case(
        bind("nope", text("foo")),
        "channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (50,20)",
    );
    for good in ["all", "any", "all-with-x", "any-with-x"] {
        bench.case(bind("q", text(good)), "queue.bind-ok");
    }
    bench.case("queue.bind queue=q exchange=amq.headers", "queue.bind-ok");
    let between = method("exchange.bind source=amq.headers destination=amq.fanout");
    bench.case(between.args(&[("x-match", text("foo"))]), &value("<<\"foo\">>", "(40,30)"));
    let unbind = method("queue.unbind queue=q exchange=amq.headers");
    bench.case(unbind.args(&[("x-match", text("foo"))]), "queue.unbind-ok");
}

/// Bindings that differ in their arguments are different, and each is undone by itself.
#[test]
fn bindings_are_told_apart_by_their_arguments() {
    let mut bench = Bench::new(&["queue.declare queue=q"]);
    let bind = |name: &str, fields: &[(&str, _)]| {
        method(name).set("queue", "q").set("exchange", "amq.direct").set("routing-key", "k").args(fields)
    };
    let variants = [vec![("a", int(1))], vec![("a", int(2))], vec![], vec![], vec![("a", long(1))]];
    for fields in &variants {
        bench.case(bind("queue.bind", fields), "queue.bind-ok");
    }
    bench.client.publish(1, "amq.direct", "k", "once");
    assert_eq!(bench.client.get_all(1, "q", " no-ack"), "once#1(left 0)");
    for (left, fields) in [(true, 0), (true, 1), (true, 2), (false, 4)] {
        bench.case(bind("queue.unbind", &variants[fields]), "queue.unbind-ok");
        bench.client.publish(1, "amq.direct", "k", "m");
        bench.client.quiet(1);
        let ready = bench.broker.queue("q").unwrap().ready;
        assert_eq!(ready, usize::from(left), "after the unbinding of {fields}");
        bench.client.get_all(1, "q", " no-ack");
    }
}

#[test]
fn auto_delete_exchanges() {
    let mut bench = Bench::new(&["queue.declare queue=q", "exchange.declare exchange=plain type=fanout"]);
    for number in 1..=8 {
        let name = format!("exchange.declare exchange=ad{number} type=fanout auto-delete");
        bench.client.all_ok(1, &[&name]);
    }
    bench.client.all_ok(
        1,
        &[
            // Two bindings, of which one stays for a while.
            "queue.bind queue=q exchange=ad1 routing-key=one",
            "queue.bind queue=q exchange=ad1 routing-key=two",
            "queue.unbind queue=q exchange=ad1 routing-key=one",
            "exchange.declare exchange=ad1 passive",
            "queue.unbind queue=q exchange=ad1 routing-key=two",
            // The source of a binding between exchanges.
            "exchange.bind source=ad2 destination=plain",
            "exchange.unbind source=ad2 destination=plain",
            // A destination is not in use.
            "exchange.bind source=plain destination=ad3",
            "exchange.unbind source=plain destination=ad3",
            "queue.unbind queue=q exchange=ad3 routing-key=never-bound",
            // The destination goes.
            "exchange.declare exchange=to type=fanout",
            "exchange.bind source=ad4 destination=to",
            "exchange.delete exchange=to",
            // The queue goes, and with it a chain.
            "queue.declare queue=gone",
            "queue.bind queue=gone exchange=ad5",
            "exchange.bind source=ad6 destination=ad7",
            "queue.bind queue=gone exchange=ad7",
            "queue.delete queue=gone",
            // The source of a binding to it goes.
            "exchange.declare exchange=from type=fanout",
            "exchange.bind source=from destination=ad8",
            "exchange.delete exchange=from",
        ],
    );
    for number in [3, 8] {
        bench.case(&*format!("exchange.declare exchange=ad{number} passive"), "exchange.declare-ok");
    }
    for number in [1, 2, 4, 5, 6, 7] {
        bench.case(
            &*format!("exchange.declare exchange=ad{number} passive"),
            &format!("channel.close 404 NOT_FOUND - no exchange 'ad{number}' in vhost '/' (40,10)"),
        );
    }
}

#[test]
fn internal_exchanges_take_messages_from_exchanges_only() {
    let mut bench = Bench::new(&[
        "exchange.declare exchange=int type=fanout internal",
        "queue.declare queue=q",
        "queue.bind queue=q exchange=int",
        "exchange.bind source=amq.fanout destination=int",
    ]);
    let refused =
        "channel.close 403 ACCESS_REFUSED - cannot publish to internal exchange 'int' in vhost '/' (60,40)";
    bench.publish_case("basic.publish exchange=int", &[0, 0], refused);
    bench.client.publish(1, "amq.fanout", "", "by way of another");
    assert_eq!(bench.client.get_all(1, "q", " no-ack"), "by way of another#1(left 0)");
}

#[test]
fn no_wait_gets_no_answer() {
    let mut bench = Bench::new(&["queue.declare queue=q"]);
    for text in [
        "exchange.declare exchange=x type=direct no-wait",
        "exchange.bind source=x destination=amq.fanout no-wait",
        "exchange.unbind source=x destination=amq.fanout no-wait",
        "queue.bind queue=q exchange=x no-wait",
    ] {
        bench.client.send(1, text);
        bench.client.quiet(1);
    }
    bench.case("exchange.declare exchange=x passive", "exchange.declare-ok");
    bench.client.send(1, "exchange.delete exchange=x no-wait");
    bench.client.quiet(1);
    let missing = "channel.close 404 NOT_FOUND - no exchange 'x' in vhost '/' (40,10)";
    bench.cases(&[
        ("exchange.declare exchange=x passive", missing),
        ("exchange.declare exchange=x passive no-wait", missing),
    ]);
}
