//! Arguments that all churns have.

use std::time::Duration;

use clap::Args;

use super::super::{args::seconds, error::PerfError, target::TargetArgs, uri::AmqpUri};

/// Who does it, for how long.
#[derive(Debug, Args)]
pub struct ChurnArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Number of clients that do it at the same time, each in a thread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clients: u16,
    /// Seconds to measure, after the warm-up
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub time: Duration,
    /// Seconds to run before measuring
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub warmup: Duration,
}

impl ChurnArgs {
    /// Checks what clap cannot and parses the URI.
    ///
    /// # Errors
    ///
    /// [`PerfError::Uri`], or [`PerfError::Usage`] when nothing could be measured.
    pub fn check(&self) -> Result<AmqpUri, PerfError> {
        if self.time.is_zero() {
            return Err(PerfError::Usage("--time must be more than 0".to_owned()));
        }
        self.target.parsed()
    }
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line<A: Args> {
        #[command(flatten)]
        args: A,
    }

    /// The arguments on a line, of any of the three.
    pub fn parse<A: Args>(line: &str) -> Result<A, clap::Error> {
        let words = ["x", "--uri", "amqp://u:secret@h"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line: Line<A>| line.args)
    }

    #[test]
    fn there_must_be_time_and_somebody() {
        assert!(parse::<ChurnArgs>("").unwrap().check().is_ok());
        assert!(parse::<ChurnArgs>("--time 0").unwrap().check().is_err());
        assert!(parse::<ChurnArgs>("--clients 0").is_err());
        assert!(parse::<ChurnArgs>("--clients 1001").is_err());
    }
}
