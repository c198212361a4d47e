//! All policies of a vhost, and which of them an object has.

use std::borrow::Cow;
use std::sync::Arc;

use super::merge::merged;
use super::{Definition, Policy, Rank};
use crate::broker::queue::arguments::QueueType;

/// The policies of a vhost. It is replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    users: Ranked,
    operators: Ranked,
}

/// Those of one rank: the highest priority first, and by name where there are several. (RabbitMQ takes any of several.)
#[derive(Clone, Debug, Default)]
struct Ranked(Vec<Arc<Policy>>);

impl Ranked {
    fn get(&self, name: &str) -> Option<&Arc<Policy>> {
        self.0.iter().find(|policy| *policy.name == *name)
    }

    fn put(&mut self, policy: Arc<Policy>) -> bool {
        let is_new = !self.remove(&policy.name);
        self.0.push(policy);
        self.0.sort_by(|a, b| b.priority.total_cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
        is_new
    }

    fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|policy| *policy.name != *name);
        self.0.len() < before
    }

    fn first(&self, fits: impl Fn(&Policy) -> bool) -> Option<Arc<Policy>> {
        self.0.iter().find(|policy| fits(policy)).cloned()
    }
}

impl Policies {
    pub fn is_empty(&self) -> bool {
        self.users.0.is_empty() && self.operators.0.is_empty()
    }

    fn ranked(&self, rank: Rank) -> &Ranked {
        match rank {
            Rank::User => &self.users,
            Rank::Operator => &self.operators,
        }
    }

    fn ranked_mut(&mut self, rank: Rank) -> &mut Ranked {
        match rank {
            Rank::User => &mut self.users,
            Rank::Operator => &mut self.operators,
        }
    }

    pub fn get(&self, rank: Rank, name: &str) -> Option<&Arc<Policy>> {
        self.ranked(rank).get(name)
    }

    /// All of one rank, by name.
    pub fn all(&self, rank: Rank) -> Vec<Arc<Policy>> {
        let mut all = self.ranked(rank).0.clone();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Adds a policy or replaces the one of its name, and says whether there was none.
    pub fn put(&mut self, rank: Rank, policy: Policy) -> bool {
        self.ranked_mut(rank).put(Arc::new(policy))
    }

    /// Removes a policy, and says whether there was one.
    pub fn remove(&mut self, rank: Rank, name: &str) -> bool {
        self.ranked_mut(rank).remove(name)
    }

    pub fn of_queue(&self, name: &str, queue_type: QueueType) -> Applied {
        let fits = |policy: &Policy| policy.is_for(queue_type) && policy.matches(name);
        Applied { user: self.users.first(fits), operator: self.operators.first(fits) }
    }

    /// Nothing that operators can set is for exchanges.
    pub fn of_exchange(&self, name: &str) -> Applied {
        let fits = |policy: &Policy| policy.is_for_exchanges() && policy.matches(name);
        Applied { user: self.users.first(fits), operator: None }
    }
}

/// The policies an object has.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    pub user: Option<Arc<Policy>>,
    pub operator: Option<Arc<Policy>>,
}

impl Applied {
    pub fn is_none(&self) -> bool {
        self.user.is_none() && self.operator.is_none()
    }

    /// Whether these are the very same ones.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same = |a: &Option<Arc<Policy>>, b: &Option<Arc<Policy>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        same(&self.user, &other.user) && same(&self.operator, &other.operator)
    }

    /// What they set together.
    pub fn definition(&self) -> Cow<'_, Definition> {
        match (&self.user, &self.operator) {
            (None, None) => Cow::default(),
            (Some(one), None) | (None, Some(one)) => Cow::Borrowed(&one.definition),
            (Some(user), Some(operator)) => Cow::Owned(merged(&user.definition, &operator.definition)),
        }
    }
}
