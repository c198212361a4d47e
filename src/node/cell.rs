//! A vhost behind its one mutex, together with the outboxes of its connections.

use std::sync::Arc;

use parking_lot::Mutex;
use slotmap::SecondaryMap;

use super::connections::ConnectionInfo;
use super::port::Port;
use crate::broker::queue::arguments::QueueType;
use crate::broker::{ConnectionId, Vhost};
use crate::session::outbox::Outboxes;
use crate::session::run::unwritable;

pub struct VhostCell {
    pub name: Arc<str>,
    state: Mutex<State>,
    about: Mutex<About>,
}

/// What people say of a vhost.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub description: String,
    pub tags: Vec<String>,
    pub default_queue_type: QueueType,
    /// Whether it is refused to delete it.
    pub protected: bool,
    pub tracing: bool,
}

/// What the mutex guards.
struct State {
    vhost: Vhost,
    outboxes: Outboxes,
    links: SecondaryMap<ConnectionId, Link>,
}

/// How a connection is reached.
struct Link {
    port: Arc<Port>,
    info: Arc<ConnectionInfo>,
}

impl VhostCell {
    pub fn new(name: &str, description: &str, tags: Vec<String>) -> Self {
        let state =
            State { vhost: Vhost::new(name), outboxes: Outboxes::default(), links: SecondaryMap::new() };
        let about = About { description: description.to_owned(), tags, ..About::default() };
        Self { name: name.into(), state: Mutex::new(state), about: Mutex::new(about) }
    }

    pub fn about(&self) -> About {
        self.about.lock().clone()
    }

    pub fn describe(&self, description: &str, tags: Vec<String>) {
        self.change_about(|about| {
            about.description = description.to_owned();
            about.tags = tags;
        });
    }

    pub fn change_about(&self, change: impl FnOnce(&mut About)) {
        let mut about = self.about.lock();
        change(&mut about);
        self.state.lock().vhost.default_queue_type = about.default_queue_type;
    }

    /// Runs something on the vhost, hands what it sent to the writers, and wakes these, once each, when the lock is
    /// free again. So are connections that put something aside and may go on; those that cannot be answered any more are
    /// asked to close.
    pub fn with<R>(&self, run: impl FnOnce(&mut Vhost, &mut Outboxes) -> R) -> R {
        let mut wake: Vec<Arc<Port>> = Vec::new();
        let (lost, retries): (Vec<Arc<ConnectionInfo>>, Vec<Arc<Port>>);
        let result = {
            let mut state = self.state.lock();
            let State { vhost, outboxes, links } = &mut *state;
            let result = run(vhost, outboxes);
            outboxes.take_dirty(|gathered| {
                if let Some(Link { port, .. }) = links.get(gathered.connection) {
                    if port.push(gathered.pieces, gathered.buffer) {
                        wake.push(Arc::clone(port));
                    }
                }
            });
            let link = |id| links.get(id);
            lost = outboxes.take_lost().into_iter().filter_map(link).map(|l| Arc::clone(&l.info)).collect();
            retries =
                outboxes.take_retries().into_iter().filter_map(link).map(|l| Arc::clone(&l.port)).collect();
            result
        };
        for port in wake {
            port.wake_writer();
        }
        for port in retries {
            port.retry();
        }
        for info in lost {
            info.close(unwritable());
        }
        result
    }

    /// Greets a connection and gives it an outbox.
    pub fn connect(
        &self,
        port: Arc<Port>,
        info: Arc<ConnectionInfo>,
        frame_max: usize,
        cancel_notify: bool,
    ) -> ConnectionId {
        let mut state = self.state.lock();
        let id = state.vhost.connect();
        state.outboxes.open(id, frame_max, cancel_notify, Arc::clone(port.meter()));
        state.links.insert(id, Link { port, info });
        id
    }

    /// A connection has ended: what it had ends with it.
    pub fn disconnect(&self, id: ConnectionId) {
        self.with(|vhost, outboxes| vhost.disconnect(id, outboxes));
        let mut state = self.state.lock();
        state.outboxes.close(id);
        state.links.remove(id);
    }
}
