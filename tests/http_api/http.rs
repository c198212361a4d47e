//! The least of an HTTP/1.1 client: one request, one connection.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A reply. A body that is no JSON is a JSON string here, and none is null.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Value,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What to send. It is built up from [`Request::new`], as guest.
pub struct Request<'a> {
    method: &'a str,
    path: &'a str,
    authorization: Option<String>,
    headers: String,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    pub fn new(method: &'a str, path: &'a str) -> Self {
        let request = Self { method, path, authorization: None, headers: String::new(), body: Vec::new() };
        request.user("guest", "guest")
    }

    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.authorization = Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))));
        self
    }

    pub fn authorization(mut self, value: Option<&str>) -> Self {
        self.authorization = value.map(str::to_owned);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self, to: SocketAddr) -> Reply {
        self.send_over(TcpStream::connect(to).await.expect("a connection")).await
    }

    pub async fn send_over(self, mut socket: impl AsyncRead + AsyncWrite + Unpin) -> Reply {
        let authorization = self.authorization.map(|value| format!("Authorization: {value}\r\n"));
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{}{}Content-Length: {}\r\n\r\n",
            self.method,
            self.path,
            authorization.unwrap_or_default(),
            self.headers,
            self.body.len()
        );
        socket.write_all(head.as_bytes()).await.expect("a request sent");
        // The server need not take a body that it refuses.
        let _ = socket.write_all(&self.body).await;
        let mut octets = Vec::new();
        let _ = socket.read_to_end(&mut octets).await;
        read(&octets)
    }
}

fn read(octets: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(octets);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let body = match body {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    Reply { status: status.parse().expect("a number"), headers, body }
}
