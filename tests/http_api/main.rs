//! The management HTTP API. What is expected has been recorded from RabbitMQ 4.3.6, but where it says otherwise.

#![allow(clippy::expect_used)]

mod amqp;
mod bindings;
mod broker;
#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod connections;
mod control;
mod creators;
mod definitions;
mod exchanges;
mod getting;
mod health;
mod http;
mod limits;
mod listing;
mod messages;
mod metrics;
mod nodes;
mod openapi;
mod pages;
mod people;
mod quorum;
mod policies;
mod queues;
mod refusing;
mod reset;
mod restart;
mod serving;
mod stats;
mod stream;
mod streams;
mod topics;
mod vhosts;

use std::time::Duration;

use amqp::Client;
use broker::{Broker, start};
use http::{Reply, Request};
use serde_json::{Value, json};
use tokio::time::timeout;

/// As guest, with a JSON body or none.
async fn ask(broker: &Broker, method: &str, path: &str, body: Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::new(method, path).header("Content-Type", "application/json");
    request.body(body).send(broker.http).await
}

async fn status(broker: &Broker, method: &str, path: &str, body: Value) -> u16 {
    ask(broker, method, path, body).await.status
}

async fn get(broker: &Broker, path: &str) -> Value {
    let reply = ask(broker, "GET", path, Value::Null).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.body
}

/// As another user, whose password is `pw`.
async fn get_as(broker: &Broker, user: &str, path: &str) -> (u16, Value) {
    let reply = Request::new("GET", path).user(user, "pw").send(broker.http).await;
    (reply.status, reply.body)
}

async fn put_user(broker: &Broker, name: &str, tags: &str) {
    let body = json!({ "password": "pw", "tags": tags });
    assert_eq!(status(broker, "PUT", &format!("/api/users/{name}"), body).await, 201);
}

async fn permit(broker: &Broker, vhost: &str, user: &str, configure: &str) {
    let body = json!({ "configure": configure, "write": "", "read": "" });
    assert_eq!(status(broker, "PUT", &format!("/api/permissions/{vhost}/{user}"), body).await, 201);
}

/// An object as it is in a list, where RabbitMQ leaves out what is null and what only one alone has.
fn is_listed_as(alone: &Value, listed: &Value) -> bool {
    let fields = listed.as_object().into_iter().flatten();
    let same = |name: &str, value: &Value| alone[name] == *value || (value.is_null() && alone[name] == "");
    listed["name"] == alone["name"] && fields.into_iter().all(|(name, value)| same(name, value))
}

fn error(error: &str, reason: impl Into<Value>) -> Value {
    json!({ "error": error, "reason": reason.into() })
}

fn not_found() -> Value {
    error("Object Not Found", "Not Found")
}

#[tokio::test]
async fn logging_in() {
    let broker = start().await;
    let whoami = || Request::new("GET", "/api/whoami");
    let reply = whoami().send(broker.http).await;
    let guest = json!({ "name": "guest", "tags": ["administrator"], "is_internal_user": true });
    assert_eq!((reply.status, &reply.body), (200, &guest));
    assert_eq!(reply.header("allow"), Some("HEAD, GET, OPTIONS"));
    assert_eq!(reply.header("content-type"), Some("application/json"));

    let reply = whoami().authorization(None).send(broker.http).await;
    assert_eq!((reply.status, &reply.body), (401, &Value::Null));
    assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"RabbitMQ Management\""));
    for (user, password) in [("guest", "bad"), ("guest", ""), ("nosuch", "x")] {
        let reply = whoami().user(user, password).send(broker.http).await;
        assert_eq!((reply.status, &reply.body), (401, &error("not_authorized", "Not_Authorized")));
        assert_eq!(reply.header("www-authenticate"), None);
    }
    for wrong in ["Basic", "Basic !!!", "Digest x"] {
        assert_eq!(whoami().authorization(Some(wrong)).send(broker.http).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn paths_and_methods() {
    let broker = start().await;
    let reply = ask(&broker, "GET", "/api/nosuch", Value::Null).await;
    assert_eq!((reply.status, reply.body), (404, not_found()));
    for (method, path, allow) in [
        ("POST", "/api/nosuch", "HEAD, GET, OPTIONS"),
        ("POST", "/api/whoami", "HEAD, GET, OPTIONS"),
        ("PATCH", "/api/vhosts/x", "HEAD, GET, PUT, DELETE, OPTIONS"),
        ("PUT", "/api/vhosts/", "HEAD, GET, OPTIONS"),
        ("GET", "/api/users/bulk-delete", "POST, OPTIONS"),
        ("HEAD", "/api/queues/%2F/q/contents", "DELETE, OPTIONS"),
    ] {
        // Nobody needs to log in for that.
        let reply = Request::new(method, path).authorization(None).send(broker.http).await;
        assert_eq!((reply.status, &reply.body), (405, &Value::Null), "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    let options = Request::new("OPTIONS", "/api/vhosts/x").authorization(None).send(broker.http).await;
    assert_eq!((options.status, options.header("allow")), (200, Some("HEAD, GET, PUT, DELETE, OPTIONS")));
    let head = ask(&broker, "HEAD", "/api/whoami", Value::Null).await;
    assert_eq!((head.status, &head.body, head.header("content-length")), (200, &Value::Null, Some("65")));
    assert_eq!(get(&broker, "/api/vhosts/?x=1").await[0]["name"], "/");
    assert_eq!(status(&broker, "GET", "/api/vhosts/%ff", Value::Null).await, 404);
}

#[tokio::test]
async fn who_may_do_what() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    let tags = ["", "management", "policymaker", "monitoring", "administrator", "impersonator"];
    for tag in tags {
        put_user(&broker, &format!("u{tag}"), tag).await;
    }
    let not_management = (401, error("not_authorised", "Not management user"));
    for user in ["u", "uimpersonator"] {
        for path in ["/api/whoami", "/api/vhosts", "/api/queues/v/q", "/api/users", "/api/connections/x"] {
            assert_eq!(get_as(&broker, user, path).await, not_management, "{user} {path}");
        }
    }
    let not_administrator = (401, error("not_authorised", "Not administrator user"));
    let out_of_reach = (404, error("not_found", "Not Found"));
    for user in ["umanagement", "upolicymaker", "umonitoring"] {
        for path in ["/api/vhosts/v", "/api/vhosts/v/permissions", "/api/users", "/api/permissions/v/guest"] {
            assert_eq!(get_as(&broker, user, path).await, not_administrator, "{user} {path}");
        }
        for path in ["/api/queues/v", "/api/queues/v/q", "/api/exchanges/v/amq.direct"] {
            assert_eq!(get_as(&broker, user, path).await, out_of_reach, "{user} {path}");
        }
        assert_eq!(get_as(&broker, user, "/api/queues").await, (200, json!([])));
        assert_eq!(get_as(&broker, user, "/api/queues/missing/q").await, (404, not_found()));
        assert_eq!(get_as(&broker, user, "/api/cluster-name").await.0, 200);
    }
    assert_eq!(get_as(&broker, "umanagement", "/api/vhosts").await, (200, json!([])));
    assert_eq!(get_as(&broker, "umonitoring", "/api/vhosts").await.1.as_array().map(Vec::len), Some(2));
    let other = (401, error("not_authorised", "User not authorised to access object"));
    assert_eq!(get_as(&broker, "umanagement", "/api/connections/username/guest").await, other);
    assert_eq!(get_as(&broker, "umonitoring", "/api/connections/username/guest").await, (200, json!([])));
    assert_eq!(get_as(&broker, "uadministrator", "/api/queues/v").await, (200, json!([])));
    assert_eq!(get_as(&broker, "uadministrator", "/api/queues/v/q").await, (404, not_found()));
}

#[tokio::test]
async fn overview() {
    let broker = start().await;
    let _client = Client::open(broker.amqp, "guest", "guest", "/").await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", Value::Null).await, 201);
    let overview = get(&broker, "/api/overview").await;
    for key in ["rabbitmq_version", "management_version", "product_version"] {
        assert_eq!(overview[key], "4.3.6", "{key}");
    }
    assert_eq!(overview["product_name"], "RabbitMQ");
    assert_eq!(overview["node"], "rabbit@localhost");
    let totals = json!({ "channels": 0, "connections": 1, "consumers": 0, "exchanges": 8, "queues": 1 });
    assert_eq!(overview["object_totals"], totals);
    put_user(&broker, "m", "management").await;
    let (_, less) = get_as(&broker, "m", "/api/overview").await;
    assert_eq!((&less["object_totals"]["queues"], less.get("node")), (&json!(0), None));
    assert_eq!(get(&broker, "/api/version").await, "4.3.6");
    assert_eq!(get(&broker, "/api/cluster-name").await, json!({ "name": "rabbit@localhost" }));
}

#[tokio::test]
async fn the_api_ends_with_the_node() {
    let broker = start().await;
    let mut idle = tokio::net::TcpStream::connect(broker.http).await.expect("a connection");
    assert_eq!(status(&broker, "GET", "/api/whoami", Value::Null).await, 200);
    broker.node.shut_down();
    timeout(Duration::from_secs(5), broker.serving).await.expect("an end in time").expect("no panic");
    let mut octets = [0];
    let read = tokio::io::AsyncReadExt::read(&mut idle, &mut octets).await;
    assert!(matches!(read, Ok(0) | Err(_)), "idle connections end");
}
