//! What is written into a message that has died: `x-death` and its companions, as RabbitMQ 4.3 writes them.
//!
//! `x-death` is an array with a table for each pair of queue and reason, the latest first. A pair that comes again is
//! counted, and keeps what else it says of the first time. What a publisher calls `x-death` is not believed: it goes.

use super::Reason;
use crate::broker::Now;
use crate::broker::queue::expiry;
use crate::wire::headers::{self, put_long, put_name, put_nested, put_text};
use crate::wire::properties::{self, EXPIRATION, Malformed};
use crate::wire::table::{self, Value};

const DEATHS: &[u8] = b"x-death";
/// Headers that are the broker's own, the first ones kept from the first death on.
const FIRST: [&[u8]; 3] = [b"x-first-death-exchange", b"x-first-death-queue", b"x-first-death-reason"];
const LAST: [&[u8]; 3] = [b"x-last-death-exchange", b"x-last-death-queue", b"x-last-death-reason"];

/// One death.
#[derive(Debug)]
pub struct Death<'a> {
    pub queue: &'a [u8],
    pub reason: Reason,
    /// Where the message had been published to.
    pub exchange: &'a [u8],
    /// With which keys, those of `CC` included and those of `BCC` not.
    pub routing_keys: &'a [&'a [u8]],
    pub now: Now,
}

/// Appends to `out` the properties of a message after one more death: without expiration, so that it does not expire
/// where it comes to. `died_before` says whether its `x-death` is the broker's.
pub fn record(raw: &[u8], died_before: bool, death: &Death<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let found = properties::walk(raw)?;
    let before = found.headers.filter(|_| died_before).and_then(deaths_of).unwrap_or_default();
    let mut deaths = Vec::new();
    put_deaths(&mut deaths, before, death, found.expiration);
    let mut value = Vec::new();
    put_nested(&mut value, b'A', &deaths);
    let texts = [death.exchange, death.queue, death.reason.name().as_bytes()].map(|text| {
        let mut value = Vec::new();
        put_text(&mut value, text);
        value
    });
    let mut added: Vec<headers::Named<'_>> = vec![(DEATHS, &value)];
    added.extend(LAST.into_iter().zip(texts.iter().map(Vec::as_slice)));
    if !died_before {
        added.extend(FIRST.into_iter().zip(texts.iter().map(Vec::as_slice)));
    }
    let stays =
        |name: &[u8]| name != DEATHS && !LAST.contains(&name) && (died_before || !FIRST.contains(&name));
    headers::edit(raw, EXPIRATION, stays, &added, out)
}

fn deaths_of(headers: &[u8]) -> Option<&[u8]> {
    match table::find(headers, DEATHS)?.value() {
        Value::Array(octets) => Some(octets),
        _ => None,
    }
}

/// Appends the tables: the one of this death first, then those of others.
fn put_deaths(out: &mut Vec<u8>, before: &[u8], death: &Death<'_>, expiration: Option<&[u8]>) {
    let is_same = |entry: &[u8]| {
        (text_of(entry, b"queue"), text_of(entry, b"reason"))
            == (Some(death.queue), Some(death.reason.name().as_bytes()))
    };
    let mut entry = Vec::new();
    match entries(before).find(|entry| is_same(entry)) {
        Some(same) => put_counted(&mut entry, same),
        None => put_first(&mut entry, death, expiration),
    }
    put_nested(out, b'F', &entry);
    for other in entries(before).filter(|entry| !is_same(entry)) {
        put_nested(out, b'F', other);
    }
}

fn entries(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    table::values(array).filter_map(|field| match field.value() {
        Value::Table(octets) => Some(octets),
        _ => None,
    })
}

fn text_of<'a>(entry: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match table::find(entry, name)?.value() {
        Value::Octets(octets) => Some(octets),
        _ => None,
    }
}

/// The same death once more.
fn put_counted(out: &mut Vec<u8>, entry: &[u8]) {
    for (name, value) in table::raw_fields(entry).map_while(Result::ok) {
        put_name(out, name);
        match table::find(entry, name).map(|field| field.value()) {
            Some(Value::Int(count)) if name == b"count" => {
                put_long(out, i64::try_from(count).unwrap_or(0).saturating_add(1));
            }
            _ => out.extend_from_slice(value),
        }
    }
}

fn put_first(out: &mut Vec<u8>, death: &Death<'_>, expiration: Option<&[u8]>) {
    if let Some(ms) = expiration.and_then(expiry::milliseconds) {
        put_name(out, b"original-expiration");
        put_text(out, ms.to_string().as_bytes());
    }
    put_name(out, b"count");
    put_long(out, 1);
    put_name(out, b"reason");
    put_text(out, death.reason.name().as_bytes());
    put_name(out, b"queue");
    put_text(out, death.queue);
    put_name(out, b"time");
    out.push(b'T');
    out.extend_from_slice(&(death.now / 1000).to_be_bytes());
    put_name(out, b"exchange");
    put_text(out, death.exchange);
    let mut keys = Vec::new();
    death.routing_keys.iter().for_each(|key| put_text(&mut keys, key));
    put_name(out, b"routing-keys");
    put_nested(out, b'A', &keys);
}

/// Whether a message with these properties, the broker's own `x-death` among them, has been in a queue before without
/// having been rejected since: it would go round for ever.
pub fn is_cycle(raw: &[u8], queue: &[u8]) -> bool {
    let headers = properties::walk(raw).ok().and_then(|found| found.headers);
    for entry in entries(headers.and_then(deaths_of).unwrap_or_default()) {
        let rejected = text_of(entry, b"reason") == Some(Reason::Rejected.name().as_bytes());
        if text_of(entry, b"queue") == Some(queue) {
            return !rejected;
        }
        if rejected {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn die(raw: &[u8], died_before: bool, queue: &str, reason: Reason, now: Now) -> Vec<u8> {
        let death =
            Death { queue: queue.as_bytes(), reason, exchange: b"x", routing_keys: &[b"k", b"cc"], now };
        let mut out = Vec::new();
        record(raw, died_before, &death, &mut out).expect("good properties");
        assert!(properties::check(&out).is_ok());
        out
    }

    /// The deaths as `queue reason count time`.
    fn shown(raw: &[u8]) -> Vec<String> {
        let headers = properties::walk(raw).expect("good").headers.expect("headers");
        entries(deaths_of(headers).expect("deaths"))
            .map(|entry| {
                let text = |name| String::from_utf8_lossy(text_of(entry, name).expect("a text")).into_owned();
                let number = |name| match table::find(entry, name).expect("there").value() {
                    Value::Int(number) => number,
                    Value::Timestamp(seconds) => seconds.into(),
                    other => panic!("{other:?}"),
                };
                format!("{} {} {} {}", text(b"queue"), text(b"reason"), number(b"count"), number(b"time"))
            })
            .collect()
    }

    fn header(raw: &[u8], name: &str) -> String {
        let headers = properties::walk(raw).expect("good").headers.expect("headers");
        String::from_utf8_lossy(text_of(headers, name.as_bytes()).expect("there")).into_owned()
    }

    #[test]
    fn deaths_are_counted_and_the_latest_comes_first() {
        let raw = die(&[0x11, 0, 2, 3, b'+', b'5', b'0'], false, "a", Reason::Rejected, 1_999);
        assert_eq!(raw[..2], [0x30, 0], "the expiration is gone");
        let raw = die(&raw, true, "b", Reason::Expired, 2_000);
        let raw = die(&raw, true, "a", Reason::Rejected, 9_000);
        assert_eq!(shown(&raw), ["a rejected 2 1", "b expired 1 2"]);
        assert_eq!(header(&raw, "x-first-death-queue"), "a");
        assert_eq!(header(&raw, "x-last-death-reason"), "rejected");
        let headers = properties::walk(&raw).expect("good").headers.expect("headers");
        let first = entries(deaths_of(headers).expect("deaths")).next().expect("one");
        let names: Vec<_> = table::fields(first).map(|field| field.expect("good").0).collect();
        let wanted: [&[u8]; 7] =
            [b"original-expiration", b"count", b"reason", b"queue", b"time", b"exchange", b"routing-keys"];
        assert_eq!(names, wanted);
        assert_eq!(text_of(first, b"original-expiration"), Some(&b"50"[..]));
    }

    #[test]
    fn a_publishers_deaths_are_not_believed() {
        let forged = die(&[0, 0], false, "a", Reason::Rejected, 1_000);
        let raw = die(&forged, false, "a", Reason::Rejected, 5_000);
        assert_eq!(shown(&raw), ["a rejected 1 5"]);
        let odd = b"\x20\0\0\0\0\x0a\x07x-deathV\x00";
        assert!(record(&odd[..], false, &death(), &mut Vec::new()).is_err(), "cut off");
        let odd = b"\x20\0\0\0\0\x0c\x07x-deathV\x01zV";
        assert_eq!(shown(&die(odd, true, "q", Reason::MaxLength, 0)), ["q maxlen 1 0"]);
    }

    fn death() -> Death<'static> {
        Death { queue: b"q", reason: Reason::Expired, exchange: b"", routing_keys: &[], now: 0 }
    }

    #[test]
    fn round_and_round_only_if_somebody_rejects_it() {
        let raw = die(&[0, 0], false, "a", Reason::Expired, 0);
        assert!(is_cycle(&raw, b"a") && !is_cycle(&raw, b"b"));
        let raw = die(&raw, true, "b", Reason::Rejected, 0);
        assert!(!is_cycle(&raw, b"a"), "rejected since");
        let raw = die(&raw, true, "c", Reason::MaxLength, 0);
        assert!(is_cycle(&raw, b"c") && !is_cycle(&raw, b"b") && !is_cycle(&raw, b"a"));
    }
}
