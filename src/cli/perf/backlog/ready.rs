//! Waiting for a broker to come back with its messages.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{error::PerfError, queue},
    Run,
    report::Returned,
};

/// Pause between attempts to log in: short, since a broker may be back within milliseconds.
const PAUSE: Duration = Duration::from_millis(2);
/// Pause between questions for the queue, which brokers may write to their logs.
const COUNT_PAUSE: Duration = Duration::from_millis(10);

/// What has been seen of a broker that is waited for.
struct Wait {
    start: Instant,
    /// When it was first possible to log in.
    serving: Option<Duration>,
    /// What is still missing.
    missing: String,
}

impl Run<'_> {
    /// Waits until somebody can log in, and until the queue holds all messages. Whatever goes
    /// wrong before is taken as a broker that is not there yet.
    ///
    /// # Errors
    ///
    /// [`PerfError::NotReady`] when that takes too long.
    pub fn ready(&self) -> Result<Returned, PerfError> {
        let missing = "no attempt was made".to_owned();
        let mut wait = Wait { start: Instant::now(), serving: None, missing };
        while wait.start.elapsed() < self.args.patience {
            match self.attempt(&mut wait) {
                Ok(Some(returned)) => return Ok(returned),
                Ok(None) => {}
                Err(error) => wait.missing = error.to_string(),
            }
            thread::sleep(PAUSE);
        }
        Err(PerfError::NotReady { seconds: self.args.patience.as_secs(), last: wait.missing })
    }

    /// Logs in once and asks for the number of messages, as long as there are too few, the
    /// connection lasts and there is time.
    fn attempt(&self, wait: &mut Wait) -> Result<Option<Returned>, PerfError> {
        let mut control = self.control()?;
        let serving = *wait.serving.get_or_insert_with(|| wait.start.elapsed());
        let expected = self.args.messages;
        if expected == 0 {
            control.close();
            return Ok(Some(Returned::new(0, serving, serving)));
        }
        loop {
            wait.missing = match queue::count(&mut control, &self.args.queue)?.map(u64::from) {
                Some(count) if count >= expected => {
                    let ready = wait.start.elapsed();
                    control.close();
                    return Ok(Some(Returned::new(count, serving, ready)));
                }
                Some(count) => format!("{count} of {expected} messages"),
                None => self.no_queue().to_string(),
            };
            if wait.start.elapsed() >= self.args.patience {
                control.close();
                return Ok(None);
            }
            thread::sleep(COUNT_PAUSE);
        }
    }
}
