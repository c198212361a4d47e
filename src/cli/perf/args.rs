//! Arguments that several loads share.

use std::time::Duration;

use clap::ValueEnum;

use super::error::PerfError;

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
    /// A direct exchange; queues have keys of their own.
    Direct,
    /// A fanout exchange; each message reaches all queues.
    Fanout,
    /// A topic exchange; queues have patterns of their own that end in `#`.
    Topic,
    /// A headers exchange; each message carries one header and reaches all queues.
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
    use super::*;

    #[test]
    fn prefetch_follows_the_acknowledgements() {
        assert_eq!(prefetch_count(None, None), 0);
        assert_eq!(prefetch_count(None, Some(10)), 250);
        assert_eq!(prefetch_count(None, Some(100)), 1000);
        assert_eq!(prefetch_count(None, Some(60_000)), 65_535);
        assert_eq!(prefetch_count(Some(0), Some(10)), 0);
        assert!(check_prefetch(Some(9), Some(10)).is_err());
        assert!(check_prefetch(Some(10), Some(10)).is_ok() && check_prefetch(Some(0), Some(10)).is_ok());
    }

    #[test]
    fn seconds_are_a_day_at_most() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("NaN").is_err() && seconds("-1").is_err() && seconds("1e9").is_err());
    }
}
