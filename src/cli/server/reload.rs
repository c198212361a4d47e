//! What changes while the server runs: SIGHUP has its files read again.

use std::sync::Arc;

use super::ServerArgs;
use crate::config;
use crate::config::settings::Settings;
use crate::logs::Logs;
use crate::net::tls::Tls;

/// Reads the configuration again. What is wrong with it is logged, and everything stays as it is.
pub fn reload(args: &ServerArgs, certificates: &[Arc<Tls>], logs: &Logs) {
    let configuration = match config::files::configuration(args.config.as_deref(), args.entries()) {
        Ok(configuration) => configuration,
        Err(problems) => {
            problems.0.iter().for_each(|problem| tracing::error!("not reloaded: {problem}"));
            return;
        }
    };
    configuration.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    logs.reload(&configuration.settings.logs);
    for tls in certificates {
        if let Err(e) = tls.reload() {
            tracing::error!("not reloaded, certificates stay as they are: {e}");
        }
    }
    tracing::info!("reloaded: log levels, certificates; log files are opened again");
}

/// Logs everything from a level on, whatever the configuration says, until the next reload.
pub fn log_from(level: &str, running: &Settings, logs: &Logs) {
    let mut wanted = running.logs.clone();
    match wanted.log_from(level) {
        Ok(()) => {
            logs.reload(&wanted);
            tracing::info!("the log level is {level}");
        }
        Err(allowed) => tracing::error!("the log level stays: it has to be {allowed}"),
    }
}
