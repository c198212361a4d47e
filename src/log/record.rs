//! One record: a fixed head, then exchange, routing key, raw properties and body.
//!
//! It lies in memory as it lies on disk, but for three things that memory has of its own: a large body may be
//! elsewhere ([`SHARED`]), it may be known to be settled ([`SETTLED`]), and the checksum is filled in on the way out.
//!
//! | octets | what |
//! |---|---|
//! | 0..4 | CRC32C of what follows, begun with the segment's salt |
//! | 4..8 | octets of the whole record |
//! | 8..12 | position, counted from the first one of the segment |
//! | 12..20 | timestamp in milliseconds since 1970 |
//! | 20..24 | octets of the properties |
//! | 24, 25 | octets of exchange and routing key |
//! | 26 | flags |
//! | 27 | kind |
//!
//! All numbers are little-endian.

use bytes::Bytes;

use crate::wire::content::{Body, Message};

/// What a record is made of besides its timestamp: what a delivery needs.
pub type Parts<'a> = Message<'a>;

/// A record as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// Those of [`MARKS`] that it was appended with.
    pub marks: u8,
    pub parts: Parts<'a>,
}

/// Octets before the exchange.
pub const HEAD: usize = 28;

/// Flag: to survive a restart.
pub const PERSISTENT: u8 = 1;
/// Flag, in memory only: in the place of the body is its number among the shared bodies.
pub const SHARED: u8 = 2;
/// Flag, in memory only: nobody wants it any more.
pub const SETTLED: u8 = 4;

/// The flags that are whoever appends's own. They come back with the record.
pub const MARKS: u8 = 0xf8;

/// Octets of a shared body's number.
const NUMBER: usize = 4;

/// What a piece of a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Message,
    /// The timestamp's place holds the position up to which messages may have been delivered.
    Mark,
    /// What chunks there are in a segment that is complete.
    Index,
    /// The same of a lasting log, with more about each.
    LastingIndex,
}

/// The numbers at the front of a record.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub crc: u32,
    /// Octets of the whole record.
    pub size: usize,
    pub relative: u32,
    pub timestamp: u64,
    properties: usize,
    exchange: usize,
    routing_key: usize,
    pub flags: u8,
    pub kind: Kind,
}

impl Head {
    /// The head at the front of some octets, if it can be one. The record itself may be cut off.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let head = octets.get(..HEAD)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let kind = match head[27] {
            0 => Kind::Message,
            1 => Kind::Mark,
            2 => Kind::Index,
            3 => Kind::LastingIndex,
            _ => return None,
        };
        let found = Self {
            crc: number(0),
            size: number(4) as usize,
            relative: number(8),
            timestamp: u64::from_le_bytes([
                head[12], head[13], head[14], head[15], head[16], head[17], head[18], head[19],
            ]),
            properties: number(20) as usize,
            exchange: head[24].into(),
            routing_key: head[25].into(),
            flags: head[26],
            kind,
        };
        (found.size >= found.before_body()).then_some(found)
    }

    /// Octets before the body.
    pub fn before_body(&self) -> usize {
        HEAD + self.exchange + self.routing_key + self.properties
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&self.crc.to_le_bytes());
        head[4..8].copy_from_slice(&(self.size as u32).to_le_bytes());
        head[8..12].copy_from_slice(&self.relative.to_le_bytes());
        head[12..20].copy_from_slice(&self.timestamp.to_le_bytes());
        head[20..24].copy_from_slice(&(self.properties as u32).to_le_bytes());
        head[24] = self.exchange as u8;
        head[25] = self.routing_key as u8;
        head[26] = self.flags;
        head[27] = self.kind as u8;
        out.extend_from_slice(&head);
    }
}

/// The octets a record takes in a chunk's buffer.
pub fn size(parts: &Parts<'_>) -> usize {
    let body = match parts.body {
        Body::Inline(octets) => octets.len(),
        Body::Shared(_) => NUMBER,
    };
    weight(parts) - parts.body.size() + body
}

/// The octets a record takes in memory, its body included wherever it is.
pub fn weight(parts: &Parts<'_>) -> usize {
    HEAD + parts.exchange.len() + parts.routing_key.len() + parts.properties.len() + parts.body.size()
}

/// Appends a record to a chunk's octets; a shared body goes to `shared`. `flags` are [`PERSISTENT`] and [`MARKS`].
pub fn put(
    data: &mut Vec<u8>,
    shared: &mut Vec<Bytes>,
    relative: u32,
    timestamp: u64,
    mut flags: u8,
    parts: &Parts<'_>,
) {
    let number;
    let body: &[u8] = match parts.body {
        Body::Inline(octets) => octets,
        Body::Shared(bytes) => {
            flags |= SHARED;
            number = (shared.len() as u32).to_le_bytes();
            shared.push(bytes.clone());
            &number
        }
    };
    let mut head = Head {
        crc: 0,
        size: 0,
        relative,
        timestamp,
        properties: parts.properties.len(),
        exchange: parts.exchange.len(),
        routing_key: parts.routing_key.len(),
        flags,
        kind: Kind::Message,
    };
    head.size = head.before_body() + body.len();
    data.reserve(head.size);
    head.write(data);
    data.extend_from_slice(parts.exchange);
    data.extend_from_slice(parts.routing_key);
    data.extend_from_slice(parts.properties);
    data.extend_from_slice(body);
}

/// The number of the shared body of the record at the front of `data`, if it has one.
pub fn shared(data: &[u8]) -> Option<usize> {
    let head = Head::read(data)?;
    if head.flags & SHARED == 0 {
        return None;
    }
    let number = data.get(head.before_body()..head.before_body() + NUMBER)?;
    Some(u32::from_le_bytes(number.try_into().ok()?) as usize)
}

/// The record at the front of `data`.
#[inline]
pub fn get<'a>(data: &'a [u8], shared: &'a [Bytes]) -> Option<Record<'a>> {
    let head = Head::read(data)?;
    let octets = data.get(HEAD..head.size)?;
    let (exchange, rest) = octets.split_at_checked(head.exchange)?;
    let (routing_key, rest) = rest.split_at_checked(head.routing_key)?;
    let (properties, rest) = rest.split_at_checked(head.properties)?;
    let body = if head.flags & SHARED == 0 {
        Body::Inline(rest)
    } else {
        Body::Shared(shared.get(u32::from_le_bytes(rest.try_into().ok()?) as usize)?)
    };
    let parts = Parts { exchange, routing_key, properties, body };
    Some(Record { timestamp: head.timestamp, marks: head.flags & MARKS, parts })
}

/// Appends what comes before the body of a record with a shared body, as it lies on disk but for the checksum
/// ([`seal_front`]).
pub fn put_front(out: &mut Vec<u8>, data: &[u8], body_size: usize) {
    let Some(mut head) = Head::read(data) else { return };
    let front = head.before_body();
    head.size = front + body_size;
    head.flags &= PERSISTENT | MARKS;
    head.write(out);
    out.extend_from_slice(&data[HEAD..front]);
}

/// Fills in the checksum of a record whose body is elsewhere.
pub fn seal_front(front: &mut [u8], body: &[u8], salt: u32) {
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(salt, &front[4..]), body);
    front[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a record of another kind, checksum included. `number` goes into the timestamp's place.
pub fn put_other(out: &mut Vec<u8>, kind: Kind, number: u64, body: &[u8], salt: u32) {
    let from = out.len();
    let head = Head {
        crc: 0,
        size: HEAD + body.len(),
        relative: 0,
        timestamp: number,
        properties: 0,
        exchange: 0,
        routing_key: 0,
        flags: 0,
        kind,
    };
    head.write(out);
    out.extend_from_slice(body);
    seal(&mut out[from..], salt);
}

/// Fills in the checksums of records that lie one after the other.
pub fn seal(mut records: &mut [u8], salt: u32) {
    while let Some(head) = Head::read(records) {
        if head.size > records.len() {
            return;
        }
        let (record, rest) = records.split_at_mut(head.size);
        let crc = crc32c::crc32c_append(salt, &record[4..]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        records = rest;
    }
}

/// The head of the record at the front of `octets` if that is there whole and as it was written.
pub fn check(octets: &[u8], salt: u32) -> Option<Head> {
    let head = Head::read(octets)?;
    let record = octets.get(..head.size)?;
    (crc32c::crc32c_append(salt, &record[4..]) == head.crc).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_whole_is_no_record() {
        let parts =
            Parts { exchange: b"x", routing_key: b"key", properties: &[0, 0], body: Body::Inline(b"body") };
        let mut data = Vec::new();
        put(&mut data, &mut Vec::new(), 7, 99, PERSISTENT | 0x10, &parts);
        seal(&mut data, 5);
        let head = check(&data, 5).expect("whole");
        assert_eq!(
            (head.relative, head.timestamp, head.flags, head.size),
            (7, 99, PERSISTENT | 0x10, data.len())
        );
        assert!(check(&data, 6).is_none(), "another segment's");
        for at in 0..data.len() {
            assert!(check(&data[..at], 5).is_none(), "cut at {at}");
            let mut damaged = data.clone();
            damaged[at] ^= 1;
            assert!(check(&damaged, 5).is_none(), "flipped at {at}");
        }
        assert!(check(&[0; 4096], 5).is_none() && check(&[0; 4096], 0).is_none(), "zeros");
    }

    #[test]
    fn a_shared_body_lies_on_disk_like_any_other() {
        let body = Bytes::from(vec![3; 1000]);
        let parts = |body| Parts { exchange: b"x", routing_key: b"key", properties: &[0, 0], body };
        let (mut inline, mut data, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        put(&mut inline, &mut bodies, 1, 2, PERSISTENT | 0x80, &parts(Body::Inline(&body)));
        seal(&mut inline, 9);
        put(&mut data, &mut bodies, 1, 2, PERSISTENT | 0x80, &parts(Body::Shared(&body)));
        assert_eq!(shared(&data), Some(0));
        let mut out = Vec::new();
        put_front(&mut out, &data, body.len());
        seal_front(&mut out, &body, 9);
        out.extend_from_slice(&body);
        assert_eq!(out, inline);
        let found = get(&data, &bodies).expect("there");
        assert_eq!((found.marks, found.parts.body.octets()), (0x80, &body[..]));
    }
}
