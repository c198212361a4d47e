//! Health checks, and how connections show while there is an alarm.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};
use leveret::node::alarms::Alarm;
use leveret::node::limits::NodeLimits;
use leveret::node::listeners::Certificates;
use leveret::node::{Node, now};
use serde_json::{Value, json};

use super::amqp::Client;
use super::broker::Broker;
use super::http::Request;
use super::{ask, error, get, get_as, not_found, permit, put_user, start, status, timeout};

fn failed(reason: &str, resources: &[&str]) -> Value {
    let alarms: Vec<_> =
        resources.iter().map(|r| json!({ "node": "rabbit@localhost", "resource": r })).collect();
    json!({ "status": "failed", "reason": reason, "alarms": alarms })
}

#[tokio::test]
async fn alarms() {
    let broker = start().await;
    let paths = [
        ("/api/health/checks/alarms", "There are alarms in effect in the cluster"),
        ("/api/health/checks/local-alarms", "There are alarms in effect on the node"),
    ];
    for (path, reason) in paths {
        assert_eq!(get(&broker, path).await, json!({ "status": "ok" }));
        broker.node.alarms.raise(Alarm::Memory);
        let reply = ask(&broker, "GET", path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (503, failed(reason, &["memory"])));
        broker.node.alarms.raise(Alarm::Disk);
        let reply = ask(&broker, "GET", path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (503, failed(reason, &["disk space", "memory"])));
        broker.node.alarms.clear(Alarm::Memory);
        broker.node.alarms.clear(Alarm::Disk);
    }
}

#[tokio::test]
async fn connections_show_what_an_alarm_does_to_them() {
    let broker = start().await;
    let mut client = Client::open(broker.amqp, "guest", "guest", "/").await;
    client.open_channel().await;
    broker.node.alarms.raise(Alarm::Disk);
    assert_eq!(get(&broker, "/api/connections").await[0]["state"], "blocking");
    let publish = basic::AMQPMethod::Publish(basic::Publish {
        exchange: "".into(),
        routing_key: "q".into(),
        mandatory: false,
        immediate: false,
    });
    client.put(1, &AMQPClass::Basic(publish)).await;
    let blocked = async {
        while get(&broker, "/api/connections").await[0]["state"] != "blocked" {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), blocked).await.expect("blocked in time");
}

fn ok() -> (u16, Value) {
    (200, json!({ "status": "ok" }))
}

async fn check(broker: &Broker, path: &str) -> (u16, Value) {
    let reply = ask(broker, "GET", &format!("/api/{path}"), Value::Null).await;
    (reply.status, reply.body)
}

#[tokio::test]
async fn a_node_that_is_well() {
    let broker = start().await;
    let leaders = "health/checks/quorum-queues-without-elected-leaders";
    for path in [
        "metadata-store/initialized",
        "metadata-store/initialized/with-data",
        "certificate-expiration/1/days",
        "virtual-hosts",
        "is-in-service",
        "below-node-connection-limit",
        "ready-to-serve-clients",
        "reached-target-cluster-size",
    ] {
        assert_eq!(check(&broker, &format!("health/checks/{path}")).await, ok(), "{path}");
    }
    for path in ["all-vhosts", "all-vhosts/pattern/.*", "vhost/%2F/", "vhost/none", "vhost/%2F/pattern/("] {
        assert_eq!(check(&broker, &format!("{leaders}/{path}")).await, ok(), "{path}");
    }
    for path in ["aliveness-test/%2F", "healthchecks/node", "healthchecks/node/rabbit@localhost"] {
        assert_eq!(check(&broker, path).await, ok(), "{path}");
    }
    // The very text, without a blank: Spring's tests compare it.
    let alive = ask(&broker, "GET", "/api/aliveness-test/%2F", Value::Null).await;
    assert_eq!(alive.header("content-length"), Some(r#"{"status":"ok"}"#.len().to_string().as_str()));
    let single = json!({ "status": "ok", "reason": "single node cluster" });
    assert_eq!(check(&broker, "health/checks/node-is-quorum-critical").await, (200, single));
    for path in ["aliveness-test/none", "healthchecks/node/x@y", "health/checks/nosuch", "health/checks"] {
        assert_eq!(check(&broker, path).await, (404, not_found()), "{path}");
    }
    let refused = error("bad_request", "Invalid timeout parameter");
    for path in ["health/checks/alarms", "health/checks/local-alarms", "healthchecks/node"] {
        let path = format!("/api/{path}");
        let reply = Request::new("GET", &path).header("Timeout", "soon").send(broker.http).await;
        assert_eq!((reply.status, &reply.body), (400, &refused), "{path}");
        let reply = Request::new("GET", &path).header("Timeout", "1").send(broker.http).await;
        assert_eq!(reply.status, 200, "{path}");
    }
}

#[tokio::test]
async fn who_may_ask_how_it_is() {
    let broker = start().await;
    put_user(&broker, "m", "management").await;
    put_user(&broker, "a", "administrator").await;
    assert_eq!(get_as(&broker, "m", "/api/health/checks/alarms").await, ok());
    let out_of_reach = (404, error("not_found", "Not Found"));
    for path in ["health/checks/quorum-queues-without-elected-leaders/vhost/%2F", "aliveness-test/%2F"] {
        assert_eq!(get_as(&broker, "m", &format!("/api/{path}")).await, out_of_reach, "{path}");
    }
    let refused = (401, error("not_authorised", "Access refused."));
    assert_eq!(get_as(&broker, "a", "/api/aliveness-test/%2F").await, refused, "no permission");
    permit(&broker, "%2F", "m", "").await;
    assert_eq!(get_as(&broker, "m", "/api/aliveness-test/%2F").await, ok());
    let anybody = [
        "is-in-service",
        "below-node-connection-limit",
        "ready-to-serve-clients",
        "reached-target-cluster-size",
    ];
    for path in anybody {
        let path = format!("/api/health/checks/{path}");
        let reply = Request::new("GET", &path).authorization(None).send(broker.http).await;
        assert_eq!(
            (reply.status, reply.header("pragma"), reply.header("expires")),
            (200, Some("no-cache"), Some("0"))
        );
    }
    let reply = Request::new("GET", "/api/health/checks/virtual-hosts").authorization(None);
    assert_eq!(reply.send(broker.http).await.status, 401);
}

#[tokio::test]
async fn where_it_listens() {
    let broker = start().await;
    let (amqp, http) = (broker.amqp.port(), broker.http.port());
    let open = json!({ "status": "ok", "port": amqp });
    assert_eq!(check(&broker, &format!("health/checks/port-listener/{amqp}")).await, (200, open));
    let failed = |missing: Value| json!({ "status": "failed", "reason": "No active listener", "missing": missing, "ports": [amqp, http] });
    for port in [1, 100_000] {
        let path = format!("health/checks/port-listener/{port}");
        assert_eq!(check(&broker, &path).await, (503, failed(json!(port))));
    }
    let refused = (400, error("bad_request", "Invalid port"));
    assert_eq!(check(&broker, "health/checks/port-listener/x").await, refused);
    let open = json!({ "status": "ok", "protocols": ["amqp", "http"] });
    assert_eq!(check(&broker, "health/checks/protocol-listener/amqp,HTTP").await, (200, open));
    let mut failed = failed(json!(["amqp/ssl", "mqtt"]));
    failed["protocols"] = json!(["amqp", "http"]);
    failed.as_object_mut().and_then(|fields| fields.remove("ports"));
    assert_eq!(check(&broker, "health/checks/protocol-listener/mqtt,amqps,amqp").await, (503, failed));
}

#[tokio::test]
async fn certificates_that_expire() {
    let broker = start().await;
    let in_a_week = now() / 1000 + 7 * 86_400;
    broker.node.listeners.add_certified("amqp/ssl", broker.amqp, move || Certificates {
        certfile: Some("/etc/cert.pem".into()),
        certfile_expires: vec![in_a_week],
        ..Certificates::default()
    });
    for path in ["6/days", "-1/years", "0/months"] {
        assert_eq!(
            check(&broker, &format!("health/checks/certificate-expiration/{path}")).await,
            ok(),
            "{path}"
        );
    }
    let (status, report) = check(&broker, "health/checks/certificate-expiration/1/months").await;
    assert_eq!((status, &report["reason"]), (503, &json!("Certificates expiring")));
    let expired = &report["expired"][0];
    assert_eq!((&expired["certfile"], &expired["protocol"]), (&json!("/etc/cert.pem"), &json!("amqp/ssl")));
    assert_eq!(expired["port"], broker.amqp.port());
    for (path, reason) in [
        ("x/days", "Invalid expiration value."),
        ("x/hours", "Invalid expiration value."),
        ("1/hours", "Time unit not recognised. Supported units: days, weeks, months, years."),
    ] {
        let path = format!("health/checks/certificate-expiration/{path}");
        assert_eq!(check(&broker, &path).await, (400, error("bad_request", reason)), "{path}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_well() {
    let broker = start().await;
    broker.node.alarms.raise(Alarm::Memory);
    let alarm = json!({ "status": "failed", "reason": "resource alarm(s) in effect:[memory]" });
    assert_eq!(check(&broker, "healthchecks/node").await, (503, alarm));
    assert_eq!(status(&broker, "DELETE", "/api/vhosts/%2F", Value::Null).await, 204);
    let reason = "Metadata store has not yet been initialized: it reports to have no virtual hosts";
    let failed = |reason: &str| (503, json!({ "status": "failed", "reason": reason }));
    assert_eq!(check(&broker, "health/checks/metadata-store/initialized/with-data").await, failed(reason));

    let node = Node::new().expect("a node");
    let node = node.with_limits(&NodeLimits { connection_max: Some(1), ..NodeLimits::default() });
    let broker = Broker::of(Arc::new(node)).await;
    let client = Client::open(broker.amqp, "guest", "guest", "/").await;
    let full = failed("node connection limit is reached");
    assert_eq!(check(&broker, "health/checks/below-node-connection-limit").await, full);
    let mut with_count = full.1;
    with_count["connections"] = 1.into();
    assert_eq!(check(&broker, "health/checks/ready-to-serve-clients").await, (503, with_count));
    drop(client);
}
