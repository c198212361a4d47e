//! `leveret perf`: load generators for any AMQP 0-9-1 broker.
//!
//! Everything here uses plain threads and blocking sockets, so that the generator takes as little
//! processor time as possible away from a broker on the same machine.
//!
//! - [`args`][], [`uri`][], [`error`][]: what is asked for, of whom, and why it cannot be had
//! - [`throughput`][]: the run: its phases and their measurement
//! - [`conn`][], [`topology`][]: connections, and what is declared for a run
//! - [`producer`][], [`batch`][], [`confirms`][]: publishing from prepared buffers
//! - [`consumer`][], [`deliveries`][]: counting and acknowledging in place
//! - [`wire`][]: frames
//! - [`process`][]: the broker's processor time and memory
//! - [`shared`][]: what the threads of a run share
//! - [`report`][]: the result as a table or as JSON

mod args;
mod batch;
mod confirms;
mod conn;
mod consumer;
mod deliveries;
mod error;
mod process;
mod producer;
mod report;
mod shared;
mod throughput;
mod topology;
mod uri;
mod wire;

use clap::{Args, Subcommand};

use self::args::ThroughputArgs;
pub use self::error::PerfError;

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
    Throughput(ThroughputArgs),
}

/// Runs the chosen load and prints its report to standard output.
///
/// # Errors
///
/// When an argument is unusable, the broker cannot be reached or refuses something, the process
/// named by `--broker-pid` cannot be observed, or the report cannot be written.
pub fn run(args: PerfArgs) -> Result<(), PerfError> {
    match args.command {
        PerfCommand::Throughput(throughput) => throughput::run(&throughput),
    }
}
