//! The binary, started on a data folder and ended in one way or another.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a start or an end may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes with the test, unless the test fails.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-crash-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the data folder is kept: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A server that has said where it listens.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Option<JoinHandle<String>>,
}

fn spawn(folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["server", "--listen", "127.0.0.1:0", "--http-listen", "none", "--metrics-listen", "none"]);
    // Nobody reads its standard output after the beginning.
    command.args(["--set", "log.console.stdio=stderr"]).arg("--data-dir").arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the server starts")
}

/// Starts a server and kills it so soon that it may not have got far.
pub fn false_start(folder: &Path, life: Duration) {
    let mut child = spawn(folder);
    thread::sleep(life);
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
}

fn read_all(mut stderr: ChildStderr) -> String {
    let mut octets = Vec::new();
    let _ = stderr.read_to_end(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

/// The end of what a server has said, without what it says of each connection.
pub fn tail(log: &str) -> String {
    let of_interest = |line: &&str| !line.contains("connection");
    let lines: Vec<_> = log.lines().filter(of_interest).collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

impl Server {
    pub fn start(folder: &Path) -> Self {
        let mut child = spawn(folder);
        let stderr = child.stderr.take().expect("piped");
        let log = thread::spawn(move || read_all(stderr));
        let mut address = None;
        for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            if let Some(found) = line.strip_prefix("AMQP on ") {
                address = Some(found.parse().expect("an address"));
            }
            if line.starts_with("ready") {
                break;
            }
        }
        let Some(address) = address else {
            let _ = child.wait();
            panic!("the server does not start:\n{}", log.join().expect("it reads"));
        };
        Self { child, address, log: Some(log) }
    }

    /// kill -9. Returns what it has said on standard error.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
        self.log()
    }

    /// SIGTERM, and a clean end.
    pub fn stop(mut self) -> String {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(status.success());
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(Instant::now() < end, "the server does not stop");
            thread::sleep(Duration::from_millis(5));
        };
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    fn log(&mut self) -> String {
        self.log.take().map(|log| log.join().expect("it reads")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() && self.log.is_some() {
            eprintln!("the server said:\n{}", tail(&self.log()));
        }
    }
}
