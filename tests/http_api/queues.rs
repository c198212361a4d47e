//! Queues and exchanges.

use serde_json::{Value, json};

use crate::broker::start;
use crate::http::Request;
use crate::{ask, error, get, is_listed_as, not_found, permit, put_user, status};

#[tokio::test]
async fn queues() {
    let broker = start().await;
    let path = "/api/queues/%2F/%2F%20q";
    assert_eq!(status(&broker, "GET", path, Value::Null).await, 404);
    let body = json!({ "durable": "true", "arguments": { "x-max-length": 5 } });
    assert_eq!(status(&broker, "PUT", path, body.clone()).await, 201);
    assert_eq!(status(&broker, "PUT", path, body).await, 204);
    let queue = get(&broker, path).await;
    for (key, expected) in [
        ("name", json!("/ q")),
        ("vhost", json!("/")),
        ("type", json!("classic")),
        ("state", json!("running")),
        ("durable", json!(true)),
        ("auto_delete", json!(false)),
        ("exclusive", json!(false)),
        ("arguments", json!({ "x-max-length": 5, "x-queue-type": "classic" })),
        ("messages", json!(0)),
        ("consumers", json!(0)),
    ] {
        assert_eq!(queue[key], expected, "{key}");
    }
    for list in ["/api/queues", "/api/queues/%2F", "/api/queues/detailed"] {
        let found = get(&broker, list).await;
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{list}");
        assert!(is_listed_as(&queue, &found[0]), "{list}: {found}");
    }
    assert_eq!(status(&broker, "DELETE", &format!("{path}/contents"), Value::Null).await, 204);
    let conditions = format!("{path}?if-empty=true&if-unused=true");
    assert_eq!(status(&broker, "DELETE", &conditions, Value::Null).await, 204);
    for path in [path, "/api/queues/%2F/q/contents", "/api/queues/missing/q"] {
        let reply = ask(&broker, "DELETE", path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{path}");
    }
}

#[tokio::test]
async fn queues_refused() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/c", Value::Null).await, 201);
    let quorum = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/quo", quorum).await, 201);
    for (method, path, body, reason) in [
        (
            "PUT",
            "c",
            json!({ "durable": true }),
            "inequivalent arg 'durable' for queue 'c' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            "PUT",
            "t",
            json!({ "arguments": { "x-message-ttl": "a" } }),
            "invalid arg 'x-message-ttl' for queue 't' in vhost '/': \"expected integer, got longstr\"",
        ),
        ("PUT", "n", json!({ "arguments": { "a": null } }), "null_not_allowed"),
        ("PUT", "n", json!({ "node": "nosuch@x" }), "Node nosuch@x is not a cluster member"),
        ("PUT", &"x".repeat(256), json!({}), "queue should be less than 255 bytes, actually was 256\n"),
        (
            "DELETE",
            "quo?if-empty=true",
            Value::Null,
            "cannot delete queue 'quo' in vhost '/'. queue.delete operations with if-empty flag set are not \
             supported by quorum queues",
        ),
    ] {
        let reply = ask(&broker, method, &format!("/api/queues/%2F/{path}"), body).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{method} {path}");
    }
    let reply = ask(&broker, "PUT", "/api/queues/%2F/b", json!({ "durable": "x" })).await;
    assert_eq!((reply.status, reply.body), (400, error("bad_request", json!(["not_boolean", "x"]))));
    let reply = ask(&broker, "PUT", "/api/queues/missing/q", json!({})).await;
    assert_eq!((reply.status, reply.body), (404, error("not_found", "vhost_not_found")));
}

#[tokio::test]
async fn queues_need_permissions() {
    let broker = start().await;
    put_user(&broker, "m", "management").await;
    permit(&broker, "%2F", "m", "^ok").await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/b", Value::Null).await, 201);
    let refused = error("not_authorised", "Access refused.");
    for (method, path, body, expected) in [
        ("PUT", "no", "{}", 401),
        ("PUT", "amq.x", "{}", 401),
        ("PUT", "okdlx", r#"{"arguments": {"x-dead-letter-exchange": "x"}}"#, 401),
        ("PUT", "ok", "{}", 201),
        ("DELETE", "ok/contents", "", 401),
        ("DELETE", "b", "", 401),
        ("DELETE", "missing", "", 404),
        ("DELETE", "ok", "", 204),
    ] {
        let path = format!("/api/queues/%2F/{path}");
        let reply = Request::new(method, &path).user("m", "pw").body(body).send(broker.http).await;
        assert_eq!(reply.status, expected, "{method} {path}");
        assert!(expected != 401 || reply.body == refused, "{method} {path}: {reply:?}");
    }
}

#[tokio::test]
async fn exchanges() {
    let broker = start().await;
    let expected = json!({
        "name": "amq.topic",
        "vhost": "/",
        "type": "topic",
        "durable": true,
        "auto_delete": false,
        "internal": false,
        "arguments": {},
        "user_who_performed_action": "rmq-internal",
        "incoming": [],
        "outgoing": [],
    });
    assert_eq!(get(&broker, "/api/exchanges/%2F/amq.topic").await, expected);
    let all = get(&broker, "/api/exchanges/%2F").await;
    assert_eq!((all.as_array().map(Vec::len), &all[0]["name"]), (Some(8), &json!("")));
    assert_eq!(get(&broker, "/api/exchanges").await, all);
    assert_eq!(status(&broker, "GET", "/api/exchanges/%2F/missing", Value::Null).await, 404);
}
