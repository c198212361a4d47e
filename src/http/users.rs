//! Users.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::body::{Body, Fields};
use super::caller::{Administrator, Caller};
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::Names;
use super::room::aside;
use crate::auth::User;
use crate::auth::password::{Algorithm, PasswordHash};
use crate::node::events::{acting, acting_as};
use crate::node::{Node, salt};

fn to_json(user: &User) -> Value {
    let algorithm = user.password.as_ref().map_or(Algorithm::Sha256, |hash| hash.algorithm);
    json!({
        "name": &*user.name,
        "password_hash": user.password.as_ref().map(PasswordHash::to_base64).unwrap_or_default(),
        "hashing_algorithm": algorithm.name(),
        "tags": tags(user),
        "limits": user.limits,
    })
}

fn tags(user: &User) -> Vec<&str> {
    user.tags.iter().map(|tag| &**tag).collect()
}

/// Somebody, as they see themselves.
pub(super) fn about(user: &User) -> Value {
    json!({ "name": &*user.name, "tags": tags(user), "is_internal_user": true })
}

pub(super) async fn whoami(caller: Caller) -> Json<Value> {
    Json(about(&caller.user))
}

pub(super) async fn hash_password(_: Administrator, Names(password): Names<String>) -> Json<Value> {
    Json(json!({ "ok": hash(password).await.map(|hash| hash.to_base64()) }))
}

/// Hashes a password, which may be long, where nobody waits.
async fn hash(password: String) -> Option<PasswordHash> {
    // It fails only when the node is going down.
    spawn_blocking(move || PasswordHash::new(password.as_bytes(), salt())).await.ok()
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    _: Administrator,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(node.auth().users().map(|user| to_json(user)).collect()).await
}

pub(super) async fn list_without_permissions(
    State(node): State<Arc<Node>>,
    _: Administrator,
    listing: Listing,
) -> Result<Response, Refusal> {
    let auth = node.auth();
    let without = auth.users().filter(|user| user.permissions.is_empty());
    listing.pages(without.map(|user| to_json(user)).collect()).await
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    node.auth().user(&name).map(|user| Json(to_json(user))).ok_or(Refusal::NotFound)
}

/// Creates a user or replaces one: without a password in the request there is none afterwards.
pub(super) async fn put(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let fields = body.fields()?;
    let tags = fields.words("tags")?.ok_or_else(|| Refusal::bad_request("tags_not_present"))?;
    let tags = tags.into_iter().filter(|tag| !tag.is_empty()).map(Into::into).collect();
    if fields.text("password")?.is_some_and(|password| !node.allows_password(password)) {
        return Err(Refusal::bad_request("credential_validation_failed"));
    }
    let password = password(&fields).await?;
    let is_new = node.put_user(&name, password, tags);
    node.changes().kept().await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// The password that a request gives, in clear or hashed.
async fn password(fields: &Fields) -> Result<Option<PasswordHash>, Refusal> {
    match (fields.text("password")?, fields.get("password_hash")) {
        (Some(_), Some(_)) => Err(Refusal::bad_request("both_password_and_password_hash_are_provided")),
        (Some(password), None) => Ok(hash(password.to_owned()).await),
        (None, Some(hash)) => hashed(fields, hash),
        (None, None) => Ok(None),
    }
}

/// A hash in base64. With an algorithm that nobody knows it fits no password, as in RabbitMQ.
fn hashed(fields: &Fields, hash: &Value) -> Result<Option<PasswordHash>, Refusal> {
    let refused = || Refusal::bad_request(json!(["not_base64", hash]));
    let text: String = hash.as_str().ok_or_else(refused)?.split_ascii_whitespace().collect();
    let name = fields.text("hashing_algorithm")?.unwrap_or(Algorithm::Sha256.name());
    let algorithm = Algorithm::from_name(name);
    let hash =
        PasswordHash::from_base64(&text, algorithm.unwrap_or(Algorithm::Sha256)).ok_or_else(refused)?;
    if algorithm.is_none() {
        tracing::warn!("unknown password hashing algorithm {name:?}: the user cannot log in");
    }
    Ok(algorithm.filter(|_| !text.is_empty()).map(|_| hash))
}

pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    let removed = node.remove_user(&name);
    node.changes().kept().await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}

/// Deletes many users; those that are not there are as good as deleted.
pub(super) async fn bulk_delete(
    State(node): State<Arc<Node>>,
    _: Administrator,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let fields = body.fields()?;
    fields.require(&["users"])?;
    let names = fields.get("users").and_then(Value::as_array);
    let name = |name: &Value| name.as_str().map(str::to_owned);
    let names: Option<Vec<_>> = names.and_then(|names| names.iter().map(name).collect());
    let names = names.ok_or_else(|| Refusal::bad_request("users must be an array of names"))?;
    let (removing, user) = (Arc::clone(&node), acting());
    let remove = move || removing.remove_users(&names.iter().map(String::as_str).collect::<Vec<_>>());
    aside(move || acting_as(user, remove)).await?;
    node.changes().kept().await?;
    Ok(StatusCode::NO_CONTENT)
}
