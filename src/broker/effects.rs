//! What a broker does to the outside, in the words of the broker.

use super::ConnectionId;
use crate::wire::content::Message;
use crate::wire::reply::Exception;

/// Where a delivery goes and how it is marked.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub connection: ConnectionId,
    /// The channel's number on that connection.
    pub channel: u16,
    pub consumer_tag: &'a [u8],
    pub delivery_tag: u64,
    pub redelivered: bool,
}

/// A message fetched by `basic.get`.
#[derive(Clone, Copy, Debug)]
pub struct Got {
    pub delivery_tag: u64,
    pub redelivered: bool,
    /// Messages still ready in the queue.
    pub left: usize,
}

/// Takes what the broker sends out. Sessions encode it into outboxes; a test writes it down.
pub trait Effects {
    /// Whether a connection's outbox takes more deliveries. One that says no is asked again only after
    /// [`Vhost::resume`](super::Vhost::resume) has been called for it.
    fn has_credit(&mut self, connection: ConnectionId) -> bool;

    /// `basic.deliver`.
    fn deliver(&mut self, to: &Delivery<'_>, message: &Message<'_>);

    /// `basic.get-ok`.
    fn got(&mut self, connection: ConnectionId, channel: u16, got: &Got, message: &Message<'_>);

    /// `basic.cancel` from the broker: the consumer's queue is gone. To be sent only to clients that
    /// announced the capability `consumer_cancel_notify`.
    fn cancelled(&mut self, connection: ConnectionId, channel: u16, consumer_tag: &[u8]);

    /// Whether a client announced that capability.
    fn takes_cancel(&mut self, _: ConnectionId) -> bool {
        true
    }

    /// The broker closes a channel for a reason of its own; in the vhost it ends at the same time.
    fn channel_closed(&mut self, _: ConnectionId, _channel: u16, _why: &Exception) {}

    /// A connection may try again what [`Fetched::Wait`](super::queue::dispatch::Fetched) put off.
    fn retry(&mut self, connection: ConnectionId);
}
