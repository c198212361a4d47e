//! Properties of messages that are published: what RabbitMQ refuses, and what it writes otherwise.

use std::borrow::Cow;

use super::Settings;
use crate::broker::text;
use crate::wire::properties::{self, EXPIRATION, USER_ID};
use crate::wire::reply::Exception;

/// The longest time to live of a message or queue in milliseconds: ten years.
const EXPIRATION_MAX: i128 = 315_360_000_000;

/// Refuses properties that RabbitMQ refuses. The flags say cheaply that there is nothing to look at.
pub(super) fn check_properties(raw: &[u8], settings: &Settings) -> Result<(), Exception> {
    check_whole(raw)?;
    if properties::flags(raw) & (EXPIRATION | USER_ID) == 0 {
        return Ok(());
    }
    check_expiration(raw)?;
    check_user_id(raw, &settings.user, settings.impersonates)
}

/// Refuses a list that is malformed.
pub(super) fn check_whole(raw: &[u8]) -> Result<(), Exception> {
    properties::check(raw).map_err(|_| Exception::internal_error(""))
}

/// Refuses an expiration that is none; the milliseconds if there is one.
pub(super) fn check_expiration(raw: &[u8]) -> Result<Option<u64>, Exception> {
    let Some(expiration) = properties::find(raw, EXPIRATION) else { return Ok(None) };
    let ms = expiration_ms(expiration).map_err(|why| {
        let shown = text(expiration);
        Exception::precondition_failed(format!("invalid expiration '{shown}': {why}"))
    })?;
    Ok(Some(ms))
}

/// Refuses a message that claims to be another user's, but from who may do that.
pub(super) fn check_user_id(raw: &[u8], user: &str, impersonates: bool) -> Result<(), Exception> {
    match properties::find(raw, USER_ID) {
        Some(id) if id != user.as_bytes() && !impersonates => Err(Exception::precondition_failed(format!(
            "user_id property set to '{}' but authenticated user was '{user}'",
            text(id)
        ))),
        _ => Ok(()),
    }
}

/// Whether an expiration, if it is one, has neither a sign nor zeros in front.
pub(super) fn is_plain(expiration: &[u8]) -> bool {
    expiration == b"0" || !matches!(expiration.first(), Some(b'+' | b'-' | b'0'))
}

/// The properties a message goes on with, its expiration checked and written as RabbitMQ writes it: the bare number.
pub(super) fn with_plain_expiration(raw: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, Exception> {
    let Some(ms) = check_expiration(&raw)? else { return Ok(raw) };
    if properties::find(&raw, EXPIRATION).is_none_or(is_plain) {
        return Ok(raw);
    }
    let written = properties::with_short(&raw, EXPIRATION, ms.to_string().as_bytes());
    Ok(written.map_err(|_| Exception::internal_error(""))?.into())
}

/// Milliseconds out of an `expiration` property, or why it is none, as RabbitMQ writes it.
fn expiration_ms(octets: &[u8]) -> Result<u64, String> {
    let text = text(octets);
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err("no_integer".to_owned());
    }
    let (number, rest) = text.split_at(sign + digits);
    if !rest.is_empty() {
        return Err(format!("{{leftover_string,\"{rest}\"}}"));
    }
    match number.parse::<i128>() {
        Ok(ms) if ms < 0 => Err(format!("{{value_negative,{ms}}}")),
        Ok(ms) if ms <= EXPIRATION_MAX => u64::try_from(ms).map_err(|_| "no_integer".to_owned()),
        _ => Err(format!("{{value_too_large,{}}}", number.trim_start_matches(['+', '0']))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::stamps::Stamps;

    #[test]
    fn expirations_as_rabbitmq_reads_them() {
        for (text, wanted) in [
            ("0", Ok(0)),
            ("+5", Ok(5)),
            ("010", Ok(10)),
            ("315360000000", Ok(315_360_000_000)),
            ("", Err("no_integer")),
            (" 1", Err("no_integer")),
            ("soon", Err("no_integer")),
            ("1 ", Err("{leftover_string,\" \"}")),
            ("1.5", Err("{leftover_string,\".5\"}")),
            ("-1", Err("{value_negative,-1}")),
            ("315360000001", Err("{value_too_large,315360000001}")),
        ] {
            assert_eq!(expiration_ms(text.as_bytes()), wanted.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn expirations_that_are_written_as_rabbitmq_writes_them() {
        for (sent, wanted) in
            [("0", "0"), ("7", "7"), ("70", "70"), ("007", "7"), ("+5", "5"), ("-0", "0"), ("+00", "0")]
        {
            let raw = [&[1, 0, sent.len() as u8], sent.as_bytes()].concat();
            let plain = with_plain_expiration(Cow::Borrowed(&raw)).expect("an expiration");
            assert_eq!(properties::find(&plain, EXPIRATION), Some(wanted.as_bytes()), "{sent}");
            assert_eq!(is_plain(sent.as_bytes()), sent == wanted, "{sent}");
        }
        assert!(with_plain_expiration(Cow::Borrowed(b"\x01\0\x02+x")).is_err());
        assert_eq!(with_plain_expiration(Cow::Borrowed(b"\0\0")).expect("nothing to do"), &b"\0\0"[..]);
    }

    #[test]
    fn only_impersonators_claim_to_be_others() {
        let settings = |impersonates| Settings {
            user: "guest".into(),
            impersonates,
            vhost: "/".into(),
            frame_max: 4096,
            channel_max: 1,
            consumer_max: None,
            heartbeat: 0,
            message_size_max: 1,
            stamps: Stamps::default(),
        };
        for (raw, honest) in
            [(&b"\0\x10\x05guest"[..], true), (b"\0\x10\x01x", false), (b"\0\x10\0", false), (b"\0\0", true)]
        {
            assert_eq!(check_properties(raw, &settings(false)).is_ok(), honest, "{raw:?}");
            assert!(check_properties(raw, &settings(true)).is_ok(), "{raw:?}");
        }
    }
}
