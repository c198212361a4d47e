//! Users and permissions: changed in memory first, and noted for the catalog in the same order.

use std::sync::Arc;

use super::Node;
use super::cell::VhostCell;
use crate::auth::limits::UserLimits;
use crate::auth::password::PasswordHash;
use crate::auth::topic::TopicPermission;
use crate::auth::{Auth, Pattern, Permission, User};
use crate::catalog::{NodeChange, PermissionDefinition, UserDefinition};

impl Node {
    /// Users and permissions as they are now.
    pub fn auth(&self) -> Arc<Auth> {
        self.auth.load_full()
    }

    /// Changes users and permissions. Whoever asks next sees all of it or nothing.
    pub(super) fn change_auth<R>(&self, change: impl FnOnce(&mut Auth) -> (R, Option<NodeChange>)) -> R {
        let _one_at_a_time = self.auth_change.lock();
        let mut auth = Auth::clone(&self.auth.load());
        let (result, noted) = change(&mut auth);
        self.auth.store(Arc::new(auth));
        if let Some(change) = noted {
            self.changes.note(change);
        }
        result
    }

    /// Adds a user or replaces one, whose permissions and limits stay. Returns whether there was none of that name.
    pub fn put_user(&self, name: &str, password: Option<PasswordHash>, tags: Vec<Box<str>>) -> bool {
        self.change_auth(|auth| {
            let is_new = auth.user(name).is_none();
            auth.put_user(name, password, tags);
            (is_new, auth.user(name).map(|user| put(user)))
        })
    }

    /// Changes a user's limits, and says whether there is one of that name. What they have open already stays.
    pub fn limit_user(&self, name: &str, change: impl FnOnce(&mut UserLimits)) -> bool {
        self.change_auth(|auth| {
            let limited = auth.limit_user(name, change).map(|user| put(user));
            (limited.is_some(), limited)
        })
    }

    /// Removes a user, closes their connections, and says whether there was one.
    pub fn remove_user(&self, name: &str) -> bool {
        let removed = self.change_auth(|auth| {
            let removed = auth.remove_user(name);
            // In here, so that nobody gives them to a user who has gone.
            self.forget_topics(name);
            (removed, removed.then(|| NodeChange::DeleteUser(name.into())))
        });
        if removed {
            self.connections.close_where(&super::user_deleted(name), |connection| &*connection.user == name);
        }
        removed
    }

    /// Sets a user's permissions in a vhost. Returns whether there were none before, or `None` without that user or
    /// that vhost.
    pub fn put_permission(&self, user: &str, vhost: &str, permission: Permission) -> Option<bool> {
        self.change_auth(|auth| {
            // Looked for in here: whoever removes the vhost forgets its permissions after that.
            let Some(number) = self.vhost(vhost).map(|cell| cell.number) else { return (None, None) };
            let source = |pattern: &Pattern| pattern.source.clone();
            let definition = PermissionDefinition {
                user: user.into(),
                vhost: number,
                configure: source(&permission.configure),
                write: source(&permission.write),
                read: source(&permission.read),
            };
            let is_new = auth.put_permission(user, vhost, permission);
            (is_new, is_new.map(|_| NodeChange::PutPermission(definition)))
        })
    }

    /// Takes a user's permissions in a vhost away, and says whether there were any.
    pub fn remove_permission(&self, user: &str, vhost: &str) -> bool {
        self.change_auth(|auth| {
            let removed = auth.remove_permission(user, vhost);
            let number = self.vhost(vhost).map(|cell| cell.number).filter(|_| removed);
            (removed, number.map(|vhost| NodeChange::DeletePermission { user: user.into(), vhost }))
        })
    }
}

/// Topic permissions lie in the vhosts, beside their exchanges.
impl Node {
    /// Sets a user's topic permissions on an exchange. Says whether they had none in the vhost, or what is not there.
    pub fn put_topic_permission(
        &self,
        (vhost, user): (&VhostCell, &str),
        exchange: &str,
        permission: TopicPermission,
    ) -> Result<bool, TopicError> {
        // Nobody is removed meanwhile.
        let _one_at_a_time = self.auth_change.lock();
        if self.auth.load().user(user).is_none() {
            return Err(TopicError::User);
        }
        vhost.with_vhost(|vhost| {
            let is_new = vhost.topic_permissions().all(|(_, of, _)| **of != *user);
            let put = vhost.put_topic_permission(exchange, user, permission);
            if put { Ok(is_new) } else { Err(TopicError::Exchange) }
        })
    }

    fn forget_topics(&self, user: &str) {
        for vhost in self.vhosts() {
            vhost.with_vhost(|vhost| vhost.remove_topic_permissions(user, None));
        }
    }
}

/// Why topic permissions cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// There is no such user.
    User,
    /// There is no such exchange.
    Exchange,
}

fn put(user: &User) -> NodeChange {
    let User { name, password, tags, limits, .. } = user;
    NodeChange::PutUser(UserDefinition {
        name: Arc::clone(name),
        password: password.clone(),
        tags: tags.clone(),
        limits: *limits,
    })
}
