//! `tx`: publishes and settlements that happen at commit, or not at all.

use amq_protocol::protocol::{AMQPClass, tx};

use super::channel::{Channel, Mode};
use super::copies::Copies;
use super::run::unimplemented_method;
use super::{Context, Session};
use crate::broker::channel::{Manner, Unacked};
use crate::broker::dead_letter::seen;
use crate::broker::publish::{Outcome, Route};
use crate::broker::queue::replies;
use crate::broker::settle::Verdict;
use crate::broker::{ChannelId, Name, QueueId, Vhost};
use crate::wire::content::{Body, Message};
use crate::wire::frame::erlang_binary;
use crate::wire::reply::Exception;

/// What a transaction has gathered so far.
#[derive(Debug, Default)]
pub struct Transaction {
    publishes: Vec<Publish>,
    settlements: Vec<(Verdict, Vec<Unacked>)>,
    /// How many deliveries are in there.
    settled: usize,
}

/// A message to be published at commit. Its route is that of the moment it came in, as in RabbitMQ, but where duplicates
/// are dropped on its way: what they are is not known before.
#[derive(Debug)]
struct Publish {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    properties: Box<[u8]>,
    body: bytes::Bytes,
    mandatory: bool,
    /// What it is to be kept with.
    marks: u8,
    targets: Option<Box<[QueueId]>>,
    /// The names of the targets, should one be gone at commit.
    names: Box<[Name]>,
}

impl Transaction {
    pub fn publish(
        &mut self,
        message: &Message<'_>,
        marks: u8,
        mandatory: bool,
        targets: Option<&[QueueId]>,
        vhost: &Vhost,
    ) {
        let body = match message.body {
            Body::Inline(octets) => bytes::Bytes::copy_from_slice(octets),
            Body::Shared(bytes) => bytes.clone(),
        };
        self.publishes.push(Publish {
            exchange: message.exchange.into(),
            routing_key: message.routing_key.into(),
            properties: message.properties.into(),
            body,
            mandatory,
            marks,
            targets: targets.map(Box::from),
            names: targets.unwrap_or_default().iter().filter_map(|id| vhost.queue_name(*id)).collect(),
        });
    }

    /// Shows the vhost how much waits for the commit.
    pub fn show(&self, channel: ChannelId, vhost: &mut Vhost) {
        let Self { publishes, settled, .. } = self;
        vhost.show_manner(channel, Manner::Tx { messages: publishes.len(), settlements: *settled });
    }

    pub fn settle(&mut self, taken: Vec<Unacked>, verdict: Verdict) {
        self.settled += taken.len();
        self.settlements.push((verdict, taken));
    }
}

impl Publish {
    /// Where it goes now.
    fn route(&self, message: &Message<'_>, vhost: &mut Vhost) -> Route {
        let copies = Copies::find(message.properties).ok().flatten();
        let blind = copies.as_ref().and_then(|copies| copies.shown.as_deref());
        let shown = Message { properties: blind.unwrap_or(message.properties), ..*message };
        let keys = copies.as_ref().map(|copies| &*copies.keys).unwrap_or_default();
        vhost.route_copies(&shown, keys)
    }
}

impl Channel {
    /// Puts back what an open transaction has taken out of the channel's unacknowledged deliveries.
    pub fn give_back(&mut self, cx: &mut Context<'_>) {
        if let Mode::Tx(transaction) = &mut self.mode {
            let settlements = std::mem::take(&mut **transaction).settlements;
            transaction.show(self.id, cx.vhost);
            cx.vhost.restore(self.id, settlements.into_iter().flat_map(|(_, taken)| taken).collect());
        }
    }
}

impl Session {
    pub(super) fn tx_method(
        &mut self,
        number: u16,
        method: &tx::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        use tx::AMQPMethod as M;
        let channel = self.channel(number)?;
        let ok = match (method, &mut channel.mode) {
            (M::Select(_), Mode::Confirm(_)) => {
                return Err(Exception::precondition_failed("cannot switch from confirm to tx mode"));
            }
            (M::Select(_), mode) => {
                if matches!(mode, Mode::Plain) {
                    *mode = Mode::Tx(Box::default());
                    cx.vhost.show_manner(channel.id, Manner::Tx { messages: 0, settlements: 0 });
                }
                M::SelectOk(tx::SelectOk {})
            }
            (M::Commit(_), Mode::Tx(transaction)) => {
                let transaction = std::mem::take(&mut **transaction);
                cx.vhost.show_manner(channel.id, Manner::Tx { messages: 0, settlements: 0 });
                return self.commit(number, &transaction, cx);
            }
            (M::Rollback(_), Mode::Tx(_)) => {
                channel.give_back(cx);
                M::RollbackOk(tx::RollbackOk {})
            }
            (M::Commit(_) | M::Rollback(_), _) => {
                return Err(Exception::precondition_failed("channel is not transactional"));
            }
            _ => return Err(unimplemented_method()),
        };
        self.reply(number, &AMQPClass::Tx(ok), cx);
        Ok(())
    }

    /// Notes a message of a transaction that has led to so many queues, to be counted.
    fn note_committed(&mut self, number: u16, publish: &Publish, queues: usize, cx: &mut Context<'_>) {
        let exchange = cx.vhost.exchange_named(&publish.exchange);
        if let Some(channel) = self.channels.get_mut(&number) {
            if channel.note_published(exchange, queues, cx.vhost) {
                self.publishing.push(number);
            }
        }
    }

    /// Publishes first, then settles, each in the order they came. Returns go out before `commit-ok`, deliveries that
    /// acknowledgements make room for after it. A message whose queue is gone ends the connection, as in RabbitMQ.
    /// All of it is on disk when `commit-ok` is sent. If a queue had no room for one of them there is an error instead,
    /// and the rest has happened.
    fn commit(
        &mut self,
        number: u16,
        transaction: &Transaction,
        cx: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        let (mut durable, mut refused) = (false, false);
        for publish in &transaction.publishes {
            let known = publish.targets.as_deref().unwrap_or_default();
            let mut names = known.iter().zip(&publish.names);
            // A requester may go when it likes.
            let gone = |(id, name): &(&QueueId, &Name)| {
                cx.vhost.queue_name(**id).is_none() && !replies::is_key(name.as_bytes())
            };
            if let Some((_, name)) = names.find(gone) {
                for (_, taken) in &transaction.settlements {
                    cx.vhost.settle_collected(id, taken, Verdict::Fail, cx.outboxes);
                }
                return Err(undeliverable(&cx.vhost.name, name));
            }
            let message = Message {
                exchange: &publish.exchange,
                routing_key: &publish.routing_key,
                properties: &publish.properties,
                body: Body::Shared(&publish.body),
            };
            let found = publish.targets.is_none().then(|| publish.route(&message, cx.vhost));
            let (targets, filtered) =
                found.as_ref().map_or((known, false), |found| (&*found.targets, found.filtered));
            let outcome = cx.vhost.publish_marked(targets, &message, publish.marks, cx.now, cx.outboxes);
            self.note_committed(number, publish, targets.len(), cx);
            durable |= matches!(outcome, Outcome::Kept(_));
            refused |= outcome == Outcome::Refused;
            if targets.is_empty() && !filtered {
                seen(&message, publish.marks, |message| {
                    self.unroutable(number, message, publish.mandatory, cx);
                });
            }
        }
        let mark = cx.outboxes.mark(self.id);
        if !refused {
            self.reply(number, &AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {})), cx);
        }
        for (verdict, taken) in &transaction.settlements {
            if cx.vhost.is_tracing() {
                cx.vhost.trace_collected(id, taken, *verdict);
            }
            cx.vhost.settle_collected(id, taken, *verdict, cx.outboxes);
        }
        if refused {
            return Err(Exception::precondition_failed("partial tx completion"));
        }
        let settles = transaction.settlements.iter().any(|(_, taken)| !taken.is_empty());
        let Some(commit) = cx.vhost.commits.current().filter(|_| durable || settles) else { return Ok(()) };
        if settles {
            cx.vhost.commits.make_thorough();
        }
        self.hold_back(mark, commit, cx)
    }
}

/// RabbitMQ's text shows an Erlang term, which begins a new line where it would end after the 78th column.
fn undeliverable(vhost: &str, queue: &str) -> Exception {
    let before = "failed to deliver message: {not_found,";
    let term = format!(
        "{{resource,{},queue,{}}}}}",
        erlang_binary(vhost.as_bytes()),
        erlang_binary(queue.as_bytes())
    );
    let gap = if before.len() + term.len() > 78 { format!("\n{:31}", "") } else { String::new() };
    Exception::resource_error(format!("{before}{gap}{term}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_texts() {
        assert_eq!(
            undeliverable("probe", "fg").explanation,
            "failed to deliver message: {not_found,{resource,<<\"probe\">>,queue,<<\"fg\">>}}"
        );
        assert_eq!(
            undeliverable("probe", "fgone").explanation,
            "failed to deliver message: {not_found,\n                               \
             {resource,<<\"probe\">>,queue,<<\"fgone\">>}}"
        );
    }
}
