//! The cluster as a whole: its name, its settings, and what is done to all of it.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use super::body::Body;
use super::caller::{Administrator, Caller};
use super::nodes::check_name;
use super::refusal::Refusal;
use super::resource::{Names, READ, resource};
use super::settings::HttpSettings;
use crate::node::Node;
use crate::node::parameters::CLUSTER_NAME_MAX;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/cluster-name", resource("HEAD, GET, PUT, OPTIONS", get(name).put(set_name)))
        .route("/api/config/effective", resource(READ, get(config)))
        .route("/api/extensions", resource(READ, get(extensions)))
        .route("/api/reset", resource("DELETE, OPTIONS", delete(reset)))
        .route("/api/reset/{node}", resource("DELETE, OPTIONS", delete(reset_node)))
        .route("/api/rebalance/queues", resource("POST, OPTIONS", post(rebalance)))
        .route("/api/vhosts/{vhost}/start/{node}", resource("POST, OPTIONS", post(start_vhost)))
}

async fn name(State(node): State<Arc<Node>>, _: Caller) -> Json<Value> {
    Json(json!({ "name": node.cluster_name() }))
}

/// It is kept, and clients that connect are told.
async fn set_name(
    State(node): State<Arc<Node>>,
    _: Administrator,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let fields = body.fields()?;
    fields.require(&["name"])?;
    let name = fields.text("name")?.ok_or_else(|| Refusal::bad_request(json!(["not_string", null])))?;
    if name.len() > CLUSTER_NAME_MAX {
        return Err(Refusal::bad_request("the name of a cluster may have 255 octets"));
    }
    node.set_cluster_name(name);
    node.changes().kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The scripts that RabbitMQ's own pages load for its plugins.
async fn extensions(_: Caller) -> Json<Value> {
    Json(json!([{ "javascript": "dispatcher.js" }]))
}

/// What is set, as an Erlang term: people look at it, and compare.
async fn config(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Extension(settings): Extension<Arc<HttpSettings>>,
) -> Response {
    ([(CONTENT_TYPE, "text/plain")], term(&node, &settings)).into_response()
}

fn term(node: &Node, settings: &HttpSettings) -> String {
    let offer = &node.offer;
    let ports = |tls: bool, protocol: &str| {
        let all = node.listeners.all().into_iter();
        let found = all.filter(|listener| listener.tls == tls && listener.protocol.starts_with(protocol));
        found
            .map(|listener| format!("{{\"{}\",{}}}", listener.ip, listener.port))
            .collect::<Vec<_>>()
            .join(",")
    };
    let infinity = |limit: Option<u32>| limit.map_or("infinity".to_owned(), |limit| limit.to_string());
    let rabbit = [
        ("channel_max", offer.channel_max.to_string()),
        ("cluster_name", format!("<<\"{}\">>", node.cluster_name())),
        ("consumer_max_per_channel", infinity(offer.consumer_max)),
        ("default_queue_type", node.default_queue_type.name().to_owned()),
        ("disk_free_limit", node.process.disk_free_limit().to_string()),
        ("frame_max", offer.frame_max.to_string()),
        ("heartbeat", offer.heartbeat.to_string()),
        ("max_message_size", offer.message_size_max.to_string()),
        ("ssl_listeners", format!("[{}]", ports(true, "amqp"))),
        ("tcp_listeners", format!("[{}]", ports(false, "amqp"))),
        ("vm_memory_high_watermark", format!("{{absolute,{}}}", node.process.memory_limit())),
    ];
    let origins = settings.cors_origins.iter().map(|origin| format!("\"{origin}\"")).collect::<Vec<_>>();
    let text = |value: &str| format!("\"{value}\"");
    let management = [
        ("cors_allow_origins", format!("[{}]", origins.join(","))),
        ("cors_max_age", settings.cors_max_age.to_string()),
        ("disable_basic_auth", settings.no_basic_auth.to_string()),
        ("max_http_body_size", settings.body_max.to_string()),
        ("path_prefix", text(&settings.path_prefix)),
        ("tcp_listeners", format!("[{}]", ports(false, "http"))),
        ("ui_dir", text(&settings.ui.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default())),
    ];
    let mut text = String::from("[");
    for (n, (application, values)) in
        [("rabbit", &rabbit[..]), ("rabbitmq_management", &management)].iter().enumerate()
    {
        let begin = if n > 0 { " " } else { "" };
        let values: Vec<_> = values.iter().map(|(key, value)| format!("{{{key},{value}}}")).collect();
        // Writing into a text does not fail.
        let _ = write!(text, "{begin}{{{application},\n     [{}]}},\n", values.join(",\n      "));
    }
    let plugins: Vec<_> = node.plugins.names().iter().map(|plugin| format!(" {{{plugin},[]}}")).collect();
    text + &plugins.join(",\n") + "]\n"
}

/// Rates and what is told of the past begin anew. Counters stay, as those of RabbitMQ come back.
async fn reset(State(node): State<Arc<Node>>, _: Administrator) -> StatusCode {
    node.forget_samples();
    StatusCode::NO_CONTENT
}

async fn reset_node(
    node: State<Arc<Node>>,
    administrator: Administrator,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    check_name(&node, &name)?;
    Ok(reset(node, administrator).await)
}

/// All queues are where they belong already.
async fn rebalance(_: Administrator) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// A vhost runs as long as there is one.
async fn start_vhost(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    if name != node.name() {
        return Err(Refusal::bad_request(format!("Unknown node: {name}")));
    }
    let missing = || format!("Request to node {name} failed with {{no_such_vhost,<<\"{vhost}\">>}}");
    node.vhost(&vhost).map(|_| StatusCode::NO_CONTENT).ok_or_else(|| Refusal::bad_request(missing()))
}
