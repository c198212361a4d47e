//! The memory of the process: how much there is for it, how much it takes, and the alarm when that is too much.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Node;
use super::alarms::{Alarm, Alarms};

/// Where control groups are, and which ones the process belongs to (cgroups(7)).
const CGROUPS: &str = "/sys/fs/cgroup";
const MEMBERSHIP: &str = "/proc/self/cgroup";

/// It is looked again before publishers can have used half of what is left, if they come as fast as this, in octets a
/// second.
const FLOOD: u64 = 1 << 30;
/// But within these times.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long until the next look during an alarm.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How much the process may take before publishers are blocked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryLimit {
    Octets(u64),
    /// Of the memory there is for the process.
    Share(f64),
    Unlimited,
}

impl FromStr for MemoryLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number of bytes, nor a share such as 0.6, nor none");
        if text == "none" {
            return Ok(Self::Unlimited);
        }
        if !text.contains('.') {
            return text.parse().map(Self::Octets).map_err(|_| wrong());
        }
        let share: f64 = text.parse().map_err(|_| wrong())?;
        if share > 0.0 && share <= 1.0 { Ok(Self::Share(share)) } else { Err(wrong()) }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(octets) => write!(f, "{octets}"),
            // With its point, which tells it from octets.
            Self::Share(share) => write!(f, "{share:?}"),
            Self::Unlimited => f.write_str("none"),
        }
    }
}

impl MemoryLimit {
    /// The limit in octets, if there is one and it can be told.
    pub fn octets(self) -> Option<u64> {
        match self {
            Self::Octets(octets) => Some(octets),
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Self::Share(share) => available().map(|all| (all as f64 * share) as u64),
            Self::Unlimited => None,
        }
    }
}

/// Octets of memory there are for the process: the machine's, or as much as its control groups allow, which is how
/// containers are limited.
pub fn available() -> Option<u64> {
    let machine = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let membership = fs::read_to_string(MEMBERSHIP).unwrap_or_default();
    Some(cgroup_limit(Path::new(CGROUPS), &membership).map_or(machine, |limit| limit.min(machine)))
}

/// Octets of memory that the process takes, what its allocator keeps for later included.
pub fn used() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// A field of a file in `/proc` that is a number of kilobytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    number.checked_mul(1024)
}

/// The smallest limit of the groups that a process belongs to and of those around them, in either version of control
/// groups. A container may not see where it lies, but always sees the outermost one there is for it.
fn cgroup_limit(root: &Path, membership: &str) -> Option<u64> {
    let mut limits = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (folders, file) = match controllers {
            "" => ([root.to_owned(), root.join("unified")], "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ([root.join("memory"), root.join(list)], "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for folder in folders {
            for group in Path::new(path.trim_start_matches('/')).ancestors() {
                let limit = fs::read_to_string(folder.join(group).join(file));
                // No limit is `max`, or a number beyond all memory.
                limits.extend(limit.ok().and_then(|limit| limit.trim().parse::<u64>().ok()));
            }
        }
    }
    limits.into_iter().min()
}

/// How much the process takes that is not free for messages.
///
/// An allocator hardly gives memory back: what messages took and have left is still the process's, and is there for the
/// next ones. It must not keep publishers blocked, so that it is reckoned from how both numbers change.
#[derive(Debug, Default)]
struct Gauge {
    resident: u64,
    messages: u64,
    /// What messages have left and the system has not got back, in octets.
    idle: u64,
}

impl Gauge {
    /// What counts as used, if so much is resident now, of which so much is messages.
    fn used(&mut self, resident: u64, messages: u64) -> u64 {
        let returned = self.resident.saturating_sub(resident);
        let grown = resident.saturating_sub(self.resident);
        let left = self.messages.saturating_sub(messages);
        let come = messages.saturating_sub(self.messages);
        // Messages that come take what is idle, as far as the process has not grown for them.
        let reused = come.saturating_sub(grown);
        self.idle = (self.idle + left).saturating_sub(returned + reused).min(resident);
        (self.resident, self.messages) = (resident, messages);
        resident - self.idle
    }
}

/// Raises the alarm when the process takes more than the limit, and clears it when it takes a twentieth less, so that
/// it does not come and go all the time.
fn look(alarms: &Alarms, used: u64, limit: u64) {
    if used > limit {
        if alarms.raise(Alarm::Memory) {
            tracing::warn!(
                "{used} octets of memory are used, more than the limit of {limit}: publishers are blocked"
            );
        }
    } else if used <= limit - limit / 20 && alarms.clear(Alarm::Memory) {
        tracing::warn!("{used} octets of memory are used: publishers go on");
    }
}

/// How long until the next look, with so much left up to the limit.
fn pause(left: u64) -> Duration {
    if left == 0 {
        return LOOK_AGAIN;
    }
    let (min, max) = LOOK;
    Duration::from_millis((left / 2).saturating_mul(1000) / FLOOD).clamp(min, max)
}

/// Looks after the memory until the node goes down. The limit may be changed meanwhile (`node/process`); 0 is none.
pub async fn watch(node: Arc<Node>, limit: u64) {
    let mut going_down = node.going_down();
    node.process.set_memory_limit(limit);
    let mut gauge = Gauge::default();
    loop {
        let Some(resident) = used() else {
            return tracing::error!("cannot tell how much memory is used: its limit is not heeded");
        };
        let bound = &node.process.memory_bound;
        let seen = bound.changes();
        let messages = u64::try_from(node.budget().resident()).unwrap_or(u64::MAX);
        let used = gauge.used(resident, messages);
        let limit = match bound.octets() {
            0 => u64::MAX,
            limit => limit,
        };
        look(&node.alarms, used, limit);
        bound.heed(seen);
        let pause = pause(limit.saturating_sub(used));
        tokio::select! {
            () = sleep(pause) => {}
            () = bound.changed_since(seen) => {}
            _ = going_down.wait_for(|down| *down) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_they_are_given() {
        for (text, wanted) in [
            ("0.6", Some(MemoryLimit::Share(0.6))),
            ("1.0", Some(MemoryLimit::Share(1.0))),
            ("1", Some(MemoryLimit::Octets(1))),
            ("536870912", Some(MemoryLimit::Octets(512 << 20))),
            ("none", Some(MemoryLimit::Unlimited)),
            ("0.0", None),
            ("1.5", None),
            ("-1", None),
            ("0.6.1", None),
            (".NaN", None),
            ("", None),
            ("1GiB", None),
        ] {
            assert_eq!(text.parse().ok(), wanted, "{text}");
        }
        assert_eq!(MemoryLimit::Octets(7).octets(), Some(7));
        assert_eq!(MemoryLimit::Unlimited.octets(), None);
    }

    #[test]
    fn this_process_takes_some_of_what_there_is() {
        let (used, available) = (used().expect("a number"), available().expect("a number"));
        assert!(used > 100 << 10 && used < available, "{used} of {available}");
        assert_eq!(field("VmPeak:\t  10 kB\nVmRSS:\t    3 kB\n", "VmRSS:"), Some(3 << 10));
        for strange in ["", "VmRSS:", "VmRSS: x kB", "VmRSS: 3 MB", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(field(strange, "VmRSS:"), None, "{strange}");
        }
    }

    #[test]
    fn the_alarm_comes_above_the_limit_and_goes_well_below() {
        let alarms = Alarms::default();
        for (used, wanted) in
            [(99, false), (100, false), (101, true), (100, true), (96, true), (95, false), (100, false)]
        {
            look(&alarms, used, 100);
            assert_eq!(alarms.any(), wanted, "{used}");
        }
    }

    #[test]
    fn looks_come_often_when_little_is_left() {
        for (left, wanted) in [
            (0, LOOK_AGAIN),
            (1, LOOK.0),
            (200 << 20, Duration::from_millis(97)),
            (2 << 30, LOOK.1),
            (u64::MAX, LOOK.1),
        ] {
            assert_eq!(pause(left), wanted, "{left}");
        }
    }

    #[test]
    fn what_messages_have_left_is_not_used() {
        let mut gauge = Gauge::default();
        for (resident, messages, wanted) in [
            (20, 0, 20),
            // Messages come, and some other things with them.
            (130, 100, 130),
            // They go, and their memory stays, or some of it does.
            (130, 40, 70),
            (110, 0, 30),
            // Others come into it, and then the process has to grow again.
            (110, 60, 90),
            (110, 80, 110),
            (150, 120, 150),
            // What is no message counts in full, whatever is idle.
            (150, 0, 30),
            (200, 0, 80),
            // So does what the system takes back.
            (80, 0, 80),
            (80, 80, 80),
        ] {
            assert_eq!(gauge.used(resident, messages), wanted, "{resident} {messages}");
        }
    }

    /// A tree of control groups that goes with the test.
    struct Groups(std::path::PathBuf);

    impl Groups {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("leveret-cgroup-{}-{name}", std::process::id()));
            for (file, content) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, content).expect("a file");
            }
            Self(root)
        }
    }

    impl Drop for Groups {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn limits_of_control_groups() {
        let second = Groups::new(
            "2",
            &[("a/memory.max", "3000\n"), ("a/b/memory.max", "max\n"), ("a/b/c/memory.max", "5000\n")],
        );
        let limit = |groups: &Groups, membership| cgroup_limit(&groups.0, membership);
        assert_eq!(limit(&second, "0::/a/b/c\n"), Some(3000), "what is around counts");
        assert_eq!(limit(&second, "0::/a/b\n"), Some(3000));
        assert_eq!(limit(&second, "0::/\n"), None);
        let inside = Groups::new("inside", &[("memory.max", "123456\n")]);
        for membership in ["0::/\n", "0::/../../elsewhere\n", "0::/not/to/be/seen\n"] {
            assert_eq!(limit(&inside, membership), Some(123_456), "{membership}");
        }
        let first = Groups::new(
            "1",
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/docker/x/memory.limit_in_bytes", "1000\n"),
                ("cpu/docker/x/memory.limit_in_bytes", "1\n"),
                ("unified/memory.max", "max\n"),
            ],
        );
        let membership = "11:cpu:/docker/x\n4:memory:/docker/x\n1:name=systemd:/\n0::/\n";
        assert_eq!(limit(&first, membership), Some(1000));
        assert_eq!(limit(&first, "4:memory:/hidden\n"), Some(9_223_372_036_854_771_712));
        for strange in ["", "\n", "x", "0::", "::::", "4:memory"] {
            assert_eq!(limit(&second, strange), None, "{strange:?}");
        }
    }
}
