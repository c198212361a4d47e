//! Outboxes: what connections are to be sent, encoded, on its way from the broker to the writers.
//!
//! They lie beside their vhost, under whatever guards it; nothing here waits or writes. At the end of a batch
//! the caller takes what has gathered ([`Outboxes::take_dirty`]) to the writers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use slotmap::SecondaryMap;

use super::confirms::{Published, Unconfirmed};
use super::staged::{Piece, Staged};
use crate::broker::ConnectionId;
use crate::broker::commit::Commit;
use crate::broker::effects::{Delivery, Effects, Got};
use crate::wire::content::{self, Message, Sink as _};
use crate::wire::reply::Exception;
use crate::wire::{frame, method};

/// A connection with this many octets on their way gets no deliveries until its writer has caught up.
pub const HIGH_WATER: usize = 512 << 10;
/// A connection's own input is not read while this many octets are on their way to it. Above the high-water mark,
/// so that deliveries of ordinary size never stop a client's acknowledgements.
pub const READ_LIMIT: usize = 2 * HIGH_WATER;
/// How far a connection's writer is behind; the one thing that writer and broker share without a lock.
#[derive(Debug, Default)]
pub struct Meter {
    /// Octets staged and not written yet.
    queued: AtomicUsize,
    /// Whether some of them wait for a commit.
    held: AtomicBool,
    /// Whether somebody was refused credit and waits to be resumed.
    stalled: AtomicBool,
}

impl Meter {
    /// Octets on their way to the peer, whether they are with the writer or wait for a commit.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Notes octets on their way.
    pub fn add(&self, octets: usize) {
        self.queued.fetch_add(octets, Ordering::SeqCst);
    }

    /// Takes octets back that will not be written.
    pub fn forget(&self, octets: usize) {
        self.queued.fetch_sub(octets, Ordering::SeqCst);
    }

    /// Whether a commit is waited for: that octets stay behind is not the peer's fault then.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Notes octets written, and says whether deliveries are to be resumed.
    #[must_use]
    pub fn written(&self, octets: usize) -> bool {
        let before = self.queued.fetch_sub(octets, Ordering::SeqCst);
        before - octets < HIGH_WATER / 2
            && self.stalled.load(Ordering::SeqCst)
            && self.stalled.swap(false, Ordering::SeqCst)
    }

    /// Whether deliveries may be added to `staged` octets that have not been counted yet. After a no, exactly one
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
    staged: Staged,
    /// The negotiated limit in octets.
    frame_max: usize,
    /// Whether the client announced `consumer_cancel_notify`.
    cancel_notify: bool,
    /// Channels that the broker has closed and the session does not know of.
    closed: Vec<u16>,
    dirty: bool,
    meter: Arc<Meter>,
    unconfirmed: Unconfirmed,
    /// Whether it is among those that wait for a commit.
    waiting: bool,
}

impl Outbox {
    /// Whether something here waits for a commit.
    fn is_waiting(&self) -> bool {
        !self.unconfirmed.is_empty() || self.staged.is_gated()
    }

    /// The buffer to append frames to.
    pub fn frames(&mut self) -> &mut Vec<u8> {
        self.staged.buffer()
    }

    /// Writes `basic.return`.
    pub fn put_return(&mut self, channel: u16, message: &Message<'_>) {
        let code = crate::wire::reply::ReplyCode::NoRoute;
        content::put_return(&mut self.staged, channel, self.frame_max, code, message);
    }

    /// Notes that a commit is on disk, and says whether something here still waits for another one. `confirmed` grows by
    /// the messages that are confirmed.
    fn release(&mut self, commit: Commit, confirmed: &mut u64) -> bool {
        if !self.staged.is_shut() {
            self.staged.release(commit);
            self.meter.hold(self.staged.is_gated());
        }
        *confirmed += self.unconfirmed.confirm(commit, self.staged.buffer());
        self.waiting = self.is_waiting();
        self.waiting
    }

    /// Notes that nothing will be committed any more. Whoever has a reply held cannot be answered: what is staged
    /// from now on is not to leave, but for the connection's close. Says whether that is so.
    fn fail(&mut self) -> bool {
        let held = self.staged.is_gated();
        self.staged.drop_held(&self.meter);
        self.unconfirmed.refuse(self.staged.buffer());
        if held {
            self.staged.shut();
        }
        self.waiting = false;
        held
    }

    /// Drops what is not to leave, so that the connection's close can be sent.
    pub fn reopen(&mut self) {
        if self.staged.is_shut() {
            self.staged.drop_held(&self.meter);
            self.meter.hold(false);
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
    /// How many messages have been confirmed.
    confirmed: u64,
    /// Those that have to be closed because something cannot be answered.
    lost: Vec<ConnectionId>,
    /// Those that may go on with what they put aside.
    retries: Vec<ConnectionId>,
}

impl Outboxes {
    pub fn open(&mut self, id: ConnectionId, frame_max: usize, cancel_notify: bool, meter: Arc<Meter>) {
        let outbox = Outbox {
            staged: Staged::default(),
            frame_max,
            cancel_notify,
            closed: Vec::new(),
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

    /// Gives up the memory of an outbox that is empty.
    pub fn relax(&mut self, id: ConnectionId) {
        if let Some(outbox) = self.boxes.get_mut(id) {
            outbox.staged.relax();
        }
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
            method::put_ack(outbox.frames(), channel, last, last - before > 1);
            self.confirmed += last - before;
            return;
        }
        self.confirmed += outbox.unconfirmed.add(channel, published, broken, outbox.staged.buffer());
        self.note_waiting(id);
    }

    /// Counts a message whose publisher has no connection, and learns from its caller when it is safe.
    pub fn count_confirmed(&mut self) {
        self.confirmed += 1;
    }

    /// How many messages have been confirmed in all.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// How many messages of a channel wait to be confirmed.
    pub fn unconfirmed(&self, id: ConnectionId, channel: u16) -> u64 {
        self.boxes.get(id).map_or(0, |outbox| outbox.unconfirmed.waiting(channel))
    }

    /// The commit that everything is confirmed with that a connection has published, if it is not confirmed yet.
    pub fn last_unconfirmed(&self, id: ConnectionId) -> Option<Commit> {
        self.boxes.get(id).and_then(|outbox| outbox.unconfirmed.last())
    }

    /// The channels that the broker has closed since the last call.
    pub fn take_closed(&mut self, id: ConnectionId) -> Vec<u16> {
        self.boxes.get_mut(id).map(|outbox| std::mem::take(&mut outbox.closed)).unwrap_or_default()
    }

    /// Refuses a message of a channel, everything before it having been confirmed or left to wait.
    pub fn refuse(&mut self, id: ConnectionId, channel: u16, number: u64) {
        if let Some(outbox) = self.get(id) {
            outbox.unconfirmed.refuse_one(channel, number, outbox.staged.buffer());
        }
    }

    /// How much is staged for a connection, for [`gate`](Self::gate).
    pub fn mark(&self, id: ConnectionId) -> usize {
        self.boxes.get(id).map_or(0, |outbox| outbox.staged.size())
    }

    /// Holds back what has been staged since a mark of the same batch, and everything after it, until a commit is on
    /// disk. Says no if that will not happen: the connection has to be closed then.
    #[must_use]
    pub fn gate(&mut self, id: ConnectionId, mark: usize, commit: Commit) -> bool {
        let Some(outbox) = self.boxes.get_mut(id) else { return true };
        outbox.staged.gate(mark, commit);
        if self.broken {
            outbox.fail();
            return false;
        }
        outbox.meter.hold(true);
        self.note_waiting(id);
        true
    }

    fn note_waiting(&mut self, id: ConnectionId) {
        if let Some(outbox) = self.boxes.get_mut(id).filter(|outbox| !outbox.waiting) {
            outbox.waiting = outbox.is_waiting();
            self.waiting.extend(outbox.waiting.then_some(id));
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
        let mut confirmed = self.confirmed;
        waiting.retain(|id| self.get(*id).is_some_and(|outbox| outbox.release(commit, &mut confirmed)));
        (self.waiting, self.confirmed) = (waiting, confirmed);
    }

    /// Nothing will be committed any more: whoever waits is told so, and so will be whoever comes.
    pub fn failed(&mut self) {
        self.broken = true;
        for id in std::mem::take(&mut self.waiting) {
            if self.get(id).is_some_and(Outbox::fail) {
                self.lost.push(id);
            }
        }
    }

    /// The connections that cannot be answered any more since the last call: they are to be closed.
    pub fn take_lost(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.lost)
    }

    /// The connections that may go on with what they put aside, since the last call.
    pub fn take_retries(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.retries)
    }

    /// Whether a connection waits to be closed, with nothing else to be sent to it.
    pub fn is_lost(&self, id: ConnectionId) -> bool {
        self.boxes.get(id).is_some_and(|outbox| outbox.staged.is_shut())
    }

    /// Hands over what has gathered since the last call, connection by connection.
    pub fn take_dirty(&mut self, mut hand_over: impl FnMut(Gathered<'_>)) {
        for id in self.dirty.drain(..) {
            let Some(outbox) = self.boxes.get_mut(id) else { continue };
            outbox.dirty = false;
            let Outbox { staged, meter, .. } = outbox;
            staged.hand_over(meter, |pieces, buffer| {
                hand_over(Gathered { connection: id, pieces, buffer, meter });
            });
        }
    }
}

impl Effects for Outboxes {
    fn has_credit(&mut self, connection: ConnectionId) -> bool {
        self.boxes.get(connection).is_some_and(|outbox| outbox.meter.has_credit(outbox.staged.unmetered()))
    }

    fn deliver(&mut self, to: &Delivery<'_>, message: &Message<'_>) {
        if let Some(outbox) = self.get(to.connection) {
            let frame_max = outbox.frame_max;
            let Delivery { channel, consumer_tag, delivery_tag, redelivered, .. } = *to;
            content::put_deliver(
                &mut outbox.staged,
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
            content::put_get_ok(
                &mut outbox.staged,
                channel,
                frame_max,
                got.delivery_tag,
                got.redelivered,
                left,
                message,
            );
        }
    }

    fn cancelled(&mut self, connection: ConnectionId, channel: u16, consumer_tag: &[u8]) {
        if let Some(outbox) = self.get(connection) {
            if outbox.cancel_notify {
                method::put_cancel(outbox.frames(), channel, consumer_tag);
            }
        }
    }

    fn takes_cancel(&mut self, connection: ConnectionId) -> bool {
        self.boxes.get(connection).is_some_and(|outbox| outbox.cancel_notify)
    }

    fn channel_closed(&mut self, connection: ConnectionId, channel: u16, why: &Exception) {
        self.forget_confirms_of(connection, channel);
        if let Some(outbox) = self.get(connection) {
            outbox.closed.push(channel);
            method::put_close(outbox.frames(), channel, why);
        }
    }

    fn retry(&mut self, connection: ConnectionId) {
        self.retries.push(connection);
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
