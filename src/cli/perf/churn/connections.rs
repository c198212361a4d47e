//! `leveret perf connection-churn`: clients that connect, open channels and leave again.

use std::{io, time::Instant};

use clap::Args;
use serde::Serialize;

use super::{
    super::{conn::Connection, error::PerfError, report::write_report, uri::AmqpUri, usage::Observed},
    args::ChurnArgs,
    cycle::{Client, Meter, measure},
    report::Report,
};

/// How to connect.
#[derive(Debug, Args)]
pub struct ConnectionChurnArgs {
    #[command(flatten)]
    pub churn: ChurnArgs,
    /// Channels to open and close on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(..=2047))]
    pub channels: u16,
}

#[derive(Debug, Serialize)]
struct Settings {
    channels: u16,
}

/// Runs the churn that `args` describe and prints the report.
///
/// # Errors
///
/// See [`PerfError`].
pub fn run(args: &ConnectionChurnArgs) -> Result<(), PerfError> {
    let uri = args.churn.check()?;
    let broker = Observed::new(args.churn.target.broker_pid)?;
    let control = Connection::log_in(&uri, "leveret perf control", 0)?;
    // Looking up a name each time would be measured as well.
    let place = uri.at(control.stream.peer_addr().map_err(PerfError::Io)?.ip());
    control.close();
    let channels = args.channels;
    let clients = (1..=args.churn.clients)
        .map(|number| Caller { uri: place.clone(), name: format!("leveret perf client {number}"), channels })
        .collect();
    let cycles = measure(&args.churn, &broker, clients)?;
    let what = format!("connect, open and close {channels} channels, leave");
    let report = Report::new(what, uri.to_string(), &args.churn, &cycles, Settings { channels });
    write_report(&report, args.churn.target.json, &mut io::stdout().lock())
}

/// Somebody who never stays.
struct Caller {
    uri: AmqpUri,
    name: String,
    channels: u16,
}

impl Client for Caller {
    fn run(self, meter: &mut Meter<'_>) -> Result<(), PerfError> {
        while meter.go_on() {
            let began = Instant::now();
            self.call()?;
            meter.done(began);
        }
        Ok(())
    }
}

impl Caller {
    fn call(&self) -> Result<(), PerfError> {
        let mut connection = Connection::log_in(&self.uri, &self.name, 0)?;
        for number in 1..=self.channels {
            connection.open_channel_number(number)?;
        }
        for number in 1..=self.channels {
            connection.close_channel(number)?;
        }
        connection.say_goodbye()?;
        connection.wait_for_goodbye()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::args::tests::parse, *};

    #[test]
    fn channels_are_what_a_connection_may_have() {
        assert_eq!(parse::<ConnectionChurnArgs>("").unwrap().channels, 1);
        assert_eq!(parse::<ConnectionChurnArgs>("--channels 0").unwrap().channels, 0);
        assert!(parse::<ConnectionChurnArgs>("--channels 2048").is_err());
    }
}
