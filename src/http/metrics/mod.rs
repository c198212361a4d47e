//! Metrics for Prometheus, under RabbitMQ's names: `/metrics`, `/metrics/per-object`, `/metrics/detailed`. On their own
//! port nobody has to log in, unless that is set; on the management port those who monitor do.
//!
//! - this file: paths
//! - [`page`]: what is told at each of them
//! - [`families`]: the metrics there are
//! - [`objects`], [`node`]: their numbers
//! - [`sheet`]: how they are written

mod families;
mod node;
mod objects;
mod page;
mod sheet;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, RawQuery, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::caller::Monitor;
use super::refusal::Refusal;
use super::resource::{READ, resource};
use super::room::{aside, large};
use super::settings::{HttpSettings, MetricsSettings};
use crate::node::Node;
use page::{Asked, Endpoint};

/// The text's format, by its version.
const FORMAT: &str = "text/plain; version=0.0.4";

/// Those of the management port.
pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/metrics", resource(READ, get(for_monitors)))
        .route("/metrics/{registry}", resource(READ, get(registry_for_monitors)))
}

/// All of the port that metrics have for themselves.
pub(super) fn router(node: Arc<Node>, settings: Arc<MetricsSettings>) -> Router {
    let methods = if settings.authentication { get(own_for_monitors) } else { get(own) };
    Router::new()
        .fallback(resource(READ, methods))
        .with_state(node)
        .layer(Extension(Arc::new(HttpSettings::default())))
        .layer(Extension(settings))
}

async fn for_monitors(State(node): State<Arc<Node>>, _: Monitor, RawQuery(query): RawQuery) -> Response {
    reply(node, "", query, false).await
}

async fn registry_for_monitors(
    State(node): State<Arc<Node>>,
    _: Monitor,
    Path(registry): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    reply(node, &registry, query, false).await
}

async fn own_for_monitors(
    state: State<Arc<Node>>,
    settings: Extension<Arc<MetricsSettings>>,
    _: Monitor,
    request: Request,
) -> Response {
    own(state, settings, request).await
}

async fn own(
    State(node): State<Arc<Node>>,
    Extension(settings): Extension<Arc<MetricsSettings>>,
    request: Request,
) -> Response {
    let uri = request.uri();
    let rest = uri.path().strip_prefix(&*settings.path).map(|rest| rest.trim_end_matches('/'));
    let registry = match rest {
        Some("") => "",
        Some(rest) => match rest.strip_prefix('/') {
            Some(registry) if !registry.contains('/') => registry,
            _ => return Refusal::NotFound.into_response(),
        },
        None => return Refusal::NotFound.into_response(),
    };
    let (registry, query) = (registry.to_owned(), uri.query().map(str::to_owned));
    reply(node, &registry, query, settings.per_object).await
}

async fn reply(node: Arc<Node>, registry: &str, query: Option<String>, per_object: bool) -> Response {
    let endpoint = match registry {
        "" if !per_object => Endpoint::Aggregated,
        "" | "per-object" => Endpoint::PerObject,
        "detailed" => Endpoint::Detailed,
        _ => {
            return (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain")], "Unknown Registry")
                .into_response();
        }
    };
    let mut asked = Asked { endpoint, families: Vec::new(), vhosts: Vec::new() };
    if endpoint == Endpoint::Detailed {
        for (name, value) in parameters(query) {
            match &*name {
                "family" => asked.families.push(value),
                "vhost" => asked.vhosts.push(value),
                _ => {}
            }
        }
    }
    let text = match endpoint {
        // What everybody scrapes does not wait for what is large.
        Endpoint::Aggregated => aside(move || page::text(&node, asked)).await.map(Body::from),
        Endpoint::PerObject | Endpoint::Detailed => large(move || page::text(&node, asked)).await,
    };
    match text {
        Ok(text) => ([(CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(why) => why.into_response(),
    }
}

/// The parameters of a query, each as often as it is there.
fn parameters(query: Option<String>) -> Vec<(String, String)> {
    let uri = format!("/?{}", query.unwrap_or_default()).parse::<Uri>().unwrap_or_default();
    Query::try_from_uri(&uri).map(|Query(found)| found).unwrap_or_default()
}
