//! The SASL mechanisms of RabbitMQ 4: which are on offer, and what a client's response says.

use std::str::FromStr;

use amq_protocol::types::AMQPValue;

use crate::wire::table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Amqplain,
    Anonymous,
    /// By a certificate that has been shown to TLS.
    External,
}

impl Mechanism {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Amqplain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
        }
    }
}

impl FromStr for Mechanism {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Plain, Self::Amqplain, Self::Anonymous, Self::External];
        let found = all.into_iter().find(|mechanism| mechanism.name() == name);
        found.ok_or_else(|| format!("{name:?} is not PLAIN, AMQPLAIN, ANONYMOUS or EXTERNAL"))
    }
}

/// How clients may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// In the order in which they are offered.
    pub offered: Vec<Mechanism>,
    /// Whom `ANONYMOUS` logs in, and with which password. It is not offered if this is nobody.
    pub anonymous: Option<(String, String)>,
}

impl Default for Mechanisms {
    /// Those of RabbitMQ, where anonymous clients are `guest`.
    fn default() -> Self {
        Self {
            offered: vec![Mechanism::Anonymous, Mechanism::Plain, Mechanism::Amqplain],
            anonymous: Some(("guest".to_owned(), "guest".to_owned())),
        }
    }
}

impl Mechanisms {
    /// What a client is offered: `EXTERNAL` only with TLS, though one that has shown no certificate will be refused.
    fn offered_to(&self, client: &Certified) -> impl Iterator<Item = Mechanism> {
        self.offered.iter().copied().filter(move |mechanism| match mechanism {
            Mechanism::Anonymous => self.anonymous.is_some(),
            Mechanism::External => *client != Certified::NoTls,
            _ => true,
        })
    }

    /// The mechanisms in `connection.start`.
    pub fn list(&self, client: &Certified) -> String {
        self.offered_to(client).map(Mechanism::name).collect::<Vec<_>>().join(" ")
    }

    /// Reads a response; `None` for mechanisms that this client is not offered and for responses that are none.
    pub fn credentials(&self, mechanism: &str, response: &[u8], client: &Certified) -> Option<Credentials> {
        let mechanism = self.offered_to(client).find(|offered| offered.name() == mechanism)?;
        match mechanism {
            Mechanism::Plain => plain(response),
            Mechanism::Amqplain => amqplain(response),
            Mechanism::Anonymous => {
                let (user, password) = self.anonymous.clone()?;
                Some(Credentials::Password { user, password: password.into_bytes() })
            }
            Mechanism::External => Some(Credentials::Certificate(client.clone())),
        }
    }
}

/// Who a client is by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certified {
    NoTls,
    /// Nobody, and why.
    Nobody(&'static str),
    /// The user of this name.
    Somebody(String),
}

/// Who a client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Password { user: String, password: Vec<u8> },
    Certificate(Certified),
}

/// NUL, user, NUL, password. An authorisation identity in front is refused, as in RabbitMQ.
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.split(|octet| *octet == 0);
    let (identity, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if !identity.is_empty() || parts.next().is_some() {
        return None;
    }
    let user = String::from_utf8(user.to_vec()).ok()?;
    Some(Credentials::Password { user, password: password.to_vec() })
}

/// A field table without its length prefix, with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<Credentials> {
    let table = table::decode_table(response)?;
    let text = |key: &str| match table.inner().get(key) {
        Some(AMQPValue::LongString(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    let user = String::from_utf8(text("LOGIN")?).ok()?;
    Some(Credentials::Password { user, password: text("PASSWORD")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(mechanism: &str, response: &[u8]) -> Option<Credentials> {
        Mechanisms::default().credentials(mechanism, response, &Certified::NoTls)
    }

    fn guest(password: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: "guest".into(), password: password.into() })
    }

    #[test]
    fn plain_is_exactly_two_strings() {
        assert_eq!(credentials("PLAIN", b"\0guest\0pw"), guest("pw"));
        for wrong in [&b""[..], b"guest", b"guest\0pw", b"me\0guest\0pw", b"\0guest\0p\0w", b"\0\xff\0pw"] {
            assert_eq!(credentials("PLAIN", wrong), None, "{wrong:?}");
        }
        assert_eq!(credentials("plain", b"\0guest\0pw"), None);
    }

    #[test]
    fn amqplain_in_any_order() {
        let login = b"\x05LOGINS\0\0\0\x05guest";
        let password = b"\x08PASSWORDS\0\0\0\x02pw";
        assert_eq!(credentials("AMQPLAIN", &[&login[..], password].concat()), guest("pw"));
        assert_eq!(credentials("AMQPLAIN", &[&password[..], login].concat()), guest("pw"));
        assert_eq!(credentials("AMQPLAIN", login), None);
        assert_eq!(credentials("AMQPLAIN", b"\x05LOGINI\0\0\0\x05"), None);
    }

    #[test]
    fn only_what_is_offered_is_taken() {
        let offered = vec![Mechanism::External, Mechanism::Plain, Mechanism::Anonymous];
        let some = Mechanisms { offered, anonymous: None };
        let client = Certified::Somebody("CN=app".into());
        assert_eq!(some.list(&client), "EXTERNAL PLAIN");
        assert_eq!(some.list(&Certified::Nobody("no name found")), "EXTERNAL PLAIN");
        assert_eq!(some.list(&Certified::NoTls), "PLAIN");
        assert_eq!(some.credentials("EXTERNAL", b"", &Certified::NoTls), None);
        let external = some.credentials("EXTERNAL", b"anything", &client);
        assert_eq!(external, Some(Credentials::Certificate(client.clone())));
        assert_eq!(some.credentials("ANONYMOUS", b"", &client), None);
        assert_eq!(some.credentials("AMQPLAIN", b"", &client), None);
        assert_eq!(credentials("ANONYMOUS", b""), guest("guest"));
    }
}
