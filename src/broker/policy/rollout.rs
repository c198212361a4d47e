//! Other policies for everything there is, in steps: the vhost is free in between, and names are matched then.
//!
//! What is declared from the beginning on has the new policies already.

use std::sync::Arc;

use super::book::{Applied, Policies};
use crate::broker::exchange::Exchange;
use crate::broker::queue::Queue;
use crate::broker::queue::arguments::{self, QueueType, Settings};
use crate::broker::vhost::Vhost;
use crate::broker::{ExchangeId, Name, QueueId};

/// As many queues and exchanges are looked at with the vhost's mutex held once.
pub const STEP: usize = 1000;

#[derive(Clone, Copy, Debug)]
enum Object {
    Queue(QueueId, QueueType),
    Exchange(ExchangeId),
}

/// What is under way. [`step`](Self::step) and [`look_up`](Self::look_up) take turns until there is nothing left.
#[derive(Debug)]
pub struct Rollout {
    policies: Arc<Policies>,
    queues: Vec<QueueId>,
    exchanges: Vec<ExchangeId>,
    named: Vec<(Object, Name)>,
    found: Vec<(Object, Applied)>,
}

impl Rollout {
    /// From now on a vhost has these policies; what is declared gets them, and what there is will get them.
    pub fn begin(vhost: &mut Vhost, policies: Arc<Policies>) -> Self {
        vhost.policies = Arc::clone(&policies);
        Self {
            policies,
            queues: vhost.queues.keys().collect(),
            exchanges: vhost.exchanges.keys().collect(),
            named: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Gives those that were looked up last their policies, and notes the names of the next ones. Returns whether there
    /// are any.
    pub fn step(&mut self, vhost: &mut Vhost) -> bool {
        for (object, applied) in self.found.drain(..) {
            match object {
                Object::Queue(id, _) => vhost.apply_to_queue(id, applied),
                Object::Exchange(id) => vhost.apply_to_exchange(id, applied),
            }
        }
        while self.named.len() < STEP {
            if let Some(id) = self.exchanges.pop() {
                let named =
                    vhost.exchanges.get(id).map(|found| (Object::Exchange(id), Name::clone(&found.name)));
                self.named.extend(named);
            } else if let Some(id) = self.queues.pop() {
                let named =
                    vhost.queues.get(id).filter(|found| !found.hidden).map(|found| {
                        (Object::Queue(id, found.settings.queue_type), Name::clone(&found.name))
                    });
                self.named.extend(named);
            } else {
                break;
            }
        }
        !self.named.is_empty()
    }

    /// Finds out which policies those have whose names were noted last. This takes long, and no vhost.
    pub fn look_up(&mut self) {
        for (object, name) in self.named.drain(..) {
            let applied = match object {
                Object::Queue(_, queue_type) => self.policies.of_queue(&name, queue_type),
                Object::Exchange(_) => self.policies.of_exchange(&name),
            };
            self.found.push((object, applied));
        }
    }
}

impl Vhost {
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Gives a queue that comes to be its policies.
    pub(in crate::broker) fn adopt_queue(&self, queue: &mut Queue) {
        if !self.policies.is_empty() {
            let applied = self.policies.of_queue(&queue.name, queue.settings.queue_type);
            queue.take_policies(applied);
        }
    }

    /// Gives an exchange that comes to be its policy.
    pub(in crate::broker) fn adopt_exchange(&self, exchange: &mut Exchange) {
        if !self.policies.is_empty() {
            exchange.policy = self.policies.of_exchange(&exchange.name).user;
        }
    }

    fn apply_to_queue(&mut self, id: QueueId, applied: Applied) {
        // What nobody sees is nobody's to set.
        let queue = self.queues.get_mut(id).filter(|queue| !queue.hidden);
        if let Some(before) = queue.and_then(|queue| queue.take_policies(applied)) {
            self.settings_changed(id, &before);
        }
    }

    fn apply_to_exchange(&mut self, id: ExchangeId, applied: Applied) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let before = std::mem::replace(&mut exchange.policy, applied.user);
        // Most policies are not about where messages go.
        let sets = |policy: &Option<Arc<super::Policy>>| {
            policy.as_ref().is_some_and(|policy| policy.definition.contains_key(ALTERNATE))
        };
        if sets(&before) || sets(&exchange.policy) {
            self.topology += 1;
        }
    }
}

pub(in crate::broker) const ALTERNATE: &str = "alternate-exchange";

impl Queue {
    /// Puts policies in the place of those it has, and returns its settings from before if they are different for that.
    fn take_policies(&mut self, applied: Applied) -> Option<Arc<Settings>> {
        if self.policies.is(&applied) {
            return None;
        }
        let settings = arguments::read_with(self.settings.queue_type, &self.arguments, &applied.definition());
        self.policies = applied;
        if *self.settings == settings {
            return None;
        }
        let before = std::mem::replace(&mut self.settings, settings.shared());
        self.note_plain();
        Some(before)
    }
}
