//! The catalog: what outlives a restart beside messages. Vhosts, users, permissions, policies, durable exchanges,
//! queues and bindings, in an embedded transactional store (redb) of one file.
//!
//! What comes in are changes, as the node and its vhosts note them; what goes out is all of it, once, at the start.
//! A batch of changes is one transaction. Everything here may block, and nothing of it is called under a lock of a
//! vhost. This folder may not know messages, sessions or sockets.
//!
//! - [`definitions`][]: what is kept, and how it changes
//! - [`file`][]: the file and its head
//! - [`store`][]: making, opening, checking, changing a store
//! - [`tables`][]: a change as entries in tables
//! - [`load`][]: entries back into definitions

pub mod definitions;
mod file;
mod load;
mod store;
mod tables;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use parking_lot::Mutex;

pub use definitions::{
    About, Definitions, GlobalParameter, NodeChange, ParameterDefinition, PermissionDefinition,
    UserDefinition, VhostDefinition, VhostNumber,
};
use file::{InFolder, Place};
use store::Store;

/// Why the catalog cannot be used, or has not taken a change.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("cannot use the catalog {catalog}: {source}")]
    Io { catalog: String, source: io::Error },
    #[error("the catalog {catalog} is damaged: {what}")]
    Damaged { catalog: String, what: String },
    #[error("the catalog {catalog} has format version {found}, and this program knows version {known} only")]
    Version { catalog: String, found: u32, known: u32 },
}

impl CatalogError {
    /// Whether there is no space left on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    fn io(place: &dyn Place, source: io::Error) -> Self {
        match source.kind() {
            // The file is not as long as it says, or not redb's.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Self::damaged(place, &source.to_string())
            }
            _ => Self::Io { catalog: place.name(), source },
        }
    }

    fn damaged(place: &dyn Place, what: &str) -> Self {
        Self::Damaged { catalog: place.name(), what: what.to_owned() }
    }

    fn of(place: &dyn Place, error: redb::Error) -> Self {
        match error {
            redb::Error::Io(source) => Self::io(place, source),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Self::io(place, io::Error::other(error.to_string()))
            }
            other => Self::damaged(place, &other.to_string()),
        }
    }
}

/// The catalog of a node.
pub struct Catalog {
    place: Box<dyn Place>,
    state: Mutex<State>,
}

enum State {
    Open(Store),
    /// Given up after an error. It is opened again when it is needed, and, if a sync has failed, written anew: what
    /// the system then shows of the file need not be on disk, and syncing once more would not bring it there.
    GivenUp {
        anew: bool,
    },
}

impl State {
    /// The open store, opened again if that has to be.
    fn store(&mut self, place: &dyn Place) -> Result<&Store, CatalogError> {
        if let Self::GivenUp { anew } = *self {
            let gone = || CatalogError::io(place, io::ErrorKind::NotFound.into());
            // Should this fail, nobody knows what it has done to the file.
            *self = Self::GivenUp { anew: true };
            let store = Store::open(place)?.ok_or_else(gone)?;
            *self = Self::Open(if anew { store.written_anew(place)? } else { store });
        }
        match self {
            Self::Open(store) => Ok(store),
            Self::GivenUp { .. } => Err(CatalogError::io(place, io::ErrorKind::NotFound.into())),
        }
    }

    fn give_up(&mut self) {
        let before = std::mem::replace(self, Self::GivenUp { anew: true });
        *self = match before {
            Self::Open(store) => Self::GivenUp { anew: !store.give_up() },
            given_up => given_up,
        };
    }
}

impl Catalog {
    /// Opens the catalog in a file, which is made if it is not there. Only one may be open at a time; the lock of
    /// the data folder sees to that.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        Self::open_in(Box::new(InFolder::new(path)))
    }

    fn open_in(place: Box<dyn Place>) -> Result<Self, CatalogError> {
        let store = match Store::open(&*place)? {
            Some(store) => store,
            None => Store::create(&*place)?,
        };
        Ok(Self { place, state: Mutex::new(State::Open(store)) })
    }

    /// Everything there is.
    pub fn load(&self) -> Result<Definitions, CatalogError> {
        self.state.lock().store(&*self.place)?.load(&*self.place)
    }

    /// Makes changes durable, all of them or, with an error, perhaps none. After an error the same changes are to be
    /// given again, before or together with later ones; to do so twice is no different from once.
    pub fn apply(&self, changes: &[NodeChange]) -> Result<(), CatalogError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let applied = state.store(&*self.place)?.apply(&*self.place, changes);
        if applied.is_err() {
            state.give_up();
        }
        applied
    }
}
