//! Definitions, out of the node and into it.

use std::fs;
use std::io::{self, Read as _};

use hyper::Method;
use serde_json::Value;

use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{Command, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::Output;

pub const COMMANDS: &[Command] = &[
    Command::new("export_definitions", Section::Definitions, "Writes all definitions to a file", export)
        .takes(1, 1, "<file_path | \"-\"> [--format <json | erlang>] [--timeout <timeout>]")
        .switches(&[line::text("format")]),
    Command::new("import_definitions", Section::Definitions, "Reads definitions from a file", import)
        .takes(0, 1, "<file_path> [--format <json | erlang>] [--skip-if-unchanged] [--timeout <timeout>]")
        .switches(&[line::text("format"), line::flag("skip-if-unchanged")]),
];

/// Erlang's own format is for Erlang.
fn check_format(call: &Call) -> Result<(), Failure> {
    match call.line.text("format").unwrap_or("json").to_lowercase().as_str() {
        "json" => Ok(()),
        _ => Err(Failure::bad_argument("Formatter should be: JSON. Erlang's term format needs Erlang")),
    }
}

fn unwritable(path: &str, e: &io::Error) -> Failure {
    Failure::new(status::DATA, format!("Failed to write to the file at {path}: {e}"))
}

fn export(call: &mut Call) -> Result<Output, Failure> {
    check_format(call)?;
    let path = call.argument(0).to_owned();
    let to_output = path == "-";
    if !to_output {
        call.banner(&format!("Exporting definitions in JSON to a file at \"{path}\" ..."));
    }
    let definitions = call.get("/api/definitions")?;
    if to_output {
        return Ok(Output::Raw(format!("{definitions}\n")));
    }
    fs::write(&path, definitions.to_string()).map_err(|e| unwritable(&path, &e))?;
    Ok(Output::Nothing)
}

fn import(call: &mut Call) -> Result<Output, Failure> {
    check_format(call)?;
    let text = match call.arguments.first().cloned() {
        Some(path) => {
            let missing = || Failure::bad_argument(&format!("File {path} does not exist"));
            if !std::path::Path::new(&path).exists() {
                return Err(missing());
            }
            call.banner(&format!("Importing definitions in JSON from a file at \"{path}\" ..."));
            fs::read_to_string(&path)
        }
        None => {
            call.banner("Importing definitions in JSON from standard input ...");
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).map(|_| text)
        }
    };
    let text = text.map_err(|e| Failure::new(status::DATA, format!("definitions cannot be read: {e}")))?;
    let definitions: Value = serde_json::from_str(&text).map_err(|e| {
        Failure::new(status::DATA, format!("Failed to deserialise input (format: JSON) (error: {e})"))
    })?;
    let reply = call.send(Method::POST, "/api/definitions", Some(&definitions))?;
    if !reply.is_success() {
        return Err(Failure::new(status::DATA, reply.reason()));
    }
    Ok(Output::Remark(
        "Successfully started definition import. This process is asynchronous and can take some time. Watch target \
         node logs for completion."
            .to_owned(),
    ))
}
