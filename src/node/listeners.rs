//! Where the node listens, for those who ask: the management API, health checks, metrics.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use parking_lot::Mutex;

/// A port that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// By RabbitMQ's name: `amqp`, `amqp/ssl`, `http`, `https`, `http/prometheus`, `stream`, `stream/ssl` ...
    pub protocol: &'static str,
    pub ip: IpAddr,
    pub port: u16,
    pub tls: bool,
}

/// The files that a TLS listener has its certificates from, and when these expire: in the order of each file, in
/// seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    pub certfile: Option<PathBuf>,
    pub certfile_expires: Vec<u64>,
    pub cacertfile: Option<PathBuf>,
    pub cacertfile_expires: Vec<u64>,
}

/// Tells which certificates are in use at the moment.
type InUse = Box<dyn Fn() -> Certificates + Send + Sync>;

/// All ports that are open. Whoever opens one adds it.
#[derive(Default)]
pub struct Listeners {
    open: Mutex<Vec<Listener>>,
    certified: Mutex<Vec<(Listener, InUse)>>,
}

impl Listeners {
    pub fn add(&self, protocol: &'static str, address: SocketAddr, tls: bool) {
        self.insert(Listener { protocol, ip: address.ip(), port: address.port(), tls });
    }

    /// Adds one with TLS. `in_use` is asked for its certificates, which may change.
    pub fn add_certified(
        &self,
        protocol: &'static str,
        address: SocketAddr,
        in_use: impl Fn() -> Certificates + Send + Sync + 'static,
    ) {
        let listener = Listener { protocol, ip: address.ip(), port: address.port(), tls: true };
        self.insert(listener);
        self.certified.lock().push((listener, Box::new(in_use)));
    }

    fn insert(&self, listener: Listener) {
        let mut open = self.open.lock();
        let at = open.partition_point(|other| *other <= listener);
        open.insert(at, listener);
    }

    /// Those with TLS that tell, and the certificates that they use.
    pub fn certificates(&self) -> Vec<(Listener, Certificates)> {
        self.certified.lock().iter().map(|(listener, in_use)| (*listener, in_use())).collect()
    }

    /// All of them, by protocol, address and port.
    pub fn all(&self) -> Vec<Listener> {
        self.open.lock().clone()
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.all().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_by_protocol_and_port() {
        let listeners = Listeners::default();
        for (protocol, address, tls) in [
            ("http", "[::]:15672", false),
            ("amqp/ssl", "[::]:5671", true),
            ("amqp", "127.0.0.1:5673", false),
            ("amqp", "127.0.0.1:5672", false),
        ] {
            listeners.add(protocol, address.parse().expect("an address"), tls);
        }
        let found: Vec<_> = listeners.all().iter().map(|l| (l.protocol, l.port, l.tls)).collect();
        let wanted =
            [("amqp", 5672, false), ("amqp", 5673, false), ("amqp/ssl", 5671, true), ("http", 15672, false)];
        assert_eq!(found, wanted);
    }
}
