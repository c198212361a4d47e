//! Lines for the exchange `amq.rabbitmq.log`: they wait here for the node to publish them.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::record::Record;
use super::settings::Output;

/// So many lines may wait to be published; more of them are lost.
const WAITING_MAX: usize = 10_000;

/// A line as a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Its level, which is the routing key.
    pub level: &'static str,
    pub json: bool,
    /// Seconds since 1970.
    pub at: u64,
    pub text: String,
}

impl Post {
    pub fn of(record: &Record, output: &Output) -> Self {
        let at = record.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let mut text = String::new();
        record.write(&mut text, output, false);
        Self { level: record.level.name(), json: output.json, at, text }
    }
}

/// What waits.
#[derive(Default)]
pub struct Posts {
    waiting: Mutex<Vec<Post>>,
    /// Tells whoever publishes. Until there is somebody nothing waits, as in RabbitMQ.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posts").field("waiting", &self.waiting.lock().len()).finish_non_exhaustive()
    }
}

impl Posts {
    /// From now on what is logged waits to be published, and this is called.
    pub fn wake_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        // There is one who publishes.
        let _ = self.wake.set(Box::new(wake));
    }

    pub(super) fn put(&self, post: Post) {
        let Some(wake) = self.wake.get() else { return };
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING_MAX {
            waiting.push(post);
        }
        drop(waiting);
        wake();
    }

    pub fn take(&self) -> Vec<Post> {
        std::mem::take(&mut self.waiting.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_for_nobody_and_not_too_much_for_somebody() {
        let posts = Posts::default();
        let post = Post { level: "info", json: false, at: 1, text: "a\n".to_owned() };
        posts.put(post.clone());
        assert_eq!(posts.take(), []);
        posts.wake_by(|| {});
        (0..=WAITING_MAX).for_each(|_| posts.put(post.clone()));
        assert_eq!(posts.take().len(), WAITING_MAX);
        assert_eq!(posts.take(), []);
    }
}
