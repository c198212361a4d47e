//! The committer: one thread that takes what is to be kept from all vhosts, writes it, makes it durable at once, and
//! says so.
//!
//! While it writes, more gathers, which is the next commit: the slower the disk, the larger the commits. A full disk is
//! waited for. Any other error ends the promise: nothing is confirmed any more until the node is started again, since
//! nobody can say what of the last writes is on disk.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Node;
use super::alarms::Alarm;
use super::bell::Bell;
use super::cell::VhostCell;
use crate::broker::QueueId;
use crate::broker::commit::Commit;
use crate::broker::storage::Need;
use crate::catalog::{Catalog, CatalogError, NodeChange};
use crate::log::batch::Batch;
use crate::log::budget::Budget;
use crate::log::disk::{Disk, FileName};
use crate::log::resident::Leaver;
use crate::log::spill::Spill;

/// Acknowledgements are durable so long after they have been written, if nobody waits for it.
const SETTLED_DELAY: Duration = Duration::from_millis(250);
/// The free space is looked at so often, at least, and idle files are closed.
const LOOK: Duration = Duration::from_secs(10);
/// The same while there is too little of it.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Files that nobody waits for are removed so many at a time, so that the next commit need not wait for long.
const REMOVED_MAX: usize = 64;

/// Why nothing is kept any more.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("writing failed: {0}")]
    Write(io::Error),
    #[error("making writes durable failed: {0}")]
    Sync(io::Error),
    #[error("the definitions cannot be kept: {0}")]
    Catalog(CatalogError),
}

/// What the committer works with.
pub struct Means {
    pub disk: Arc<dyn Disk>,
    pub catalog: Catalog,
    pub budget: Arc<Budget>,
    pub bell: Arc<Bell>,
    /// Set when the node stops: the committer ends when all is written.
    pub stop: Arc<AtomicBool>,
}

pub struct Committer {
    node: Arc<Node>,
    means: Means,
    batch: Batch,
    spill: Spill,
    changes: Vec<NodeChange>,
    /// The commits that are announced when what has gathered is durable.
    commits: Vec<(Arc<VhostCell>, Commit)>,
    node_commit: Option<u64>,
    leavers: Vec<(Arc<VhostCell>, QueueId, Leaver)>,
    /// Whether acknowledgements are to be durable with the rest.
    thorough: bool,
    /// Files of settlements that have been written and are not durable, and since when.
    settled: BTreeSet<FileName>,
    settled_since: Option<Instant>,
    looked: Option<Instant>,
}

impl Committer {
    pub fn new(node: Arc<Node>, means: Means) -> Self {
        Self {
            node,
            means,
            batch: Batch::default(),
            spill: Spill::default(),
            changes: Vec::new(),
            commits: Vec::new(),
            node_commit: None,
            leavers: Vec::new(),
            thorough: false,
            settled: BTreeSet::new(),
            settled_since: None,
            looked: None,
        }
    }

    /// Works until the node stops or nothing can be kept any more.
    pub fn run(mut self) {
        loop {
            let stop = self.means.stop.load(Ordering::SeqCst);
            if stop {
                self.note_stop();
            } else {
                self.means.bell.wait(self.patience());
            }
            let result = self.cycle(stop);
            self.look_at_space();
            if let Err(error) = result {
                return self.fail(&error);
            }
            if stop {
                return self.let_go();
            }
        }
    }

    /// What is on disk now may be all that others were kept for: they are let go, so that nothing is there twice when the
    /// node is started again.
    fn let_go(&mut self) {
        if let Err(error) = self.cycle(true) {
            self.fail(&error);
        }
    }

    fn patience(&self) -> Duration {
        if self.batch.has_idle() {
            return Duration::ZERO;
        }
        let look = if self.disk_alarm() { LOOK_AGAIN } else { LOOK };
        match self.settled_since {
            Some(since) => look.min(SETTLED_DELAY.saturating_sub(since.elapsed()) + Duration::from_millis(1)),
            None => look,
        }
    }

    fn disk_alarm(&self) -> bool {
        self.node.alarms.in_effect().iter().any(|alarm| alarm == Alarm::Disk)
    }

    /// One commit.
    fn cycle(&mut self, thorough: bool) -> Result<(), CommitError> {
        self.thorough = thorough;
        self.trim();
        self.gather(true);
        while let Err(error) = self.write() {
            if !error.is_full() {
                return Err(error);
            }
            self.wait_for_space(&error)?;
        }
        self.sync()?;
        self.batch.remove_files(&*self.means.disk).map_err(CommitError::Write)?;
        self.announce();
        self.clean_up().map_err(CommitError::Write)?;
        self.write_spills();
        self.node.relieve();
        Ok(())
    }

    /// Lets chunks leave memory while there are too many. What was gathered so far has been written.
    fn trim(&mut self) {
        if !self.means.budget.is_over() {
            return;
        }
        let budget = Arc::clone(&self.means.budget);
        self.let_leave(Need::Some);
        let leaving = self.leavers.iter().map(|(_, _, leaver)| leaver.data.weight()).sum();
        let is_short = !budget.has_room_without(leaving);
        budget.set_short(is_short);
        if is_short {
            self.let_leave(Need::Much);
        }
        // Those that have to be spilled have not left yet.
        if self.leavers.is_empty() {
            self.means.budget.trimmed();
        }
    }

    fn let_leave(&mut self, need: Need) {
        for cell in self.node.vhosts() {
            let mut left = cell.with_vhost(|vhost| vhost.resident_queues());
            let mut leavers = Vec::new();
            while left > 0 && !self.means.budget.has_room() {
                // In small steps, so that others get the vhost between them.
                let looked = cell.with_vhost(|vhost| vhost.trim(need, &mut leavers));
                left = if looked == 0 { 0 } else { left.saturating_sub(looked) };
            }
            let owned = leavers.into_iter().map(|(id, leaver)| (Arc::clone(&cell), id, leaver));
            self.leavers.extend(owned);
        }
    }

    /// Takes everything that is to be kept. `durable` says whether what was taken before is.
    fn gather(&mut self, durable: bool) {
        // Before the changes are taken: a vhost is noted before it is there.
        let cells = self.node.vhosts();
        // And that it goes is noted before it is here: its files do not go before its definition.
        for cell in self.node.take_removed() {
            cell.with_vhost(|vhost| vhost.remove_logs(&mut self.batch));
            // Nothing of it is going to be on disk: whoever waits for that is told so, and so will be whoever comes.
            cell.fail();
        }
        let (changes, commit) = self.node.changes().take();
        self.changes.extend(changes);
        self.node_commit = commit.or(self.node_commit);
        for cell in cells {
            if !cell.has_called() {
                continue;
            }
            let batch = &mut self.batch;
            let (commit, thorough, changes) = cell.with_vhost(|vhost| {
                let (commit, thorough) = vhost.gather(durable, batch);
                (commit, thorough, vhost.take_changes())
            });
            self.thorough |= thorough;
            let number = cell.number;
            self.changes
                .extend(changes.into_iter().map(|change| NodeChange::InVhost { vhost: number, change }));
            self.commits.push((cell, commit));
        }
    }

    fn write(&mut self) -> Result<(), CommitError> {
        if !self.changes.is_empty() {
            self.means.catalog.apply(&self.changes).map_err(CommitError::Catalog)?;
            self.changes.clear();
        }
        self.batch.write(&*self.means.disk).map_err(CommitError::Write)
    }

    fn sync(&mut self) -> Result<(), CommitError> {
        for file in self.batch.removed() {
            self.settled.remove(file);
        }
        self.settled.extend(self.batch.settled());
        if !self.settled.is_empty() {
            self.thorough |= self.settled_since.get_or_insert_with(Instant::now).elapsed() >= SETTLED_DELAY;
        }
        let none = BTreeSet::new();
        let settled = if self.thorough { &self.settled } else { &none };
        self.batch.sync(&*self.means.disk, settled).map_err(CommitError::Sync)?;
        if self.thorough {
            self.settled.clear();
            self.settled_since = None;
        }
        Ok(())
    }

    fn announce(&mut self) {
        for (cell, commit) in self.commits.drain(..) {
            cell.announce(commit);
        }
        if let Some(commit) = self.node_commit.take() {
            self.node.changes().announce(commit);
        }
    }

    /// Gives back space of the disk that nobody waits for. What is left of it when the node stops, the next one finds and
    /// removes.
    fn clean_up(&mut self) -> io::Result<()> {
        let disk = &*self.means.disk;
        for extent in self.batch.clear() {
            self.spill.free(disk, extent)?;
        }
        self.batch.remove_idle(disk, REMOVED_MAX)
    }

    /// Writes what has to leave memory. What cannot be written stays there, and publishers wait.
    fn write_spills(&mut self) {
        if self.leavers.is_empty() {
            return;
        }
        let mut failed = None;
        for (cell, id, leaver) in self.leavers.drain(..) {
            let Leaver { first, data, salt } = leaver;
            let written = match failed {
                None => self.spill.write(&*self.means.disk, &data, salt),
                Some(_) => Err(io::ErrorKind::Other.into()),
            };
            drop(data);
            match written {
                Ok(extent) => {
                    if let Some(extent) = cell.with_vhost(|vhost| vhost.spilled(id, first, extent)) {
                        failed = self.spill.free(&*self.means.disk, extent).err();
                    }
                }
                Err(error) => {
                    cell.with_vhost(|vhost| vhost.not_spilled(id, first));
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            None => self.means.budget.trimmed(),
            Some(error) => {
                if self.node.alarms.raise(Alarm::Disk) {
                    tracing::error!("spill files cannot be written, publishers are blocked: {error}");
                }
                std::thread::sleep(LOOK_AGAIN);
            }
        }
    }

    /// The disk is full: publishers are held back, and what consumers are done with is removed.
    fn wait_for_space(&mut self, error: &CommitError) -> Result<(), CommitError> {
        if self.node.alarms.raise(Alarm::Disk) {
            tracing::error!("the disk is full, publishers are blocked until there is space: {error}");
        }
        if self.means.stop.load(Ordering::SeqCst) {
            return Err(CommitError::Write(io::ErrorKind::StorageFull.into()));
        }
        std::thread::sleep(LOOK_AGAIN);
        self.gather(false);
        self.batch.make_room(&*self.means.disk).map_err(CommitError::Write)
    }

    /// Raises the alarm when little space is left, and clears it when there is enough again.
    fn look_at_space(&mut self) {
        let alarms = &self.node.alarms;
        let again = if self.disk_alarm() { LOOK_AGAIN } else { LOOK };
        let bound = &self.node.process.disk_free_bound;
        let seen = bound.changes();
        if self.looked.is_some_and(|looked| looked.elapsed() < again) && !bound.is_new() {
            return;
        }
        self.looked = Some(Instant::now());
        self.means.disk.close_idle();
        let limit = bound.octets();
        match self.means.disk.free() {
            Ok(free) if free < limit => {
                if alarms.raise(Alarm::Disk) {
                    tracing::error!(
                        "{free} octets are free on the disk, fewer than the limit of {limit}: publishers are blocked"
                    );
                }
            }
            Ok(free) => {
                if alarms.clear(Alarm::Disk) {
                    tracing::warn!("{free} octets are free on the disk: publishers go on");
                }
            }
            Err(error) => tracing::error!("cannot tell how much of the disk is free: {error}"),
        }
        bound.heed(seen);
    }

    fn note_stop(&mut self) {
        for cell in self.node.vhosts() {
            cell.with_vhost(crate::broker::Vhost::note_stop);
        }
    }

    /// Nothing is kept any more.
    fn fail(&mut self, error: &CommitError) {
        tracing::error!("{error}: nothing is confirmed any more, please restart the node");
        self.node.alarms.raise(Alarm::Disk);
        self.node.changes().fail();
        while !self.means.stop.load(Ordering::SeqCst) {
            for cell in self.node.vhosts() {
                cell.fail();
            }
            // Not by the bell, which never stops ringing once nothing is gathered.
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl CommitError {
    fn is_full(&self) -> bool {
        let kind = match self {
            Self::Write(error) => error.kind(),
            Self::Catalog(error) => return error.is_full(),
            Self::Sync(_) => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}
