//! All commands, by what they are about.
//!
//! - [`app`], [`status`], [`health`]: the node, and how it is
//! - [`plugins`]
//! - [`users`], [`vhosts`], [`permissions`]
//! - [`limits`], [`policies`], [`parameters`]
//! - [`lists`], [`items`]: lists of what is in a vhost; their columns
//! - [`queues`]: what is done to queues and connections
//! - [`peek`]: a look at a message
//! - [`streams`]: super streams, groups, and what streams remember
//! - [`quorum`], [`replicas`], [`cluster`]: replicas and other nodes, as far as a node that is alone can say something of them
//! - [`settings`]: what can be changed on a running node
//! - [`runtime`], [`tls`], [`apart`]: the machine; TLS; what there is no such thing as
//! - [`secrets`]: what is encrypted in configuration files
//! - [`definitions`]: out and in

mod apart;
mod app;
mod cluster;
mod definitions;
mod health;
mod items;
mod limits;
mod lists;
mod parameters;
mod peek;
mod permissions;
mod plugins;
mod policies;
mod queues;
mod quorum;
mod replicas;
mod runtime;
mod secrets;
mod settings;
mod status;
mod streams;
mod tls;
mod users;
mod vhosts;

use serde_json::Value;

use super::call::Call;
use super::command::Command;
use super::failure::Failure;

/// Each command of each tool.
pub fn all() -> impl Iterator<Item = &'static Command> {
    let tables = [
        app::COMMANDS,
        health::COMMANDS,
        status::COMMANDS,
        plugins::COMMANDS,
        users::COMMANDS,
        vhosts::COMMANDS,
        permissions::COMMANDS,
        limits::COMMANDS,
        policies::COMMANDS,
        parameters::COMMANDS,
        lists::COMMANDS,
        queues::COMMANDS,
        quorum::COMMANDS,
        replicas::COMMANDS,
        peek::COMMANDS,
        streams::COMMANDS,
        settings::COMMANDS,
        secrets::COMMANDS,
        definitions::COMMANDS,
        cluster::COMMANDS,
        runtime::COMMANDS,
        tls::COMMANDS,
        apart::COMMANDS,
    ];
    tables.into_iter().flatten()
}

/// Whether the node's ports are open. Without a node that is a failure.
pub fn is_running(call: &mut Call) -> Result<bool, Failure> {
    Ok(call.get("/ctl/status")?["doors"] != "closed")
}

/// A field that is a text.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A list.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What somebody has written as JSON.
fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| {
        Failure::refused(format!(
            "Could not parse JSON document: {{error,{{failed_to_decode_json,<<\"{text}\">>}}}}"
        ))
    })
}
