//! Bindings.

use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::http::Request;
use crate::{ask, error, get, get_as, not_found, permit, put_user, status};

const ENDS: &str = "/api/bindings/v/e/x/q/q";

/// A vhost with a topic exchange and two queues.
async fn rig() -> Broker {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    for path in ["/api/queues/v/q", "/api/queues/v/q%2F2"] {
        assert_eq!(status(&broker, "PUT", path, json!({ "durable": true })).await, 201);
    }
    assert_eq!(status(&broker, "PUT", "/api/exchanges/v/x", json!({ "type": "topic" })).await, 201);
    broker
}

fn binding(source: &str, destination: &str, key: &str, properties_key: &str) -> Value {
    json!({
        "source": source,
        "vhost": "v",
        "destination": destination,
        "destination_type": if destination.starts_with("amq.") { "exchange" } else { "queue" },
        "routing_key": key,
        "arguments": {},
        "properties_key": properties_key,
    })
}

#[tokio::test]
async fn binding_tells_where() {
    let broker = rig().await;
    let all = json!({ "x-match": "all", "b": "text", "c": true, "d": 1.5, "e": [1, "a"], "f": { "g": 1 } });
    for (path, body, location) in [
        (ENDS, json!({ "routing_key": "a.b" }), "q/a.b"),
        // The same once more is as good.
        (ENDS, json!({ "routing_key": "a.b" }), "q/a.b"),
        (ENDS, Value::Null, "q/~"),
        (ENDS, json!({ "routing_key": "a/b c~%" }), "q/a%252Fb%2Bc%257E%2525"),
        (ENDS, json!({ "routing_key": "~" }), "q/%257E"),
        (ENDS, json!({ "routing_key": "k", "arguments": { "a": 1 } }), "q/k~Ajat_Q"),
        (ENDS, json!({ "routing_key": "", "arguments": { "a": 1 } }), "q/~Ajat_Q"),
        (ENDS, json!({ "routing_key": "k", "arguments": all }), "q/k~RHllag"),
        ("/api/bindings/v/e/x/q/q%2F2", json!({ "routing_key": "é" }), "q%2F2/%25C3%25A9"),
        ("/api/bindings/v/e/x/e/amq.topic", json!({ "routing_key": "k" }), "amq.topic/k"),
    ] {
        let reply = ask(&broker, "POST", path, body.clone()).await;
        assert_eq!((reply.status, reply.header("location")), (201, Some(location)), "{path} {body}");
        // Where it says, it is.
        let (folder, _) = path.rsplit_once('/').expect("a path");
        let found = get(&broker, &format!("{folder}/{location}")).await;
        assert_eq!(found["routing_key"], body.get("routing_key").cloned().unwrap_or("".into()), "{location}");
    }
    let keys = |bindings: &Value| {
        let keys = bindings.as_array().expect("a list").iter().map(|b| b["properties_key"].clone());
        keys.map(|key| key.as_str().expect("a key").to_owned()).collect::<Vec<_>>()
    };
    let expected = ["~", "~Ajat_Q", "a.b", "a%2Fb+c%7E%25", "k~Ajat_Q", "k~RHllag", "%7E"];
    assert_eq!(keys(&get(&broker, ENDS).await), expected);
    let of_queue = get(&broker, "/api/queues/v/q/bindings").await;
    assert_eq!(keys(&of_queue)[1..], expected);
    assert_eq!(of_queue[0], binding("", "q", "q", "q"));
    assert_eq!(of_queue[3], binding("x", "q", "a.b", "a.b"));
    let from = get(&broker, "/api/exchanges/v/x/bindings/source").await;
    assert_eq!(from[0], binding("x", "amq.topic", "k", "k"));
    assert_eq!(keys(&from).len(), 9);
    let to = get(&broker, "/api/exchanges/v/amq.topic/bindings/destination").await;
    assert_eq!(to, json!([binding("x", "amq.topic", "k", "k")]));
    assert_eq!(get(&broker, "/api/bindings/v").await, get(&broker, "/api/bindings").await);
    assert_eq!(keys(&get(&broker, "/api/bindings/v").await).len(), 11);
    assert_eq!(keys(&get(&broker, "/api/bindings/v").await)[..3], ["q", "q%2F2", "k"]);
}

#[tokio::test]
async fn the_default_exchange_leads_to_every_queue() {
    let broker = rig().await;
    let implicit = binding("", "q", "q", "q");
    for path in ["/api/bindings/v/e/amq.default/q/q/q", "/api/bindings/v/e//q/q/q"] {
        assert_eq!(get(&broker, path).await, implicit, "{path}");
    }
    assert_eq!(get(&broker, "/api/bindings/v/e/amq.default/q/q").await, json!([implicit]));
    for path in ["/api/exchanges/v/amq.default/bindings/source", "/api/exchanges/v//bindings/source"] {
        assert_eq!(get(&broker, path).await[1]["properties_key"], "q%2F2", "{path}");
    }
    // To a queue that is not there, too.
    assert_eq!(get(&broker, "/api/queues/v/no/bindings").await[0]["destination"], "no");
    let refused = error("not_authorised", "Access refused.");
    for (method, path) in [
        ("POST", "/api/bindings/v/e/amq.default/q/q"),
        ("POST", "/api/bindings/v/e//q/q"),
        ("POST", "/api/bindings/v/e/x/e/amq.default"),
        ("DELETE", "/api/bindings/v/e/amq.default/q/q/q"),
    ] {
        let reply = ask(&broker, method, path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (401, refused.clone()), "{method} {path}");
    }
}

#[tokio::test]
async fn unbinding() {
    let broker = rig().await;
    let body = json!({ "routing_key": "k", "arguments": { "a": 1 } });
    for body in [json!({ "routing_key": "k" }), body] {
        assert_eq!(status(&broker, "POST", ENDS, body).await, 201);
    }
    for (path, expected) in
        [("k~Ajat_Q", 204), ("k~Ajat_Q", 404), ("k", 204), ("k", 404), ("k~", 404), ("k~x", 404)]
    {
        let reply = ask(&broker, "DELETE", &format!("{ENDS}/{path}"), Value::Null).await;
        assert_eq!(reply.status, expected, "{path}");
        assert!(expected == 204 || reply.body == not_found());
    }
    assert_eq!(get(&broker, ENDS).await, json!([]));
    for path in ["/api/bindings/v/e/x/q/no/k", "/api/bindings/v/e/no/q/q/k", "/api/bindings/no/e/x/q/q/k"] {
        assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 404, "{path}");
    }
}

#[tokio::test]
async fn refused() {
    let broker = rig().await;
    for (path, body, expected) in [
        ("v/e/x/q/no", "{}", (404, error("not_found", "no queue 'no' in vhost 'v'"))),
        ("v/e/no/q/q", "{}", (404, error("not_found", "no exchange 'no' in vhost 'v'"))),
        ("v/e/no/e/x", "{}", (404, error("not_found", "no exchange 'no' in vhost 'v'"))),
        ("no/e/x/q/q", "{}", (404, error("not_found", "vhost_not_found"))),
        ("v/e/x/z/q", "{}", (404, not_found())),
        ("v/e/x/q/q", "{bad", (400, error("bad_request", "not_json"))),
        ("v/e/x/q/q", r#"{"routing_key": 5}"#, (400, error("bad_request", json!(["not_string", 5])))),
        ("v/e/x/q/q", r#"{"arguments": {"a": null}}"#, (400, error("bad_request", "null_not_allowed"))),
        (
            "v/e/amq.headers/q/q",
            r#"{"arguments": {"x-match": "bad"}}"#,
            (
                400,
                error(
                    "bad_request",
                    "Invalid x-match field value <<\"bad\">>; expected all, any, all-with-x, or any-with-x",
                ),
            ),
        ),
    ] {
        let path = format!("/api/bindings/{path}");
        let reply = Request::new("POST", &path).body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), expected, "{path} {body}");
    }
    assert_eq!(status(&broker, "POST", ENDS, json!({ "routing_key": "x".repeat(256) })).await, 400);
    for (method, path, allow) in [
        ("PUT", ENDS.to_owned(), "HEAD, GET, POST, OPTIONS"),
        ("PUT", format!("{ENDS}/k"), "HEAD, GET, DELETE, OPTIONS"),
        ("POST", "/api/queues/v/q/bindings".to_owned(), "HEAD, GET, OPTIONS"),
    ] {
        let reply = ask(&broker, method, &path, Value::Null).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{path}");
    }
    assert_eq!(get(&broker, ENDS).await, json!([]), "nothing has changed");
    assert_eq!(status(&broker, "GET", "/api/bindings/no", Value::Null).await, 404);
    assert_eq!(status(&broker, "GET", "/api/exchanges/v/x/bindings/no", Value::Null).await, 404);
}

#[tokio::test]
async fn both_ends_have_to_be_permitted() {
    let broker = rig().await;
    put_user(&broker, "m", "management").await;
    permit(&broker, "v", "m", "").await;
    let body = json!({ "configure": "", "write": "^q$", "read": "^x$" });
    assert_eq!(status(&broker, "PUT", "/api/permissions/v/m", body).await, 204);
    assert_eq!(status(&broker, "PUT", "/api/exchanges/v/y", Value::Null).await, 201);
    for (path, expected) in [("x/q/q", 201), ("y/q/q", 401), ("x/q/q%2F2", 401), ("x/e/y", 401)] {
        let path = format!("/api/bindings/v/e/{path}");
        let reply = Request::new("POST", &path).user("m", "pw").send(broker.http).await;
        assert_eq!(reply.status, expected, "{path}");
    }
    assert_eq!(get_as(&broker, "m", ENDS).await.1[0]["properties_key"], "~");
    assert_eq!(get_as(&broker, "m", "/api/bindings/%2F").await.0, 404);
    let topics = json!({ "exchange": "x", "write": "", "read": "^a" });
    assert_eq!(status(&broker, "PUT", "/api/topic-permissions/v/m", topics).await, 201);
    for (key, expected) in [("a", 201), ("b", 401)] {
        let body = json!({ "routing_key": key }).to_string();
        let reply = Request::new("POST", ENDS).user("m", "pw").body(body).send(broker.http).await;
        assert_eq!(reply.status, expected, "{key}");
    }
}
