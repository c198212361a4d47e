//! The basic class, but for publishing and acknowledging.

use amq_protocol::protocol::{AMQPClass, basic};

use super::exchange::strip_cr_lf;
use super::queue::made_up;
use super::reply_to;
use super::run::{no_previous_queue, unimplemented_method};
use super::{Context, Session, State};
use crate::broker::ChannelId;
use crate::broker::queue::consumer::Consume;
use crate::broker::queue::dispatch::Fetched;
use crate::broker::queue::replies::REPLY_TO;
use crate::broker::settle::Verdict;
use crate::wire::method;
use crate::wire::reply::Exception;

use basic::AMQPMethod as M;

impl Session {
    pub(super) fn basic_method(
        &mut self,
        number: u16,
        method: basic::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        match method {
            M::Qos(qos) => self.qos(number, &qos, cx),
            M::Consume(consume) => self.consume(number, consume, cx),
            M::Cancel(cancel) => {
                let id = self.channel(number)?.id;
                let tag = cancel.consumer_tag;
                cx.vhost.cancel(id, tag.as_str().as_bytes(), cx.outboxes);
                let ok = AMQPClass::Basic(M::CancelOk(basic::CancelOk { consumer_tag: tag }));
                self.reply_unless(cancel.nowait, number, &ok, cx);
                Ok(())
            }
            M::Recover(basic::Recover { requeue }) => {
                self.recover(number, requeue, cx)?;
                Ok(())
            }
            M::RecoverAsync(basic::RecoverAsync { requeue: true }) => {
                let id = self.channel(number)?.id;
                cx.vhost.requeue_all(id, Verdict::Requeue, cx.outboxes);
                Ok(())
            }
            M::RecoverAsync(_) => Err(Exception::not_implemented("requeue=false")),
            _ => Err(unimplemented_method()),
        }
    }

    /// With `global` the limit is for all consumers of the channel together; in RabbitMQ 4.3 that makes no difference,
    /// and every consumer to come has a window of its own.
    fn qos(&mut self, number: u16, qos: &basic::Qos, cx: &mut Context<'_>) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        let has_window = cx.vhost.compatibility.has_channel_window() || cx.vhost.permits.global_qos;
        if qos.global && has_window {
            cx.vhost.set_window(id, qos.prefetch_count);
        } else {
            cx.vhost.set_prefetch(id, qos.prefetch_count);
            if qos.global {
                self.hint_at_global();
            }
        }
        self.reply(number, &AMQPClass::Basic(M::QosOk(basic::QosOk {})), cx);
        Ok(())
    }

    fn hint_at_global(&mut self) {
        if !std::mem::replace(&mut self.hinted_at_global, true) {
            tracing::warn!(
                user = &*self.settings.user,
                vhost = &*self.settings.vhost,
                "basic.qos with global set limits each consumer and not the channel since RabbitMQ 4.3: do not set it, or \
                 start with --compatibility 4.0"
            );
        }
    }

    fn consume(
        &mut self,
        number: u16,
        wanted: basic::Consume,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        // A tag that is taken is noticed before the queue is looked at.
        let tag = wanted.consumer_tag.as_str().as_bytes();
        // A requester that consumes once more is told so.
        if !(reply_to::is_meant(wanted.queue.as_str()) && cx.vhost.consumes_replies(id, tag)) {
            cx.vhost.check_consumer_tag(id, tag)?;
        }
        self.check_consumer_max(id, cx)?;
        let name = self.queue_name(number, wanted.queue.as_str())?;
        if *name != *REPLY_TO {
            self.may_read(cx, "queue", name.as_bytes())?;
            if wanted.arguments.contains_key("x-stream-group") {
                for partition in cx.vhost.partition_names(name.as_bytes()) {
                    self.may_read(cx, "queue", partition.as_bytes())?;
                }
            }
            self.check_consumable(id, &name, cx)?;
        }
        let tag = match wanted.consumer_tag.as_str() {
            "" => made_up("amq.ctag", "-", cx),
            tag => tag.to_owned(),
        };
        let consume = Consume {
            queue: name.as_bytes(),
            tag: tag.as_bytes(),
            no_ack: wanted.no_ack,
            exclusive: wanted.exclusive,
            arguments: wanted.arguments,
        };
        let consumer = if *name == *REPLY_TO {
            self.consume_replies(id, &tag, wanted.no_ack, cx)?
        } else {
            cx.vhost.consume(id, consume)?
        };
        let ok = basic::ConsumeOk { consumer_tag: tag.as_str().into() };
        self.reply_unless(wanted.nowait, number, &AMQPClass::Basic(M::ConsumeOk(ok)), cx);
        cx.vhost.start_consumer(consumer, cx.outboxes);
        Ok(())
    }

    /// Refuses one consumer more where a channel has as many as it may have.
    fn check_consumer_max(&self, id: ChannelId, cx: &Context<'_>) -> Result<(), Exception> {
        let Some(max) = self.settings.consumer_max else { return Ok(()) };
        let count = cx.vhost.channel(id).map_or(0, |channel| channel.consumers.len());
        if count < max as usize {
            return Ok(());
        }
        Err(Exception::not_allowed(format!("reached maximum ({max}) of consumers per channel")))
    }

    /// `basic.get`, without memory for it, since some clients poll. Returns whether it has to be tried again when the
    /// message has been read from disk.
    pub(super) fn get(
        &mut self,
        number: u16,
        queue: &str,
        no_ack: bool,
        cx: &mut Context<'_>,
    ) -> Result<bool, Exception> {
        // What has been published before is confirmed before this is answered.
        self.flush_confirms(cx);
        if queue.is_empty() {
            self.check_shortcut(number, cx)?;
            if self.state != State::Running {
                return Ok(false);
            }
        }
        let channel = self.channel(number)?;
        if channel.closing {
            return Ok(false);
        }
        let id = channel.id;
        let (last, stripped);
        let name = if queue.is_empty() {
            last = channel.last_queue.clone().ok_or_else(no_previous_queue)?;
            &*last
        } else if queue.contains(['\r', '\n']) {
            stripped = strip_cr_lf(queue);
            &stripped
        } else {
            queue
        };
        self.may_read(cx, "queue", name.as_bytes())?;
        self.check_gettable(name, cx)?;
        match cx.vhost.get(id, name.as_bytes(), no_ack, cx.outboxes)? {
            Fetched::Message => {}
            Fetched::Empty => {
                if let Some(outbox) = cx.outboxes.get(self.id) {
                    method::put_get_empty(outbox.frames(), number);
                }
            }
            Fetched::Wait => return Ok(true),
        }
        Ok(false)
    }

    fn recover(&mut self, number: u16, requeue: bool, cx: &mut Context<'_>) -> Result<(), Exception> {
        if !requeue {
            return Err(Exception::not_implemented("requeue=false"));
        }
        let id = self.channel(number)?.id;
        self.reply(number, &AMQPClass::Basic(M::RecoverOk(basic::RecoverOk {})), cx);
        cx.vhost.requeue_all(id, Verdict::Requeue, cx.outboxes);
        Ok(())
    }
}
