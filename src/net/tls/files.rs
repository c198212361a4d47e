//! Certificates and keys out of PEM files (RFC 7468).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkcs8::EncryptedPrivateKeyInfo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_cert::der::Decode as _;

use super::TlsError;

const KEY: &str = "key file";
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----"];

/// A certificate as it came, and what it says.
pub(super) struct Certificate {
    pub octets: CertificateDer<'static>,
    said: x509_cert::Certificate,
}

impl Certificate {
    /// Seconds since 1970.
    pub(super) fn expires(&self) -> u64 {
        self.said.tbs_certificate.validity.not_after.to_unix_duration().as_secs()
    }

    fn is_issued_by(&self, other: &Self) -> bool {
        self.said.tbs_certificate.issuer == other.said.tbs_certificate.subject
    }
}

/// All certificates of a file, of which there is at least one.
pub(super) fn certificates(what: &'static str, path: &Path) -> Result<Vec<Certificate>, TlsError> {
    let octets = read(what, path)?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&octets) {
        let octets = certificate.map_err(|e| TlsError::unusable(what, path, &e))?;
        let said = x509_cert::Certificate::from_der(&octets)
            .map_err(|e| TlsError::unusable(what, path, &format!("certificate {}: {e}", found.len() + 1)))?;
        found.push(Certificate { octets, said });
    }
    if found.is_empty() {
        return Err(TlsError::unusable(what, path, &"there is no certificate in it"));
    }
    Ok(found)
}

/// The server's certificate and what leads to its authority. As with RabbitMQ, those in between may be in the file of
/// authorities; the last one is what clients have themselves.
pub(super) fn chain(own: Vec<Certificate>, authorities: &[Certificate]) -> Vec<CertificateDer<'static>> {
    let mut last = own.last();
    let mut between = Vec::new();
    while let Some(certificate) = last.filter(|certificate| !certificate.is_issued_by(certificate)) {
        last = authorities
            .iter()
            .find(|issuer| certificate.is_issued_by(issuer) && !issuer.is_issued_by(issuer));
        // One that has come already would lead round in a circle.
        last = last.filter(|issuer| between.len() < authorities.len() && !between.contains(&issuer.octets));
        between.extend(last.map(|issuer| issuer.octets.clone()));
    }
    own.into_iter().map(|certificate| certificate.octets).chain(between).collect()
}

/// The first key of a file.
pub(super) fn key(path: &Path, password: Option<&str>) -> Result<PrivateKeyDer<'static>, TlsError> {
    let octets = read(KEY, path)?;
    let text = String::from_utf8_lossy(&octets);
    let bad = |reason: String| TlsError::unusable(KEY, path, &reason);
    if let Some((_, rest)) = text.split_once(ENCRYPTED[0]) {
        let password = password.ok_or_else(|| bad("it is encrypted and no password is set".to_owned()))?;
        let (inside, _) =
            rest.split_once(ENCRYPTED[1]).ok_or_else(|| bad("its end is missing".to_owned()))?;
        return decrypt(inside, password).map_err(bad);
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        let advice = "it is encrypted in OpenSSL's old way: openssl pkcs8 -topk8 writes it in the usual one";
        return Err(bad(advice.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&octets).map_err(|e| match e {
        rustls::pki_types::pem::Error::NoItemsFound => bad("there is no key in it".to_owned()),
        other => bad(other.to_string()),
    })
}

/// An encrypted key (RFC 5958, section 3).
fn decrypt(inside: &str, password: &str) -> Result<PrivateKeyDer<'static>, String> {
    let base64: String = inside.split_whitespace().collect();
    let octets = STANDARD.decode(base64).map_err(|e| e.to_string())?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(octets.as_slice()).map_err(|e| e.to_string())?;
    let decrypted = encrypted.decrypt(password).map_err(|e| format!("it cannot be decrypted: {e}"))?;
    Ok(PrivatePkcs8KeyDer::from(decrypted.as_bytes().to_vec()).into())
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { what, path: path.to_owned(), source })
}
