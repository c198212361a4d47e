//! Logging in by a form, as RabbitMQ's own pages do: what comes back is what they send from then on.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::body::Body;
use super::caller::log_in;
use super::refusal::Refusal;
use super::resource::resource;
use super::settings::HttpSettings;
use super::users::about;
use crate::node::Node;

/// Octets of a form. Nobody knows yet who sends it.
const FORM_MAX: usize = 16 << 10;

pub(super) fn routes() -> Router<Arc<Node>> {
    let methods = post(enter).delete(leave).layer(DefaultBodyLimit::max(FORM_MAX));
    Router::new().route("/api/login", resource("POST, DELETE, OPTIONS", methods))
}

async fn enter(
    State(node): State<Arc<Node>>,
    Extension(settings): Extension<Arc<HttpSettings>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (name, password) = fields(&body.octets()).ok_or(Refusal::LoginFailed)?;
    let peer = peer.map(|Extension(ConnectInfo(peer))| peer);
    let user = log_in(&node, &settings, peer, name.clone(), password.clone().into_bytes()).await?;
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Ok(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response());
    }
    let mut shown = about(&user);
    if let Some(session) = settings.login_session {
        shown["login_session_timeout"] = (session.as_secs() / 60).into();
    }
    let token = STANDARD.encode(format!("{name}:{password}"));
    Ok(Json(json!({ "user": shown, "token": { "type": "basic", "value": token } })).into_response())
}

/// Name and password out of a form.
fn fields(body: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(body).ok()?;
    let uri = format!("/?{text}").parse().ok()?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()?;
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    Some((value("username")?, value("password")?))
}

/// There is nothing to end: nobody keeps who is logged in.
async fn leave() -> StatusCode {
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let found = |body: &str| fields(body.as_bytes());
        assert_eq!(found("username=a+b&password=%C3%A9%26&x=1"), Some(("a b".into(), "é&".into())));
        assert_eq!(found("password=&username=u"), Some(("u".into(), String::new())));
        // Octets that are not UTF-8 are taken for somebody else's name, as everywhere in a path or a query.
        assert_eq!(found("username=%FF&password=x"), Some(("\u{fffd}".into(), "x".into())));
        for wrong in ["", "username=u", "{\"username\":\"u\"}", "\n"] {
            assert_eq!(found(wrong), None, "{wrong:?}");
        }
    }
}
