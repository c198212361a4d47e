//! Users and permissions: changed in memory first, and noted for the catalog in the same order.

use std::sync::Arc;

use super::Node;
use crate::auth::password::PasswordHash;
use crate::auth::{Auth, Pattern, Permission};
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

    /// Adds a user or replaces one, whose permissions stay. Returns whether there was none of that name.
    pub fn put_user(&self, name: &str, password: Option<PasswordHash>, tags: Vec<Box<str>>) -> bool {
        let told: Vec<_> = tags.iter().map(ToString::to_string).collect();
        let is_new = self.change_auth(|auth| {
            let is_new = auth.user(name).is_none();
            let definition =
                UserDefinition { name: name.into(), password: password.clone(), tags: tags.clone() };
            auth.put_user(name, password, tags);
            (is_new, Some(NodeChange::PutUser(definition)))
        });
        let key = if is_new { "user.created" } else { "user.password.changed" };
        self.events.done(key, |facts| facts.text("name", name));
        self.events.done("user.tags.set", |facts| facts.text("name", name).texts("tags", told));
        is_new
    }

    /// Removes a user, closes their connections, and says whether there was one.
    pub fn remove_user(&self, name: &str) -> bool {
        let removed = self.change_auth(|auth| {
            let removed = auth.remove_user(name);
            (removed, removed.then(|| NodeChange::DeleteUser(name.into())))
        });
        if removed {
            self.events.done("user.deleted", |facts| facts.text("name", name));
            self.connections.close_where(&super::user_deleted(name), |connection| &*connection.user == name);
        }
        removed
    }

    /// Sets a user's permissions in a vhost. Returns whether there were none before, or `None` without that user or
    /// that vhost.
    pub fn put_permission(&self, user: &str, vhost: &str, permission: Permission) -> Option<bool> {
        let [configure, write, read] = [&permission.configure, &permission.write, &permission.read]
            .map(|pattern| pattern.source.clone());
        let is_new = self.change_auth(|auth| {
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
        });
        if is_new.is_some() {
            self.events.done("permission.created", |facts| {
                let facts = facts.text("user", user).text("vhost", vhost);
                facts.text("configure", configure).text("write", write).text("read", read)
            });
        }
        is_new
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
