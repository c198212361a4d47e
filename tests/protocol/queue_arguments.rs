//! Arguments of queues: what is refused, and what makes two declarations different. A sample of each kind of text;
//! all of them are unit tests of the arguments.

use crate::Bench;
use crate::common::method::{Method, method};
use crate::common::table::{Field, binary, double, flag, int, list, long, text, typed, void};

fn declare(name: &str, arguments: &[(&str, Field)]) -> Method {
    method("queue.declare durable").set("queue", name).args(arguments)
}

fn refused(rest: &str) -> String {
    format!("channel.close 406 PRECONDITION_FAILED - {rest} (50,10)")
}

fn invalid(key: &str, why: &str) -> String {
    refused(&format!("invalid arg '{key}' for queue 'v' in vhost '/'{why}"))
}

const OK: &str = "queue.declare-ok queue='v' message-count=0 consumer-count=0";

#[test]
fn values() {
    let mut bench = Bench::new(&[]);
    let not_integer = |kind: &str| format!(": \"expected integer, got {kind}\"");
    for (key, value, why) in [
        ("x-message-ttl", text("a"), not_integer("longstr")),
        ("x-message-ttl", int(-1), ": {value_negative,-1}".to_owned()),
        ("x-message-ttl", long(315_360_000_001), ": {value_too_large,315360000001}".to_owned()),
        ("x-message-ttl", double(1.5), not_integer("double")),
        ("x-message-ttl", flag(true), not_integer("bool")),
        ("x-message-ttl", void(), not_integer("void")),
        ("x-expires", int(0), ": {value_zero,0}".to_owned()),
        ("x-max-length", text("5"), not_integer("longstr")),
        ("x-max-length", typed(b'f', &[0x40, 0xA0, 0, 0]), not_integer("float")),
        ("x-max-length", typed(b'T', &[0, 0, 0, 0, 0, 0, 0, 5]), not_integer("timestamp")),
        ("x-max-length", typed(b'D', &[0, 0, 0, 0, 5]), not_integer("decimal")),
        ("x-max-age", text("1D"), " of queue type rabbit_classic_queue".to_owned()),
        ("x-max-age", int(5), " of queue type rabbit_classic_queue".to_owned()),
        ("x-delivery-limit", int(5), " of queue type rabbit_classic_queue".to_owned()),
        ("x-dead-letter-routing-key", text("k"), ": routing_key_but_no_dlx_defined".to_owned()),
        ("x-queue-type", int(5), ": {unacceptable_type,signedint}".to_owned()),
        ("x-queue-type", void(), ": {unacceptable_type,void}".to_owned()),
        ("x-queue-type", text("bogus"), ": \"unsupported queue type 'bogus'\"".to_owned()),
        ("x-queue-type", text("CLASSIC"), ": \"unsupported queue type 'CLASSIC'\"".to_owned()),
    ] {
        bench.case(declare("v", &[(key, value)]), &invalid(key, &why));
    }
    for arguments in [
        vec![("x-message-ttl", int(0))],
        vec![("x-message-ttl", long(315_360_000_000))],
        vec![("x-expires", int(1000))],
        vec![("x-max-length", typed(b'B', &[200]))],
        vec![("x-max-length", typed(b'u', &[0, 5]))],
        vec![("x-max-length", int(5)), ("x-overflow", text("reject-publish"))],
        vec![("x-queue-type", text("classic"))],
        vec![("x-queue-type", text(""))],
        vec![("x-something-else", list(&[int(1)]))],
    ] {
        bench.case(declare("v", &arguments), OK);
        bench.case("queue.delete queue=v", "queue.delete-ok message-count=0");
    }
}

#[test]
fn which_of_several_is_told() {
    let mut bench = Bench::new(&[]);
    let expected = ": \"expected integer, got longstr\"";
    let all = ["x-message-ttl", "x-expires", "x-max-length"].map(|key| (key, text("a")));
    bench.case(declare("v", &all), &invalid("x-expires", expected));
    let foreign = [("x-max-age", text("1D")), ("x-message-ttl", text("a"))];
    bench.case(declare("v", &foreign), &invalid("x-message-ttl", expected));
    let both_foreign = [("x-max-age", text("1D")), ("x-delivery-limit", int(1))];
    let wanted = invalid("x-delivery-limit", " of queue type rabbit_classic_queue");
    bench.case(declare("v", &both_foreign), &wanted);
    let bogus = [("x-queue-type", text("bogus")), ("x-message-ttl", text("a"))];
    bench.case(declare("v", &bogus), &invalid("x-queue-type", ": \"unsupported queue type 'bogus'\""));
    let reserved =
        "channel.close 403 ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*' (50,10)";
    bench.case(declare("amq.x", &all), reserved);
}

#[test]
fn properties_that_quorum_queues_and_streams_do_not_have() {
    let mut bench = Bench::new(&[]);
    for kind in ["quorum", "stream"] {
        let typed = |text: &str| method(text).args(&[("x-queue-type", self::text(kind))]);
        let property = |what: &str| refused(&format!("invalid property '{what}' for queue 'v' in vhost '/'"));
        bench.case(typed("queue.declare queue=v durable exclusive"), &property("exclusive-owner"));
        bench.case(typed("queue.declare queue=v durable auto-delete"), &property("auto-delete"));
        bench.case(typed("queue.declare queue=v"), &property("non-durable"));
        bench.case(typed("queue.declare queue=v exclusive auto-delete"), &property("auto-delete"));
        bench.case(typed("queue.declare queue=v exclusive"), &property("exclusive-owner"));
        bench.case(
            typed("queue.declare durable"),
            &refused(&format!("Cannot declare a server-named queue for type rabbit_{kind}_queue")),
        );
    }
}

#[test]
fn declared_differently() {
    let mut bench = Bench::new(&[]);
    let differs = |key: &str, how: &str| {
        refused(&format!("inequivalent arg '{key}' for queue 'v' in vhost '/': {how}"))
    };
    for (key, one, other, how) in [
        ("x-message-ttl", int(1000), int(2000), "received '2000' but current is '1000'"),
        ("x-expires", int(100_000), int(200_000), "received '200000' but current is '100000'"),
        ("x-overflow", text("drop-head"), text("reject-publish"), {
            "received 'reject-publish' but current is 'drop-head'"
        }),
        ("x-dead-letter-exchange", text("a"), text("b"), "received 'b' but current is 'a'"),
        ("x-single-active-consumer", flag(true), flag(false), "received 'false' but current is 'true'"),
        ("x-max-length", int(5), text("5"), "received '5' but current is '5'"),
    ] {
        bench.case(declare("v", &[(key, one)]), OK);
        bench.case(declare("v", &[(key, other)]), &differs(key, how));
        bench.case("queue.delete queue=v", "queue.delete-ok message-count=0");
    }
    for (key, value, shown) in [
        ("x-message-ttl", int(1000), "the value '1000' of type 'signedint'"),
        ("x-queue-mode", text("lazy"), "the value 'lazy' of type 'longstr'"),
        ("x-single-active-consumer", flag(true), "the value 'true' of type 'bool'"),
    ] {
        bench.case(declare("v", &[(key, value.clone())]), OK);
        bench.case(declare("v", &[]), &differs(key, &format!("received none but current is {shown}")));
        bench.case("queue.delete queue=v", "queue.delete-ok message-count=0");
        bench.case(declare("v", &[]), OK);
        bench.case(
            declare("v", &[(key, value)]),
            &differs(key, &format!("received {shown} but current is none")),
        );
        bench.case("queue.delete queue=v", "queue.delete-ok message-count=0");
    }
}

#[test]
fn declared_the_same_in_other_words() {
    let mut bench = Bench::new(&[]);
    bench.case(declare("v", &[("x-max-length", int(5))]), OK);
    for same in [long(5), typed(b's', &[0, 5]), typed(b'b', &[5])] {
        bench.case(declare("v", &[("x-max-length", same), ("x-unknown", int(1))]), OK);
    }
    bench.case("queue.delete queue=v", "queue.delete-ok message-count=0");
    bench.case(declare("v", &[("x-dead-letter-exchange", text("a"))]), OK);
    bench.case(declare("v", &[("x-dead-letter-exchange", binary(b"a"))]), OK);
    bench.case("queue.delete queue=v", "queue.delete-ok message-count=0");
    // A queue is classic unless it says otherwise.
    bench.case(declare("v", &[]), OK);
    bench.case(declare("v", &[("x-queue-type", text("classic"))]), OK);
    let other = "inequivalent arg 'x-queue-type' for queue 'v' in vhost '/': received 'quorum' but current is \
                 'classic'";
    bench.case(declare("v", &[("x-queue-type", text("quorum"))]), &refused(other));
    // Arguments come after properties.
    let durable =
        "inequivalent arg 'durable' for queue 'v' in vhost '/': received 'false' but current is 'true'";
    bench.case(method("queue.declare queue=v").args(&[("x-max-length", int(1))]), &refused(durable));
}
