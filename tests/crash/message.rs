//! Messages that say who they are. All of a message follows from its [`Id`], so that one that was torn, mixed up or
//! made out of nothing is told from one that somebody has published.

use std::sync::LazyLock;

use crate::common::method::number;
use crate::common::table::{binary, flag, int, list, long, map, table, text, void};
use crate::random::Random;
use crate::topology::{QUEUES, QueueNo, ROUTES};

/// A producer's name among all, for as long as the data lives.
pub type Producer = u16;

/// Which message of whom, and how it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    pub producer: Producer,
    pub seq: u64,
    /// A number in [`ROUTES`].
    pub route: u8,
    /// Octets of the body.
    pub size: u32,
    /// Whether it is persistent.
    pub durable: bool,
}

/// A message as it came.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub tag: u64,
    pub redelivered: bool,
    pub exchange: String,
    pub key: String,
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

const CONTENT_TYPE: &str = "application/x-crash";
/// Where the identity lies in a property list: behind the flags, the content type, the table's size, the name and the
/// type and size of its first field. All of these have the same size in each message.
const ID_AT: usize = 2 + (1 + CONTENT_TYPE.len()) + 4 + 4 + 1 + 4;
const ID_SIZE: usize = 16;
/// content-type, headers, correlation-id, message-id, timestamp, type, app-id.
const FLAGS: u16 = 0x8000 | 0x2000 | 0x0400 | 0x0080 | 0x0040 | 0x0020 | 0x0008;
const DELIVERY_MODE: u16 = 0x1000;
const PRIORITY: u16 = 0x0800;

/// The octets that all bodies are cut out of.
static TAPE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::new(7);
    (0..(1 << 17) + (1 << 13)).flat_map(|_| random.next().to_be_bytes()).collect()
});
/// The largest body.
pub const SIZE_MAX: u32 = 1 << 20;

impl Id {
    fn octets(&self) -> [u8; ID_SIZE] {
        let mut out = [0; ID_SIZE];
        out[..2].copy_from_slice(&self.producer.to_be_bytes());
        out[2..10].copy_from_slice(&self.seq.to_be_bytes());
        out[10] = self.route;
        out[11..15].copy_from_slice(&self.size.to_be_bytes());
        out[15] = u8::from(self.durable);
        out
    }

    fn from_octets(octets: &[u8]) -> Self {
        Self {
            producer: number(&octets[..2]) as Producer,
            seq: number(&octets[2..10]),
            route: octets[10],
            size: number(&octets[11..15]) as u32,
            durable: octets[15] == 1,
        }
    }

    /// A number that is another for each message.
    fn mixed(&self) -> u64 {
        Random::new(self.seq << 16 ^ u64::from(self.producer) ^ u64::from(self.size) << 48).next()
    }

    /// Many name no priority, the others one of a few.
    pub fn priority(&self) -> Option<u8> {
        [None, None, None, Some(0), Some(3), Some(4), Some(9)][self.seq as usize % 7]
    }

    /// Everything a property list may have to keep, different for each message.
    pub fn properties(&self) -> Vec<u8> {
        // Some transient messages say so, others say nothing.
        let mode: Option<u8> = if self.durable { Some(2) } else { self.seq.is_multiple_of(2).then_some(1) };
        let priority = self.priority();
        let flags = FLAGS
            | if mode.is_some() { DELIVERY_MODE } else { 0 }
            | if priority.is_some() { PRIORITY } else { 0 };
        let mut out = flags.to_be_bytes().to_vec();
        put_short(&mut out, CONTENT_TYPE);
        out.extend(self.headers());
        out.extend(mode);
        out.extend(priority);
        put_short(&mut out, &format!("correlation {}", self.seq));
        put_short(&mut out, &format!("{}-{}", self.producer, self.seq));
        out.extend_from_slice(&self.mixed().to_be_bytes());
        put_short(&mut out, "x".repeat((self.seq % 40) as usize).as_str());
        put_short(&mut out, "größe");
        out
    }

    fn headers(&self) -> Vec<u8> {
        let deep = map(&[
            ("empty", text("")),
            ("list", list(&[int(self.seq as i32), flag(self.seq.is_multiple_of(3)), void()])),
        ]);
        // RabbitMQ sorts them by name.
        table(&[
            ("-id", binary(&self.octets())),
            ("deep", deep),
            ("number", long(self.mixed() as i64)),
            ("text", text(&"ä".repeat((self.seq % 70) as usize))),
        ])
    }

    /// The body: producer, sequence number, size and a check of these, as far as there is room; then a piece of the tape.
    pub fn body(&self) -> Vec<u8> {
        let size = self.size as usize;
        let check = (self.mixed() >> 16) as u16;
        let head = [
            &self.producer.to_be_bytes()[..],
            &self.seq.to_be_bytes(),
            &self.size.to_be_bytes(),
            &check.to_be_bytes(),
        ]
        .concat();
        let from = (self.mixed() >> 40) as usize % (1 << 16);
        let mut body = Vec::with_capacity(size.max(head.len()));
        body.extend_from_slice(&head);
        body.extend_from_slice(&TAPE[from..from + size.saturating_sub(head.len())]);
        body.truncate(size);
        body
    }
}

fn put_short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap());
    out.extend_from_slice(text.as_bytes());
}

impl Message {
    /// Who this is, if it is somebody as a whole and may come from this queue as it is; else what is wrong with it.
    pub fn identify(&self, queue: QueueNo) -> Result<Id, String> {
        let octets = self.properties.get(ID_AT..ID_AT + ID_SIZE).ok_or_else(|| self.nobody())?;
        let id = Id::from_octets(octets);
        let route = ROUTES.get(usize::from(id.route)).ok_or_else(|| self.nobody())?;
        if id.size > SIZE_MAX {
            return Err(self.nobody());
        }
        let counted = if QUEUES[queue].quorum { without_counts(&self.properties) } else { None };
        let properties = counted.as_ref().unwrap_or(&self.properties);
        same("the properties", properties, &id.properties()).map_err(|e| format!("{id:?}: {e}"))?;
        same("the body", &self.body, &id.body()).map_err(|e| format!("{id:?}: {e}"))?;
        if (&self.exchange[..], &self.key[..]) != (route.exchange, route.key) {
            return Err(format!("{id:?}: came as {:?} by {:?}", self.key, self.exchange));
        }
        Ok(id)
    }

    fn nobody(&self) -> String {
        let start = |octets: &[u8]| octets[..octets.len().min(64)].escape_ascii().to_string();
        format!(
            "a message of nobody by {:?} with {:?}: {} octets of properties {}, {} octets of body {}{}",
            self.exchange,
            self.key,
            self.properties.len(),
            start(&self.properties),
            self.body.len(),
            start(&self.body),
            if self.body.iter().all(|octet| *octet == 0) { " (all zeros)" } else { "" },
        )
    }
}

/// A property list without what a quorum queue adds at the end of the headers of a message that it delivers again.
fn without_counts(properties: &[u8]) -> Option<Vec<u8>> {
    const SIZE_AT: usize = 2 + 1 + CONTENT_TYPE.len();
    let mut found = properties.to_vec();
    for name in ["x-acquired-count", "x-delivery-count"] {
        let field = [&[name.len() as u8], name.as_bytes(), b"l"].concat();
        let Some(at) = found.windows(field.len()).position(|octets| octets == field) else { continue };
        let end = at + field.len() + 8;
        if end > found.len() {
            return None;
        }
        found.drain(at..end);
        let size = number(&found[SIZE_AT..SIZE_AT + 4]) as u32 - (end - at) as u32;
        found[SIZE_AT..SIZE_AT + 4].copy_from_slice(&size.to_be_bytes());
    }
    Some(found)
}

fn same(what: &str, got: &[u8], wanted: &[u8]) -> Result<(), String> {
    if got == wanted {
        return Ok(());
    }
    let at = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let rest = &got[at.min(got.len())..];
    let zeros =
        if !rest.is_empty() && rest.iter().all(|octet| *octet == 0) { ", zeros from there" } else { "" };
    Err(format!("{what}: {} octets, not {}, and other ones from {at} on{zeros}", got.len(), wanted.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: Id) -> Message {
        let route = &ROUTES[usize::from(id.route)];
        Message {
            tag: 1,
            redelivered: false,
            exchange: route.exchange.to_owned(),
            key: route.key.to_owned(),
            properties: id.properties(),
            body: id.body(),
        }
    }

    const ID: Id = Id { producer: 3, seq: 1 << 40, route: 2, size: 1024, durable: true };

    #[test]
    fn whole_ones_are_recognised() {
        for size in [0, 1, 15, 16, 17, 1024, SIZE_MAX] {
            for durable in [true, false] {
                for seq in [0, 1, 69] {
                    let id = Id { size, durable, seq, ..ID };
                    assert_eq!(message(id).identify(0), Ok(id));
                    assert_eq!(id.body().len(), size as usize);
                }
            }
        }
    }

    fn wrong(change: impl FnOnce(&mut Message)) -> String {
        let mut message = message(ID);
        change(&mut message);
        message.identify(0).expect_err("something is wrong")
    }

    #[test]
    fn zeros_are_nobody() {
        assert!(wrong(|m| m.properties.fill(0)).contains("properties"));
        assert!(wrong(|m| *m = Message { body: vec![0; 100], ..Message::default() }).contains("(all zeros)"));
        assert!(wrong(|m| m.body[500..].fill(0)).contains("from 500 on, zeros"));
    }

    #[test]
    fn torn_ones_and_mixed_ones_are_nobody() {
        assert!(wrong(|m| m.body.truncate(1000)).contains("1000 octets, not 1024"));
        assert!(wrong(|m| m.body.push(1)).contains("1025 octets"));
        assert!(wrong(|m| m.body[700] ^= 1).contains("from 700 on"));
        assert!(wrong(|m| m.body = Id { seq: 5, ..ID }.body()).contains("the body"));
        assert!(wrong(|m| *m.properties.last_mut().unwrap() ^= 1).contains("the properties"));
        assert!(wrong(|m| m.key.push('x')).contains("came as"));
        assert!(wrong(|m| m.exchange.clear()).contains("came as"));
    }

    #[test]
    fn a_quorum_queue_may_count() {
        let mut counted = message(ID);
        let fields = [("x-acquired-count", long(2)), ("x-delivery-count", long(1))];
        let added = table(&fields)[4..].to_vec();
        let size_at = 2 + 1 + CONTENT_TYPE.len();
        let size = number(&counted.properties[size_at..size_at + 4]) as usize;
        let end = size_at + 4 + size;
        counted.properties.splice(end..end, added.iter().copied());
        let size = (size + added.len()) as u32;
        counted.properties[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
        assert_eq!(counted.identify(1), Ok(ID));
        assert!(counted.identify(0).is_err(), "not so a classic one");
    }

    #[test]
    fn no_two_have_the_same_body() {
        let mut bodies: Vec<_> = (0..500)
            .map(|n| Id { producer: n % 5, seq: u64::from(n / 5), size: 64, ..ID }.body()[14..].to_vec())
            .collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 500);
    }
}
