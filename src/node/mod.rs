//! The node: what the listeners, the connections and the HTTP API share.
//!
//! It owns the vhosts, each behind its one mutex, the users, and the list of connections. It knows no socket
//! and reads no frame; it is the place where locks are, and where changes to several of these are put together.
//!
//! - this file: the node, its vhosts and users
//! - [`cell`][]: a vhost with its outboxes behind a mutex
//! - [`port`][]: what an outbox hands to a connection's writer
//! - [`connections`][]: who is connected
//! - [`congestion`][]: whether publishers are to wait
//! - [`alarms`][]: what there is too little of
//! - [`folder`][]: the data folder and its lock

pub mod alarms;
pub mod cell;
pub mod congestion;
pub mod connections;
pub mod folder;
pub mod port;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::auth::password::PasswordHash;
use crate::auth::{Auth, InvalidPattern, Permission};
use crate::broker::Now;
use crate::session::handshake::Offer;
use crate::wire::reply::{Exception, ReplyCode};
use alarms::Alarms;
use cell::VhostCell;
use congestion::Congestion;
use connections::{ConnectionInfo, Connections};

/// The version of RabbitMQ whose behaviour is followed, and that clients are told.
pub const RABBITMQ_VERSION: &str = "4.3.6";
/// The name of the node and, in absence of another one, of the cluster.
pub const NODE_NAME: &str = "rabbit@localhost";

pub struct Node {
    pub offer: Arc<Offer>,
    pub connections: Connections,
    /// Shared with whoever writes.
    pub congestion: Arc<Congestion>,
    /// Shared with whoever looks after disk and memory.
    pub alarms: Arc<Alarms>,
    auth: ArcSwap<Auth>,
    /// Held while `auth` is replaced.
    auth_change: Mutex<()>,
    vhosts: RwLock<BTreeMap<Arc<str>, Arc<VhostCell>>>,
    shutdown: watch::Sender<bool>,
}

impl Node {
    /// A node with the vhost `/` and the user `guest`, who is an administrator and may only come from this machine.
    /// Messages may have bodies of up to 16 MiB.
    pub fn new() -> Result<Self, InvalidPattern> {
        Self::with_message_size_max(16 << 20)
    }

    /// The same with another limit of a message's body, in octets.
    pub fn with_message_size_max(message_size_max: u64) -> Result<Self, InvalidPattern> {
        let mut auth = Auth::default();
        auth.put_user("guest", Some(PasswordHash::new(b"guest", salt())), vec!["administrator".into()]);
        auth.put_permission("guest", "/", Permission::all()?);
        auth.restrict_to_loopback("guest");
        let offer = Offer {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            message_size_max,
            version: RABBITMQ_VERSION.to_owned(),
            cluster_name: NODE_NAME.to_owned(),
            anonymous_user: "guest".to_owned(),
        };
        let node = Self {
            offer: Arc::new(offer),
            connections: Connections::default(),
            congestion: Arc::default(),
            alarms: Arc::default(),
            auth: ArcSwap::from_pointee(auth),
            auth_change: Mutex::new(()),
            vhosts: RwLock::default(),
            shutdown: watch::Sender::new(false),
        };
        node.vhosts
            .write()
            .insert("/".into(), Arc::new(VhostCell::new("/", "Default virtual host", Vec::new())));
        Ok(node)
    }

    /// Users and permissions as they are now.
    pub fn auth(&self) -> Arc<Auth> {
        self.auth.load_full()
    }

    /// Changes users and permissions. Whoever asks next sees all of it or nothing.
    pub fn change_auth<R>(&self, change: impl FnOnce(&mut Auth) -> R) -> R {
        let _one_at_a_time = self.auth_change.lock();
        let mut auth = Auth::clone(&self.auth.load());
        let result = change(&mut auth);
        self.auth.store(Arc::new(auth));
        result
    }

    pub fn vhost(&self, name: &str) -> Option<Arc<VhostCell>> {
        self.vhosts.read().get(name).cloned()
    }

    /// All vhosts by name.
    pub fn vhosts(&self) -> Vec<Arc<VhostCell>> {
        self.vhosts.read().values().cloned().collect()
    }

    /// Adds a vhost, and says whether there was none of that name.
    pub fn add_vhost(&self, name: &str, description: &str, tags: Vec<String>) -> bool {
        let mut vhosts = self.vhosts.write();
        match vhosts.get(name) {
            Some(vhost) => {
                vhost.describe(description, tags);
                false
            }
            None => vhosts.insert(name.into(), Arc::new(VhostCell::new(name, description, tags))).is_none(),
        }
    }

    /// Removes a vhost with everything in it, closes its connections, and says whether there was one.
    pub fn remove_vhost(&self, name: &str) -> bool {
        let removed = self.vhosts.write().remove(name).is_some();
        if removed {
            self.change_auth(|auth| auth.forget_vhost(name));
            self.connections.close_where(&vhost_deleted(name), |connection| &*connection.vhost == name);
        }
        removed
    }

    /// Removes a user, closes their connections, and says whether there was one.
    pub fn remove_user(&self, name: &str) -> bool {
        let removed = self.change_auth(|auth| auth.remove_user(name));
        if removed {
            self.connections.close_where(&user_deleted(name), |connection| &*connection.user == name);
        }
        removed
    }

    /// Adds a connection to the list. If what it was let in for has gone meanwhile, it is asked to close.
    pub fn add_connection(&self, connection: &Arc<ConnectionInfo>, vhost: &Arc<VhostCell>) {
        self.connections.add(Arc::clone(connection));
        if !self.vhost(&connection.vhost).is_some_and(|found| Arc::ptr_eq(&found, vhost)) {
            connection.close(vhost_deleted(&connection.vhost));
        } else if self.auth().user(&connection.user).is_none() {
            connection.close(user_deleted(&connection.user));
        } else if *self.shutdown.borrow() {
            connection.close(going_down());
        }
    }

    /// Tells everybody that the node is going down.
    pub fn shut_down(&self) {
        self.shutdown.send_replace(true);
        self.connections.close_where(&going_down(), |_| true);
    }

    /// Becomes true when the node goes down.
    pub fn going_down(&self) -> watch::Receiver<bool> {
        self.shutdown.subscribe()
    }
}

/// What connections to a deleted vhost are told, in RabbitMQ's words.
fn vhost_deleted(name: &str) -> Exception {
    Exception::new(ReplyCode::ConnectionForced, format!("vhost '{name}' is deleted"))
}

fn user_deleted(name: &str) -> Exception {
    Exception::new(ReplyCode::ConnectionForced, format!("user '{name}' is deleted"))
}

fn going_down() -> Exception {
    let text = "broker forced connection closure with reason 'shutdown'";
    Exception::new(ReplyCode::ConnectionForced, text)
}

/// Milliseconds since 1970.
pub fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random octets for made-up names. Without the system's random numbers nothing here is safe, so it ends.
pub fn random() -> [u8; 16] {
    let mut octets = [0; 16];
    if let Err(e) = getrandom::fill(&mut octets) {
        panic!("the system gives no random numbers: {e}");
    }
    octets
}

/// Four random octets, for a password's hash.
pub fn salt() -> [u8; 4] {
    let [a, b, c, d, ..] = random();
    [a, b, c, d]
}
