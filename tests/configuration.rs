//! Real servers, started with files, variables and flags, as people start them.
#![allow(clippy::expect_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-conf-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("conf.d")).expect("a folder");
        Self(path)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A server whose files are those in here, and whose variables are its own.
    fn server(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        let inherited = std::env::vars().filter(|(name, _)| name.starts_with("RABBITMQ_"));
        for (name, _) in inherited {
            command.env_remove(name);
        }
        for (variable, name) in [
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_CONFIG_FILES", "conf.d"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_CONF_ENV_FILE", "rabbitmq-env.conf"),
        ] {
            command.env(variable, self.0.join(name));
        }
        command.args(["server", "--set", "leveret.metrics_listen=none"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that runs, and what it has said.
struct Server {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut server = Self { child, lines, said: Vec::new() };
        server.until("ready; ");
        server
    }

    /// Waits until it says this, and returns the line.
    fn until(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("it does not say {text:?}, but {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn has_said(&self, text: &str) -> bool {
        self.said.iter().any(|line| line.contains(text))
    }

    /// The port after these words.
    fn port(&self, words: &str) -> u16 {
        let line = self.said.iter().find(|line| line.starts_with(words)).expect("it says where it listens");
        line.rsplit(':').next().expect("a port").parse().expect("a port")
    }

    /// What the API says: a status and JSON.
    fn get(&self, path: &str, user: &str, password: &str) -> (u16, Value) {
        self.ask("GET", path, "", user, password)
    }

    /// The same as guest, who sends something.
    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask(method, path, &body.to_string(), "guest", "guest")
    }

    fn ask(&self, method: &str, path: &str, body: &str, user: &str, password: &str) -> (u16, Value) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port("HTTP API on"))).expect("connected");
        let login = STANDARD.encode(format!("{user}:{password}"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {login}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes()).expect("sent");
        let mut reply = String::new();
        socket.read_to_string(&mut reply).expect("a reply");
        let status = reply.split(' ').nth(1).expect("a status").parse().expect("a number");
        let body = reply.split_once("\r\n\r\n").expect("a body").1;
        let start = body.find(['{', '[']).unwrap_or(body.len());
        let end = body.rfind(['}', ']']).map_or(start, |end| end + 1);
        (status, serde_json::from_str(&body[start..end]).unwrap_or(Value::Null))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PORTS: [&str; 5] = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--in-memory"];

/// Runs a server that cannot start, and returns its status and what it says.
fn refusal(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn files_variables_and_flags_in_their_order() {
    let folder = Folder::new("order");
    folder.put("pass", "from a file\n");
    folder.put(
        "rabbitmq.conf",
        "default_user = $(WHO)\ndefault_pass = $(<pass)\ndefault_vhost = v1\ncluster_name = one\nheartbeet = 3\n",
    );
    folder.put("conf.d/20.conf", "cluster_name = three\n");
    folder.put("conf.d/10.conf", "cluster_name = two\nloopback_users = none\n");
    folder.put("conf.d/30.other", "cluster_name = none\n");
    folder.put("advanced.config", "[{rabbit, [{default_user_tags, [monitoring]}]}].\n");
    folder.put("rabbitmq-env.conf", "NODENAME=hare@box\nDEFAULT_VHOST=unused\n");
    folder.put("enabled_plugins", "[rabbitmq_management,rabbitmq_nonsense].\n");
    let mut command = folder.server(&PORTS);
    command.env("WHO", "bob").env("RABBITMQ_DEFAULT_VHOST", "v2");
    command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-rabbit channel_max 7 default_vhost v3");
    command.args(["--set", "channel_max=9"]);
    let server = Server::start(&mut command);
    let (status, overview) = server.get("/api/overview", "bob", "from a file");
    assert_eq!((status, &overview["cluster_name"]), (200, &json!("three")), "{overview}");
    let (_, nodes) = server.get("/api/nodes", "bob", "from a file");
    assert_eq!(nodes[0]["name"], "hare@box");
    assert_eq!(nodes[0]["log_files"], json!(["<stdout>"]));
    let conf = folder.0.join("rabbitmq.conf").display().to_string();
    assert!(nodes[0]["config_files"].as_array().expect("a list").contains(&json!(conf)), "{nodes}");
    assert!(nodes[0]["disk_free"].as_u64() > Some(0), "{nodes}");
    // What tools switch on is there at once.
    assert_eq!(nodes[0]["enabled_plugins"], json!(["rabbitmq_management"]));
    folder.put("enabled_plugins", "[rabbitmq_management,rabbitmq_top].\n");
    let (_, nodes) = server.get("/api/nodes", "bob", "from a file");
    assert_eq!(nodes[0]["enabled_plugins"], json!(["rabbitmq_management", "rabbitmq_top"]));
    let names: Vec<_> =
        nodes[0]["applications"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["rabbit", "rabbitmq_management", "rabbitmq_top"]);
    let (_, who) = server.get("/api/whoami", "bob", "from a file");
    assert_eq!(who["tags"], json!(["monitoring"]));
    let (_, vhosts) = server.get("/api/vhosts", "bob", "from a file");
    let names: Vec<_> =
        vhosts.as_array().expect("a list").iter().map(|vhost| vhost["name"].clone()).collect();
    assert_eq!(names, ["v2"]);
    assert_eq!(server.get("/api/whoami", "guest", "guest").0, 401);
    for wanted in [
        "rabbitmq.conf:5: there is no setting heartbeet, it is ignored; is heartbeat meant?",
        "nobody knows the plugin rabbitmq_nonsense, it is not enabled",
        "Server startup complete; 3 plugins started.",
        " * rabbitmq_management_agent",
        " node           : hare@box",
    ] {
        assert!(server.has_said(wanted), "{wanted}: {:#?}", server.said);
    }
    let shown = command.arg("--print-config").output().expect("it runs");
    let shown = String::from_utf8(shown.stdout).expect("text");
    for wanted in [
        "channel_max = 9  # --set",
        "default_user = bob  # ",
        "default_pass = ********  # ",
        "default_vhost = v2  # RABBITMQ_DEFAULT_VHOST",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
}

#[test]
fn wrong_values_end_the_start_with_their_places() {
    let folder = Folder::new("wrong");
    let file = folder.put("rabbitmq.conf", "heartbeat = x\n\nframe_max = 1\n");
    let (status, text) = refusal(&mut folder.server(&PORTS));
    let file = file.display();
    let wanted = format!(
        "leveret: {file}:1: heartbeat = x: not allowed, it is to be an integer\n\
         leveret: {file}:3: frame_max = 1: not allowed, it is to be a size from 4096 bytes to 2GB\n"
    );
    assert_eq!((status, text), (Some(1), wanted));
    folder.put("rabbitmq.conf", "default_user = a\nnonsense\n");
    let (status, text) = refusal(&mut folder.server(&PORTS));
    assert_eq!((status, text), (Some(1), format!("leveret: {file}:2: not KEY = VALUE: nonsense\n")));
    folder.put("rabbitmq.conf", "");
    let mut command = folder.server(&PORTS);
    command.env("RABBITMQ_DEFAULT_PASS_FILE", "/nowhere/pass");
    let (status, text) = refusal(&mut command);
    assert!(
        status == Some(1) && text.starts_with("leveret: RABBITMQ_DEFAULT_PASS_FILE: cannot read"),
        "{text}"
    );
}

#[test]
fn definitions_come_beside_the_default_user() {
    let folder = Folder::new("definitions");
    let definitions = json!({
        "vhosts": [{ "name": "shop" }],
        "users": [{ "name": "app", "password": "secret", "tags": "administrator" }],
        "permissions": [{ "user": "app", "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*" }],
        "queues": [{ "name": "orders", "vhost": "shop", "durable": true, "auto_delete": false, "arguments": {} }],
    });
    let path = folder.put("definitions.json", &definitions.to_string());
    folder.put("rabbitmq.conf", "load_definitions = $(DEFINITIONS)\ndefinitions.skip_if_unchanged = true\n");
    let data = folder.0.join("data");
    let ports = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir"];
    let mut command = folder.server(&ports);
    command.arg(&data).env("DEFINITIONS", &path);
    let mut server = Server::start(&mut command);
    assert!(server.has_said("the default user 'guest' is there beside them"), "{:#?}", server.said);
    assert_eq!(server.get("/api/queues/shop/orders", "app", "secret").0, 200);
    assert_eq!(server.get("/api/whoami", "guest", "guest").0, 200);
    server.signal("-TERM");
    server.until("Successfully stopped");
    drop(server);
    let server = Server::start(&mut command);
    assert!(server.has_said("have not changed since they were imported"), "{:#?}", server.said);
    drop(server);
    folder.put("definitions.json", "{");
    let mut child = command.spawn().expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "broken definitions end the start");
}

#[test]
fn logs_go_where_they_are_sent_and_levels_change_while_it_runs() {
    let folder = Folder::new("logs");
    let log = folder.0.join("x.log");
    let text = |level: &str| {
        format!("log.dir = {}\nlog.file = x.log\nlog.default.level = {level}\n", folder.0.display())
    };
    folder.put("rabbitmq.conf", &text("warning"));
    let mut command = folder.server(&PORTS);
    command.args(["--set", "log.file.formatter=json"]);
    let server = Server::start(&mut command);
    assert!(
        !server.said.iter().any(|line| line.contains("[info]")),
        "the console gets no log: {:#?}",
        server.said
    );
    let read = || std::fs::read_to_string(&log).expect("a log");
    assert!(!read().contains(r#""level":"info""#), "{}", read());
    folder.put("rabbitmq.conf", &text("debug"));
    server.signal("-HUP");
    let has = |text: &str| read().lines().any(|line| line.contains(text));
    let wait = |text: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        while !has(text) {
            assert!(Instant::now() < end, "{text}: {}", read());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait("reloaded: log levels");
    drop(TcpStream::connect(("127.0.0.1", server.port("AMQP on"))).expect("connected"));
    wait("connection_closed_with_no_data_received");
    let last: Value = serde_json::from_str(read().lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["level"], &last["domain"]), (&json!("debug"), &json!("rabbitmq.connection")), "{last}");
    // A configuration that is wrong changes nothing.
    folder.put("rabbitmq.conf", "heartbeat = x\n");
    server.signal("-HUP");
    wait("not reloaded: ");
    folder.put("rabbitmq.conf", &(text("info") + "heartbeat = 5\n"));
    server.signal("-HUP");
    wait("needs a restart: heartbeat");
}

/// A message of the queue `q`, once there is one like this.
fn wait_for_message(server: &Server, fits: impl Fn(&Value) -> bool) -> Value {
    let get = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto" });
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < end, "no such message comes");
        match server.send("POST", "/api/queues/%2F/q/get", &get).1.get(0) {
            Some(message) if fits(message) => return message.clone(),
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn the_log_goes_to_an_exchange() {
    let folder = Folder::new("exchange");
    folder.put("rabbitmq.conf", "log.exchange = true\nlog.exchange.level = warning\ncluster_name = hares\n");
    let server = Server::start(&mut folder.server(&PORTS));
    let (_, named) = server.get("/api/global-parameters/cluster_name", "guest", "guest");
    assert_eq!(named["value"], "hares");
    let (_, exchange) = server.get("/api/exchanges/%2F/amq.rabbitmq.log", "guest", "guest");
    for (key, wanted) in [("type", json!("topic")), ("internal", json!(true)), ("durable", json!(true))] {
        assert_eq!(exchange[key], wanted, "{exchange}");
    }
    assert_eq!(server.send("PUT", "/api/queues/%2F/q", &json!({})).0, 201);
    let binding = json!({ "routing_key": "warning" });
    assert_eq!(server.send("POST", "/api/bindings/%2F/e/amq.rabbitmq.log/q/q", &binding).0, 201);
    assert_eq!(server.get("/api/whoami", "guest", "wrong").0, 401);
    let is_wanted = |message: &Value| message["payload"].as_str().is_some_and(|text| text.contains("guest"));
    let message = wait_for_message(&server, is_wanted);
    let text = message["payload"].as_str().expect("text");
    assert!(text.contains(" [warning] <0.") && text.ends_with('\n'), "{text}");
    assert_eq!(message["routing_key"], "warning");
    let properties = &message["properties"];
    assert_eq!(properties["content_type"], "text/plain");
    assert_eq!(properties["headers"], json!({ "node": "rabbit@localhost" }));
    assert!(properties["timestamp"].as_u64().is_some_and(|at| at > 1_700_000_000), "{properties}");
    let (_, nodes) = server.get("/api/nodes", "guest", "guest");
    assert_eq!(nodes[0]["log_files"], json!(["<stdout>", "exchange:amq.rabbitmq.log"]));
}

#[test]
fn messages_are_stamped_as_they_come() {
    let folder = Folder::new("stamps");
    let stamps = "message_interceptors.incoming";
    folder.put(
        "rabbitmq.conf",
        &format!(
            "{stamps}.set_header_timestamp.overwrite = false\n{stamps}.set_header_routing_node.overwrite = true\n"
        ),
    );
    let server = Server::start(&mut folder.server(&PORTS));
    assert_eq!(server.send("PUT", "/api/queues/%2F/q", &json!({})).0, 201);
    let message = json!({
        "routing_key": "q", "payload": "a", "payload_encoding": "string",
        "properties": { "timestamp": 5, "headers": { "x-routed-by": "nobody" } },
    });
    assert_eq!(server.send("POST", "/api/exchanges/%2F/amq.default/publish", &message).0, 200);
    let came = wait_for_message(&server, |_| true);
    assert_eq!(came["properties"]["timestamp"], 5);
    assert_eq!(came["properties"]["headers"]["x-routed-by"], "rabbit@localhost");
    assert!(came["properties"]["headers"]["timestamp_in_ms"].is_u64(), "{came}");
}

#[test]
fn the_log_goes_to_a_syslog_server() {
    let folder = Folder::new("syslog");
    let syslog = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    syslog.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let port = syslog.local_addr().expect("an address").port();
    folder.put(
        "rabbitmq.conf",
        &format!(
            "log.syslog = true\nlog.syslog.ip = 127.0.0.1\nlog.syslog.port = {port}\nlog.syslog.protocol = rfc5424\n\
             log.syslog.identity = hare\nlog.syslog.facility = local0\nlog.console.level = error\n"
        ),
    );
    let mut server = Server::start(&mut folder.server(&PORTS));
    let next = |text: &str| {
        let mut octets = [0; 2000];
        loop {
            let size = syslog.recv(&mut octets).unwrap_or_else(|_| panic!("no line with {text}"));
            let line = String::from_utf8_lossy(&octets[..size]).into_owned();
            if line.contains(text) {
                return line;
            }
        }
    };
    let line = next("Server startup complete");
    let pid = server.child.id();
    assert!(line.starts_with("<134>1 20") && line.contains(&format!(" hare {pid} <0.")), "{line}");
    assert!(!server.has_said("startup complete;"), "{:#?}", server.said);
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
    next("Successfully stopped");
}

#[test]
fn a_category_has_a_file_of_its_own() {
    let folder = Folder::new("category");
    let dir = folder.0.join("log");
    folder.put(
        "rabbitmq.conf",
        &format!(
            "log.dir = {}\nlog.file = main.log\nlog.console = true\nlog.connection.file = c.log\n\
             log.connection.level = debug\n",
            dir.display()
        ),
    );
    let server = Server::start(&mut folder.server(&PORTS));
    drop(TcpStream::connect(("127.0.0.1", server.port("AMQP on"))).expect("connected"));
    let own = dir.join("c.log");
    let end = Instant::now() + Duration::from_secs(20);
    let wanted = "connection_closed_with_no_data_received";
    while !std::fs::read_to_string(&own).expect("a file").contains(wanted) {
        assert!(Instant::now() < end, "{:?}", std::fs::read_to_string(&own));
        std::thread::sleep(Duration::from_millis(10));
    }
    let main = std::fs::read_to_string(dir.join("main.log")).expect("a file");
    assert!(main.contains("Server startup complete") && !main.contains(wanted), "{main}");
    let (_, nodes) = server.get("/api/nodes", "guest", "guest");
    let files = ["main.log", "c.log"].map(|name| dir.join(name).display().to_string());
    assert_eq!(nodes[0]["log_files"], json!([files[0], files[1], "<stdout>"]));
    assert_eq!(nodes[0]["config_files"], json!([folder.0.join("rabbitmq.conf").display().to_string()]));
}

#[test]
fn variables_that_rabbitmqs_image_refuses_work() {
    let folder = Folder::new("refused");
    let pass = folder.put("secret", "hidden\n");
    let mut command = folder.server(&["--http-listen", "127.0.0.1:0", "--in-memory"]);
    command.env("RABBITMQ_DEFAULT_PASS_FILE", &pass).env("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "40%");
    command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1").env("RABBITMQ_NODE_PORT", "0");
    let server = Server::start(&mut command);
    assert_eq!(server.get("/api/whoami", "guest", "hidden").0, 200);
    assert!(server.port("AMQP on 127.0.0.1:") > 0);
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let folder = Folder::new("unread");
    let mut command = folder.server(&PORTS);
    command.args(["--set", "log.default.level=debug"]);
    let mut child = command.spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let (mut line, mut port) = (String::new(), 0);
    while !line.starts_with("ready; ") {
        line.clear();
        assert!(output.read_line(&mut line).expect("text") > 0, "it ends before it is ready");
        if let Some((_, found)) = line.trim_end().split_once("AMQP on 127.0.0.1:") {
            port = found.parse().expect("a port");
        }
    }
    // Each leaves two lines; a pipe takes 64 KiB, and what waits for it is bounded.
    for _ in 0..1000 {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        socket.write_all(b"AMQP\0\0\x09\x01").expect("sent");
        let mut answer = [0; 16];
        socket.read_exact(&mut answer).expect("an answer, whoever reads the log");
    }
    let stopped = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(stopped.success());
    let end = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("a child of ours").is_none() {
        assert!(Instant::now() < end, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Path::new(&folder.0).exists());
}
