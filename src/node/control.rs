//! What the node's owner asks of it beside its API: to close its ports and open them again, and to end.

use std::time::Instant;

use tokio::sync::watch;

/// For whom the node's ports are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doors {
    /// For everybody.
    #[default]
    Open,
    /// Nobody else gets in over AMQP; whoever is connected stays (RabbitMQ's `suspend_listeners`).
    Suspended,
    /// Not even the HTTP API: the node just runs (RabbitMQ's `stop_app`).
    Closed,
}

/// What has been asked.
#[derive(Debug)]
pub struct Control {
    doors: watch::Sender<Doors>,
    end: watch::Sender<bool>,
    /// When the node began.
    pub since: Instant,
}

impl Default for Control {
    fn default() -> Self {
        Self { doors: watch::Sender::new(Doors::Open), end: watch::Sender::new(false), since: Instant::now() }
    }
}

impl Control {
    pub fn doors(&self) -> Doors {
        *self.doors.borrow()
    }

    /// For those who hold ports open.
    pub fn watch_doors(&self) -> watch::Receiver<Doors> {
        self.doors.subscribe()
    }

    /// Says whether that is a change.
    pub fn set_doors(&self, doors: Doors) -> bool {
        self.doors.send_if_modified(|before| std::mem::replace(before, doors) != doors)
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
}
