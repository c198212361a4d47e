//! The control socket: whoever may open it needs no password, and is told more.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::Method;
use leveret::cli::http::Client;
use leveret::http::HttpListener;
use leveret::http::settings::HttpSettings;
use leveret::http::socket::ControlSocket;
use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::http::Request;
use crate::{get, not_found};

/// A control socket in a folder of its own.
struct Control {
    folder: PathBuf,
    socket: ControlSocket,
}

impl Control {
    fn of(broker: &Broker, name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("leveret-control-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (socket, listener) = ControlSocket::open(&folder).expect("a socket");
        let settings =
            HttpSettings { path_prefix: "/outside".to_owned(), body_max: 100, ..HttpSettings::default() };
        let (listener, node) = (HttpListener::Control(listener), Arc::clone(&broker.node));
        tokio::spawn(leveret::http::serve(listener, node, Arc::new(settings)));
        Self { folder, socket }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let (socket, path) = (self.socket.path().to_owned(), path.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let mut client = Client::over_socket(&socket, true).expect("a connection");
            let body = Some(&body).filter(|body| !body.is_null());
            let reply = client.request(method, &path, body).expect("a reply");
            (reply.status, reply.json())
        });
        asked.await.expect("a reply")
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_opens_the_socket_may_do_everything() {
    let broker = start().await;
    let control = Control::of(&broker, "trusted");
    let (status, whoami) = control.ask(Method::GET, "/api/whoami", Value::Null).await;
    assert_eq!(
        (status, &whoami["name"], &whoami["tags"]),
        (200, &json!("rmq-cli"), &json!(["administrator"]))
    );
    let (status, _) = control.ask(Method::PUT, "/api/vhosts/v", Value::Null).await;
    assert_eq!(status, 201);
    // Without permissions of their own.
    let (status, _) = control.ask(Method::PUT, "/api/queues/v/q", json!({ "durable": true })).await;
    assert_eq!(status, 201);
    let (status, _) = control.ask(Method::DELETE, "/api/queues/v/q/contents", Value::Null).await;
    assert_eq!(status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_socket_has_what_concerns_the_process() {
    let broker = start().await;
    let control = Control::of(&broker, "process");
    let (status, about) = control.ask(Method::GET, "/ctl/status", Value::Null).await;
    assert_eq!((status, &about["pid"], &about["doors"]), (200, &std::process::id().into(), &json!("open")));
    let outside = Request::new("GET", "/ctl/status").send(broker.http).await;
    assert_eq!((outside.status, outside.body), (404, not_found()));

    let (status, _) = control.ask(Method::PUT, "/ctl/alarms/memory", Value::Null).await;
    assert_eq!((status, broker.node.alarms.in_effect().reason()), (204, "low on memory".to_owned()));
    let (status, _) = control.ask(Method::DELETE, "/ctl/alarms/memory", Value::Null).await;
    assert_eq!((status, broker.node.alarms.any()), (204, false));
    let (status, _) = control.ask(Method::PUT, "/ctl/alarms/patience", Value::Null).await;
    assert_eq!(status, 404);

    let right = json!({ "name": "guest", "password": "guest" });
    let (_, right) = control.ask(Method::POST, "/ctl/authenticate", right).await;
    assert_eq!(right["ok"], true);
    let wrong = json!({ "name": "guest", "password": "x" });
    let (_, wrong) = control.ask(Method::POST, "/ctl/authenticate", wrong).await;
    assert_eq!(wrong["ok"], false);
    assert_eq!(get(&broker, "/api/whoami").await["name"], "guest");
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_any_size_come_back_over_the_socket() {
    let broker = start().await;
    let control = Control::of(&broker, "large");
    // More than the API outside takes.
    let users: Vec<_> = (0..100).map(|n| json!({ "name": format!("user-{n}"), "tags": "" })).collect();
    assert_eq!(control.ask(Method::POST, "/api/definitions", json!({ "users": users })).await.0, 204);
    assert_eq!(get(&broker, "/api/users").await.as_array().map(Vec::len), Some(101));
}
