//! Opening connections, in a few threads.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use amq_protocol::{
    protocol::{AMQPClass, basic, queue},
    types::ShortString,
};

use super::{
    super::{
        conn::{CHANNEL, Connection},
        error::PerfError,
        progress::{Progress, ProgressArgs},
        threads::{join, spawn, wait},
        uri::AmqpUri,
    },
    kept::{Beats, Kept},
};

/// How often it is looked whether all are there.
const LOOK: Duration = Duration::from_millis(5);

/// What to open.
pub struct Opening {
    pub uri: AmqpUri,
    pub count: u64,
    /// Seconds between heartbeats, 0 for none.
    pub heartbeat: u16,
    /// Whether each has a queue of its own and consumes from it.
    pub consumers: bool,
    /// Threads that open them.
    pub openers: u16,
}

impl Opening {
    /// Opens all connections, and keeps the first ones alive meanwhile.
    ///
    /// # Errors
    ///
    /// The first one that a thread meets.
    pub fn run(&self, progress: &ProgressArgs) -> Result<Kept, PerfError> {
        let shared = Turns::default();
        let (failures, failed) = mpsc::channel();
        thread::scope(|scope| {
            let work = || {
                let mut openers = Vec::new();
                for _ in 0..self.openers {
                    openers.push(spawn(scope, "perf-opener", failures.clone(), || self.open_some(&shared))?);
                }
                let mut progress = Progress::new(progress);
                while shared.opened.load(Ordering::Relaxed) < self.count {
                    if progress.due() {
                        let opened = shared.opened.load(Ordering::Relaxed);
                        progress.show(&format!("open: {opened} of {}", self.count));
                    }
                    wait(&failed, LOOK)?;
                }
                let mut kept = Kept::default();
                for opener in openers {
                    kept.join(join(opener)?.unwrap_or_default());
                }
                Ok(kept)
            };
            let outcome = work();
            // The scope waits for all threads, so they must stop after an error too.
            shared.taken.store(self.count, Ordering::Relaxed);
            outcome
        })
    }

    /// Opens one connection after the other, as long as there are some to open.
    fn open_some(&self, turns: &Turns) -> Result<Kept, PerfError> {
        let (mut kept, mut beats) = (Kept::default(), Beats::new(self.heartbeat, Instant::now()));
        loop {
            let number = turns.taken.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(kept);
            }
            kept.add(self.open(number)?)?;
            turns.opened.fetch_add(1, Ordering::Relaxed);
            beats.send(&mut kept, Instant::now());
        }
    }

    fn open(&self, number: u64) -> Result<Connection, PerfError> {
        let name = format!("leveret perf connection {}", number + 1);
        let mut connection = Connection::log_in(&self.uri, &name, self.heartbeat)?;
        connection.open_channel()?;
        if self.consumers {
            consume(&mut connection)?;
        }
        Ok(connection)
    }
}

/// How far all threads are together.
#[derive(Default)]
struct Turns {
    taken: AtomicU64,
    opened: AtomicU64,
}

/// Consumes from a queue that goes with the connection.
fn consume(connection: &mut Connection) -> Result<(), PerfError> {
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
    let answer = connection.call(CHANNEL, declare, "queue.declare", |answer| {
        matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(_)))
    })?;
    let queue: ShortString = match answer {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok.queue,
        other => return Err(PerfError::Protocol(format!("{other:?} instead of queue.declare-ok"))),
    };
    let consume =
        AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume { queue, ..Default::default() }));
    connection.call(CHANNEL, consume, "basic.consume", |answer| {
        matches!(answer, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_)))
    })?;
    Ok(())
}
