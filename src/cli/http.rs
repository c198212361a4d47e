//! HTTP as the command-line tools speak it: one request after the other, over the node's control socket or over TCP.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// Octets that a path of a socket may have (sun_path of `sockaddr_un`, without the final zero).
const SOCKET_PATH_MAX: usize = 107;
/// Octets of a reply that are read; more is no reply of ours.
const REPLY_MAX: usize = 1 << 30;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{0}")]
    Connect(io::Error),
    #[error(
        "it is served by the user {0}, and not by this one or root: name it with --socket if that is meant"
    )]
    Stranger(u32),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("no reply within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The field `reason` of a refusal, as text.
    pub fn reason(&self) -> String {
        match &self.json()["reason"] {
            Value::String(text) => text.clone(),
            Value::Null => String::from_utf8_lossy(&self.body).into_owned(),
            other => other.to_string(),
        }
    }
}

/// A connection to a node.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: Option<String>,
    /// For each request.
    patience: Option<Duration>,
}

impl Client {
    /// Over a node's control socket. Where anybody might have made it, it is to be served by this user, or by root.
    pub fn over_socket(path: &Path, by_anybody: bool) -> Result<Self, HttpError> {
        let runtime = runtime()?;
        let stream = runtime.block_on(connect_to_socket(path)).map_err(HttpError::Connect)?;
        if !by_anybody {
            let server = stream.peer_cred().map_err(HttpError::Connect)?.uid();
            if ![0, rustix::process::getuid().as_raw()].contains(&server) {
                return Err(HttpError::Stranger(server));
            }
        }
        Self::over(runtime, stream, "localhost".to_owned())
    }

    /// Over TCP, and TLS where that is wanted.
    pub fn over_tcp(
        host: &str,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
        patience: Duration,
    ) -> Result<Self, HttpError> {
        let runtime = runtime()?;
        let connected = runtime.block_on(async {
            let connected = tokio::time::timeout(patience, TcpStream::connect((host, port))).await;
            connected.map_err(|_| HttpError::TimedOut(patience))?.map_err(HttpError::Connect)
        });
        let (stream, place) = (connected?, format!("{host}:{port}"));
        let Some(config) = tls else { return Self::over(runtime, stream, place) };
        let name = ServerName::try_from(host.to_owned()).map_err(|e| HttpError::Tls(e.to_string()))?;
        let stream = runtime.block_on(async {
            let shaken =
                tokio::time::timeout(patience, TlsConnector::from(config).connect(name, stream)).await;
            shaken.map_err(|_| HttpError::TimedOut(patience))?.map_err(|e| HttpError::Tls(e.to_string()))
        });
        Self::over(runtime, stream?, place)
    }

    /// Who asks.
    pub fn log_in(&mut self, user: &str, password: &str) {
        self.authorization = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    }

    fn over<S>(runtime: Runtime, stream: S, host: String) -> Result<Self, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let sender = runtime.block_on(async {
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // Whatever ends it shows in the request that is under way.
            tokio::spawn(connection);
            Ok::<_, hyper::Error>(sender)
        });
        let sender = sender.map_err(|e| HttpError::Lost(e.to_string()))?;
        Ok(Self { runtime, sender, host, authorization: None, patience: None })
    }

    /// How long a reply may take; `None` is for ever.
    pub fn wait_for(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// Sends a request, with a JSON body or none, and waits for the reply. `path` is percent-encoded already.
    pub fn request(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, HttpError> {
        self.request_with(method, path, body, &[])
    }

    /// The same with some headers more.
    pub fn request_with(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, HttpError> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let request = request.map_err(|e| HttpError::Lost(e.to_string()))?;
        let (sender, patience) = (&mut self.sender, self.patience);
        self.runtime.block_on(async {
            let reply = exchange(sender, request);
            match patience {
                Some(patience) => {
                    let in_time = tokio::time::timeout(patience, reply).await;
                    in_time.map_err(|_| HttpError::TimedOut(patience))?
                }
                None => reply.await,
            }
        })
    }
}

fn runtime() -> Result<Runtime, HttpError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HttpError::Connect)
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Reply, HttpError> {
    let lost = |e: &dyn std::fmt::Display| HttpError::Lost(e.to_string());
    sender.ready().await.map_err(|e| lost(&e))?;
    let reply = sender.send_request(request).await.map_err(|e| lost(&e))?;
    let status = reply.status().as_u16();
    let body = Limited::new(reply.into_body(), REPLY_MAX).collect().await.map_err(|e| lost(&e))?;
    Ok(Reply { status, body: body.to_bytes() })
}

async fn connect_to_socket(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= SOCKET_PATH_MAX {
        return UnixStream::connect(path).await;
    }
    // A path that is too long for the call is short when it begins at a file descriptor.
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = std::fs::File::open(folder)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{number}")).join(name)).await
}

/// A name as a part of a path.
pub fn segment(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for octet in name.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(octet.into()),
            _ => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    // A path would be shortened by these.
    match encoded.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => encoded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        for (name, encoded) in [
            ("/", "%2F"),
            ("a b", "a%20b"),
            ("ä", "%C3%A4"),
            ("..", "%2E%2E"),
            ("a.b-c_d~", "a.b-c_d~"),
            ("%", "%25"),
        ] {
            assert_eq!(segment(name), encoded);
        }
    }

    #[test]
    fn reasons_are_texts() {
        let reply = |body: &'static str| Reply { status: 400, body: Bytes::from_static(body.as_bytes()) };
        assert_eq!(reply(r#"{"error":"x","reason":"y"}"#).reason(), "y");
        assert_eq!(reply(r#"{"error":"x","reason":["y",1]}"#).reason(), r#"["y",1]"#);
        assert_eq!(reply("gone").reason(), "gone");
    }
}
