//! Direct reply-to: a channel that consumes from `amq.rabbitmq.reply-to` gets replies without declaring a queue.
//!
//! Behind it there is a queue all the same: hidden, in memory, gone with its one consumer, and named by what requesters
//! write into `reply-to`. So replies go the way of all messages, and one who does not read them holds up nobody.

use amq_protocol::types::FieldTable;

use super::Queue;
use super::consumer::Consume;
use crate::broker::vhost::Vhost;
use crate::broker::{ChannelId, ConsumerId, Name};
use crate::wire::reply::Exception;

/// What requesters consume from, and begin their `reply-to` with.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Characters after it and a dot: 16 octets in base64.
const KEY: usize = 22;

/// Whether a routing key has the form of those that requesters get. Replies to requesters that have gone are
/// dropped, and not returned, as in RabbitMQ.
pub fn is_key(routing_key: &[u8]) -> bool {
    let key = routing_key.strip_prefix(REPLY_TO.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
    key.is_some_and(|key| {
        key.len() == KEY && key.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet))
    })
}

impl Vhost {
    /// Has a channel consume the replies that are sent to `name`, which nobody can guess.
    pub fn consume_replies(
        &mut self,
        channel: ChannelId,
        name: &Name,
        tag: &[u8],
        no_ack: bool,
    ) -> Result<ConsumerId, Exception> {
        let error = |text: &str| Err(Exception::precondition_failed(text));
        if !no_ack {
            return error("reply consumer cannot acknowledge");
        }
        if self.reply_to(channel).is_some() {
            return error("reply consumer already set");
        }
        let log = self.new_log(false);
        let mut queue = Queue::new(Name::clone(name), false, None, true, log);
        queue.hidden = true;
        self.insert_queue(queue);
        let arguments = FieldTable::default();
        let wanted = Consume { queue: name.as_bytes(), tag, no_ack, exclusive: false, arguments };
        let consumer = self.consume(channel, wanted)?;
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.replies = Some(consumer);
        }
        Ok(consumer)
    }

    /// Where replies to a channel are to be sent.
    pub fn reply_to(&self, channel: ChannelId) -> Option<&Name> {
        let consumer = self.consumers.get(self.channels.get(channel)?.replies?)?;
        self.queues.get(consumer.queue).map(|queue| &queue.name)
    }

    /// Whether a channel's consumer of replies has this tag.
    pub fn consumes_replies(&self, channel: ChannelId, tag: &[u8]) -> bool {
        let replies = self.channels.get(channel).and_then(|channel| channel.replies);
        replies.and_then(|id| self.consumers.get(id)).is_some_and(|consumer| *consumer.tag == *tag)
    }

    /// Whether somebody waits for replies sent to a name.
    pub fn awaits_replies(&self, name: &[u8]) -> bool {
        self.queue_names.get(name).and_then(|id| self.queues.get(*id)).is_some_and(|queue| queue.hidden)
    }
}
