//! What a backlog costs while it lies there.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{error::PerfError, queue},
    Run,
    folder::disk_space,
    report::{Filled, Held},
    watch::Peak,
};

/// How often the broker is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Run<'_> {
    /// Lets the broker settle down, and looks at its memory and disk space.
    ///
    /// # Errors
    ///
    /// When there is no such queue, or the process or the data folder cannot be observed.
    pub fn hold(&self, filled: Option<&Filled>) -> Result<Held, PerfError> {
        let broker = self.broker.as_ref();
        let mut peak = Peak::default();
        let until = Instant::now() + self.args.hold;
        while Instant::now() < until {
            peak.look(broker, Instant::now())?;
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        let memory = peak.look_now(broker)?;
        let mut control = self.control()?;
        let messages = queue::count(&mut control, &self.args.queue)?;
        control.close();
        let messages = messages.ok_or_else(|| self.no_queue())?;
        let data = self.args.data_dir.as_deref().map(disk_space).transpose()?;
        Ok(Held::new(messages.into(), memory, peak.most, data, filled))
    }

    /// The error that there is no queue of the name that was given.
    pub fn no_queue(&self) -> PerfError {
        PerfError::Usage(format!("there is no queue '{}'", self.args.queue))
    }
}
