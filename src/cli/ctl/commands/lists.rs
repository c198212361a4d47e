//! Lists of what there is in a virtual host or on the node, with the columns that somebody wants.

use serde_json::Value;

use super::items::{BINDINGS, CHANNELS, CONNECTIONS, CONSUMERS, EXCHANGES, Kind, QUEUES};
use super::{items, vhosts};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, MANY, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::line;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::http::segment;

/// The order in which consumers' columns are shown.
const CONSUMER_ORDER: [&str; 8] = [
    "queue_name",
    "channel_pid",
    "consumer_tag",
    "ack_required",
    "prefetch_count",
    "active",
    "activity_status",
    "arguments",
];
const OF_VHOST: &str = "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]";

pub const COMMANDS: &[Command] = &[
    Command::new("list_queues", Section::Health, "Lists queues of a virtual host", queues)
        .tools(CTL | DIAGNOSTICS)
        .takes(
            0,
            MANY,
            "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...] \
             [--timeout <timeout>]",
        )
        .switches(&[line::flag("local")]),
    Command::new("list_exchanges", Section::Health, "Lists exchanges of a virtual host", exchanges)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, MANY, OF_VHOST),
    Command::new("list_bindings", Section::Health, "Lists bindings of a virtual host", bindings)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, MANY, OF_VHOST),
    Command::new("list_consumers", Section::Health, "Lists consumers of a virtual host", consumers)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, MANY, OF_VHOST),
    Command::new("list_connections", Section::Health, "Lists connections", connections)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, MANY, "[--no-table-headers] [<column> ...] [--timeout <timeout>]"),
    Command::new("list_channels", Section::Health, "Lists channels", channels)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, MANY, "[--no-table-headers] [<column> ...]"),
    Command::new(
        "list_unresponsive_queues",
        Section::Health,
        "Lists queues that do not answer: there are none, since queues wait for nobody",
        unresponsive,
    )
    .tools(CTL | DIAGNOSTICS)
    .takes(
        0,
        MANY,
        "[--local] [--queue-timeout <seconds>] [<column> ...] [--no-table-headers] [--timeout <timeout>]",
    )
    .switches(&[line::flag("local"), line::number("queue-timeout")]),
];

/// The columns that somebody wants, all of which have to be known. They may be divided by commas too.
pub fn columns(call: &Call, known: &[&str], usual: &[&str]) -> Result<Vec<String>, Failure> {
    let words = call.arguments.iter().flat_map(|argument| argument.split([',', ' ']));
    let wanted: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if wanted.is_empty() {
        return Ok(usual.iter().map(ToString::to_string).collect());
    }
    let unknown = wanted.iter().filter(|column| !known.contains(&column.as_str()));
    let unknown: Vec<_> = unknown.rev().map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(wanted);
    }
    Err(Failure::misused(format!("Info key(s) {} are not supported", unknown.join(","))))
}

fn list(call: &mut Call, kind: &Kind, banner: &str, path: &str) -> Result<Output, Failure> {
    let columns = columns(call, kind.columns, kind.usual)?;
    call.banner(banner);
    let found = call.find(path)?.unwrap_or(Value::Null);
    let row = |thing: &Value| columns.iter().map(|column| (kind.item)(thing, column)).collect();
    let rows = items(&found).iter().map(row).collect();
    Ok(Output::Rows(Rows { columns: columns.clone(), rows, streamed: true, ..Rows::default() }))
}

fn queues(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let seconds = call.line.text("timeout").and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let timeout = match call.line.text("timeout") {
        Some("infinity") => String::new(),
        _ => format!("Timeout: {seconds:.1} seconds ...\n"),
    };
    let banner = format!("{timeout}Listing queues for vhost {vhost} ...");
    let mut path = format!("/api/queues/{}", segment(&vhost));
    if call.line.flag("offline") {
        // A queue is where the node is.
        path = "/api/nothing".to_owned();
    }
    list(call, &QUEUES, &banner, &path)
}

fn exchanges(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let banner = format!("Listing exchanges for vhost {vhost} ...");
    list(call, &EXCHANGES, &banner, &format!("/api/exchanges/{}", segment(&vhost)))
}

fn bindings(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let banner = format!("Listing bindings for vhost {vhost}...");
    list(call, &BINDINGS, &banner, &format!("/api/bindings/{}", segment(&vhost)))
}

fn consumers(call: &mut Call) -> Result<Output, Failure> {
    // In an order of their own, whatever order was asked for.
    call.arguments =
        call.arguments.iter().flat_map(|argument| argument.split([',', ' '])).map(str::to_owned).collect();
    let place = |column: &String| CONSUMER_ORDER.iter().position(|known| known == column);
    call.arguments.sort_by_key(place);
    let vhost = call.vhost();
    let banner = format!("Listing consumers in vhost {vhost} ...");
    list(call, &CONSUMERS, &banner, &format!("/api/consumers/{}", segment(&vhost)))
}

fn connections(call: &mut Call) -> Result<Output, Failure> {
    list(call, &CONNECTIONS, "Listing connections ...", "/api/connections")
}

fn channels(call: &mut Call) -> Result<Output, Failure> {
    list(call, &CHANNELS, "Listing channels ...", "/api/channels")
}

fn unresponsive(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let columns = columns(call, &["arguments", "auto_delete", "durable", "name", "pid"], &["name"])?;
    call.banner(&format!("Listing unresponsive queues for vhost {vhost} ..."));
    vhosts::check(call, &vhost)?;
    Ok(Output::Rows(Rows { columns, streamed: true, ..Rows::default() }))
}
