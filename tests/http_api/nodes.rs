//! The node, its flags, the cluster's name, and logging in by a form.

use std::sync::Arc;
use std::time::Duration;

use leveret::http::settings::HttpSettings;
use leveret::node::Node;
use leveret::node::alarms::Alarm;
use serde_json::{Value, json};

use crate::amqp::Client;
use crate::broker::{Broker, start};
use crate::http::{Reply, Request};
use crate::{ask, error, get, get_as, not_found, put_user, status};

#[tokio::test]
async fn the_node() {
    let broker = start().await;
    broker.node.process.set_memory_limit(1 << 30);
    let nodes = get(&broker, "/api/nodes").await;
    let node = get(&broker, "/api/nodes/rabbit@localhost").await;
    assert_eq!(nodes.as_array().map(Vec::len), Some(1));
    let keys = |node: &Value| node.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&nodes[0]), keys(&node));
    assert_eq!(
        (&node["name"], &node["type"], &node["running"]),
        (&json!("rabbit@localhost"), &json!("disc"), &json!(true))
    );
    assert_eq!((&node["mem_limit"], &node["mem_alarm"]), (&json!(1 << 30), &json!(false)));
    assert_eq!(node["os_pid"], std::process::id().to_string());
    assert!(node["mem_used"].as_u64() > Some(100_000) && node["fd_used"].as_u64() > Some(3), "{node}");
    assert!(node["mem_used_details"]["rate"].is_f64() && node["context_switches"].as_u64() > Some(0));
    assert!(node["fd_used"].as_u64() <= node["fd_total"].as_u64() && node["processors"].as_u64() > Some(0));
    let port = broker.http.port().to_string();
    let context = json!({
        "description": "RabbitMQ Management", "path": "/", "port": port, "ip": "127.0.0.1",
        "cowboy_opts": "[{sendfile,false}]",
    });
    assert_eq!(node["contexts"], json!([context]));
    let mechanisms = node["auth_mechanisms"].as_array().expect("a list").iter();
    let enabled = mechanisms.filter(|one| one["enabled"] == true).map(|one| one["name"].clone());
    assert_eq!(enabled.collect::<Value>(), json!(["AMQPLAIN", "PLAIN", "ANONYMOUS"]));
    assert_eq!((node.get("memory"), node.get("binary")), (None, None));
    broker.node.alarms.raise(Alarm::Memory);
    let more = get(
        &broker,
        "/api/nodes/rabbit@localhost?memory=true&binary=true&columns=memory.strategy,mem_alarm,binary",
    )
    .await;
    assert_eq!(more, json!({ "memory": { "strategy": "rss" }, "mem_alarm": true, "binary": {} }));
    for path in ["x@y", "x@y/memory", "x@y/memory/relative", "x@y/memory/ets", "x@y/memory/ets/a/relative"] {
        let reply = ask(&broker, "GET", &format!("/api/nodes/{path}"), Value::Null).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{path}");
    }
}

/// RabbitMQ's own interface draws charts of all of them.
#[tokio::test]
async fn samples_of_all_that_has_a_rate() {
    let broker = start().await;
    let mut client = Client::open(broker.amqp, "guest", "guest", "/").await;
    client.open_channel().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    let connection = client.name().replace(' ', "%20").replace('>', "%3E");
    let ranges = ["lengths", "msg_rates", "data_rates", "node_stats"];
    let query = ranges.map(|range| format!("{range}_age=60&{range}_incr=5")).join("&");
    let paths = [
        "nodes/rabbit@localhost".to_owned(),
        "queues/%2F/q".to_owned(),
        format!("connections/{connection}"),
        format!("channels/{connection}%20(1)"),
    ];
    for path in paths {
        let shown = get(&broker, &format!("/api/{path}?{query}")).await;
        let details =
            shown.as_object().expect("an object").iter().filter(|(_, value)| value.get("rate").is_some());
        let without: Vec<_> =
            details.filter(|(_, value)| value["samples"].as_array().map(Vec::len) != Some(13)).collect();
        assert!(without.is_empty(), "{path}: {without:?}");
    }
}

#[tokio::test]
async fn memory() {
    let broker = start().await;
    let memory = get(&broker, "/api/nodes/rabbit@localhost/memory").await["memory"].clone();
    let parts = memory.as_object().expect("an object").iter().filter_map(|(_, octets)| octets.as_u64());
    assert_eq!(Some(parts.sum()), memory["total"]["rss"].as_u64(), "the parts are the whole");
    assert_eq!(memory["strategy"], "rss");
    let relative = get(&broker, "/api/nodes/rabbit@localhost/memory/relative").await["memory"].clone();
    assert_eq!((&relative["total"], &relative["mnesia"]), (&json!(100), &json!(0)));
    assert!(relative["other_proc"].as_u64() > Some(0) && relative.get("strategy").is_none());
    for path in ["ets", "ets/relative", "ets/rabbit", "ets/rabbit/relative"] {
        let tables = get(&broker, &format!("/api/nodes/rabbit@localhost/memory/{path}")).await;
        assert_eq!(tables, json!({ "ets_tables_memory": "no_tables" }), "{path}");
    }
}

#[tokio::test]
async fn who_may_see_the_node() {
    let broker = start().await;
    put_user(&broker, "p", "policymaker").await;
    put_user(&broker, "m", "monitoring").await;
    let not_monitor = (401, error("not_authorised", "Not monitor user"));
    let node = "rabbit@localhost";
    for path in
        ["nodes", "nodes/rabbit@localhost", "nodes/x@y", "nodes/rabbit@localhost/memory", "auth/attempts/x"]
    {
        let path = format!("/api/{path}");
        assert_eq!(get_as(&broker, "p", &path).await, not_monitor, "{path}");
    }
    assert_eq!(get_as(&broker, "m", &format!("/api/nodes/{node}/memory")).await.0, 200);
    let not_administrator = error("not_authorised", "Not administrator user");
    for (method, path) in [
        ("PUT", "cluster-name"),
        ("PUT", "feature-flags/quorum_queue/enable"),
        ("GET", "config/effective"),
        ("DELETE", "reset"),
        ("DELETE", "auth/attempts/rabbit@localhost"),
        ("POST", "rebalance/queues"),
        ("POST", "vhosts/%2F/start/rabbit@localhost"),
    ] {
        let reply = Request::new(method, &format!("/api/{path}")).user("m", "pw").send(broker.http).await;
        assert_eq!((reply.status, &reply.body), (401, &not_administrator), "{path}");
    }
}

#[tokio::test]
async fn attempts_to_log_in() {
    let broker = start().await;
    let path = "/api/auth/attempts/rabbit@localhost";
    let _client = Client::open(broker.amqp, "guest", "guest", "/").await;
    assert_eq!(Request::new("GET", path).user("guest", "bad").send(broker.http).await.status, 401);
    let of = |protocol: &str, succeeded: u64, failed: u64| {
        json!({
            "protocol": protocol, "auth_attempts": succeeded + failed, "auth_attempts_failed": failed,
            "auth_attempts_succeeded": succeeded,
        })
    };
    assert_eq!(get(&broker, path).await, json!([of("http", 1, 1), of("amqp091", 1, 0)]));
    assert_eq!(get(&broker, &format!("{path}/source")).await, json!([]));
    assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 204);
    assert_eq!(get(&broker, path).await, json!([of("http", 1, 0)]));
    assert_eq!(status(&broker, "DELETE", "/api/auth/attempts/x@y", Value::Null).await, 404);
}

#[tokio::test]
async fn feature_flags() {
    let broker = start().await;
    let flags = get(&broker, "/api/feature-flags").await;
    let flag =
        |name: &str| flags.as_array().and_then(|all| all.iter().find(|flag| flag["name"] == name)).cloned();
    let stream = json!({
        "name": "stream_queue",
        "desc": "Support queues of type `stream`",
        "doc_url": "https://www.rabbitmq.com/docs/stream",
        "state": "enabled",
        "stability": "required",
        "require_level": "hard",
        "experiment_level": "supported",
        "callbacks": [],
        "provided_by": "rabbit",
    });
    assert_eq!(flag("stream_queue"), Some(stream));
    for name in ["quorum_queue", "khepri_db", "rabbitmq_4.3.0", "user_limits"] {
        assert_eq!(flag(name).expect("a flag")["state"], "enabled", "{name}");
    }
    assert_eq!(status(&broker, "PUT", "/api/feature-flags/khepri_db/enable", Value::Null).await, 204);
    let reply = ask(&broker, "PUT", "/api/feature-flags/nosuch/enable", Value::Null).await;
    assert_eq!((reply.status, reply.body), (400, error("bad_request", "unsupported")));
    let deprecated = get(&broker, "/api/deprecated-features").await;
    assert_eq!(
        (&deprecated[0]["name"], &deprecated[0]["state"]),
        (&json!("queue_master_locator"), &json!("denied"))
    );
    let extensions = get(&broker, "/api/extensions").await;
    assert_eq!(extensions, json!([{ "javascript": "dispatcher.js" }]));
}

#[tokio::test]
async fn deprecated_features_that_are_used() {
    let broker = start().await;
    assert_eq!(get(&broker, "/api/deprecated-features/used").await, json!([]));
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({ "durable": false })).await, 201);
    let used = get(&broker, "/api/deprecated-features/used").await;
    assert_eq!(
        (&used[0]["name"], used.as_array().map(Vec::len)),
        (&json!("transient_nonexcl_queues"), Some(1))
    );
    assert_eq!((&used[0]["provided_by"], used[0].get("state")), (&json!("rabbit"), None));
}

#[tokio::test]
async fn the_name_of_the_cluster() {
    let broker = start().await;
    let put = async |body: Value| {
        let reply = ask(&broker, "PUT", "/api/cluster-name", body).await;
        (reply.status, reply.body)
    };
    assert_eq!(put(json!({})).await, (400, error("bad_request", "[{key_missing,name}]")));
    assert_eq!(put(json!({ "name": 5 })).await.0, 400);
    assert_eq!(put(json!({ "name": "the one" })).await, (204, Value::Null));
    assert_eq!(get(&broker, "/api/cluster-name").await, json!({ "name": "the one" }));
    assert_eq!(get(&broker, "/api/overview").await["cluster_name"], "the one");
    let parameter = json!({ "name": "cluster_name", "value": "the one" });
    assert_eq!(get(&broker, "/api/global-parameters/cluster_name").await, parameter);
    assert_eq!(broker.node.current_offer().cluster_name, "the one", "clients are told");
    // Whoever connects is told of it, so it has its bounds, wherever it comes from.
    let long = "x".repeat(256);
    assert_eq!(status(&broker, "PUT", "/api/cluster-name", json!({ "name": long })).await, 400);
    let parameter = json!({ "value": long });
    assert_eq!(status(&broker, "PUT", "/api/global-parameters/cluster_name", parameter).await, 204);
    assert_eq!(broker.node.current_offer().cluster_name, "rabbit@localhost");
    assert_eq!(status(&broker, "DELETE", "/api/global-parameters/cluster_name", Value::Null).await, 204);
    assert_eq!(get(&broker, "/api/cluster-name").await, json!({ "name": "rabbit@localhost" }));
}

#[tokio::test]
async fn the_cluster() {
    let broker = start().await;
    for (method, path, expected) in [
        ("DELETE", "reset", 204),
        ("DELETE", "reset/rabbit@localhost", 204),
        ("DELETE", "reset/x@y", 404),
        ("POST", "rebalance/queues", 204),
        ("POST", "vhosts/%2F/start/rabbit@localhost", 204),
    ] {
        assert_eq!(status(&broker, method, &format!("/api/{path}"), Value::Null).await, expected, "{path}");
    }
    for (path, reason) in [
        ("%2F/start/x@y", "Unknown node: x@y"),
        (
            "v/start/rabbit@localhost",
            "Request to node rabbit@localhost failed with {no_such_vhost,<<\"v\">>}",
        ),
    ] {
        let reply = ask(&broker, "POST", &format!("/api/vhosts/{path}"), Value::Null).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{path}");
    }
    let reply = ask(&broker, "GET", "/api/config/effective", Value::Null).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain")));
    let text = reply.body.as_str().expect("a text").to_owned();
    let port = broker.amqp.port();
    assert!(text.contains(&format!("{{tcp_listeners,[{{\"127.0.0.1\",{port}}}]}}")), "{text}");
    let version = Request::new("GET", "/api/version").authorization(None).send(broker.http).await;
    assert_eq!((version.status, &version.body, version.header("expires")), (200, &json!("4.3.6"), Some("0")));
}

async fn log_in(broker: &Broker, form: &str) -> Reply {
    let request = Request::new("POST", "/api/login").authorization(None);
    request.header("Content-Type", "application/x-www-form-urlencoded").body(form).send(broker.http).await
}

#[tokio::test]
async fn logging_in_by_a_form() {
    let broker = start().await;
    let reply = log_in(&broker, "username=guest&password=guest").await;
    let guest = json!({ "name": "guest", "tags": ["administrator"], "is_internal_user": true });
    let token = json!({ "type": "basic", "value": "Z3Vlc3Q6Z3Vlc3Q=" });
    assert_eq!((reply.status, reply.body), (200, json!({ "user": guest, "token": token })));
    put_user(&broker, "u", "").await;
    let refused = error("not_authorized", "Not_Authorized");
    for form in ["username=guest&password=bad", "username=guest", "", "{}"] {
        let reply = log_in(&broker, form).await;
        assert_eq!((reply.status, &reply.body), (401, &refused), "{form}");
    }
    let reply = log_in(&broker, "username=u&password=pw").await;
    assert_eq!((reply.status, reply.body), (401, error("not_authorised", "Not management user")));
    let plain = Request::new("POST", "/api/login").header("Content-Type", "text/plain");
    assert_eq!(plain.body("username=guest&password=guest").send(broker.http).await.status, 415);
    let leave = Request::new("DELETE", "/api/login").authorization(None).send(broker.http).await;
    assert_eq!((leave.status, leave.header("allow")), (204, Some("POST, DELETE, OPTIONS")));
}

#[tokio::test]
async fn logging_in_by_setting() {
    let with = async |settings| Broker::with(Arc::new(Node::new().expect("a node")), settings).await;
    let session = Some(Duration::from_secs(600));
    let broker = with(HttpSettings { login_session: session, ..HttpSettings::default() }).await;
    let reply = log_in(&broker, "username=guest&password=guest").await;
    assert_eq!(reply.body["user"]["login_session_timeout"], 10);
    let broker = with(HttpSettings { no_basic_auth: true, ..HttpSettings::default() }).await;
    let disabled = error("not_authorised", "HTTP access denied: basic auth disabled");
    let reply = log_in(&broker, "username=guest&password=guest").await;
    assert_eq!((reply.status, &reply.body), (401, &disabled));
    let reply = ask(&broker, "GET", "/api/whoami", Value::Null).await;
    assert_eq!((reply.status, &reply.body), (401, &disabled));
    let reply = Request::new("GET", "/api/whoami").authorization(None).send(broker.http).await;
    assert_eq!(
        (reply.status, &reply.body),
        (401, &error("not_authorised", "HTTP access denied: no credentials"))
    );
}
