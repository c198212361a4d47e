//! What goes in and comes out. Each line has the fields of an object: a name, `!` if it is always there, and a type.

use serde_json::{Map, Value, json};

/// Names and fields. `a|b` is one of two types, `[a]` an array of a, `@Name` another schema.
const OBJECTS: &[(&str, &str)] = &[
    ("Error", "error!:string reason!:any"),
    (
        "Health",
        "status!:string reason:string alarms:[object] port:integer ports:[integer] protocols:[string] missing:any \
      queues:[object] expired:[object] virtual-hosts:[object] connections:integer online:integer target:integer",
    ),
    (
        "Overview",
        "management_version!:string rabbitmq_version!:string product_name!:string product_version!:string \
      cluster_name!:string cluster_tags!:any node_tags!:any erlang_version!:string erlang_full_version:string \
      crypto_lib_version:string rates_mode!:string default_queue_type!:string disable_stats!:boolean \
      enable_queue_totals!:boolean exchange_types!:[object] message_stats:any queue_totals:any object_totals!:object \
      node:string listeners:[object] contexts:[object] churn_rates:any sample_retention_policies:object \
      statistics_db_event_queue:integer is_op_policy_updating_enabled:boolean require_definition_json_extension:boolean",
    ),
    ("ClusterName", "name!:string"),
    (
        "Node",
        "name!:string type!:string running!:boolean os_pid!:string mem_used!:integer mem_limit!:integer mem_alarm!:boolean \
      disk_free!:integer disk_free_limit!:integer disk_free_alarm!:boolean fd_used!:integer fd_total!:integer \
      proc_used!:integer proc_total!:integer sockets_used!:integer sockets_total!:integer uptime!:integer run_queue!:integer \
      processors!:integer rates_mode!:string exchange_types!:[object] auth_mechanisms!:[object] contexts!:[object] \
      enabled_plugins!:[string] rabbitmq_version!:string erlang_version!:string partitions!:[string]",
    ),
    (
        "FeatureFlag",
        "name!:string desc!:string doc_url!:string state!:string stability!:string require_level!:string \
      experiment_level!:string callbacks!:[string] provided_by!:string",
    ),
    (
        "DeprecatedFeature",
        "name!:string desc!:string doc_url!:string deprecation_phase!:string provided_by!:string state:string",
    ),
    ("Whoami", "name!:string tags!:[string] is_internal_user:boolean login_session_timeout:integer"),
    ("LoginForm", "username!:string password!:string"),
    ("Login", "user!:@Whoami token!:object"),
    (
        "Attempts",
        "protocol!:string auth_attempts!:integer auth_attempts_failed!:integer auth_attempts_succeeded!:integer",
    ),
    (
        "Vhost",
        "name!:string description!:string tags!:[string] default_queue_type!:string protected_from_deletion!:boolean \
      tracing!:boolean metadata!:object cluster_state!:object",
    ),
    (
        "VhostDescription",
        "description:string|null tags:[string]|string|null default_queue_type:string|null tracing:boolean|string",
    ),
    ("Limit", "value!:integer"),
    ("VhostLimits", "vhost!:string value!:object"),
    ("UserLimits", "user!:string value!:object"),
    ("User", "name!:string password_hash!:string hashing_algorithm!:string tags!:[string] limits!:object"),
    (
        "UserDescription",
        "tags!:[string]|string password:string|null password_hash:string hashing_algorithm:string",
    ),
    ("UserNames", "users!:[string]"),
    ("Permission", "user!:string vhost!:string configure!:string write!:string read!:string"),
    ("PermissionPatterns", "configure!:string write!:string read!:string"),
    ("TopicPermission", "user!:string vhost!:string exchange!:string write!:string read!:string"),
    ("TopicPatterns", "exchange!:string write!:string read!:string"),
    (
        "Connection",
        "name!:string node!:string vhost!:string user!:string state!:string protocol!:string type!:string \
      peer_host!:string peer_port!:integer host!:string port!:integer ssl!:boolean channels!:integer channel_max!:integer \
      frame_max!:integer timeout!:integer auth_mechanism!:string connected_at!:integer client_properties!:object \
      user_who_performed_action!:string user_provided_name:string",
    ),
    ("ConnectionName", "name!:string node!:string vhost!:string user!:string"),
    (
        "Exchange",
        "name!:string vhost!:string type!:string durable!:boolean auto_delete!:boolean internal!:boolean \
      arguments!:object policy:string|null duplicates_dropped:integer messages_delayed:integer",
    ),
    (
        "ExchangeDeclaration",
        "type:string durable:boolean|string auto_delete:boolean|string internal:boolean|string arguments:object",
    ),
    ("Publication", "properties!:any routing_key!:string payload!:string payload_encoding!:string"),
    ("Routed", "routed!:boolean"),
    (
        "Queue",
        "name!:string vhost!:string type!:string node!:string state!:string durable!:boolean auto_delete!:boolean \
      exclusive!:boolean arguments!:object policy:string|null operator_policy:string|null effective_policy_definition!:object \
      messages!:integer messages_ready!:integer messages_unacknowledged!:integer consumers!:integer",
    ),
    (
        "QueueDeclaration",
        "durable:boolean|string auto_delete:boolean|string arguments:object|array node:string",
    ),
    ("Fetch", "count!:integer|string ackmode!:string encoding!:string truncate:integer|string"),
    ("Messages", "items!:array looked_at!:integer next!:string|null"),
    ("Transfer", "destination!:any positions:array filter:object after:string count:integer"),
    (
        "Message",
        "payload!:string payload_bytes!:integer payload_encoding!:string properties!:any redelivered!:boolean \
      exchange!:string routing_key!:string message_count!:integer",
    ),
    (
        "Binding",
        "source!:string vhost!:string destination!:string destination_type!:string routing_key!:string \
      arguments!:object properties_key!:string",
    ),
    ("BindingDescription", "routing_key:string arguments:object"),
    (
        "Policy",
        "vhost!:string name!:string pattern!:string apply-to!:string definition!:object priority!:integer",
    ),
    ("PolicyDescription", "pattern!:string definition!:object priority:integer|null apply-to:string|null"),
    ("Parameter", "vhost!:string component!:string name!:string value!:any"),
    ("GlobalParameter", "name!:string value!:any"),
    ("Value", "value!:any"),
    (
        "Definitions",
        "rabbit_version:string rabbitmq_version:string product_name:string product_version:string users:[object] \
      vhosts:[object] permissions:[object] topic_permissions:[object] parameters:[object] global_parameters:[object] \
      policies:[object] queues:[object] exchanges:[object] bindings:[object]",
    ),
    ("Object", ""),
];

/// All schemas by name.
pub(super) fn all() -> Value {
    let mut all: Map<_, _> =
        OBJECTS.iter().map(|(name, fields)| ((*name).to_owned(), object(fields))).collect();
    all.insert("Text".to_owned(), json!({ "type": "string" }));
    all.into()
}

fn object(fields: &str) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields.split_whitespace() {
        let (name, kind) = field.rsplit_once(':').unwrap_or((field, "any"));
        let bare = name.trim_end_matches('!');
        if bare.len() < name.len() {
            required.push(bare);
        }
        properties.insert(bare.to_owned(), typed(kind));
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn typed(kind: &str) -> Value {
    if kind == "any" {
        return json!({});
    }
    let mut types: Vec<_> = kind.split('|').map(one).collect();
    if types.len() == 1 { types.swap_remove(0) } else { json!({ "anyOf": types }) }
}

fn one(kind: &str) -> Value {
    if let Some(items) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({ "type": "array", "items": typed(items) });
    }
    match kind.strip_prefix('@') {
        Some(name) => super::reference(name),
        None => json!({ "type": kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_a_schema() {
        let schema = object("a!:string b:[integer]|null c:@Error d:any");
        let expected = json!({
            "type": "object",
            "properties": {
                "a": { "type": "string" },
                "b": { "anyOf": [{ "type": "array", "items": { "type": "integer" } }, { "type": "null" }] },
                "c": { "$ref": "#/components/schemas/Error" },
                "d": {},
            },
            "required": ["a"],
        });
        assert_eq!(schema, expected);
    }
}
