//! Bindings: to look at, to make and to take away.
//!
//! What tells two bindings with the same ends apart is their `properties_key`: the routing key, escaped as in a form, or
//! `~` for an empty one; where there are arguments, then `~` and a hash of them. It is RabbitMQ's own hash
//! ([`erlang_hash`](super::erlang_hash)), so that what a tool has kept of it stays right.

use std::sync::Arc;

use amq_protocol::types::FieldTable;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::body::Body;
use super::caller::Caller;
use super::erlang_hash::phash2;
use super::listing::{Listed, Listing};
use super::refusal::Refusal;
use super::resource::{Names, READ, exchange_name, resource};
use super::room::aside;
use super::table;
use crate::auth::Access;
use crate::broker::definitions::End;
use crate::broker::exchange::declare::check_not_default;
use crate::broker::exchange::list::{Named, Which};
use crate::broker::walk::AT_ONCE;
use crate::broker::{Name, Vhost, text};
use crate::node::Node;
use crate::node::cell::VhostCell;

/// Octets of a routing key (AMQP 0-9-1, short strings).
const KEY_MAX: usize = 255;

pub(super) fn routes() -> Router<Arc<Node>> {
    let ends = get(list_between).post(bind);
    Router::new()
        .route("/api/bindings", resource(READ, get(list)))
        .route("/api/bindings/{vhost}", resource(READ, get(list_of_vhost)))
        .route(
            "/api/bindings/{vhost}/e/{exchange}/{kind}/{destination}",
            resource("HEAD, GET, POST, OPTIONS", ends),
        )
        .route(
            "/api/bindings/{vhost}/e/{exchange}/{kind}/{destination}/{key}",
            resource("HEAD, GET, DELETE, OPTIONS", get(show).delete(unbind)),
        )
        .route("/api/queues/{vhost}/{queue}/bindings", resource(READ, get(list_of_queue)))
        .route("/api/exchanges/{vhost}/{exchange}/bindings/{end}", resource(READ, get(list_of_exchange)))
}

fn to_json(vhost: &str, binding: &Named) -> Value {
    let (kind, destination) = match &binding.destination {
        End::Queue(name) => ("queue", name),
        End::Exchange(name) => ("exchange", name),
    };
    json!({
        "source": &*binding.source,
        "vhost": vhost,
        "destination": &**destination,
        "destination_type": kind,
        "routing_key": text(&binding.routing_key),
        "arguments": table::to_json(&binding.arguments),
        "properties_key": properties_key(&binding.routing_key, &binding.arguments),
    })
}

/// What tells a binding from others with the same ends.
fn properties_key(routing_key: &[u8], arguments: &FieldTable) -> String {
    let key = quoted(routing_key);
    match arguments.inner().is_empty() {
        true if key.is_empty() => "~".to_owned(),
        true => key,
        false => format!("{key}~{}", URL_SAFE_NO_PAD.encode(phash2(arguments).to_be_bytes())),
    }
}

/// Octets escaped as in a form; `~` too, which is a mark here.
fn quoted(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for &octet in octets {
        match octet {
            b' ' => out.push('+'),
            b'.' | b'-' | b'_' => out.push(octet.into()),
            _ if octet.is_ascii_alphanumeric() => out.push(octet.into()),
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

/// A part of a path: what a form would have escaped, but for the space.
fn in_path(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'.' | b'-' | b'_' | b'~' => out.push(octet.into()),
            _ if octet.is_ascii_alphanumeric() => out.push(octet.into()),
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

/// Takes the escapes out again; what is no escape stays.
fn unquoted(text: &str) -> Vec<u8> {
    let (octets, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&octet) = octets.get(at) {
        let escape = octets.get(at + 1..at + 3).filter(|_| octet == b'%');
        let escape = escape.and_then(|two| std::str::from_utf8(two).ok());
        match escape.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(escaped) => {
                out.push(escaped);
                at += 3;
            }
            None => {
                out.push(if octet == b'+' { b' ' } else { octet });
                at += 1;
            }
        }
    }
    out
}

/// The binding that every queue has to the default exchange.
fn implicit(queue: &str) -> Named {
    let name = Name::from(queue);
    Named {
        source: "".into(),
        destination: End::Queue(name),
        routing_key: queue.as_bytes().into(),
        arguments: FieldTable::default(),
        durable: false,
    }
}

/// The bindings of a vhost in the order in which they are listed, a part of them at a time under its mutex.
fn all(cell: &VhostCell, which: Which<'_>) -> Vec<Named> {
    let mut ids = cell.with_vhost(|vhost| vhost.binding_ids(which));
    // Bindings that differ in their arguments alone stay in this order, which must not be that of a hash.
    ids.sort_unstable();
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        cell.with_vhost(|vhost| found.extend(some.iter().filter_map(|id| vhost.named_binding(*id))));
    }
    match which {
        Which::All | Which::From("") => found.extend(implicit_all(cell)),
        Which::ToQueue(name) => found.push(implicit(name)),
        _ => {}
    }
    found.sort_by(|a, b| order(a).cmp(&order(b)));
    found
}

fn implicit_all(cell: &VhostCell) -> Vec<Named> {
    let ids = cell.with_vhost(|vhost| vhost.queue_ids());
    let mut names = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        let name = |vhost: &Vhost, id: &_| vhost.queue_by_id(*id).map(|queue| Name::clone(&queue.name));
        cell.with_vhost(|vhost| names.extend(some.iter().filter_map(|id| name(vhost, id))));
    }
    names.iter().map(|name| implicit(name)).collect()
}

fn order(binding: &Named) -> (&str, &str, &[u8], bool) {
    let (End::Queue(destination) | End::Exchange(destination)) = &binding.destination;
    (&binding.source, destination, &binding.routing_key, !binding.arguments.inner().is_empty())
}

/// A binding in a list.
struct Shown {
    vhost: Arc<str>,
    binding: Named,
}

impl Listed for Shown {
    fn name(&self) -> Option<&str> {
        None
    }

    fn to_json(&self) -> Value {
        to_json(&self.vhost, &self.binding)
    }
}

fn shown(cell: &VhostCell, bindings: Vec<Named>) -> Vec<Shown> {
    bindings.into_iter().map(|binding| Shown { vhost: Arc::clone(&cell.name), binding }).collect()
}

async fn list(State(node): State<Arc<Node>>, caller: Caller, listing: Listing) -> Result<Response, Refusal> {
    let vhosts = caller.vhosts(&node);
    // There may be many.
    let all = move || vhosts.iter().flat_map(|vhost| shown(vhost, all(vhost, Which::All))).collect();
    listing.plain(aside(all).await?).await
}

async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    listing.plain(aside(move || shown(&cell, all(&cell, Which::All))).await?).await
}

/// Also of a queue that is not there, to which the default exchange leads all the same.
async fn list_of_queue(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, queue)): Names<(String, String)>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    listing.plain(shown(&cell, all(&cell, Which::ToQueue(&queue)))).await
}

async fn list_of_exchange(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, exchange, end)): Names<(String, String, String)>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let exchange = exchange_name(&exchange);
    let which = match &*end {
        "source" => Which::From(exchange),
        "destination" => Which::ToExchange(exchange),
        _ => return Err(Refusal::NotFound),
    };
    let cell = caller.vhost(&node, &vhost)?;
    listing.plain(shown(&cell, all(&cell, which))).await
}

/// Both ends of bindings, out of a path.
struct Ends {
    source: String,
    destination: End,
}

impl Ends {
    fn new(exchange: &str, kind: &str, destination: &str) -> Result<Self, Refusal> {
        let clean = |name: &str| exchange_name(name).replace(['\r', '\n'], "");
        let destination = match kind {
            "q" => End::Queue(destination.replace(['\r', '\n'], "").into()),
            "e" => End::Exchange(clean(destination).into()),
            _ => return Err(Refusal::NotFound),
        };
        Ok(Self { source: clean(exchange), destination })
    }

    fn bindings(&self, cell: &VhostCell) -> Vec<Named> {
        let mut found = all(cell, Which::From(&self.source));
        if self.source.is_empty() {
            // As if they were there, whether or not the queue is.
            found = match &self.destination {
                End::Queue(name) => vec![implicit(name)],
                End::Exchange(_) => Vec::new(),
            };
        }
        found.retain(|binding| binding.destination == self.destination);
        found
    }

    /// The binding that a path ends with, if it is there.
    fn find(&self, cell: &VhostCell, key: &str) -> Result<Named, Refusal> {
        let (routing_key, hash) = key.split_once('~').map_or((key, ""), |(key, hash)| (key, hash));
        let routing_key = unquoted(routing_key);
        let wanted = |binding: &Named| {
            let bare = binding.arguments.inner().is_empty();
            let same = || *hash == URL_SAFE_NO_PAD.encode(phash2(&binding.arguments).to_be_bytes());
            *binding.routing_key == *routing_key && if hash.is_empty() { bare } else { !bare && same() }
        };
        self.bindings(cell).into_iter().find(wanted).ok_or(Refusal::NotFound)
    }

    /// What is asked for binding and unbinding: to write where it leads, to read where it comes from.
    fn check(&self, caller: &Caller, vhost: &Vhost, routing_key: &[u8]) -> Result<(), Refusal> {
        if let End::Exchange(name) = &self.destination {
            check_not_default(name.as_bytes())?;
        }
        check_not_default(self.source.as_bytes())?;
        let (End::Queue(destination) | End::Exchange(destination)) = &self.destination;
        caller.check(&vhost.name, Access::Write, destination)?;
        caller.check(&vhost.name, Access::Read, &self.source)?;
        vhost.check_topic(&caller.user.name, Access::Read, self.source.as_bytes(), routing_key)?;
        Ok(())
    }
}

type Path4 = (String, String, String, String);
type Path5 = (String, String, String, String, String);

async fn list_between(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, exchange, kind, destination)): Names<Path4>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let found = Ends::new(&exchange, &kind, &destination)?.bindings(&cell);
    listing.plain(shown(&cell, found)).await
}

async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, exchange, kind, destination, key)): Names<Path5>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let binding = Ends::new(&exchange, &kind, &destination)?.find(&cell, &key)?;
    Ok(Json(to_json(&vhost, &binding)))
}

/// Binds, and says where the binding is to be found, whether it is new or was there.
async fn bind(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, exchange, kind, destination)): Names<Path4>,
    body: Body,
) -> Result<Response, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let ends = Ends::new(&exchange, &kind, &destination)?;
    let fields = body.fields()?;
    let routing_key = match fields.get("routing_key") {
        None => "",
        Some(Value::String(key)) => key,
        Some(other) => return Err(Refusal::bad_request(json!(["not_string", other]))),
    };
    if routing_key.len() > KEY_MAX {
        return Err(Refusal::bad_request(format!("routing_key should be less than {KEY_MAX} bytes")));
    }
    let arguments = fields.get("arguments").map(table::from_json).transpose()?.unwrap_or_default();
    let key = properties_key(routing_key.as_bytes(), &arguments);
    cell.with(|vhost, _| {
        ends.check(&caller, vhost, routing_key.as_bytes())?;
        let (source, routing_key) = (ends.source.as_bytes(), routing_key.as_bytes());
        match &ends.destination {
            End::Queue(name) => vhost.bind_queue(None, name.as_bytes(), source, routing_key, arguments)?,
            End::Exchange(name) => vhost.bind_exchange(name.as_bytes(), source, routing_key, arguments)?,
        }
        Ok::<_, Refusal>(())
    })?;
    cell.kept().await?;
    // Relative to the path that was asked for.
    let location = format!("{}/{}", in_path(&destination), in_path(&key));
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

async fn unbind(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, exchange, kind, destination, key)): Names<Path5>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let ends = Ends::new(&exchange, &kind, &destination)?;
    let Named { routing_key, arguments, .. } = ends.find(&cell, &key)?;
    cell.with(|vhost, _| {
        ends.check(&caller, vhost, &routing_key)?;
        let source = ends.source.as_bytes();
        match &ends.destination {
            End::Queue(name) => {
                vhost.unbind_queue(None, name.as_bytes(), source, &routing_key, &arguments)?;
            }
            End::Exchange(name) => {
                vhost.unbind_exchange(name.as_bytes(), source, &routing_key, &arguments)?;
            }
        }
        Ok::<_, Refusal>(())
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_as_in_forms_and_come_back() {
        for (key, expected) in [
            ("", "~"),
            ("a.b-c_d", "a.b-c_d"),
            ("a/b c~%", "a%2Fb+c%7E%25"),
            ("~", "%7E"),
            ("é", "%C3%A9"),
            ("#.*", "%23.%2A"),
        ] {
            assert_eq!(properties_key(key.as_bytes(), &FieldTable::default()), expected, "{key}");
            assert_eq!(unquoted(&quoted(key.as_bytes())), key.as_bytes(), "{key}");
        }
        assert_eq!(unquoted("a%2"), b"a%2");
        assert_eq!(unquoted("%zz%"), b"%zz%");
    }

    #[test]
    fn arguments_are_named_by_rabbitmqs_hash() {
        let arguments = table::from_json(&json!({
            "x-match": "all", "b": "text", "c": true, "d": 1.5, "e": [1, "a"], "f": { "g": 1 }
        }));
        assert_eq!(properties_key(b"k", &arguments.expect("a table")), "k~RHllag");
        let arguments = table::from_json(&json!({ "a": 1 })).expect("a table");
        assert_eq!(properties_key(b"", &arguments), "~Ajat_Q");
    }
}
