//! What concerns the machine that the node is on: logs, names, network interfaces.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

use if_addrs::IfAddr;
use serde_json::{Value, json};

use super::items;
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Needs, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;
use crate::node::NODE_NAME;

/// Between two looks whether there is more of it.
const PAUSE: Duration = Duration::from_millis(100);
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
    command("log_tail_stream", "Shows what the node logs, for some time", log_tail_stream)
        .takes(0, 0, "[--duration|-d <seconds>] [--timeout <timeout>]")
        .switches(&[line::number("duration").short('d')]),
    command("resolve_hostname", "Resolves a host name as this machine does", resolve)
        .needs(Needs::Nothing)
        .takes(1, 1, "<hostname> [--address-family <ipv4 | ipv6>]")
        .switches(&[line::text("address-family")]),
    command("list_network_interfaces", "Lists network interfaces of this machine", interfaces)
        .needs(Needs::Nothing)
        .takes(0, 0, "[--offline] [--timeout <timeout>]"),
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
    let file = log_file(call)?;
    let log = std::fs::read(&file).map_err(|e| unreadable(&file, &e))?;
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    Ok(Output::Text(lines[lines.len().saturating_sub(count)..].join("\n")))
}

/// The file that the node logs to.
fn log_file(call: &mut Call) -> Result<String, Failure> {
    let file = log_files(call)?.into_iter().find(|file| file.starts_with('/'));
    file.ok_or_else(|| {
        Failure::new(status::DATA, "the node logs to no file: its lines are on its standard output")
    })
}

fn unreadable(file: &str, error: &io::Error) -> Failure {
    Failure::new(status::DATA, format!("{file} cannot be read: {error}"))
}

/// Shows what comes to the end of the log, until the time is over, if there is one. A log that has become shorter is another one.
fn log_tail_stream(call: &mut Call) -> Result<Output, Failure> {
    let seconds = call.line.number("duration").and_then(|seconds| u64::try_from(seconds).ok());
    let how_long = seconds.map_or_else(String::new, |seconds| format!(" for {seconds} seconds"));
    call.banner(&format!("Streaming logs from node {}{how_long} ...", call.node()));
    let file = log_file(call)?;
    let failed = |e: io::Error| unreadable(&file, &e);
    let mut at = std::fs::metadata(&file).map_err(failed)?.len();
    let (begin, patience) = (Instant::now(), seconds.map(Duration::from_secs));
    loop {
        let mut log = File::open(&file).map_err(failed)?;
        if log.metadata().map_err(failed)?.len() < at {
            at = 0;
        }
        log.seek(SeekFrom::Start(at)).map_err(failed)?;
        match io::copy(&mut log, &mut io::stdout().lock()) {
            Ok(count) => at += count,
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(Output::Nothing),
            Err(e) => return Err(failed(e)),
        }
        if patience.is_some_and(|patience| begin.elapsed() >= patience) {
            return Ok(Output::Nothing);
        }
        sleep(PAUSE);
    }
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

/// The network interfaces of the machine that the tool runs on, which is the node's.
fn interfaces(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Asking node {node} to report its network interfaces ..."));
    let addresses = if_addrs::get_if_addrs();
    let addresses =
        addresses.map_err(|e| Failure::new(status::SOFTWARE, format!("interfaces cannot be listed: {e}")))?;
    let mut named: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
    for name in folder_names("/sys/class/net") {
        named.insert(name, Vec::new());
    }
    for address in addresses {
        let about = named.entry(address.name).or_default();
        match address.addr {
            IfAddr::V6(v6) => {
                about.extend([("netmask", v6.netmask.to_string()), ("addr", v6.ip.to_string())]);
            }
            IfAddr::V4(v4) => {
                about.extend(v4.broadcast.map(|address| ("broadaddr", address.to_string())));
                about.extend([("netmask", v4.netmask.to_string()), ("addr", v4.ip.to_string())]);
            }
        }
    }
    let (mut out, mut value) = (String::new(), json!({}));
    for (name, addresses) in named {
        let hardware = ("hwaddr", hardware_address(&of_interface(&name, "address")));
        let flags =
            ("flags", interface_flags(&of_interface(&name, "flags"), &of_interface(&name, "operstate")));
        out.push_str(&format!("Interface {name}\n\n"));
        value[&name] = json!({});
        for (what, shown) in [hardware].into_iter().chain(addresses).chain([flags]) {
            out.push_str(&format!("{what}: {shown}\n"));
            if value[&name][what].is_null() {
                value[&name][what] = shown.into();
            }
        }
        out.push_str("\n\n");
    }
    let message = format!("Node {node} reported network interfaces");
    Ok(Output::Both(
        out.trim_end_matches('\n').to_owned() + "\n\n",
        json!({
            "result": "ok", "message": message, "interfaces": value,
        }),
    ))
}

fn folder_names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What the kernel says of an interface.
fn of_interface(name: &str, what: &str) -> String {
    std::fs::read_to_string(format!("/sys/class/net/{name}/{what}")).unwrap_or_default().trim().to_owned()
}

/// An address as Erlang's users write it: without zeros in front.
fn hardware_address(address: &str) -> String {
    let octets = address.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok());
    octets.map(|octet| format!("{octet:X}")).collect::<Vec<_>>().join(":")
}

/// The flags of an interface by name (`netdevice(7)`). Whether it runs stands apart from them.
fn interface_flags(flags: &str, state: &str) -> String {
    let bits = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
    let running = bits & 1 != 0 && ["up", "unknown"].contains(&state);
    let named = [
        (bits & 1 != 0, "up"),
        (bits & 2 != 0, "broadcast"),
        (bits & 8 != 0, "loopback"),
        (bits & 16 != 0, "pointtopoint"),
        (running, "running"),
        (bits & 4096 != 0, "multicast"),
    ];
    named.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_as_erlang_tells_them() {
        assert_eq!(hardware_address("02:fc:00:00:00:1b"), "2:FC:0:0:0:1B");
        assert_eq!(hardware_address(""), "");
        assert_eq!(interface_flags("0x1003", "up"), "up, broadcast, running, multicast");
        assert_eq!(interface_flags("0x9", "unknown"), "up, loopback, running");
        assert_eq!(interface_flags("0x1003", "down"), "up, broadcast, multicast");
        assert_eq!(interface_flags("0x82", "down"), "broadcast");
        assert_eq!(interface_flags("", ""), "");
    }
}
