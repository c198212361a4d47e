//! Topic permissions.

use serde_json::{Value, json};

use crate::broker::start;
use crate::http::Request;
use crate::{ask, error, get, get_as, not_found, put_user, status};

fn shown(user: &str, exchange: &str, write: &str, read: &str) -> Value {
    json!({ "user": user, "vhost": "/", "exchange": exchange, "write": write, "read": read })
}

fn wanted(exchange: &str, write: &str, read: &str) -> Value {
    json!({ "exchange": exchange, "write": write, "read": read })
}

#[tokio::test]
async fn given_and_taken() {
    let broker = start().await;
    put_user(&broker, "u", "").await;
    let (path, one) = ("/api/topic-permissions/%2F/u", "/api/topic-permissions/%2F/u/amq.topic");
    for (method, path) in [("GET", path), ("DELETE", path), ("GET", one), ("DELETE", one)] {
        let reply = ask(&broker, method, path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{method} {path}");
    }
    // It is new as long as the user has none in the vhost. Any exchange will do.
    for (exchange, expected) in [("amq.topic", 201), ("amq.topic", 204), ("amq.direct", 204), ("", 204)] {
        assert_eq!(status(&broker, "PUT", path, wanted(exchange, "^a", "^b")).await, expected, "{exchange}");
    }
    // The exchange in the path makes no difference.
    assert_eq!(status(&broker, "PUT", one, wanted("amq.direct", "", "{username}")).await, 204);
    let all = json!([
        shown("u", "", "^a", "^b"),
        shown("u", "amq.direct", "", "{username}"),
        shown("u", "amq.topic", "^a", "^b"),
    ]);
    for path in [
        path,
        one,
        "/api/topic-permissions",
        "/api/users/u/topic-permissions",
        "/api/vhosts/%2F/topic-permissions",
    ] {
        assert_eq!(get(&broker, path).await, all, "{path}");
    }
    assert_eq!(status(&broker, "DELETE", one, Value::Null).await, 204);
    assert_eq!(status(&broker, "DELETE", one, Value::Null).await, 204, "there are others");
    assert_eq!(get(&broker, path).await.as_array().map(Vec::len), Some(2));
    assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 204);
    assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 404);
    for path in ["/api/users/u/topic-permissions", "/api/vhosts/%2F/topic-permissions"] {
        assert_eq!(get(&broker, path).await, json!([]), "{path}");
    }
}

#[tokio::test]
async fn gone_with_what_they_are_for() {
    let broker = start().await;
    put_user(&broker, "u", "").await;
    let put = |vhost: &str| {
        let path = format!("/api/topic-permissions/{vhost}/u");
        let broker = &broker;
        async move { status(broker, "PUT", &path, wanted("amq.topic", "a", "b")).await }
    };
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    assert_eq!(put("v").await, 201);
    assert_eq!(put("%2F").await, 201);
    assert_eq!(status(&broker, "DELETE", "/api/vhosts/v", Value::Null).await, 204);
    assert_eq!(get(&broker, "/api/topic-permissions").await, json!([shown("u", "amq.topic", "a", "b")]));
    assert_eq!(status(&broker, "DELETE", "/api/users/u", Value::Null).await, 204);
    put_user(&broker, "u", "").await;
    assert_eq!(get(&broker, "/api/topic-permissions").await, json!([]));
}

#[tokio::test]
async fn what_is_refused() {
    let broker = start().await;
    put_user(&broker, "u", "monitoring").await;
    let path = "/api/topic-permissions/%2F/u";
    for (path, body, reason) in [
        (path, "", json!("[{key_missing,exchange},{key_missing,write},{key_missing,read}]")),
        (path, r#"{"exchange": "x", "write": "a"}"#, json!("[{key_missing,read}]")),
        (path, "{bad", json!("not_json")),
        (path, r#"{"exchange": "x", "write": "", "read": ""}"#, json!(["no_such_exchange", "x"])),
        (path, r#"{"exchange": 5, "write": "", "read": ""}"#, json!(["no_such_exchange", 5])),
        ("/api/topic-permissions/nosuch/u", "{}", json!("vhost_or_user_not_found")),
        ("/api/topic-permissions/%2F/who", "{}", json!("vhost_or_user_not_found")),
    ] {
        let reply = Request::new("PUT", path).body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{path} {body}");
    }
    assert_eq!(status(&broker, "PUT", path, wanted("amq.topic", "(", "")).await, 400);
    for path in [
        "/api/topic-permissions/nosuch/u",
        "/api/topic-permissions/%2F/who",
        "/api/users/who/topic-permissions",
        "/api/vhosts/nosuch/topic-permissions",
    ] {
        let reply = ask(&broker, "GET", path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{path}");
    }
    let refused = (401, error("not_authorised", "Not administrator user"));
    for path in [
        "/api/topic-permissions",
        path,
        "/api/users/u/topic-permissions",
        "/api/vhosts/%2F/topic-permissions",
    ] {
        assert_eq!(get_as(&broker, "u", path).await, refused, "{path}");
    }
}
