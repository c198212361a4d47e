//! What is done.

use std::fs;
use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use super::kinds::{KINDS, Kind, LISTED, OVERVIEW, kind};
use super::line::Line;
use super::print::{self, Wanted};
use super::{Api, Failure};
use crate::auth::password::PasswordHash;
use crate::cli::http::segment;
use crate::node::salt;

const VERBS: [&str; 16] = [
    "set",
    "clear",
    "list",
    "show",
    "declare",
    "delete",
    "close",
    "purge",
    "publish",
    "get",
    "export",
    "import",
    "health_check",
    "rebalance",
    "enable",
    "salt_and_hash",
];

pub fn help() -> String {
    let mut text = String::new();
    for listed in &LISTED {
        text.push_str(&format!("  list {} [<column>...]\n", listed.name));
    }
    text.push_str("  show overview [<column>...]\n");
    for kind in &KINDS {
        let needs: Vec<_> =
            kind.needs.iter().map(|name| format!("{}=...", name.replace('|', "=... or "))).collect();
        let takes: Vec<_> = kind.takes.iter().map(|(name, _)| format!("{name}=...")).collect();
        text.push_str(&format!("  declare {} {} [{}]\n", kind.name, needs.join(" "), takes.join(" ")));
    }
    for kind in &KINDS {
        let needs: Vec<_> = kind.delete_needs.iter().map(|name| format!("{name}=...")).collect();
        text.push_str(&format!("  delete {} {}\n", kind.name, needs.join(" ")));
    }
    text + "  close connection name=...\n  purge queue name=...\n  export <file>\n  import <file>\n  publish routing_key=... \
            [payload=... exchange=... properties=... payload_encoding=...]\n  get queue=... [count=... ackmode=... \
            encoding=... payload_file=...]\n  health_check <check>\n\nArguments may be written as --name value too, and \
            kinds before verbs: queues declare --name q\n"
}

/// Does what a command line says, and returns what is to be printed.
pub fn perform(line: &Line, api: &mut Api) -> Result<String, Failure> {
    let word = |n: usize| line.words.get(n).map_or("", String::as_str);
    // The newer tool has kinds first, too: `queues declare`.
    let turned = VERBS.contains(&word(1)) && !VERBS.contains(&word(0));
    let (verb, what) = if turned { (word(1), word(0)) } else { (word(0), word(1)) };
    // Of parameters the newer tool says that they are set and cleared.
    let verb = match verb {
        "set" => "declare",
        "clear" => "delete",
        verb => verb,
    };
    if let "federation" | "shovels" | "shovel" = word(0) {
        return Err(Failure::Refused(format!("{} is not there in Leveret", word(0))));
    }
    let done = match verb {
        "" => return Err(Failure::Misused("Action not specified".to_owned())),
        "list" => return list(line, api, what),
        "show" => return show(line, api, what),
        "get" => return get(line, api),
        "export" => export(line, api, what)?,
        "import" => import(line, api, what)?,
        "declare" => declare(line, api, what)?,
        "delete" => delete(line, api, what)?,
        "purge" => purge(line, api, what)?,
        "close" => close(line, api, what)?,
        "publish" => publish(line, api)?,
        "health_check" => return health_check(line, api, what),
        "rebalance" => {
            api.ask(Method::POST, "/rebalance/queues", Some(&json!({})))?;
            "queues rebalanced".to_owned()
        }
        "enable" => {
            let name = argument(line, "name")?;
            api.ask(
                Method::PUT,
                &format!("/feature-flags/{}/enable", segment(&name)),
                Some(&json!({ "name": name })),
            )?;
            "feature flag enabled".to_owned()
        }
        "salt_and_hash" => {
            let password =
                line.words.get(2).ok_or_else(|| Failure::Misused("a password is needed".to_owned()))?;
            return Ok(PasswordHash::new(password.as_bytes(), salt()).to_base64() + "\n");
        }
        other => return Err(Failure::Misused(format!("Action {other} not understood"))),
    };
    Ok(if line.flag("quiet") || done.is_empty() { String::new() } else { done + "\n" })
}

/// An argument that has to be there.
fn argument(line: &Line, name: &str) -> Result<String, Failure> {
    let found = line.arguments.get(name).cloned();
    found.ok_or_else(|| Failure::Misused(format!("mandatory argument \"{name}\" is required")))
}

fn list(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    let name = what.replace('-', "_");
    let listed = LISTED.iter().find(|listed| listed.name == name);
    let listed = listed.ok_or_else(|| Failure::Misused(format!("Don't know how to list {what}")))?;
    let chosen: Vec<String> = line.words.iter().skip(2).cloned().collect();
    let mut path = format!("/{}", name.replace('_', "-"));
    if let Some(vhost) = api.options.vhost.as_ref().filter(|_| listed.by_vhost) {
        path.push_str(&format!("/{}", segment(vhost)));
    }
    show_all(line, api, &path, &Shown { chosen, usual: listed.columns, json: listed.json, is_one: false })
}

fn show(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    if what != "overview" {
        return Err(Failure::Misused(format!("Don't know how to show {what}")));
    }
    let chosen: Vec<String> = line.words.iter().skip(2).cloned().collect();
    show_all(line, api, "/overview", &Shown { chosen, usual: &OVERVIEW, json: &[], is_one: true })
}

/// What of a list is to be shown.
struct Shown<'a> {
    chosen: Vec<String>,
    usual: &'a [&'a str],
    json: &'a [&'a str],
    /// Whether it is one object and no list.
    is_one: bool,
}

fn format_of(line: &Line) -> &str {
    line.option("format").unwrap_or("table")
}

fn show_all(line: &Line, api: &mut Api, path: &str, shown: &Shown<'_>) -> Result<String, Failure> {
    let format = format_of(line);
    let depth = line.option("depth").map(|depth| depth.parse::<usize>());
    let depth = depth.transpose().map_err(|_| Failure::Misused("the depth is a number".to_owned()))?;
    let mut columns = shown.chosen.clone();
    if columns.is_empty() && depth.is_none() && !format.contains("json") {
        columns = shown.usual.iter().map(ToString::to_string).collect();
    }
    let mut query = Vec::new();
    if !columns.is_empty() {
        query.push(format!(
            "columns={}",
            columns.iter().map(|column| segment(column)).collect::<Vec<_>>().join(",")
        ));
    }
    if let Some(sort) = line.option("sort") {
        query.push(format!("sort={}", segment(sort)));
    }
    if line.flag("sort_reverse") {
        query.push("sort_reverse=true".to_owned());
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let reply = api.ask(Method::GET, &format!("{path}{query}"), None)?;
    let raw = String::from_utf8_lossy(&reply.body).into_owned();
    let (items, raw) =
        if shown.is_one { (json!([reply.json()]), format!("[{raw}]")) } else { (reply.json(), raw) };
    let quiet = line.flag("quiet");
    print::list(&items, &raw, &Wanted { format, columns, depth: depth.unwrap_or(1), json: shown.json, quiet })
}

/// The arguments for something, checked, those that are JSON read.
fn body(line: &Line, kind: &Kind) -> Result<Value, Failure> {
    let mut body = json!({});
    for (name, value) in kind.takes {
        if let Some(value) = value {
            body[*name] = read(kind, name, value)?;
        }
    }
    let of_needs = |name: &str| kind.needs.iter().any(|need| need.split('|').any(|one| one == name));
    for (name, value) in &line.arguments {
        // The newer tool's name for it.
        let name = if kind.name == "permission" && name == "username" { "user" } else { name.as_str() };
        let known = of_needs(name) || kind.takes.iter().any(|(take, _)| *take == name);
        if !known && !["vhost", "idempotently", "properties_key"].contains(&name) {
            return Err(Failure::Misused(format!("Argument \"{name}\" is not recognised")));
        }
        body[name] = read(kind, name, value)?;
    }
    Ok(body)
}

fn read(kind: &Kind, name: &str, value: &str) -> Result<Value, Failure> {
    if !kind.json.contains(&name) {
        return Ok(value.into());
    }
    serde_json::from_str(value).map_err(|_| Failure::Refused(format!("Could not parse JSON:\n  {value}")))
}

fn check_needs(body: &Value, needs: &[&str]) -> Result<(), Failure> {
    for need in needs {
        if !need.split('|').any(|name| !body[name].is_null()) {
            return Err(Failure::Misused(match need.split_once('|') {
                Some((one, other)) => {
                    format!("one of mandatory arguments \"['{one}', '{other}']\" is required")
                }
                None => format!("mandatory argument \"{need}\" is required"),
            }));
        }
    }
    Ok(())
}

/// A path with arguments in it.
fn fill(path: &str, body: &Value) -> String {
    let mut filled = path.to_owned();
    for (name, value) in body.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        filled = filled.replace(&format!("{{{name}}}"), &segment(text));
    }
    let kind = body["destination_type"].as_str().unwrap_or("queue");
    filled.replace("{destination_char}", if kind.starts_with('e') { "e" } else { "q" })
}

fn kind_of(what: &str) -> Result<&'static Kind, Failure> {
    match what {
        "" => Err(Failure::Misused("Type not specified".to_owned())),
        what => kind(what).ok_or_else(|| Failure::Misused(format!("Type {what} not recognised"))),
    }
}

fn with_vhost(body: &mut Value, api: &Api) {
    if body["vhost"].is_null() {
        body["vhost"] = api.vhost().into();
    }
}

fn declare(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    let kind = kind_of(what)?;
    let mut body = body(line, kind)?;
    check_needs(&body, kind.needs)?;
    with_vhost(&mut body, api);
    shape(kind.name, &mut body);
    let method = if kind.name == "binding" { Method::POST } else { Method::PUT };
    api.ask(method, &fill(kind.path, &body), Some(&body))?;
    Ok(format!("{} declared", kind.name))
}

/// Brings arguments into the form that the API has.
fn shape(kind: &str, body: &mut Value) {
    let Some(fields) = body.as_object_mut() else { return };
    if let Some(apply_to) = fields.remove("apply_to") {
        fields.insert("apply-to".to_owned(), apply_to);
    }
    let mut arguments = fields.remove("arguments").filter(Value::is_object).unwrap_or_else(|| json!({}));
    if kind == "queue" {
        let named = fields.remove("queue_type").or_else(|| fields.remove("type"));
        if let Some(named) = named {
            arguments["x-queue-type"] = named;
        }
    }
    if kind == "stream" {
        arguments["x-queue-type"] = "stream".into();
        let sizes = [
            ("expiration", "x-max-age"),
            ("max_length_bytes", "x-max-length-bytes"),
            ("max_segment_length_bytes", "x-stream-max-segment-size-bytes"),
        ];
        for (name, argument) in sizes {
            if let Some(value) = fields.remove(name) {
                let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
                arguments[argument] = number.map_or(value, Value::from);
            }
        }
        fields.insert("durable".to_owned(), true.into());
    }
    if ["queue", "stream", "exchange", "binding"].contains(&kind) {
        fields.insert("arguments".to_owned(), arguments);
    }
}

fn delete(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    let kind = kind_of(what)?;
    let mut body = body(line, kind)?;
    check_needs(&body, kind.delete_needs)?;
    with_vhost(&mut body, api);
    let mut path = kind.path.to_owned();
    if kind.name == "binding" {
        // The newer tool names a binding by its key.
        let key = line.arguments.get("routing_key").filter(|key| !key.is_empty()).cloned();
        let key = line.arguments.get("properties_key").cloned().or(key).unwrap_or_else(|| "~".to_owned());
        path = format!("{path}/{}", segment(&key));
    }
    match api.ask(Method::DELETE, &fill(&path, &body), None) {
        Err(Failure::Refused(text)) if text.starts_with("Not found") && body["idempotently"] == "true" => {}
        other => drop(other?),
    }
    Ok(format!("{} deleted", kind.name))
}

fn purge(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    if !["queue", "queues"].contains(&what) {
        return Err(Failure::Misused(format!("Type {what} not recognised")));
    }
    let name = argument(line, "name")?;
    let path = format!("/queues/{}/{}/contents", segment(api.vhost()), segment(&name));
    api.ask(Method::DELETE, &path, None)?;
    Ok("queue purged".to_owned())
}

fn close(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    let path = match what {
        "connection" | "connections" => format!("/connections/{}", segment(&argument(line, "name")?)),
        "user_connections" => format!("/connections/username/{}", segment(&argument(line, "username")?)),
        _ => return Err(Failure::Misused(format!("Type {what} not recognised"))),
    };
    api.ask(Method::DELETE, &path, None)?;
    Ok("connection closed".to_owned())
}

fn publish(line: &Line, api: &mut Api) -> Result<String, Failure> {
    let given = |name: &str| line.arguments.get(name).cloned();
    let properties = given("properties").unwrap_or_else(|| "{}".to_owned());
    let properties: Value = serde_json::from_str(&properties)
        .map_err(|_| Failure::Refused(format!("Could not parse JSON:\n  {properties}")))?;
    let exchange =
        given("exchange").filter(|name| !name.is_empty()).unwrap_or_else(|| "amq.default".to_owned());
    let (payload, encoding) = match given("payload") {
        Some(payload) => (payload, given("payload_encoding").unwrap_or_else(|| "string".to_owned())),
        None => {
            let mut payload = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut payload);
            read.map_err(|e| Failure::Refused(format!("standard input cannot be read: {e}")))?;
            (STANDARD.encode(payload), "base64".to_owned())
        }
    };
    let body = json!({
        "vhost": api.vhost(),
        "name": exchange,
        "routing_key": argument(line, "routing_key")?,
        "properties": properties,
        "payload": payload,
        "payload_encoding": encoding,
    });
    let path = format!("/exchanges/{}/{}/publish", segment(api.vhost()), segment(&exchange));
    let reply = api.ask(Method::POST, &path, Some(&body))?;
    let routed = reply.json()["routed"] == true;
    Ok(if routed { "Message published" } else { "Message published but NOT routed" }.to_owned())
}

fn get(line: &Line, api: &mut Api) -> Result<String, Failure> {
    let given = |names: [&str; 2], usual: &str| {
        let found = names.iter().find_map(|name| line.arguments.get(*name));
        found.map_or_else(|| usual.to_owned(), Clone::clone)
    };
    let queue = argument(line, "queue")?;
    let count: u64 = given(["count", "count"], "1")
        .parse()
        .map_err(|_| Failure::Misused("count is a number".to_owned()))?;
    let file = line.arguments.get("payload_file");
    if file.is_some() && count != 1 {
        return Err(Failure::Misused("Cannot get multiple messages using payload_file".to_owned()));
    }
    let body = json!({
        "vhost": api.vhost(),
        "queue": queue,
        "count": count,
        "ackmode": given(["ackmode", "ack_mode"], "ack_requeue_true"),
        "encoding": given(["encoding", "encoding"], "auto"),
    });
    let path = format!("/queues/{}/{}/get", segment(api.vhost()), segment(&queue));
    let reply = api.ask(Method::POST, &path, Some(&body))?;
    let messages = reply.json();
    let mut columns = Vec::new();
    if let (Some(file), Some(message)) = (file, messages.get(0)) {
        write_payload(file, message)?;
        columns = ["routing_key", "exchange", "message_count", "payload_bytes", "redelivered"]
            .map(str::to_owned)
            .into();
    }
    let raw = String::from_utf8_lossy(&reply.body).into_owned();
    let (format, quiet) = (format_of(line), line.flag("quiet"));
    print::list(&messages, &raw, &Wanted { format, columns, depth: 1, json: &[], quiet })
}

fn write_payload(file: &str, message: &Value) -> Result<(), Failure> {
    let payload = message["payload"].as_str().unwrap_or_default();
    let octets = match message["payload_encoding"].as_str() {
        Some("base64") => STANDARD.decode(payload).map_err(|e| Failure::Refused(e.to_string()))?,
        _ => payload.as_bytes().to_vec(),
    };
    fs::write(file, octets).map_err(|e| Failure::Refused(format!("{file} cannot be written: {e}")))
}

/// The definitions of the node, or of a virtual host.
fn definitions(api: &Api) -> String {
    match &api.options.vhost {
        Some(vhost) => format!("/definitions/{}", segment(vhost)),
        None => "/definitions".to_owned(),
    }
}

/// The file on a command line of either tool.
fn file_of(line: &Line, what: &str) -> Result<String, Failure> {
    let word = (what != "definitions" && !what.is_empty()).then(|| what.to_owned());
    let file = line.arguments.get("file").cloned().or(word);
    file.ok_or_else(|| Failure::Misused("Exactly one argument required".to_owned()))
}

fn export(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    let to_output = line.arguments.contains_key("stdout");
    let file = if to_output { "-".to_owned() } else { file_of(line, what)? };
    let path = definitions(api);
    let reply = api.ask(Method::GET, &path, None)?;
    if to_output {
        return Ok(String::from_utf8_lossy(&reply.body).into_owned());
    }
    fs::write(&file, &reply.body).map_err(|e| Failure::Refused(format!("{file} cannot be written: {e}")))?;
    Ok(format!("Exported definitions for {} to \"{file}\"", api.options.host))
}

fn import(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    let file = file_of(line, what)?;
    let text = fs::read_to_string(&file);
    let text = text.map_err(|e| Failure::Refused(format!("{file} cannot be read: {e}")))?;
    let found: Value =
        serde_json::from_str(&text).map_err(|e| Failure::Refused(format!("{file} is not JSON: {e}")))?;
    let path = definitions(api);
    api.ask(Method::POST, &path, Some(&found))?;
    Ok(format!(
        "Uploaded definitions from \"{}\" to {file}. The import process may take some time. Consult server logs to track \
         progress.",
        api.options.host
    ))
}

fn health_check(line: &Line, api: &mut Api, what: &str) -> Result<String, Failure> {
    let more = match what {
        "port_listener" => format!("/{}", argument(line, "port")?),
        "protocol_listener" => format!("/{}", segment(&argument(line, "protocol")?)),
        _ => String::new(),
    };
    match api.ask(Method::GET, &format!("/health/checks/{}{more}", segment(&what.replace('_', "-"))), None) {
        Ok(_) if line.flag("quiet") => Ok(String::new()),
        Ok(_) => Ok("health check passed\n".to_owned()),
        Err(failure) => Err(failure),
    }
}
