//! Messages taken out of queues over HTTP.

use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::http::Request;
use crate::{ask, error, get, permit, put_user, status};

pub async fn publish(broker: &Broker, queue: &str, payload: &str, properties: Value) {
    let body = json!({
        "routing_key": queue, "payload": payload, "payload_encoding": "string", "properties": properties,
    });
    let reply = ask(broker, "POST", "/api/exchanges/%2F/amq.default/publish", body).await;
    assert_eq!((reply.status, reply.body), (200, json!({ "routed": true })));
}

async fn take(broker: &Broker, queue: &str, other: Value) -> (u16, Value) {
    let mut body = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto" });
    for (key, value) in other.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let reply = ask(broker, "POST", &format!("/api/queues/%2F/{queue}/get"), body).await;
    (reply.status, reply.body)
}

fn message(payload: &str, left: usize, redelivered: bool, properties: &Value) -> Value {
    json!({
        "payload_bytes": payload.len(), "redelivered": redelivered, "exchange": "", "routing_key": "q",
        "message_count": left, "properties": properties, "payload": payload, "payload_encoding": "string",
    })
}

#[tokio::test]
async fn modes() {
    let broker = start().await;
    let dead = json!({ "arguments": { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" } });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", dead).await, 201);
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/dead", json!({})).await, 201);
    let properties =
        json!({ "headers": { "a": 1, "b": { "c": [true] } }, "delivery_mode": 2, "priority": 3 });
    publish(&broker, "q", "hi", properties.clone()).await;
    publish(&broker, "q", "hello", json!({})).await;
    let first = |redelivered| message("hi", 1, redelivered, &properties);
    let second = |redelivered| message("hello", 0, redelivered, &json!([]));
    assert_eq!(take(&broker, "q", json!({})).await, (200, json!([first(false)])));
    assert_eq!(take(&broker, "q", json!({ "count": 100 })).await, (200, json!([first(true), second(false)])));
    assert_eq!(take(&broker, "q", json!({ "count": -1 })).await, (200, json!([first(true), second(true)])));
    assert_eq!(take(&broker, "q", json!({ "count": 0 })).await, (200, json!([])));
    let again = take(&broker, "q", json!({ "ackmode": "reject_requeue_true", "count": "1" })).await;
    assert_eq!(again, (200, json!([first(true)])));
    let rejected = take(&broker, "q", json!({ "ackmode": "reject_requeue_false" })).await;
    assert_eq!(rejected, (200, json!([first(true)])));
    let (_, dead) = take(&broker, "dead", json!({})).await;
    assert_eq!(dead[0]["properties"]["headers"]["x-death"][0]["reason"], "rejected");
    assert_eq!(take(&broker, "q", json!({ "ackmode": "ack_requeue_false" })).await.1[0]["payload"], "hello");
    assert_eq!(take(&broker, "q", json!({})).await, (200, json!([])));
    let queue = get(&broker, "/api/queues/%2F/q").await;
    assert_eq!((&queue["messages"], &queue["messages_unacknowledged"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn payloads() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    publish(&broker, "q", "hé", json!({})).await;
    for (other, payload, encoding) in [
        (json!({}), "hé", "string"),
        (json!({ "encoding": "base64" }), "aMOp", "base64"),
        (json!({ "truncate": 1 }), "h", "string"),
        (json!({ "truncate": "3" }), "hé", "string"),
        (json!({ "truncate": 0 }), "", "string"),
        // What is cut within a letter is no text.
        (json!({ "truncate": 2 }), "aMM=", "base64"),
    ] {
        let (status, taken) = take(&broker, "q", other.clone()).await;
        let shown = (&taken[0]["payload"], &taken[0]["payload_encoding"], &taken[0]["payload_bytes"]);
        assert_eq!((status, shown), (200, (&payload.into(), &encoding.into(), &json!(3))), "{other}");
    }
}

#[tokio::test]
async fn quorum_queues_count() {
    let broker = start().await;
    let quorum = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", quorum).await, 201);
    publish(&broker, "q", "hi", json!({ "headers": { "h": 1 } })).await;
    for (mode, headers) in [
        ("ack_requeue_true", json!({ "h": 1 })),
        ("ack_requeue_true", json!({ "h": 1, "x-acquired-count": 1 })),
        ("reject_requeue_true", json!({ "h": 1, "x-acquired-count": 2 })),
        ("ack_requeue_true", json!({ "h": 1, "x-acquired-count": 3, "x-delivery-count": 1 })),
        ("reject_requeue_false", json!({ "h": 1, "x-acquired-count": 4, "x-delivery-count": 1 })),
    ] {
        let (_, taken) = take(&broker, "q", json!({ "ackmode": mode })).await;
        assert_eq!(taken[0]["properties"]["headers"], headers, "{mode}");
    }
    assert_eq!(take(&broker, "q", json!({})).await, (200, json!([])));
}

#[tokio::test]
async fn refused() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    let stream = json!({ "durable": true, "arguments": { "x-queue-type": "stream" } });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/s", stream).await, 201);
    publish(&broker, "q", "hi", json!({})).await;
    let bad = |reason: Value| (400, error("bad_request", reason));
    for (queue, other, expected) in [
        ("q", json!({ "count": "x" }), bad(json!(["not_integer", "x"]))),
        ("q", json!({ "count": null }), bad(json!(["not_integer", null]))),
        ("q", json!({ "truncate": "x" }), bad(json!(["not_integer", "x"]))),
        ("q", json!({ "encoding": "foo" }), bad("Unsupported encoding. Please use auto or base64.".into())),
        (
            "q",
            json!({ "ackmode": "foo" }),
            bad("Invalid ackmode value: foo. Valid values are: ack_requeue_true, ack_requeue_false, \
                 reject_requeue_true, reject_requeue_false"
                .into()),
        ),
        ("s", json!({}), bad("540 basic.get not supported by stream queues queue 's' in vhost '/'".into())),
        ("no", json!({}), (404, error("not_found", "queue_not_found"))),
    ] {
        assert_eq!(take(&broker, queue, other.clone()).await, expected, "{queue} {other}");
    }
    let path = "/api/queues/%2F/q/get";
    let missing = "[{key_missing,ackmode},{key_missing,count},{key_missing,encoding}]";
    let reply = ask(&broker, "POST", path, json!({})).await;
    assert_eq!((reply.status, reply.body), bad(missing.into()));
    let reply = ask(&broker, "POST", "/api/queues/no/q/get", json!({})).await;
    assert_eq!((reply.status, reply.body), (404, error("not_found", "vhost_not_found")));
    put_user(&broker, "m", "management").await;
    permit(&broker, "%2F", "m", ".*").await;
    let body = r#"{"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}"#;
    let reply = Request::new("POST", path).user("m", "pw").body(body).send(broker.http).await;
    let text = "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'm'";
    assert_eq!((reply.status, reply.body), (401, error("not_authorised", text)));
    assert_eq!(get(&broker, "/api/queues/%2F/q").await["messages"], 1);
}
