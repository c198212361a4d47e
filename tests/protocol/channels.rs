//! Channels: opening, closing, and what crosses a close.

use crate::Bench;
use crate::common::Broker;

const NOPE: &str = "channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (50,10)";

#[test]
fn small_answers() {
    let mut bench = Bench::new(&[]);
    bench.cases(&[
        ("channel.flow active", "channel.flow-ok active"),
        ("access.request realm=/data active write read", "access.request-ok ticket=1"),
        ("access.request", "access.request-ok ticket=1"),
        ("basic.qos prefetch-count=65535", "basic.qos-ok"),
        ("basic.qos prefetch-count=3 global", "basic.qos-ok"),
        ("channel.flow", "connection.close 540 NOT_IMPLEMENTED - active=false (20,20)"),
        ("basic.qos prefetch-size=1", "connection.close 540 NOT_IMPLEMENTED - prefetch_size!=0 (1) (60,10)"),
        (
            "basic.qos prefetch-size=1000 global",
            "connection.close 540 NOT_IMPLEMENTED - prefetch_size!=0 (1000) (60,10)",
        ),
        ("basic.recover", "connection.close 540 NOT_IMPLEMENTED - requeue=false (60,110)"),
        ("basic.recover-async", "connection.close 540 NOT_IMPLEMENTED - requeue=false (60,100)"),
        ("basic.recover requeue", "basic.recover-ok"),
    ]);
    assert_eq!(
        bench.client.call(0, "connection.update-secret new-secret=x reason=y"),
        "connection.update-secret-ok"
    );
}

#[test]
fn closed_and_opened_again() {
    let broker = Broker::start();
    let mut client = broker.channel();
    for code in [0, 200, 404, 999] {
        let close = format!("channel.close reply-code={code} reply-text=bye class-id=60 method-id=40");
        assert_eq!(client.call(1, &*close), "channel.close-ok");
        client.open_channel(1);
        assert_eq!(client.call(1, "basic.qos"), "basic.qos-ok");
    }
    client.all_ok(1, &["channel.close"]);
    assert_eq!(
        client.call(1, "basic.qos"),
        "connection.close 504 CHANNEL_ERROR - expected 'channel.open' (60,10)"
    );
}

#[test]
fn an_error_leaves_other_channels_alone() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(2, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=c"]);
    assert_eq!(client.call(1, "queue.declare queue=nope passive"), NOPE);
    client.publish(2, "", "q", "m");
    assert_eq!(client.next(2).short(), "c#1:m");
    client.send(1, "channel.close-ok");
    client.open_channel(1);
}

#[test]
fn a_closing_channel_ignores_everything() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q", "confirm.select"]);
    client.send(1, "queue.declare queue=nope passive");
    client.send(1, "queue.delete queue=q");
    client.publish(1, "", "q", "lost");
    client.send(1, "basic.ack delivery-tag=77");
    client.send(1, "basic.get queue=q");
    assert_eq!(client.next(1).to_string(), NOPE);
    // Still, for it has not been answered.
    client.publish(1, "", "q", "lost too");
    client.send(1, "queue.declare queue=nope passive");
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    assert_eq!(client.call(1, "basic.get queue=q"), "basic.get-empty");
    // The mode went with the channel.
    client.publish(1, "", "q", "not confirmed");
    client.quiet(1);
    assert_eq!(client.get_all(1, "q", " no-ack"), "not confirmed#1(left 0)");
}

/// Half a message may have been sent when the channel is closed.
#[test]
fn content_on_its_way_to_a_closing_channel() {
    use crate::common::client::{BODY, HEADER, METHOD, frame, header};
    use crate::common::method::method;
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    client.publish(1, "nosuch", "k", "m");
    client.send_bytes(&frame(METHOD, 1, &method("basic.publish routing-key=q").payload()));
    client.send_bytes(&frame(HEADER, 1, &header(6, &[0, 0])));
    client.send_bytes(&frame(BODY, 1, b"abc"));
    let wanted = "channel.close 404 NOT_FOUND - no exchange 'nosuch' in vhost '/' (60,40)";
    assert_eq!(client.next(1).to_string(), wanted);
    client.send_bytes(&frame(BODY, 1, b"def"));
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    assert_eq!(client.call(1, "basic.get queue=q"), "basic.get-empty");
}

#[test]
fn closes_that_cross() {
    let broker = Broker::start();
    let mut client = broker.channel();
    assert_eq!(client.call(1, "queue.declare queue=nope passive"), NOPE);
    assert_eq!(client.call(1, "channel.close"), "channel.close-ok");
    client.send(1, "channel.close-ok");
    client.open_channel(1);
    assert_eq!(client.call(1, "basic.qos"), "basic.qos-ok");
}

#[test]
fn opened_before_the_close_is_answered() {
    let broker = Broker::start();
    let mut client = broker.channel();
    assert_eq!(client.call(1, "queue.declare queue=nope passive"), NOPE);
    assert_eq!(
        client.call(1, "channel.open"),
        "connection.close 504 CHANNEL_ERROR - second 'channel.open' seen (20,10)"
    );
}

#[test]
fn the_connection_may_be_closed_with_channels_in_any_state() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.open_channel(2);
    client.all_ok(2, &["queue.declare queue=q exclusive", "basic.consume queue=q"]);
    assert_eq!(client.call(1, "queue.declare queue=nope passive"), NOPE);
    client.close();
    broker.until_gone("q");
}
