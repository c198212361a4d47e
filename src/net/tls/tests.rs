//! Settings, and the files they name. Certificates are made for the purpose.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::*;

/// A folder of its own for each test, gone at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

fn authority() -> Authority {
    CertifiedIssuer::self_signed(authority_params("root"), KeyPair::generate().expect("a key"))
        .expect("signed")
}

/// A certificate that is good until the end of 2040, and its key.
pub(super) fn issued(by: &Authority) -> (String, KeyPair) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, "server");
    params.not_after = date_time_ymd(2040, 12, 31);
    let key = KeyPair::generate().expect("a key");
    (params.signed_by(&key, by).expect("signed").pem(), key)
}

/// Settings with everything in place.
pub(super) fn settings(folder: &Folder) -> (TlsSettings, Authority) {
    let authority = authority();
    let (certificate, key) = issued(&authority);
    let settings = TlsSettings {
        cacertfile: Some(folder.put("ca.pem", &authority.pem())),
        certfile: Some(folder.put("cert.pem", &certificate)),
        keyfile: Some(folder.put("key.pem", &key.serialize_pem())),
        ..TlsSettings::default()
    };
    (settings, authority)
}

fn error(settings: &TlsSettings) -> String {
    Tls::new(settings.clone()).expect_err("an error").to_string()
}

#[test]
fn expiry_and_reload() {
    let folder = Folder::new("reload");
    let (settings, authority) = settings(&folder);
    let tls = Tls::new(settings).expect("loaded");
    assert_eq!(tls.certificates().certfile_expires, [2_240_524_800]);
    assert_eq!(tls.certificates().cacertfile_expires.len(), 1);
    let before = tls.config();
    folder.put("cert.pem", "rubbish");
    assert!(tls.reload().is_err());
    assert!(Arc::ptr_eq(&before, &tls.config()), "what cannot be used changes nothing");
    let (certificate, key) = issued(&authority);
    folder.put("cert.pem", &certificate);
    assert!(
        tls.reload().expect_err("the key of the one before").to_string().contains("key.pem is not its own")
    );
    folder.put("key.pem", &key.serialize_pem());
    tls.reload().expect("reloaded");
    assert!(!Arc::ptr_eq(&before, &tls.config()));
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let folder = Folder::new("errors");
    let (good, _) = settings(&folder);
    let with = |change: fn(&mut TlsSettings, &Folder)| {
        let mut settings = good.clone();
        change(&mut settings, &folder);
        error(&settings)
    };
    assert_eq!(error(&TlsSettings::default()), "TLS needs a certificate (certfile)");
    let missing = with(|settings, folder| settings.certfile = Some(folder.0.join("none.pem")));
    assert!(missing.starts_with("cannot read the certificate file /"), "{missing}");
    assert!(missing.ends_with("none.pem: No such file or directory (os error 2)"), "{missing}");
    let empty = with(|settings, folder| settings.cacertfile = Some(folder.put("empty.pem", "nothing")));
    assert!(empty.ends_with("empty.pem cannot be used: there is no certificate in it"), "{empty}");
    let swapped = with(|settings, _| settings.keyfile = settings.certfile.clone());
    assert!(swapped.ends_with("cert.pem cannot be used: there is no key in it"), "{swapped}");
    const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nMAUGAyoDBA==\n-----END CERTIFICATE-----\n";
    assert!(
        with(|settings, folder| settings.certfile = Some(folder.put("b.pem", BROKEN)))
            .contains("certificate 1: ")
    );
    let verify = with(|settings, _| (settings.verify_peer, settings.cacertfile) = (true, None));
    assert_eq!(verify, "TLS needs authorities (cacertfile) to verify clients by");
    assert!(
        with(|settings, _| settings.versions = vec!["tlsv1.1".to_owned()]).contains("none of its versions")
    );
    let ciphers = with(|settings, _| settings.ciphers = vec!["AES128-SHA".to_owned()]);
    assert!(ciphers.ends_with("none of its ciphers is supported: AES128-SHA"), "{ciphers}");
}

#[test]
fn some_ciphers_by_either_name() {
    let folder = Folder::new("ciphers");
    let (mut settings, _) = settings(&folder);
    let names = ["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", "AES128-SHA"];
    settings.ciphers = names.map(str::to_owned).to_vec();
    let config = Tls::new(settings).expect("loaded").config();
    let chosen: Vec<_> = config.crypto_provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
    use rustls::CipherSuite as Suite;
    assert_eq!(chosen, [Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, Suite::TLS13_AES_128_GCM_SHA256]);
}

/// Encrypted by `openssl pkcs8 -topk8 -v2 aes-256-cbc`, the password is `secret`.
const ENCRYPTED: &str = include_str!("encrypted.pem");

#[test]
fn encrypted_keys() {
    let folder = Folder::new("encrypted");
    let path = folder.put("key.pem", ENCRYPTED);
    let key = files::key(&path, Some("secret")).expect("decrypted");
    assert!(rustls::crypto::ring::sign::any_supported_type(&key).is_ok());
    let wrong = |password| files::key(&path, password).expect_err("an error").to_string();
    assert!(wrong(None).ends_with("key.pem cannot be used: it is encrypted and no password is set"));
    assert!(wrong(Some("wrong")).contains("it cannot be decrypted"));
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    assert!(
        files::key(&folder.put("key.pem", old), Some("x")).expect_err("no").to_string().contains("-topk8")
    );
}

#[test]
fn a_chain_goes_up_to_what_clients_have() {
    let folder = Folder::new("chain");
    let root = authority();
    let key = KeyPair::generate().expect("a key");
    let between = CertifiedIssuer::signed_by(authority_params("between"), key, &root).expect("signed");
    let own = folder.put("own.pem", &issued(&between).0);
    let others = folder.put("ca.pem", &format!("{}{}", root.pem(), between.pem()));
    let read = |path: &PathBuf| files::certificates("file", path).expect("read");
    let chain = files::chain(read(&own), &read(&others));
    assert_eq!(chain, [read(&own)[0].octets.clone(), between.der().clone()]);
    assert_eq!(files::chain(read(&others), &[]).len(), 2, "what is there stays");
}

/// What RabbitMQ writes for the same names.
#[test]
fn distinguished_names() {
    use rcgen::{DnType, DnValue};
    let oid = |numbers: &[u64]| DnType::from_oid(numbers);
    let mut params = CertificateParams::new([]).expect("parameters");
    for (kind, value) in [
        (DnType::CommonName, DnValue::Utf8String("a\"b;c<d>e~f\\g=h #i, ".into())),
        (DnType::OrganizationalUnitName, " lead".into()),
        (DnType::OrganizationName, "tab\tx+y".into()),
        (DnType::LocalityName, "#M\u{f6}ller".into()),
        (DnType::StateOrProvinceName, DnValue::BmpString("\u{f6}".try_into().expect("BMP"))),
        (oid(&[0, 9, 2342, 19_200_300, 100, 1, 25]), DnValue::Ia5String("org".try_into().expect("IA5"))),
        (oid(&[2, 5, 4, 46]), "q".into()),
        (oid(&[1, 2, 840, 113_549, 1, 9, 1]), DnValue::Ia5String("a@b.c".try_into().expect("IA5"))),
    ] {
        params.distinguished_name.push(kind, value);
    }
    let key = KeyPair::generate().expect("a key");
    let octets = params.self_signed(&key).expect("signed");
    let read =
        <x509_cert::Certificate as x509_cert::der::Decode>::from_der(octets.der()).expect("a certificate");
    assert_eq!(
        certificate::describe(&read).subject,
        r#"EMAILADDRESS=a@b.c,2.5.4.46=q,DC=org,ST=\C3\B6,L=\#M\C3\B6ller,O=tab\09x\+y,OU=\ lead,"#
            .to_owned()
            + r#"CN=a\"b\;c\<d\>e\7Ef\\g=h #i\,\ "#
    );
}
