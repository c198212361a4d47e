//! Alarms: what the node has too little of. While one is in effect, connections that publish are blocked.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    Disk,
    Memory,
}

impl Alarm {
    pub const ALL: [Self; 2] = [Self::Disk, Self::Memory];

    /// What there is too little of, as the HTTP API names it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Disk => "disk space",
            Self::Memory => "memory",
        }
    }

    /// The same in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The alarms that are in effect at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InEffect {
    found: u8,
    insisted: u8,
}

impl InEffect {
    fn bits(self) -> u8 {
        self.found | self.insisted
    }

    pub fn is_empty(self) -> bool {
        self.bits() == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Alarm> {
        Alarm::ALL.into_iter().filter(move |alarm| self.bits() & alarm.bit() != 0)
    }

    /// What clients are told.
    pub fn reason(self) -> String {
        format!("low on {}", self.iter().map(Alarm::name).collect::<Vec<_>>().join(" & "))
    }
}

/// The alarms of a node, for those who raise them and for those who have to heed them.
#[derive(Debug, Default)]
pub struct Alarms {
    /// Whether there are any: all that a connection looks at before it reads on.
    any: AtomicBool,
    in_effect: watch::Sender<InEffect>,
}

impl Alarms {
    /// Raises an alarm, and says whether it was not in effect before.
    pub fn raise(&self, alarm: Alarm) -> bool {
        self.change(|now| now.found |= alarm.bit())
    }

    /// Ends an alarm, and says whether it was in effect. One that somebody insists on stays.
    pub fn clear(&self, alarm: Alarm) -> bool {
        self.change(|now| now.found &= !alarm.bit())
    }

    /// Has an alarm whatever there is of the resource, for tests of clients, or has it no more.
    pub fn insist_on(&self, alarm: Alarm, insist: bool) -> bool {
        self.change(|now| {
            if insist {
                now.insisted |= alarm.bit();
            } else {
                now.insisted &= !alarm.bit();
            }
        })
    }

    /// Says whether other alarms are in effect after the change than before.
    fn change(&self, change: impl FnOnce(&mut InEffect)) -> bool {
        self.in_effect.send_if_modified(|in_effect| {
            let before = in_effect.bits();
            change(in_effect);
            // Under the lock, so that the two always agree in the end.
            self.any.store(!in_effect.is_empty(), Ordering::SeqCst);
            in_effect.bits() != before
        })
    }

    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub fn in_effect(&self) -> InEffect {
        *self.in_effect.borrow()
    }

    /// For those who want to know of each change.
    pub fn watch(&self) -> watch::Receiver<InEffect> {
        self.in_effect.subscribe()
    }

    /// Waits until there is no alarm.
    pub async fn all_clear(&self) {
        let mut in_effect = self.in_effect.subscribe();
        // An error would mean that the sender is gone, and it is in `self`.
        let _ = in_effect.wait_for(|in_effect| in_effect.is_empty()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_as_rabbitmq_words_them() {
        let alarms = Alarms::default();
        assert!(!alarms.any() && alarms.in_effect().is_empty());
        assert!(alarms.raise(Alarm::Memory) && !alarms.raise(Alarm::Memory));
        assert_eq!(alarms.in_effect().reason(), "low on memory");
        assert!(alarms.raise(Alarm::Disk));
        assert_eq!(alarms.in_effect().reason(), "low on disk & memory");
        assert!(alarms.clear(Alarm::Memory) && !alarms.clear(Alarm::Memory));
        assert_eq!(alarms.in_effect().reason(), "low on disk");
        assert!(alarms.any() && alarms.clear(Alarm::Disk) && !alarms.any());
    }

    #[test]
    fn an_alarm_that_somebody_insists_on_stays() {
        let alarms = Alarms::default();
        assert!(alarms.insist_on(Alarm::Memory, true));
        assert!(!alarms.raise(Alarm::Memory) && !alarms.clear(Alarm::Memory));
        assert!(alarms.any() && alarms.insist_on(Alarm::Memory, false) && !alarms.any());
        assert!(alarms.raise(Alarm::Disk) && !alarms.insist_on(Alarm::Disk, true));
        assert!(!alarms.insist_on(Alarm::Disk, false) && alarms.any());
    }

    #[tokio::test]
    async fn clear_means_that_none_is_left() {
        let alarms = Alarms::default();
        alarms.all_clear().await;
        alarms.raise(Alarm::Disk);
        alarms.raise(Alarm::Memory);
        let clearing = async {
            alarms.clear(Alarm::Disk);
            tokio::task::yield_now().await;
            assert!(alarms.any());
            alarms.clear(Alarm::Memory);
        };
        tokio::join!(alarms.all_clear(), clearing);
        assert!(alarms.in_effect().is_empty());
    }
}
