//! What is there for people: a page that shows how the node does, or the files of a web interface, such as RabbitMQ's own.
//!
//! Whoever asks needs no login; pages ask for one, since they have the API to show anything.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, PRAGMA};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::task::spawn_blocking;

use super::front::redirect;
use super::refusal::Refusal;
use super::resource::{READ, other_method, resource};
use super::settings::HttpSettings;
use crate::node::Node;

/// Leveret's own page. Its script is a file of its own: the header `Content-Security-Policy` allows nothing else.
const PAGE: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/status.js");
/// RabbitMQ's interface asks its server how people log in: with a name and a password.
const BOOTSTRAP: &str = "import * as oauth from './helper.js';\n\
    oauth.set_oauth_settings({ oauth_enabled: false });\n\
    Object.assign(window, oauth);\n";
/// Octets a file may have.
const FILE_MAX: u64 = 32 << 20;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/js/oidc-oauth/bootstrap.js", resource(READ, get(bootstrap)))
        .route("/login", resource("GET, POST, OPTIONS", get(login).post(login).head(other_method)))
        .route("/api", resource(READ, get(reference)))
        .route("/stats", resource(READ, get(reference)))
        .route("/doc/stats.html", resource(READ, get(reference)))
        .route("/mgmt", resource(READ, get(home)))
        .fallback(resource(READ, get(file)))
}

/// Where the API is described.
async fn reference(Extension(settings): Extension<Arc<HttpSettings>>) -> Response {
    redirect(&format!("{}/api/index.html", settings.path_prefix))
}

async fn home(Extension(settings): Extension<Arc<HttpSettings>>) -> Response {
    redirect(&format!("{}/", settings.path_prefix))
}

/// Where people log in by a form; only now, as far as a browser is concerned.
async fn login(Extension(settings): Extension<Arc<HttpSettings>>) -> Response {
    (StatusCode::FOUND, [(LOCATION, format!("{}/", settings.path_prefix))]).into_response()
}

async fn bootstrap(Extension(settings): Extension<Arc<HttpSettings>>) -> Result<Response, Refusal> {
    if settings.ui.is_none() {
        return Err(Refusal::NotFound);
    }
    let cache = "no-cache, no-store, max-age=0, must-revalidate";
    let kind = "text/javascript; charset=utf-8";
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, cache), (PRAGMA, "no-cache"), (EXPIRES, "0")];
    Ok((headers, BOOTSTRAP).into_response())
}

/// A file: of the folder that is set, or our own.
async fn file(
    Extension(settings): Extension<Arc<HttpSettings>>,
    request: Request,
) -> Result<Response, Refusal> {
    let path = request.uri().path();
    let Some(folder) = settings.ui.clone() else { return own(path) };
    let wanted = within(path).ok_or(Refusal::NotFound)?;
    let kind = kind(&wanted);
    let found = spawn_blocking(move || read(&folder, &wanted)).await.ok().flatten();
    let (tag, octets) = found.ok_or(Refusal::NotFound)?;
    let headers = [(CONTENT_TYPE, kind.to_owned()), (ETAG, tag.clone()), (CACHE_CONTROL, FRESH.to_owned())];
    if is_known(request.headers(), &tag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, octets).into_response())
}

/// It may be kept, and has to be asked for every time.
const FRESH: &str = "public, max-age=0, must-revalidate";

fn own(path: &str) -> Result<Response, Refusal> {
    let (kind, text) = match path {
        "/" | "/index.html" => ("text/html; charset=utf-8", PAGE),
        "/status.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return Err(Refusal::NotFound),
    };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, FRESH)], text).into_response())
}

/// Whether a browser has this version of a file already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)
}

/// The file that a path names, within its folder: `None` for what leads elsewhere.
fn within(path: &str) -> Option<PathBuf> {
    let path = if path == "/" { "/index.html" } else { path };
    let mut wanted = PathBuf::new();
    for part in path.strip_prefix('/')?.split('/') {
        let part = decoded(part)?;
        if part.contains(['/', '\\', '\0']) {
            return None;
        }
        match Path::new(&part).components().collect::<Vec<_>>()[..] {
            [Component::Normal(name)] if name == part.as_str() => wanted.push(name),
            _ => return None,
        }
    }
    Some(wanted)
}

/// A part of a path without its percent signs (RFC 3986).
fn decoded(part: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(octet) = rest.next() {
        let octet = match octet {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        };
        octets.push(octet);
    }
    String::from_utf8(octets).ok()
}

/// A file and a tag for this version of it. Links that lead out of the folder lead nowhere.
fn read(folder: &Path, wanted: &Path) -> Option<(String, Vec<u8>)> {
    let unreadable = |e: &io::Error| {
        if e.kind() != io::ErrorKind::NotFound {
            tracing::warn!("HTTP: cannot read {}: {e}", wanted.display());
        }
    };
    let root = fs::canonicalize(folder).inspect_err(unreadable).ok()?;
    let path = fs::canonicalize(root.join(wanted)).inspect_err(unreadable).ok()?;
    if !path.starts_with(&root) {
        return None;
    }
    // Looked at before it is opened: a pipe would hold us up.
    let about = fs::metadata(&path).ok().filter(|about| about.is_file() && about.len() <= FILE_MAX)?;
    let mut octets = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut octets))
        .inspect_err(unreadable)
        .ok()?;
    let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let tag = format!("\"{:x}-{:x}\"", about.len(), changed.unwrap_or_default().as_nanos());
    Some((tag, octets))
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|end| end.to_str()).unwrap_or_default() {
        "html" => "text/html",
        "js" => "application/javascript",
        "css" => "text/css",
        "json" | "map" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_within_a_folder() {
        for (path, expected) in
            [("/", "index.html"), ("/a/b.js", "a/b.js"), ("/a%20b", "a b"), ("/%C3%A9", "é"), ("/...", "...")]
        {
            assert_eq!(within(path), Some(PathBuf::from(expected)), "{path}");
        }
        for path in [
            "",
            "x",
            "/..",
            "/../x",
            "/a/../b",
            "/%2e%2e/x",
            "/.",
            "/a//b",
            "//etc/passwd",
            "/a%2Fb",
            "/a\\b",
            "/a%5Cb",
            "/a%00",
            "/%",
            "/%4",
            "/%zz",
            "/%FF",
            "/a/",
            "/%2e%2e%2fx",
        ] {
            assert_eq!(within(path), None, "{path:?}");
        }
    }
}
