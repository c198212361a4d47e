//! A server, tools that talk to it, and clients of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A folder of its own that goes with the test.
pub struct TempFolder(pub PathBuf);

impl TempFolder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leveret-ctl-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command has done.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    pub status: i32,
    pub out: String,
    pub err: String,
}

pub fn run(command: &mut Command) -> Done {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    Done {
        status: output.status.code().expect("an exit, not a signal"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Tries something for some time.
pub fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "it does not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A process that ends with the test, however that ends.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Node {
    child: Child,
    pub port: u16,
    pub http: u16,
    pub folder: TempFolder,
}

impl Node {
    pub fn start(name: &str) -> Self {
        Self::start_with(name, |_| ())
    }

    /// The same with other flags or variables.
    pub fn start_with(name: &str, change: impl FnOnce(&mut Command)) -> Self {
        let folder = TempFolder::new(name);
        let mut server = Command::new(env!("CARGO_BIN_EXE_leveret"));
        server.args(["server", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
        server.args(["--metrics-listen", "none", "--data-dir"]);
        server.arg(folder.0.join("data")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        change(&mut server);
        let mut child = server.spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (mut port, mut http) = (None, None);
        for line in lines.by_ref() {
            let line = line.expect("text");
            if let Some(address) = line.strip_prefix("AMQP on 127.0.0.1:") {
                port = Some(address.parse().expect("a port"));
            }
            if let Some(address) = line.strip_prefix("HTTP API on 127.0.0.1:") {
                http = Some(address.parse().expect("a port"));
            }
            if line.starts_with("ready") {
                break;
            }
        }
        // What it says later is read by nobody, which it does not mind.
        drop(lines);
        let (port, http) = (port.expect("it says where it listens"), http.expect("and the API"));
        Self { child, port, http, folder }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A tool by its name, which is a link to the one binary.
    pub fn command(&self, tool: &str) -> Command {
        let link = self.folder.0.join(tool);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_leveret"), &link).expect("a link");
        }
        let mut command = Command::new(link);
        command.env("LEVERET_SOCKET", self.folder.0.join("data/control.sock"));
        command
    }

    pub fn tool(&self, tool: &str, arguments: &[&str]) -> Done {
        run(self.command(tool).args(arguments))
    }

    pub fn leveret(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        let socket = self.folder.0.join("data/control.sock");
        run(command.args(arguments).env_remove("LEVERET_SOCKET").arg("--socket").arg(socket))
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    pub fn exit_status(&mut self) -> i32 {
        let mut status = None;
        until(|| {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.and_then(|status| status.code()).expect("an exit, not a signal")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that has opened a connection and a channel, and reads what it is sent.
pub struct Client {
    socket: TcpStream,
    pub channel_max: u16,
}

fn short(text: &str) -> Vec<u8> {
    let mut octets = vec![u8::try_from(text.len()).expect("short")];
    octets.extend(text.as_bytes());
    octets
}

impl Client {
    fn connect(port: u16) -> Self {
        Self::connect_as(port, "guest", "guest")
    }

    /// Opens the vhost `/`.
    pub fn connect_as(port: u16, user: &str, password: &str) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut client = Self { socket, channel_max: 0 };
        client.socket.write_all(b"AMQP\0\0\x09\x01").expect("a socket");
        client.expect(10, 10);
        // With the capability of being told when it is blocked: {"capabilities": {"connection.blocked": true}}.
        let blocked = [&short("connection.blocked")[..], b"t\x01"].concat();
        let table = |content: &[u8]| {
            [&u32::try_from(content.len()).expect("short").to_be_bytes()[..], content].concat()
        };
        let properties = table(&[&short("capabilities")[..], b"F", &table(&blocked)].concat());
        let response = table(format!("\0{user}\0{password}").as_bytes());
        let start_ok = [&properties[..], &short("PLAIN"), &response, &short("en_US")].concat();
        client.send(0, 10, 11, &start_ok);
        let tune = client.expect(10, 30);
        client.channel_max = u16::from_be_bytes([tune[0], tune[1]]);
        client.send(0, 10, 31, &tune);
        client.send(0, 10, 40, &[&short("/")[..], &short(""), &[0]].concat());
        client.expect(10, 41);
        client.send(1, 20, 10, &short(""));
        client.expect(20, 11);
        client
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().expect("connected").port()
    }

    fn send(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) {
        let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat();
        self.frame(1, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let frame = [&[kind][..], &channel.to_be_bytes(), &size, payload, &[0xCE]].concat();
        self.socket.write_all(&frame).expect("a socket");
    }

    /// The next method, which has to be this one; its arguments.
    fn expect(&mut self, class: u16, method: u16) -> Vec<u8> {
        loop {
            let mut head = [0; 7];
            self.socket.read_exact(&mut head).expect("a frame");
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let mut payload = vec![0; size + 1];
            self.socket.read_exact(&mut payload).expect("a frame");
            if head[0] != 1 {
                continue;
            }
            let came = [payload[0], payload[1], payload[2], payload[3]];
            let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
            assert_eq!(came[..], wanted[..], "another method");
            return payload[4..size].to_vec();
        }
    }

    /// Declares an exclusive queue, and consumes it exclusively.
    pub fn has_for_itself(&mut self, queue: &str) {
        let declare = [&[0, 0][..], &short(queue), &[0b100], &[0; 4]].concat();
        self.send(1, 50, 10, &declare);
        self.expect(50, 11);
        self.send(1, 60, 20, &[&[0, 0][..], &short(queue), &short("mine"), &[0b100], &[0; 4]].concat());
        self.expect(60, 21);
    }

    /// Consumes a stream as a member of a group.
    pub fn joins(&mut self, stream: &str, group: &str, tag: &str) {
        self.send(1, 60, 10, &[0, 0, 0, 0, 0, 10, 0]);
        self.expect(60, 11);
        let group =
            [&u32::try_from(group.len()).expect("short").to_be_bytes()[..], group.as_bytes()].concat();
        let field = [&short("x-stream-group")[..], b"S", &group].concat();
        let arguments = [&u32::try_from(field.len()).expect("short").to_be_bytes()[..], &field].concat();
        self.send(1, 60, 20, &[&[0, 0][..], &short(stream), &short(tag), &[0], &arguments].concat());
        self.expect(60, 21);
    }

    /// Publishes an empty message to nobody.
    pub fn publish(&mut self) {
        self.send(1, 60, 40, &[&[0, 0][..], &short(""), &short("nobody"), &[0]].concat());
        self.frame(2, 1, &[&60_u16.to_be_bytes()[..], &[0; 12]].concat());
    }

    /// Waits until it is told why it is blocked.
    pub fn blocked(&mut self) -> String {
        let arguments = self.expect(10, 60);
        String::from_utf8(arguments[1..].to_vec()).expect("text")
    }

    /// Waits until it is told why the connection is closed, and agrees.
    pub fn closed(&mut self) -> (u16, String) {
        let arguments = self.expect(10, 50);
        self.send(0, 10, 51, &[]);
        let length = usize::from(arguments[2]);
        let text = String::from_utf8(arguments[3..3 + length].to_vec()).expect("text");
        (u16::from_be_bytes([arguments[0], arguments[1]]), text)
    }

    /// Whether the connection still answers.
    pub fn is_open(&mut self) -> bool {
        self.send(1, 60, 10, &[0, 0, 0, 0, 0, 0, 0]);
        self.expect(60, 11);
        true
    }
}
