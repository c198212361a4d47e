//! What is counted, and that it is true when it is asked for.

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret::node::samples::sampler;
use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::http::Request;
use crate::{get, get_as, permit, put_user, status};

async fn connect(broker: &Broker) -> Connection {
    let uri = format!("amqp://guest:guest@{}/%2f", broker.amqp);
    Connection::connect(&uri, ConnectionProperties::default()).await.expect("a connection")
}

async fn publish(channel: &Channel, exchange: &str, key: &str, mandatory: bool) {
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_timestamp(1_234_567_890);
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"body", properties);
    sent.await.expect("published").await.expect("confirmed");
}

/// The numbers of an object's `message_stats`, rates left aside, that are not 0.
fn counted(object: &Value) -> Value {
    let stats = object["message_stats"].as_object().cloned().unwrap_or_default();
    let is_counted = |(_, value): &(String, Value)| value.as_u64().is_some_and(|number| number > 0);
    Value::Object(stats.into_iter().filter(is_counted).collect())
}

/// A connection with a channel that has published and fetched.
pub async fn busy(broker: &Broker) -> (Connection, Channel) {
    let connection = connect(broker).await;
    let channel = connection.create_channel().await.expect("a channel");
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("q".into(), options, FieldTable::default()).await.expect("a queue");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    for (exchange, key, mandatory) in
        [("", "q", false), ("", "q", false), ("", "nowhere", false), ("amq.topic", "nowhere", true)]
    {
        publish(&channel, exchange, key, mandatory).await;
    }
    let fetch = |no_ack| channel.basic_get("q".into(), BasicGetOptions { no_ack });
    let first = fetch(false).await.expect("an answer").expect("a message");
    first.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await.expect("given back");
    let again = fetch(false).await.expect("an answer").expect("a message");
    again.ack(BasicAckOptions::default()).await.expect("acknowledged");
    assert!(fetch(true).await.expect("an answer").is_some());
    assert!(fetch(true).await.expect("an answer").is_none());
    (connection, channel)
}

#[tokio::test]
async fn messages_are_counted_by_what_they_pass() {
    let broker = start().await;
    assert_eq!(get(&broker, "/api/overview").await["message_stats"], json!({}));
    let (_connection, _channel) = busy(&broker).await;
    let delivered =
        json!({ "ack": 1, "deliver_get": 3, "get": 2, "get_empty": 1, "get_no_ack": 1, "redeliver": 1 });
    let mut queue = delivered.clone();
    queue["publish"] = 2.into();
    assert_eq!(counted(&get(&broker, "/api/queues/%2F/q").await), queue);
    let mut channel = delivered;
    for (name, number) in [("publish", 4), ("confirm", 4), ("return_unroutable", 1), ("drop_unroutable", 1)] {
        channel[name] = number.into();
    }
    assert_eq!(counted(&get(&broker, "/api/channels").await[0]), channel);
    assert_eq!(counted(&get(&broker, "/api/vhosts/%2F").await), channel);
    assert_eq!(counted(&get(&broker, "/api/overview").await), channel);
    let exchange = get(&broker, "/api/exchanges/%2F/amq.default").await;
    assert_eq!(counted(&exchange), json!({ "publish_in": 3, "publish_out": 2 }));
    let exchange = get(&broker, "/api/exchanges/%2F/amq.topic").await;
    assert_eq!(counted(&exchange), json!({ "publish_in": 1 }), "what has not happened is not there");
    assert_eq!(exchange["message_stats"]["publish_out"], Value::Null);
    let churn = get(&broker, "/api/overview").await["churn_rates"].clone();
    assert_eq!((&churn["queue_created"], &churn["channel_created"]), (&json!(1), &json!(1)));
    let connection = get(&broker, "/api/connections").await[0].clone();
    assert!(connection["recv_oct"].as_u64() > Some(500) && connection["send_oct"].as_u64() > Some(500));
    assert!(connection["recv_cnt"].as_u64() > Some(5) && connection["send_cnt"].as_u64() > Some(5));
    // What a vhost has counted stays the node's when it goes.
    assert_eq!(status(&broker, "DELETE", "/api/vhosts/%2F", Value::Null).await, 204);
    assert_eq!(counted(&get(&broker, "/api/overview").await), channel);
}

#[tokio::test]
async fn rates_are_those_of_the_last_samples() {
    let broker = start().await;
    let (_connection, channel) = busy(&broker).await;
    sampler::take(&broker.node, 1_000_000).await;
    for _ in 0..10 {
        publish(&channel, "", "q", false).await;
    }
    sampler::take(&broker.node, 1_000_005).await;
    let rate =
        |object: &Value, name: &str| object["message_stats"][format!("{name}_details")]["rate"].clone();
    let queue = get(&broker, "/api/queues/%2F/q").await;
    assert_eq!((rate(&queue, "publish"), rate(&queue, "ack")), (json!(2.0), json!(0.0)));
    assert_eq!(queue["messages_details"]["rate"], 2.0);
    for path in ["/api/channels", "/api/vhosts", "/api/exchanges"] {
        let found = get(&broker, path).await[0].clone();
        let name = if path == "/api/exchanges" { "publish_in" } else { "publish" };
        assert_eq!(rate(&found, name), 2.0, "{path}");
    }
    let overview = get(&broker, "/api/overview").await;
    assert_eq!((rate(&overview, "publish"), &overview["queue_totals"]["messages"]), (json!(2.0), &json!(10)));
    let past = "/api/queues/%2F/q?lengths_age=10&lengths_incr=5&msg_rates_age=10&msg_rates_incr=5";
    let queue = get(&broker, past).await;
    let samples = queue["messages_details"]["samples"].as_array().cloned().unwrap_or_default();
    let numbers: Vec<_> = samples.iter().map(|sample| sample["sample"].clone()).collect();
    assert_eq!(numbers, [10, 0, 0]);
    assert_eq!(samples[0]["timestamp"], 1_000_005_000);
    assert_eq!(queue["message_stats"]["publish_details"]["avg_rate"], 1.2);
    // What is gone is forgotten, and nothing of it is left in a new one of that name.
    assert_eq!(status(&broker, "DELETE", "/api/queues/%2F/q", Value::Null).await, 204);
    sampler::take(&broker.node, 1_000_010).await;
    let vhost = broker.node.vhost("/").expect("a vhost");
    assert!(vhost.samples.lock().queues.is_empty());
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", Value::Null).await, 201);
    assert_eq!(get(&broker, "/api/queues/%2F/q").await["message_stats"], Value::Null);
}

#[tokio::test]
async fn statistics_begin_anew() {
    let broker = start().await;
    let (_connection, channel) = busy(&broker).await;
    sampler::take(&broker.node, 1_000_000).await;
    for _ in 0..10 {
        publish(&channel, "", "q", false).await;
    }
    sampler::take(&broker.node, 1_000_005).await;
    put_user(&broker, "m", "monitoring").await;
    let paths = ["/api/overview", "/api/vhosts/%2F", "/api/queues/%2F/q", "/api/exchanges/%2F/amq.default"];
    let rates = async || {
        let mut found = Vec::new();
        for path in paths.into_iter().chain(["/api/channels"]) {
            let shown = get(&broker, path).await;
            let stats = shown.get("message_stats").unwrap_or(&shown[0]["message_stats"]);
            let name = if path.contains("exchanges") { "publish_in_details" } else { "publish_details" };
            found.push(stats[name]["rate"].as_f64().unwrap_or(f64::NAN));
        }
        found
    };
    for (path, user, expected) in [
        ("/api/reset", "m", 401),
        ("/api/reset/rabbit@elsewhere", "guest", 404),
        ("/api/reset/rabbit@localhost", "guest", 204),
    ] {
        assert_eq!(rates().await, [2.0; 5], "before {path}");
        let password = if user == "guest" { "guest" } else { "pw" };
        let reply = Request::new("DELETE", path).user(user, password).send(broker.http).await;
        assert_eq!(reply.status, expected, "{path}");
    }
    assert_eq!(rates().await, [0.0; 5]);
    let connection = get(&broker, "/api/connections").await[0].clone();
    assert_eq!(connection["recv_oct_details"]["rate"], 0.0);
    let queue = get(&broker, "/api/queues/%2F/q?msg_rates_age=10&msg_rates_incr=5").await;
    assert_eq!(queue["message_stats"]["publish_details"]["avg_rate"], 0.0);
    // What has been counted stays, and goes on.
    assert_eq!(queue["message_stats"]["publish"], 12);
    publish(&channel, "", "q", false).await;
    sampler::take(&broker.node, 1_000_010).await;
    assert_eq!(rates().await, [0.2; 5]);
}

#[tokio::test]
async fn what_a_queue_holds() {
    let broker = start().await;
    let (_connection, channel) = busy(&broker).await;
    for _ in 0..3 {
        publish(&channel, "", "q", false).await;
    }
    let _held = channel.basic_get("q".into(), BasicGetOptions { no_ack: false }).await.expect("an answer");
    let queue = get(&broker, "/api/queues/%2F/q").await;
    for (name, number) in [
        ("messages", 3),
        ("messages_ready", 2),
        ("messages_unacknowledged", 1),
        ("messages_ram", 3),
        ("message_bytes", 12),
        ("message_bytes_ready", 8),
        ("message_bytes_unacknowledged", 4),
        ("head_message_timestamp", 1_234_567_890),
    ] {
        assert_eq!(queue[name], number, "{name}");
    }
    let channels = get(&broker, "/api/channels").await;
    assert_eq!((&channels[0]["messages_unacknowledged"], &channels[0]["confirm"]), (&json!(1), &json!(true)));
    let bare = get(&broker, "/api/queues/%2F/q?disable_stats=true").await;
    assert_eq!((&bare["messages"], &bare["message_stats"]), (&Value::Null, &Value::Null));
    let listed = get(&broker, "/api/queues/%2F").await;
    assert_eq!(listed[0].as_object().map(|queue| queue.contains_key("policy")), Some(false));
    for path in ["/api/queues", "/api/queues/%2F"] {
        let columns = get(&broker, &format!("{path}?columns=name,policy,owner_pid")).await;
        assert_eq!(columns, json!([{ "name": "q", "policy": null }]), "{path}");
    }
    let totals = get(&broker, "/api/queues?disable_stats=true&enable_queue_totals=true").await;
    assert_eq!((&totals[0]["messages"], &totals[0]["message_bytes"]), (&json!(3), &Value::Null));
}

#[tokio::test]
async fn others_connections_are_for_those_who_monitor() {
    let broker = start().await;
    let (_connection, _channel) = busy(&broker).await;
    put_user(&broker, "m", "management").await;
    permit(&broker, "%2F", "m", ".*").await;
    put_user(&broker, "o", "monitoring").await;
    let name = get(&broker, "/api/channels").await[0]["name"].as_str().unwrap_or_default().to_owned();
    let channel = format!("/api/channels/{}", name.replace(' ', "%20").replace('>', "%3E"));
    for (path, of_others) in [("/api/channels", json!([])), ("/api/consumers", json!([]))] {
        assert_eq!(get_as(&broker, "m", path).await, (200, of_others), "{path}");
    }
    assert_eq!(get_as(&broker, "m", &channel).await.0, 401);
    assert_eq!(get_as(&broker, "m", "/api/vhosts/%2F/channels").await, (200, json!([])));
    assert_eq!(get_as(&broker, "o", "/api/vhosts/%2F/channels").await.0, 404);
    assert_eq!(get_as(&broker, "o", &channel).await.1["name"], name);
    let totals = get_as(&broker, "m", "/api/overview").await.1["object_totals"].clone();
    assert_eq!((&totals["channels"], &totals["consumers"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn messages_that_come_over_http_are_counted() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", Value::Null).await, 201);
    for key in ["q", "q", "nowhere"] {
        let body =
            json!({ "routing_key": key, "payload": "x", "payload_encoding": "string", "properties": {} });
        let path = "/api/exchanges/%2F/amq.default/publish";
        assert_eq!(status(&broker, "POST", path, body).await, 200);
    }
    let of_vhost = json!({ "publish": 3, "confirm": 3, "return_unroutable": 1 });
    assert_eq!(counted(&get(&broker, "/api/vhosts/%2F").await), of_vhost);
    assert_eq!(counted(&get(&broker, "/api/overview").await), of_vhost);
    let exchange = get(&broker, "/api/exchanges/%2F/amq.default").await;
    assert_eq!(counted(&exchange), json!({ "publish_in": 3, "publish_out": 2 }));
    assert_eq!(counted(&get(&broker, "/api/queues/%2F/q").await), json!({ "publish": 2 }));
}
