//! Commands one after the other, and what becomes of those that fail.

use std::ops::ControlFlow;
use std::vec::Drain;

use amq_protocol::protocol::{AMQPClass, access, basic, channel, connection, exchange, queue};

use super::aside::Aside;
use super::channel::{Channel, Mode};
use super::command::{Command, Incoming};
use super::{Context, Session, State};
use crate::auth::limits::{Counted, Limit};
use crate::broker::commit::Commit;
use crate::broker::settle::Verdict;
use crate::broker::text;
use crate::wire::method::{self, Get};
use crate::wire::reply::{Exception, MethodId};

const ACK: MethodId = (60, 80);
const REJECT: MethodId = (60, 90);
const NACK: MethodId = (60, 120);
const CHANNEL_OPEN: MethodId = (20, 10);
/// The messages a batch may move at once, some milliseconds' worth: a small publish can be copied to many queues.
const WORK_MAX: u64 = 10_000;

impl Session {
    /// Runs what has been parsed from `input`, which has to be the input that was given to
    /// [`parse`](Session::parse). What would keep the vhost from others for too long is left to the next call; from a
    /// command that has to wait on, all is put aside.
    pub fn run(&mut self, input: &[u8], commands: &mut Drain<'_, Command>, cx: &mut Context<'_>) {
        self.run_some(input, commands, cx);
        if let Some(command) = self.stuck.take() {
            self.aside = Some(Box::new(Aside::new(input, command, commands)));
        }
    }

    /// Goes on with what was put aside, in the same way.
    pub fn go_on(&mut self, cx: &mut Context<'_>) {
        let Some(mut aside) = self.aside.take() else { return };
        aside.waiting = false;
        let (input, mut commands) = aside.parts();
        self.run_some(input, &mut commands, cx);
        drop(commands);
        if let Some(command) = self.stuck.take() {
            aside.wait(command);
        }
        self.aside = Some(aside).filter(|aside| !aside.is_empty());
    }

    fn run_some(&mut self, input: &[u8], commands: &mut impl Iterator<Item = Command>, cx: &mut Context<'_>) {
        self.note_closed(cx);
        let begun = cx.vhost.work();
        if cx.vhost.notes_events() {
            cx.vhost.act_for_connection(self.id);
        }
        for command in commands {
            match self.state {
                State::Running => self.step(input, command, cx),
                _ => self.step_closing(&command, cx),
            }
            if cx.vhost.work() - begun >= WORK_MAX || self.stuck.is_some() {
                break;
            }
        }
        cx.vhost.dispatch_due(cx.outboxes);
        self.flush_confirms(cx);
        self.count_published(cx);
    }

    fn step(&mut self, input: &[u8], command: Command, cx: &mut Context<'_>) {
        if !matches!(command, Command::Ack { .. } | Command::Nack { .. } | Command::Reject { .. }) {
            cx.vhost.dispatch_due(cx.outboxes);
        }
        let (number, result) = match command {
            Command::Publish { channel, publish, payload, properties, body } => {
                let incoming = Incoming::in_place(input, publish, &payload, &properties, &body);
                (channel, self.publish(channel, &incoming, cx))
            }
            Command::Assembled { channel, message } => {
                (channel, self.publish(channel, &Incoming::assembled(&message), cx))
            }
            Command::Get { channel, queue, no_ack } => {
                let name = text(&input[queue.start as usize..queue.end as usize]);
                let result = self.get(channel, &name, no_ack, cx).map_err(|e| with_cause(e, Get::ID));
                if let Ok(true) = result {
                    self.stuck = Some(Command::Get { channel, queue, no_ack });
                }
                (channel, result.map(drop))
            }
            Command::Ack { channel, delivery_tag, multiple } => {
                (channel, self.settle(channel, ACK, delivery_tag, multiple, Verdict::Done, cx))
            }
            Command::Nack { channel, delivery_tag, multiple, requeue } => {
                let verdict = if requeue { Verdict::Requeue } else { Verdict::Discard };
                (channel, self.settle(channel, NACK, delivery_tag, multiple, verdict, cx))
            }
            Command::Reject { channel, delivery_tag, requeue } => {
                let verdict = if requeue { Verdict::Fail } else { Verdict::Reject };
                (channel, self.settle(channel, REJECT, delivery_tag, false, verdict, cx))
            }
            Command::Method { channel: 0, id, class } => {
                (0, self.connection_method(&class, cx).map_err(|e| with_cause(e, id)))
            }
            Command::Method { channel, id, class } => {
                (channel, self.channel_method(channel, id, *class, cx).map_err(|e| with_cause(e, id)))
            }
            Command::Foreign { channel, id } => {
                (channel, self.foreign_method(channel).map_err(|e| e.caused_by(id)))
            }
            Command::Fault(exception) => (0, Err(exception)),
        };
        if let Err(exception) = result {
            self.refuse(number, &exception, cx);
        }
    }

    fn foreign_method(&mut self, number: u16) -> Result<(), Exception> {
        if self.channel(number)?.closing { Ok(()) } else { Err(unimplemented_method()) }
    }

    /// Closes what the exception asks for.
    pub fn refuse(&mut self, number: u16, exception: &Exception, cx: &mut Context<'_>) {
        self.flush_confirms(cx);
        if number == 0 || exception.code.is_hard() {
            self.log_error(number, exception);
            self.leave(cx);
            self.state = State::Closing;
        } else {
            self.log_error(number, exception);
            self.end_channel(number, cx);
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.closing = true;
            }
        }
        if let Some(outbox) = cx.outboxes.get(self.id) {
            if self.state == State::Closing {
                outbox.reopen();
            }
            method::put_close(outbox.frames(), number, exception);
        }
    }

    /// Tells the log of an error, as RabbitMQ does.
    fn log_error(&self, channel: u16, exception: &Exception) {
        let (label, code, why) = (&self.label, exception.code.erlang_name(), &exception.explanation);
        let operation = method::name(exception.cause);
        if channel == 0 || exception.code.is_hard() {
            tracing::error!(
                target: "connection",
                below = %format_args!(" operation {operation} caused a connection exception {code}: {why:?}"),
                "Error on AMQP {label}, state: running), channel {channel}:"
            );
        } else {
            tracing::error!(
                target: "channel",
                below = %format_args!("operation {operation} caused a channel exception {code}: {why}"),
                "Channel error on {label}), channel {channel}:"
            );
        }
    }

    /// Everything the connection has in its vhost ends: channels, consumers, exclusive queues.
    pub fn leave(&mut self, cx: &mut Context<'_>) {
        self.count_published(cx);
        for channel in self.channels.values_mut() {
            channel.give_back(cx);
        }
        self.channels.clear();
        // What was to come is looked through for the client's close at once.
        if let Some(aside) = &mut self.aside {
            aside.waiting = false;
        }
        cx.outboxes.forget_confirms(self.id);
        cx.vhost.disconnect(self.id, cx.outboxes);
    }

    /// The broker may have closed channels since something was run.
    fn note_closed(&mut self, cx: &mut Context<'_>) {
        for number in cx.outboxes.take_closed(self.id) {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.give_back(cx);
                channel.mode = Mode::Plain;
                channel.closing = true;
            }
        }
    }

    fn end_channel(&mut self, number: u16, cx: &mut Context<'_>) {
        self.count_published(cx);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.give_back(cx);
            channel.mode = Mode::Plain;
            channel.counted = None;
            cx.outboxes.forget_confirms_of(self.id, number);
            cx.vhost.close_channel(channel.id, cx.outboxes);
        }
    }

    /// What is still of interest on a connection that is being closed: its closing.
    fn step_closing(&mut self, command: &Command, cx: &mut Context<'_>) {
        let Command::Method { channel: 0, class, .. } = command else { return };
        match **class {
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) if self.state == State::Closing => {
                self.state = State::Over;
            }
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                self.reply(0, &connection_close_ok(), cx);
            }
            _ => {}
        }
    }

    fn connection_method(&mut self, class: &AMQPClass, cx: &mut Context<'_>) -> Result<(), Exception> {
        use connection::AMQPMethod as M;
        match class {
            AMQPClass::Connection(M::Close(_)) => {
                self.flush_confirms(cx);
                self.leave(cx);
                self.reply(0, &connection_close_ok(), cx);
                self.state = State::Left;
                Ok(())
            }
            // Only the OAuth 2 backend looks at a new secret; the others take and ignore it, as RabbitMQ's do.
            AMQPClass::Connection(M::UpdateSecret(_)) => {
                let ok = AMQPClass::Connection(M::UpdateSecretOk(connection::UpdateSecretOk {}));
                self.reply(0, &ok, cx);
                Ok(())
            }
            _ => Err(Exception::channel_error("unexpected method in connection state running")),
        }
    }

    fn channel_method(
        &mut self,
        number: u16,
        id: MethodId,
        class: AMQPClass,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        // What has been published before is confirmed before this is answered.
        self.flush_confirms(cx);
        if id == CHANNEL_OPEN {
            return self.open_channel(number, cx);
        }
        if has_shortcut(&class) {
            self.check_shortcut(number, cx)?;
        }
        if self.state != State::Running {
            return Ok(());
        }
        if self.channel(number)?.closing {
            self.method_while_closing(number, &class, cx);
            return Ok(());
        }
        use channel::AMQPMethod as C;
        match class {
            AMQPClass::Channel(C::Close(_)) => {
                self.end_channel(number, cx);
                self.channels.remove(&number);
                self.reply(number, &channel_close_ok(), cx);
                Ok(())
            }
            AMQPClass::Channel(C::Flow(flow)) if flow.active => {
                self.reply(number, &AMQPClass::Channel(C::FlowOk(channel::FlowOk { active: true })), cx);
                Ok(())
            }
            AMQPClass::Channel(C::Flow(_)) => Err(Exception::not_implemented("active=false")),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                self.reply(number, &AMQPClass::Access(ok), cx);
                Ok(())
            }
            AMQPClass::Exchange(method) => {
                let gated = changes_exchanges(&method);
                self.defining(gated, cx, |session, cx| session.exchange_method(number, method, cx))
            }
            AMQPClass::Queue(method) => {
                let gated = changes_queues(&method);
                self.defining(gated, cx, |session, cx| session.queue_method(number, method, cx))
            }
            AMQPClass::Basic(method) => self.basic_method(number, method, cx),
            AMQPClass::Confirm(method) => self.confirm_method(number, &method, cx),
            AMQPClass::Tx(method) => self.tx_method(number, &method, cx),
            _ => Err(unimplemented_method()),
        }
    }

    /// Runs a method of the classes that change definitions. Where the reply says that they have changed (`gated`), it
    /// waits until they are on disk, and everything after it waits as well.
    fn defining(
        &mut self,
        gated: bool,
        cx: &mut Context<'_>,
        run: impl FnOnce(&mut Self, &mut Context<'_>) -> Result<(), Exception>,
    ) -> Result<(), Exception> {
        let mark = cx.outboxes.mark(self.id);
        run(self, cx)?;
        match cx.vhost.commits.definitions() {
            Some(commit) if gated => self.hold_back(mark, commit, cx),
            _ => Ok(()),
        }
    }

    /// Holds back what has been sent since a mark until a commit is on disk.
    pub(super) fn hold_back(
        &mut self,
        mark: usize,
        commit: Commit,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        if cx.outboxes.gate(self.id, mark, commit) { Ok(()) } else { Err(unwritable()) }
    }

    /// RabbitMQ looks for the queue that an empty name means before it looks whether the channel is open, so that
    /// on one that is not, such a method closes the channel and not the connection.
    pub(super) fn check_shortcut(&mut self, number: u16, cx: &mut Context<'_>) -> Result<(), Exception> {
        if self.channels.contains_key(&number) || !self.add_channel(number, cx) {
            return Ok(());
        }
        Err(no_previous_queue())
    }

    fn open_channel(&mut self, number: u16, cx: &mut Context<'_>) -> Result<(), Exception> {
        if self.channels.contains_key(&number) {
            return Err(Exception::channel_error("second 'channel.open' seen"));
        }
        if !self.add_channel(number, cx) {
            return Ok(());
        }
        let ok = channel::AMQPMethod::OpenOk(channel::OpenOk {});
        self.reply(number, &AMQPClass::Channel(ok), cx);
        Ok(())
    }

    /// Adds a channel, and says so. One too many closes the connection, without naming a method.
    fn add_channel(&mut self, number: u16, cx: &mut Context<'_>) -> bool {
        match self.count_channel(cx) {
            Ok(counted) => {
                let mut channel = Channel::new(cx.vhost.open_channel(self.id, number));
                channel.counted = counted;
                self.channels.insert(number, channel);
                true
            }
            Err(too_many) => {
                self.refuse(0, &too_many, cx);
                false
            }
        }
    }

    /// Counts one channel more, if neither what was agreed on nor the user's limit is reached.
    fn count_channel(&self, cx: &Context<'_>) -> Result<Option<Counted>, Exception> {
        let (count, max) = (self.channels.len(), self.settings.channel_max);
        // 0 is no limit. A number for each channel there must be all the same.
        if count >= max as usize && max > 0 {
            return Err(Exception::not_allowed(format!(
                "number of channels opened ({count}) has reached the negotiated channel_max ({max})"
            )));
        }
        let Some(user) = cx.auth.user(&self.settings.user) else { return Ok(None) };
        let counted = user.counts.channels.add(user.limits.max_channels);
        counted.map(Some).map_err(|Limit(max)| {
            Exception::not_allowed(format!(
                "number of channels opened for user '{}' has reached the maximum allowed user limit of {max}",
                user.name
            ))
        })
    }

    fn method_while_closing(&mut self, number: u16, class: &AMQPClass, cx: &mut Context<'_>) {
        match class {
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => {
                self.channels.remove(&number);
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => self.reply(number, &channel_close_ok(), cx),
            _ => {}
        }
    }

    /// An open channel, or the error that RabbitMQ has for methods on one never opened.
    pub(super) fn channel(&mut self, number: u16) -> Result<&mut Channel, Exception> {
        self.channels.get_mut(&number).ok_or_else(not_open)
    }

    fn settle(
        &mut self,
        number: u16,
        cause: MethodId,
        delivery_tag: u64,
        multiple: bool,
        verdict: Verdict,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let channel = self.channel(number).map_err(|e| e.caused_by(cause))?;
        if channel.closing {
            return Ok(());
        }
        let result = match &mut channel.mode {
            Mode::Tx(transaction) => {
                let taken = cx.vhost.collect(channel.id, delivery_tag, multiple);
                let settled = taken.map(|taken| transaction.settle(taken, verdict));
                transaction.show(channel.id, cx.vhost);
                settled
            }
            _ => cx.vhost.settle(channel.id, delivery_tag, multiple, verdict),
        };
        result.map_err(|e| e.caused_by(cause))
    }

    pub(super) fn reply(&mut self, channel: u16, class: &AMQPClass, cx: &mut Context<'_>) {
        if let Some(outbox) = cx.outboxes.get(self.id) {
            method::put(outbox.frames(), channel, class);
        }
    }

    /// Replies unless the client said that it does not wait.
    pub(super) fn reply_unless(
        &mut self,
        no_wait: bool,
        channel: u16,
        class: &AMQPClass,
        cx: &mut Context<'_>,
    ) {
        if !no_wait {
            self.reply(channel, class, cx);
        }
    }

    /// Whether the connection goes on.
    pub fn flow(&self) -> ControlFlow<()> {
        if self.state == State::Over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// RabbitMQ's answer to methods on a channel that was never opened.
pub(super) fn not_open() -> Exception {
    Exception::channel_error("expected 'channel.open'")
}

pub(super) fn no_previous_queue() -> Exception {
    Exception::not_found("no previously declared queue")
}

/// Whether a method means a queue by an empty name.
fn has_shortcut(class: &AMQPClass) -> bool {
    use {basic::AMQPMethod as B, queue::AMQPMethod as Q};
    let queue = match class {
        AMQPClass::Queue(Q::Bind(bind)) => &bind.queue,
        AMQPClass::Queue(Q::Unbind(unbind)) => &unbind.queue,
        AMQPClass::Queue(Q::Purge(purge)) => &purge.queue,
        AMQPClass::Queue(Q::Delete(delete)) => &delete.queue,
        AMQPClass::Basic(B::Consume(consume)) => &consume.queue,
        _ => return false,
    };
    queue.as_str().is_empty()
}

/// Whether the reply to a method of the exchange class says that definitions have changed.
fn changes_exchanges(method: &exchange::AMQPMethod) -> bool {
    use exchange::AMQPMethod as M;
    match method {
        M::Declare(declare) => !declare.passive && !declare.nowait,
        M::Delete(delete) => !delete.nowait,
        M::Bind(bind) => !bind.nowait,
        M::Unbind(unbind) => !unbind.nowait,
        _ => false,
    }
}

/// The same for the queue class.
fn changes_queues(method: &queue::AMQPMethod) -> bool {
    use queue::AMQPMethod as M;
    match method {
        M::Declare(declare) => !declare.passive && !declare.nowait,
        M::Delete(delete) => !delete.nowait,
        M::Bind(bind) => !bind.nowait,
        M::Unbind(_) => true,
        // What is gone for good is waited for as well.
        M::Purge(purge) => !purge.nowait,
        _ => false,
    }
}

/// What clients are told when a change can no longer be kept.
pub fn unwritable() -> Exception {
    Exception::internal_error("the data folder cannot be written")
}

/// Names the method as the cause, but for RabbitMQ's internal errors, which name none.
fn with_cause(exception: Exception, id: MethodId) -> Exception {
    let internal = exception.code == crate::wire::reply::ReplyCode::InternalError;
    if internal && exception.explanation.is_empty() { exception } else { exception.caused_by(id) }
}

/// RabbitMQ's answer to methods that only a server sends.
pub(super) fn unimplemented_method() -> Exception {
    Exception::command_invalid("unimplemented method")
}

fn connection_close_ok() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
}

fn channel_close_ok() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
}
