//! The reader: one thread that brings records back from disk, so that nobody waits for it under a vhost's lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Node;
use super::bell::Bell;
use crate::log::chunk::Data;
use crate::log::disk::Disk;
use crate::log::resident::Request;

/// How long the reader sleeps when nobody wants anything.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Reader {
    pub node: Arc<Node>,
    pub disk: Arc<dyn Disk>,
    pub bell: Arc<Bell>,
    /// Set when the node stops.
    pub stop: Arc<AtomicBool>,
}

impl Reader {
    /// Works until the node stops.
    pub fn run(self) {
        while !self.stop.load(Ordering::SeqCst) {
            self.bell.wait(PATIENCE);
            for cell in self.node.vhosts() {
                for (queue, first, request) in cell.with_vhost(crate::broker::Vhost::take_requests) {
                    let (data, trouble) = self.read(&request);
                    let lost = cell.with(|vhost, outboxes| vhost.arrive(queue, first, data, outboxes));
                    // A queue that has been purged or deleted meanwhile wants nothing, and loses nothing.
                    if let Some(trouble) = trouble.filter(|_| lost > 0) {
                        tracing::error!("{lost} messages cannot be read: {trouble}");
                    }
                }
            }
        }
    }

    /// What a file has of a chunk, and what is wrong with it.
    fn read(&self, request: &Request) -> (Data, Option<String>) {
        let Request { file, offset, size, span } = request;
        let mut image = vec![0; *size];
        match self.disk.read(*file, *offset, &mut image) {
            Ok(count) => {
                let (data, bad) = Data::read(&image[..count], span);
                let end = (count < *size).then_some(count);
                let trouble =
                    bad.or(end).map(|at| format!("{file} is damaged at offset {}", offset + at as u64));
                (data, trouble)
            }
            Err(error) => {
                let (data, _) = Data::read(&[], span);
                (data, Some(format!("{file} at offset {offset}: {error}")))
            }
        }
    }
}
