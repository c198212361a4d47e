//! Changes of what a node keeps beside its vhosts' content, on their way to the catalog, and waiting for them.

use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::bell::Ring;
use super::cell::Bells;
use crate::catalog::NodeChange;

/// What has been changed cannot be kept: nothing is on disk any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data folder cannot be written")]
pub struct NotKept;

/// Notes changes in the order in which they happen, for the committer to take.
#[derive(Debug, Default)]
pub struct Changes {
    noted: Mutex<Noted>,
    /// Whom to tell; nobody if the node is not kept on disk.
    bells: OnceLock<Bells>,
    kept: watch::Sender<Kept>,
}

#[derive(Debug, Default)]
struct Noted {
    changes: Vec<NodeChange>,
    /// How many times they have been taken.
    taken: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// The last taking whose changes are on disk, with all before it.
    taken: u64,
    failed: bool,
}

impl Changes {
    /// From now on changes are noted.
    pub(super) fn keep(&self, bells: Bells) {
        // A node is opened once.
        let _ = self.bells.set(bells);
    }

    pub(super) fn bells(&self) -> Option<&Bells> {
        self.bells.get()
    }

    pub(super) fn note(&self, change: NodeChange) {
        let Some(bells) = self.bells.get() else { return };
        self.noted.lock().changes.push(change);
        bells.committer.ring(Ring::Loudly);
    }

    /// Takes what has been noted, and a number to announce when it is on disk.
    pub fn take(&self) -> (Vec<NodeChange>, Option<u64>) {
        let mut noted = self.noted.lock();
        if noted.changes.is_empty() {
            return (Vec::new(), None);
        }
        noted.taken += 1;
        (std::mem::take(&mut noted.changes), Some(noted.taken))
    }

    /// What was taken up to a number is on disk.
    pub fn announce(&self, taken: u64) {
        self.kept.send_modify(|kept| kept.taken = taken);
    }

    /// Nothing more will be on disk.
    pub fn fail(&self) {
        self.kept.send_modify(|kept| kept.failed = true);
    }

    /// Waits until everything that has been noted is on disk.
    pub async fn kept(&self) -> Result<(), NotKept> {
        let wanted = {
            let noted = self.noted.lock();
            noted.taken + u64::from(!noted.changes.is_empty())
        };
        let mut kept = self.kept.subscribe();
        let done = kept.wait_for(|kept| kept.failed || kept.taken >= wanted).await;
        // The sender is in `self`, so that there is always an answer.
        match done {
            Ok(kept) if kept.taken >= wanted => Ok(()),
            _ => Err(NotKept),
        }
    }
}
