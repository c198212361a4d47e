//! Arguments of `leveret perf backlog`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::super::{
    args::{QueueType, check_prefetch, prefetch_count, seconds},
    consumer::Taking,
    error::PerfError,
    progress::ProgressArgs,
    queue::Kind,
    uri::AmqpUri,
};

/// How long a queue to make, and how.
#[derive(Debug, Args)]
pub struct BacklogArgs {
    /// Broker to load: amqp://user:password@host:port/vhost
    #[arg(long, value_name = "URI")]
    pub uri: String,
    /// What to do, in this order
    #[arg(long, value_name = "PHASE,...", value_enum, value_delimiter = ',',
        default_values_t = [Phase::Fill, Phase::Hold, Phase::Drain, Phase::Delete])]
    pub phases: Vec<Phase>,
    /// Queue to use: `fill` declares it, only `delete` deletes it
    #[arg(long, value_name = "NAME", default_value = "leveret-perf-backlog")]
    pub queue: String,
    /// Messages to publish, or to wait for
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub messages: u64,
    /// Bytes in each message body
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub size: u32,
    /// Send persistent messages to a durable queue
    #[arg(long)]
    pub persistent: bool,
    /// Type of the queue, if not the broker's default; a quorum queue is always durable
    #[arg(long, value_name = "TYPE", value_enum)]
    pub queue_type: Option<QueueType>,
    /// Number of publishing connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub producers: u16,
    /// Messages unconfirmed at most per producer
    #[arg(long, value_name = "WINDOW", default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub confirm: u32,
    /// Number of consuming connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub consumers: u16,
    /// Acknowledge every N messages at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub ack_every: u16,
    /// Unacknowledged messages per consumer, 0 for no limit [default: 10 times --ack-every, at
    /// least 250]
    #[arg(long, value_name = "N")]
    pub prefetch: Option<u16>,
    /// Seconds for the broker to settle down before its memory and disk space are looked at
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub hold: Duration,
    /// Give up when nothing has moved, or the queue has not come back, for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub patience: Duration,
    /// Process id of a broker on this machine whose processor time, memory and disk writes to
    /// report, its children's included
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub broker_pid: Option<u32>,
    /// The broker's data folder, whose size to report
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What is done with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Declare the queue, which must be empty, and publish to it.
    Fill,
    /// Look at the broker's memory and disk space.
    Hold,
    /// Wait until the broker serves, and until the queue holds --messages messages.
    Ready,
    /// Consume all that the queue holds.
    Drain,
    /// Delete the queue.
    Delete,
}

impl BacklogArgs {
    /// Checks what clap cannot and parses the URI.
    ///
    /// # Errors
    ///
    /// [`PerfError::Uri`], or [`PerfError::Usage`] when the settings could not work together.
    pub fn check(&self) -> Result<AmqpUri, PerfError> {
        let usage = |text: &str| Err(PerfError::Usage(text.to_owned()));
        if self.phases.contains(&Phase::Fill) && self.messages == 0 {
            return usage("there must be at least one message to publish");
        }
        if self.messages > u32::MAX.into() {
            // AMQP counts a queue's messages in 32 bits.
            return usage("there can be at most 4294967295 messages");
        }
        check_prefetch(self.prefetch, Some(self.ack_every))?;
        Ok(AmqpUri::parse(&self.uri)?)
    }

    /// How the queue is declared.
    pub fn kind(&self) -> Kind {
        let durable = self.persistent || self.queue_type == Some(QueueType::Quorum);
        Kind { durable, auto_delete: false, queue_type: self.queue_type }
    }

    /// How the queue is drained.
    pub fn taking(&self) -> Taking {
        let ack_every = Some(self.ack_every);
        Taking { prefetch: prefetch_count(self.prefetch, ack_every), ack_every }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BacklogArgs,
    }

    fn parse(line: &str) -> BacklogArgs {
        let words = ["x", "--uri", "amqp://h"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().args
    }

    #[test]
    fn phases_are_a_list() {
        assert_eq!(parse("").phases, [Phase::Fill, Phase::Hold, Phase::Drain, Phase::Delete]);
        assert_eq!(parse("--phases ready,drain").phases, [Phase::Ready, Phase::Drain]);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(parse("").check().is_ok());
        assert!(parse("--messages 0").check().is_err());
        assert!(parse("--messages 0 --phases ready").check().is_ok());
        assert!(parse("--messages 4294967296").check().is_err());
        assert!(parse("--ack-every 10 --prefetch 9").check().is_err());
    }

    #[test]
    fn persistent_messages_and_quorum_queues_are_kept() {
        assert!(!parse("").kind().durable);
        assert!(parse("--persistent").kind().durable);
        assert!(parse("--queue-type quorum").kind().durable);
        assert!(!parse("--persistent").kind().auto_delete);
    }
}
