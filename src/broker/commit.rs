//! Commits: from which moment on what has happened in a vhost is on disk.
//!
//! Everything that is to become durable belongs to a commit, and commits have numbers that count up. Whoever writes
//! takes all that has gathered ([`Commits::close`]), writes it, and says so ([`Commits::announce`]); what happens
//! meanwhile belongs to the next number. A vhost that keeps nothing on disk has no commits, and nobody waits for one.

/// A commit's number, from 1.
pub type Commit = u64;

#[derive(Debug, Default)]
pub struct Commits {
    /// Whether this vhost is kept on disk.
    on: bool,
    /// The last commit that was taken to be written.
    closed: Commit,
    /// The last one that is on disk, with all before it.
    announced: Commit,
    /// The last one in which exchanges, queues or bindings changed.
    definitions: Commit,
    /// Whether the open one is to make acknowledgements durable too, for a transaction.
    thorough: bool,
    /// Whether somebody waits for the open one, whatever is in it.
    awaited: bool,
}

impl Commits {
    /// From now on everything durable is to be waited for.
    pub fn turn_on(&mut self) {
        self.on = true;
    }

    /// Whether this vhost is kept on disk.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// The commit that what happens now belongs to, if it has to be waited for.
    pub fn current(&self) -> Option<Commit> {
        self.on.then_some(self.closed + 1)
    }

    /// A durable definition has changed.
    pub fn note_definition(&mut self) {
        self.definitions = self.closed + 1;
    }

    /// The last commit that is on disk, with all before it; 0 if none is.
    pub fn announced(&self) -> Commit {
        self.announced
    }

    /// The commit with the last change of a definition, unless that is on disk.
    pub fn definitions(&self) -> Option<Commit> {
        (self.on && self.definitions > self.announced).then_some(self.definitions)
    }

    /// The open commit is to make acknowledgements durable too.
    pub fn make_thorough(&mut self) {
        self.thorough = true;
    }

    /// Somebody waits for the open commit, and so for all before it.
    pub fn wait_for_current(&mut self) {
        self.awaited = true;
    }

    /// Whether somebody waits for the open commit without anything being written for it.
    pub fn is_open(&self) -> bool {
        self.thorough || self.awaited || self.definitions > self.closed
    }

    /// Closes the open commit. Returns its number, and whether it is to make acknowledgements durable too.
    pub fn close(&mut self) -> (Commit, bool) {
        self.closed += 1;
        self.awaited = false;
        (self.closed, std::mem::take(&mut self.thorough))
    }

    /// A commit, and all before it, is on disk.
    pub fn announce(&mut self, commit: Commit) {
        self.announced = self.announced.max(commit);
    }
}
