//! Definitions as a file: taken from here, brought here.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::body::{Body, is_token};
use super::caller::Administrator;
use super::multipart;
use super::refusal::Refusal;
use super::resource::{Names, resource};
use super::room::aside;
use crate::node::Node;
use crate::node::definitions::{ImportError, Scope};
use crate::node::events::acting_as;

const METHODS: &str = "HEAD, GET, POST, OPTIONS";

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/definitions", resource(METHODS, get(export).post(import)))
        .route("/api/all-configuration", resource(METHODS, get(export).post(import)))
        .route("/api/definitions/{vhost}", resource(METHODS, get(export_vhost).post(import_vhost)))
}

type Parameters = Query<BTreeMap<String, String>>;

async fn export(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Query(query): Parameters,
) -> Result<Response, Refusal> {
    exported(node, None, &query).await
}

async fn export_vhost(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(vhost): Names<String>,
    Query(query): Parameters,
) -> Result<Response, Refusal> {
    exported(node, Some(vhost), &query).await
}

/// With `download` in the query, as a file of that name.
async fn exported(
    node: Arc<Node>,
    vhost: Option<String>,
    query: &BTreeMap<String, String>,
) -> Result<Response, Refusal> {
    let download = match query.get("download") {
        None => None,
        Some(name) if is_token(name) => HeaderValue::try_from(format!("attachment; filename={name}")).ok(),
        Some(_) => return Ok(StatusCode::BAD_REQUEST.into_response()),
    };
    let file = aside(move || node.export_definitions(scope(vhost.as_deref()))).await?;
    let file = file.ok_or_else(|| Refusal::bad_request("vhost_not_found"))?;
    let mut response = file.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    download.map(|download| headers.insert(CONTENT_DISPOSITION, download));
    Ok(response)
}

async fn import(
    State(node): State<Arc<Node>>,
    Administrator(caller): Administrator,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    imported(node, None, &caller.user.name, &headers, &body).await
}

async fn import_vhost(
    State(node): State<Arc<Node>>,
    Administrator(caller): Administrator,
    Names(vhost): Names<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    imported(node, Some(vhost), &caller.user.name, &headers, &body).await
}

/// The file is the body, or the part `file` of a form, which may say in the part `redirect` what to show then.
async fn imported(
    node: Arc<Node>,
    vhost: Option<String>,
    user: &Arc<str>,
    headers: &HeaderMap,
    body: &Body,
) -> Result<Response, Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (file, redirect) = match &*kind {
        "application/json" => (body.octets(), None),
        "multipart/form-data" => match form(content_type, &body.octets()) {
            Some(found) => found,
            None => return Ok(StatusCode::BAD_REQUEST.into_response()),
        },
        _ => return Ok(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()),
    };
    let (importing, user) = (Arc::clone(&node), Arc::clone(user));
    let run = move || importing.import_definitions(scope(vhost.as_deref()), &file);
    let done = aside(move || acting_as(Some(user), run)).await?;
    // What has been done stays, whether or not it was all.
    let kept = node.kept().await;
    done.map_err(|why| match why {
        ImportError::NoVhost => Refusal::Missing("vhost_not_found".to_owned()),
        why => Refusal::bad_request(why.to_string()),
    })?;
    kept?;
    Ok(match redirect.and_then(|to| HeaderValue::from_bytes(&to).ok()) {
        Some(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

fn scope(vhost: Option<&str>) -> Scope<'_> {
    vhost.map_or(Scope::Node, Scope::Vhost)
}

/// The file in a form, and where to go on; without a file it is not one.
fn form(content_type: &str, body: &Bytes) -> Option<(Bytes, Option<Bytes>)> {
    let parts = multipart::parts(body, &multipart::boundary(content_type)?)?;
    let find = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.value.clone());
    let none = || Bytes::from_static(b"none");
    Some((find("file").unwrap_or_else(none), find("redirect")))
}
