//! The queue class.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, queue};
use amq_protocol::types::AMQPValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::exchange::strip_cr_lf;
use super::reply_to;
use super::run::{no_previous_queue, unimplemented_method};
use super::{Context, Session};
use crate::broker::exchange::arguments::check_exchange_name;
use crate::broker::exchange::declare::check_not_reserved;
use crate::broker::queue::arguments::{Declared, check_server_named};
use crate::broker::queue::declare::{Counts, Declaration};
use crate::wire::reply::Exception;

use queue::AMQPMethod as M;

impl Session {
    pub(super) fn queue_method(
        &mut self,
        number: u16,
        method: queue::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let (no_wait, ok) = match method {
            M::Declare(declare) => {
                let no_wait = declare.nowait;
                let (name, counts) = self.declare_queue(number, declare, cx)?;
                self.channel(number)?.last_queue = Some(Arc::clone(&name));
                let ok = queue::DeclareOk {
                    queue: (&*name).into(),
                    message_count: count(counts.ready),
                    consumer_count: count(counts.consumers),
                };
                (no_wait, M::DeclareOk(ok))
            }
            M::Bind(bind) => {
                let no_wait = bind.nowait;
                self.bind_queue(number, bind, cx)?;
                (no_wait, M::BindOk(queue::BindOk {}))
            }
            M::Unbind(unbind) => {
                self.unbind_queue(number, &unbind, cx)?;
                (false, M::UnbindOk(queue::UnbindOk {}))
            }
            M::Purge(purge) => {
                let name = self.queue_name(number, purge.queue.as_str())?;
                self.may_read(cx, "queue", name.as_bytes())?;
                // There never is anything to purge.
                let purged = if cx.vhost.awaits_replies(name.as_bytes()) {
                    0
                } else {
                    cx.vhost.purge(Some(self.id), name.as_bytes(), cx.outboxes)?
                };
                let message_count = count(purged);
                (purge.nowait, M::PurgeOk(queue::PurgeOk { message_count }))
            }
            M::Delete(delete) => {
                let name = self.queue_name(number, delete.queue.as_str())?;
                self.may_configure(cx, "queue", &name)?;
                if reply_to::is_meant(&name) {
                    let ok = M::DeleteOk(queue::DeleteOk { message_count: 0 });
                    self.reply_unless(delete.nowait, number, &AMQPClass::Queue(ok), cx);
                    return Ok(());
                }
                let queue::Delete { if_unused, if_empty, .. } = delete;
                let owner = Some(self.id);
                // The deletion's own cancellations come after its reply.
                let ready = cx.vhost.deletable(owner, name.as_bytes(), if_unused, if_empty)?;
                let ok = M::DeleteOk(queue::DeleteOk { message_count: count(ready) });
                self.reply_unless(delete.nowait, number, &AMQPClass::Queue(ok), cx);
                cx.vhost.delete_queue(owner, name.as_bytes(), if_unused, if_empty, cx.outboxes)?;
                return Ok(());
            }
            _ => return Err(unimplemented_method()),
        };
        self.reply_unless(no_wait, number, &AMQPClass::Queue(ok), cx);
        Ok(())
    }

    /// The queue a method means: an empty name is the one declared last on the channel.
    pub(super) fn queue_name(&mut self, number: u16, name: &str) -> Result<Arc<str>, Exception> {
        if name.is_empty() {
            let last = self.channel(number)?.last_queue.clone();
            return last.ok_or_else(no_previous_queue);
        }
        Ok(strip_cr_lf(name).into())
    }

    fn declare_queue(
        &mut self,
        number: u16,
        mut wanted: queue::Declare,
        cx: &mut Context<'_>,
    ) -> Result<(Arc<str>, Counts), Exception> {
        let name = strip_cr_lf(wanted.queue.as_str());
        if reply_to::is_meant(&name) {
            let counts = self.declare_replies(number, &name, cx)?;
            return Ok((name.into(), counts));
        }
        if wanted.passive {
            self.may_look_at(cx, "queue", &name)?;
            let counts = cx.vhost.check_queue(self.id, name.as_bytes())?;
            return Ok((name.into(), counts));
        }
        let queue::Declare { durable, exclusive, auto_delete, .. } = wanted;
        cx.vhost.add_default_type(&mut wanted.arguments, &Declared { durable, exclusive, auto_delete });
        let name: Arc<str> = if name.is_empty() {
            check_server_named(&wanted.arguments)?;
            made_up("amq.gen", "-", cx).into()
        } else {
            check_not_reserved("queue", &name)?;
            name.into()
        };
        self.may_configure(cx, "queue", &name)?;
        if cx.vhost.queue(name.as_bytes()).is_none() {
            self.check_dead_letter_exchange(cx, &name, &wanted.arguments)?;
        }
        let declaration = Declaration {
            name: Arc::clone(&name),
            durable,
            exclusive,
            auto_delete,
            arguments: wanted.arguments,
            creator: Some(Arc::clone(&self.settings.user)),
        };
        let counts = cx.vhost.declare_queue(Some(self.id), declaration)?;
        Ok((name, counts))
    }

    /// Dead-lettering moves messages, so it takes leave to read from the queue and to write to the exchange.
    fn check_dead_letter_exchange(
        &self,
        cx: &Context<'_>,
        name: &str,
        arguments: &amq_protocol::types::FieldTable,
    ) -> Result<(), Exception> {
        let key = "x-dead-letter-exchange";
        check_exchange_name(arguments, key, &cx.vhost.describe("queue", name.as_bytes()))?;
        if let Some(AMQPValue::LongString(exchange)) = arguments.inner().get(key) {
            self.may_read(cx, "queue", name.as_bytes())?;
            self.may_write(cx, "exchange", exchange.as_bytes())?;
        }
        Ok(())
    }

    fn bind_queue(&mut self, number: u16, bind: queue::Bind, cx: &mut Context<'_>) -> Result<(), Exception> {
        let name = self.queue_name(number, bind.queue.as_str())?;
        let key = routing_key(&name, bind.queue.as_str(), bind.routing_key.as_str());
        let exchange = strip_cr_lf(bind.exchange.as_str());
        reply_to::check_bindable(&name)?;
        self.may_write(cx, "queue", name.as_bytes())?;
        self.may_read(cx, "exchange", exchange.as_bytes())?;
        self.may_read_topic(cx, exchange.as_bytes(), key)?;
        cx.vhost.bind_queue(Some(self.id), name.as_bytes(), exchange.as_bytes(), key, bind.arguments)
    }

    fn unbind_queue(
        &mut self,
        number: u16,
        unbind: &queue::Unbind,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let name = self.queue_name(number, unbind.queue.as_str())?;
        let key = routing_key(&name, unbind.queue.as_str(), unbind.routing_key.as_str());
        let exchange = strip_cr_lf(unbind.exchange.as_str());
        reply_to::check_bindable(&name)?;
        self.may_write(cx, "queue", name.as_bytes())?;
        self.may_read(cx, "exchange", exchange.as_bytes())?;
        self.may_read_topic(cx, exchange.as_bytes(), key)?;
        cx.vhost.unbind_queue(Some(self.id), name.as_bytes(), exchange.as_bytes(), key, &unbind.arguments)
    }
}

/// The key of a binding: where neither queue nor key is named, it is the name of the queue declared last.
fn routing_key<'a>(name: &'a str, queue: &str, key: &'a str) -> &'a [u8] {
    if queue.is_empty() && key.is_empty() { name.as_bytes() } else { key.as_bytes() }
}

/// A name that the server makes up, in RabbitMQ's form.
pub(super) fn made_up(prefix: &str, mark: &str, cx: &Context<'_>) -> String {
    format!("{prefix}{mark}{}", URL_SAFE_NO_PAD.encode((cx.random)()))
}

/// A count for the wire, which has 32 bits for it.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
