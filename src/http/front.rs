//! What every request passes first, and every reply last: the prefix of all paths, and the headers that are set.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, ORIGIN, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;
use super::settings::HttpSettings;

/// Brings the path into form, and puts headers on the reply.
pub(super) async fn front(
    State(settings): State<Arc<HttpSettings>>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_options = request.method() == Method::OPTIONS;
    let origin = allowed_origin(&settings, request.headers());
    let asked = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = match inside(&settings.path_prefix, request.uri().path()) {
        Place::Inside(_) if origin.is_none() && is_another_pages(&request) => {
            Refusal::Foreign.into_response()
        }
        Place::Inside(path) if !is_encoded(path) => StatusCode::BAD_REQUEST.into_response(),
        Place::Inside(path) => {
            let path = path.to_owned();
            rewrite(request.uri_mut(), &path);
            next.run(request).await
        }
        Place::Above => redirect(&format!("{}/", settings.path_prefix)),
        Place::Outside => Refusal::NotFound.into_response(),
    };
    let headers = response.headers_mut();
    if let Some((origin, credentials)) = origin {
        if is_options {
            preflight(&settings, headers, asked);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
    add_set_headers(&settings, headers);
    if settings.hide_allow && response.status() != StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().remove(ALLOW);
    }
    response
}

/// Where a path leads.
enum Place<'a> {
    /// Without the prefix.
    Inside(&'a str),
    /// To the root, where a prefix is set.
    Above,
    Outside,
}

fn inside<'a>(prefix: &str, path: &'a str) -> Place<'a> {
    let prefix = prefix.trim_end_matches('/');
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Place::Inside(rest),
        _ if path == "/" => Place::Above,
        _ => Place::Outside,
    }
}

/// Whether a browser says that a page from elsewhere wants to change something, with the password that the browser knows. A
/// form on such a page needs nobody's leave. RabbitMQ lets them; it has nothing that removes everything in one request.
fn is_another_pages(request: &Request) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS];
    let site = request.headers().get("sec-fetch-site");
    !safe.contains(request.method()) && site.is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// Whether each percent sign in a path is followed by two hexadecimal digits.
fn is_encoded(path: &str) -> bool {
    let digits = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|octet| octet.is_ascii_hexdigit());
    path.split('%').skip(1).all(digits)
}

/// Puts another path in place, without a slash at its end, which means nothing, and with the default exchange's name
/// where an empty one is.
fn rewrite(uri: &mut Uri, path: &str) {
    let trimmed = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let of_exchanges = ["/api/exchanges/", "/api/bindings/"].iter().any(|prefix| trimmed.starts_with(prefix));
    let named = of_exchanges.then(|| trimmed.replace("//", "/amq.default/"));
    let trimmed = named.as_deref().unwrap_or(trimmed);
    if trimmed == uri.path() {
        return;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(path_and_query) = format!("{trimmed}{query}").parse::<PathAndQuery>() {
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(path_and_query);
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// A page that is elsewhere for good.
pub(super) fn redirect(to: &str) -> Response {
    (StatusCode::MOVED_PERMANENTLY, [(LOCATION, to)]).into_response()
}

/// What a page's origin is answered with, and whether it may send credentials, if it may use the API at all.
fn allowed_origin(settings: &HttpSettings, headers: &HeaderMap) -> Option<(HeaderValue, bool)> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok().filter(|text| !["null", "*"].contains(text))?;
    let is_allowed = |wanted: &str| settings.cors_origins.iter().any(|origin| origin == wanted);
    if is_allowed(text) {
        return Some((origin.clone(), true));
    }
    is_allowed("*").then(|| (HeaderValue::from_static("*"), false))
}

/// What a browser asks before it lets a page use the API: methods, headers, and how long to remember. Where headers
/// are asked for RabbitMQ forgets the age; a browser then asks more often than it has to.
fn preflight(settings: &HttpSettings, headers: &mut HeaderMap, asked: Option<HeaderValue>) {
    headers.insert(ACCESS_CONTROL_MAX_AGE, settings.cors_max_age.into());
    if let Some(asked) = asked {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
    if let Some(methods) = headers.get(ALLOW).cloned() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
}

fn add_set_headers(settings: &HttpSettings, headers: &mut HeaderMap) {
    let json = headers.get(CONTENT_TYPE).is_some_and(|found| found == "application/json");
    let vary = if json { "accept, accept-encoding, origin" } else { "origin, accept-encoding" };
    headers.insert(VARY, HeaderValue::from_static(vary));
    let set: [(HeaderName, &Option<HeaderValue>); 6] = [
        (CONTENT_SECURITY_POLICY, &settings.csp),
        (STRICT_TRANSPORT_SECURITY, &settings.hsts),
        (X_CONTENT_TYPE_OPTIONS, &settings.content_type_options),
        (X_XSS_PROTECTION, &settings.xss_protection),
        (X_FRAME_OPTIONS, &settings.frame_options),
        (REFERRER_POLICY, &settings.referrer_policy),
    ];
    for (name, value) in set {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(prefix: &str, path: &str) -> String {
        match inside(prefix, path) {
            Place::Inside(path) => path.to_owned(),
            Place::Above => "above".to_owned(),
            Place::Outside => "outside".to_owned(),
        }
    }

    #[test]
    fn prefixes_of_paths() {
        assert_eq!(shown("", "/api/x"), "/api/x");
        assert_eq!(shown("/p", "/p/api/x"), "/api/x");
        assert_eq!(shown("/p/", "/p"), "");
        assert_eq!(shown("/p", "/"), "above");
        for outside in ["/api/x", "/pp/api", "/P/api"] {
            assert_eq!(shown("/p", outside), "outside", "{outside}");
        }
    }

    #[test]
    fn percent_signs() {
        for good in ["/", "/%2F", "/a%0d%0A/%c3%a9"] {
            assert!(is_encoded(good), "{good}");
        }
        for bad in ["/%", "/%2", "/%zz", "/%2F%", "/%%2F", "/%2/F"] {
            assert!(!is_encoded(bad), "{bad}");
        }
    }

    #[test]
    fn slashes_at_the_end() {
        for (uri, path, expected) in [
            ("/a/b/?x=/", "/a/b/", "/a/b?x=/"),
            ("/", "/", "/"),
            ("/p", "", "/"),
            ("/p/a%2F/", "/a%2F/", "/a%2F"),
        ] {
            let mut found: Uri = uri.parse().expect("a URI");
            rewrite(&mut found, path);
            assert_eq!(found.to_string(), expected);
        }
    }
}
