//! `leveret perf`'s loads besides throughput and backlog, against a server: they do what they say, and clean up.
#![allow(clippy::expect_used)]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A server of its own, with its data, until the test ends.
struct Server {
    child: Child,
    folder: PathBuf,
    uri: String,
}

impl Server {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("leveret-loads-{}-{name}", std::process::id()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["server", "--listen", "127.0.0.1:0", "--http-listen", "none"]);
        command.args(["--metrics-listen", "none", "--data-dir"]);
        command.arg(&folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("AMQP on ").map(str::to_owned));
        lines.find(|line| line.starts_with("ready")).expect("it gets ready");
        Self { child, folder, uri: format!("amqp://{}", address.expect("it says where it listens")) }
    }

    fn command(&self, options: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.arg("perf").args(options.split_whitespace());
        command.args(["--uri", &self.uri, "--broker-pid", &self.child.id().to_string()]);
        command.output().expect("it runs")
    }

    /// Runs a load and returns what it reports.
    fn load(&self, options: &str) -> Value {
        let output = self.command(&format!("{options} --json"));
        assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Asserts that each of these figures is more than 0.
fn assert_positive(report: &Value, figures: &[&str]) {
    for figure in figures {
        let value = report.pointer(figure).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{figure}: {report}");
    }
}

#[test]
fn latency_sends_at_its_rate_and_loses_nothing() {
    let server = Server::start("latency");
    let file = server.folder.with_extension("hgrm");
    let options = format!(
        "latency --rate 500 --producers 2 --time 0.6 --warmup 0.2 --confirm --persistent --ack-every 3 --histogram {}",
        file.display()
    );
    let report = server.load(&options);
    // What is due is sent, however late.
    assert_eq!(report["published_total"].as_u64(), Some(400), "{report}");
    for total in ["delivered_total", "confirmed_total"] {
        assert_eq!(report[total], report["published_total"], "{report}");
    }
    for latency in ["latency_us", "confirm_latency_us", "send_delay_us"] {
        assert_eq!(report[latency]["samples"], 300, "{report}");
    }
    assert_positive(&report, &["/latency_us/p50", "/confirm_latency_us/p9999", "/cpu_us_per_message"]);
    let percentiles = std::fs::read_to_string(&file).expect("it has been written");
    assert!(percentiles.trim_end().ends_with("Total count    =          300]"), "{percentiles}");
    std::fs::remove_file(&file).expect("ours");
}

#[test]
fn latency_takes_large_bodies() {
    let server = Server::start("large");
    let report = server.load("latency --rate 50 --time 0.4 --warmup 0 --size 300000");
    assert_eq!(report["latency_us"]["samples"], 20, "{report}");
    assert_eq!(report["undelivered"], 0, "{report}");
}

#[test]
fn churns_count_what_they_do() {
    let server = Server::start("churn");
    let time = "--time 0.4 --warmup 0.1";
    for (options, setting) in [
        ("connection-churn --channels 3 --clients 2", ("channels", 3)),
        ("queue-churn", ("pipeline", 1)),
        ("queue-churn --durable --pipeline 4 --clients 2", ("pipeline", 4)),
        ("queue-churn --queue-type quorum --publish --size 200000 --pipeline 2", ("size", 200_000)),
        ("binding-churn --exchange direct --clients 2", ("bindings", 0)),
        ("binding-churn --exchange topic --bindings 250 --pipeline 7", ("bindings", 250)),
        ("binding-churn --exchange fanout --bindings 3", ("bindings", 3)),
        ("binding-churn --exchange headers --bindings 150", ("bindings", 150)),
    ] {
        let report = server.load(&format!("{options} {time}"));
        assert_positive(&report, &["/cycle_rate", "/latency_us/p50", "/cpu_us_per_cycle", "/rss_mib"]);
        assert_eq!(report["settings"][setting.0], setting.1, "{report}");
        if options.contains("--publish") {
            assert_eq!(report["empty_gets"], 0, "each message was there: {report}");
        }
    }
}

#[test]
fn many_connections_are_opened_kept_and_closed() {
    let server = Server::start("connections");
    // Whoever asks for heartbeats and sends none is dropped before this is over.
    let report = server.load("connections --count 40 --consumers --heartbeat 1 --hold 3.5");
    assert_eq!(report["lost"], 0, "{report}");
    assert_eq!((&report["open"]["count"], &report["close"]["count"]), (&40.into(), &40.into()), "{report}");
    let figures = ["/open/rate", "/open/cpu_us_each", "/close/rate", "/idle/broker_cores", "/memory/rss_mib"];
    assert_positive(&report, &figures);
    let report = server.load("connections --count 30 --openers 3 --hold 0");
    assert_eq!((&report["lost"], &report["close"]["count"]), (&0.into(), &30.into()), "{report}");
}

#[test]
fn many_queues_are_declared_filled_and_deleted() {
    let server = Server::start("queues");
    let report =
        server.load("queues --count 150 --pipeline 20 --durable --messages 11 --size 300 --hold 0.1");
    assert_eq!(report["publish"]["count"], 1650, "{report}");
    assert_eq!(report["nacked"], 0, "{report}");
    assert_positive(&report, &["/declare/rate", "/delete/cpu_us_each", "/memory/rss_mib"]);
    let report = server.load("queues --count 5 --queue-type quorum --hold 0");
    assert_eq!((&report["declare"]["count"], &report["settings"]["durable"]), (&5.into(), &true.into()));
}

#[test]
fn a_refusal_is_said_in_one_line() {
    let server = Server::start("refusal");
    let uri = server.uri.replace("amqp://", "amqp://guest:wrong@");
    for load in ["latency", "connection-churn", "queue-churn", "binding-churn", "connections", "queues"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        let output = command.args(["perf", load, "--uri", &uri]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("ACCESS_REFUSED"), "{load}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
