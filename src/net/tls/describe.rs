//! What a connection has agreed on, in RabbitMQ's words, which are Erlang's.

use rustls::{CipherSuite, ProtocolVersion, ServerConnection};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::{LoginFrom, certificate};
use crate::auth::sasl::Certified;
use crate::node::ends::Secrecy;

/// What there is to know of a connection whose handshake is over, and who its client is.
pub(in crate::net) fn describe(connection: &ServerConnection, login_from: LoginFrom) -> (Secrecy, Certified) {
    let protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "tlsv1.3",
        _ => "tlsv1.2",
    };
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    let (key_exchange, cipher) = suite.map_or(("", ""), words);
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.and_then(|octets| Certificate::from_der(octets).ok());
    let certified = match certificate.as_ref().map(|certificate| login_from.name(certificate)) {
        None => Certified::Nobody("connection peer presented no TLS (x.509) certificate"),
        Some(None) => Certified::Nobody("no name found"),
        Some(Some(name)) => Certified::Somebody(name),
    };
    let certificate = certificate.as_ref().map(certificate::describe);
    (Secrecy { protocol, key_exchange, cipher, hash: "aead", certificate }, certified)
}

/// How keys are exchanged, and the cipher. All suites that are supported need no hash of their own.
fn words(suite: CipherSuite) -> (&'static str, &'static str) {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("any", "aes_256_gcm"),
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("any", "aes_128_gcm"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("any", "chacha20_poly1305"),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_rsa", "aes_256_gcm"),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_rsa", "aes_128_gcm"),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => ("ecdhe_rsa", "chacha20_poly1305"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => ("ecdhe_ecdsa", "aes_256_gcm"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => ("ecdhe_ecdsa", "aes_128_gcm"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => ("ecdhe_ecdsa", "chacha20_poly1305"),
        _ => ("", ""),
    }
}
