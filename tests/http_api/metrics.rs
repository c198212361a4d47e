//! Metrics for Prometheus, under RabbitMQ's names.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use leveret::http::settings::MetricsSettings;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::amqp::Client;
use crate::broker::{Broker, start};
use crate::common::method::method;
use crate::common::table::text;
use crate::http::{Reply, Request};
use crate::stats::busy;
use crate::streams::client;
use crate::{permit, put_user, status, streams};

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
            assert!(["counter", "gauge", "untyped", "histogram"].contains(&current.1), "{line}");
            assert!(
                current.1 != "counter" || current.0.ends_with("_total") || current.0.ends_with("_segments")
            );
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(name == current.0 && !help.is_empty(), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let name = series.split('{').next().unwrap_or_default();
            let of_histogram =
                ["_bucket", "_count", "_sum"].into_iter().find_map(|end| name.strip_suffix(end));
            let name = of_histogram.filter(|_| current.1 == "histogram").unwrap_or(name);
            assert_eq!(name, current.0, "{line}: without a head");
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
    // Of a stream there are few figures, as in RabbitMQ, and of what has not happened there is nothing.
    let stream = "{vhost=\"v\",queue=\"s\"}";
    let of_stream = each.keys().filter_map(|series| series.strip_suffix(stream));
    let mut of_stream: Vec<_> = of_stream.filter_map(|name| name.strip_prefix("rabbitmq_queue_")).collect();
    of_stream.sort_unstable();
    let wanted = ["consumers", "messages", "messages_ready", "messages_unacked", "process_memory_bytes"];
    assert_eq!(of_stream, wanted);
    let published = each.keys().filter(|series| series.contains("exchange_messages_published_total"));
    assert_eq!(published.count(), 2, "one exchange, one queue");

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
        for path in [
            "/metrics",
            "/metrics/per-object",
            "/metrics/detailed?family=vhost_status",
            "/metrics/memory-breakdown",
        ] {
            let reply = Request::new("GET", path).user(user, "pw").send(broker.http).await;
            assert_eq!(reply.status, wanted, "{user} {path}");
        }
    }
    assert_eq!(ask(broker.http, "/metrics").await.status, 401);
    let reply = Request::new("GET", "/metrics/detailed?family=vhost_status").send(broker.http).await;
    assert_eq!(samples(&reply)["rabbitmq_cluster_vhost_status{vhost=\"/\"}"], 1.0);

    let port = open(&broker, MetricsSettings::default()).await;
    for path in ["/metrics/", "/metrics/default"] {
        assert_eq!(samples(&ask(port, path).await)["rabbitmq_queues"], 0.0, "{path}");
    }
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
    for path in ["/own/{path}", "/own/{path}/nosuch"] {
        let refused = ask(port, path).await;
        let realm = refused.header("www-authenticate");
        assert_eq!((refused.status, realm), (401, Some("Basic realm=\"RabbitMQ Prometheus\"")), "{path}");
        assert_eq!(Request::new("GET", path).user("manager", "pw").send(port).await.status, 401, "{path}");
    }
    for path in ["/metrics", "/own/{path}/a/b", "/own"] {
        assert_eq!(ask(port, path).await.status, 404, "{path}: before anybody logs in");
    }
    let reply = Request::new("GET", "/own/{path}/").user("monitor", "pw").send(port).await;
    let endpoint = "rabbitmq_endpoint=\"per-object\"}";
    assert!(samples(&reply).keys().any(|series| series.ends_with(endpoint)));
    assert_eq!(Request::new("GET", "/metrics").send(port).await.status, 404);
}

/// What the expressions of RabbitMQ's dashboard `RabbitMQ-Overview` look at, without the prefix.
const OVERVIEW: &str = "queue_messages_ready queue_messages_unacked connections channels queues \
    global_publishers global_consumers global_messages_received_total global_messages_received_confirm_total \
    global_messages_confirmed_total global_messages_routed_total global_messages_unroutable_dropped_total \
    global_messages_unroutable_returned_total global_messages_delivered_total global_messages_redelivered_total \
    global_messages_delivered_consume_auto_ack_total global_messages_delivered_consume_manual_ack_total \
    global_messages_delivered_get_auto_ack_total global_messages_delivered_get_manual_ack_total \
    global_messages_get_empty_total global_messages_acknowledged_total message_size_bytes_bucket \
    message_size_bytes_sum message_size_bytes_count erlang_uptime_seconds resident_memory_limit_bytes \
    process_resident_memory_bytes disk_space_available_bytes queues_declared_total queues_created_total \
    queues_deleted_total channels_opened_total channels_closed_total connections_opened_total connections_closed_total";

/// The labels of all samples of a metric.
fn labels_of<'a>(samples: &'a BTreeMap<String, f64>, name: &str) -> Vec<&'a str> {
    let own = samples.keys().filter_map(|series| series.strip_prefix("rabbitmq_")?.strip_prefix(name));
    own.filter(|rest| rest.is_empty() || rest.starts_with('{')).collect()
}

#[tokio::test]
async fn every_panel_of_the_overview_has_something_to_show() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let now = samples(&ask(port, "/metrics").await);
    for name in OVERVIEW.split_whitespace() {
        let found = labels_of(&now, name);
        assert!(!found.is_empty(), "{name}");
        // The joins bring these.
        assert!(found.iter().all(|labels| !labels.contains("rabbitmq_")), "{name}: {found:?}");
    }
    // What everything is joined with is there once.
    for (name, wanted) in [
        ("build_info", &["rabbitmq_version", "erlang_version"][..]),
        ("identity_info", &["rabbitmq_node", "rabbitmq_cluster", "rabbitmq_endpoint"]),
    ] {
        let found = labels_of(&now, name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(wanted.iter().all(|label| found[0].contains(&format!("{label}=\""))), "{found:?}");
    }
    // What is added to each other, or subtracted, has the same labels.
    for [one, other] in [
        ["resident_memory_limit_bytes", "process_resident_memory_bytes"],
        ["global_messages_received_confirm_total", "global_messages_confirmed_total"],
        [
            "global_messages_delivered_consume_auto_ack_total",
            "global_messages_delivered_consume_manual_ack_total",
        ],
    ] {
        assert_eq!(labels_of(&now, one), labels_of(&now, other), "{one} and {other}");
    }
    let mut steps = labels_of(&now, "message_size_bytes_bucket");
    steps.sort_unstable_by_key(|labels| (labels.len(), labels.to_owned()));
    let wanted = ["100", "1000", "10000", "100000", "1000000", "10000000", "50000000", "100000000"];
    for step in wanted.iter().chain(&["+Inf"]) {
        assert!(steps.contains(&&*format!("{{protocol=\"amqp091\",le=\"{step}\"}}")), "{step}: {steps:?}");
    }
    assert_eq!(steps.len(), 9);
}

/// The sample of all messages of the protocol.
fn global(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    samples[&format!("rabbitmq_{name}{{protocol=\"amqp091\"}}")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_counted_when_a_message_comes() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    let mut client = client(&broker);
    for size in [0, 100, 101, 1000, 10_001] {
        client.publish(1, "", "q", &"x".repeat(size));
    }
    // Nobody gets it.
    client.publish(1, "", "nowhere", "abc");
    client.all_ok(1, &["tx.select"]);
    client.publish(1, "", "q", "in a transaction");
    client.all_ok(1, &["tx.rollback"]);
    let direct =
        json!({ "properties": {}, "routing_key": "q", "payload": "12", "payload_encoding": "string" });
    assert_eq!(status(&broker, "POST", "/api/exchanges/%2F/amq.default/publish", direct).await, 200);
    let now = samples(&ask(port, "/metrics").await);
    let up_to = |step: &str| {
        now[&format!("rabbitmq_message_size_bytes_bucket{{protocol=\"amqp091\",le=\"{step}\"}}")]
    };
    let counted: Vec<_> = ["100", "1000", "10000", "100000", "+Inf"].map(up_to).into();
    assert_eq!(counted, [5.0, 7.0, 7.0, 8.0, 8.0]);
    assert_eq!(global(&now, "message_size_bytes_sum"), f64::from(100 + 101 + 1000 + 10_001 + 3 + 16 + 2));
    for name in ["message_size_bytes_count", "global_messages_received_total"] {
        assert_eq!(global(&now, name), 8.0, "{name}");
    }
    // The one of the transaction, and the one over HTTP, whose publishers are told what became of them.
    assert_eq!(global(&now, "global_messages_received_confirm_total"), 2.0);
    assert_eq!(global(&now, "global_messages_confirmed_total"), 1.0);
    assert_eq!(status(&broker, "DELETE", "/api/vhosts/%2F", Value::Null).await, 204);
    let later = samples(&ask(port, "/metrics").await);
    assert_eq!(global(&later, "message_size_bytes_count"), 8.0, "when the vhost is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_tell_what_became_of_messages() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let (_connection, _channel) = busy(&broker).await;
    let full = json!({ "arguments": { "x-max-length": 1, "x-overflow": "reject-publish" } });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/full", full).await, 201);
    let own = json!({ "type": "fanout", "internal": true });
    assert_eq!(status(&broker, "PUT", "/api/exchanges/%2F/hidden", own).await, 201);
    let mut client = client(&broker);
    client.publish(1, "amq.fanout", "x", "before there are confirms");
    client.all_ok(1, &["confirm.select"]);
    for _ in 0..3 {
        client.publish(1, "", "full", "m");
    }
    client.send(1, method("basic.qos"));
    while !client.next(1).text.starts_with("basic.qos-ok") {}
    let each = samples(&ask(port, "/metrics/detailed?family=exchange_metrics&family=exchange_names").await);
    for (exchange, wanted) in [
        ("", [6.0, 4.0, 0.0, 1.0]),
        ("amq.topic", [1.0, 1.0, 1.0, 0.0]),
        ("amq.fanout", [1.0, 0.0, 0.0, 1.0]),
    ] {
        let of = |name: &str| {
            each[&format!(
                "rabbitmq_detailed_exchange_messages_{name}_total{{vhost=\"/\",exchange=\"{exchange}\"}}"
            )]
        };
        let found = ["published", "confirmed", "unroutable_returned", "unroutable_dropped"].map(of);
        assert_eq!(found, wanted, "{exchange:?}");
    }
    assert!(!each.keys().any(|series| series.contains("hidden") || series.contains("amq.rabbitmq.trace")));
    let now = samples(&ask(port, "/metrics").await);
    for (name, wanted) in [
        ("exchange_messages_published_total", 8.0),
        ("exchange_messages_confirmed_total", 5.0),
        ("channel_messages_confirmed_total", 5.0),
    ] {
        assert_eq!(now[&format!("rabbitmq_{name}")], wanted, "{name}");
    }
    let wanted = [("received_confirm", 7.0), ("confirmed", 5.0)];
    for (name, wanted) in wanted {
        assert_eq!(global(&now, &format!("global_messages_{name}_total")), wanted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_are_told_by_reason_and_by_what_becomes_of_the_dead() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let drop_head = json!({ "x-max-length": 1 });
    let dead = |key: &str| json!({ "x-max-length": 1, "x-dead-letter-exchange": key });
    let mut at_the_door = dead("amq.fanout");
    at_the_door["x-overflow"] = "reject-publish-dlx".into();
    let mut quorum = dead("nosuch");
    quorum["x-queue-type"] = "quorum".into();
    for (name, arguments) in [
        ("plain", drop_head),
        ("dead", dead("amq.fanout")),
        ("lost", dead("nosuch")),
        ("door", at_the_door),
        ("quorum", quorum),
        ("refusing", json!({ "x-max-length": 1, "x-overflow": "reject-publish" })),
    ] {
        let body = json!({ "durable": true, "arguments": arguments });
        assert_eq!(status(&broker, "PUT", &format!("/api/queues/%2F/{name}"), body).await, 201, "{name}");
    }
    let mut client = client(&broker);
    for (name, count) in [("plain", 2), ("dead", 3), ("lost", 3), ("door", 4), ("quorum", 6), ("refusing", 9)]
    {
        for _ in 0..count {
            client.publish(1, "", name, "m");
        }
    }
    client.all_ok(1, &["basic.qos"]);
    for name in ["dead", "plain", "quorum"] {
        let reject = json!({ "count": 1, "ackmode": "reject_requeue_false", "encoding": "auto" });
        assert_eq!(
            status(&broker, "POST", &format!("/api/queues/%2F/{name}/get"), reject).await,
            200,
            "{name}"
        );
    }
    let now = samples(&ask(port, "/metrics").await);
    let died: BTreeMap<_, _> = now
        .iter()
        .filter_map(|(series, number)| {
            Some((series.strip_prefix("rabbitmq_global_messages_dead_lettered_")?, *number))
        })
        .collect();
    assert_eq!(died.len(), 19, "RabbitMQ's rows: {died:?}");
    let some: Vec<_> = died.into_iter().filter(|(_, number)| *number > 0.0).collect();
    let row = |reason: &str, kind: &str, strategy: &str| {
        format!("{reason}_total{{queue_type=\"rabbit_{kind}_queue\",dead_letter_strategy=\"{strategy}\"}}")
    };
    let wanted = [
        (row("maxlen", "classic", "at_most_once"), 5.0),
        // An exchange that is not there takes nothing.
        (row("maxlen", "classic", "disabled"), 3.0),
        // A quorum queue does not look for it.
        (row("maxlen", "quorum", "at_most_once"), 5.0),
        (row("rejected", "classic", "at_most_once"), 1.0),
        (row("rejected", "classic", "disabled"), 1.0),
        (row("rejected", "quorum", "at_most_once"), 1.0),
    ];
    assert_eq!(some.len(), wanted.len(), "{some:?}");
    for ((found, number), (row, wanted)) in some.iter().zip(&wanted) {
        assert_eq!((*found, number), (&**row, wanted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_which_no_sum_means_anything_are_not_added_up() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let mut client = client(&broker);
    for name in ["a", "b"] {
        assert_eq!(status(&broker, "PUT", &format!("/api/queues/%2F/{name}"), json!({})).await, 201);
        let consume = method("basic.consume").set("queue", name).set("consumer-tag", name);
        assert!(client.call(1, consume).starts_with("basic.consume-ok"));
    }
    let now = samples(&ask(port, "/metrics").await);
    assert_eq!(now["rabbitmq_queue_consumer_utilisation"], 2.0);
    for name in ["queue_consumer_capacity", "queue_head_message_timestamp", "queue_info"] {
        assert_eq!(labels_of(&now, name), Vec::<&str>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_told_by_parts() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let parts = samples(&ask(port, "/metrics/memory-breakdown").await);
    assert_eq!(labels_of(&parts, "identity_info").len(), 1);
    let names: Vec<_> = parts.keys().filter(|name| name.starts_with("rabbitmq_memory_")).collect();
    assert_eq!((names.len(), parts.len()), (26, 28));
    assert!(parts["rabbitmq_memory_other_erlang_process_bytes"] > 1e6);
    assert_eq!(parts["rabbitmq_memory_classic_queue_erlang_process_bytes"], 0.0, "there is no queue");
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({})).await, 201);
    let mut client = client(&broker);
    client.publish(1, "", "q", &"x".repeat(100_000));
    client.all_ok(1, &["basic.qos"]);
    let parts = samples(&ask(port, "/metrics/memory-breakdown").await);
    assert!(parts["rabbitmq_memory_classic_queue_erlang_process_bytes"] >= 100_000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_read_streams_have_something_before_them() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let before = samples(&ask(port, "/metrics").await);
    let sums = ["rabbitmq_stream_consumer_max_offset_lag", "leveret_stream_group_offset_lag"];
    assert_eq!(sums.map(|name| before[name]), [0.0, 0.0]);
    for name in ["s", "t"] {
        let body = json!({ "durable": true, "arguments": { "x-queue-type": "stream" } });
        assert_eq!(status(&broker, "PUT", &format!("/api/queues/%2F/{name}"), body).await, 201);
    }
    let mut client = client(&broker);
    streams::publish(&mut client, "", &["s", "t"], 0..10);
    for (group, offset) in [("s/slow", 3), ("s/fast", 10), ("t/g", 6)] {
        let path = format!("/api/stream/groups/%2F/{group}");
        assert_eq!(status(&broker, "PUT", &path, json!({ "offset": offset })).await, 204, "{group}");
    }
    client.all_ok(1, &["basic.qos prefetch-count=2"]);
    for (tag, gets) in [("first", 2), ("next", 0)] {
        let consume = method("basic.consume").set("queue", "s").set("consumer-tag", tag);
        let answer = client.call(1, consume.args(&[("x-stream-offset", text(tag))]));
        assert!(answer.starts_with("basic.consume-ok"), "{answer}");
        streams::take(&mut client, gets);
    }
    let path = "/metrics/detailed?family=stream_consumer_metrics&family=stream_group_metrics";
    let each = samples(&ask(port, path).await);
    let lags = each.iter().filter(|(series, _)| series.contains("_lag{"));
    let lags: Vec<_> = lags.map(|(series, number)| (&**series, *number)).collect();
    let wanted = [
        ("leveret_stream_group_offset_lag{vhost=\"/\",queue=\"s\",group=\"fast\"}", 0.0),
        ("leveret_stream_group_offset_lag{vhost=\"/\",queue=\"s\",group=\"slow\"}", 7.0),
        ("leveret_stream_group_offset_lag{vhost=\"/\",queue=\"t\",group=\"g\"}", 4.0),
        ("rabbitmq_detailed_stream_consumer_max_offset_lag{vhost=\"/\",queue=\"s\"}", 8.0),
    ];
    assert_eq!(lags, wanted);
    let now = samples(&ask(port, "/metrics").await);
    assert_eq!(sums.map(|name| now[name]), [8.0, 7.0], "the largest of all");
}

/// A reply's head and its body as it came.
fn ask_raw(port: SocketAddr, path: &str, accept: &str) -> (String, Vec<u8>) {
    let mut socket = std::net::TcpStream::connect(port).expect("a connection");
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: {accept}\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("sent");
    let mut octets = Vec::new();
    socket.read_to_end(&mut octets).expect("a reply");
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&octets[..end]).into_owned(), octets[end + 4..].to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_packed_for_those_who_ask_for_it() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    let (head, packed) = ask_raw(port, "/metrics/detailed?family=vhost_status", "br, gzip;q=0.5");
    assert!(head.contains("content-encoding: gzip\r\n") && head.contains("vary: accept-encoding"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4\r\n"), "{head}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut text).expect("a text");
    let (head, plain) = ask_raw(port, "/metrics/detailed?family=vhost_status", "gzip;q=0, br");
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(text.as_bytes(), plain);
    assert!(text.contains("rabbitmq_cluster_vhost_status{vhost=\"/\"} 1\n"), "{text}");
    let (_, packed) = ask_raw(port, "/metrics", "gzip");
    let (_, plain) = ask_raw(port, "/metrics", "");
    assert!(packed.len() * 3 < plain.len(), "{} of {}", packed.len(), plain.len());
}

/// A fall would be taken for a restart.
#[tokio::test]
async fn counters_outlive_their_vhost() {
    let broker = start().await;
    let port = open(&broker, MetricsSettings::default()).await;
    broker.node.put_vhost("v", |_| {});
    put_user(&broker, "u", "").await;
    permit(&broker, "v", "u", "").await;
    let mut client = Client::open(broker.amqp, "u", "pw", "v").await;
    client.open_channel().await;
    let names =
        ["bytes_received_total", "bytes_output_total"].map(|name| format!("erlang_vm_statistics_{name}"));
    let read = async || {
        let all = samples(&ask(port, "/metrics").await);
        names.each_ref().map(|name| all[name])
    };
    let before = read().await;
    assert!(before.iter().all(|octets| *octets > 100.0), "{before:?}");
    broker.node.remove_vhost("v");
    let removed = read().await;
    assert!(removed[0] >= before[0] && removed[1] >= before[1], "{before:?} {removed:?}");
    assert_eq!(client.closed().await.0, 320);
    broker.node.connections.none_left().await;
    let ended = read().await;
    assert!(ended[0] >= removed[0] && ended[1] > before[1], "{removed:?} {ended:?}");
}
