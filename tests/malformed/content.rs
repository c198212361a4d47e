//! Content that does not follow its method, or is not what its header announced.

use crate::common::client::{BODY, FRAME_MAX, HEADER, METHOD, frame, header};
use crate::common::method::method;
use crate::common::table::{sized, table, text, typed};
use crate::{ENDS, Range};

const TOO_LARGE: u64 = (16 << 20) + 1;
const REFUSED: &str = "channel.close 406 PRECONDITION_FAILED - message size 16777217 is larger than configured max \
                       size 16777216 (60,40)";
const INTERNAL: &str = "connection.close 541 INTERNAL_ERROR (0,0)";

fn publish() -> Vec<u8> {
    frame(METHOD, 1, &method("basic.publish exchange=amq.fanout routing-key=k").payload())
}

fn head(size: u64) -> Vec<u8> {
    frame(HEADER, 1, &header(size, &[0, 0]))
}

fn body(octets: &[u8]) -> Vec<u8> {
    frame(BODY, 1, octets)
}

fn qos() -> Vec<u8> {
    frame(METHOD, 1, &method("basic.qos").payload())
}

/// The header of an empty message with these octets where class and weight are.
fn odd_head(class_and_weight: [u8; 4]) -> Vec<u8> {
    frame(HEADER, 1, &[&class_and_weight[..], &[0; 8], &[0, 0]].concat())
}

#[test]
fn content_out_of_order() {
    let mut range = Range::open();
    let no_header = "connection.close 505 UNEXPECTED_FRAME - expected content header for class 60, got non content \
                     header frame instead (60,40)";
    let no_body = "connection.close 505 UNEXPECTED_FRAME - expected content body, got non content body frame \
                   instead (60,40)";
    let no_method =
        "connection.close 505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)";
    let exceeds =
        "connection.close 501 FRAME_ERROR - content body frame exceeds remaining content size (60,40)";
    let class = |n| {
        format!(
            "connection.close 505 UNEXPECTED_FRAME - expected content header for class 60, got one for class {n} \
             instead (60,40)"
        )
    };
    let cases: &[(&str, Vec<Vec<u8>>, &str)] = &[
        ("method instead of header", vec![publish(), qos()], no_header),
        ("body instead of header", vec![publish(), body(b"abc")], no_header),
        ("method instead of body", vec![publish(), head(3), qos()], no_body),
        ("header instead of body", vec![publish(), head(3), head(3)], no_body),
        ("method after half a body", vec![publish(), head(4), body(b"ab"), qos()], no_body),
        ("body after an empty message", vec![publish(), head(0), body(b"abc")], no_method),
        ("empty body after an empty message", vec![publish(), head(0), body(b""), qos()], no_method),
        ("class 50", vec![publish(), odd_head([0, 50, 0, 0])], &class(50)),
        ("class 0", vec![publish(), odd_head([0, 0, 0, 0])], &class(0)),
        ("weight 1", vec![publish(), odd_head([0, 60, 0, 1])], no_header),
        ("longer than announced", vec![publish(), head(3), body(b"abcde")], exceeds),
        ("longer, in two frames", vec![publish(), head(3), body(b"ab"), body(b"cd")], exceeds),
        (
            "an empty frame among the body",
            vec![publish(), head(3), body(b""), body(b"abc"), qos()],
            "basic.qos-ok",
        ),
    ];
    for (name, frames, wanted) in cases {
        range.case(name, &frames.concat(), wanted);
    }
}

#[test]
fn sizes_that_cannot_be() {
    let mut range = Range::open();
    for size in [(512 << 20) + 1, 1 << 63, u64::MAX] {
        let wanted = format!(
            "connection.close 501 FRAME_ERROR - content body size {size} exceeds maximum allowed size 536870912 \
             (60,40)"
        );
        range.case(&format!("size {size}"), &[publish(), head(size)].concat(), &wanted);
    }
    // Up to there it is the body that counts, and the body is missing.
    range.case(
        "a body over the limit that does not come",
        &[publish(), head(TOO_LARGE), qos()].concat(),
        "connection.close 505 UNEXPECTED_FRAME - expected content body, got non content body frame instead (60,40)",
    );
}

#[test]
fn a_message_over_the_limit_closes_its_channel() {
    let mut range = Range::open();
    let octets = vec![7; TOO_LARGE as usize];
    for exchange in ["amq.fanout", "no-such-exchange"] {
        let mut client = range.broker.channel();
        client.publish_with(1, method("basic.publish").set("exchange", exchange), &[0, 0], &octets);
        range.finish(exchange, client, REFUSED);
    }
    let mut client = range.broker.channel();
    client.publish_with(1, "basic.publish exchange=amq.fanout", &[0, 0], &octets[1..]);
    client.quiet(1);
}

#[test]
fn property_lists() {
    let mut range = Range::open();
    let bad_value = table(&[("k", typed(b'S', &sized(b"\xff")))]);
    let unknown = table(&[("k", typed(b'Z', b"abcd"))]);
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("content-type without a value", vec![0x80, 0], INTERNAL),
        ("content-type cut short", [&[0x80, 0, 9][..], b"text"].concat(), INTERNAL),
        ("headers cut short", [&[0x20, 0, 0, 0, 0, 50][..], b"\x01k"].concat(), INTERNAL),
        (
            "headers whose field runs over",
            [&[0x20, 0][..], &sized(b"\x01kS\0\0\0\x09abc")].concat(),
            INTERNAL,
        ),
        ("headers with a field of unknown type", [&[0x20, 0][..], &unknown].concat(), INTERNAL),
        ("octets behind the properties", vec![0, 0, 1, 2, 3], INTERNAL),
        ("no flags", vec![], INTERNAL),
        ("half of the flags", vec![0], INTERNAL),
        ("more flags announced and there", vec![0, 1, 0, 0], INTERNAL),
        ("more flags announced and missing", vec![0, 1], "basic.qos-ok"),
        ("a flag without a meaning", vec![0, 2], "basic.qos-ok"),
        ("content-type that is not UTF-8", vec![0x80, 0, 2, 0xFF, 0xFE], "basic.qos-ok"),
        ("a header's text that is not UTF-8", [&[0x20, 0][..], &bad_value].concat(), "basic.qos-ok"),
        ("headers", [&[0x20, 0][..], &table(&[("k", text("v"))])].concat(), "basic.qos-ok"),
    ];
    for (name, properties, wanted) in cases {
        let head = frame(HEADER, 1, &header(0, properties));
        range.case(name, &[publish(), head, qos()].concat(), wanted);
    }
}

#[test]
fn a_missing_exchange_comes_before_bad_properties() {
    let mut range = Range::open();
    let publish = frame(METHOD, 1, &method("basic.publish exchange=nosuch").payload());
    let head = frame(HEADER, 1, &header(0, &[0x20, 0, 0, 0, 0, 50]));
    let wanted = "channel.close 404 NOT_FOUND - no exchange 'nosuch' in vhost '/' (60,40)";
    range.case("no exchange", &[publish, head].concat(), wanted);
}

/// Channels may take turns inside of a message; each gathers its own.
#[test]
fn content_of_two_channels_interleaved() {
    let broker = crate::common::Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(1, &["queue.declare queue=one", "queue.declare queue=two"]);
    let methods = [(1, "basic.publish routing-key=one"), (2, "basic.publish routing-key=two")].map(
        |(channel, text)| {
            [
                frame(METHOD, channel, &method(text).payload()),
                frame(HEADER, channel, &header(4, &[0, 0])),
                frame(BODY, channel, &[channel as u8 + b'0'; 2]),
                frame(BODY, channel, &[channel as u8 + b'a'; 2]),
            ]
        },
    );
    let [one, two] = methods;
    let octets: Vec<u8> = one.into_iter().zip(two).flat_map(|(one, two)| [one, two].concat()).collect();
    client.send_bytes(&octets);
    client.quiet(2);
    assert_eq!(client.get_all(1, "one", " no-ack"), "11bb#1(left 0)");
    assert_eq!(client.get_all(1, "two", " no-ack"), "22cc#2(left 0)");
}

#[test]
fn a_connection_that_ends_inside_of_a_message_leaves_nothing() {
    let mut range = Range::open();
    let publish = frame(METHOD, 1, &method("basic.publish routing-key=bystander").payload());
    let octets = [publish, head(FRAME_MAX as u64 * 2), body(&[1; FRAME_MAX - 8])].concat();
    let mut client = range.broker.channel();
    client.send_bytes(&octets);
    client.end_output();
    range.finish("half a message", client, ENDS);
    assert_eq!(range.broker.queue("bystander").map(|counts| counts.ready), Some(0));
}
