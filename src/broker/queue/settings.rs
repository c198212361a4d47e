//! What follows when a queue's settings change while it is there.

use super::arguments::Settings;
use crate::broker::stream;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;
use crate::broker::{Now, QueueId};

/// As many former times to live are remembered of a queue; messages from before count as of the oldest one.
const FORMER_MAX: usize = 16;

/// How long messages may wait that came before the queue's time to live was changed, with the time of the change. As in
/// RabbitMQ, what held when a message came holds for it. (After a restart it is what holds then.)
#[derive(Debug, Default)]
pub(super) struct FormerTtls(Vec<(Now, Option<u64>)>);

impl FormerTtls {
    fn note(&mut self, until: Now, ttl: Option<u64>) {
        if self.0.len() == FORMER_MAX {
            self.0.remove(0);
        }
        self.0.push((until, ttl));
    }

    /// What held for a message that came at some time, if it does not hold any more.
    pub fn at(&self, came: Now) -> Option<Option<u64>> {
        self.0.iter().find(|(until, _)| came < *until).map(|(_, ttl)| *ttl)
    }
}

impl Vhost {
    /// A queue has other settings than before, by a policy: alarms are set by the new ones, and it comes to be as long as
    /// it may be. What that moves is left to the next tick, which has a bound.
    pub(in crate::broker) fn settings_changed(&mut self, id: QueueId, before: &Settings) {
        let now = self.clock;
        let Some(queue) = self.queues.get_mut(id) else { return };
        if queue.is_stream() {
            let lasting = stream::lasting(&queue.settings, &queue.arguments);
            queue.log_mut().make_lasting(lasting);
            return self.set_alarm(id, Alarm::Retention, Some(now));
        }
        if queue.is_empty() && queue.unacked == 0 {
            queue.former_ttls = FormerTtls::default();
        } else if queue.settings.message_ttl != before.message_ttl {
            queue.former_ttls.note(now, before.message_ttl);
        }
        let too_long = queue.is_too_long();
        // As in RabbitMQ, the time without use begins anew.
        self.set_alarm(id, Alarm::Unused, None);
        self.note_use(id);
        if too_long {
            self.set_alarm(id, Alarm::More, Some(now));
        }
    }
}
