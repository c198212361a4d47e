//! The stream protocol over HTTP, which nobody speaks here.

use serde_json::{Value, json};

use crate::broker::start;
use crate::{ask, error, get, get_as, not_found, put_user, status};

#[tokio::test]
async fn nobody_is_there() {
    let broker = start().await;
    put_user(&broker, "m", "management").await;
    for (name, kind) in [("s", "stream"), ("q", "classic")] {
        let queue = json!({ "durable": true, "arguments": { "x-queue-type": kind } });
        assert_eq!(status(&broker, "PUT", &format!("/api/queues/%2F/{name}"), queue).await, 201);
    }
    for path in [
        "connections",
        "connections/%2F",
        "publishers",
        "publishers/%2F",
        "publishers/%2F/s",
        "consumers/%2F",
    ] {
        assert_eq!(get(&broker, &format!("/api/stream/{path}")).await, json!([]), "{path}");
    }
    assert_eq!(get(&broker, "/api/stream/connections?page=1").await["total_count"], 0);
    let tracked = json!({ "offsets": {}, "writers": {} });
    assert_eq!(get(&broker, "/api/stream/%2F/s/tracking").await, tracked);
    for path in [
        "connections/none",
        "connections/%2F/x",
        "publishers/%2F/q",
        "publishers/%2F/none",
        "%2F/none/tracking",
    ] {
        let reply = ask(&broker, "GET", &format!("/api/stream/{path}"), Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{path}");
    }
    let reply = ask(&broker, "GET", "/api/stream/%2F/q/tracking", Value::Null).await;
    let refused = error("service_unavailable", "The stream leader is not available");
    assert_eq!((reply.status, reply.body), (503, refused));
    let out_of_reach = (404, error("not_found", "Not Found"));
    for path in ["connections/%2F", "consumers/%2F", "publishers/%2F/none", "%2F/s/tracking"] {
        assert_eq!(get_as(&broker, "m", &format!("/api/stream/{path}")).await, out_of_reach, "{path}");
    }
    assert_eq!(get_as(&broker, "m", "/api/stream/consumers").await, (200, json!([])));
}
