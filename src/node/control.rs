//! What the node's owner asks of it beside its API: to close its ports and open them again, and to end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// For whom the node's ports are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doors {
    /// For everybody.
    #[default]
    Open,
    /// Nobody else gets in over AMQP; whoever is connected stays (RabbitMQ's `suspend_listeners`).
    Suspended,
    /// The same, and connections are ended (RabbitMQ's maintenance mode).
    Drained,
    /// Not even the HTTP API: the node just runs (RabbitMQ's `stop_app`).
    Closed,
}

/// Who is let in at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    Clients,
    Api,
}

impl Entrance {
    /// Whether its ports are open.
    fn is_open(self, doors: Doors) -> bool {
        match self {
            Self::Clients => doors == Doors::Open,
            Self::Api => doors != Doors::Closed,
        }
    }
}

/// Ports that are open, and those that would be if they might.
#[derive(Clone, Copy, Debug, Default)]
struct Ports {
    clients: (usize, usize),
    api: (usize, usize),
}

impl Ports {
    fn of(&mut self, entrance: Entrance) -> &mut (usize, usize) {
        match entrance {
            Entrance::Clients => &mut self.clients,
            Entrance::Api => &mut self.api,
        }
    }

    /// Whether all ports are as they should be.
    fn are_settled(mut self, doors: Doors) -> bool {
        [Entrance::Clients, Entrance::Api].into_iter().all(|entrance| {
            let (open, all) = *self.of(entrance);
            open == if entrance.is_open(doors) { all } else { 0 }
        })
    }
}

/// What has been asked.
#[derive(Debug)]
pub struct Control {
    doors: watch::Sender<Doors>,
    ports: watch::Sender<Ports>,
    end: watch::Sender<bool>,
    level: Mutex<Option<String>>,
    level_changed: Notify,
    channel_max: AtomicU32,
    /// When the node began.
    pub since: Instant,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            doors: watch::Sender::new(Doors::Open),
            ports: watch::Sender::default(),
            end: watch::Sender::new(false),
            level: Mutex::default(),
            level_changed: Notify::new(),
            channel_max: AtomicU32::new(u32::MAX),
            since: Instant::now(),
        }
    }
}

/// A port that opens and closes with the doors, as long as this value lives.
#[derive(Debug)]
pub struct Port<'a> {
    control: &'a Control,
    entrance: Entrance,
    is_open: bool,
    /// Whether it is among those that the doors open and close.
    counts: bool,
    doors: watch::Receiver<Doors>,
}

impl Port<'_> {
    /// Waits until the port is to be closed.
    pub async fn to_be_closed(&mut self) {
        let entrance = self.entrance;
        // An error would mean that the node is gone.
        let _ = self.doors.wait_for(|doors| !entrance.is_open(*doors)).await;
    }

    /// Waits until the port is to be open.
    pub async fn to_be_open(&mut self) {
        let entrance = self.entrance;
        let _ = self.doors.wait_for(|doors| entrance.is_open(*doors)).await;
    }

    /// Waits for nothing: this one does not close.
    pub fn stays(&mut self) {
        self.is(false);
        self.control.ports.send_modify(|ports| ports.of(self.entrance).1 -= 1);
        self.counts = false;
    }

    /// Says whether the port is open now.
    pub fn is(&mut self, open: bool) {
        let before = std::mem::replace(&mut self.is_open, open);
        self.control.ports.send_modify(|ports| {
            let (count, _) = ports.of(self.entrance);
            *count = *count - usize::from(before) + usize::from(open);
        });
    }
}

impl Drop for Port<'_> {
    fn drop(&mut self) {
        if self.counts {
            self.stays();
        }
    }
}

impl Control {
    pub fn doors(&self) -> Doors {
        *self.doors.borrow()
    }

    /// Adds a port that is open.
    pub fn port(&self, entrance: Entrance) -> Port<'_> {
        self.ports.send_modify(|ports| {
            let (open, all) = ports.of(entrance);
            *open += 1;
            *all += 1;
        });
        Port { control: self, entrance, is_open: true, counts: true, doors: self.doors.subscribe() }
    }

    /// Waits until all ports are open or closed, as they should be.
    pub async fn settled(&self) {
        let mut ports = self.ports.subscribe();
        let _ = ports.wait_for(|ports| ports.are_settled(self.doors())).await;
    }

    /// Says whether that is a change.
    pub fn set_doors(&self, doors: Doors) -> bool {
        self.doors.send_if_modified(|before| std::mem::replace(before, doors) != doors)
    }

    /// Asks for other lines in the log, from this level on.
    pub fn log_from(&self, level: &str) {
        *self.level.lock() = Some(level.to_owned());
        self.level_changed.notify_one();
    }

    /// Waits until somebody asks for another level.
    pub async fn asked_for_level(&self) -> String {
        loop {
            let asked = self.level.lock().take();
            match asked {
                Some(level) => return level,
                None => self.level_changed.notified().await,
            }
        }
    }

    /// Has connections that come from now on have so many channels at most.
    pub fn set_channel_max(&self, count: u16) {
        self.channel_max.store(count.into(), Ordering::Relaxed);
    }

    /// How many channels connections may have, if somebody has said so.
    pub fn channel_max(&self) -> Option<u16> {
        u16::try_from(self.channel_max.load(Ordering::Relaxed)).ok()
    }

    /// Asks the node to end.
    pub fn end(&self) {
        self.end.send_replace(true);
    }

    /// Waits until somebody asks the node to end.
    pub async fn asked_to_end(&self) {
        let mut end = self.end.subscribe();
        // An error would mean that the sender is gone, and it is in `self`.
        let _ = end.wait_for(|end| *end).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_change_once() {
        let control = Control::default();
        assert_eq!(control.doors(), Doors::Open);
        assert!(!control.set_doors(Doors::Open) && control.set_doors(Doors::Closed));
        assert!(!control.set_doors(Doors::Closed));
        assert_eq!(control.doors(), Doors::Closed);
    }

    #[tokio::test]
    async fn ports_follow_the_doors() {
        let control = Control::default();
        let (mut clients, mut api) = (control.port(Entrance::Clients), control.port(Entrance::Api));
        let is_settled = || control.ports.borrow().are_settled(control.doors());
        assert!(is_settled());
        control.set_doors(Doors::Suspended);
        assert!(!is_settled());
        clients.to_be_closed().await;
        clients.is(false);
        assert!(is_settled(), "the API stays");
        control.set_doors(Doors::Closed);
        api.to_be_closed().await;
        drop(api);
        assert!(is_settled());
        control.set_doors(Doors::Open);
        assert!(!is_settled());
        clients.to_be_open().await;
        clients.is(true);
        control.settled().await;
    }
}
