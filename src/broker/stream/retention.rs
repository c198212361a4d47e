//! What goes of a stream, and when: whole segments, when one begins, when the oldest has been there for long enough, and when
//! settings change. Who reads there goes on at the first message that is left.

use std::sync::Arc;

use crate::broker::QueueId;
use crate::broker::timers::{Alarm, WORK_MAX};
use crate::broker::vhost::Vhost;
use crate::log::Position;
use crate::log::lasting::{Retained, Retention};

/// What dropping as much as is dropped at once counts as, of all that is done at once.
const WORK: u64 = WORK_MAX / 4;

impl Vhost {
    /// Drops what is not to stay, or as much of it as may go at once, and sets the alarm for what is next.
    pub(in crate::broker) fn retain_stream(&mut self, id: QueueId) {
        let now = self.clock;
        let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.is_stream()) else { return };
        let settings = Arc::clone(&queue.settings);
        let Some((stream, log)) = queue.stream_parts() else { return };
        let since = settings.max_age.map(|age| now.saturating_sub(age));
        // What publishers have numbered is known without the messages from then on.
        let unread = stream.publishers.unread().filter(|_| log.is_durable());
        let before = stream.committed.min(unread.unwrap_or(Position::MAX));
        let retention = Retention { max_octets: settings.max_length_bytes, since, now, before };
        let retained = log.retain(&retention);
        stream.held_back = retained == Retained::HeldBack;
        let keeps = stream.held_back && before < stream.committed;
        stream.segments = log.segment_count();
        // What they wait for may not come any more.
        let goes_on = stream.wake_waiting(0..Position::MAX);
        let oldest = settings.max_age.zip(log.oldest(now));
        let due = match retained {
            Retained::Done => {
                oldest.map(|(age, oldest)| oldest.saturating_add(age).max(now).saturating_add(1))
            }
            Retained::HeldBack => None,
            Retained::More => Some(now),
        };
        self.set_alarm(id, Alarm::Retention, due);
        if retained == Retained::More {
            self.work += WORK;
        }
        if goes_on {
            self.set_alarm(id, Alarm::More, Some(now));
        }
        if keeps {
            self.keep_soon(id);
        }
        self.heed(id);
    }
}
