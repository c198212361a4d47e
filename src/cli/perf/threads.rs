//! Threads that report to whoever waits for them.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use super::error::PerfError;

/// A thread whose error, if it has one, has gone elsewhere.
pub type Handle<'scope, T> = ScopedJoinHandle<'scope, Option<T>>;

/// Starts a thread whose error, if any, goes to `failures`; its result is `None` then.
///
/// # Errors
///
/// When the system does not give another thread.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    failures: Sender<PerfError>,
    work: impl FnOnce() -> Result<T, PerfError> + Send + 'scope,
) -> Result<Handle<'scope, T>, PerfError> {
    let report = move |error| {
        // When nobody listens any more, the run has already failed for another reason.
        let _ = failures.send(error);
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, move || work().map_err(report).ok())
        .map_err(|error| PerfError::Worker(error.to_string()))
}

/// Sleeps for `time` unless a thread has failed or fails meanwhile, which is the error.
///
/// # Errors
///
/// That of the thread.
pub fn wait(failed: &Receiver<PerfError>, time: Duration) -> Result<(), PerfError> {
    let until = Instant::now() + time;
    match failed.recv_timeout(time) {
        Ok(error) => Err(error),
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => {
            thread::sleep(until.saturating_duration_since(Instant::now()));
            Ok(())
        }
    }
}

/// Waits for a thread.
///
/// # Errors
///
/// When it has panicked.
pub fn join<T>(handle: Handle<'_, T>) -> Result<Option<T>, PerfError> {
    handle.join().map_err(|_| PerfError::Worker("it panicked".to_owned()))
}
