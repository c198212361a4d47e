//! TLS of the tools that talk to a node over TCP: whom they trust, and who they are themselves.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Where systems have the authorities that all programs trust.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How TLS is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The authorities that are trusted; PEM. `None` is those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// A certificate of one's own, and its key; PEM.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Whether anybody is trusted.
    pub insecure: bool,
}

/// What the options say, or why they cannot be followed.
pub fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let builder = if options.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(authorities(options.authorities.as_deref())?)
    };
    let config = match (&options.certificate, &options.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), key) => {
            // A file may hold both.
            let key = key.as_ref().unwrap_or(certificate);
            let whole = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?;
            builder.with_client_auth_cert(whole, key).map_err(|e| e.to_string())?
        }
        (None, Some(_)) => return Err("a key is of no use without its certificate".to_owned()),
    };
    Ok(Arc::new(config))
}

/// All certificates of a file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|e| failed(&e))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|e| failed(&e))?;
    if found.is_empty() { Err(failed(&"there is no certificate in it")) } else { Ok(found) }
}

fn authorities(named: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let of_system = || {
        let variable = env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        variable.or_else(|| SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file()))
    };
    let Some(path) = named.map(Path::to_owned).or_else(of_system) else {
        return Err("this system trusts nobody: name a file of authorities".to_owned());
    };
    // Of those that the system has some may be older than what can be read.
    let (good, _) = roots.add_parsable_certificates(certificates(&path)?);
    if good == 0 { Err(format!("{}: no certificate in it can be used", path.display())) } else { Ok(roots) }
}

/// Trusts anybody, but whoever it is has to have the key of the certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_followed_is_told() {
        let nowhere = || Some(PathBuf::from("/nonexistent.pem"));
        let refused = |options: TlsOptions| config(&options).expect_err("a reason");
        let told = refused(TlsOptions { authorities: nowhere(), ..TlsOptions::default() });
        assert!(told.starts_with("/nonexistent.pem: "), "{told}");
        let insecure = || TlsOptions { insecure: true, ..TlsOptions::default() };
        assert!(config(&insecure()).is_ok(), "whom the system trusts does not matter");
        let told = refused(TlsOptions { certificate: nowhere(), ..insecure() });
        assert!(told.starts_with("/nonexistent.pem: "), "{told}");
        let told = refused(TlsOptions { key: nowhere(), ..insecure() });
        assert_eq!(told, "a key is of no use without its certificate");
    }
}
