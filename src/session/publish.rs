//! `basic.publish` up to the broker; returns and confirms.

use amq_protocol::protocol::{AMQPClass, confirm};

use super::channel::{Confirms, Mode};
use super::command::Incoming;
use super::copies::{self, Copies};
use super::properties::{
    check_expiration, check_properties, check_user_id, check_whole, is_plain, with_plain_expiration,
};
use super::reply_to;
use super::run::{not_open, unimplemented_method};
use super::{Context, Session};
use crate::broker::QueueId;
use crate::broker::channel::Manner;
use crate::broker::dead_letter::BLIND;
use crate::broker::publish::{Outcome, Route};
use crate::broker::queue::replies;
use crate::wire::content::Message;
use crate::wire::method::Publish;
use crate::wire::properties::{self, EXPIRATION, HEADERS, REPLY_TO};
use crate::wire::reply::Exception;

impl Session {
    pub(super) fn publish(
        &mut self,
        number: u16,
        incoming: &Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        self.publish_checked(number, incoming, cx).map_err(|e| {
            let internal = e.explanation.is_empty();
            if internal { e } else { e.caused_by(Publish::ID) }
        })
    }

    /// The checks come in RabbitMQ's order.
    fn publish_checked(
        &mut self,
        number: u16,
        incoming: &Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        // Looked up once: this is the path of every message.
        let channel = self.channels.get_mut(&number).ok_or_else(not_open)?;
        if channel.closing {
            return Ok(());
        }
        if incoming.immediate {
            return Err(Exception::not_implemented("immediate=true"));
        }
        let max = self.settings.message_size_max;
        if incoming.size > max {
            let text = format!("message size {} is larger than configured max size {max}", incoming.size);
            return Err(Exception::precondition_failed(text));
        }
        cx.vhost.count_received(incoming.size, !matches!(channel.mode, Mode::Plain));
        let message = &incoming.message;
        if is_special(message.properties) || self.settings.stamps.any() {
            return self.publish_special(number, incoming, cx);
        }
        let known = channel.routes.get(cx.vhost, cx.auth.version(), incoming.names);
        let Some((exchange, targets)) = known else {
            return self.publish_anew(number, incoming, cx);
        };
        check_properties(message.properties, &self.settings)?;
        if cx.vhost.is_tracing() {
            cx.vhost.trace_publish(self.id, number, message, targets);
        }
        if let Mode::Tx(transaction) = &mut channel.mode {
            transaction.publish(message, 0, incoming.mandatory, Some(targets), cx.vhost);
            transaction.show(channel.id, cx.vhost);
            return Ok(());
        }
        let outcome = cx.vhost.publish(targets, message, cx.now, cx.outboxes);
        let queues = targets.len();
        if channel.note_published(exchange, queues, cx.vhost) {
            self.publishing.push(number);
        }
        match outcome {
            Outcome::Refused => self.refuse_publish(number, cx),
            _ if channel.mode.count_publish(outcome) => self.confirming.push(number),
            _ => {}
        }
        if queues == 0 {
            self.unroutable(number, message, incoming.mandatory, cx);
        }
        Ok(())
    }

    /// Publishes where the route is not known: with permissions and bindings looked at.
    fn publish_anew(
        &mut self,
        number: u16,
        incoming: &Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let message = &incoming.message;
        self.may_write(cx, "exchange", message.exchange)?;
        cx.vhost.check_publishable(message.exchange)?;
        check_whole(message.properties)?;
        check_expiration(message.properties)?;
        self.may_write_topic(cx, message.exchange, message.routing_key)?;
        check_user_id(message.properties, &self.settings.user, self.settings.impersonates)?;
        let in_tx = matches!(self.channel(number)?.mode, Mode::Tx(_));
        let found = if in_tx { cx.vhost.preview(message, &[]) } else { cx.vhost.route(message) };
        let Route { targets, cacheable, filtered } = found;
        let exchange = cx.vhost.exchange_named(message.exchange);
        if cx.vhost.is_tracing() {
            cx.vhost.trace_publish(self.id, number, message, &targets);
        }
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let mut outcome = Outcome::Done;
        if let Mode::Tx(transaction) = &mut channel.mode {
            transaction.publish(message, 0, incoming.mandatory, routed(&targets, filtered), cx.vhost);
            transaction.show(channel.id, cx.vhost);
        } else {
            outcome = cx.vhost.publish(&targets, message, cx.now, cx.outboxes);
            if channel.note_published(exchange, targets.len(), cx.vhost) {
                self.publishing.push(number);
            }
            if channel.mode.count_publish(outcome) {
                self.confirming.push(number);
            }
        }
        let returned = targets.is_empty() && !in_tx && !filtered;
        if cacheable {
            channel.routes.insert(incoming.names, exchange, targets.as_slice().into());
        }
        cx.vhost.give_back(targets);
        if outcome == Outcome::Refused {
            self.refuse_publish(number, cx);
        }
        if returned {
            self.unroutable(number, message, incoming.mandatory, cx);
        }
        Ok(())
    }

    /// Publishes what does not go on as it came: what asks for replies, names more routing keys than one, has an
    /// expiration that is written otherwise than RabbitMQ writes it, or is to be stamped. The checks come in RabbitMQ's order here too.
    fn publish_special(
        &mut self,
        number: u16,
        incoming: &Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let sent = &incoming.message;
        self.may_write(cx, "exchange", sent.exchange)?;
        cx.vhost.check_publishable(sent.exchange)?;
        check_whole(sent.properties)?;
        let channel = self.channel(number)?.id;
        let raw = reply_to::with_reply_to(sent.properties, channel, cx)?;
        let raw = with_plain_expiration(raw)?;
        let raw = self.settings.stamps.on(raw, cx.now, cx.vhost.node());
        let copies = Copies::find(&raw)?;
        let keys = copies.as_ref().map(|copies| &*copies.keys).unwrap_or_default();
        for routing_key in std::iter::once(sent.routing_key).chain(keys.iter().copied()) {
            self.may_write_topic(cx, sent.exchange, routing_key)?;
        }
        check_user_id(&raw, &self.settings.user, self.settings.impersonates)?;
        let blind = copies.as_ref().and_then(|copies| copies.shown.as_deref());
        let marks = if blind.is_some() { BLIND } else { 0 };
        let (kept, shown) =
            (Message { properties: &raw, ..*sent }, Message { properties: blind.unwrap_or(&raw), ..*sent });
        let in_tx = matches!(self.channel(number)?.mode, Mode::Tx(_));
        let found = if in_tx { cx.vhost.preview(&shown, keys) } else { cx.vhost.route_copies(&shown, keys) };
        let Route { targets, filtered, .. } = found;
        if cx.vhost.is_tracing() {
            cx.vhost.trace_publish(self.id, number, &kept, &targets);
        }
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if let Mode::Tx(transaction) = &mut channel.mode {
            transaction.publish(&kept, marks, incoming.mandatory, routed(&targets, filtered), cx.vhost);
            transaction.show(channel.id, cx.vhost);
            return Ok(());
        }
        let outcome = cx.vhost.publish_marked(&targets, &kept, marks, cx.now, cx.outboxes);
        let exchange = cx.vhost.exchange_named(sent.exchange);
        if channel.note_published(exchange, targets.len(), cx.vhost) {
            self.publishing.push(number);
        }
        if channel.mode.count_publish(outcome) {
            self.confirming.push(number);
        }
        if outcome == Outcome::Refused {
            self.refuse_publish(number, cx);
        }
        if targets.is_empty() && !filtered {
            self.unroutable(number, &shown, incoming.mandatory, cx);
        }
        cx.vhost.give_back(targets);
        Ok(())
    }

    /// A message that no queue took goes back where its publisher wants to know. Its confirm comes at the end of the
    /// batch, and so after it.
    pub(super) fn unroutable(
        &mut self,
        number: u16,
        message: &Message<'_>,
        mandatory: bool,
        cx: &mut Context<'_>,
    ) {
        let returned = mandatory && !reply_to::is_reply(message.exchange, message.routing_key);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.note_unroutable(returned);
        }
        if returned {
            if let Some(outbox) = cx.outboxes.get(self.id) {
                outbox.put_return(number, message);
            }
        }
    }

    /// A queue had no room for a message: its publisher is told at once, after what came before it.
    fn refuse_publish(&mut self, number: u16, cx: &mut Context<'_>) {
        self.flush_confirms(cx);
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let Mode::Confirm(confirms) = &mut channel.mode else { return };
        channel.refused += 1;
        let sequence = confirms.count_refused();
        cx.outboxes.refuse(self.id, number, sequence);
    }

    /// Confirms what all channels have published, in one frame each, or leaves it to wait for a commit.
    pub(super) fn flush_confirms(&mut self, cx: &mut Context<'_>) {
        for number in self.confirming.drain(..) {
            let Some(channel) = self.channels.get_mut(&number) else { continue };
            if let Mode::Confirm(confirms) = &mut channel.mode {
                cx.outboxes.confirm(self.id, number, confirms.flush());
            }
        }
    }

    /// Counts what channels have published since this was called last.
    pub(super) fn count_published(&mut self, cx: &mut Context<'_>) {
        for number in self.publishing.drain(..) {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.count(cx.vhost);
                channel.tallied = false;
            }
        }
    }

    pub(super) fn confirm_method(
        &mut self,
        number: u16,
        method: &confirm::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let confirm::AMQPMethod::Select(select) = method else { return Err(unimplemented_method()) };
        let channel = self.channel(number)?;
        match &channel.mode {
            Mode::Tx(_) => {
                return Err(Exception::precondition_failed("cannot switch from tx to confirm mode"));
            }
            Mode::Plain => {
                channel.count(cx.vhost);
                channel.mode = Mode::Confirm(Confirms::default());
                cx.vhost.show_manner(channel.id, Manner::Confirm);
            }
            Mode::Confirm(_) => {}
        }
        let ok = AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}));
        self.reply_unless(select.nowait, number, &ok, cx);
        Ok(())
    }
}

/// Where a message of a transaction goes, unless exchanges that drop duplicates are to say so at its commit.
fn routed(targets: &[QueueId], filtered: bool) -> Option<&[QueueId]> {
    (!filtered).then_some(targets)
}

/// Whether a message is not to go on as it came. That it is well formed is seen to later.
fn is_special(raw: &[u8]) -> bool {
    if properties::flags(raw) & (HEADERS | REPLY_TO | EXPIRATION) == 0 {
        return false;
    }
    let Ok(found) = properties::walk(raw) else { return false };
    found.headers.is_some_and(copies::are_in)
        || found.reply_to == Some(replies::REPLY_TO.as_bytes())
        || found.expiration.is_some_and(|expiration| !is_plain(expiration))
}
