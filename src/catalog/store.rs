//! One redb store: made, opened and checked, changed, given up.
//!
//! redb panics on some of what it finds in a damaged file, so that it is called only where that is caught. After an
//! error of the file it refuses to go on; what is to happen then is decided above.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Builder, Database, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use redb::{TableDefinition, TableError, Value, WriteTransaction};

use super::CatalogError;
use super::definitions::{Definitions, NodeChange};
use super::file::{BadHead, Place, Shared, VERSION};
use super::load;
use super::tables::{
    BINDINGS, EXCHANGES, GLOBAL_PARAMETERS, MARKS, META, PARAMETERS, PERMISSIONS, QUEUES, TOPIC_PERMISSIONS,
    USERS, VHOSTS, Writer,
};

/// Octets that redb may keep of the file in memory.
const CACHE: usize = 2 << 20;

/// An open store. Dropped without [`give_up`](Self::give_up) it is closed well.
pub struct Store {
    database: Option<Database>,
    file: Shared,
}

impl Store {
    /// Opens the store that is there, and checks all of it; `None` if there is none.
    pub fn open(place: &dyn Place) -> Result<Option<Self>, CatalogError> {
        let failed = |e| CatalogError::io(place, e);
        let Some(file) = place.open().map_err(failed)? else { return Ok(None) };
        let file = Shared::of(file).map_err(failed)?.map_err(|bad| match bad {
            BadHead::NoCatalog => CatalogError::damaged(place, "it does not begin as a catalog does"),
            BadHead::Version(found) => CatalogError::Version { catalog: place.name(), found, known: VERSION },
        })?;
        let store = guarded(place, || {
            let mut store = Self { database: None, file: file.clone() };
            store.database = Some(checked(&store.file)?);
            Ok(store)
        });
        if store.is_err() {
            file.freeze();
        }
        store.map(Some)
    }

    /// Makes an empty store.
    pub fn create(place: &dyn Place) -> Result<Self, CatalogError> {
        Self::make(place, |transaction| Ok(Writer::new(transaction).map(drop)?))
    }

    /// Writes all there is into a new file, and gives the old one up.
    pub fn written_anew(self, place: &dyn Place) -> Result<Self, CatalogError> {
        let old = guarded(place, || Ok(self.database()?.begin_read()?))?;
        self.file.freeze();
        Self::make(place, |new| {
            copy(META, &old, new)?;
            copy(VHOSTS, &old, new)?;
            copy(USERS, &old, new)?;
            copy(PERMISSIONS, &old, new)?;
            copy(EXCHANGES, &old, new)?;
            copy(QUEUES, &old, new)?;
            copy(BINDINGS, &old, new)?;
            copy(PARAMETERS, &old, new)?;
            copy(GLOBAL_PARAMETERS, &old, new)?;
            copy(MARKS, &old, new)?;
            copy(TOPIC_PERMISSIONS, &old, new)
        })
    }

    /// A store appears whole or not at all, and takes the place of the one there was.
    fn make(
        place: &dyn Place,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<Self, CatalogError> {
        let failed = |e| CatalogError::io(place, e);
        let file = Shared::begin(place.make().map_err(failed)?).map_err(failed)?;
        let store = guarded(place, || {
            let database = Some(builder().create_with_backend(file.clone())?);
            let store = Self { database, file: file.clone() };
            let transaction = store.database()?.begin_write()?;
            fill(&transaction)?;
            transaction.commit()?;
            Ok(store)
        });
        let in_place = store.and_then(|store| {
            file.finish().and_then(|()| place.replace()).map_err(failed)?;
            Ok(store)
        });
        if in_place.is_err() {
            file.freeze();
        }
        in_place
    }

    /// Makes changes: all of them, durably, or an error.
    pub fn apply(&self, place: &dyn Place, changes: &[NodeChange]) -> Result<(), CatalogError> {
        guarded(place, || {
            let transaction = self.database()?.begin_write()?;
            let mut writer = Writer::new(&transaction)?;
            changes.iter().try_for_each(|change| writer.apply(change))?;
            drop(writer);
            Ok(transaction.commit()?)
        })
    }

    pub fn load(&self, place: &dyn Place) -> Result<Definitions, CatalogError> {
        guarded(place, || load::read(&self.database()?.begin_read()?))
    }

    /// Closes it without another word to the file, and says whether the file has kept everything that was synced.
    pub fn give_up(self) -> bool {
        self.file.freeze();
        !self.file.sync_failed()
    }

    /// Writes what this version would not.
    #[cfg(test)]
    pub fn write_raw(&self, write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) {
        let transaction = self.database().expect("open").begin_write().expect("a transaction");
        write(&transaction).expect("room");
        transaction.commit().expect("room");
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::error!(
                "the catalog could not be closed well; it will be checked when it is opened next"
            );
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// Opens a file's store, and compares every page with its checksum. redb does so itself, to mend what a crash has
/// left, but not where it was closed well.
fn checked(file: &Shared) -> Result<Database, redb::Error> {
    let mended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&mended);
    let mut builder = builder();
    builder.set_repair_callback(move |_| flag.store(true, Ordering::Relaxed));
    let mut database = builder.create_with_backend(file.clone())?;
    if mended.load(Ordering::Relaxed) {
        return Ok(database);
    }
    // A kill while it was being opened or closed can leave the list of free pages behind what it should be, which redb
    // notices only now, and mends. What it mends by going back to an earlier state was damaged.
    let before = load::read(&database.begin_read()?)?;
    if !database.check_integrity()? && load::read(&database.begin_read()?)? != before {
        return Err(redb::Error::Corrupted("a checksum is wrong".to_owned()));
    }
    Ok(database)
}

fn copy<K: Key + 'static, V: Value + 'static>(
    table: TableDefinition<'static, K, V>,
    old: &ReadTransaction,
    new: &WriteTransaction,
) -> Result<(), redb::Error> {
    let mut to = new.open_table(table)?;
    let from = match old.open_table(table) {
        // It is new, and empty.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        from => from?,
    };
    for entry in from.iter()? {
        let (key, value) = entry?;
        to.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Calls redb. A panic is as good as the message that the file is damaged.
fn guarded<T>(place: &dyn Place, call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, CatalogError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(CatalogError::of(place, e)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for no reason given");
            Err(CatalogError::damaged(place, &format!("redb gave up: {text}")))
        }
    }
}
