//! Outboxes: what connections are to be sent, encoded, on its way from the broker to the writers.
//!
//! They lie beside their vhost, under whatever guards it; nothing here waits or writes. At the end of a batch
//! the caller takes what has gathered ([`Outboxes::take_dirty`]) to the writers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use slotmap::SecondaryMap;

use super::confirms::{Published, Unconfirmed};
use crate::broker::ConnectionId;
use crate::broker::commit::Commit;
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
    unconfirmed: Unconfirmed,
    /// Whether it is among those that wait for a commit.
    waiting: bool,
}

impl Outbox {
    /// Whether something here waits for a commit.
    fn is_waiting(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

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
    /// Those where something waits for a commit, or has waited until lately.
    waiting: Vec<ConnectionId>,
    /// Whether nothing is committed any more.
    broken: bool,
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
            unconfirmed: Unconfirmed::default(),
            waiting: false,
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

    /// Confirms what a channel has published, as far as it has not to wait.
    pub fn confirm(&mut self, id: ConnectionId, channel: u16, published: Published) {
        let broken = self.broken;
        let Some(outbox) = self.get(id) else { return };
        let Published { before, last, commit, .. } = published;
        if commit.is_none() && outbox.unconfirmed.is_empty() {
            method::put_ack(&mut outbox.buffer, channel, last, last - before > 1);
            return;
        }
        outbox.unconfirmed.add(channel, published, broken, &mut outbox.buffer);
        if !outbox.waiting && outbox.is_waiting() {
            outbox.waiting = true;
            self.waiting.push(id);
        }
    }

    /// A channel ends, and with it the confirms that wait on it.
    pub fn forget_confirms_of(&mut self, id: ConnectionId, channel: u16) {
        if let Some(outbox) = self.boxes.get_mut(id) {
            outbox.unconfirmed.forget(channel);
        }
    }

    /// All channels of a connection end.
    pub fn forget_confirms(&mut self, id: ConnectionId) {
        if let Some(outbox) = self.boxes.get_mut(id) {
            outbox.unconfirmed.forget_all();
        }
    }

    /// A commit, and all before it, is on disk: what waited for it is sent.
    pub fn committed(&mut self, commit: Commit) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|id| {
            let Some(outbox) = self.get(*id) else { return false };
            outbox.unconfirmed.confirm(commit, &mut outbox.buffer);
            outbox.waiting = outbox.is_waiting();
            outbox.waiting
        });
        self.waiting = waiting;
    }

    /// Nothing will be committed any more: whoever waits is told so, and so will be whoever comes.
    pub fn failed(&mut self) {
        self.broken = true;
        for id in std::mem::take(&mut self.waiting) {
            let Some(outbox) = self.get(id) else { continue };
            outbox.unconfirmed.refuse(&mut outbox.buffer);
            outbox.waiting = false;
        }
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

    fn opened(boxes: &mut Outboxes, count: usize) -> Vec<ConnectionId> {
        let mut names = slotmap::SlotMap::<ConnectionId, ()>::with_key();
        let ids: Vec<_> = (0..count).map(|_| names.insert(())).collect();
        ids.iter().for_each(|id| boxes.open(*id, 1 << 20, true, Arc::default()));
        ids
    }

    /// What is handed over, by connection.
    fn handed_over(boxes: &mut Outboxes) -> Vec<(ConnectionId, Vec<u8>)> {
        let mut all = Vec::new();
        boxes.take_dirty(|gathered| {
            let pieces = gathered.pieces.iter().flat_map(|piece| piece.octets().to_vec());
            let octets: Vec<_> = pieces.chain(gathered.buffer.iter().copied()).collect();
            all.push((gathered.connection, octets));
        });
        all.retain(|(_, octets)| !octets.is_empty());
        all
    }

    #[test]
    fn confirms_wait_for_their_commit_and_no_longer() {
        let mut boxes = Outboxes::default();
        let [a, b] = opened(&mut boxes, 2)[..] else { panic!("two") };
        let one = |clear, last, commit| Published { before: clear - 1, clear, last, commit };
        boxes.confirm(a, 1, one(1, 2, Some(5)));
        boxes.confirm(b, 1, one(1, 1, None));
        let at_once: Vec<_> =
            handed_over(&mut boxes).into_iter().map(|(id, octets)| (id, octets.len())).collect();
        assert_eq!(at_once, [(a, 21), (b, 21)]);
        boxes.committed(4);
        assert_eq!((handed_over(&mut boxes), &boxes.waiting[..]), (vec![], &[a][..]));
        boxes.committed(5);
        assert_eq!(handed_over(&mut boxes).len(), 1);
        assert!(boxes.waiting.is_empty());
        // A connection that has gone is no longer among those that wait.
        boxes.confirm(a, 1, one(3, 4, Some(6)));
        boxes.confirm(b, 1, one(2, 3, Some(6)));
        handed_over(&mut boxes);
        boxes.close(a);
        boxes.forget_confirms_of(b, 1);
        boxes.committed(6);
        assert!(handed_over(&mut boxes).is_empty() && boxes.waiting.is_empty());
    }

    #[test]
    fn nothing_is_confirmed_after_a_failure() {
        let mut boxes = Outboxes::default();
        let [a] = opened(&mut boxes, 1)[..] else { panic!("one") };
        boxes.confirm(a, 1, Published { before: 0, clear: 0, last: 1, commit: Some(1) });
        boxes.failed();
        boxes.confirm(a, 1, Published { before: 1, clear: 2, last: 3, commit: Some(2) });
        let mut wanted = Vec::new();
        method::put_nack(&mut wanted, 1, 1, false);
        method::put_ack(&mut wanted, 1, 2, false);
        method::put_nack(&mut wanted, 1, 3, false);
        assert_eq!(handed_over(&mut boxes), [(a, wanted)]);
        boxes.committed(9);
        assert!(handed_over(&mut boxes).is_empty());
    }

    #[test]
    fn shared_bodies_are_not_copied() {
        let mut boxes = Outboxes::default();
        let id = opened(&mut boxes, 1)[0];
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
