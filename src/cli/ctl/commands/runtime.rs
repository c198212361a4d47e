//! What concerns the machine that the node is on: logs, names, TLS.

use std::net::{IpAddr, ToSocketAddrs as _};

use serde_json::{Value, json};

use super::{items, text};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Needs, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;
use crate::node::NODE_NAME;

const TIMEOUT: &str = "[--timeout <timeout>]";

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Configuration, about, run).tools(DIAGNOSTICS).takes(0, 0, TIMEOUT)
}

pub const COMMANDS: &[Command] = &[
    command("log_location", "Shows where the node logs to", log_location)
        .takes(0, 0, "[--all|-a] [--timeout <timeout>]")
        .switches(&[line::flag("all").short('a')]),
    command("log_tail", "Shows the last lines of the node's log", log_tail)
        .takes(0, 0, "[--number|-N <number>] [--timeout <timeout>]")
        .switches(&[line::number("number").short('N')]),
    command("resolve_hostname", "Resolves a host name as this machine does", resolve)
        .needs(Needs::Nothing)
        .takes(1, 1, "<hostname> [--address-family <ipv4 | ipv6>]")
        .switches(&[line::text("address-family")]),
    command("tls_versions", "Lists the versions of TLS that there are", tls_versions).needs(Needs::Nothing),
    command("certificates", "Lists certificates in use", certificates).takes(0, 0, ""),
    command("list_node_auth_attempt_stats", "Counts logins by protocol", attempts)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--by-source]")
        .switches(&[line::flag("by-source")]),
    command("reset_node_auth_attempt_metrics", "Counts logins from 0 on", reset_attempts).takes(0, 0, ""),
];

/// The files that the node says it logs to.
fn log_files(call: &mut Call) -> Result<Vec<String>, Failure> {
    let node = call.find(&format!("/api/nodes/{}", segment(NODE_NAME)))?.unwrap_or(Value::Null);
    Ok(items(&node["log_files"]).iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn log_location(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Log file location(s) on node {} ...", call.node()));
    let files = log_files(call)?;
    let shown: Vec<_> = files.iter().take(if call.line.flag("all") { usize::MAX } else { 1 }).collect();
    let text = shown.iter().map(|file| file.as_str()).collect::<Vec<_>>().join("\n");
    Ok(Output::Both(text, json!(shown)))
}

fn log_tail(call: &mut Call) -> Result<Output, Failure> {
    let count = call.line.number("number").and_then(|number| usize::try_from(number).ok()).unwrap_or(50);
    call.banner(&format!("Last {count} log lines on node {} ...", call.node()));
    let files = log_files(call)?;
    let file = files.iter().find(|file| file.starts_with('/')).ok_or_else(|| {
        Failure::new(status::DATA, "the node logs to no file: its lines are on its standard output")
    })?;
    let log = std::fs::read(file);
    let log = log.map_err(|e| Failure::new(status::DATA, format!("{file} cannot be read: {e}")))?;
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    Ok(Output::Text(lines[lines.len().saturating_sub(count)..].join("\n")))
}

fn resolve(call: &mut Call) -> Result<Output, Failure> {
    let (name, node) = (call.argument(0).to_owned(), call.node());
    let family = call.line.text("address-family").unwrap_or("ipv4").to_lowercase();
    let is_wanted = match family.as_str() {
        "ipv4" => IpAddr::is_ipv4 as fn(&IpAddr) -> bool,
        "ipv6" => IpAddr::is_ipv6,
        _ => return Err(Failure::bad_argument("unsupported address family: it is ipv4 or ipv6")),
    };
    let shown = if family == "ipv4" { "IPv4" } else { "IPv6" };
    call.banner(&format!("Asking node {node} to resolve hostname {name} to {shown} addresses..."));
    let found = (name.as_str(), 0).to_socket_addrs();
    let found = found.map_err(|e| Failure::refused(format!("{name} cannot be resolved: {e}")))?;
    let mut addresses: Vec<_> =
        found.map(|address| address.ip()).filter(is_wanted).map(|ip| ip.to_string()).collect();
    addresses.dedup();
    Ok(Output::Both(addresses.join("\n"), json!({ "result": "ok", "addresses": addresses })))
}

/// Those of the library that TLS comes from.
fn tls_versions(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Listing all TLS versions supported by the runtime...");
    let versions = ["tlsv1.3", "tlsv1.2"];
    Ok(Output::Both(versions.join("\n"), json!({ "result": "ok", "available": versions })))
}

fn certificates(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Certificates of node {} ...", call.node()));
    let listeners = call.get("/ctl/status")?;
    let with_tls = items(&listeners["listeners"]).iter().filter(|listener| listener["tls"] == true);
    let named = with_tls.map(|listener| {
        let files = Term::of(&listener["certificates"]);
        (format!("{}:{}", text(listener, "protocol"), listener["port"]), files)
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return Ok(Output::Both("#{}".to_owned(), json!([])));
    }
    Ok(Output::Term(Term::Map(named)))
}

fn attempts(call: &mut Call) -> Result<Output, Failure> {
    let by_source = call.line.flag("by-source");
    call.banner(&format!("Listing authentication\n attempts for node \"{}\" ...", call.node()));
    let path = format!("/api/auth/attempts/{}", segment(NODE_NAME));
    let found = call.get(&if by_source { path + "/source" } else { path })?;
    let counts = ["auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"];
    let names: &[&str] = if by_source { &["remote_address", "username", "protocol"] } else { &["protocol"] };
    let columns = [names, &counts].concat();
    let row = |one: &Value| columns.iter().map(|column| Term::of(&one[*column])).collect();
    Ok(Output::Rows(Rows::new(&columns, items(&found).iter().map(row).collect())))
}

fn reset_attempts(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Resetting auth attempt metrics on node {} ...", call.node()));
    call.delete(&format!("/api/auth/attempts/{}", segment(NODE_NAME)))?;
    Ok(Output::Nothing)
}
