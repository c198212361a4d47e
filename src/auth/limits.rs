//! Limits that administrators set for vhosts and users, and counts of what is limited.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

/// At most so many; a negative number is no limit, but one that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limit(pub i64);

impl Limit {
    /// Whether there may be no more, if there are `count` already.
    pub fn is_reached(self, count: usize) -> bool {
        usize::try_from(self.0).is_ok_and(|max| count >= max)
    }
}

/// What a vhost may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct VhostLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queues: Option<Limit>,
}

impl VhostLimits {
    /// The limit that goes by a name in the HTTP API.
    pub fn by_name(&mut self, name: &str) -> Option<&mut Option<Limit>> {
        match name {
            "max-connections" => Some(&mut self.max_connections),
            "max-queues" => Some(&mut self.max_queues),
            _ => None,
        }
    }
}

/// What a user may have, in all vhosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct UserLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_channels: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<Limit>,
}

impl UserLimits {
    /// The limit that goes by a name in the HTTP API.
    pub fn by_name(&mut self, name: &str) -> Option<&mut Option<Limit>> {
        match name {
            "max-channels" => Some(&mut self.max_channels),
            "max-connections" => Some(&mut self.max_connections),
            _ => None,
        }
    }
}

/// How much a user has open.
#[derive(Debug, Default)]
pub struct UserCounts {
    pub connections: Arc<Count>,
    pub channels: Arc<Count>,
}

/// How many there are of something.
#[derive(Debug, Default)]
pub struct Count(AtomicUsize);

/// One of those that are counted, for as long as it lives.
#[derive(Debug)]
pub struct Counted(Arc<Count>);

impl Count {
    /// One more, or the limit that is reached. Of two that come at once to the last place one gets it.
    pub fn add(self: &Arc<Self>, limit: Option<Limit>) -> Result<Counted, Limit> {
        let mut reached = None;
        let added = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            reached = limit.filter(|limit| limit.is_reached(count));
            if reached.is_none() { Some(count + 1) } else { None }
        });
        match (added, reached) {
            (Err(_), Some(limit)) => Err(limit),
            _ => Ok(Counted(Arc::clone(self))),
        }
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_limit_is_none() {
        assert!(Limit(0).is_reached(0) && Limit(2).is_reached(2) && Limit(2).is_reached(3));
        assert!(!Limit(1).is_reached(0) && !Limit(-1).is_reached(usize::MAX));
    }

    #[test]
    fn places_come_back() {
        let count = Arc::new(Count::default());
        let first = count.add(Some(Limit(2))).expect("a place");
        let _second = count.add(None).expect("a place");
        assert_eq!(count.add(Some(Limit(2))).err(), Some(Limit(2)));
        assert_eq!(count.add(Some(Limit(0))).err(), Some(Limit(0)));
        drop(first);
        let _third = count.add(Some(Limit(2))).expect("the place that is free again");
        assert!(count.add(Some(Limit(2))).is_err() && count.add(Some(Limit(-1))).is_ok());
    }

    #[test]
    fn limits_as_json() {
        let mut limits = VhostLimits::default();
        assert_eq!(serde_json::to_string(&limits).expect("JSON"), "{}");
        *limits.by_name("max-queues").expect("a limit") = Some(Limit(-1));
        assert_eq!(serde_json::to_string(&limits).expect("JSON"), r#"{"max-queues":-1}"#);
        let read: UserLimits = serde_json::from_str(r#"{"max-channels":3,"later":1}"#).expect("limits");
        assert_eq!(read, UserLimits { max_channels: Some(Limit(3)), max_connections: None });
        assert!(limits.by_name("max-channels").is_none());
    }
}
