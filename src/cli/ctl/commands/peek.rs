//! A look at one message of a quorum queue.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::queues::path;
use super::{items, text};
use crate::cli::ctl::call::{Call, refusal};
use crate::cli::ctl::command::{Command, QUEUES, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;

/// Octets of a body that are shown.
const SHOWN: usize = 64;
const PAYLOAD: &str = "payload (max 64 bytes)";
const COUNT: &str = "x-delivery-count";
/// The properties in the order of RabbitMQ's, which is that of AMQP backwards.
const PROPERTIES: [&str; 13] = [
    "cluster_id",
    "app_id",
    "user_id",
    "type",
    "timestamp",
    "message_id",
    "expiration",
    "reply_to",
    "correlation_id",
    "priority",
    "delivery_mode",
    "content_encoding",
    "content_type",
];
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
        "stream" => return Err(Failure::refused("not_quorum_queue")),
        kind => return Err(Failure::refused(format!("Cannot peek into a {kind} queue"))),
    }
    let message = ready(call, &path(&vhost, &name), position)?;
    let message =
        message.ok_or_else(|| Failure::refused("Target queue does not have a message at that position"))?;
    if call.line.text("formatter") == Some("json") {
        return Ok(Output::Raw(format!(
            "{}\n",
            json!({ "message": for_programs(&message), "result": "ok" })
        )));
    }
    let rows = shown(&message).into_iter().map(|(key, value)| vec![key.into(), value]).collect();
    Ok(Output::Rows(Rows { in_box: true, streamed: true, ..Rows::new(&["keys", "values"], rows) }))
}

/// What there is to say of a message, in RabbitMQ's order.
fn shown(message: &Value) -> Vec<(String, Term)> {
    let properties = &message["properties"];
    let has = |name: &&&str| !properties[**name].is_null();
    let plain = PROPERTIES.iter().filter(has).map(|name| ((*name).to_owned(), Term::of(&properties[*name])));
    let mut rows: Vec<_> = plain.collect();
    rows.push(("routing_keys".to_owned(), text(message, "routing_key").into()));
    rows.push(("exchange".to_owned(), text(message, "exchange").into()));
    rows.push((PAYLOAD.to_owned(), body(message).into()));
    let headers = properties["headers"].as_object().into_iter().flatten();
    rows.extend(headers.map(|(key, value)| (format!("header.{key}"), Term::header(value))));
    if properties["headers"][COUNT].is_null() {
        rows.push((format!("header.{COUNT}"), 0.into()));
    }
    rows
}

/// The beginning of a body; octets that are no text as Erlang writes them.
fn body(message: &Value) -> String {
    let payload = text(message, "payload");
    if message["payload_encoding"] != "base64" {
        return payload.to_owned();
    }
    let octets = STANDARD.decode(payload).unwrap_or_default();
    let octets: Vec<_> = octets.iter().map(u8::to_string).collect();
    format!("<<{}>>", octets.join(","))
}

/// The same as JSON, where octets that are no text stay base64.
fn for_programs(message: &Value) -> Map<String, Value> {
    let mut fields: Map<_, _> = shown(message).into_iter().map(|(key, term)| (key, term.json())).collect();
    fields.insert("routing_keys".to_owned(), json!([message["routing_key"]]));
    fields.insert(PAYLOAD.to_owned(), message["payload"].clone());
    fields
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
