//! Users and permissions: changed in memory first, and noted for the catalog in the same order.

use std::collections::HashSet;
use std::sync::Arc;

use super::Node;
use crate::auth::limits::UserLimits;
use crate::auth::password::PasswordHash;
use crate::auth::{Auth, Pattern, Permission, User};
use crate::catalog::{NodeChange, PermissionDefinition, UserDefinition};

/// A user who is to be.
#[derive(Debug)]
pub struct NewUser {
    pub name: Box<str>,
    pub password: Option<PasswordHash>,
    pub tags: Vec<Box<str>>,
}

/// What a user is to be allowed in a vhost.
#[derive(Debug)]
pub struct NewPermission {
    pub user: Box<str>,
    pub vhost: Box<str>,
    pub permission: Permission,
}

impl Node {
    /// Users and permissions as they are now.
    pub fn auth(&self) -> Arc<Auth> {
        self.auth.load_full()
    }

    /// Changes users and permissions. Whoever asks next sees all of it or nothing.
    pub(super) fn change_auth<R, N: IntoIterator<Item = NodeChange>>(
        &self,
        change: impl FnOnce(&mut Auth) -> (R, N),
    ) -> R {
        let _one_at_a_time = self.auth_change.lock();
        let mut auth = Auth::clone(&self.auth.load());
        let (result, noted) = change(&mut auth);
        self.auth.store(Arc::new(auth));
        noted.into_iter().for_each(|change| self.changes.note(change));
        result
    }

    /// Adds a user or replaces one, whose permissions and limits stay. Returns whether there was none of that name.
    pub fn put_user(&self, name: &str, password: Option<PasswordHash>, tags: Vec<Box<str>>) -> bool {
        let user = NewUser { name: name.into(), password, tags };
        self.put_users(vec![user]).first().copied().unwrap_or_default()
    }

    /// The same for many, of whom everybody else is copied once.
    pub fn put_users(&self, users: Vec<NewUser>) -> Vec<bool> {
        let told: Vec<_> = users.iter().map(|user| (user.name.clone(), user.tags.clone())).collect();
        let are_new: Vec<bool> = self.change_auth(|auth| {
            let (mut are_new, mut changes) = (Vec::new(), Vec::new());
            for NewUser { name, password, tags } in users {
                are_new.push(auth.user(&name).is_none());
                auth.put_user(&name, password, tags);
                changes.extend(auth.user(&name).map(|user| put(user)));
            }
            (are_new, changes)
        });
        for ((name, tags), is_new) in told.iter().zip(&are_new) {
            let key = if *is_new { "user.created" } else { "user.password.changed" };
            self.events.done(key, |facts| facts.text("name", &**name));
            let tags = tags.iter().map(ToString::to_string);
            self.events.done("user.tags.set", |facts| facts.text("name", &**name).texts("tags", tags));
        }
        are_new
    }

    /// Changes a user's limits, and says whether there is one of that name.
    pub(super) fn change_limits_of(&self, name: &str, change: impl FnOnce(&mut UserLimits)) -> bool {
        self.change_auth(|auth| {
            let limited = auth.limit_user(name, change).map(|user| put(user));
            (limited.is_some(), limited)
        })
    }

    /// Removes a user, closes their connections, and says whether there was one.
    pub fn remove_user(&self, name: &str) -> bool {
        self.remove_users(&[name]) > 0
    }

    /// The same for many, and says how many of them there were. It may take long: everybody's connections are looked at.
    pub fn remove_users(&self, names: &[&str]) -> usize {
        let removed: HashSet<&str> = self.change_auth(|auth| {
            let removed: HashSet<_> = names.iter().copied().filter(|name| auth.remove_user(name)).collect();
            // In here, so that nobody gives them to a user who has gone.
            removed.iter().for_each(|name| self.forget_topics(name));
            let changes: Vec<_> = removed.iter().map(|name| NodeChange::DeleteUser((*name).into())).collect();
            (removed, changes)
        });
        for name in &removed {
            self.events.done("user.deleted", |facts| facts.text("name", *name));
        }
        for connection in self.connections.all() {
            if removed.contains(&*connection.user) {
                connection.close(super::user_deleted(&connection.user));
            }
        }
        removed.len()
    }

    /// Sets a user's permissions in a vhost. Returns whether there were none before, or `None` without that user or
    /// that vhost.
    pub fn put_permission(&self, user: &str, vhost: &str, permission: Permission) -> Option<bool> {
        let permission = NewPermission { user: user.into(), vhost: vhost.into(), permission };
        self.put_permissions(&[permission]).first().copied().flatten()
    }

    /// The same for many.
    pub fn put_permissions(&self, permissions: &[NewPermission]) -> Vec<Option<bool>> {
        let are_new: Vec<_> = self.change_auth(|auth| {
            let (mut are_new, mut changes) = (Vec::new(), Vec::new());
            for NewPermission { user, vhost, permission } in permissions {
                // Looked for in here: whoever removes the vhost forgets its permissions after that.
                let number = self.vhost(vhost).map(|cell| cell.number);
                let put = number.and_then(|number| {
                    let is_new = auth.put_permission(user, vhost, permission.clone())?;
                    changes.push(kept(user, number, permission));
                    Some(is_new)
                });
                are_new.push(put);
            }
            (are_new, changes)
        });
        for (NewPermission { user, vhost, permission }, _) in
            permissions.iter().zip(&are_new).filter(|(_, is_new)| is_new.is_some())
        {
            self.events.done("permission.created", |facts| {
                let facts = facts.text("user", &**user).text("vhost", &**vhost);
                let facts = facts.text("configure", &*permission.configure.source);
                facts.text("write", &*permission.write.source).text("read", &*permission.read.source)
            });
        }
        are_new
    }

    /// Takes a user's permissions in a vhost away, and says whether there were any.
    pub fn remove_permission(&self, user: &str, vhost: &str) -> bool {
        let removed = self.change_auth(|auth| {
            let removed = auth.remove_permission(user, vhost);
            let number = self.vhost(vhost).map(|cell| cell.number).filter(|_| removed);
            (removed, number.map(|vhost| NodeChange::DeletePermission { user: user.into(), vhost }))
        });
        if removed {
            self.events.done("permission.deleted", |facts| facts.text("user", user).text("vhost", vhost));
        }
        removed
    }
}

/// Permissions as they are kept.
fn kept(user: &str, vhost: u32, permission: &Permission) -> NodeChange {
    let source = |pattern: &Pattern| pattern.source.clone();
    NodeChange::PutPermission(PermissionDefinition {
        user: user.into(),
        vhost,
        configure: source(&permission.configure),
        write: source(&permission.write),
        read: source(&permission.read),
    })
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
