//! A node made new again.

use serde_json::{Value, json};

use crate::amqp::Client;
use crate::broker::start;
use crate::getting::publish;
use crate::http::Request;
use crate::restart::Folder;
use crate::{error, get, put_user, status};

#[tokio::test]
async fn everything_goes() {
    let broker = start().await;
    let new = get(&broker, "/api/definitions").await;
    let mut client = Client::open(broker.amqp, "guest", "guest", "/").await;
    put_user(&broker, "m", "monitoring").await;
    let reply = Request::new("POST", "/api/reset-node").user("m", "pw").send(broker.http).await;
    assert_eq!((reply.status, reply.body), (401, error("not_authorised", "Not administrator user")));
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    assert_eq!(status(&broker, "POST", "/api/vhosts/v/deletion/protection", Value::Null).await, 204);
    assert_eq!(
        status(&broker, "PUT", "/api/users/guest", json!({ "password": "x", "tags": "administrator" })).await,
        204
    );
    let reset = Request::new("POST", "/api/reset-node").user("guest", "x");
    assert_eq!(reset.send(broker.http).await.status, 204);
    assert_eq!(client.closed().await, (320, "CONNECTION_FORCED - the node is reset".to_owned()));
    let now = get(&broker, "/api/definitions").await;
    for category in ["vhosts", "permissions", "queues", "exchanges", "policies", "global_parameters"] {
        assert_eq!(now[category], new[category], "{category}");
    }
    assert_eq!(
        get(&broker, "/api/users?columns=name,tags").await,
        json!([{ "name": "guest", "tags": ["administrator"] }])
    );
}

#[tokio::test]
async fn on_disk_too() {
    let folder = Folder::new("reset");
    let (broker, storage) = folder.open().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({ "durable": true })).await, 201);
    publish(&broker, "q", "m", json!({ "delivery_mode": 2 })).await;
    put_user(&broker, "m", "").await;
    for _ in 0..2 {
        assert_eq!(status(&broker, "POST", "/api/reset-node", Value::Null).await, 204);
        assert_eq!(get(&broker, "/api/queues").await, json!([]));
    }
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/new", json!({ "durable": true })).await, 201);
    drop((storage, broker));

    let (broker, _storage) = folder.open().await;
    assert_eq!(get(&broker, "/api/queues?columns=name").await, json!([{ "name": "new" }]));
    assert_eq!(get(&broker, "/api/users?columns=name").await, json!([{ "name": "guest" }]));
}
