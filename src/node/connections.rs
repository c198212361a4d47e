//! Who is connected, for people to look at and to close.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use amq_protocol::types::FieldTable;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::ends::Ends;
use super::samples::ConnectionSamples;
use super::traffic::{Carried, Traffic};
use crate::broker::trace::Who;
use crate::broker::{ConnectionId, Now};
use crate::wire::reply::Exception;

/// A connection, as far as others may know it.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// `peer -> local`, as RabbitMQ names connections.
    pub name: Arc<str>,
    pub ends: Ends,
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub mechanism: String,
    pub client_properties: FieldTable,
    pub connected_at: Now,
    pub frame_max: usize,
    pub channel_max: u16,
    /// Seconds.
    pub heartbeat: u16,
    pub traffic: Traffic,
    /// There once it has been looked at.
    pub samples: Mutex<Option<Box<ConnectionSamples>>>,
    /// What its vhost knows it by.
    id: OnceLock<ConnectionId>,
    channels: AtomicUsize,
    /// Whether it has published during an alarm and is not read from.
    blocked: AtomicBool,
    closing: Mutex<Option<Exception>>,
    closed: Notify,
}

impl ConnectionInfo {
    pub fn new(
        ends: Ends,
        opening: &crate::session::handshake::Opening,
        connected_at: Now,
        handshake: Carried,
    ) -> Self {
        let settings = &opening.settings;
        Self {
            name: format!("{} -> {}", ends.peer, ends.local).into(),
            ends,
            user: Arc::clone(&settings.user),
            vhost: Arc::clone(&settings.vhost),
            mechanism: opening.mechanism.clone(),
            client_properties: opening.client_properties.clone(),
            connected_at,
            frame_max: settings.frame_max,
            channel_max: settings.channel_max,
            heartbeat: settings.heartbeat,
            traffic: Traffic::after(handshake),
            samples: Mutex::default(),
            id: OnceLock::new(),
            channels: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            closing: Mutex::new(None),
            closed: Notify::new(),
        }
    }

    /// Who is behind it.
    pub fn who(&self) -> Who {
        let (name, user) = (Arc::clone(&self.name), Arc::clone(&self.user));
        Who { name, user, host: self.ends.peer.ip().to_string().into(), port: self.ends.peer.port() }
    }

    pub(super) fn enter(&self, id: ConnectionId) {
        // It enters one vhost, once.
        let _ = self.id.set(id);
    }

    /// What its vhost knows it by, when it is there.
    pub fn id(&self) -> Option<ConnectionId> {
        self.id.get().copied()
    }

    pub fn channels(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    pub fn set_channels(&self, count: usize) {
        self.channels.store(count, Ordering::Relaxed);
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Asks the connection to close with this exception. The first one to ask decides.
    pub fn close(&self, why: Exception) {
        self.closing.lock().get_or_insert(why);
        self.closed.notify_one();
    }

    /// Waits until somebody asks the connection to close.
    pub async fn asked_to_close(&self) -> Exception {
        loop {
            self.closed.notified().await;
            if let Some(why) = self.closing.lock().clone() {
                return why;
            }
        }
    }
}

/// All connections that are open.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Open>,
    /// How many there are.
    count: watch::Sender<usize>,
}

/// By name, and by where it lies in memory: what a proxy says of its clients may be the same for two of them.
type Key = (Arc<str>, usize);

fn key(connection: &Arc<ConnectionInfo>) -> Key {
    (Arc::clone(&connection.name), Arc::as_ptr(connection).addr())
}

#[derive(Debug, Default)]
struct Open {
    connections: BTreeMap<Key, Arc<ConnectionInfo>>,
    /// What those that have ended have carried.
    ended: Carried,
}

impl Default for Connections {
    fn default() -> Self {
        Self { open: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Connections {
    pub fn add(&self, connection: Arc<ConnectionInfo>) {
        let open = &mut self.open.lock().connections;
        open.insert(key(&connection), connection);
        self.count.send_replace(open.len());
    }

    pub fn remove(&self, connection: &Arc<ConnectionInfo>) {
        let Open { connections, ended } = &mut *self.open.lock();
        if let Some(removed) = connections.remove(&key(connection)) {
            *ended += removed.traffic.carried();
        }
        self.count.send_replace(connections.len());
    }

    /// Those of a name: one, nearly always.
    pub fn named(&self, name: &str) -> Vec<Arc<ConnectionInfo>> {
        let open = self.open.lock();
        let from = open.connections.range((Arc::from(name), 0)..);
        from.take_while(|((found, _), _)| **found == *name).map(|(_, found)| Arc::clone(found)).collect()
    }

    pub fn get(&self, name: &str) -> Option<Arc<ConnectionInfo>> {
        self.named(name).into_iter().next()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<ConnectionInfo>> {
        self.open.lock().connections.values().cloned().collect()
    }

    /// What all connections have carried, be they still there or not. It never becomes less.
    pub fn carried(&self) -> Carried {
        let open = self.open.lock();
        let mut all = open.ended;
        open.connections.values().for_each(|connection| all += connection.traffic.carried());
        all
    }

    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Asks all connections for which `which` says so to close.
    pub fn close_where(&self, why: &Exception, which: impl Fn(&ConnectionInfo) -> bool) {
        for connection in self.all() {
            if which(&connection) {
                connection.close(why.clone());
            }
        }
    }

    /// Waits until this connection is not among them.
    pub async fn gone(&self, connection: &Arc<ConnectionInfo>) {
        let mut count = self.count.subscribe();
        while self.open.lock().connections.contains_key(&key(connection)) {
            if count.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until there are none.
    pub async fn none_left(&self) {
        let mut count = self.count.subscribe();
        // An error would mean that the sender is gone, and it is in `self`.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}
