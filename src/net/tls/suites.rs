//! Cipher suites by the names that people configure.

use rustls::crypto::ring;
use rustls::{CipherSuite, SupportedCipherSuite};

use super::TlsError;

/// OpenSSL's names of those suites of TLS 1.2 that are supported; those of TLS 1.3 are called as in the standard.
const OPENSSL: [(CipherSuite, &str); 6] = [
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// Leaves only what is named, in that order; everything if nothing is.
pub(super) fn choose(supported: &mut Vec<SupportedCipherSuite>, names: &[String]) -> Result<(), TlsError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    let mut unknown = Vec::new();
    for name in names {
        match supported.iter().find(|suite| is_called(suite.suite(), name)) {
            Some(suite) => chosen.push(*suite),
            None => unknown.push(name.as_str()),
        }
    }
    if chosen.is_empty() {
        return Err(TlsError::Settings(format!("none of its ciphers is supported: {}", unknown.join(", "))));
    }
    if !unknown.is_empty() {
        tracing::warn!("ciphers that are not supported are left out: {}", unknown.join(", "));
    }
    *supported = chosen;
    Ok(())
}

fn is_called(suite: CipherSuite, name: &str) -> bool {
    name == standard(suite) || OPENSSL.iter().any(|(known, openssl)| *known == suite && *openssl == name)
}

/// The standard's name, which begins with TLS_; rustls' begin with TLS13_ for those of TLS 1.3.
fn standard(suite: CipherSuite) -> String {
    suite.as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}

/// The names of all that are supported: OpenSSL's, or the standard's for those of TLS 1.3.
pub fn suites() -> Vec<String> {
    let supported = ring::default_provider().cipher_suites;
    let name = |suite: &SupportedCipherSuite| {
        let openssl = OPENSSL.iter().find(|(known, _)| *known == suite.suite()).map(|(_, name)| *name);
        openssl.map_or_else(|| standard(suite.suite()), str::to_owned)
    };
    supported.iter().map(name).collect()
}
