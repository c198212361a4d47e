//! Vhosts.

use serde_json::{Value, json};

use crate::broker::start;
use crate::http::Request;
use crate::{ask, error, get, not_found, status};

#[tokio::test]
async fn vhosts() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v%2F1", Value::Null).await, 201);
    let mut expected = json!({
        "name": "v/1",
        "description": "",
        "tags": [],
        "default_queue_type": "classic",
        "protected_from_deletion": false,
        "metadata": { "description": "", "tags": [], "default_queue_type": "classic" },
        "tracing": false,
        "cluster_state": { "rabbit@localhost": "running" },
    });
    assert_eq!(get(&broker, "/api/vhosts/v%2F1").await, expected);
    let all = json!([{ "vhost": "v/1", "user": "guest", "configure": ".*", "write": ".*", "read": ".*" }]);
    assert_eq!(get(&broker, "/api/vhosts/v%2F1/permissions").await, all, "who made it may do everything");

    let change =
        json!({ "description": "d", "tags": "a,b", "default_queue_type": "quorum", "tracing": true });
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v%2F1", change).await, 204);
    expected["description"] = "d".into();
    expected["tags"] = json!(["a", "b"]);
    expected["default_queue_type"] = "quorum".into();
    expected["tracing"] = true.into();
    expected["metadata"] = json!({ "description": "d", "tags": ["a", "b"], "default_queue_type": "quorum" });
    assert_eq!(get(&broker, "/api/vhosts/v%2F1").await, expected);

    let again = json!({ "tags": ["x", "y"], "nosuchkey": 1, "description": null });
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v%2F1", again).await, 204);
    let vhost = get(&broker, "/api/vhosts/v%2F1").await;
    assert_eq!((&vhost["tags"], &vhost["tracing"]), (&json!(["x", "y"]), &json!(true)), "tracing stays");
    assert_eq!(vhost["default_queue_type"], "classic", "the rest does not");
    let older = json!({ "defaultqueuetype": "quorum" });
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v%2F1", older).await, 204);
    assert_eq!(get(&broker, "/api/vhosts/v%2F1").await["default_queue_type"], "quorum");

    assert_eq!(status(&broker, "DELETE", "/api/vhosts/v%2F1", Value::Null).await, 204);
    for method in ["GET", "DELETE"] {
        let reply = ask(&broker, method, "/api/vhosts/v%2F1", Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{method}");
    }
    assert_eq!(status(&broker, "GET", "/api/vhosts/v%2F1/permissions", Value::Null).await, 404);
}

#[tokio::test]
async fn vhosts_refused() {
    let broker = start().await;
    for (body, reason) in [
        (r#"{"default_queue_type": "bogus"}"#, json!("bogus is not a valid queue type")),
        (r#"{"default_queue_type": ""}"#, json!("default_queue_type must not be an empty string")),
        (r#"{"default_queue_type": 5}"#, json!("5 is not a valid default_queue_type value")),
        (r#"{"default_queue_type": ["x"]}"#, json!("[<<\"x\">>] is not a valid default_queue_type value")),
        (r#"{"default_queue_type": true}"#, json!("true is not a valid queue type")),
        (r#"{"tracing": "x"}"#, json!(["not_boolean", "x"])),
        ("{bad", json!("not_json")),
        ("[]", json!("not_json")),
        (
            "\"x\"",
            json!(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?"
            ),
        ),
    ] {
        let reply = Request::new("PUT", "/api/vhosts/v").body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{body}");
    }
    let big = format!("{{\"description\": \"{}\"}}", "x".repeat(10_000_000));
    let reply = Request::new("PUT", "/api/vhosts/v").body(big).send(broker.http).await;
    assert_eq!(
        (reply.status, reply.body),
        (400, error("bad_request", "Exceeded HTTP request body size limit"))
    );
    assert_eq!(status(&broker, "GET", "/api/vhosts/v", Value::Null).await, 404, "nothing has been made");
}

#[tokio::test]
async fn vhosts_protected_from_deletion() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    assert_eq!(status(&broker, "POST", "/api/vhosts/v/deletion/protection", Value::Null).await, 204);
    let reply = ask(&broker, "DELETE", "/api/vhosts/v", Value::Null).await;
    let reason = "Refusing to delete virtual host 'v' because it is protected from deletion";
    assert_eq!((reply.status, reply.body), (412, error("precondition_failed", reason)));
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 204);
    let vhost = get(&broker, "/api/vhosts/v").await;
    assert_eq!(
        (&vhost["protected_from_deletion"], &vhost["metadata"]["protected_from_deletion"]),
        (&json!(true), &json!(true))
    );
    for expected in [204, 204] {
        assert_eq!(
            status(&broker, "DELETE", "/api/vhosts/v/deletion/protection", Value::Null).await,
            expected
        );
    }
    assert_eq!(status(&broker, "DELETE", "/api/vhosts/v", Value::Null).await, 204);
    let reply = ask(&broker, "POST", "/api/vhosts/v/deletion/protection", Value::Null).await;
    let reason = "Cannot enable deletion protection of virtual host 'v' because it does not exist";
    assert_eq!((reply.status, reply.body), (404, error("not_found", reason)));
}
