//! One record: a fixed head, then exchange, routing key, raw properties and body.

use bytes::Bytes;

use crate::wire::content::{Body, Message};

/// What a record is made of besides its timestamp: what a delivery needs.
pub type Parts<'a> = Message<'a>;

/// A record as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Milliseconds since 1970.
    pub timestamp: u64,
    pub parts: Parts<'a>,
}

/// timestamp 8, exchange size 1, routing key size 1, flags 1, properties size 4, body size or number 4.
const HEAD: usize = 19;
/// The body is not here but in the segment's list of shared bodies, under the number in its place.
const SHARED: u8 = 1;

/// The octets a record takes in a segment.
pub fn size(parts: &Parts<'_>) -> usize {
    let body = match parts.body {
        Body::Inline(octets) => octets.len(),
        Body::Shared(_) => 0,
    };
    HEAD + parts.exchange.len() + parts.routing_key.len() + parts.properties.len() + body
}

/// Appends a record to a segment's octets; a shared body goes to `shared`.
pub fn put(data: &mut Vec<u8>, shared: &mut Vec<Bytes>, timestamp: u64, parts: &Parts<'_>) {
    let (flags, number, inline): (u8, usize, &[u8]) = match parts.body {
        Body::Inline(octets) => (0, octets.len(), octets),
        Body::Shared(bytes) => {
            shared.push(bytes.clone());
            (SHARED, shared.len() - 1, &[])
        }
    };
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&timestamp.to_le_bytes());
    head[8] = parts.exchange.len() as u8;
    head[9] = parts.routing_key.len() as u8;
    head[10] = flags;
    head[11..15].copy_from_slice(&(parts.properties.len() as u32).to_le_bytes());
    head[15..].copy_from_slice(&(number as u32).to_le_bytes());
    data.reserve(size(parts));
    data.extend_from_slice(&head);
    data.extend_from_slice(parts.exchange);
    data.extend_from_slice(parts.routing_key);
    data.extend_from_slice(parts.properties);
    data.extend_from_slice(inline);
}

/// The number of the shared body of the record that begins at the front of `data`, if it has one.
pub fn shared(data: &[u8]) -> Option<usize> {
    let head = data.get(..HEAD)?;
    (head[10] & SHARED != 0).then(|| u32::from_le_bytes([head[15], head[16], head[17], head[18]]) as usize)
}

/// The record that begins at the front of `data`.
pub fn get<'a>(data: &'a [u8], shared: &'a [Bytes]) -> Option<Record<'a>> {
    let (head, rest) = data.split_at_checked(HEAD)?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let timestamp = u64::from_le_bytes(head[..8].try_into().ok()?);
    let (exchange, rest) = rest.split_at_checked(head[8] as usize)?;
    let (routing_key, rest) = rest.split_at_checked(head[9] as usize)?;
    let (properties, rest) = rest.split_at_checked(number(11))?;
    let body = if head[10] & SHARED != 0 {
        Body::Shared(shared.get(number(15))?)
    } else {
        Body::Inline(rest.get(..number(15))?)
    };
    Some(Record { timestamp, parts: Parts { exchange, routing_key, properties, body } })
}
