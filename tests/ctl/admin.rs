//! `rabbitmqadmin`, as Testcontainers and scripts call it: with the syntax of either tool of that name.

use crate::node::{Done, Node, run};

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
