//! The command-line tools against a server, as scripts call them. (`compat/ctl` plays many more lines, beside RabbitMQ.)

#![allow(clippy::expect_used)]

mod admin;
#[path = "../common/certificates.rs"]
mod certificates;
mod container;
mod lists;
mod node;
mod rough;
mod streams;

use std::net::TcpStream;
use std::process::Command;

use node::{Node, run};

#[test]
fn tools_go_by_their_names_and_as_subcommands() {
    let node = Node::start("names");
    let by_name = node.tool("rabbitmqctl", &["-q", "list_vhosts"]);
    let as_subcommand = node.leveret(&["ctl", "list_vhosts", "-q"]);
    assert_eq!((by_name.status, &*by_name.out), (0, "name\n/\n"));
    assert_eq!(by_name, as_subcommand);
    let ping = node.tool("rabbitmq-diagnostics", &["-q", "ping"]);
    assert_eq!((ping.status, &*ping.out, &*ping.err), (0, "Ping succeeded\n", ""));
    assert_eq!(ping, node.leveret(&["diagnostics", "ping", "--quiet"]));
    // Each has its own commands.
    assert_eq!(node.tool("rabbitmqctl", &["check_running"]).status, 64);
    assert_eq!(node.tool("rabbitmq-diagnostics", &["check_running"]).status, 0);
}

#[test]
fn without_a_node_the_status_says_so() {
    let folder = node::TempFolder::new("none");
    let socket = folder.0.join("control.sock");
    let ctl = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        run(command.arg("ctl").args(arguments).env("LEVERET_SOCKET", &socket))
    };
    let list = ctl(&["list_users"]);
    assert_eq!((list.status, &*list.out), (69, ""));
    assert!(
        list.err.starts_with("Error: unable to perform an operation on node 'rabbit@localhost'."),
        "{}",
        list.err
    );
    assert!(list.err.contains(socket.to_str().expect("UTF-8")), "{}", list.err);
    let ping = ctl(&["ping", "-t", "5"]);
    assert_eq!((ping.status, ping.err.lines().next()), (69, Some("Error:")));
    assert_eq!(ctl(&["await_startup", "--timeout", "0.1"]).status, 75);
    assert_eq!(ctl(&["version"]).status, 0, "that needs none");
    assert_eq!(ctl(&["add_user"]).status, 64, "the command line comes first");
    // A file that is no socket, and one in whose folder there is none.
    std::fs::write(&socket, "").expect("a file");
    assert_eq!(ctl(&["list_users"]).status, 69);
}

#[test]
fn users_from_the_cradle_to_the_grave() {
    let node = Node::start("users");
    let ctl = |arguments: &[&str]| node.tool("rabbitmqctl", arguments);
    assert_eq!(ctl(&["add_user", "ann", "secret"]).status, 0);
    assert_eq!(ctl(&["add_user", "ann", "secret"]).status, 70);
    assert_eq!(ctl(&["set_user_tags", "ann", "monitoring", "management"]).status, 0);
    assert_eq!(ctl(&["set_permissions", "-p", "/", "ann", "^a", ".*", ""]).status, 0);
    let permissions = ctl(&["-s", "list_user_permissions", "ann"]);
    assert_eq!(permissions.out, "/\t^a\t.*\t\n");
    assert_eq!(ctl(&["authenticate_user", "ann", "secret"]).status, 0);
    // Another password, and the tags stay.
    assert_eq!(ctl(&["change_password", "ann", "other"]).status, 0);
    assert_eq!(ctl(&["authenticate_user", "ann", "secret"]).status, 65);
    assert_eq!(ctl(&["authenticate_user", "ann", "other"]).status, 0);
    assert_eq!(ctl(&["-s", "list_users"]).out, "ann\t[monitoring, management]\nguest\t[administrator]\n");
    assert_eq!(ctl(&["clear_password", "ann"]).status, 0);
    assert_eq!(ctl(&["authenticate_user", "ann", "other"]).status, 65);
    assert_eq!(ctl(&["delete_user", "ann"]).status, 0);
    assert_eq!(ctl(&["change_password", "ann", "x"]).status, 67);
}

#[test]
fn ports_close_and_open_with_the_application() {
    let node = Node::start("app");
    let ctl = |arguments: &[&str]| node.tool("rabbitmqctl", arguments);
    let connects = || TcpStream::connect(("127.0.0.1", node.port)).is_ok();
    let mut client = node.connect();
    assert_eq!(ctl(&["-s", "list_connections", "user", "state"]).out, "guest\trunning\n");
    assert_eq!(ctl(&["stop_app"]).status, 0);
    let (code, text) = client.closed();
    assert_eq!(
        (code, &*text),
        (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
    );
    assert!(!connects());
    assert_eq!(ctl(&["list_users"]).status, 64);
    assert_eq!(node.tool("rabbitmq-diagnostics", &["check_running"]).status, 69);
    assert_eq!(node.tool("rabbitmq-diagnostics", &["ping"]).status, 0);
    assert_eq!(ctl(&["add_vhost", "v"]).status, 64);
    assert_eq!(ctl(&["start_app"]).status, 0);
    assert!(connects());
    // Clients stay when only nobody else is let in.
    let mut client = node.connect();
    assert_eq!(ctl(&["suspend_listeners"]).status, 0);
    assert!(!connects() && client.is_open());
    assert_eq!(ctl(&["list_users"]).status, 0);
    assert_eq!(ctl(&["resume_listeners"]).status, 0);
    assert!(connects());
    assert_eq!(node.tool("rabbitmq-upgrade", &["drain"]).status, 0);
    assert_eq!((client.closed().0, connects()), (320, false));
    assert_eq!(node.tool("rabbitmq-upgrade", &["revive"]).status, 0);
    assert!(connects());
}

#[test]
fn a_node_is_as_new_after_a_reset() {
    let node = Node::start("reset");
    let ctl = |arguments: &[&str]| node.tool("rabbitmqctl", arguments);
    assert_eq!(ctl(&["add_vhost", "v"]).status, 0);
    assert_eq!(ctl(&["add_user", "ann", "x"]).status, 0);
    assert_eq!(ctl(&["reset"]).status, 64, "not while it serves");
    assert_eq!(ctl(&["stop_app"]).status, 0);
    assert_eq!(ctl(&["reset"]).status, 0);
    assert_eq!(ctl(&["start_app"]).status, 0);
    assert_eq!(ctl(&["-s", "list_vhosts"]).out, "/\n");
    assert_eq!(ctl(&["-s", "list_users"]).out, "guest\t[administrator]\n");
    node.connect();
}

#[test]
fn connections_are_closed_by_the_process_that_lists_show() {
    let node = Node::start("close");
    let ctl = |arguments: &[&str]| node.tool("rabbitmqctl", arguments);
    let (mut one, mut other) = (node.connect(), node.connect());
    // As RabbitMQ's Java client does it.
    let list = ctl(&["list_connections", "-q", "pid", "peer_port", "client_properties"]).out;
    let mine = list.lines().find(|line| line.contains(&format!("\t{}\t", one.port()))).expect("it is listed");
    let pid = mine.split('\t').next().expect("a column");
    assert_eq!(ctl(&["close_connection", pid, "Closed via rabbitmqctl"]).status, 0);
    assert_eq!(one.closed(), (320, "CONNECTION_FORCED - Closed via rabbitmqctl".to_owned()));
    assert!(other.is_open());
    assert_eq!(ctl(&["close_connection", "nonsense", "x"]).status, 69);
    let all = ctl(&["close_all_connections", "enough"]);
    assert_eq!((all.status, all.out.lines().last()), (0, Some("Closed 1 connections")));
    assert_eq!(other.closed().1, "CONNECTION_FORCED - enough");
}

#[test]
fn the_erlang_that_scripts_use() {
    let node = Node::start("eval");
    let ctl = |arguments: &[&str]| node.tool("rabbitmqctl", arguments);
    let mut blocked = node.connect();
    let alarm = "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).";
    let set = ctl(&["eval", alarm]);
    assert_eq!((set.status, &*set.out), (0, "ok\n"));
    let check = node.tool("rabbitmq-diagnostics", &["-q", "check_alarms"]);
    assert_eq!((check.status, &*check.err), (69, "Memory alarm on node rabbit@localhost\n"));
    blocked.publish();
    assert_eq!(blocked.blocked(), "low on memory");
    assert_eq!(ctl(&["eval", "rabbit_alarm:clear_alarm({resource_limit, memory, node()})."]).status, 0);
    assert_eq!(node.tool("rabbitmq-diagnostics", &["-q", "check_alarms"]).status, 0);

    assert_eq!(ctl(&["eval", "application:set_env(rabbit, channel_max, 7)."]).status, 0);
    assert_eq!(node.connect().channel_max, 7);
    let other = ctl(&["eval", "init:stop()."]);
    assert_eq!(other.status, 70);
    assert!(other.err.contains("no Erlang"), "{}", other.err);
    node.connect();
}

#[test]
fn limits_change_while_it_runs() {
    let node = Node::start("limits");
    let ctl = |arguments: &[&str]| node.tool("rabbitmqctl", arguments);
    let alarms = || node.tool("rabbitmq-diagnostics", &["-q", "alarms"]).out;
    assert_eq!(ctl(&["set_vm_memory_high_watermark", "absolute", "1KB"]).status, 0);
    node::until(|| alarms().contains("Memory alarm"));
    assert_eq!(ctl(&["set_vm_memory_high_watermark", "0.9"]).status, 0);
    node::until(|| !alarms().contains("Memory alarm"));
    assert_eq!(ctl(&["set_disk_free_limit", "9000TB"]).status, 0);
    node::until(|| alarms().contains("Free disk space alarm"));
    assert_eq!(ctl(&["set_disk_free_limit", "1MB"]).status, 0);
    node::until(|| !alarms().contains("Free disk space alarm"));
}

#[test]
fn plugins_are_kept_in_the_file_that_is_named() {
    let node = Node::start("plugins");
    let file = node.folder.0.join("enabled_plugins");
    let plugins = |arguments: &[&str]| {
        let mut command = node.command("rabbitmq-plugins");
        run(command.args(arguments).env("RABBITMQ_ENABLED_PLUGINS_FILE", &file))
    };
    std::fs::write(&file, "[rabbitmq_management].").expect("a file");
    assert_eq!(plugins(&["is_enabled", "rabbitmq_stream"]).status, 69);
    assert_eq!(plugins(&["enable", "rabbitmq_stream", "--offline"]).status, 0);
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "[rabbitmq_management,rabbitmq_stream].\n");
    let enabled = plugins(&["is_enabled", "rabbitmq_stream"]);
    assert!(
        enabled.out.contains("Plugin rabbitmq_stream is enabled on node rabbit@localhost"),
        "{}",
        enabled.out
    );
    assert_eq!(plugins(&["disable", "rabbitmq_stream"]).status, 0);
    assert_eq!(plugins(&["list", "-m", "-e"]).out.lines().last(), Some("rabbitmq_management"));
    // Nowhere to write to is no reason to fail a script.
    let mut command = node.command("rabbitmq-plugins");
    let missing = node.folder.0.join("missing/enabled_plugins");
    let kept = run(command.args(["enable", "rabbitmq_top"]).env("RABBITMQ_ENABLED_PLUGINS_FILE", missing));
    assert_eq!(kept.status, 0);
    assert!(kept.err.contains("is not kept"), "{}", kept.err);
}

#[test]
fn a_node_ends_and_takes_its_socket_along() {
    let mut node = Node::start("end");
    let socket = node.folder.0.join("data/control.sock");
    let waiting = node.tool("rabbitmqctl", &["wait", "--pid", &node.pid().to_string(), "--timeout", "10"]);
    assert_eq!(waiting.status, 0);
    assert!(socket.exists());
    let end = node.tool("rabbitmqctl", &["shutdown"]);
    assert_eq!(end.status, 0, "{}", end.err);
    assert!(end.out.trim_end().ends_with("successfully shut down"), "{}", end.out);
    assert_eq!(node.exit_status(), 0);
    assert!(!socket.exists());
    assert_eq!(node.tool("rabbitmqctl", &["status"]).status, 69);
    let gone = node.tool("rabbitmqctl", &["wait", "--pid", &i32::MAX.to_string()]);
    assert_eq!((gone.status, &*gone.err), (69, "Error:\nprocess_not_running\n"));
    assert_eq!(node.tool("rabbitmqctl", &["stop"]).status, 69);
    assert_eq!(node.tool("rabbitmqctl", &["stop", "--idempotent"]).status, 0);
}
