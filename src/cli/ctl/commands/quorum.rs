//! `rabbitmq-queues` and what `rabbitmq-upgrade` asks of a cluster. Replicas are all on this node, so that most of it has
//! nothing to do.

use serde_json::{Value, json};

use super::queues::path;
use super::replicas::{check_strategy, module};
use super::{items, text};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{Command, DIAGNOSTICS, QUEUES, Section, UPGRADE};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line::{self, Switch};
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::node::NODE_NAME;

const PATTERNS: &[Switch] = &[
    line::text("vhost-pattern"),
    line::text("queue-pattern"),
    line::text("membership"),
    line::flag("errors-only"),
];

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Queues, about, run).tools(QUEUES).switches(PATTERNS)
}

pub const COMMANDS: &[Command] = &[
    command("quorum_status", "Shows the replicas of a quorum queue", quorum_status)
        .tools(QUEUES | DIAGNOSTICS)
        .takes(1, 1, "[--vhost <vhost>] <queue>"),
    command("rebalance", "Spreads leaders over nodes: there is one", rebalance).takes(
        1,
        1,
        "< all | quorum | stream > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
    ),
    command("grow", "Adds replicas on a node of the cluster", grow).takes(
        2,
        2,
        "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] [--membership \
         <promotable|voter>]",
    ),
    command("shrink", "Removes replicas from a node of the cluster", shrink).takes(
        1,
        1,
        "<node> [--errors-only]",
    ),
    command("add_member", "Adds a replica on a node of the cluster", add_member).takes(
        2,
        2,
        "[--vhost <vhost>] <queue> <node> [--membership <promotable|voter>] [--timeout <timeout>]",
    ),
    command("delete_member", "Removes a replica from a node of the cluster", delete_member).takes(
        2,
        2,
        "[--vhost <vhost>] <queue> <node>",
    ),
    command("reclaim_quorum_memory", "Gives memory back: it is given back by itself", reclaim)
        .tools(QUEUES | DIAGNOSTICS)
        .takes(1, 1, " [--vhost <vhost>] <quorum queue>"),
    command("force_checkpoint", "Writes checkpoints: there are none to write", checkpoint).takes(
        0,
        0,
        "[--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
    ),
    Command::new(
        "await_online_quorum_plus_one",
        Section::Upgrade,
        "Waits until this node can go without a quorum being lost",
        await_quorum,
    )
    .tools(UPGRADE),
    Command::new(
        "post_upgrade",
        Section::Upgrade,
        "Does what is to be done after an upgrade: nothing",
        post_upgrade,
    )
    .tools(UPGRADE),
];

pub fn not_found(name: &str, vhost: &str) -> Failure {
    Failure::bare(status::DATA, format!("queue '{name}' was not found in virtual host '{vhost}'"))
}

pub fn is_this(call: &Call, node: &str) -> bool {
    node == NODE_NAME || node == call.node()
}

/// A node that is not in the cluster.
pub fn stranger(node: &str) -> Failure {
    Failure::untimely(format!("node {node} is not a member of the cluster"))
}

/// Refuses what is no quorum queue.
fn check_quorum(call: &mut Call, vhost: &str, name: &str) -> Result<(), Failure> {
    let queue = call.find(&path(vhost, name))?.ok_or_else(|| not_found(name, vhost))?;
    match text(&queue, "type") {
        "quorum" => Ok(()),
        kind => Err(Failure::refused(format!("{{:unsupported, :{}}}", module(kind)))),
    }
}

/// One replica, which leads. What Raft counts is not there to be shown.
fn quorum_status(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name, node) = (call.vhost(), call.argument(0).to_owned(), call.node());
    call.banner(&format!("Status of queue {name} on node {node} ..."));
    check_quorum(call, &vhost, &name)?;
    let columns = [
        "Node Name",
        "Raft State",
        "Membership",
        "Last Log Index",
        "Last Written",
        "Last Applied",
        "Commit Index",
        "Snapshot Index",
        "Term",
        "Machine Version",
    ];
    let mut row = vec![node.into(), Term::atom("leader"), Term::atom("voter")];
    row.resize(columns.len(), Term::Empty);
    Ok(Output::Rows(Rows { in_box: true, streamed: true, ..Rows::new(&columns, vec![row]) }))
}

fn rebalance(call: &mut Call) -> Result<Output, Failure> {
    let kind = call.argument(0).to_owned();
    if !["all", "classic", "quorum", "stream"].contains(&kind.as_str()) {
        return Err(Failure::bad_argument("queue type must be one of: all, quorum, stream"));
    }
    let named = if kind == "all" { "all".to_owned() } else { kind };
    call.banner(&format!("Re-balancing leaders of {named} queues..."));
    let queues = call.get("/api/queues")?;
    let count = items(&queues).iter().filter(|queue| text(queue, "type") == "quorum").count();
    let row = vec![Term::atom(&call.node()), Term::from(count as u64)];
    let columns = ["Node name", "Number of quorum queues"];
    Ok(Output::Rows(Rows { in_box: true, streamed: true, ..Rows::new(&columns, vec![row]) }))
}

fn grow(call: &mut Call) -> Result<Output, Failure> {
    let [node, strategy] = [0, 1].map(|n| call.argument(n).to_owned());
    check_strategy(call)?;
    if !is_this(call, &node) {
        return Err(stranger(&node));
    }
    call.banner(&format!("Growing {strategy} queues on {node}..."));
    Ok(Output::Rows(Rows::default()))
}

fn shrink(call: &mut Call) -> Result<Output, Failure> {
    let node = call.argument(0).to_owned();
    call.banner(&format!("Shrinking queues on {node}..."));
    if !is_this(call, &node) {
        return Err(Failure::refused(format!("{{:node_not_running, :{node}}}")));
    }
    let queues = call.get("/api/queues")?;
    let quorum = items(&queues).iter().filter(|queue| text(queue, "type") == "quorum");
    let row = |queue: &Value| {
        let why = "error: the last node cannot be removed";
        vec![text(queue, "vhost").into(), text(queue, "name").into(), Term::from(1), why.into()]
    };
    Ok(Output::Rows(Rows::new(&["vhost", "name", "size", "result"], quorum.map(row).collect())))
}

fn add_member(call: &mut Call) -> Result<Output, Failure> {
    let [name, node] = [0, 1].map(|n| call.argument(n).to_owned());
    let vhost = call.vhost();
    if !is_this(call, &node) {
        return Err(stranger(&node));
    }
    call.banner(&format!("Adding a member for queue {name} on node {node}..."));
    // It has one here already.
    check_quorum(call, &vhost, &name)?;
    Ok(Output::Nothing)
}

fn delete_member(call: &mut Call) -> Result<Output, Failure> {
    let [name, node] = [0, 1].map(|n| call.argument(n).to_owned());
    let vhost = call.vhost();
    call.banner(&format!("Removing a replica of queue {name} on node {node}..."));
    check_quorum(call, &vhost, &name)?;
    if is_this(call, &node) {
        return Err(Failure::refused("last_node"));
    }
    // Where there is no replica, there is none.
    Ok(Output::Nothing)
}

fn reclaim(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    call.banner(&format!("Will garbage collect quorum queue {name} ..."));
    call.find(&path(&vhost, &name))?.ok_or_else(|| not_found(&name, &vhost))?;
    Ok(Output::Nothing)
}

fn checkpoint(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Forcing checkpoint for all matching quorum queues...");
    let queues = call.get("/api/queues")?;
    let quorum = items(&queues).iter().filter(|queue| text(queue, "type") == "quorum");
    let row = |queue: &Value| {
        vec![text(queue, "vhost").into(), text(queue, "name").into(), Term::Tuple(vec![Term::atom("ok")])]
    };
    let rows = Rows::new(&["vhost", "name", "result"], quorum.map(row).collect());
    Ok(Output::Rows(Rows { streamed: true, ..rows }))
}

fn await_quorum(call: &mut Call) -> Result<Output, Failure> {
    let seconds = call.timeout().map_or(120, |timeout| timeout.as_secs());
    call.banner(&format!(
        "Will wait for a quorum + 1 of nodes to be online for all quorum queues and streams for {seconds} seconds..."
    ));
    let text = "Target node seems to be the only one in a single node cluster, the command does not apply"
        .to_owned();
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

fn post_upgrade(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Executing post upgrade tasks...");
    Ok(Output::Remark("There is nothing to be done: the node does what it has to when it starts".to_owned()))
}
