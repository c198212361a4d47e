//! What people do with quorum queues in a cluster.

use serde_json::{Value, json};

use crate::broker::start;
use crate::http::Request;
use crate::{ask, error, get, not_found, permit, put_user, status};

const NODE: &str = "rabbit@localhost";

#[tokio::test]
async fn replicas_of_a_single_node() {
    let broker = start().await;
    for (name, queue_type) in [("q", "quorum"), ("c", "classic"), ("s", "stream")] {
        let body = json!({ "durable": true, "arguments": { "x-queue-type": queue_type } });
        assert_eq!(status(&broker, "PUT", &format!("/api/queues/%2F/{name}"), body).await, 201);
    }
    let replicas = get(&broker, "/api/queues/quorum/%2F/q/status").await;
    for (key, expected) in [
        ("Node Name", json!(NODE)),
        ("Raft State", json!("leader")),
        ("Membership", json!("voter")),
        ("Last Log Index", json!(0)),
        ("Snapshot Index", json!(-1)),
    ] {
        assert_eq!(replicas[0][key], expected, "{key}");
    }
    crate::getting::publish(&broker, "q", "m", json!({})).await;
    assert_eq!(get(&broker, "/api/queues/quorum/%2F/q/status").await[0]["Commit Index"], 1);
    let (here, elsewhere) = (json!({ "node": NODE }), json!({ "node": "nosuch@x" }));
    let unavailable = |reason: &str| (503, error("service_unavailable", reason));
    let bad = |reason: &str| (400, error("bad_request", reason));
    let no_member = bad("Node is not a cluster member");
    for (method, path, body, expected) in [
        ("POST", "%2F/q/replicas/add", here.clone(), (204, Value::Null)),
        ("POST", "%2F/q/replicas/add", elsewhere.clone(), no_member.clone()),
        ("POST", "%2F/q/replicas/add", json!({}), bad("[{key_missing,node}]")),
        ("POST", "%2F/c/replicas/add", here.clone(), unavailable("classic_queue_not_supported")),
        ("POST", "%2F/s/replicas/add", here.clone(), unavailable("not_quorum_queue")),
        ("POST", "%2F/no/replicas/add", here.clone(), unavailable("not_found")),
        ("POST", "no/q/replicas/add", here.clone(), unavailable("not_found")),
        ("DELETE", "%2F/q/replicas/delete", here.clone(), unavailable("last_node")),
        ("DELETE", "%2F/q/replicas/delete", elsewhere, no_member),
        ("DELETE", "%2F/c/replicas/delete", here.clone(), unavailable("classic_queue_not_supported")),
        ("DELETE", "%2F/no/replicas/delete", here, (404, not_found())),
        ("GET", "%2F/no/status", Value::Null, (404, not_found())),
        (
            "GET",
            "%2F/c/status",
            Value::Null,
            (503, json!({ "status": "failed", "reason": "classic_queue_not_supported" })),
        ),
        ("DELETE", "replicas/on/nosuch@x/shrink", Value::Null, (404, not_found())),
    ] {
        let path = format!("/api/queues/quorum/{path}");
        let reply = ask(&broker, method, &path, body.clone()).await;
        assert_eq!((reply.status, reply.body), expected, "{method} {path} {body}");
    }
    let grow = "/api/queues/quorum/replicas/on/rabbit@localhost/grow";
    let body = json!({ "vhost_pattern": ".*", "queue_pattern": ".*", "strategy": "all" });
    assert_eq!(status(&broker, "POST", grow, body).await, 204);
    let reply = ask(&broker, "POST", grow, json!({ "strategy": "all", "queue_pattern": "x" })).await;
    assert_eq!((reply.status, reply.body), bad("[{key_missing,vhost_pattern}]"));
    assert_eq!(status(&broker, "POST", "/api/rebalance/queues", Value::Null).await, 204);
}

#[tokio::test]
async fn there_are_no_actions() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    for (path, body, expected) in [
        ("%2F/q", r#"{"action": "sync"}"#, (400, error("bad_request", json!(["unknown", "sync"])))),
        ("%2F/q", r#"{"action": 5}"#, (400, error("bad_request", json!(["unknown", 5])))),
        ("%2F/q", "", (400, error("bad_request", "[{key_missing,action}]"))),
        ("%2F/q", "{bad", (400, error("bad_request", "not_json"))),
        ("%2F/no", r#"{"action": "sync"}"#, (404, error("not_found", "queue_not_found"))),
        ("no/q", r#"{"action": "sync"}"#, (404, error("not_found", "vhost_not_found"))),
    ] {
        let path = format!("/api/queues/{path}/actions");
        let reply = Request::new("POST", &path).body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), expected, "{path} {body}");
    }
    put_user(&broker, "m", "monitoring,policymaker,management").await;
    permit(&broker, "%2F", "m", ".*").await;
    for (method, path) in [
        ("POST", "/api/queues/%2F/q/actions"),
        ("POST", "/api/rebalance/queues"),
        ("POST", "/api/queues/quorum/%2F/q/replicas/add"),
        ("DELETE", "/api/queues/quorum/%2F/q/replicas/delete"),
        ("POST", "/api/queues/quorum/replicas/on/rabbit@localhost/grow"),
        ("DELETE", "/api/queues/quorum/replicas/on/rabbit@localhost/shrink"),
    ] {
        let reply = Request::new(method, path).user("m", "pw").send(broker.http).await;
        let refused = (401, error("not_authorised", "Not administrator user"));
        assert_eq!((reply.status, reply.body), refused, "{method} {path}");
    }
}

/// Whoever guesses is slowed down and given up; whoever knows gets in, and nobody waits after that.
#[tokio::test]
async fn guessing() {
    let broker = start().await;
    let attempt = |password: &'static str| {
        let to = broker.http;
        tokio::spawn(async move {
            Request::new("GET", "/api/whoami").user("guest", password).send(to).await.status
        })
    };
    for _ in 0..8 {
        assert_eq!(attempt("bad").await.expect("no panic"), 401);
    }
    assert_eq!(attempt("guest").await.expect("no panic"), 200);
    assert_eq!(attempt("bad").await.expect("no panic"), 401);
    assert_eq!(attempt("guest").await.expect("no panic"), 200);
}
