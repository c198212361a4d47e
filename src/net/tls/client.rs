//! TLS the other way round: this node asks, another server answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{TlsError, files};

/// Where systems have the authorities that they trust.
const TRUSTED: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What a client of TLS goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// Authorities that servers' certificates come from; those that the system trusts if there are none.
    pub cacertfile: Option<PathBuf>,
    /// What the client shows of itself.
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
            (Some(certfile), Some(keyfile)) => {
                let own = files::certificates("certificate file", certfile)?;
                let key = files::key(keyfile, self.password.as_deref())?;
                builder.with_client_auth_cert(files::chain(own, &[]), key).map_err(refused)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let system = || {
            let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
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
