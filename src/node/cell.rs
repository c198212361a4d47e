//! A vhost behind its one mutex, together with the outboxes of its connections.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use slotmap::SecondaryMap;
use tokio::sync::watch;

use super::bell::{Bell, Ring};
use super::changes::NotKept;
use super::clock::{Clock, NEVER};
use super::congestion::Congestion;
use super::connections::ConnectionInfo;
use super::events::{Events, acting};
use super::now;
use super::port::Port;
use super::samples::VhostSamples;
use super::traffic::Carried;
use crate::auth::limits::Count;
use crate::broker::commit::Commit;
use crate::broker::counts::Counts;
use crate::broker::policy::book::Policies;
use crate::broker::policy::rollout::Rollout;
use crate::broker::{ConnectionId, Now, Vhost};
use crate::catalog::{About, VhostNumber};
use crate::log::Calls;
use crate::log::budget::Budget;
use crate::session::outbox::Outboxes;
use crate::session::run::unwritable;

/// A list of those to be woken keeps room for so many.
const WAKE_MAX: usize = 1024;

thread_local! {
    /// Those to be woken after a batch. The list belongs to the thread, so that none is made for each batch.
    static WAKE: Cell<Vec<Arc<Port>>> = const { Cell::new(Vec::new()) };
}

pub struct VhostCell {
    /// Never given twice.
    pub number: VhostNumber,
    pub name: Arc<str>,
    state: Mutex<State>,
    about: Mutex<About>,
    /// Held while its policies are changed.
    policies_change: Mutex<()>,
    /// Its connections, for the sake of their limit.
    pub connections: Arc<Count>,
    /// Where the threads are that write and read for it, if it is kept on disk.
    bells: OnceLock<Bells>,
    clock: Arc<Clock>,
    events: Arc<Events>,
    /// When something is to be done, in milliseconds since 1970.
    alarm: AtomicU64,
    /// Whether it has asked to be gathered from.
    called: AtomicBool,
    committed: watch::Sender<Committed>,
    /// What connections that have ended have carried.
    carried: Mutex<Carried>,
    pub samples: Mutex<VhostSamples>,
}

/// How far a vhost is on disk.
#[derive(Clone, Copy, Debug, Default)]
struct Committed {
    commit: Commit,
    failed: bool,
}

/// Whom a vhost calls.
#[derive(Clone, Debug, Default)]
pub struct Bells {
    pub committer: Arc<Bell>,
    pub reader: Arc<Bell>,
    pub congestion: Arc<Congestion>,
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
    pub fn new(number: VhostNumber, name: &str, clock: Arc<Clock>, events: Arc<Events>) -> Self {
        let state =
            State { vhost: Vhost::new(name), outboxes: Outboxes::default(), links: SecondaryMap::new() };
        Self {
            number,
            name: name.into(),
            state: Mutex::new(state),
            about: Mutex::default(),
            policies_change: Mutex::default(),
            connections: Arc::default(),
            bells: OnceLock::new(),
            clock,
            events,
            alarm: AtomicU64::new(NEVER),
            called: AtomicBool::new(false),
            committed: watch::Sender::default(),
            carried: Mutex::default(),
            samples: Mutex::default(),
        }
    }

    pub fn about(&self) -> About {
        self.about.lock().clone()
    }

    pub(super) fn change_about(&self, change: impl FnOnce(&mut About)) {
        let mut about = self.about.lock();
        change(&mut about);
        let vhost = &mut self.state.lock().vhost;
        vhost.default_queue_type = about.default_queue_type;
        vhost.queue_limit = about.limits.and_then(|limits| limits.max_queues);
        vhost.set_tracing(about.tracing);
        vhost.set_creator(about.creator.as_ref());
    }

    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(self.state.lock().vhost.policies())
    }

    /// Changes the vhost's policies, and gives everything in it those that it has then, a thousand objects at a time.
    /// `note` is called when they are in force. With many queues and patterns this takes a while. `None` of `change`
    /// means that nothing has changed.
    pub(super) fn change_policies<R>(
        &self,
        change: impl FnOnce(&mut Policies) -> Option<R>,
        note: impl FnOnce(),
    ) -> Option<R> {
        let _one_at_a_time = self.policies_change.lock();
        let mut policies = Policies::clone(&self.policies());
        let result = change(&mut policies)?;
        let mut rollout = self.with_vhost(|vhost| Rollout::begin(vhost, Arc::new(policies)));
        note();
        while self.with_vhost(|vhost| rollout.step(vhost)) {
            rollout.look_up();
        }
        Some(result)
    }

    /// Runs something on the vhost, hands what it sent to the writers, and wakes these, once each, when the lock is
    /// free again. So are connections that put something aside and may go on; those that cannot be answered any more are
    /// asked to close.
    pub fn with<R>(&self, run: impl FnOnce(&mut Vhost, &mut Outboxes) -> R) -> R {
        let mut wake = WAKE.take();
        let (lost, retries): (Vec<Arc<ConnectionInfo>>, Vec<Arc<Port>>);
        let result = {
            let mut state = self.state.lock();
            let State { vhost, outboxes, links } = &mut *state;
            vhost.set_clock(now());
            if vhost.notes_events() {
                vhost.act_for(acting());
            }
            let result = run(vhost, outboxes);
            vhost.dispatch_due(outboxes);
            self.events.take(vhost.take_events());
            outboxes.take_dirty(|gathered| {
                if let Some(Link { port, .. }) = links.get(gathered.connection) {
                    if port.push(gathered.pieces, gathered.buffer) {
                        wake.push(Arc::clone(port));
                    }
                }
            });
            self.call(vhost.calls());
            self.ask(vhost.next_alarm());
            let link = |id| links.get(id);
            lost = outboxes.take_lost().into_iter().filter_map(link).map(|l| Arc::clone(&l.info)).collect();
            retries =
                outboxes.take_retries().into_iter().filter_map(link).map(|l| Arc::clone(&l.port)).collect();
            result
        };
        for port in wake.drain(..) {
            port.wake_writer();
        }
        wake.shrink_to(WAKE_MAX);
        WAKE.set(wake);
        for port in retries {
            port.retry();
        }
        for info in lost {
            info.close(unwritable());
        }
        result
    }

    /// Runs something on the vhost that sends nothing.
    pub fn with_vhost<R>(&self, run: impl FnOnce(&mut Vhost) -> R) -> R {
        let vhost = &mut self.state.lock().vhost;
        vhost.set_clock(now());
        if vhost.notes_events() {
            vhost.act_for(acting());
        }
        let result = run(vhost);
        self.events.take(vhost.take_events());
        self.call(vhost.calls());
        self.ask(vhost.next_alarm());
        result
    }

    /// Keeps the vhost on disk from now on.
    pub fn keep(&self, budget: Arc<Budget>, bells: Bells) {
        if self.bells.set(bells).is_ok() {
            self.state.lock().vhost.keep(budget);
        }
    }

    /// Whether it has asked to be gathered from since this was asked last.
    pub fn has_called(&self) -> bool {
        self.called.load(Ordering::Relaxed) && self.called.swap(false, Ordering::SeqCst)
    }

    /// A commit, and all before it, is on disk: whoever waits for it is told.
    pub(super) fn announce(&self, commit: Commit) {
        self.with(|vhost, outboxes| {
            vhost.announce(commit);
            outboxes.committed(commit);
        });
        self.committed.send_modify(|committed| committed.commit = commit);
    }

    /// Nothing more will be on disk.
    pub(super) fn fail(&self) {
        self.with(|_, outboxes| outboxes.failed());
        self.committed.send_modify(|committed| committed.failed = true);
    }

    /// Waits until all changes of durable exchanges, queues and bindings are on disk.
    pub async fn kept(&self) -> Result<(), NotKept> {
        match self.with_vhost(|vhost| vhost.commits.definitions()) {
            Some(wanted) => self.committed(wanted).await,
            None => Ok(()),
        }
    }

    /// Waits until a commit, and all before it, is on disk.
    pub async fn committed(&self, wanted: Commit) -> Result<(), NotKept> {
        let mut committed = self.committed.subscribe();
        let done = committed.wait_for(|committed| committed.failed || committed.commit >= wanted).await;
        // The sender is in `self`, so that there is always an answer.
        match done {
            Ok(committed) if committed.commit >= wanted => Ok(()),
            _ => Err(NotKept),
        }
    }

    /// When [`tick`](Self::tick) is to be called next, in milliseconds since 1970.
    pub(super) fn alarm(&self) -> Now {
        self.alarm.load(Ordering::SeqCst)
    }

    /// Does what is due.
    pub(super) fn tick(&self) {
        self.with(|vhost, outboxes| vhost.tick(outboxes));
    }

    fn ask(&self, alarm: Option<Now>) {
        let at = alarm.unwrap_or(NEVER);
        if self.alarm.load(Ordering::Relaxed) != at {
            self.alarm.store(at, Ordering::SeqCst);
            self.clock.ask(at);
        }
    }

    fn call(&self, calls: Calls) {
        if !calls.gather && !calls.read {
            return;
        }
        let Some(bells) = self.bells.get() else { return };
        if calls.read {
            bells.reader.ring(Ring::Loudly);
        }
        if calls.gather {
            self.called.store(true, Ordering::SeqCst);
            bells.committer.ring(if calls.urgent { Ring::Loudly } else { Ring::Softly });
            // The committer takes it back.
            if calls.congested {
                bells.congestion.set(true);
            }
        }
    }

    /// What its connections that have ended have carried.
    pub fn carried(&self) -> Carried {
        *self.carried.lock()
    }

    /// What has been counted of messages.
    pub fn totals(&self) -> Counts {
        let state = self.state.lock();
        let mut totals = state.vhost.totals();
        totals.publishes.confirm = state.outboxes.confirmed();
        totals
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
        state.vhost.introduce(id, info.who());
        state.outboxes.open(id, frame_max, cancel_notify, Arc::clone(port.meter()));
        self.events.connection_created(&info);
        info.traffic.watch(port.meter());
        info.enter(id);
        state.links.insert(id, Link { port, info });
        id
    }

    /// Connections that have written nothing since this was called last give up their buffers.
    pub fn relax(&self) {
        let State { outboxes, links, .. } = &mut *self.state.lock();
        for (id, link) in links.iter() {
            if link.port.relax() {
                outboxes.relax(id);
            }
        }
    }

    /// A connection has ended: what it had ends with it.
    pub fn disconnect(&self, id: ConnectionId) {
        if self.events.is_on() {
            if let Some(link) = self.state.lock().links.get(id) {
                self.events.connection_closed(&link.info);
            }
        }
        self.with(|vhost, outboxes| vhost.disconnect(id, outboxes));
        let mut state = self.state.lock();
        state.outboxes.close(id);
        if let Some(link) = state.links.remove(id) {
            *self.carried.lock() += link.info.traffic.carried();
        }
    }
}
