//! What there is in a vhost, for people to look at: copied a few hundred objects at a time, so that nobody who works in it
//! waits long, however many there are.

use std::collections::HashMap;
use std::sync::Arc;

use super::Node;
use super::cell::VhostCell;
use super::connections::ConnectionInfo;
use super::samples::Lengths;
use super::traffic::Carried;
use crate::broker::counts::{ByType, Churned, Counts, Global};
use crate::broker::look::{ChannelLook, ConsumerLook, ExchangeLook, QueueLook};

/// Objects copied with a vhost held once, and those that are only counted.
const AT_ONCE: usize = 250;
const COUNTED_AT_ONCE: usize = 2000;

/// A channel, and how many of its messages wait to be confirmed.
#[derive(Clone, Debug)]
pub struct Channel {
    pub look: ChannelLook,
    pub unconfirmed: u64,
}

impl VhostCell {
    /// All queues that are to be seen, by name.
    pub fn look_at_queues(&self) -> Vec<QueueLook> {
        let ids = self.with_vhost(|vhost| vhost.queue_ids());
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            self.with_vhost(|vhost| found.extend(some.iter().filter_map(|id| vhost.look_at_queue(*id))));
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Shows all queues that are to be seen, in no order.
    pub fn for_each_queue(&self, show: impl FnMut(QueueLook)) {
        let mut show = show;
        let ids = self.with_vhost(|vhost| vhost.queue_ids());
        for some in ids.chunks(AT_ONCE) {
            let found: Vec<_> =
                self.with_vhost(|vhost| some.iter().filter_map(|id| vhost.look_at_queue(*id)).collect());
            found.into_iter().for_each(&mut show);
        }
    }

    /// What queues of each type have delivered, be they still there or not.
    pub fn delivered(&self) -> ByType {
        let (ids, mut all) = self.with_vhost(|vhost| (vhost.queue_ids(), vhost.gone()));
        for some in ids.chunks(COUNTED_AT_ONCE) {
            self.with_vhost(|vhost| {
                for (place, deliveries) in some.iter().filter_map(|id| vhost.deliveries_of(*id)) {
                    all[place] += deliveries;
                }
            });
        }
        all
    }

    pub fn look_at_queue(&self, name: &str) -> Option<QueueLook> {
        self.with_vhost(|vhost| vhost.look_at_queue(vhost.queue_named(name.as_bytes())?))
    }

    /// How many queues there are, and how long they are together.
    pub fn lengths(&self) -> (usize, Lengths) {
        let ids = self.with_vhost(|vhost| vhost.queue_ids());
        let (mut count, mut all) = (0, Lengths::default());
        for some in ids.chunks(COUNTED_AT_ONCE) {
            self.with_vhost(|vhost| {
                for (messages, ready, unacknowledged) in some.iter().filter_map(|id| vhost.lengths(*id)) {
                    count += 1;
                    all += Lengths { messages, ready, unacknowledged };
                }
            });
        }
        (count, all)
    }

    /// All exchanges, by name.
    pub fn look_at_exchanges(&self) -> Vec<ExchangeLook> {
        let ids = self.with_vhost(|vhost| vhost.exchange_ids());
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            self.with_vhost(|vhost| found.extend(some.iter().filter_map(|id| vhost.look_at_exchange(*id))));
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found
    }

    pub fn look_at_exchange(&self, name: &str) -> Option<ExchangeLook> {
        self.with_vhost(|vhost| vhost.look_at_exchange(vhost.exchange_named(name.as_bytes())))
    }

    /// The channels of one of its connections, by number.
    pub fn look_at_channels(&self, connection: &ConnectionInfo) -> Vec<Channel> {
        let Some(id) = connection.id() else { return Vec::new() };
        self.with(|vhost, outboxes| {
            let looks = vhost.channel_ids(id).into_iter().filter_map(|id| vhost.look_at_channel(id));
            let channels = looks.map(|look| {
                let unconfirmed = outboxes.unconfirmed(id, look.number);
                Channel { look, unconfirmed }
            });
            channels.collect()
        })
    }

    /// All consumers, those of one queue after the other, by their tags.
    pub fn look_at_consumers(&self) -> Vec<ConsumerLook> {
        let ids = self.with_vhost(|vhost| vhost.consumer_ids());
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            self.with_vhost(|vhost| found.extend(some.iter().filter_map(|id| vhost.look_at_consumer(*id))));
        }
        found.sort_unstable_by(|a, b| (&a.queue, &a.tag).cmp(&(&b.queue, &b.tag)));
        found
    }
}

/// What has been counted beside that in vhosts that have been removed.
#[derive(Debug, Default)]
pub(super) struct Gone {
    global: Global,
    delivered: ByType,
    /// The most that has been told of all vhosts together.
    told: ByType,
}

fn add(all: &mut ByType, some: &ByType) {
    all.iter_mut().zip(some).for_each(|(all, some)| *all += *some);
}

impl Node {
    /// What has come and gone.
    pub fn churned(&self) -> Churned {
        self.churn.read()
    }

    /// What has been counted in vhosts that have been removed.
    pub fn retired(&self) -> Counts {
        *self.retired.lock()
    }

    /// What has been counted in all vhosts that there are or have been.
    pub fn totals(&self) -> Counts {
        // A vhost is either among these or retired, as long as the list is held.
        let vhosts = self.vhosts.read();
        let mut all = self.retired();
        vhosts.values().for_each(|cell| all += cell.totals());
        all
    }

    /// What is counted once for all vhosts that there are or have been.
    pub fn global(&self) -> Global {
        let vhosts = self.vhosts.read();
        let mut all = self.gone.lock().global;
        vhosts.values().for_each(|cell| all += cell.with_vhost(|vhost| vhost.global()));
        all
    }

    /// What queues of each type have delivered, in all vhosts that there are or have been. A queue that is deleted while
    /// they are counted may be missed, but what has been told once is never taken back.
    pub fn delivered(&self) -> ByType {
        let mut all = self.gone.lock().delivered;
        for cell in self.vhosts() {
            add(&mut all, &cell.delivered());
        }
        let told = &mut self.gone.lock().told;
        for (told, now) in told.iter_mut().zip(all) {
            *told = told.most(&now);
        }
        *told
    }

    /// Keeps what a vhost has counted that is about to go, while nobody reads the list of vhosts.
    pub(super) fn retire(&self, cell: &VhostCell) {
        *self.retired.lock() += cell.totals();
        let global = cell.with_vhost(|vhost| vhost.global());
        self.gone.lock().global += global;
    }

    /// The same of its queues, which may be many.
    pub(super) fn retire_queues(&self, cell: &VhostCell) {
        let delivered = cell.delivered();
        add(&mut self.gone.lock().delivered, &delivered);
    }

    /// What the connections of each vhost have carried, be they still there or not.
    pub fn carried(&self) -> HashMap<Arc<str>, Carried> {
        let ended = self.vhosts().into_iter().map(|cell| (Arc::clone(&cell.name), cell.carried()));
        let mut all: HashMap<_, _> = ended.collect();
        for connection in self.connections.all() {
            if let Some(carried) = all.get_mut(&connection.vhost) {
                *carried += connection.traffic.carried();
            }
        }
        all
    }
}
