//! What is done to queues and connections.

use std::thread::sleep;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::items::pid;
use super::{items, text};
use crate::cli::ctl::call::{Call, refusal};
use crate::cli::ctl::command::{CTL, Command, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::Output;
use crate::cli::http::segment;

pub const COMMANDS: &[Command] = &[
    Command::new("delete_queue", Section::Queues, "Deletes a queue", delete)
        .takes(
            1,
            1,
            "[--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u] [--force] [--timeout <timeout>]",
        )
        .switches(&[
            line::flag("if-empty").short('e'),
            line::flag("if-unused").short('u'),
            line::flag("force").short('f'),
        ]),
    Command::new("purge_queue", Section::Queues, "Removes all messages that wait in a queue", purge)
        .takes(1, 1, "<queue> [--timeout <timeout>]"),
    Command::new("close_connection", Section::Operations, "Closes a connection", close).takes(
        2,
        2,
        "<connection pid> <explanation>",
    ),
    Command::new("close_all_connections", Section::Operations, "Closes the connections of a virtual host, or all", close_all)
        .tools(CTL)
        .takes(
            1,
            1,
            "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>",
        )
        .switches(&[line::number("limit"), line::number("per-connection-delay")]),
    Command::new("close_all_user_connections", Section::Operations, "Closes a user's connections", close_all_of_user)
        .takes(2, 2, "<username> <explanation>"),
];

pub fn path(vhost: &str, name: &str) -> String {
    format!("/api/queues/{}/{}", segment(vhost), segment(name))
}

fn delete(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    let (if_empty, if_unused) = (call.line.flag("if-empty"), call.line.flag("if-unused"));
    let conditions = match (if_empty, if_unused) {
        (false, false) => "",
        (true, false) => "if queue is empty ",
        (false, true) => "if queue is unused ",
        (true, true) => "if queue is empty and if queue is unused ",
    };
    call.banner(&format!("Deleting queue '{name}' on vhost '{vhost}' {conditions}..."));
    let Some(queue) = call.find(&path(&vhost, &name))? else {
        return Err(Failure::new(status::USAGE, "No such queue was found"));
    };
    let query = format!("?if-empty={if_empty}&if-unused={if_unused}");
    let reply = call.send(Method::DELETE, &(path(&vhost, &name) + &query), None)?;
    if reply.is_success() {
        let ready = &queue["messages_ready"];
        return Ok(Output::Text(format!("Queue was successfully deleted with {ready} ready messages")));
    }
    let reason = reply.reason();
    let code = if reason.contains("not supported by quorum queues") {
        "not_implemented"
    } else {
        "precondition_failed"
    };
    Err(Failure::refused(format!("{{:amqp_error, :{code}, ~c\"{reason}\", :none}}")))
}

fn purge(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    call.banner(&format!("Purging queue '{name}' in vhost '{vhost}' ..."));
    let reply = call.send(Method::DELETE, &format!("{}/contents", path(&vhost, &name)), None)?;
    match reply.status {
        404 => Err(Failure::bare(status::DATA, "Object (queue, stream, exchange, etc) was not found")),
        _ if reply.is_success() => Ok(Output::Nothing),
        _ => Err(refusal(&reply)),
    }
}

/// Asks the node to close a connection, and says whether it was still there.
fn close_one(call: &mut Call, name: &str, reason: &str) -> Result<bool, Failure> {
    let path = format!("/api/connections/{}", segment(name));
    // A header has one line.
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let headers = [("x-reason", reason.as_str())];
    let reply = call.client()?.request_with(Method::DELETE, &path, None, &headers)?;
    match reply.status {
        404 => Ok(false),
        _ if reply.is_success() => Ok(true),
        _ => Err(refusal(&reply)),
    }
}

/// Closes the connection that has this process, or this name.
fn close(call: &mut Call) -> Result<Output, Failure> {
    let (wanted, reason) = (call.argument(0).to_owned(), call.argument(1).to_owned());
    call.banner(&format!("Closing connection {wanted}, reason: {reason}..."));
    let all = call.get("/api/connections")?;
    let name = items(&all).iter().map(|connection| text(connection, "name"));
    let name = name.into_iter().find(|name| *name == wanted || pid(name) == wanted);
    match name {
        Some(name) => {
            close_one(call, name, &reason)?;
            Ok(Output::Nothing)
        }
        // A process that has gone is as good as closed.
        None if is_pid(&wanted) => Ok(Output::Nothing),
        None => Err(Failure::refused(format!("Error:\n{{:invalid_pid_syntax, \"{wanted}\"}}"))),
    }
}

/// Whether this names a process, with its node.
fn is_pid(text: &str) -> bool {
    let inside = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or_default();
    let mut numbers = inside.rsplitn(4, '.');
    let all = numbers.by_ref().take(3).filter(|number| number.parse::<u64>().is_ok()).count() == 3;
    all && numbers.next().is_some_and(|node| !node.is_empty())
}

/// Closes all that are chosen, and says how many.
fn close_each(call: &mut Call, names: &[String], reason: &str) -> Result<usize, Failure> {
    let delay = call.line.number("per-connection-delay").and_then(|delay| u64::try_from(delay).ok());
    let mut closed = 0;
    for name in names {
        closed += usize::from(close_one(call, name, reason)?);
        if let Some(delay) = delay {
            sleep(Duration::from_millis(delay));
        }
    }
    Ok(closed)
}

fn close_all(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, reason) = (call.vhost(), call.argument(0).to_owned());
    let everywhere = call.line.flag("global");
    call.banner(&match everywhere {
        true => {
            format!(
                "Closing all connections to node {} (across all vhosts), reason: {reason}...",
                call.node()
            )
        }
        false => format!("Closing all connections in vhost {vhost}, reason: {reason}..."),
    });
    let limit =
        call.line.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let all = call.get("/api/connections")?;
    let chosen = items(&all).iter().filter(|connection| everywhere || text(connection, "vhost") == vhost);
    let chosen = chosen.map(|connection| text(connection, "name").to_owned());
    let chosen: Vec<_> = chosen.take(limit.unwrap_or(usize::MAX)).collect();
    let closed = close_each(call, &chosen, &reason)?;
    Ok(Output::Text(format!("Closed {closed} connections")))
}

fn close_all_of_user(call: &mut Call) -> Result<Output, Failure> {
    let (user, reason) = (call.argument(0).to_owned(), call.argument(1).to_owned());
    call.banner(&format!("Closing connections of user {user}, reason: {reason}..."));
    let all: Value = call.get("/api/connections")?;
    let chosen = items(&all).iter().filter(|connection| text(connection, "user") == user);
    let chosen: Vec<_> = chosen.map(|connection| text(connection, "name").to_owned()).collect();
    close_each(call, &chosen, &reason)?;
    Ok(Output::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_named_with_their_nodes() {
        assert!(is_pid(&pid("x")) && is_pid("<a@b.1.2.3>"));
        for text in ["", "nonsense", "<0.1.2>", "<a@b.1.2>", "a@b.1.2.3", "<.1.2.3>"] {
            assert!(!is_pid(text), "{text}");
        }
    }
}
