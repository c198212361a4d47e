//! How much there may be of what, and what queues and vhosts are like that nobody told otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use super::people::pattern;
use super::values::{self, Allowed};
use crate::auth::limits::{Limit, VhostLimits};
use crate::broker::queue::arguments::QueueType;
use crate::node::limits::NodeLimits;
use crate::node::memory::MemoryLimit;

#[derive(Clone, Debug)]
pub struct Limits {
    pub node: NodeLimits,
    /// Octets of a message's body.
    pub message_size_max: u64,
    /// Octets of memory that waiting messages may take.
    pub message_memory: u64,
    pub memory: MemoryLimit,
    pub disk_free: DiskLimit,
    /// What new vhosts get whose names match: by what the rule is called.
    pub vhosts: BTreeMap<String, VhostRule>,
    /// Operator policies that new vhosts get: by name.
    pub operator_policies: BTreeMap<String, OperatorPolicy>,
}

/// How much of the disk has to be free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskLimit {
    Octets(u64),
    /// As a share of the memory there is.
    Memory(f64),
}

impl DiskLimit {
    /// Octets.
    pub fn octets(self, memory: Option<u64>) -> u64 {
        match self {
            Self::Octets(octets) => octets,
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Self::Memory(share) => (memory.unwrap_or_default() as f64 * share) as u64,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostRule {
    /// Without one it is for all vhosts.
    pub pattern: Option<String>,
    pub limits: VhostLimits,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorPolicy {
    pub vhost_pattern: Option<String>,
    pub queue_pattern: Option<String>,
    pub apply_to: Option<String>,
    /// As in the definition of a policy.
    pub definition: serde_json::Map<String, serde_json::Value>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            node: NodeLimits::default(),
            message_size_max: 16 << 20,
            message_memory: 20 << 20,
            memory: MemoryLimit::Share(0.6),
            disk_free: DiskLimit::Octets(50_000_000),
            vhosts: BTreeMap::new(),
            operator_policies: BTreeMap::new(),
        }
    }
}

impl Limits {
    pub(super) fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["max_channels_per_connection" | "channel_max"] => {
                self.node.channel_max = values::between(value, 0, 65535)?;
            }
            ["consumer_max_per_channel"] => self.node.consumer_max = unless_infinity(value, 1)?,
            ["max_connections" | "connection_max"] => self.node.connection_max = unless_infinity(value, 0)?,
            ["vhost_max"] => self.node.vhost_max = unless_infinity(value, 0)?,
            ["frame_max"] => self.node.frame_max = frame_max(value)?,
            ["heartbeat"] => self.node.heartbeat = values::between(value, 0, 65535)?,
            ["handshake_timeout"] => self.node.handshake_timeout = timeout(value)?,
            ["consumer_timeout"] => self.node.consumer_timeout = Some(values::between(value, 1, i64::MAX)?),
            ["default_queue_type"] => self.node.default_queue_type = queue_type(value)?,
            ["max_message_size"] => self.message_size_max = values::between(value, 1, 512 << 20)?,
            ["leveret", "message_memory"] => self.message_memory = at_least(values::size(value)?, 1 << 20)?,
            ["leveret", "memory_limit"] => {
                let wrong = |_| "a number of bytes, a share such as 0.6, or none".to_owned();
                self.memory = value.parse().map_err(wrong)?;
            }
            ["vm_memory_high_watermark", "absolute"] => {
                self.memory = MemoryLimit::Octets(values::size(value)?);
            }
            ["vm_memory_high_watermark", "relative"] => self.memory = MemoryLimit::Share(share(value)?),
            ["disk_free_limit", "absolute"] => self.disk_free = DiskLimit::Octets(values::size(value)?),
            ["disk_free_limit", "relative"] => self.disk_free = DiskLimit::Memory(share(value)?),
            ["default_limits", "vhosts", id, setting] => self.vhost_rule(id, setting, value)?,
            ["default_policies", "operator", id, setting @ ..] => return self.operator(id, setting, value),
            ["deprecated_features", "permit", name] => {
                let permitted = values::boolean(value)?;
                match *name {
                    "global_qos" => self.node.permits.global_qos = permitted,
                    "queue_master_locator" => self.node.permits.master_locator = permitted,
                    // Everything else is permitted.
                    _ => return Ok(permitted),
                }
            }
            ["quorum_queue", "property_equivalence", "relaxed_checks_on_redeclaration"] => {
                self.node.permits.relaxed_checks = values::boolean(value)?;
            }
            ["message_interceptors", "incoming", "set_header_timestamp", "overwrite"] => {
                self.node.stamps.time = Some(values::boolean(value)?);
            }
            ["message_interceptors", "incoming", "set_header_routing_node", "overwrite"] => {
                self.node.stamps.node = Some(values::boolean(value)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn vhost_rule(&mut self, id: &str, setting: &str, value: &str) -> Result<(), Allowed> {
        let rule = self.vhosts.entry(id.to_owned()).or_default();
        match setting {
            "pattern" => rule.pattern = Some(pattern(value)?),
            _ => {
                let limit = Limit(values::between(value, 1, i64::MAX)?);
                if let Some(place) = rule.limits.by_name(&setting.replace('_', "-")) {
                    *place = Some(limit);
                }
            }
        }
        Ok(())
    }

    fn operator(&mut self, id: &str, setting: &[&str], value: &str) -> Result<bool, Allowed> {
        let policy = self.operator_policies.entry(id.to_owned()).or_default();
        let mut define = |name: &str, value: u64| policy.definition.insert(name.to_owned(), value.into());
        match setting {
            ["vhost_pattern"] => policy.vhost_pattern = Some(pattern(value)?),
            ["queue_pattern"] => policy.queue_pattern = Some(pattern(value)?),
            ["apply_to"] => policy.apply_to = Some(value.to_owned()),
            [name @ ("expires" | "message_ttl")] => {
                define(&name.replace('_', "-"), values::duration(value)?);
            }
            [name @ ("max_length_bytes" | "max_in_memory_bytes")] => {
                define(&name.replace('_', "-"), at_least(values::bytes(value)?, 1)?);
            }
            [name @ ("max_length" | "max_in_memory_length" | "delivery_limit")] => {
                define(&name.replace('_', "-"), values::between(value, 1, i64::MAX)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Milliseconds, or none at all.
fn timeout(value: &str) -> Result<Option<Duration>, Allowed> {
    match value {
        "infinity" => Ok(None),
        _ => Ok(Some(Duration::from_millis(values::between(value, 1, i64::MAX)?))),
    }
}

/// A count, or none at all.
fn unless_infinity(value: &str, min: i64) -> Result<Option<u32>, Allowed> {
    match value {
        "infinity" => Ok(None),
        _ => values::between(value, min, u32::MAX.into())
            .map(Some)
            .map_err(|what| format!("infinity, or {what}")),
    }
}

fn at_least(octets: u64, min: u64) -> Result<u64, Allowed> {
    if octets >= min { Ok(octets) } else { Err(format!("at least {min} bytes")) }
}

fn share(value: &str) -> Result<f64, Allowed> {
    values::float(value).ok().filter(|share| *share >= 0.0).ok_or_else(|| "a number such as 0.6".to_owned())
}

/// AMQP wants frames to have at least 4096 octets, and RabbitMQ knows 0 for no limit.
fn frame_max(value: &str) -> Result<u32, Allowed> {
    let what = || "a size from 4096 bytes to 2GB".to_owned();
    let octets = values::bytes(value)?;
    u32::try_from(octets).ok().filter(|octets| (4096..=1 << 31).contains(octets)).ok_or_else(what)
}

fn queue_type(value: &str) -> Result<QueueType, Allowed> {
    let name = value.strip_prefix("rabbit_").and_then(|rest| rest.strip_suffix("_queue")).unwrap_or(value);
    QueueType::from_name(name.as_bytes()).ok_or_else(|| "classic, quorum or stream".to_owned())
}
