//! Arbitrary octets as frames, methods, property lists and tables: errors, but no panic.

#![no_main]

use leveret::wire::{content, frame, method, properties, table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let _ = method::decode(0, octets);
    walk(octets);
    let mut at = 0;
    while let Ok(Some(frame)) = frame::at(octets, at, 4096) {
        let payload = frame.payload(octets);
        assert!(frame.next() > at && frame.next() <= octets.len());
        if let Ok(method::Method::Publish(publish)) = method::decode(frame.channel, payload) {
            let (exchange, routing_key) = publish.target(payload);
            assert!(exchange.len() + routing_key.len() < payload.len());
        }
        if content::header(payload).is_some() {
            walk(&payload[content::HEADER_FIXED..]);
        }
        at = frame.next();
    }
});

/// What is checked and found good has to be readable to the end.
fn walk(octets: &[u8]) {
    if table::check(octets, usize::MAX).is_ok() {
        for field in table::fields(octets) {
            let (_, field) = field.expect("a table that has been checked");
            let _ = field.value();
            let _ = table::decode(&field);
        }
    }
    let _ = table::decode_table(octets);
    if properties::check(octets).is_ok() {
        let found = properties::walk(octets).expect("a list that has been checked");
        assert_eq!(found.headers.is_some(), properties::flags(octets) & properties::HEADERS != 0);
    }
}
