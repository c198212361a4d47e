//! What is told at an endpoint: which families, of which vhosts, of each object or of all together.

use std::sync::Arc;

use super::families as of;
use super::node as whole;
use super::objects::{self, Seen};
use super::sheet::{Family, Number, Rows, Sheet};
use crate::node::Node;

/// RabbitMQ's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Aggregated,
    PerObject,
    Detailed,
    /// Of memory alone.
    Memory,
}

impl Endpoint {
    pub fn name(self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::PerObject => "per-object",
            Self::Detailed => "detailed",
            Self::Memory => "memory-breakdown",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub endpoint: Endpoint,
    /// Of the detailed endpoint: names of families, and of the vhosts whose objects are told; all if there are none.
    pub families: Vec<String>,
    pub vhosts: Vec<String>,
}

/// Families of which there may be many rows, in their order.
static OF_OBJECTS: [&Family; 18] = [
    &of::QUEUE_COARSE,
    &of::QUEUE,
    &of::QUEUE_CONSUMER_COUNT,
    &of::QUEUE_INFO,
    &of::STREAM_CONSUMER,
    &of::STREAM_GROUP,
    &of::QUEUE_DELIVERY,
    &of::QUEUE_EXCHANGE,
    &of::CHANNEL_QUEUE_EXCHANGE,
    &of::CHANNEL,
    &of::CHANNEL_EXCHANGE,
    &of::CHANNEL_QUEUE,
    &of::CONNECTION_COARSE,
    &of::CONNECTION,
    &of::EXCHANGE,
    &of::EXCHANGE_NAMES,
    &of::EXCHANGE_BINDINGS,
    &of::VHOST_STATUS,
];

/// Those of them that are told when somebody asks for them by name alone. Their figures are of the cluster.
fn is_of_cluster(family: &Family) -> bool {
    ["exchange_names", "exchange_bindings", "vhost_status"].contains(&family.name)
}

/// A page while it is put together.
#[derive(Debug)]
pub(super) struct Page {
    asked: Asked,
    rows: Vec<Rows>,
    sheet: Sheet,
    /// The family whose rows come one by one at present.
    open: Option<Rows>,
}

impl Page {
    fn new(asked: Asked) -> Self {
        let mut page = Self { asked, rows: Vec::new(), sheet: Sheet::default(), open: None };
        for family in OF_OBJECTS {
            if page.wants(family) {
                let prefix = page.prefix(family);
                let rows = if page.tells_each() { Rows::each } else { Rows::summed };
                page.rows.push(rows(family, prefix));
            }
        }
        page
    }

    pub fn endpoint(&self) -> Endpoint {
        self.asked.endpoint
    }

    /// Whether each object has its own numbers.
    pub fn tells_each(&self) -> bool {
        self.asked.endpoint != Endpoint::Aggregated
    }

    /// Whether a family is told here.
    pub fn wants(&self, family: &Family) -> bool {
        match self.asked.endpoint {
            _ if std::ptr::eq(family, &of::QUEUE_INFO) => {
                let of_queues = [&of::QUEUE_COARSE, &of::QUEUE, &of::QUEUE_CONSUMER_COUNT];
                self.tells_each() && of_queues.into_iter().any(|family| self.wants(family))
            }
            _ if family.name.is_empty() => true,
            Endpoint::Memory => false,
            Endpoint::Detailed => self.asked.families.iter().any(|name| name == family.name),
            Endpoint::Aggregated | Endpoint::PerObject => {
                !is_of_cluster(family) && family.name != of::QUEUE_CONSUMER_COUNT.name
            }
        }
    }

    pub fn wants_channels(&self) -> bool {
        [&of::CHANNEL, &of::CHANNEL_EXCHANGE, &of::CHANNEL_QUEUE].into_iter().any(|family| self.wants(family))
    }

    /// Whether what is in a vhost is told.
    pub fn includes(&self, vhost: &str) -> bool {
        self.asked.vhosts.is_empty() || self.asked.vhosts.iter().any(|name| name == vhost)
    }

    fn prefix(&self, family: &Family) -> &'static str {
        let is = |other: &Family| std::ptr::eq(family, other);
        match self.asked.endpoint {
            _ if is(&of::PROCESS) => "",
            _ if is(&of::STREAM_GROUP) => "leveret_",
            Endpoint::Detailed if is(&of::QUEUE_INFO) => "rabbitmq_detailed_",
            _ if is_of_cluster(family) => "rabbitmq_cluster_",
            Endpoint::Detailed if !family.name.is_empty() => "rabbitmq_detailed_",
            _ => "rabbitmq_",
        }
    }

    /// Adds the numbers of an object, if they are wanted.
    pub fn add(&mut self, family: &'static Family, labels: &str, numbers: &[Number]) {
        if let Some(rows) = self.rows.iter_mut().find(|rows| rows.is_of(family)) {
            rows.add(labels, numbers);
        }
    }

    /// Writes a family of the node that has only this row.
    pub fn one(&mut self, family: &'static Family, labels: &str, numbers: &[Number]) {
        self.each(family, labels, numbers);
        self.close();
    }

    /// Adds one of several rows of the node, which have to come one after the other.
    pub fn each(&mut self, family: &'static Family, labels: &str, numbers: &[Number]) {
        if !self.open.as_ref().is_some_and(|open| open.is_of(family)) {
            self.close();
            if self.wants(family) {
                self.open = Some(Rows::each(family, self.prefix(family)));
            }
        }
        if let Some(open) = &mut self.open {
            open.add(labels, numbers);
        }
    }

    /// Writes a histogram of the node: how many there are up to each of these steps and beyond, and what all come to.
    pub fn histogram(
        &mut self,
        family: &'static Family,
        pairs: &[(&str, &str)],
        (steps, counts): (&[u64], &[u64]),
        sum: u64,
    ) {
        self.close();
        let mut rows = Rows::each(family, self.prefix(family));
        rows.add_histogram(pairs, steps, counts, sum);
        self.sheet.put(rows);
    }

    fn close(&mut self) {
        if let Some(rows) = self.open.take() {
            self.sheet.put(rows);
        }
    }

    fn finish(mut self) -> String {
        self.close();
        self.sheet.finish()
    }
}

/// The text that answers what is asked for. It takes its time where there are very many objects.
pub(super) fn text(node: &Node, asked: Asked) -> String {
    let mut page = Page::new(asked);
    if page.endpoint() == Endpoint::Memory {
        whole::memory(&mut page, node);
        whole::identity(&mut page, node);
        return page.finish();
    }
    whole::figures(&mut page, node);
    let mut seen = Seen::default();
    let vhosts = node.vhosts();
    if !page.rows.is_empty() {
        for cell in &vhosts {
            objects::names(&mut page, cell);
            if page.includes(&cell.name) {
                objects::queues(&mut page, cell, &mut seen);
                objects::exchanges(&mut page, cell);
            }
        }
        for connection in node.connections.all() {
            let cell: Option<&Arc<_>> = vhosts.iter().find(|cell| cell.name == connection.vhost);
            objects::connection(&mut page, &connection, cell.map(|cell| &**cell), &mut seen);
        }
    }
    page.close();
    for rows in std::mem::take(&mut page.rows) {
        page.sheet.put(rows);
    }
    if page.asked.endpoint != Endpoint::Detailed {
        whole::whole(&mut page, node, &seen);
    }
    whole::identity(&mut page, node);
    page.finish()
}
