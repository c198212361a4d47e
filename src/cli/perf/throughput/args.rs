//! Arguments of `leveret perf throughput`.

use std::time::Duration;

use clap::Args;

use super::{
    super::{
        args::{QueueType, check_prefetch, prefetch_count, seconds},
        consumer::Taking,
        content::{self, ContentArgs, Pair},
        error::PerfError,
        producer::{Publishing, Settling},
        progress::ProgressArgs,
        uri::AmqpUri,
    },
    places::PlaceArgs,
};

/// What to send where, for how long.
#[derive(Debug, Args)]
pub struct ThroughputArgs {
    /// Broker to load: amqp://user:password@host:port/vhost; if given several times, connections
    /// take them in turn
    #[arg(long, value_name = "URI", required = true)]
    pub uri: Vec<String>,
    /// Number of publishing connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub producers: u16,
    /// Number of consuming connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub consumers: u16,
    /// Channels of each connection: producers write to them in turn, consumers consume on each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub channels: u16,
    /// Bytes in each message body, several sizes in turn; latency needs at least 16
    #[arg(long, value_name = "BYTES,...", value_delimiter = ',', default_value = "16")]
    pub size: Vec<u32>,
    /// Seconds to measure, after the warm-up
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub time: Duration,
    /// Seconds to run before measuring
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub warmup: Duration,
    /// Messages per second of each producer, evenly spread, instead of as many as can be
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Send persistent messages to a durable queue
    #[arg(long)]
    pub persistent: bool,
    /// Use publisher confirms, with at most WINDOW messages unconfirmed on each channel
    #[arg(long, value_name = "WINDOW", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub confirm: Option<u32>,
    /// Publish in transactions of N messages on each channel, and wait for each commit
    #[arg(long, value_name = "N", conflicts_with = "confirm",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub tx: Option<u32>,
    #[command(flatten)]
    pub places: PlaceArgs,
    #[command(flatten)]
    pub content: ContentArgs,
    #[command(flatten)]
    pub taking: TakingArgs,
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

/// How messages are consumed.
#[derive(Debug, Args)]
pub struct TakingArgs {
    /// Unacknowledged messages per consumer, 0 for no limit [default: 10 times --ack-every, at
    /// least 250; 0 with --unacked]
    #[arg(long, value_name = "N", requires = "ack_every")]
    pub prefetch: Option<u16>,
    /// Acknowledge every N messages at once; without it the broker acknowledges on delivery
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub ack_every: Option<u16>,
    /// Keep N messages unacknowledged on each consuming channel all the time: acknowledge each
    /// only after N more have come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub unacked: Option<u32>,
    /// Commit each acknowledgement as a transaction
    #[arg(long)]
    pub ack_tx: bool,
    /// Number of consumers on each channel
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub consumers_per_channel: u16,
    /// Argument of consumers; may be given several times
    #[arg(long = "consumer-arg", value_name = "KEY=VALUE", value_parser = content::pair)]
    pub consumer_args: Vec<Pair>,
    /// Ask for messages one by one with basic.get instead of consuming
    #[arg(long)]
    pub get: bool,
    /// Requests of --get that may be unanswered on each channel
    #[arg(long, value_name = "N", default_value_t = 1, requires = "get",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub get_pipeline: u16,
}

impl ThroughputArgs {
    /// Checks what clap cannot and parses the URIs.
    ///
    /// # Errors
    ///
    /// [`PerfError::Uri`], or [`PerfError::Usage`] when the settings could not work together.
    pub fn check(&self) -> Result<Vec<AmqpUri>, PerfError> {
        let usage = |text: &str| Err(PerfError::Usage(text.to_owned()));
        if self.producers == 0 && self.consumers == 0 {
            return usage("there must be at least one producer or consumer");
        }
        if self.time.is_zero() {
            return usage("--time must be more than 0");
        }
        self.places.check()?;
        self.taking.check()?;
        self.uri.iter().map(|uri| Ok(AmqpUri::parse(uri)?)).collect()
    }

    /// Whether the queues are durable.
    pub fn durable(&self) -> bool {
        self.persistent || self.places.queue_type == Some(QueueType::Quorum)
    }

    /// How each producer publishes.
    pub fn publishing(&self) -> Publishing {
        let settling = match (self.confirm, self.tx) {
            (Some(window), _) => Settling::Confirm(window),
            (None, Some(messages)) => Settling::Transaction(messages),
            (None, None) => Settling::Never,
        };
        Publishing { settling, channels: self.channels, rate: self.rate }
    }
}

impl TakingArgs {
    /// Refuses what could not work together.
    fn check(&self) -> Result<(), PerfError> {
        let usage = |text: &str| Err(PerfError::Usage(text.to_owned()));
        if self.ack_tx && self.ack_every().is_none() {
            return usage("--ack-tx needs --ack-every or --unacked");
        }
        if self.unacked.is_some() && self.prefetch.unwrap_or(0) != 0 {
            return usage("--unacked goes with --prefetch 0 only, or consumers would stall");
        }
        if self.get && (self.prefetch.is_some() || !self.consumer_args.is_empty()) {
            return usage("--prefetch and --consumer-arg mean nothing with --get");
        }
        if self.get && self.consumers_per_channel > 1 {
            return usage("--get goes with --get-pipeline, not with --consumers-per-channel");
        }
        check_prefetch(self.prefetch, self.ack_every())
    }

    /// Messages per acknowledgement.
    pub fn ack_every(&self) -> Option<u16> {
        self.ack_every.or(self.unacked.map(|_| 1))
    }

    /// The prefetch count to ask for; 0 means no limit.
    pub fn prefetch_count(&self) -> u16 {
        if self.unacked.is_some() || self.get {
            return 0;
        }
        prefetch_count(self.prefetch, self.ack_every())
    }

    /// How each consumer takes messages.
    pub fn taking(&self) -> Taking {
        Taking {
            prefetch: self.prefetch_count(),
            ack_every: self.ack_every(),
            unacked: self.unacked.unwrap_or(0),
            ack_tx: self.ack_tx,
            get: self.get.then_some(self.get_pipeline),
            arguments: content::table(&self.consumer_args),
        }
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

    fn try_parse(line: &str) -> Result<ThroughputArgs, clap::Error> {
        let words = ["x", "--uri", "amqp://h"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args)
    }

    fn parse(line: &str) -> ThroughputArgs {
        try_parse(line).unwrap()
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
        assert!(try_parse("--rate 0").is_err() && try_parse("--channels 0").is_err());
    }

    #[test]
    fn messages_are_settled_one_way() {
        assert_eq!(parse("").publishing().settling, Settling::Never);
        assert_eq!(parse("--confirm 7").publishing().settling, Settling::Confirm(7));
        assert_eq!(parse("--tx 100").publishing().settling, Settling::Transaction(100));
        assert!(try_parse("--tx 100 --confirm 7").is_err() && try_parse("--tx 0").is_err());
        let publishing = parse("--rate 2000 --channels 3").publishing();
        assert_eq!((publishing.rate, publishing.channels), (Some(2000), 3));
    }

    #[test]
    fn unacknowledged_messages_have_no_limit() {
        let taking = |line: &str| parse(line).taking.taking();
        assert_eq!((taking("").ack_every, taking("").unacked), (None, 0));
        let kept = taking("--unacked 3000000");
        assert_eq!((kept.ack_every, kept.unacked, kept.prefetch), (Some(1), 3_000_000, 0));
        let kept = taking("--unacked 5 --ack-every 10");
        assert_eq!((kept.ack_every, kept.unacked, kept.prefetch), (Some(10), 5, 0));
        assert!(parse("--unacked 5 --ack-every 10 --prefetch 0").check().is_ok());
        assert!(parse("--unacked 5 --ack-every 10 --prefetch 100").check().is_err());
    }

    #[test]
    fn acknowledgements_can_be_committed_if_there_are_any() {
        assert!(parse("--ack-tx").check().is_err());
        assert!(parse("--ack-tx --unacked 5").check().is_ok());
        assert!(parse("--ack-tx --ack-every 5").taking.taking().ack_tx);
    }

    #[test]
    fn gets_are_not_consumers() {
        assert_eq!(parse("--get").taking.taking().get, Some(1));
        assert_eq!(parse("--get --ack-every 5 --get-pipeline 20").taking.taking().get, Some(20));
        assert_eq!(parse("--get --ack-every 5").taking.taking().prefetch, 0);
        assert_eq!(parse("").taking.taking().get, None);
        assert!(try_parse("--get-pipeline 20").is_err());
        for line in ["--ack-every 1 --prefetch 5", "--consumers-per-channel 2", "--consumer-arg a=b"] {
            assert!(parse(line).check().is_ok(), "{line}");
            assert!(parse(&format!("--get {line}")).check().is_err(), "{line}");
        }
    }

    #[test]
    fn sizes_and_addresses_are_lists() {
        assert_eq!((parse("").size, parse("--size 16,1024,65536").size), (vec![16], vec![16, 1024, 65_536]));
        assert!(try_parse("--size ,").is_err());
        let uris = parse("--uri amqp://other:1").check().unwrap();
        let ports: Vec<_> = uris.iter().map(|uri| uri.port).collect();
        assert_eq!(ports, [5672, 1]);
        assert!(parse("--uri http://other").check().is_err());
    }
}
