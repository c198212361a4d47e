//! What changes while the server runs: SIGHUP has its files read again.

use super::ServerArgs;
use crate::config;
use crate::config::settings::Settings;
use crate::logs::Logs;

/// Reads the configuration again. What is wrong with it is logged, and everything stays as it is.
pub fn reload(args: &ServerArgs, _running: &Settings, logs: &Logs) {
    let configuration = match config::files::configuration(args.config.as_deref(), args.entries()) {
        Ok(configuration) => configuration,
        Err(problems) => {
            problems.0.iter().for_each(|problem| tracing::error!("not reloaded: {problem}"));
            return;
        }
    };
    configuration.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    logs.reload(&configuration.settings.logs);
    tracing::info!("reloaded: log levels; log files are opened again");
}
