//! A small file system in a mount namespace of its own, and servers on it. All of it goes with the test, however that
//! ends: the namespace lives as long as a process that waits for our end of a pipe.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common::wait_until;
use crate::publisher::Publisher;

/// A file system of a few MiB.
pub struct Small {
    holder: Child,
    folder: PathBuf,
}

impl Small {
    /// Mounts one, or says no where that is impossible.
    pub fn mount(name: &str, octets: u64) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("leveret-small-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$0\" && echo mounted && exec cat > /dev/null";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(&folder).arg(octets.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut small = Self { holder: command.spawn().ok()?, folder };
        let mut line = String::new();
        BufReader::new(small.holder.stdout.take()?).read_line(&mut line).ok()?;
        if line == "mounted\n" {
            return Some(small);
        }
        println!("skipped: nothing can be mounted here");
        None
    }

    /// Where we see the file system, from outside of its namespace.
    fn seen(&self) -> PathBuf {
        let inside = self.folder.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }

    /// Fills up all but so many octets with something else.
    pub fn fill(&self, but: u64) {
        let found = rustix::fs::statvfs(self.seen()).expect("a file system");
        let filler = vec![7; (found.f_bavail * found.f_frsize - but) as usize];
        std::fs::write(self.seen().join("filler"), filler).expect("there was room");
    }

    /// Removes what it was filled up with.
    pub fn make_room(&self) {
        std::fs::remove_file(self.seen().join("filler")).expect("it was there");
    }

    /// Starts a server whose data is on the file system.
    pub fn serve(&self, disk_free_limit: Option<u64>) -> Server {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.holder.id().to_string()).arg("-m").arg(env!("CARGO_BIN_EXE_leveret"));
        command.args([
            "server",
            "--listen",
            "127.0.0.1:0",
            "--http-listen",
            "none",
            "--metrics-listen",
            "none",
        ]);
        command.arg("--data-dir").arg(self.folder.join("data"));
        if let Some(limit) = disk_free_limit {
            command.arg("--disk-free-limit").arg(limit.to_string());
        }
        Server::start(command)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// A server that has said where it listens.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// One in a folder that may have so many files open, sockets included.
    pub fn with_files(folder: &Path, count: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$0\"; exec \"$@\""]).arg(count.to_string());
        command.arg(env!("CARGO_BIN_EXE_leveret"));
        command.args([
            "server",
            "--listen",
            "127.0.0.1:0",
            "--http-listen",
            "none",
            "--metrics-listen",
            "none",
        ]);
        command.arg("--data-dir").arg(folder);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.args(["--set", "log.console.stdio=stderr"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let said = Arc::new(Mutex::new(String::new()));
        let (mut stderr, ear) = (child.stderr.take().expect("piped"), Arc::clone(&said));
        thread::spawn(move || {
            let mut octets = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut octets) {
                ear.lock().unwrap().push_str(&String::from_utf8_lossy(&octets[..count]));
            }
        });
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
        let address = address.unwrap_or_else(|| panic!("no start: {}", said.lock().unwrap()));
        Self { child, address, said }
    }

    pub fn publisher(&self, queue: &str) -> Publisher {
        Publisher::new(self.address, queue)
    }

    pub fn client(&self) -> crate::common::client::Client {
        let mut client = crate::common::client::Client::open(self.address);
        client.open_channel(1);
        client
    }

    pub fn has_said(&self, words: &str) -> bool {
        self.said.lock().unwrap().contains(words)
    }

    pub fn until_said(&self, words: &str) {
        wait_until(
            || self.has_said(words),
            || format!("{words:?} is not said: {}", self.said.lock().unwrap()),
        );
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.said.lock().unwrap());
        }
    }
}
