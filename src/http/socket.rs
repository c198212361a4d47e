//! The control socket: the whole API for whoever may open it, without a password.
//!
//! RabbitMQ's tools trust whoever can read the node's cookie file; here the right to open a socket in the data folder
//! says the same. It exists with mode 0600 from its first moment on.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::net::unix::listen_at;

/// The name of the socket in a node's folder.
pub const SOCKET: &str = "control.sock";
/// The same before others may see it.
const NEW_SOCKET: &str = "control.sock.new";

/// A socket that goes with this value.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the socket in a folder. One that a node has left behind is replaced; one that a node serves is left to it.
    pub fn open(folder: &Path) -> io::Result<(Self, UnixListener)> {
        // Named by a file descriptor, since a socket's path may have 107 octets only.
        let handle = File::open(folder)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        if Probe::connect(short.join(SOCKET)).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another node serves it"));
        }
        let new = short.join(NEW_SOCKET);
        match fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = listen_at(&new, 0o600)?;
        fs::rename(&new, short.join(SOCKET))?;
        Ok((Self { path: folder.join(SOCKET) }, listener))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::debug!("the control socket stays: {e}");
        }
    }
}

/// Where the socket of a node without a data folder is: a folder of this user's, in `XDG_RUNTIME_DIR` where there is
/// one.
pub fn folder_without_data() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("leveret"),
        _ => std::env::temp_dir().join(format!("leveret-{}", rustix::process::getuid().as_raw())),
    }
}

/// Makes that folder, or takes it if it is this user's alone.
pub fn make_folder_without_data() -> io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let folder = folder_without_data();
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let about = fs::symlink_metadata(&folder)?;
    let ours =
        about.is_dir() && about.uid() == rustix::process::getuid().as_raw() && about.mode() & 0o022 == 0;
    if ours {
        return Ok(folder);
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is somebody else's", folder.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_goes_with_its_node() {
        let folder = std::env::temp_dir().join(format!("leveret-socket-{}", std::process::id()));
        // Longer than the path of a socket may be.
        let deep = folder.join("x".repeat(120));
        fs::create_dir_all(&deep).expect("a folder");
        fs::write(deep.join(NEW_SOCKET), "left by a node that was killed").expect("a file");
        let (socket, listener) = ControlSocket::open(&deep).expect("a socket");
        let mode = fs::metadata(socket.path()).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = ControlSocket::open(&deep).expect_err("it is in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let (again, _listener) = ControlSocket::open(&deep).expect("it is not in use any more");
        let path = again.path().to_owned();
        drop(again);
        assert!(!path.exists());
        fs::remove_dir_all(folder).expect("it can be removed");
    }
}
