//! Exchanges, to look at.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::caller::Caller;
use super::listing::{Listed, Listing};
use super::refusal::Refusal;
use super::resource::{Names, exchange_name};
use super::stats::{Past, Wanted, fields, messages};
use super::table;
use crate::broker::events::NOBODY;
use crate::broker::look::ExchangeLook;
use crate::node::Node;
use crate::node::cell::VhostCell;

/// An exchange of a vhost.
struct Of {
    vhost: Arc<VhostCell>,
    exchange: ExchangeLook,
    wanted: Wanted,
}

impl Listed for Of {
    fn name(&self) -> Option<&str> {
        Some(&self.exchange.name)
    }

    fn to_json(&self) -> Value {
        let Self { vhost, exchange, wanted } = self;
        let mut shown = fields(json!({
            "name": &*exchange.name,
            "vhost": &*vhost.name,
            "type": exchange.kind.name(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": table::to_json(&exchange.arguments),
            "user_who_performed_action": exchange.creator.as_deref().unwrap_or(NOBODY),
        }));
        if let Some(dropped) = exchange.duplicates {
            shown.insert("duplicates_dropped".to_owned(), dropped.into());
        }
        if let Some(delayed) = exchange.delayed {
            shown.insert("messages_delayed".to_owned(), delayed.into());
        }
        if let Some(policy) = &exchange.policy {
            shown.insert("policy".to_owned(), (*policy.name).into());
        }
        if wanted.shows_messages() {
            let samples = vhost.samples.lock();
            let past = Past::new(samples.exchanges.get(&exchange.id), wanted.last, wanted.messages);
            messages::put(&mut shown, messages::of_exchange(&exchange.passed, &past));
        }
        shown.into()
    }
}

/// All exchanges of a vhost, by name.
fn all(vhost: &Arc<VhostCell>, wanted: &Wanted) -> Vec<Of> {
    let exchanges = vhost.look_at_exchanges().into_iter();
    exchanges.map(|exchange| Of { vhost: Arc::clone(vhost), exchange, wanted: wanted.clone() }).collect()
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(caller.vhosts(&node).iter().flat_map(|vhost| all(vhost, &wanted)).collect()).await
}

pub(super) async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(all(&caller.vhost(&node, &vhost)?, &wanted)).await
}

/// An exchange alone. Who publishes there and where it goes is not told apart.
pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    wanted: Wanted,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let vhost = caller.vhost(&node, &vhost)?;
    let exchange = vhost.look_at_exchange(exchange_name(&name)).ok_or(Refusal::NotFound)?;
    let of = Of { vhost, exchange, wanted };
    let mut shown = of.to_json();
    if !of.wanted.nothing() {
        shown["incoming"] = json!([]);
        shown["outgoing"] = json!([]);
    }
    Ok(Json(shown))
}
