//! The families of metrics, under RabbitMQ's names. What could not be true here is not among them.

use super::sheet::{Family, Metric, counter, gauge, histogram, untyped};

const QUEUE_CONSUMERS: Metric = gauge("queue_consumers", "Consumers of a queue");

pub(super) static CHURN: Family = Family {
    name: "connection_churn_metrics",
    metrics: &[
        counter("connections_opened_total", "Connections that have been opened"),
        counter("connections_closed_total", "Connections that have ended"),
        counter("channels_opened_total", "Channels that have been opened"),
        counter("channels_closed_total", "Channels that have ended"),
        counter("queues_declared_total", "Declarations of queues, be they new or not"),
        counter("queues_created_total", "Queues that have been created"),
        counter("queues_deleted_total", "Queues that have been deleted"),
    ],
};

pub(super) static NODE_COARSE: Family = Family {
    name: "node_coarse_metrics",
    metrics: &[
        gauge("process_open_fds", "Open files, sockets included"),
        gauge("process_resident_memory_bytes", "Memory that the process takes, in bytes"),
        gauge("disk_space_available_bytes", "Free bytes where the data folder is"),
        gauge("erlang_processes_used", "Threads of the process; there are no Erlang processes"),
        counter("erlang_scheduler_context_switches_total", "Context switches of the process"),
    ],
};

pub(super) static NODE: Family = Family {
    name: "node_metrics",
    metrics: &[
        gauge("process_max_fds", "Files that the process may open"),
        gauge("resident_memory_limit_bytes", "Memory above which publishers are blocked, in bytes"),
        gauge("disk_space_available_limit_bytes", "Free bytes below which publishers are blocked"),
        gauge("erlang_scheduler_run_queue", "Threads of the process that run or want to"),
        gauge("erlang_uptime_seconds", "Seconds since the node was started"),
    ],
};

pub(super) static PERSISTER: Family = Family {
    name: "node_persister_metrics",
    metrics: &[
        counter("io_read_ops_total", "Reads from disk"),
        counter("io_read_bytes_total", "Bytes read from disk"),
        counter("io_write_ops_total", "Writes to disk"),
        counter("io_write_bytes_total", "Bytes written to disk"),
        counter("io_sync_ops_total", "Calls that made the disk keep what was written"),
        counter("msg_store_read_total", "Reads from disk, all of which are of messages"),
        counter("msg_store_write_total", "Writes to disk, all of which are of messages"),
        counter("io_read_time_seconds_total", "Time spent reading from disk"),
        counter("io_write_time_seconds_total", "Time spent writing to disk"),
        counter("io_sync_time_seconds_total", "Time spent waiting for the disk to keep what was written"),
    ],
};

pub(super) static ATTEMPTS: Family = Family {
    name: "auth_attempt_metrics",
    metrics: &[
        counter("auth_attempts_total", "Attempts to log in"),
        counter("auth_attempts_succeeded_total", "Logins"),
        counter("auth_attempts_failed_total", "Attempts to log in that failed"),
    ],
};

pub(super) static QUEUE_COARSE: Family = Family {
    name: "queue_coarse_metrics",
    metrics: &[
        gauge("queue_messages_ready", "Messages that wait for consumers"),
        gauge("queue_messages_unacked", "Messages that are delivered and not acknowledged yet"),
        gauge("queue_messages", "All messages of a queue"),
    ],
};

pub(super) static QUEUE_CONSUMER_COUNT: Family =
    Family { name: "queue_consumer_count", metrics: &[QUEUE_CONSUMERS] };

pub(super) static QUEUE: Family = Family {
    name: "queue_metrics",
    metrics: &[
        QUEUE_CONSUMERS,
        gauge("queue_consumer_capacity", "1 if one of its consumers could take a message at once, else 0")
            .apart(),
        gauge("queue_consumer_utilisation", "The same as the capacity of its consumers"),
        gauge("queue_process_memory_bytes", "Memory of a queue with its messages, in bytes"),
        gauge("queue_messages_ram", "Messages that are in memory"),
        gauge("queue_messages_ram_bytes", "Bytes of the bodies of messages in memory, by their share of all"),
        gauge("queue_messages_ready_ram", "Messages in memory that wait for consumers"),
        gauge("queue_messages_unacked_ram", "Unacknowledged messages in memory"),
        gauge("queue_messages_persistent", "Messages of durable queues"),
        gauge("queue_messages_persistent_bytes", "Bytes of their bodies"),
        gauge("queue_messages_bytes", "Bytes of all messages' bodies"),
        gauge("queue_messages_ready_bytes", "Bytes of the bodies of messages that wait for consumers"),
        gauge("queue_messages_unacked_bytes", "Bytes of the bodies of unacknowledged messages"),
        gauge("queue_head_message_timestamp", "The timestamp of the first message, if it has one").apart(),
        counter("stream_segments", "Files of a stream"),
    ],
};

pub(super) static QUEUE_DELIVERY: Family = Family {
    name: "queue_delivery_metrics",
    metrics: &[
        counter("queue_get_ack_total", "Messages of a queue fetched to be acknowledged"),
        counter("queue_get_total", "Messages of a queue fetched without acknowledgement"),
        counter("queue_messages_delivered_ack_total", "Messages of a queue delivered to be acknowledged"),
        counter("queue_messages_delivered_total", "Messages of a queue delivered without acknowledgement"),
        counter("queue_messages_redelivered_total", "Messages of a queue delivered once more"),
        counter("queue_messages_acked_total", "Messages of a queue that were acknowledged"),
        counter("queue_get_empty_total", "Fetches from a queue that found nothing"),
    ],
};

pub(super) static QUEUE_EXCHANGE: Family = Family {
    name: "queue_exchange_metrics",
    metrics: &[counter("queue_exchange_messages_published_total", "Messages published to a queue")],
};

pub(super) static CHANNEL_QUEUE_EXCHANGE: Family = Family {
    name: "channel_queue_exchange_metrics",
    metrics: &[counter("queue_messages_published_total", "Messages published to a queue")],
};

pub(super) static CHANNEL: Family = Family {
    name: "channel_metrics",
    metrics: &[
        gauge("channel_consumers", "Consumers on a channel"),
        gauge("channel_messages_unacked", "Messages delivered on a channel and not acknowledged yet"),
        gauge("channel_messages_unconfirmed", "Messages published on a channel and not confirmed yet"),
        gauge("channel_messages_uncommitted", "Messages of a transaction that is under way"),
        gauge("channel_acks_uncommitted", "Acknowledgements of a transaction that is under way"),
        gauge("consumer_prefetch", "The prefetch count of a channel's next consumers"),
        gauge("channel_prefetch", "The prefetch count of a whole channel, where earlier versions have one"),
    ],
};

pub(super) static CHANNEL_EXCHANGE: Family = Family {
    name: "channel_exchange_metrics",
    metrics: &[
        counter("channel_messages_published_total", "Messages published on a channel"),
        counter("channel_messages_confirmed_total", "Messages published on a channel and confirmed"),
        counter("channel_messages_unroutable_returned_total", "Messages of a channel returned as unroutable"),
        counter("channel_messages_unroutable_dropped_total", "Messages of a channel dropped as unroutable"),
    ],
};

pub(super) static CHANNEL_QUEUE: Family = Family {
    name: "channel_queue_metrics",
    metrics: &[
        counter("channel_get_ack_total", "Messages fetched on a channel to be acknowledged"),
        counter("channel_get_total", "Messages fetched on a channel without acknowledgement"),
        counter("channel_messages_delivered_ack_total", "Messages delivered on a channel to be acknowledged"),
        counter(
            "channel_messages_delivered_total",
            "Messages delivered on a channel without acknowledgement",
        ),
        counter("channel_messages_redelivered_total", "Messages delivered on a channel once more"),
        counter("channel_messages_acked_total", "Messages acknowledged on a channel"),
        counter("channel_get_empty_total", "Fetches on a channel that found nothing"),
    ],
};

pub(super) static CONNECTION_COARSE: Family = Family {
    name: "connection_coarse_metrics",
    metrics: &[
        counter("connection_incoming_bytes_total", "Bytes received on a connection"),
        counter("connection_outgoing_bytes_total", "Bytes sent on a connection"),
    ],
};

pub(super) static CONNECTION: Family = Family {
    name: "connection_metrics",
    metrics: &[
        counter("connection_incoming_packets_total", "Reads from a connection's socket"),
        counter("connection_outgoing_packets_total", "Writes to a connection's socket"),
        gauge("connection_pending_packets", "Bytes that wait to be sent on a connection"),
        gauge("connection_channels", "Channels on a connection"),
    ],
};

pub(super) static EXCHANGE: Family = Family {
    name: "exchange_metrics",
    metrics: &[
        counter("exchange_messages_published_total", "Messages published to an exchange"),
        counter(
            "exchange_messages_confirmed_total",
            "Those that are confirmed, or will be once they are on disk",
        ),
        counter("exchange_messages_unroutable_returned_total", "Those that were returned as unroutable"),
        counter("exchange_messages_unroutable_dropped_total", "Those that were dropped as unroutable"),
    ],
};

pub(super) static STREAM_CONSUMER: Family = Family {
    name: "stream_consumer_metrics",
    metrics: &[gauge(
        "stream_consumer_max_offset_lag",
        "Messages that the consumer farthest behind has yet to get",
    )
    .largest()],
};

/// Leveret's own.
pub(super) static STREAM_GROUP: Family = Family {
    name: "stream_group_metrics",
    metrics: &[gauge("stream_group_offset_lag", "Messages that a group has yet to acknowledge").largest()],
};

pub(super) static EXCHANGE_NAMES: Family = Family {
    name: "exchange_names",
    metrics: &[gauge("exchange_name", "Always 1: the labels name an exchange and its type")],
};

pub(super) static EXCHANGE_BINDINGS: Family = Family {
    name: "exchange_bindings",
    metrics: &[gauge("exchange_bindings", "Bindings that go out from an exchange")],
};

pub(super) static VHOST_STATUS: Family =
    Family { name: "vhost_status", metrics: &[gauge("vhost_status", "1 for every vhost: all of them run")] };

/// What a queue is; told with each family of queues.
pub(super) static QUEUE_INFO: Family =
    Family { name: "", metrics: &[gauge("queue_info", "Always 1: the labels say what the queue is")] };

pub(super) static OBJECTS: Family = Family {
    name: "",
    metrics: &[
        gauge("connections", "Open connections"),
        gauge("channels", "Open channels"),
        gauge("consumers", "Consumers"),
        gauge("queues", "Queues"),
    ],
};

pub(super) static BUILD: Family =
    Family { name: "", metrics: &[untyped("build_info", "Always 1: the labels tell versions")] };

pub(super) static IDENTITY: Family =
    Family { name: "", metrics: &[untyped("identity_info", "Always 1: the labels name node and cluster")] };

/// By protocol.
pub(super) static PUBLISHED: Family = Family {
    name: "",
    metrics: &[
        counter("global_messages_received_total", "Messages received from publishers"),
        counter("global_messages_received_confirm_total", "Messages received that are to be confirmed"),
        counter("global_messages_confirmed_total", "Messages confirmed to publishers"),
        counter("global_messages_routed_total", "Messages routed to queues, counted once for each queue"),
        counter("global_messages_unroutable_returned_total", "Messages returned to publishers as unroutable"),
        counter("global_messages_unroutable_dropped_total", "Messages dropped as unroutable"),
        gauge("global_publishers", "Channels that have published"),
        gauge("global_consumers", "Consumers"),
    ],
};

/// By protocol.
pub(super) static SIZES: Family = Family {
    name: "",
    metrics: &[histogram(
        "message_size_bytes",
        "Messages received from publishers, by the sizes of their bodies",
    )],
};

/// By type of queue and strategy.
pub(super) static DIED: Family = Family {
    name: "",
    metrics: &[
        counter("global_messages_dead_lettered_maxlen_total", "Messages that a queue had no room for"),
        counter("global_messages_dead_lettered_expired_total", "Messages that have expired"),
        counter("global_messages_dead_lettered_rejected_total", "Messages that were rejected"),
        counter("global_messages_dead_lettered_delivery_limit_total", "Messages that came back too often"),
        counter(
            "global_messages_dead_lettered_confirmed_total",
            "Dead letters that are safe where they were to go",
        ),
    ],
};

/// By protocol and type of queue.
pub(super) static DELIVERED: Family = Family {
    name: "",
    metrics: &[
        counter("global_messages_delivered_total", "Messages delivered and fetched"),
        counter(
            "global_messages_delivered_consume_manual_ack_total",
            "Messages delivered to be acknowledged",
        ),
        counter(
            "global_messages_delivered_consume_auto_ack_total",
            "Messages delivered without acknowledgement",
        ),
        counter("global_messages_delivered_get_manual_ack_total", "Messages fetched to be acknowledged"),
        counter("global_messages_delivered_get_auto_ack_total", "Messages fetched without acknowledgement"),
        counter("global_messages_get_empty_total", "Fetches that found nothing"),
        counter("global_messages_redelivered_total", "Messages delivered once more"),
        counter("global_messages_acknowledged_total", "Messages that were acknowledged"),
    ],
};

pub(super) static ALARMS: Family = Family {
    name: "",
    metrics: &[
        untyped("alarms_free_disk_space_watermark", "1 while there is an alarm of disk space"),
        untyped("alarms_memory_used_watermark", "1 while there is an alarm of memory"),
        gauge(
            "unreachable_cluster_peers_count",
            "Nodes of the cluster that cannot be reached; there are none",
        ),
    ],
};

/// Without RabbitMQ's prefix: what an Erlang machine and any other process have.
pub(super) static PROCESS: Family = Family {
    name: "",
    metrics: &[
        gauge("process_start_time_seconds", "When the process was started, in seconds since 1970"),
        gauge("erlang_vm_logical_processors", "Processors that the process may use"),
        gauge("erlang_vm_logical_processors_available", "Processors that the process may use"),
        gauge("erlang_vm_logical_processors_online", "Processors that the process may use"),
        counter("erlang_vm_statistics_context_switches_total", "Context switches of the process"),
        gauge("erlang_vm_statistics_run_queues_length", "Threads of the process that run or want to"),
        counter("erlang_vm_statistics_bytes_received_total", "Bytes received on connections of AMQP"),
        counter("erlang_vm_statistics_bytes_output_total", "Bytes sent on connections of AMQP"),
        gauge("erlang_vm_processes", "Threads of the process; there are no Erlang processes"),
    ],
};

/// A part of an Erlang node's memory that nothing here belongs to.
const fn unknown(name: &'static str) -> Metric {
    gauge(name, "Always 0: the memory of this node has no such part")
}

/// In the order in which the API has the parts of memory.
pub(super) static MEMORY: Family = Family {
    name: "",
    metrics: &[
        unknown("memory_client_connection_reader_bytes"),
        unknown("memory_client_connection_writer_bytes"),
        unknown("memory_client_connection_channel_bytes"),
        unknown("memory_client_connection_other_bytes"),
        gauge("memory_classic_queue_erlang_process_bytes", "Memory of messages, of queues of any type"),
        unknown("memory_stream_erlang_process_bytes"),
        unknown("memory_stream_replica_reader_erlang_process_bytes"),
        unknown("memory_stream_coordinator_erlang_process_bytes"),
        unknown("memory_quorum_queue_erlang_process_bytes"),
        unknown("memory_quorum_queue_dlx_erlang_process_bytes"),
        unknown("memory_plugin_bytes"),
        unknown("memory_modern_metadata_store_bytes"),
        gauge("memory_other_erlang_process_bytes", "All other memory of the process"),
        unknown("memory_metrics_bytes"),
        unknown("memory_management_stats_db_bytes"),
        unknown("memory_quorum_queue_ets_table_bytes"),
        unknown("memory_classic_metadata_store_bytes"),
        unknown("memory_modern_metadata_store_ets_table_bytes"),
        unknown("memory_other_ets_table_bytes"),
        unknown("memory_binary_heap_bytes"),
        unknown("memory_message_index_bytes"),
        unknown("memory_code_module_bytes"),
        unknown("memory_atom_table_bytes"),
        unknown("memory_other_system_bytes"),
        unknown("memory_runtime_allocated_unused_bytes"),
        unknown("memory_runtime_reserved_unallocated_bytes"),
    ],
};
