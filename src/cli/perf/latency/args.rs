//! Arguments of `leveret perf latency`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    super::{
        args::{QueueType, check_prefetch, prefetch_count, seconds},
        consumer::Taking,
        error::PerfError,
        queue::Kind,
        target::TargetArgs,
        uri::AmqpUri,
    },
    message::Message,
};

/// What to send at which rate.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Messages per second, of all producers together
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: u32,
    /// Number of publishing connections, which send in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub producers: u16,
    /// Bytes in each message body, 16 of which carry the time
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..))]
    pub size: u32,
    /// Seconds to measure, after the warm-up
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub time: Duration,
    /// Seconds to run before measuring
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub warmup: Duration,
    /// Send persistent messages to a durable queue
    #[arg(long)]
    pub persistent: bool,
    /// Type of the queue, if not the broker's default; a quorum queue is always durable
    #[arg(long, value_name = "TYPE", value_enum)]
    pub queue_type: Option<QueueType>,
    /// Use publisher confirms, and report how long they take
    #[arg(long)]
    pub confirm: bool,
    /// Unacknowledged messages, 0 for no limit [default: 10 times --ack-every, at least 250]
    #[arg(long, value_name = "N", requires = "ack_every")]
    pub prefetch: Option<u16>,
    /// Acknowledge every N messages at once; without it the broker acknowledges on delivery
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub ack_every: Option<u16>,
    /// File to write all percentiles to, in HdrHistogram's text format, in microseconds
    #[arg(long, value_name = "FILE")]
    pub histogram: Option<PathBuf>,
}

impl LatencyArgs {
    /// Checks what clap cannot and parses the URI.
    ///
    /// # Errors
    ///
    /// [`PerfError::Uri`], or [`PerfError::Usage`] when the settings could not work together.
    pub fn check(&self) -> Result<AmqpUri, PerfError> {
        if self.time.is_zero() {
            return Err(PerfError::Usage("--time must be more than 0".to_owned()));
        }
        check_prefetch(self.prefetch, self.ack_every)?;
        self.target.parsed()
    }

    /// How the queue is declared. It is deleted in the end, whoever consumes.
    pub fn kind(&self) -> Kind {
        let durable = self.persistent || self.queue_type == Some(QueueType::Quorum);
        Kind { durable, auto_delete: false, queue_type: self.queue_type }
    }

    /// How messages are taken.
    pub fn taking(&self) -> Taking {
        let ack_every = self.ack_every;
        Taking { prefetch: prefetch_count(self.prefetch, ack_every), ack_every, ..Taking::default() }
    }

    /// The message to send, ready but for its time.
    ///
    /// # Errors
    ///
    /// As [`Message::new`].
    pub fn message(&self, queue: &str, mark: u64, frame_max: u32) -> Result<Message, PerfError> {
        Message::new(queue, self.size, self.persistent, mark, frame_max)
    }
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LatencyArgs,
    }

    pub fn parse(line: &str) -> Result<LatencyArgs, clap::Error> {
        let words = ["x", "--uri", "amqp://u:secret@h"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(parse("").unwrap().check().is_ok());
        assert!(parse("--time 0").unwrap().check().is_err());
        assert!(parse("--ack-every 10 --prefetch 9").unwrap().check().is_err());
        for line in ["--rate 0", "--producers 0", "--size 15", "--prefetch 5", "--ack-every 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn persistent_messages_have_a_durable_queue() {
        assert!(!parse("").unwrap().kind().durable);
        assert!(parse("--persistent").unwrap().kind().durable);
        assert!(parse("--queue-type quorum").unwrap().kind().durable);
        assert_eq!(parse("--ack-every 100").unwrap().taking().prefetch, 1000);
    }
}
