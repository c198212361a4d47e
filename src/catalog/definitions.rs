//! What the catalog keeps, and how it changes: plain data.

use std::sync::Arc;

use crate::auth::limits::{UserLimits, VhostLimits};
use crate::auth::password::PasswordHash;
use crate::broker::definitions::{self, Change};
use crate::broker::queue::arguments::QueueType;
use crate::log::disk::LogId;

/// A vhost's number. It is never given twice, so that what is left of a deleted vhost is never taken for another's.
pub type VhostNumber = u32;

/// What people say of a vhost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    pub description: String,
    pub tags: Vec<String>,
    pub default_queue_type: QueueType,
    /// Whether it is refused to delete it.
    pub protected: bool,
    pub tracing: bool,
    /// Who has made it, and the exchanges that are there from the beginning; `None` is the node itself.
    pub creator: Option<Arc<str>>,
    /// `None` if there have never been any.
    pub limits: Option<VhostLimits>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VhostDefinition {
    pub number: VhostNumber,
    pub name: Arc<str>,
    pub about: About,
}

#[derive(Clone, Debug, PartialEq)]
pub struct UserDefinition {
    pub name: Arc<str>,
    pub password: Option<PasswordHash>,
    pub tags: Vec<Box<str>>,
    pub limits: UserLimits,
}

/// The sources of a permission's patterns.
#[derive(Clone, Debug, PartialEq)]
pub struct PermissionDefinition {
    pub user: Arc<str>,
    pub vhost: VhostNumber,
    pub configure: Box<str>,
    pub write: Box<str>,
    pub read: Box<str>,
}

/// A parameter of a vhost, such as a policy, as JSON. Components have their own.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterDefinition {
    pub vhost: VhostNumber,
    pub component: Box<str>,
    pub name: Arc<str>,
    pub value: Box<str>,
}

/// A parameter of the node, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalParameter {
    pub name: Box<str>,
    pub value: Box<str>,
}

/// A change of something durable on the node.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeChange {
    PutVhost(VhostDefinition),
    /// A vhost goes with everything in it; nobody needs the logs of its queues any more.
    DeleteVhost {
        number: VhostNumber,
        logs: Vec<LogId>,
    },
    PutUser(UserDefinition),
    /// A user goes with their permissions.
    DeleteUser(Arc<str>),
    PutPermission(PermissionDefinition),
    DeletePermission {
        user: Arc<str>,
        vhost: VhostNumber,
    },
    PutParameter(ParameterDefinition),
    DeleteParameter {
        vhost: VhostNumber,
        component: Box<str>,
        name: Box<str>,
    },
    PutGlobalParameter(GlobalParameter),
    DeleteGlobalParameter(Box<str>),
    InVhost {
        vhost: VhostNumber,
        change: Change,
    },
}

/// Everything the catalog keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    /// By their numbers, each with what is durable in it.
    pub vhosts: Vec<(VhostDefinition, definitions::Definitions)>,
    pub users: Vec<UserDefinition>,
    pub permissions: Vec<PermissionDefinition>,
    pub parameters: Vec<ParameterDefinition>,
    pub global_parameters: Vec<GlobalParameter>,
    /// The number for the next vhost; `None` if there has never been any vhost.
    pub next_vhost: Option<VhostNumber>,
    /// The number for the next queue's log.
    pub next_log: u64,
}

impl Definitions {
    /// Whether nothing has ever been kept.
    pub fn is_new(&self) -> bool {
        self.next_vhost.is_none()
    }
}
