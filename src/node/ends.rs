//! Both ends of a connection, and what keeps strangers out of it.

use std::net::SocketAddr;

/// Where a connection leads, and how safely.
#[derive(Clone, Debug)]
pub struct Ends {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Rare, hence apart.
    pub tls: Option<Box<Secrecy>>,
}

impl Ends {
    /// Ends of a connection without TLS. An IPv4 peer of an IPv6 socket has its own address.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer: canonical(peer), local: canonical(local), tls: None }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What was agreed on by TLS, in RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrecy {
    /// `tlsv1.3`, for example.
    pub protocol: &'static str,
    /// `ecdhe_rsa`, for example; `any` where the cipher suite does not say.
    pub key_exchange: &'static str,
    /// `aes_256_gcm`, for example.
    pub cipher: &'static str,
    /// `aead` where the cipher needs no other.
    pub hash: &'static str,
    /// The client's certificate, if it has shown one.
    pub certificate: Option<Certificate>,
}

/// What a client's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// A distinguished name, such as `CN=app,O=Example`.
    pub subject: String,
    pub issuer: String,
    /// `2026-01-01T00:00:00Z - 2036-01-01T00:00:00Z`, for example.
    pub validity: String,
    /// Hexadecimal.
    pub serial_number: String,
}
