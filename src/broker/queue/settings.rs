//! What follows when a queue's settings change while it is there.

use crate::broker::QueueId;
use crate::broker::timers::Alarm;
use crate::broker::vhost::Vhost;

impl Vhost {
    /// A queue has other settings than before, by a policy: alarms are set by the new ones, and the messages it holds are
    /// treated as if it had always had them. What that moves is left to the next tick, which has a bound.
    pub(in crate::broker) fn settings_changed(&mut self, id: QueueId) {
        let now = self.clock;
        let Some(queue) = self.queues.get_mut(id) else { return };
        queue.expiring |= queue.settings.message_ttl.is_some();
        let too_long = queue.is_too_long();
        // As in RabbitMQ, the time without use begins anew.
        self.set_alarm(id, Alarm::Unused, None);
        self.note_use(id);
        self.watch(id);
        if too_long {
            self.set_alarm(id, Alarm::More, Some(now));
        }
    }
}
