//! Definitions that are at an address of `https:`.

use std::process::{Child, Command, Output, Stdio};

use leveret::net::tls::TlsSettings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::certificates::{Authority, Folder};

const DEFINITIONS: &str = r#"{"vhosts":[{"name":"fetched"}]}"#;

/// Serves the definitions over TLS, and says at `/moved` that they are elsewhere.
async fn serve(listener: TcpListener, tls: Tls) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(mut socket) = tls.accept(socket).await else { continue };
        let mut head = vec![0; 4096];
        let size = socket.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..size]);
        let reply = if head.starts_with("GET /moved ") {
            "HTTP/1.1 302 Found\r\nLocation: /definitions\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else if head.starts_with("GET /definitions ")
            && head.contains("\r\nauthorization: Basic bWU6cHc=\r\n")
        {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{DEFINITIONS}", DEFINITIONS.len())
        } else if head.starts_with("GET /definitions ") {
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{DEFINITIONS}\r\n0\r\n\r\n",
                DEFINITIONS.len()
            )
        } else {
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()
        };
        let _ = socket.write_all(reply.as_bytes()).await;
        let _ = socket.shutdown().await;
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(url: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let words = ["server", "--in-memory", "--listen", "127.0.0.1:0", "--http-listen", "none"];
    command.args(words).args(["--metrics-listen", "none", "--set", "definitions.import_backend=https"]);
    command.args(["--set", &format!("definitions.https.url={url}")]);
    command.args(more.iter().flat_map(|setting| ["--set", setting]));
    command.env_remove("SSL_CERT_FILE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn starts_with_them(url: &str, more: &[&str]) {
    use std::io::{BufRead as _, BufReader};
    let mut child = Running(command(url, more).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("ready")).collect();
    assert!(said.iter().any(|line| line.contains("imported definitions: 1 vhosts")), "{url}: {said:?}");
    assert!(!said.iter().any(|line| line.contains("me:pw")), "a password: {said:?}");
}

fn fails(url: &str, more: &[&str]) -> String {
    let Output { status, stderr, .. } = command(url, more).output().unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

#[test]
fn definitions_come_from_elsewhere() {
    let (authority, folder) = (Authority::new(), Folder::new());
    authority.server(&folder);
    let file = |name: &str| folder.0.join(name);
    let settings = TlsSettings {
        certfile: Some(file("cert.pem")),
        keyfile: Some(file("key.pem")),
        ..TlsSettings::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(serve(listener, Tls::new(settings).unwrap()));
    let trusts = format!("definitions.tls.cacertfile={}", file("ca.pem").display());
    let at = |path: &str| format!("https://localhost:{port}{path}");

    starts_with_them(&at("/definitions"), &[&trusts]);
    starts_with_them(&at("/moved"), &[&trusts]);
    starts_with_them(&at("/definitions"), &["definitions.tls.verify=verify_none"]);
    starts_with_them(&format!("https://me:pw@localhost:{port}/definitions"), &[&trusts]);
    assert_eq!(
        fails(&at("/nowhere"), &[&trusts]),
        format!(
            "leveret: cannot get definitions from {}: URL request failed with response code 404\n",
            at("/nowhere")
        )
    );
    // An authority that nobody trusts, and a name that is not the certificate's.
    let stranger = Folder::new();
    Authority::new().server(&stranger);
    let other = format!("definitions.tls.cacertfile={}", stranger.0.join("ca.pem").display());
    assert!(fails(&at("/definitions"), &[&other]).contains("invalid peer certificate"));
    let nobody = fails("https://127.0.0.1:1/x", &[&trusts]);
    assert!(nobody.contains("Connection refused"), "{nobody}");
}
