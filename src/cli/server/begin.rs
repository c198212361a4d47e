//! Settings become a node.

use crate::auth::{InvalidPattern, Pattern, Permission};
use crate::config::files::plugins_now;
use crate::config::limits::{Limits, OperatorPolicy};
use crate::config::management::Management;
use crate::config::people::People;
use crate::config::settings::{Place, Settings};
use crate::node::Node;
use crate::node::beginning::{Beginning, FirstUser};
use crate::node::defaults::{DefaultUser, Defaults, Passwords};
use crate::node::plugins::Plugins;
use crate::node::samples::StatsSettings;

/// The node that these settings describe, before it has anything.
pub fn node(settings: &Settings) -> Result<Node, InvalidPattern> {
    let Settings { place, limits, people, .. } = settings;
    let memory = if place.in_memory {
        usize::MAX
    } else {
        usize::try_from(limits.message_memory).unwrap_or(usize::MAX)
    };
    let node = Node::empty(limits.message_size_max, memory)
        .following(place.compatibility)
        .named(&place.node_name, place.cluster_name.as_deref())
        .with_limits(&limits.node)
        .with_mechanisms(people.mechanisms())
        .with_stats(stats(&settings.management))
        .with_plugins(plugins(place))
        .with_loopback_users(people.loopback_users())
        .beginning_with(beginning(people))
        .with_defaults(defaults(people, limits)?);
    Ok(node)
}

/// Those that are switched on, whenever somebody asks.
fn plugins(place: &Place) -> Plugins {
    let place = place.clone();
    Plugins::new(move || plugins_now(&place))
}

/// What the node tells of what it counts.
fn stats(management: &Management) -> StatsSettings {
    StatsSettings {
        rates_mode: management.rates_mode,
        disable_stats: management.no_statistics,
        enable_queue_totals: management.queue_totals,
    }
}

/// The default user, and the default vhost with any others.
fn beginning(people: &People) -> Beginning {
    let more = people.vhosts.get().unwrap_or_default();
    let more = more.into_iter().map(|(vhost, _)| vhost.to_owned()).filter(|vhost| *vhost != people.vhost);
    Beginning {
        vhosts: std::iter::once(people.vhost.clone()).chain(more).collect(),
        users: vec![FirstUser {
            name: people.user.clone(),
            password: people.password.clone(),
            tags: people.default_tags(),
            permissions: people.permissions.clone(),
        }],
    }
}

/// What new vhosts get, and which passwords are good enough.
fn defaults(people: &People, limits: &Limits) -> Result<Defaults, InvalidPattern> {
    let pattern = |source: &Option<String>| source.as_deref().map(Pattern::new).transpose();
    let mut defaults = Defaults {
        passwords: Passwords {
            min_length: people.validator.length(),
            pattern: people.validator.pattern().map(Pattern::new).transpose()?,
        },
        ..Defaults::default()
    };
    for rule in limits.vhosts.values() {
        defaults.limits.push((pattern(&rule.pattern)?, rule.limits));
    }
    for (name, policy) in &limits.operator_policies {
        defaults.operator_policies.push((pattern(&policy.vhost_pattern)?, name.clone(), json(policy)));
    }
    for (name, user) in &people.more {
        // What nobody says is nothing, as in RabbitMQ.
        let [configure, write, read] =
            user.permissions.each_ref().map(|source| source.as_deref().unwrap_or_default());
        let permission = Permission {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        };
        let (password, tags) = (user.password.clone(), user.tags.clone());
        let made = DefaultUser { name: name.clone(), password, tags, permission };
        defaults.users.push((pattern(&user.vhost_pattern)?, made));
    }
    Ok(defaults)
}

/// A policy as the API has it.
fn json(policy: &OperatorPolicy) -> serde_json::Map<String, serde_json::Value> {
    let mut json = serde_json::Map::new();
    json.insert("pattern".into(), policy.queue_pattern.as_deref().unwrap_or(".*").into());
    json.insert("apply-to".into(), policy.apply_to.as_deref().unwrap_or("all").into());
    json.insert("priority".into(), 0.into());
    json.insert("definition".into(), policy.definition.clone().into());
    json
}
