//! Health checks, which containers call every few seconds: they say what they found, and end with 0 or not.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::status::{interface, purpose};
use super::{is_running, items, text};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Needs, PLUGINS, QUEUES, Section, UPGRADE};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::Output;
use crate::cli::http::segment;

/// How long a port may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const TIMEOUT: &str = "[--timeout <timeout>]";

/// A check of `rabbitmq-diagnostics`.
const fn check(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Health, about, run).tools(DIAGNOSTICS).takes(0, 0, TIMEOUT)
}

pub const COMMANDS: &[Command] = &[
    check("ping", "Tells whether the node's process runs and answers", ping)
        .tools(CTL | DIAGNOSTICS)
        .needs(Needs::Nothing),
    check("check_running", "Fails unless the node serves", check_running).needs(Needs::Nothing),
    check("is_running", "Tells whether the node serves", tell_running).needs(Needs::Nothing),
    check("is_booting", "Tells whether the node is about to serve", tell_booting).needs(Needs::Nothing),
    check("check_local_alarms", "Does nothing [deprecated]: see check_alarms", check_local_alarms),
    check("check_alarms", "Fails while there are alarms", check_alarms),
    check("alarms", "Lists alarms", alarms),
    check("check_virtual_hosts", "Fails unless all virtual hosts run", check_vhosts),
    check(
        "check_port_connectivity",
        "Fails unless all ports of the node can be connected to",
        check_connectivity,
    )
    .takes(0, 0, "[--address <target address>] [--timeout <timeout>]")
    .switches(&[line::text("address")]),
    check("check_port_listener", "Fails unless the node listens on a port", check_port).takes(
        1,
        1,
        "<port> [--timeout <timeout>]",
    ),
    check("check_protocol_listener", "Fails unless the node listens for a protocol", check_protocol).takes(
        1,
        1,
        "<protocol> [--timeout <timeout>]",
    ),
    check("check_if_metadata_store_is_initialized", "Fails unless definitions can be read", check_metadata),
    check(
        "check_if_metadata_store_is_initialized_with_data",
        "Fails unless there are definitions",
        check_metadata,
    ),
    check(
        "check_for_quorum_queues_without_an_elected_leader",
        "Fails if a quorum queue has no leader",
        check_leaders,
    )
    .takes(1, 1, "[--vhost <vhost>] [--across-all-vhosts] <pattern>")
    .switches(&[line::flag("across-all-vhosts")]),
    check(
        "check_if_any_deprecated_features_are_used",
        "Tells which features are used that will go",
        check_deprecated,
    )
    .tools(CTL | DIAGNOSTICS),
    check(
        "check_if_cluster_has_classic_queue_mirroring_policy",
        "Fails if a policy mirrors classic queues: none can",
        check_mirroring,
    )
    .tools(DIAGNOSTICS | QUEUES),
    check(
        "check_if_node_is_quorum_critical",
        "Fails if a quorum would be lost without this node",
        check_critical,
    )
    .tools(DIAGNOSTICS | QUEUES),
    check(
        "check_if_new_quorum_queue_replicas_have_finished_initial_sync",
        "Fails while replicas are not up to date",
        check_sync,
    )
    .tools(DIAGNOSTICS | QUEUES),
    check("check_if_node_is_mirror_sync_critical", "Does nothing [deprecated]", check_mirrors)
        .tools(DIAGNOSTICS | QUEUES)
        .needs(Needs::Nothing),
    check("has_reached_target_cluster_size", "Fails until all nodes of the cluster are there", check_size)
        .tools(CTL | DIAGNOSTICS | UPGRADE),
    check("node_health_check", "Does nothing [deprecated]", node_health_check)
        .tools(CTL | DIAGNOSTICS)
        .needs(Needs::Nothing),
    Command::new("version", Section::Help, "Shows the version of RabbitMQ that is followed", version)
        .tools(CTL | DIAGNOSTICS | PLUGINS)
        .needs(Needs::Nothing),
    Command::new("autocomplete", Section::Help, "Lists the commands whose names begin so", autocomplete)
        .tools(CTL | DIAGNOSTICS | PLUGINS | QUEUES)
        .needs(Needs::Nothing)
        .takes(1, 1, "[prefix] [--timeout <timeout>]"),
    check("server_version", "Shows the version of RabbitMQ that the node follows", server_version),
    check("erlang_version", "Shows the version of Erlang/OTP of that RabbitMQ", erlang_version)
        .takes(0, 0, "[--details] [--offline] [--timeout <timeout>]")
        .switches(&[line::flag("details")]),
];

fn ping(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.take_at_most_a_minute();
    let milliseconds =
        call.timeout().map_or_else(|| "infinity".to_owned(), |time| time.as_millis().to_string());
    call.banner(&format!(
        "Will ping {node}. This only checks if the OS process is running and registered with epmd. Timeout: \
         {milliseconds} ms."
    ));
    let answer = call.get("/ctl/status");
    answer.map_err(|_| {
        Failure::refused(format!("Failed to connect and authenticate to {node} in {milliseconds} ms"))
    })?;
    Ok(Output::Both("Ping succeeded".to_owned(), json!({ "result": "ok", "value": "Ping succeeded" })))
}

fn running(node: &str) -> String {
    format!("RabbitMQ on node {node} is fully booted and running")
}

fn not_running(node: &str) -> String {
    format!("RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)")
}

fn check_running(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Checking if RabbitMQ is running on node {node} ..."));
    if is_running(call)? {
        return Ok(Output::Both(running(&node), json!({ "message": running(&node) })));
    }
    Err(Failure::refused(not_running(&node)))
}

fn tell_running(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Asking node {node} for its status ..."));
    let is_running = is_running(call)?;
    let message = if is_running { running(&node) } else { not_running(&node) };
    Ok(Output::Both(message.clone(), json!({ "result": is_running, "message": message })))
}

/// A node has its socket once it is about to serve, so that it never boots while it can be asked.
fn tell_booting(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Asking node {node} for its boot status ..."));
    is_running(call)?;
    let message = format!(
        "RabbitMQ on node {node} is fully booted (check with is_running), stopped or has not started booting yet"
    );
    Ok(Output::Both(message.clone(), json!({ "result": false, "message": message })))
}

fn check_local_alarms(call: &mut Call) -> Result<Output, Failure> {
    call.banner("This command is DEPRECATED and is a no-op. It will be removed in a future version.");
    let text = format!("Node {} reported no local alarms", call.node());
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

/// The alarms in effect: for people, and for programs.
fn in_effect(call: &mut Call) -> Result<Vec<(String, Value)>, Failure> {
    let node = call.node();
    let about = call.get("/ctl/status")?;
    let alarms = items(&about["alarms"]).iter().filter_map(Value::as_str);
    let told = alarms.map(|resource| match resource {
        "memory" => (format!("Memory alarm on node {node}"), json!({ "node": node, "resource": "memory" })),
        _ => (format!("Free disk space alarm on node {node}"), json!({ "node": node, "resource": "disk" })),
    });
    Ok(told.collect())
}

fn lines(alarms: &[(String, Value)]) -> String {
    alarms.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join("\n")
}

fn check_alarms(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Asking node {node} to report any local resource alarms ..."));
    let alarms = in_effect(call)?;
    if alarms.is_empty() {
        let text = format!("Node {node} reported no alarms, local or clusterwide");
        return Ok(Output::Both(text, json!({ "result": "ok" })));
    }
    let told: Vec<_> = alarms.iter().map(|(line, _)| line.as_str()).collect();
    let message = format!("Node {node} reported alarms");
    let value = json!({ "result": "error", "message": message, "local": told, "global": [] });
    Err(Failure::bare(status::UNAVAILABLE, told.join("\n")).or_value(value))
}

fn alarms(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Asking node {node} to report any known resource alarms ..."));
    let alarms = in_effect(call)?;
    let listed: Vec<_> = alarms.iter().map(|(_, alarm)| alarm.clone()).collect();
    let value = json!({ "result": "ok", "node": node, "alarms": listed });
    let text = match alarms.is_empty() {
        true => format!("Node {node} reported no alarms, local or clusterwide"),
        false => lines(&alarms),
    };
    Ok(Output::Both(text, value))
}

fn check_vhosts(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Checking if all vhosts are running on node {node} ..."));
    call.get("/api/health/checks/virtual-hosts")?;
    let text = format!("Node {node} reported all vhosts as running");
    Ok(Output::Both(text, json!({ "result": "ok", "node": node })))
}

/// A port that the node says is open.
pub struct Listener {
    pub protocol: String,
    pub interface: String,
    pub port: u16,
}

pub fn listeners(call: &mut Call) -> Result<Vec<Listener>, Failure> {
    let about = call.get("/ctl/status")?;
    let all = items(&about["listeners"]).iter().map(|listener| Listener {
        protocol: text(listener, "protocol").to_owned(),
        interface: text(listener, "interface").to_owned(),
        port: listener["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
    });
    Ok(all.collect())
}

/// Ports as programs get them.
pub fn described(listeners: &[Listener], node: &str) -> Vec<Value> {
    let listener = |listener: &Listener| {
        json!({
            "node": node,
            "interface": interface(&listener.interface),
            "port": listener.port,
            "protocol": listener.protocol,
            "purpose": purpose(&listener.protocol),
        })
    };
    listeners.iter().map(listener).collect()
}

fn ports(listeners: &[Listener]) -> String {
    listeners.iter().map(|listener| listener.port.to_string()).collect::<Vec<_>>().join(", ")
}

fn check_connectivity(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!(
        "Testing TCP connections to all active listeners on node {node} using hostname resolution ..."
    ));
    let given = call.line.text("address").map(str::to_owned);
    let listeners = listeners(call)?;
    let mut closed = Vec::new();
    for listener in &listeners {
        let target = given.clone().unwrap_or_else(|| "localhost".to_owned());
        if !call.is_for_programs() {
            call.say(&format!("Will connect to {target}:{}", listener.port));
        }
        let bound = listener.interface.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
        if !answers(given.as_deref(), bound, listener.port) {
            closed.push(format!(
                "{}, port: {}, protocol: {}",
                listener.interface, listener.port, listener.protocol
            ));
        }
    }
    if closed.is_empty() {
        let text = format!(
            "Successfully connected to ports {} on node {node} (using node hostname resolution)",
            ports(&listeners)
        );
        return Ok(Output::Both(text, json!({ "result": "ok", "node": node })));
    }
    Err(Failure::refused(format!(
        "Failed to connect to the following listeners on node {node}: {}",
        closed.join("; ")
    )))
}

/// Whether something accepts connections there. A listener that is bound to an address is tried on it.
fn answers(given: Option<&str>, bound: Option<IpAddr>, port: u16) -> bool {
    let targets: Vec<SocketAddr> = match (given, bound) {
        (Some(name), _) => resolve(name, port),
        (None, Some(ip)) => vec![(ip, port).into()],
        (None, None) => resolve("localhost", port),
    };
    targets.iter().any(|target| TcpStream::connect_timeout(target, PATIENCE).is_ok())
}

fn resolve(name: &str, port: u16) -> Vec<SocketAddr> {
    use std::net::ToSocketAddrs as _;
    (name, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

fn check_port(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    let port = call.argument(0).parse::<u16>().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| Failure::bad_argument("Argument must be a positive integer"))?;
    call.banner(&format!("Asking node {node} if there's an active listener on port {port} ..."));
    let all = listeners(call)?;
    if all.iter().any(|listener| listener.port == port) {
        let text = format!("A listener for port {port} is running on node {node}.");
        return Ok(Output::Both(text, json!({ "result": "ok", "node": node, "port": port.to_string() })));
    }
    let numbers: Vec<_> = all.iter().map(|listener| listener.port).collect();
    let value = json!({
        "result": "error", "missing": port.to_string(), "ports": numbers, "listeners": described(&all, &node),
    });
    let text = format!(
        "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {}",
        ports(&all)
    );
    Err(Failure::bare(status::UNAVAILABLE, text).or_value(value))
}

/// A protocol by each of its names.
fn protocol(name: &str) -> &str {
    match name {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp10" | "amqp1.0" | "amqp" => "amqp",
        "amqps" | "amqp/ssl" => "amqp/ssl",
        "management" | "http" => "http",
        "management/tls" | "https" => "https",
        "prometheus" | "http/prometheus" => "http/prometheus",
        "streams" | "stream" => "stream",
        other => other,
    }
}

fn check_protocol(call: &mut Call) -> Result<Output, Failure> {
    let (node, name) = (call.node(), call.argument(0).to_owned());
    call.banner(&format!("Asking node {node} if there's an active listener for protocol {name} ..."));
    let all = listeners(call)?;
    if all.iter().any(|listener| listener.protocol == protocol(&name)) {
        let text = format!("A listener for protocol {name} is running on node {node}.");
        return Ok(Output::Both(text, json!({ "result": "ok", "node": node, "protocol": name })));
    }
    let mut protocols: Vec<_> = all.iter().map(|listener| listener.protocol.as_str()).collect();
    protocols.dedup();
    let value = json!({
        "result": "error", "missing": name, "protocols": protocols, "listeners": described(&all, &node),
    });
    let text = format!(
        "No listener for protocol {name} is active on node {node}. Found listeners for the following protocols: {}",
        protocols.join(", ")
    );
    Err(Failure::refused(text).or_value(value))
}

fn check_metadata(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Checking if metadata store on node {node} has finished initializing ..."));
    let path = match call.line.words.first().is_some_and(|name| name.ends_with("with_data")) {
        true => "/api/health/checks/metadata-store/initialized/with-data",
        false => "/api/health/checks/metadata-store/initialized",
    };
    call.get(path)?;
    let text = format!("Metadata store on node {node} has completed its initialization");
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

fn check_leaders(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, pattern) = (call.vhost(), call.argument(0).to_owned());
    let everywhere = call.line.flag("across-all-vhosts");
    let place = if everywhere { "all vhosts".to_owned() } else { format!("vhost {vhost}") };
    call.banner(&format!("Checking leader replicas of quorum queues matching '{pattern}' in {place} ..."));
    let scope = if everywhere { "all-vhosts".to_owned() } else { format!("vhost/{}", segment(&vhost)) };
    let checks = "/api/health/checks/quorum-queues-without-elected-leaders";
    call.get(&format!("{checks}/{scope}/pattern/{}", segment(&pattern)))?;
    let text = format!("Node {} reported all quorum queue as having responsive leader replicas", call.node());
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

fn check_deprecated(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Checking if any deprecated features are used ...");
    let used = call.find("/api/deprecated-features/used")?.unwrap_or(Value::Null);
    let used: Vec<_> = items(&used).iter().map(|feature| text(feature, "name")).collect();
    if used.is_empty() {
        let text = "Cluster reported no deprecated features in use".to_owned();
        return Ok(Output::Both(text, json!({ "result": "ok" })));
    }
    let text = format!("Deprecated features in use: {}", used.join(", "));
    Err(Failure::bare(status::UNAVAILABLE, text))
}

fn check_mirroring(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Checking if cluster has any classic queue mirroring policy ...");
    let text = "Cluster reported no policies that enable classic queue mirroring".to_owned();
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

fn check_critical(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Checking if node {node} is critical for quorum of any queues/streams ..."));
    call.get("/api/health/checks/node-is-quorum-critical")?;
    let text =
        format!("Node {node} seems to be the only one in a single node cluster, the check does not apply");
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

fn check_sync(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Checking if node {node} runs promotable replicas of any queues ..."));
    let text = format!("Node {node} reported no queues with promotable replicas");
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

fn check_mirrors(call: &mut Call) -> Result<Output, Failure> {
    call.banner("This command is DEPRECATED and is a no-op. It will be removed in a future version.");
    Ok(Output::Both("ok".to_owned(), json!({ "result": "ok" })))
}

fn check_size(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Checking if target cluster size has been reached on node {node} ..."));
    call.get("/api/health/checks/reached-target-cluster-size")?;
    let text = format!("Target cluster size has been reached on node {node}");
    Ok(Output::Both(text, json!({ "result": "ok" })))
}

fn node_health_check(call: &mut Call) -> Result<Output, Failure> {
    call.banner(
        "This command is DEPRECATED and is a no-op. It will be removed in a future version. \nUse one of the options \
         covered in https://www.rabbitmq.com/monitoring.html#health-checks instead.",
    );
    Ok(Output::Nothing)
}

/// The version a server follows that is not told which; without a server.
fn version(_: &mut Call) -> Result<Output, Failure> {
    Ok(Output::Text(crate::broker::compatibility::Compatibility::default().version().to_owned()))
}

/// For shells that complete what is typed.
fn autocomplete(call: &mut Call) -> Result<Output, Failure> {
    let (prefix, tool) = (call.argument(0), call.tool);
    let own = super::all().filter(|command| command.belongs_to(tool) && command.name.starts_with(prefix));
    let mut names: Vec<_> = own.map(|command| command.name).collect();
    names.sort_unstable();
    Ok(if names.is_empty() { Output::Nothing } else { Output::Text(names.join("\n")) })
}

fn server_version(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Asking node {} for its RabbitMQ version...", call.node()));
    let about = call.get("/api/overview")?;
    Ok(Output::Text(text(&about, "rabbitmq_version").to_owned()))
}

fn erlang_version(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Asking node {} for its Erlang/OTP version...", call.node()));
    let about = call.get("/api/overview")?;
    Ok(Output::Text(format!("Erlang/OTP {}", text(&about, "erlang_version"))))
}
