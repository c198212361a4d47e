//! Which RabbitMQ is followed. They differ in what they refuse, and clients depend on it: a team develops against the
//! version that it runs, and is told what the next one would break.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// The RabbitMQ whose behaviour is followed where versions differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compatibility {
    V3_13,
    V4_0,
    #[default]
    V4_3,
}

impl Compatibility {
    pub const ALL: [Self; 3] = [Self::V3_13, Self::V4_0, Self::V4_3];

    /// As the option has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V3_13 => "3.13",
            Self::V4_0 => "4.0",
            Self::V4_3 => "4.3",
        }
    }

    /// The version that clients are told.
    pub fn version(self) -> &'static str {
        match self {
            Self::V3_13 => "3.13.7",
            Self::V4_0 => "4.0.9",
            Self::V4_3 => "4.3.6",
        }
    }

    /// Whether `basic.qos` with `global` limits a channel; if not, `global` is as good as not set.
    pub fn has_channel_window(self) -> bool {
        self < Self::V4_3
    }

    /// Whether `x-queue-version: 1` and `x-queue-master-locator` are accepted, without any effect.
    pub fn accepts_old_arguments(self) -> bool {
        self < Self::V4_3
    }

    /// Whether policies may be for mirrored queues, without any effect.
    pub fn mirrors_queues(self) -> bool {
        self < Self::V4_0
    }

    /// Whether a passive declaration takes leave to configure.
    pub fn guards_passive_declares(self) -> bool {
        self >= Self::V4_3
    }
}

/// What is allowed beside what the version that is followed allows, since somebody has set it so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// `basic.qos` with `global` limits a channel (`deprecated_features.permit.global_qos`).
    pub global_qos: bool,
    /// `x-queue-master-locator` is accepted, without effect (`deprecated_features.permit.queue_master_locator`).
    pub master_locator: bool,
    /// A quorum queue may be declared again as a classic one
    /// (`quorum_queue.property_equivalence.relaxed_checks_on_redeclaration`).
    pub relaxed_checks: bool,
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compatibility {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| format!("{text:?} is none of 4.3, 4.0 and 3.13"))
    }
}

/// What earlier versions allow and this one does not, each with what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    QueueVersion,
    MasterLocator,
    PassiveDeclare,
    Mirroring,
    MasterLocatorPolicy,
}

impl Hint {
    fn text(self) -> &'static str {
        match self {
            Self::QueueVersion => {
                "x-queue-version 1 is refused since RabbitMQ 4.3: leave the argument out, or start with --compatibility 4.0"
            }
            Self::MasterLocator => {
                "x-queue-master-locator is refused since RabbitMQ 4.3: use x-queue-leader-locator, or start with \
                 --compatibility 4.0"
            }
            Self::Mirroring => {
                "policies with ha-* are refused since RabbitMQ 4.0, which has no mirrored queues: use quorum queues, or \
                 start with --compatibility 3.13"
            }
            Self::MasterLocatorPolicy => {
                "policies with queue-master-locator are refused since RabbitMQ 4.3: use queue-leader-locator, or start \
                 with --compatibility 4.0"
            }
            Self::PassiveDeclare => {
                "passive declarations need the configure permission since RabbitMQ 4.3: grant it, or start with \
                 --compatibility 4.0"
            }
        }
    }

    /// Logs what to change, once for each kind as long as the process lives.
    pub fn log_once(self) {
        static LOGGED: AtomicU8 = AtomicU8::new(0);
        let bit = 1 << self as u8;
        if LOGGED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::warn!("{}", self.text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_by_name() {
        for level in Compatibility::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert!(level.version().starts_with(level.name()));
        }
        assert!("4.1".parse::<Compatibility>().is_err());
        assert_eq!(Compatibility::default(), Compatibility::V4_3);
    }
}
