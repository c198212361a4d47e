//! What vhosts get when they are made, whoever makes them: limits, operator policies and users, by patterns of names
//! (RabbitMQ's `default_limits`, `default_policies.operator` and `default_users`). And which passwords are good enough.

use serde_json::{Map, Value};

use super::cell::VhostCell;
use super::{Node, Vhosts, salt};
use crate::auth::limits::VhostLimits;
use crate::auth::password::PasswordHash;
use crate::auth::{Pattern, Permission};
use crate::broker::policy::{Policy, Rank};

/// What new vhosts get. Each rule is for the vhosts whose names its pattern matches, or for all of them.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub limits: Vec<(Option<Pattern>, VhostLimits)>,
    /// By name, as JSON that a policy is made of.
    pub operator_policies: Vec<(Option<Pattern>, String, Map<String, Value>)>,
    pub users: Vec<(Option<Pattern>, DefaultUser)>,
    pub passwords: Passwords,
}

/// A user who gets into some new vhosts, and is made if there is none of that name.
#[derive(Clone, Debug)]
pub struct DefaultUser {
    pub name: String,
    /// `None`: no password lets this user in.
    pub password: Option<String>,
    pub tags: Vec<Box<str>>,
    pub permission: Permission,
}

/// Which passwords users may be given (RabbitMQ's `credential_validator`).
#[derive(Clone, Debug, Default)]
pub struct Passwords {
    /// Characters, at least.
    pub min_length: Option<usize>,
    pub pattern: Option<Pattern>,
}

impl Passwords {
    pub fn allow(&self, password: &str) -> bool {
        self.min_length.is_none_or(|min| password.chars().count() >= min)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(password))
    }
}

fn is_for(pattern: Option<&Pattern>, vhost: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(vhost))
}

impl Node {
    /// The same node with something for new vhosts, before it has any.
    #[must_use]
    pub fn with_defaults(mut self, defaults: Defaults) -> Self {
        self.defaults = defaults;
        self
    }

    /// Whether users may be given this password.
    pub fn allows_password(&self, password: &str) -> bool {
        self.defaults.passwords.allow(password)
    }

    /// Why there can be no more vhosts, if there can be none; one of this name there may be.
    pub(super) fn refuses_vhost(&self, vhosts: &Vhosts, name: &str) -> Option<String> {
        let max = self.vhost_max?;
        let is_full = vhosts.len() >= max as usize && !vhosts.contains_key(name);
        is_full.then(|| format!("cannot create vhost '{name}': vhost limit of {max} is reached"))
    }

    /// Gives a new vhost what it is to have.
    pub(super) fn give_defaults(&self, vhost: &VhostCell) {
        let name = &vhost.name;
        let Defaults { limits, operator_policies, users, .. } = &self.defaults;
        if let Some((_, limits)) = limits.iter().find(|(pattern, _)| is_for(pattern.as_ref(), name)) {
            self.limit_vhost(name, "max-connections", limits.max_connections);
            self.limit_vhost(name, "max-queues", limits.max_queues);
            tracing::info!("Applied default limits to vhost '{name}'");
        }
        for (_, policy, json) in
            operator_policies.iter().filter(|(pattern, ..)| is_for(pattern.as_ref(), name))
        {
            match Policy::from_json(policy, Rank::Operator, self.compatibility(), json) {
                Ok(made) => {
                    self.put_policy(vhost, Rank::Operator, made);
                    tracing::info!("Applied default operator policy '{policy}' to vhost '{name}'");
                }
                Err(why) => tracing::error!("default operator policy '{policy}': {why}"),
            }
        }
        for (_, user) in users.iter().filter(|(pattern, _)| is_for(pattern.as_ref(), name)) {
            let DefaultUser { name: user, password, tags, permission } = user;
            if self.auth().user(user).is_none() {
                let hash = password.as_ref().map(|password| PasswordHash::new(password.as_bytes(), salt()));
                self.put_user(user, hash, tags.clone());
            }
            self.put_permission(user, name, permission.clone());
            tracing::info!("Added default user '{user}' to vhost '{name}'");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::limits::Limit;
    use crate::node::definitions::Scope;
    use serde_json::json;

    fn pattern(source: &str) -> Option<Pattern> {
        Some(Pattern::new(source).expect("a pattern"))
    }

    #[test]
    fn vhosts_get_what_is_for_their_names() {
        let policy = json!({ "pattern": "^q", "definition": { "max-length": 7 }, "apply-to": "queues", "priority": 0 });
        let bob = DefaultUser {
            name: "bob".into(),
            password: Some("pw".into()),
            tags: vec!["monitoring".into()],
            permission: Permission::all().expect("patterns"),
        };
        let limits = VhostLimits { max_queues: Some(Limit(5)), max_connections: None };
        let defaults = Defaults {
            limits: vec![(pattern("^t"), limits)],
            operator_policies: vec![(pattern("^t"), "op".into(), policy.as_object().expect("one").clone())],
            users: vec![(None, bob)],
            passwords: Passwords::default(),
        };
        let node = Node::empty(1 << 20, 1 << 20).with_defaults(defaults);
        node.begin().expect("a beginning");
        assert!(node.auth().login("bob", b"pw", true).is_ok() && node.auth().may_enter("bob", "/"));
        for (vhost, has) in [("tests", true), ("other", false)] {
            node.put_vhost(vhost, |_| {});
            let cell = node.vhost(vhost).expect("it is there");
            assert_eq!(cell.about().limits.is_some_and(|limits| limits.max_queues == Some(Limit(5))), has);
            let policies = cell.with_vhost(|vhost| vhost.policies().all(Rank::Operator).len());
            assert_eq!(policies, usize::from(has), "{vhost}");
            assert!(node.auth().may_enter("bob", vhost));
        }
        assert!(!node.auth().may_enter("guest", "tests"));
    }

    #[test]
    fn passwords_and_numbers_of_vhosts() {
        let passwords = Passwords { min_length: Some(3), pattern: pattern("^a") };
        for (password, allowed) in [("abc", true), ("ab", false), ("bcd", false), ("aäö", true)] {
            assert_eq!(passwords.allow(password), allowed, "{password}");
        }
        let limits = super::super::limits::NodeLimits { vhost_max: Some(2), ..Default::default() };
        let node = Node::empty(1 << 20, 1 << 20).with_limits(&limits);
        node.begin().expect("a beginning");
        let put = |name| node.put_vhost_if_allowed(name, |_| {});
        assert_eq!(put("a"), Ok(true));
        assert_eq!(put("b"), Err("cannot create vhost 'b': vhost limit of 2 is reached".to_owned()));
        assert_eq!(put("a"), Ok(false), "it is there");
        let file = br#"{"vhosts": [{"name": "a"}, {"name": "b"}]}"#;
        let refused = node.import_definitions(Scope::Node, file).map_err(|why| why.to_string());
        assert_eq!(refused.err().as_deref(), Some("cannot create vhost 'b': vhost limit of 2 is reached"));
        assert!(node.vhost("b").is_none());
    }

    #[test]
    fn what_is_imported_needs_good_passwords_too() {
        let passwords = Passwords { min_length: Some(4), pattern: None };
        let node = Node::empty(1 << 20, 1 << 20).with_defaults(Defaults { passwords, ..Defaults::default() });
        let import = |password: &str| {
            let file = json!({ "users": [{ "name": "u", "tags": "", "password": password }] }).to_string();
            node.import_definitions(Scope::Node, file.as_bytes()).map(drop).map_err(|why| why.to_string())
        };
        assert_eq!(import("abc"), Err("credential_validation_failed".to_owned()));
        assert!(node.auth().user("u").is_none());
        assert_eq!(import("abcd"), Ok(()));
        // Without one nobody gets in.
        assert_eq!(import(""), Ok(()));
    }
}
