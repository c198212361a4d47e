//! Permissions of users in vhosts.

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
use crate::auth::{Auth, Pattern, Permission};
use crate::node::Node;

fn to_json(user: &str, vhost: &str, permission: &Permission) -> Value {
    json!({
        "user": user,
        "vhost": vhost,
        "configure": &*permission.configure.source,
        "write": &*permission.write.source,
        "read": &*permission.read.source,
    })
}

/// All permissions for which `which` says so of user and vhost.
fn all(auth: &Auth, which: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    for user in auth.users() {
        let chosen = user.permissions.iter().filter(|(vhost, _)| which(&user.name, vhost));
        found.extend(chosen.map(|(vhost, permission)| to_json(&user.name, vhost, permission)));
    }
    let key = |json: &Value| ["vhost", "user"].map(|key| json[key].as_str().unwrap_or_default().to_owned());
    found.sort_by_cached_key(key);
    found
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    _: Administrator,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.plain(all(&node.auth(), |_, _| true)).await
}

pub(super) async fn list_of_user(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    let auth = node.auth();
    auth.user(&name).ok_or(Refusal::NotFound)?;
    listing.plain(all(&auth, |user, _| user == name)).await
}

pub(super) async fn list_of_vhost(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    node.vhost(&name).ok_or(Refusal::NotFound)?;
    listing.plain(all(&node.auth(), |_, vhost| vhost == name)).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, user)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let auth = node.auth();
    let permission = auth.user(&user).and_then(|user| user.permissions.get(vhost.as_str()));
    permission.map(|permission| Json(to_json(&user, &vhost, permission))).ok_or(Refusal::NotFound)
}

pub(super) async fn put(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, user)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let nowhere = || Refusal::bad_request("vhost_or_user_not_found");
    if node.vhost(&vhost).is_none() || node.auth().user(&user).is_none() {
        return Err(nowhere());
    }
    let permission = permission(&body.fields()?)?;
    let is_new = node.put_permission(&user, &vhost, permission);
    node.changes().kept().await?;
    Ok(if is_new.ok_or_else(nowhere)? { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

fn permission(fields: &Fields) -> Result<Permission, Refusal> {
    fields.require(&["configure", "write", "read"])?;
    let pattern = |key| {
        let source = fields.text(key)?.ok_or_else(|| Refusal::bad_request(json!(["not_string", null])))?;
        Pattern::new(source).map_err(|e| Refusal::bad_request(format!("{key}: {e}")))
    };
    Ok(Permission { configure: pattern("configure")?, write: pattern("write")?, read: pattern("read")? })
}

pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, user)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let removed = node.remove_permission(&user, &vhost);
    node.changes().kept().await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}
