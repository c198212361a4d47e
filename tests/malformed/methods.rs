//! Methods that cannot be read, and methods that must not be sent here or now.

use crate::common::client::{HEADER, METHOD, frame, header};
use crate::common::method::method;
use crate::common::table::{int, list, map, sized, table, typed};
use crate::{ENDS, Range};

/// `queue.declare` of a durable queue `t1` with these octets as its arguments, length prefix and all.
fn declare(arguments: &[u8]) -> Vec<u8> {
    frame(METHOD, 1, &[&[0, 50, 0, 10, 0, 0, 2, b't', b'1', 2][..], arguments].concat())
}

fn sent(channel: u16, text: &str) -> Vec<u8> {
    frame(METHOD, channel, &method(text).payload())
}

#[test]
fn arguments_that_do_not_fit_the_method() {
    let mut range = Range::open();
    let cannot = |octets: &str, id: &str| {
        format!("connection.close 501 FRAME_ERROR - cannot decode <<{octets}>> {id}")
    };
    let with = |text: &str, more: &[u8]| [&method(text).payload()[..], more].concat();
    let cases: &[(&str, u16, Vec<u8>, String)] = &[
        ("queue.declare, nothing", 1, vec![0, 50, 0, 10], cannot("", "(50,10)")),
        (
            "queue.declare, no arguments",
            1,
            vec![0, 50, 0, 10, 0, 0, 2, b't', b'1', 2],
            cannot("0,0,2,116,49,2", "(50,10)"),
        ),
        (
            "queue.declare, table of 100 octets with 3",
            1,
            vec![0, 50, 0, 10, 0, 0, 2, b't', b'1', 2, 0, 0, 0, 100, 1, b'a', b'V'],
            cannot("0,0,2,116,49,2,0,0,0,100,1,97,86", "(50,10)"),
        ),
        (
            "queue.declare, more behind",
            1,
            with("queue.declare queue=t1 durable", b"zzz"),
            cannot("0,0,2,116,49,2,0,0,0,0,122,122,122", "(50,10)"),
        ),
        ("basic.qos, too short", 1, vec![0, 60, 0, 10, 0, 0], cannot("0,0", "(60,10)")),
        (
            "basic.qos, more behind",
            1,
            with("basic.qos prefetch-count=1", b"zz"),
            cannot("0,0,0,0,0,1,0,122,122", "(60,10)"),
        ),
        ("channel.open, more behind", 2, with("channel.open", b"zz"), cannot("0,122,122", "(20,10)")),
        ("tx.select, more behind", 1, with("tx.select", b"zz"), cannot("122,122", "(90,10)")),
        ("basic.publish, cut short", 1, vec![0, 60, 0, 40, 0, 0, 3, b'a'], cannot("0,0,3,97", "(60,40)")),
        ("basic.ack, cut short", 1, vec![0, 60, 0, 80, 0, 0, 1], cannot("0,0,1", "(60,80)")),
        ("method 60.200", 1, vec![0, 60, 0, 200], cannot("", "(60,200)")),
        ("basic.nack, more behind", 1, with("basic.nack delivery-tag=0", &[1]), {
            cannot("0,0,0,0,0,0,0,0,0,1", "(60,120)")
        }),
    ];
    for (name, channel, payload, wanted) in cases {
        range.case(name, &frame(METHOD, *channel, payload), wanted);
    }
}

#[test]
fn tables_that_are_wrong_inside() {
    let mut range = Range::open();
    for (name, octets) in [
        ("a field that runs over", sized(b"\x01kS\0\0\0\x09abc")),
        ("a name that runs over", sized(b"\x09k")),
        ("a name and nothing more", sized(b"\x01k")),
        ("type Z", table(&[("k", typed(b'Z', b"abcd"))])),
        ("type 0", table(&[("k", typed(0, b"abcd"))])),
        ("an array that runs over", sized(b"\x01kA\0\0\0\x02I\0")),
    ] {
        range.case(name, &declare(&octets), ENDS);
    }
}

#[test]
fn every_type_of_field_is_taken() {
    let mut range = Range::open();
    let everything = table(&[
        ("t", typed(b't', &[1])),
        ("b", typed(b'b', &[0xFB])),
        ("B", typed(b'B', &[200])),
        ("s", typed(b's', &[0xFF, 0])),
        ("u", typed(b'u', &[0xFF, 0])),
        ("I", int(-5)),
        ("i", typed(b'i', &[0xFF; 4])),
        ("l", typed(b'l', &[0xFF; 8])),
        ("L", typed(b'L', &[0xFF; 8])),
        ("f", typed(b'f', &[0x3F, 0xC0, 0, 0])),
        ("d", typed(b'd', &[0x3F, 0xF8, 0, 0, 0, 0, 0, 0])),
        ("D", typed(b'D', &[2, 0, 0, 1, 58])),
        ("S", typed(b'S', &sized("größe".as_bytes()))),
        ("x", typed(b'x', &sized(&[0, 0xFF]))),
        ("T", typed(b'T', &[0, 0, 0, 0, 1, 2, 3, 4])),
        ("A", list(&[int(1), map(&[])])),
        ("F", map(&[("in", map(&[("deep", list(&[]))]))])),
        ("V", typed(b'V', &[])),
    ]);
    range.case("all", &declare(&everything), "queue.declare-ok queue='t1' message-count=0 consumer-count=0");
}

/// RabbitMQ has no limit here; a broker that has one must end the connection, and nothing else.
#[test]
fn deep_nesting() {
    let mut range = Range::open();
    for depth in [50, 127, 128, 1000, 16_000] {
        for kind in *b"FA" {
            let mut octets: Vec<u8> = Vec::new();
            for level in 0..depth {
                let name: &[u8] = if kind == b'F' || level + 1 == depth { b"\x01k" } else { b"" };
                octets = [name, &[kind], &sized(&octets)].concat();
            }
            if octets.len() > 131_000 {
                continue;
            }
            let name = format!("{} times {}", depth, kind as char);
            let mut client = range.broker.channel();
            client.send_bytes(&declare(&sized(&octets)));
            let got = client.next(1).to_string();
            let fine = got.starts_with("queue.declare-ok ");
            let ended = got == "end" || got.starts_with("connection.close ");
            assert!(fine || (depth > 50 && ended), "{name}: {got}");
            range.bystander_is_served();
        }
    }
}

#[test]
fn methods_on_the_wrong_channel() {
    let mut range = Range::open();
    let running = "CHANNEL_ERROR - unexpected method in connection state running";
    for (channel, text, wanted) in [
        (5, "queue.declare queue=t1", "504 CHANNEL_ERROR - expected 'channel.open' (50,10)".to_owned()),
        (5, "channel.close-ok", "504 CHANNEL_ERROR - expected 'channel.open' (20,41)".to_owned()),
        (5, "channel.close", "504 CHANNEL_ERROR - expected 'channel.open' (20,40)".to_owned()),
        (5, "basic.ack delivery-tag=1", "504 CHANNEL_ERROR - expected 'channel.open' (60,80)".to_owned()),
        (5, "basic.nack delivery-tag=1", "504 CHANNEL_ERROR - expected 'channel.open' (60,120)".to_owned()),
        (5, "basic.reject delivery-tag=1", "504 CHANNEL_ERROR - expected 'channel.open' (60,90)".to_owned()),
        (5, "tx.commit", "504 CHANNEL_ERROR - expected 'channel.open' (90,20)".to_owned()),
        (1, "channel.open", "504 CHANNEL_ERROR - second 'channel.open' seen (20,10)".to_owned()),
        (1, "connection.close", "503 COMMAND_INVALID - unimplemented method (10,50)".to_owned()),
        (
            1,
            "connection.open virtual-host=/",
            "503 COMMAND_INVALID - unimplemented method (10,40)".to_owned(),
        ),
        (1, "connection.update-secret", "503 COMMAND_INVALID - unimplemented method (10,70)".to_owned()),
        (0, "queue.declare queue=t1", format!("504 {running} (50,10)")),
        (0, "channel.open", format!("504 {running} (20,10)")),
        (0, "basic.publish routing-key=t1", format!("504 {running} (60,40)")),
        (0, "basic.ack delivery-tag=1", format!("504 {running} (60,80)")),
        (0, "tx.select", format!("504 {running} (90,10)")),
    ] {
        range.case(
            &format!("{channel}: {text}"),
            &sent(channel, text),
            &format!("connection.close {wanted}"),
        );
    }
    // With its content, on a channel nobody has opened.
    let content = [sent(5, "basic.publish routing-key=t1"), frame(HEADER, 5, &header(0, &[0, 0]))].concat();
    let wanted = "connection.close 504 CHANNEL_ERROR - expected 'channel.open' (60,40)";
    range.case("content on a channel never opened", &content, wanted);
}

#[test]
fn methods_out_of_season() {
    let mut range = Range::open();
    for (text, id) in [
        ("connection.start-ok", "(10,11)"),
        ("connection.tune-ok", "(10,31)"),
        ("connection.open virtual-host=/", "(10,40)"),
        ("connection.secure-ok", "(10,21)"),
        ("connection.close-ok", "(10,51)"),
        ("connection.start", "(10,10)"),
        ("connection.open-ok", "(10,41)"),
        ("connection.blocked", "(10,60)"),
        ("connection.unblocked", "(10,61)"),
    ] {
        let wanted = format!(
            "connection.close 504 CHANNEL_ERROR - unexpected method in connection state running {id}"
        );
        range.case(text, &sent(0, text), &wanted);
    }
}

#[test]
fn methods_that_only_a_server_sends() {
    let mut range = Range::open();
    for (text, id) in [
        ("channel.open-ok", "(20,11)"),
        ("channel.flow-ok", "(20,21)"),
        ("channel.close-ok", "(20,41)"),
        ("queue.declare-ok", "(50,11)"),
        ("confirm.select-ok", "(85,11)"),
    ] {
        let wanted = format!("connection.close 503 COMMAND_INVALID - unimplemented method {id}");
        range.case(text, &sent(1, text), &wanted);
    }
    for (text, id) in [("basic.deliver", "(60,60)"), ("basic.get-ok", "(60,71)"), ("basic.return", "(60,50)")]
    {
        let wanted = format!("connection.close 503 COMMAND_INVALID - unimplemented method {id}");
        range.case(text, &[sent(1, text), frame(HEADER, 1, &header(0, &[0, 0]))].concat(), &wanted);
    }
    range.case("basic.cancel-ok", &sent(1, "basic.cancel-ok consumer-tag=c"), ENDS);
}
