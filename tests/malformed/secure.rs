//! TLS that stalls, or is none.

use std::sync::Arc;
use std::time::Duration;

use leveret::net::arrival::Approach;
use leveret::net::listener;

use crate::Range;
use crate::certificates::server_with;
use crate::common::client::{Client, PROTOCOL_HEADER};

/// The beginning of a `ClientHello`, of which there is more to come.
const BEGINNING: &[u8] = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03";

#[test]
fn those_who_stall_and_those_who_speak_no_tls() {
    let mut range = Range::open();
    let (tls, _authority, _folder) = server_with(|settings| {
        settings.handshake_timeout = Duration::from_millis(500);
    });
    let listener = range.broker.block_on(listener::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let approach = Approach { tls: Some(tls), proxy: false, ..Approach::default() };
    range.broker.spawn(listener::accept_by(listener, approach, Arc::clone(&range.broker.node)));
    let huge = [&b"\x16\x03\x01\xff\xff"[..], &[1; 70_000]].concat();
    let mut stalling = Vec::new();
    for sent in [&b""[..], BEGINNING, b"\x16"] {
        let mut client = Client::raw(address);
        client.send_bytes(sent);
        stalling.push(client);
    }
    for sent in [PROTOCOL_HEADER, b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x00\x02", &[0; 1000], &huge] {
        let mut client = Client::raw(address);
        // It may be gone before all of it is sent.
        let _ = client.try_send_bytes(sent);
        let answer = client.read_to_end();
        // An alert at the most.
        assert!(answer.is_empty() || answer[0] == 0x15, "{sent:?}: {answer:?}");
        range.bystander_is_served();
    }
    for mut client in stalling {
        assert_eq!(client.read_to_end(), b"");
    }
    range.bystander_is_served();
    assert_eq!(range.broker.node.connections.all().len(), 1, "the bystander");
}
