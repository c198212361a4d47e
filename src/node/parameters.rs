//! Policies of vhosts and parameters of the node: changed in memory first, and noted for the catalog in the same order.
//! What JSON says is checked before it gets here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cell::VhostCell;
use super::{Node, random};
use crate::broker::policy::book::Policies;
use crate::broker::policy::{Policy, Rank};
use crate::catalog::{GlobalParameter, NodeChange, ParameterDefinition, VhostNumber};

/// Parameters of the node, by name. They are kept, and mean nothing to it.
pub type Parameters = BTreeMap<Box<str>, Value>;

/// What the policies of a rank are called among parameters.
pub fn component(rank: Rank) -> &'static str {
    match rank {
        Rank::User => "policy",
        Rank::Operator => "operator_policy",
    }
}

fn rank(component: &str) -> Option<Rank> {
    [Rank::User, Rank::Operator].into_iter().find(|rank| self::component(*rank) == component)
}

impl Node {
    /// Sets a policy, for what there is in a vhost, too, and says whether there was none of its name. This may take as
    /// long as it takes to look at all names in the vhost.
    pub fn put_policy(&self, vhost: &VhostCell, rank: Rank, policy: Policy) -> bool {
        let parameter = ParameterDefinition {
            vhost: vhost.number,
            component: component(rank).into(),
            name: policy.name.clone(),
            value: policy.to_json().to_string().into(),
        };
        vhost.change_policies(
            |policies| policies.put(rank, policy),
            |_| self.changes.note(NodeChange::PutParameter(parameter)),
        )
    }

    /// Removes a policy, from what there is, too, and says whether there was one. This may take as long.
    pub fn remove_policy(&self, vhost: &VhostCell, rank: Rank, name: &str) -> bool {
        let parameter = NodeChange::DeleteParameter {
            vhost: vhost.number,
            component: component(rank).into(),
            name: name.into(),
        };
        vhost.change_policies(
            |policies| policies.remove(rank, name),
            |removed| {
                if *removed {
                    self.changes.note(parameter);
                }
            },
        )
    }

    pub fn parameters(&self) -> Parameters {
        self.parameters.lock().clone()
    }

    pub fn parameter(&self, name: &str) -> Option<Value> {
        self.parameters.lock().get(name).cloned()
    }

    /// Sets a parameter of the node, and says whether there was none of that name.
    pub fn put_parameter(&self, name: &str, value: Value) -> bool {
        let mut parameters = self.parameters.lock();
        let kept = GlobalParameter { name: name.into(), value: value.to_string().into() };
        self.changes.note(NodeChange::PutGlobalParameter(kept));
        parameters.insert(name.into(), value).is_none()
    }

    /// Removes a parameter of the node, and says whether there was one.
    pub fn remove_parameter(&self, name: &str) -> bool {
        let mut parameters = self.parameters.lock();
        let removed = parameters.remove(name).is_some();
        if removed {
            self.changes.note(NodeChange::DeleteGlobalParameter(name.into()));
        }
        removed
    }

    /// What RabbitMQ has from the start.
    pub(super) fn begin_parameters(&self) {
        use base64::Engine as _;
        let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random());
        self.put_parameter("cluster_tags", json!([]));
        self.put_parameter("internal_cluster_id", format!("rabbitmq-cluster-id-{id}").into());
    }

    pub(super) fn restore_parameters(&self, stored: Vec<GlobalParameter>) {
        let mut parameters = self.parameters.lock();
        for GlobalParameter { name, value } in stored {
            match serde_json::from_str(&value) {
                Ok(value) => drop(parameters.insert(name, value)),
                Err(e) => tracing::error!("the global parameter '{name}' makes no sense: {e}"),
            }
        }
    }
}

/// The policies of each vhost out of what a catalog has.
pub(super) fn restored_policies(stored: Vec<ParameterDefinition>) -> BTreeMap<VhostNumber, Policies> {
    let mut all: BTreeMap<_, Policies> = BTreeMap::new();
    for ParameterDefinition { vhost, component, name, value } in stored {
        let Some(rank) = rank(&component) else {
            tracing::error!("nobody knows what the parameter '{name}' of '{component}' is for");
            continue;
        };
        let fields = serde_json::from_str(&value).map_err(|e| e.to_string());
        match fields.and_then(|fields| Policy::from_json(&name, rank, &fields)) {
            Ok(policy) => drop(all.entry(vhost).or_default().put(rank, policy)),
            Err(why) => tracing::error!("the {component} '{name}' makes no sense: {why}"),
        }
    }
    all
}
