//! Where the node listens, and how: `listeners.*`, `ssl_options.*`, `management.tcp.*` and the like.

use std::time::Duration;

use super::Layer;
use super::settings::Group;
use super::values::{self, Allowed, Place};
use crate::net::tls::TlsSettings;

pub const AMQP_PORT: u16 = 5672;
pub const HTTP_PORT: u16 = 15672;
pub const HTTPS_PORT: u16 = 15671;
pub const METRICS_PORT: u16 = 15692;

/// Which name in a client's certificate is the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateLogin {
    /// `distinguished_name`, `common_name` or `subject_alternative_name`.
    pub from: Option<String>,
    /// `dns`, `ip`, `email`, `uri` or `other_name`.
    pub san_type: Option<String>,
    pub san_index: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    pub tcp: Group<Place>,
    pub ssl: Group<Place>,
    pub tls: TlsSettings,
    pub certificate_login: CertificateLogin,
    pub proxy_protocol: bool,
    /// `None` is no limit.
    pub handshake_timeout: Option<Option<Duration>>,
    pub http: HttpPlaces,
    pub metrics: HttpPlaces,
}

/// Where something is served over HTTP.
#[derive(Clone, Debug, Default)]
pub struct HttpPlaces {
    /// Where flags say.
    pub listen: Group<Place>,
    pub tcp: PortAndIp,
    pub ssl: PortAndIp,
    pub tls: TlsSettings,
}

/// A port and an address, either of which may be left to a default.
#[derive(Clone, Debug, Default)]
pub struct PortAndIp {
    port: Option<u16>,
    ip: Option<std::net::IpAddr>,
}

impl PortAndIp {
    fn place(&self, default_port: u16) -> Place {
        let port = self.port.unwrap_or(default_port);
        match self.ip {
            Some(ip) if ip.is_ipv4() || !values::is_everywhere(ip) => Place::At((ip, port).into()),
            _ => Place::Everywhere(port),
        }
    }

    fn is_set(&self) -> bool {
        self.port.is_some() || self.ip.is_some()
    }
}

impl HttpPlaces {
    /// Where to listen, and whether with TLS. With a TLS listener alone there is no other one, as in RabbitMQ.
    pub fn all(&self, port: u16, tls_port: u16) -> Vec<(Place, bool)> {
        if let Some(places) = self.listen.get() {
            return places.into_iter().map(|(_, place)| (*place, false)).collect();
        }
        let mut places = Vec::new();
        if self.tcp.is_set() || !self.ssl.is_set() {
            places.push((self.tcp.place(port), false));
        }
        if self.ssl.is_set() {
            places.push((self.ssl.place(tls_port), true));
        }
        places
    }

    fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["tcp", "port"] => self.tcp.port = Some(values::port(value)?),
            ["tcp", "ip"] => self.tcp.ip = Some(values::ip(value)?),
            ["tcp", "listener"] => match (value, values::listener(value)) {
                ("none", _) => self.listen.put_none(1),
                (_, place) => self.listen.put(1, "tcp", place?),
            },
            ["ssl", "port"] => self.ssl.port = Some(values::port(value)?),
            ["ssl", "ip"] => self.ssl.ip = Some(values::ip(value)?),
            ["ssl", option @ ..] => return tls(&mut self.tls, option, value),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Network {
    /// Where to listen for AMQP.
    pub fn amqp(&self) -> Vec<Place> {
        match self.tcp.get() {
            Some(places) => places.into_iter().map(|(_, place)| *place).collect(),
            None => vec![Place::Everywhere(AMQP_PORT)],
        }
    }

    /// Where to listen for AMQP over TLS.
    pub fn amqps(&self) -> Vec<Place> {
        self.ssl.get().unwrap_or_default().into_iter().map(|(_, place)| *place).collect()
    }

    pub(super) fn apply(&mut self, key: &[&str], value: &str, layer: Layer) -> Result<bool, Allowed> {
        match key {
            ["listeners", "tcp"] => self.tcp.put_none(layer),
            ["listeners", "tcp", name] => self.tcp.put(layer, name, values::listener(value)?),
            ["listeners", "ssl"] => self.ssl.put_none(layer),
            ["listeners", "ssl", name] => self.ssl.put(layer, name, values::listener(value)?),
            ["leveret", "http_listen"] => self.http.listen.put_none(layer),
            ["leveret", "http_listen", name] => self.http.listen.put(layer, name, values::listener(value)?),
            ["leveret", "metrics_listen"] => self.metrics.listen.put_none(layer),
            ["leveret", "metrics_listen", name] => {
                self.metrics.listen.put(layer, name, values::listener(value)?);
            }
            ["management", rest @ ..] => return self.http.apply(rest, value),
            ["prometheus", rest @ ..] => return self.metrics.apply(rest, value),
            ["proxy_protocol"] => self.proxy_protocol = values::boolean(value)?,
            ["handshake_timeout"] => self.handshake_timeout = Some(timeout(value)?),
            ["ssl_handshake_timeout"] => {
                self.tls.handshake_timeout = Duration::from_millis(values::between(value, 1, i64::MAX)?);
            }
            ["ssl_cert_login_from"] => self.certificate_login.from = Some(value.to_owned()),
            ["ssl_cert_login_san_type"] => self.certificate_login.san_type = Some(value.to_owned()),
            ["ssl_cert_login_san_index"] => {
                self.certificate_login.san_index = values::between(value, 0, i64::MAX)?;
            }
            ["ssl_options"] => self.tls = TlsSettings::default(),
            ["ssl_options", option @ ..] => return tls(&mut self.tls, option, value),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Milliseconds, or none at all.
fn timeout(value: &str) -> Result<Option<Duration>, Allowed> {
    match value {
        "infinity" => Ok(None),
        _ => Ok(Some(Duration::from_millis(values::between(value, 1, i64::MAX)?))),
    }
}

/// The options that all TLS listeners have.
fn tls(tls: &mut TlsSettings, option: &[&str], value: &str) -> Result<bool, Allowed> {
    match option {
        ["cacertfile"] => tls.cacertfile = Some(value.into()),
        ["certfile"] => tls.certfile = Some(value.into()),
        ["keyfile"] => tls.keyfile = Some(value.into()),
        ["password"] => tls.password = Some(value.to_owned()),
        ["verify"] => tls.verify_peer = values::one_of(value, "verify_peer|verify_none")? == "verify_peer",
        ["fail_if_no_peer_cert"] => tls.fail_if_no_peer_cert = values::boolean(value)?,
        ["depth"] => tls.depth = values::between(value, 0, 255)?,
        ["honor_cipher_order"] => tls.honor_cipher_order = values::boolean(value)?,
        ["versions", _] => tls.versions.push(value.to_owned()),
        ["ciphers", _] => tls.ciphers.push(value.to_owned()),
        _ => return Ok(false),
    }
    Ok(true)
}
