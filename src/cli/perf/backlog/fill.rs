//! Publishing a backlog.

use std::{sync::mpsc, thread};

use super::{
    super::{
        batch::Message,
        conn,
        error::PerfError,
        producer::{Outcome, Producer},
        queue,
        shared::{Counter, Shared},
        threads::{join, spawn},
    },
    Run,
    folder::disk_space,
    report::{Filled, Moved},
    watch::Peak,
};

impl Run<'_> {
    /// Declares the queue and publishes to it, until the broker has confirmed everything.
    ///
    /// # Errors
    ///
    /// When the queue holds something already, and everything that producers may meet.
    pub fn fill(&self) -> Result<Filled, PerfError> {
        let mut control = self.control()?;
        let held = queue::declare(&mut control, &self.args.queue, self.args.kind())?;
        control.close();
        if held > 0 {
            let name = &self.args.queue;
            return Err(PerfError::Usage(format!("the queue '{name}' holds {held} messages already")));
        }
        let data_before = self.args.data_dir.as_deref().map(disk_space).transpose()?;
        let memory_before = Peak::default().look_now(self.broker.as_ref())?;
        let shared = Shared::new();
        let producers = self.producers(&shared)?;
        let (moved, outcome) = self.publish(&shared, producers)?;
        Ok(Filled::new(moved, &outcome, data_before, memory_before))
    }

    /// Connects all producers.
    fn producers(&self, shared: &Shared) -> Result<Vec<Producer>, PerfError> {
        let message = Message {
            exchange: conn::short("")?,
            routing_keys: vec![conn::short(&self.args.queue)?],
            headers: None,
            persistent: self.args.persistent,
            size: self.args.size,
            mark: shared.mark,
        };
        (1..=self.args.producers)
            .map(|number| Producer::prepare(&self.uri, &message, Some(self.args.confirm), number))
            .collect()
    }

    /// Lets all producers publish their shares.
    fn publish(&self, shared: &Shared, producers: Vec<Producer>) -> Result<(Moved, Outcome), PerfError> {
        let total = self.args.messages;
        let counters: Vec<_> = producers.iter().map(|_| Counter::default()).collect();
        let (failures, failed) = mpsc::channel();
        thread::scope(|scope| {
            shared.measure_from_now();
            let work = || -> Result<_, PerfError> {
                let mut publishing = Vec::new();
                let shares = shares(total, producers.len());
                for ((producer, counter), share) in producers.into_iter().zip(&counters).zip(shares) {
                    let work = move || producer.fill(share, shared, counter);
                    publishing.push(spawn(scope, "perf-producer", failures.clone(), work)?);
                }
                let watch = self.watch("fill", total, &counters, &failed);
                let moved = Moved::new(total, &watch.follow()?);
                let mut outcome = Outcome::default();
                for handle in publishing {
                    outcome.add(join(handle)?.unwrap_or_default())?;
                }
                Ok((moved, outcome))
            };
            let outcome = work();
            // The scope waits for all threads, so they must stop after an error too.
            shared.stop_all();
            outcome
        })
    }
}

/// `total` in parts that differ by one at most.
fn shares(total: u64, parts: usize) -> impl Iterator<Item = u64> {
    let parts = parts as u64;
    (0..parts).map(move |part| total / parts + u64::from(part < total % parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(10, 3).collect::<Vec<_>>(), [4, 3, 3]);
        assert_eq!(shares(2, 4).collect::<Vec<_>>(), [1, 1, 0, 0]);
        assert_eq!(shares(7, 1).collect::<Vec<_>>(), [7]);
    }
}
