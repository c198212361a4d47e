//! The nodes of the cluster, which are one: what it has taken of its machine and may take, and who has tried to log in.
//!
//! What only an Erlang node has is there with a neutral value, since tools read it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::available_parallelism;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::caller::{Administrator, Monitor};
use super::listing::Listing;
use super::overview::{ERLANG_VERSION, exchange_types};
use super::refusal::Refusal;
use super::resource::{Names, READ, resource};
use super::stats::{Past, Wanted, fields};
use crate::auth::sasl::Mechanism;
use crate::node::Node;
use crate::node::alarms::Alarm;
use crate::node::disk_use::Used;
use crate::node::listeners::Listener;
use crate::node::process::{Figures, files_max};
use crate::node::samples::{self, CHURN, FIGURES, VHOST, churn};

/// The processes an Erlang node may have by default.
const PROCESSES_MAX: u64 = 1 << 20;

pub(super) fn routes() -> Router<Arc<Node>> {
    let attempts = || resource("HEAD, GET, DELETE, OPTIONS", get(attempts).delete(reset_attempts));
    let by_source = resource("HEAD, GET, DELETE, OPTIONS", get(attempts_by_source).delete(reset_attempts));
    let tables = || resource(READ, get(tables));
    Router::new()
        .route("/api/nodes", resource(READ, get(list)))
        .route("/api/nodes/{node}", resource(READ, get(show)))
        .route("/api/nodes/{node}/memory", resource(READ, get(memory)))
        .route("/api/nodes/{node}/memory/relative", resource(READ, get(memory_relative)))
        .route("/api/nodes/{node}/memory/ets", tables())
        .route("/api/nodes/{node}/memory/ets/relative", tables())
        .route("/api/nodes/{node}/memory/ets/{filter}", resource(READ, get(some_tables)))
        .route("/api/nodes/{node}/memory/ets/{filter}/relative", resource(READ, get(some_tables)))
        .route("/api/auth/attempts/{node}", attempts())
        .route("/api/auth/attempts/{node}/source", by_source)
}

/// Refuses the name of another node.
pub(super) fn check_name(node: &Node, name: &str) -> Result<(), Refusal> {
    if name == node.name() { Ok(()) } else { Err(Refusal::NotFound) }
}

async fn list(
    State(node): State<Arc<Node>>,
    _: Monitor,
    wanted: Wanted,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.plain(vec![to_json(&node, &wanted)]).await
}

async fn show(
    State(node): State<Arc<Node>>,
    _: Monitor,
    wanted: Wanted,
    Names(name): Names<String>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refusal> {
    check_name(&node, &name)?;
    let mut json = to_json(&node, &wanted);
    let wants = |what: &str| asked.get(what).is_some_and(|value| value == "true");
    if wants("memory") {
        json["memory"] = breakdown(&node);
    }
    if wants("binary") {
        json["binary"] = json!({});
    }
    Ok(Json(json))
}

fn to_json(node: &Node, wanted: &Wanted) -> Value {
    let process = &node.process;
    let alarms: Vec<_> = node.alarms.in_effect().iter().collect();
    let now = Figures::read(&node.disk_use);
    let plugins = node.plugins.names();
    let files = process.files();
    let mut json = json!({
        "name": node.name(),
        "type": "disc",
        "running": true,
        "os_pid": std::process::id().to_string(),
        "fd_total": files_max(),
        "mem_limit": process.memory_limit(),
        "mem_alarm": alarms.contains(&Alarm::Memory),
        "disk_free_limit": process.disk_free_limit(),
        "disk_free_alarm": alarms.contains(&Alarm::Disk),
        "uptime": u64::try_from(node.control.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        "run_queue": now.running,
        "processors": available_parallelism().map_or(1, usize::from),
        "exchange_types": exchange_types(),
        "auth_mechanisms": mechanisms(node),
        "applications": applications(node, &plugins),
        "contexts": contexts(&node.listeners.all()),
        "db_dir": process.folder().map(|path| path.to_string_lossy()).unwrap_or_default(),
        "log_files": files.log,
        "config_files": files.config,
        "enabled_plugins": plugins,
        "rabbitmq_version": node.offer.version,
    });
    add_neutral(node, &mut json);
    let mut json = fields(json);
    add_figures(node, &now, &mut json, wanted);
    json.into()
}

/// What tells nothing of this node.
fn add_neutral(node: &Node, json: &mut Value) {
    let zeros =
        |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0.into())).collect::<Map<_, _>>();
    let collected = zeros(&[
        "connection_closed",
        "channel_closed",
        "consumer_deleted",
        "exchange_deleted",
        "queue_deleted",
        "vhost_deleted",
        "node_node_deleted",
        "channel_consumer_deleted",
    ]);
    for (name, value) in [
        ("being_drained", json!(false)),
        ("partitions", json!([])),
        ("cluster_links", json!([])),
        ("sockets_total", json!(0)),
        ("proc_total", json!(PROCESSES_MAX)),
        ("rates_mode", json!(node.stats.rates_mode.name())),
        ("net_ticktime", json!(60)),
        ("mem_calculation_strategy", json!("rss")),
        ("ra_open_file_metrics", zeros(&["ra_log_wal", "ra_log_segment_writer"]).into()),
        ("metrics_gc_queue_length", collected.into()),
        ("erlang_version", json!(ERLANG_VERSION)),
        ("erlang_full_version", json!(concat!("Leveret ", env!("CARGO_PKG_VERSION")))),
        ("crypto_lib_version", json!("")),
    ] {
        json[name] = value;
    }
}

/// What is counted, each with its rate.
fn add_figures(node: &Node, now: &Figures, json: &mut Map<String, Value>, wanted: &Wanted) {
    let series = node.samples.node.lock();
    let past = Past::new(Some(&series), wanted.last, wanted.figures);
    let first = VHOST;
    past.put(json, first, &CHURN, &churn(&node.churned()));
    let mut figures = Map::new();
    past.put(&mut figures, first + CHURN.len(), &FIGURES, &samples::figures(now));
    // What takes time is shown by how much one takes.
    figures.retain(|name, _| !name.contains("_time") && !name.starts_with("io_sync_bytes"));
    json.extend(figures);
    for (name, count) in
        [("msg_store_read_count", "io_read_count"), ("msg_store_write_count", "io_write_count")]
    {
        for end in ["", "_details"] {
            let counted = json.get(&format!("{count}{end}")).cloned().unwrap_or_default();
            json.insert(format!("{name}{end}"), counted);
        }
    }
    for (name, used) in [
        ("io_read_avg_time", now.reads),
        ("io_write_avg_time", now.writes),
        ("io_sync_avg_time", now.syncs),
        ("io_seek_avg_time", Used::default()),
    ] {
        let average = average(used);
        json.insert(name.to_owned(), average.into());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let details = wanted.steady(wanted.figures, average as u64);
        json.insert(format!("{name}_details"), details);
    }
    for name in [
        "sockets_used",
        "gc_num",
        "gc_bytes_reclaimed",
        "io_seek_count",
        "io_reopen_count",
        "mnesia_ram_tx_count",
        "mnesia_disk_tx_count",
        "queue_index_write_count",
        "queue_index_read_count",
    ] {
        json.insert(name.to_owned(), 0.into());
        json.insert(format!("{name}_details"), wanted.steady(wanted.figures, 0));
    }
}

/// How long one of these takes, in milliseconds.
#[expect(clippy::cast_precision_loss)]
fn average(used: Used) -> f64 {
    if used.count == 0 { 0.0 } else { used.microseconds as f64 / used.count as f64 / 1000.0 }
}

/// All there are, and whether clients may use them.
fn mechanisms(node: &Node) -> Value {
    let external = "TLS peer verification-based authentication plugin. Used in combination with the EXTERNAL SASL mechanism.";
    let all = [
        (Mechanism::Amqplain, "QPid AMQPLAIN mechanism"),
        (Mechanism::Plain, "SASL PLAIN authentication mechanism"),
        (Mechanism::Anonymous, "SASL ANONYMOUS authentication mechanism"),
        (Mechanism::External, external),
    ];
    let shown = all.map(|(mechanism, description)| {
        let enabled = node.offer.mechanisms.offered.contains(&mechanism);
        json!({ "name": mechanism.name(), "description": description, "enabled": enabled })
    });
    shown.to_vec().into()
}

/// The broker, and what plugins it has in it.
fn applications(node: &Node, plugins: &[Box<str>]) -> Value {
    let version = &node.offer.version;
    let broker = json!({ "name": "rabbit", "description": "RabbitMQ", "version": version });
    let plugins = plugins
        .iter()
        .map(|name| json!({ "name": name, "description": "Built into Leveret", "version": version }));
    std::iter::once(broker).chain(plugins).collect()
}

/// What is served over HTTP, as nodes show it.
pub(super) fn contexts(listeners: &[Listener]) -> Vec<Value> {
    let http = listeners.iter().filter(|listener| listener.protocol.starts_with("http"));
    http.map(|listener| {
        let prometheus = listener.protocol.ends_with("prometheus");
        let description = if prometheus { "RabbitMQ Prometheus" } else { "RabbitMQ Management" };
        let mut context = json!({
            "description": description,
            "path": "/",
            "port": listener.port.to_string(),
            "cowboy_opts": "[{sendfile,false}]",
        });
        if !listener.ip.is_unspecified() {
            context["ip"] = listener.ip.to_string().into();
        }
        if prometheus {
            context["protocol"] = format!("'{}'", listener.protocol).into();
        }
        if listener.tls {
            context["ssl"] = true.into();
        }
        context
    })
    .collect()
}

async fn memory(
    State(node): State<Arc<Node>>,
    _: Monitor,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    check_name(&node, &name)?;
    Ok(Json(json!({ "memory": breakdown(&node) })))
}

/// Parts of an Erlang node's memory. Messages are what its queues' processes have; the rest is the process's.
const PARTS: [&str; 26] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "plugins",
    "metadata_store",
    "other_proc",
    "metrics",
    "mgmt_db",
    "quorum_ets",
    "mnesia",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_system",
    "allocated_unused",
    "reserved_unallocated",
];

/// What has its part of the memory, in octets, and all of it.
pub(super) fn parts(node: &Node) -> (Vec<(&'static str, u64)>, u64) {
    let used = crate::node::memory::used().unwrap_or_default();
    let messages = (node.budget().resident() as u64).min(used);
    let of = |part| match part {
        "queue_procs" => messages,
        "other_proc" => used - messages,
        _ => 0,
    };
    (PARTS.iter().map(|part| (*part, of(*part))).collect(), used)
}

fn breakdown(node: &Node) -> Value {
    let (parts, used) = parts(node);
    let mut json: Map<_, _> =
        parts.into_iter().map(|(name, octets)| (name.to_owned(), octets.into())).collect();
    json.insert("strategy".to_owned(), "rss".into());
    json.insert("total".to_owned(), json!({ "erlang": used, "rss": used, "allocated": used }));
    json.into()
}

/// In parts of a hundred. What there is is at least one of them.
async fn memory_relative(
    State(node): State<Arc<Node>>,
    _: Monitor,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    check_name(&node, &name)?;
    let (parts, used) = parts(&node);
    let share = |octets: u64| {
        let rounded = (octets * 100 + used / 2).checked_div(used).unwrap_or_default();
        if octets > 0 { rounded.max(1) } else { 0 }
    };
    let shares = parts.into_iter().map(|(name, octets)| (name.to_owned(), share(octets).into()));
    let mut json: Map<_, _> = shares.collect();
    json.insert("total".to_owned(), 100.into());
    Ok(Json(json!({ "memory": json })))
}

/// An Erlang node has tables; none is here.
async fn tables(
    State(node): State<Arc<Node>>,
    _: Monitor,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    check_name(&node, &name)?;
    Ok(Json(json!({ "ets_tables_memory": "no_tables" })))
}

async fn some_tables(
    node: State<Arc<Node>>,
    caller: Monitor,
    Names((name, _)): Names<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    tables(node, caller, Names(name)).await
}

async fn attempts(
    State(node): State<Arc<Node>>,
    _: Monitor,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    check_name(&node, &name)?;
    let all = node.attempts.all().into_iter().filter_map(|(protocol, attempts)| {
        let (succeeded, failed) = attempts.counts();
        (succeeded + failed > 0).then(|| {
            json!({
                "protocol": protocol,
                "auth_attempts": succeeded + failed,
                "auth_attempts_failed": failed,
                "auth_attempts_succeeded": succeeded,
            })
        })
    });
    Ok(Json(all.collect()))
}

/// RabbitMQ does not tell either, unless it is set to.
async fn attempts_by_source(
    State(node): State<Arc<Node>>,
    _: Monitor,
    Names(name): Names<String>,
) -> Result<Json<Value>, Refusal> {
    check_name(&node, &name)?;
    Ok(Json(json!([])))
}

async fn reset_attempts(
    State(node): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
) -> Result<StatusCode, Refusal> {
    check_name(&node, &name)?;
    node.attempts.all().iter().for_each(|(_, attempts)| attempts.reset());
    Ok(StatusCode::NO_CONTENT)
}
