//! Outboxes: what connections are to be sent, encoded, on its way from the broker to the writers.
//!
//! They lie beside their vhost, under whatever guards it; nothing here waits or writes. At the end of a batch
//! the caller takes what has gathered ([`Outboxes::take_dirty`]) to the writers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use slotmap::SecondaryMap;

use crate::broker::ConnectionId;
use crate::broker::effects::{Delivery, Effects, Got};
use crate::wire::content::{self, Message, Sink};
use crate::wire::{frame, method};

/// A connection with this many octets on their way gets no deliveries until its writer has caught up.
pub const HIGH_WATER: usize = 512 << 10;
/// A connection's own input is not read while this many octets are on their way to it. Above the high-water mark,
/// so that deliveries of ordinary size never stop a client's acknowledgements.
pub const READ_LIMIT: usize = 2 * HIGH_WATER;
/// Shared bodies below this many octets are copied all the same.
const COPY_BELOW: usize = 8 << 10;

/// Octets in the order they are to be written.
#[derive(Debug)]
pub enum Piece {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Piece {
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Owned(octets) => octets,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// How far a connection's writer is behind; the one thing that writer and broker share without a lock.
#[derive(Debug, Default)]
pub struct Meter {
    /// Octets handed to the writer and not written yet.
    queued: AtomicUsize,
    /// Whether somebody was refused credit and waits to be resumed.
    stalled: AtomicBool,
}

impl Meter {
    /// Octets handed to the writer and not written yet.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Notes octets handed to the writer.
    pub fn add(&self, octets: usize) {
        self.queued.fetch_add(octets, Ordering::SeqCst);
    }

    /// Notes octets written, and says whether deliveries are to be resumed.
    #[must_use]
    pub fn written(&self, octets: usize) -> bool {
        let before = self.queued.fetch_sub(octets, Ordering::SeqCst);
        before - octets < HIGH_WATER / 2
            && self.stalled.load(Ordering::SeqCst)
            && self.stalled.swap(false, Ordering::SeqCst)
    }

    /// Whether deliveries may be added to `staged` octets that are not handed over yet. After a no, exactly one
    /// later [`written`](Self::written) says that deliveries are to be resumed.
    fn has_credit(&self, staged: usize) -> bool {
        if staged + self.queued() < HIGH_WATER {
            return true;
        }
        self.stalled.store(true, Ordering::SeqCst);
        // The writer may have caught up between the two lines above, and have seen nobody waiting.
        // Being resumed for nothing does no harm, so others who wait are not forgotten here.
        staged == 0 && self.queued.load(Ordering::SeqCst) == 0
    }
}

/// One connection's outbox.
#[derive(Debug)]
pub struct Outbox {
    buffer: Vec<u8>,
    /// What came before `buffer`, once a shared body is among it.
    pieces: Vec<Piece>,
    pieces_size: usize,
    /// The negotiated limit in octets.
    frame_max: usize,
    /// Whether the client announced `consumer_cancel_notify`.
    cancel_notify: bool,
    dirty: bool,
    meter: Arc<Meter>,
}

impl Outbox {
    fn staged(&self) -> usize {
        self.buffer.len() + self.pieces_size
    }

    /// The buffer to append frames to.
    pub fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes `basic.return`.
    pub fn put_return(&mut self, channel: u16, message: &Message<'_>) {
        let frame_max = self.frame_max;
        content::put_return(self, channel, frame_max, crate::wire::reply::ReplyCode::NoRoute, message);
    }

    fn split(&mut self) {
        if !self.buffer.is_empty() {
            self.pieces_size += self.buffer.len();
            self.pieces.push(Piece::Owned(std::mem::take(&mut self.buffer)));
        }
    }
}

impl Sink for Outbox {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn shared(&mut self, octets: Bytes) {
        if octets.len() < COPY_BELOW {
            self.buffer.extend_from_slice(&octets);
        } else {
            self.split();
            self.pieces_size += octets.len();
            self.pieces.push(Piece::Shared(octets));
        }
    }
}

/// What gathered in one outbox during a batch.
#[derive(Debug)]
pub struct Gathered<'a> {
    pub connection: ConnectionId,
    /// What comes first, usually nothing.
    pub pieces: &'a mut Vec<Piece>,
    /// What comes after it; the caller may leave another, empty buffer here.
    pub buffer: &'a mut Vec<u8>,
    pub meter: &'a Arc<Meter>,
}

/// The outboxes of all connections to one vhost.
#[derive(Debug, Default)]
pub struct Outboxes {
    boxes: SecondaryMap<ConnectionId, Outbox>,
    dirty: Vec<ConnectionId>,
}

impl Outboxes {
    pub fn open(&mut self, id: ConnectionId, frame_max: usize, cancel_notify: bool, meter: Arc<Meter>) {
        let outbox = Outbox {
            buffer: Vec::new(),
            pieces: Vec::new(),
            pieces_size: 0,
            frame_max,
            cancel_notify,
            dirty: false,
            meter,
        };
        self.boxes.insert(id, outbox);
    }

    pub fn close(&mut self, id: ConnectionId) {
        self.boxes.remove(id);
    }

    /// A connection's outbox, which is going to be written to.
    pub fn get(&mut self, id: ConnectionId) -> Option<&mut Outbox> {
        let outbox = self.boxes.get_mut(id)?;
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(id);
        }
        Some(outbox)
    }

    /// Hands over what has gathered since the last call, connection by connection.
    pub fn take_dirty(&mut self, mut hand_over: impl FnMut(Gathered<'_>)) {
        for id in self.dirty.drain(..) {
            let Some(outbox) = self.boxes.get_mut(id) else { continue };
            outbox.dirty = false;
            outbox.meter.add(outbox.staged());
            outbox.pieces_size = 0;
            let Outbox { pieces, buffer, meter, .. } = outbox;
            hand_over(Gathered { connection: id, pieces, buffer, meter });
            pieces.clear();
            buffer.clear();
        }
    }
}

impl Effects for Outboxes {
    fn has_credit(&mut self, connection: ConnectionId) -> bool {
        self.boxes.get(connection).is_some_and(|outbox| outbox.meter.has_credit(outbox.staged()))
    }

    fn deliver(&mut self, to: &Delivery<'_>, message: &Message<'_>) {
        if let Some(outbox) = self.get(to.connection) {
            let frame_max = outbox.frame_max;
            let Delivery { channel, consumer_tag, delivery_tag, redelivered, .. } = *to;
            content::put_deliver(
                outbox,
                channel,
                frame_max,
                consumer_tag,
                delivery_tag,
                redelivered,
                message,
            );
        }
    }

    fn got(&mut self, connection: ConnectionId, channel: u16, got: &Got, message: &Message<'_>) {
        if let Some(outbox) = self.get(connection) {
            let left = u32::try_from(got.left).unwrap_or(u32::MAX);
            let frame_max = outbox.frame_max;
            content::put_get_ok(outbox, channel, frame_max, got.delivery_tag, got.redelivered, left, message);
        }
    }

    fn cancelled(&mut self, connection: ConnectionId, channel: u16, consumer_tag: &[u8]) {
        if let Some(outbox) = self.get(connection) {
            if outbox.cancel_notify {
                method::put_cancel(&mut outbox.buffer, channel, consumer_tag);
            }
        }
    }
}

/// A heartbeat, for a writer that had nothing else to send.
pub fn heartbeat() -> Piece {
    Piece::Shared(Bytes::from_static(&frame::HEARTBEAT_FRAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_catches_up_resumes_once() {
        let meter = Meter::default();
        assert!(meter.has_credit(HIGH_WATER - 1));
        meter.add(HIGH_WATER);
        assert!(!meter.has_credit(0) && !meter.has_credit(0));
        assert!(!meter.written(10), "still above the low mark");
        assert!(meter.written(HIGH_WATER - 10));
        assert!(!meter.written(0), "once");
        assert!(meter.has_credit(0));
    }

    #[test]
    fn shared_bodies_are_not_copied() {
        let mut boxes = Outboxes::default();
        let mut names = slotmap::SlotMap::<ConnectionId, ()>::with_key();
        let id = names.insert(());
        boxes.open(id, 1 << 20, true, Arc::default());
        let body = Bytes::from(vec![1; 100_000]);
        let message = Message {
            exchange: b"",
            routing_key: b"q",
            properties: &[0, 0],
            body: content::Body::Shared(&body),
        };
        let to =
            Delivery { connection: id, channel: 1, consumer_tag: b"c", delivery_tag: 1, redelivered: false };
        boxes.deliver(&to, &message);
        let mut shared = 0;
        boxes.take_dirty(|gathered| {
            for piece in gathered.pieces.iter() {
                if let Piece::Shared(bytes) = piece {
                    shared += usize::from(bytes.as_ptr() == body.as_ptr());
                }
            }
            assert_eq!(gathered.buffer.as_slice(), [frame::END]);
            assert!(gathered.meter.queued() > 100_000);
        });
        assert_eq!(shared, 1);
        boxes.take_dirty(|_| panic!("nothing has gathered"));
    }
}
