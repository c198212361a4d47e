//! All of a queue, as one consumer gets it while nobody else is there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::method::method;
use crate::history::{Clock, Scribe, Step};
use crate::ledger::{Kind, Ledger};
use crate::link::{Broken, Incoming, Link, put_ack, put_publish};
use crate::message::{Id, Producer};
use crate::plan::Look;
use crate::topology::{QUEUES, QueueNo, TO_MARKERS};

/// No more than that are given back: rounds are to stay short, and RabbitMQ's quorum queues hold up a consumer that has
/// 2000 messages.
const RETURNED_MAX: usize = 1500;
/// A queue that is drained is acknowledged in runs of so many.
const ACK_EVERY: usize = 500;

pub struct Looker<'a> {
    pub address: SocketAddr,
    pub clock: &'a Clock,
    /// As whom it publishes markers.
    pub me: Producer,
    pub next: &'a mut u64,
    /// How long a message may take to come.
    pub patience: Duration,
}

/// What `queue.declare` says: messages that are ready, and consumers.
fn counts(link: &mut Link, queue: QueueNo) -> Result<(usize, usize), Broken> {
    let answer = link.call(method("queue.declare passive").set("queue", QUEUES[queue].name))?;
    let field = |name: &str| {
        let found = answer.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|value| value.parse().ok()).expect("a count")
    };
    Ok((field("message-count"), field("consumer-count")))
}

/// Waits until nobody consumes a queue and its count stays. That takes RabbitMQ a moment after its clients have gone.
pub fn settles(link: &mut Link, queue: QueueNo) -> Result<(), Broken> {
    let end = Instant::now() + PATIENCE;
    let mut same = 0;
    let mut last = counts(link, queue)?;
    while same < 5 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        let now = counts(link, queue)?;
        same = if now == last && now.1 == 0 { same + 1 } else { 0 };
        last = now;
    }
    Ok(())
}

impl Looker<'_> {
    /// Looks at a queue, and leaves it empty or as it was.
    pub fn look(&mut self, ledger: &mut Ledger, queue: QueueNo, look: Look) -> Result<(), Broken> {
        let mut link = Link::open(self.address)?;
        link.call("confirm.select")?;
        let (count, _) = counts(&mut link, queue)?;
        link.call(method("basic.consume consumer-tag=looker").set("queue", QUEUES[queue].name))?;
        let drain = look == Look::Drain || count > RETURNED_MAX;
        let seen = self.take_all(&mut link, ledger, queue, count, drain)?;
        ledger.look(queue, count, &seen);
        // Else its own marker would come.
        link.call("basic.cancel consumer-tag=looker")?;
        if drain {
            ledger.drained(queue);
            let (left, _) = counts(&mut link, queue)?;
            if left != 0 {
                let text = format!("{} was emptied and says {left}", QUEUES[queue].name);
                ledger.fault(Kind::Miscounted, text);
            }
        } else {
            ledger.given_back(queue);
        }
        self.land(&mut link, ledger)?;
        link.close()
    }

    /// So many messages, and whatever else comes with them. Those that count are acknowledged if the queue is drained.
    fn take_all(
        &self,
        link: &mut Link,
        ledger: &mut Ledger,
        queue: QueueNo,
        count: usize,
        drain: bool,
    ) -> Result<Vec<(Id, bool)>, Broken> {
        let mut seen = Vec::new();
        let mut came = 0;
        let mut synced = false;
        loop {
            // A message too few shows by nothing coming; one too many is there once all has been worked off.
            if came >= count && !synced {
                link.sync()?;
                synced = true;
            }
            let time = if came < count { self.patience } else { Duration::from_millis(1) };
            match link.next(time)? {
                Some(Incoming::Message(message)) => {
                    came += 1;
                    if drain && (came == count || came.is_multiple_of(ACK_EVERY)) {
                        let mut out = Vec::new();
                        put_ack(&mut out, message.tag, true);
                        link.send(&out)?;
                    }
                    match message.identify(queue) {
                        Ok(id) => seen.push((id, message.redelivered)),
                        Err(what) => {
                            ledger.fault(Kind::Torn, format!("{} gave {what}", QUEUES[queue].name));
                        }
                    }
                }
                None => return Ok(seen),
                other => return Err(Broken::Refused(format!("instead of a message came {other:?}"))),
            }
        }
    }

    /// Publishes a marker and waits for its confirm.
    fn land(&mut self, link: &mut Link, ledger: &mut Ledger) -> Result<(), Broken> {
        let mut scribe = Scribe::new(self.clock);
        let id = Id { producer: self.me, seq: *self.next, route: TO_MARKERS, size: 16, durable: true };
        *self.next += 1;
        scribe.note(Step::Sent(id));
        let mut out = Vec::new();
        put_publish(&mut out, id);
        link.send(&out)?;
        match link.next(PATIENCE)? {
            Some(Incoming::Confirm { nack: false, .. }) => {}
            other => return Err(Broken::Refused(format!("instead of a confirm came {other:?}"))),
        }
        scribe.note(Step::Confirmed(id));
        ledger.feed(scribe.into_events());
        Ok(())
    }
}
