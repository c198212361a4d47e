//! Where the node's control socket is.

use std::env;
use std::path::{Path, PathBuf};

use super::line::Line;
use crate::cli::http::{Client, HttpError};
use crate::config;
use crate::config::settings::Place;
use crate::http::socket::{SOCKET, folder_without_data};

/// Where packages and images have it.
const SYSTEM_FOLDER: &str = "/var/lib/rabbitmq";

/// A socket that has been tried in vain, and why.
pub type Tried = (PathBuf, String);

/// What a server that is started here would take for its place: by the same flags, variables and files. A file that it
/// would refuse is passed over.
pub fn place() -> Place {
    config::files::configuration(None, Vec::new()).map(|found| found.settings.place).unwrap_or_default()
}

/// A socket that may be a node's.
struct Candidate {
    path: PathBuf,
    /// Whether anybody may serve it: somebody has chosen the place. In the current folder, and among temporary files,
    /// a stranger might have left one.
    by_anybody: bool,
}

/// The places to look in, the likeliest first. Where one is named, no other counts.
fn places(line: &Line) -> Vec<Candidate> {
    let chosen = |path: PathBuf| Candidate { path, by_anybody: true };
    let socket = || env::var_os("LEVERET_SOCKET").filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(socket) = line.text("socket").map(PathBuf::from).or_else(socket) {
        return vec![chosen(socket)];
    }
    if let Some(folder) = line.text("data-dir") {
        return vec![chosen(Path::new(folder).join(SOCKET))];
    }
    let data_dir = place().data_dir;
    let is_chosen = data_dir.is_absolute();
    vec![
        Candidate { path: data_dir.join(SOCKET), by_anybody: is_chosen },
        chosen(Path::new(SYSTEM_FOLDER).join(SOCKET)),
        Candidate { path: folder_without_data().join(SOCKET), by_anybody: false },
    ]
}

/// The folder of a node: where its socket would be, or might be made.
pub fn folder(line: &Line) -> PathBuf {
    let folders = places(line).into_iter().filter_map(|socket| socket.path.parent().map(Path::to_owned));
    folders.into_iter().find(|folder| folder.is_dir()).unwrap_or_else(folder_without_data)
}

/// Connects to the node.
pub fn connect(line: &Line) -> Result<Client, Vec<Tried>> {
    let mut tried = Vec::new();
    for Candidate { path: socket, by_anybody } in places(line) {
        match Client::over_socket(&socket, by_anybody) {
            Ok(client) => return Ok(client),
            Err(e) => {
                let why = match e {
                    HttpError::Connect(e) => e.to_string(),
                    other => other.to_string(),
                };
                let shown = std::path::absolute(&socket).unwrap_or(socket);
                tried.push((shown, why));
            }
        }
    }
    Err(tried)
}
