//! One channel's state that its vhost need not know.

use std::sync::Arc;

use super::transaction::Transaction;
use crate::broker::ChannelId;
use crate::broker::publish::RouteCache;

/// How a channel publishes and settles.
#[derive(Debug)]
pub enum Mode {
    Plain,
    Confirm(Confirms),
    Tx(Box<Transaction>),
}

/// The sequence numbers of a channel in confirm mode.
#[derive(Debug, Default)]
pub struct Confirms {
    /// Messages published since `confirm.select`.
    pub published: u64,
    /// The last of them that has been confirmed.
    pub confirmed: u64,
}

impl Mode {
    /// Counts a message that is to be confirmed, and says whether it is the first one to be since the last confirm.
    pub fn count_publish(&mut self) -> bool {
        let Self::Confirm(confirms) = self else { return false };
        confirms.published += 1;
        confirms.published == confirms.confirmed + 1
    }
}

#[derive(Debug)]
pub struct Channel {
    pub id: ChannelId,
    /// Closed by the broker; everything but closing is ignored until the client's `close-ok`.
    pub closing: bool,
    pub mode: Mode,
    pub routes: RouteCache,
    /// The queue declared last on this channel, which an empty name means.
    pub last_queue: Option<Arc<str>>,
}

impl Channel {
    pub fn new(id: ChannelId) -> Self {
        Self { id, closing: false, mode: Mode::Plain, routes: RouteCache::default(), last_queue: None }
    }
}
