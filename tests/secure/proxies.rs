//! Clients behind a proxy that says where they come from.

use rustls::version::TLS13;

use super::*;
use crate::certificates::server;
use crate::common::client::{FRAME_MAX, PROTOCOL_HEADER, start_ok};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 5672\r\n";
/// The proxy speaks for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x03abc";

#[test]
fn a_client_has_the_address_that_the_proxy_says() {
    let broker = Broker::start();
    broker.add_user("app", (".*", ".*", ".*"));
    let (tls, authority, _folder) = server();
    let plain = listen(&broker, Approach { tls: None, proxy: true, ..Approach::default() });
    let secure = listen(&broker, Approach { tls: Some(tls), proxy: true, ..Approach::default() });
    let config = authority.trusted(None, &[&TLS13]);
    let tunnel = broker.block_on(certificates::tunnel(secure, config, LINE.to_vec()));
    for (address, first, is_secure) in [(plain, LINE, false), (tunnel, b"", true)] {
        let mut client = Client::raw(address);
        client.send_bytes(first);
        client.shake_hands("app", &start_ok("app", "app"), FRAME_MAX);
        let info = only(&broker);
        assert_eq!(&*info.name, "192.0.2.7:4000 -> 192.0.2.8:5672");
        assert_eq!(info.ends.tls.is_some(), is_secure);
        try_out(&mut client);
        client.close();
        until_all_gone(&broker);
    }
}

/// What a proxy says may be the same of two clients, and each of them is known.
#[test]
fn two_clients_of_one_name() {
    let broker = Broker::start();
    broker.add_user("app", (".*", ".*", ".*"));
    let address = listen(&broker, Approach { tls: None, proxy: true, ..Approach::default() });
    let mut clients: Vec<_> = (0..3).map(|_| Client::raw(address)).collect();
    for client in &mut clients {
        client.send_bytes(LINE);
        client.shake_hands("app", &start_ok("app", "app"), FRAME_MAX);
    }
    let connections = &broker.node.connections;
    let name = "192.0.2.7:4000 -> 192.0.2.8:5672";
    assert_eq!((connections.count(), connections.named(name).len()), (3, 3));
    clients.remove(0).close();
    let end = Instant::now() + PATIENCE;
    while connections.count() > 2 {
        assert!(Instant::now() < end, "{:?}", connections.all());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(connections.all().len(), 2);
    broker.node.remove_user("app");
    for mut client in clients {
        let told = client.next(0).text;
        assert!(told.contains("connection.close") && told.contains("user 'app' is deleted"), "{told}");
    }
}

/// `guest` may only come from this machine, which the proxy is on and the client is not.
#[test]
fn who_may_only_come_from_here() {
    let broker = Broker::start();
    let address = listen(&broker, Approach { tls: None, proxy: true, ..Approach::default() });
    let mut client = Client::raw(address);
    client.send_bytes(&[LINE, PROTOCOL_HEADER].concat());
    client.next(0);
    let answer = client.call(0, start_ok("guest", "guest"));
    assert!(answer.contains(" 403 ACCESS_REFUSED"), "{answer}");
    let mut client = Client::raw(address);
    client.send_bytes(LOCAL);
    client.shake_hands("guest", &start_ok("guest", "guest"), FRAME_MAX);
    assert!(only(&broker).name.starts_with("127.0.0.1:"));
}

#[test]
fn whoever_is_no_proxy_is_dropped() {
    let broker = Broker::start();
    let address = listen(&broker, Approach { tls: None, proxy: true, ..Approach::default() });
    for wrong in [PROTOCOL_HEADER, b"PROXY TCP4 192.0.2.7\r\n", b"\x16\x03\x01\x02\0\x01", b""] {
        let mut client = Client::raw(address);
        client.send_bytes(wrong);
        // Who says nothing is dropped as well, after a while.
        assert_eq!(client.read_to_end(), b"", "{wrong:?}");
    }
}
