//! Frames that are none, and frames where they do not belong.

use crate::common::Table;
use crate::common::client::{BODY, HEADER, HEARTBEAT, METHOD, frame, header};
use crate::common::method::method;
use crate::{ENDS, Range};

const QOS: &[u8] = &[0, 60, 0, 10, 0, 0, 0, 0, 0, 1, 0];

#[test]
fn wrong_end_octets() {
    let mut range = Range::open();
    let mut qos = frame(METHOD, 1, QOS);
    *qos.last_mut().unwrap() = 0;
    let text = "connection.close 501 FRAME_ERROR - type 1, all octets = <<0,60,0,10,0,0,0,0,0,1,0>>: \
                {invalid_frame_end_marker,0} (0,0)";
    range.case("method on channel 1", &qos, text);
    let mut beat = frame(HEARTBEAT, 0, b"");
    *beat.last_mut().unwrap() = 65;
    let text =
        "connection.close 501 FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,65} (0,0)";
    range.case("heartbeat", &beat, text);
    // The end octet that belongs to the header of a publish.
    let mut publish = frame(METHOD, 1, &method("basic.publish routing-key=q").payload());
    publish.extend(frame(HEADER, 1, &header(0, &[0, 0])));
    *publish.last_mut().unwrap() = 1;
    let text = "connection.close 501 FRAME_ERROR - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0,0,0>>: \
                {invalid_frame_end_marker,1} (0,0)";
    range.case("content header", &publish, text);
}

#[test]
fn unknown_frame_types() {
    let mut range = Range::open();
    for kind in [0, 4, 5, 6, 7, 9, 255] {
        for channel in [0, 1] {
            let wanted = format!(
                "connection.close 501 FRAME_ERROR - type {kind}, all octets = <<\"abcd\">>: unknown_frame (0,0)"
            );
            range.case(&format!("type {kind} on channel {channel}"), &frame(kind, channel, b"abcd"), &wanted);
        }
    }
}

#[test]
fn frames_in_the_wrong_place() {
    let mut range = Range::open();
    let head = header(3, &[0, 0]);
    let expected_method =
        "connection.close 505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)";
    let cases: &[(&str, Vec<u8>, &str)] = &[
        (
            "heartbeat on channel 1",
            frame(HEARTBEAT, 1, b""),
            "connection.close 505 UNEXPECTED_FRAME - type 8, all octets = <<>> (0,0)",
        ),
        (
            "heartbeat on a channel never opened",
            frame(HEARTBEAT, 5, b""),
            "connection.close 505 UNEXPECTED_FRAME - type 8, all octets = <<>> (0,0)",
        ),
        (
            "heartbeat with a payload",
            frame(HEARTBEAT, 0, b"abc"),
            "connection.close 501 FRAME_ERROR - type 8, all octets = <<\"abc\">>: unknown_frame (0,0)",
        ),
        ("body without method", frame(BODY, 1, b"abc"), expected_method),
        ("header without method", frame(HEADER, 1, &head), expected_method),
        ("body on a channel never opened", frame(BODY, 5, b"abc"), expected_method),
        ("header on a channel never opened", frame(HEADER, 5, &head), expected_method),
        (
            "header on channel 0",
            frame(HEADER, 0, &head),
            "connection.close 505 UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,3,0,0>> (0,0)",
        ),
        (
            "body on channel 0",
            frame(BODY, 0, b"abc"),
            "connection.close 505 UNEXPECTED_FRAME - type 3, all octets = <<\"abc\">> (0,0)",
        ),
        (
            "header of 10 octets",
            frame(HEADER, 1, &head[..10]),
            "connection.close 501 FRAME_ERROR - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0>>: unknown_frame (0,0)",
        ),
    ];
    for (name, octets, wanted) in cases {
        range.case(name, octets, wanted);
    }
}

#[test]
fn payloads_that_are_no_method() {
    let mut range = Range::open();
    for channel in [0, 1] {
        range.case(
            &format!("empty, channel {channel}"),
            &frame(METHOD, channel, b""),
            "connection.close 501 FRAME_ERROR - type 1, all octets = <<>>: unknown_frame (0,0)",
        );
    }
    range.case(
        "two octets",
        &frame(METHOD, 1, &[0, 50]),
        "connection.close 501 FRAME_ERROR - type 1, all octets = <<0,50>>: unknown_frame (0,0)",
    );
    for (name, channel, payload) in [
        ("class 99 on channel 1", 1, [0, 99, 0, 1]),
        ("class 99 on channel 0", 0, [0, 99, 0, 1]),
        ("class 99 on a channel never opened", 5, [0, 99, 0, 1]),
        ("method 10.200", 0, [0, 10, 0, 200]),
        ("class 70", 1, [0, 70, 0, 10]),
        ("method 50.99", 1, [0, 50, 0, 99]),
    ] {
        range.case(name, &frame(METHOD, channel, &payload), ENDS);
    }
}

#[test]
fn a_frame_may_come_octet_by_octet() {
    let mut range = Range::open();
    let mut client = range.broker.channel();
    let mut octets = frame(METHOD, 1, &method("basic.publish routing-key=bystander mandatory").payload());
    octets.extend(frame(HEADER, 1, &header(5, &[0, 0])));
    octets.extend([frame(BODY, 1, b"ab"), frame(BODY, 1, b""), frame(BODY, 1, b"cde")].concat());
    octets.extend(frame(METHOD, 1, QOS));
    for octet in octets {
        client.send_bytes(&[octet]);
    }
    assert_eq!(client.next(1).to_string(), "basic.qos-ok");
    let got = range.bystander.call(1, "basic.get queue=bystander no-ack");
    assert!(got.ends_with("message-count=0 | abcde"), "{got}");
}

#[test]
fn half_a_frame_and_the_end_of_the_stream() {
    let mut range = Range::open();
    for size in [1, 6, 7, 9, 18] {
        let mut client = range.broker.channel();
        client.send_bytes(&frame(METHOD, 1, QOS)[..size]);
        client.end_output();
        range.finish(&format!("{size} octets"), client, ENDS);
    }
}

#[test]
fn a_close_that_was_answered_ends_the_connection() {
    let range = Range::open();
    let mut table = Table::default();
    for (name, octets) in [
        ("frame type 9", frame(9, 0, b"")),
        ("heartbeat on channel 1", frame(8, 1, b"")),
        ("body without method", frame(BODY, 1, b"abc")),
        ("unknown method", frame(METHOD, 1, &[0, 99, 0, 1])),
        ("cut short", frame(METHOD, 1, &[0, 60, 0, 10, 0, 0])),
        ("not UTF-8", frame(METHOD, 1, &method("queue.declare").set("queue", b"q\xff").payload())),
        ("class 60 on channel 0", frame(METHOD, 0, &method("basic.ack delivery-tag=1").payload())),
    ] {
        let mut client = range.broker.channel();
        client.label = format!("{name}:");
        client.send_bytes(&octets);
        let close = client.next(0);
        assert!(close.text.starts_with("connection.close "), "{name}: {close}");
        // What a client sends before it reads the close is ignored; its answer is not.
        client.send(1, "basic.qos");
        client.send(0, "connection.close-ok");
        // The client keeps its side open: it is the broker that ends the connection.
        let end = client.next(0);
        table.check(name, &end.to_string(), "end");
    }
}
