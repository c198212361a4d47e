//! Sockets in the file system, for clients on this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, chmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::net::{UnixListener, UnixStream};

use crate::node::ends::Ends;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket in the file system, whose file goes with it.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    /// The file's number, so that nobody else's is removed.
    inode: u64,
    count: AtomicU32,
}

impl LocalListener {
    /// Listens at a path. What a process has left there that ended without a word is taken away; a socket that somebody
    /// listens on, and any other file, is an error. `mode` says who may connect, as file permissions do.
    pub fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        remove_stale(path)?;
        let listener = listen_at(path, mode)?;
        let inode = path.symlink_metadata()?.ino();
        Ok(Self { listener, path: path.to_owned(), inode, count: AtomicU32::new(0) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<(UnixStream, Ends)> {
        let (socket, _) = self.listener.accept().await?;
        Ok((socket, made_up(self.count.fetch_add(1, Ordering::Relaxed))))
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|file| file.ino() == self.inode)
            && let Err(e) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {e}", self.path.display());
        }
    }
}

/// A socket in a file that nobody else has, and that nobody can connect to before it has its mode.
pub(crate) fn listen_at(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    chmod(path, Mode::from_raw_mode(mode))?;
    listen(&socket, BACKLOG)?;
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Addresses for a connection that has none, since everything else shows some: those of this machine, with a port for
/// each connection.
fn made_up(number: u32) -> Ends {
    let [high, low, ..] = number.to_be_bytes();
    let port = (number & 0xffff) as u16;
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Ends::new((Ipv4Addr::new(127, high, low, 1), port).into(), local)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(e) => Err(e),
        Ok(_) => Err(io::Error::from(io::ErrorKind::AddrInUse)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("leveret-unix-{name}-{}", std::process::id()))
    }

    #[tokio::test]
    async fn what_is_left_there_is_taken_away_and_nothing_else() {
        let path = path("stale");
        // A process that ended without a word leaves its file.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let listener = LocalListener::bind(&path, 0o600).expect("bound again");
        assert_eq!(path.symlink_metadata().expect("a file").mode() & 0o777, 0o600);
        let second = LocalListener::bind(&path, 0o600).expect_err("somebody listens");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists(), "the file goes with the socket");
        std::fs::write(&path, "precious").expect("written");
        assert_eq!(
            LocalListener::bind(&path, 0o600).expect_err("a file").kind(),
            io::ErrorKind::AlreadyExists
        );
        std::fs::remove_file(&path).expect("still there");
    }

    #[tokio::test]
    async fn another_socket_at_the_same_path_stays() {
        let path = path("other");
        let first = LocalListener::bind(&path, 0o600).expect("bound");
        let keep = path.with_extension("moved");
        std::fs::rename(&path, &keep).expect("moved");
        let second = LocalListener::bind(&path, 0o600).expect("bound");
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
        std::fs::remove_file(keep).expect("removed");
    }

    #[test]
    fn no_two_connections_look_the_same() {
        let ends: Vec<_> = [0, 1, 0xffff, 0x1_0000, u32::MAX].map(|n| made_up(n).peer.to_string()).into();
        assert_eq!(
            ends,
            ["127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:65535", "127.0.1.1:0", "127.255.255.1:65535"]
        );
        assert!(ends.iter().all(|peer| peer.parse::<SocketAddr>().expect("an address").ip().is_loopback()));
    }
}
