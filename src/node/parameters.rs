//! Policies of vhosts and parameters of the node: changed in memory first, and noted for the catalog in the same order.
//! What JSON says is checked before it gets here.

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Value, json};

use super::cell::VhostCell;
use super::{Node, random};
use crate::broker::compatibility::Compatibility;
use crate::broker::events::Facts;
use crate::broker::policy::book::Policies;
use crate::broker::policy::{Policy, Rank};
use crate::catalog::{GlobalParameter, NodeChange, ParameterDefinition, VhostNumber};
use crate::session::handshake::Offer;

/// The parameter that names the cluster.
const CLUSTER_NAME: &str = "cluster_name";
/// Octets of it: everybody who connects is told, before they have said who they are.
pub const CLUSTER_NAME_MAX: usize = 255;

/// Parameters of the node, by name. They are kept, and but for the cluster's name mean nothing to it.
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
        let (name, json) = (policy.name.clone(), policy.to_json());
        let parameter = ParameterDefinition {
            vhost: vhost.number,
            component: component(rank).into(),
            name: name.clone(),
            value: json.to_string().into(),
        };
        let done = vhost.change_policies(
            |policies| {
                let is_same = policies.get(rank, &name).is_some_and(|found| found.to_json() == json);
                (!is_same).then(|| policies.put(rank, policy))
            },
            || self.changes.note(NodeChange::PutParameter(parameter)),
        );
        if done.is_some() {
            self.tell_policy(rank, "parameter.set", "policy.set", vhost, &name, Some(&json));
        }
        done.unwrap_or(false)
    }

    /// Removes a policy, from what there is, too, and says whether there was one. This may take as long.
    pub fn remove_policy(&self, vhost: &VhostCell, rank: Rank, name: &str) -> bool {
        let parameter = NodeChange::DeleteParameter {
            vhost: vhost.number,
            component: component(rank).into(),
            name: name.into(),
        };
        let done = vhost.change_policies(
            |policies| policies.remove(rank, name).then_some(()),
            || self.changes.note(parameter),
        );
        let key = match rank {
            Rank::User => "policy.cleared",
            Rank::Operator => "operator.policy.cleared",
        };
        if done.is_some() {
            self.tell_policy(rank, "parameter.cleared", key, vhost, name, None);
        }
        done.is_some()
    }

    /// Tells that a policy has come or gone. Operator policies are told as parameters, too.
    fn tell_policy(
        &self,
        rank: Rank,
        parameter: &'static str,
        policy: &'static str,
        vhost: &VhostCell,
        name: &str,
        json: Option<&Value>,
    ) {
        let where_it_is = |facts: Facts| facts.text("name", name).text("vhost", &*vhost.name);
        if rank == Rank::Operator {
            self.events.done(parameter, |facts| {
                let facts = where_it_is(facts).text("component", component(rank));
                json.into_iter().fold(facts, |facts, json| facts.value("value", amqp(json)))
            });
        }
        self.events.done(policy, |facts| {
            where_it_is(match json.map(amqp) {
                Some(AMQPValue::FieldTable(fields)) => Facts(fields),
                _ => facts,
            })
        });
    }

    /// The name of the cluster: what somebody has set, or the node's. One that is too long is none.
    pub fn cluster_name(&self) -> String {
        let set = self.parameter(CLUSTER_NAME).and_then(|name| Some(name.as_str()?.to_owned()));
        set.filter(|name| name.len() <= CLUSTER_NAME_MAX).unwrap_or_else(|| self.offer.cluster_name.clone())
    }

    /// Whether somebody has set this name.
    pub fn is_cluster_named(&self, name: &str) -> bool {
        self.parameter(CLUSTER_NAME).is_some_and(|set| set == *name)
    }

    pub fn set_cluster_name(&self, name: &str) {
        self.put_parameter(CLUSTER_NAME, name.into());
    }

    /// What clients are offered at the moment.
    pub fn current_offer(&self) -> Arc<Offer> {
        let cluster_name = self.cluster_name();
        let channel_max = self.control.channel_max().unwrap_or(self.offer.channel_max);
        if cluster_name == self.offer.cluster_name && channel_max == self.offer.channel_max {
            return Arc::clone(&self.offer);
        }
        Arc::new(Offer { cluster_name, channel_max, ..Offer::clone(&self.offer) })
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
        self.events.done("parameter.set", |facts| {
            facts.text("component", "global").text("name", name).value("value", amqp(&value))
        });
        parameters.insert(name.into(), value).is_none()
    }

    /// Removes a parameter of the node, and says whether there was one.
    pub fn remove_parameter(&self, name: &str) -> bool {
        let mut parameters = self.parameters.lock();
        let removed = parameters.remove(name).is_some();
        if removed {
            self.changes.note(NodeChange::DeleteGlobalParameter(name.into()));
            let told = |facts: Facts| facts.text("component", "global").text("name", name);
            self.events.done("parameter.cleared", told);
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

/// JSON as a header of an event.
fn amqp(json: &Value) -> AMQPValue {
    match json {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => AMQPValue::LongLongInt(whole),
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(amqp).collect::<Vec<_>>()))
        }
        Value::Object(fields) => {
            let mut table = FieldTable::default();
            // A name that is too long for a header is left out.
            let fields = fields
                .iter()
                .filter_map(|(name, json)| Some((ShortString::try_new(name.as_str()).ok()?, json)));
            for (name, json) in fields {
                table.insert(name, amqp(json));
            }
            AMQPValue::FieldTable(table)
        }
    }
}

/// The policies of each vhost out of what a catalog has.
pub(super) fn restored_policies(
    stored: Vec<ParameterDefinition>,
    level: Compatibility,
) -> BTreeMap<VhostNumber, Policies> {
    let mut all: BTreeMap<_, Policies> = BTreeMap::new();
    for ParameterDefinition { vhost, component, name, value } in stored {
        let Some(rank) = rank(&component) else {
            tracing::error!("nobody knows what the parameter '{name}' of '{component}' is for");
            continue;
        };
        let fields = serde_json::from_str(&value).map_err(|e| e.to_string());
        match fields.and_then(|fields| Policy::from_json(&name, rank, level, &fields)) {
            Ok(policy) => drop(all.entry(vhost).or_default().put(rank, policy)),
            Err(why) => tracing::error!("the {component} '{name}' makes no sense: {why}"),
        }
    }
    all
}
