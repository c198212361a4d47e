//! `leveret perf compare`: the same loads against several brokers, in turn, in the same run.
//!
//! Each load is a child process of this executable that prints its figures as JSON. So a broker is
//! loaded by exactly what somebody would start by hand, and nothing of one run is left in the next.
//!
//! - [`args`][]: what is asked for
//! - [`broker`][], [`load`][]: who is compared, and at what
//! - [`rounds`][]: whose turn it is, and what came of it
//! - [`child`][]: one load against one broker, as a process
//! - [`figures`][]: numbers out of JSON, their medians and how they are written
//! - [`rows`][]: the figures that are shown, and their names
//! - [`table`][], [`record`][]: the result as Markdown and as JSON

mod args;
mod broker;
mod child;
mod figures;
mod load;
mod record;
mod rounds;
mod rows;
mod table;

use std::{
    env, fs,
    io::{self, Write as _},
    process::Command,
    thread,
};

use serde_json::Value;

pub use self::args::CompareArgs;
use self::table::Table;
use super::{error::PerfError, progress::Progress};

/// What a run has printed.
type Report = Value;

/// Runs every load against every broker, and prints medians and ratios.
///
/// # Errors
///
/// [`PerfError::Usage`] for what cannot be compared, [`PerfError::Compare`] when a load has failed,
/// after the table has been printed.
pub fn run(args: &CompareArgs) -> Result<(), PerfError> {
    let plan = args.plan()?;
    let executable = env::current_exe().map_err(PerfError::Io)?;
    let mut progress = Progress::new(&args.progress);
    let results = rounds::run(&plan, |turn| {
        if turn.number > 1 {
            thread::sleep(args.pause);
        }
        let mut command = Command::new(&executable);
        let (load, broker) = (&plan.loads[turn.load], &plan.brokers[turn.broker]);
        command.arg("perf").args(broker.arguments(&load.words));
        child::run(&mut command, args.limit, |elapsed| {
            progress.show(&format!("{}, {} s", plan.name(turn), elapsed.as_secs()));
        })
    });
    progress.end();
    let table = Table { plan: &plan, results: &results, rows: args.rows() }.to_string();
    if let Some(path) = &args.markdown {
        fs::write(path, &table).map_err(PerfError::Output)?;
    }
    let text = if args.json { format!("{}\n", record::json(&plan, &results)) } else { table };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(PerfError::Output)?;
    match results.iter().flatten().filter(|outcome| outcome.failure.is_some()).count() {
        0 => Ok(()),
        failed => Err(PerfError::Compare { failed, all: plan.loads.len() * plan.brokers.len() }),
    }
}
