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

/// Whether a queue's name means direct reply-to, or a requester.
pub(super) fn is_meant(name: &str) -> bool {
    name.strip_prefix(REPLY_TO).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
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

    /// What a declaration of such a name is answered: whether the requester is there.
    pub(super) fn declare_replies(&self, name: &str, cx: &Context<'_>) -> Result<Counts, Exception> {
        if name != REPLY_TO && !cx.vhost.awaits_replies(name.as_bytes()) {
            return Err(no_queue(name, cx));
        }
        Ok(Counts { ready: 0, consumers: 1 })
    }

    /// Refuses what cannot be done with such a name.
    pub(super) fn refuse_replies(&self, name: &str, method: &str, cx: &Context<'_>) -> Result<(), Exception> {
        if !is_meant(name) {
            return Ok(());
        }
        if method == "basic.get" && cx.vhost.awaits_replies(name.as_bytes()) {
            let described = cx.vhost.describe("queue", name.as_bytes());
            let text = format!("{method} not supported by volatile {described}");
            return Err(Exception::not_implemented(text));
        }
        Err(no_queue(name, cx))
    }
}

fn no_queue(name: &str, cx: &Context<'_>) -> Exception {
    Exception::not_found(format!("no {}", cx.vhost.describe("queue", name.as_bytes())))
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
    let mut out = raw[..2].to_vec();
    let written = properties::pieces(raw, |flag, piece| {
        if flag == FLAG {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        } else {
            out.extend_from_slice(piece);
        }
    });
    written.map_err(|_| Exception::internal_error(""))?;
    Ok(out.into())
}

/// Whether a message went to a requester, there or not.
pub(super) fn is_reply(exchange: &[u8], routing_key: &[u8]) -> bool {
    exchange.is_empty() && is_key(routing_key)
}
