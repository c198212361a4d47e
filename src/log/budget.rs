//! How much memory all logs of a node take together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::chunk::{self, Data};
use super::segment;

/// How large things get before they are full, in octets. Tests have them small, so that little fills them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// A chunk takes records as long as it holds at most so many, bodies elsewhere included.
    pub chunk: usize,
    /// A segment takes chunks as long as it has fewer.
    pub segment: u64,
    /// The segment of an empty log is given up when it has more.
    pub empty_max: u32,
    /// A segment that was found without an index gets one if it has at least so many.
    pub index_min: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            chunk: chunk::FULL,
            segment: segment::FULL,
            empty_max: segment::EMPTY_MAX,
            index_min: segment::INDEX_MIN,
        }
    }
}

/// Octets that may wait to be written, or be beyond the limit, before publishers have to wait.
const SLACK: usize = 8 << 20;
/// So many buffers of a size are kept for the next chunk.
const SPARE_MAX: usize = 16;

/// Counts the memory of all logs of a node, and keeps a few buffers that go round.
#[derive(Debug)]
pub struct Budget {
    /// A number that nobody outside knows. Checksums begin with what is made of it, so that a message cannot hold
    /// what would pass for a record.
    pub(super) seed: u32,
    pub(super) sizes: Sizes,
    /// Octets that chunks may take in memory before some have to leave.
    limit: usize,
    /// Above this many some have to leave: the limit, or more where it could not be reached.
    over_at: AtomicUsize,
    /// Whether there was too little room for all that was about to be read.
    is_short: AtomicBool,
    resident: AtomicUsize,
    /// Octets in full chunks that are still to be written.
    unwritten: AtomicUsize,
    spare: Mutex<Spare>,
}

/// The memory of chunks that are gone. What is small is not given where much is going to be needed, nor the other way
/// round: a queue with one message is not to hold a full chunk's memory.
#[derive(Debug, Default)]
struct Spare {
    small: Vec<Data>,
    full: Vec<Data>,
}

impl Default for Budget {
    /// Without a limit.
    fn default() -> Self {
        Self::new(usize::MAX, 0)
    }
}

impl Budget {
    pub fn new(limit: usize, seed: u32) -> Self {
        Self::with_sizes(limit, seed, Sizes::default())
    }

    /// The same with things that are full at other sizes.
    pub fn with_sizes(limit: usize, seed: u32, sizes: Sizes) -> Self {
        Self {
            seed,
            sizes,
            limit,
            over_at: AtomicUsize::new(limit),
            is_short: AtomicBool::new(false),
            resident: AtomicUsize::new(0),
            unwritten: AtomicUsize::new(0),
            spare: Mutex::default(),
        }
    }

    /// Octets that chunks take in memory.
    pub fn resident(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }

    /// Octets in full chunks that are still to be written.
    pub fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Whether chunks have to leave.
    pub fn is_over(&self) -> bool {
        self.resident() > self.over_at.load(Ordering::Relaxed)
    }

    /// Whether so many chunks have left that no more need to for now.
    pub fn has_room(&self) -> bool {
        self.has_room_without(0)
    }

    /// Whether that is so once some octets have left that are about to.
    pub fn has_room_without(&self, octets: usize) -> bool {
        self.resident().saturating_sub(octets) <= self.limit / 8 * 7
    }

    /// There was enough room, or not, with all that somebody is about to read.
    pub fn set_short(&self, is_short: bool) {
        self.is_short.store(is_short, Ordering::Relaxed);
    }

    /// Whether those who read are to have in memory what they read and no more.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Everybody has been asked to leave once. If that was not enough it is tried again when there are more.
    pub fn trimmed(&self) {
        let over_at =
            if self.has_room() { self.limit } else { self.resident().saturating_add(self.limit / 8) };
        self.over_at.store(over_at.max(self.limit), Ordering::Relaxed);
    }

    /// Whether publishers have to wait: what is to be written, or has to leave, does so more slowly than it comes.
    pub fn is_exceeded(&self) -> bool {
        self.unwritten() > SLACK
            || self.resident() > self.over_at.load(Ordering::Relaxed).saturating_add(SLACK)
    }

    pub(super) fn take(&self, octets: usize) {
        self.resident.fetch_add(octets, Ordering::Relaxed);
    }

    pub(super) fn give(&self, octets: usize) {
        self.resident.fetch_sub(octets, Ordering::Relaxed);
    }

    pub(super) fn add_unwritten(&self, octets: usize) {
        self.unwritten.fetch_add(octets, Ordering::Relaxed);
    }

    pub(super) fn sub_unwritten(&self, octets: usize) {
        self.unwritten.fetch_sub(octets, Ordering::Relaxed);
    }

    /// Empty memory for a chunk that is going to be full, used before if possible. Where segments are small it may be less
    /// than usual.
    pub(super) fn full_data(&self, chunk: usize) -> Data {
        let used = (chunk == self.sizes.chunk).then(|| self.spare.lock().full.pop());
        let mut data = used.flatten().unwrap_or_default();
        data.reserve_exact(chunk);
        data
    }

    /// Empty memory for a chunk that may stay small, used before or none.
    pub(super) fn small_data(&self) -> Data {
        self.spare.lock().small.pop().unwrap_or_default()
    }

    /// Keeps memory for the next chunk if it is of a usual size and there is little.
    pub(super) fn keep(&self, mut data: Data) {
        data.clear();
        let mut spare = self.spare.lock();
        let list = match data.capacity() {
            0 => return,
            full if full == self.sizes.chunk => &mut spare.full,
            small if small <= chunk::KEEP => &mut spare.small,
            _ => return,
        };
        if list.len() < SPARE_MAX {
            list.push(data);
        }
    }
}
