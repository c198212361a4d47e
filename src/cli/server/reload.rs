//! What changes while the server runs: SIGHUP has its files read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ServerArgs;
use crate::config::settings::Settings;
use crate::config::{self, Entry};
use crate::logs::Logs;
use crate::net::tls::Tls;

/// Reads the configuration again. What is wrong with it is logged, and everything stays as it is. `running` is what the
/// server was started with.
pub fn reload(args: &ServerArgs, running: &[Entry], certificates: &[Arc<Tls>], logs: &Logs) {
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
    let waiting = waiting(running, &configuration.effective);
    if !waiting.is_empty() {
        tracing::warn!("what has changed beside that needs a restart: {}", waiting.join(", "));
    }
}

/// The keys that are set to something else than when the server was started, and are not read while it runs.
fn waiting(running: &[Entry], now: &[Entry]) -> Vec<String> {
    let values = |entries: &[Entry]| -> BTreeMap<String, String> {
        let fixed = entries.iter().filter(|entry| !is_read_again(&entry.key));
        fixed.map(|entry| (entry.name(), entry.value.clone())).collect()
    };
    let (before, after) = (values(running), values(now));
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key);
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    changed.chain(gone).cloned().collect()
}

fn is_read_again(key: &[String]) -> bool {
    key.first().is_some_and(|first| first == "log") && key.last().is_some_and(|last| last == "level")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::files::flag;

    #[test]
    fn what_waits_for_a_restart() {
        let entries = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(key, value)| flag("--set", key, *value)).collect()
        };
        let before = entries(&[("heartbeat", "1"), ("log.console.level", "info"), ("default_user", "a")]);
        let after = entries(&[("heartbeat", "2"), ("log.console.level", "debug"), ("frame_max", "8192")]);
        assert_eq!(waiting(&before, &after), ["frame_max", "heartbeat", "default_user"]);
        assert!(waiting(&before, &before).is_empty());
    }
}
