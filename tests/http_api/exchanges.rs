//! Exchanges: declared, deleted, published to.

use amq_protocol::protocol::{AMQPClass, queue};
use amq_protocol::types::FieldTable;
use serde_json::{Value, json};

use crate::amqp::Client;
use crate::broker::{Broker, start};
use crate::http::{Reply, Request};
use crate::{ask, error, get, not_found, permit, put_user, status};

#[tokio::test]
async fn declared_and_deleted() {
    let broker = start().await;
    let path = "/api/exchanges/%2F/x";
    let body = json!({ "type": "topic", "durable": "true", "auto_delete": true, "arguments": { "a": 1 } });
    assert_eq!(status(&broker, "PUT", path, body.clone()).await, 201);
    assert_eq!(status(&broker, "PUT", path, body).await, 204);
    let exchange = get(&broker, path).await;
    for (key, expected) in [
        ("type", json!("topic")),
        ("durable", json!(true)),
        ("auto_delete", json!(true)),
        ("internal", json!(false)),
        ("arguments", json!({ "a": 1 })),
    ] {
        assert_eq!(exchange[key], expected, "{key}");
    }
    assert_eq!(status(&broker, "PUT", "/api/exchanges/%2F/a%0d%0ab", json!({ "internal": true })).await, 201);
    assert_eq!(get(&broker, "/api/exchanges/%2F/ab").await["internal"], true);
    assert_eq!(get(&broker, "/api/exchanges/%2F/ab").await["type"], "direct");
    assert_eq!(get(&broker, "/api/exchanges/%2F/amq.default").await["name"], "");
    let ends = "/api/bindings/%2F/e/x/e/amq.topic";
    assert_eq!(status(&broker, "POST", ends, Value::Null).await, 201);
    let reply = ask(&broker, "DELETE", &format!("{path}?if-unused=true"), Value::Null).await;
    assert_eq!((reply.status, reply.body), (400, error("bad_request", "exchange 'x' in vhost '/' in use")));
    assert_eq!(status(&broker, "DELETE", &format!("{path}?if-unused=no"), Value::Null).await, 204);
    let reply = ask(&broker, "DELETE", path, Value::Null).await;
    assert_eq!((reply.status, reply.body), (404, not_found()));
}

#[tokio::test]
async fn refused() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/exchanges/%2F/x", json!({ "type": "topic" })).await, 201);
    let access = || (401, error("not_authorised", "Access refused."));
    let bad = |reason: &str| (400, error("bad_request", reason));
    for (path, body, expected) in [
        (
            "%2F/x",
            json!({}),
            bad(
                "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'direct' but current is 'topic'",
            ),
        ),
        ("%2F/y", json!({ "type": "nosuch" }), bad("unknown exchange type 'nosuch'")),
        ("%2F/y", json!({ "type": null }), bad("invalid exchange type 'null'")),
        (
            "%2F/y",
            json!({ "arguments": { "alternate-exchange": 5 } }),
            bad("invalid type 'long' for arg 'alternate-exchange' in exchange 'y' in vhost '/'"),
        ),
        ("%2F/y", json!({ "arguments": "x" }), bad("arguments must be an object")),
        ("%2F/amq.y", json!({}), access()),
        ("%2F/amq.default", json!({ "durable": true }), access()),
        ("no/y", json!({}), (404, error("not_found", "vhost_not_found"))),
    ] {
        let reply = ask(&broker, "PUT", &format!("/api/exchanges/{path}"), body.clone()).await;
        assert_eq!((reply.status, reply.body), expected, "{path} {body}");
    }
    for name in ["amq.default", "amq.direct"] {
        let reply = ask(&broker, "DELETE", &format!("/api/exchanges/%2F/{name}"), Value::Null).await;
        assert_eq!((reply.status, reply.body), access(), "{name}");
    }
    let reply = ask(&broker, "PUT", "/api/exchanges/%2F/amq.direct", json!({ "durable": true })).await;
    assert_eq!(reply.status, 204, "the same as it is");
    assert_eq!(get(&broker, "/api/exchanges/%2F").await.as_array().map(Vec::len), Some(9));
}

#[tokio::test]
async fn alternate_exchanges_need_permissions() {
    let broker = start().await;
    put_user(&broker, "m", "management").await;
    permit(&broker, "%2F", "m", "^ok").await;
    let body = json!({ "configure": "^ok", "write": "^to", "read": "^ok1" });
    assert_eq!(status(&broker, "PUT", "/api/permissions/%2F/m", body).await, 204);
    for (name, alternate, expected) in
        [("ok1", "to", 201), ("ok2", "to", 401), ("ok1b", "no", 401), ("no", "to", 401)]
    {
        let body = json!({ "arguments": { "alternate-exchange": alternate } }).to_string();
        let path = format!("/api/exchanges/%2F/{name}");
        let reply = Request::new("PUT", &path).user("m", "pw").body(body).send(broker.http).await;
        assert_eq!(reply.status, expected, "{name} {alternate}");
    }
    let reply = Request::new("DELETE", "/api/exchanges/%2F/amq.topic").user("m", "pw");
    assert_eq!(reply.send(broker.http).await.status, 401);
}

/// A message to the queue `q`, with other fields where they are given; one that is null is left out.
async fn publish(broker: &Broker, path: &str, other: Value) -> Reply {
    let mut body =
        json!({ "routing_key": "q", "payload": "hi", "payload_encoding": "string", "properties": {} });
    for (key, value) in other.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let fields = body.as_object_mut().expect("an object");
    fields.retain(|_, value| *value != json!("LEFT OUT"));
    ask(broker, "POST", path, body).await
}

const DEFAULT: &str = "/api/exchanges/%2F/amq.default/publish";

#[tokio::test]
async fn publishing() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    let full = json!({ "arguments": { "x-max-length": 1, "x-overflow": "reject-publish" } });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/full", full).await, 201);
    for (path, other, routed) in [
        (DEFAULT, json!({}), true),
        ("/api/exchanges/%2F//publish", json!({}), true),
        (DEFAULT, json!({ "properties": [] }), true),
        (DEFAULT, json!({ "properties": { "user_id": "guest", "expiration": "60000" } }), true),
        (DEFAULT, json!({ "payload": "aGVs\nbG8=", "payload_encoding": "base64" }), true),
        (DEFAULT, json!({ "routing_key": "nosuch" }), false),
        (DEFAULT, json!({ "routing_key": "no", "properties": { "headers": { "CC": ["q"] } } }), true),
        (DEFAULT, json!({ "routing_key": "full" }), true),
        ("/api/exchanges/%2F/amq.direct/publish", json!({}), false),
    ] {
        let reply = publish(&broker, path, other.clone()).await;
        assert_eq!((reply.status, reply.body), (200, json!({ "routed": routed })), "{path} {other}");
    }
    assert_eq!(get(&broker, "/api/queues/%2F/q").await["messages"], 6);
    let reply = publish(&broker, DEFAULT, json!({ "routing_key": "full" })).await;
    let rejected = "rejected Unable to publish message. Check queue limits.";
    assert_eq!((reply.status, reply.body), (400, error("bad_request", rejected)));
}

#[tokio::test]
async fn messages_refused() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    assert_eq!(status(&broker, "PUT", "/api/exchanges/%2F/int", json!({ "internal": true })).await, 201);
    let bad = |reason: Value| (400, error("bad_request", reason));
    for (other, reason) in [
        (json!({ "payload": "!!!", "payload_encoding": "base64" }), json!(["not_base64", "!!!"])),
        (json!({ "payload_encoding": "foo" }), json!(["unsupported_encoding", "foo"])),
        (json!({ "payload": 5 }), json!("payload_not_string")),
        (json!({ "payload": null }), json!("payload_not_string")),
        (json!({ "properties": { "headers": { "a": null } } }), json!("null_not_allowed")),
        (json!({ "properties": { "delivery_mode": "2" } }), json!(["not_int", "delivery_mode"])),
        (
            json!({ "properties": { "user_id": "other" } }),
            json!(
                "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'"
            ),
        ),
        (
            json!({ "properties": { "expiration": "abc" } }),
            json!("406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer"),
        ),
        (
            json!({ "properties": { "reply_to": "amq.rabbitmq.reply-to" } }),
            json!("406 PRECONDITION_FAILED - fast reply consumer does not exist"),
        ),
        (json!({ "routing_key": "LEFT OUT" }), json!("[{key_missing,routing_key}]")),
        (json!({ "payload": "LEFT OUT" }), json!("[{key_missing,payload}]")),
        (
            json!({ "properties": "LEFT OUT", "payload": "LEFT OUT" }),
            json!("[{key_missing,properties},{key_missing,payload}]"),
        ),
    ] {
        let reply = publish(&broker, DEFAULT, other.clone()).await;
        assert_eq!((reply.status, reply.body), bad(reason), "{other}");
    }
    let reply = ask(&broker, "POST", DEFAULT, json!({})).await;
    let lines = "[{key_missing,routing_key},\n {key_missing,properties},\n {key_missing,payload},\n \
                 {key_missing,payload_encoding}]";
    assert_eq!((reply.status, reply.body), bad(lines.into()));
    for (path, expected) in [
        ("%2F/nosuch", (404, error("not_found", "exchange_not_found"))),
        ("nosuch/x", (404, error("not_found", "vhost_not_found"))),
        (
            "%2F/int",
            bad("403 ACCESS_REFUSED - cannot publish to internal exchange 'int' in vhost '/'".into()),
        ),
    ] {
        let reply = publish(&broker, &format!("/api/exchanges/{path}/publish"), json!({})).await;
        assert_eq!((reply.status, reply.body), expected, "{path}");
    }
    assert_eq!(get(&broker, "/api/queues/%2F/q").await["messages"], 0);
    put_user(&broker, "m", "management").await;
    permit(&broker, "%2F", "m", "").await;
    let body = json!({ "routing_key": "q", "payload": "", "payload_encoding": "string", "properties": {} });
    let reply = Request::new("POST", DEFAULT).user("m", "pw").body(body.to_string()).send(broker.http).await;
    let text =
        "403 ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'm'";
    assert_eq!((reply.status, reply.body), bad(text.into()));
}

#[tokio::test]
async fn a_queue_that_is_somebodys_own_is_not_bound() {
    let broker = start().await;
    let mut client = Client::open(broker.amqp, "guest", "guest", "/").await;
    client.open_channel().await;
    let declare = queue::Declare {
        queue: "own".into(),
        passive: false,
        durable: false,
        exclusive: true,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    client.ask(1, &AMQPClass::Queue(queue::AMQPMethod::Declare(declare)), (50, 11)).await;
    let reply = ask(&broker, "POST", "/api/bindings/%2F/e/amq.topic/q/own", Value::Null).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.body["reason"].as_str().is_some_and(|r| r.starts_with("cannot obtain exclusive access")));
}
