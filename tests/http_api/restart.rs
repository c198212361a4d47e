//! What was set over HTTP is there after a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use leveret::node::Node;
use leveret::node::storage::Storage;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::http::Reply;
use crate::{ask, get, put_user, status};

/// A data folder of its own that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-http-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// A node with what is in the folder, and what keeps it there until it is dropped.
    pub async fn open(&self) -> (Broker, Storage) {
        self.open_within(usize::MAX).await
    }

    /// The same with so much memory for messages, in octets.
    pub async fn open_within(&self, memory: usize) -> (Broker, Storage) {
        let node = Arc::new(Node::empty(16 << 20, memory));
        let storage = Storage::open(&self.0, &node, 0).expect("a storage");
        (Broker::of(node).await, storage)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn limits_and_topic_permissions() {
    let folder = Folder::new("limits");
    let (broker, storage) = folder.open().await;
    put_user(&broker, "u", "").await;
    put_user(&broker, "gone", "").await;
    assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
    let topic = json!({ "exchange": "amq.topic", "write": "^{username}", "read": "" });
    for (path, body, expected) in [
        ("/api/vhost-limits/v/max-queues", json!({ "value": 3 }), 204),
        ("/api/vhost-limits/v/max-connections", json!({ "value": -1 }), 204),
        ("/api/user-limits/u/max-channels", json!({ "value": 0 }), 204),
        ("/api/topic-permissions/v/u", topic.clone(), 201),
        ("/api/topic-permissions/%2F/u", topic.clone(), 201),
        ("/api/topic-permissions/v/gone", topic, 201),
    ] {
        assert_eq!(status(&broker, "PUT", path, body).await, expected, "{path}");
    }
    for path in ["/api/users/gone", "/api/topic-permissions/%2F/u", "/api/vhost-limits/v/max-connections"] {
        assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 204, "{path}");
    }
    drop((storage, broker));

    let (broker, _storage) = folder.open().await;
    let limits = json!([{ "vhost": "v", "value": { "max-queues": 3 } }]);
    assert_eq!(get(&broker, "/api/vhost-limits").await, limits);
    assert_eq!(
        get(&broker, "/api/user-limits").await,
        json!([{ "user": "u", "value": { "max-channels": 0 } }])
    );
    let topics = json!([
        { "user": "u", "vhost": "v", "exchange": "amq.topic", "write": "^{username}", "read": "" },
    ]);
    assert_eq!(get(&broker, "/api/topic-permissions").await, topics);
}

/// What waits for the disk in a vhost that is deleted meanwhile is answered.
#[tokio::test]
async fn a_vhost_is_deleted_while_something_in_it_is_waited_for() {
    let folder = Folder::new("deleted");
    let (broker, _storage) = folder.open().await;
    for _ in 0..25 {
        assert_eq!(status(&broker, "PUT", "/api/vhosts/v", Value::Null).await, 201);
        let declares = (0..6).map(|n| format!("/api/queues/v/{n}")).collect::<Vec<_>>();
        let declares = declares.iter().map(|path| ask(&broker, "PUT", path, json!({ "durable": true })));
        let both = async {
            let delete = ask(&broker, "DELETE", "/api/vhosts/v", Value::Null);
            futures_lite::future::zip(delete, all(declares)).await
        };
        let (deleted, declared) = timeout(Duration::from_secs(60), both).await.expect("answers");
        assert_eq!(deleted.status, 204);
        for reply in declared {
            assert!([201, 404, 500].contains(&reply.status), "{reply:?}");
        }
    }
}

async fn all(requests: impl Iterator<Item = impl Future<Output = Reply>>) -> Vec<Reply> {
    let mut requests: Vec<_> = requests.map(|request| (Box::pin(request), None)).collect();
    std::future::poll_fn(|context| {
        for (request, reply) in requests.iter_mut().filter(|(_, reply)| reply.is_none()) {
            if let std::task::Poll::Ready(done) = request.as_mut().poll(context) {
                *reply = Some(done);
            }
        }
        match requests.iter().all(|(_, reply)| reply.is_some()) {
            true => {
                std::task::Poll::Ready(requests.iter_mut().filter_map(|(_, reply)| reply.take()).collect())
            }
            false => std::task::Poll::Pending,
        }
    })
    .await
}
