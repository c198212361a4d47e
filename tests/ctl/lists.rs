//! What only a node with something in it can show: owners of queues, certificates, its log.

use crate::certificates::{Authority, Folder};
use crate::node::{Node, run, until};

#[test]
fn queues_tell_whose_they_are() {
    let node = Node::start("owners");
    let mut client = node.connect();
    client.has_for_itself("hers");
    let list = |columns: &[&str]| {
        node.tool("rabbitmqctl", &[&["-s", "list_queues", "name"][..], columns].concat()).out
    };
    let connection = node.tool("rabbitmqctl", &["-s", "list_connections", "pid"]).out;
    let channel = node.tool("rabbitmqctl", &["-s", "list_channels", "pid"]).out;
    assert!(connection.starts_with('<') && channel.starts_with('<') && connection != channel);
    let wanted = format!("hers\t{}\t{}\tmine\n", connection.trim_end(), channel.trim_end());
    assert_eq!(list(&["owner_pid", "exclusive_consumer_pid", "exclusive_consumer_tag"]), wanted);
    assert_eq!(list(&["exclusive"]), "hers\ttrue\n");
}

#[test]
fn secrets_come_back() {
    let node = Node::start("secrets");
    let ctl = |arguments: &[&str]| node.tool("rabbitmqctl", arguments);
    let sealed = ctl(&["-q", "encode", "<<\"a secret\">>", "pass"]);
    assert_eq!(sealed.status, 0);
    assert!(sealed.out.starts_with("{encrypted,<<\"") && !sealed.out.contains("secret"), "{}", sealed.out);
    let other = ctl(&["-q", "encode", "<<\"a secret\">>", "pass"]);
    assert_ne!(other.out, sealed.out, "chance is part of it");
    let opened = ctl(&["-q", "decode", sealed.out.trim_end(), "pass"]);
    assert_eq!((opened.status, &*opened.out), (0, "<<\"a secret\">>\n"));
    assert_eq!(ctl(&["-q", "decode", sealed.out.trim_end(), "Pass"]).status, 69);
    let method = ["--cipher", "aes_256_cbc", "--hash", "sha512", "--iterations", "50"];
    let sealed = ctl(&[&["-q", "encrypt_conf_value", "word", "pass"][..], &method].concat());
    assert!(sealed.out.starts_with("encrypted:"), "{}", sealed.out);
    let opened = ctl(&[&["-q", "decrypt_conf_value", sealed.out.trim_end(), "pass"][..], &method].concat());
    assert_eq!(opened.out, "word\n");
    assert_eq!(ctl(&["-q", "decrypt_conf_value", sealed.out.trim_end(), "pass"]).status, 69);
    assert_eq!(ctl(&["-q", "encode", "word"]).err, "Error:\nnot_enough_args\n", "nothing on standard input");
}

#[test]
fn certificates_are_shown_and_expire() {
    let folder = Folder::new();
    let settings = Authority::new().server(&folder);
    let node = Node::start_with("certificates", |server| {
        server
            .args(["--tls-listen", "127.0.0.1:0", "--tls-cert"])
            .arg(settings.certfile.as_ref().expect("set"));
        server.arg("--tls-key").arg(settings.keyfile.as_ref().expect("set"));
        server.arg("--tls-ca").arg(settings.cacertfile.as_ref().expect("set"));
    });
    let tool = |arguments: &[&str]| node.tool("rabbitmq-diagnostics", arguments);
    let shown = tool(&["certificates", "--formatter", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).expect("JSON");
    let pem = std::fs::read_to_string(settings.certfile.as_ref().expect("set")).expect("a file");
    assert_eq!(shown[0]["certfile"], pem.as_str());
    assert_eq!((&shown[0]["protocol"], shown.as_array().map(Vec::len)), (&"amqp/ssl".into(), Some(1)));
    let shown = tool(&["certificates", "-q"]).out;
    assert!(shown.starts_with("[#{node => rabbit@localhost,port => "), "{shown}");
    assert!(shown.contains("certfile => <<\"-----BEGIN CERTIFICATE-----\\n"), "{shown}");
    let check = |years: &str, more: &[&str]| {
        tool(
            &[&["-q", "check_certificate_expiration", "--unit", "years", "--within", years][..], more]
                .concat(),
        )
    };
    assert_eq!(check("1", &[]).out, "No certificates are expiring within 1 year.\n");
    let expired = check("100", &[]);
    assert_eq!((expired.status, &*expired.out), (69, ""));
    assert!(
        expired.err.starts_with("%{node: :rabbit@localhost, port: ")
            && expired.err.contains("certfile_expires_on: [\"2099-12-31 0:00:00\"]"),
        "{}",
        expired.err
    );
    let expired = check("100", &["--formatter", "json"]);
    let value: serde_json::Value = serde_json::from_str(&expired.err).expect("JSON");
    assert_eq!((&value["result"], &value["expired"][0]["protocol"]), (&"error".into(), &"amqp/ssl".into()));
}

#[test]
fn the_log_is_followed() {
    let log = std::env::temp_dir().join(format!("leveret-followed-{}.log", std::process::id()));
    let node = Node::start_with("followed", |server| {
        server.arg("--set").arg(format!("log.file={}", log.display())).args(["--set", "log.file.level=info"]);
    });
    let follow = std::thread::scope(|scope| {
        let follow = scope.spawn(|| {
            let mut tool = node.command("rabbitmq-diagnostics");
            run(tool.args(["log_tail_stream", "-q", "--duration", "2"]))
        });
        // Again and again, since nobody knows when it has begun.
        while !follow.is_finished() {
            assert_eq!(node.tool("rabbitmqctl", &["suspend_listeners"]).status, 0);
            assert_eq!(node.tool("rabbitmqctl", &["resume_listeners"]).status, 0);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        follow.join().expect("no panic")
    });
    assert_eq!(follow.status, 0, "{}", follow.err);
    assert!(follow.out.contains("ports are suspended"), "{}", follow.out);
    assert!(!follow.out.contains("Server startup complete"), "only what is new: {}", follow.out);
    until(|| node.tool("rabbitmq-diagnostics", &["log_tail", "-q"]).out.contains("ports are suspended"));
    std::fs::remove_file(log).expect("a file");
}

#[test]
fn sizes_of_messages_are_counted() {
    let node = Node::start("sizes");
    let mut client = node.connect();
    client.publish();
    assert!(client.is_open());
    let sizes = ["-s", "message_size_stats", "--formatter", "table"];
    let shown = node.tool("rabbitmq-diagnostics", &sizes).out;
    assert_eq!(shown.lines().count(), 9, "{shown}");
    assert!(shown.starts_with("below 100B\t1\t100.00\nbetween 100B and 1KB\t0\t0.00\n"), "{shown}");
}

#[test]
fn settings_are_shown() {
    let node = Node::start_with("settings", |server| {
        server.args(["--set", "channel_max=77"]);
    });
    let shown = node.tool("rabbitmqctl", &["-q", "environment"]).out;
    assert!(shown.starts_with("[{rabbit,\n     [{channel_max,77},"), "{shown}");
    let parts = node.tool("rabbitmq-diagnostics", &["-q", "memory_breakdown"]).out;
    assert!(parts.lines().any(|line| line.starts_with("code: ") && !line.contains("0.0%")), "{parts}");
}
