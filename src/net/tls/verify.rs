//! Clients' certificates: whether an authority stands behind them.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::files::Certificate;
use super::{TlsError, TlsSettings};

/// What looks at clients' certificates, if they are asked for one.
pub(super) fn verifier(
    settings: &TlsSettings,
    authorities: &[Certificate],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if !settings.verify_peer {
        if settings.fail_if_no_peer_cert {
            tracing::warn!("fail_if_no_peer_cert does nothing without verify = verify_peer");
        }
        return Ok(None);
    }
    let path = settings.cacertfile.as_deref();
    let path = path.ok_or(TlsError::Missing("authorities (cacertfile) to verify clients by"))?;
    let unusable = |e: &dyn ToString| TlsError::unusable("file of authorities", path, e);
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.octets.clone()).map_err(|e| unusable(&e))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if settings.fail_if_no_peer_cert { builder } else { builder.allow_unauthenticated() };
    let inner = builder.build().map_err(|e| unusable(&e))?;
    Ok(Some(Arc::new(Bounded { inner, depth: settings.depth })))
}

/// Looks at no more than so many certificates beside a client's own.
#[derive(Debug)]
struct Bounded {
    inner: Arc<dyn ClientCertVerifier>,
    depth: usize,
}

impl ClientCertVerifier for Bounded {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let within = &intermediates[..intermediates.len().min(self.depth)];
        self.inner.verify_client_cert(end_entity, within, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
