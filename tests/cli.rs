//! The binary as somebody starts and stops it.
#![allow(clippy::expect_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    command.args(["server", "--listen", listen, "--http-listen", "none", "--data-dir"]).arg(folder);
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
fn a_folder_serves_one_instance() {
    let folder = TempFolder::new("lock");
    let mut first = Running::start(&folder.0);
    let line = refusal(&mut server("127.0.0.1:0", &folder.0));
    assert!(line.contains("is in use by another instance"), "{line}");
    first.terminate();
    assert_eq!(first.exit_status(), 0);
    // And then another one.
    Running::start(&folder.0).terminate();
}

#[test]
fn sigterm_closes_connections_and_exits_with_0() {
    let folder = TempFolder::new("term");
    let mut running = Running::start(&folder.0);
    let mut client = TcpStream::connect(("127.0.0.1", running.port)).expect("connected");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    client.write_all(b"AMQP\0\0\x09\x01").expect("sent");
    let mut start = [0; 12];
    client.read_exact(&mut start).expect("connection.start");
    assert_eq!((start[0], &start[7..11]), (1, &[0, 10, 0, 10][..]));
    running.terminate();
    assert_eq!(running.exit_status(), 0);
}

#[test]
fn an_address_that_is_none_is_refused_with_what_is_allowed() {
    let output = server("localhost", Path::new("/nowhere")).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("is not ADDR:PORT"), "{text}");
}
