//! The binary with the flags for all this.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustls::version::TLS13;

use super::*;
use crate::certificates::{Authority, Folder, shown};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(folder: &Folder, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let words =
        ["server", "--in-memory", "--listen", "none", "--http-listen", "none", "--tls-listen", "127.0.0.1:0"];
    command
        .args(words)
        .args(["--metrics-listen", "none"])
        .args(more)
        .current_dir(&folder.0)
        .env("HOME", &folder.0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn flags_and_reload() {
    let (authority, folder) = (Authority::new(), Folder::new());
    authority.server(&folder);
    let flags =
        ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--tls-ca", "ca.pem", "--unix-listen", "a.sock"];
    let mut child = Running(command(&folder, &flags).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("ready")).collect();
    let address = said.iter().find_map(|line| line.strip_prefix("AMQP over TLS on ")).expect("an address");
    let address: SocketAddr = address.parse().unwrap();
    assert!(said.contains(&"AMQP on a.sock".to_owned()), "{said:?}");
    // What Testcontainers' module for Go waits for.
    let waited_for = format!("started TLS (SSL) listener on {address}");
    assert!(said.iter().any(|line| line.ends_with(&waited_for)), "{said:?}");
    assert!(folder.0.join("a.sock").exists());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = authority.trusted(None, &[&TLS13]);
    let tunnel = runtime.block_on(certificates::tunnel(address, config.clone(), Vec::new()));
    let mut client = Client::open(tunnel);
    try_out(&mut client);
    let before = runtime.block_on(shown(address, config.clone()));
    authority.server(&folder);
    let status = Command::new("kill").args(["-HUP", &child.0.id().to_string()]).status().unwrap();
    assert!(status.success());
    let end = Instant::now() + PATIENCE;
    while runtime.block_on(shown(address, config.clone())) == before {
        assert!(Instant::now() < end, "the certificate stays as it was");
        std::thread::sleep(Duration::from_millis(20));
    }
    client.all_ok(1, &["queue.declare queue=q"]);
}

#[test]
fn errors_are_one_line() {
    let folder = Folder::new();
    for (flags, wanted) in [
        (&[][..], "leveret: ssl_options: TLS needs a certificate (certfile)\n"),
        (
            &["--tls-cert", "none.pem", "--tls-key", "none.pem"],
            "leveret: ssl_options: cannot read the certificate file none.pem: No such file or directory (os error 2)\n",
        ),
    ] {
        let output = command(&folder, flags).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), wanted);
        assert_eq!(output.status.code(), Some(1));
    }
}

/// The status of a reply, and its body.
fn get(address: SocketAddr, path: &str, authorization: &str) -> (String, String) {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn metrics_as_a_file_sets_them() {
    let (authority, folder) = (Authority::new(), Folder::new());
    authority.server(&folder);
    let settings = "listeners.tcp = none\nleveret.http_listen = none\n\
        prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = 0\n\
        prometheus.ssl.ip = 127.0.0.1\nprometheus.ssl.port = 0\n\
        prometheus.ssl.certfile = cert.pem\nprometheus.ssl.keyfile = key.pem\n\
        prometheus.path = /own\nprometheus.return_per_object_metrics = true\n\
        prometheus.authentication.enabled = true\n";
    std::fs::write(folder.0.join("rabbitmq.conf"), settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["server", "--in-memory", "--config", "rabbitmq.conf"]).current_dir(&folder.0);
    command.env("HOME", &folder.0).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Running(command.spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("ready")).collect();
    let address = |words: &str| -> SocketAddr {
        let address = said.iter().find_map(|line| line.strip_prefix(words)).expect("an address");
        address.parse().unwrap()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = authority.trusted(None, &[&TLS13]);
    let secure = runtime.block_on(certificates::tunnel(address("Metrics over TLS on "), config, Vec::new()));
    for address in [address("Metrics on "), secure] {
        let status = |path: &str, authorization: &str| get(address, path, authorization).0;
        let guest = "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
        assert_eq!(["/own", "/metrics"].map(|path| status(path, guest)), ["200", "404"]);
        assert_eq!(status("/own", ""), "401");
        let text = get(address, "/own", guest).1;
        assert!(text.contains("rabbitmq_endpoint=\"per-object\"} 1\n"), "{text}");
    }
}
