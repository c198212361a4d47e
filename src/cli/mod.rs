//! The command line: one binary, one subcommand for each thing it can be.
//!
//! - [`server`][]: the broker
//! - [`http`][]: requests to a node, for the tools
//! - [`perf`][]: load generators against any AMQP 0-9-1 broker

pub mod http;
pub mod perf;
pub mod server;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "leveret", version, about = "A light message broker that RabbitMQ's clients use unchanged")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default)
    Server(Box<server::ServerArgs>),
    /// Measure any AMQP 0-9-1 broker
    Perf(perf::PerfArgs),
}

/// Runs what the command line asks for; an error is one line and exit status 1.
pub fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Server(Box::default()));
    let result = match command {
        Command::Server(args) => server::run(&args).map_err(|e| e.to_string()),
        Command::Perf(args) => perf::run(args).map_err(|e| e.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            // Where even this cannot be written, the exit status has to say it.
            let _ = writeln!(std::io::stderr(), "leveret: {line}");
            ExitCode::FAILURE
        }
    }
}
