//! The families of metrics, under RabbitMQ's names. What could not be true here is not among them.

use super::sheet::{Family, Metric};

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const UNTYPED: &str = "untyped";

/// Begins a queue's row of labels that say what it is.
const QUEUE_INFO: Metric = Metric("queue_info", GAUGE, "Always 1: the labels say what the queue is");
const QUEUE_CONSUMERS: Metric = Metric("queue_consumers", GAUGE, "Consumers of a queue");

pub(super) static CHURN: Family = Family {
    name: "connection_churn_metrics",
    metrics: &[
        Metric("connections_opened_total", COUNTER, "Connections that have been opened"),
        Metric("connections_closed_total", COUNTER, "Connections that have ended"),
        Metric("channels_opened_total", COUNTER, "Channels that have been opened"),
        Metric("channels_closed_total", COUNTER, "Channels that have ended"),
        Metric("queues_declared_total", COUNTER, "Declarations of queues, be they new or not"),
        Metric("queues_created_total", COUNTER, "Queues that have been created"),
        Metric("queues_deleted_total", COUNTER, "Queues that have been deleted"),
    ],
};

pub(super) static NODE_COARSE: Family = Family {
    name: "node_coarse_metrics",
    metrics: &[
        Metric("process_open_fds", GAUGE, "Open files, sockets included"),
        Metric("process_resident_memory_bytes", GAUGE, "Memory that the process takes, in bytes"),
        Metric("disk_space_available_bytes", GAUGE, "Free bytes where the data folder is"),
        Metric("erlang_processes_used", GAUGE, "Threads of the process; there are no Erlang processes"),
        Metric("erlang_scheduler_context_switches_total", COUNTER, "Context switches of the process"),
    ],
};

pub(super) static NODE: Family = Family {
    name: "node_metrics",
    metrics: &[
        Metric("process_max_fds", GAUGE, "Files that the process may open"),
        Metric("resident_memory_limit_bytes", GAUGE, "Memory above which publishers are blocked, in bytes"),
        Metric("disk_space_available_limit_bytes", GAUGE, "Free bytes below which publishers are blocked"),
        Metric("erlang_scheduler_run_queue", GAUGE, "Threads of the process that run or want to"),
        Metric("erlang_uptime_seconds", GAUGE, "Seconds since the node was started"),
    ],
};

pub(super) static PERSISTER: Family = Family {
    name: "node_persister_metrics",
    metrics: &[
        Metric("io_read_ops_total", COUNTER, "Reads from disk"),
        Metric("io_read_bytes_total", COUNTER, "Bytes read from disk"),
        Metric("io_write_ops_total", COUNTER, "Writes to disk"),
        Metric("io_write_bytes_total", COUNTER, "Bytes written to disk"),
        Metric("io_sync_ops_total", COUNTER, "Calls that made the disk keep what was written"),
        Metric("msg_store_read_total", COUNTER, "Reads from disk, all of which are of messages"),
        Metric("msg_store_write_total", COUNTER, "Writes to disk, all of which are of messages"),
        Metric("io_read_time_seconds_total", COUNTER, "Time spent reading from disk"),
        Metric("io_write_time_seconds_total", COUNTER, "Time spent writing to disk"),
        Metric(
            "io_sync_time_seconds_total",
            COUNTER,
            "Time spent waiting for the disk to keep what was written",
        ),
    ],
};

pub(super) static ATTEMPTS: Family = Family {
    name: "auth_attempt_metrics",
    metrics: &[
        Metric("auth_attempts_total", COUNTER, "Attempts to log in"),
        Metric("auth_attempts_succeeded_total", COUNTER, "Logins"),
        Metric("auth_attempts_failed_total", COUNTER, "Attempts to log in that failed"),
    ],
};

pub(super) static QUEUE_COARSE: Family = Family {
    name: "queue_coarse_metrics",
    metrics: &[
        Metric("queue_messages_ready", GAUGE, "Messages that wait for consumers"),
        Metric("queue_messages_unacked", GAUGE, "Messages that are delivered and not acknowledged yet"),
        Metric("queue_messages", GAUGE, "All messages of a queue"),
        QUEUE_INFO,
    ],
};

pub(super) static QUEUE_CONSUMER_COUNT: Family =
    Family { name: "queue_consumer_count", metrics: &[QUEUE_CONSUMERS, QUEUE_INFO] };

pub(super) static QUEUE: Family = Family {
    name: "queue_metrics",
    metrics: &[
        QUEUE_CONSUMERS,
        Metric(
            "queue_consumer_capacity",
            GAUGE,
            "1 if one of its consumers could take a message at once, else 0",
        ),
        Metric("queue_consumer_utilisation", GAUGE, "The same as the capacity of its consumers"),
        Metric("queue_process_memory_bytes", GAUGE, "Memory of a queue with its messages, in bytes"),
        Metric("queue_messages_ram", GAUGE, "Messages that are in memory"),
        Metric("queue_messages_persistent", GAUGE, "Messages of durable queues"),
        Metric("queue_messages_persistent_bytes", GAUGE, "Bytes of their bodies"),
        Metric("queue_messages_bytes", GAUGE, "Bytes of all messages' bodies"),
        Metric(
            "queue_messages_ready_bytes",
            GAUGE,
            "Bytes of the bodies of messages that wait for consumers",
        ),
        Metric("queue_messages_unacked_bytes", GAUGE, "Bytes of the bodies of unacknowledged messages"),
        Metric("queue_head_message_timestamp", GAUGE, "The timestamp of the first message, if it has one"),
        Metric("stream_segments", COUNTER, "Files of a stream"),
        QUEUE_INFO,
    ],
};

pub(super) static QUEUE_DELIVERY: Family = Family {
    name: "queue_delivery_metrics",
    metrics: &[
        Metric("queue_get_ack_total", COUNTER, "Messages of a queue fetched to be acknowledged"),
        Metric("queue_get_total", COUNTER, "Messages of a queue fetched without acknowledgement"),
        Metric(
            "queue_messages_delivered_ack_total",
            COUNTER,
            "Messages of a queue delivered to be acknowledged",
        ),
        Metric(
            "queue_messages_delivered_total",
            COUNTER,
            "Messages of a queue delivered without acknowledgement",
        ),
        Metric("queue_messages_redelivered_total", COUNTER, "Messages of a queue delivered once more"),
        Metric("queue_messages_acked_total", COUNTER, "Messages of a queue that were acknowledged"),
        Metric("queue_get_empty_total", COUNTER, "Fetches from a queue that found nothing"),
    ],
};

pub(super) static QUEUE_EXCHANGE: Family = Family {
    name: "queue_exchange_metrics",
    metrics: &[Metric("queue_exchange_messages_published_total", COUNTER, "Messages published to a queue")],
};

pub(super) static CHANNEL_QUEUE_EXCHANGE: Family = Family {
    name: "channel_queue_exchange_metrics",
    metrics: &[Metric("queue_messages_published_total", COUNTER, "Messages published to a queue")],
};

pub(super) static CHANNEL: Family = Family {
    name: "channel_metrics",
    metrics: &[
        Metric("channel_consumers", GAUGE, "Consumers on a channel"),
        Metric("channel_messages_unacked", GAUGE, "Messages delivered on a channel and not acknowledged yet"),
        Metric(
            "channel_messages_unconfirmed",
            GAUGE,
            "Messages published on a channel and not confirmed yet",
        ),
        Metric("channel_messages_uncommitted", GAUGE, "Messages of a transaction that is under way"),
        Metric("channel_acks_uncommitted", GAUGE, "Acknowledgements of a transaction that is under way"),
        Metric("consumer_prefetch", GAUGE, "The prefetch count of a channel's next consumers"),
        Metric(
            "channel_prefetch",
            GAUGE,
            "The prefetch count of a whole channel, where earlier versions have one",
        ),
    ],
};

pub(super) static CHANNEL_EXCHANGE: Family = Family {
    name: "channel_exchange_metrics",
    metrics: &[
        Metric("channel_messages_published_total", COUNTER, "Messages published on a channel"),
        Metric("channel_messages_confirmed_total", COUNTER, "Messages published on a channel and confirmed"),
        Metric(
            "channel_messages_unroutable_returned_total",
            COUNTER,
            "Messages of a channel returned as unroutable",
        ),
        Metric(
            "channel_messages_unroutable_dropped_total",
            COUNTER,
            "Messages of a channel dropped as unroutable",
        ),
    ],
};

pub(super) static CHANNEL_QUEUE: Family = Family {
    name: "channel_queue_metrics",
    metrics: &[
        Metric("channel_get_ack_total", COUNTER, "Messages fetched on a channel to be acknowledged"),
        Metric("channel_get_total", COUNTER, "Messages fetched on a channel without acknowledgement"),
        Metric(
            "channel_messages_delivered_ack_total",
            COUNTER,
            "Messages delivered on a channel to be acknowledged",
        ),
        Metric(
            "channel_messages_delivered_total",
            COUNTER,
            "Messages delivered on a channel without acknowledgement",
        ),
        Metric("channel_messages_redelivered_total", COUNTER, "Messages delivered on a channel once more"),
        Metric("channel_messages_acked_total", COUNTER, "Messages acknowledged on a channel"),
        Metric("channel_get_empty_total", COUNTER, "Fetches on a channel that found nothing"),
    ],
};

pub(super) static CONNECTION_COARSE: Family = Family {
    name: "connection_coarse_metrics",
    metrics: &[
        Metric("connection_incoming_bytes_total", COUNTER, "Bytes received on a connection"),
        Metric("connection_outgoing_bytes_total", COUNTER, "Bytes sent on a connection"),
    ],
};

pub(super) static CONNECTION: Family = Family {
    name: "connection_metrics",
    metrics: &[
        Metric("connection_incoming_packets_total", COUNTER, "Reads from a connection's socket"),
        Metric("connection_outgoing_packets_total", COUNTER, "Writes to a connection's socket"),
        Metric("connection_pending_packets", GAUGE, "Bytes that wait to be sent on a connection"),
        Metric("connection_channels", GAUGE, "Channels on a connection"),
    ],
};

pub(super) static EXCHANGE: Family = Family {
    name: "exchange_metrics",
    metrics: &[Metric("exchange_messages_published_total", COUNTER, "Messages published to an exchange")],
};

pub(super) static EXCHANGE_NAMES: Family = Family {
    name: "exchange_names",
    metrics: &[Metric("exchange_name", GAUGE, "Always 1: the labels name an exchange and its type")],
};

pub(super) static EXCHANGE_BINDINGS: Family = Family {
    name: "exchange_bindings",
    metrics: &[Metric("exchange_bindings", GAUGE, "Bindings that go out from an exchange")],
};

pub(super) static VHOST_STATUS: Family = Family {
    name: "vhost_status",
    metrics: &[Metric("vhost_status", GAUGE, "1 for every vhost: all of them run")],
};

pub(super) static OBJECTS: Family = Family {
    name: "",
    metrics: &[
        Metric("connections", GAUGE, "Open connections"),
        Metric("channels", GAUGE, "Open channels"),
        Metric("consumers", GAUGE, "Consumers"),
        Metric("queues", GAUGE, "Queues"),
    ],
};

pub(super) static BUILD: Family =
    Family { name: "", metrics: &[Metric("build_info", UNTYPED, "Always 1: the labels tell versions")] };

pub(super) static IDENTITY: Family = Family {
    name: "",
    metrics: &[Metric("identity_info", UNTYPED, "Always 1: the labels name node and cluster")],
};

/// By protocol.
pub(super) static PUBLISHED: Family = Family {
    name: "",
    metrics: &[
        Metric("global_messages_received_total", COUNTER, "Messages received from publishers"),
        Metric(
            "global_messages_received_confirm_total",
            COUNTER,
            "Messages received that are to be confirmed",
        ),
        Metric("global_messages_confirmed_total", COUNTER, "Messages confirmed to publishers"),
        Metric(
            "global_messages_routed_total",
            COUNTER,
            "Messages routed to queues, counted once for each queue",
        ),
        Metric(
            "global_messages_unroutable_returned_total",
            COUNTER,
            "Messages returned to publishers as unroutable",
        ),
        Metric("global_messages_unroutable_dropped_total", COUNTER, "Messages dropped as unroutable"),
        Metric("global_publishers", GAUGE, "Channels that have published"),
        Metric("global_consumers", GAUGE, "Consumers"),
    ],
};

/// By protocol and type of queue.
pub(super) static DELIVERED: Family = Family {
    name: "",
    metrics: &[
        Metric("global_messages_delivered_total", COUNTER, "Messages delivered and fetched"),
        Metric(
            "global_messages_delivered_consume_manual_ack_total",
            COUNTER,
            "Messages delivered to be acknowledged",
        ),
        Metric(
            "global_messages_delivered_consume_auto_ack_total",
            COUNTER,
            "Messages delivered without acknowledgement",
        ),
        Metric(
            "global_messages_delivered_get_manual_ack_total",
            COUNTER,
            "Messages fetched to be acknowledged",
        ),
        Metric(
            "global_messages_delivered_get_auto_ack_total",
            COUNTER,
            "Messages fetched without acknowledgement",
        ),
        Metric("global_messages_get_empty_total", COUNTER, "Fetches that found nothing"),
        Metric("global_messages_redelivered_total", COUNTER, "Messages delivered once more"),
        Metric("global_messages_acknowledged_total", COUNTER, "Messages that were acknowledged"),
    ],
};

pub(super) static ALARMS: Family = Family {
    name: "",
    metrics: &[
        Metric("alarms_free_disk_space_watermark", UNTYPED, "1 while there is an alarm of disk space"),
        Metric("alarms_memory_used_watermark", UNTYPED, "1 while there is an alarm of memory"),
        Metric(
            "unreachable_cluster_peers_count",
            GAUGE,
            "Nodes of the cluster that cannot be reached; there are none",
        ),
    ],
};

/// Without RabbitMQ's prefix: what an Erlang machine and any other process have.
pub(super) static PROCESS: Family = Family {
    name: "",
    metrics: &[
        Metric("process_start_time_seconds", GAUGE, "When the process was started, in seconds since 1970"),
        Metric("erlang_vm_logical_processors", GAUGE, "Processors that the process may use"),
        Metric("erlang_vm_logical_processors_available", GAUGE, "Processors that the process may use"),
        Metric("erlang_vm_logical_processors_online", GAUGE, "Processors that the process may use"),
        Metric("erlang_vm_statistics_context_switches_total", COUNTER, "Context switches of the process"),
        Metric("erlang_vm_statistics_run_queues_length", GAUGE, "Threads of the process that run or want to"),
        Metric("erlang_vm_statistics_bytes_received_total", COUNTER, "Bytes received on connections of AMQP"),
        Metric("erlang_vm_statistics_bytes_output_total", COUNTER, "Bytes sent on connections of AMQP"),
        Metric("erlang_vm_processes", GAUGE, "Threads of the process; there are no Erlang processes"),
    ],
};
