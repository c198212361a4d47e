//! Consuming a backlog.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        consumer::Consumer,
        error::PerfError,
        queue,
        shared::{Counter, Shared},
        threads::{join, spawn},
    },
    Run,
    report::{Drained, Moved},
};

/// Longest wait for the broker to have taken the last acknowledgements.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// Pause between looks at that.
const SETTLE_STEP: Duration = Duration::from_millis(20);

impl Run<'_> {
    /// Consumes what the queue holds at the beginning, and looks what is left in it then.
    ///
    /// # Errors
    ///
    /// When there is no such queue or it is empty, and everything that consumers may meet.
    pub fn drain(&self) -> Result<Drained, PerfError> {
        let mut control = self.control()?;
        let name = &self.args.queue;
        let total = queue::count(&mut control, name)?.ok_or_else(|| self.no_queue())?.into();
        if total == 0 {
            return Err(PerfError::Usage(format!("the queue '{name}' is empty")));
        }
        let shared = Shared::new();
        let moved = self.consume(&shared, total)?;
        let until = Instant::now() + SETTLE_LIMIT;
        let left = loop {
            let left = queue::count(&mut control, name)?.unwrap_or(0);
            if left == 0 || Instant::now() >= until {
                break left;
            }
            thread::sleep(SETTLE_STEP);
        };
        control.close();
        Ok(Drained::new(moved, left))
    }

    /// Lets all consumers take `total` messages between them.
    fn consume(&self, shared: &Shared, total: u64) -> Result<Moved, PerfError> {
        let counters: Vec<_> = (0..self.args.consumers).map(|_| Counter::default()).collect();
        let (failures, failed) = mpsc::channel();
        thread::scope(|scope| {
            let work = || -> Result<_, PerfError> {
                let mut consuming = Vec::new();
                for (number, counter) in (1..).zip(&counters) {
                    // They connect in their threads, so that the first one's messages count too.
                    let work = move || {
                        let queues = [self.args.queue.as_str()];
                        let taking = self.args.taking();
                        Consumer::subscribe(&self.uri, &queues, taking, number)?.run(shared, counter)
                    };
                    consuming.push(spawn(scope, "perf-consumer", failures.clone(), work)?);
                }
                let watch = self.watch("drain", total, &counters, &failed);
                let moved = Moved::new(total, &watch.follow()?);
                shared.stop_all();
                for handle in consuming {
                    join(handle)?;
                }
                Ok(moved)
            };
            let outcome = work();
            // The scope waits for all threads, so they must stop after an error too.
            shared.stop_all();
            outcome
        })
    }
}
