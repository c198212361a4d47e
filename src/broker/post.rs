//! Messages that the broker publishes itself. Where they come up nothing can be published, so they are kept, and go on
//! their way when what is being done is done.

use bytes::Bytes;

use super::effects::Effects;
use super::exchange::Destination;
use super::vhost::Vhost;
use crate::wire::content::{Body, Message};

/// A message with everything it consists of.
#[derive(Clone, Debug)]
pub struct Kept {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    properties: Box<[u8]>,
    body: Bytes,
}

impl Kept {
    /// A copy of a message; a body that is shared stays so.
    pub fn of(message: &Message<'_>) -> Self {
        let body = match message.body {
            Body::Inline(octets) => Bytes::copy_from_slice(octets),
            Body::Shared(bytes) => bytes.clone(),
        };
        Self {
            exchange: message.exchange.into(),
            routing_key: message.routing_key.into(),
            properties: message.properties.into(),
            body,
        }
    }

    pub fn message(&self) -> Message<'_> {
        Message {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            properties: &self.properties,
            body: Body::Shared(&self.body),
        }
    }

    /// What it takes, about.
    /// Octets of the body.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    pub fn octets(&self) -> usize {
        size_of::<Self>()
            + self.exchange.len()
            + self.routing_key.len()
            + self.properties.len()
            + self.body.len()
    }
}

/// A message on its way: to where its exchange and routing key lead, or straight to one end of a binding.
#[derive(Debug)]
pub(super) struct Post {
    message: Kept,
    to: Option<Destination>,
}

impl Vhost {
    /// Publishes a message, as soon as what is being done is done ([`dispatch_due`](Self::dispatch_due)). An exchange
    /// that is not there takes it and loses it. A routing key that is too long for AMQP is cut.
    pub fn post(&mut self, exchange: &[u8], routing_key: &[u8], properties: Box<[u8]>, body: Bytes) {
        let routing_key = cut(routing_key);
        let message = Kept { exchange: exchange.into(), routing_key: routing_key.into(), properties, body };
        self.posts.push(Post { message, to: None });
    }

    /// Brings a message to one destination, in the same way.
    pub(super) fn post_to(&mut self, destination: Destination, message: Kept) {
        self.posts.push(Post { message, to: Some(destination) });
    }

    /// Has everything that was posted up to now go its way.
    pub(super) fn send_posts(&mut self, fx: &mut impl Effects) {
        for Post { message, to } in std::mem::take(&mut self.posts) {
            let message = message.message();
            let targets = match to {
                None => self.route(&message).targets,
                Some(destination) => self.route_to(destination, &message),
            };
            // Nobody waits for it to be on disk.
            self.bring(&targets, &message, 0, self.clock, fx);
            self.give_back(targets);
        }
    }
}

/// The first 255 octets of a text, or a few less, so that no character is cut.
fn cut(text: &[u8]) -> &[u8] {
    let is_inside = |at: usize| text.get(at).is_some_and(|octet| octet & 0xc0 == 0x80);
    let end = (252..=255).rev().find(|at| !is_inside(*at)).unwrap_or(255);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_are_cut_between_characters() {
        assert_eq!(cut(b"short"), b"short");
        assert_eq!(cut(&[b'x'; 255]).len(), 255);
        assert_eq!(cut(&[b'x'; 300]).len(), 255);
        let wide = "é".repeat(150);
        assert_eq!(std::str::from_utf8(cut(wide.as_bytes())).expect("whole characters").len(), 254);
        assert_eq!(cut(&[0x80; 300]).len(), 255);
    }
}
