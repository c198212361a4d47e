//! The reader: one thread that brings records back from disk, so that nobody waits for it under a vhost's lock.
//!
//! What cannot be read for now is tried again, and whoever wants it waits. Only what is damaged or has gone is given up.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Node;
use super::bell::Bell;
use super::cell::VhostCell;
use crate::broker::QueueId;
use crate::catalog::VhostNumber;
use crate::log::Position;
use crate::log::chunk::Data;
use crate::log::disk::Disk;
use crate::log::resident::Request;

/// How long the reader sleeps when nobody wants anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until what could not be read is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// A disk that has said so often that it cannot read something has lost it.
const TRIES_MAX: u32 = 10;

pub struct Reader {
    node: Arc<Node>,
    disk: Arc<dyn Disk>,
    bell: Arc<Bell>,
    /// Set when the node stops.
    stop: Arc<AtomicBool>,
    /// What could not be read, by vhost, queue and position, with how often that was tried.
    failed: BTreeMap<(VhostNumber, QueueId, Position), u32>,
    /// When that is tried again.
    again: Option<Instant>,
}

impl Reader {
    pub fn new(node: Arc<Node>, disk: Arc<dyn Disk>, bell: Arc<Bell>, stop: Arc<AtomicBool>) -> Self {
        Self { node, disk, bell, stop, failed: BTreeMap::new(), again: None }
    }

    /// Works until the node stops.
    pub fn run(mut self) {
        while !self.stop.load(Ordering::SeqCst) {
            let patience = self.again.map(|at| at.saturating_duration_since(Instant::now()));
            self.bell.wait(patience.unwrap_or(PATIENCE));
            let cells = self.node.vhosts();
            if self.again.take_if(|at| *at <= Instant::now()).is_some() {
                self.ask_again(&cells);
            }
            for cell in cells {
                for (queue, first, request) in cell.with_vhost(crate::broker::Vhost::take_requests) {
                    self.read(&cell, queue, first, &request);
                }
            }
        }
    }

    fn read(&mut self, cell: &VhostCell, queue: QueueId, first: Position, request: &Request) {
        let key = (cell.number, queue, first);
        let (data, trouble) = match read(&*self.disk, request) {
            Ok(read) => read,
            Err(error) => {
                let tries = self.failed.get(&key).map_or(1, |tries| tries + 1);
                let trouble = format!("{} at offset {}: {error}", request.file, request.offset);
                if !is_final(&error, tries) {
                    self.failed.insert(key, tries);
                    // Once for all that is tried together.
                    if self.again.is_none() {
                        tracing::error!("messages cannot be read yet, that is tried again: {trouble}");
                        self.again = Some(Instant::now() + AGAIN);
                    }
                    return;
                }
                (Data::read(&[], &request.span).0, Some(trouble))
            }
        };
        self.failed.remove(&key);
        let lost = cell.with(|vhost, outboxes| vhost.arrive(queue, first, data, outboxes));
        // A queue that has been purged or deleted meanwhile wants nothing, and loses nothing.
        if let Some(trouble) = trouble.filter(|_| lost > 0) {
            tracing::error!("{lost} messages cannot be read: {trouble}");
        }
    }

    /// Has what could not be read asked for once more, where it is still wanted.
    fn ask_again(&mut self, cells: &[Arc<VhostCell>]) {
        self.failed.retain(|(vhost, queue, first), _| {
            let cell = cells.iter().find(|cell| cell.number == *vhost);
            cell.is_some_and(|cell| cell.with_vhost(|vhost| vhost.ask_again(*queue, *first)))
        });
    }
}

/// Whether it is no use to try again: the file is not there, or the disk cannot read it, and has said so for long enough.
fn is_final(error: &io::Error, tries: u32) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => true,
        Some(Errno::IO) => tries >= TRIES_MAX,
        _ => false,
    }
}

/// What a file has of a chunk, and what is wrong with it.
pub fn read(disk: &dyn Disk, request: &Request) -> io::Result<(Data, Option<String>)> {
    let Request { file, offset, size, span } = request;
    let mut image = vec![0; *size];
    let count = disk.read(*file, *offset, &mut image)?;
    let (data, bad) = Data::read(&image[..count], span);
    let end = (count < *size).then_some(count);
    let trouble = bad.or(end).map(|at| format!("{file} is damaged at offset {}", offset + at as u64));
    Ok((data, trouble))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_may_pass_are_waited_for() {
        let is_final = |errno: Errno, tries| is_final(&errno.into(), tries);
        assert!(is_final(Errno::NOENT, 1));
        assert!(!is_final(Errno::IO, TRIES_MAX - 1) && is_final(Errno::IO, TRIES_MAX));
        for errno in [Errno::NOMEM, Errno::MFILE, Errno::ACCESS, Errno::STALE] {
            assert!(!is_final(errno, u32::MAX), "{errno}");
        }
    }
}
