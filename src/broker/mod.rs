//! The broker: vhosts with their exchanges, bindings, queues and consumers.
//!
//! What comes in are calls of a session (declare this, publish that, acknowledge those) with the time as an
//! argument; what goes out are results, exceptions with RabbitMQ's texts, and effects (deliveries, cancellations)
//! through the [`effects::Effects`] trait that the caller passes in. A vhost is one plain value without locks;
//! whoever owns it serialises the calls. This folder may not know sessions, sockets, clocks, threads or files.
//!
//! In the order of a message's way:
//! - [`publish`][]: from an exchange and a routing key to queues, and the cache of that step
//! - [`exchange`][]: exchanges, one file per type that needs one, and bindings
//! - [`queue`][]: queues, their arguments, their consumers, and dispatch
//! - [`policy`][]: settings by name for many queues and exchanges
//! - [`channel`][]: a channel's consumers and unacknowledged deliveries
//! - [`window`][]: a channel's own prefetch window
//! - [`settle`][]: acknowledgement, rejection, requeueing, recovery
//! - [`overdue`][]: deliveries that are not acknowledged in time
//! - [`post`][]: messages that the broker publishes itself
//! - [`trace`][]: the firehose, which tells of every message
//! - [`events`][]: what comes and goes, for those who want to know
//! - [`counts`][]: what is counted of messages
//! - [`look`][]: what there is to see
//! - [`chance`][]: random choices, and hashes that stay the same
//! - [`dedup`][]: duplicates, dropped by queues and exchanges
//! - [`delay`][]: exchanges that keep a message for a while
//! - [`stream`][]: queues that can be read again, from any place
//! - [`dead_letter`][]: what becomes of messages that a queue gives up
//! - [`timers`][]: what is to happen at some time
//! - [`storage`][]: what queues' logs ask of whoever owns the disk, and what comes back
//! - [`commit`][]: from which moment on what has happened is on disk
//! - [`topics`][]: which routing keys a user may use
//! - [`definitions`][]: what outlives a restart, and how it changes
//! - [`compatibility`][]: which RabbitMQ is followed
//! - [`walk`][]: going through what there is
//! - [`browse`][]: looking at messages, and moving some
//! - [`pins`]: what stays in memory for those who look
//! - [`vhost`][]: the value that holds all of this; connections and channels come and go here

pub mod browse;
pub mod chance;
pub mod channel;
pub mod commit;
pub mod compatibility;
pub mod counts;
pub mod dead_letter;
pub mod dedup;
pub mod definitions;
pub mod delay;
pub mod effects;
pub mod events;
pub mod exchange;
pub mod look;
pub mod overdue;
mod pins;
pub mod policy;
pub mod post;
pub mod publish;
pub mod queue;
pub mod settle;
pub mod storage;
pub mod stream;
pub mod topics;
pub mod timers;
pub mod trace;
pub mod vhost;
pub mod walk;
pub mod window;

use std::borrow::Cow;
use std::sync::Arc;

pub use vhost::Vhost;

slotmap::new_key_type! {
    pub struct ConnectionId;
    pub struct ChannelId;
    pub struct ExchangeId;
    pub struct QueueId;
    pub struct BindingId;
    pub struct ConsumerId;
}

/// A name as it was declared; at most 255 octets.
pub type Name = Arc<str>;

/// Milliseconds since 1970, handed in by the caller.
pub type Now = u64;

/// A hash map with a fast hasher, seeded at random for each map so that names cannot be chosen to collide.
pub type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// Octets as a reply text shows them: what is not UTF-8 is taken for Latin-1, as RabbitMQ does.
pub(crate) fn text(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => text.into(),
        Err(_) => octets.iter().copied().map(char::from).collect::<String>().into(),
    }
}
