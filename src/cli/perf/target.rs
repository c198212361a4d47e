//! What every load is told about its broker, and how it is to report.

use clap::Args;

use super::{error::PerfError, progress::ProgressArgs, uri::AmqpUri};

/// Whom to load and what to print.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Broker to load: amqp://user:password@host:port/vhost
    #[arg(long, value_name = "URI")]
    pub uri: String,
    /// Process id of a broker on this machine whose processor time and memory to report, its
    /// children's included
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub broker_pid: Option<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub progress: ProgressArgs,
}

impl TargetArgs {
    /// Parses the URI.
    ///
    /// # Errors
    ///
    /// [`PerfError::Uri`].
    pub fn parsed(&self) -> Result<AmqpUri, PerfError> {
        Ok(AmqpUri::parse(&self.uri)?)
    }
}
