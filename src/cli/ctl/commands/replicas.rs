//! Replicas of streams, and leaders of queues: each has one replica, on this node, which leads.

use serde_json::{Value, json};

use super::queues::path;
use super::quorum::{is_this, not_found, stranger};
use super::{items, text};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{Command, QUEUES, STREAMS, Section, Tool};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line::{self, Switch};
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;

const PATTERNS: &[Switch] = &[
    line::text("vhost-pattern"),
    line::text("queue-pattern"),
    line::text("membership"),
    line::flag("errors-only"),
];

const fn of_streams(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Queues, about, run).tools(STREAMS).switches(PATTERNS)
}

pub const COMMANDS: &[Command] = &[
    of_streams("restart_stream", "Tells where a stream is: it need not be restarted", restart)
        .takes(1, 1, "[--vhost <vhost>] <stream> [--preferred-leader-node <node>]")
        .switches(&[line::text("preferred-leader-node")]),
    of_streams("add_replica", "Adds a replica on a node of the cluster", add).takes(
        2,
        2,
        "[--vhost <vhost>] <stream> <node>",
    ),
    of_streams("delete_replica", "Fails: the last replica stays", delete).takes(
        2,
        2,
        "[--vhost <vhost>] <stream> <node>",
    ),
    of_streams("grow", "Adds replicas on a node of the cluster", grow).takes(
        2,
        2,
        "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] [--errors-only]",
    ),
    of_streams("shrink", "Removes replicas from a node of the cluster: the last ones stay", shrink).takes(
        1,
        1,
        "<node> [--errors-only]",
    ),
    Command::new(
        "transfer_leadership",
        Section::Queues,
        "Makes another replica lead: there is one",
        transfer,
    )
    .tools(STREAMS | QUEUES)
    .takes(2, 2, "[--vhost <vhost>] <queue> <node>"),
    Command::new("grow_to_count", Section::Queues, "Adds replicas, as far as there are nodes", grow_to_count)
        .tools(QUEUES)
        .switches(PATTERNS)
        .takes(
            2,
            2,
            "<node_count> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] [--membership \
             <promotable|voter>]",
        ),
];

/// There is nothing of this name.
pub fn nothing() -> Failure {
    Failure::bare(status::DATA, "Object (queue, stream, exchange, etc) was not found")
}

/// What RabbitMQ calls the program for a type of queues.
pub fn module(kind: &str) -> String {
    format!("rabbit_{kind}_queue")
}

/// The type of the queue that is named.
fn kind_of(call: &mut Call, missing: impl FnOnce(&str, &str) -> Failure) -> Result<String, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    let queue = call.find(&path(&vhost, &name))?.ok_or_else(|| missing(&name, &vhost))?;
    Ok(text(&queue, "type").to_owned())
}

fn restart(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Restarting stream {}...", call.argument(0)));
    match kind_of(call, |_, _| nothing())?.as_str() {
        "stream" => Ok(leader(call)),
        kind => Err(Failure::refused(format!("{{:not_supported_for_type, :{}}}", module(kind)))),
    }
}

fn leader(call: &Call) -> Output {
    let node = call.node();
    Output::Both(node.clone(), json!({ "result": "ok", "node": node, "value": node }))
}

fn add(call: &mut Call) -> Result<Output, Failure> {
    let [name, node] = [0, 1].map(|n| call.argument(n).to_owned());
    call.banner(&format!("Adding a replica for stream {name} on node {node}..."));
    match kind_of(call, |_, _| nothing())?.as_str() {
        "stream" if is_this(call, &node) => Ok(Output::Nothing),
        "stream" => Err(Failure::refused("node_not_running")),
        kind => Err(Failure::refused(format!("Cannot add replicas to {kind} queues"))),
    }
}

fn delete(call: &mut Call) -> Result<Output, Failure> {
    let [name, node] = [0, 1].map(|n| call.argument(n).to_owned());
    call.banner(&format!("Removing a replica of queue {name} on node {node}..."));
    match kind_of(call, |_, _| nothing())?.as_str() {
        "stream" => Err(Failure::refused("Cannot delete the last member of a stream")),
        kind => Err(Failure::refused(format!("Cannot delete replicas from a {kind} queue"))),
    }
}

/// Refuses a way of growing that there is not.
pub fn check_strategy(call: &Call) -> Result<(), Failure> {
    match call.argument(1) {
        "all" | "even" => Ok(()),
        other => Err(Failure::misused(format!("\"strategy '{other}' is not recognised.\""))),
    }
}

fn grow(call: &mut Call) -> Result<Output, Failure> {
    let [node, strategy] = [0, 1].map(|n| call.argument(n).to_owned());
    check_strategy(call)?;
    if !is_this(call, &node) {
        return Err(stranger(&node));
    }
    call.banner(&format!("Growing {strategy} streams on {node}..."));
    Ok(Output::Rows(Rows::default()))
}

fn shrink(call: &mut Call) -> Result<Output, Failure> {
    let node = call.argument(0).to_owned();
    call.banner(&format!("Shrinking streams on {node}..."));
    if !is_this(call, &node) {
        return Ok(Output::Rows(Rows::default()));
    }
    let queues = call.get("/api/queues")?;
    let streams = items(&queues).iter().filter(|queue| text(queue, "type") == "stream");
    let row = |stream: &Value| {
        let why = "error: the last replica cannot be removed";
        vec![text(stream, "vhost").into(), text(stream, "name").into(), Term::from(1), why.into()]
    };
    Ok(Output::Rows(Rows::new(&["vhost", "name", "size", "result"], streams.map(row).collect())))
}

fn grow_to_count(call: &mut Call) -> Result<Output, Failure> {
    check_strategy(call)?;
    let (count, strategy) = (call.argument(0).to_owned(), call.argument(1).to_owned());
    if !count.parse::<u32>().is_ok_and(|count| count > 0) {
        return Err(Failure::bad_argument("the number of nodes is a positive integer"));
    }
    call.banner(&format!("Growing {strategy} quorum queues on {count} nodes..."));
    Ok(Output::Rows(Rows::default()))
}

fn transfer(call: &mut Call) -> Result<Output, Failure> {
    let [name, node] = [0, 1].map(|n| call.argument(n).to_owned());
    let of_streams = call.tool == Tool::Streams;
    let what = if of_streams { "stream" } else { "quorum queue" };
    call.banner(&format!("Transferring leadership of {what} {name} to node {node}..."));
    match (of_streams, kind_of(call, not_found)?.as_str()) {
        (true, "stream") => Ok(leader(call)),
        (true, kind) => Err(Failure::refused(format!("Cannot transfer leadership of a {kind} queue"))),
        (false, "quorum") if is_this(call, &node) => {
            Err(Failure::refused("The target node is already the leader of this queue"))
        }
        (false, "quorum") => Err(Failure::refused("unknown_member")),
        (false, _) => Err(Failure::refused("Cannot transfer leadership of a non-quorum queue")),
    }
}
