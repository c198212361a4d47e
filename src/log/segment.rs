//! Segments: a file of records, and beside it a file that says which of them are settled.
//!
//! Both begin with a head of 40 octets: a magic number, the format's version, the salt that all checksums of the file
//! begin with, the log, the first position, the mark at the time the file was begun, and a checksum. A complete segment
//! ends with an index of its chunks, so that it need not be read to be known.

use super::chunk::Chunk;
use super::disk::{FileName, Kind};
use super::labels::Labels;
use super::record;
use super::{LogId, Position};

/// A segment takes chunks as long as it has fewer octets.
pub const FULL: u64 = 16 << 20;
/// The segment of an empty log is given up when it has more octets.
pub const EMPTY_MAX: u32 = 256 << 10;
/// A segment that was found without an index gets one if it has at least so many octets.
pub const INDEX_MIN: u32 = 1 << 20;
/// Octets of a file's head.
pub const HEAD: usize = 40;
/// Octets of one settlement.
pub const SETTLEMENT: usize = 12;
/// Octets of the trailer behind an index.
pub const TRAILER: usize = 16;
/// Octets of a chunk in an index.
const ENTRY: usize = 28;
/// Octets of a timestamp in the index of a lasting log.
const LATEST: usize = 8;
const VERSION: u16 = 1;

/// How far the index of a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// The segment grows.
    Growing,
    /// It is complete, but perhaps not durable: what an index says has to be there.
    Complete,
    /// It is complete and durable.
    Due,
    Written,
}

#[derive(Debug)]
pub struct Segment {
    pub first: Position,
    /// The position after its last record, once it is complete.
    pub end: Position,
    /// Octets of its file, once all that was gathered is written. There is no file if it is 0.
    pub size: u32,
    /// Whether its file was made by a commit that is durable.
    pub is_durable: bool,
    /// Octets of the file of its settlements.
    pub settled: u32,
    pub salt: u32,
    /// Octets that were appended while it was the last one.
    pub appended: u64,
    /// Chunks of which something is wanted.
    pub chunks: u32,
    pub index: Index,
    /// Its files stay even if nothing of it is wanted, since not all of it could be read.
    pub is_kept: bool,
}

impl Segment {
    pub fn new(log: LogId, first: Position, seed: u32) -> Self {
        let salt = crc32c::crc32c_append(seed, &[log.0.to_le_bytes(), first.to_le_bytes()].concat());
        Self {
            first,
            end: Position::MAX,
            size: 0,
            is_durable: false,
            settled: 0,
            salt,
            appended: 0,
            chunks: 0,
            index: Index::Growing,
            is_kept: false,
        }
    }

    pub fn file(&self, log: LogId) -> FileName {
        FileName { log, first: self.first, kind: Kind::Records }
    }

    pub fn settled_file(&self, log: LogId) -> FileName {
        FileName { log, first: self.first, kind: Kind::Settled }
    }
}

/// The head of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub salt: u32,
    pub mark: Position,
}

fn magic(kind: Kind) -> [u8; 4] {
    if kind == Kind::Settled { *b"LVRS" } else { *b"LVRL" }
}

/// Writes a file's head.
pub fn put_head(file: FileName, head: Head) -> [u8; HEAD] {
    let mut octets = [0; HEAD];
    octets[..4].copy_from_slice(&magic(file.kind));
    octets[4..6].copy_from_slice(&VERSION.to_le_bytes());
    octets[8..12].copy_from_slice(&head.salt.to_le_bytes());
    octets[12..20].copy_from_slice(&file.log.0.to_le_bytes());
    octets[20..28].copy_from_slice(&file.first.to_le_bytes());
    octets[28..36].copy_from_slice(&head.mark.to_le_bytes());
    let crc = crc32c::crc32c(&octets[..36]);
    octets[36..].copy_from_slice(&crc.to_le_bytes());
    octets
}

/// Reads a file's head; `None` if it is not the one of this file.
pub fn read_head(file: FileName, octets: &[u8]) -> Option<Head> {
    let found: &[u8; HEAD] = octets.get(..HEAD)?.try_into().ok()?;
    let head = Head {
        salt: u32::from_le_bytes([found[8], found[9], found[10], found[11]]),
        mark: u64::from_le_bytes(found[28..36].try_into().ok()?),
    };
    (put_head(file, head) == *found).then_some(head)
}

/// Writes a settlement: `count` records from `first` on, counted from the first of the segment.
pub fn put_settlement(first: u32, count: u32, salt: u32) -> [u8; SETTLEMENT] {
    let mut octets = [0; SETTLEMENT];
    octets[..4].copy_from_slice(&first.to_le_bytes());
    octets[4..8].copy_from_slice(&count.to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &octets[..8]);
    octets[8..].copy_from_slice(&crc.to_le_bytes());
    octets
}

/// The settlements at the front of some octets, as far as they are whole.
pub fn read_settlements(octets: &[u8], salt: u32) -> Vec<(u32, u32)> {
    octets
        .chunks_exact(SETTLEMENT)
        .map(|entry| {
            let number =
                |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            (number(0), number(4), entry)
        })
        .take_while(|(first, count, entry)| put_settlement(*first, *count, salt) == *entry)
        .map(|(first, count, _)| (first, count))
        .collect()
}

/// A chunk as an index has it; the last one is empty, and where the segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First and last position and one, counted from the first of the segment.
    pub first: u32,
    pub end: u32,
    /// Records that are in the file.
    pub records: u32,
    pub offset: u32,
    pub size: u32,
    /// Octets of their bodies.
    pub bytes: u64,
    /// The timestamp of the last record, and the labels of all: of lasting logs.
    pub latest: u64,
    pub labels: Option<Box<Labels>>,
}

/// Writes an index with its trailer, to be appended to a file of `offset` octets. `end` is the position after the last
/// one that the segment ever had: its number must not be given again, though its chunk may be gone.
pub fn put_index<'a>(
    chunks: impl Iterator<Item = &'a Chunk>,
    end: u32,
    mark: Position,
    offset: u32,
    salt: u32,
    lasting: bool,
) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        let (first, end) = ((chunk.first - chunk.base) as u32, (chunk.end - chunk.base) as u32);
        for number in [first, end, chunk.saved, chunk.offset, chunk.size] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&chunk.bytes.to_le_bytes());
        if lasting {
            body.extend_from_slice(&chunk.latest.to_le_bytes());
            Labels::put(chunk.labels.as_deref(), &mut body);
        }
    }
    let mut last = [0; ENTRY];
    last[..4].copy_from_slice(&end.to_le_bytes());
    last[4..8].copy_from_slice(&end.to_le_bytes());
    body.extend_from_slice(&last);
    if lasting {
        body.extend_from_slice(&[0; LATEST + 1]);
    }
    let kind = if lasting { record::Kind::LastingIndex } else { record::Kind::Index };
    let mut out = Vec::new();
    record::put_other(&mut out, kind, mark, &body, salt);
    let mut trailer = [0; TRAILER];
    trailer[..4].copy_from_slice(b"LVRI");
    trailer[4..8].copy_from_slice(&offset.to_le_bytes());
    trailer[8..12].copy_from_slice(&(out.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &trailer[..12]);
    trailer[12..].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&trailer);
    out
}

/// Where the index is whose trailer this is: offset and octets.
pub fn read_trailer(octets: &[u8], salt: u32) -> Option<(u32, u32)> {
    let trailer = octets.get(..TRAILER)?;
    let number =
        |at: usize| u32::from_le_bytes([trailer[at], trailer[at + 1], trailer[at + 2], trailer[at + 3]]);
    let whole = trailer.starts_with(b"LVRI") && crc32c::crc32c_append(salt, &trailer[..12]) == number(12);
    whole.then(|| (number(4), number(8)))
}

/// Reads an index: the mark and the chunks.
pub fn read_index(octets: &[u8], salt: u32) -> Option<(Position, Vec<Entry>)> {
    let head = record::check(octets, salt)?;
    let lasting = match head.kind {
        record::Kind::Index => false,
        record::Kind::LastingIndex => true,
        _ => return None,
    };
    let mut rest = &octets[record::HEAD..head.size];
    let mut entries = Vec::new();
    while let Some((entry, after)) = rest.split_at_checked(ENTRY) {
        rest = after;
        let number = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let bytes = u64::from(number(20)) | u64::from(number(24)) << 32;
        let (mut latest, mut labels) = (0, None);
        if lasting {
            let (timestamp, after) = rest.split_first_chunk::<LATEST>()?;
            rest = after;
            (latest, labels) = (u64::from_le_bytes(*timestamp), Labels::read(&mut rest)?);
        }
        let (first, end, records) = (number(0), number(4), number(8));
        entries.push(Entry {
            first,
            end,
            records,
            offset: number(12),
            size: number(16),
            bytes,
            latest,
            labels,
        });
    }
    Some((head.timestamp, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_belongs_to_its_file() {
        let file = FileName { log: LogId(7), first: 99, kind: Kind::Records };
        let head = Head { salt: 5, mark: 123 };
        let octets = put_head(file, head);
        assert_eq!(read_head(file, &octets), Some(head));
        for other in [
            FileName { log: LogId(8), ..file },
            FileName { first: 98, ..file },
            FileName { kind: Kind::Settled, ..file },
        ] {
            assert_eq!(read_head(other, &octets), None);
        }
        for at in 0..HEAD {
            let mut damaged = octets;
            damaged[at] ^= 4;
            assert_eq!(read_head(file, &damaged), None, "octet {at}");
        }
    }

    #[test]
    fn settlements_end_where_they_are_torn() {
        let mut octets: Vec<u8> = [(1, 2), (5, 1), (9, 100)]
            .into_iter()
            .flat_map(|(first, count)| put_settlement(first, count, 3))
            .collect();
        assert_eq!(read_settlements(&octets, 3), [(1, 2), (5, 1), (9, 100)]);
        assert_eq!(read_settlements(&octets[..35], 3), [(1, 2), (5, 1)]);
        assert_eq!(read_settlements(&[0; 24], 3), []);
        octets[13] ^= 1;
        assert_eq!(read_settlements(&octets, 3), [(1, 2)]);
    }

    #[test]
    fn an_index_reads_back() {
        let mut chunk = Chunk::on_disk(110, 120, 100);
        (chunk.saved, chunk.offset, chunk.size, chunk.bytes) = (9, 40, 777, 5 << 32);
        let (mut labels, none) = (Labels::new(16), None);
        labels.add(Some(7));
        (chunk.latest, chunk.labels) = (99, Some(Box::new(labels)));
        for lasting in [false, true] {
            let octets = put_index([&chunk].into_iter(), 25, 55, 1000, 8, lasting);
            let (index, trailer) = octets.split_at(octets.len() - TRAILER);
            assert_eq!(read_trailer(trailer, 8), Some((1000, index.len() as u32)));
            assert_eq!(read_trailer(trailer, 9), None);
            let (latest, labels) = if lasting { (99, chunk.labels.clone()) } else { (0, None) };
            let entry = Entry {
                first: 10,
                end: 20,
                records: 9,
                offset: 40,
                size: 777,
                bytes: 5 << 32,
                latest,
                labels,
            };
            let last = Entry {
                first: 25,
                end: 25,
                records: 0,
                offset: 0,
                size: 0,
                bytes: 0,
                latest: 0,
                labels: none.clone(),
            };
            assert_eq!(read_index(index, 8), Some((55, vec![entry, last])));
        }
    }
}
