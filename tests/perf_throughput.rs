//! `leveret perf throughput` against a server: messages get where the options say, all of them.
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
        let folder = std::env::temp_dir().join(format!("leveret-perf-{}-{name}", std::process::id()));
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

    fn command(&self, load: &str, options: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["perf", load, "--uri", &self.uri, "--json"]).args(options.split_whitespace());
        command.output().expect("it runs")
    }

    /// Runs a short load and returns what it reports.
    fn load(&self, options: &str) -> Value {
        let output = self.command("throughput", &format!("--time 0.4 --warmup 0 {options}"));
        assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(report["published_total"].as_u64() > Some(0), "{options}: {report}");
        report
    }

    /// Whether a queue exists and is empty.
    fn has_empty_queue(&self, name: &str) -> bool {
        let output = self.command("backlog", &format!("--phases drain --queue {name}"));
        String::from_utf8_lossy(&output.stderr).ends_with("is empty\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Asserts that each message came as often as it should, with little enough to come soon.
fn assert_delivered(server: &Server, options: &str, copies: u64) -> Value {
    let report = server.load(&format!("--rate 2000 {options}"));
    let published = report["published_total"].as_u64().map(|published| published * copies);
    assert_eq!(published, report["delivered_total"].as_u64(), "{options}: {report}");
    report
}

#[test]
fn each_message_comes_to_the_queues_it_should() {
    let server = Server::start("routes");
    assert_delivered(&server, "--exchange fanout --queues 3 --consumers 2 --confirm 5", 3);
    assert_delivered(&server, "--exchange headers --queues 3 --header a=1", 3);
    assert_delivered(&server, "--exchange direct --queues 3", 1);
    assert_delivered(&server, "--exchange topic --queues 600", 1);
    let options = "--exchange topic --bindings 700 --routing-keys 20 --queues 3 --mandatory --confirm 9";
    let report = assert_delivered(&server, options, 1);
    assert_eq!(report["returned_total"], 0, "{report}");
    assert_eq!(report["settings"]["bindings"], 700, "{report}");
}

#[test]
fn queues_and_consumers_have_their_arguments() {
    let server = Server::start("arguments");
    for (option, named) in
        [("--queue-arg x-max-length=-1", "x-max-length"), ("--consumer-arg x-priority=a", "x-priority")]
    {
        let output = server.command("throughput", &format!("--time 0.1 --warmup 0 {option}"));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("406 PRECONDITION_FAILED") && text.contains(named), "{text}");
    }
}

#[test]
fn messages_that_reach_no_queue_come_back() {
    let server = Server::start("mandatory");
    let report = std::thread::scope(|scope| {
        let load = scope.spawn(|| server.load("--rate 500 --consumers 0 --mandatory --confirm 10 --queue q"));
        while !load.is_finished() {
            server.command("backlog", "--phases delete --queue q");
        }
        load.join().expect("it succeeds")
    });
    assert!(report["returned_total"].as_u64() > Some(0), "{report}");
    assert_eq!(report["confirmed_total"], report["published_total"], "{report}");
}

#[test]
fn channels_settle_all_their_messages() {
    let server = Server::start("channels");
    let options = "--channels 3 --consumers-per-channel 2 --ack-every 7";
    let report = assert_delivered(&server, &format!("{options} --confirm 4"), 1);
    assert_eq!(report["confirmed_total"], report["published_total"], "{report}");
    let report = assert_delivered(&server, &format!("{options} --tx 9 --ack-tx"), 1);
    assert_eq!(report["committed_total"], report["published_total"], "{report}");
    assert!(report["committed_total"].as_u64() > Some(27), "more than one transaction each: {report}");
    assert!(report["confirm_latency_us"]["p50"].as_f64() > Some(0.0), "{report}");
    assert_delivered(&server, "--channels 2 --unacked 50 --ack-every 3", 1);
}

#[test]
fn acknowledged_messages_are_gone() {
    let server = Server::start("acks");
    for options in ["--unacked 50", "--ack-every 7 --ack-tx", "--get --ack-every 7 --get-pipeline 5"] {
        // A durable queue that exists already stays.
        let fill = "--phases fill --messages 5 --persistent --queue stays";
        assert!(server.command("backlog", fill).status.success());
        let report = server.load(&format!("--rate 1000 --persistent --queue stays {options}"));
        let published = report["published_total"].as_u64().map(|published| published + 5);
        assert_eq!(published, report["delivered_total"].as_u64(), "{options}: {report}");
        assert!(server.has_empty_queue("stays"), "{options}");
    }
}

#[test]
fn messages_can_be_asked_for_one_by_one() {
    let server = Server::start("get");
    for options in ["--get", "--get --ack-every 3 --get-pipeline 4 --channels 2 --queues 3"] {
        let report = assert_delivered(&server, options, 1);
        assert!(report["get_empty_total"].as_u64() > Some(0), "{report}");
        assert!(report["latency_us"]["p50"].as_f64() > Some(0.0), "{report}");
    }
}

#[test]
fn only_queues_that_existed_are_left() {
    let server = Server::start("pattern");
    let fill = "--phases fill --messages 5 --persistent --queue p-02";
    assert!(server.command("backlog", fill).status.success());
    let report = server
        .load("--rate 500 --persistent --consumers 2 --queue-pattern p-%02d --queue-from 1 --queue-to 3");
    assert_eq!(report["settings"]["queue"], "p-01,p-02,p-03", "{report}");
    let published = report["published_total"].as_u64().map(|published| published + 5);
    assert_eq!(published, report["delivered_total"].as_u64(), "{report}");
    let left = ["p-01", "p-02", "p-03"].map(|name| server.has_empty_queue(name));
    assert_eq!(left, [false, true, false]);
}

#[test]
fn rates_and_sizes_are_what_was_asked_for() {
    let server = Server::start("rate");
    let report = server.load("--rate 1000 --size 100,300");
    let figure = |key: &str| report[key].as_f64().expect("a figure");
    // Without a limit there would be a hundred times as many.
    assert!(figure("publish_rate") < 5000.0, "{report}");
    for way in ["publish", "delivery"] {
        let octets = figure(&format!("{way}_bytes_per_second")) / figure(&format!("{way}_rate"));
        assert!((190.0..=210.0).contains(&octets), "{octets}: {report}");
    }
    assert_eq!(report["size"], 200, "{report}");
}

#[test]
fn connections_take_addresses_in_turn() {
    let server = Server::start("addresses");
    // Nothing listens on the first port.
    let elsewhere = "--uri amqp://127.0.0.1:1 --rate 100";
    server.load(&format!("{elsewhere} --consumers 0"));
    let output = server.command("throughput", &format!("{elsewhere} --time 0.1 --warmup 0"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.starts_with("leveret: cannot connect to 127.0.0.1:1: "), "{text}");
}

#[test]
fn a_pipe_is_told_the_progress_only_if_it_asks() {
    let server = Server::start("progress");
    for (option, wanted) in [("--progress", true), ("", false)] {
        let output = server.command("throughput", &format!("--rate 100 --time 1.5 --warmup 0 {option}"));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text.starts_with("measuring ") && text.ends_with("/s\n"), wanted, "{text}");
        assert!(wanted || text.is_empty(), "{text}");
    }
}
