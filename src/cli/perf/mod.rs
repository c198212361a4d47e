//! `leveret perf`: load generators for any AMQP 0-9-1 broker.
//!
//! Everything here uses plain threads and blocking sockets, so that the generator takes as little
//! processor time as possible away from a broker on the same machine.
//!
//! - [`args`][], [`content`][], [`uri`][], [`error`][]: what is asked for, of whom, and why it cannot be
//!   had
//! - [`target`][], [`usage`][]: what all loads are told about their broker, and what it has used
//! - [`throughput`][]: publishing and consuming at once, for a time
//! - [`latency`][]: how long messages take at a given rate
//! - [`churn`][]: connections, queues and bindings that come and go
//! - [`many`][]: many connections or queues that do nothing
//! - [`backlog`][]: a long queue, phase by phase
//! - [`fsync`][]: what the disk allows
//! - [`compare`][]: the same loads against several brokers in turn
//! - [`conn`][], [`queue`][]: connections, and what is declared for a run
//! - [`producer`][], [`batch`][], [`confirms`][], [`pace`][]: publishing from prepared buffers
//! - [`consumer`][], [`deliveries`][], [`poll`][]: counting and acknowledging in place
//! - [`pipeline`][], [`request`][]: many requests of other kinds, several on their way at a time
//! - [`wire`][]: frames
//! - [`process`][]: the broker's processor time, memory and disk writes
//! - [`shared`][], [`threads`][]: what the threads of a run share, and how they are waited for
//! - [`progress`][]: how far a run is
//! - [`report`][]: results as a table or as JSON

mod args;
mod backlog;
mod batch;
mod compare;
mod churn;
mod confirms;
mod conn;
mod consumer;
mod content;
mod deliveries;
mod error;
mod fsync;
mod pace;
mod poll;
mod latency;
mod many;
mod pipeline;
mod process;
mod producer;
mod progress;
mod queue;
mod report;
mod request;
mod shared;
mod target;
mod threads;
mod throughput;
mod uri;
mod usage;
mod wire;

use clap::{Args, Subcommand};

pub use self::error::PerfError;
use self::{
    backlog::BacklogArgs,
    churn::{BindingChurnArgs, ConnectionChurnArgs, QueueChurnArgs},
    compare::CompareArgs,
    fsync::FsyncArgs,
    latency::LatencyArgs,
    many::{ConnectionsArgs, QueuesArgs},
    throughput::ThroughputArgs,
};

/// Arguments of `leveret perf`.
#[derive(Debug, Args)]
pub struct PerfArgs {
    #[command(subcommand)]
    command: PerfCommand,
}

/// The kinds of load that can be generated.
#[derive(Debug, Subcommand)]
pub enum PerfCommand {
    /// Publish and consume as fast as the broker allows, and report rates, latency and cost.
    Throughput(Box<ThroughputArgs>),
    /// Send at an even rate, and report how long messages take from when they were due
    Latency(LatencyArgs),
    /// Connect, open channels and leave, again and again
    ConnectionChurn(ConnectionChurnArgs),
    /// Declare and delete queues, again and again
    QueueChurn(QueueChurnArgs),
    /// Bind and unbind queues, again and again
    BindingChurn(BindingChurnArgs),
    /// Open many connections, look at what they cost, close them
    Connections(ConnectionsArgs),
    /// Declare many queues, look at what they cost, delete them
    Queues(QueuesArgs),
    /// Fill a queue, look at what it costs, wait for it after a restart, drain it
    Backlog(BacklogArgs),
    /// Append to a file and fdatasync it, the least that a confirm can take
    Fsync(FsyncArgs),
    /// Run the same loads against several brokers in turn, and print medians and ratios
    Compare(CompareArgs),
}

/// Runs the chosen load and prints its report to standard output.
///
/// # Errors
///
/// When an argument is unusable, the broker cannot be reached or refuses something, a process or a
/// folder that was named cannot be observed, or the report cannot be written.
pub fn run(args: PerfArgs) -> Result<(), PerfError> {
    match args.command {
        PerfCommand::Throughput(args) => throughput::run(&args),
        PerfCommand::Latency(args) => latency::run(&args),
        PerfCommand::ConnectionChurn(args) => churn::run_connections(&args),
        PerfCommand::QueueChurn(args) => churn::run_queues(&args),
        PerfCommand::BindingChurn(args) => churn::run_bindings(&args),
        PerfCommand::Connections(args) => many::run_connections(&args),
        PerfCommand::Queues(args) => many::run_queues(&args),
        PerfCommand::Backlog(args) => backlog::run(&args),
        PerfCommand::Fsync(args) => fsync::run(&args),
        PerfCommand::Compare(args) => compare::run(&args),
    }
}
