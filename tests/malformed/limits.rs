//! Limits that client and broker agreed on: of frames, of channels.

use crate::common::client::{BODY, Client, METHOD, frame, header, start_ok};
use crate::common::method::method;
use crate::common::{Broker, Table};
use crate::{ENDS, Range};

/// A publish of one body frame of this size, and a method that is answered.
fn message(size: usize) -> Vec<u8> {
    let mut out = frame(METHOD, 1, &method("basic.publish exchange=amq.fanout").payload());
    out.extend(frame(2, 1, &header(size as u64, &[0, 0])));
    out.extend(frame(BODY, 1, &vec![1; size]));
    out.extend(frame(METHOD, 1, &method("basic.qos").payload()));
    out
}

/// RabbitMQ compares the payload, not the frame, with the limit.
#[test]
fn frames_over_the_limit() {
    let mut range = Range::open();
    range.case("a frame of the limit", &message(131_064), "basic.qos-ok");
    range.case("a payload of the limit", &message(131_072), "basic.qos-ok");
    for (kind, channel, size) in [(BODY, 1, 131_073_u32), (BODY, 1, 10_000_000), (METHOD, 0, u32::MAX)] {
        // The frame's head is enough: nobody waits for what follows.
        let head = [&[kind, 0, channel][..], &size.to_be_bytes()].concat();
        let wanted = format!(
            "connection.close 501 FRAME_ERROR - type {kind}, all octets = <<>>: {{frame_too_large,{size},131064}} \
             (0,0)"
        );
        range.case(&format!("type {kind}, {size} octets"), &head, &wanted);
    }
}

#[test]
fn the_limit_is_what_was_agreed_on() {
    let mut range = Range::open();
    for (size, wanted) in [
        (8184, "basic.qos-ok"),
        (8192, "basic.qos-ok"),
        (
            8193,
            "connection.close 501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,8193,8184} (0,0)",
        ),
    ] {
        let mut client = Client::open_as(range.broker.address, "guest", &start_ok("guest", "guest"), 8192);
        client.open_channel(1);
        client.send_bytes(&message(size));
        range.finish(&format!("{size} octets"), client, wanted);
    }
}

/// The broker keeps to the limit as well.
#[test]
fn bodies_come_back_in_frames_of_the_limit() {
    let broker = Broker::start();
    let mut client = Client::open_as(broker.address, "guest", &start_ok("guest", "guest"), 8192);
    client.open_channel(1);
    client.all_ok(1, &["queue.declare queue=q"]);
    let octets: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
    broker.channel().publish_with(1, "basic.publish routing-key=q", &[0, 0], &octets);
    broker.until("q", 1, 0);
    client.send(1, "basic.get queue=q no-ack");
    let got = client.next(1);
    assert_eq!(got.parts, [8184, 8184, 3632]);
    assert!(got.body == octets);
}

#[test]
fn more_channels_than_agreed_on() {
    let mut range = Range::open();
    let mut client = Client::begun(range.broker.address);
    client.call(0, start_ok("guest", "guest"));
    client.send(0, "connection.tune-ok channel-max=3 frame-max=131072");
    assert_eq!(client.call(0, "connection.open virtual-host=/"), "connection.open-ok");
    // It is their number that counts, not how they are called.
    for channel in [1, 65_535, 2048] {
        client.open_channel(channel);
    }
    assert_eq!(client.call(1, "channel.close"), "channel.close-ok");
    client.open_channel(9);
    client.send(7, "channel.open");
    let wanted = "connection.close 530 NOT_ALLOWED - number of channels opened (3) has reached the negotiated \
                  channel_max (3) (0,0)";
    range.finish("a fourth channel", client, wanted);

    // A method that RabbitMQ answers on a channel that was never opened makes one as well.
    let mut client = Client::begun(range.broker.address);
    client.call(0, start_ok("guest", "guest"));
    client.send(0, "connection.tune-ok channel-max=3 frame-max=131072");
    assert_eq!(client.call(0, "connection.open virtual-host=/"), "connection.open-ok");
    for channel in 1..=3 {
        let got = client.call(channel, "basic.get");
        assert_eq!(got, "channel.close 404 NOT_FOUND - no previously declared queue (60,70)");
    }
    client.send(4, "basic.get");
    range.finish("a fourth channel that was not opened", client, wanted);

    let mut client = range.broker.connect();
    for channel in 1..=2047 {
        client.open_channel(channel);
    }
    client.send(2048, "channel.open");
    let wanted = "connection.close 530 NOT_ALLOWED - number of channels opened (2047) has reached the negotiated \
                  channel_max (2047) (0,0)";
    range.finish("channel 2048", client, wanted);
}

#[test]
fn what_comes_after_a_close_is_ignored() {
    let mut range = Range::open();
    // The client's close: everything but another one is ignored.
    let mut client = range.broker.channel();
    assert_eq!(client.call(0, "connection.close"), "connection.close-ok");
    client.send(1, "basic.qos");
    client.send(0, "connection.open virtual-host=/");
    client.send_bytes(&frame(8, 0, b""));
    assert_eq!(client.call(0, "connection.close"), "connection.close-ok");
    client.send(0, "connection.close-ok");
    client.end_output();
    range.finish("after the client's close", client, ENDS);
    // The broker's: up to the answer.
    let mut client = range.broker.channel();
    client.send(1, "basic.publish routing-key=bystander immediate");
    client.send_bytes(&frame(2, 1, &header(0, &[0, 0])));
    client.publish(1, "", "bystander", "too late");
    client.send(1, "queue.declare queue=too-late");
    client.send(2, "channel.open");
    let mut table = Table::default();
    table.check(
        "after the broker's close",
        &client.until_end(),
        "connection.close 540 NOT_IMPLEMENTED - immediate=true (60,40)",
    );
    assert_eq!(range.broker.queue("too-late"), None);
    range.bystander_is_served();
}
