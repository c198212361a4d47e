//! Direct reply-to, as a session sees it: which names are not those of queues, and what becomes of `reply-to`.

use std::borrow::Cow;
use std::sync::Arc;

use super::queue::made_up;
use super::{Context, Session};
use crate::broker::queue::declare::Counts;
use crate::broker::queue::replies::{REPLY_TO, is_key};
use crate::broker::{ChannelId, ConsumerId};
use crate::wire::properties::{self, REPLY_TO as FLAG};
use crate::wire::reply::Exception;

/// Whether a queue's name means direct reply-to, or a requester that is there or not.
pub(super) fn is_meant(name: &str) -> bool {
    name == REPLY_TO || is_requester(name)
}

fn is_requester(name: &str) -> bool {
    name.strip_prefix(REPLY_TO).is_some_and(|rest| rest.starts_with('.'))
}

/// Refuses to bind a requester, whoever asks and whatever to.
pub(super) fn check_bindable(name: &str) -> Result<(), Exception> {
    if is_requester(name) {
        return Err(Exception::access_refused("cannot bind or unbind to a volatile (direct reply-to) queue"));
    }
    Ok(())
}

impl Session {
    /// Consumes replies.
    pub(super) fn consume_replies(
        &self,
        channel: ChannelId,
        tag: &str,
        no_ack: bool,
        cx: &mut Context<'_>,
    ) -> Result<ConsumerId, Exception> {
        let name: Arc<str> = made_up(REPLY_TO, ".", cx).into();
        cx.vhost.consume_replies(channel, &name, tag.as_bytes(), no_ack)
    }

    /// What a declaration of such a name is answered: whether another channel is there that gets what is sent to it.
    pub(super) fn declare_replies(
        &mut self,
        number: u16,
        name: &str,
        cx: &Context<'_>,
    ) -> Result<Counts, Exception> {
        let own = cx.vhost.reply_to(self.channel(number)?.id).is_some_and(|own| **own == *name);
        if own || name != REPLY_TO && !cx.vhost.awaits_replies(name.as_bytes()) {
            let described = cx.vhost.describe("queue", name.as_bytes());
            return Err(Exception::not_found(format!("no {described}")));
        }
        Ok(Counts { ready: 0, consumers: 1 })
    }

    /// Refuses to consume what is for a requester by its name.
    pub(super) fn check_consumable(
        &self,
        channel: ChannelId,
        name: &str,
        cx: &Context<'_>,
    ) -> Result<(), Exception> {
        if !cx.vhost.awaits_replies(name.as_bytes()) {
            return Ok(());
        }
        let described = cx.vhost.describe("queue", name.as_bytes());
        let own = cx.vhost.reply_to(channel).is_some_and(|own| **own == *name);
        Err(Exception::precondition_failed(if own {
            format!("multiple consumers are unsupported for {described}")
        } else {
            format!("only creator channel may consume from {described}")
        }))
    }

    /// Refuses to get what is for a requester.
    pub(super) fn check_gettable(&self, name: &str, cx: &Context<'_>) -> Result<(), Exception> {
        if !cx.vhost.awaits_replies(name.as_bytes()) {
            return Ok(());
        }
        let described = cx.vhost.describe("queue", name.as_bytes());
        Err(Exception::not_implemented(format!("basic.get not supported by volatile {described}")))
    }
}

/// The properties a request goes on with: the channel's own name in the place of the one that all requesters use.
pub(super) fn with_reply_to<'a>(
    raw: &'a [u8],
    channel: ChannelId,
    cx: &Context<'_>,
) -> Result<Cow<'a, [u8]>, Exception> {
    let asks = properties::walk(raw).is_ok_and(|found| found.reply_to == Some(REPLY_TO.as_bytes()));
    if !asks {
        return Ok(raw.into());
    }
    let missing = || Exception::precondition_failed("fast reply consumer does not exist");
    let name = cx.vhost.reply_to(channel).ok_or_else(missing)?;
    let request = properties::with_short(raw, FLAG, name.as_bytes());
    Ok(request.map_err(|_| Exception::internal_error(""))?.into())
}

/// Whether a message went to a requester, there or not.
pub(super) fn is_reply(exchange: &[u8], routing_key: &[u8]) -> bool {
    exchange.is_empty() && is_key(routing_key)
}
