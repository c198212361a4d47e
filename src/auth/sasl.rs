//! The SASL mechanisms of RabbitMQ 4: what a client's response says.

use amq_protocol::types::AMQPValue;

use crate::wire::table;

/// The mechanisms on offer, in RabbitMQ's order.
pub const MECHANISMS: &str = "ANONYMOUS PLAIN AMQPLAIN";

/// Who a client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Password { user: String, password: Vec<u8> },
    Anonymous,
}

/// Reads a response; `None` for mechanisms not on offer and for responses that are none.
pub fn credentials(mechanism: &str, response: &[u8]) -> Option<Credentials> {
    match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        "ANONYMOUS" => Some(Credentials::Anonymous),
        _ => None,
    }
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

    fn guest() -> Option<Credentials> {
        Some(Credentials::Password { user: "guest".into(), password: b"pw".to_vec() })
    }

    #[test]
    fn plain_is_exactly_two_strings() {
        assert_eq!(credentials("PLAIN", b"\0guest\0pw"), guest());
        for wrong in [&b""[..], b"guest", b"guest\0pw", b"me\0guest\0pw", b"\0guest\0p\0w", b"\0\xff\0pw"] {
            assert_eq!(credentials("PLAIN", wrong), None, "{wrong:?}");
        }
        assert_eq!(credentials("plain", b"\0guest\0pw"), None);
    }

    #[test]
    fn amqplain_in_any_order() {
        let login = b"\x05LOGINS\0\0\0\x05guest";
        let password = b"\x08PASSWORDS\0\0\0\x02pw";
        assert_eq!(credentials("AMQPLAIN", &[&login[..], password].concat()), guest());
        assert_eq!(credentials("AMQPLAIN", &[&password[..], login].concat()), guest());
        assert_eq!(credentials("AMQPLAIN", login), None);
        assert_eq!(credentials("AMQPLAIN", b"\x05LOGINI\0\0\0\x05"), None);
    }
}
