//! What can be listed, declared and deleted: its place in the API, and its arguments.

/// A kind of thing that is declared and deleted.
pub struct Kind {
    pub name: &'static str,
    /// Other names of it.
    pub others: &'static [&'static str],
    /// Its path, with arguments in braces.
    pub path: &'static str,
    /// Arguments without which it cannot be declared.
    pub needs: &'static [&'static str],
    /// Further arguments, with what they are if nobody says so.
    pub takes: &'static [(&'static str, Option<&'static str>)],
    /// Arguments that are JSON.
    pub json: &'static [&'static str],
    /// Arguments without which it cannot be deleted.
    pub delete_needs: &'static [&'static str],
}

pub const KINDS: [Kind; 13] = [
    Kind {
        name: "exchange",
        others: &["exchanges"],
        path: "/exchanges/{vhost}/{name}",
        needs: &["name", "type"],
        takes: &[
            ("auto_delete", Some("false")),
            ("durable", Some("true")),
            ("internal", Some("false")),
            ("arguments", None),
        ],
        json: &["arguments"],
        delete_needs: &["name"],
    },
    Kind {
        name: "queue",
        others: &["queues"],
        path: "/queues/{vhost}/{name}",
        needs: &["name"],
        takes: &[
            ("auto_delete", Some("false")),
            ("durable", Some("true")),
            ("arguments", None),
            ("node", None),
            ("queue_type", None),
            ("type", None),
        ],
        json: &["arguments"],
        delete_needs: &["name"],
    },
    Kind {
        name: "stream",
        others: &["streams"],
        path: "/queues/{vhost}/{name}",
        needs: &["name"],
        takes: &[
            ("arguments", None),
            ("expiration", None),
            ("max_length_bytes", None),
            ("max_segment_length_bytes", None),
        ],
        json: &["arguments"],
        delete_needs: &["name"],
    },
    Kind {
        name: "binding",
        others: &["bindings"],
        path: "/bindings/{vhost}/e/{source}/{destination_char}/{destination}",
        needs: &["source", "destination"],
        takes: &[("destination_type", Some("queue")), ("routing_key", Some("")), ("arguments", None)],
        json: &["arguments"],
        delete_needs: &["source", "destination_type", "destination"],
    },
    Kind {
        name: "vhost",
        others: &["vhosts"],
        path: "/vhosts/{name}",
        needs: &["name"],
        takes: &[("tracing", None), ("description", None), ("default_queue_type", None), ("tags", None)],
        json: &[],
        delete_needs: &["name"],
    },
    Kind {
        name: "user",
        others: &["users"],
        path: "/users/{name}",
        needs: &["name", "password|password_hash", "tags"],
        takes: &[("hashing_algorithm", None)],
        json: &[],
        delete_needs: &["name"],
    },
    Kind {
        name: "permission",
        others: &["permissions"],
        path: "/permissions/{vhost}/{user}",
        needs: &["user", "configure", "write", "read"],
        takes: &[],
        json: &[],
        delete_needs: &["user"],
    },
    Kind {
        name: "parameter",
        others: &["parameters"],
        path: "/parameters/{component}/{vhost}/{name}",
        needs: &["component", "name", "value"],
        takes: &[],
        json: &["value"],
        delete_needs: &["component", "name"],
    },
    Kind {
        name: "policy",
        others: &["policies"],
        path: "/policies/{vhost}/{name}",
        needs: &["name", "pattern", "definition"],
        takes: &[("priority", Some("0")), ("apply_to", None)],
        json: &["definition", "priority"],
        delete_needs: &["name"],
    },
    Kind {
        name: "operator_policy",
        others: &["operator_policies"],
        path: "/operator-policies/{vhost}/{name}",
        needs: &["name", "pattern", "definition"],
        takes: &[("priority", Some("0")), ("apply_to", None)],
        json: &["definition", "priority"],
        delete_needs: &["name"],
    },
    Kind {
        name: "vhost_limit",
        others: &["vhost_limits"],
        path: "/vhost-limits/{vhost}/{name}",
        needs: &["name", "value"],
        takes: &[],
        json: &["value"],
        delete_needs: &["name"],
    },
    Kind {
        name: "user_limit",
        others: &["user_limits"],
        path: "/user-limits/{username}/{name}",
        needs: &["username", "name", "value"],
        takes: &[],
        json: &["value"],
        delete_needs: &["username", "name"],
    },
    Kind {
        name: "global_parameter",
        others: &["global_parameters"],
        path: "/global-parameters/{name}",
        needs: &["name", "value"],
        takes: &[],
        json: &["value"],
        delete_needs: &["name"],
    },
];

/// A kind by one of its names.
pub fn kind(name: &str) -> Option<&'static Kind> {
    let name = name.replace('-', "_");
    KINDS.iter().find(|kind| kind.name == name || kind.others.contains(&name.as_str()))
}

/// What can be listed.
pub struct Listed {
    pub name: &'static str,
    /// Whether there is a list for each virtual host.
    pub by_vhost: bool,
    /// Columns of a list that nobody has chosen columns for; all if there are none.
    pub columns: &'static [&'static str],
    /// Objects that are shown as JSON.
    pub json: &'static [&'static str],
}

const fn listed(name: &'static str, by_vhost: bool, columns: &'static [&'static str]) -> Listed {
    Listed { name, by_vhost, columns, json: &[] }
}

pub const LISTED: [Listed; 19] = [
    listed("connections", false, &["name", "user", "channels"]),
    listed("channels", false, &["name", "user"]),
    listed("consumers", true, &[]),
    listed("exchanges", true, &["name", "type"]),
    listed("queues", true, &["name", "messages"]),
    listed("bindings", true, &["source", "destination", "routing_key"]),
    listed("users", false, &[]),
    listed("vhosts", false, &["name", "messages"]),
    listed("permissions", false, &[]),
    listed("topic_permissions", false, &[]),
    listed("nodes", false, &["name", "type", "mem_used"]),
    Listed { name: "parameters", by_vhost: false, columns: &[], json: &["value"] },
    Listed { name: "policies", by_vhost: false, columns: &[], json: &["definition"] },
    Listed { name: "operator_policies", by_vhost: false, columns: &[], json: &["definition"] },
    Listed { name: "vhost_limits", by_vhost: false, columns: &[], json: &["value"] },
    Listed { name: "user_limits", by_vhost: false, columns: &[], json: &["value"] },
    listed("feature_flags", false, &["name", "state"]),
    listed("deprecated_features", false, &["name", "deprecation_phase", "state"]),
    Listed { name: "global_parameters", by_vhost: false, columns: &[], json: &["value"] },
];

/// What `show overview` shows.
pub const OVERVIEW: [&str; 4] =
    ["rabbitmq_version", "cluster_name", "queue_totals.messages", "object_totals.queues"];
