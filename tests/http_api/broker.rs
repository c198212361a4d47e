//! A node in this process on ports of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret::http::settings::HttpSettings;
use leveret::node::Node;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running node. Each test has its own.
pub struct Broker {
    pub node: Arc<Node>,
    pub amqp: SocketAddr,
    pub http: SocketAddr,
    /// Ends when the HTTP API has ended.
    pub serving: JoinHandle<()>,
}

pub async fn start() -> Broker {
    Broker::of(Arc::new(Node::new().expect("a node"))).await
}

impl Broker {
    /// Serves a node, which may be on disk.
    pub async fn of(node: Arc<Node>) -> Self {
        Self::with(node, HttpSettings::default()).await
    }

    /// Serves a node in another way.
    pub async fn with(node: Arc<Node>, settings: HttpSettings) -> Self {
        let settings = Arc::new(settings);
        let amqp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let http = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (amqp_address, http_address) = (amqp.local_addr(), http.local_addr());
        node.listeners.add("amqp", *amqp_address.as_ref().expect("an address"), false);
        node.listeners.add("http", *http_address.as_ref().expect("an address"), false);
        tokio::spawn(leveret::net::listener::accept(amqp, Arc::clone(&node)));
        Broker {
            amqp: amqp_address.expect("an address"),
            http: http_address.expect("an address"),
            serving: tokio::spawn(leveret::http::serve(http, Arc::clone(&node), settings)),
            node,
        }
    }
}
