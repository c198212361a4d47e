//! Parsing of `amqp://user:password@host:port/vhost`.

use std::{fmt, net::IpAddr};

/// Port used when the URI names none.
const DEFAULT_PORT: u16 = 5672;

/// Where and as whom to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUri {
    /// User name, decoded; `guest` unless given.
    pub user: String,
    /// Password, decoded; `guest` unless given.
    pub password: String,
    /// Host name or address; an IPv6 address has no brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Virtual host, decoded; `/` unless given.
    pub vhost: String,
}

/// Why a broker URI is not acceptable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Anything but `amqp://`.
    #[error("it must start with amqp:// (TLS is not supported here)")]
    Scheme,
    /// The host part is missing or malformed.
    #[error("it has no usable host")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("'{0}' is not a port number")]
    Port(String),
    /// A `%` is not followed by two hexadecimal digits, or the result is not UTF-8.
    #[error("'{0}' has a bad percent escape")]
    Escape(String),
}

impl AmqpUri {
    /// Parses a URI. A query string is ignored, and an empty path means the virtual host `/`.
    ///
    /// # Errors
    ///
    /// See [`UriError`].
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("amqp") => rest,
            _ => return Err(UriError::Scheme),
        };
        let rest = rest.split_once(['?', '#']).map_or(rest, |(head, _)| head);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (user, password) = match login {
            Some(login) => login.split_once(':').unwrap_or((login, "")),
            None => ("guest", "guest"),
        };
        let (host, port) = split_port(place)?;
        Ok(Self {
            user: decode(user)?,
            password: decode(password)?,
            host,
            port,
            vhost: if path.is_empty() { "/".to_owned() } else { decode(path)? },
        })
    }

    /// The same broker by its address, so that its name need not be looked up again.
    pub fn at(&self, address: IpAddr) -> Self {
        Self { host: address.to_string(), ..self.clone() }
    }

    /// Host and port as one string, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Shows the URI without its password, for reports.
impl fmt::Display for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vhost = self.vhost.replace('%', "%25").replace('/', "%2F");
        write!(f, "amqp://{}@{}/{vhost}", self.user, self.address())
    }
}

impl fmt::Debug for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(place: &str) -> Result<(String, u16), UriError> {
    let (host, port) = if let Some(bracketed) = place.strip_prefix('[') {
        let (host, tail) = bracketed.split_once(']').ok_or(UriError::Host)?;
        match tail.strip_prefix(':') {
            Some(port) => (host.to_owned(), port),
            None if tail.is_empty() => (host.to_owned(), ""),
            None => return Err(UriError::Host),
        }
    } else {
        let (host, port) = place.split_once(':').unwrap_or((place, ""));
        (decode(host)?, port)
    };
    if host.is_empty() {
        return Err(UriError::Host);
    }
    let port = match port {
        "" => DEFAULT_PORT,
        digits => match digits.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(UriError::Port(digits.to_owned())),
        },
    };
    Ok((host, port))
}

/// Undoes percent encoding.
fn decode(text: &str) -> Result<String, UriError> {
    let bad = || UriError::Escape(text.to_owned());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || {
            let value = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(value).ok()
        };
        let high = digit().ok_or_else(bad)?;
        let low = digit().ok_or_else(bad)?;
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> AmqpUri {
        AmqpUri::parse(text).unwrap()
    }

    #[test]
    fn everything_has_a_default_but_the_host() {
        let uri = parsed("amqp://localhost");
        assert_eq!((uri.user.as_str(), uri.password.as_str()), ("guest", "guest"));
        assert_eq!((uri.host.as_str(), uri.port), ("localhost", 5672));
        assert_eq!(uri.vhost, "/");
        assert_eq!(parsed("amqp://localhost/").vhost, "/");
        assert_eq!(AmqpUri::parse("amqp://user@/x"), Err(UriError::Host));
    }

    #[test]
    fn all_parts_are_decoded() {
        let uri = parsed("amqp://a%40b:p%3Aw%25@h:1234/%2Fteam%20x?heartbeat=5");
        assert_eq!((uri.user.as_str(), uri.password.as_str()), ("a@b", "p:w%"));
        assert_eq!((uri.port, uri.vhost.as_str()), (1234, "/team x"));
    }

    #[test]
    fn an_address_stands_for_the_name() {
        let uri = parsed("amqp://u:p@h:1234/v").at("::1".parse().unwrap());
        assert_eq!(uri.address(), "[::1]:1234");
        assert_eq!((uri.password.as_str(), uri.vhost.as_str()), ("p", "v"));
    }

    #[test]
    fn ipv6_hosts_lose_their_brackets() {
        let uri = parsed("AMQP://[::1]:5673/v");
        assert_eq!((uri.host.as_str(), uri.port), ("::1", 5673));
        assert_eq!(uri.address(), "[::1]:5673");
        assert_eq!(parsed("amqp://[::1]").port, 5672);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(AmqpUri::parse("amqps://h"), Err(UriError::Scheme));
        assert_eq!(AmqpUri::parse("localhost"), Err(UriError::Scheme));
        assert_eq!(AmqpUri::parse("amqp://h:0"), Err(UriError::Port("0".into())));
        assert_eq!(AmqpUri::parse("amqp://h:70000"), Err(UriError::Port("70000".into())));
        assert_eq!(AmqpUri::parse("amqp://h/%2"), Err(UriError::Escape("%2".into())));
        assert_eq!(AmqpUri::parse("amqp://h/%+1"), Err(UriError::Escape("%+1".into())));
        assert_eq!(AmqpUri::parse("amqp://h/%ff"), Err(UriError::Escape("%ff".into())));
    }

    #[test]
    fn the_password_is_never_shown() {
        let uri = parsed("amqp://me:secret@h/%2F");
        assert_eq!(uri.to_string(), "amqp://me@h:5672/%2F");
        assert!(!format!("{uri:?}").contains("secret"));
    }
}
