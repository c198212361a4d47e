//! `rabbitmqadmin`, as Testcontainers and scripts call it: with the syntax of either tool of that name.

use crate::certificates::{Authority, Folder};
use crate::node::{Done, Ended, Node, run};

struct Admin(Node);

impl Admin {
    fn start(name: &str) -> Self {
        Self(Node::start(name))
    }

    fn done(&self, arguments: &[&str]) -> Done {
        let mut command = self.0.command("rabbitmqadmin");
        run(command.arg(format!("--port={}", self.0.http)).args(arguments).env("HOME", &self.0.folder.0))
    }

    /// What it prints; it succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let done = self.done(arguments);
        assert_eq!((done.status, &*done.err), (0, ""), "{arguments:?}");
        done.out
    }

    /// What it prints to standard error; it fails.
    fn fails(&self, arguments: &[&str]) -> String {
        let done = self.done(arguments);
        assert_eq!((done.status, &*done.out), (1, ""), "{arguments:?}");
        done.err
    }
}

#[test]
fn what_testcontainers_declares() {
    let admin = Admin::start("testcontainers");
    for (arguments, said) in [
        (&["declare", "vhost", "name=vhost1"][..], "vhost declared\n"),
        (&["declare", "vhost", "name=vhost2", "tracing=true"], "vhost declared\n"),
        (
            &["declare", "vhost_limit", "vhost=vhost1", "name=max-connections", "value=1"],
            "vhost_limit declared\n",
        ),
        (
            &[
                "declare",
                "exchange",
                "name=ex",
                "type=topic",
                "auto_delete=false",
                "internal=false",
                "durable=true",
                "arguments={\"alternate-exchange\":\"amq.fanout\"}",
            ],
            "exchange declared\n",
        ),
        (
            &[
                "declare",
                "queue",
                "name=q",
                "auto_delete=false",
                "durable=true",
                "arguments={\"x-max-length\":5}",
            ],
            "queue declared\n",
        ),
        (&["--vhost=vhost1", "declare", "queue", "name=q1", "queue_type=quorum"], "queue declared\n"),
        (
            &[
                "declare",
                "binding",
                "source=ex",
                "destination=q",
                "routing_key=a.#",
                "destination_type=queue",
                "arguments={}",
            ],
            "binding declared\n",
        ),
        (
            &[
                "declare",
                "policy",
                "name=p",
                "pattern=^q",
                "definition={\"max-length\":3}",
                "priority=1",
                "apply-to=queues",
            ],
            "policy declared\n",
        ),
        (
            &[
                "declare",
                "operator_policy",
                "name=o",
                "pattern=^q",
                "definition={\"max-length\":9}",
                "apply-to=queues",
            ],
            "operator_policy declared\n",
        ),
        (
            &["declare", "parameter", "component=vhost-limits", "name=limits", "value={\"max-queues\":9}"],
            "parameter declared\n",
        ),
        (&["declare", "user", "name=ann", "password=pw", "tags=administrator"], "user declared\n"),
        (
            &["declare", "permission", "vhost=vhost1", "user=ann", "configure=.*", "write=.*", "read=.*"],
            "permission declared\n",
        ),
    ] {
        assert_eq!(admin.says(arguments), said, "{arguments:?}");
    }
    assert_eq!(
        admin
            .says(&["-f", "tsv", "list", "queues", "vhost", "name", "arguments.x-max-length"])
            .lines()
            .nth(1),
        Some("/\tq\t5")
    );
    assert_eq!(
        admin.says(&["-V", "vhost1", "-f", "tsv", "list", "queues", "name", "type"]),
        "name\ttype\nq1\tquorum\n"
    );
    let policies = admin.says(&["list", "policies", "name", "apply-to", "priority"]);
    assert_eq!(policies.lines().nth(3), Some("| p    | queues   | 1        |"), "{policies}");
    assert!(admin.says(&["-f", "tsv", "list", "users", "name", "tags"]).contains("ann\tadministrator\n"));
    assert!(admin.says(&["-f", "tsv", "list", "vhosts", "name", "tracing"]).contains("vhost2\tTrue\n"));
    let parameters = admin.says(&["-f", "tsv", "list", "parameters", "component", "vhost", "value"]);
    assert!(parameters.contains("vhost-limits\t/\t{\"max-queues\":9}\n"), "{parameters}");
    let policies = admin.says(&["-f", "tsv", "list", "operator_policies", "name", "pattern"]);
    assert_eq!(policies, "name\tpattern\no\t^q\n");
    // As somebody else.
    let whole = ["-u", "ann", "-p", "pw", "-V", "vhost1", "-q", "declare", "queue", "name=hers"];
    assert_eq!(admin.says(&whole), "");
}

#[test]
fn the_newer_syntax_does_the_same() {
    let admin = Admin::start("newer");
    for arguments in [
        &["declare", "queue", "--name", "q", "--type", "quorum", "--durable", "true"][..],
        &["--vhost", "/", "exchanges", "declare", "--name", "ex", "--type", "fanout"],
        &["declare", "binding", "--source", "ex", "--destination-type", "queue", "--destination", "q"],
        &["declare", "user", "--name", "ann", "--password", "pw", "--tags", "management"],
        &["declare", "permissions", "--user", "ann", "--configure", ".*", "--read", ".*", "--write", ".*"],
        &[
            "policies",
            "declare",
            "--name",
            "p",
            "--pattern",
            ".*",
            "--apply-to",
            "queues",
            "--definition",
            "{\"max-length\":3}",
        ],
        &["publish", "message", "-e", "ex", "-k", "any", "-m", "hello"],
        &["queues", "purge", "--name", "q"],
        &["health_check", "local_alarms"],
        &["delete", "queue", "--name", "q"],
        &["delete", "queue", "--name", "q", "--idempotently"],
    ] {
        admin.says(arguments);
    }
    assert_eq!(admin.says(&["queues", "list"]), "No items\n");
    assert_eq!(admin.fails(&["delete", "queue", "--name", "q"]), "*** Not found: /api/queues/%2F/q\n\n");
}

#[test]
fn messages_go_in_and_come_out() {
    let admin = Admin::start("messages");
    admin.says(&["declare", "queue", "name=q"]);
    assert_eq!(admin.says(&["publish", "routing_key=q", "payload=hello"]), "Message published\n");
    assert_eq!(
        admin.says(&["publish", "routing_key=nobody", "payload=x"]),
        "Message published but NOT routed\n"
    );
    let got = admin.says(&["-f", "tsv", "get", "queue=q", "ackmode=ack_requeue_false"]);
    assert!(got.contains("hello"), "{got}");
    assert_eq!(admin.says(&["get", "queue=q"]), "No items\n");
    let file = admin.0.folder.0.join("definitions.json");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(admin.says(&["export", file]), format!("Exported definitions for localhost to \"{file}\"\n"));
    admin.says(&["delete", "queue", "name=q"]);
    assert!(admin.says(&["import", file]).starts_with("Uploaded definitions"));
    assert_eq!(admin.says(&["-f", "bash", "list", "queues", "name"]), "q\n");
}

#[test]
fn what_only_the_newer_tool_has() {
    let admin = Admin::start("newest");
    admin.says(&["declare", "user", "--name", "ann", "--password", "pw", "--tags", ""]);
    let permissions = ["--username", "ann", "--configure", "a", "--read", "b", "--write", "c"];
    admin.says(&[&["permissions", "declare"][..], &permissions].concat());
    assert!(admin.says(&["-f", "tsv", "permissions", "list"]).contains("ann"));
    admin.says(&["permissions", "delete", "--username", "ann"]);
    assert!(!admin.says(&["-f", "tsv", "list", "permissions"]).contains("ann"));
    admin.says(&["user_limits", "declare", "--username", "ann", "--name", "max-connections", "--value", "3"]);
    assert!(admin.says(&["-f", "raw_json", "list", "user_limits"]).contains("\"max-connections\":3"));
    admin.says(&["user_limits", "delete", "--username", "ann", "--name", "max-connections"]);
    admin.says(&["global_parameters", "set", "--name", "p", "--value", "{\"a\":1}"]);
    assert!(admin.says(&["-f", "tsv", "global_parameters", "list"]).contains("p\t{\"a\":1}"));
    admin.says(&["global_parameters", "clear", "--name", "p"]);
    for group in ["federation", "shovels"] {
        let refused = admin.fails(&[group, "list_all"]);
        assert_eq!(refused, format!("*** {group} is not there in Leveret\n\n"));
    }
}

#[test]
fn over_tls() {
    let folder = Folder::new();
    let settings = Authority::new().server(&folder);
    let [ca, certificate, key] = [&settings.cacertfile, &settings.certfile, &settings.keyfile]
        .map(|path| path.as_ref().expect("set").display().to_string());
    // The node's own flag for the API knows no TLS.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_leveret"));
    server
        .args(["server", "--listen", "none", "--metrics-listen", "none", "--data-dir"])
        .arg(folder.0.join("data"));
    let port_setting = format!("port={port}");
    for setting in
        ["ip=127.0.0.1", &port_setting, &format!("certfile={certificate}"), &format!("keyfile={key}")]
    {
        server.arg("--set").arg(format!("management.ssl.{setting}"));
    }
    let quiet = std::process::Stdio::null;
    let _server = Ended(server.stdout(quiet()).stderr(quiet()).spawn().expect("it starts"));
    crate::node::until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let tool = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.arg("admin").env("HOME", &folder.0);
        command
    };
    let command = |arguments: &[&str]| {
        let mut command = tool();
        command.args(["-P", &port.to_string()]).args(arguments);
        command
    };
    let ask = ["-f", "tsv", "list", "users", "name"];
    let asks = |options: &[&str]| run(&mut command(&[options, &ask].concat()));
    let wanted = "name\nguest\n";
    for options in [
        &["--ssl", "--ssl-ca-cert-file", &ca][..],
        &["--use-tls", "--tls-ca-cert-file", &ca],
        &["--ssl", "--ssl-insecure"],
        &["--use-tls", "-k", "-H", "127.0.0.1"],
    ] {
        let done = asks(options);
        assert_eq!((done.status, &*done.out, &*done.err), (0, wanted, ""), "{options:?}");
    }
    // Its certificate is for another name; for those who trust others it is nobody's.
    let other = folder.put("other.pem", &Authority::new().pem()).display().to_string();
    for options in [
        &["--ssl", "--ssl-ca-cert-file", &ca, "-H", "127.0.0.1"][..],
        &["--ssl", "--ssl-ca-cert-file", &other],
        &["--ssl", "--ssl-ca-cert-file", "/nonexistent"],
    ] {
        let done = asks(options);
        assert_eq!((done.status, &*done.out), (1, ""), "{options:?}");
        assert!(done.err.starts_with("*** TLS: "), "{}", done.err);
    }
    // By variables, by a file of either tool, and by an address.
    let by_variable =
        run(command(&["--tls-ca-cert-file", &ca]).args(ask).env("RABBITMQADMIN_USE_TLS", "true"));
    assert_eq!(by_variable.out, wanted, "{}", by_variable.err);
    for (name, text) in [
        (
            "older",
            format!("[far]\nhostname = localhost\nport = {port}\nssl = True\nssl_ca_cert_file = {ca}\n"),
        ),
        (
            "newer",
            format!(
                "[far]\nhostname = \"localhost\"\nport = {port}\ntls = true\nca_certificate_bundle_path = \"{ca}\"\n"
            ),
        ),
        (
            "address",
            format!("[far]\nbase_uri = \"https://localhost:{port}/api\"\ntls_ca_cert_file = \"{ca}\"\n"),
        ),
    ] {
        let file = folder.put(name, &text);
        let mut command = tool();
        let by_file = run(command.arg("-c").arg(&file).args(["-N", "far"]).args(ask));
        assert_eq!(by_file.out, wanted, "{name}: {}", by_file.err);
        let mut command = tool();
        command.env("RABBITMQADMIN_CONFIG_FILE_PATH", &file).env("RABBITMQADMIN_NODE_ALIAS", "far");
        assert_eq!(run(command.args(ask)).out, wanted, "{name}, by variables");
    }
}

#[test]
fn what_goes_wrong() {
    let admin = Admin::start("wrong");
    assert_eq!(
        admin.fails(&["-p", "wrong", "list", "queues"]),
        "*** Access refused: /api/queues?columns=name,messages\n\n"
    );
    assert_eq!(
        admin.fails(&["-P", "1", "list", "queues"]).lines().next().map(|line| &line[..22]),
        Some("*** Could not connect:")
    );
    for (arguments, why) in [
        (&[][..], "Action not specified"),
        (&["fly"], "Action fly not understood"),
        (&["list", "things"], "Don't know how to list things"),
        (&["declare", "thing", "name=x"], "Type thing not recognised"),
        (&["declare", "queue"], "mandatory argument \"name\" is required"),
        (&["declare", "queue", "name=x", "colour=red"], "Argument \"colour\" is not recognised"),
        (
            &["declare", "user", "name=x", "tags="],
            "one of mandatory arguments \"['password', 'password_hash']\" is required",
        ),
    ] {
        let wanted = format!("\nERROR: {why}\n\nrabbitmqadmin --help for help\n\n");
        assert_eq!(admin.fails(arguments), wanted, "{arguments:?}");
    }
    let refused = admin.fails(&["declare", "queue", "name=amq.mine"]);
    assert!(refused.starts_with("*** ") && refused.contains("amq."), "{refused}");
}

#[test]
fn what_passes_an_exchange_is_shown_and_arrives_all_the_same() {
    let admin = Admin::start("tail");
    admin.says(&["declare", "queue", "name=q"]);
    admin.says(&["declare", "exchange", "name=ex", "type=direct"]);
    let uri = format!("http://guest:guest@127.0.0.1:{}", admin.0.http);
    let tail = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["tail", "--uri", &uri, "--exchange", "ex"]).args(more);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    };
    let unbound = run(&mut tail(&[]));
    assert_eq!(unbound.status, 1);
    assert!(unbound.err.contains("nothing is bound"), "{}", unbound.err);
    admin.says(&["declare", "binding", "source=ex", "destination=q", "routing_key=k"]);
    let shown = tail(&["--count", "1", "--grep", "second"]).spawn().expect("it starts");
    crate::node::until(|| admin.says(&["-f", "bash", "list", "queues", "name"]).contains("leveret-tail-"));
    crate::node::until(|| {
        admin.says(&["list", "bindings", "source", "destination"]).matches("leveret-tail-").count() > 1
    });
    for payload in ["first", "second", "third"] {
        admin.says(&["publish", "exchange=ex", "routing_key=k", &format!("payload={payload}")]);
    }
    let output = shown.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ex k 6 octets second\n");
    // Its own queue goes with it, and everything is where it belongs.
    assert_eq!(admin.says(&["-f", "tsv", "list", "queues", "name", "messages"]), "name\tmessages\nq\t3\n");
}
