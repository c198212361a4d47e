//! The HTTP API over TLS, and what it says of connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use leveret::http::{self, HttpListener};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use super::*;
use crate::certificates::server_with;

/// Asks for something as `guest`.
fn get(address: SocketAddr, path: &str) -> Value {
    serde_json::from_str(&get_text(address, path)).unwrap()
}

fn get_text(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

#[test]
fn metrics_over_https() {
    let broker = Broker::start();
    let (tls, authority, _folder) = server_with(|_| ());
    let listener = broker.block_on(listener::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = HttpListener::Tls(listener, tls);
    broker.spawn(http::serve_metrics(listener, Arc::clone(&broker.node), Arc::default()));
    let https = tunnel(&broker, address, authority.trusted(None, &[&TLS12, &TLS13]));
    let text = get_text(https, "/metrics");
    assert!(text.contains("\nrabbitmq_connections 0\n"), "{text}");
}

#[test]
fn connections_over_https() {
    let broker = Broker::start();
    let (tls, authority, _folder) = server_with(|settings| settings.verify_peer = true);
    let listener = broker.block_on(listener::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = HttpListener::Tls(listener, Arc::clone(&tls));
    let serving = http::serve(listener, Arc::clone(&broker.node), Arc::default());
    broker.spawn(serving);
    // Those who stall hold up nobody.
    let stalling: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let https = tunnel(&broker, address, authority.trusted(None, &[&TLS13]));
    let identity = authority.client("app");
    let config = authority.trusted(Some(&identity), &[&TLS12]);
    let secure = Client::open(tunnel(&broker, listen_tls(&broker, &tls), config));
    let fields = [
        "ssl",
        "ssl_protocol",
        "ssl_key_exchange",
        "ssl_hash",
        "peer_cert_subject",
        "peer_cert_issuer",
        "peer_cert_validity",
        "peer_cert_serial_number",
    ];
    let shown = || {
        let all = get(https, "/api/connections");
        assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
        Value::Array(fields.iter().map(|field| all[0].get(field).cloned().expect(field)).collect())
    };
    let validity = "2020-01-02T00:00:00Z - 2099-12-31T00:00:00Z";
    let wanted = json!([
        true,
        "tlsv1.2",
        "ecdhe_ecdsa",
        "aead",
        "CN=app,O=Test",
        "O=Test,CN=authority",
        validity,
        "ABCDE"
    ]);
    assert_eq!(shown(), wanted);
    secure.close();
    until_all_gone(&broker);
    let plain = broker.connect();
    assert_eq!(shown(), json!([false, null, null, null, null, null, null, null]));
    plain.close();
    drop(stalling);
}
