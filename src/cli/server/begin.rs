//! Settings become a node.

use crate::config::people::People;
use crate::config::settings::Settings;
use crate::node::Node;
use crate::node::beginning::{Beginning, FirstUser};

/// The node that these settings describe, before it has anything.
pub fn node(settings: &Settings) -> Node {
    let Settings { place, limits, people, .. } = settings;
    let memory = if place.in_memory {
        usize::MAX
    } else {
        usize::try_from(limits.message_memory).unwrap_or(usize::MAX)
    };
    Node::empty(limits.message_size_max, memory)
        .following(place.compatibility)
        .named(&place.node_name, place.cluster_name.as_deref())
        .with_limits(&limits.node)
        .with_loopback_users(people.loopback_users())
        .beginning_with(beginning(people))
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
