//! Limits of vhosts and users.

use serde_json::{Value, json};

use crate::broker::start;
use crate::http::Request;
use crate::{ask, error, get, get_as, not_found, permit, put_user, status};

#[tokio::test]
async fn of_vhosts() {
    let broker = start().await;
    assert_eq!(get(&broker, "/api/vhost-limits").await, json!([]));
    assert_eq!(get(&broker, "/api/vhost-limits/%2F").await, json!([]));
    let (queues, connections) = ("/api/vhost-limits/%2F/max-queues", "/api/vhost-limits/%2F/max-connections");
    for value in [10, 0, -5] {
        assert_eq!(status(&broker, "PUT", queues, json!({ "value": value })).await, 204);
        let expected = json!([{ "vhost": "/", "value": { "max-queues": value } }]);
        assert_eq!(get(&broker, "/api/vhost-limits/%2F").await, expected);
    }
    assert_eq!(status(&broker, "PUT", connections, json!({ "value": 100 })).await, 204);
    let expected = json!([{ "vhost": "/", "value": { "max-connections": 100, "max-queues": -5 } }]);
    assert_eq!(get(&broker, "/api/vhost-limits").await, expected);
    // To describe a vhost anew leaves them.
    assert_eq!(status(&broker, "PUT", "/api/vhosts/%2F", json!({ "description": "d" })).await, 204);
    assert_eq!(get(&broker, "/api/vhost-limits").await, expected);
    for path in [queues, queues, connections, "/api/vhost-limits/%2F/nosuch"] {
        assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 204);
    }
    assert_eq!(get(&broker, "/api/vhost-limits/%2F").await, json!([]));
    assert_eq!(get(&broker, "/api/vhost-limits").await, json!([{ "vhost": "/", "value": {} }]));
}

#[tokio::test]
async fn of_users() {
    let broker = start().await;
    put_user(&broker, "u", "management").await;
    let path = "/api/user-limits/u/max-channels";
    assert_eq!(get(&broker, "/api/user-limits").await, json!([]));
    assert_eq!(status(&broker, "PUT", path, json!({ "value": 3 })).await, 204);
    let expected = json!([{ "user": "u", "value": { "max-channels": 3 } }]);
    assert_eq!(get(&broker, "/api/user-limits").await, expected);
    assert_eq!(get(&broker, "/api/user-limits/u").await, expected);
    assert_eq!(get_as(&broker, "u", "/api/user-limits/u").await, (200, expected.clone()));
    // A user put anew keeps them; a user of that name that comes later has none.
    let again = json!({ "password": "pw", "tags": "management" });
    assert_eq!(status(&broker, "PUT", "/api/users/u", again).await, 204);
    assert_eq!(get(&broker, "/api/users/u").await["limits"], json!({ "max-channels": 3 }));
    assert_eq!(status(&broker, "DELETE", "/api/users/u", Value::Null).await, 204);
    put_user(&broker, "u", "management").await;
    assert_eq!(get(&broker, "/api/user-limits/u").await, json!([]));
    assert_eq!(status(&broker, "PUT", path, json!({ "value": -1 })).await, 204);
    for path in [path, path, "/api/user-limits/u/nosuch"] {
        assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 204);
    }
    assert_eq!(get(&broker, "/api/user-limits").await, json!([]));
}

#[tokio::test]
async fn what_is_refused() {
    let broker = start().await;
    put_user(&broker, "u", "").await;
    let no_number = |name: &str, shown: &str| format!("{name} should be a number, actually was {shown}");
    let failed = |text: &str| format!("Validation failed\n\n{text}\n");
    for (value, shown) in
        [("1.5", "1.5"), ("\"7\"", "<<\"7\">>"), ("null", "null"), ("[1]", "[1]"), ("true", "true")]
    {
        let body = format!("{{\"value\": {value}}}");
        for (path, reason) in [
            ("/api/vhost-limits/%2F/max-queues", failed(&no_number("max-queues", shown))),
            ("/api/user-limits/u/max-channels", no_number("max-channels", shown)),
        ] {
            let request = Request::new("PUT", path).header("Content-Type", "application/json");
            let reply = request.body(body.clone()).send(broker.http).await;
            assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{path} {body}");
        }
    }
    let (missing, unknown) = ("[{key_missing,value}]", "Unrecognised terms [{<<\"nosuch\">>,1}] in ");
    for (path, body, reason) in [
        ("/api/vhost-limits/%2F/max-queues", "{}", json!(missing)),
        ("/api/vhost-limits/%2F/max-queues", "{bad", json!("not_json")),
        ("/api/vhost-limits/%2F/nosuch", "{\"value\": 1}", json!(failed(&format!("{unknown}limits")))),
        ("/api/user-limits/u/max-channels", "", json!(missing)),
        ("/api/user-limits/u/nosuch", "{\"value\": 1}", json!(format!("{unknown}user-limits"))),
        ("/api/user-limits/who/nosuch", "{\"value\": 1}", json!(format!("{unknown}user-limits"))),
        ("/api/user-limits/who/max-channels", "{\"value\": 1}", json!(["no_such_user", "who"])),
    ] {
        let request = Request::new("PUT", path).header("Content-Type", "application/json");
        let reply = request.body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{path} {body}");
    }
    for (method, path, reason) in [
        ("PUT", "/api/vhost-limits/nosuch/nosuch", error("not_found", "vhost_not_found")),
        ("DELETE", "/api/vhost-limits/nosuch/max-queues", error("not_found", "vhost_not_found")),
        ("DELETE", "/api/user-limits/who/max-channels", error("not_found", "vhost_not_found")),
        ("GET", "/api/vhost-limits/nosuch", not_found()),
        ("GET", "/api/user-limits/who", not_found()),
    ] {
        let reply = ask(&broker, method, path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, reason), "{method} {path}");
    }
    for (method, path) in [
        ("HEAD", "/api/vhost-limits"),
        ("HEAD", "/api/user-limits/u"),
        ("GET", "/api/vhost-limits/%2F/max-queues"),
        ("GET", "/api/user-limits/u/max-channels"),
    ] {
        assert_eq!(status(&broker, method, path, Value::Null).await, 405, "{method} {path}");
    }
}

#[tokio::test]
async fn who_may_see_and_set_them() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    for name in ["v", "%2F"] {
        let path = format!("/api/vhost-limits/{name}/max-queues");
        assert_eq!(status(&broker, "PUT", &path, json!({ "value": 1 })).await, 204);
    }
    put_user(&broker, "m", "management").await;
    put_user(&broker, "w", "monitoring").await;
    permit(&broker, "v", "m", "").await;
    let of_v = json!([{ "vhost": "v", "value": { "max-queues": 1 } }]);
    assert_eq!(get_as(&broker, "m", "/api/vhost-limits").await, (200, of_v.clone()));
    assert_eq!(get_as(&broker, "m", "/api/vhost-limits/v").await, (200, of_v));
    assert_eq!(get_as(&broker, "m", "/api/vhost-limits/%2F").await, (404, error("not_found", "Not Found")));
    let other = error("not_authorised", "User not authorised to access object");
    assert_eq!(get_as(&broker, "m", "/api/user-limits/w").await, (401, other));
    assert_eq!(get_as(&broker, "w", "/api/user-limits/m").await, (200, json!([])));
    let not_administrator = error("not_authorised", "Not administrator user");
    assert_eq!(get_as(&broker, "w", "/api/user-limits").await, (401, not_administrator.clone()));
    for method in ["PUT", "DELETE"] {
        for path in ["/api/vhost-limits/v/max-queues", "/api/user-limits/m/max-channels"] {
            let reply = Request::new(method, path).user("w", "pw").body("{}").send(broker.http).await;
            assert_eq!((reply.status, reply.body), (401, not_administrator.clone()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_queue_too_many() {
    let broker = start().await;
    let limit = "/api/vhost-limits/%2F/max-queues";
    assert_eq!(status(&broker, "PUT", limit, json!({ "value": 1 })).await, 204);
    for expected in [201, 204] {
        assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", Value::Null).await, expected);
    }
    let reply = ask(&broker, "PUT", "/api/queues/%2F/r", Value::Null).await;
    let reason = "cannot declare queue 'r': queue limit in vhost '/' (1) is reached";
    assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)));
}

#[tokio::test]
async fn of_vhosts_as_parameters() {
    let broker = start().await;
    put_user(&broker, "m", "monitoring").await;
    let path = "/api/parameters/vhost-limits/%2F/limits";
    let put = async |value: Value| {
        let reply = ask(&broker, "PUT", path, json!({ "value": value })).await;
        (reply.status, reply.body)
    };
    assert_eq!(status(&broker, "GET", path, Value::Null).await, 404);
    assert_eq!(put(json!({ "max-queues": 5, "max-connections": -1 })).await.0, 201);
    let limits = json!({ "max-queues": 5, "max-connections": -1 });
    let parameter = json!({ "value": limits, "vhost": "/", "component": "vhost-limits", "name": "limits" });
    assert_eq!(get(&broker, path).await, parameter);
    assert_eq!(get(&broker, "/api/vhost-limits").await, json!([{ "vhost": "/", "value": limits }]));
    assert_eq!(get_as(&broker, "m", "/api/vhost-limits/%2F").await.1[0]["value"], limits, "monitors see all");
    assert_eq!(put(json!({ "max-queues": 7 })).await.0, 204);
    assert_eq!(get(&broker, path).await["value"], json!({ "max-queues": 7 }), "the others are gone");
    let operator = json!({ "pattern": "x", "definition": { "max-length": 1 } });
    assert_eq!(status(&broker, "PUT", "/api/operator-policies/%2F/z", operator).await, 201);
    let all = get(&broker, "/api/parameters?columns=component,name").await;
    let expected = json!([
        { "component": "vhost-limits", "name": "limits" },
        { "component": "operator_policy", "name": "z" },
    ]);
    assert_eq!(all, expected);
    for (value, why) in [
        (json!({ "x": 5 }), "Unrecognised terms [{<<\"x\">>,5}] in limits"),
        (json!({ "max-queues": "a" }), "max-queues should be a number, actually was <<\"a\">>"),
        (json!(5), "limits not a list 5"),
    ] {
        let reason = format!("Validation failed\n\n{why}\n");
        assert_eq!(put(value).await, (400, error("bad_request", reason)));
    }
    let other = json!({ "value": {} });
    assert_eq!(status(&broker, "PUT", "/api/parameters/vhost-limits/%2F/other", other).await, 400);
    for expected in [204, 404] {
        assert_eq!(status(&broker, "DELETE", path, Value::Null).await, expected);
    }
    assert_eq!(get(&broker, "/api/vhost-limits").await, json!([]));
}
