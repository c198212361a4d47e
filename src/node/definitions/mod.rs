//! Definitions: all that people have declared and set, as one JSON file, in RabbitMQ's format (3.x and 4.x).
//!
//! - this file: exporting and importing, for whoever asks
//! - [`export`][]: what there is, as a file
//! - [`import`][]: what a file says, in the order in which it can be
//! - [`item`][]: one object of a file
//! - [`people`][], [`things`][], [`settings`][]: users and permissions; vhosts, exchanges, queues and bindings; policies
//!   and parameters
//!
//! The HTTP API (`/api/definitions`), the configuration (`load_definitions`) and the command line all come here:
//!
//! - [`Node::export_definitions`] gives the octets of a file;
//! - [`Node::import_definitions`] takes them, [`Node::load_definitions`] reads them from a file or a folder first.
//!
//! All of these take as long as there is to do (they hash passwords, compile patterns, and give policies to everything
//! there is), so they are to be called where nobody waits: on a thread for that (`spawn_blocking`), or before the node
//! serves anybody. Who asks is told to [`acting_as`](super::events::acting_as) around the call. What has been imported is
//! in force at once, and on disk when [`Node::kept`] says so. A file that a node was given is imported in addition to what
//! there is: nothing is ever removed, exchanges, queues and bindings that are there stay as they are, everything else is
//! set anew. To import a file twice is to import it once.
//!
//! A file whose parts have the wrong shape is refused before anything is done. Beyond that everything is tried, object by
//! object; a category with an object that is refused ends the import, and the error says why, and how much of each
//! category has been done before.

mod export;
mod import;
mod item;
mod people;
mod settings;
mod things;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Node;
use super::changes::NotKept;

/// What a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The whole node.
    Node,
    /// What is in one vhost. Vhosts that are named within the file count for nothing.
    Vhost(&'a str),
}

/// How many objects of each category have been imported, whether or not they were there already; those that were passed
/// over do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported(pub BTreeMap<&'static str, usize>);

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.iter().filter(|(_, count)| **count > 0);
        let all: Vec<_> = all.map(|(category, count)| format!("{count} {category}")).collect();
        f.write_str(&if all.is_empty() { "nothing".to_owned() } else { all.join(", ") })
    }
}

/// Why a file has not been imported to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("failed_to_parse_json")]
    NotJson,
    #[error("vhost_not_found")]
    NoVhost,
    /// In RabbitMQ's words. What has been imported before stays.
    #[error("{why}")]
    Refused { why: String, done: Imported },
}

/// Why definitions have not been loaded from a file or a folder.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read definitions from {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("cannot import definitions from {}: {why}", path.display())]
    Refused { path: PathBuf, why: ImportError },
}

impl Node {
    /// All definitions, or those in one vhost, as a file in JSON; `None` if there is no such vhost. What belongs to a
    /// connection (exclusive queues) or to the node (`amq.*` exchanges) is left out.
    pub fn export_definitions(&self, scope: Scope<'_>) -> Option<Vec<u8>> {
        match scope {
            Scope::Node => Some(export::of_node(self)),
            Scope::Vhost(name) => Some(export::of_vhost(self, &*self.vhost(name)?)),
        }
    }

    /// Imports a file in JSON. An empty one is as good as one that says nothing.
    pub fn import_definitions(&self, scope: Scope<'_>, file: &[u8]) -> Result<Imported, ImportError> {
        let imported = import::run(self, scope, file);
        match &imported {
            Ok(done) => tracing::info!("imported definitions: {done}"),
            Err(ImportError::Refused { why, done }) => {
                tracing::error!("definitions refused: {why}; imported before: {done}");
            }
            Err(why) => tracing::error!("definitions refused: {why}"),
        }
        imported
    }

    /// Imports a file, or all files of a folder whose names end in `.json`, by name.
    pub fn load_definitions(&self, path: &Path) -> Result<Imported, LoadError> {
        let mut all = Imported::default();
        for path in files(path)? {
            let file =
                std::fs::read(&path).map_err(|why| LoadError::Unreadable { path: path.clone(), why })?;
            let done = self.import_definitions(Scope::Node, &file);
            let done = done.map_err(|why| LoadError::Refused { path, why })?;
            for (category, count) in done.0 {
                *all.0.entry(category).or_default() += count;
            }
        }
        Ok(all)
    }

    /// Waits until everything that has been changed is on disk, on the node and in all vhosts.
    pub async fn kept(&self) -> Result<(), NotKept> {
        self.changes().kept().await?;
        for vhost in self.vhosts() {
            vhost.kept().await?;
        }
        Ok(())
    }
}

/// The files that a path means: itself, or all files of a folder whose names end in `.json`, by name.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let unreadable = |why| LoadError::Unreadable { path: path.to_owned(), why };
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
