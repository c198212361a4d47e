//! What can be changed on a running node, and the Erlang that scripts use for it.

use hyper::Method;
use serde_json::{Value, json};

use super::{items, text};
use crate::cli::ctl::call::{Call, refusal};
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, MANY, Needs, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;

const fn setting(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Configuration, about, run)
}

pub const COMMANDS: &[Command] = &[
    setting("set_vm_memory_high_watermark", "Says how much memory is enough", set_memory).takes(
        1,
        2,
        "<fraction> | absolute <value>",
    ),
    setting("set_disk_free_limit", "Says how much of the disk has to be free", set_disk).takes(
        1,
        2,
        "<disk_limit> | mem_relative <fraction>",
    ),
    setting("set_log_level", "Says what is logged", set_log_level).takes(1, 1, "<log_level>"),
    setting("environment", "Shows the node's settings", environment).tools(CTL | DIAGNOSTICS),
    Command::new(
        "list_channel_interceptors",
        Section::Health,
        "Lists interceptors of channels: there are none",
        list_interceptors,
    )
    .tools(CTL | DIAGNOSTICS)
    .takes(0, 0, "[--timeout <timeout>]"),
    setting("set_channel_interceptor_priorities", "Fails: there are no interceptors", set_interceptors)
        .takes(1, MANY, "<interceptor> <priority> [<interceptor> <priority> ...] [--timeout <timeout>]"),
    Command::new("rotate_logs", Section::Nodes, "Does nothing [deprecated]", rotate_logs)
        .needs(Needs::Nothing),
    Command::new("force_gc", Section::Operations, "Gives memory back: it is given back by itself", force_gc)
        .takes(0, 0, "[--timeout <timeout>]"),
    Command::new(
        "activate_free_disk_space_monitoring",
        Section::Health,
        "Looks at the disk again: it is always looked at",
        watch_disk,
    )
    .tools(CTL | DIAGNOSTICS)
    .takes(0, 0, "[--timeout <timeout>]"),
    Command::new("enable_feature_flag", Section::Features, "Enables a feature flag: all are", enable_flag)
        .takes(1, 1, "[--opt-in] <all | feature_flag>")
        .switches(&[line::flag("opt-in"), line::flag("experimental")]),
    Command::new("list_feature_flags", Section::Features, "Lists feature flags", list_flags)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, MANY, "[<column> ...] [--timeout <timeout>]"),
    Command::new(
        "list_deprecated_features",
        Section::Features,
        "Lists features that will go",
        list_deprecated,
    )
    .tools(CTL | DIAGNOSTICS)
    .takes(0, MANY, "[--used] [<column> ...]")
    .switches(&[line::flag("used")]),
    Command::new("eval", Section::Operations, "Does what some lines of Erlang mean that scripts use", eval)
        .needs(Needs::Nothing)
        .takes(0, MANY, "<expression>"),
];

/// A number of octets with a unit, `2GB` or `100MiB`; without one it is octets.
fn octets(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" | "ki" => 1 << 10,
        "m" | "mib" | "mi" => 1 << 20,
        "g" | "gib" | "gi" => 1 << 30,
        "t" | "tib" | "ti" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn set_memory(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    let first = call.argument(0).to_owned();
    let (shown, value) = if first == "absolute" {
        let given = call.arguments.get(1).ok_or_else(|| Failure::misused("not enough arguments."))?.clone();
        let value = octets(&given).ok_or_else(|| Failure::bad_argument(""))?;
        (format!("{given} bytes"), json!({ "octets": value }))
    } else {
        if call.arguments.len() > 1 {
            return Err(Failure::misused("too many arguments."));
        }
        let share: f64 = first.parse().map_err(|_| Failure::bad_argument(""))?;
        if !(0.0..=1.0).contains(&share) {
            return Err(Failure::bad_argument("The threshold should be a fraction between 0.0 and 1.0"));
        }
        (format!("{share:?}"), json!({ "share": share }))
    };
    call.banner(&format!("Setting memory threshold on {node} to {shown} ..."));
    call.put("/ctl/limits/memory", &value)?;
    Ok(Output::Nothing)
}

fn set_disk(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    let first = call.argument(0).to_owned();
    let (shown, value) = if first == "mem_relative" {
        let given = call.arguments.get(1).ok_or_else(|| Failure::misused("not enough arguments."))?.clone();
        let share: f64 = given.parse().map_err(|_| Failure::bad_argument(""))?;
        if share.is_nan() || share < 0.0 {
            return Err(Failure::bad_argument(""));
        }
        (format!("{share:?} times the total RAM"), json!({ "share": share }))
    } else {
        if call.arguments.len() > 1 {
            return Err(Failure::misused("too many arguments."));
        }
        let value = octets(&first).ok_or_else(|| Failure::bad_argument(""))?;
        (format!("{first} bytes"), json!({ "octets": value }))
    };
    call.banner(&format!("Setting disk free limit on {node} to {shown} ..."));
    call.put("/ctl/limits/disk", &value)?;
    Ok(Output::Nothing)
}

fn set_log_level(call: &mut Call) -> Result<Output, Failure> {
    let level = call.argument(0).to_owned();
    let levels = ["debug", "info", "warning", "error", "critical", "none"];
    if !levels.contains(&level.as_str()) {
        return Err(Failure::refused(format!(
            "level {level} is not supported. Try one of {}",
            levels.join(", ")
        )));
    }
    call.banner(&format!("Setting log level to \"{level}\" ..."));
    call.put(&format!("/ctl/log-level/{level}"), &Value::Null)?;
    Ok(Output::Nothing)
}

/// The node's settings, which the API writes as an Erlang application's environment already.
fn environment(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Application environment of node {} ...", call.node()));
    let settings = call.ask(Method::GET, "/api/config/effective", None)?;
    Ok(Output::Text(String::from_utf8_lossy(&settings.body).trim_end().to_owned()))
}

fn list_interceptors(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Listing channel interceptors ...");
    Ok(Output::Rows(Rows::default()))
}

fn set_interceptors(call: &mut Call) -> Result<Output, Failure> {
    if call.arguments.len() % 2 == 1 {
        let why = "Interceptors and priorities must be provided as <interceptor> <priority> pairs";
        return Err(Failure::bad_argument(why));
    }
    let pairs: Vec<_> = call.arguments.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    if let Some((_, wrong)) = pairs.iter().find(|(_, priority)| priority.parse::<i64>().is_err()) {
        return Err(Failure::bad_argument(&format!("Priority {wrong:?} is not a valid integer")));
    }
    let shown: Vec<_> = pairs.iter().map(|(name, priority)| format!("{name}={priority}")).collect();
    call.banner(&format!("Setting channel interceptor priorities to [{}] ...", shown.join(", ")));
    let names: Vec<_> = pairs.iter().map(|(name, _)| Term::from(*name).erlang()).collect();
    Err(Failure::refused(format!(
        "cannot set channel interceptor priorities: the following are not registered as channel interceptors: [{}]",
        names.join(",")
    )))
}

fn rotate_logs(_: &mut Call) -> Result<Output, Failure> {
    Err(Failure::refused("This command does not rotate logs anymore [deprecated]"))
}

fn force_gc(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Will ask all processes on node {} to schedule a full sweep GC", call.node()));
    Ok(Output::Nothing)
}

fn watch_disk(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("[Re-]activating free disk space monitoring on node {}...", call.node()));
    Ok(Output::Nothing)
}

fn enable_flag(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    if name.is_empty() {
        return Err(Failure::bad_argument("feature flag (or group) name cannot be an empty string"));
    }
    if name == "all" {
        call.banner("Enabling all feature flags ...");
        return Ok(Output::Nothing);
    }
    call.banner(&format!("Enabling feature flag \"{name}\" ..."));
    let path = format!("/api/feature-flags/{}/enable", segment(&name));
    let reply = call.send(Method::PUT, &path, Some(&json!({ "name": name })))?;
    if reply.is_success() {
        return Ok(Output::Nothing);
    }
    match reply.status {
        400 | 404 => Err(Failure::new(
            status::USAGE,
            format!("This feature flag is not supported by node {}", call.node()),
        )),
        _ => Err(refusal(&reply)),
    }
}

fn list_flags(call: &mut Call) -> Result<Output, Failure> {
    let known = ["name", "state", "stability", "provided_by", "desc", "doc_url"];
    let columns = super::lists::columns(call, &known, &["name", "state"])?;
    call.banner("Listing feature flags ...");
    let flags = call.get("/api/feature-flags")?;
    let row = |flag: &Value| columns.iter().map(|column| text(flag, column).into()).collect();
    let rows = items(&flags).iter().map(row).collect();
    Ok(Output::Rows(Rows { columns: columns.clone(), rows, ..Rows::default() }))
}

fn list_deprecated(call: &mut Call) -> Result<Output, Failure> {
    let used = call.line.flag("used");
    let known = ["name", "deprecation_phase", "state", "provided_by", "desc", "doc_url"];
    let columns = super::lists::columns(call, &known, &["name", "deprecation_phase", "state"])?;
    let (banner, path) = match used {
        true => ("Listing deprecated features in use ...", "/api/deprecated-features/used"),
        false => ("Listing deprecated features ...", "/api/deprecated-features"),
    };
    call.banner(banner);
    let features = call.get(path)?;
    let row = |feature: &Value| columns.iter().map(|column| text(feature, column).into()).collect();
    let rows: Vec<_> = items(&features).iter().map(row).collect();
    if rows.is_empty() && used {
        let nothing = vec![vec![Term::List(Vec::new()).plain().into()]];
        return Ok(Output::Rows(Rows { in_box: true, ..Rows::new(&["Output"], nothing) }));
    }
    Ok(Output::Rows(Rows { columns: columns.clone(), rows, in_box: true, ..Rows::default() }))
}

/// What a line of Erlang means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// Ask something of the node; the answer is `ok`.
    Ask(Method, String),
    /// Something that has no effect here, and need not have any.
    Nothing,
    /// The node's name.
    Node,
}

/// Finds out what a line means that scripts of RabbitMQ's clients use. All others would need Erlang.
fn meaning(expression: &str) -> Option<Meaning> {
    let dense: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    let dense = dense.trim_end_matches('.');
    let alarm = |rest: &str| {
        let resource = rest.split([',', '}']).next().unwrap_or_default();
        ["memory", "disk"].contains(&resource).then(|| format!("/ctl/alarms/{resource}"))
    };
    if let Some(rest) = dense.strip_prefix("rabbit_alarm:set_alarm({{resource_limit,") {
        return alarm(rest).map(|path| Meaning::Ask(Method::PUT, path));
    }
    if let Some(rest) = dense.strip_prefix("rabbit_alarm:clear_alarm({resource_limit,") {
        return alarm(rest).map(|path| Meaning::Ask(Method::DELETE, path));
    }
    if let Some(rest) = dense.strip_prefix("application:set_env(rabbit,channel_max,") {
        let count: u16 = rest.strip_suffix(')')?.parse().ok()?;
        return Some(Meaning::Ask(Method::PUT, format!("/ctl/limits/channels/{count}")));
    }
    // Statistics are never older than the question.
    let statistics = [
        "application:set_env(rabbit,collect_statistics_interval,",
        "supervisor2:terminate_child(rabbit_mgmt",
    ];
    if statistics.iter().any(|form| dense.starts_with(form)) {
        return Some(Meaning::Nothing);
    }
    (dense == "node()").then_some(Meaning::Node)
}

fn eval(call: &mut Call) -> Result<Output, Failure> {
    let expression = call.arguments.join(" ");
    if expression.trim().is_empty() {
        return Err(Failure::new(
            status::DATA,
            "Expression to evaluate is not provided via argument or stdin",
        ));
    }
    if !expression.trim_end().ends_with('.') {
        return Err(Failure::misused("\"syntax error before: \""));
    }
    match meaning(&expression) {
        Some(Meaning::Ask(method, path)) => {
            call.ask(method, &path, None)?;
            Ok(Output::Text("ok".to_owned()))
        }
        Some(Meaning::Nothing) => {
            call.client()?;
            Ok(Output::Text("ok".to_owned()))
        }
        Some(Meaning::Node) => Ok(Output::Text(call.node())),
        None => Err(Failure::new(
            status::SOFTWARE,
            "this node has no Erlang to evaluate it with; what it knows of eval are setting and clearing alarms, \
             channel_max, collect_statistics_interval and node()",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("100", Some(100)),
            ("2GB", Some(2_000_000_000)),
            ("1GiB", Some(1 << 30)),
            ("50MB", Some(50_000_000)),
            ("1k", Some(1024)),
            ("", None),
            ("x", None),
            ("1XB", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("9999999999999TB", None),
        ] {
            assert_eq!(octets(text), wanted, "{text}");
        }
    }

    #[test]
    fn erlang_that_scripts_use() {
        let ask = |method, path: &str| Some(Meaning::Ask(method, path.to_owned()));
        for (line, wanted) in [
            (
                "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).",
                ask(Method::PUT, "/ctl/alarms/memory"),
            ),
            (
                "rabbit_alarm:set_alarm({{resource_limit,disk,node()},[]}).",
                ask(Method::PUT, "/ctl/alarms/disk"),
            ),
            (
                "rabbit_alarm:clear_alarm({resource_limit, disk, node()}).",
                ask(Method::DELETE, "/ctl/alarms/disk"),
            ),
            ("rabbit_alarm:clear_alarm({resource_limit, patience, node()}).", None),
            ("application:set_env(rabbit, channel_max, 2).", ask(Method::PUT, "/ctl/limits/channels/2")),
            ("application:set_env(rabbit, channel_max, 70000).", None),
            ("application:set_env(rabbit, collect_statistics_interval, 500).", Some(Meaning::Nothing)),
            (
                "supervisor2:terminate_child(rabbit_mgmt_sup_sup, rabbit_mgmt_sup), rabbit_mgmt_sup_sup:start_child().",
                Some(Meaning::Nothing),
            ),
            ("node().", Some(Meaning::Node)),
            ("init:stop().", None),
        ] {
            assert_eq!(meaning(line), wanted, "{line}");
        }
    }
}
