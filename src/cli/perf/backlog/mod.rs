//! `leveret perf backlog`: a long queue, measured while it is filled, while it lies there, when its
//! broker comes back, and while it is drained.
//!
//! Each phase can be run by a call of its own, so that a broker can be stopped and started between.
//!
//! - [`args`][]: what is asked for
//! - [`fill`][], [`hold`][], [`ready`][], [`drain`][]: the phases
//! - [`watch`][]: following a phase: its rates, its memory, whether it still moves
//! - [`tenths`][]: rates at the beginning and at the end of a phase
//! - [`folder`][]: how much disk space a data folder takes
//! - [`report`][]: the figures

mod args;
mod drain;
mod fill;
mod folder;
mod hold;
mod ready;
mod report;
mod tenths;
mod watch;

use std::{io, sync::mpsc::Receiver};

pub use self::args::BacklogArgs;
use self::{args::Phase, report::Report, watch::Watch};
use super::{
    conn::Connection, error::PerfError, process::Process, queue, report::write_report, shared::Counter,
    uri::AmqpUri,
};

/// What all phases are given.
struct Run<'a> {
    args: &'a BacklogArgs,
    uri: AmqpUri,
    broker: Option<Process>,
}

impl Run<'_> {
    /// A connection for what is not a message.
    fn control(&self) -> Result<Connection, PerfError> {
        Connection::open(&self.uri, "leveret perf control")
    }

    /// What there is to follow while `total` messages move.
    fn watch<'a>(
        &'a self,
        phase: &'static str,
        total: u64,
        counters: &'a [Counter],
        failed: &'a Receiver<PerfError>,
    ) -> Watch<'a> {
        let (patience, progress) = (self.args.patience, self.args.progress);
        Watch { phase, total, counters, failed, broker: self.broker.as_ref(), patience, progress }
    }
}

/// Runs the phases that `args` name, one after the other, and prints what they found.
///
/// # Errors
///
/// See [`PerfError`]; what earlier phases found is printed nevertheless.
pub fn run(args: &BacklogArgs) -> Result<(), PerfError> {
    let run = Run { args, uri: args.check()?, broker: args.broker_pid.map(Process::new) };
    if let Some(broker) = &run.broker {
        broker.cpu_time()?;
    }
    let mut report = Report::new(args, &run.uri);
    let outcome = args.phases.iter().try_for_each(|&phase| run.phase(phase, &mut report));
    // A script that asks for JSON gets an object even where nothing is measured.
    if !report.is_empty() || (args.json && outcome.is_ok()) {
        write_report(&report, args.json, &mut io::stdout().lock())?;
    }
    outcome
}

impl Run<'_> {
    /// Runs one phase and keeps its figures.
    fn phase(&self, phase: Phase, report: &mut Report) -> Result<(), PerfError> {
        match phase {
            Phase::Fill => report.fill = Some(self.fill()?),
            Phase::Hold => report.hold = Some(self.hold(report.fill.as_ref())?),
            Phase::Ready => report.ready = Some(self.ready()?),
            Phase::Drain => report.drain = Some(self.drain()?),
            Phase::Delete => {
                let mut control = self.control()?;
                queue::delete(&mut control, &self.args.queue)?;
                control.close();
            }
        }
        Ok(())
    }
}
