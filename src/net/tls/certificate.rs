//! What a client's certificate says: names as RabbitMQ writes them, and whose it is.

use std::fmt::Write as _;
use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Any, Decode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::node::ends;

/// What of a client's certificate is the name of a user (RabbitMQ's `ssl_cert_login_from`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginFrom {
    /// The whole subject, such as `CN=app,O=Example`.
    #[default]
    DistinguishedName,
    /// All common names of the subject, with commas between them.
    CommonName,
    /// One of the alternative names of a kind, counted from 0 (`ssl_cert_login_san_type`, `ssl_cert_login_san_index`).
    AlternativeName(AlternativeName, usize),
}

/// A kind of alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    Dns,
    Ip,
    Email,
    Uri,
    Other,
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ALTERNATIVE_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// What RabbitMQ calls attributes; it numbers the others.
const ATTRIBUTES: [(&str, ObjectIdentifier); 16] = [
    ("CN", COMMON_NAME),
    ("SN", ObjectIdentifier::new_unwrap("2.5.4.4")),
    ("SERIALNUMBER", ObjectIdentifier::new_unwrap("2.5.4.5")),
    ("C", ObjectIdentifier::new_unwrap("2.5.4.6")),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    ("TITLE", ObjectIdentifier::new_unwrap("2.5.4.12")),
    ("GIVENNAME", ObjectIdentifier::new_unwrap("2.5.4.42")),
    ("INITIALS", ObjectIdentifier::new_unwrap("2.5.4.43")),
    ("GENERATIONQUALIFIER", ObjectIdentifier::new_unwrap("2.5.4.44")),
    ("PSEUDONYM", ObjectIdentifier::new_unwrap("2.5.4.65")),
    ("UID", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1")),
    ("DC", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25")),
    ("EMAILADDRESS", ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1")),
];

/// What a certificate says, for people to look at.
pub(super) fn describe(certificate: &Certificate) -> ends::Certificate {
    let said = &certificate.tbs_certificate;
    let octets = said.serial_number.as_bytes();
    let digits: String = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    ends::Certificate {
        subject: distinguished_name(&said.subject),
        issuer: distinguished_name(&said.issuer),
        validity: format!("{} - {}", said.validity.not_before, said.validity.not_after),
        serial_number: digits.trim_start_matches('0').to_owned(),
    }
}

impl LoginFrom {
    /// The user whom a certificate is for.
    pub(super) fn name(self, certificate: &Certificate) -> Option<String> {
        let subject = &certificate.tbs_certificate.subject;
        match self {
            Self::DistinguishedName => Some(distinguished_name(subject)),
            Self::CommonName => {
                let attributes = subject.0.iter().flat_map(|together| together.0.iter());
                let names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
                let names: Vec<_> = names.map(|name| text(&name.value)).collect();
                let name = String::from_utf8(names.join(&b','));
                name.ok().filter(|_| !names.is_empty())
            }
            Self::AlternativeName(kind, index) => {
                alternative_names(certificate)?.iter().filter_map(|name| kind.of(name)).nth(index)
            }
        }
    }
}

fn alternative_names(certificate: &Certificate) -> Option<Vec<GeneralName>> {
    let mut extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let names = extensions.find(|extension| extension.extn_id == ALTERNATIVE_NAMES)?;
    Some(SubjectAltName::from_der(names.extn_value.as_bytes()).ok()?.0)
}

impl AlternativeName {
    /// A name if it is of this kind.
    fn of(self, name: &GeneralName) -> Option<String> {
        match (self, name) {
            (Self::Dns, GeneralName::DnsName(name))
            | (Self::Email, GeneralName::Rfc822Name(name))
            | (Self::Uri, GeneralName::UniformResourceIdentifier(name)) => Some(name.to_string()),
            (Self::Ip, GeneralName::IpAddress(octets)) => {
                let octets = octets.as_bytes();
                let four = <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
                let address = four.or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from));
                address.map(|address| address.to_string())
            }
            (Self::Other, GeneralName::OtherName(name)) => String::from_utf8(text(&name.value)).ok(),
            _ => None,
        }
    }
}

/// A distinguished name from its end to its beginning (RFC 4514), in RabbitMQ's way of it.
fn distinguished_name(name: &Name) -> String {
    let together = |set: &x509_cert::name::RelativeDistinguishedName| {
        let attributes: Vec<_> = set.0.iter().map(attribute).collect();
        attributes.join("+")
    };
    let parts: Vec<_> = name.0.iter().rev().map(together).collect();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue) -> String {
    let known = ATTRIBUTES.iter().find(|(_, oid)| *oid == attribute.oid);
    let value = escaped(&text(&attribute.value));
    match known {
        Some((name, _)) => format!("{name}={value}"),
        None => format!("{}={value}", attribute.oid),
    }
}

/// The octets of a text in UTF-8, whatever kind of text it is.
fn text(value: &Any) -> Vec<u8> {
    match value.tag() {
        Tag::BmpString => {
            let (units, _) = value.value().as_chunks::<2>();
            let units: Vec<_> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16_lossy(&units).into_bytes()
        }
        _ => value.value().to_vec(),
    }
}

/// Escaped where a name would be read otherwise, and where an octet is not a printable one of ASCII.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, octet) in value.iter().enumerate() {
        let (first, last) = (at == 0, at + 1 == value.len());
        match octet {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => text.extend(['\\', char::from(*octet)]),
            b' ' if first || last => text.push_str("\\ "),
            b'#' if first => text.push_str("\\#"),
            b' '..=b'}' => text.push(char::from(*octet)),
            _ => {
                // Writing to a String does not fail.
                let _ = write!(text, "\\{octet:02X}");
            }
        }
    }
    text
}
