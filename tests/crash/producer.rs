//! Publishes until it is told to be quiet, and writes down what it was promised.

use std::collections::VecDeque;

use crate::history::{Scribe, Step};
use crate::link::{Broken, Incoming, Link, put_publish};
use crate::load::{PULSE, Phase, Stage};
use crate::message::{Id, Producer};
use crate::plan::{ProducerPlan, Publish};

/// A plain publisher waits after so many messages.
const PLAIN_RUN: usize = 50;

struct Publisher<'a, 'b> {
    stage: &'a Stage,
    scribe: &'a mut Scribe<'b>,
    link: Link,
    plan: ProducerPlan,
    me: Producer,
    next: &'a mut u64,
    done: usize,
    /// Messages whose confirm has not come, with their tags.
    open: VecDeque<(u64, Id)>,
    tag: u64,
}

pub fn run(
    stage: &Stage,
    plan: ProducerPlan,
    me: Producer,
    next: &mut u64,
    scribe: &mut Scribe,
) -> Result<(), Broken> {
    let link = Link::open(stage.address)?;
    let publish = plan.publish;
    let mut publisher =
        Publisher { stage, scribe, link, plan, me, next, done: 0, open: VecDeque::new(), tag: 0 };
    match publish {
        Publish::Confirm { window, batch } => publisher.with_confirms(window, batch)?,
        Publish::Tx { most } => publisher.in_transactions(most)?,
        Publish::Plain => publisher.plainly()?,
    }
    publisher.stay()
}

impl Publisher<'_, '_> {
    fn busy(&self) -> bool {
        self.stage.phase() == Phase::Go
    }

    fn may_publish(&self) -> bool {
        self.done < self.plan.target
    }

    fn make(&mut self) -> Id {
        let plan = &mut self.plan;
        let route = plan.routes[plan.random.below(plan.routes.len())];
        let size = plan.sizes[plan.random.below(plan.sizes.len())];
        let durable = !plan.random.chance(plan.transient);
        let id = Id { producer: self.me, seq: *self.next, route, size, durable };
        *self.next += 1;
        self.done += 1;
        id
    }

    /// Publishes so many in one write.
    fn publish(&mut self, count: usize) -> Result<(), Broken> {
        let mut out = Vec::new();
        for _ in 0..count {
            let id = self.make();
            self.tag += 1;
            self.open.push_back((self.tag, id));
            self.scribe.note(Step::Sent(id));
            put_publish(&mut out, id);
        }
        self.link.send(&out)
    }

    fn with_confirms(&mut self, window: usize, batch: usize) -> Result<(), Broken> {
        self.link.call("confirm.select")?;
        while self.busy() {
            let room = window - self.open.len();
            if room > 0 && self.may_publish() {
                let count = 1 + self.plan.random.below(batch.min(room));
                self.publish(count)?;
            } else {
                self.take_confirm()?;
            }
        }
        Ok(())
    }

    fn take_confirm(&mut self) -> Result<(), Broken> {
        match self.link.next(PULSE)? {
            Some(Incoming::Confirm { tag, multiple, nack: false }) => self.confirmed(tag, multiple),
            None => {}
            other => return Err(Broken::Refused(format!("instead of a confirm came {other:?}"))),
        }
        Ok(())
    }

    fn confirmed(&mut self, tag: u64, multiple: bool) {
        let covered = |open: u64| if multiple { open <= tag } else { open == tag };
        for (_, id) in self.open.iter().filter(|(open, _)| covered(*open)) {
            self.scribe.note(Step::Confirmed(*id));
        }
        self.open.retain(|(open, _)| !covered(*open));
    }

    fn in_transactions(&mut self, most: usize) -> Result<(), Broken> {
        self.link.call("tx.select")?;
        while self.busy() {
            if !self.may_publish() {
                self.link.next(PULSE)?;
                continue;
            }
            let mut staged = Vec::new();
            let mut out = Vec::new();
            for _ in 0..1 + self.plan.random.below(most) {
                let id = self.make();
                staged.push(id);
                put_publish(&mut out, id);
            }
            self.link.send(&out)?;
            if self.plan.random.chance(15) {
                self.link.call("tx.rollback")?;
            } else {
                self.commit(&staged)?;
            }
        }
        // This one is never committed.
        let id = self.make();
        let mut out = Vec::new();
        put_publish(&mut out, id);
        self.link.send(&out)
    }

    /// Only with the commit are they sent at all.
    fn commit(&mut self, staged: &[Id]) -> Result<(), Broken> {
        for id in staged {
            self.scribe.note(Step::Sent(*id));
        }
        self.link.call("tx.commit")?;
        for id in staged {
            self.scribe.note(Step::Confirmed(*id));
        }
        Ok(())
    }

    fn plainly(&mut self) -> Result<(), Broken> {
        while self.busy() {
            if !self.may_publish() {
                self.link.next(PULSE)?;
                continue;
            }
            let count = 1 + self.plan.random.below(PLAIN_RUN);
            self.publish(count)?;
            let since = self.scribe.stamp();
            self.link.sync()?;
            self.scribe.note(Step::Synced { since });
        }
        self.open.clear();
        Ok(())
    }

    /// Publishes no more, and waits for the end.
    fn stay(mut self) -> Result<(), Broken> {
        self.stage.hush(&mut self.link, self.scribe)?;
        while self.stage.phase() != Phase::Close {
            self.take_confirm()?;
        }
        self.scribe.note(Step::Ended);
        self.link.close()
    }
}
