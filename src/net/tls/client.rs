//! TLS the other way round: this node, or a tool, asks, and a server answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{TlsError, files};

/// Where systems have the authorities that they trust.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a client of TLS goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// Authorities that servers' certificates come from; those that the system trusts if there are none.
    pub cacertfile: Option<PathBuf>,
    /// What the client shows of itself. The key may be in the same file.
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
    pub password: Option<String>,
    /// Whoever answers is believed to be who was asked.
    pub trusts_anybody: bool,
}

impl ClientSettings {
    /// Reads the files that they name.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let refused = |e: Error| TlsError::Settings(e.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(refused)?;
        let builder = if self.trusts_anybody {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(self.authorities()?)
        };
        let config = match (&self.certfile, &self.keyfile) {
            (Some(certfile), keyfile) => {
                let keyfile = keyfile.as_ref().unwrap_or(certfile);
                let own = files::certificates("certificate file", certfile)?;
                let key = files::key(keyfile, self.password.as_deref())?;
                builder.with_client_auth_cert(files::chain(own, &[]), key).map_err(refused)?
            }
            (None, Some(_)) => return Err(TlsError::Missing("the certificate that the key belongs to")),
            (None, None) => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let system = || {
            let named = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
            named.or_else(|| TRUSTED.iter().map(PathBuf::from).find(|path| path.exists()))
        };
        let path = self.cacertfile.clone().or_else(system);
        let path = path.ok_or(TlsError::Missing("authorities (cacertfile) to verify the server by"))?;
        let mut roots = RootCertStore::empty();
        // A system's file may have some that rustls does not take.
        for authority in files::certificates("file of authorities", &path)? {
            let _ = roots.add(authority.octets);
        }
        if roots.is_empty() {
            return Err(unusable(&path));
        }
        Ok(roots)
    }
}

fn unusable(path: &Path) -> TlsError {
    TlsError::unusable("file of authorities", path, &"none of its certificates can be used")
}

/// Asks for no authority: `verify_none`.
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
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
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
        let refused = |settings: ClientSettings| settings.load().expect_err("a reason").to_string();
        let told = refused(ClientSettings { cacertfile: nowhere(), ..ClientSettings::default() });
        assert!(told.contains("/nonexistent.pem"), "{told}");
        let trusting = || ClientSettings { trusts_anybody: true, ..ClientSettings::default() };
        assert!(trusting().load().is_ok(), "whom the system trusts does not matter");
        let told = refused(ClientSettings { certfile: nowhere(), ..trusting() });
        assert!(told.contains("/nonexistent.pem"), "{told}");
        let told = refused(ClientSettings { keyfile: nowhere(), ..trusting() });
        assert_eq!(told, "TLS needs the certificate that the key belongs to");
    }
}
