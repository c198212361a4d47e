//! Names that are not UTF-8, that have line ends in them, that are as long as can be.

use crate::Range;
use crate::common::Broker;
use crate::common::client::{METHOD, frame};
use crate::common::method::{Method, method};
use crate::common::table::{sized, table, typed};

const MALFORMED: &str = "connection.close 501 FRAME_ERROR - Malformed UTF-8 in shortstr (0,0)";

#[test]
fn names_that_are_not_utf8() {
    let mut range = Range::open();
    let on_0 = "connection.close 501 FRAME_ERROR - Malformed UTF-8 in shortstr (10,50)";
    let ok = "queue.declare-ok queue='u1' message-count=0 consumer-count=0";
    let bad_text = table(&[("k", typed(b'S', &sized(b"\xff")))]);
    let cases: Vec<(u16, Method, &str)> = vec![
        (1, method("queue.declare").set("queue", b"q\xff"), MALFORMED),
        (1, method("queue.declare passive").set("queue", b"q\xff"), MALFORMED),
        (1, method("exchange.declare type=direct").set("exchange", b"e\xff"), MALFORMED),
        (1, method("exchange.declare exchange=e").set("type", b"\xff"), MALFORMED),
        (1, method("queue.bind queue=bystander exchange=amq.direct").set("routing-key", b"\xff"), MALFORMED),
        (1, method("basic.get").set("queue", b"\xff"), MALFORMED),
        (1, method("basic.consume queue=bystander").set("consumer-tag", b"\xff"), MALFORMED),
        (1, method("basic.cancel").set("consumer-tag", b"\xff"), MALFORMED),
        (1, method("channel.close").set("reply-text", b"\xff"), MALFORMED),
        (0, method("connection.close").set("reply-text", b"\xff"), on_0),
        (1, method("queue.declare queue=u1").set("arguments", bad_text), ok),
    ];
    for (number, (channel, method, wanted)) in cases.into_iter().enumerate() {
        range.case(&format!("case {number}"), &frame(METHOD, channel, &method.payload()), wanted);
    }
    // What is published is not looked at.
    let mut client = range.broker.channel();
    client.publish_with(1, method("basic.publish").set("exchange", b"\xff"), &[0, 0], b"");
    let got = client.next(1).to_string();
    assert!(got.starts_with("channel.close 404 NOT_FOUND - no exchange '"), "{got}");
    let mut client = range.broker.channel();
    let publish = method("basic.publish exchange=amq.direct").set("routing-key", b"\xff");
    client.publish_with(1, publish, &[0, 0], b"");
    client.quiet(1);
}

#[test]
fn line_ends_are_taken_out_of_names() {
    let broker = Broker::start();
    let mut client = broker.channel();
    let mut call = |text: &str, field: &str, value: &str| client.call(1, method(text).set(field, value));
    assert_eq!(
        call("queue.declare", "queue", "q\r\nx"),
        "queue.declare-ok queue='qx' message-count=0 consumer-count=0"
    );
    assert_eq!(
        call("queue.declare", "queue", "q\0x"),
        "queue.declare-ok queue='q\0x' message-count=0 consumer-count=0"
    );
    assert_eq!(call("exchange.declare type=direct", "exchange", "e\r\nx"), "exchange.declare-ok");
    assert_eq!(call("exchange.declare passive", "exchange", "ex"), "exchange.declare-ok");
    assert_eq!(call("exchange.declare passive", "exchange", "e\r\nx"), "exchange.declare-ok");
    assert_eq!(
        call("exchange.declare type=direct", "exchange", "\r\n"),
        "channel.close 403 ACCESS_REFUSED - operation not permitted on the default exchange (40,10)"
    );
}

#[test]
fn line_ends_stay_in_keys_tags_and_publishes() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=q"]);
    let bind = method("queue.bind queue=q exchange=amq.direct").set("routing-key", "a\r\nb");
    assert_eq!(client.call(1, bind), "queue.bind-ok");
    client.publish(1, "amq.direct", "ab", "without");
    client.publish(1, "amq.direct", "a\r\nb", "with");
    assert_eq!(client.get_all(1, "q", " no-ack"), "with#1(left 0)");
    let consume = method("basic.consume queue=q").set("consumer-tag", "a\r\nb");
    assert_eq!(client.call(1, consume), "basic.consume-ok consumer-tag='a\r\nb'");
    let publish = method("basic.publish mandatory").set("routing-key", "q\r\n");
    client.publish_with(1, publish, &[0, 0], b"");
    assert_eq!(
        client.next(1).to_string(),
        "basic.return reply-code=312 reply-text='NO_ROUTE' exchange='' routing-key='q\r\n' | "
    );
    client.publish(1, "amq.direct\r\n", "k", "");
    assert_eq!(
        client.next(1).to_string(),
        "channel.close 404 NOT_FOUND - no exchange 'amq.direct\r\n' in vhost '/' (60,40)"
    );
}

#[test]
fn names_of_255_octets() {
    let broker = Broker::start();
    let mut client = broker.channel();
    let (queue, exchange, tag, key) = ("q".repeat(255), "x".repeat(255), "t".repeat(255), "k".repeat(255));
    assert_eq!(
        client.call(1, method("queue.declare").set("queue", &queue)),
        format!("queue.declare-ok queue='{queue}' message-count=0 consumer-count=0")
    );
    let declare = method("exchange.declare type=topic").set("exchange", &exchange);
    assert_eq!(client.call(1, declare), "exchange.declare-ok");
    let bind = method("queue.bind").set("queue", &queue).set("exchange", &exchange).set("routing-key", &key);
    assert_eq!(client.call(1, bind), "queue.bind-ok");
    let consume = method("basic.consume").set("queue", &queue).set("consumer-tag", &tag);
    assert_eq!(client.call(1, consume), format!("basic.consume-ok consumer-tag='{tag}'"));
    client.publish(1, &exchange, &key, "m");
    assert_eq!(
        client.next(1).to_string(),
        format!(
            "basic.deliver consumer-tag='{tag}' delivery-tag=1 exchange='{exchange}' routing-key='{key}' | m"
        )
    );
    // A reply text has 255 octets at the most; its end gives way.
    let missing = "m".repeat(250);
    let got = client.call(1, method("queue.purge").set("queue", &missing));
    let whole = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
    assert_eq!(got, format!("channel.close 404 {}... (50,30)", &whole[..252]));
}

#[test]
fn octets_that_are_not_utf8_in_a_reply_text() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.publish_with(1, method("basic.publish").set("exchange", b"\xff"), &[0, 0], b"");
    let got = client.next(1);
    let wanted = "channel.close 404 NOT_FOUND - no exchange 'ÿ' in vhost '/' (60,40)";
    assert_eq!(got.to_string(), wanted);
}
