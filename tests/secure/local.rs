//! Sockets in the file system.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::certificates::Folder;

/// A port that leads to a socket in the file system.
async fn bridge(path: std::path::PathBuf) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::UnixStream::connect(&path).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    address
}

#[test]
fn clients_of_a_socket_in_the_file_system() {
    let (broker, folder) = (Broker::start(), Folder::new());
    let path = folder.0.join("amqp.sock");
    let listener = broker.block_on(async { listener::bind_unix(&path, 0o660) }).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    broker.spawn(listener::accept_by(listener, Approach::default(), Arc::clone(&broker.node)));
    let address = broker.block_on(bridge(path.clone()));
    // They are on this machine, so that guest may come in, and each has a name of its own.
    let (mut one, two) = (Client::open(address), Client::open(address));
    let names: Vec<_> = broker.node.connections.all().iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["127.0.0.1:0 -> 127.0.0.1:0", "127.0.0.1:1 -> 127.0.0.1:0"]);
    try_out(&mut one);
    two.close();
    one.close();
    until_all_gone(&broker);
    broker.node.shut_down();
    let end = Instant::now() + PATIENCE;
    while path.exists() {
        assert!(Instant::now() < end, "the file goes with the node");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_error_names_the_path() {
    let (broker, folder) = (Broker::start(), Folder::new());
    let path = folder.put("file", "precious");
    let error = broker.block_on(async { listener::bind_unix(&path, 0o660) }).expect_err("no socket");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}: there is a file that is no socket", path.display())
    );
}
