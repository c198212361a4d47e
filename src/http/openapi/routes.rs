//! All routes of the API, a line each. `tests/http_api/openapi.rs` holds them against the router, both ways.

use super::operation::Operation as Op;
use super::operation::Shape::{Many, Nothing, One, Pages, Text};
use super::operation::{At, Shape};

const OK: &[(u16, Shape)] = &[(200, One("Health")), (503, One("Health"))];
const DONE: &[(u16, Shape)] = &[(204, Nothing)];
const OBJECT: &[(u16, Shape)] = &[(200, One("Object"))];
const OBJECTS: &[(u16, Shape)] = &[(200, Many("Object"))];

const fn check(summary: &'static str) -> Op {
    Op::get(summary, OK)
}

#[rustfmt::skip]
pub(super) const ROUTES: &[At] = &[
    // The node
    At::new("/api/overview", NODE, &[Op::get("The node at a glance", &[(200, One("Overview"))])]),
    At::new("/api/version", NODE, &[Op::get("The RabbitMQ that is followed", &[(200, One("Text"))]).open()]),
    At::new("/api/cluster-name", NODE, &[
        Op::get("The name of the cluster", &[(200, One("ClusterName"))]),
        Op::enable("Names the cluster").sending("ClusterName"),
    ]),
    At::new("/api/nodes", NODE, &[Op::get("The nodes of the cluster", &[(200, Many("Node"))])]),
    At::new("/api/nodes/{node}", NODE, &[
        Op::get("A node", &[(200, One("Node"))]).asking(&[("memory", "true: with a breakdown of memory"), ("binary", "true: with binaries")]),
    ]),
    At::new("/api/nodes/{node}/memory", NODE, &[Op::get("What has which memory, in octets", OBJECT)]),
    At::new("/api/nodes/{node}/memory/relative", NODE, &[Op::get("What has which memory, in parts of a hundred", OBJECT)]),
    At::new("/api/nodes/{node}/memory/ets", NODE, &[Op::get("Tables of an Erlang node, of which there are none", OBJECT)]),
    At::new("/api/nodes/{node}/memory/ets/relative", NODE, &[Op::get("The same, in parts of a hundred", OBJECT)]),
    At::new("/api/nodes/{node}/memory/ets/{filter}", NODE, &[Op::get("Some tables of an Erlang node", OBJECT)]),
    At::new("/api/nodes/{node}/memory/ets/{filter}/relative", NODE, &[Op::get("The same, in parts of a hundred", OBJECT)]),
    At::new("/api/extensions", NODE, &[Op::get("Scripts of RabbitMQ's web interface", OBJECTS)]),
    At::new("/api/feature-flags", NODE, &[Op::get("What can be relied on", &[(200, Many("FeatureFlag"))])]),
    At::new("/api/feature-flags/{name}/enable", NODE, &[Op::enable("Enables a feature flag; all are")]),
    At::new("/api/deprecated-features", NODE, &[Op::get("What will go", &[(200, Many("DeprecatedFeature"))])]),
    At::new("/api/deprecated-features/used", NODE, &[Op::get("What will go and is used", &[(200, Many("DeprecatedFeature"))])]),
    At::new("/api/config/effective", NODE, &[Op::get("What is set, as an Erlang term", &[(200, Text("text/plain"))])]),
    At::new("/api/rebalance/queues", NODE, &[Op::post("Moves queues where they belong; they are there", DONE)]),
    At::new("/api/reset-node", NODE, &[Op::post("Makes the node new: removes everything in it", DONE)]),
    At::new("/api/reset", NODE, &[Op::delete("Has statistics begin anew")]),
    At::new("/api/reset/{node}", NODE, &[Op::delete("Has a node's statistics begin anew")]),
    At::new("/api/openapi.json", NODE, &[Op::get("This description", OBJECT).open()]),
    At::new("/api/index.html", NODE, &[Op::get("All routes, for people", &[(200, Text("text/html"))]).open()]),
    // Logging in
    At::new("/api/whoami", LOGIN, &[Op::get("Who asks", &[(200, One("Whoami"))])]),
    At::new("/api/login", LOGIN, &[
        Op::post("Logs in by a form", &[(200, One("Login"))]).sending_form("LoginForm").open(),
        Op::delete("Logs out").open(),
    ]),
    At::new("/api/auth/hash_password/{password}", LOGIN, &[Op::get("Hashes a password", OBJECT)]),
    At::new("/api/auth/attempts/{node}", LOGIN, &[
        Op::get("How often somebody has logged in, or tried", &[(200, Many("Attempts"))]),
        Op::delete("Counts from nought"),
    ]),
    At::new("/api/auth/attempts/{node}/source", LOGIN, &[
        Op::get("The same by where they come from, which nobody keeps", &[(200, Many("Attempts"))]),
        Op::delete("Counts from nought"),
    ]),
    // Health
    At::new("/api/health/checks/alarms", HEALTH, &[check("Whether there is an alarm in the cluster")]),
    At::new("/api/health/checks/local-alarms", HEALTH, &[check("Whether there is an alarm on the node")]),
    At::new("/api/health/checks/metadata-store/initialized", HEALTH, &[check("Whether definitions are there")]),
    At::new("/api/health/checks/metadata-store/initialized/with-data", HEALTH, &[check("Whether there is a vhost")]),
    At::new("/api/health/checks/certificate-expiration/{within}/{unit}", HEALTH, &[
        check("Whether certificates last so many days, weeks, months or years"),
    ]),
    At::new("/api/health/checks/port-listener/{port}", HEALTH, &[check("Whether a port is open")]),
    At::new("/api/health/checks/protocol-listener/{protocols}", HEALTH, &[check("Whether protocols, between commas, are served")]),
    At::new("/api/health/checks/virtual-hosts", HEALTH, &[check("Whether all vhosts are up")]),
    At::new("/api/health/checks/node-is-quorum-critical", HEALTH, &[check("Whether quorum queues do without the node")]),
    At::new("/api/health/checks/is-in-service", HEALTH, &[check("Whether the node serves").open()]),
    At::new("/api/health/checks/below-node-connection-limit", HEALTH, &[check("Whether the node takes connections").open()]),
    At::new("/api/health/checks/ready-to-serve-clients", HEALTH, &[check("Whether clients can connect").open()]),
    At::new("/api/health/checks/reached-target-cluster-size", HEALTH, &[check("Whether the cluster is complete").open()]),
    At::new("/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts", HEALTH, &[check("Whether all quorum queues have a leader")]),
    At::new("/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}", HEALTH, &[check("The same of some")]),
    At::new("/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", HEALTH, &[check("The same of a vhost")]),
    At::new("/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}", HEALTH, &[
        check("The same of some of a vhost"),
    ]),
    At::new("/api/aliveness-test/{vhost}", HEALTH, &[Op::get("Whether a vhost can be used", &[(200, One("Health"))])]),
    At::new("/api/healthchecks/node", HEALTH, &[check("Whether the node does well")]),
    At::new("/api/healthchecks/node/{node}", HEALTH, &[check("Whether a node does well")]),
    // Vhosts
    At::new("/api/vhosts", VHOSTS, &[Op::get("Vhosts", &[(200, Pages("Vhost"))])]),
    At::new("/api/vhosts/{vhost}", VHOSTS, &[
        Op::get("A vhost", &[(200, One("Vhost"))]),
        Op::put("Makes a vhost, or describes it anew", "VhostDescription"),
        Op::delete("Deletes a vhost and all in it"),
    ]),
    At::new("/api/vhosts/{vhost}/deletion/protection", VHOSTS, &[
        Op::post("Protects a vhost from being deleted", DONE),
        Op::delete("Lets a vhost be deleted"),
    ]),
    At::new("/api/vhosts/{vhost}/start/{node}", VHOSTS, &[Op::post("Starts a vhost; it runs", DONE)]),
    At::new("/api/vhosts/{vhost}/permissions", VHOSTS, &[Op::get("Who may do what in a vhost", &[(200, Many("Permission"))])]),
    At::new("/api/vhosts/{vhost}/topic-permissions", VHOSTS, &[Op::get("Who may use which topics of a vhost", &[(200, Many("TopicPermission"))])]),
    At::new("/api/vhost-limits", VHOSTS, &[Op::get("What vhosts may have", &[(200, Many("VhostLimits"))])]),
    At::new("/api/vhost-limits/{vhost}", VHOSTS, &[Op::get("What a vhost may have", &[(200, Many("VhostLimits"))])]),
    At::new("/api/vhost-limits/{vhost}/{name}", VHOSTS, &[
        Op::enable("Sets a limit: max-connections or max-queues").sending("Limit"),
        Op::delete("Takes a limit away"),
    ]),
    // Users
    At::new("/api/users", USERS, &[Op::get("Users", &[(200, Pages("User"))])]),
    At::new("/api/users/without-permissions", USERS, &[Op::get("Users who may enter no vhost", &[(200, Pages("User"))])]),
    At::new("/api/users/bulk-delete", USERS, &[Op::post("Deletes users", DONE).sending("UserNames")]),
    At::new("/api/users/{user}", USERS, &[
        Op::get("A user", &[(200, One("User"))]),
        Op::put("Makes a user, or changes it", "UserDescription"),
        Op::delete("Deletes a user"),
    ]),
    At::new("/api/users/{user}/permissions", USERS, &[Op::get("What a user may do where", &[(200, Many("Permission"))])]),
    At::new("/api/users/{user}/topic-permissions", USERS, &[Op::get("Which topics a user may use", &[(200, Many("TopicPermission"))])]),
    At::new("/api/permissions", USERS, &[Op::get("Who may do what where", &[(200, Many("Permission"))])]),
    At::new("/api/permissions/{vhost}/{user}", USERS, &[
        Op::get("What a user may do in a vhost", &[(200, One("Permission"))]),
        Op::put("Lets a user into a vhost", "PermissionPatterns"),
        Op::delete("Keeps a user out of a vhost"),
    ]),
    At::new("/api/topic-permissions", USERS, &[Op::get("Who may use which topics", &[(200, Many("TopicPermission"))])]),
    At::new("/api/topic-permissions/{vhost}/{user}", USERS, &[
        Op::get("Which topics a user may use in a vhost", &[(200, Many("TopicPermission"))]),
        Op::put("Gives topic permissions on an exchange", "TopicPatterns"),
        Op::delete("Takes topic permissions away"),
    ]),
    At::new("/api/topic-permissions/{vhost}/{user}/{exchange}", USERS, &[
        Op::get("Which topics a user may use in a vhost", &[(200, Many("TopicPermission"))]),
        Op::put("Gives topic permissions on an exchange", "TopicPatterns"),
        Op::delete("Takes topic permissions on an exchange away"),
    ]),
    At::new("/api/user-limits", USERS, &[Op::get("What users may have", &[(200, Many("UserLimits"))])]),
    At::new("/api/user-limits/{user}", USERS, &[Op::get("What a user may have", &[(200, Many("UserLimits"))])]),
    At::new("/api/user-limits/{user}/{name}", USERS, &[
        Op::enable("Sets a limit: max-connections or max-channels").sending("Limit"),
        Op::delete("Takes a limit away"),
    ]),
    // Connections
    At::new("/api/connections", CONNECTIONS, &[Op::get("Connections", &[(200, Pages("Connection"))])]),
    At::new("/api/vhosts/{vhost}/connections", CONNECTIONS, &[Op::get("Connections of a vhost", &[(200, Pages("Connection"))])]),
    At::new("/api/connections/{name}/channels", CONNECTIONS, &[Op::get("Channels of a connection", OBJECTS)]),
    At::new("/api/connections/{name}/sessions", CONNECTIONS, &[Op::get("Sessions of an AMQP 1.0 connection, of which there are none", &[(400, One("Error"))])]),
    At::new("/api/channels", CONNECTIONS, &[Op::get("Channels", &[(200, Pages("Object"))])]),
    At::new("/api/channels/{channel}", CONNECTIONS, &[Op::get("A channel", OBJECT)]),
    At::new("/api/vhosts/{vhost}/channels", CONNECTIONS, &[Op::get("Channels of a vhost", &[(200, Pages("Object"))])]),
    At::new("/api/consumers", CONNECTIONS, &[Op::get("Consumers", OBJECTS)]),
    At::new("/api/consumers/{vhost}", CONNECTIONS, &[Op::get("Consumers of a vhost", OBJECTS)]),
    At::new("/api/connections/{name}", CONNECTIONS, &[
        Op::get("A connection", &[(200, One("Connection"))]),
        Op::delete("Closes a connection; the header X-Reason says why"),
    ]),
    At::new("/api/connections/username/{user}", CONNECTIONS, &[
        Op::get("A user's connections", &[(200, Pages("ConnectionName"))]),
        Op::delete("Closes a user's connections"),
    ]),
    // Exchanges
    At::new("/api/exchanges", EXCHANGES, &[Op::get("Exchanges", &[(200, Pages("Exchange"))])]),
    At::new("/api/exchanges/{vhost}", EXCHANGES, &[Op::get("Exchanges of a vhost", &[(200, Pages("Exchange"))])]),
    At::new("/api/exchanges/{vhost}/{exchange}", EXCHANGES, &[
        Op::get("An exchange", &[(200, One("Exchange"))]),
        Op::put("Declares an exchange", "ExchangeDeclaration"),
        Op::delete("Deletes an exchange").asking(&[("if-unused", "true: only if nothing is bound to it")]),
    ]),
    At::new("/api/exchanges/{vhost}/{exchange}/publish", EXCHANGES, &[
        Op::post("Publishes a message", &[(200, One("Routed"))]).sending("Publication"),
    ]),
    At::new("/api/exchanges/{vhost}/{exchange}/bindings/{end}", EXCHANGES, &[
        Op::get("Bindings of which an exchange is the source or the destination", &[(200, Many("Binding"))]),
    ]),
    At::new("/api/exchanges/{vhost}/{exchange}/delayed", EXCHANGES, &[
        Op::get("Messages that wait at an exchange", OBJECT),
        Op::delete("Drops all messages that wait"),
    ]),
    At::new("/api/exchanges/{vhost}/{exchange}/delayed/{id}", EXCHANGES, &[
        Op::get("A message that waits", OBJECT),
        Op::delete("Drops a message that waits"),
    ]),
    At::new("/api/exchanges/{vhost}/{exchange}/delayed/{id}/deliver", EXCHANGES, &[Op::post("Delivers a message that waits now", DONE)]),
    // Queues
    At::new("/api/queues", QUEUES, &[Op::get("Queues", &[(200, Pages("Queue"))])]),
    At::new("/api/queues/detailed", QUEUES, &[Op::get("Queues, with all there is to say of them", &[(200, Pages("Queue"))])]),
    At::new("/api/users/{user}/queues", QUEUES, &[Op::get("Queues that a user has declared", &[(200, Pages("Queue"))])]),
    At::new("/api/queues/{vhost}", QUEUES, &[Op::get("Queues of a vhost", &[(200, Pages("Queue"))])]),
    At::new("/api/queues/{vhost}/{queue}", QUEUES, &[
        Op::get("A queue", &[(200, One("Queue"))]),
        Op::put("Declares a queue", "QueueDeclaration"),
        Op::delete("Deletes a queue").asking(&[("if-empty", "true: only if no message is in it"), ("if-unused", "true: only if nobody consumes")]),
    ]),
    At::new("/api/queues/{vhost}/{queue}/bindings", QUEUES, &[Op::get("What is bound to a queue", &[(200, Many("Binding"))])]),
    At::new("/api/queues/{vhost}/{queue}/contents", QUEUES, &[Op::delete("Purges a queue")]),
    At::new("/api/queues/{vhost}/{queue}/get", QUEUES, &[Op::post("Gets messages", &[(200, Many("Message"))]).sending("Fetch")]),
    At::new("/api/queues/{vhost}/{queue}/messages", QUEUES, &[
        Op::get("Shows messages without taking them", &[(200, One("Messages"))]).asking(&[
            ("count", "messages on a page, up to 1000"),
            ("after", "the position of a message: only those behind it"),
            ("routing_key", "just this routing key"),
            ("header", "NAME, or NAME:VALUE"),
            ("body", "octets that are in the body"),
            ("body_regex", "a regular expression for the body"),
            ("state", "ready or unacknowledged"),
            ("truncate", "octets of bodies to show"),
            ("encoding", "auto or base64"),
        ]),
    ]),
    At::new("/api/queues/{vhost}/{queue}/messages/move", QUEUES, &[Op::post("Moves messages", OBJECT).sending("Transfer")]),
    At::new("/api/queues/{vhost}/{queue}/messages/copy", QUEUES, &[Op::post("Copies messages", OBJECT).sending("Transfer")]),
    At::new("/api/queues/{vhost}/{queue}/actions", QUEUES, &[Op::post("Does something to a queue: sync or cancel_sync", DONE).sending("Object")]),
    At::new("/api/queues/quorum/{vhost}/{queue}/replicas/add", QUEUES, &[Op::post("Adds a replica of a quorum queue", DONE).sending("Object")]),
    At::new("/api/queues/quorum/{vhost}/{queue}/replicas/delete", QUEUES, &[Op::delete("Deletes a replica of a quorum queue").sending("Object")]),
    At::new("/api/queues/quorum/{vhost}/{queue}/status", QUEUES, &[Op::get("The replicas of a quorum queue", OBJECTS)]),
    At::new("/api/queues/quorum/replicas/on/{node}/grow", QUEUES, &[Op::post("Adds replicas on a node", DONE).sending("Object")]),
    At::new("/api/queues/quorum/replicas/on/{node}/shrink", QUEUES, &[Op::delete("Deletes replicas on a node")]),
    // Bindings
    At::new("/api/bindings", BINDINGS, &[Op::get("Bindings", &[(200, Many("Binding"))])]),
    At::new("/api/bindings/{vhost}", BINDINGS, &[Op::get("Bindings of a vhost", &[(200, Many("Binding"))])]),
    At::new("/api/bindings/{vhost}/e/{exchange}/{kind}/{destination}", BINDINGS, &[
        Op::get("Bindings from an exchange to a queue (q) or an exchange (e)", &[(200, Many("Binding"))]),
        Op::post("Binds them; the header Location says where the binding is", &[(201, Nothing)]).sending("BindingDescription"),
    ]),
    At::new("/api/bindings/{vhost}/e/{exchange}/{kind}/{destination}/{key}", BINDINGS, &[
        Op::get("A binding", &[(200, One("Binding"))]),
        Op::delete("Takes a binding away"),
    ]),
    // Streams
    At::new("/api/stream/connections", STREAMS, &[Op::get("Connections of the stream protocol: none", &[(200, Pages("Object"))])]),
    At::new("/api/stream/connections/{vhost}", STREAMS, &[Op::get("The same of a vhost", OBJECTS)]),
    At::new("/api/stream/connections/{vhost}/{connection}", STREAMS, &[Op::get("A connection of the stream protocol", OBJECT)]),
    At::new("/api/stream/connections/{vhost}/{connection}/consumers", STREAMS, &[Op::get("Its consumers", OBJECTS)]),
    At::new("/api/stream/connections/{vhost}/{connection}/publishers", STREAMS, &[Op::get("Its publishers", OBJECTS)]),
    At::new("/api/stream/publishers", STREAMS, &[Op::get("Publishers of the stream protocol: none", OBJECTS)]),
    At::new("/api/stream/publishers/{vhost}", STREAMS, &[Op::get("The same of a vhost", OBJECTS)]),
    At::new("/api/stream/publishers/{vhost}/{queue}", STREAMS, &[Op::get("The same of a stream", OBJECTS)]),
    At::new("/api/stream/consumers", STREAMS, &[Op::get("Consumers of the stream protocol: none", OBJECTS)]),
    At::new("/api/stream/consumers/{vhost}", STREAMS, &[Op::get("The same of a vhost", OBJECTS)]),
    At::new("/api/stream/{vhost}/{queue}/tracking", STREAMS, &[Op::get("What a stream remembers of its publishers and consumers", OBJECT)]),
    // Policies
    At::new("/api/policies", POLICIES, &[Op::get("Policies", &[(200, Many("Policy"))])]),
    At::new("/api/policies/{vhost}", POLICIES, &[Op::get("Policies of a vhost", &[(200, Many("Policy"))])]),
    At::new("/api/policies/{vhost}/{name}", POLICIES, &[
        Op::get("A policy", &[(200, One("Policy"))]),
        Op::put("Sets a policy", "PolicyDescription"),
        Op::delete("Takes a policy away"),
    ]),
    At::new("/api/operator-policies", POLICIES, &[Op::get("Operator policies", &[(200, Many("Policy"))])]),
    At::new("/api/operator-policies/{vhost}", POLICIES, &[Op::get("Operator policies of a vhost", &[(200, Many("Policy"))])]),
    At::new("/api/operator-policies/{vhost}/{name}", POLICIES, &[
        Op::get("An operator policy", &[(200, One("Policy"))]),
        Op::put("Sets an operator policy", "PolicyDescription"),
        Op::delete("Takes an operator policy away"),
    ]),
    At::new("/api/parameters", POLICIES, &[Op::get("Parameters of vhosts", &[(200, Many("Parameter"))])]),
    At::new("/api/parameters/{component}", POLICIES, &[Op::get("Parameters of a component", &[(200, Many("Parameter"))])]),
    At::new("/api/parameters/{component}/{vhost}", POLICIES, &[Op::get("Parameters of a component in a vhost", &[(200, Many("Parameter"))])]),
    At::new("/api/parameters/{component}/{vhost}/{name}", POLICIES, &[
        Op::get("A parameter", &[(200, One("Parameter"))]),
        Op::put("Sets a parameter", "Value"),
        Op::delete("Takes a parameter away"),
    ]),
    At::new("/api/global-parameters", POLICIES, &[Op::get("Parameters of the node", &[(200, Many("GlobalParameter"))])]),
    At::new("/api/global-parameters/{name}", POLICIES, &[
        Op::get("A parameter of the node", &[(200, One("GlobalParameter"))]),
        Op::put("Sets a parameter of the node", "Value"),
        Op::delete("Takes a parameter of the node away"),
    ]),
    // Streams
    At::new("/api/stream/super-streams/{vhost}/{name}", STREAMS, &[
        Op::put("Makes a super stream", "Object"),
        Op::delete("Deletes a super stream with its partitions"),
    ]),
    At::new("/api/stream/groups", STREAMS, &[Op::get("Groups, with their offsets and lag", OBJECTS)]),
    At::new("/api/stream/groups/{vhost}", STREAMS, &[Op::get("Groups of a vhost", OBJECTS)]),
    At::new("/api/stream/groups/{vhost}/{stream}/{group}", STREAMS, &[
        Op::put("Sets where a group goes on", "Object"),
        Op::delete("Forgets where a group goes on"),
    ]),
    // Definitions
    At::new("/api/definitions", DEFINITIONS, &[
        Op::get("All definitions", &[(200, One("Definitions"))]).asking(DOWNLOAD),
        Op::post("Brings definitions here", DONE).sending("Definitions"),
    ]),
    At::new("/api/all-configuration", DEFINITIONS, &[
        Op::get("All definitions, by an older name", &[(200, One("Definitions"))]).asking(DOWNLOAD),
        Op::post("Brings definitions here", DONE).sending("Definitions"),
    ]),
    At::new("/api/definitions/{vhost}", DEFINITIONS, &[
        Op::get("Definitions of a vhost", &[(200, One("Definitions"))]).asking(DOWNLOAD),
        Op::post("Brings definitions into a vhost", DONE).sending("Definitions"),
    ]),
];

const NODE: &str = "Node";
const LOGIN: &str = "Logging in";
const HEALTH: &str = "Health";
const VHOSTS: &str = "Vhosts";
const USERS: &str = "Users";
const CONNECTIONS: &str = "Connections";
const EXCHANGES: &str = "Exchanges";
const QUEUES: &str = "Queues";
const BINDINGS: &str = "Bindings";
const STREAMS: &str = "Streams";
const POLICIES: &str = "Policies and parameters";
const DEFINITIONS: &str = "Definitions";
const DOWNLOAD: &[(&str, &str)] = &[("download", "The name of the file to offer")];
