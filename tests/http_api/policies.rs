//! Policies, operator policies, parameters.

use std::sync::Arc;

use leveret::node::Node;
use leveret::node::storage::Storage;
use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::http::Request;
use crate::{ask, error, get, get_as, not_found, permit, put_user, status};

const POLICIES: &str = "/api/policies/%2F";
const OPERATORS: &str = "/api/operator-policies/%2F";

async fn put(broker: &Broker, path: &str, body: Value, wanted: u16) {
    let reply = ask(broker, "PUT", path, body).await;
    assert_eq!(reply.status, wanted, "{path}: {reply:?}");
}

async fn delete(broker: &Broker, path: &str) {
    assert_eq!(status(broker, "DELETE", path, Value::Null).await, 204, "{path}");
}

/// What is shown of a queue's or an exchange's policies.
async fn shown(broker: &Broker, path: &str) -> Value {
    let all = get(broker, path).await;
    json!([all["policy"], all["operator_policy"], all["effective_policy_definition"]])
}

#[tokio::test]
async fn policies_of_both_ranks() {
    let broker = start().await;
    for (base, name) in [(POLICIES, "a%2Fb"), (OPERATORS, "o")] {
        let path = format!("{base}/{name}");
        assert_eq!(status(&broker, "GET", &path, Value::Null).await, 404);
        put(
            &broker,
            &path,
            json!({ "pattern": "q", "definition": { "max-length": 3 }, "vhost": "x", "z": 1 }),
            201,
        )
        .await;
        let mut policy = json!({
            "vhost": "/", "name": name.replace("%2F", "/"), "pattern": "q", "apply-to": "all",
            "definition": { "max-length": 3 }, "priority": 0,
        });
        assert_eq!(get(&broker, &path).await, policy);
        let change = json!({
            "pattern": "", "definition": { "max-length": 3, "expires": 70000 }, "priority": 1.5, "apply-to": "queues",
        });
        put(&broker, &path, change.clone(), 204).await;
        policy.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        assert_eq!(get(&broker, &path).await, policy);
        assert_eq!(get(&broker, base).await, json!([policy]));
        assert_eq!(get(&broker, base.trim_end_matches("/%2F")).await, json!([policy]));
        delete(&broker, &path).await;
        for method in ["GET", "DELETE"] {
            let reply = ask(&broker, method, &path, Value::Null).await;
            assert_eq!((reply.status, reply.body), (404, not_found()), "{method} {path}");
        }
        assert_eq!(get(&broker, base).await, json!([]));
    }
}

#[tokio::test]
async fn what_has_which_policy() {
    let broker = start().await;
    for (name, kind) in [("before", "classic"), ("quorum", "quorum")] {
        let body = json!({ "durable": true, "arguments": { "x-queue-type": kind } });
        put(&broker, &format!("/api/queues/%2F/{name}"), body, 201).await;
    }
    let (before, quorum) = ("/api/queues/%2F/before", "/api/queues/%2F/quorum");
    assert_eq!(shown(&broker, before).await, json!([null, null, {}]));
    let body = json!({ "pattern": "", "definition": { "max-length": 3, "overflow": "drop-head" } });
    put(&broker, "/api/policies/%2F/all", body, 201).await;
    let all = json!(["all", null, { "max-length": 3, "overflow": "drop-head" }]);
    assert_eq!(shown(&broker, before).await, all);
    put(&broker, "/api/queues/%2F/after", json!({}), 201).await;
    assert_eq!(shown(&broker, "/api/queues/%2F/after").await, all);
    let body = json!({ "pattern": "qu", "definition": { "delivery-limit": 3 }, "priority": 1 });
    put(&broker, "/api/policies/%2F/quorum", body, 201).await;
    let body = json!({ "pattern": "", "definition": { "max-length": 2, "overflow": "reject-publish" } });
    put(&broker, "/api/operator-policies/%2F/o", body, 201).await;
    let merged = json!({ "delivery-limit": 3, "max-length": 2, "overflow": "reject-publish" });
    assert_eq!(shown(&broker, quorum).await, json!(["quorum", "o", merged]));
    assert_eq!(shown(&broker, before).await[2], json!({ "max-length": 2, "overflow": "reject-publish" }));
    assert_eq!(shown(&broker, "/api/exchanges/%2F/amq.topic").await, json!(["all", null, null]));
    for path in ["/api/policies/%2F/all", "/api/policies/%2F/quorum", "/api/operator-policies/%2F/o"] {
        delete(&broker, path).await;
    }
    for path in [before, quorum] {
        assert_eq!(shown(&broker, path).await, json!([null, null, {}]));
    }
}

#[tokio::test]
async fn policies_refused() {
    let broker = start().await;
    let path = "/api/policies/%2F/p";
    let invalid = |text: &str| error("bad_request", format!("Validation failed\n\n{text}\n"));
    for (body, refusal) in [
        ("{}", error("bad_request", "[{key_missing,pattern},{key_missing,definition}]")),
        (r#"{"pattern": ""}"#, error("bad_request", "[{key_missing,definition}]")),
        ("[]", error("bad_request", "not_json")),
        (r#"{"pattern": "", "definition": {}}"#, invalid("no policy provided")),
        (
            r#"{"pattern": "", "definition": {"expires": 1}, "priority": "high"}"#,
            invalid("priority should be a number, actually was <<\"high\">>"),
        ),
        (
            r#"{"pattern": null, "definition": {"expires": 1}}"#,
            invalid("pattern should be a binary but was null"),
        ),
    ] {
        let reply = Request::new("PUT", path).body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), (400, refusal), "{body}");
    }
    let good = json!({ "pattern": "", "definition": { "expires": 1 } });
    let reply = ask(&broker, "PUT", "/api/policies/nosuch/p", good.clone()).await;
    assert_eq!((reply.status, reply.body), (404, error("not_found", "vhost_not_found")));
    for path in ["/api/policies/nosuch", "/api/policies/nosuch/p"] {
        let reply = ask(&broker, "GET", path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()));
    }
    assert_eq!(status(&broker, "POST", path, good).await, 405);
    assert_eq!(get(&broker, "/api/policies").await, json!([]));
}

#[tokio::test]
async fn who_may_set_policies() {
    let broker = start().await;
    for tag in ["management", "monitoring", "policymaker"] {
        put_user(&broker, tag, tag).await;
    }
    permit(&broker, "%2F", "policymaker", "").await;
    permit(&broker, "%2F", "management", "").await;
    let body = json!({ "pattern": "", "definition": { "expires": 70000 } }).to_string();
    let put = async |user: &str, path: &str| {
        let reply = Request::new("PUT", path).user(user, "pw").body(&*body).send(broker.http).await;
        (reply.status, reply.body)
    };
    let refused = |reason: &str| (401, error("not_authorised", reason));
    for user in ["management", "monitoring"] {
        let unauthorised = refused("User not authorised to access object");
        assert_eq!(put(user, "/api/policies/%2F/p").await, unauthorised);
        assert_eq!(put(user, "/api/policies/nosuch/p").await, unauthorised);
        assert_eq!(get_as(&broker, user, "/api/policies/%2F/p").await, unauthorised);
        assert_eq!(get_as(&broker, user, "/api/parameters").await, unauthorised);
        assert_eq!(get_as(&broker, user, "/api/global-parameters").await, unauthorised);
    }
    assert_eq!(put("policymaker", "/api/policies/%2F/p").await, (201, Value::Null));
    assert_eq!(put("policymaker", "/api/operator-policies/%2F/p").await, refused("Not administrator user"));
    assert_eq!(get_as(&broker, "policymaker", "/api/policies/%2F/p").await.0, 200);
    // Whoever may enter the vhost may look at the lists.
    assert_eq!(get_as(&broker, "management", "/api/policies/%2F").await.1[0]["name"], "p");
    assert_eq!(
        get_as(&broker, "monitoring", "/api/policies/%2F").await,
        (404, error("not_found", "Not Found"))
    );
    assert_eq!(get_as(&broker, "monitoring", "/api/policies").await, (200, json!([])));
}

#[tokio::test]
async fn parameters() {
    let broker = start().await;
    put(&broker, "/api/policies/%2F/p", json!({ "pattern": "p", "definition": { "expires": 1 } }), 201).await;
    let value =
        json!({ "pattern": "o", "definition": { "expires": 1 }, "priority": 2, "apply-to": "queues" });
    put(&broker, "/api/parameters/operator_policy/%2F/o", json!({ "value": value }), 201).await;
    put(&broker, "/api/parameters/operator_policy/%2F/o", json!({ "value": value }), 204).await;
    assert_eq!(get(&broker, "/api/operator-policies/%2F/o").await["priority"], 2);
    let operator = json!({ "component": "operator_policy", "vhost": "/", "name": "o", "value": value });
    for path in ["", "/operator_policy", "/operator_policy/%2F"] {
        assert_eq!(get(&broker, &format!("/api/parameters{path}")).await, json!([operator]), "{path}");
    }
    assert_eq!(get(&broker, "/api/parameters/operator_policy/%2F/o").await, operator);
    assert_eq!(get(&broker, "/api/parameters/policy").await[0]["name"], "p");
    assert_eq!(get(&broker, "/api/parameters/shovel/%2F").await, json!([]));
    for (path, body, reason) in [
        ("policy", json!({ "value": value }), "policies may not be set using this method"),
        ("shovel", json!({ "value": {} }), "Validation failed\n\ncomponent shovel not found\n"),
        ("shovel", json!({}), "[{key_missing,value}]"),
        ("operator_policy", json!({ "value": 5 }), "Validation failed\n\nx not a list 5\n"),
        (
            "operator_policy",
            json!({ "value": { "pattern": "", "definition": { "expires": 1 } } }),
            "Validation failed\n\nKey \"priority\" not found in x\n",
        ),
    ] {
        let reply = ask(&broker, "PUT", &format!("/api/parameters/{path}/%2F/x"), body).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)));
    }
    let reply = ask(&broker, "DELETE", "/api/parameters/policy/%2F/p", Value::Null).await;
    assert_eq!(reply.status, 400, "RabbitMQ crashes");
    delete(&broker, "/api/parameters/operator_policy/%2F/o").await;
    for path in ["operator_policy/%2F/o", "shovel/%2F/x", "shovel/nosuch", "shovel/nosuch/x"] {
        assert_eq!(
            status(&broker, "GET", &format!("/api/parameters/{path}"), Value::Null).await,
            404,
            "{path}"
        );
    }
    assert_eq!(get(&broker, "/api/parameters").await, json!([]));
}

#[tokio::test]
async fn global_parameters() {
    let broker = start().await;
    let all = get(&broker, "/api/global-parameters").await;
    assert_eq!(
        (&all[0], &all[1]["name"]),
        (&json!({ "name": "cluster_tags", "value": [] }), &json!("internal_cluster_id"))
    );
    let path = "/api/global-parameters/x";
    put(&broker, path, json!({ "value": { "a": [1] } }), 201).await;
    assert_eq!(get(&broker, path).await, json!({ "name": "x", "value": { "a": [1] } }));
    put(&broker, path, json!({ "value": null, "name": "y" }), 204).await;
    assert_eq!(get(&broker, path).await, json!({ "name": "x", "value": null }));
    put(&broker, path, json!({}), 400).await;
    delete(&broker, path).await;
    assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 404);
    assert_eq!(status(&broker, "GET", path, Value::Null).await, 404);
}

#[tokio::test]
async fn policies_outlive_a_restart() {
    let folder = std::env::temp_dir().join(format!("leveret-policies-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let open = async || {
        let node = Arc::new(Node::empty(1 << 20, 1 << 20));
        let storage = Storage::open(&folder, &node, 0).expect("a start");
        (Broker::of(node).await, storage)
    };
    let policy =
        json!({ "pattern": "q", "definition": { "max-length": 3 }, "priority": 7, "apply-to": "queues" });
    let (broker, storage) = open().await;
    put(&broker, "/api/policies/%2F/p", policy.clone(), 201).await;
    put(
        &broker,
        "/api/policies/%2F/x",
        json!({ "pattern": "", "definition": { "alternate-exchange": "" } }),
        201,
    )
    .await;
    put(&broker, "/api/policies/%2F/gone", policy.clone(), 201).await;
    delete(&broker, "/api/policies/%2F/gone").await;
    put(&broker, "/api/operator-policies/%2F/p", policy, 201).await;
    put(&broker, "/api/global-parameters/g", json!({ "value": [1] }), 201).await;
    put(&broker, "/api/queues/%2F/q", json!({ "durable": true }), 201).await;
    let paths = ["/api/policies", "/api/operator-policies", "/api/global-parameters"];
    let mut before = Vec::new();
    for path in paths {
        before.push(get(&broker, path).await);
    }
    drop((broker, storage));
    let (broker, storage) = open().await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(get(&broker, path).await, before);
    }
    assert_eq!(shown(&broker, "/api/queues/%2F/q").await, json!(["p", "p", { "max-length": 3 }]));
    assert_eq!(shown(&broker, "/api/exchanges/%2F/amq.fanout").await, json!(["x", null, null]));
    drop((broker, storage));
    std::fs::remove_dir_all(&folder).expect("the folder");
}
