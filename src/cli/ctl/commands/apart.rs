//! Commands about what there is in RabbitMQ and not here: Erlang's runtime, its distribution, and how RabbitMQ replicates.
//! They say so, and fail.

use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, MANY, Needs, STREAMS, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::output::Output;

const fn apart(name: &'static str, about: &'static str, tools: u8) -> Command {
    Command::new(name, Section::Other, about, refuse).tools(tools).needs(Needs::Nothing).takes(0, MANY, "")
}

const ERLANG: &str = "Does not apply: it is about Erlang's runtime";
const CLUSTER: &str = "Does not apply: it is about clusters of several nodes";
const SOURCES: &str = "Does not apply: logins are counted by protocol, not by address";

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
    apart(
        "deactivate_free_disk_space_monitoring",
        "Does not apply: the disk is always looked at, see set_disk_free_limit",
        CTL | DIAGNOSTICS,
    ),
    apart(
        "consistent_hash_exchange_ring_state",
        "Does not apply: keys are spread without a ring, by the weights that list_bindings shows",
        DIAGNOSTICS,
    ),
    apart("disable_auth_attempt_source_tracking", SOURCES, DIAGNOSTICS),
    apart("enable_auth_attempt_source_tracking", SOURCES, DIAGNOSTICS),
    apart(
        "reset_stats_db",
        "Does not apply: statistics are no database, and go with what they are about",
        CTL,
    ),
];

/// Says why, in the words that help has for it.
fn refuse(call: &mut Call) -> Result<Output, Failure> {
    let name = call.line.words.first().map_or("", String::as_str);
    let about = COMMANDS.iter().find(|command| command.name == name).map_or("", |command| command.about);
    let why = about.trim_start_matches("Does not apply: ");
    Err(Failure::refused(format!("{name} does not apply to a node of Leveret: {why}")))
}
