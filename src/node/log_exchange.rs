//! The exchange `amq.rabbitmq.log` of the default vhost: the node's log as messages, if it is to be published.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::Node;
use crate::logs::posts::{Post, Posts};
use crate::wire::compose::Table;
use crate::wire::properties::{CONTENT_TYPE, HEADERS, TIMESTAMP};

/// Its name, by which every default vhost has it.
pub const EXCHANGE: &str = "amq.rabbitmq.log";

/// Publishes what is logged until the node goes down.
pub async fn run(node: Arc<Node>, posts: Arc<Posts>) {
    let more = Arc::new(Notify::new());
    let bell = Arc::clone(&more);
    posts.wake_by(move || bell.notify_one());
    let mut going_down = node.going_down();
    loop {
        tokio::select! {
            () = more.notified() => publish(&node, posts.take()),
            _ = going_down.wait_for(|down| *down) => return,
        }
    }
}

/// Without the vhost they are lost. Nothing is logged here, which would have to be published again.
fn publish(node: &Node, posts: Vec<Post>) {
    let Some(vhost) = node.vhost(node.default_vhost()) else { return };
    vhost.with(|vhost, _| {
        for post in posts {
            let properties = properties(&post, node.name());
            vhost.post(EXCHANGE.as_bytes(), post.level.as_bytes(), properties, Bytes::from(post.text));
        }
    });
}

fn properties(post: &Post, node: &str) -> Box<[u8]> {
    let mut headers = Table::default();
    headers.text("node", node);
    let kind: &[u8] = if post.json { b"\x10application/json" } else { b"\x0atext/plain" };
    let mut octets = (CONTENT_TYPE | HEADERS | TIMESTAMP).to_be_bytes().to_vec();
    octets.extend_from_slice(kind);
    octets.extend_from_slice(&(headers.octets().len() as u32).to_be_bytes());
    octets.extend_from_slice(headers.octets());
    octets.extend_from_slice(&post.at.to_be_bytes());
    octets.into()
}
