//! Where the node listens, and how: `listeners.*`, `ssl_options.*`, `management.tcp.*` and the like.

use std::path::PathBuf;
use std::time::Duration;

use super::Layer;
use super::settings::Group;
use super::values::{self, Allowed, Place};
use crate::net::listener::SocketOptions;
use crate::net::tls::{AlternativeName, LoginFrom, TlsSettings};

pub const AMQP_PORT: u16 = 5672;
pub const HTTP_PORT: u16 = 15672;
pub const HTTPS_PORT: u16 = 15671;
pub const METRICS_PORT: u16 = 15692;
pub const METRICS_TLS_PORT: u16 = 15691;

/// Which name in a client's certificate is the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CertificateLogin {
    from: Option<String>,
    san_type: Option<String>,
    san_index: usize,
}

impl CertificateLogin {
    fn from(&self) -> LoginFrom {
        let kind = match self.san_type.as_deref() {
            Some("ip") => AlternativeName::Ip,
            Some("email") => AlternativeName::Email,
            Some("uri") => AlternativeName::Uri,
            Some("other_name") => AlternativeName::Other,
            _ => AlternativeName::Dns,
        };
        match self.from.as_deref() {
            Some("common_name") => LoginFrom::CommonName,
            Some("subject_alternative_name" | "subject_alt_name") => {
                LoginFrom::AlternativeName(kind, self.san_index)
            }
            _ => LoginFrom::DistinguishedName,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Network {
    pub tcp: Group<Place>,
    pub ssl: Group<Place>,
    tls: TlsSettings,
    certificate_login: CertificateLogin,
    pub proxy_protocol: bool,
    /// What the sockets of AMQP are like.
    pub options: SocketOptions,
    /// Sockets in the file system, and who may use them, as file permissions say it.
    pub unix: Group<PathBuf>,
    pub unix_mode: u32,
    pub http: HttpPlaces,
    pub metrics: HttpPlaces,
}

/// Where something is served over HTTP.
#[derive(Clone, Debug, Default)]
pub struct HttpPlaces {
    /// Where flags say.
    pub listen: Group<Place>,
    pub tcp: PortAndIp,
    /// Whether it is served over TLS at the most.
    no_tcp: bool,
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

impl From<Place> for PortAndIp {
    fn from(place: Place) -> Self {
        match place {
            Place::At(address) => Self { port: Some(address.port()), ip: Some(address.ip()) },
            Place::Everywhere(port) => Self { port: Some(port), ip: None },
        }
    }
}

impl HttpPlaces {
    /// Where the HTTP API is served, and whether with TLS. With a TLS listener alone there is no other one, as in RabbitMQ.
    pub fn of_api(&self) -> Vec<(Place, bool)> {
        let with_tls = self.ssl.is_set();
        self.all(HTTP_PORT, self.tcp.is_set() || !with_tls, HTTPS_PORT, with_tls)
    }

    /// The same of metrics, which have both if they have a certificate.
    pub fn of_metrics(&self) -> Vec<(Place, bool)> {
        let with_tls = self.ssl.is_set() || self.tls.certfile.is_some();
        self.all(METRICS_PORT, !self.no_tcp, METRICS_TLS_PORT, with_tls)
    }

    fn all(&self, port: u16, is_plain: bool, tls_port: u16, with_tls: bool) -> Vec<(Place, bool)> {
        if let Some(places) = self.listen.get() {
            return places.into_iter().map(|(_, place)| (*place, false)).collect();
        }
        let plain = is_plain.then(|| (self.tcp.place(port), false));
        plain.into_iter().chain(with_tls.then(|| (self.ssl.place(tls_port), true))).collect()
    }

    /// Whether somebody has set where to listen without TLS, or on which port.
    pub fn is_asked_for(&self) -> bool {
        self.listen.get().is_some() || self.tcp.is_set()
    }

    fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["tcp", "port"] => self.tcp.port = Some(values::port(value)?),
            ["tcp", "ip"] => self.tcp.ip = Some(values::ip(value)?),
            ["tcp", "listener"] => {
                self.no_tcp = value == "none";
                self.tcp = if self.no_tcp { PortAndIp::default() } else { values::listener(value)?.into() };
            }
            ["ssl", "port"] => self.ssl.port = Some(values::port(value)?),
            ["ssl", "ip"] => self.ssl.ip = Some(values::ip(value)?),
            ["ssl", option @ ..] => return tls(&mut self.tls, option, value),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            tcp: Group::default(),
            ssl: Group::default(),
            tls: TlsSettings::default(),
            certificate_login: CertificateLogin::default(),
            proxy_protocol: false,
            options: SocketOptions::default(),
            unix: Group::default(),
            unix_mode: 0o660,
            http: HttpPlaces::default(),
            metrics: HttpPlaces::default(),
        }
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

    /// The TLS settings of AMQP.
    pub fn tls(&self) -> TlsSettings {
        TlsSettings { login_from: self.certificate_login.from(), ..self.tls.clone() }
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
            ["leveret", "unix_listen"] => self.unix.put_none(layer),
            ["leveret", "unix_listen", name] => self.unix.put(layer, name, value.into()),
            ["leveret", "unix_mode"] => self.unix_mode = mode(value)?,
            ["proxy_protocol"] => self.proxy_protocol = values::boolean(value)?,
            ["tcp_listen_options"] => self.options = SocketOptions::default(),
            ["tcp_listen_options", option @ ..] => return socket(&mut self.options, option, value),
            // There is one that lets clients in, which waits for nobody.
            ["num_acceptors", _] => {}
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

fn socket(options: &mut SocketOptions, option: &[&str], value: &str) -> Result<bool, Allowed> {
    let lingers = options.linger.unwrap_or_default();
    match option {
        ["backlog"] => options.backlog = values::between(value, 0, i64::from(i32::MAX))?,
        ["nodelay"] => options.nodelay = values::boolean(value)?,
        ["keepalive"] => options.keepalive = values::boolean(value)?,
        ["linger", "on"] => options.linger = values::boolean(value)?.then_some(lingers),
        ["linger", "timeout"] => {
            options.linger = Some(Duration::from_secs(values::between(value, 0, 65535)?));
        }
        ["sndbuf"] => options.send_buffer = Some(values::between(value, 1, i64::from(i32::MAX))?),
        ["recbuf"] => options.receive_buffer = Some(values::between(value, 1, i64::from(i32::MAX))?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The permissions of a file.
fn mode(value: &str) -> Result<u32, Allowed> {
    let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "permissions such as 660".to_owned())
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
