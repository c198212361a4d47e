//! Consumes in one of several ways until it is told to be quiet. Now and then it publishes a marker behind its
//! acknowledgements, whose confirm says that they have landed.

use std::collections::VecDeque;

use crate::common::method::method;
use crate::history::{Scribe, Stamp, Step};
use crate::link::{Broken, Incoming, Link, put_ack, put_publish, put_requeue};
use crate::load::{PULSE, Phase, Stage};
use crate::message::{Id, Message, Producer};
use crate::plan::{ConsumerPlan, Settle};
use crate::topology::{QUEUES, TO_MARKERS};

struct Consumer<'a, 'b> {
    stage: &'a Stage,
    scribe: &'a mut Scribe<'b>,
    link: Link,
    plan: ConsumerPlan,
    me: Producer,
    next: &'a mut u64,
    /// Deliveries that wait to be settled with others, with their tags.
    unsettled: Vec<(u64, Id)>,
    /// Markers whose confirm has not come: tag, stamp, and which one.
    markers: VecDeque<(u64, Stamp, Id)>,
    tag: u64,
    /// Settlements since the last marker.
    settled: usize,
    /// Deliveries on this connection.
    count: usize,
    /// A message has been asked for.
    asked: bool,
}

pub fn run(
    stage: &Stage,
    plan: &ConsumerPlan,
    me: Producer,
    next: &mut u64,
    scribe: &mut Scribe,
) -> Result<(), Broken> {
    let mut hushed = false;
    loop {
        let mut consumer = Consumer {
            stage,
            link: Link::open(stage.address)?,
            plan: plan.clone(),
            scribe: &mut *scribe,
            me,
            next: &mut *next,
            unsettled: Vec::new(),
            markers: VecDeque::new(),
            tag: 0,
            settled: 0,
            count: 0,
            asked: false,
        };
        consumer.begin()?;
        while consumer.stays() {
            consumer.turn()?;
            if !hushed && stage.phase() != Phase::Go {
                stage.hush(&mut consumer.link, consumer.scribe)?;
                hushed = true;
            }
        }
        // Acknowledgements before a clean end are never in flight.
        consumer.scribe.note(Step::Ended);
        consumer.link.close()?;
        if stage.phase() == Phase::Close {
            return Ok(());
        }
        scribe.new_session();
    }
}

impl Consumer<'_, '_> {
    fn begin(&mut self) -> Result<(), Broken> {
        let mode = if matches!(self.plan.settle, Settle::Tx(_)) { "tx.select" } else { "confirm.select" };
        self.link.call(mode)?;
        if !self.plan.get {
            let qos = method("basic.qos").set("prefetch-count", self.plan.prefetch.to_string());
            self.link.call(qos)?;
            self.link.call(method("basic.consume").set("queue", QUEUES[self.plan.queue].name))?;
        }
        Ok(())
    }

    fn stays(&self) -> bool {
        let visit_over = matches!(self.plan.settle, Settle::Visit(count) if self.count >= count);
        match self.stage.phase() {
            Phase::Go => !visit_over,
            Phase::Quiet => true,
            Phase::Close => false,
        }
    }

    /// Takes one thing that comes.
    fn turn(&mut self) -> Result<(), Broken> {
        let busy = self.stage.phase() == Phase::Go;
        if busy && self.plan.get && !self.asked {
            self.link.tell(method("basic.get").set("queue", QUEUES[self.plan.queue].name))?;
            self.asked = true;
        }
        match self.link.next(PULSE)? {
            Some(Incoming::Message(message)) => {
                self.asked = false;
                self.count += 1;
                self.take(&message, busy)
            }
            Some(Incoming::Confirm { tag, multiple, nack: false }) => {
                self.marker_confirmed(tag, multiple);
                Ok(())
            }
            Some(Incoming::Answer(text)) if text.starts_with("basic.get-empty") => {
                self.asked = false;
                std::thread::sleep(PULSE / 4);
                Ok(())
            }
            None => Ok(()),
            other => Err(Broken::Refused(format!("to a consumer came {other:?}"))),
        }
    }

    fn take(&mut self, message: &Message, busy: bool) -> Result<(), Broken> {
        let queue = self.plan.queue;
        let id = match message.identify(queue) {
            Ok(id) => id,
            Err(what) => {
                self.scribe.note(Step::Torn { queue, what });
                return Ok(());
            }
        };
        self.scribe.note(Step::Delivered { queue, id, redelivered: message.redelivered });
        if busy { self.settle(message.tag, id) } else { Ok(()) }
    }

    /// How many may wait: with a small prefetch count no more come before some are settled.
    fn limit(&self) -> usize {
        let limited = !self.plan.get && self.plan.prefetch > 0;
        if limited { self.plan.prefetch.into() } else { usize::MAX }
    }

    fn settle(&mut self, tag: u64, id: Id) -> Result<(), Broken> {
        let mut out = Vec::new();
        self.unsettled.push((tag, id));
        let (waiting, limit) = (self.unsettled.len(), self.limit());
        let full = |count: usize| waiting >= count.min(limit);
        match self.plan.settle {
            Settle::Keep if self.plan.random.chance(10) => self.unsettled.clear(),
            Settle::Requeue if self.plan.random.chance(15) => self.requeue(&mut out),
            Settle::Requeue if !full(3) && self.plan.random.chance(20) => {}
            Settle::Batch(count) if !full(count) => {}
            Settle::Tx(count) if !full(count) => {}
            Settle::Tx(_) => return self.commit(),
            _ => self.ack(&mut out),
        }
        if self.settled >= self.plan.marker_every {
            self.settled = 0;
            self.marker(&mut out);
        }
        if out.is_empty() { Ok(()) } else { self.link.send(&out) }
    }

    /// Acknowledges what waits; the last one by itself if it waits alone.
    fn ack(&mut self, out: &mut Vec<u8>) {
        let Some((tag, _)) = self.unsettled.last().copied() else { return };
        let multiple = self.unsettled.len() > 1;
        for (_, id) in self.unsettled.drain(..) {
            self.scribe.note(Step::Acked { queue: self.plan.queue, id });
            self.settled += 1;
        }
        put_ack(out, tag, multiple);
    }

    fn requeue(&mut self, out: &mut Vec<u8>) {
        let Some((tag, _)) = self.unsettled.last().copied() else { return };
        let multiple = self.unsettled.len() > 1;
        for (_, id) in self.unsettled.drain(..) {
            self.scribe.note(Step::Requeued { queue: self.plan.queue, id });
        }
        put_requeue(out, tag, multiple);
    }

    fn marker(&mut self, out: &mut Vec<u8>) {
        let id = Id { producer: self.me, seq: *self.next, route: TO_MARKERS, size: 16, durable: true };
        *self.next += 1;
        let stamp = self.scribe.note(Step::Sent(id));
        put_publish(out, id);
        self.tag += 1;
        self.markers.push_back((self.tag, stamp, id));
    }

    fn marker_confirmed(&mut self, tag: u64, multiple: bool) {
        let covered = |open: u64| if multiple { open <= tag } else { open == tag };
        for (_, since, id) in self.markers.iter().filter(|(open, ..)| covered(*open)) {
            self.scribe.note(Step::Confirmed(*id));
            self.scribe.note(Step::Landed { since: *since });
        }
        self.markers.retain(|(open, ..)| !covered(*open));
    }

    /// Acknowledges what waits in one transaction with a marker.
    fn commit(&mut self) -> Result<(), Broken> {
        let mut out = Vec::new();
        self.ack(&mut out);
        self.settled = 0;
        self.marker(&mut out);
        self.link.send(&out)?;
        self.link.call("tx.commit")?;
        self.marker_confirmed(self.tag, true);
        Ok(())
    }
}
