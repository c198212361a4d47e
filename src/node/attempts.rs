//! How often somebody has logged in, or tried to.

use std::sync::atomic::{AtomicU64, Ordering};

/// Of one protocol.
#[derive(Debug, Default)]
pub struct Attempts {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Attempts {
    pub fn note(&self, succeeded: bool) {
        let count = if succeeded { &self.succeeded } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that succeeded, and those that did not.
    pub fn counts(&self) -> (u64, u64) {
        (self.succeeded.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Begins anew.
    pub fn reset(&self) {
        self.succeeded.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }
}

/// By protocol.
#[derive(Debug, Default)]
pub struct AllAttempts {
    pub amqp: Attempts,
    pub http: Attempts,
}

impl AllAttempts {
    /// By RabbitMQ's names of the protocols.
    pub fn all(&self) -> [(&'static str, &Attempts); 2] {
        [("http", &self.http), ("amqp091", &self.amqp)]
    }
}
