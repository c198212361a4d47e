//! Good sessions with octets changed, left out or put in: whatever comes of it, the broker and everybody else go on.

use std::time::{Duration, Instant};

use crate::Range;
use crate::common::client::{BODY, HEADER, METHOD, frame, header};
use crate::common::method::method;
use crate::common::table::{headers, int, text};

/// Methods of every class with content between them, on channels 1 and 2.
fn session() -> Vec<u8> {
    let mut out = Vec::new();
    for text in [
        "channel.flow active",
        "exchange.declare exchange=x type=headers auto-delete",
        "queue.declare queue=q exclusive",
        "queue.bind queue=q exchange=x",
        "basic.qos prefetch-count=3",
        "confirm.select",
        "basic.consume queue=q consumer-tag=c",
    ] {
        out.extend(frame(METHOD, 1, &method(text).payload()));
    }
    out.extend(frame(METHOD, 2, &method("channel.open").payload()));
    out.extend(frame(METHOD, 2, &method("tx.select").payload()));
    for channel in [1, 2, 1, 2] {
        let publish = method("basic.publish exchange=x routing-key=k mandatory").payload();
        out.extend(frame(METHOD, channel, &publish));
        out.extend(frame(HEADER, channel, &header(5, &headers(&[("a", int(1)), ("b", text("t"))]))));
        out.extend([frame(BODY, channel, b"ab"), frame(BODY, channel, b"cde")].concat());
    }
    for text in
        ["tx.commit", "basic.get queue=q", "basic.recover requeue", "basic.nack delivery-tag=1 requeue"]
    {
        out.extend(frame(METHOD, 2, &method(text).payload()));
    }
    for text in
        ["basic.ack delivery-tag=1", "basic.cancel consumer-tag=c", "queue.delete queue=q", "channel.close"]
    {
        out.extend(frame(METHOD, 1, &method(text).payload()));
    }
    out
}

/// A generator of numbers that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn sessions_with_damage() {
    let mut range = Range::open();
    let good = session();
    let mut numbers = Numbers(0x1EAF);
    let end = Instant::now() + Duration::from_secs(6);
    for round in 0..600 {
        // A slow machine tries fewer.
        if Instant::now() > end {
            break;
        }
        let mut octets = good.clone();
        for _ in 0..=numbers.below(2) {
            let at = numbers.below(octets.len());
            match numbers.below(6) {
                0 => drop(octets.remove(at)),
                1 => octets.insert(at, numbers.below(256) as u8),
                2 => octets.truncate(at.max(1)),
                3 => octets[at] ^= 1 << numbers.below(8),
                4 => octets[at] = 0xFF,
                _ => octets[at] = numbers.below(256) as u8,
            }
        }
        let mut client = range.broker.channel();
        client.label = format!("round {round}:");
        client.send_bytes(&octets);
        client.end_output();
        // Anything may come back, as long as it is whole frames and ends.
        while client.read_frame().is_some() {}
        range.bystander_is_served();
    }
    // An exclusive queue and an exchange that was bound to it: none of them is left.
    range.broker.until_gone("q");
    let consumers = range.broker.node.vhost("/").unwrap().with(|vhost, _| vhost.consumer_count());
    assert_eq!(consumers, 0);
}
