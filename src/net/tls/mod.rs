//! TLS for whatever listens: settings, the certificates they name, and what a connection agreed on.
//!
//! - this file: settings, and what was made of them
//! - [`files`][]: certificates and keys out of PEM files
//! - [`suites`][]: cipher suites by the names that people configure
//! - [`verify`][]: whether clients' certificates are good
//! - [`certificate`][]: what they say, and whose they are
//! - [`follow`][]: files that change
//! - [`describe`][]: what a connection has agreed on
//! - [`client`][]: TLS with other servers

mod certificate;
mod client;
mod describe;
mod files;
mod follow;
mod suites;
mod verify;

pub use certificate::{AlternativeName, LoginFrom};
pub use client::ClientSettings;
pub(super) use describe::describe;
pub use follow::follow;
pub use suites::suites;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::node::listeners::Certificates;

/// The settings of TLS listeners: RabbitMQ's `ssl_options` and `management.ssl`, with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The authorities that clients' certificates come from; PEM. Those that issued the server's own are sent along with it.
    pub cacertfile: Option<PathBuf>,
    /// The server's certificate, and any after it that lead to its authority; PEM.
    pub certfile: Option<PathBuf>,
    /// The key of the server's certificate; PEM (PKCS #8, PKCS #1 or SEC 1).
    pub keyfile: Option<PathBuf>,
    /// What the key is encrypted with (PKCS #8).
    pub password: Option<String>,
    /// Whether clients are asked for a certificate, which then has to be good (`verify_peer`).
    pub verify_peer: bool,
    /// Whether those are refused that have none. Only with `verify_peer`.
    pub fail_if_no_peer_cert: bool,
    /// So many certificates may stand between a client's and its authority's.
    pub depth: usize,
    /// `tlsv1.3` and `tlsv1.2`; older ones are warned about and left out. Empty: both.
    pub versions: Vec<String>,
    /// Cipher suites by OpenSSL's names or by the standard's. What is not supported is warned about. Empty: all.
    pub ciphers: Vec<String>,
    /// Whether the server's order of cipher suites decides, not the client's.
    pub honor_cipher_order: bool,
    /// What of a client's certificate is the name of a user, for the mechanism `EXTERNAL`.
    pub login_from: LoginFrom,
    /// How long a client may take to agree on everything (RabbitMQ's `ssl_handshake_timeout`).
    pub handshake_timeout: Duration,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            cacertfile: None,
            certfile: None,
            keyfile: None,
            password: None,
            verify_peer: false,
            fail_if_no_peer_cert: false,
            depth: 10,
            versions: Vec::new(),
            ciphers: Vec::new(),
            honor_cipher_order: false,
            login_from: LoginFrom::default(),
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("TLS needs {0}")]
    Missing(&'static str),
    #[error("cannot read the {what} {}: {source}", .path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the {what} {} cannot be used: {reason}", .path.display())]
    Unusable { what: &'static str, path: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Settings(String),
}

impl TlsError {
    fn unusable(what: &'static str, path: &Path, reason: &dyn ToString) -> Self {
        Self::Unusable { what, path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Settings in use. Connections that are made after a reload get the new certificates, the others keep theirs.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    loaded: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    certificates: Certificates,
}

impl Tls {
    /// Reads the files that the settings name.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let loaded = ArcSwap::from_pointee(load(&settings)?);
        Ok(Self { settings, loaded })
    }

    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// Reads the files again. After an error everything stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.loaded.store(Arc::new(load(&self.settings)?));
        Ok(())
    }

    /// Agrees with a client on everything, or gives up when the time for it is over.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepting = TlsAcceptor::from(self.config()).accept(stream);
        timeout(self.settings.handshake_timeout, accepting).await?
    }

    /// What a connection that is made now is served with.
    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.load().config)
    }

    /// The certificates in use, and when they expire.
    pub fn certificates(&self) -> Certificates {
        self.loaded.load().certificates.clone()
    }
}

fn load(settings: &TlsSettings) -> Result<Loaded, TlsError> {
    let certfile = settings.certfile.as_deref().ok_or(TlsError::Missing("a certificate (certfile)"))?;
    let keyfile = settings.keyfile.as_deref().ok_or(TlsError::Missing("a key (keyfile)"))?;
    let own = files::certificates("certificate file", certfile)?;
    let authorities = match &settings.cacertfile {
        Some(path) => files::certificates("file of authorities", path)?,
        None => Vec::new(),
    };
    let key = files::key(keyfile, settings.password.as_deref())?;
    let expiry =
        |certificates: &[files::Certificate]| certificates.iter().map(files::Certificate::expires).collect();
    let certificates = Certificates {
        certfile: settings.certfile.clone(),
        certfile_expires: expiry(&own),
        cacertfile: settings.cacertfile.clone(),
        cacertfile_expires: expiry(&authorities),
    };
    let mut provider = ring::default_provider();
    suites::choose(&mut provider.cipher_suites, &settings.ciphers)?;
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(&settings.versions)?)
        .map_err(|e| TlsError::Settings(e.to_string()))?;
    let builder = match verify::verifier(settings, &authorities, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(files::chain(own, &authorities), key)
        .map_err(|e| TlsError::unusable("certificate file", certfile, &mismatch(&e, keyfile)))?;
    config.ignore_client_order = settings.honor_cipher_order;
    Ok(Loaded { config: Arc::new(config), certificates })
}

fn mismatch(error: &rustls::Error, keyfile: &Path) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => format!("the key in {} is not its own", keyfile.display()),
        other => format!("{other} (with the key in {})", keyfile.display()),
    }
}

/// The versions of TLS by the names that RabbitMQ's configuration has for them.
fn versions(names: &[String]) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, TlsError> {
    if names.is_empty() {
        return Ok(vec![&TLS13, &TLS12]);
    }
    let mut versions = Vec::new();
    for name in names {
        match name.as_str() {
            "tlsv1.3" => versions.push(&TLS13),
            "tlsv1.2" => versions.push(&TLS12),
            _ => tracing::warn!("{name:?} is not supported, only tlsv1.3 and tlsv1.2 are"),
        }
    }
    if versions.is_empty() {
        return Err(TlsError::Settings(
            "none of its versions is supported, only tlsv1.3 and tlsv1.2 are".to_owned(),
        ));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests;
