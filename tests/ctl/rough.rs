//! Servers that do not answer as they should or are somebody else's, and readers that go away.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::node::{Done, Ended, Node, TempFolder, run, until};

/// What a tool does whose server is this one.
fn against(name: &str, serve: impl FnOnce(UnixListener) + Send + 'static, arguments: &[&str]) -> Done {
    let folder = TempFolder::new(name);
    let socket = folder.0.join("control.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || serve(listener));
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    run(command.args(arguments).arg("--socket").arg(&socket))
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    // Everything that connects waits.
    let silent = |listener: UnixListener| {
        let mut all = Vec::new();
        listener.incoming().for_each(|stream| all.push(stream));
    };
    let begin = Instant::now();
    let list = against("silent", silent, &["ctl", "list_users", "-t", "0.3"]);
    assert_eq!(
        (list.status, &*list.err),
        (75, "Error: operation timed out. Timeout value used: 300\n"),
        "{list:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(against("silent-ping", silent, &["diagnostics", "ping", "-t", "0.3"]).status, 69);
}

#[test]
fn a_server_that_is_no_node_is_told_apart() {
    let rubbish = |listener: UnixListener| {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(b"220 mail.example.com\r\n");
        }
    };
    let list = against("rubbish", rubbish, &["ctl", "list_users"]);
    assert_eq!(list.status, 69);
    assert!(list.err.starts_with("Error: the connection was lost"), "{}", list.err);
    let gone = |listener: UnixListener| listener.incoming().for_each(drop);
    assert_eq!(against("gone", gone, &["ctl", "list_users"]).status, 69);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let node = Node::start("reader");
    for arguments in [&["report"][..], &["list_exchanges"], &["status"]] {
        let mut tool = node.command("rabbitmqctl");
        let mut child =
            tool.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let done = child.wait_with_output().expect("it ends");
        assert_eq!((done.status.code(), done.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
    // What cannot be written is one.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let status = node.command("rabbitmqctl").arg("list_users").stdout(full).status().expect("it runs");
    assert_eq!(status.code(), Some(70));
}

/// A stranger may have left a socket in a folder that somebody works in: what is said to it might be a password.
#[test]
fn a_strangers_node_is_found_only_where_it_is_named() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::getuid().is_root() {
        return;
    }
    let folder = TempFolder::new("stranger");
    let (data, binary) = (folder.0.join("leveret-data"), folder.0.join("leveret"));
    std::fs::create_dir(&data).expect("a folder");
    std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY)).expect("root may");
    // Where the original is only root may look.
    std::fs::copy(env!("CARGO_BIN_EXE_leveret"), &binary).expect("it fits");
    let mut server = Command::new(&binary);
    server.args([
        "server",
        "--listen",
        "none",
        "--http-listen",
        "none",
        "--metrics-listen",
        "none",
        "--data-dir",
    ]);
    server.arg(&data).uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Ended(server.spawn().expect("it starts"));
    let socket = data.join("control.sock");
    until(|| socket.exists());
    let mut command = Command::new(&binary);
    command
        .args(["ctl", "ping"])
        .current_dir(&folder.0)
        .env_remove("LEVERET_SOCKET")
        .env("XDG_RUNTIME_DIR", &folder.0);
    let found = run(&mut command);
    let mut command = Command::new(&binary);
    command.args(["ctl", "list_users"]).current_dir(&folder.0).env_remove("LEVERET_SOCKET");
    let list = run(command.env("XDG_RUNTIME_DIR", &folder.0));
    let named = run(Command::new(&binary).args(["ctl", "ping", "--socket"]).arg(&socket));
    assert_eq!((found.status, named.status), (69, 0), "{found:?} {named:?}");
    let list = list.err;
    assert!(list.contains("it is served by the user 65534, and not by this one or root"), "{list}");
}
