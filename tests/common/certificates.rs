//! Certificates made for a test, and a client's side of TLS.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use leveret::net::tls::{Tls, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A folder of its own for a test, gone at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("leveret-certificates-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name =
            name(&[(DnType::CommonName, "authority"), (DnType::OrganizationName, "Test")]);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a subject with alternative names.
    pub fn issue(&self, subject: &[(DnType, &str)], alternative: Vec<SanType>) -> Identity {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = name(subject);
        params.subject_alt_names = alternative;
        params.not_before = rcgen::date_time_ymd(2020, 1, 2);
        params.not_after = rcgen::date_time_ymd(2099, 12, 31);
        params.serial_number = Some(vec![0x0a, 0xbc, 0xde].into());
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    /// One for a client with a common name.
    pub fn client(&self, name: &str) -> Identity {
        self.issue(&[(DnType::OrganizationName, "Test"), (DnType::CommonName, name)], Vec::new())
    }

    /// Writes a new certificate for `localhost` into a folder, and says where everything is.
    pub fn server(&self, folder: &Folder) -> TlsSettings {
        let localhost = SanType::DnsName("localhost".try_into().unwrap());
        let server = self.issue(&[(DnType::CommonName, "server")], vec![localhost]);
        TlsSettings {
            cacertfile: Some(folder.put("ca.pem", &self.pem())),
            certfile: Some(folder.put("cert.pem", &server.certificate.pem())),
            keyfile: Some(folder.put("key.pem", &server.key.serialize_pem())),
            ..TlsSettings::default()
        }
    }

    /// What a client uses that trusts this authority alone.
    pub fn trusted(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match identity {
            Some(Identity { certificate, key }) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }
}

fn name(attributes: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in attributes {
        name.push(kind.clone(), *value);
    }
    name
}

/// Settings with everything in place, and what keeps it there.
pub fn server() -> (Arc<Tls>, Authority, Folder) {
    server_with(|_| ())
}

pub fn server_with(change: impl FnOnce(&mut TlsSettings)) -> (Arc<Tls>, Authority, Folder) {
    let (authority, folder) = (Authority::new(), Folder::new());
    let mut settings = authority.server(&folder);
    change(&mut settings);
    (Arc::new(Tls::new(settings).unwrap()), authority, folder)
}

/// A port that leads through TLS to another address, for a client that knows no TLS. `first` is sent before TLS begins.
/// Where TLS fails, the client's connection ends.
pub async fn tunnel(to: SocketAddr, config: Arc<ClientConfig>, first: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (connector, first) = (TlsConnector::from(Arc::clone(&config)), first.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut far, &first).await.unwrap();
                let server = ServerName::try_from("localhost").unwrap();
                if let Ok(mut far) = connector.connect(server, far).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    address
}

/// The certificate that a server shows.
pub async fn shown(address: SocketAddr, config: Arc<ClientConfig>) -> Vec<u8> {
    let socket = TcpStream::connect(address).await.unwrap();
    let server = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config).connect(server, socket).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}
