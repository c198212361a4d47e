//! Commands about what there is in RabbitMQ and not here: Erlang's runtime, its distribution, and how RabbitMQ replicates.
//! They say so, and fail.

use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, MANY, Needs, QUEUES, STREAMS, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::output::Output;

const fn apart(name: &'static str, about: &'static str, tools: u8) -> Command {
    Command::new(name, Section::Other, about, refuse).tools(tools).needs(Needs::Nothing).takes(0, MANY, "")
}

const ERLANG: &str = "Does not apply: it is about Erlang's runtime";
const CLUSTER: &str = "Does not apply: it is about clusters of several nodes";

pub const COMMANDS: &[Command] = &[
    apart("command_line_arguments", ERLANG, DIAGNOSTICS),
    apart("consume_event_stream", "Does not apply: see the exchange amq.rabbitmq.event", DIAGNOSTICS),
    apart("coordinator_status", CLUSTER, DIAGNOSTICS | STREAMS),
    apart("erlang_cookie_hash", ERLANG, DIAGNOSTICS),
    apart("erlang_cookie_sources", ERLANG, DIAGNOSTICS),
    apart("maybe_stuck", ERLANG, DIAGNOSTICS),
    apart("metadata_store_status", CLUSTER, DIAGNOSTICS),
    apart("observer", ERLANG, DIAGNOSTICS),
    apart("remote_shell", ERLANG, DIAGNOSTICS),
    apart("resolver_info", ERLANG, DIAGNOSTICS),
    apart("runtime_thread_stats", ERLANG, DIAGNOSTICS),
    apart("eval_file", ERLANG, CTL),
    apart("exec", ERLANG, CTL),
    apart("force_standalone_khepri_boot", CLUSTER, CTL),
    apart("grow_to_count", CLUSTER, QUEUES),
    apart("transfer_leadership", CLUSTER, QUEUES | STREAMS),
    apart("add_replica", CLUSTER, STREAMS),
    apart("delete_replica", CLUSTER, STREAMS),
];

fn refuse(call: &mut Call) -> Result<Output, Failure> {
    let name = call.line.words.first().map_or("", String::as_str);
    Err(Failure::refused(format!(
        "{name} does not apply: this is a node of Leveret, which has neither Erlang's runtime nor other nodes"
    )))
}
