//! Names of plugins. What RabbitMQ's plugins do is always there; the names say what people have asked for. No I/O.

use super::terms::{self, Term};

/// Plugins that RabbitMQ comes with, and those of others whose work Leveret does.
pub const KNOWN: [&str; 45] = [
    "rabbitmq_amqp1_0",
    "rabbitmq_auth_backend_cache",
    "rabbitmq_auth_backend_http",
    "rabbitmq_auth_backend_internal_loopback",
    "rabbitmq_auth_backend_ldap",
    "rabbitmq_auth_backend_oauth2",
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_aws",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_exchange_federation",
    "rabbitmq_federation",
    "rabbitmq_federation_management",
    "rabbitmq_federation_prometheus",
    "rabbitmq_jms_topic_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_message_deduplication",
    "rabbitmq_mqtt",
    "rabbitmq_peer_discovery_aws",
    "rabbitmq_peer_discovery_common",
    "rabbitmq_peer_discovery_consul",
    "rabbitmq_peer_discovery_etcd",
    "rabbitmq_peer_discovery_k8s",
    "rabbitmq_prometheus",
    "rabbitmq_queue_federation",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
    "rabbitmq_shovel",
    "rabbitmq_shovel_management",
    "rabbitmq_shovel_prometheus",
    "rabbitmq_stomp",
    "rabbitmq_stream",
    "rabbitmq_stream_common",
    "rabbitmq_stream_management",
    "rabbitmq_top",
    "rabbitmq_tracing",
    "rabbitmq_trust_store",
    "rabbitmq_web_dispatch",
    "rabbitmq_web_mqtt",
    "rabbitmq_web_mqtt_examples",
    "rabbitmq_web_stomp",
    "rabbitmq_web_stomp_examples",
];
/// What is on where nobody says: all that a new node serves.
pub const DEFAULT: [&str; 6] = [
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_management",
    "rabbitmq_prometheus",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
];
/// Plugins that others bring along.
const NEEDED: [(&str, &[&str]); 11] = [
    ("rabbitmq_management", &["rabbitmq_management_agent", "rabbitmq_web_dispatch"]),
    ("rabbitmq_prometheus", &["rabbitmq_management_agent", "rabbitmq_web_dispatch"]),
    ("rabbitmq_stream", &["rabbitmq_stream_common"]),
    ("rabbitmq_stream_management", &["rabbitmq_stream", "rabbitmq_stream_common", "rabbitmq_management"]),
    ("rabbitmq_shovel_management", &["rabbitmq_shovel", "rabbitmq_management"]),
    ("rabbitmq_federation", &["rabbitmq_exchange_federation", "rabbitmq_queue_federation"]),
    ("rabbitmq_federation_management", &["rabbitmq_federation", "rabbitmq_management"]),
    ("rabbitmq_tracing", &["rabbitmq_management"]),
    ("rabbitmq_top", &["rabbitmq_management"]),
    ("rabbitmq_web_mqtt", &["rabbitmq_mqtt"]),
    ("rabbitmq_web_stomp", &["rabbitmq_stomp"]),
];

pub fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// The plugins that a file such as `enabled_plugins` names, or the line from which on it is none.
pub fn list(text: &str) -> Result<Vec<Box<str>>, usize> {
    let terms = terms::file(text)?;
    let names = terms.iter().flat_map(|term| match term {
        Term::List(names) => names.iter(),
        _ => [].iter(),
    });
    Ok(names.filter_map(Term::word).map(Into::into).collect())
}

/// These plugins and all that they need, by name.
pub fn with_needed(wanted: &[Box<str>]) -> Vec<Box<str>> {
    let mut all: Vec<Box<str>> = Vec::new();
    let mut left = wanted.to_vec();
    while let Some(name) = left.pop() {
        if all.contains(&name) {
            continue;
        }
        let needed = NEEDED.iter().filter(|(of, _)| **of == *name).flat_map(|(_, needed)| needed.iter());
        left.extend(needed.map(|name| (*name).into()));
        all.push(name);
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_what_they_bring() {
        let listed = list("[rabbitmq_stream_management].\n").expect("a list");
        let wanted = [
            "rabbitmq_management",
            "rabbitmq_management_agent",
            "rabbitmq_stream",
            "rabbitmq_stream_common",
            "rabbitmq_stream_management",
            "rabbitmq_web_dispatch",
        ];
        assert_eq!(with_needed(&listed), wanted.map(Box::from));
        assert_eq!(list("[]."), Ok(Vec::new()));
        assert_eq!(list("rabbitmq_management"), Err(1));
        assert!(wanted.iter().all(|name| is_known(name)) && !is_known("rabbitmq_managment"));
        let needed = NEEDED.iter().flat_map(|(of, needed)| needed.iter().chain([of]));
        assert!(needed.chain(&DEFAULT).all(|name| is_known(name)));
    }
}
