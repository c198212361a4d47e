//! Importing a file: category by category, in the order in which things depend on each other.

use serde_json::{Map, Value};

use super::item::{Item, no_vhost};
use super::{ImportError, Imported, Scope, people, settings, things};
use crate::auth::password::Algorithm;
use crate::broker::policy::Rank;
use crate::node::Node;
use crate::node::cell::VhostCell;
use std::sync::Arc;

/// All categories of a file, in the order in which they are imported. (RabbitMQ has queues before bindings, too, and
/// topic permissions before the exchanges they are for, which here they have to follow.)
const CATEGORIES: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "exchanges",
    "topic_permissions",
    "global_parameters",
    "policies",
    "parameters",
    "queues",
    "bindings",
];
/// Those that a file for one vhost has.
const IN_VHOST: [&str; 5] = ["exchanges", "policies", "parameters", "queues", "bindings"];

/// An import under way.
pub(super) struct Import<'a> {
    pub node: &'a Node,
    scope: Scope<'a>,
    /// How passwords are hashed in files that do not say.
    pub algorithm: Algorithm,
    done: Imported,
}

/// Whether an object was imported, or passed over.
pub(super) enum Done {
    Imported,
    PassedOver,
}

pub(super) fn run(node: &Node, scope: Scope<'_>, file: &[u8]) -> Result<Imported, ImportError> {
    let file = parse(file)?;
    if let Scope::Vhost(name) = scope {
        node.vhost(name).ok_or(ImportError::NoVhost)?;
    }
    let algorithm = if is_before_3_6(&file) { Algorithm::Md5 } else { Algorithm::Sha256 };
    let mut import = Import { node, scope, algorithm, done: Imported::default() };
    match import.all(&file) {
        Ok(()) => Ok(import.done),
        Err(why) => Err(ImportError::Refused { why, done: import.done }),
    }
}

fn parse(file: &[u8]) -> Result<Map<String, Value>, ImportError> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    if file.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(file) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(ImportError::NotJson),
    }
}

/// Whether a RabbitMQ wrote the file whose passwords were hashed with MD5.
fn is_before_3_6(file: &Map<String, Value>) -> bool {
    let version = file.get("rabbitmq_version").or_else(|| file.get("rabbit_version")).and_then(Value::as_str);
    let mut parts = version.unwrap_or_default().split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < (3, 6),
        _ => false,
    }
}

/// The objects of a category.
fn items<'a>(file: &'a Map<String, Value>, category: &'static str) -> Result<Vec<Item<'a>>, String> {
    let list = match file.get(category) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("{category} should be a list of objects")),
    };
    let item = |value: &'a Value| match value {
        Value::Object(fields) => Ok(Item::new(category, fields)),
        _ => Err(format!("{category} should be a list of objects")),
    };
    list.iter().map(item).collect()
}

impl<'a> Import<'a> {
    fn all(&mut self, file: &'a Map<String, Value>) -> Result<(), String> {
        let chosen = match self.scope {
            Scope::Node => &CATEGORIES[..],
            Scope::Vhost(_) => &IN_VHOST[..],
        };
        // Before anything is done.
        let mut all = Vec::new();
        for category in chosen {
            all.push((*category, items(file, category)?));
        }
        for (category, items) in all {
            if category == "queues" {
                things::check_queue_limits(self, &items)?;
            }
            self.category(category, &items)?;
        }
        Ok(())
    }

    /// Imports all objects of a category. One that is refused does not keep the others from being imported, as in
    /// RabbitMQ, which does many at a time; the first refusal is told.
    fn category(&mut self, category: &'static str, items: &[Item<'a>]) -> Result<(), String> {
        let results = match category {
            "users" => people::users(self, items),
            "permissions" => people::permissions(self, items),
            _ => items.iter().map(|item| self.one(category, item)).collect(),
        };
        let mut refused = None;
        for result in results {
            match result {
                Ok(Done::Imported) => *self.done.0.entry(category).or_default() += 1,
                Ok(Done::PassedOver) => {}
                Err(why) => drop(refused.get_or_insert(why)),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn one(&self, category: &str, item: &Item<'a>) -> Result<Done, String> {
        match category {
            "vhosts" => things::vhost(self, item),
            "exchanges" => things::exchange(self, item),
            "topic_permissions" => people::topic_permission(self, item),
            "global_parameters" => settings::global_parameter(self, item),
            "policies" => settings::policy(self, item, Rank::User),
            "parameters" => settings::parameter(self, item),
            "queues" => things::queue(self, item),
            _ => things::binding(self, item),
        }
    }

    /// The vhost that an object is in.
    pub fn vhost(&self, item: &Item<'_>) -> Result<Arc<VhostCell>, String> {
        let name = match self.scope {
            Scope::Vhost(name) => name,
            Scope::Node if item.get("vhost").is_none() => {
                return Err(
                    "Virtual host does not exist and is not specified in definitions file.".to_owned()
                );
            }
            Scope::Node => item.text("vhost")?,
        };
        self.node.vhost(name).ok_or_else(|| no_vhost(name))
    }
}
