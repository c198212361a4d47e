//! Users and their permissions.

use serde_json::{Value, json};

use crate::broker::start;
use crate::http::Request;
use crate::{ask, error, get, not_found, put_user, status};

#[tokio::test]
async fn users() {
    let broker = start().await;
    let body = json!({ "password": "p", "tags": "management, x ," });
    assert_eq!(status(&broker, "PUT", "/api/users/u", body.clone()).await, 201);
    assert_eq!(status(&broker, "PUT", "/api/users/u", body).await, 204);
    let mut user = get(&broker, "/api/users/u").await;
    assert_eq!(user["password_hash"].take().as_str().map(str::len), Some(48));
    let expected = json!({
        "name": "u",
        "password_hash": null,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["management", "x"],
        "limits": {},
    });
    assert_eq!(user, expected);
    assert_eq!(get(&broker, "/api/users/without-permissions").await[0]["name"], "u");
    assert_eq!(get(&broker, "/api/users/u/permissions").await, json!([]));

    // Whatever a request does not say is gone: here, the password.
    assert_eq!(status(&broker, "PUT", "/api/users/u", json!({ "tags": ["administrator"] })).await, 204);
    let user = get(&broker, "/api/users/u").await;
    assert_eq!((&user["password_hash"], &user["tags"]), (&json!(""), &json!(["administrator"])));
    for password in ["p", ""] {
        let reply = Request::new("GET", "/api/whoami").user("u", password).send(broker.http).await;
        assert_eq!(reply.status, 401);
    }

    assert_eq!(status(&broker, "DELETE", "/api/users/u", Value::Null).await, 204);
    for (method, path) in
        [("DELETE", "/api/users/u"), ("GET", "/api/users/u"), ("GET", "/api/users/u/permissions")]
    {
        let reply = ask(&broker, method, path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{method} {path}");
    }
}

#[tokio::test]
async fn password_hashes() {
    let broker = start().await;
    // From RabbitMQ's documentation: the password is "test12".
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    let body = json!({ "password_hash": hash, "tags": "management" });
    assert_eq!(status(&broker, "PUT", "/api/users/u", body).await, 201);
    assert_eq!(get(&broker, "/api/users/u").await["password_hash"], hash);
    for (password, expected) in [("test12", 200), ("other", 401)] {
        let reply = Request::new("GET", "/api/whoami").user("u", password).send(broker.http).await;
        assert_eq!(reply.status, expected, "{password}");
    }
    let md5 =
        json!({ "password_hash": "AAAA", "hashing_algorithm": "rabbit_password_hashing_md5", "tags": "" });
    assert_eq!(status(&broker, "PUT", "/api/users/u", md5).await, 204);
    let user = get(&broker, "/api/users/u").await;
    assert_eq!(
        (&user["password_hash"], &user["hashing_algorithm"]),
        (&json!("AAAA"), &json!("rabbit_password_hashing_md5"))
    );
    let hashed = get(&broker, "/api/auth/hash_password/secret").await;
    let body = json!({ "password_hash": hashed["ok"], "tags": "management" });
    assert_eq!(status(&broker, "PUT", "/api/users/u", body).await, 204);
    let reply = Request::new("GET", "/api/whoami").user("u", "secret").send(broker.http).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn users_refused() {
    let broker = start().await;
    for (body, reason) in [
        (r#"{"password": "p"}"#, json!("tags_not_present")),
        ("", json!("tags_not_present")),
        (r#"{"password_hash": "!!!", "tags": ""}"#, json!(["not_base64", "!!!"])),
        (r#"{"password_hash": null, "tags": ""}"#, json!(["not_base64", null])),
        (
            r#"{"password": "a", "password_hash": "x", "tags": ""}"#,
            json!("both_password_and_password_hash_are_provided"),
        ),
        ("{bad", json!("not_json")),
    ] {
        let reply = Request::new("PUT", "/api/users/u").body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{body}");
    }
    // RabbitMQ answers these with 500.
    for body in [json!({ "password": 5, "tags": "" }), json!({ "password": "x", "tags": 5 })] {
        assert_eq!(status(&broker, "PUT", "/api/users/u", body).await, 400);
    }
    assert_eq!(status(&broker, "GET", "/api/users/u", Value::Null).await, 404, "nobody has been made");
}

#[tokio::test]
async fn users_deleted_in_bulk() {
    let broker = start().await;
    put_user(&broker, "a", "").await;
    put_user(&broker, "b", "").await;
    let path = "/api/users/bulk-delete";
    let reply = ask(&broker, "POST", path, json!({})).await;
    assert_eq!((reply.status, reply.body), (400, error("bad_request", "[{key_missing,users}]")));
    assert_eq!(status(&broker, "POST", path, json!({ "users": ["a", "nosuch", "b"] })).await, 204);
    assert_eq!(get(&broker, "/api/users").await.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn permissions() {
    let broker = start().await;
    put_user(&broker, "u", "").await;
    let path = "/api/permissions/%2F/u";
    let body = json!({ "configure": "", "write": ".*", "read": "^a" });
    assert_eq!(status(&broker, "GET", path, Value::Null).await, 404);
    assert_eq!(status(&broker, "PUT", path, body.clone()).await, 201);
    assert_eq!(status(&broker, "PUT", path, body.clone()).await, 204);
    let expected = json!({ "user": "u", "vhost": "/", "configure": "", "write": ".*", "read": "^a" });
    assert_eq!(get(&broker, path).await, expected);
    assert_eq!(get(&broker, "/api/users/u/permissions").await, json!([expected]));
    assert_eq!(get(&broker, "/api/permissions").await[1], expected);
    assert_eq!(get(&broker, "/api/vhosts/%2F/permissions").await[1], expected);

    for (path, body, reason) in [
        (path, r#"{"configure": ".*"}"#, "[{key_missing,write},{key_missing,read}]"),
        (path, "", "[{key_missing,configure},{key_missing,write},{key_missing,read}]"),
        (path, "{bad", "not_json"),
        ("/api/permissions/missing/u", "{bad", "vhost_or_user_not_found"),
        ("/api/permissions/%2F/missing", "", "vhost_or_user_not_found"),
    ] {
        let reply = Request::new("PUT", path).body(body).send(broker.http).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{path} {body}");
    }
    let no_pattern = json!({ "configure": "[", "write": "", "read": "" });
    assert_eq!(status(&broker, "PUT", path, no_pattern).await, 400);
    assert_eq!(get(&broker, path).await, expected, "nothing has changed");
    for expected in [204, 404] {
        assert_eq!(status(&broker, "DELETE", path, Value::Null).await, expected);
    }
}
