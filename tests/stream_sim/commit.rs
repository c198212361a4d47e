//! The committer of a stream, one step at a time, on a disk that may be full.

use std::collections::BTreeSet;

use leveret::broker::definitions::Change;
use leveret::broker::stream::marks::DurableMark;

use super::World;

impl World {
    /// The catalog takes what has gathered.
    pub fn keep(&mut self) {
        for change in self.changes.drain(..) {
            if let Change::PutMark(DurableMark { about, name, number, .. }) = change {
                self.catalog.insert((about, name), number);
            }
        }
    }

    pub fn commit_step(&mut self) {
        let Some(commit) = self.gathered else {
            if self.vhost.calls().gather {
                self.gather(true);
            }
            return self.batch.remove_idle(&self.disk, 1).expect("removed");
        };
        // The catalog comes first, and may be the one for which there is no room.
        let has_room = !self.is_full || self.random.chance(70);
        if has_room {
            self.keep();
        }
        if !has_room || self.batch.write(&self.disk).is_err() {
            assert!(self.is_full, "an error");
            self.gather(false);
            return self.batch.make_room(&self.disk).expect("removed");
        }
        self.gathered = None;
        self.batch.sync(&self.disk, &BTreeSet::new()).expect("synced");
        self.batch.remove_files(&self.disk).expect("removed");
        self.vhost.announce(commit);
        for (_, offset) in self.waiting.extract_if(.., |(at, _)| *at <= commit) {
            if let Some(entry) = &mut self.entries[offset as usize] {
                entry.confirmed = true;
                if let Some((publisher, sequence)) = entry.numbered {
                    self.safe_numbers[publisher] = sequence;
                }
            }
        }
        self.batch.clear();
        self.batch.remove_idle(&self.disk, self.random.below(4)).expect("removed");
        self.vhost.dispatch_due(&mut self.outside);
    }

    pub fn gather(&mut self, durable: bool) {
        let (commit, _) = self.vhost.gather(durable, &mut self.batch);
        self.changes.extend(self.vhost.take_changes());
        self.gathered = Some(commit);
    }

    pub fn fill(&mut self, full: bool) {
        self.disk.full(full);
        self.is_full = full;
    }
}
