//! Health checks, and how connections show while there is an alarm.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};
use leveret::node::alarms::Alarm;
use serde_json::{Value, json};

use super::amqp::Client;
use super::{ask, get, start, timeout};

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
