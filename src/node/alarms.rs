//! Alarms: the node is short of something, and publishers have to wait.

use tokio::sync::watch;

/// What a node can be short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    Memory,
    Disk,
}

/// The alarms that are raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    pub memory: bool,
    pub disk: bool,
}

#[derive(Debug, Default)]
pub struct Alarms(watch::Sender<Raised>);

impl Alarms {
    /// Raises an alarm, and says whether it was not raised before.
    pub fn raise(&self, alarm: Alarm) -> bool {
        self.set(alarm, true)
    }

    /// Ends an alarm, and says whether it was raised before.
    pub fn clear(&self, alarm: Alarm) -> bool {
        self.set(alarm, false)
    }

    pub fn is_raised(&self, alarm: Alarm) -> bool {
        let raised = self.0.borrow();
        match alarm {
            Alarm::Memory => raised.memory,
            Alarm::Disk => raised.disk,
        }
    }

    fn set(&self, alarm: Alarm, now: bool) -> bool {
        self.0.send_if_modified(|raised| {
            let which = match alarm {
                Alarm::Memory => &mut raised.memory,
                Alarm::Disk => &mut raised.disk,
            };
            std::mem::replace(which, now) != now
        })
    }
}
