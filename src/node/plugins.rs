//! Which plugins are on. What they do is built in; people are shown what they have switched on.

/// Whoever knows that: tools switch plugins on and off while the node runs.
pub struct Plugins(Box<dyn Fn() -> Vec<Box<str>> + Send + Sync>);

impl Plugins {
    pub fn new(now: impl Fn() -> Vec<Box<str>> + Send + Sync + 'static) -> Self {
        Self(Box::new(now))
    }

    /// By RabbitMQ's names, without those that others need.
    pub fn names(&self) -> Vec<Box<str>> {
        (self.0)()
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}
