//! The columns of the lists: what each is called, and where the API has it.

use serde_json::Value;

use super::{items, text};
use crate::cli::ctl::term::Term;
use crate::node::NODE_NAME;

/// What is listed.
pub struct Kind {
    /// All columns, by name.
    pub columns: &'static [&'static str],
    /// Those of a list that nobody has chosen columns for.
    pub usual: &'static [&'static str],
    /// A column's value.
    pub item: fn(&Value, &str) -> Term,
}

pub const QUEUES: Kind = Kind {
    columns: &[
        "arguments",
        "auto_delete",
        "consumer_capacity",
        "consumer_utilisation",
        "consumers",
        "disk_reads",
        "disk_writes",
        "durable",
        "effective_policy_definition",
        "exclusive",
        "exclusive_consumer_pid",
        "exclusive_consumer_tag",
        "head_message_timestamp",
        "leader",
        "members",
        "memory",
        "message_bytes",
        "message_bytes_persistent",
        "message_bytes_ram",
        "message_bytes_ready",
        "message_bytes_unacknowledged",
        "messages",
        "messages_persistent",
        "messages_ram",
        "messages_ready",
        "messages_ready_ram",
        "messages_unacknowledged",
        "messages_unacknowledged_ram",
        "name",
        "online",
        "operator_policy",
        "owner_pid",
        "pid",
        "policy",
        "state",
        "type",
    ],
    usual: &["name", "messages"],
    item: queue,
};

pub const EXCHANGES: Kind = Kind {
    columns: &["arguments", "auto_delete", "durable", "internal", "name", "policy", "type"],
    usual: &["name", "type"],
    item: exchange,
};

pub const BINDINGS: Kind = Kind {
    columns: &[
        "arguments",
        "destination_kind",
        "destination_name",
        "routing_key",
        "source_kind",
        "source_name",
    ],
    usual: &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ],
    item: binding,
};

pub const CONNECTIONS: Kind = Kind {
    columns: &[
        "auth_mechanism",
        "channel_max",
        "channels",
        "client_properties",
        "connected_at",
        "container_id",
        "frame_max",
        "host",
        "name",
        "peer_cert_issuer",
        "peer_cert_serial_number",
        "peer_cert_subject",
        "peer_cert_validity",
        "peer_host",
        "peer_port",
        "pid",
        "port",
        "protocol",
        "recv_cnt",
        "recv_oct",
        "send_cnt",
        "send_oct",
        "send_pend",
        "ssl",
        "ssl_cipher",
        "ssl_hash",
        "ssl_key_exchange",
        "ssl_protocol",
        "state",
        "timeout",
        "user",
        "vhost",
    ],
    usual: &["user", "peer_host", "peer_port", "state"],
    item: connection,
};

pub const CHANNELS: Kind = Kind {
    columns: &[
        "acks_uncommitted",
        "confirm",
        "connection",
        "consumer_count",
        "messages_unacknowledged",
        "messages_uncommitted",
        "messages_unconfirmed",
        "name",
        "number",
        "pid",
        "prefetch_count",
        "transactional",
        "user",
        "vhost",
    ],
    usual: &["pid", "user", "consumer_count", "messages_unacknowledged"],
    item: channel,
};

pub const CONSUMERS: Kind = Kind {
    columns: &[
        "ack_required",
        "active",
        "activity_status",
        "arguments",
        "channel_pid",
        "consumer_tag",
        "prefetch_count",
        "queue_name",
    ],
    usual: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "arguments",
    ],
    item: consumer,
};

/// A process of Erlang's, which a connection, a channel or a queue would be there: the same as long as the name is the
/// same, and another one for each name.
pub fn pid(name: &str) -> String {
    format!("<{NODE_NAME}.{}.{}.0>", crc32c::crc32c(NODE_NAME.as_bytes()), crc32c::crc32c(name.as_bytes()))
}

/// The name of an atom.
fn word(value: &Value) -> Term {
    value.as_str().map_or_else(|| Term::of(value), Term::atom)
}

fn queue(queue: &Value, column: &str) -> Term {
    let name = || format!("queue {} {}", text(queue, "vhost"), text(queue, "name"));
    let is_quorum = queue["type"] == "quorum";
    match column {
        "arguments" => Term::table(&queue["arguments"]),
        "effective_policy_definition" => Term::pairs(&queue["effective_policy_definition"]),
        // Streams have none, and do not say whether they are exclusive.
        "pid" | "exclusive" if queue["type"] == "stream" => Term::Empty,
        "pid" => Term::Pid(pid(&name())),
        "leader" => Term::atom(NODE_NAME),
        "members" => Term::List(vec![Term::atom(NODE_NAME)]),
        "online" if queue["type"] == "classic" => Term::Empty,
        "online" => Term::List(vec![Term::atom(NODE_NAME)]),
        "owner_pid" => {
            let owner = text(&queue["owner_pid_details"], "name");
            if owner.is_empty() { Term::Empty } else { Term::Pid(pid(owner)) }
        }
        "exclusive_consumer_pid" => {
            let mut consumers = items(&queue["consumer_details"]).iter();
            let alone = consumers.find(|consumer| consumer["exclusive"] == true);
            alone.map_or(Term::Empty, |consumer| Term::Pid(pid(text(&consumer["channel_details"], "name"))))
        }
        // Quorum queues cannot be, and do not say so either.
        "exclusive" if is_quorum => Term::Empty,
        "consumer_utilisation" | "consumer_capacity" if is_quorum => Term::Empty,
        "state" | "type" => word(&queue[column]),
        _ => Term::of(&queue[column]),
    }
}

fn exchange(exchange: &Value, column: &str) -> Term {
    match column {
        "arguments" => Term::table(&exchange["arguments"]),
        "type" => word(&exchange["type"]),
        _ => Term::of(&exchange[column]),
    }
}

fn binding(binding: &Value, column: &str) -> Term {
    match column {
        "arguments" => Term::table(&binding["arguments"]),
        "destination_kind" => word(&binding["destination_type"]),
        "destination_name" => text(binding, "destination").into(),
        "source_kind" => Term::atom("exchange"),
        "source_name" => text(binding, "source").into(),
        _ => Term::of(&binding[column]),
    }
}

fn connection(connection: &Value, column: &str) -> Term {
    match column {
        "client_properties" => Term::table(&connection["client_properties"]),
        "pid" => Term::Pid(pid(text(connection, "name"))),
        "protocol" => match text(connection, "protocol").strip_prefix("AMQP ") {
            Some(version) => {
                let parts = version.split(['-', '.']).filter_map(|part| part.parse::<u64>().ok());
                Term::Tuple(parts.map(Term::from).collect())
            }
            None => text(connection, "protocol").into(),
        },
        "host" | "peer_host" => {
            let address = text(connection, column);
            address.parse().map_or_else(|_| address.into(), Term::Ip)
        }
        "state" | "ssl_protocol" | "ssl_key_exchange" | "ssl_cipher" | "ssl_hash" => {
            word(&connection[column])
        }
        _ => Term::of(&connection[column]),
    }
}

fn channel(channel: &Value, column: &str) -> Term {
    match column {
        "connection" => Term::Pid(pid(text(&channel["connection_details"], "name"))),
        "pid" => Term::Pid(pid(text(channel, "name"))),
        _ => Term::of(&channel[column]),
    }
}

fn consumer(consumer: &Value, column: &str) -> Term {
    match column {
        "arguments" => match items(&consumer["arguments"]) {
            [] => Term::table(&consumer["arguments"]),
            _ => Term::of(&consumer["arguments"]),
        },
        "activity_status" => word(&consumer[column]),
        "channel_pid" => Term::Pid(pid(text(&consumer["channel_details"], "name"))),
        "queue_name" => text(&consumer["queue"], "name").into(),
        _ => Term::of(&consumer[column]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_from_the_api() {
        let found = json!({
            "name": "c", "protocol": "AMQP 0-9-1", "peer_host": "::1", "state": "running", "ssl": false,
            "client_properties": { "product": "x" },
        });
        let shown = ["protocol", "peer_host", "state", "ssl", "client_properties", "peer_cert_subject"];
        let shown = shown.map(|column| connection(&found, column).plain());
        assert_eq!(shown, ["{0,9,1}", "::1", "running", "false", "[{\"product\",\"x\"}]", ""]);
    }

    #[test]
    fn whose_a_queue_is() {
        let found = json!({
            "name": "q", "vhost": "/", "type": "classic", "exclusive": true,
            "owner_pid_details": { "name": "the connection" },
            "consumer_details": [{ "exclusive": true, "channel_details": { "name": "the connection (1)" } }],
        });
        assert_eq!(queue(&found, "owner_pid"), Term::Pid(pid("the connection")));
        assert_eq!(queue(&found, "exclusive_consumer_pid"), Term::Pid(pid("the connection (1)")));
        let nobodys = json!({ "name": "q", "type": "classic", "consumer_details": [{ "exclusive": false }] });
        for column in ["owner_pid", "exclusive_consumer_pid"] {
            assert_eq!(queue(&nobodys, column), Term::Empty);
        }
        assert_eq!(queue(&json!({ "name": "s", "type": "stream", "exclusive": false }), "pid"), Term::Empty);
    }

    #[test]
    fn usual_columns_are_columns() {
        for kind in [QUEUES, EXCHANGES, BINDINGS, CONNECTIONS, CHANNELS, CONSUMERS] {
            assert!(kind.usual.iter().all(|column| kind.columns.contains(column)));
            assert!(kind.columns.is_sorted());
        }
    }

    #[test]
    fn processes_are_told_apart() {
        assert_eq!(pid("a"), pid("a"));
        assert_ne!(pid("a"), pid("b"));
        assert!(pid("a").starts_with("<rabbit@localhost.") && pid("a").ends_with(".0>"));
    }
}
