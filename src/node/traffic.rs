//! What has gone over a connection's socket.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::session::outbox::Meter;

/// Octets and calls of the system in both directions, since the socket was accepted. Each number has one writer.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    reads: AtomicU64,
    sent: AtomicU64,
    writes: AtomicU64,
    /// What is on its way to the peer.
    meter: OnceLock<Arc<Meter>>,
}

/// The same at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Octets.
    pub received: u64,
    pub reads: u64,
    /// Octets.
    pub sent: u64,
    pub writes: u64,
}

impl Traffic {
    /// Traffic that goes on from what the handshake took.
    pub fn after(handshake: Carried) -> Self {
        let Carried { received, reads, sent, writes } = handshake;
        Self {
            received: received.into(),
            reads: reads.into(),
            sent: sent.into(),
            writes: writes.into(),
            meter: OnceLock::new(),
        }
    }

    pub(super) fn watch(&self, meter: &Arc<Meter>) {
        // It is the first and only one.
        let _ = self.meter.set(Arc::clone(meter));
    }

    /// One read has brought so many octets.
    pub fn note_read(&self, octets: usize) {
        add(&self.received, octets as u64);
        add(&self.reads, 1);
    }

    /// One write has taken so many octets.
    pub fn note_write(&self, octets: usize) {
        add(&self.sent, octets as u64);
        add(&self.writes, 1);
    }

    pub fn carried(&self) -> Carried {
        let Self { received, reads, sent, writes, .. } = self;
        let [received, reads, sent, writes] =
            [received, reads, sent, writes].map(|number| number.load(Ordering::Relaxed));
        Carried { received, reads, sent, writes }
    }

    /// Octets that wait to be sent.
    pub fn pending(&self) -> usize {
        self.meter.get().map_or(0, |meter| meter.queued())
    }
}

/// Adds to a number that nobody else writes, so that no locked instruction is needed.
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl std::ops::AddAssign for Carried {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.reads += other.reads;
        self.sent += other.sent;
        self.writes += other.writes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_counts() {
        let traffic = Traffic::after(Carried { received: 10, reads: 2, sent: 30, writes: 1 });
        traffic.note_read(5);
        traffic.note_write(7);
        traffic.note_write(1);
        assert_eq!(traffic.carried(), Carried { received: 15, reads: 3, sent: 38, writes: 3 });
        let meter = Arc::<Meter>::default();
        traffic.watch(&meter);
        meter.add(9);
        assert_eq!(traffic.pending(), 9);
    }
}
