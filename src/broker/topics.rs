//! Topic permissions: which routing keys a user may publish and bind with at a topic exchange.
//!
//! They belong to the exchange and go with it. Of whom they say nothing may use all its topics. They can be given
//! for any exchange, and count for topic exchanges only.

use std::collections::BTreeMap;

use super::Name;
use super::definitions::{Change, DurableTopicPermission};
use super::exchange::{Exchange, Kind};
use super::vhost::Vhost;
use crate::auth::Access;
use crate::auth::topic::TopicPermission;
use crate::wire::reply::Exception;

/// By the names of exchange and user.
#[derive(Debug, Default)]
pub(super) struct TopicPermissions(BTreeMap<Name, BTreeMap<Name, TopicPermission>>);

impl Vhost {
    /// Refuses a routing key that a user's topic permissions on an exchange do not cover. To be asked for every key that
    /// a message or a binding has; a route that is remembered has been asked for, since it holds for one state of the
    /// topology, of which these permissions are a part.
    pub fn check_topic(
        &self,
        user: &str,
        access: Access,
        exchange: &[u8],
        routing_key: &[u8],
    ) -> Result<(), Exception> {
        if self.topic_permissions.0.is_empty() {
            return Ok(());
        }
        let topic = self.exchange(exchange).filter(|exchange| exchange.kind == Kind::Topic);
        let permission = topic.and_then(|topic| self.topic_permissions.0.get(&topic.name)?.get(user));
        let key = super::text(routing_key);
        match permission {
            Some(permission) if !permission.permits(access, &key) => Err(Exception::access_refused(format!(
                "{} access to topic '{key}' in {} refused for user '{user}'",
                access.name(),
                self.describe("exchange", exchange)
            ))),
            _ => Ok(()),
        }
    }

    /// All topic permissions: exchange, user, and what they may do.
    pub fn topic_permissions(&self) -> impl Iterator<Item = (&Name, &Name, &TopicPermission)> {
        let all = self.topic_permissions.0.iter();
        all.flat_map(|(exchange, users)| users.iter().map(move |(user, found)| (exchange, user, found)))
    }

    /// Sets a user's topic permissions on an exchange, and says whether it is there.
    pub fn put_topic_permission(&mut self, exchange: &str, user: &str, permission: TopicPermission) -> bool {
        let Some(found) = self.exchange(exchange.as_bytes()) else { return false };
        let (exchange, durable) = (Name::clone(&found.name), found.durable);
        let (user, write, read) = (Name::from(user), permission.write.clone(), permission.read.clone());
        let users = self.topic_permissions.0.entry(Name::clone(&exchange)).or_default();
        users.insert(Name::clone(&user), permission);
        self.topology += 1;
        let definition = DurableTopicPermission { exchange, user, write, read };
        self.record(|_| durable.then_some(Change::PutTopicPermission(definition)));
        true
    }

    /// Takes a user's topic permissions away, on one exchange or on all, and says whether there were any.
    pub fn remove_topic_permissions(&mut self, user: &str, exchange: Option<&str>) -> bool {
        let chosen = self.topic_permissions();
        let chosen =
            chosen.filter(|(on, of, _)| ***of == *user && exchange.is_none_or(|name| *name == ***on));
        let exchanges: Vec<_> = chosen.map(|(on, ..)| Name::clone(on)).collect();
        for exchange in &exchanges {
            if let Some(users) = self.topic_permissions.0.get_mut(exchange) {
                users.remove(user);
            }
            let durable = self.exchange(exchange.as_bytes()).is_some_and(|exchange| exchange.durable);
            self.note_topic_permission_gone(exchange, durable, user.into());
        }
        self.topic_permissions.0.retain(|_, users| !users.is_empty());
        !exchanges.is_empty()
    }

    /// An exchange goes, and everybody's permissions for its topics.
    pub(super) fn forget_topics(&mut self, exchange: &Exchange) {
        for user in self.topic_permissions.0.remove(&exchange.name).unwrap_or_default().into_keys() {
            self.note_topic_permission_gone(&exchange.name, exchange.durable, user);
        }
    }

    /// What is for an exchange that is not durable is not kept.
    fn note_topic_permission_gone(&mut self, exchange: &Name, durable: bool, user: Name) {
        self.topology += 1;
        let exchange = Name::clone(exchange);
        self.record(|_| durable.then_some(Change::DeleteTopicPermission { exchange, user }));
    }

    /// Brings back what was kept, or says why not.
    pub(super) fn restore_topic_permission(&mut self, stored: DurableTopicPermission) -> Result<(), String> {
        let DurableTopicPermission { exchange, user, write, read } = stored;
        let failed =
            |why: &str| format!("topic permissions of user '{user}' on exchange '{exchange}': {why}");
        let found = self.exchange(exchange.as_bytes()).ok_or_else(|| failed("no such exchange"))?;
        let exchange_name = Name::clone(&found.name);
        let permission = TopicPermission::new(&user, &self.name, &write, &read);
        let permission = permission.map_err(|e| failed(&e.to_string()))?;
        self.topic_permissions.0.entry(exchange_name).or_default().insert(Name::clone(&user), permission);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::definitions::Definitions;
    use crate::broker::exchange::declare::Declaration;
    use amq_protocol::types::FieldTable;

    fn vhost() -> Vhost {
        let mut vhost = Vhost::new("v");
        for (name, kind, durable) in
            [("t", Kind::Topic, true), ("passing", Kind::Topic, false), ("d", Kind::Direct, true)]
        {
            let (auto_delete, internal, arguments) = (false, false, FieldTable::default());
            let (name, creator) = (name.into(), None);
            let wanted = Declaration { name, kind, durable, auto_delete, internal, arguments, creator };
            vhost.declare_exchange(wanted).expect("an exchange");
        }
        vhost.commits.turn_on();
        vhost
    }

    fn permission(write: &str, read: &str) -> TopicPermission {
        TopicPermission::new("ada", "v", write, read).expect("patterns")
    }

    fn may(vhost: &Vhost, user: &str, exchange: &str, key: &str) -> bool {
        vhost.check_topic(user, Access::Write, exchange.as_bytes(), key.as_bytes()).is_ok()
    }

    #[test]
    fn keys_that_are_not_covered_are_refused() {
        let mut vhost = vhost();
        assert!(may(&vhost, "ada", "t", "x"));
        let before = vhost.topology();
        for exchange in ["t", "passing", "d", ""] {
            assert!(vhost.put_topic_permission(exchange, "ada", permission("^a", "^b")), "{exchange}");
        }
        assert!(!vhost.put_topic_permission("nosuch", "ada", permission("", "")));
        assert!(vhost.topology() > before, "routes that are remembered are asked for again");
        assert!(may(&vhost, "ada", "t", "a.b") && !may(&vhost, "ada", "t", "b"));
        assert!(!may(&vhost, "ada", "passing", ""));
        for (user, exchange) in [("ada", "d"), ("ada", ""), ("ada", "nosuch"), ("bob", "t")] {
            assert!(may(&vhost, user, exchange, "b"), "{user} {exchange}");
        }
        let refused = vhost.check_topic("ada", Access::Read, b"t", b"a").expect_err("a refusal");
        assert_eq!(
            refused.explanation,
            "read access to topic 'a' in exchange 't' in vhost 'v' refused for user 'ada'"
        );
    }

    #[test]
    fn what_is_kept_comes_back_and_goes_with_its_exchange() {
        let mut vhost = vhost();
        for (exchange, user) in [("t", "ada"), ("t", "bob"), ("passing", "ada"), ("d", "ada")] {
            assert!(vhost.put_topic_permission(exchange, user, permission("^{username}", "r")));
        }
        let put = |exchange: &str, user: &str| DurableTopicPermission {
            exchange: exchange.into(),
            user: user.into(),
            write: "^{username}".into(),
            read: "r".into(),
        };
        let kept = vec![put("t", "ada"), put("t", "bob"), put("d", "ada")];
        let changes: Vec<_> = kept.iter().cloned().map(Change::PutTopicPermission).collect();
        assert_eq!(vhost.take_changes(), changes);

        let gone = |exchange: &str, user: &str| Change::DeleteTopicPermission {
            exchange: exchange.into(),
            user: user.into(),
        };
        vhost.delete_exchange(b"t", false).expect("deleted");
        vhost.delete_exchange(b"passing", false).expect("deleted");
        let t = Change::DeleteExchange("t".into());
        assert_eq!(vhost.take_changes(), [gone("t", "ada"), gone("t", "bob"), t]);
        assert!(!vhost.remove_topic_permissions("bob", None));
        assert!(!vhost.remove_topic_permissions("ada", Some("t")));
        assert!(vhost.remove_topic_permissions("ada", None));
        assert_eq!(vhost.take_changes(), [gone("d", "ada")]);
        assert_eq!(vhost.topic_permissions().count(), 0);

        let mut again = self::vhost();
        let mut stored = Definitions { topic_permissions: kept, ..Definitions::default() };
        stored.topic_permissions.push(put("nosuch", "ada"));
        let errors: Vec<_> = again.restore_definitions(stored).iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["topic permissions of user 'ada' on exchange 'nosuch': no such exchange"]);
        assert_eq!(again.topic_permissions().count(), 3);
        assert!(may(&again, "ada", "t", "ada.x") && !may(&again, "ada", "t", "bob.x"));
        assert!(may(&again, "bob", "t", "bob.x") && !may(&again, "bob", "t", "ada.x"));
        assert_eq!(again.take_changes(), [], "nothing of this is a change");
    }
}
