//! How the API is served: prefixes, origins, headers, sizes, sockets.

use std::sync::Arc;
use std::time::Duration;

use leveret::http::settings::HttpSettings;
use leveret::http::{HttpListener, serve};
use leveret::node::Node;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use crate::broker::{Broker, start};
use crate::certificates;
use crate::http::{Reply, Request};
use crate::{error, get, not_found};

async fn with(settings: HttpSettings) -> Broker {
    Broker::with(Arc::new(Node::new().expect("a node")), settings).await
}

fn origins(origins: &[&str]) -> HttpSettings {
    let cors_origins = origins.iter().map(ToString::to_string).collect();
    HttpSettings { cors_origins, ..HttpSettings::default() }
}

async fn from_origin(broker: &Broker, method: &str, origin: &str, asked: Option<&str>) -> Reply {
    let request = Request::new(method, "/api/whoami").header("Origin", origin);
    let request = match asked {
        Some(headers) => request.header("Access-Control-Request-Headers", headers),
        None => request,
    };
    request.send(broker.http).await
}

fn cors(reply: &Reply) -> [Option<&str>; 5] {
    ["origin", "credentials", "max-age-", "headers", "methods"].map(|name| match name {
        "max-age-" => reply.header("access-control-max-age"),
        name => reply.header(&format!("access-control-allow-{name}")),
    })
}

/// A form on a page of somebody else's needs no leave of ours to be sent, and browsers send the password that they know.
#[tokio::test]
async fn forms_of_pages_from_elsewhere_change_nothing() {
    let broker = with(origins(&["https://a.example"])).await;
    let put = |site: &'static str, origin: &'static str| {
        let request = Request::new("PUT", "/api/vhosts/v").header("Origin", origin);
        request.header("Sec-Fetch-Site", site).send(broker.http)
    };
    for site in ["cross-site", "same-site"] {
        let reply = put(site, "https://evil.example").await;
        assert_eq!((reply.status, &reply.body["error"]), (403, &"forbidden".into()), "{site}");
    }
    let read = Request::new("GET", "/api/vhosts/v").header("Sec-Fetch-Site", "cross-site");
    assert_eq!(read.send(broker.http).await.status, 404, "nothing was made");
    assert_eq!(put("cross-site", "https://a.example").await.status, 201);
    assert_eq!(put("same-origin", "http://localhost").await.status, 204);
}

#[tokio::test]
async fn pages_from_elsewhere() {
    let broker = with(origins(&["https://a.example", "http://b.example:1"])).await;
    for origin in ["https://a.example", "http://b.example:1"] {
        let reply = from_origin(&broker, "GET", origin, None).await;
        assert_eq!(cors(&reply), [Some(origin), Some("true"), None, None, None]);
        assert_eq!(reply.header("vary"), Some("accept, accept-encoding, origin"));
        let reply = from_origin(&broker, "OPTIONS", origin, Some("authorization")).await;
        let allowed = Some("HEAD, GET, OPTIONS");
        assert_eq!(reply.status, 200);
        assert_eq!(cors(&reply), [Some(origin), Some("true"), Some("1800"), Some("authorization"), allowed]);
    }
    for origin in ["https://A.example", "https://a.example.evil", "null", "*"] {
        let reply = from_origin(&broker, "OPTIONS", origin, None).await;
        assert_eq!((reply.status, cors(&reply)), (200, [None; 5]), "{origin}");
    }
    let broker = with(HttpSettings { cors_max_age: 7, ..origins(&["*"]) }).await;
    let reply = from_origin(&broker, "OPTIONS", "https://any", None).await;
    assert_eq!(cors(&reply), [Some("*"), None, Some("7"), None, Some("HEAD, GET, OPTIONS")]);
    let reply = from_origin(&start().await, "OPTIONS", "https://any", None).await;
    assert_eq!(cors(&reply), [None; 5], "nobody by default");
}

#[tokio::test]
async fn a_prefix() {
    let broker = with(HttpSettings { path_prefix: "/mq/x".to_owned(), ..HttpSettings::default() }).await;
    assert_eq!(get(&broker, "/mq/x/api/whoami/").await["name"], "guest");
    for outside in ["/api/whoami", "/mq/api/whoami", "/mq/xapi/whoami"] {
        let reply = Request::new("GET", outside).send(broker.http).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{outside}");
    }
    let reply = Request::new("GET", "/").send(broker.http).await;
    assert_eq!((reply.status, reply.header("location")), (301, Some("/mq/x/")));
}

#[tokio::test]
async fn headers() {
    let names = [
        "content-security-policy",
        "strict-transport-security",
        "x-content-type-options",
        "x-xss-protection",
        "x-frame-options",
        "referrer-policy",
    ];
    let of = |reply: &Reply| names.map(|name| reply.header(name).map(str::to_owned));
    let whoami = || Request::new("GET", "/api/whoami");
    let reply = whoami().send(start().await.http).await;
    let csp = Some("script-src 'self'; object-src 'self'".to_owned());
    assert_eq!(of(&reply), [csp, None, None, None, None, None]);
    assert_eq!(reply.header("cache-control"), Some("no-cache"));

    let value = |text: &'static str| Some(text.parse().expect("a header's value"));
    let broker = with(HttpSettings {
        csp: None,
        hsts: value("max-age=1"),
        content_type_options: value("nosniff"),
        xss_protection: value("1"),
        frame_options: value("DENY"),
        referrer_policy: value("no-referrer"),
        hide_allow: true,
        ..HttpSettings::default()
    })
    .await;
    let expected = ["max-age=1", "nosniff", "1", "DENY", "no-referrer"].map(|text| Some(text.to_owned()));
    let reply = whoami().send(broker.http).await;
    assert_eq!((&of(&reply)[0], &of(&reply)[1..]), (&None, &expected[..]));
    assert_eq!(reply.header("allow"), None);
    let reply = whoami().authorization(None).send(broker.http).await;
    assert_eq!((reply.status, &of(&reply)[1..]), (401, &expected[..]), "refusals have them as well");
    let reply = Request::new("POST", "/api/whoami").send(broker.http).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("HEAD, GET, OPTIONS")));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=0, must-revalidate"));
}

#[tokio::test]
async fn large_bodies() {
    let broker = with(HttpSettings { body_max: 100, ..HttpSettings::default() }).await;
    let put = async |size: usize| {
        let body = json!({ "description": "x".repeat(size) }).to_string();
        let reply = Request::new("PUT", "/api/vhosts/v").body(body).send(broker.http).await;
        (reply.status, reply.body)
    };
    let refused = error("bad_request", "Exceeded HTTP request body size limit");
    assert_eq!(put(100).await, (400, refused));
    assert_eq!(put(50).await, (201, Value::Null));
}

#[tokio::test]
async fn over_tls() {
    let broker = start().await;
    let (tls, authority, _folder) = certificates::server();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let in_use = Arc::clone(&tls);
    broker.node.listeners.add_certified("https", address, move || in_use.certificates());
    let listener = HttpListener::Tls(listener, tls);
    tokio::spawn(serve(listener, Arc::clone(&broker.node), Arc::default()));

    // Whoever speaks no TLS is dropped, and whoever says nothing holds up nobody.
    let _silent = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let client = authority.trusted(None, &[&rustls::version::TLS13, &rustls::version::TLS12]);
    let near = certificates::tunnel(address, client, Vec::new()).await;
    let reply = Request::new("GET", "/api/whoami").send(near).await;
    assert_eq!((reply.status, &reply.body["name"]), (200, &json!("guest")));
    let check = get(&broker, "/api/health/checks/protocol-listener/https").await;
    assert_eq!(check["status"], "ok");
    assert_eq!(get(&broker, "/api/health/checks/certificate-expiration/1/years").await["status"], "ok");
    let path = "/api/health/checks/certificate-expiration/100/years";
    let expired = Request::new("GET", path).send(broker.http).await;
    assert_eq!(
        (expired.status, &expired.body["expired"][0]["certfile_expires_on"]),
        (503, &json!(["2099-12-31 0:00:00"]))
    );
    let context = &get(&broker, "/api/nodes").await[0]["contexts"][1];
    assert_eq!((&context["port"], &context["ssl"]), (&json!(address.port().to_string()), &json!(true)));
}

#[tokio::test]
async fn over_a_socket_of_the_machine() {
    let broker = start().await;
    let folder = certificates::Folder::new();
    let path = folder.0.join("http.sock");
    let listener = HttpListener::Unix(UnixListener::bind(&path).expect("a socket"));
    tokio::spawn(serve(listener, Arc::clone(&broker.node), Arc::default()));
    let connect = async || UnixStream::connect(&path).await.expect("a connection");
    // Guest may come from this machine alone; a password is needed all the same.
    let reply = Request::new("GET", "/api/whoami").send_over(connect().await).await;
    assert_eq!((reply.status, &reply.body["name"]), (200, &json!("guest")));
    let reply = Request::new("GET", "/api/whoami").authorization(None).send_over(connect().await).await;
    assert_eq!(reply.status, 401);
}

/// Sends this and nothing more, and reads until the connection ends.
async fn all_of(mut socket: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut octets = Vec::new();
    let ended = timeout(Duration::from_secs(20), socket.read_to_end(&mut octets)).await;
    // It may be cut off.
    let _ = ended.expect("the connection ends");
    String::from_utf8_lossy(&octets).into_owned()
}

#[tokio::test]
async fn strangers_cannot_keep_a_place_with_a_body_that_does_not_come() {
    let idle = Duration::from_millis(300);
    let broker = with(HttpSettings { connections_max: 1, idle, ..HttpSettings::default() }).await;
    let begins =
        |size: usize| format!("POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\nu");
    let connect = async || TcpStream::connect(broker.http).await.expect("a connection");
    let reply = all_of(connect().await, &begins(9000)).await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    // The only place is free again; and more than a form has is not even waited for.
    let reply = Request::new("POST", "/api/login").body("u".repeat(20_000)).send(broker.http).await;
    let refused = error("bad_request", "Exceeded HTTP request body size limit");
    assert_eq!((reply.status, reply.body), (400, refused));
    assert_eq!(get(&broker, "/api/whoami").await["name"], "guest");
}

#[tokio::test]
async fn replies_that_nobody_reads_are_given_up() {
    let broker = start().await;
    let folder = certificates::Folder::new();
    let path = folder.0.join("http.sock");
    let listener = HttpListener::Unix(UnixListener::bind(&path).expect("a socket"));
    let idle = Duration::from_millis(300);
    let settings = HttpSettings { idle, ..HttpSettings::default() };
    tokio::spawn(serve(listener, Arc::clone(&broker.node), Arc::new(settings)));
    let size = Request::new("GET", "/api/openapi.json").send(broker.http).await.body.to_string().len();
    let mut socket = UnixStream::connect(&path).await.expect("a connection");
    let asked = "GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    socket.write_all(asked.as_bytes()).await.expect("sent");
    sleep(idle * 4).await;
    let received = all_of(socket, "").await.len();
    assert!(received < 20 * size, "{received} of 20 times {size} octets have waited");
}
