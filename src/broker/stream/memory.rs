//! What of a stream stays in memory when there is too little of it.

use std::ops::Range;

use crate::broker::QueueId;
use crate::broker::queue::consumer::Place;
use crate::broker::storage::Need;
use crate::broker::vhost::Vhost;
use crate::log::Position;
use crate::log::resident::Leaver;

impl Vhost {
    /// Lets a stream's chunks leave memory: if it is used all but what is about to be read and the newest ones, or all but what
    /// is being read; else everything. Chunks with a pinned position stay in any case.
    pub(in crate::broker) fn trim_stream(
        &mut self,
        id: QueueId,
        need: Need,
        pinned: &[Position],
        leavers: &mut Vec<(QueueId, Leaver)>,
    ) {
        let places = match need {
            Need::Some => self.places(id, None),
            Need::Much => self.taken(id),
        };
        let Some(queue) = self.queues.get_mut(id) else { return };
        // Whoever looks for much has looked for some before.
        let is_used = need == Need::Much || std::mem::take(&mut queue.storage.used);
        let mut kept: Vec<Range<Position>> = pinned.iter().map(|pin| *pin..pin + 1).collect();
        match need {
            Need::Some if is_used => {
                let log = queue.log_mut();
                kept.extend(places.into_iter().map(|place| log.window(place)));
                kept.push(log.tail());
            }
            Need::Some => {}
            Need::Much => kept.extend(places.into_iter().map(|place| place..place + 1)),
        }
        queue.evict_stream(&kept, is_used, |leaver| leavers.push((id, leaver)));
    }

    /// Where the consumers of a stream are that can take something now.
    fn taken(&self, id: QueueId) -> Vec<Position> {
        let consumers = self.queues.get(id).into_iter().flat_map(|queue| queue.consumers.iter());
        let consumers = consumers.filter_map(|id| self.consumers.get(*id));
        let takers = consumers.filter(|consumer| consumer.place == Place::Reading);
        let readers = takers.filter_map(|taker| taker.reading.as_ref()).flat_map(|reading| &reading.readers);
        readers.filter(|reader| reader.stream == id).map(|reader| reader.next).collect()
    }
}
