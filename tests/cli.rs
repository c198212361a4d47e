//! The binary as somebody starts and stops it.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A folder of its own that goes with the test.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn server(listen: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command
        .args([
            "server",
            "--listen",
            listen,
            "--http-listen",
            "none",
            "--metrics-listen",
            "none",
            "--data-dir",
        ])
        .arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server that has said where it listens.
struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut child = server("127.0.0.1:0", folder).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut port = None;
        for line in lines.by_ref() {
            let line = line.expect("text");
            if let Some(address) = line.strip_prefix("AMQP on 127.0.0.1:") {
                port = Some(address.parse().expect("a port"));
            }
            if line.starts_with("ready") {
                break;
            }
        }
        // Whoever reads the output may go; the server does not mind.
        drop(lines);
        Self { child, port: port.expect("it says where it listens") }
    }

    fn terminate(&self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(status.success());
    }

    fn exit_status(&mut self) -> i32 {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code().expect("an exit, not a signal");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a server that cannot start, and returns its one line.
fn refusal(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

#[test]
fn a_port_in_use_is_one_line() {
    let folder = TempFolder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let line = refusal(&mut server(&address, &folder.0));
    assert!(line.starts_with(&format!("leveret: cannot listen on {address}: ")), "{line}");
}

#[test]
fn a_folder_that_cannot_be_is_one_line() {
    let folder = TempFolder::new("file");
    let file = folder.0.join("file");
    std::fs::write(&file, "not a folder").expect("written");
    let inside = file.join("data");
    let line = refusal(&mut server("127.0.0.1:0", &inside));
    assert!(
        line.starts_with(&format!("leveret: cannot use the data folder {}: ", inside.display())),
        "{line}"
    );
}

#[test]
fn what_is_made_is_not_for_everybody_to_read() {
    let folder = TempFolder::new("modes");
    let data = folder.0.join("data");
    drop(Running::start(&data));
    let mut folders = vec![data.clone()];
    let mut files = 0;
    while let Some(path) = folders.pop() {
        let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&path) & 0o027, 0, "{}", path.display());
        for entry in path.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            files += 1;
            assert_eq!(mode(&entry) & 0o027, 0, "{}", entry.display());
        }
    }
    assert!(files >= 3, "the format, the lock, definitions: {files}");
    // A folder that is there keeps its mode, and the log warns.
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let mut child = server("127.0.0.1:0", &data).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("ready")).collect();
    let _ = child.kill();
    let _ = child.wait();
    assert!(said.iter().any(|line| line.contains("has mode 755: everybody")), "{said:#?}");
}

#[test]
fn a_folder_serves_one_instance() {
    let folder = TempFolder::new("lock");
    let mut first = Running::start(&folder.0);
    let before = snapshot(&folder.0);
    let line = refusal(&mut server("127.0.0.1:0", &folder.0));
    assert!(line.contains("is in use by another instance"), "{line}");
    assert!(snapshot(&folder.0) == before, "the first one's process id stays in the lock");
    first.terminate();
    assert_eq!(first.exit_status(), 0);
    // And then another one.
    Running::start(&folder.0).terminate();
}

/// Each file and folder in a folder with its content and the time of its last change.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut paths = vec![folder.to_owned()];
    while let Some(path) = paths.pop() {
        let metadata = path.metadata().expect("it is there");
        let mut octets = Vec::new();
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            paths.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if metadata.is_file() {
            // The control socket is none.
            octets = std::fs::read(&path).expect("a file");
        }
        found.insert(path, (octets, metadata.modified().expect("a time")));
    }
    found
}

#[test]
fn an_unknown_format_is_refused_untouched() {
    let folder = TempFolder::new("format");
    std::fs::create_dir(folder.0.join("log")).expect("made");
    for (file, content) in [("format", "leveret 2\n"), ("lock", "1\n"), ("log/1-0.log", "records")] {
        std::fs::write(folder.0.join(file), content).expect("written");
    }
    let before = snapshot(&folder.0);
    assert_eq!(before.len(), 5);
    let line = refusal(&mut server("127.0.0.1:0", &folder.0));
    let wanted = format!("leveret: the data folder {} has the format \"leveret 2\", ", folder.0.display());
    assert!(line.starts_with(&wanted) && line.contains("understands only \"leveret 1\""), "{line}");
    assert!(snapshot(&folder.0) == before);
}

#[test]
fn a_folder_of_something_else_is_refused_untouched() {
    let folder = TempFolder::new("home");
    std::fs::write(folder.0.join("thesis.tex"), "years of work").expect("written");
    let before = snapshot(&folder.0);
    let line = refusal(&mut server("127.0.0.1:0", &folder.0));
    assert!(line.contains(&format!("{} is no data folder of leveret", folder.0.display())), "{line}");
    assert!(line.contains("thesis.tex"), "{line}");
    assert!(snapshot(&folder.0) == before);
}

/// The same command where it can only read in a folder, or `None` where that cannot be brought about.
fn reading_only(command: &Command, folder: &Path) -> Option<Command> {
    let writable = folder.metadata().expect("there").permissions();
    let mut read_only = writable.clone();
    read_only.set_mode(0o555);
    std::fs::set_permissions(folder, read_only).expect("ours");
    let mut prefixed = if std::fs::write(folder.join("probe"), "").is_err() {
        Command::new("env")
    } else {
        // Root may write anyway, unless the file system is read-only.
        std::fs::remove_file(folder.join("probe")).expect("just made");
        std::fs::set_permissions(folder, writable).expect("ours");
        let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
        let mut mounted = Command::new("unshare");
        mounted.args(["--mount", "sh", "-c", script]).arg(folder);
        let works = Command::new(mounted.get_program()).args(mounted.get_args()).arg("true").output();
        if !works.is_ok_and(|output| output.status.success()) {
            return None;
        }
        mounted
    };
    prefixed.arg(command.get_program()).args(command.get_args());
    Some(prefixed)
}

#[test]
fn a_read_only_folder_is_one_line() {
    let empty = TempFolder::new("read-only-empty");
    let ours = TempFolder::new("read-only");
    std::fs::write(ours.0.join("format"), "leveret 1\n").expect("written");
    for folder in [&empty.0, &ours.0] {
        let Some(mut command) = reading_only(&server("127.0.0.1:0", folder), folder) else {
            println!("skipped: nothing is read-only to this user, and nothing can be mounted");
            return;
        };
        let before = snapshot(folder);
        let line = refusal(&mut command);
        let wanted = format!("leveret: cannot use the data folder {}: ", folder.display());
        assert!(line.starts_with(&wanted), "{line}");
        assert!(snapshot(folder) == before);
    }
}

/// Reads frames up to the method with this class and method id, and returns its arguments.
fn read_up_to(client: &mut TcpStream, id: [u8; 4]) -> Vec<u8> {
    loop {
        let mut head = [0; 7];
        client.read_exact(&mut head).expect("a frame");
        let mut rest = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
        client.read_exact(&mut rest).expect("the rest of it");
        if rest.starts_with(&id) {
            return rest[4..rest.len() - 1].to_vec();
        }
    }
}

fn send(client: &mut TcpStream, payload: &[u8]) {
    let size = (payload.len() as u32).to_be_bytes();
    let frame = [&[1, 0, 0], &size[..], payload, &[0xce]].concat();
    client.write_all(&frame).expect("sent");
}

#[test]
fn sigterm_closes_connections_and_exits_with_0() {
    let folder = TempFolder::new("term");
    let mut running = Running::start(&folder.0);
    let mut client = TcpStream::connect(("127.0.0.1", running.port)).expect("connected");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    client.write_all(b"AMQP\0\0\x09\x01").expect("sent");
    send(&mut client, b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
    send(&mut client, b"\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0");
    send(&mut client, b"\0\x0a\0\x28\x01/\0\0");
    read_up_to(&mut client, [0, 10, 0, 41]);
    running.terminate();
    let close = read_up_to(&mut client, [0, 10, 0, 50]);
    let text = b"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    let wanted = [&320u16.to_be_bytes()[..], &[text.len() as u8], text, &[0; 4]].concat();
    assert_eq!(close, wanted, "{}", String::from_utf8_lossy(&close));
    send(&mut client, &[0, 10, 0, 51]);
    assert_eq!(client.read(&mut [0]).expect("the end of the stream"), 0);
    assert_eq!(running.exit_status(), 0);
}

/// A frame of a channel.
fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[kind][..], &channel.to_be_bytes(), &size, payload, &[0xCE]].concat()
}

/// A client that has a channel, and a durable queue `q` with so many messages in it.
fn with_queue(running: &Running) -> (TcpStream, u32) {
    let mut client = TcpStream::connect(("127.0.0.1", running.port)).expect("connected");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    client.write_all(b"AMQP\0\0\x09\x01").expect("sent");
    send(&mut client, b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
    send(&mut client, b"\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0");
    send(&mut client, b"\0\x0a\0\x28\x01/\0\0");
    client.write_all(&frame(1, 1, b"\0\x14\0\x0a\0")).expect("sent");
    client.write_all(&frame(1, 1, b"\0\x32\0\x0a\0\0\x01q\x02\0\0\0\0")).expect("sent");
    let ok = read_up_to(&mut client, [0, 50, 0, 11]);
    (client, u32::from_be_bytes(ok[2..6].try_into().expect("a number")))
}

/// Whoever publishes while the node is asked to end hears of everything that was taken: nothing has to be sent twice.
#[test]
fn what_was_read_before_sigterm_is_confirmed() {
    let folder = TempFolder::new("confirms");
    let mut running = Running::start(&folder.0);
    let (mut client, _) = with_queue(&running);
    client.write_all(&frame(1, 1, b"\0\x55\0\x0a\0")).expect("sent");
    read_up_to(&mut client, [0, 85, 0, 11]);
    let message = [
        frame(1, 1, b"\0\x3c\0\x28\0\0\0\x01q\0"),
        frame(2, 1, b"\0\x3c\0\0\0\0\0\0\0\0\0\x01\x10\0\x02"),
        frame(3, 1, b"m"),
    ];
    let messages = message.concat().repeat(100);
    let mut socket = client.try_clone().expect("a socket");
    let publisher = std::thread::spawn(move || while socket.write_all(&messages).is_ok() {});
    let mut confirmed = 0;
    let mut asked = false;
    loop {
        let mut head = [0; 7];
        client.read_exact(&mut head).expect("a frame, up to the close");
        let mut payload = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
        client.read_exact(&mut payload).expect("a frame");
        match payload[..4] {
            [0, 60, 0, 80] => confirmed = u64::from_be_bytes(payload[4..12].try_into().expect("a tag")),
            [0, 10, 0, 50] => break,
            _ => panic!("{payload:?}"),
        }
        if !asked && confirmed > 1000 {
            running.terminate();
            asked = true;
        }
    }
    // No answer to the close: the node ends all the same.
    client.shutdown(std::net::Shutdown::Both).expect("shut");
    publisher.join().expect("it ends");
    assert_eq!(running.exit_status(), 0);
    let (_client, kept) = with_queue(&Running::start(&folder.0));
    assert_eq!(u64::from(kept), confirmed);
}

#[test]
fn the_load_generator_measures_a_server() {
    let folder = TempFolder::new("perf");
    let running = Running::start(&folder.0);
    let uri = format!("amqp://guest:guest@127.0.0.1:{}", running.port);
    let pid = running.child.id().to_string();
    let mut perf = Command::new(env!("CARGO_BIN_EXE_leveret"));
    perf.args(["perf", "throughput", "--json", "--uri", &uri, "--time", "1", "--warmup", "0"]);
    perf.args(["--size", "16", "--confirm", "10", "--ack-every", "5", "--broker-pid", &pid]);
    let output = perf.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for key in ["publish_rate", "delivery_rate", "cpu_us_per_message"] {
        assert!(report[key].as_f64().is_some_and(|figure| figure > 0.0), "{key}: {report}");
    }
    // All that was published has been confirmed and delivered.
    assert_eq!(report["published_total"], report["confirmed_total"], "{report}");
    assert_eq!(report["published_total"], report["delivered_total"], "{report}");
}

/// What `leveret perf` prints with `--json`.
fn perf(args: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_leveret")).arg("perf").args(args).arg("--json").output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn perf_spreads_messages_over_queues() {
    let folder = TempFolder::new("perf-queues");
    let running = Running::start(&folder.0);
    let uri = format!("amqp://guest:guest@127.0.0.1:{}", running.port);
    let report = perf(&[
        "throughput",
        "--uri",
        &uri,
        "--time",
        "0.5",
        "--warmup",
        "0",
        "--queues",
        "3",
        "--consumers",
        "2",
        "--confirm",
        "1",
        "--ack-every",
        "2",
        "--queue-type",
        "quorum",
    ]);
    assert_eq!(report["published_total"], report["delivered_total"], "{report}");
    assert!(report["confirm_latency_us"]["p50"].as_f64().is_some_and(|time| time > 0.0), "{report}");
    assert_eq!(
        report["settings"]["queue"].as_str().map(|names| names.split(',').count()),
        Some(3),
        "{report}"
    );
}

#[test]
fn perf_fills_and_drains_a_queue_in_separate_calls() {
    let folder = TempFolder::new("perf-backlog");
    let running = Running::start(&folder.0);
    let uri = format!("amqp://guest:guest@127.0.0.1:{}", running.port);
    let (pid, data) = (running.child.id().to_string(), folder.0.display().to_string());
    let backlog = |phases: &str| {
        let messages = ["--messages", "2005", "--persistent", "--producers", "2", "--hold", "0"];
        let observe = ["--broker-pid", &pid, "--data-dir", &data, "--phases", phases];
        perf(&[&["backlog", "--uri", &uri][..], &messages, &observe].concat())
    };
    let first = backlog("fill,hold");
    assert_eq!(first["fill"]["confirmed"], 2005, "{first}");
    assert_eq!(first["hold"]["messages"], 2005, "{first}");
    for key in ["rss_mib", "max_rss_mib", "data_mib"] {
        assert!(first["hold"][key].as_f64().is_some_and(|figure| figure >= 0.0), "{key}: {first}");
    }
    let second = backlog("ready,drain,delete");
    assert_eq!(second["ready"]["messages"], 2005, "{second}");
    assert_eq!(second["drain"]["messages"], 2005, "{second}");
    assert_eq!(second["drain"]["left"], 0, "{second}");
    assert!(second["drain"]["rate"].as_f64().is_some_and(|rate| rate > 0.0), "{second}");
}

#[test]
fn perf_says_why_a_backlog_cannot_be_measured() {
    let folder = TempFolder::new("perf-refused");
    let running = Running::start(&folder.0);
    let uri = format!("amqp://guest:guest@127.0.0.1:{}", running.port);
    let backlog = |phases: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["perf", "backlog", "--uri", &uri, "--messages", "10", "--phases", phases]);
        command.args(["--hold", "0", "--patience", "1"]);
        let output = command.output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(backlog("drain").contains("there is no queue 'leveret-perf-backlog'"));
    assert!(backlog("ready").contains("not ready after 1 s: there is no queue"));
    assert!(backlog("fill,drain,drain").contains("the queue 'leveret-perf-backlog' is empty"));
    assert!(backlog("fill,fill").contains("holds 10 messages already"));
}

#[test]
fn perf_times_the_disk() {
    let folder = TempFolder::new("perf-fsync");
    let report = perf(&["fsync", "--dir", &folder.0.display().to_string(), "--size", "100", "--time", "0.1"]);
    assert!(report["latency_us"]["p50"].as_f64().is_some_and(|time| time > 0.0), "{report}");
    assert_eq!(std::fs::read_dir(&folder.0).expect("a folder").count(), 0, "nothing is left behind");
}

#[test]
fn perf_compares_brokers() {
    let folders = [TempFolder::new("perf-a"), TempFolder::new("perf-b")];
    let running = folders.each_ref().map(|folder| Running::start(&folder.0));
    let [a, b] = running
        .each_ref()
        .map(|running| format!("amqp://guest:guest@127.0.0.1:{},pid={}", running.port, running.child.id()));
    let (a, b) = (format!("a={a}"), format!("b={b}"));
    let refusing = "none=amqp://127.0.0.1:1";
    let table = folders[0].0.with_extension("md");
    let markdown = table.display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["perf", "compare", "--broker", &a, "--broker", &b, "--broker", refusing, "--json"]);
    command.args(["--repetitions", "2", "--pause", "0", "--markdown", &markdown, "--no-progress"]);
    command.args(["--load", "small: throughput --time 0.1 --warmup 0 --size 16"]);
    command.args(["--", "throughput", "--time", "0.1", "--warmup", "0", "--confirm", "1"]);
    let output = command.output().expect("it runs");
    let table_text = std::fs::read_to_string(&table);
    let _ = std::fs::remove_file(&table);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("2 of 6 have failed"), "{errors}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for load in report["loads"].as_array().expect("loads") {
        for broker in [0, 1] {
            let result = &load["results"][broker];
            assert!(result["failure"].is_null(), "{result}");
            assert_eq!(result["runs"].as_array().map(Vec::len), Some(2), "{result}");
            // How much a busy machine gets done in so short an interval is nobody's promise; by whom is.
            let pid = running[broker].child.id();
            for run in result["runs"].as_array().expect("runs") {
                assert_eq!(run["settings"]["broker_pid"], pid, "{result}");
                let uri = run["settings"]["uri"].as_str().unwrap_or_default();
                assert!(uri.contains(&format!(":{}/", running[broker].port)), "{result}");
            }
            assert!(result["figures"]["delivery_rate"]["median"].is_number(), "{result}");
            assert!(result["figures"]["rss_mib"]["median"].is_number(), "{result}");
        }
        let why = load["results"][2]["failure"].as_str().unwrap_or_default();
        assert!(why.contains("cannot connect to 127.0.0.1:1"), "{load}");
    }
    let table_text = table_text.expect("a table");
    assert!(table_text.starts_with("|  | a | b | none | b : a | none : a |\n"), "{table_text}");
    assert!(table_text.contains("| failed |") && table_text.contains("| **small** |"), "{table_text}");
}

#[test]
fn metrics_are_served_where_somebody_says_or_the_node_does_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["server", "--listen", "none", "--http-listen", "none", "--in-memory"]);
    let output = command.args(["--metrics-listen", &address]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(&address), "{text}");
}

#[test]
fn an_address_that_is_none_is_refused_with_what_is_allowed() {
    let output = server("localhost", Path::new("/nowhere")).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("is not ADDR:PORT"), "{text}");
}
