//! Plugins. What RabbitMQ's plugins do is built in, or is not there at all; scripts switch them on all the same, and ask
//! whether they are on, so that the list of those that are is kept, in the file where RabbitMQ keeps it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use serde_json::json;

use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{Command, MANY, Needs, PLUGINS, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::find;
use crate::cli::ctl::line::{self, Line, Switch};
use crate::cli::ctl::output::Output;
use crate::config::plugins;

/// The version that all of them have.
const VERSION: &str = "4.3.6";

const CHANGE: &str = "<plugin1> [ <plugin2>] | --all [--offline] [--online]";
const ALL: &[Switch] = &[line::flag("all")];

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Plugins, about, run).tools(PLUGINS).needs(Needs::Nothing)
}

pub const COMMANDS: &[Command] = &[
    command("enable", "Notes plugins as enabled", enable).takes(0, MANY, CHANGE).switches(ALL),
    command("disable", "Notes plugins as not enabled", disable).takes(0, MANY, CHANGE).switches(ALL),
    command("set", "Notes these plugins as enabled, and no others", set).takes(
        0,
        MANY,
        "<plugin1> [ <plugin2>] [--offline] [--online]",
    ),
    command("is_enabled", "Fails unless plugins are enabled", is_enabled).takes(
        1,
        MANY,
        "<plugin1> [ <plugin2>] [--offline] [--online]",
    ),
    command("list", "Lists plugins", list)
        .takes(0, 1, "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]")
        .switches(&[
            line::flag("minimal").short('m'),
            line::flag("enabled").short('e'),
            line::flag("implicitly-enabled").short('E'),
            line::flag("verbose").short('v'),
        ]),
    command("directories", "Shows where the list of enabled plugins is", directories).takes(
        0,
        0,
        "[--offline] [--online]",
    ),
];

/// Where the list is: where somebody says, where RabbitMQ's packages and images have it, or else in the data folder,
/// where only the tools look.
pub fn file(line: &Line) -> PathBuf {
    if let Some(file) =
        line.text("enabled-plugins-file").map(PathBuf::from).or_else(|| find::place().plugins_file)
    {
        return file;
    }
    let usual = Path::new("/etc/rabbitmq");
    let folder = if usual.is_dir() { usual.to_owned() } else { find::folder(line) };
    folder.join("enabled_plugins")
}

/// Those that the file names; where there is none, what the server does anyway. A file that is none has nobody's names.
fn explicit(file: &Path) -> BTreeSet<String> {
    let names = match fs::read_to_string(file) {
        Ok(list) => plugins::list(&list).unwrap_or_default(),
        Err(_) => plugins::DEFAULT.map(Box::from).to_vec(),
    };
    names.into_iter().map(String::from).collect()
}

/// These, and what they need.
fn with_needs(names: &BTreeSet<String>) -> BTreeSet<String> {
    let known = names.iter().filter(|name| plugins::is_known(name)).map(|name| name.as_str().into());
    plugins::with_needed(&known.collect::<Vec<_>>()).into_iter().map(String::from).collect()
}

/// All that are on, what they need included.
pub fn enabled(line: &Line) -> BTreeSet<String> {
    with_needs(&explicit(&file(line)))
}

/// Those on a command line.
fn named(call: &Call) -> Result<BTreeSet<String>, Failure> {
    if call.line.flag("all") {
        return Ok(plugins::KNOWN.iter().map(ToString::to_string).collect());
    }
    if call.arguments.is_empty() {
        return Err(Failure::misused("not enough arguments."));
    }
    let words = call.arguments.iter().flat_map(|argument| argument.split(','));
    Ok(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

fn enable(call: &mut Call) -> Result<Output, Failure> {
    let named = named(call)?;
    begin(call, "Enabling", &named);
    let mut wanted = explicit(&file(&call.line));
    wanted.extend(named);
    apply(call, &wanted)
}

fn disable(call: &mut Call) -> Result<Output, Failure> {
    let named = named(call)?;
    begin(call, "Disabling", &named);
    let mut wanted = explicit(&file(&call.line));
    // What needs one of them goes too.
    wanted.retain(|name| with_needs(&[name.clone()].into()).is_disjoint(&named) && !named.contains(name));
    apply(call, &wanted)
}

fn set(call: &mut Call) -> Result<Output, Failure> {
    let words = call.arguments.iter().flat_map(|argument| argument.split(','));
    let named: BTreeSet<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    begin(call, "Enabling", &named);
    apply(call, &named)
}

fn begin(call: &Call, doing: &str, named: &BTreeSet<String>) {
    let names: Vec<_> = named.iter().map(String::as_str).collect();
    call.banner(&format!("{doing} plugins on node {}:\n{}", call.node(), names.join("\n")));
}

/// Writes the file, and tells what has changed.
fn apply(call: &mut Call, wanted: &BTreeSet<String>) -> Result<Output, Failure> {
    let file = file(&call.line);
    let before = with_needs(&explicit(&file));
    let names: Vec<_> = wanted.iter().map(String::as_str).collect();
    let list = format!("[{}].\n", names.join(","));
    if let Err(e) = fs::write(&file, list) {
        // What they do is there all the same.
        call.warn(&format!(
            "the list of enabled plugins is not kept: {} cannot be written: {e}",
            file.display()
        ));
    }
    let missing: Vec<_> = names.iter().filter(|name| !plugins::is_known(name)).copied().collect();
    if !missing.is_empty() && !call.is_quiet() {
        call.say(&format!("WARNING - plugins currently enabled but missing: {}\n", missing.join(", ")));
    }
    let after = with_needs(wanted);
    let (started, stopped): (Vec<_>, Vec<_>) =
        (after.difference(&before).collect(), before.difference(&after).collect());
    let offline = call.line.flag("offline");
    let mut out = format!("The following plugins have been configured:\n{}", listed(after.iter()));
    if !offline {
        out.push_str(&format!("Applying plugin configuration to {}...\n", call.node()));
    }
    if started.is_empty() && stopped.is_empty() {
        out.push_str("Plugin configuration unchanged.");
        return Ok(Output::Both(out, json!({ "enabled": after, "started": [], "stopped": [] })));
    }
    if !started.is_empty() {
        out.push_str(&format!(
            "The following plugins have been enabled:\n{}\n",
            listed(started.iter().copied())
        ));
    }
    if !stopped.is_empty() {
        out.push_str(&format!(
            "The following plugins have been disabled:\n{}\n",
            listed(stopped.iter().copied())
        ));
    }
    let done = match (offline, started.len(), stopped.len()) {
        (true, ..) => {
            format!(
                "set {} plugins.\nOffline change; changes will take effect at broker restart.",
                after.len()
            )
        }
        (false, started, 0) => format!("started {started} plugins."),
        (false, 0, stopped) => format!("stopped {stopped} plugins."),
        (false, started, stopped) => format!("stopped {stopped} plugins and started {started} plugins."),
    };
    let value = json!({ "enabled": after, "started": started, "stopped": stopped });
    Ok(Output::Both(out + &done, value))
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("  {name}\n")).collect()
}

fn is_enabled(call: &mut Call) -> Result<Output, Failure> {
    let (node, named) = (call.node(), call.arguments.clone());
    call.banner(&match named.as_slice() {
        [one] => format!("Asking node {node} if plugin {one} is enabled..."),
        many => format!("Asking node {node} if plugins {} are enabled...", many.join(", ")),
    });
    let enabled = with_needs(&explicit(&file(&call.line)));
    let missing: Vec<_> = named.iter().filter(|name| !enabled.contains(*name)).map(String::as_str).collect();
    if missing.is_empty() {
        let text = match named.as_slice() {
            [one] => format!("Plugin {one} is enabled on node {node}"),
            many => format!("Plugins {} are enabled on node {node}", many.join(", ")),
        };
        return Ok(Output::Both(text, json!({ "result": "ok", "node": node, "plugins": named })));
    }
    let enabled: Vec<_> = enabled.into_iter().collect();
    let (noun, verb) = if missing.len() == 1 { ("Plugin", "is") } else { ("Plugins", "are") };
    let text = format!(
        "{noun} {} {verb} not enabled on node {node}. Enabled plugins and dependencies: {}",
        missing.join(", "),
        enabled.join(", ")
    );
    let value = json!({ "result": "error", "message": text });
    Err(Failure::refused(text).or_value(value))
}

fn list(call: &mut Call) -> Result<Output, Failure> {
    let pattern = call.arguments.first().map_or(".*", String::as_str).to_owned();
    call.banner(&format!("Listing plugins with pattern \"{pattern}\" ..."));
    let regex =
        Regex::new(&pattern).map_err(|e| Failure::bad_argument(&format!("the pattern is none: {e}")))?;
    let explicit = explicit(&file(&call.line));
    let all = with_needs(&explicit);
    let running = super::is_running(call).unwrap_or(false);
    let shown: Vec<_> = plugins::KNOWN
        .into_iter()
        .filter(|name| regex.is_match(name).unwrap_or(false))
        .filter(|name| !call.line.flag("enabled") || explicit.contains(*name))
        .filter(|name| !call.line.flag("implicitly-enabled") || all.contains(*name))
        .collect();
    let mark = |name: &str| match (explicit.contains(name), all.contains(name)) {
        (true, _) => 'E',
        (false, true) => 'e',
        (false, false) => ' ',
    };
    let star = |name: &str| if running && all.contains(name) { '*' } else { ' ' };
    let plugins = shown.iter().map(|name| {
        json!({
            "name": name,
            "version": VERSION,
            "enabled": match mark(name) { 'E' => "enabled", 'e' => "implicit", _ => "not_enabled" },
            "running": star(name) == '*',
        })
    });
    let value = json!({ "status": if running { "running" } else { "node_down" }, "plugins": plugins.collect::<Vec<_>>() });
    if call.line.flag("minimal") {
        return Ok(Output::Both(shown.join("\n"), value));
    }
    if !call.is_quiet() && !call.is_for_programs() {
        let node = call.node();
        let status = if running {
            format!("* = running on {node}")
        } else {
            format!("[failed to contact {node} - status not shown]")
        };
        call.say(&format!(
            " Configured: E = explicitly enabled; e = implicitly enabled\n | Status: {status}\n |/"
        ));
    }
    let width = shown.iter().map(|name| name.len()).max().unwrap_or(0);
    let lines = shown.iter().map(|name| format!("[{}{}] {name:width$} {VERSION}", mark(name), star(name)));
    Ok(Output::Both(lines.collect::<Vec<_>>().join("\n"), value))
}

fn directories(call: &mut Call) -> Result<Output, Failure> {
    let file = file(&call.line).display().to_string();
    call.banner(&format!("Listing plugin directories used by node {}", call.node()));
    let text = format!(
        "Plugin archives directory: (none: plugins are built in)\nPlugin expansion directory: (none)\n\
         Enabled plugins file: {file}"
    );
    Ok(Output::Both(text, json!({ "enabled_plugins_file": file })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn plugins_bring_what_they_need() {
        let top =
            ["rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_top", "rabbitmq_web_dispatch"];
        assert_eq!(with_needs(&set(&["rabbitmq_top", "nosuch"])), set(&top));
    }
}
