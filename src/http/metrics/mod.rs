//! Metrics for Prometheus, under RabbitMQ's names: `/metrics`, `/metrics/per-object`, `/metrics/detailed`,
//! `/metrics/memory-breakdown`. On their own port nobody has to log in, unless that is set; on the management port those
//! who monitor do.
//!
//! - this file: paths
//! - [`page`]: what is told at each of them
//! - [`families`]: the metrics there are
//! - [`objects`], [`node`]: their numbers
//! - [`sheet`]: how they are written
//! - [`packing`][]: gzip

mod families;
mod node;
mod objects;
mod packing;
mod page;
mod sheet;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode, Uri};
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

/// What somebody asks for.
struct Wanted {
    registry: String,
    query: Option<String>,
    /// Whether each object is told of where nothing is said of that.
    per_object: bool,
    packed: bool,
}

async fn for_monitors(state: State<Arc<Node>>, caller: Monitor, request: Request) -> Response {
    registry_for_monitors(state, caller, Path(String::new()), request).await
}

async fn registry_for_monitors(
    State(node): State<Arc<Node>>,
    _: Monitor,
    Path(registry): Path<String>,
    request: Request,
) -> Response {
    let query = request.uri().query().map(str::to_owned);
    let packed = packing::is_wanted(request.headers());
    reply(node, Wanted { registry, query, per_object: false, packed }).await
}

async fn own_for_monitors(
    state: State<Arc<Node>>,
    settings: Extension<Arc<MetricsSettings>>,
    caller: Result<Monitor, Refusal>,
    request: Request,
) -> Response {
    match caller {
        // What is not there is not there for anybody.
        Err(why) if registry(&settings, request.uri()).is_some() => {
            let mut response = why.into_response();
            if let Some(realm) = response.headers_mut().get_mut(WWW_AUTHENTICATE) {
                *realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Prometheus\"");
            }
            response
        }
        _ => own(state, settings, request).await,
    }
}

async fn own(
    State(node): State<Arc<Node>>,
    Extension(settings): Extension<Arc<MetricsSettings>>,
    request: Request,
) -> Response {
    let uri = request.uri();
    let Some(registry) = registry(&settings, uri).map(str::to_owned) else {
        return Refusal::NotFound.into_response();
    };
    let query = uri.query().map(str::to_owned);
    let packed = packing::is_wanted(request.headers());
    reply(node, Wanted { registry, query, per_object: settings.per_object, packed }).await
}

/// What is behind the path of metrics, if it is that one.
fn registry<'a>(settings: &MetricsSettings, uri: &'a Uri) -> Option<&'a str> {
    match uri.path().strip_prefix(&*settings.path)?.trim_end_matches('/') {
        "" => Some(""),
        rest => rest.strip_prefix('/').filter(|registry| !registry.contains('/')),
    }
}

async fn reply(node: Arc<Node>, wanted: Wanted) -> Response {
    let endpoint = match &*wanted.registry {
        "" | "default" if !wanted.per_object => Endpoint::Aggregated,
        "" | "default" | "per-object" => Endpoint::PerObject,
        "detailed" => Endpoint::Detailed,
        "memory-breakdown" => Endpoint::Memory,
        _ => {
            return (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain")], "Unknown Registry")
                .into_response();
        }
    };
    let mut asked = Asked { endpoint, families: Vec::new(), vhosts: Vec::new() };
    if endpoint == Endpoint::Detailed {
        for (name, value) in parameters(wanted.query) {
            match &*name {
                "family" => asked.families.push(value),
                "vhost" => asked.vhosts.push(value),
                _ => {}
            }
        }
    }
    let packed = wanted.packed;
    let make = move || written(page::text(&node, asked), packed);
    let made = match endpoint {
        // What everybody scrapes does not wait for what is large.
        Endpoint::Aggregated | Endpoint::Memory => aside(make).await.flatten().map(Body::from),
        Endpoint::PerObject | Endpoint::Detailed => large(make).await,
    };
    let headers = [(CONTENT_TYPE, FORMAT), (VARY, "accept-encoding")];
    match made {
        Ok(body) if packed => (headers, [(CONTENT_ENCODING, "gzip")], body).into_response(),
        Ok(body) => (headers, body).into_response(),
        Err(why) => why.into_response(),
    }
}

fn written(text: String, packed: bool) -> Result<Vec<u8>, Refusal> {
    if !packed {
        return Ok(text.into_bytes());
    }
    packing::pack(&text).map_err(|e| {
        tracing::error!("metrics cannot be packed: {e}");
        Refusal::Failed
    })
}

/// The parameters of a query, each as often as it is there.
fn parameters(query: Option<String>) -> Vec<(String, String)> {
    let uri = format!("/?{}", query.unwrap_or_default()).parse::<Uri>().unwrap_or_default();
    Query::try_from_uri(&uri).map(|Query(found)| found).unwrap_or_default()
}
