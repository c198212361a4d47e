//! Arguments of `leveret perf throughput`, and what other loads share with it.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{error::PerfError, progress::ProgressArgs, uri::AmqpUri};

/// What to send where, for how long.
#[derive(Debug, Args)]
pub struct ThroughputArgs {
    /// Broker to load: amqp://user:password@host:port/vhost
    #[arg(long, value_name = "URI")]
    pub uri: String,
    /// Number of publishing connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub producers: u16,
    /// Number of consuming connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub consumers: u16,
    /// Bytes in each message body; latency needs at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
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
    /// Number of queues, which get messages in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub queues: u16,
    /// Use publisher confirms, with at most WINDOW messages unconfirmed per producer
    #[arg(long, value_name = "WINDOW", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub confirm: Option<u32>,
    /// Unacknowledged messages per consumer, 0 for no limit [default: 10 times --ack-every, at
    /// least 250]
    #[arg(long, value_name = "N", requires = "ack_every")]
    pub prefetch: Option<u16>,
    /// Acknowledge every N messages at once; without it the broker acknowledges on delivery
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub ack_every: Option<u16>,
    /// Exchange to publish to: the default one, or one declared for the run
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = ExchangeKind::Default)]
    pub exchange: ExchangeKind,
    /// Queue to use: left alone afterwards if it exists already, declared for the run if not
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Process id of a broker on this machine whose processor time, memory and disk writes to
    /// report, its children's included
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub broker_pid: Option<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// The type of a queue, as `x-queue-type` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueueType {
    /// One copy, on one node.
    Classic,
    /// Replicated, and durable in any case.
    Quorum,
}

impl QueueType {
    /// The value of `x-queue-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// The exchange that messages are published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExchangeKind {
    /// The default exchange, straight to the queue.
    Default,
    /// A direct exchange with one binding.
    Direct,
    /// A fanout exchange with one binding.
    Fanout,
    /// A topic exchange with one binding that ends in `#`.
    Topic,
    /// A headers exchange with one binding; messages carry one header.
    Headers,
}

impl ExchangeKind {
    /// The AMQP name of the type; `default` stands for the default exchange.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

impl ThroughputArgs {
    /// Checks what clap cannot and parses the URI.
    ///
    /// # Errors
    ///
    /// [`PerfError::Uri`], or [`PerfError::Usage`] when the settings could not work together.
    pub fn check(&self) -> Result<AmqpUri, PerfError> {
        let usage = |text: &str| Err(PerfError::Usage(text.to_owned()));
        if self.producers == 0 && self.consumers == 0 {
            return usage("there must be at least one producer or consumer");
        }
        if self.time.is_zero() {
            return usage("--time must be more than 0");
        }
        if self.queues > 1 && (self.queue.is_some() || self.exchange != ExchangeKind::Default) {
            return usage("--queues goes with neither --queue nor --exchange");
        }
        check_prefetch(self.prefetch, self.ack_every)?;
        Ok(AmqpUri::parse(&self.uri)?)
    }

    /// The prefetch count to ask for; 0 means no limit.
    pub fn prefetch_count(&self) -> u16 {
        prefetch_count(self.prefetch, self.ack_every)
    }

    /// Whether the queue is durable.
    pub fn durable(&self) -> bool {
        self.persistent || self.queue_type == Some(QueueType::Quorum)
    }
}

/// The prefetch count for consumers that acknowledge every so many messages, or not at all.
pub fn prefetch_count(asked: Option<u16>, ack_every: Option<u16>) -> u16 {
    match (asked, ack_every) {
        (Some(count), _) => count,
        (None, Some(every)) => every.saturating_mul(10).max(250),
        (None, None) => 0,
    }
}

/// Refuses a prefetch count that is reached before anything is acknowledged.
///
/// # Errors
///
/// [`PerfError::Usage`].
pub fn check_prefetch(prefetch: Option<u16>, ack_every: Option<u16>) -> Result<(), PerfError> {
    match (prefetch, ack_every) {
        (Some(prefetch), Some(every)) if prefetch != 0 && prefetch < every => Err(PerfError::Usage(
            "--prefetch must be 0 or at least --ack-every, or consumers would stall".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Parses a duration in seconds, with or without decimals, of at most a day.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.0..=86_400.0).contains(&value) {
        Duration::try_from_secs_f64(value).map_err(|error| error.to_string())
    } else {
        Err("must be from 0 to 86400 seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ThroughputArgs,
    }

    fn parse(line: &str) -> ThroughputArgs {
        let words = ["x", "--uri", "amqp://h"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().args
    }

    #[test]
    fn prefetch_follows_the_acknowledgements() {
        assert_eq!(parse("").prefetch_count(), 0);
        assert_eq!(parse("--ack-every 10").prefetch_count(), 250);
        assert_eq!(parse("--ack-every 100").prefetch_count(), 1000);
        assert_eq!(parse("--ack-every 60000").prefetch_count(), 65_535);
        assert_eq!(parse("--ack-every 10 --prefetch 0").prefetch_count(), 0);
    }

    #[test]
    fn queues_of_quorum_type_and_of_persistent_messages_are_durable() {
        assert!(!parse("").durable() && !parse("--queue-type classic").durable());
        assert!(parse("--persistent").durable() && parse("--queue-type quorum").durable());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(parse("--time 0.5 --warmup 0").check().is_ok());
        assert!(parse("--time 0").check().is_err());
        assert!(parse("--producers 0 --consumers 0").check().is_err());
        assert!(parse("--ack-every 10 --prefetch 9").check().is_err());
        assert!(parse("--ack-every 10 --prefetch 10").check().is_ok());
        assert!(parse("--queues 3").check().is_ok());
        assert!(parse("--queues 3 --queue q").check().is_err());
        assert!(parse("--queues 3 --exchange topic").check().is_err());
        assert!(seconds("NaN").is_err() && seconds("-1").is_err() && seconds("1e9").is_err());
    }
}
