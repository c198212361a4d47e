//! What the node is and has.

use serde_json::{Value, json};

use super::health::{described, listeners};
use super::items::{CHANNELS, CONNECTIONS, EXCHANGES, QUEUES};
use super::{items, text};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Needs, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::line::{self, Switch};
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;
use crate::node::NODE_NAME;

const TIMEOUT: &str = "[--timeout <timeout>]";
const UNIT: &[Switch] = &[line::text("unit")];

pub const COMMANDS: &[Command] = &[
    Command::new("status", Section::Health, "Shows what the node is and has", status)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--unit <unit>] [--timeout <timeout>]")
        .switches(UNIT),
    Command::new("cluster_status", Section::Cluster, "Shows the cluster, which is this node", cluster_status)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, TIMEOUT),
    Command::new("listeners", Section::Health, "Lists ports", list_listeners)
        .tools(DIAGNOSTICS)
        .takes(0, 0, TIMEOUT),
    Command::new("memory_breakdown", Section::Health, "Shows what takes memory", memory_breakdown)
        .tools(DIAGNOSTICS)
        .takes(0, 0, "[--unit <unit>] [--timeout <timeout>]")
        .switches(UNIT),
    Command::new("os_env", Section::Configuration, "Lists RabbitMQ's environment variables", os_env)
        .tools(DIAGNOSTICS)
        .needs(Needs::Nothing)
        .takes(0, 0, TIMEOUT),
    Command::new("message_size_stats", Section::Health, "Shows how large published messages were", sizes)
        .tools(DIAGNOSTICS)
        .takes(0, 0, TIMEOUT),
    Command::new("report", Section::Health, "Shows all of this, and all lists", report)
        .tools(CTL | DIAGNOSTICS),
];

/// A number of octets in a unit of 1000s, as RabbitMQ rounds it.
fn in_unit(octets: u64, unit: &str) -> String {
    let divisor = match unit.to_lowercase().as_str() {
        "bytes" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "tb" => 1e12,
        _ => 1e9,
    };
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let value = (octets as f64 / divisor * 10_000.0).round() / 10_000.0;
    format!("{value:?} {}", unit.to_lowercase())
}

fn unit(call: &Call) -> Result<String, Failure> {
    let unit = call.line.text("unit").unwrap_or("gb").to_lowercase();
    if ["bytes", "kb", "mb", "gb", "tb"].contains(&unit.as_str()) {
        return Ok(unit);
    }
    Err(Failure::bad_argument(&format!(
        "unit '{unit}' is not supported. Please use one of: bytes, mb, gb, tb"
    )))
}

fn title(text: &mut String, title: &str) {
    text.push_str(&format!("{}{title}\n\n", if text.is_empty() { "" } else { "\n" }));
}

/// Lines, or that there are none.
fn or_none(lines: &[String]) -> String {
    if lines.is_empty() { "(none)\n".to_owned() } else { lines.join("\n") + "\n" }
}

/// What a port is for, by its protocol.
pub fn purpose(protocol: &str) -> &'static str {
    match protocol {
        "amqp" => "AMQP 0-9-1",
        "amqp/ssl" => "AMQP 0-9-1 over TLS",
        "http" => "HTTP API",
        "https" => "HTTP API over TLS (HTTPS)",
        "http/prometheus" => "Prometheus exporter API over HTTP",
        "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
        "stream" => "stream",
        "stream/ssl" => "stream over TLS",
        _ => "",
    }
}

/// An address as it stands in a URI.
pub fn interface(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// All ports: for people, and for programs.
fn ports(call: &mut Call) -> Result<(Vec<String>, Value), Failure> {
    let node = call.node();
    let all = listeners(call)?;
    let lines = all.iter().map(|l| {
        let (interface, purpose) = (interface(&l.interface), purpose(&l.protocol));
        format!("Interface: {interface}, port: {}, protocol: {}, purpose: {purpose}", l.port, l.protocol)
    });
    Ok((lines.collect(), described(&all, &node).into()))
}

fn list_listeners(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Asking node {node} to report its protocol listeners ..."));
    let (lines, values) = ports(call)?;
    let value = json!({ "result": "ok", "node": node, "listeners": values });
    Ok(Output::Both(lines.join("\n"), value))
}

/// Octets of files, which is the program itself, that a process on this machine has in memory.
fn mapped(pid: u64) -> Option<u64> {
    let about = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = about.lines().find_map(|line| line.strip_prefix("RssFile:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Parts of the memory that the process takes, the largest first.
fn memory_parts(about: &Value) -> Vec<(&'static str, u64)> {
    let (all, messages) =
        (about["memory"].as_u64().unwrap_or(0), about["message_memory"].as_u64().unwrap_or(0));
    let code = about["pid"].as_u64().and_then(mapped).unwrap_or(0).min(all);
    let messages = messages.min(all - code);
    let mut parts = vec![("code", code), ("messages", messages), ("other", all - code - messages)];
    parts.sort_by_key(|(_, octets)| std::cmp::Reverse(*octets));
    parts
}

fn percentage(part: u64, all: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let percent = part as f64 * 100.0 / all as f64;
    (percent * 100.0).round() / 100.0
}

fn memory_breakdown(call: &mut Call) -> Result<Output, Failure> {
    let unit = unit(call)?;
    call.banner(&format!("Reporting memory breakdown on node {}...", call.node()));
    let about = call.get("/ctl/status")?;
    let all = about["memory"].as_u64().unwrap_or(0);
    let parts = memory_parts(&about);
    let lines = parts.iter().map(|(name, octets)| {
        format!("{name}: {} ({:?}%)", in_unit(*octets, &unit), percentage(*octets, all))
    });
    let mut value = json!({});
    for (name, octets) in &parts {
        value[*name] = json!({ "bytes": octets, "percentage": percentage(*octets, all) });
    }
    Ok(Output::Both(lines.collect::<Vec<_>>().join("\n"), value))
}

/// What a report about the node is made of.
struct Facts {
    about: Value,
    overview: Value,
    node: Value,
    ports: (Vec<String>, Value),
    plugins: Vec<String>,
    plugins_file: String,
}

impl Facts {
    fn of(call: &mut Call) -> Result<Self, Failure> {
        Ok(Self {
            about: call.get("/ctl/status")?,
            overview: call.get("/api/overview")?,
            node: call.find(&format!("/api/nodes/{}", segment(NODE_NAME)))?.unwrap_or(Value::Null),
            ports: ports(call)?,
            plugins: super::plugins::enabled(&call.line).into_iter().collect(),
            plugins_file: super::plugins::file(&call.line).display().to_string(),
        })
    }

    fn alarms(&self, node: &str) -> Vec<String> {
        let alarms = items(&self.about["alarms"]).iter().filter_map(Value::as_str);
        let named = alarms.map(|alarm| match alarm {
            "memory" => format!("Memory alarm on node {node}"),
            _ => format!("Free disk space alarm on node {node}"),
        });
        named.collect()
    }

    /// A list of texts in what the node says of itself.
    fn files(&self, field: &str) -> Vec<String> {
        items(&self.node[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

fn status(call: &mut Call) -> Result<Output, Failure> {
    let unit = unit(call)?;
    let node = call.node();
    call.banner(&format!("Status of node {node} ..."));
    let facts = Facts::of(call)?;
    if call.is_for_programs() {
        return Ok(Output::Both(String::new(), status_value(&facts, &node)));
    }
    let mut out = String::new();
    runtime(&mut out, &facts, &node);
    title(&mut out, "Plugins");
    out.push_str(&format!("Enabled plugin file: {}\n", facts.plugins_file));
    out.push_str("Enabled plugins:\n\n");
    facts.plugins.iter().for_each(|plugin| out.push_str(&format!(" * {plugin}\n")));
    title(&mut out, "Data directory");
    let folder = facts.about["data_directory"].as_str().unwrap_or("(none: everything is in memory)");
    out.push_str(&format!("Node data directory: {folder}\nRaft data directory: {folder}\n"));
    title(&mut out, "Config files");
    let starred = |files: Vec<String>| files.iter().map(|file| format!(" * {file}")).collect::<Vec<_>>();
    out.push_str(&or_none(&starred(facts.files("config_files"))));
    title(&mut out, "Log file(s)");
    out.push_str(&or_none(&starred(facts.files("log_files"))));
    title(&mut out, "Alarms");
    out.push_str(&or_none(&facts.alarms(&node)));
    title(&mut out, "Tags");
    out.push_str("(none)\n");
    memory(&mut out, &facts, &unit);
    title(&mut out, "Free Disk Space");
    let octets = |field: &str| in_unit(facts.node[field].as_u64().unwrap_or(0), &unit);
    out.push_str(&format!("Low free disk space watermark: {}\n", octets("disk_free_limit")));
    out.push_str(&format!("Free disk space: {}\n", octets("disk_free")));
    title(&mut out, "Totals");
    let totals = totals(&facts);
    out.push_str(&format!(
        "Connection count: {}\nQueue count: {}\nVirtual host count: {}\n",
        totals["connection_count"], totals["queue_count"], totals["virtual_host_count"]
    ));
    title(&mut out, "Listeners");
    out.push_str(&facts.ports.0.join("\n"));
    Ok(Output::Text(out))
}

fn runtime(out: &mut String, facts: &Facts, node: &str) {
    let about = &facts.about;
    title(out, "Runtime");
    out.push_str(&format!("OS PID: {}\nOS: Linux\n", about["pid"]));
    out.push_str(&format!("Uptime (seconds): {}\n", about["uptime"]));
    out.push_str(&format!("Is under maintenance?: {}\n", about["doors"] == "drained"));
    out.push_str(&format!("RabbitMQ version: {}\n", text(about, "version")));
    out.push_str(&format!("Leveret version: {}\n", text(about, "leveret_version")));
    out.push_str(&format!("Node name: {node}\n"));
    out.push_str(&format!("Erlang configuration: Erlang/OTP {}\n", text(&facts.overview, "erlang_version")));
}

fn memory(out: &mut String, facts: &Facts, unit: &str) {
    let all = facts.about["memory"].as_u64().unwrap_or(0);
    title(out, "Memory");
    out.push_str(&format!("Total memory used: {}\nCalculation strategy: rss\n", in_unit(all, unit)));
    let limit = facts.node["mem_limit"].as_u64().unwrap_or(0);
    out.push_str(&format!("Memory high watermark setting: computed to: {}\n\n", in_unit(limit, unit)));
    for (name, octets) in memory_parts(&facts.about) {
        out.push_str(&format!("{name}: {} ({:?} %)\n", in_unit(octets, unit), percentage(octets, all)));
    }
}

fn totals(facts: &Facts) -> Value {
    let totals = &facts.overview["object_totals"];
    json!({
        "connection_count": totals["connections"],
        "queue_count": totals["queues"],
        "virtual_host_count": facts.about["vhosts"],
    })
}

fn status_value(facts: &Facts, node: &str) -> Value {
    let about = &facts.about;
    let mut memory = json!({ "strategy": "rss" });
    memory["total"] =
        json!({ "rss": about["memory"], "allocated": about["memory"], "erlang": about["memory"] });
    for (name, octets) in memory_parts(about) {
        memory[name] = octets.into();
    }
    json!({
        "pid": about["pid"],
        "os": "Linux",
        "uptime": about["uptime"],
        "is_under_maintenance": about["doors"] == "drained",
        "rabbitmq_version": about["version"],
        "leveret_version": about["leveret_version"],
        "product_name": "",
        "product_version": "",
        "erlang_version": facts.overview["erlang_version"],
        "crypto_lib_version": facts.overview["crypto_lib_version"],
        "net_ticktime": 60,
        "run_queue": 0,
        "processes": { "used": 1, "limit": facts.node["proc_total"] },
        "memory": memory,
        "vm_memory_calculation_strategy": "rss",
        "vm_memory_high_watermark_limit": facts.node["mem_limit"],
        "disk_free_limit": facts.node["disk_free_limit"],
        "disk_free": facts.node["disk_free"],
        "alarms": facts.alarms(node),
        "tags": [],
        "listeners": facts.ports.1,
        "enabled_plugin_file": facts.plugins_file,
        "active_plugins": facts.plugins,
        "config_files": facts.files("config_files"),
        "log_files": facts.files("log_files"),
        "data_directory": about["data_directory"],
        "raft_data_directory": about["data_directory"],
        "totals": totals(facts),
    })
}

fn cluster_status(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Cluster status of node {node} ..."));
    let facts = Facts::of(call)?;
    let flags = call.find("/api/feature-flags")?.unwrap_or(Value::Null);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let versions = json!({
        "rabbitmq_name": "RabbitMQ",
        "rabbitmq_version": facts.about["version"],
        "erlang_version": facts.overview["erlang_version"],
    });
    let maintained =
        if facts.about["doors"] == "drained" { "under maintenance" } else { "not under maintenance" };
    if call.is_for_programs() {
        let value = json!({
            "cluster_name": facts.overview["cluster_name"],
            "cluster_tags": [],
            "disk_nodes": [node],
            "running_nodes": [node],
            "versions": { node.as_str(): versions },
            "cpu_cores": { node.as_str(): cores },
            "maintenance_status": { node.as_str(): maintained },
            "alarms": facts.alarms(&node),
            "partitions": {},
            "listeners": { node.as_str(): facts.ports.1 },
            "feature_flags": flags,
        });
        return Ok(Output::Both(String::new(), value));
    }
    let mut out = String::new();
    title(&mut out, "Basics");
    out.push_str(&format!("Cluster name: {}\n", text(&facts.overview, "cluster_name")));
    out.push_str(&format!("Total CPU cores available cluster-wide: {cores}\n"));
    let ports = facts.ports.0.iter().map(|line| format!("Node: {node}, {}", line.replacen('I', "i", 1)));
    let flags = items(&flags).iter();
    let flags = flags.map(|flag| format!("Flag: {}, state: {}", text(flag, "name"), text(flag, "state")));
    let version = (text(&facts.about, "version"), text(&facts.overview, "erlang_version"));
    for (name, lines) in [
        ("Cluster Tags", Vec::new()),
        ("Disk Nodes", vec![node.clone()]),
        ("Running Nodes", vec![node.clone()]),
        ("Versions", vec![format!("{node}: RabbitMQ {} on Erlang {}", version.0, version.1)]),
        ("CPU Cores", vec![format!("Node: {node}, available CPU cores: {cores}")]),
        ("Maintenance status", vec![format!("Node: {node}, status: {maintained}")]),
        ("Alarms", facts.alarms(&node)),
        ("Network Partitions", Vec::new()),
        ("Listeners", ports.collect()),
        ("Feature flags", flags.collect()),
    ] {
        title(&mut out, name);
        out.push_str(&or_none(&lines));
    }
    Ok(Output::Text(out.trim_end().to_owned()))
}

/// What RabbitMQ calls messages up to each of the sizes that are counted, and those above.
const SIZES: [&str; 9] = [
    "below 100B",
    "between 100B and 1KB",
    "between 1KB and 10KB",
    "between 10KB and 100KB",
    "between 100KB and 1MB",
    "between 1MB and 10MB",
    "between 10MB and 50MB",
    "between 50MB and 100MB",
    "above 100MB",
];

/// How many messages there were of each size, by the node's metrics, where each bucket holds those before it too.
fn size_counts(metrics: &str) -> Vec<u64> {
    let buckets = metrics.lines().filter(|line| line.starts_with("rabbitmq_message_size_bytes_bucket{"));
    let counts = buckets.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    let mut before = 0;
    counts.map(|count| count.saturating_sub(std::mem::replace(&mut before, count))).collect()
}

fn sizes(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Gathering message size statistics across the cluster using node {node} ..."));
    let metrics = call.ask(hyper::Method::GET, "/metrics", None)?;
    let counts = size_counts(&String::from_utf8_lossy(&metrics.body));
    let all: u64 = counts.iter().sum();
    let row = |(name, count): (&&str, &u64)| {
        let share = format!("{:.2}", percentage(*count, all));
        vec![Term::from(*name), Term::from(*count), Term::from(share)]
    };
    let rows = SIZES.iter().zip(&counts).map(row).collect();
    let rows = Rows::new(&["Message Size", "Count", "Percentage"], rows);
    Ok(Output::Rows(Rows { in_box: true, streamed: true, ..rows }))
}

/// Those of whoever calls: the node may have others.
fn os_env(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Listing RabbitMQ-specific environment variables defined on node {node}..."));
    let variables = std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let ours = variables.filter(|(name, _)| name.starts_with("RABBITMQ_") || name.starts_with("LEVERET_"));
    let ours = ours.filter(|(name, _)| !name.contains("PASS") && !name.contains("COOKIE"));
    let mut lines: Vec<_> = ours.map(|(name, value)| format!("{name}={}", value.to_string_lossy())).collect();
    lines.sort();
    Ok(Output::Text(lines.join("\n")))
}

/// The status, the settings, and every list of every virtual host with all columns.
fn report(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Reporting server status of node {} ...\n", call.node()));
    let vhosts = call.get("/api/vhosts")?;
    let none: &[&str] = &[];
    for (name, columns) in [
        ("status", none),
        ("cluster_status", none),
        ("environment", none),
        ("list_connections", CONNECTIONS.columns),
        ("list_channels", CHANNELS.columns),
        ("os_env", none),
        ("list_feature_flags", none),
        ("list_vhosts", none),
        ("list_global_parameters", none),
    ] {
        run_one(call, name, columns)?;
    }
    for vhost in items(&vhosts) {
        call.line.set("vhost", text(vhost, "name"));
        for (name, columns) in [
            ("list_queues", QUEUES.columns),
            ("list_exchanges", EXCHANGES.columns),
            ("list_bindings", none),
            ("list_consumers", none),
            ("list_permissions", none),
            ("list_policies", none),
            ("list_operator_policies", none),
            ("list_parameters", none),
        ] {
            run_one(call, name, columns)?;
        }
    }
    Ok(Output::Nothing)
}

fn run_one(call: &mut Call, name: &str, columns: &[&str]) -> Result<(), Failure> {
    let Some(command) = super::all().find(|command| command.name == name) else { return Ok(()) };
    call.arguments = columns.iter().map(ToString::to_string).collect();
    let output = (command.run)(call)?;
    call.print(&output);
    call.say("");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_sum_of_its_parts() {
        let pid = std::process::id();
        assert!(mapped(pid.into()).is_some_and(|octets| octets > 100_000), "a test is a program too");
        for all in [0_u64, 5000, 10 << 30] {
            let about = json!({ "memory": all, "message_memory": 6000, "pid": pid });
            let parts = memory_parts(&about);
            assert_eq!(parts.iter().map(|(_, octets)| octets).sum::<u64>(), all);
            assert!(parts.is_sorted_by_key(|(_, octets)| std::cmp::Reverse(*octets)));
        }
        assert_eq!(mapped(u64::MAX), None);
    }

    #[test]
    fn sizes_of_messages() {
        let metrics = "# TYPE rabbitmq_message_size_bytes histogram\n\
                       rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100\"} 3\n\
                       rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"1000\"} 5\n\
                       rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"+Inf\"} 6\n\
                       rabbitmq_message_size_bytes_count{protocol=\"amqp091\"} 6\n";
        assert_eq!(size_counts(metrics), [3, 2, 1]);
        assert!(size_counts("").is_empty());
    }

    #[test]
    fn units() {
        assert_eq!(in_unit(145_500_000, "gb"), "0.1455 gb");
        assert_eq!(in_unit(50_000_000, "gb"), "0.05 gb");
        assert_eq!(in_unit(75_857_900, "MB"), "75.8579 mb");
        assert_eq!(in_unit(0, "gb"), "0.0 gb");
        assert!(
            (percentage(5844, 10_000) - 58.44).abs() < f64::EPSILON && percentage(1, 0).abs() < f64::EPSILON
        );
    }
}
