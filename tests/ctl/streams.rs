//! `rabbitmq-streams`, and looks at messages that stay where they are.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::node::{Node, until};

/// A request to the HTTP API, which is to succeed; what comes back.
fn asks(node: &Node, method: &str, path: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", node.http)).expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).expect("a socket");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 2"), "{path}: {reply}");
    reply
}

#[test]
fn super_streams_come_and_go() {
    let node = Node::start("streams");
    let streams = |arguments: &[&str]| node.tool("rabbitmq-streams", arguments);
    let made = streams(&["add_super_stream", "s", "--partitions", "2"]);
    assert_eq!((made.status, &*made.out), (0, "Adding a super stream...\nSuper stream s has been created\n"));
    let again = streams(&["add_super_stream", "s", "--partitions", "2"]);
    assert_eq!(again.status, 70);
    assert_eq!(
        again.err,
        "Error:\n{:reference_already_exists, ~c\"there is already an exchange named s\"}\n"
    );
    let keys = ["add_super_stream", "k", "--binding-keys", "eu, us", "--max-age", "P1DT1H"];
    assert_eq!(streams(&[&keys[..], &["--max-length-bytes", "5kb"]].concat()).status, 0);
    let queues = node.tool("rabbitmqctl", &["-s", "list_queues", "name", "arguments"]).out;
    let us = queues.lines().find(|line| line.starts_with("k-us\t")).expect("a partition");
    assert!(
        us.contains("{\"x-max-age\",\"90000s\"}") && us.contains("{\"x-max-length-bytes\",5000}"),
        "{us}"
    );
    // What RabbitMQ's tool refuses by itself.
    for (arguments, why) in [
        (
            &["--partitions", "2", "--binding-keys", "a"][..],
            "Specify --partitions or --binding-keys, not both.",
        ),
        (&["--partitions", "0"], "The partition number must be greater than 0"),
        (
            &["--max-length-bytes", "x"],
            "Invalid value for --max-length-bytes, valid example values: 100gb, 50mb",
        ),
        (
            &["--leader-locator", "x"],
            "Invalid value for --leader-locator, valid values are client-local, balanced.",
        ),
        (
            &["--initial-cluster-size", "0"],
            "Invalid value for --initial-cluster-size, the value must be positive.",
        ),
    ] {
        let refused = streams(&[&["add_super_stream", "n"], arguments].concat());
        let wanted = format!("Error (argument validation): ~c\"{why}\"\n");
        assert!(refused.status == 64 && refused.err.starts_with(&wanted), "{arguments:?}: {}", refused.err);
    }
    let nowhere = streams(&["add_super_stream", "-p", "nosuch", "n"]);
    assert_eq!((nowhere.status, &*nowhere.err), (70, "Error:\n{:no_such_vhost, \"nosuch\"}\n"));
    assert_eq!(streams(&["delete_super_stream", "k"]).status, 0);
    let gone = streams(&["delete_super_stream", "k"]);
    assert_eq!((gone.status, &*gone.err), (70, "Error:\nstream_not_found\n"));
    let left = node.tool("rabbitmqctl", &["-s", "list_queues", "name"]).out;
    assert_eq!(left.lines().filter(|name| name.starts_with("s-")).count(), 2);
    assert!(!left.contains("k-"), "{left}");
}

#[test]
fn what_streams_remember_is_listed_and_reset() {
    let node = Node::start("tracking");
    let streams = |arguments: &[&str]| node.tool("rabbitmq-streams", arguments);
    assert_eq!(streams(&["add_super_stream", "s", "--partitions", "1"]).status, 0);
    let status = streams(&["stream_status", "s-0", "--formatter", "json"]).out;
    assert!(status.contains("\"committed_offset\":-1,") && status.contains("\"segments\":1"), "{status}");
    let list = streams(&["list_stream_tracking", "s-0", "-q"]);
    assert_eq!((list.status, &*list.out), (0, ""));
    let message = "{\"routing_key\":\"s-0\",\"payload\":\"x\",\"payload_encoding\":\"string\",\"properties\":\
                   {\"headers\":{\"x-stream-publisher\":\"importer\",\"x-stream-sequence\":17}}}";
    asks(&node, "POST", "/api/exchanges/%2F/amq.default/publish", message);
    asks(&node, "PUT", "/api/stream/groups/%2F/s-0/billing", "{\"offset\":1}");
    until(|| {
        streams(&["stream_status", "s-0", "--formatter", "json"]).out.contains("\"committed_offset\":0,")
    });
    let tracked =
        |kind: &str| streams(&["list_stream_tracking", "s-0", "-s", kind, "--formatter", "table"]).out;
    until(|| tracked("--writer") == "writer\timporter\t17\n");
    let before = tracked("--offset");
    assert!(before.starts_with("offset\tbilling\t"), "{before}");
    assert_eq!(tracked("--all"), format!("{before}writer\timporter\t17\n"));
    let reset = streams(&["reset_offset", "--stream", "s-0", "--reference", "billing"]);
    assert_eq!((reset.status, &*reset.out), (0, "Resetting stored offset ...\n"));
    assert_ne!(tracked("--offset"), before);
    for (arguments, why) in [
        (
            &["reset_offset", "--stream", "s-0", "--reference", "nosuch"][..],
            "There is no stored offset for this reference, no need to reset",
        ),
        (&["reset_offset", "--stream", "nosuch", "--reference", "x"], "The stream does not exist"),
        (&["list_stream_tracking", "nosuch"], "The stream does not exist."),
        (&["list_stream_group_consumers", "--stream", "s-0", "--reference", "x"], "The group does not exist"),
    ] {
        let refused = streams(arguments);
        assert_eq!((refused.status, refused.err), (69, format!("Error:\n{why}\n")), "{arguments:?}");
    }
    assert_eq!(streams(&["list_stream_consumers", "-q", "--formatter", "json"]).out, "[\n]\n");
    assert_eq!(streams(&["list_stream_publishers", "nosuch"]).status, 64);
    assert_eq!(streams(&["stream_status", "nosuch"]).status, 65);
}

#[test]
fn messages_are_looked_at_and_stay() {
    let node = Node::start("peek");
    let quorum = "{\"durable\":true,\"arguments\":{\"x-queue-type\":\"quorum\"}}";
    asks(&node, "PUT", "/api/queues/%2F/q", quorum);
    let publish = |body: &str| asks(&node, "POST", "/api/exchanges/%2F/amq.default/publish", body);
    publish(
        "{\"routing_key\":\"q\",\"payload\":\"first\",\"payload_encoding\":\"string\",\"properties\":\
         {\"content_type\":\"text/plain\",\"app_id\":\"app\",\"headers\":{\"l\":[1,\"q\"]}}}",
    );
    publish(
        "{\"routing_key\":\"q\",\"payload\":\"/wAB\",\"payload_encoding\":\"base64\",\"properties\":{\"delivery_mode\":1}}",
    );
    let peek = |more: &[&str]| node.tool("rabbitmq-queues", &[&["peek", "-s", "q"], more].concat());
    let first = peek(&["1", "--formatter", "table"]);
    assert_eq!(first.status, 0, "{}", first.err);
    let keys: Vec<_> = first.out.lines().filter_map(|line| line.split('\t').next()).collect();
    let wanted = [
        "app_id",
        "content_type",
        "routing_keys",
        "exchange",
        "payload (max 64 bytes)",
        "header.l",
        "header.x-delivery-count",
    ];
    assert_eq!(keys, wanted);
    assert!(peek(&["1"]).out.contains("{signedint,1}{longstr,<<\"q\">>}"));
    assert!(peek(&["2"]).out.contains("<<255,0,1>>"));
    assert_eq!(
        peek(&["2", "--formatter", "json"]).out,
        "{\"message\":{\"delivery_mode\":1,\"exchange\":\"\",\"header.x-delivery-count\":0,\
         \"payload (max 64 bytes)\":\"/wAB\",\"routing_keys\":[\"q\"]},\"result\":\"ok\"}\n"
    );
    let none = peek(&["3"]);
    assert_eq!(
        (none.status, &*none.err),
        (69, "Error:\nTarget queue does not have a message at that position\n")
    );
    let uri = format!("http://guest:guest@127.0.0.1:{}", node.http);
    let tail = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["tail", "--uri", &uri, "--queue", "q"]).args(more);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    };
    let whole = crate::node::run(&mut tail(&["--no-follow"]));
    assert_eq!(whole.status, 0, "{}", whole.err);
    let lines: Vec<_> = whole.out.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].ends_with(" first") && lines[1].ends_with(" base64:/wAB"),
        "{lines:?}"
    );
    // What comes later is shown too, and what was there only once.
    let follows = tail(&["--count", "3"]).spawn().expect("it starts");
    publish(
        "{\"routing_key\":\"q\",\"payload\":\"third\",\"payload_encoding\":\"string\",\"properties\":{}}",
    );
    let output = follows.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(shown.lines().count(), 3);
    assert!(shown.ends_with(" third\n"), "{shown}");
    assert_eq!(node.tool("rabbitmqctl", &["-s", "list_queues", "name", "messages_ready"]).out, "q\t3\n");
}

#[test]
fn groups_are_listed_with_their_members() {
    let node = Node::start("groups");
    let streams = |arguments: &[&str]| node.tool("rabbitmq-streams", arguments);
    asks(&node, "PUT", "/api/queues/%2F/s", "{\"durable\":true,\"arguments\":{\"x-queue-type\":\"stream\"}}");
    let mut members = [node.connect(), node.connect()];
    for (member, tag) in members.iter_mut().zip(["one", "two"]) {
        member.joins("s", "billing", tag);
    }
    let groups = streams(&["list_stream_consumer_groups", "-s", "--formatter", "table"]);
    assert_eq!((groups.status, &*groups.out), (0, "s\tbilling\t-1\t2\n"));
    let list = ["list_stream_group_consumers", "--stream", "s", "--reference", "billing"];
    let listed = || {
        let columns = ["-s", "--formatter", "table", "subscription_id", "state"];
        let mut lines: Vec<_> =
            streams(&[&list[..], &columns].concat()).out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(listed(), ["one\tactive (connected)", "two\twaiting (connected)"]);
    let named = streams(&[&list[..], &["-s", "--formatter", "table", "connection_name"]].concat()).out;
    assert!(
        named.contains(&format!("127.0.0.1:{} -> 127.0.0.1:{}", members[0].port(), node.port)),
        "{named}"
    );
    let activate = ["activate_stream_consumer", "--stream", "s", "--reference"];
    assert_eq!(streams(&[&activate[..], &["billing"]].concat()).status, 0);
    assert_eq!(streams(&[&activate[..], &["nosuch"]].concat()).status, 69);
    // The other one takes over.
    let [first, _second] = members;
    drop(first);
    until(|| listed() == ["two\tactive (connected)"]);
    assert_eq!(streams(&["restart_stream", "s"]).out.lines().last(), Some("rabbit@localhost"));
}
