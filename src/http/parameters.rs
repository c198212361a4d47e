//! Parameters of vhosts, under which RabbitMQ keeps policies and what its plugins have; and global parameters.
//!
//! Here the components `policy`, `operator_policy` and `vhost-limits` are known.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::Body;
use super::caller::Policymaker;
use super::limits::all_of_vhost;
use super::listing::Listing;
use super::policies;
use super::refusal::Refusal;
use super::resource::Names;
use crate::broker::policy::json::{failed, term};
use crate::broker::policy::{Policy, Rank};
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::parameters::component;

/// What parameters are for.
#[derive(Clone, Copy)]
enum Component {
    Policies(Rank),
    /// The limits of the vhost.
    Limits,
}

/// The component of a vhost's limits, and the only parameter there is of it.
const LIMITS: [&str; 2] = ["vhost-limits", "limits"];

impl Component {
    fn new(name: &str) -> Option<Self> {
        let rank = [Rank::User, Rank::Operator].into_iter().find(|rank| component(*rank) == name);
        rank.map(Self::Policies).or_else(|| (name == LIMITS[0]).then_some(Self::Limits))
    }
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
fn all(vhost: &VhostCell, component: Option<Component>) -> Vec<Value> {
    match component {
        Some(Component::Policies(rank)) => {
            vhost.policies().all(rank).iter().map(|policy| to_json(vhost, rank, policy)).collect()
        }
        Some(Component::Limits) => limits(vhost).into_iter().collect(),
        None => Vec::new(),
    }
}

fn limits(vhost: &VhostCell) -> Option<Value> {
    let limits = vhost.about().limits?;
    let [component, name] = LIMITS;
    Some(json!({ "value": limits, "vhost": &*vhost.name, "component": component, "name": name }))
}

/// All that a vhost has but policies, by name.
fn all_but_policies(vhost: &VhostCell) -> Vec<Value> {
    let mut found = all(vhost, Some(Component::Policies(Rank::Operator)));
    found.extend(limits(vhost));
    found.sort_by_cached_key(|parameter| parameter["name"].as_str().map(str::to_owned));
    found
}

/// All but policies, as in RabbitMQ.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhosts = caller.vhosts(&node);
    listing.plain(vhosts.iter().flat_map(|vhost| all_but_policies(vhost)).collect()).await
}

pub(super) async fn list_of_component(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names(component): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhosts = caller.vhosts(&node);
    listing.plain(vhosts.iter().flat_map(|vhost| all(vhost, Component::new(&component))).collect()).await
}

pub(super) async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((component, vhost)): Names<(String, String)>,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.plain(all(&*caller.vhost(&node, &vhost)?, Component::new(&component))).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((component, vhost, name)): Names<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let found = match Component::new(&component).ok_or(Refusal::NotFound)? {
        Component::Policies(rank) => {
            cell.policies().get(rank, &name).map(|policy| to_json(&cell, rank, policy))
        }
        Component::Limits => limits(&cell).filter(|_| name == LIMITS[1]),
    };
    found.map(Json).ok_or(Refusal::NotFound)
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
    let value = fields.get("value").cloned().unwrap_or_default();
    let refused = |why| Refusal::bad_request(failed(&[why]));
    match (Component::new(&component), value) {
        (Some(Component::Policies(Rank::User)), _) => Err(not_here()),
        (Some(Component::Policies(rank)), Value::Object(value)) => {
            policies::apply(node, cell, rank, &name, &value).await
        }
        (Some(Component::Policies(_)), other) => Err(refused(format!("{name} not a list {}", term(&other)))),
        (Some(Component::Limits), value) => {
            if name != LIMITS[1] {
                return Err(refused(format!("name not recognised: {name}")));
            }
            let limits = all_of_vhost(&value).map_err(refused)?;
            let is_new = node.set_limits_of_vhost(&vhost, Some(limits)).ok_or(Refusal::NotFound)?;
            node.changes().kept().await?;
            Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
        }
        (None, _) => Err(refused(format!("component {component} not found"))),
    }
}

pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((component, vhost, name)): Names<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    match Component::new(&component) {
        Some(Component::Policies(Rank::User)) => Err(not_here()),
        Some(Component::Policies(rank)) => policies::remove(node, &caller, rank, &vhost, name).await,
        Some(Component::Limits) => {
            let cell = caller.vhost(&node, &vhost)?;
            if name != LIMITS[1] || cell.about().limits.is_none() {
                return Err(Refusal::NotFound);
            }
            node.set_limits_of_vhost(&vhost, None);
            node.changes().kept().await?;
            Ok(StatusCode::NO_CONTENT)
        }
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
