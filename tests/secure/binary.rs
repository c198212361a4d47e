//! The binary with the flags for all this.

use std::io::{BufRead as _, BufReader};
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
