//! Exporting: what there is, written as JSON one object at a time, and asked for some at a time.

use amq_protocol::types::FieldTable;
use serde_json::{Value, json};

use crate::auth::User;
use crate::auth::password::{Algorithm, PasswordHash};
use crate::broker::definitions::End;
use crate::broker::exchange::Exchange;
use crate::broker::exchange::list::{Named, Which};
use crate::broker::policy::{Policy, Rank};
use crate::broker::queue::Queue;
use crate::broker::walk::AT_ONCE;
use crate::broker::{Vhost, text};
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::parameters::component;
use crate::wire::json;

/// Global parameters whose names begin so are the node's own.
const OWN: &str = "internal";

/// A file that is being written.
struct File(Vec<u8>);

impl File {
    fn begin() -> Self {
        Self(vec![b'{'])
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(format!("\"{key}\":").as_bytes());
    }

    fn field(&mut self, key: &str, value: &Value) {
        self.key(key);
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = Value>) {
        self.key(key);
        self.0.push(b'[');
        for (n, item) in items.enumerate() {
            if n > 0 {
                self.0.push(b',');
            }
            self.0.extend_from_slice(item.to_string().as_bytes());
        }
        self.0.push(b']');
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn version(&mut self, node: &Node) {
        let version = Value::from(node.offer.version.as_str());
        self.field("rabbit_version", &version);
        self.field("rabbitmq_version", &version);
        self.field("product_name", &"RabbitMQ".into());
        self.field("product_version", &version);
    }
}

pub(super) fn of_node(node: &Node) -> Vec<u8> {
    let (mut file, vhosts, auth) = (File::begin(), node.vhosts(), node.auth());
    let cluster = node.offer.cluster_name.as_str();
    file.version(node);
    file.field("rabbitmq_definition_format", &"cluster".into());
    file.field("original_cluster_name", &cluster.into());
    file.field("explanation", &format!("Definitions of cluster '{cluster}'").into());
    file.list("users", auth.users().map(|user| of_user(user)));
    file.list("vhosts", vhosts.iter().map(|vhost| about(vhost)));
    let permissions = auth.users().flat_map(|user| {
        user.permissions.iter().map(|(vhost, permission)| {
            json!({
                "user": &*user.name, "vhost": vhost, "configure": &*permission.configure.source,
                "write": &*permission.write.source, "read": &*permission.read.source,
            })
        })
    });
    file.list("permissions", permissions);
    file.list("topic_permissions", vhosts.iter().flat_map(|vhost| topic_permissions(vhost)));
    file.list("parameters", vhosts.iter().flat_map(|vhost| within(vhost, parameters(vhost))));
    let own = |name: &str| name.starts_with(OWN);
    let global = node.parameters().into_iter().filter(|(name, _)| !own(name));
    file.list("global_parameters", global.map(|(name, value)| json!({ "name": name, "value": value })));
    file.list("policies", vhosts.iter().flat_map(|vhost| within(vhost, policies(vhost))));
    file.list("exchanges", vhosts.iter().flat_map(|vhost| within(vhost, exchanges(vhost))));
    file.list("queues", vhosts.iter().flat_map(|vhost| within(vhost, queues(vhost))));
    file.list("bindings", vhosts.iter().flat_map(|vhost| within(vhost, bindings(vhost))));
    file.end()
}

pub(super) fn of_vhost(node: &Node, vhost: &VhostCell) -> Vec<u8> {
    let mut file = File::begin();
    let name = &*vhost.name;
    file.version(node);
    file.field("rabbitmq_definition_format", &"single_virtual_host".into());
    file.field("original_vhost_name", &name.into());
    file.field("explanation", &format!("Definitions of virtual host '{name}'").into());
    let about = about(vhost);
    file.field("metadata", &about["metadata"]);
    file.field("description", &about["metadata"]["description"]);
    file.field("limits", &about["limits"]);
    file.list("parameters", parameters(vhost).into_iter());
    file.list("policies", policies(vhost).into_iter());
    file.list("exchanges", exchanges(vhost).into_iter());
    file.list("queues", queues(vhost).into_iter());
    file.list("bindings", bindings(vhost).into_iter());
    file.end()
}

/// The same with the name of the vhost in each.
fn within(vhost: &VhostCell, items: Vec<Value>) -> impl Iterator<Item = Value> {
    let name = Value::from(&*vhost.name);
    items.into_iter().map(move |mut item| {
        item["vhost"] = name.clone();
        item
    })
}

fn of_user(user: &User) -> Value {
    let algorithm = user.password.as_ref().map_or(Algorithm::Sha256, |hash| hash.algorithm);
    json!({
        "name": &*user.name,
        "password_hash": user.password.as_ref().map(PasswordHash::to_base64).unwrap_or_default(),
        "hashing_algorithm": algorithm.name(),
        "tags": user.tags,
        "limits": user.limits,
    })
}

/// A vhost. RabbitMQ forgets to say that it is traced.
fn about(vhost: &VhostCell) -> Value {
    let about = vhost.about();
    let mut metadata = json!({
        "description": about.description,
        "tags": about.tags,
        "default_queue_type": about.default_queue_type.name(),
    });
    if about.protected {
        metadata["protected_from_deletion"] = true.into();
    }
    let limits = about.limits.unwrap_or_default();
    let mut json = json!({ "name": &*vhost.name, "limits": limits, "metadata": metadata });
    if about.tracing {
        json["tracing"] = true.into();
    }
    json
}

fn topic_permissions(vhost: &VhostCell) -> Vec<Value> {
    vhost.with_vhost(|found| {
        let all = found.topic_permissions().map(|(exchange, user, permission)| {
            json!({
                "user": &**user, "vhost": &*vhost.name, "exchange": &**exchange,
                "write": &*permission.write, "read": &*permission.read,
            })
        });
        all.collect()
    })
}

fn parameters(vhost: &VhostCell) -> Vec<Value> {
    let of = component(Rank::Operator);
    let policies = vhost.policies().all(Rank::Operator);
    let policies = policies
        .iter()
        .map(|policy| json!({ "component": of, "name": &*policy.name, "value": policy.to_json() }));
    let limits = vhost.about().limits.map(|limits| json!(limits));
    let limits = limits.filter(|limits| limits.as_object().is_some_and(|limits| !limits.is_empty()));
    let limits =
        limits.map(|limits| json!({ "component": "vhost-limits", "name": "limits", "value": limits }));
    policies.chain(limits).collect()
}

fn policies(vhost: &VhostCell) -> Vec<Value> {
    let of = |policy: &Policy| {
        let mut json = policy.to_json();
        json["name"] = (*policy.name).into();
        json
    };
    vhost.policies().all(Rank::User).iter().map(|policy| of(policy)).collect()
}

/// Goes through things by their ids, some at a time.
fn walk<I: Copy>(
    vhost: &VhostCell,
    ids: impl FnOnce(&Vhost) -> Vec<I>,
    of: impl Fn(&Vhost, I) -> Option<Value>,
) -> Vec<Value> {
    let ids = vhost.with_vhost(|vhost| ids(vhost));
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        vhost.with_vhost(|vhost| found.extend(some.iter().filter_map(|id| of(vhost, *id))));
    }
    found
}

fn arguments(table: &FieldTable) -> Value {
    json::to_json(table)
}

/// Exchanges that people have declared. RabbitMQ leaves internal ones out.
fn exchanges(vhost: &VhostCell) -> Vec<Value> {
    let of = |exchange: &Exchange| {
        let mut json = json!({
            "name": &*exchange.name,
            "type": exchange.kind.name(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "arguments": arguments(&exchange.arguments),
        });
        if exchange.internal {
            json["internal"] = true.into();
        }
        json
    };
    let own = |exchange: &&Exchange| exchange.name.is_empty() || exchange.name.starts_with("amq.");
    walk(vhost, Vhost::exchange_ids, |vhost, id| vhost.exchange_by_id(id).filter(|x| !own(x)).map(of))
}

fn queues(vhost: &VhostCell) -> Vec<Value> {
    let of = |queue: &Queue| {
        let queue_type = queue.settings.queue_type.name();
        let mut arguments = arguments(&queue.arguments);
        arguments["x-queue-type"] = queue_type.into();
        json!({
            "name": &*queue.name,
            "type": queue_type,
            "durable": queue.durable,
            "auto_delete": queue.auto_delete,
            "arguments": arguments,
        })
    };
    walk(vhost, Vhost::queue_ids, |vhost, id| {
        vhost.queue_by_id(id).filter(|queue| queue.owner.is_none()).map(of)
    })
}

/// Bindings but for those of exclusive queues, which are not exported either.
fn bindings(vhost: &VhostCell) -> Vec<Value> {
    let of = |binding: &Named| {
        let (kind, destination) = match &binding.destination {
            End::Queue(name) => ("queue", name),
            End::Exchange(name) => ("exchange", name),
        };
        json!({
            "source": &*binding.source,
            "destination": &**destination,
            "destination_type": kind,
            "routing_key": text(&binding.routing_key),
            "arguments": arguments(&binding.arguments),
        })
    };
    let own = |vhost: &Vhost, binding: &Named| match &binding.destination {
        End::Queue(name) => vhost.queue(name.as_bytes()).is_some_and(|queue| queue.owner.is_some()),
        End::Exchange(_) => false,
    };
    walk(
        vhost,
        |vhost| vhost.binding_ids(Which::All),
        |vhost, id| {
            vhost.named_binding(id).filter(|binding| !own(vhost, binding)).map(|binding| of(&binding))
        },
    )
}
