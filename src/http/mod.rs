//! The management HTTP API.
pub async fn serve(_l: tokio::net::TcpListener, _n: std::sync::Arc<crate::node::Node>) {}
