//! What is refused before anybody looks at what is asked for.

use std::sync::Arc;

use leveret::http::settings::HttpSettings;
use leveret::node::Node;
use serde_json::Value;

use crate::broker::{Broker, start};
use crate::http::{Reply, Request};
use crate::{ask, error, get, put_user, status};

#[tokio::test]
async fn bodies_of_other_types() {
    let broker = start().await;
    put_user(&broker, "u", "").await;
    let send = async |path: &str, kind: Option<&str>, body: &str| {
        let request = Request::new("PUT", path).body(body);
        let request = match kind {
            Some(kind) => request.header("Content-Type", kind),
            None => request,
        };
        request.send(broker.http).await.status
    };
    // RabbitMQ wants these to say that they are JSON.
    let policy = r#"{ "pattern": "^q", "definition": { "max-length": 1 } }"#;
    for (path, body, done) in [
        ("/api/vhost-limits/%2F/max-queues", r#"{ "value": 9 }"#, 204),
        ("/api/user-limits/u/max-channels", r#"{ "value": 9 }"#, 204),
        ("/api/operator-policies/%2F/p", policy, 201),
        ("/api/feature-flags/quorum_queue/enable", "{}", 204),
    ] {
        for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")] {
            assert_eq!(send(path, kind, body).await, 415, "{path} {kind:?}");
        }
        assert_eq!(send(path, Some("application/json; charset=utf-8"), body).await, done, "{path}");
    }
    // Others take what they get, if it is of a type at all.
    for (name, kind, expected) in
        [("a", None, 201), ("b", Some("text/plain"), 201), ("c", Some("json"), 415), ("d", Some(""), 415)]
    {
        assert_eq!(send(&format!("/api/queues/%2F/{name}"), kind, "{}").await, expected, "{kind:?}");
    }
    assert_eq!(get(&broker, "/api/queues?columns=name").await.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn paths_that_are_no_paths() {
    let broker = start().await;
    for path in ["/api/queues/%2F/%zz", "/api/queues/%2F/%", "/%f"] {
        let reply = ask(&broker, "PUT", path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (400, Value::Null), "{path}");
    }
    let hashed = Request::new("HEAD", "/api/auth/hash_password/x").send(broker.http).await;
    assert_eq!((hashed.status, hashed.header("allow")), (405, Some("GET, OPTIONS")));
}

#[tokio::test]
async fn ranges_that_are_none() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", Value::Null).await, 201);
    let bad = |of: &str| error(of, "Invalid range parameters: age 501, incr 1");
    for (path, of) in [
        ("/api/queues", "invalid_range_parameters"),
        ("/api/queues/detailed", "invalid_range_parameters"),
        ("/api/exchanges/%2F", "invalid_range_parameters"),
        ("/api/vhosts", "invalid_range_parameters"),
        ("/api/queues/%2F/q", "bad_request"),
        ("/api/users/guest/queues", "bad_request"),
        ("/api/overview", "bad_request"),
        ("/api/nodes", "bad_request"),
        ("/api/connections", "bad_request"),
        ("/api/channels", "bad_request"),
    ] {
        let asked = format!("{path}?lengths_age=501&lengths_incr=1");
        let reply = ask(&broker, "GET", &asked, Value::Null).await;
        assert_eq!((reply.status, reply.body), (400, bad(of)), "{path}");
        let asked = format!("{path}?lengths_age=500&lengths_incr=1&data_rates_age=x&data_rates_incr=0");
        assert_eq!(status(&broker, "GET", &asked, Value::Null).await, 200, "{path}");
    }
}

#[tokio::test]
async fn what_settings_close() {
    let settings = HttpSettings {
        operator_policies_are_fixed: true,
        replicas_are_fixed: true,
        ..HttpSettings::default()
    };
    let broker = Broker::with(Arc::new(Node::new().expect("a node")), settings).await;
    let told = |reply: Reply| (reply.status, reply.body);
    let policies = error("method_not_allowed", "Broker settings disallow editing of operator policies.");
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let reply = Request::new(method, "/api/operator-policies/%2F/p").authorization(None);
        assert_eq!(told(reply.send(broker.http).await), (405, policies.clone()), "{method}");
    }
    assert_eq!(get(&broker, "/api/operator-policies").await, Value::Array(Vec::new()));
    assert_eq!(get(&broker, "/api/overview").await["is_op_policy_updating_enabled"], false);
    let policy = serde_json::json!({ "pattern": "", "definition": { "max-length": 1 } });
    assert_eq!(status(&broker, "PUT", "/api/policies/%2F/p", policy).await, 201);
    let replicas = error("method_not_allowed", "Broker settings disallow quorum queue replica operations.");
    for (method, path) in [
        ("POST", "/api/queues/quorum/%2F/q/replicas/add"),
        ("DELETE", "/api/queues/quorum/%2F/q/replicas/delete"),
        ("POST", "/api/queues/quorum/replicas/on/rabbit@localhost/grow"),
        ("DELETE", "/api/queues/quorum/replicas/on/rabbit@localhost/shrink"),
    ] {
        assert_eq!(told(ask(&broker, method, path, Value::Null).await), (405, replicas.clone()), "{path}");
    }
    assert_eq!(status(&broker, "GET", "/api/queues/quorum/%2F/q/status", Value::Null).await, 404);
}
