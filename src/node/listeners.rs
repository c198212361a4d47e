//! Where the node listens, for those who ask: the management API, health checks, metrics.

use std::net::{IpAddr, SocketAddr};

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

/// All ports that are open. Whoever opens one adds it.
#[derive(Debug, Default)]
pub struct Listeners {
    open: Mutex<Vec<Listener>>,
}

impl Listeners {
    pub fn add(&self, protocol: &'static str, address: SocketAddr, tls: bool) {
        let listener = Listener { protocol, ip: address.ip(), port: address.port(), tls };
        let mut open = self.open.lock();
        let at = open.partition_point(|other| *other <= listener);
        open.insert(at, listener);
    }

    /// All of them, by protocol, address and port.
    pub fn all(&self) -> Vec<Listener> {
        self.open.lock().clone()
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
