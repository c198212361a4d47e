//! Policies and operator policies.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::{Map, Value, json};

use super::body::{Body, JsonBody};
use super::caller::{Administrator, Caller, Policymaker};
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::{CHANGE, Closed, Names, READ, closed_if, resource};
use super::room::aside;
use crate::broker::policy::{Policy, Rank};
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::events::{acting, acting_as};

/// Where the settings say so nobody may even look at an operator policy alone, as in RabbitMQ.
const FIXED: Closed = (
    |settings| settings.operator_policies_are_fixed,
    "Broker settings disallow editing of operator policies.",
);

/// All paths of both ranks.
pub(super) fn routes() -> Router<Arc<Node>> {
    let policy = get(show).put(put).delete(delete);
    let operator_policy = get(show_operator).put(put_operator).delete(delete_operator);
    let users = Router::new()
        .route("/api/policies", resource(READ, get(list)))
        .route("/api/policies/{vhost}", resource(READ, get(list_of_vhost)))
        .route("/api/policies/{vhost}/{name}", resource(CHANGE, policy))
        .layer(Extension(Rank::User));
    let operators = Router::new()
        .route("/api/operator-policies", resource(READ, get(list)))
        .route("/api/operator-policies/{vhost}", resource(READ, get(list_of_vhost)))
        .route("/api/operator-policies/{vhost}/{name}", resource(CHANGE, closed_if(FIXED, operator_policy)))
        .layer(Extension(Rank::Operator));
    users.merge(operators)
}

fn to_json(vhost: &VhostCell, policy: &Policy) -> Value {
    let mut json = policy.to_json();
    json["vhost"] = (*vhost.name).into();
    json["name"] = (*policy.name).into();
    json
}

fn all(vhost: &VhostCell, rank: Rank) -> Vec<Value> {
    vhost.policies().all(rank).iter().map(|policy| to_json(vhost, policy)).collect()
}

async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Extension(rank): Extension<Rank>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let policies = caller.vhosts(&node).iter().flat_map(|vhost| all(vhost, rank)).collect();
    listing.plain(by_priority(policies)).await
}

async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Extension(rank): Extension<Rank>,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.plain(by_priority(all(&*caller.vhost(&node, &vhost)?, rank))).await
}

/// The lowest priority first, as RabbitMQ lists them.
fn by_priority(mut policies: Vec<Value>) -> Vec<Value> {
    policies.sort_by_key(|policy| policy["priority"].as_i64());
    policies
}

async fn show(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    find(&node, &caller, Rank::User, &vhost, &name)
}

async fn show_operator(
    State(node): State<Arc<Node>>,
    Administrator(caller): Administrator,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    find(&node, &caller, Rank::Operator, &vhost, &name)
}

fn find(node: &Node, caller: &Caller, rank: Rank, vhost: &str, name: &str) -> Result<Json<Value>, Refusal> {
    let cell = caller.vhost(node, vhost)?;
    let policies = cell.policies();
    policies.get(rank, name).map(|policy| Json(to_json(&cell, policy))).ok_or(Refusal::NotFound)
}

async fn put(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((vhost, name)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    set(node, &caller, Rank::User, &vhost, &name, &body).await
}

async fn put_operator(
    State(node): State<Arc<Node>>,
    Administrator(caller): Administrator,
    Names((vhost, name)): Names<(String, String)>,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, Refusal> {
    set(node, &caller, Rank::Operator, &vhost, &name, &body).await
}

async fn set(
    node: Arc<Node>,
    caller: &Caller,
    rank: Rank,
    vhost: &str,
    name: &str,
    body: &Body,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost_to_change(&node, vhost)?;
    let fields = body.fields()?;
    fields.require(&["pattern", "definition"])?;
    let mut wanted = Map::new();
    for (field, default) in [
        ("pattern", Value::Null),
        ("definition", Value::Null),
        ("priority", json!(0)),
        ("apply-to", json!("all")),
    ] {
        wanted.insert(field.to_owned(), fields.get(field).cloned().unwrap_or(default));
    }
    apply(node, cell, rank, name, &wanted).await
}

/// Sets a policy for all that is in a vhost, and waits until it is kept.
pub(super) async fn apply(
    node: Arc<Node>,
    cell: Arc<VhostCell>,
    rank: Rank,
    name: &str,
    wanted: &Map<String, Value>,
) -> Result<StatusCode, Refusal> {
    let policy = Policy::from_json(name, rank, node.compatibility(), wanted);
    let policy = policy.map_err(Refusal::bad_request)?;
    let is_new = acted(&node, move |node| node.put_policy(&cell, rank, policy)).await?;
    node.changes().kept().await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

async fn delete(
    State(node): State<Arc<Node>>,
    Policymaker(caller): Policymaker,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    remove(node, &caller, Rank::User, &vhost, name).await
}

async fn delete_operator(
    State(node): State<Arc<Node>>,
    Administrator(caller): Administrator,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    remove(node, &caller, Rank::Operator, &vhost, name).await
}

/// Takes a policy away from all that is in a vhost.
pub(super) async fn remove(
    node: Arc<Node>,
    caller: &Caller,
    rank: Rank,
    vhost: &str,
    name: String,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, vhost)?;
    let removed = acted(&node, move |node| node.remove_policy(&cell, rank, &name)).await?;
    node.changes().kept().await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}

/// Does what takes long, on a thread of its own.
async fn acted<R: Send + 'static>(
    node: &Arc<Node>,
    run: impl FnOnce(&Node) -> R + Send + 'static,
) -> Result<R, Refusal> {
    let (node, user) = (Arc::clone(node), acting());
    aside(move || acting_as(user, || run(&node))).await
}
