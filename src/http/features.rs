//! Feature flags and deprecated features, as a RabbitMQ 4.3 that was installed afresh has them: clients look whether
//! what they need is there.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, put};
use serde_json::{Value, json};

use super::body::JsonBody;
use super::caller::{Administrator, Caller};
use super::listing::Listing;
use super::refusal::Refusal;
use super::resource::{Names, READ, resource};
use crate::broker::queue::Queue;
use crate::broker::walk::AT_ONCE;
use crate::node::Node;
use crate::node::cell::VhostCell;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/feature-flags", resource(READ, get(flags)))
        .route("/api/feature-flags/{name}/enable", resource("PUT, OPTIONS", put(enable)))
        .route("/api/deprecated-features", resource(READ, get(deprecated)))
        .route("/api/deprecated-features/used", resource(READ, get(used)))
}

/// Who has to have a flag before it can be upgraded.
#[derive(Clone, Copy)]
enum Required {
    Hard,
    Soft,
    Optional,
}

struct Flag {
    name: &'static str,
    required: Required,
    description: &'static str,
    documents: &'static str,
    callbacks: &'static [&'static str],
    plugin: &'static str,
}

const FLAGS: [Flag; 33] = [
    Flag {
        name: "classic_mirrored_queue_version",
        required: Required::Hard,
        description: "Support setting version for classic mirrored queues",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "classic_queue_type_delivery_support",
        required: Required::Hard,
        description: "Bug fix for classic queue deliveries using mixed versions",
        documents: "https://github.com/rabbitmq/rabbitmq-server/issues/5931",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "detailed_queues_endpoint",
        required: Required::Soft,
        description: "Add a detailed queues HTTP API endpoint. Reduce number of metrics in the default endpoint.",
        documents: "",
        callbacks: &[],
        plugin: "rabbitmq_management",
    },
    Flag {
        name: "direct_exchange_routing_v2",
        required: Required::Hard,
        description: "v2 direct exchange routing implementation",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "drop_unroutable_metric",
        required: Required::Hard,
        description: "Count unroutable publishes to be dropped in stats",
        documents: "",
        callbacks: &[],
        plugin: "rabbitmq_management_agent",
    },
    Flag {
        name: "empty_basic_get_metric",
        required: Required::Hard,
        description: "Count AMQP `basic.get` on empty queues in stats",
        documents: "",
        callbacks: &[],
        plugin: "rabbitmq_management_agent",
    },
    Flag {
        name: "feature_flags_v2",
        required: Required::Hard,
        description: "Feature flags subsystem V2",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "implicit_default_bindings",
        required: Required::Hard,
        description: "Default bindings are now implicit, instead of being stored in the database",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "khepri_db",
        required: Required::Soft,
        description: "New Raft-based metadata store.",
        documents: "https://www.rabbitmq.com/docs/next/metadata-store",
        callbacks: &["enable", "post_enable"],
        plugin: "rabbit",
    },
    Flag {
        name: "listener_records_in_ets",
        required: Required::Hard,
        description: "Store listener records in ETS instead of Mnesia",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "maintenance_mode_status",
        required: Required::Hard,
        description: "Maintenance mode status",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "message_containers",
        required: Required::Hard,
        description: "Message containers.",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "message_containers_deaths_v2",
        required: Required::Soft,
        description: "Bug fix for dead letter cycle detection",
        documents: "https://github.com/rabbitmq/rabbitmq-server/issues/11159",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "quorum_queue",
        required: Required::Hard,
        description: "Support queues of type `quorum`",
        documents: "https://www.rabbitmq.com/docs/quorum-queues",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "quorum_queue_non_voters",
        required: Required::Soft,
        description: "Allows new quorum queue members to be added as non voters initially.",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "rabbit_exchange_type_local_random",
        required: Required::Soft,
        description: "Local random exchange",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "rabbitmq_4.0.0",
        required: Required::Soft,
        description: "Allows rolling upgrades from 3.13.x to 4.0.x",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "rabbitmq_4.1.0",
        required: Required::Soft,
        description: "Allows rolling upgrades to 4.1.x",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "rabbitmq_4.2.0",
        required: Required::Soft,
        description: "Allows rolling upgrades to 4.2.x",
        documents: "",
        callbacks: &["enable"],
        plugin: "rabbit",
    },
    Flag {
        name: "rabbitmq_4.3.0",
        required: Required::Optional,
        description: "Allows rolling upgrades to 4.3.x",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "restart_streams",
        required: Required::Hard,
        description: "Support for restarting streams with optional preferred next leader argument.Used to implement stream leader rebalancing",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "stream_filtering",
        required: Required::Hard,
        description: "Support for stream filtering.",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "stream_queue",
        required: Required::Hard,
        description: "Support queues of type `stream`",
        documents: "https://www.rabbitmq.com/docs/stream",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "stream_sac_coordinator_unblock_group",
        required: Required::Hard,
        description: "Bug fix to unblock a group of consumers in a super stream partition",
        documents: "https://github.com/rabbitmq/rabbitmq-server/issues/7743",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "stream_single_active_consumer",
        required: Required::Hard,
        description: "Single active consumer for streams",
        documents: "https://www.rabbitmq.com/docs/stream",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "stream_update_config_command",
        required: Required::Hard,
        description: "A new internal command that is used to update streams as part of a policy.",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "tie_binding_to_dest_with_keep_while_cond",
        required: Required::Optional,
        description: "Use keep_while condition to tie a binding record lifetime to its destination record in Khepri",
        documents: "",
        callbacks: &["enable"],
        plugin: "rabbit",
    },
    Flag {
        name: "topic_binding_projection_v4",
        required: Required::Optional,
        description: "Enable the topic binding Khepri projection v4",
        documents: "",
        callbacks: &["enable", "post_enable"],
        plugin: "rabbit",
    },
    Flag {
        name: "topic_binding_projection_v5",
        required: Required::Optional,
        description: "Enable the topic binding Khepri projection v5",
        documents: "",
        callbacks: &["enable", "post_enable"],
        plugin: "rabbit",
    },
    Flag {
        name: "track_qq_members_uids",
        required: Required::Optional,
        description: "Track queue members UIDs in the metadata store",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "tracking_records_in_ets",
        required: Required::Hard,
        description: "Store tracking records in ETS instead of Mnesia",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "user_limits",
        required: Required::Hard,
        description: "Configure connection and channel limits for a user",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
    Flag {
        name: "virtual_host_metadata",
        required: Required::Hard,
        description: "Virtual host metadata (description, tags, etc)",
        documents: "",
        callbacks: &[],
        plugin: "rabbit",
    },
];

/// The feature that queues are which are neither durable nor exclusive.
const TRANSIENT: &str = "transient_nonexcl_queues";

/// Name, phase, documents and provider. What is denied by default or has been removed is denied.
const DEPRECATED: [[&str; 4]; 8] = [
    ["queue_master_locator", "denied_by_default", "", "rabbit"],
    [
        "global_qos",
        "denied_by_default",
        "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/#removal-of-global-qos",
        "rabbit",
    ],
    [
        "amqp_filter_set_bug",
        "denied_by_default",
        "https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-messaging-v1.0-os.html#type-filter-set",
        "rabbit",
    ],
    ["amqp_address_v1", "denied_by_default", "https://www.rabbitmq.com/docs/amqp#addresses", "rabbit"],
    [
        "management_metrics_collection",
        "permitted_by_default",
        "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/#disable-metrics-delivery-via-the-management-api--ui",
        "rabbitmq_management_agent",
    ],
    [
        "transient_nonexcl_queues",
        "permitted_by_default",
        "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/#removal-of-transient-non-exclusive-queues",
        "rabbit",
    ],
    [
        "classic_queue_mirroring",
        "removed",
        "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/#removal-of-classic-queue-mirroring",
        "rabbit",
    ],
    [
        "ram_node_type",
        "removed",
        "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/#removal-of-ram-nodes",
        "rabbit",
    ],
];

fn flag_to_json(flag: &Flag) -> Value {
    let (stability, level) = match flag.required {
        Required::Hard => ("required", "hard"),
        Required::Soft => ("required", "soft"),
        Required::Optional => ("stable", "none"),
    };
    json!({
        "name": flag.name,
        "desc": flag.description,
        "doc_url": flag.documents,
        "state": "enabled",
        "stability": stability,
        "require_level": level,
        "experiment_level": "supported",
        "callbacks": flag.callbacks,
        "provided_by": flag.plugin,
    })
}

async fn flags(_: Caller, listing: Listing) -> Result<Response, Refusal> {
    listing.plain(FLAGS.iter().map(flag_to_json).collect()).await
}

/// All that there are are enabled.
async fn enable(
    State(_): State<Arc<Node>>,
    _: Administrator,
    Names(name): Names<String>,
    _: JsonBody,
) -> Result<StatusCode, Refusal> {
    if FLAGS.iter().any(|flag| flag.name == name) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::bad_request("unsupported"))
}

fn deprecated_to_json([name, phase, documents, plugin]: &[&str; 4]) -> Value {
    json!({
        "name": name,
        "state": if *phase == "permitted_by_default" { "permitted" } else { "denied" },
        "desc": "",
        "deprecation_phase": phase,
        "doc_url": documents,
        "provided_by": plugin,
    })
}

async fn deprecated(_: Caller, listing: Listing) -> Result<Response, Refusal> {
    listing.whole(DEPRECATED.iter().map(deprecated_to_json).collect()).await
}

/// Of those that are permitted only queues leave traces.
async fn used(State(node): State<Arc<Node>>, _: Caller, listing: Listing) -> Result<Response, Refusal> {
    let vhosts = node.vhosts();
    let is_used = |name: &str| name == TRANSIENT && vhosts.iter().any(|vhost| has_transient_queue(vhost));
    let found = DEPRECATED.iter().filter(|[name, ..]| is_used(name));
    let shown = found.map(|feature| {
        let mut json = deprecated_to_json(feature);
        json.as_object_mut().map(|fields| fields.remove("state"));
        json
    });
    listing.whole(shown.collect()).await
}

/// Whether there is a queue that is neither durable nor exclusive.
fn has_transient_queue(vhost: &VhostCell) -> bool {
    let ids = vhost.with_vhost(|vhost| vhost.queue_ids());
    let is_transient = |queue: &Queue| !queue.durable && queue.owner.is_none();
    ids.chunks(AT_ONCE).any(|ids| {
        vhost.with_vhost(|vhost| ids.iter().any(|id| vhost.queue_by_id(*id).is_some_and(is_transient)))
    })
}
