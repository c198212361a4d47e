//! Vhosts: added, described, removed, and brought back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::bell::Ring;
use super::cell::VhostCell;
use super::events::acting;
use super::parameters::restored_policies;
use super::{Node, log_exchange, random, vhost_deleted};
use crate::auth::{Auth, Pattern, Permission};
use crate::broker::Vhost;
use crate::broker::events::EXCHANGE as EVENT_EXCHANGE;
use crate::catalog::{About, Definitions, NodeChange, PermissionDefinition, VhostDefinition};
use crate::log::LogId;

impl Node {
    pub fn vhost(&self, name: &str) -> Option<Arc<VhostCell>> {
        self.vhosts.read().get(name).cloned()
    }

    /// All vhosts by name.
    pub fn vhosts(&self) -> Vec<Arc<VhostCell>> {
        self.vhosts.read().values().cloned().collect()
    }

    /// Adds a vhost or describes the one there is anew. Says whether there was none of that name.
    pub fn put_vhost(&self, name: &str, describe: impl FnOnce(&mut About)) -> bool {
        self.put_vhost_among(self.vhosts.write(), name, describe)
    }

    /// The same unless there may be no more vhosts: then it says why.
    pub fn put_vhost_if_allowed(
        &self,
        name: &str,
        describe: impl FnOnce(&mut About),
    ) -> Result<bool, String> {
        let vhosts = self.vhosts.write();
        match self.refuses_vhost(&vhosts, name) {
            Some(why) => Err(why),
            None => Ok(self.put_vhost_among(vhosts, name, describe)),
        }
    }

    fn put_vhost_among(
        &self,
        mut vhosts: parking_lot::RwLockWriteGuard<'_, super::Vhosts>,
        name: &str,
        describe: impl FnOnce(&mut About),
    ) -> bool {
        let found = vhosts.get(name).cloned();
        let is_new = found.is_none();
        let cell = found.unwrap_or_else(|| self.new_vhost(name));
        cell.change_about(|about| {
            if is_new {
                about.creator = acting();
            }
            describe(about);
        });
        self.note_vhost(&cell);
        self.tell_vhost(if is_new { "vhost.created" } else { "vhost.updated" }, &cell);
        vhosts.insert(Arc::clone(&cell.name), Arc::clone(&cell));
        drop(vhosts);
        if is_new {
            self.give_defaults(&cell);
        }
        is_new
    }

    /// Describes a vhost anew. Says whether there is one of that name.
    pub fn describe_vhost(&self, name: &str, describe: impl FnOnce(&mut About)) -> bool {
        let changed = self.change_vhost(name, describe);
        if let Some(cell) = &changed {
            self.tell_vhost("vhost.updated", cell);
        }
        changed.is_some()
    }

    /// The same without telling anybody.
    pub(super) fn change_vhost(&self, name: &str, change: impl FnOnce(&mut About)) -> Option<Arc<VhostCell>> {
        // Held so that what is noted last is what is.
        let vhosts = self.vhosts.write();
        let cell = vhosts.get(name)?;
        cell.change_about(change);
        self.note_vhost(cell);
        Some(Arc::clone(cell))
    }

    fn note_vhost(&self, cell: &VhostCell) {
        let definition =
            VhostDefinition { number: cell.number, name: Arc::clone(&cell.name), about: cell.about() };
        self.changes.note(NodeChange::PutVhost(definition));
    }

    fn tell_vhost(&self, key: &'static str, cell: &VhostCell) {
        self.events.done(key, |facts| {
            let about = cell.about();
            let facts = facts.text("name", &*cell.name).text("description", &*about.description);
            let facts = facts.texts("tags", about.tags.iter().map(ToString::to_string));
            let facts = facts.text("default_queue_type", about.default_queue_type.name());
            facts.flag("protected_from_deletion", about.protected).flag("tracing", about.tracing)
        });
    }

    fn new_vhost(&self, name: &str) -> Arc<VhostCell> {
        let number = self.next_vhost.fetch_add(1, Ordering::Relaxed);
        let cell = self.vhost_with(number, name);
        cell.with_vhost(Vhost::tell_begin);
        cell
    }

    fn vhost_with(&self, number: u32, name: &str) -> Arc<VhostCell> {
        let cell = VhostCell::new(number, name, Arc::clone(&self.clock), Arc::clone(&self.events));
        let [seed @ .., _, _, _, _, _, _, _, _] = random();
        cell.with_vhost(|vhost| {
            vhost.share_log_ids(Arc::clone(&self.log_ids));
            vhost.share_budget(Arc::clone(&self.budget));
            vhost.share_churn(Arc::clone(&self.churn));
            vhost.compatibility = self.compatibility;
            vhost.permits = self.permits;
            vhost.seed(u64::from_le_bytes(seed));
            vhost.consumer_timeout = self.consumer_timeout;
            vhost.live_on(&self.name);
            if name == self.default_vhost() {
                vhost.open_exchange(log_exchange::EXCHANGE);
            }
            if self.events.is_on() {
                vhost.note_events();
                if name == "/" {
                    vhost.open_exchange(EVENT_EXCHANGE);
                }
            }
        });
        if let Some(bells) = self.changes.bells() {
            cell.keep(Arc::clone(&self.budget), bells.clone());
        }
        Arc::new(cell)
    }

    /// Removes a vhost with everything in it, closes its connections, and says whether there was one.
    pub fn remove_vhost(&self, name: &str) -> bool {
        let removed = self.change_auth(|auth| {
            // In here, so that the permissions in another vhost of this name, made at once, stay.
            let mut vhosts = self.vhosts.write();
            let Some(cell) = vhosts.remove(name) else { return (None, None) };
            self.retire(&cell);
            drop(vhosts);
            auth.forget_vhost(name);
            let logs = cell.with_vhost(|vhost| vhost.kept_queues());
            let logs = logs.into_iter().map(|(_, log)| log).collect();
            let change = NodeChange::DeleteVhost { number: cell.number, logs };
            (Some(cell), Some(change))
        });
        let Some(cell) = removed else { return false };
        self.retire_queues(&cell);
        cell.with_vhost(Vhost::tell_end);
        if cell.about().limits.is_some() {
            self.tell_limits_gone(name);
        }
        self.events.done("vhost.deleted", |facts| facts.text("name", name));
        self.connections.close_where(&vhost_deleted(name), |connection| &*connection.vhost == name);
        if let Some(bells) = self.changes.bells() {
            self.removed.lock().push(cell);
            // The committer may have come for the definition already.
            bells.committer.ring(Ring::Loudly);
        }
        true
    }

    /// The vhosts that have been removed since the last call, whose files have to go.
    pub fn take_removed(&self) -> Vec<Arc<VhostCell>> {
        std::mem::take(&mut self.removed.lock())
    }

    /// New logs get numbers above this one.
    pub(super) fn skip_logs(&self, last: LogId) {
        self.log_ids.fetch_max(last.0 + 1, Ordering::Relaxed);
    }

    /// Brings back what a catalog has. A new one gets the vhost `/` and the user `guest`, who is an administrator.
    pub(super) fn restore(&self, stored: Definitions) {
        self.log_ids.fetch_max(stored.next_log.max(1), Ordering::Relaxed);
        self.next_vhost.fetch_max(stored.next_vhost.unwrap_or_default(), Ordering::Relaxed);
        let mut vhosts = self.vhosts.write();
        let mut names = BTreeMap::new();
        let mut policies = restored_policies(stored.parameters, self.compatibility);
        for (definition, content) in stored.vhosts {
            let VhostDefinition { number, name, about } = definition;
            let cell = self.vhost_with(number, &name);
            cell.change_about(|found| *found = about);
            if let Some(policies) = policies.remove(&number) {
                cell.change_policies(|found| Some(std::mem::replace(found, policies)), || ());
            }
            for why in cell.with_vhost(|vhost| vhost.restore_definitions(content)) {
                tracing::error!(vhost = &*name, "not brought back as it was: {why}");
            }
            names.insert(number, Arc::clone(&name));
            vhosts.insert(name, cell);
        }
        drop(vhosts);
        self.restore_parameters(stored.global_parameters);
        self.change_auth(|auth| {
            for user in stored.users {
                auth.put_user(&user.name, user.password, user.tags);
                auth.limit_user(&user.name, |limits| *limits = user.limits);
            }
            for permission in stored.permissions {
                restore_permission(auth, &names, &permission);
            }
            self.forget_strangers(auth);
            ((), None)
        });
    }

    /// Takes topic permissions away that belong to nobody: their user was removed, and the power failed before it was
    /// known what goes with them.
    fn forget_strangers(&self, auth: &Auth) {
        for cell in self.vhosts() {
            cell.with_vhost(|vhost| {
                let users = vhost.topic_permissions().map(|(_, user, _)| user);
                let strangers: Vec<_> = users.filter(|user| auth.user(user).is_none()).cloned().collect();
                for user in strangers {
                    vhost.remove_topic_permissions(&user, None);
                }
            });
        }
    }
}

fn restore_permission(auth: &mut Auth, names: &BTreeMap<u32, Arc<str>>, stored: &PermissionDefinition) {
    let Some(vhost) = names.get(&stored.vhost) else {
        return tracing::error!("permissions of user '{}' are for no vhost that there is", stored.user);
    };
    let patterns = [&stored.configure, &stored.write, &stored.read].map(|source| Pattern::new(source));
    match patterns {
        [Ok(configure), Ok(write), Ok(read)] => {
            if auth.put_permission(&stored.user, vhost, Permission { configure, write, read }).is_none() {
                tracing::error!("permissions in vhost '{vhost}' are for no user that there is");
            }
        }
        _ => tracing::error!("permissions of user '{}' in vhost '{vhost}' make no sense", stored.user),
    }
}
