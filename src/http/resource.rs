//! What all paths have in common.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use super::settings::HttpSettings;
use crate::node::Node;

/// The methods of what can only be looked at.
pub(super) const READ: &str = "HEAD, GET, OPTIONS";
/// The same without asking for the head alone.
pub(super) const GET: &str = "GET, OPTIONS";
/// The methods of what can be looked at, put in place and deleted.
pub(super) const CHANGE: &str = "HEAD, GET, PUT, DELETE, OPTIONS";

/// A resource with these methods, which every reply names in `Allow`. Nobody has to log in to be told that a method
/// is not among them.
pub(super) fn resource(allowed: &'static str, methods: MethodRouter<Arc<Node>>) -> MethodRouter<Arc<Node>> {
    let label = move |mut response: Response| async move {
        let shown = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&response.status());
        let fresh = shown && response.headers().contains_key(CONTENT_TYPE);
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
        let cache = if fresh { "no-cache" } else { "public, max-age=0, must-revalidate" };
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(cache));
        response
    };
    methods.fallback(other_method).layer(map_response(label))
}

/// Octets a name may have (AMQP 0-9-1, short strings).
const NAME_MAX: usize = 255;

/// When settings close a resource, and what whoever comes is told then.
pub(super) type Closed = (fn(&HttpSettings) -> bool, &'static str);

/// These methods, of which nobody may use any, `OPTIONS` included, where settings say so.
pub(super) fn closed_if(
    (is_closed, reason): Closed,
    methods: MethodRouter<Arc<Node>>,
) -> MethodRouter<Arc<Node>> {
    let check = move |settings: Option<Extension<Arc<HttpSettings>>>, request: Request, next: Next| async move {
        if settings.is_some_and(|Extension(settings)| is_closed(&settings)) {
            return Refusal::Closed(reason).into_response();
        }
        next.run(request).await
    };
    methods.options(other_method).layer(from_fn(check))
}

/// A method that a resource does not have.
pub(super) async fn other_method(method: Method) -> StatusCode {
    if method == Method::OPTIONS { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED }
}

/// The name of an exchange as a path has it: the default one, whose name is empty, is called `amq.default` there.
pub(super) fn exchange_name(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

/// The name of what is declared as RabbitMQ takes it: without the ends of lines in it, and not too long.
pub(super) fn declared_name(kind: &str, name: &str) -> Result<String, Refusal> {
    let name = name.replace(['\r', '\n'], "");
    if name.len() > NAME_MAX {
        let text = format!("{kind} should be less than {NAME_MAX} bytes, actually was {}\n", name.len());
        return Err(Refusal::bad_request(text));
    }
    Ok(name)
}

/// The names in a path, percent-decoded. One that is not UTF-8 names nothing.
pub(super) struct Names<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Node>> for Names<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Refusal> {
        let found = Path::<T>::from_request_parts(parts, node).await;
        found.map(|Path(names)| Self(names)).map_err(|_| Refusal::NotFound)
    }
}
