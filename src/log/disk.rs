//! Where logs are kept: a flat set of files behind one small trait, so that tests can have a disk that fails.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::Position;

/// A log's number on this node. It is never given twice, so that what is left of a deleted queue is never taken for
/// another's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Records of one segment.
    Records,
    /// Which of them are settled.
    Settled,
    /// What had no room in memory. Of no use to another run of the node.
    Spill,
}

/// The name of a file. The files of a segment are named after its first position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    pub log: LogId,
    pub first: Position,
    pub kind: Kind,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.kind {
            Kind::Records => "log",
            Kind::Settled => "settled",
            Kind::Spill => "spill",
        };
        write!(f, "{:x}-{:016x}.{end}", self.log.0, self.first)
    }
}

impl FromStr for FileName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, end) = text.split_once('.').ok_or(())?;
        let (log, first) = name.split_once('-').ok_or(())?;
        let kind = match end {
            "log" => Kind::Records,
            "settled" => Kind::Settled,
            "spill" => Kind::Spill,
            _ => return Err(()),
        };
        let number = |text| u64::from_str_radix(text, 16).map_err(drop);
        Ok(Self { log: LogId(number(log)?), first: number(first)?, kind })
    }
}

/// A flat folder of files. Everything may block; nothing here is called under a vhost's lock.
pub trait Disk: Send + Sync {
    /// All files there are, in no order. Names that are not a [`FileName`] are passed over.
    fn list(&self) -> io::Result<Vec<FileName>>;

    /// Octets in a file.
    fn size(&self, file: FileName) -> io::Result<u64>;

    /// Reads from an offset until the buffer is full or the file ends, and says how many octets that were.
    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all octets at an offset. The file is made if it is not there. After an error any part of it may have
    /// been written; the same write may be tried again.
    fn write(&self, file: FileName, offset: u64, octets: &[u8]) -> io::Result<()>;

    /// Cuts a file.
    fn truncate(&self, file: FileName, size: u64) -> io::Result<()>;

    /// Removes a file; one that is not there is as good as removed.
    fn remove(&self, file: FileName) -> io::Result<()>;

    /// Makes what was written to these files durable, and with `names` also that files were made and removed.
    /// After an error nothing in any file may be taken for durable that was not before, whatever a later call says.
    /// A file that is not there is an error.
    fn sync(&self, files: &[FileName], names: bool) -> io::Result<()>;

    /// Octets that are free.
    fn free(&self) -> io::Result<u64>;

    /// Closes the files that have not been used since the last call, if the disk holds any open.
    fn close_idle(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in [Kind::Records, Kind::Settled, Kind::Spill] {
            let file = FileName { log: LogId(u64::MAX), first: 7, kind };
            assert_eq!(file.to_string().parse(), Ok(file));
        }
        for other in ["", "lock", "1-2.tmp", "1.log", "x-0.log", "1-0.log.log"] {
            assert!(other.parse::<FileName>().is_err(), "{other}");
        }
    }
}
