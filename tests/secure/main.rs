//! Listeners beside plain TCP: TLS and what it says of clients, proxies, sockets in the file system.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/mod.rs"]
mod common;

mod binary;
mod external;
mod fetched;
mod http;
mod local;
mod proxies;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::client::Client;
use common::{Broker, PATIENCE};
use leveret::net::arrival::Approach;
use leveret::net::listener;
use leveret::net::tls::Tls;
use leveret::node::connections::ConnectionInfo;
use rustls::ClientConfig;

/// Opens another port of a broker.
fn listen(broker: &Broker, approach: Approach) -> SocketAddr {
    let listener = broker.block_on(listener::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    broker.spawn(listener::accept_by(listener, approach, Arc::clone(&broker.node)));
    address
}

fn listen_tls(broker: &Broker, tls: &Arc<Tls>) -> SocketAddr {
    listen(broker, Approach { tls: Some(Arc::clone(tls)), proxy: false, ..Approach::default() })
}

/// A port for clients that know no TLS.
fn tunnel(broker: &Broker, to: SocketAddr, config: Arc<ClientConfig>) -> SocketAddr {
    broker.block_on(certificates::tunnel(to, config, Vec::new()))
}

/// The one connection that there is.
fn only(broker: &Broker) -> Arc<ConnectionInfo> {
    let all = broker.node.connections.all();
    assert_eq!(all.len(), 1, "{all:?}");
    Arc::clone(&all[0])
}

/// Sends a large message through the broker and gets it back.
fn try_out(client: &mut Client) {
    client.open_channel(1);
    client.all_ok(1, &["queue.declare queue=q", "queue.purge queue=q", "confirm.select"]);
    let body = "0123456789abcdef".repeat(20_000);
    client.publish(1, "", "q", &body);
    assert!(client.next(1).text.starts_with("basic.ack "));
    assert_eq!(client.bodies(1, "q"), [body]);
}

/// Waits until everybody has gone.
fn until_all_gone(broker: &Broker) {
    let end = Instant::now() + PATIENCE;
    while !broker.node.connections.all().is_empty() {
        assert!(Instant::now() < end, "{:?}", broker.node.connections.all());
        std::thread::sleep(Duration::from_millis(5));
    }
}
