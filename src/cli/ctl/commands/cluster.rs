//! What is about clusters of several nodes, which there are none of: scripts get the status that they would get from a
//! node that is alone.

use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{Command, DIAGNOSTICS, MANY, Needs, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::Output;

const ALONE: &str =
    "a node of Leveret is a cluster of its own: other nodes cannot join it, and it joins none";

pub const COMMANDS: &[Command] = &[
    Command::new("join_cluster", Section::Cluster, "Fails: nodes are alone", join)
        .takes(1, 1, "[--disc] <existing_cluster_member>")
        .switches(&[line::flag("disc"), line::flag("ram")]),
    Command::new("forget_cluster_node", Section::Cluster, "Fails: nodes are alone", forget).takes(
        1,
        1,
        "[--offline] <existing_cluster_member_node>",
    ),
    Command::new("await_online_nodes", Section::Cluster, "Waits until there are so many nodes", await_nodes)
        .takes(1, 1, "<count> [--timeout <timeout>]"),
    Command::new("force_boot", Section::Cluster, "Does nothing: a node waits for no others", force_boot)
        .needs(Needs::Stopped),
    Command::new("rename_cluster_node", Section::Deprecated, "Does nothing [deprecated]", rename)
        .needs(Needs::Nothing)
        .takes(2, MANY, "<oldnode1> <newnode1> [oldnode2] [newnode2] ..."),
    Command::new("update_cluster_nodes", Section::Deprecated, "Does nothing [deprecated]", update)
        .needs(Needs::Stopped)
        .takes(1, 1, "<seed_node>"),
    Command::new(
        "discover_peers",
        Section::Cluster,
        "Lists nodes to form a cluster with: there is this one",
        peers,
    )
    .tools(DIAGNOSTICS)
    .takes(0, 0, "[--timeout <timeout>]"),
];

fn join(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Clustering node {} with {}", call.node(), call.argument(0)));
    Err(Failure::refused(ALONE))
}

fn forget(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Removing node {} from the cluster", call.argument(0)));
    Err(Failure::refused("{:not_a_cluster_node, ~c\"The node selected is not in the cluster.\"}"))
}

fn await_nodes(call: &mut Call) -> Result<Output, Failure> {
    let count: i64 =
        call.argument(0).parse().map_err(|_| Failure::bad_argument("Value must be an integer"))?;
    let node = call.node();
    let patience = call.timeout().map_or(300, |timeout| timeout.as_secs());
    call.banner(&format!(
        "Will wait for at least {count} nodes to join the cluster of {node}. Timeout: {patience} seconds."
    ));
    if count <= 1 {
        return Ok(Output::Nothing);
    }
    // Nobody will come, so that there is nothing to wait for.
    Err(Failure::new(
        status::SOFTWARE,
        format!("Error: timed out while waiting. Not enough nodes joined {node}'s cluster."),
    ))
}

fn force_boot(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Forcing boot for Mnesia dir on node {} ...", call.node()));
    Ok(Output::Nothing)
}

fn rename(call: &mut Call) -> Result<Output, Failure> {
    call.banner(
        "DEPRECATED. This command is a no-op. Node renaming is incompatible with Raft-based features such as quorum \
         queues, streams, Khepri. ",
    );
    Ok(Output::Nothing)
}

fn update(call: &mut Call) -> Result<Output, Failure> {
    call.banner(
        "DEPRECATED. This command is a no-op. Node update is incompatible with Raft-based features such as quorum \
         queues, streams, Khepri. ",
    );
    Ok(Output::Nothing)
}

fn peers(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Discovering peers nodes ...");
    Ok(Output::Text(format!("[:{}]", call.node())))
}
