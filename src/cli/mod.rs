//! The command line: one binary, one subcommand for each thing it can be.
//!
//! - [`server`][]: the broker
//! - [`http`][]: requests to a node, for the tools
//! - [`ctl`][], [`admin`][]: RabbitMQ's command-line tools
//! - [`tail`][]: messages, as they pass
//! - [`perf`][]: load generators against any AMQP 0-9-1 broker

pub mod admin;
pub mod ctl;
pub mod http;
pub mod perf;
pub mod server;
pub mod tail;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ctl::Tool;
use server::detached;

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
    /// Show messages that pass through an exchange or are in a queue, without taking them
    Tail(tail::TailArgs),
    /// Measure any AMQP 0-9-1 broker
    Perf(perf::PerfArgs),
    /// What RabbitMQ's rabbitmqctl does: users, permissions, lists, connections ...
    #[command(disable_help_flag = true)]
    Ctl,
    /// What rabbitmq-diagnostics does: health checks, status
    #[command(disable_help_flag = true)]
    Diagnostics,
    /// What rabbitmq-plugins does
    #[command(disable_help_flag = true)]
    Plugins,
    /// What rabbitmq-queues does
    #[command(disable_help_flag = true)]
    Queues,
    /// What rabbitmq-streams does
    #[command(disable_help_flag = true)]
    Streams,
    /// What rabbitmq-upgrade does
    #[command(disable_help_flag = true)]
    Upgrade,
    /// What rabbitmqadmin does: the management API on a command line
    #[command(disable_help_flag = true)]
    Admin,
}

/// A program of RabbitMQ's that this one stands for.
enum Program {
    Tool(Tool),
    Admin,
}

impl Program {
    /// By its name, or as a subcommand of ours.
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "rabbitmqadmin" | "admin" => Some(Self::Admin),
            name => Tool::from_name(name).map(Self::Tool),
        }
    }
}

/// The program that is meant, with what comes after its name: the program has been called by that name, or it
/// is the first word.
fn program() -> Option<(Program, Vec<String>)> {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut words: Vec<_> = words.collect();
    if let Some(program) = Program::from_name(&program) {
        return Some((program, words));
    }
    let program = Program::from_name(words.first()?)?;
    words.remove(0);
    Some((program, words))
}

/// Runs what the command line asks for; an error is one line and exit status 1.
pub fn main() -> ExitCode {
    match program() {
        Some((Program::Tool(tool), arguments)) => return ctl::run(tool, &arguments),
        Some((Program::Admin, arguments)) => return admin::run(&arguments),
        None => {}
    }
    let mut words = detached::words(std::env::args_os().collect());
    let detached = detached::take_flag(&mut words);
    let command = Cli::parse_from(&words).command.unwrap_or_else(|| Command::Server(Box::default()));
    let result = match command {
        Command::Server(_) if detached => detached::start(&words).map_err(|e| format!("cannot start: {e}")),
        Command::Server(args) => server::run(&args).map_err(|e| e.to_string()),
        Command::Tail(args) => tail::run(&args).map_err(|e| e.to_string()),
        Command::Perf(args) => perf::run(args).map_err(|e| e.to_string()),
        Command::Ctl => return ctl::run(Tool::Ctl, &[]),
        Command::Diagnostics => return ctl::run(Tool::Diagnostics, &[]),
        Command::Plugins => return ctl::run(Tool::Plugins, &[]),
        Command::Queues => return ctl::run(Tool::Queues, &[]),
        Command::Streams => return ctl::run(Tool::Streams, &[]),
        Command::Upgrade => return ctl::run(Tool::Upgrade, &[]),
        Command::Admin => return admin::run(&[]),
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
