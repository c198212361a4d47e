//! What an outbox hands to a connection's writer: pieces of output, and a bell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::session::outbox::{HIGH_WATER, Meter};
use crate::session::staged::Piece;

/// Output up to this many octets is appended to what waits already, rather than being a piece of its own.
const APPEND_BELOW: usize = 16 << 10;
/// ... as long as the piece stays below this many octets.
const APPENDED_MAX: usize = 256 << 10;
/// This many written buffers are kept for the next output, as many as large messages lead to,
const SPARE_MAX: usize = 8;
/// ... of so many octets together. An outbox is full at the high-water mark, and its buffer, which grew by doubling, may
/// have nearly twice as much room; two such buffers are mostly not that large.
const SPARE_OCTETS: usize = 3 * HIGH_WATER;

#[derive(Debug, Default)]
pub struct Port {
    pending: Mutex<Pending>,
    meter: Arc<Meter>,
    /// Whether something has been written lately.
    busy: AtomicBool,
    writer: Notify,
    reader: Notify,
    retry: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    pieces: Vec<Piece>,
    spare: Vec<Vec<u8>>,
    /// No more will come: the writer ends when it has written what there is.
    closed: bool,
}

impl Port {
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Takes output over, and says whether the writer is to be woken. `buffer` comes after `pieces`; it is left
    /// empty, but with room where a spare buffer has some.
    pub fn push(&self, pieces: &mut Vec<Piece>, buffer: &mut Vec<u8>) -> bool {
        let mut pending = self.pending.lock();
        let idle = pending.pieces.is_empty();
        pending.pieces.append(pieces);
        if !buffer.is_empty() {
            match pending.pieces.last_mut() {
                Some(Piece::Owned(last))
                    if buffer.len() < APPEND_BELOW && last.len() + buffer.len() <= APPENDED_MAX =>
                {
                    last.extend_from_slice(buffer);
                    buffer.clear();
                }
                _ => {
                    let spare = pending.spare.pop().unwrap_or_default();
                    let full = std::mem::replace(buffer, spare);
                    pending.pieces.push(Piece::Owned(full));
                }
            }
        }
        idle && !pending.pieces.is_empty()
    }

    /// Adds output that comes from no outbox.
    pub fn send(&self, octets: Vec<u8>) {
        self.meter.add(octets.len());
        let mut octets = octets;
        if self.push(&mut Vec::new(), &mut octets) {
            self.wake_writer();
        }
    }

    /// Hands what waits to the writer, into `pieces`, which is empty. Returns whether more can come.
    pub fn take(&self, pieces: &mut Vec<Piece>) -> bool {
        let mut pending = self.pending.lock();
        std::mem::swap(&mut pending.pieces, pieces);
        !pending.closed
    }

    /// Gives the buffers of written pieces back.
    pub fn recycle(&self, pieces: &mut Vec<Piece>) {
        self.busy.store(true, Ordering::Relaxed);
        let mut pending = self.pending.lock();
        for piece in pieces.drain(..) {
            if let Piece::Owned(mut buffer) = piece {
                let kept: usize = pending.spare.iter().map(Vec::capacity).sum();
                if pending.spare.len() < SPARE_MAX && kept + buffer.capacity() <= SPARE_OCTETS {
                    buffer.clear();
                    pending.spare.push(buffer);
                }
            }
        }
    }

    /// Lets go of buffers if nothing has been written since this was called last, and says whether that is so.
    pub fn relax(&self) -> bool {
        if self.busy.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.pending.lock().spare = Vec::new();
        true
    }

    /// No more output will come.
    pub fn close(&self) {
        self.pending.lock().closed = true;
        self.wake_writer();
    }

    pub fn wake_writer(&self) {
        self.writer.notify_one();
    }

    /// Waits until there may be something to write.
    pub async fn output(&self) {
        self.writer.notified().await;
    }

    /// Tells the reader that output has been written.
    pub fn wrote(&self) {
        self.reader.notify_one();
    }

    /// Waits until output has been written.
    pub async fn progress(&self) {
        self.reader.notified().await;
    }

    /// Lets the connection go on with what it put aside.
    pub fn retry(&self) {
        self.retry.notify_one();
    }

    /// Waits until it may.
    pub async fn may_retry(&self) {
        self.retry.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_output_is_gathered_and_wakes_once() {
        let port = Port::default();
        let mut buffer = b"one".to_vec();
        assert!(port.push(&mut Vec::new(), &mut buffer) && buffer.is_empty());
        buffer.extend_from_slice(b"two");
        assert!(!port.push(&mut Vec::new(), &mut buffer));
        buffer.extend_from_slice(&[7; APPEND_BELOW]);
        assert!(!port.push(&mut Vec::new(), &mut buffer));
        let mut pieces = Vec::new();
        assert!(port.take(&mut pieces));
        let sizes: Vec<_> = pieces.iter().map(|piece| piece.octets().len()).collect();
        assert_eq!(sizes, [6, APPEND_BELOW]);
        port.recycle(&mut pieces);
        assert!(!port.relax(), "it was busy");
        assert_eq!(port.pending.lock().spare.len(), 2);
        assert!(port.relax() && port.pending.lock().spare.is_empty());
        port.close();
        assert!(!port.take(&mut pieces) && pieces.is_empty());
    }
}
