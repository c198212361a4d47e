//! Who has made exchanges and queues.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::FieldTable;
use serde_json::{Value, json};

use crate::amqp::Client;
use crate::broker::Broker;
use crate::http::Request;
use crate::restart::Folder;
use crate::{error, get, get_as, put_user, status};

async fn declare_over_amqp(broker: &Broker, user: &str) {
    let mut client = Client::open(broker.amqp, user, "pw", "v").await;
    client.open_channel().await;
    let declare = exchange::Declare {
        exchange: "by amqp".into(),
        kind: "topic".into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    client.ask(1, &AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)), (40, 11)).await;
    let declare = queue::Declare {
        queue: "by amqp".into(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    };
    client.ask(1, &AMQPClass::Queue(queue::AMQPMethod::Declare(declare)), (50, 11)).await;
}

async fn check(broker: &Broker) {
    for (path, user) in [
        ("v/by%20amqp", "maker"),
        ("v/by%20http", "guest"),
        ("v/imported", "guest"),
        ("v/s", "guest"),
        ("v/amq.topic", "guest"),
        ("v/amq.default", "guest"),
        ("w/amq.topic", "other"),
        ("%2F/amq.topic", "rmq-internal"),
    ] {
        let exchange = get(broker, &format!("/api/exchanges/{path}")).await;
        assert_eq!(exchange["user_who_performed_action"], user, "{path}");
    }
    for (user, names) in [
        ("maker", json!(["by amqp", "by http"])),
        ("guest", json!(["imported", "s-0"])),
        ("nobody", json!([])),
    ] {
        let found = get(broker, &format!("/api/users/{user}/queues?columns=name&sort=name")).await;
        let found: Value =
            found.as_array().into_iter().flatten().map(|queue| queue["name"].clone()).collect();
        assert_eq!(found, names, "{user}");
    }
}

#[tokio::test]
async fn creators_are_kept() {
    let folder = Folder::new("creators");
    let (broker, storage) = folder.open().await;
    put_user(&broker, "maker", "management").await;
    put_user(&broker, "other", "administrator").await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    let put = |path, user, body: Value| {
        Request::new("PUT", path).user(user, "pw").body(body.to_string()).send(broker.http)
    };
    assert_eq!(put("/api/vhosts/w", "other", json!({})).await.status, 201);
    let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    assert_eq!(status(&broker, "PUT", "/api/permissions/v/maker", all).await, 201);
    declare_over_amqp(&broker, "maker").await;
    assert_eq!(put("/api/queues/v/by%20http", "maker", json!({ "durable": true })).await.status, 201);
    let durable = json!({ "durable": true });
    assert_eq!(status(&broker, "PUT", "/api/exchanges/v/by%20http", durable.clone()).await, 201);
    assert_eq!(
        status(&broker, "PUT", "/api/stream/super-streams/v/s", json!({ "partitions": 1 })).await,
        204
    );
    let more = json!({ "auto_delete": false, "arguments": {} });
    let mut queue = json!({ "name": "imported", "vhost": "v", "durable": true });
    queue.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let mut exchange = queue.clone();
    exchange["type"] = "fanout".into();
    exchange["internal"] = false.into();
    let definitions = json!({ "queues": [queue], "exchanges": [exchange] });
    let import = Request::new("POST", "/api/definitions").header("Content-Type", "application/json");
    assert_eq!(import.body(definitions.to_string()).send(broker.http).await.status, 204);
    // Whoever declares again, or describes the vhost anew, has not made it.
    assert_eq!(status(&broker, "PUT", "/api/queues/v/by%20amqp", durable).await, 204);
    assert_eq!(put("/api/vhosts/v", "other", json!({ "description": "d" })).await.status, 204);
    check(&broker).await;
    drop((storage, broker));

    let (broker, _storage) = folder.open().await;
    check(&broker).await;
}

#[tokio::test]
async fn queues_of_a_creator_are_a_list_like_others() {
    let broker = crate::start().await;
    put_user(&broker, "u", "management").await;
    put_user(&broker, "plain", "").await;
    for path in ["/api/queues/%2F/a", "/api/queues/%2F/b"] {
        assert_eq!(status(&broker, "PUT", path, Value::Null).await, 201);
    }
    // Only what the caller may see is there.
    assert_eq!(get_as(&broker, "u", "/api/users/guest/queues").await, (200, json!([])));
    let refused = (401, error("not_authorised", "Not management user"));
    assert_eq!(get_as(&broker, "plain", "/api/users/plain/queues").await, refused);
    let page = get(&broker, "/api/users/guest/queues?page=2&page_size=1&columns=name").await;
    assert_eq!((&page["item_count"], &page["items"]), (&json!(1), &json!([{ "name": "b" }])));
    let all = get(&broker, "/api/queues").await;
    assert_eq!(get(&broker, "/api/users/guest/queues").await, all);
}
