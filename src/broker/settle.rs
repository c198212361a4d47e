//! What becomes of deliveries: acknowledged, rejected, requeued, recovered.

use super::channel::Unacked;
use super::dead_letter::Reason;
use super::effects::Effects;
use super::vhost::Vhost;
use super::{ChannelId, QueueId};
use crate::wire::reply::Exception;

/// What a client says of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// Not wanted (`basic.nack`): dead-lettered, or dropped.
    Discard,
    /// The same by `basic.reject`, after which RabbitMQ marks a dead letter as redelivered.
    Reject,
    /// Back to its place in the queue (`basic.nack`).
    Requeue,
    /// The same by `basic.reject`, or since its channel has ended, which quorum queues count as a failure.
    Fail,
}

impl Vhost {
    /// Settles the delivery with a tag, or with `multiple` all up to it (all there are if it is 0).
    ///
    /// What comes of it is sent by [`dispatch_due`](Self::dispatch_due), which has to follow before anything else is
    /// done. A tag that is not there is a 406, but for 0 with `multiple`.
    pub fn settle(
        &mut self,
        channel: ChannelId,
        delivery_tag: u64,
        multiple: bool,
        verdict: Verdict,
    ) -> Result<(), Exception> {
        let unknown = || unknown(delivery_tag);
        let on = self.channels.get_mut(channel).ok_or_else(unknown)?;
        let windowed = on.has_window();
        if !multiple {
            let taken = on.unacked().take(delivery_tag).ok_or_else(unknown)?;
            if self.tracing {
                self.trace_settled(channel, &taken, verdict);
            }
            self.apply_later(channel, &taken, verdict);
            if windowed {
                self.widen(channel, &[taken]);
            }
            return Ok(());
        }
        let last = on.unacked().last_of(delivery_tag).ok_or_else(unknown)?;
        while let Some(taken) = self.channels.get_mut(channel).and_then(|on| on.unacked().take_front(last)) {
            if self.tracing {
                self.trace_settled(channel, &taken, verdict);
            }
            self.apply_later(channel, &taken, verdict);
            if windowed {
                self.widen(channel, &[taken]);
            }
        }
        Ok(())
    }

    fn apply_later(&mut self, channel: ChannelId, delivery: &Unacked, verdict: Verdict) {
        if verdict == Verdict::Done {
            self.count_ack(channel);
        }
        if let Some(queue) = self.apply(delivery, verdict) {
            if self.due.last() != Some(&queue) {
                self.due.push(queue);
            }
        }
    }

    /// Has queues go on that may, after a run of settlements: once for all of them, since acknowledgements come in
    /// batches. And brings dead letters to where they go.
    #[inline]
    pub fn dispatch_due(&mut self, fx: &mut impl Effects) {
        if !(self.widened.is_empty() && self.due.is_empty() && self.posts.is_empty()) || self.has_dead() {
            self.dispatch_all_due(fx);
        }
    }

    fn dispatch_all_due(&mut self, fx: &mut impl Effects) {
        self.resume_widened(fx);
        while !self.due.is_empty() || self.has_dead() || !self.posts.is_empty() {
            self.regroup(fx);
            let mut due = std::mem::take(&mut self.due);
            due.drain(..).for_each(|queue| self.dispatch(queue, fx));
            self.due = due;
            self.bury_dead(fx);
            self.send_posts(fx);
        }
    }

    /// Takes deliveries out of a channel's unacknowledged ones, for a transaction to settle or to put back.
    pub fn collect(
        &mut self,
        channel: ChannelId,
        tag: u64,
        multiple: bool,
    ) -> Result<Vec<Unacked>, Exception> {
        let Some(on) = self.channels.get_mut(channel) else { return Err(unknown(tag)) };
        let unacked = on.unacked();
        if !multiple {
            return unacked.take(tag).map(|taken| vec![taken]).ok_or_else(|| unknown(tag));
        }
        let last = unacked.last_of(tag).ok_or_else(|| unknown(tag))?;
        Ok(std::iter::from_fn(|| unacked.take_front(last)).collect())
    }

    /// Settles what was collected.
    pub fn settle_collected(
        &mut self,
        channel: ChannelId,
        taken: &[Unacked],
        verdict: Verdict,
        fx: &mut impl Effects,
    ) {
        self.widen(channel, taken);
        let mut queues: Vec<QueueId> = Vec::new();
        for delivery in taken {
            if verdict == Verdict::Done {
                self.count_ack(channel);
            }
            if let Some(queue) = self.apply(delivery, verdict) {
                if queues.last() != Some(&queue) {
                    queues.push(queue);
                }
            }
        }
        for queue in queues {
            self.dispatch(queue, fx);
        }
        self.resume_widened(fx);
    }

    /// Puts back what was collected, as if it had never been settled; to the queues if the channel has been closed.
    pub fn restore(&mut self, channel: ChannelId, taken: Vec<Unacked>) {
        match self.channels.get_mut(channel) {
            Some(on) => on.unacked().restore(taken),
            None => taken.iter().for_each(|delivery| self.apply_later(channel, delivery, Verdict::Fail)),
        }
    }

    /// Carries a verdict out, and says whether the queue is to be dispatched.
    pub(super) fn apply(&mut self, delivery: &Unacked, verdict: Verdict) -> Option<QueueId> {
        if delivery.late {
            return self.settle_late(delivery, verdict);
        }
        let freed = delivery.consumer.is_some_and(|consumer| self.release(consumer));
        let queue = self.queues.get_mut(delivery.queue)?;
        if !queue.touched {
            queue.touched = true;
            self.touched.queues.push(delivery.queue);
        }
        if !queue.plain && queue.is_stream() {
            // Whatever is said of it, it was read.
            queue.deliveries.ack += u64::from(verdict == Verdict::Done);
            self.read_settled(delivery, verdict);
            return freed.then_some(delivery.queue);
        }
        let Unacked { position, size, .. } = *delivery;
        match verdict {
            Verdict::Done => {
                queue.deliveries.ack += 1;
                queue.settle(position, size);
            }
            Verdict::Requeue | Verdict::Fail if !queue.count_return(position, verdict == Verdict::Fail) => {
                let ready = self.come_back(delivery.queue, position, size, verdict == Verdict::Fail);
                return (ready || freed).then_some(delivery.queue);
            }
            _ => {
                if verdict == Verdict::Reject {
                    queue.count_return(position, true);
                }
                self.kill(delivery.queue, position, size, reason(verdict));
                self.heed(delivery.queue);
                return freed.then_some(delivery.queue);
            }
        }
        if queue.asks() {
            self.heed(delivery.queue);
        }
        freed.then_some(delivery.queue)
    }

    /// Requeues everything a channel has not acknowledged: `Requeue` for `basic.recover`, `Fail` at a channel's end.
    pub fn requeue_all(&mut self, channel: ChannelId, verdict: Verdict, fx: &mut impl Effects) {
        if let Ok(taken) = self.collect(channel, 0, true) {
            self.settle_collected(channel, &taken, verdict, fx);
        }
    }
}

/// What a message that is not to be delivered again has died of.
fn reason(verdict: Verdict) -> Reason {
    match verdict {
        Verdict::Requeue | Verdict::Fail => Reason::DeliveryLimit,
        Verdict::Done | Verdict::Discard | Verdict::Reject => Reason::Rejected,
    }
}

fn unknown(delivery_tag: u64) -> Exception {
    Exception::precondition_failed(format!("unknown delivery tag {delivery_tag}"))
}
