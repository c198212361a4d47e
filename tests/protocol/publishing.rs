//! Publishing: what goes through unchanged, what is refused, returns and confirms.

use std::collections::BTreeSet;

use leveret::auth::password::PasswordHash;

use crate::Bench;
use crate::common::Broker;
use crate::common::client::{Client, PLAIN};
use crate::common::method::method;
use crate::common::table::{
    Field, binary, double, flag, headers, int, list, long, map, sized, text, typed, void,
};

/// A property list of one short text; `flag` says which.
fn short(flag: u16, value: &str) -> Vec<u8> {
    [&flag.to_be_bytes()[..], &[value.len() as u8], value.as_bytes()].concat()
}

const EXPIRATION: u16 = 1 << 8;
const USER_ID: u16 = 1 << 4;

/// All fourteen properties.
fn everything() -> Vec<u8> {
    let short = |value: &str| [&[value.len() as u8], value.as_bytes()].concat();
    [
        &[0xFF, 0xFC][..],
        &short("text/plain"),
        &short("utf-8"),
        &headers(&[("h", int(1))])[2..],
        &[2, 7],
        &short("c-1"),
        &short("somewhere"),
        &short("600000"),
        &short("m-1"),
        &1_234_567_890_u64.to_be_bytes(),
        &short("kind"),
        &short("guest"),
        &short("suite"),
        &short("cl"),
    ]
    .concat()
}

fn every_type() -> Vec<u8> {
    headers(&[
        ("bool", flag(true)),
        ("no", flag(false)),
        ("int8", typed(b'b', &[0xFB])),
        ("uint8", typed(b'B', &[200])),
        ("int16", typed(b's', &[0xFE, 0xD4])),
        ("uint16", typed(b'u', &[0xEA, 0x60])),
        ("int32", int(-70_000)),
        ("uint32", typed(b'i', &[0xEE, 0x6B, 0x28, 0])),
        ("int64", long(-5_000_000_000)),
        ("float", typed(b'f', &1.5_f32.to_be_bytes())),
        ("double", double(-2.25)),
        ("decimal", typed(b'D', &[2, 0, 0, 1, 0x3A])),
        ("text", text("größe")),
        ("not UTF-8", typed(b'S', &sized(b"\xff\xfe"))),
        ("octets", binary(&[0, 0xFF])),
        ("timestamp", typed(b'T', &1_234_567_890_u64.to_be_bytes())),
        ("table", map(&[("a", int(1)), ("b", map(&[("c", list(&[int(1), text("x"), void()]))]))])),
        ("array", list(&[flag(true), long(1), map(&[])])),
        ("void", void()),
        ("", int(1)),
        ("same", int(1)),
        ("same", int(2)),
        (&"n".repeat(200), Field(vec![b'V'])),
    ])
}

/// Properties and body come back octet by octet, by every way there is.
#[test]
fn what_is_sent_is_what_comes() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    let binary: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 253) as u8).collect();
    let messages: Vec<(Vec<u8>, &[u8])> = vec![
        (PLAIN.to_vec(), b""),
        (PLAIN.to_vec(), &binary),
        (everything(), b"m"),
        (every_type(), b""),
        (vec![0x10, 0, 0], b"delivery-mode 0"),
        (vec![0x10, 0, 3], b"delivery-mode 3"),
        (vec![0x08, 0, 255], b"priority 255"),
        ([&[0, 0x40][..], &[0xFF; 8]].concat(), b"the last timestamp"),
        (everything(), &large),
    ];
    let check = |client: &mut Client, sent: &(Vec<u8>, &[u8]), how: &str| {
        let got = client.next(1);
        assert!(got.properties == sent.0, "{how}: {:?} instead of {:?}", got.properties, sent.0);
        assert!(got.body == sent.1, "{how}: another body");
    };
    for sent in &messages {
        client.publish_with(1, "basic.publish routing-key=q", &sent.0, sent.1);
        client.send(1, "basic.get queue=q");
        check(&mut client, sent, "fetched");
        // Once more, after it came back.
        client.all_ok(1, &["channel.close"]);
        client.open_channel(1);
        client.send(1, "basic.get queue=q no-ack");
        check(&mut client, sent, "fetched again");
        client.publish_with(1, "basic.publish exchange=amq.direct mandatory", &sent.0, sent.1);
        check(&mut client, sent, "returned");
        client.publish_with(1, "basic.publish routing-key=q", &sent.0, sent.1);
        client.all_ok(1, &["basic.consume queue=q consumer-tag=waiting no-ack"]);
        check(&mut client, sent, "delivered from the queue");
        client.publish_with(1, "basic.publish routing-key=q", &sent.0, sent.1);
        check(&mut client, sent, "delivered at once");
        client.all_ok(1, &["basic.cancel consumer-tag=waiting"]);
    }
}

#[test]
fn refused() {
    let mut bench = Bench::new(&["queue.declare queue=q"]);
    let missing = "channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (60,40)";
    let immediate = "connection.close 540 NOT_IMPLEMENTED - immediate=true (60,40)";
    bench.publish_case("basic.publish exchange=nope", PLAIN, missing);
    bench.publish_case("basic.publish exchange=nope mandatory", PLAIN, missing);
    bench.publish_case("basic.publish routing-key=q immediate", PLAIN, immediate);
    bench.publish_case("basic.publish routing-key=q immediate mandatory", PLAIN, immediate);
    bench.publish_case("basic.publish exchange=nope immediate", PLAIN, immediate);
    let expiration = |value: &str, why: &str| {
        format!("channel.close 406 PRECONDITION_FAILED - invalid expiration '{value}': {why} (60,40)")
    };
    for (value, why) in [
        ("", "no_integer"),
        (" 1", "no_integer"),
        ("a", "no_integer"),
        ("١", "no_integer"),
        ("1 ", "{leftover_string,\" \"}"),
        ("1.5", "{leftover_string,\".5\"}"),
        ("1e3", "{leftover_string,\"e3\"}"),
        ("0x10", "{leftover_string,\"x10\"}"),
        ("-1", "{value_negative,-1}"),
        ("99999999999999", "{value_too_large,99999999999999}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ] {
        let properties = short(EXPIRATION, value);
        bench.publish_case("basic.publish routing-key=q", &properties, &expiration(value, why));
    }
    bench.publish_case("basic.publish", &short(EXPIRATION, "a"), &expiration("a", "no_integer"));
    bench.publish_case("basic.publish exchange=nope", &short(EXPIRATION, "a"), missing);
    for value in ["315360000000", "+5000000", "0100000000"] {
        bench.publish_case("basic.publish exchange=amq.fanout", &short(EXPIRATION, value), "basic.qos-ok");
    }
    for value in ["other", ""] {
        let wanted = format!(
            "channel.close 406 PRECONDITION_FAILED - user_id property set to '{value}' but authenticated user was \
             'guest' (60,40)"
        );
        bench.publish_case("basic.publish routing-key=q", &short(USER_ID, value), &wanted);
    }
    bench.publish_case("basic.publish exchange=amq.fanout", &short(USER_ID, "guest"), "basic.qos-ok");
    let both = [&(EXPIRATION | USER_ID).to_be_bytes()[..], b"\x01a\x05other"].concat();
    bench.publish_case("basic.publish routing-key=q", &both, &expiration("a", "no_integer"));
    assert_eq!(bench.broker.queue("q").unwrap().ready, 0);
}

/// Who has the tag may claim to be anybody, from the next connection on and as long as that lasts.
#[test]
fn impersonators() {
    let broker = Broker::start();
    broker.channel().all_ok(1, &["queue.declare queue=q"]);
    broker.add_user("actor", (".*", ".*", ".*"));
    let set_tags = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).into()).collect();
        broker.node.put_user("actor", Some(PasswordHash::new(b"actor", *b"salt")), tags);
    };
    let claim = |client: &mut Client| {
        client.publish_with(1, "basic.publish routing-key=q", &short(USER_ID, "somebody"), b"x");
        client.call(1, "basic.qos")
    };
    let refused = "channel.close 406 PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was \
                   'actor' (60,40)";
    set_tags(&["administrator"]);
    let mut before = Client::user(broker.address, "actor");
    set_tags(&["monitoring", "impersonator"]);
    let mut actor = Client::user(broker.address, "actor");
    assert_eq!(claim(&mut before), refused);
    assert_eq!(claim(&mut actor), "basic.qos-ok");
    set_tags(&[]);
    assert_eq!(claim(&mut actor), "basic.qos-ok");
    assert_eq!(claim(&mut Client::user(broker.address, "actor")), refused);
    broker.until("q", 2, 0);
}

/// A route that is remembered does not spare a message the look at its properties, nor at its exchange.
#[test]
fn refused_on_a_route_that_is_known() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "exchange.declare exchange=x type=fanout"]);
    client.all_ok(1, &["queue.bind queue=q exchange=x"]);
    client.publish(1, "x", "k", "good");
    client.publish_with(1, "basic.publish exchange=x routing-key=k", &short(USER_ID, "other"), b"bad");
    assert_eq!(
        client.next(1).to_string(),
        "channel.close 406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest' \
         (60,40)"
    );
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    client.publish(1, "x", "k", "good");
    broker.until("q", 2, 0);
    // By somebody else.
    let mut other = broker.channel();
    other.all_ok(1, &["exchange.delete exchange=x"]);
    client.publish(1, "x", "k", "lost");
    let wanted = "channel.close 404 NOT_FOUND - no exchange 'x' in vhost '/' (60,40)";
    assert_eq!(client.next(1).to_string(), wanted);
    assert_eq!(other.bodies(1, "q"), ["good", "good"]);
}

#[test]
fn routes_that_change_under_way() {
    let broker = Broker::start();
    let (mut client, mut other) = (broker.channel(), broker.channel());
    let mut sent = 0;
    let mut step = |change: &str, wanted: usize| {
        other.all_ok(1, &[change]);
        sent += 1;
        client.publish_with(1, "basic.publish routing-key=q mandatory", PLAIN, format!("{sent}").as_bytes());
        let got = client.so_far(1);
        assert_eq!(got.contains("basic.return "), wanted == 0, "after {change}: {got}");
        assert_eq!(broker.queue("q").map_or(0, |counts| counts.ready), wanted, "after {change}");
    };
    step("exchange.declare exchange=x type=direct", 0);
    step("queue.declare queue=q", 1);
    step("queue.delete queue=q", 0);
    step("queue.declare queue=q", 1);
}

#[test]
fn returns() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    client.publish_with(1, "basic.publish exchange=amq.direct routing-key=zz mandatory", PLAIN, b"back");
    client.publish_with(1, "basic.publish exchange=amq.direct routing-key=zz", PLAIN, b"dropped");
    client.publish_with(1, "basic.publish routing-key=q mandatory", PLAIN, b"routed");
    client.publish_with(1, "basic.publish routing-key=r mandatory", &everything(), b"");
    assert_eq!(
        client.next(1).to_string(),
        "basic.return reply-code=312 reply-text='NO_ROUTE' exchange='amq.direct' routing-key='zz' | back"
    );
    let second = client.next(1);
    assert_eq!(
        second.to_string(),
        "basic.return reply-code=312 reply-text='NO_ROUTE' exchange='' routing-key='r' | "
    );
    assert_eq!(second.properties, everything());
    client.quiet(1);
    assert_eq!(client.bodies(1, "q"), ["routed"]);
}

/// Reads until all of `1..=last` are confirmed, each once, and returns what came besides.
fn confirmed(client: &mut Client, last: u64) -> Vec<String> {
    let mut open: BTreeSet<u64> = (1..=last).collect();
    let mut others = Vec::new();
    while !open.is_empty() {
        let event = client.next(1);
        if !event.text.starts_with("basic.ack ") {
            assert!(event.text.starts_with("basic.return "), "{event}");
            others.push(format!(
                "{} before {:?}",
                String::from_utf8_lossy(&event.body),
                open.first().unwrap()
            ));
            continue;
        }
        let tag = event.tag();
        assert!(open.remove(&tag), "{tag} twice");
        if event.text.ends_with(" multiple") {
            open.retain(|number| *number > tag);
        }
    }
    client.quiet(1);
    others
}

#[test]
fn confirms() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    client.publish(1, "", "q", "before");
    client.all_ok(1, &["confirm.select"]);
    for tag in 1..=2 {
        client.publish(1, "", "q", "m");
        assert_eq!(client.next(1).to_string(), format!("basic.ack delivery-tag={tag}"));
    }
    // Unroutable ones as well, and selecting again does not count anew.
    client.all_ok(1, &["confirm.select"]);
    client.publish(1, "amq.direct", "nobody", "m");
    assert_eq!(client.next(1).to_string(), "basic.ack delivery-tag=3");
    assert_eq!(broker.queue("q").unwrap().ready, 3);
    // Each channel counts its own.
    client.open_channel(2);
    client.send(2, "confirm.select no-wait");
    client.publish(2, "", "q", "m");
    assert_eq!(client.next(2).to_string(), "basic.ack delivery-tag=1");
    client.all_ok(2, &["channel.close"]);
    client.open_channel(2);
    client.all_ok(2, &["confirm.select"]);
    client.publish(2, "", "q", "m");
    assert_eq!(client.next(2).to_string(), "basic.ack delivery-tag=1");
}

#[test]
fn many_confirms() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "confirm.select"]);
    for number in 0..1000 {
        client.publish(1, "", if number % 7 == 0 { "nobody" } else { "q" }, "m");
    }
    assert_eq!(confirmed(&mut client, 1000), [""; 0]);
    assert_eq!(broker.queue("q").unwrap().ready, 1000 - 143);
}

/// A return comes before the confirm of the same message, and refused messages leave the earlier ones confirmed.
#[test]
fn returns_come_before_their_confirms() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "confirm.select"]);
    for number in 1..=100 {
        let key = if number % 10 == 0 { "nobody" } else { "q" };
        let publish = method("basic.publish mandatory").set("routing-key", key);
        client.publish_with(1, publish, PLAIN, number.to_string().as_bytes());
    }
    let returned = confirmed(&mut client, 100);
    assert_eq!(returned.len(), 10);
    for (number, text) in (1..).zip(returned) {
        let (body, open) = text.split_once(" before ").unwrap();
        assert_eq!(body, (number * 10).to_string());
        assert!(open.parse::<u64>().unwrap() <= number * 10, "{text}");
    }
    client.publish(1, "", "q", "good");
    client.publish(1, "nosuch", "q", "bad");
    assert_eq!(client.next(1).to_string(), "basic.ack delivery-tag=101");
    assert!(client.next(1).text.starts_with("channel.close 404 "));
}

#[test]
fn a_message_for_several_queues() {
    let broker = Broker::start();
    let mut client = broker.channel();
    let queues: Vec<String> = (0..50).map(|number| format!("q{number}")).collect();
    for queue in &queues {
        client.all_ok(1, &[&format!("queue.declare queue={queue}")]);
        client.all_ok(1, &[&format!("queue.bind queue={queue} exchange=amq.fanout")]);
    }
    client.all_ok(1, &["confirm.select", "basic.consume queue=q7 consumer-tag=c no-ack"]);
    let body = "x".repeat(20_000);
    client.publish(1, "amq.fanout", "", &body);
    let mut seen: Vec<String> = (0..2).map(|_| client.next(1).short()).collect();
    seen.sort();
    assert_eq!(seen, ["basic.ack delivery-tag=1".to_owned(), format!("c#1:{body}")]);
    for queue in queues.iter().filter(|queue| **queue != "q7") {
        assert_eq!(client.bodies(1, queue), [&*body], "{queue}");
    }
}

/// More than a batch may move at once: it is run in parts, in the same order, and to its end.
#[test]
fn a_burst_to_many_queues() {
    const QUEUES: usize = 64;
    let broker = Broker::start();
    let mut client = broker.channel();
    for queue in 0..QUEUES {
        let queue = format!("q{queue}");
        client.all_ok(
            1,
            &[
                &format!("queue.declare queue={queue}"),
                &format!("queue.bind queue={queue} exchange=amq.fanout"),
            ],
        );
    }
    for number in 0..1000 {
        client.publish(1, "amq.fanout", "", &number.to_string());
    }
    // What closes the channel comes after all of it.
    client.publish(1, "no such exchange", "", "lost");
    client.publish(1, "amq.fanout", "", "ignored");
    assert!(client.next(1).text.starts_with("channel.close 404 "));
    for queue in 0..QUEUES {
        broker.until(&format!("q{queue}"), 1000, 0);
    }
    let wanted: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(broker.channel().bodies(1, "q63"), wanted);
}
