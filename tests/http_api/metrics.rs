//! Metrics for Prometheus, under RabbitMQ's names.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use leveret::http::settings::MetricsSettings;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::broker::{Broker, start};
use crate::http::{Reply, Request};
use crate::stats::busy;
use crate::{put_user, status};

/// Opens the port that metrics have for themselves.
async fn open(broker: &Broker, settings: MetricsSettings) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(leveret::http::serve_metrics(listener, Arc::clone(&broker.node), Arc::new(settings)));
    address
}

async fn ask(port: SocketAddr, path: &str) -> Reply {
    Request::new("GET", path).authorization(None).send(port).await
}

/// The samples of a text, which has to keep to the format: each name has its type and its meaning once, in front of all of
/// its samples, and nothing is there twice.
fn samples(reply: &Reply) -> BTreeMap<String, f64> {
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; version=0.0.4")));
    let text = reply.body.as_str().expect("a text");
    let (mut samples, mut names) = (BTreeMap::new(), HashSet::new());
    let mut current = ("", "");
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split_once(' ').expect("a name and a type");
            assert!(names.insert(current.0), "{line}: twice");
            assert!(["counter", "gauge", "untyped"].contains(&current.1), "{line}");
            assert!(
                current.1 != "counter" || current.0.ends_with("_total") || current.0.ends_with("_segments")
            );
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(name == current.0 && !help.is_empty(), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            assert_eq!(series.split('{').next(), Some(current.0), "{line}: without a head");
            let value = value.parse().expect("a number");
            assert_eq!(samples.insert(series.to_owned(), value), None, "{line}: twice");
        }
    }
    samples
}

#[tokio::test]
async fn figures_are_those_of_this_moment() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let before = samples(&ask(port, "/metrics").await);
    assert_eq!((before["rabbitmq_connections"], before["rabbitmq_queues"]), (0.0, 0.0));
    let (connection, channel) = busy(&broker).await;
    let now = samples(&ask(port, "/metrics").await);
    for (name, wanted) in [
        ("connections", 1.0),
        ("channels", 1.0),
        ("queues", 1.0),
        ("consumers", 0.0),
        ("queue_messages_ready", 0.0),
        ("connections_opened_total", 1.0),
        ("queues_created_total", 1.0),
        ("queue_messages_published_total", 2.0),
        ("queue_messages_acked_total", 1.0),
        ("channel_messages_published_total", 4.0),
        ("channel_messages_confirmed_total", 4.0),
        ("alarms_memory_used_watermark", 0.0),
        ("auth_attempts_succeeded_total{protocol=\"amqp091\"}", 1.0),
    ] {
        assert_eq!(now.get(&format!("rabbitmq_{name}")), Some(&wanted), "{name}");
    }
    for (name, wanted) in [
        ("messages_received_total", 4.0),
        ("messages_received_confirm_total", 4.0),
        ("messages_confirmed_total", 4.0),
        ("messages_routed_total", 2.0),
        ("messages_unroutable_returned_total", 1.0),
        ("messages_unroutable_dropped_total", 1.0),
        ("publishers", 1.0),
    ] {
        let series = format!("rabbitmq_global_{name}{{protocol=\"amqp091\"}}");
        assert_eq!(now.get(&series), Some(&wanted), "{series}");
    }
    let delivered = [
        ("delivered_total", 3.0),
        ("delivered_get_manual_ack_total", 2.0),
        ("delivered_get_auto_ack_total", 1.0),
        ("delivered_consume_manual_ack_total", 0.0),
        ("get_empty_total", 1.0),
        ("redelivered_total", 1.0),
        ("acknowledged_total", 1.0),
    ];
    let check = |now: &BTreeMap<String, f64>, when: &str| {
        for (name, wanted) in delivered {
            for (kind, wanted) in [("classic", wanted), ("quorum", 0.0)] {
                let labels = format!("{{protocol=\"amqp091\",queue_type=\"rabbit_{kind}_queue\"}}");
                let series = format!("rabbitmq_global_messages_{name}{labels}");
                assert_eq!(now.get(&series), Some(&wanted), "{when}: {series}");
            }
        }
    };
    check(&now, "while the queue is there");
    assert!(now["rabbitmq_process_resident_memory_bytes"] > 1e6 && now["rabbitmq_process_max_fds"] > 3.0);
    assert!(now["rabbitmq_connection_incoming_bytes_total"] > 500.0);
    channel.queue_delete("q".into(), lapin::options::QueueDeleteOptions::default()).await.expect("deleted");
    let later = samples(&ask(port, "/metrics").await);
    check(&later, "when it is deleted");
    assert_eq!((later["rabbitmq_queues"], later["rabbitmq_queues_deleted_total"]), (0.0, 1.0));
    drop((connection, channel));
    assert_eq!(status(&broker, "DELETE", "/api/vhosts/%2F", Value::Null).await, 204);
    let later = samples(&ask(port, "/metrics").await);
    check(&later, "when the vhost is deleted");
    assert_eq!(later["rabbitmq_global_messages_routed_total{protocol=\"amqp091\"}"], 2.0);
}

#[tokio::test]
async fn objects_have_labels() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    let permission = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    status(&broker, "PUT", "/api/permissions/v/guest", permission).await;
    for (path, kind) in [("%2F/a%22b%5Cc", "classic"), ("v/s", "stream"), ("v/q", "quorum")] {
        let body = json!({ "durable": true, "arguments": { "x-queue-type": kind } });
        assert_eq!(status(&broker, "PUT", &format!("/api/queues/{path}"), body).await, 201, "{path}");
    }
    let message =
        json!({ "properties": {}, "routing_key": "q", "payload": "body", "payload_encoding": "string" });
    for _ in 0..2 {
        assert_eq!(
            status(&broker, "POST", "/api/exchanges/v/amq.default/publish", message.clone()).await,
            200
        );
    }
    let each = samples(&ask(port, "/metrics/per-object").await);
    let odd = "{vhost=\"/\",queue=\"a\\\"b\\\\c\"}";
    assert_eq!(each[&format!("rabbitmq_queue_messages_ready{odd}")], 0.0);
    assert!(each[&format!("rabbitmq_queue_head_message_timestamp{odd}")].is_nan());
    assert_eq!(each["rabbitmq_queue_messages_ready{vhost=\"v\",queue=\"q\"}"], 2.0);
    assert_eq!(each["rabbitmq_queue_messages_bytes{vhost=\"v\",queue=\"q\"}"], 8.0);
    let info = "{vhost=\"v\",queue=\"s\",queue_type=\"rabbit_stream_queue\",membership=\"leader\"}";
    assert_eq!(each[&format!("rabbitmq_queue_info{info}")], 1.0);
    assert_eq!(each["rabbitmq_queues"], 3.0);
    assert!(!each.contains_key("rabbitmq_queue_messages_ready"), "no sums");

    let path = "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&family=exchange_names&vhost=v";
    let some = samples(&ask(port, path).await);
    assert_eq!(some["rabbitmq_detailed_queue_messages{vhost=\"v\",queue=\"q\"}"], 2.0);
    assert_eq!(some["rabbitmq_detailed_queue_consumers{vhost=\"v\",queue=\"s\"}"], 0.0);
    // As in RabbitMQ this is of all vhosts.
    assert_eq!(
        some["rabbitmq_cluster_exchange_name{vhost=\"/\",exchange=\"amq.topic\",type=\"topic\"}"],
        1.0
    );
    assert!(!some.keys().any(|series| series.contains("queue=\"a")), "{some:?}");
    assert!(!some.keys().any(|series| series.contains("bytes")), "{some:?}");
    let two = samples(&ask(port, "/metrics/detailed?family=queue_metrics&vhost=v&vhost=%2F").await);
    let memory =
        two.keys().filter(|series| series.starts_with("rabbitmq_detailed_queue_process_memory_bytes"));
    assert_eq!(memory.count(), 3);
    let nothing = samples(&ask(port, "/metrics/detailed?family=nonsense").await);
    assert_eq!(nothing.len(), 2, "versions and names alone: {nothing:?}");
    assert!(nothing.keys().any(|series| series.ends_with("rabbitmq_endpoint=\"detailed\"}")));
}

#[tokio::test]
async fn both_ports() {
    let broker = start().await;
    put_user(&broker, "monitor", "monitoring").await;
    put_user(&broker, "manager", "management").await;
    for (user, wanted) in [("monitor", 200), ("manager", 401)] {
        for path in ["/metrics", "/metrics/per-object", "/metrics/detailed?family=vhost_status"] {
            let reply = Request::new("GET", path).user(user, "pw").send(broker.http).await;
            assert_eq!(reply.status, wanted, "{user} {path}");
        }
    }
    assert_eq!(ask(broker.http, "/metrics").await.status, 401);
    let reply = Request::new("GET", "/metrics/detailed?family=vhost_status").send(broker.http).await;
    assert_eq!(samples(&reply)["rabbitmq_cluster_vhost_status{vhost=\"/\"}"], 1.0);

    let port = open(&broker, MetricsSettings::default()).await;
    let unknown = ask(port, "/metrics/nosuch").await;
    assert_eq!((unknown.status, unknown.body), (404, json!("Unknown Registry")));
    for path in ["/", "/metricsx", "/metrics/per-object/x", "/api/whoami"] {
        assert_eq!(ask(port, path).await.status, 404, "{path}");
    }
    assert_eq!(Request::new("POST", "/metrics").send(port).await.status, 405);
    let head = Request::new("HEAD", "/metrics").send(port).await;
    assert_eq!((head.status, head.body), (200, Value::Null));

    let settings = MetricsSettings {
        path: "/own/{path}".to_owned(),
        per_object: true,
        authentication: true,
        ..MetricsSettings::default()
    };
    let port = open(&broker, settings).await;
    assert_eq!(ask(port, "/own/{path}").await.status, 401);
    let reply = Request::new("GET", "/own/{path}/").user("monitor", "pw").send(port).await;
    let endpoint = "rabbitmq_endpoint=\"per-object\"}";
    assert!(samples(&reply).keys().any(|series| series.ends_with(endpoint)));
    assert_eq!(Request::new("GET", "/metrics").send(port).await.status, 404);
}
