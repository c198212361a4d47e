//! Connections: that they show, and that they can be closed.

use serde_json::{Value, json};

use crate::amqp::Client;
use crate::broker::start;
use crate::http::Request;
use crate::{ask, error, get, get_as, is_listed_as, not_found, permit, put_user, status};

#[tokio::test]
async fn connections_show_at_once() {
    let broker = start().await;
    let mut client = Client::open(broker.amqp, "guest", "guest", "/").await;
    client.open_channel().await;
    let all = get(&broker, "/api/connections").await;
    let connection = &all[0];
    assert_eq!(all.as_array().map(Vec::len), Some(1));
    let path = client.name().replace(':', "%3A").replace(' ', "%20").replace('>', "%3E");
    let alone = get(&broker, &format!("/api/connections/{path}")).await;
    assert!(is_listed_as(&alone, connection), "{alone}");
    for (key, expected) in [
        ("name", json!(client.name())),
        ("user", json!("guest")),
        ("vhost", json!("/")),
        ("peer_host", json!("127.0.0.1")),
        ("host", json!("127.0.0.1")),
        ("port", json!(broker.amqp.port())),
        ("protocol", json!("AMQP 0-9-1")),
        ("auth_mechanism", json!("PLAIN")),
        ("state", json!("running")),
        ("type", json!("network")),
        ("ssl", json!(false)),
        ("channels", json!(1)),
        ("channel_max", json!(100)),
        ("frame_max", json!(8192)),
        ("timeout", json!(30)),
        ("client_properties", json!({ "connection_name": "the test" })),
        ("user_provided_name", json!("the test")),
        ("node", json!("rabbit@localhost")),
    ] {
        assert_eq!(connection[key], expected, "{key}");
    }
    let brief = json!([{ "name": client.name(), "node": "rabbit@localhost", "user": "guest", "vhost": "/" }]);
    assert_eq!(get(&broker, "/api/connections/username/guest").await, brief);
    put_user(&broker, "m", "management").await;
    assert_eq!(get_as(&broker, "m", "/api/connections").await, (200, json!([])), "others' are not shown");
    let refused = error("not_authorised", "User not authorised to access object");
    assert_eq!(get_as(&broker, "m", &format!("/api/connections/{path}")).await, (401, refused));
}

#[tokio::test]
async fn closing_connections() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    put_user(&broker, "u", "").await;
    permit(&broker, "v", "u", "").await;
    for (method, path) in [("GET", "/api/connections/none"), ("DELETE", "/api/connections/none")] {
        let reply = ask(&broker, method, path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()));
    }
    let cases = [
        ("/api/connections/username/u", "", "Closed via management plugin"),
        ("NAME", "", "Closed via management plugin"),
        ("NAME", "my reason", "my reason"),
        ("/api/users/u", "", "user 'u' is deleted"),
    ];
    for (path, reason, expected) in cases {
        let mut client = Client::open(broker.amqp, "u", "pw", "v").await;
        let name = client.name().replace(' ', "%20").replace('>', "%3E");
        let path = path.replace("NAME", &format!("/api/connections/{name}"));
        let request = Request::new("DELETE", &path);
        let request = if reason.is_empty() { request } else { request.header("X-Reason", reason) };
        let (reply, closed) = tokio::join!(request.send(broker.http), client.closed());
        assert_eq!(reply.status, 204, "{path}");
        assert_eq!(closed, (320, format!("CONNECTION_FORCED - {expected}")));
        if path.contains(&name) {
            assert_eq!(
                status(&broker, "GET", &path, Value::Null).await,
                404,
                "it is gone once that is answered"
            );
        }
    }
    let mut client = Client::open(broker.amqp, "guest", "guest", "v").await;
    // Those who monitor see it and may not close it.
    put_user(&broker, "monitor", "monitoring").await;
    let name = client.name().replace(' ', "%20").replace('>', "%3E");
    for path in [format!("/api/connections/{name}"), "/api/connections/username/guest".to_owned()] {
        assert_eq!(get_as(&broker, "monitor", &path).await.0, 200, "{path}");
        let reply = Request::new("DELETE", &path).user("monitor", "pw").send(broker.http).await;
        let refused = error("not_authorised", "User not authorised to access object");
        assert_eq!((reply.status, reply.body), (401, refused), "{path}");
    }
    let own = Request::new("DELETE", "/api/connections/username/monitor").user("monitor", "pw");
    assert_eq!(own.send(broker.http).await.status, 204);
    assert_eq!(status(&broker, "DELETE", "/api/vhosts/v", Value::Null).await, 204);
    assert_eq!(client.closed().await, (320, "CONNECTION_FORCED - vhost 'v' is deleted".to_owned()));
}
