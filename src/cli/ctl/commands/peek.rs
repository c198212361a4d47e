//! A look at one message of a quorum queue.

use hyper::Method;
use serde_json::Value;

use super::queues::path;
use super::{items, text};
use crate::cli::ctl::call::{Call, refusal};
use crate::cli::ctl::command::{Command, QUEUES, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;

/// Octets of a body that are shown.
const SHOWN: usize = 64;
/// Messages that the node shows at once.
const PAGE: usize = 1000;

pub const COMMANDS: &[Command] =
    &[Command::new("peek", Section::Health, "Shows a message of a quorum queue, and leaves it there", peek)
        .tools(QUEUES)
        .takes(2, 2, "[--vhost <vhost>] <queue> <position> [--timeout <timeout>]")];

fn peek(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    let position = call.argument(1).parse::<usize>().ok().filter(|position| *position > 0);
    let position =
        position.ok_or_else(|| Failure::bad_argument("position value must be a positive integer"))?;
    call.banner(&format!(
        "Peeking at quorum queue {name} at position {position} on node {} ...",
        call.node()
    ));
    let queue = call.find(&path(&vhost, &name))?;
    let queue = queue
        .ok_or_else(|| Failure::refused(format!("Target queue was not found in virtual host '{vhost}'")))?;
    match text(&queue, "type") {
        "quorum" => {}
        kind => return Err(Failure::refused(format!("Cannot peek into a {kind} queue"))),
    }
    let message = ready(call, &path(&vhost, &name), position)?;
    let message =
        message.ok_or_else(|| Failure::refused("Target queue does not have a message at that position"))?;
    let mut rows: Vec<Vec<Term>> = Vec::new();
    let properties = message["properties"].as_object();
    let (headers, plain): (Vec<_>, Vec<_>) =
        properties.into_iter().flatten().partition(|(key, _)| *key == "headers");
    rows.extend(plain.into_iter().map(|(key, value)| vec![key.as_str().into(), Term::of(value)]));
    rows.push(vec!["routing_keys".into(), text(&message, "routing_key").into()]);
    rows.push(vec!["exchange".into(), text(&message, "exchange").into()]);
    let payload: String = text(&message, "payload").chars().take(SHOWN).collect();
    rows.push(vec![format!("payload (max {SHOWN} bytes)").into(), payload.into()]);
    let headers = headers.into_iter().filter_map(|(_, headers)| headers.as_object()).flatten();
    rows.extend(headers.map(|(key, value)| vec![format!("header.{key}").into(), Term::of(value)]));
    if message["properties"]["headers"]["x-delivery-count"].is_null() {
        rows.push(vec!["header.x-delivery-count".into(), 0.into()]);
    }
    Ok(Output::Rows(Rows { in_box: true, streamed: true, ..Rows::new(&["keys", "values"], rows) }))
}

/// The ready message at a place in the queue, counted from 1.
fn ready(call: &mut Call, path: &str, position: usize) -> Result<Option<Value>, Failure> {
    let (mut passed, mut after) = (0, String::new());
    loop {
        let page = format!("{path}/messages?state=ready&count={PAGE}&truncate={SHOWN}{after}");
        let reply = call.send(Method::GET, &page, None)?;
        if !reply.is_success() {
            return Err(refusal(&reply));
        }
        let page = reply.json();
        let messages = items(&page["items"]);
        if let Some(found) = messages.get(position - 1 - passed) {
            return Ok(Some(found.clone()));
        }
        passed += messages.len();
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(None),
        }
    }
}
