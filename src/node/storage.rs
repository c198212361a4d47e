//! A node's data folder in use: what is in it is brought back, and two threads write and read it from then on.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::Node;
use super::bell::Ring;
use super::cell::{Bells, VhostCell};
use super::committer::{Committer, Means};
use super::disk_use::Counted;
use super::reader::{self, Reader};
use crate::auth::InvalidPattern;
use crate::broker::QueueId;
use crate::broker::queue::lane::queue_of;
use crate::catalog::{Catalog, CatalogError};
use crate::log::LogId;
use crate::log::chunk::Data;
use crate::log::disk::{Disk, FileName, Kind};
use crate::log::files::Files;
use crate::log::recover::{Damage, recover_as};
use crate::log::spill::Spill;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("cannot use the messages in the data folder: {0}")]
    Log(#[from] io::Error),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

/// The threads that write and read. They end with this value, when everything is written.
pub struct Storage {
    stop: Arc<AtomicBool>,
    bells: Bells,
    threads: Vec<JoinHandle<()>>,
}

impl Storage {
    /// Brings back into an empty node what a folder holds, and keeps the node there from then on.
    pub fn open(path: &Path, node: &Arc<Node>, disk_free: u64) -> Result<Self, StorageError> {
        let catalog = Catalog::open(&path.join("definitions"))?;
        let disk: Arc<dyn Disk> = Arc::new(Files::open(&path.join("log"))?);
        node.process.set_folder(path);
        Self::start(catalog, disk, node, disk_free)
    }

    /// The same with what has been opened already. `disk_free` octets have to be free, or publishers are blocked.
    pub fn start(
        catalog: Catalog,
        disk: Arc<dyn Disk>,
        node: &Arc<Node>,
        disk_free: u64,
    ) -> Result<Self, StorageError> {
        let disk: Arc<dyn Disk> = Arc::new(Counted { disk, used: Arc::clone(&node.disk_use) });
        node.process.set_disk_free_limit(disk_free);
        let bells = Bells { congestion: Arc::clone(&node.congestion), ..Bells::default() };
        node.changes().keep(bells.clone());
        let stored = catalog.load()?;
        let is_new = stored.is_new();
        node.restore(stored);
        if is_new {
            node.begin()?;
            // On disk before anybody is served, so that what is deleted later stays deleted.
            let (changes, taken) = node.changes().take();
            catalog.apply(&changes)?;
            taken.into_iter().for_each(|taken| node.changes().announce(taken));
        }
        recover_all(node, &*disk)?;
        let stop = Arc::new(AtomicBool::new(false));
        let means = Means {
            disk: Arc::clone(&disk),
            catalog,
            budget: Arc::clone(node.budget()),
            bell: Arc::clone(&bells.committer),
            stop: Arc::clone(&stop),
        };
        let committer = Committer::new(Arc::clone(node), means);
        let reader = Reader::new(Arc::clone(node), disk, Arc::clone(&bells.reader), Arc::clone(&stop));
        let mut storage = Self { stop, bells, threads: Vec::new() };
        storage.spawn("committer", || committer.run())?;
        storage.spawn("reader", || reader.run())?;
        Ok(storage)
    }
}

impl Storage {
    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StorageError> {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads.push(spawned.map_err(StorageError::Thread)?);
        Ok(())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.bells.committer.ring(Ring::Loudly);
        self.bells.reader.ring(Ring::Loudly);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the storage has panicked: what was not confirmed may be lost");
            }
        }
    }
}

/// Finds the messages of all queues. Files that belong to no queue are removed.
fn recover_all(node: &Node, disk: &dyn Disk) -> Result<(), StorageError> {
    let mut files: HashMap<LogId, Vec<FileName>> = HashMap::new();
    let all = disk.list()?;
    Spill::clear(disk, &all)?;
    for file in all.into_iter().filter(|file| file.kind != Kind::Spill) {
        files.entry(file.log).or_default().push(file);
    }
    // What is left of a queue that never came to be is not to be taken for a new one's.
    node.skip_logs(files.keys().map(|log| queue_of(*log).0).max().unwrap_or_default());
    let mut lanes: HashMap<LogId, Vec<LogId>> = HashMap::new();
    files.keys().for_each(|log| lanes.entry(queue_of(*log).0).or_default().push(*log));
    let mut unsynced = Vec::new();
    for cell in node.vhosts() {
        for (queue, log) in cell.with_vhost(|vhost| vhost.kept_queues()) {
            for lane in lanes.remove(&log).unwrap_or_default() {
                let Some(own) = files.remove(&lane) else { continue };
                let lasting = cell.with_vhost(|vhost| vhost.lasting(queue));
                let found = recover_as(disk, lane, Arc::clone(node.budget()), lasting, &own)?;
                found.damage.iter().for_each(|damage| report(&cell, damage));
                unsynced.extend_from_slice(&found.unsynced);
                cell.with_vhost(|vhost| vhost.recover(queue, found));
            }
            cell.with_vhost(|vhost| vhost.groups_found(queue));
            learn(&cell, queue, disk);
        }
    }
    // What was read need not be on disk, nor that files were removed, and both are going to be relied on.
    disk.sync(&unsynced, true)?;
    for file in files.into_values().flatten() {
        tracing::info!("removing {file}, which belongs to no queue");
        disk.remove(file)?;
    }
    Ok(())
}

/// Has a queue know the keys of what it holds on disk, where it drops duplicates: before anybody can publish one.
fn learn(cell: &VhostCell, queue: QueueId, disk: &dyn Disk) {
    if !cell.with_vhost(|vhost| vhost.is_to_be_read(queue)) {
        return;
    }
    for (first, request) in cell.with_vhost(|vhost| vhost.requests_to_learn(queue)) {
        let (data, trouble) = reader::read(disk, &request)
            .unwrap_or_else(|error| (Data::read(&[], &request.span).0, Some(error.to_string())));
        if let Some(trouble) = trouble {
            tracing::error!(vhost = &*cell.name, "duplicates of some messages will not be known: {trouble}");
        }
        let count = request.span.end - request.span.first;
        cell.with_vhost(|vhost| vhost.learn(queue, first..first + count, &data));
    }
}

fn report(cell: &VhostCell, damage: &Damage) {
    let Damage { file, offset, size } = damage;
    tracing::error!(
        vhost = &*cell.name,
        "{file} is damaged at offset {offset}: {size} octets are passed over, and messages in them are lost"
    );
}
