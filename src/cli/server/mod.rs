//! `leveret server`: the broker in the foreground.
//!
//! - this file: starting, serving, stopping
//! - [`flags`][]: the flags of the command line
//! - [`begin`][]: settings become a node
//! - [`definitions`][], [`fetch`][]: what it is given at its start
//! - [`ports`][]: where it listens
//! - [`reload`][]: what changes while it runs
//! - [`detached`][]: `rabbitmq-server`, and its `-detached`

pub mod begin;
pub mod definitions;
pub mod detached;
pub mod fetch;
pub mod flags;
pub mod ports;
pub mod reload;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::auth::InvalidPattern;
use crate::config::settings::Settings;
use crate::config::{self, Configuration, Problems};
use crate::logs::Logs;
use crate::net::listener::ListenError;
use crate::net::tls::{self, TlsError};
use crate::node::definitions::LoadError;
use crate::node::folder::{Folder, FolderError};
use crate::node::process::Files;
use crate::node::samples::sampler;
use crate::node::storage::{Storage, StorageError};
use crate::node::{clock, events, log_exchange, memory, sweep};
use fetch::FetchError;
pub use flags::ServerArgs;
use ports::Ports;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// How long connections have to end when the node goes down.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the server does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error("cannot write the log: {0}")]
    Log(io::Error),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Definitions(#[from] LoadError),
    #[error("cannot get definitions from {url}: {why}")]
    Fetch { url: String, why: FetchError },
    #[error("definitions are not on disk: {0}")]
    NotKept(String),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("{group}: {source}")]
    Tls { group: &'static str, source: TlsError },
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot write {path}: {source}")]
    PidFile { path: String, source: io::Error },
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

/// Serves until Ctrl-C or SIGTERM, then drains.
pub fn run(args: &ServerArgs) -> Result<(), ServerError> {
    let configuration = config::files::configuration(args.config.as_deref(), args.entries())?;
    if args.print_config {
        return print(&flags::shown(&configuration));
    }
    let settings = &configuration.settings;
    keep_to_ourselves();
    let logs = Logs::start(&settings.logs, &settings.place.node_name, task).map_err(ServerError::Log)?;
    configuration.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    raise_open_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServerError::Runtime)?;
    runtime.block_on(serve(args, &configuration, &logs))
}

/// Files and folders that are made from now on, with messages and hashes of passwords in them, are nobody's business
/// but this user's and its group's, as those of RabbitMQ's service.
fn keep_to_ourselves() {
    let others = Mode::WGRP | Mode::RWXO;
    let asked = umask(others);
    umask(asked | others);
}

/// The number of the task that runs, or of none.
fn task() -> u64 {
    // There is nothing else to be told of a task than this text.
    tokio::task::try_id().and_then(|id| id.to_string().parse().ok()).unwrap_or_default()
}

fn print(text: &str) -> Result<(), ServerError> {
    use std::io::Write as _;
    // Whoever closes the pipe has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// As many sockets as the system allows: the limit that shells have by default is for programs that use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("no more than {:?} open files: {e}", limit.current);
    }
}

async fn serve(args: &ServerArgs, configuration: &Configuration, logs: &Logs) -> Result<(), ServerError> {
    let settings = &configuration.settings;
    introduce(configuration);
    let folder = if settings.place.in_memory { None } else { Some(Folder::open(&settings.place.data_dir)?) };
    let node = Arc::new(begin::node(settings)?);
    node.process.set_files(Files { log: outputs(settings), config: configuration.files.clone() });
    if settings.logs.exchange_on {
        tokio::spawn(log_exchange::run(Arc::clone(&node), Arc::clone(&logs.posts)));
    }
    if settings.place.event_exchange {
        node.events.turn_on();
        tokio::spawn(events::run(Arc::clone(&node)));
    }
    let storage = match &folder {
        Some(folder) => {
            let free = settings.limits.disk_free.octets(memory::available());
            Some(Storage::open(folder.path(), &node, free)?)
        }
        None => {
            node.begin()?;
            None
        }
    };
    // What the configuration says counts more than what was set once, as in RabbitMQ.
    if let Some(name) = settings.place.cluster_name.as_deref().filter(|name| !node.is_cluster_named(name)) {
        tracing::info!("Setting cluster name to '{name}' as configured");
        node.set_cluster_name(name);
    }
    definitions::load(&node, &settings.people).await?;
    if !settings.people.definitions.is_empty() {
        node.kept().await.map_err(|error| ServerError::NotKept(error.to_string()))?;
    }
    tokio::spawn(sweep::sweep(Arc::clone(&node)));
    tokio::spawn(clock::run(Arc::clone(&node)));
    tokio::spawn(sampler::run(Arc::clone(&node)));
    let ports = Ports::bind(&settings.network)?;
    let memory_limit = settings.limits.memory.octets();
    if let Some(limit) = memory_limit {
        tracing::info!("publishers are blocked while more than {limit} octets of memory are used");
    }
    tokio::spawn(memory::watch(Arc::clone(&node), memory_limit.unwrap_or(0)));
    if let Some(path) = &settings.place.pid_file {
        write_pid(path)?;
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Runtime)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(ServerError::Runtime)?;
    let (control, control_listener) = ports::control(folder.as_ref()).unzip();
    let certificates = ports.certificates();
    tokio::spawn(tls::follow(certificates.clone()));
    let serving = ports.serve(&node, settings, control_listener, logs);
    announce(settings, folder.as_ref().map(Folder::path), logs);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = node.control.asked_to_end() => break,
            _ = hang_up.recv() => reload::reload(args, &configuration.effective, &certificates, logs),
            level = node.control.asked_for_level() => reload::log_from(&level, settings, logs),
        }
    }
    logs.say("stopping: connections are closed");
    tracing::info!("RabbitMQ is asked to stop...");
    node.shut_down();
    if tokio::time::timeout(DRAIN, node.connections.none_left()).await.is_err() {
        tracing::warn!("some connections did not close in time");
    }
    for api in serving {
        api.await.map_err(|e| ServerError::Runtime(e.into()))?;
    }
    drop(storage);
    drop(control);
    tracing::info!("Successfully stopped RabbitMQ and its dependencies");
    Ok(())
}

/// Where a script waits for the process.
fn write_pid(path: &Path) -> Result<(), ServerError> {
    let failed = |source| ServerError::PidFile { path: path.display().to_string(), source };
    std::fs::write(path, format!("{}\n", std::process::id())).map_err(failed)
}

/// What RabbitMQ's log begins with.
fn introduce(configuration: &Configuration) {
    let place = &configuration.settings.place;
    let version = place.compatibility.version();
    let ours = env!("CARGO_PKG_VERSION");
    tracing::info!(lines = %format_args!("\n Starting RabbitMQ {version} on Leveret {ours}"));
    let files = if configuration.files.is_empty() {
        "(none)".to_owned()
    } else {
        configuration.files.join("\n                : ")
    };
    let data = if place.in_memory { "(memory)".to_owned() } else { absolute(&place.data_dir) };
    let name = &place.node_name;
    let outputs = outputs(&configuration.settings).join("\n                : ");
    tracing::info!(lines = %format_args!(
        "\n node           : {name}\n config file(s) : {files}\n log(s)         : {outputs}\n data dir       : {data}"
    ));
}

/// What is logged to, by RabbitMQ's names.
fn outputs(settings: &Settings) -> Vec<String> {
    let logs = &settings.logs;
    let console = logs.has_console().then(|| if logs.stderr { "<stderr>" } else { "<stdout>" }.to_owned());
    let files = logs.paths(&settings.place.node_name).into_iter().map(|path| absolute(&path));
    let exchange = logs.exchange_on.then(|| format!("exchange:{}", log_exchange::EXCHANGE));
    let syslog = logs.syslog.on.then(|| format!("syslog:{}", logs.syslog.host()));
    files.chain(console).chain(exchange).chain(syslog).collect()
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Says that clients can come, to those who read the log and to those who started the process.
fn announce(settings: &Settings, folder: Option<&Path>, logs: &Logs) {
    let plugins = &settings.plugins;
    let list: String = plugins.iter().map(|plugin| format!("\n * {plugin}")).collect();
    tracing::info!(lines = list, "Server startup complete; {} plugins started.", plugins.len());
    match folder {
        Some(folder) => logs.say(&format!("data in {}", absolute(folder))),
        None => logs.say("data in memory only"),
    }
    logs.say(&format!(" completed with {} plugins.", plugins.len()));
    logs.say("ready; Ctrl-C stops");
}
