//! Topic permissions: they lie in the vhosts, beside their exchanges, and belong to users.

use super::Node;
use super::cell::VhostCell;
use crate::auth::topic::TopicPermission;

/// Why topic permissions cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// There is no such user.
    User,
    /// There is no such exchange.
    Exchange,
}

impl Node {
    /// Sets a user's topic permissions on an exchange. Says whether they had none in the vhost, or what is not there.
    pub fn put_topic_permission(
        &self,
        (vhost, user): (&VhostCell, &str),
        exchange: &str,
        permission: TopicPermission,
    ) -> Result<bool, TopicError> {
        let (write, read) = (permission.write.clone(), permission.read.clone());
        let is_new = {
            // Nobody is removed meanwhile.
            let _one_at_a_time = self.auth_change.lock();
            if self.auth.load().user(user).is_none() {
                return Err(TopicError::User);
            }
            vhost.with_vhost(|vhost| {
                let is_new = vhost.topic_permissions().all(|(_, of, _)| **of != *user);
                let put = vhost.put_topic_permission(exchange, user, permission);
                if put { Ok(is_new) } else { Err(TopicError::Exchange) }
            })?
        };
        self.events.done("topic.permission.created", |facts| {
            let facts = facts.text("user", user).text("vhost", &*vhost.name).text("exchange", exchange);
            facts.text("write", write).text("read", read)
        });
        Ok(is_new)
    }

    /// Takes a user's topic permissions away, on one exchange or on all of a vhost, and says whether there were any.
    pub fn remove_topic_permissions(
        &self,
        (vhost, user): (&VhostCell, &str),
        exchange: Option<&str>,
    ) -> bool {
        let removed = vhost.with_vhost(|vhost| vhost.remove_topic_permissions(user, exchange));
        if removed {
            self.events.done("topic.permission.deleted", |facts| {
                facts.text("user", user).text("vhost", &*vhost.name)
            });
        }
        removed
    }

    /// A user goes, and their topic permissions everywhere.
    pub(super) fn forget_topics(&self, user: &str) {
        for vhost in self.vhosts() {
            vhost.with_vhost(|vhost| vhost.remove_topic_permissions(user, None));
        }
    }
}
