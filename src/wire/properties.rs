//! Basic properties as raw octets: property flags and the list behind them (AMQP 0-9-1, section 4.2.6.1).
//!
//! A message's properties travel as its publisher sent them. They are walked where something must be
//! checked or known; the flags alone say whether a walk can find anything.

use super::table;

pub const CONTENT_TYPE: u16 = 1 << 15;
pub const HEADERS: u16 = 1 << 13;
pub const DELIVERY_MODE: u16 = 1 << 12;
pub const PRIORITY: u16 = 1 << 11;
pub const CORRELATION_ID: u16 = 1 << 10;
pub const REPLY_TO: u16 = 1 << 9;
pub const EXPIRATION: u16 = 1 << 8;
pub const MESSAGE_ID: u16 = 1 << 7;
pub const TIMESTAMP: u16 = 1 << 6;
pub const USER_ID: u16 = 1 << 4;

/// The properties the broker looks at. Absent ones are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The header table's octets, without its length prefix.
    pub headers: Option<&'a [u8]>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub reply_to: Option<&'a [u8]>,
    pub expiration: Option<&'a [u8]>,
    pub user_id: Option<&'a [u8]>,
}

/// What is wrong with a property list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the property list does not fit its flags")]
    Length,
    #[error(transparent)]
    Headers(#[from] table::Malformed),
}

/// The property flags in front of a raw list; 0 if there are none.
pub fn flags(raw: &[u8]) -> u16 {
    match raw {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Walks a raw list (flags first) and checks that it is exactly as long as its flags say.
///
/// The header table is delimited but not looked into. The two lowest flags mean nothing, as in RabbitMQ,
/// which does not know the specification's continuation flag either.
pub fn walk(raw: &[u8]) -> Result<Properties<'_>, Malformed> {
    let mut out = Properties::default();
    let flags = match raw {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => return Err(Malformed::Length),
    };
    let mut rest = &raw[2..];
    for bit in (2..16).rev() {
        if flags & (1 << bit) == 0 {
            continue;
        }
        match 1 << bit {
            HEADERS => out.headers = Some(long(&mut rest)?),
            DELIVERY_MODE => out.delivery_mode = Some(split(&mut rest, 1)?[0]),
            PRIORITY => out.priority = Some(split(&mut rest, 1)?[0]),
            TIMESTAMP => {
                split(&mut rest, 8)?;
            }
            REPLY_TO => out.reply_to = Some(short(&mut rest)?),
            EXPIRATION => out.expiration = Some(short(&mut rest)?),
            USER_ID => out.user_id = Some(short(&mut rest)?),
            _ => {
                short(&mut rest)?;
            }
        }
    }
    if rest.is_empty() { Ok(out) } else { Err(Malformed::Length) }
}

/// One property's octets, without a length prefix.
pub fn find(raw: &[u8], wanted: u16) -> Option<&[u8]> {
    if flags(raw) & wanted == 0 {
        return None;
    }
    each(raw).find(|(flag, _)| *flag == wanted).map(|(_, octets)| octets)
}

/// Every property with its flag, in order, without length prefixes. A list that is cut off ends where it does.
pub fn each(raw: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let (present, mut rest) = (flags(raw), raw.get(2..).unwrap_or_default());
    (2..16).rev().map(|bit| 1 << bit).filter(move |flag| present & flag != 0).map_while(move |flag| {
        let octets = match flag {
            HEADERS => long(&mut rest),
            DELIVERY_MODE | PRIORITY => split(&mut rest, 1),
            TIMESTAMP => split(&mut rest, 8),
            _ => short(&mut rest),
        };
        octets.ok().map(|octets| (flag, octets))
    })
}

/// Hands out each property of a raw list with its flag, as its octets lie there, in their order; headers always, as
/// nothing if there are none.
pub fn pieces<'a>(raw: &'a [u8], mut each: impl FnMut(u16, &'a [u8])) -> Result<(), Malformed> {
    let mut rest = raw.get(2..).ok_or(Malformed::Length)?;
    let flags = flags(raw);
    for bit in (2..16).rev() {
        let flag = 1 << bit;
        let before = rest;
        if flags & flag != 0 {
            match flag {
                HEADERS => drop(long(&mut rest)?),
                DELIVERY_MODE | PRIORITY => drop(split(&mut rest, 1)?),
                TIMESTAMP => drop(split(&mut rest, 8)?),
                _ => drop(short(&mut rest)?),
            }
        } else if flag != HEADERS {
            continue;
        }
        each(flag, &before[..before.len() - rest.len()]);
    }
    Ok(())
}

/// A raw list with other octets (255 at most) for one short string that it has.
pub fn with_short(raw: &[u8], wanted: u16, octets: &[u8]) -> Result<Vec<u8>, Malformed> {
    let size = u8::try_from(octets.len()).map_err(|_| Malformed::Length)?;
    let mut out = Vec::with_capacity(raw.len() + octets.len());
    out.extend_from_slice(raw.get(..2).ok_or(Malformed::Length)?);
    pieces(raw, |flag, piece| {
        if flag == wanted {
            out.push(size);
            out.extend_from_slice(octets);
        } else {
            out.extend_from_slice(piece);
        }
    })?;
    Ok(out)
}

/// A raw list, which has no timestamp, with one.
pub fn with_timestamp(raw: &[u8], seconds: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    out.extend_from_slice(&(flags(raw) | TIMESTAMP).to_be_bytes());
    let mut is_put = false;
    pieces(raw, |flag, piece| {
        if flag < TIMESTAMP && !is_put {
            out.extend_from_slice(&seconds.to_be_bytes());
            is_put = true;
        }
        out.extend_from_slice(piece);
    })?;
    if !is_put {
        out.extend_from_slice(&seconds.to_be_bytes());
    }
    Ok(out)
}

/// Checks a raw list whole, header table included. Costs nothing for the usual short ones.
pub fn check(raw: &[u8]) -> Result<(), Malformed> {
    match *raw {
        [0, 0] | [0x10, 0, _] => Ok(()),
        _ => match walk(raw)?.headers {
            // Headers pass through, however deep they are.
            Some(headers) => Ok(table::check(headers, usize::MAX)?),
            None => Ok(()),
        },
    }
}

/// Whether the publisher asked for persistence (delivery mode 2).
pub fn is_persistent(raw: &[u8]) -> bool {
    flags(raw) & DELIVERY_MODE != 0 && walk(raw).is_ok_and(|p| p.delivery_mode == Some(2))
}

fn split<'a>(rest: &mut &'a [u8], size: usize) -> Result<&'a [u8], Malformed> {
    let (front, tail) = rest.split_at_checked(size).ok_or(Malformed::Length)?;
    *rest = tail;
    Ok(front)
}

fn short<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let size = split(rest, 1)?[0];
    split(rest, size as usize)
}

fn long<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let size = split(rest, 4)?;
    let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]);
    split(rest, size as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every property, the header table holding one void field.
    fn everything() -> Vec<u8> {
        let mut raw = vec![0xff, 0xfc];
        raw.extend_from_slice(b"\x02ct\x02ce");
        raw.extend_from_slice(b"\0\0\0\x03\x01hV");
        raw.extend_from_slice(
            b"\x02\x07\x03cid\x02rt\x0260\x03mid\0\0\0\0\0\0\0\x09\x02ty\x05guest\x03app\x02cl",
        );
        raw
    }

    #[test]
    fn all_of_them() {
        let raw = everything();
        let found = walk(&raw).expect("good");
        assert_eq!(found.headers, Some(&b"\x01hV"[..]));
        assert_eq!((found.delivery_mode, found.priority), (Some(2), Some(7)));
        assert_eq!(found.reply_to, Some(&b"rt"[..]));
        assert_eq!(found.expiration, Some(&b"60"[..]));
        assert_eq!(found.user_id, Some(&b"guest"[..]));
        assert!(check(&raw).is_ok() && is_persistent(&raw));
    }

    #[test]
    fn each_of_them() {
        let raw = everything();
        assert_eq!(each(&raw).count(), 14);
        assert_eq!(find(&raw, CORRELATION_ID), Some(&b"cid"[..]));
        assert_eq!(find(&raw, MESSAGE_ID), Some(&b"mid"[..]));
        assert_eq!(find(&raw, TIMESTAMP), Some(&[0, 0, 0, 0, 0, 0, 0, 9][..]));
        assert_eq!(find(&raw, HEADERS), Some(&b"\x01hV"[..]));
        assert_eq!(find(&[0x10, 0, 2], HEADERS), None);
        for cut in 0..raw.len() {
            assert!(each(&raw[..cut]).count() < 14, "{cut} octets");
        }
    }

    #[test]
    fn another_short_string() {
        let raw = everything();
        let other = with_short(&raw, REPLY_TO, b"someone else").expect("good");
        assert!(check(&other).is_ok());
        assert_eq!(
            walk(&other),
            Ok(Properties { reply_to: Some(b"someone else"), ..walk(&raw).expect("good") })
        );
        assert_eq!(find(&other, CORRELATION_ID), Some(&b"cid"[..]));
        assert_eq!(with_short(&other, REPLY_TO, b"rt").expect("good"), raw);
        assert!(with_short(&raw, REPLY_TO, &[b'a'; 256]).is_err());
        assert!(with_short(&raw[..9], REPLY_TO, b"rt").is_err());
    }

    #[test]
    fn wrong_lengths_and_flags() {
        let raw = everything();
        for cut in 0..raw.len() {
            assert!(check(&raw[..cut]).is_err(), "{cut} octets");
        }
        assert_eq!(check(&[raw, vec![0]].concat()), Err(Malformed::Length));
        assert_eq!(check(&[0x10, 3, 2]), Ok(()));
        assert_eq!(check(&[0, 0]), Ok(()));
        assert_eq!(check(&[0, 0, 0]), Err(Malformed::Length));
    }
}
