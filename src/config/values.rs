//! The types of values, as RabbitMQ's schema reads them, and what each of them allows in words. No I/O.
//!
//! Where RabbitMQ is stricter than it need be (`on` for `true`, `1` where it wants `1.0`, `1 GiB` of a size in `GB`), what
//! can only mean one thing is taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a value is none: what is allowed.
pub type Allowed = String;

fn allowed<T>(what: &str) -> Result<T, Allowed> {
    Err(what.to_owned())
}

pub fn integer(text: &str) -> Result<i64, Allowed> {
    text.parse().or_else(|_| allowed("an integer"))
}

/// An integer between two others, these included.
pub fn between<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Result<T, Allowed> {
    let wrong = || match max {
        i64::MAX => format!("an integer of at least {min}"),
        _ => format!("an integer from {min} to {max}"),
    };
    let value = text.parse::<i64>().map_err(|_| wrong())?;
    if !(min..=max).contains(&value) {
        return Err(wrong());
    }
    T::try_from(value).map_err(|_| wrong())
}

pub fn float(text: &str) -> Result<f64, Allowed> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.map_or_else(|| allowed("a number such as 0.6"), Ok)
}

pub fn boolean(text: &str) -> Result<bool, Allowed> {
    match text {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => allowed("true or false"),
    }
}

/// One of several words, named with `|` between them.
pub fn one_of<'a>(text: &'a str, words: &str) -> Result<&'a str, Allowed> {
    match words.split('|').any(|word| word == text) {
        true => Ok(text),
        false => Err(format!("one of {}", words.replace('|', ", "))),
    }
}

/// Octets, where `kB` and the like are powers of 1024 (`frame_max` and the limits of default policies).
pub fn bytes(text: &str) -> Result<u64, Allowed> {
    amount(text, 1024)
        .map_or_else(|| allowed("a number of bytes, with a unit or without: 10, 128kB, 4MB, 1GB"), Ok)
}

/// Octets, where `kB` and the like are powers of 1000 and `KiB` and the like are powers of 1024 (watermarks).
pub fn size(text: &str) -> Result<u64, Allowed> {
    let what =
        "a number of bytes, with a unit or without: 500MB, 500MiB, 10GB, 10GiB, 2TB, 2TiB, 10000000000";
    amount(text, 1000).map_or_else(|| allowed(what), Ok)
}

/// A number and a unit; `k` is worth `thousand`, `Ki` is worth 1024.
fn amount(text: &str, thousand: u64) -> Option<u64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').filter(|prefix| !prefix.is_empty()).unwrap_or(&unit);
    let (prefix, base) = match unit.strip_suffix('i') {
        Some(prefix) => (prefix, 1024),
        None => (unit, thousand),
    };
    let power = match prefix {
        "" if unit.is_empty() => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let factor = u64::checked_pow(base, power)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let number: f64 = number.parse().ok().filter(|_| factor > 1)?;
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let octets = (number * factor as f64) as u64;
    Some(octets)
}

/// Milliseconds: numbers with units, one after the other, such as `1h30m`.
pub fn duration(text: &str) -> Result<u64, Allowed> {
    milliseconds(text).map_or_else(|| allowed("a time with its unit: 500ms, 10s, 1h30m, 7d, 2w"), Ok)
}

fn milliseconds(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 7] =
        [("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3.6e6), ("d", 86.4e6), ("w", 604.8e6), ("f", 1209.6e6)];
    let text = text.to_ascii_lowercase();
    let (mut rest, mut sum) = (text.as_str(), 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|end| *end > 0)?;
        let number: f64 = rest[..end].parse().ok()?;
        let after = &rest[end..];
        let (unit, worth) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        sum += number * worth;
        rest = &after[unit.len()..];
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (!text.is_empty() && sum < 1e18).then(|| sum.ceil() as u64)
}

pub fn ip(text: &str) -> Result<IpAddr, Allowed> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().or_else(|_| allowed("an IP address"))
}

pub fn port(text: &str) -> Result<u16, Allowed> {
    between(text, 0, 65535)
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A port of all addresses, those of IPv6 included where the machine has it.
    Everywhere(u16),
    At(SocketAddr),
}

impl Place {
    pub fn port(self) -> u16 {
        match self {
            Self::Everywhere(port) => port,
            Self::At(address) => address.port(),
        }
    }
}

/// A port, or an address with one, which for IPv6 may be in brackets (`[::1]:5672`) or not (`::1:5672`).
pub fn listener(text: &str) -> Result<Place, Allowed> {
    let what = "a port or an address with one: 5672, 127.0.0.1:5672, :::5672";
    if let Ok(port) = text.parse() {
        return Ok(Place::Everywhere(port));
    }
    let Some((address, port)) = text.rsplit_once(':') else { return allowed(what) };
    let (Ok(ip), Ok(port)) = (ip(address), port.parse()) else { return allowed(what) };
    Ok(Place::At((ip, port).into()))
}

/// The address that stands for all of them.
pub fn is_everywhere(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// A list with commas.
pub fn list(text: &str) -> Vec<Box<str>> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Into::into).collect()
}

/// Checks a value against a type as the table of keys writes it: the name of one, a word, or several of them with `|`
/// between. An integer may have a range, `integer(0..255)` or `integer(1..)`.
pub fn check(kind: &str, value: &str) -> Result<(), Allowed> {
    let mut wanted = Vec::new();
    for kind in kind.split('|') {
        let (name, range) = kind.split_once('(').unwrap_or((kind, ""));
        let checked = match name {
            "text" => Ok(()),
            "integer" if range.is_empty() => integer(value).map(drop),
            "integer" => {
                let (min, max) = range.trim_end_matches(')').split_once("..").unwrap_or(("", ""));
                let (min, max) = (min.parse().unwrap_or(i64::MIN), max.parse().unwrap_or(i64::MAX));
                between::<i64>(value, min, max).map(drop)
            }
            "float" => float(value).map(drop),
            "boolean" => boolean(value).map(drop),
            "bytes" => bytes(value).map(drop),
            "size" => size(value).map(drop),
            "duration" => duration(value).map(drop),
            "ip" => ip(value).map(drop),
            "port" => port(value).map(drop),
            "listener" => listener(value).map(drop),
            word if word == value => Ok(()),
            word => Err(word.to_owned()),
        };
        match checked {
            Ok(()) => return Ok(()),
            Err(what) => wanted.push(what),
        }
    }
    Err(wanted.join(", or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_bytes_as_rabbitmq_counts_them() {
        for (text, wanted) in [
            ("1", Some(1)),
            ("2GB", Some(2_000_000_000)),
            ("2GiB", Some(2 << 30)),
            ("2g", Some(2_000_000_000)),
            ("2Gi", Some(2 << 30)),
            ("500MB", Some(500_000_000)),
            ("500MiB", Some(500 << 20)),
            ("10k", Some(10_000)),
            ("10Ki", Some(10_240)),
            ("1TB", Some(1_000_000_000_000)),
            ("1TiB", Some(1 << 40)),
            ("1PB", Some(1_000_000_000_000_000)),
            ("x", None),
            ("-1", None),
            ("1B", None),
            ("2XB", None),
            ("", None),
            ("1.5", None),
            ("99999999999PB", None),
        ] {
            assert_eq!(size(text).ok(), wanted, "{text}");
        }
        for (text, wanted) in [
            ("1", Some(1)),
            ("1kb", Some(1024)),
            ("1KB", Some(1024)),
            ("1mb", Some(1 << 20)),
            ("1GB", Some(1 << 30)),
            ("1.5GB", Some(3 << 29)),
            (".5gb", Some(1 << 29)),
            ("1b", None),
            ("-1", None),
        ] {
            assert_eq!(bytes(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn durations_as_rabbitmq_reads_them() {
        for (text, wanted) in [
            ("1s", Some(1000)),
            ("1m30s", Some(90_000)),
            ("1h", Some(3_600_000)),
            ("1.5m", Some(90_000)),
            (".5s", Some(500)),
            ("1d", Some(86_400_000)),
            ("1w", Some(604_800_000)),
            ("1f", Some(1_209_600_000)),
            ("1S", Some(1000)),
            ("1ms", Some(1)),
            ("1", None),
            ("10 s", None),
            ("-1s", None),
            ("infinity", None),
            ("", None),
            ("s", None),
            ("..s", None),
        ] {
            assert_eq!(duration(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn places_to_listen() {
        for (text, wanted) in [
            ("5672", Some(Place::Everywhere(5672))),
            ("127.0.0.1:5672", Some(Place::At(([127, 0, 0, 1], 5672).into()))),
            ("::1:5672", Some(Place::At((Ipv6Addr::LOCALHOST, 5672).into()))),
            ("[::1]:5672", Some(Place::At((Ipv6Addr::LOCALHOST, 5672).into()))),
            (":::5672", Some(Place::At((Ipv6Addr::UNSPECIFIED, 5672).into()))),
            ("localhost:5672", None),
            ("0.0.0.0:", None),
            ("127.0.0.1", None),
            ("127.0.0.1:99999", None),
            ("127.0.0.1:-1", None),
            ("*:5672", None),
            ("70000", None),
            ("", None),
        ] {
            assert_eq!(listener(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn types_of_the_table() {
        for (kind, value, wanted) in [
            ("integer", "33", None),
            ("integer", "x", Some("an integer")),
            ("integer(1..)", "0", Some("an integer of at least 1")),
            ("integer(0..255)", "256", Some("an integer from 0 to 255")),
            ("infinity|integer", "infinity", None),
            ("infinity|integer", "many", Some("infinity, or an integer")),
            ("none", "all", Some("none")),
            ("debug|info", "loud", Some("debug, or info")),
            ("boolean", "on", None),
            ("boolean", "yes", Some("true or false")),
            ("float", "1", None),
            ("float", "nan", Some("a number such as 0.6")),
            ("text", "anything", None),
        ] {
            assert_eq!(check(kind, value).err().as_deref(), wanted, "{kind} {value}");
        }
    }
}
