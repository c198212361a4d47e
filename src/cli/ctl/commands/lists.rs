//! Lists of what there is in a virtual host or on the node, with the columns that somebody wants.

use serde_json::Value;

use super::items::{BINDINGS, CHANNELS, CONNECTIONS, CONSUMERS, EXCHANGES, Kind, QUEUES};
use super::queues::path;
use super::{items, text, vhosts};
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
    Ok(listed(kind, columns, &found))
}

fn listed(kind: &Kind, columns: Vec<String>, found: &Value) -> Output {
    let row = |thing| columns.iter().map(|column| (kind.item)(thing, column)).collect();
    let rows = items(found).iter().map(row).collect();
    Output::Rows(Rows { columns, rows, streamed: true, ..Rows::default() })
}

/// The API's lists do not say whose an exclusive queue is, and who consumes it; what it says of a single one does.
fn with_owners(call: &mut Call, mut found: Value) -> Result<Value, Failure> {
    for queue in found.as_array_mut().into_iter().flatten() {
        if queue["exclusive"] == true || !text(queue, "exclusive_consumer_tag").is_empty() {
            if let Some(whole) = call.find(&path(text(queue, "vhost"), text(queue, "name")))? {
                *queue = whole;
            }
        }
    }
    Ok(found)
}

fn queues(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    call.take_at_most_a_minute();
    let seconds = call.line.text("timeout").and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let timeout = match call.line.text("timeout") {
        Some("infinity") => String::new(),
        _ => format!("Timeout: {seconds:.1} seconds ...\n"),
    };
    let banner = format!("{timeout}Listing queues for vhost {vhost} ...");
    let columns = columns(call, QUEUES.columns, QUEUES.usual)?;
    call.banner(&banner);
    // A queue is where the node is.
    let offline = call.line.flag("offline");
    let found = if offline { None } else { call.find(&format!("/api/queues/{}", segment(&vhost)))? };
    let mut found = found.unwrap_or(Value::Null);
    if columns.iter().any(|column| ["owner_pid", "exclusive_consumer_pid"].contains(&column.as_str())) {
        found = with_owners(call, found)?;
    }
    Ok(listed(&QUEUES, columns, &found))
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
