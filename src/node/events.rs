//! The event exchange: what happens on the node, published in its vhost `/`, if it is to.

use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use amq_protocol::types::AMQPValue;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::alarms::Alarm;
use super::connections::ConnectionInfo;
use super::ends::Ends;
use super::{NODE_NAME, Node, now};
use crate::broker::events::{EXCHANGE, Event, Facts, NOBODY};
use crate::session::handshake::Attempt;
use crate::wire::compose::Table;
use crate::wire::method;
use crate::wire::properties::{DELIVERY_MODE, TIMESTAMP};

/// Events that may wait to be published; more of them are lost.
const WAITING_MAX: usize = 100_000;
/// Events published with the vhost held once.
const AT_ONCE: usize = 500;

tokio::task_local! {
    /// On whose behalf the HTTP API does something.
    static ACTING: Arc<str>;
}

/// Does something on behalf of a user.
pub async fn acting_for<F: Future>(user: Arc<str>, run: F) -> F::Output {
    ACTING.scope(user, run).await
}

/// Does something on behalf of a user, or of nobody, on another thread than that of the request.
pub fn acting_as<R>(user: Option<Arc<str>>, run: impl FnOnce() -> R) -> R {
    match user {
        Some(user) => ACTING.sync_scope(user, run),
        None => run(),
    }
}

/// Who does what is being done, if it is asked for over HTTP.
pub fn acting() -> Option<Arc<str>> {
    ACTING.try_with(Arc::clone).ok()
}

/// What has happened and has not been published yet.
#[derive(Debug, Default)]
pub struct Events {
    /// The node's name, if it has another one than usual.
    node: OnceLock<Box<str>>,
    on: AtomicBool,
    waiting: Mutex<Vec<Event>>,
    more: Notify,
}

impl Events {
    /// The node is called this.
    pub(super) fn name_node(&self, name: &str) {
        // It is named once.
        let _ = self.node.set(name.into());
    }

    fn node(&self) -> &str {
        self.node.get().map_or(NODE_NAME, |name| name)
    }

    /// From now on events are told. Vhosts that are there already tell nothing.
    pub fn turn_on(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Tells what has happened in a vhost.
    pub(super) fn take(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        let room = WAITING_MAX.saturating_sub(waiting.len());
        if events.len() > room {
            tracing::warn!("{} events are lost: too many wait to be published", events.len() - room);
        }
        waiting.extend(events.into_iter().take(room));
        self.more.notify_one();
    }

    /// Tells something, with what `say` adds to nothing.
    fn tell(&self, key: &'static str, say: impl FnOnce(Facts) -> Facts) {
        if self.is_on() {
            self.take(vec![Event { at: now(), key, facts: say(Facts::default()) }]);
        }
    }

    /// Tells something that somebody did.
    pub fn done(&self, key: &'static str, say: impl FnOnce(Facts) -> Facts) {
        self.tell(key, |facts| {
            let user = acting();
            say(facts).text("user_who_performed_action", user.as_deref().unwrap_or(NOBODY))
        });
    }

    pub(super) fn connection_created(&self, info: &ConnectionInfo) {
        self.tell("connection.created", |facts| {
            let facts = ends(facts, &info.ends).text("name", &*info.name).text("pid", &*info.name);
            let facts = facts.text("auth_mechanism", &*info.mechanism).text("protocol", "{0,9,1}");
            let facts = facts.number("channel_max", info.channel_max.into());
            let facts =
                facts.number("frame_max", info.frame_max as u64).number("timeout", info.heartbeat.into());
            let facts = match &info.ends.tls {
                Some(tls) => facts.text("ssl_key_exchange", tls.key_exchange).text("ssl_hash", tls.hash),
                None => facts,
            };
            let facts = facts.terms("client_properties", &info.client_properties);
            let facts =
                facts.number("connected_at", info.connected_at).number("port", info.ends.local.port().into());
            let facts = facts.text("node", self.node()).text("type", "network").text("user", &*info.user);
            facts.text("user_who_performed_action", &*info.user).text("vhost", &*info.vhost)
        });
    }

    pub(super) fn connection_closed(&self, info: &ConnectionInfo) {
        self.tell("connection.closed", |facts| {
            let facts = facts.text("name", &*info.name).text("pid", &*info.name).text("node", self.node());
            facts.terms("client_properties", &info.client_properties)
        });
    }

    /// Tells that somebody was let in, or was not.
    pub fn logged_in(&self, attempt: Attempt, at: &Ends) {
        let (key, error) = match attempt.refused {
            None => ("user.authentication.success", None),
            Some(why) => ("user.authentication.failure", Some(why)),
        };
        self.tell(key, |facts| {
            let facts = ends(facts, at).text("connection_name", format!("{} -> {}", at.peer, at.local));
            let facts = facts.text("auth_mechanism", attempt.mechanism).text("name", attempt.user);
            let facts = facts.text("connection_type", "network").text("protocol", "{0,9,1}");
            match error {
                Some(error) => facts.text("error", error),
                None => facts,
            }
        });
    }

    fn alarm(&self, alarm: Alarm, is_set: bool) {
        let key = if is_set { "alarm.set" } else { "alarm.cleared" };
        self.done(key, |facts| {
            facts
                .text("source", if alarm == Alarm::Disk { "disk" } else { "memory" })
                .text("node", self.node())
        });
    }
}

/// Both ends of a connection, and what TLS knows, as RabbitMQ shows them.
fn ends(facts: Facts, ends: &Ends) -> Facts {
    let facts = facts.text("host", tuple(ends.local.ip())).text("peer_host", tuple(ends.peer.ip()));
    let facts = facts.number("peer_port", ends.peer.port().into()).flag("ssl", ends.tls.is_some());
    let Some(tls) = ends.tls.as_deref() else { return facts };
    let facts = facts.text("ssl_protocol", tls.protocol).text("ssl_cipher", tls.cipher);
    let Some(said) = &tls.certificate else { return facts };
    let facts = facts.text("peer_cert_subject", &*said.subject).text("peer_cert_issuer", &*said.issuer);
    facts.text("peer_cert_validity", &*said.validity).text("peer_cert_serial_number", &*said.serial_number)
}

/// An address as an Erlang tuple.
fn tuple(address: IpAddr) -> String {
    let parts: Vec<_> = match address {
        IpAddr::V4(address) => address.octets().map(u16::from).into(),
        IpAddr::V6(address) => address.segments().into(),
    };
    format!("{{{}}}", parts.iter().map(u16::to_string).collect::<Vec<_>>().join(","))
}

/// Publishes events as they come, until the node goes down.
pub async fn run(node: Arc<Node>) {
    let mut going_down = node.going_down();
    let mut alarms = node.alarms.watch();
    let mut before = *alarms.borrow_and_update();
    loop {
        let has_more = tokio::select! {
            () = node.events.more.notified() => true,
            _ = alarms.changed() => {
                let after = *alarms.borrow_and_update();
                for alarm in Alarm::ALL {
                    let is_set = after.iter().any(|other| other == alarm);
                    if is_set != before.iter().any(|other| other == alarm) {
                        node.events.alarm(alarm, is_set);
                    }
                }
                before = after;
                false
            }
            _ = going_down.wait_for(|down| *down) => return,
        };
        if has_more {
            publish(&node).await;
        }
    }
}

/// Publishes what waits, a part of it at a time, since others work in the vhost. Without the vhost it is lost.
async fn publish(node: &Node) {
    let mut events = mem::take(&mut *node.events.waiting.lock()).into_iter();
    let Some(vhost) = node.vhost("/") else { return };
    loop {
        let some: Vec<_> = events.by_ref().take(AT_ONCE).map(encoded).collect();
        if some.is_empty() {
            return;
        }
        vhost.with(|vhost, _| {
            for (key, properties) in some {
                vhost.post(EXCHANGE.as_bytes(), key.as_bytes(), properties, Bytes::new());
            }
        });
        tokio::task::yield_now().await;
    }
}

/// An event's routing key, and what there is to it: properties.
fn encoded(Event { at, key, facts }: Event) -> (&'static str, Box<[u8]>) {
    let facts = facts.value("timestamp_in_ms", AMQPValue::LongLongInt(at.cast_signed()));
    let seconds = (at / 1000).to_be_bytes();
    let headers = Table::encoded(&method::encode_table(&facts.0));
    (key, headers.properties_with(DELIVERY_MODE | TIMESTAMP, &[&[2], &seconds[..]].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tuples() {
        assert_eq!(tuple("127.0.0.1".parse().expect("an address")), "{127,0,0,1}");
        assert_eq!(tuple("::1".parse().expect("an address")), "{0,0,0,0,0,0,0,1}");
    }

    #[test]
    fn events_wait_in_bounds() {
        let events = Events::default();
        events.done("user.created", |facts| facts.text("name", "off"));
        assert_eq!(events.waiting.lock().len(), 0);
        events.turn_on();
        let one = Event { at: 0, key: "queue.created", facts: Facts::default() };
        events.take(vec![one.clone(); WAITING_MAX - 1]);
        events.take(vec![one.clone(); 2]);
        events.take(vec![one]);
        assert_eq!(events.waiting.lock().len(), WAITING_MAX);
    }
}
