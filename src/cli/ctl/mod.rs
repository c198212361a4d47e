//! RabbitMQ's command-line tools: `rabbitmqctl`, `rabbitmq-diagnostics`, `rabbitmq-plugins`, `rabbitmq-queues`,
//! `rabbitmq-streams` and `rabbitmq-upgrade`.
//!
//! What they print, and with which status they end, is what scripts read, so it is RabbitMQ 4.3's to the letter. They
//! talk to the node over its control socket (`http::socket`), in the API's own JSON.
//!
//! - this file: from the command line to the exit status
//! - [`command`]: the form of a command, and the tools
//! - [`commands`]: all of them
//! - [`line`][]: options
//! - [`call`], [`find`]: a command that runs; its way to the node
//! - [`term`], [`output`]: values, and the formats they are printed in
//! - [`failure`]: what goes wrong, and exit statuses
//! - [`help`][]: help

mod call;
mod command;
mod commands;
mod failure;
mod find;
mod help;
mod line;
mod output;
mod term;

use std::io::{self, Write as _};
use std::process::ExitCode;

use call::Call;
pub use command::Tool;
use command::{Command, Needs};
use failure::{Failure, status};
use line::Line;
use output::{Format, Output, Style};

use crate::cli::http::Client;

/// Connects to the node on this machine, or says where it has been looked for.
pub fn connect() -> Result<Client, String> {
    find::connect(&Line::default()).map_err(|tried| {
        let tried: Vec<_> = tried.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect();
        format!("there is no node on this machine ({})", tried.join("; "))
    })
}

/// Runs a tool with what comes after its name on the command line.
pub fn run(tool: Tool, arguments: &[String]) -> ExitCode {
    let line = Line::parse(arguments, &[]);
    let Some(name) = line.words.first() else {
        let asked = line.flag("help");
        return help::all(tool, if asked { None } else { Some("") });
    };
    let found = commands::all().find(|command| command.name == name && command.belongs_to(tool));
    match (found, name.as_str()) {
        (_, "help") => help::about(tool, line.words.get(1).map(String::as_str)),
        (Some(command), _) if line.flag("help") => help::about(tool, Some(command.name)),
        (Some(command), _) => carry_out(tool, command, arguments),
        (None, name) => help::unknown(tool, name),
    }
}

fn carry_out(tool: Tool, command: &Command, arguments: &[String]) -> ExitCode {
    let line = Line::parse(arguments, command.switches);
    let style = Style {
        format: line.text("formatter").and_then(Format::from_name),
        quiet: line.flag("quiet") || line.flag("silent"),
        headers: !line.flag("silent") && !line.without("table-headers"),
    };
    let dry = line.flag("dry-run");
    let mut call = Call::new(tool, line, style);
    let result = check(command, &call).and_then(|()| {
        if dry {
            return Ok(Output::Nothing);
        }
        check_time(command, &mut call)?;
        (command.run)(&mut call)
    });
    match result {
        Ok(output) => printed(&output, style),
        Err(failure) => {
            let arguments = arguments.join(" ");
            let text = match &failure.value {
                Some(value) if style.format == Some(Format::Json) => value.to_string(),
                _ => failure.told(&arguments, tool, Some((command.name, command.usage))),
            };
            // Where even this cannot be written, the exit status has to say it.
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(failure.status)
        }
    }
}

/// Prints a result. A reader that has gone, as `head` does, is no failure.
fn printed(output: &Output, style: Style) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match output::print(&mut out, output, style).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(status::SOFTWARE),
        _ => ExitCode::SUCCESS,
    }
}

/// Refuses a command line that makes no sense.
fn check(command: &Command, call: &Call) -> Result<(), Failure> {
    call.line.check()?;
    if let Some(name) = call.line.text("formatter").filter(|name| Format::from_name(name).is_none()) {
        return Err(Failure::misused(format!(
            "unknown formatter {name}: it is one of table, pretty_table, json, csv, erlang, string"
        )));
    }
    let (least, most) = command.arguments;
    match call.arguments.len() {
        count if count < least => Err(Failure::misused("not enough arguments.")),
        count if count > most => Err(Failure::misused("too many arguments.")),
        _ => Ok(()),
    }
}

/// Refuses a command for which the node is not in the right state.
fn check_time(command: &Command, call: &mut Call) -> Result<(), Failure> {
    if command.needs == Needs::Nothing {
        return Ok(());
    }
    let is_running = commands::is_running(call)?;
    match command.needs {
        Needs::App if !is_running => Err(Failure::untimely(
            "this command requires the 'rabbit' app to be running on the target node. Start it with \
             'rabbitmqctl start_app'.",
        )),
        Needs::Stopped if is_running => Err(Failure::untimely(
            "this command requires the 'rabbit' app to be stopped on the target node. Stop it with \
             'rabbitmqctl stop_app'.",
        )),
        _ => Ok(()),
    }
}
