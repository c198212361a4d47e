//! The settings of a run, as its report repeats them.

use serde::Serialize;

use super::{
    super::{args::QueueType, uri::AmqpUri},
    args::ThroughputArgs,
};

/// Queues whose names are listed; of more, only the first and the last are.
const LISTED: usize = 1000;

/// The settings of the run.
#[derive(Debug, Serialize)]
pub struct Settings {
    uri: String,
    queue: String,
    queue_type: Option<&'static str>,
    exchange: &'static str,
    pub persistent: bool,
    confirm: Option<u32>,
    ack_every: Option<u16>,
    prefetch: u16,
    warmup_seconds: f64,
    time_seconds: f64,
    broker_pid: Option<u32>,
    /// Number of queues.
    pub queues: usize,
    /// Number of bindings to the exchange.
    pub bindings: usize,
    /// Number of routing keys that messages have in turn.
    routing_keys: usize,
    /// Bytes in the bodies of messages, in turn.
    sizes: Vec<u32>,
    channels: u16,
    consumers_per_channel: u16,
    /// Messages per second of each producer, if that is limited.
    rate: Option<u32>,
    tx: Option<u32>,
    ack_tx: bool,
    unacked: Option<u32>,
    /// Requests of basic.get in flight on each channel, if consumers poll.
    get_pipeline: Option<u16>,
    mandatory: bool,
}

/// How many of what a run has declared.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// Names of the queues.
    pub queues: &'a [String],
    /// Number of bindings.
    pub bindings: usize,
    /// Number of routing keys.
    pub routing_keys: usize,
}

impl Settings {
    /// The settings of a run with these queues.
    pub fn new(args: &ThroughputArgs, uris: &[AmqpUri], declared: Declared<'_>) -> Self {
        let uris: Vec<_> = uris.iter().map(ToString::to_string).collect();
        let taking = &args.taking;
        Self {
            uri: uris.join(","),
            queue: listed(declared.queues),
            queue_type: args.places.queue_type.map(QueueType::name),
            exchange: args.places.exchange.name(),
            persistent: args.persistent,
            confirm: args.confirm,
            ack_every: taking.ack_every(),
            prefetch: taking.prefetch_count(),
            warmup_seconds: args.warmup.as_secs_f64(),
            time_seconds: args.time.as_secs_f64(),
            broker_pid: args.broker_pid,
            queues: declared.queues.len(),
            bindings: declared.bindings,
            routing_keys: declared.routing_keys,
            sizes: args.size.clone(),
            channels: args.channels,
            consumers_per_channel: taking.consumers_per_channel,
            rate: args.rate,
            tx: args.tx,
            ack_tx: taking.ack_tx,
            unacked: taking.unacked,
            get_pipeline: taking.get.then_some(taking.get_pipeline),
            mandatory: args.content.mandatory,
        }
    }
}

/// The names of queues as one text.
fn listed(queues: &[String]) -> String {
    match queues {
        [first, .., last] if queues.len() > LISTED => format!("{first},...,{last}"),
        queues => queues.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_queues_are_listed() {
        let names: Vec<_> = (0..1001).map(|number| format!("q{number}")).collect();
        assert_eq!(listed(&names[..2]), "q0,q1");
        assert_eq!(listed(&names[..1000]).split(',').count(), 1000);
        assert_eq!(listed(&names), "q0,...,q1000");
    }
}
