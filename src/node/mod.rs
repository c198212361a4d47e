//! The node: what the listeners, the connections and the HTTP API share.
//!
//! It owns the vhosts, each behind its one mutex, the users, and the list of connections. It knows no socket
//! and reads no frame; it is the place where locks are, and where changes to several of these are put together.
//!
//! - this file: the node
//! - [`beginning`][]: what it has when it is new
//! - [`defaults`][]: what its vhosts get when they are new
//! - [`vhosts`][], [`people`][]: its vhosts; its users and their permissions
//! - [`parameters`][]: policies, and parameters of its own
//! - [`definitions`][]: all of these as one file, and back
//! - [`topics`][]: which topics users may use
//! - [`cell`][]: a vhost with its outboxes behind a mutex
//! - [`port`][]: what an outbox hands to a connection's writer
//! - [`entrance`][]: who may connect, and how many
//! - [`connections`][]: who is connected
//! - [`control`][]: what its owner asks of it
//! - [`ends`][]: from where, and how safely
//! - [`listeners`][]: where it listens
//! - [`limits`][]: limits of the node as a whole, and those of vhosts and users as they are set
//! - [`traffic`][]: what has gone over a socket
//! - [`samples`][]: what was counted before
//! - [`looking`][]: what there is, for people to look at
//! - [`events`][], [`log_exchange`][]: what happens and what is logged, for those who listen
//! - [`alarms`][]: what the node is short of
//! - [`memory`][], [`process`][]: what the process takes, and may
//! - [`attempts`][]: how often somebody has logged in
//! - [`logins`][]: logging in, and not too fast
//! - [`reset`][]: making it new again
//! - [`plugins`][]: what people have switched on
//! - [`congestion`][]: whether publishers are to wait
//! - [`clock`][]: when something is to be done
//!
//! And what keeps it on disk:
//! - [`folder`][]: the data folder and its lock
//! - [`storage`][]: a folder in use
//! - [`sweep`][]: what is done now and then
//! - [`changes`][]: definitions on their way to disk
//! - [`committer`][], [`reader`][]: the threads that write and read
//! - [`bell`][]: what wakes them
//! - [`disk_use`][]: how much the disk is used

pub mod alarms;
pub mod attempts;
pub mod beginning;
pub mod bell;
pub mod cell;
pub mod changes;
pub mod clock;
pub mod committer;
pub mod congestion;
pub mod connections;
pub mod control;
pub mod defaults;
pub mod disk_use;
pub mod ends;
pub mod definitions;
pub mod entrance;
pub mod events;
pub mod folder;
pub mod limits;
pub mod listeners;
pub mod log_exchange;
pub mod logins;
pub mod looking;
pub mod memory;
pub mod parameters;
pub mod people;
pub mod plugins;
pub mod port;
pub mod process;
pub mod reader;
pub mod samples;
pub mod reset;
pub mod storage;
pub mod sweep;
pub mod topics;
pub mod traffic;
pub mod vhosts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::auth::limits::{Count, Limit};
use crate::auth::sasl::Mechanisms;
use crate::auth::{Auth, InvalidPattern};
use crate::broker::Now;
use crate::broker::compatibility::{Compatibility, Permits};
use crate::broker::counts::{Churn, Counts};
use crate::broker::queue::arguments::QueueType;
use crate::log::budget::Budget;
use crate::session::handshake::Offer;
use crate::session::stamps::Stamps;
use crate::wire::reply::{Exception, ReplyCode};
use alarms::Alarms;
use attempts::AllAttempts;
use beginning::Beginning;
use cell::VhostCell;
use changes::Changes;
use clock::Clock;
use congestion::Congestion;
use connections::{ConnectionInfo, Connections};
use control::{Control, Doors};
use defaults::Defaults;
use disk_use::DiskUse;
use events::Events;
use listeners::Listeners;
use logins::Logins;
use looking::Gone;
use parameters::Parameters;
use plugins::Plugins;
use process::Process;
use samples::{Samples, StatsSettings};

/// What a node is called, and its cluster, that has no other name.
pub const NODE_NAME: &str = "rabbit@localhost";

/// By name.
type Vhosts = BTreeMap<Arc<str>, Arc<VhostCell>>;

pub struct Node {
    name: Arc<str>,
    pub offer: Arc<Offer>,
    compatibility: Compatibility,
    pub connections: Connections,
    pub listeners: Listeners,
    /// Shared with the disk, if there is one.
    pub disk_use: Arc<DiskUse>,
    /// Shared with the vhosts.
    churn: Arc<Churn>,
    pub samples: Samples,
    pub stats: StatsSettings,
    /// What has been counted in vhosts that have been removed.
    retired: Mutex<Counts>,
    /// The same, by types of queue.
    gone: Mutex<Gone>,
    pub control: Control,
    pub process: Process,
    pub plugins: Plugins,
    pub attempts: AllAttempts,
    logins: Logins,
    /// How many connections there are, and may be.
    connection_count: Arc<Count>,
    connection_max: Option<Limit>,
    /// What new vhosts get that are not told.
    pub default_queue_type: QueueType,
    vhost_max: Option<u32>,
    permits: Permits,
    /// How long a client may take until it is in.
    pub handshake_timeout: Option<Duration>,
    /// Milliseconds that a delivery of a quorum queue may go unacknowledged.
    consumer_timeout: Option<u64>,
    beginning: Beginning,
    defaults: Defaults,
    /// Shared with whoever writes.
    pub congestion: Arc<Congestion>,
    /// Shared with whoever looks after disk and memory.
    pub alarms: Arc<Alarms>,
    clock: Arc<Clock>,
    /// Shared with the vhosts.
    pub events: Arc<Events>,
    auth: ArcSwap<Auth>,
    /// Held while `auth` is replaced.
    auth_change: Mutex<()>,
    vhosts: RwLock<Vhosts>,
    /// Vhosts that have been removed, and whose files have not.
    removed: Mutex<Vec<Arc<VhostCell>>>,
    next_vhost: AtomicU32,
    /// The number of the next queue's log.
    log_ids: Arc<AtomicU64>,
    parameters: Mutex<Parameters>,
    changes: Changes,
    budget: Arc<Budget>,
    shutdown: watch::Sender<bool>,
}

impl Node {
    /// A node in memory only, with the vhost `/` and the user `guest`, who is an administrator and may only come from
    /// this machine. Messages may have bodies of up to 16 MiB.
    pub fn new() -> Result<Self, InvalidPattern> {
        let node = Self::empty(16 << 20, usize::MAX);
        node.begin()?;
        Ok(node)
    }

    /// A node without vhosts and users. `message_size_max` is the limit of a message's body in octets, `memory` what
    /// all messages together may take of it.
    pub fn empty(message_size_max: u64, memory: usize) -> Self {
        let mut auth = Auth::default();
        auth.restrict_to_loopback("guest");
        let offer = Offer {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            message_size_max,
            consumer_max: None,
            stamps: Stamps::default(),
            version: Compatibility::default().version().to_owned(),
            cluster_name: NODE_NAME.to_owned(),
            mechanisms: Mechanisms::default(),
        };
        let [a, b, c, d, ..] = random();
        Self {
            name: NODE_NAME.into(),
            offer: Arc::new(offer),
            compatibility: Compatibility::default(),
            connections: Connections::default(),
            listeners: Listeners::default(),
            disk_use: Arc::default(),
            churn: Arc::default(),
            samples: Samples::default(),
            stats: StatsSettings::default(),
            retired: Mutex::default(),
            gone: Mutex::default(),
            control: Control::default(),
            process: Process::default(),
            plugins: Plugins::default(),
            attempts: AllAttempts::default(),
            logins: Logins::default(),
            connection_count: Arc::default(),
            connection_max: None,
            default_queue_type: QueueType::Classic,
            vhost_max: None,
            permits: Permits::default(),
            handshake_timeout: Some(Duration::from_secs(10)),
            consumer_timeout: None,
            beginning: Beginning::default(),
            defaults: Defaults::default(),
            congestion: Arc::default(),
            alarms: Arc::default(),
            clock: Arc::default(),
            events: Arc::default(),
            auth: ArcSwap::from_pointee(auth),
            auth_change: Mutex::new(()),
            vhosts: RwLock::default(),
            removed: Mutex::default(),
            next_vhost: AtomicU32::new(0),
            log_ids: Arc::new(AtomicU64::new(1)),
            parameters: Mutex::default(),
            changes: Changes::default(),
            budget: Arc::new(Budget::new(memory, u32::from_le_bytes([a, b, c, d]))),
            shutdown: watch::Sender::new(false),
        }
    }

    /// The same node, following this RabbitMQ. To be called before it has vhosts.
    pub fn following(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        Arc::make_mut(&mut self.offer).version = compatibility.version().to_owned();
        self
    }

    /// The same node with other ways to log in, before it serves anybody.
    #[must_use]
    pub fn with_mechanisms(mut self, mechanisms: Mechanisms) -> Self {
        Arc::make_mut(&mut self.offer).mechanisms = mechanisms;
        self
    }

    /// The same node, whose plugins are those that these say.
    #[must_use]
    pub fn with_plugins(mut self, plugins: Plugins) -> Self {
        self.plugins = plugins;
        self
    }

    /// The same node, telling this of what it counts. To be called before it serves anybody.
    pub fn with_stats(mut self, stats: StatsSettings) -> Self {
        self.stats = stats;
        self
    }

    /// The same node with another name, and one for its cluster. To be called before it has vhosts.
    #[must_use]
    pub fn named(mut self, name: &str, cluster: Option<&str>) -> Self {
        self.name = name.into();
        self.events.name_node(name);
        Arc::make_mut(&mut self.offer).cluster_name = cluster.unwrap_or(name).to_owned();
        self
    }

    /// Its name, with the host: `rabbit@localhost`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The RabbitMQ whose behaviour is followed where versions differ.
    pub fn compatibility(&self) -> Compatibility {
        self.compatibility
    }

    /// What has changed beside the content of vhosts.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The memory that messages take.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Publishers that wait for memory or for the disk may look again.
    pub fn relieve(&self) {
        self.congestion.set(self.budget.is_exceeded());
    }

    /// Connections that have been idle since this was called last give up their buffers.
    pub fn relax(&self) {
        let vhosts: Vec<_> = self.vhosts.read().values().cloned().collect();
        vhosts.iter().for_each(|vhost| vhost.relax());
    }

    /// Adds a connection to the list. If what it was let in for has gone meanwhile, it is asked to close.
    pub fn add_connection(&self, connection: &Arc<ConnectionInfo>, vhost: &Arc<VhostCell>) {
        self.connections.add(Arc::clone(connection));
        if !self.vhost(&connection.vhost).is_some_and(|found| Arc::ptr_eq(&found, vhost)) {
            connection.close(vhost_deleted(&connection.vhost));
        } else if self.auth().user(&connection.user).is_none() {
            connection.close(user_deleted(&connection.user));
        } else if self.is_going_down() {
            connection.close(going_down());
        }
    }

    /// Opens or closes the node's ports, and says whether that is a change. Closing them ends all connections.
    pub fn set_doors(&self, doors: Doors) -> bool {
        let changed = self.control.set_doors(doors);
        match doors {
            Doors::Closed => self.connections.close_where(&going_down(), |_| true),
            Doors::Drained => self.connections.close_where(&maintained(), |_| true),
            Doors::Open | Doors::Suspended => {}
        }
        changed
    }

    /// Tells everybody that the node is going down.
    pub fn shut_down(&self) {
        self.shutdown.send_replace(true);
        self.connections.close_where(&going_down(), |_| true);
    }

    /// Whether it is going down, or has closed its ports for everybody.
    pub fn is_going_down(&self) -> bool {
        *self.shutdown.borrow() || matches!(self.control.doors(), Doors::Closed | Doors::Drained)
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

fn maintained() -> Exception {
    Exception::new(ReplyCode::ConnectionForced, "Node was put into maintenance mode")
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
