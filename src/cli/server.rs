//! `leveret server`: the broker in the foreground.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use crate::auth::InvalidPattern;
use crate::broker::compatibility::Compatibility;
use crate::broker::queue::arguments::QueueType;
use crate::http::settings::HttpSettings;
use crate::http::socket::{self, ControlSocket};
use crate::http::{self, HttpListener};
use crate::net::listener::{self, ListenError};
use crate::node::folder::{Folder, FolderError};
use crate::node::limits::NodeLimits;
use crate::node::memory::{self, MemoryLimit};
use crate::node::storage::{Storage, StorageError};
use crate::node::{Node, clock, events, sweep};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const AMQP_PORT: u16 = 5672;
const HTTP_PORT: u16 = 15672;
/// How long connections have to end when the node goes down.
const DRAIN: Duration = Duration::from_secs(5);

/// An address to listen on, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| {
            format!("{text:?} is not ADDR:PORT (such as 127.0.0.1:5672, 0.0.0.0:5672 or [::]:5672) nor none")
        })
    }
}

/// What there is to say of metrics so far. Scripts may already turn them off.
fn only_none(text: &str) -> Result<Listen, String> {
    match text.parse()? {
        Listen(None) => Ok(Listen(None)),
        Listen(Some(_)) => Err("metrics are not served yet: only none is possible".to_owned()),
    }
}

#[derive(Args, Debug)]
pub struct ServerArgs {
    /// Serve AMQP here; may be given more than once; none turns it off [default: port 5672 of all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<Listen>,

    /// Serve the management HTTP API here; may be given more than once; none turns it off [default: port 15672 of
    /// all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    http_listen: Vec<Listen>,

    /// Where metrics are to be served: they are not yet, so that none is all there is
    #[arg(long, value_name = "ADDR:PORT", value_parser = only_none)]
    metrics_listen: Vec<Listen>,

    /// Keep data in this folder, which no other instance may use
    #[arg(long, value_name = "DIR", default_value = "leveret-data")]
    data_dir: PathBuf,

    /// Refuse messages with a body of more than this many bytes (at most 512 MiB)
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20, value_parser = clap::value_parser!(u64).range(1..=512 << 20))]
    max_message_size: u64,

    /// Let waiting messages take so much memory; more of them go to the data folder
    #[arg(long, value_name = "BYTES", default_value_t = 20 << 20, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    message_memory: u64,

    /// Block publishers while fewer bytes than this are free where the data folder is
    #[arg(long, value_name = "BYTES", default_value_t = 50_000_000)]
    disk_free_limit: u64,

    /// Block publishers while the process takes more memory than this: bytes, or a share of what there is for it (as a
    /// container allows), or none
    #[arg(long, value_name = "BYTES|SHARE", default_value = "0.6")]
    memory_limit: MemoryLimit,

    /// Let a connection have so many channels; 0 is no limit
    #[arg(long, value_name = "COUNT", default_value_t = 2047)]
    channel_max: u16,

    /// Let a channel have so many consumers [default: no limit]
    #[arg(long, value_name = "COUNT")]
    consumer_max_per_channel: Option<u32>,

    /// Let so many clients be connected over AMQP [default: no limit]
    #[arg(long, value_name = "COUNT")]
    connection_max: Option<u32>,

    /// Make queues of this type in vhosts that name no other one
    #[arg(long, value_name = "TYPE", default_value = "classic", value_parser = queue_type)]
    default_queue_type: QueueType,
    /// Follow this version of RabbitMQ where versions differ: 4.3, 4.0 or 3.13
    #[arg(long, value_name = "VERSION", default_value_t)]
    compatibility: Compatibility,

    /// Publish what happens on the node in the exchange amq.rabbitmq.event of the vhost /
    #[arg(long)]
    event_exchange: bool,

    /// Keep everything in memory and touch no folder
    #[arg(long)]
    in_memory: bool,
}

/// A type of queue by its name.
fn queue_type(name: &str) -> Result<QueueType, String> {
    QueueType::from_name(name.as_bytes())
        .ok_or_else(|| format!("{name:?} is not a type of queue: classic, quorum or stream"))
}

impl ServerArgs {
    fn limits(&self) -> NodeLimits {
        NodeLimits {
            channel_max: self.channel_max,
            consumer_max: self.consumer_max_per_channel,
            connection_max: self.connection_max,
            default_queue_type: self.default_queue_type,
        }
    }

    /// Octets that messages may take in memory.
    fn memory(&self) -> usize {
        if self.in_memory { usize::MAX } else { usize::try_from(self.message_memory).unwrap_or(usize::MAX) }
    }
}

impl Default for ServerArgs {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            args: ServerArgs,
        }
        <Alone as clap::Parser>::parse_from(["leveret"]).args
    }
}

/// Why the server does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

/// Serves until Ctrl-C or SIGTERM, then drains.
pub fn run(args: ServerArgs) -> Result<(), ServerError> {
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colours).with_target(false).init();
    raise_open_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServerError::Runtime)?;
    runtime.block_on(serve(args))
}

/// As many sockets as the system allows: the limit that shells have by default is for programs that use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("no more than {:?} open files: {e}", limit.current);
    }
}

async fn serve(args: ServerArgs) -> Result<(), ServerError> {
    let folder = if args.in_memory { None } else { Some(Folder::open(&args.data_dir)?) };
    let node = Node::empty(args.max_message_size, args.memory());
    let node = Arc::new(node.following(args.compatibility).with_limits(&args.limits()));
    if args.event_exchange {
        node.events.turn_on();
        tokio::spawn(events::run(Arc::clone(&node)));
    }
    let storage = match &folder {
        Some(folder) => Some(Storage::open(folder.path(), &node, args.disk_free_limit)?),
        None => {
            node.begin()?;
            None
        }
    };
    tokio::spawn(sweep::sweep(Arc::clone(&node)));
    tokio::spawn(clock::run(Arc::clone(&node)));
    let amqp = bind(&args.listen, AMQP_PORT).await?;
    let management = bind(&args.http_listen, HTTP_PORT).await?;
    if let Some(limit) = args.memory_limit.octets() {
        tracing::info!("publishers are blocked while more than {limit} octets of memory are used");
        tokio::spawn(memory::watch(Arc::clone(&node), limit));
    }
    for listener in amqp {
        note_where(&node, "amqp", "AMQP", &listener);
        tokio::spawn(listener::accept(listener, Arc::clone(&node)));
    }
    let http_settings = Arc::new(HttpSettings::default());
    let mut serving = Vec::new();
    let control = open_control(folder.as_ref());
    let control = control.map(|(socket, listener)| {
        let listener = HttpListener::Control(listener);
        serving.push(tokio::spawn(http::serve(listener, Arc::clone(&node), Arc::clone(&http_settings))));
        socket
    });
    for listener in management {
        note_where(&node, "http", "HTTP API", &listener);
        serving.push(tokio::spawn(http::serve(listener, Arc::clone(&node), Arc::clone(&http_settings))));
    }
    match &folder {
        Some(folder) => {
            let path = std::path::absolute(folder.path()).unwrap_or_else(|_| folder.path().to_owned());
            say(&format!("data in {}", path.display()));
        }
        None => say("data in memory only"),
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Runtime)?;
    say("ready; Ctrl-C stops");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = node.control.asked_to_end() => {}
    }
    say("stopping: connections are closed");
    node.shut_down();
    if tokio::time::timeout(DRAIN, node.connections.none_left()).await.is_err() {
        tracing::warn!("some connections did not close in time");
    }
    for api in serving {
        api.await.map_err(|e| ServerError::Runtime(e.into()))?;
    }
    drop(storage);
    drop(control);
    Ok(())
}

/// Opens the socket for the command-line tools. A node without it serves all the same.
fn open_control(folder: Option<&Folder>) -> Option<(ControlSocket, UnixListener)> {
    let place = match folder {
        Some(folder) => Ok(folder.path().to_owned()),
        None => socket::make_folder_without_data(),
    };
    match place.and_then(|place| ControlSocket::open(&place)) {
        Ok(opened) => Some(opened),
        Err(e) => {
            tracing::warn!("command-line tools cannot reach this node, since it has no control socket: {e}");
            None
        }
    }
}

/// Takes the ports asked for, or where none is named the default one.
async fn bind(wanted: &[Listen], default_port: u16) -> Result<Vec<TcpListener>, ListenError> {
    if wanted.is_empty() {
        return Ok(vec![listener::bind_all_addresses(default_port).await?]);
    }
    let mut listeners = Vec::new();
    for address in wanted.iter().filter_map(|listen| listen.0) {
        listeners.push(listener::bind(address).await?);
    }
    Ok(listeners)
}

/// A line for whoever started it. Nobody has to listen: a closed standard output is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Tells where the node listens: those who ask it, and whoever started it.
fn note_where(node: &Node, protocol: &'static str, what: &str, listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        node.listeners.add(protocol, address, false);
        say(&format!("{what} on {address}"));
    }
}
