//! Which figures a table shows, and what it calls them.

use std::collections::BTreeSet;

use super::{figures::Figures, load::Load};

/// The figures to show.
#[derive(Clone, Debug)]
pub enum Rows {
    /// Those that a load names itself, or else those that matter for its subcommand, or else in general.
    Usual,
    /// These alone, in this order.
    These(Vec<String>),
    /// Every figure that any broker has.
    All,
}

/// What matters, in order, by subcommand; a figure that no broker has is left out.
const USUAL: [(&str, &[&str]); 3] = [
    (
        "throughput",
        &[
            "publish_rate",
            "delivery_rate",
            "cpu_us_per_message",
            "latency_us.p50",
            "latency_us.p99",
            "confirm_latency_us.p50",
            "confirm_latency_us.p99",
            "rss_mib",
        ],
    ),
    (
        "latency",
        &[
            "latency_us.p50",
            "latency_us.p99",
            "latency_us.p999",
            "confirm_latency_us.p50",
            "confirm_latency_us.p99",
            "cpu_us_per_message",
            "rss_mib",
        ],
    ),
    (
        "backlog",
        &[
            "fill.rate",
            "fill.cpu_us_per_message",
            "fill.max_rss_mib",
            "hold.rss_mib",
            "hold.data_bytes_per_message",
            "ready.serving_seconds",
            "ready.ready_seconds",
            "drain.rate",
            "drain.cpu_us_per_message",
        ],
    ),
];

/// What figures are called by the last part of their path.
const NAMES: [(&str, &str); 11] = [
    ("publish_rate", "published a second"),
    ("delivery_rate", "delivered a second"),
    ("rate", "messages a second"),
    ("cpu_us_per_message", "broker CPU per message, µs"),
    ("cycle_rate", "cycles a second"),
    ("cpu_us_per_cycle", "broker CPU per cycle, µs"),
    ("rss_mib", "resident memory, MiB"),
    ("max_rss_mib", "most resident memory, MiB"),
    ("data_bytes_per_message", "disk space per message, bytes"),
    ("serving_seconds", "until it serves, s"),
    ("ready_seconds", "until all messages are there, s"),
];

impl Rows {
    /// The paths of the figures to show of a load, given what each broker has found.
    pub fn of(&self, load: &Load, found: &[Figures]) -> Vec<String> {
        let known: BTreeSet<&String> = found.iter().flat_map(Figures::keys).collect();
        let usual = USUAL.iter().find(|(subcommand, _)| *subcommand == load.subcommand());
        let mut paths = match (self, usual) {
            (Self::These(paths), _) => paths.clone(),
            (Self::Usual, _) if !load.fields.is_empty() => load.fields.clone(),
            (Self::Usual, Some((_, paths))) => paths.iter().map(|&path| path.to_owned()).collect(),
            (Self::Usual, None) => {
                known.iter().filter(|path| tells(path)).map(|&path| path.clone()).collect()
            }
            (Self::All, _) => known.iter().map(|&path| path.clone()).collect(),
        };
        paths.retain(|path| known.contains(path));
        paths
    }
}

/// Whether a figure of a load that has no list of its own matters: rates, costs, latencies, memory.
fn tells(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    let ends = ["rate", "p50", "p99", "rss_mib"];
    last.starts_with("cpu_us") || ends.iter().any(|end| last.ends_with(end))
}

/// What a figure is called; its path in the report where it has no name.
pub fn name(path: &str) -> String {
    let (before, last) = path.rsplit_once('.').unwrap_or(("", path));
    let (outer, inner) = before.rsplit_once('.').unwrap_or(("", before));
    if let Some(what) = inner.strip_suffix("_us") {
        let outer = if outer.is_empty() { String::new() } else { format!("{outer}: ") };
        return format!("{outer}{} {}, µs", what.replace('_', " "), last.replace("p999", "p99.9"));
    }
    match NAMES.iter().find(|(end, _)| *end == last) {
        Some((_, name)) if before.is_empty() => (*name).to_owned(),
        Some((_, name)) => format!("{before}: {name}"),
        None => format!("`{path}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::figures::Spread, *};

    fn figures(paths: &[&str]) -> Figures {
        let spread = Spread { median: 1.0, min: 1.0, max: 1.0 };
        paths.iter().map(|&path| (path.to_owned(), spread)).collect()
    }

    fn load(line: &str) -> Load {
        line.parse().unwrap()
    }

    #[test]
    fn what_matters_comes_first_and_what_nobody_has_not_at_all() {
        let found = [figures(&["size", "delivery_rate"]), figures(&["delivery_rate", "cpu_us_per_message"])];
        let usual = Rows::Usual.of(&load("a: throughput"), &found);
        assert_eq!(usual, ["delivery_rate", "cpu_us_per_message"]);
        let own = Rows::Usual.of(&load("a [size, nothing]: throughput"), &found);
        assert_eq!(own, ["size"]);
        let these = Rows::These(vec!["size".into(), "cpu_us_per_message".into(), "x".into()]);
        assert_eq!(these.of(&load("a [delivery_rate]: throughput"), &found), ["size", "cpu_us_per_message"]);
        let all = Rows::All.of(&load("a [size]: throughput"), &found);
        assert_eq!(all, ["cpu_us_per_message", "delivery_rate", "size"]);
        let found = [figures(&[
            "cpu_us_per_open",
            "max_rss_mib",
            "latency_us.p99",
            "latency_us.max",
            "open_rate",
            "size",
        ])];
        let telling = ["cpu_us_per_open", "latency_us.p99", "max_rss_mib", "open_rate"];
        assert_eq!(Rows::Usual.of(&load("a: new"), &found), telling, "nothing is known about it");
    }

    #[test]
    fn figures_have_names() {
        assert_eq!(name("latency_us.p50"), "latency p50, µs");
        assert_eq!(name("confirm_latency_us.p999"), "confirm latency p99.9, µs");
        assert_eq!(name("fill.confirm_latency_us.max"), "fill: confirm latency max, µs");
        assert_eq!(name("rss_mib"), "resident memory, MiB");
        assert_eq!(name("hold.rss_mib"), "hold: resident memory, MiB");
        assert_eq!(name("published_total"), "`published_total`");
    }
}
