//! What TLS does for a connection, and when there is none.

use leveret::node::ends::{Certificate, Secrecy};
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::certificates::{Authority, server, server_with, shown};
use crate::common::client::PROTOCOL_HEADER;

#[test]
fn both_versions() {
    let broker = Broker::start();
    let (tls, authority, _folder) = server();
    let address = listen_tls(&broker, &tls);
    for (version, protocol, key_exchange) in [(&TLS13, "tlsv1.3", "any"), (&TLS12, "tlsv1.2", "ecdhe_ecdsa")]
    {
        let mut client = Client::open(tunnel(&broker, address, authority.trusted(None, &[version])));
        let secrecy = only(&broker).ends.tls.clone().expect("TLS");
        let cipher = secrecy.cipher;
        assert!(["aes_256_gcm", "aes_128_gcm", "chacha20_poly1305"].contains(&cipher), "{cipher}");
        assert_eq!(*secrecy, Secrecy { protocol, key_exchange, cipher, hash: "aead", certificate: None });
        try_out(&mut client);
        client.close();
        until_all_gone(&broker);
    }
}

#[test]
fn a_version_that_is_not_offered() {
    let broker = Broker::start();
    let (tls, authority, _folder) = server_with(|settings| settings.versions = vec!["tlsv1.3".to_owned()]);
    let address = listen_tls(&broker, &tls);
    let mut client = Client::raw(tunnel(&broker, address, authority.trusted(None, &[&TLS12])));
    assert_eq!(client.read_to_end(), b"");
    Client::open(tunnel(&broker, address, authority.trusted(None, &[&TLS13]))).close();
}

#[test]
fn certificates_of_clients() {
    let broker = Broker::start();
    let (tls, authority, _folder) = server_with(|settings| {
        (settings.verify_peer, settings.fail_if_no_peer_cert) = (true, true);
    });
    let address = listen_tls(&broker, &tls);
    let stranger = Authority::new().client("guest");
    for (what, identity) in [("none", None), ("a stranger's", Some(&stranger))] {
        for version in [&TLS13, &TLS12] {
            let port = tunnel(&broker, address, authority.trusted(identity, &[version]));
            let mut client = Client::raw(port);
            // With TLS 1.3 a client learns of it when it has begun to speak; its words may be lost.
            let _ = client.try_send_bytes(PROTOCOL_HEADER);
            assert_eq!(client.read_to_end(), b"", "{what}");
        }
    }
    let client = authority.client("app, the first");
    let client = Client::open(tunnel(&broker, address, authority.trusted(Some(&client), &[&TLS13])));
    let wanted = Certificate {
        subject: "CN=app\\, the first,O=Test".to_owned(),
        issuer: "O=Test,CN=authority".to_owned(),
        validity: "2020-01-02T00:00:00Z - 2099-12-31T00:00:00Z".to_owned(),
        serial_number: "ABCDE".to_owned(),
    };
    assert_eq!(only(&broker).ends.tls.clone().expect("TLS").certificate, Some(wanted));
    client.close();
}

#[test]
fn a_reload_counts_for_those_who_come_later() {
    let broker = Broker::start();
    let (tls, authority, folder) = server();
    let address = listen_tls(&broker, &tls);
    let mut client = Client::open(tunnel(&broker, address, authority.trusted(None, &[&TLS13])));
    let shown = || broker.block_on(shown(address, authority.trusted(None, &[&TLS13])));
    let before = shown();
    assert_eq!(shown(), before);
    authority.server(&folder);
    assert_eq!(shown(), before, "nobody has said so yet");
    tls.reload().unwrap();
    assert_ne!(shown(), before);
    try_out(&mut client);
}

/// A node that goes down says so through TLS as well.
#[test]
fn a_node_that_goes_down() {
    let broker = Broker::start();
    let (tls, authority, _folder) = server();
    let mut client =
        Client::open(tunnel(&broker, listen_tls(&broker, &tls), authority.trusted(None, &[&TLS13])));
    broker.node.shut_down();
    let text = client.until_end();
    assert!(text.contains("CONNECTION_FORCED - broker forced connection closure"), "{text}");
    until_all_gone(&broker);
}

/// What RabbitMQ's event exchange says of a login over TLS, and of the connection.
#[test]
fn events() {
    let node = Arc::new(leveret::node::Node::empty(16 << 20, usize::MAX));
    node.events.turn_on();
    node.begin().unwrap();
    let broker = Broker::serve(node);
    broker.spawn(leveret::node::events::run(Arc::clone(&broker.node)));
    let mut watcher = broker.channel();
    watcher.all_ok(1, &["queue.declare queue=events", "basic.consume queue=events no-ack"]);
    for key in ["user.authentication.success", "connection.created"] {
        let bind = format!("queue.bind queue=events exchange=amq.rabbitmq.event routing-key={key}");
        watcher.all_ok(1, &[&bind]);
    }
    let (tls, authority, _folder) = server_with(|settings| settings.verify_peer = true);
    let identity = authority.client("app");
    let config = authority.trusted(Some(&identity), &[&TLS12]);
    let client = Client::open(tunnel(&broker, listen_tls(&broker, &tls), config));
    let mut found = Vec::new();
    while found.len() < 2 {
        let event = watcher.next(1);
        let within = |key: &str, value: &str| {
            let size = u32::try_from(value.len()).unwrap().to_be_bytes();
            let field = [&[key.len() as u8], key.as_bytes(), b"S", &size, value.as_bytes()].concat();
            event.properties.windows(field.len()).any(|octets| octets == field)
        };
        let key = event.get("routing-key");
        for (name, value) in [
            ("ssl_protocol", "tlsv1.2"),
            ("peer_cert_subject", "CN=app,O=Test"),
            ("peer_cert_issuer", "O=Test,CN=authority"),
            ("peer_cert_validity", "2020-01-02T00:00:00Z - 2099-12-31T00:00:00Z"),
            ("peer_cert_serial_number", "ABCDE"),
        ] {
            assert!(within(name, value), "{key}: {name}");
        }
        let is_created = key == "connection.created";
        assert_eq!(within("ssl_key_exchange", "ecdhe_ecdsa") && within("ssl_hash", "aead"), is_created);
        found.push(key);
    }
    assert_eq!(found, ["user.authentication.success", "connection.created"]);
    client.close();
}

/// What a client does not read waits as it does without TLS, and comes when it reads again.
#[test]
fn a_client_that_does_not_read() {
    let broker = Broker::start();
    let (tls, authority, _folder) = server();
    let mut slow =
        Client::open(tunnel(&broker, listen_tls(&broker, &tls), authority.trusted(None, &[&TLS13])));
    slow.open_channel(1);
    slow.all_ok(1, &["queue.declare queue=slow"]);
    slow.send(1, "basic.consume queue=slow no-ack consumer-tag=c");
    let mut other = broker.channel();
    other.all_ok(1, &["confirm.select"]);
    let body = "x".repeat(100_000);
    const COUNT: usize = 400;
    for number in 0..COUNT {
        other.publish(1, "", "slow", &format!("{number} {body}"));
        assert!(other.next(1).text.starts_with("basic.ack "), "a publisher is served all along");
    }
    let waiting = broker.queue("slow").expect("a queue").ready;
    assert!(waiting > COUNT / 4, "only {waiting} of {COUNT} wait in the queue");
    assert_eq!(slow.next(1).text.split(' ').next(), Some("basic.consume-ok"));
    for number in 0..COUNT {
        let delivery = slow.next(1);
        assert!(delivery.body.starts_with(format!("{number} ").as_bytes()), "{number}");
    }
    slow.close();
}
