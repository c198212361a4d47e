//! A file from another server, over HTTP or HTTPS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::net::tls::{ClientSettings, TlsError};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Octets of a file.
const FILE_MAX: usize = 256 << 20;
/// So often a server may say that what is wanted is elsewhere.
const REDIRECTS_MAX: usize = 5;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("it is no address of http: or https:")]
    NoAddress,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("URL request failed with response code {0}")]
    Status(u16),
    #[error("it is larger than 256 MiB, or breaks off")]
    Body,
    #[error("it leads in a circle")]
    Circle,
    #[error("it takes more than a minute")]
    Slow,
}

/// Gets the file at this address.
pub async fn fetch(url: &str, settings: &ClientSettings) -> Result<Bytes, FetchError> {
    timeout(PATIENCE, follow(url, settings)).await.map_err(|_| FetchError::Slow)?
}

async fn follow(url: &str, settings: &ClientSettings) -> Result<Bytes, FetchError> {
    let mut place: Uri = url.parse().map_err(|_| FetchError::NoAddress)?;
    for _ in 0..=REDIRECTS_MAX {
        match get(&place, settings).await? {
            Answer::File(file) => return Ok(file),
            Answer::Elsewhere(there) => place = elsewhere(&place, &there)?,
        }
    }
    Err(FetchError::Circle)
}

/// An address, or a path on the same server. What was asked for over TLS is not had without it.
fn elsewhere(here: &Uri, there: &str) -> Result<Uri, FetchError> {
    let there: Uri = there.parse().map_err(|_| FetchError::NoAddress)?;
    let mut parts = there.into_parts();
    if parts.authority.is_none() {
        parts.authority = here.authority().cloned();
        parts.scheme = here.scheme().cloned();
    }
    let there = Uri::from_parts(parts).map_err(|_| FetchError::NoAddress)?;
    if here.scheme_str() == Some("https") && there.scheme_str() != Some("https") {
        return Err(FetchError::NoAddress);
    }
    Ok(there)
}

enum Answer {
    File(Bytes),
    Elsewhere(String),
}

async fn get(url: &Uri, settings: &ClientSettings) -> Result<Answer, FetchError> {
    let host = url.host().ok_or(FetchError::NoAddress)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let (tls, port) = match url.scheme_str() {
        Some("https") => (Some(settings.load()?), 443),
        Some("http") => (None, 80),
        _ => return Err(FetchError::NoAddress),
    };
    let socket = TcpStream::connect((bare, url.port_u16().unwrap_or(port))).await?;
    match tls {
        None => ask(socket, url).await,
        Some(config) => ask(secure(socket, bare, config).await?, url).await,
    }
}

async fn secure(
    socket: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, FetchError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::NoAddress)?;
    Ok(TlsConnector::from(config).connect(name, socket).await?)
}

async fn ask(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Uri,
) -> Result<Answer, FetchError> {
    let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let answered = answer(&mut sender, url).await;
    connection.abort();
    answered
}

async fn answer(
    sender: &mut hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
    url: &Uri,
) -> Result<Answer, FetchError> {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let (login, host) =
        authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, host).header(USER_AGENT, "Leveret");
    let request = match login {
        Some(login) => request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(login))),
        None => request,
    };
    let request = request.body(Empty::new()).map_err(|_| FetchError::NoAddress)?;
    let reply = sender.send_request(request).await?;
    let status = reply.status();
    let there = reply.headers().get(LOCATION).and_then(|there| there.to_str().ok());
    if let Some(there) = there.filter(|_| status.is_redirection()) {
        return Ok(Answer::Elsewhere(there.to_owned()));
    }
    if !status.is_success() {
        return Err(FetchError::Status(status.as_u16()));
    }
    let body = Limited::new(reply.into_body(), FILE_MAX).collect().await;
    Ok(Answer::File(body.map_err(|_| FetchError::Body)?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_instead() {
        let here: Uri = "https://a.example:1/x".parse().expect("an address");
        for (there, wanted) in [
            ("/y?z", Some("https://a.example:1/y?z")),
            ("https://b.example/", Some("https://b.example/")),
            ("http://b.example/", None),
            ("ftp://b", None),
            ("", None),
        ] {
            assert_eq!(elsewhere(&here, there).ok().map(|uri| uri.to_string()).as_deref(), wanted, "{there}");
        }
    }

    #[tokio::test]
    async fn what_is_no_address() {
        for url in ["", "/etc/passwd", "file:///etc/passwd", "localhost:1", "https:///x"] {
            let failed = fetch(url, &ClientSettings::default()).await;
            assert!(matches!(failed, Err(FetchError::NoAddress)), "{url}: {failed:?}");
        }
    }
}
