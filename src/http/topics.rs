//! Topic permissions of users on exchanges.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::{Body, Fields};
use super::caller::Administrator;
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::Names;
use crate::auth::topic::TopicPermission;
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::topics::TopicError;

/// Those of a vhost, of one user or of all.
fn of(vhost: &VhostCell, user: Option<&str>) -> Vec<Value> {
    vhost.with_vhost(|found| {
        let all = found.topic_permissions().filter(|(_, of, _)| user.is_none_or(|user| *user == ***of));
        all.map(|(exchange, user, permission)| {
            json!({
                "user": &**user,
                "vhost": &*vhost.name,
                "exchange": &**exchange,
                "write": &*permission.write,
                "read": &*permission.read,
            })
        })
        .collect()
    })
}

fn everywhere(node: &Node, user: Option<&str>) -> Vec<Value> {
    node.vhosts().iter().flat_map(|vhost| of(vhost, user)).collect()
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    _: Administrator,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.plain(everywhere(&node, None)).await
}

pub(super) async fn list_of_user(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    node.auth().user(&name).ok_or(Refusal::NotFound)?;
    listing.plain(everywhere(&node, Some(&name))).await
}

pub(super) async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let vhost = node.vhost(&name).ok_or(Refusal::NotFound)?;
    listing.plain(of(&vhost, None)).await
}

/// All that a user has in a vhost; none are as good as a path that is not there.
fn found(node: &Node, (vhost, user): &(String, String)) -> Result<(Arc<VhostCell>, Vec<Value>), Refusal> {
    let vhost = node.vhost(vhost).ok_or(Refusal::NotFound)?;
    let all = of(&vhost, Some(user));
    if all.is_empty() { Err(Refusal::NotFound) } else { Ok((vhost, all)) }
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(names): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(found(&node, &names)?.1.into()))
}

/// An exchange in the path makes no difference here, as in RabbitMQ.
pub(super) async fn show_all_the_same(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, user, _)): Names<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(found(&node, &(vhost, user))?.1.into()))
}

pub(super) async fn put(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, user)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    give(&node, &vhost, &user, &body).await
}

/// Nor here: it is the body's that counts.
pub(super) async fn put_all_the_same(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, user, _)): Names<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    give(&node, &vhost, &user, &body).await
}

async fn give(node: &Node, vhost: &str, user: &str, body: &Body) -> Result<StatusCode, Refusal> {
    let nowhere = || Refusal::bad_request("vhost_or_user_not_found");
    let cell = node.vhost(vhost).filter(|_| node.auth().user(user).is_some()).ok_or_else(nowhere)?;
    let fields = body.fields()?;
    fields.require(&["exchange", "write", "read"])?;
    let permission = permission(&fields, user, vhost)?;
    let exchange = fields.get("exchange").cloned().unwrap_or_default();
    let missing = || Refusal::bad_request(json!(["no_such_exchange", exchange]));
    let name = exchange.as_str().ok_or_else(missing)?;
    let put = node.put_topic_permission((&cell, user), name, permission);
    let is_new = put.map_err(|why| match why {
        TopicError::User => nowhere(),
        TopicError::Exchange => missing(),
    })?;
    cell.kept().await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

fn permission(fields: &Fields, user: &str, vhost: &str) -> Result<TopicPermission, Refusal> {
    let text = |key| fields.text(key)?.ok_or_else(|| Refusal::bad_request(json!(["not_string", null])));
    TopicPermission::new(user, vhost, text("write")?, text("read")?)
        .map_err(|e| Refusal::bad_request(e.to_string()))
}

pub(super) async fn delete_all(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(names): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    take(&node, &names, None).await
}

/// Those on one exchange. To take away what is not there is no error, as long as there are others.
pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, user, exchange)): Names<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    take(&node, &(vhost, user), Some(&exchange)).await
}

async fn take(node: &Node, names: &(String, String), exchange: Option<&str>) -> Result<StatusCode, Refusal> {
    let (vhost, _) = found(node, names)?;
    node.remove_topic_permissions((&vhost, &names.1), exchange);
    vhost.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}
