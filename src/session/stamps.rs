//! What RabbitMQ's interceptors of incoming messages add to them: when a message came, and through which node.

use std::borrow::Cow;

use crate::broker::Now;
use crate::wire::headers;
use crate::wire::properties::{self, TIMESTAMP};
use crate::wire::table;

const TIME: &[u8] = b"timestamp_in_ms";
const NODE: &[u8] = b"x-routed-by";

/// Which of them there are. Each says whether what a message has already is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// A header with milliseconds, and the property with seconds.
    pub time: Option<bool>,
    /// A header with the node's name.
    pub node: Option<bool>,
}

impl Stamps {
    pub fn any(self) -> bool {
        self.time.is_some() || self.node.is_some()
    }

    /// Adds them to properties, which are well formed.
    pub fn on<'a>(self, raw: Cow<'a, [u8]>, now: Now, node: &str) -> Cow<'a, [u8]> {
        if !self.any() {
            return raw;
        }
        let old = properties::find(&raw, properties::HEADERS).unwrap_or_default();
        let is_wanted = |stamp: Option<bool>, name: &[u8]| {
            stamp.is_some_and(|overwrite| overwrite || table::find(old, name).is_none())
        };
        let (mut time, mut name) = (Vec::new(), Vec::new());
        headers::put_long(&mut time, now.cast_signed());
        headers::put_text(&mut name, node.as_bytes());
        let mut added = Vec::new();
        if is_wanted(self.time, TIME) {
            added.push((TIME, &*time));
        }
        if is_wanted(self.node, NODE) {
            added.push((NODE, &*name));
        }
        let replaces = self.time == Some(true);
        let keeps = |name: &[u8]| !added.iter().any(|(other, _)| *other == name);
        let mut out = Vec::with_capacity(raw.len() + 80);
        let dropped = if replaces { TIMESTAMP } else { 0 };
        if headers::edit(&raw, dropped, keeps, &added, &mut out).is_err() {
            return raw;
        }
        if self.time.is_some() && properties::flags(&out) & TIMESTAMP == 0 {
            let stamped = properties::with_timestamp(&out, now / 1000);
            return stamped.map_or(raw, Cow::Owned);
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(stamps: Stamps, raw: &[u8]) -> (Option<u64>, Vec<(String, Vec<u8>)>) {
        let raw = stamps.on(Cow::Borrowed(raw), 1_796_000_000_123, "rabbit@x");
        assert!(properties::check(&raw).is_ok());
        let time = properties::find(&raw, TIMESTAMP).map(|octets| octets.try_into().expect("8 octets"));
        let headers = properties::find(&raw, properties::HEADERS).unwrap_or_default();
        let fields = table::raw_fields(headers).map(|field| field.expect("a field"));
        let fields = fields.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        (time.map(u64::from_be_bytes), fields.collect())
    }

    /// As RabbitMQ 4.3.6 does it.
    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let now = [&b"l"[..], &1_796_000_000_123_i64.to_be_bytes()].concat();
        let here = b"S\0\0\0\x08rabbit@x".to_vec();
        let theirs = b"I\0\0\0\x07".to_vec();
        let name = str::to_owned;
        // Headers, timestamp and a user's name.
        let fields = b"\x0ftimestamp_in_msI\0\0\0\x07\x0bx-routed-byI\0\0\0\x07";
        let full = [
            &[0x20, 0x50][..],
            &(fields.len() as u32).to_be_bytes(),
            fields,
            &5_u64.to_be_bytes(),
            b"\x05guest",
        ]
        .concat();
        let add = Stamps { time: Some(false), node: Some(false) };
        let replace = Stamps { time: Some(true), node: Some(true) };
        let new = vec![(name("timestamp_in_ms"), now.clone()), (name("x-routed-by"), here.clone())];
        let old = vec![(name("timestamp_in_ms"), theirs.clone()), (name("x-routed-by"), theirs.clone())];
        for (stamps, raw, wanted) in [
            (add, &b"\0\0"[..], (Some(1_796_000_000), new.clone())),
            (add, &full, (Some(5), old.clone())),
            (replace, &full, (Some(1_796_000_000), new.clone())),
            (replace, b"\0\x10\x05guest", (Some(1_796_000_000), new)),
            (Stamps { time: None, node: Some(true) }, b"\0\0", (None, vec![(name("x-routed-by"), here)])),
            (
                Stamps { time: Some(true), node: None },
                &full,
                (Some(1_796_000_000), vec![(name("timestamp_in_ms"), now), (name("x-routed-by"), theirs)]),
            ),
            (Stamps::default(), &full, (Some(5), old)),
        ] {
            assert_eq!(stamped(stamps, raw), wanted, "{stamps:?}");
        }
    }

    #[test]
    fn everything_else_stays_in_its_place() {
        let raw = b"\x90\x30\x02ct\x02\x04type\x05guest";
        let stamped = Stamps { time: Some(true), node: None }.on(Cow::Borrowed(raw), 1000, "n");
        for (flag, octets) in properties::each(raw) {
            assert_eq!(properties::find(&stamped, flag), Some(octets), "{flag:x}");
        }
    }
}
