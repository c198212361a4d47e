//! Limits of vhosts and of users.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::{Body, JsonBody, term};
use super::caller::{Administrator, Caller};
use super::connections::check_may_touch;
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::Names;
use crate::auth::User;
use crate::auth::limits::{Limit, UserLimits, VhostLimits};
use crate::node::Node;
use crate::node::cell::VhostCell;

fn of_vhost(vhost: &VhostCell) -> Option<Value> {
    vhost.about().limits.map(|limits| json!({ "vhost": &*vhost.name, "value": limits }))
}

/// Those of the vhosts that the caller sees, or of all for those who monitor. Where all have been taken away it shows, as in RabbitMQ.
pub(super) async fn list_vhosts(
    State(node): State<Arc<Node>>,
    caller: Caller,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhosts = if caller.monitors() { node.vhosts() } else { caller.vhosts(&node) };
    listing.whole(vhosts.iter().filter_map(|vhost| of_vhost(vhost)).collect()).await
}

pub(super) async fn show_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(name): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhost = node.vhost(&name).filter(|_| caller.monitors());
    let vhost = vhost.map_or_else(|| caller.vhost(&node, &name), Ok)?;
    let none = vhost.about().limits.unwrap_or_default() == VhostLimits::default();
    listing.whole(of_vhost(&vhost).filter(|_| !none).into_iter().collect()).await
}

pub(super) async fn put_vhost(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, name)): Names<(String, String)>,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, Refusal> {
    node.vhost(&vhost).ok_or_else(no_vhost)?;
    let value = value(&body)?;
    let failed = |why| Refusal::bad_request(format!("Validation failed\n\n{why}\n"));
    let known = VhostLimits::default().by_name(&name).is_some();
    let limit = limit(known, &name, &value, "limits").map_err(failed)?;
    set_vhost(&node, &vhost, &name, Some(limit)).await
}

/// To take away what is not there is no error.
pub(super) async fn delete_vhost(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    set_vhost(&node, &vhost, &name, None).await
}

/// All limits of a vhost as its parameter has them, or RabbitMQ's words for why they are none.
pub(super) fn all_of_vhost(value: &Value) -> Result<VhostLimits, String> {
    let mut limits = VhostLimits::default();
    let fields = match value {
        Value::Object(fields) => fields.clone(),
        Value::Array(none) if none.is_empty() => Map::new(),
        other => return Err(format!("limits not a list {}", term(other))),
    };
    for (name, value) in &fields {
        let limit = limit(limits.by_name(name).is_some(), name, value, "limits")?;
        if let Some(place) = limits.by_name(name) {
            *place = Some(limit);
        }
    }
    Ok(limits)
}

async fn set_vhost(
    node: &Node,
    vhost: &str,
    name: &str,
    limit: Option<Limit>,
) -> Result<StatusCode, Refusal> {
    let found = node.limit_vhost(vhost, name, limit);
    if !found {
        return Err(no_vhost());
    }
    node.changes().kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn of_user(user: &User) -> Option<Value> {
    let none = user.limits == UserLimits::default();
    (!none).then(|| json!({ "user": &*user.name, "value": user.limits }))
}

pub(super) async fn list_users(
    State(node): State<Arc<Node>>,
    _: Administrator,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.plain(node.auth().users().filter_map(|user| of_user(user)).collect()).await
}

/// Everybody may see their own.
pub(super) async fn show_user(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(name): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    check_may_touch(&caller, &name)?;
    let auth = node.auth();
    let user = auth.user(&name).ok_or(Refusal::NotFound)?;
    listing.plain(of_user(user).into_iter().collect()).await
}

pub(super) async fn put_user(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((user, name)): Names<(String, String)>,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, Refusal> {
    let value = value(&body)?;
    let known = UserLimits::default().by_name(&name).is_some();
    let limit = limit(known, &name, &value, "user-limits").map_err(Refusal::bad_request)?;
    let nobody = || Refusal::bad_request(json!(["no_such_user", user]));
    set_user(&node, &user, &name, Some(limit)).await?.ok_or_else(nobody)
}

/// To take away what is not there is no error. A user that is not there is: RabbitMQ calls it a vhost.
pub(super) async fn delete_user(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((user, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    set_user(&node, &user, &name, None).await?.ok_or_else(no_vhost)
}

/// `None` if there is no such user.
async fn set_user(
    node: &Node,
    user: &str,
    name: &str,
    limit: Option<Limit>,
) -> Result<Option<StatusCode>, Refusal> {
    let found = node.limit_user(user, name, limit);
    node.changes().kept().await?;
    Ok(found.then_some(StatusCode::NO_CONTENT))
}

fn no_vhost() -> Refusal {
    Refusal::Missing("vhost_not_found".to_owned())
}

fn value(body: &Body) -> Result<Value, Refusal> {
    let fields = body.fields()?;
    fields.require(&["value"])?;
    Ok(fields.get("value").cloned().unwrap_or_default())
}

/// The limit in a request, or RabbitMQ's words for why it is none.
fn limit(known: bool, name: &str, value: &Value, of: &str) -> Result<Limit, String> {
    if !known {
        return Err(format!("Unrecognised terms [{{<<\"{name}\">>,{}}}] in {of}", term(value)));
    }
    let number = value.as_i64().map(Limit);
    number.ok_or_else(|| format!("{name} should be a number, actually was {}", term(value)))
}
