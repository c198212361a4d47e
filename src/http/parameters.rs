//! Parameters of vhosts, under which RabbitMQ keeps policies and what its plugins have; and global parameters.
//!
//! Here only the components `policy` and `operator_policy` are known.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::Body;
use super::caller::Policymaker;
use super::listing::Listing;
use super::policies;
use super::refusal::Refusal;
use super::resource::Names;
use crate::broker::policy::json::{failed, term};
use crate::broker::policy::{Policy, Rank};
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::parameters::component;

fn rank(name: &str) -> Option<Rank> {
    [Rank::User, Rank::Operator].into_iter().find(|rank| component(*rank) == name)
}

fn to_json(vhost: &VhostCell, rank: Rank, policy: &Policy) -> Value {
    json!({
        "value": policy.to_json(),
        "vhost": &*vhost.name,
        "component": component(rank),
        "name": &*policy.name,
    })
}

/// The parameters that a component, if it is known, has in a vhost.
fn all(vhost: &VhostCell, rank: Option<Rank>) -> Vec<Value> {
    let Some(rank) = rank else { return Vec::new() };
    vhost.policies().all(rank).iter().map(|policy| to_json(vhost, rank, policy)).collect()
}

/// All but policies, as in RabbitMQ.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhosts = caller.vhosts(&node);
    listing.plain(vhosts.iter().flat_map(|vhost| all(vhost, Some(Rank::Operator))).collect()).await
}

pub(super) async fn list_of_component(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names(component): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhosts = caller.vhosts(&node);
    listing.plain(vhosts.iter().flat_map(|vhost| all(vhost, rank(&component))).collect()).await
}

pub(super) async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((component, vhost)): Names<(String, String)>,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.plain(all(&*caller.vhost(&node, &vhost)?, rank(&component))).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((component, vhost, name)): Names<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let rank = rank(&component).ok_or(Refusal::NotFound)?;
    let policies = cell.policies();
    policies.get(rank, &name).map(|policy| Json(to_json(&cell, rank, policy))).ok_or(Refusal::NotFound)
}

pub(super) async fn put(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((component, vhost, name)): Names<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let fields = body.fields()?;
    fields.require(&["value"])?;
    match (rank(&component), fields.get("value")) {
        (Some(Rank::User), _) => Err(not_here()),
        (Some(rank), Some(Value::Object(value))) => policies::apply(node, cell, rank, &name, value).await,
        (Some(_), other) => {
            let shown = other.map(term).unwrap_or_default();
            Err(Refusal::bad_request(failed(&[format!("{name} not a list {shown}")])))
        }
        (None, _) => Err(Refusal::bad_request(failed(&[format!("component {component} not found")]))),
    }
}

pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((component, vhost, name)): Names<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    match rank(&component) {
        Some(Rank::User) => Err(not_here()),
        Some(rank) => policies::remove(node, &caller, rank, &vhost, name).await,
        None => caller.vhost(&node, &vhost).and(Err(Refusal::NotFound)),
    }
}

fn not_here() -> Refusal {
    Refusal::bad_request("policies may not be set using this method")
}

pub(super) async fn list_global(
    State(node): State<Arc<Node>>,
    _: Policymaker,
    listing: Listing,
) -> Result<Response, Refusal> {
    let all = node.parameters().into_iter();
    listing.plain(all.map(|(name, value)| json!({ "name": name, "value": value })).collect()).await
}

pub(super) async fn show_global(
    State(node): State<Arc<Node>>,
    _: Policymaker,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    let value = node.parameter(&name).ok_or(Refusal::NotFound)?;
    Ok(Json(json!({ "name": name, "value": value })))
}

pub(super) async fn put_global(
    State(node): State<Arc<Node>>,
    _: Policymaker,
    Names(name): Names<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let fields = body.fields()?;
    fields.require(&["value"])?;
    let is_new = node.put_parameter(&name, fields.get("value").cloned().unwrap_or_default());
    node.changes().kept().await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

pub(super) async fn delete_global(
    State(node): State<Arc<Node>>,
    _: Policymaker,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    let removed = node.remove_parameter(&name);
    node.changes().kept().await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}
