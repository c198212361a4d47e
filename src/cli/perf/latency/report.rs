//! The figures of a latency run, as a table or as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    super::{
        args::QueueType,
        deliveries,
        error::PerfError,
        report::{Latency, as_f64, mib, rounded},
        uri::AmqpUri,
        usage::Used,
    },
    add,
    answers::Confirmed,
    args::LatencyArgs,
    sender::Sent,
};

/// What a run has shown.
#[derive(Debug)]
pub struct Outcome {
    used: Used,
    /// Messages sent and received in the measured interval.
    sent: u64,
    received: u64,
    /// Resident memory of the broker in bytes.
    rss: Option<u64>,
    /// Time from when messages were due to when they were received, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Messages received in the whole run.
    pub received_total: u64,
    all_sent: Sent,
    confirmed: Confirmed,
}

impl Outcome {
    /// What was counted in the measured interval.
    ///
    /// # Errors
    ///
    /// Never in practice; see [`deliveries::histogram`].
    pub fn new(used: Used, sent: u64, received: u64, rss: Option<u64>) -> Result<Self, PerfError> {
        let latency = deliveries::histogram()?;
        let (all_sent, confirmed) = (Sent::new()?, Confirmed::new()?);
        Ok(Self { used, sent, received, rss, latency, received_total: 0, all_sent, confirmed })
    }

    /// Adds what one producer has sent.
    ///
    /// # Errors
    ///
    /// Never in practice: all histograms are alike.
    pub fn add_sent(&mut self, sent: &Sent) -> Result<(), PerfError> {
        self.all_sent.count += sent.count;
        self.all_sent.unsent += sent.unsent;
        add(&mut self.all_sent.delay, &sent.delay)
    }

    /// Adds what one producer has been confirmed.
    ///
    /// # Errors
    ///
    /// Never in practice: all histograms are alike.
    pub fn add_confirmed(&mut self, confirmed: &Confirmed) -> Result<(), PerfError> {
        self.confirmed.acked += confirmed.acked;
        self.confirmed.nacked += confirmed.nacked;
        add(&mut self.confirmed.latency, &confirmed.latency)
    }
}

/// Latencies with a tail that runs of this kind are long enough for.
#[derive(Clone, Copy, Debug, Serialize)]
struct Tail {
    #[serde(flatten)]
    latency: Latency,
    p9999: f64,
}

impl Tail {
    /// `None` without samples.
    fn new(nanos: &Histogram<u64>) -> Option<Self> {
        let latency = Latency::new(nanos)?;
        Some(Self { latency, p9999: rounded(as_f64(nanos.value_at_quantile(0.9999)) / 1000.0, 1) })
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, p99.99 {} µs", self.latency, self.p9999)
    }
}

/// Everything that is reported about a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From when each message of the measured interval was due until it was received.
    latency_us: Option<Tail>,
    /// The same until it was confirmed.
    confirm_latency_us: Option<Tail>,
    /// How late the load generator sent it, which is part of both.
    send_delay_us: Option<Tail>,
    /// Messages per second.
    publish_rate: f64,
    delivery_rate: f64,
    /// Length of the measured interval in seconds.
    seconds: f64,
    cpu_us_per_message: Option<f64>,
    broker_cores: Option<f64>,
    /// Processors that this load generator kept busy on average.
    client_cores: Option<f64>,
    rss_mib: Option<f64>,
    /// Messages of the whole run.
    published_total: u64,
    delivered_total: u64,
    /// Messages sent that have not come back.
    undelivered: u64,
    /// Messages that were due, but could not be sent before the run ended.
    unsent: u64,
    confirmed_total: Option<u64>,
    nacked_total: Option<u64>,
    settings: Settings,
}

#[derive(Debug, Serialize)]
struct Settings {
    uri: String,
    rate: u32,
    producers: u16,
    size: u32,
    persistent: bool,
    queue_type: Option<&'static str>,
    confirm: bool,
    ack_every: Option<u16>,
    prefetch: u16,
    warmup_seconds: f64,
    time_seconds: f64,
    broker_pid: Option<u32>,
}

impl Report {
    /// The figures of a run.
    pub fn new(args: &LatencyArgs, uri: &AmqpUri, outcome: &Outcome) -> Self {
        let used = &outcome.used;
        let confirming = |count| args.confirm.then_some(count);
        Self {
            latency_us: Tail::new(&outcome.latency),
            confirm_latency_us: Tail::new(&outcome.confirmed.latency),
            send_delay_us: Tail::new(&outcome.all_sent.delay),
            publish_rate: used.rate(outcome.sent),
            delivery_rate: used.rate(outcome.received),
            seconds: rounded(used.seconds, 3),
            cpu_us_per_message: used.broker_micros_each(outcome.received),
            broker_cores: used.broker_cores(),
            client_cores: used.client_cores(),
            rss_mib: outcome.rss.map(mib),
            published_total: outcome.all_sent.count,
            delivered_total: outcome.received_total,
            undelivered: outcome.all_sent.count.saturating_sub(outcome.received_total),
            unsent: outcome.all_sent.unsent,
            confirmed_total: confirming(outcome.confirmed.acked),
            nacked_total: confirming(outcome.confirmed.nacked),
            settings: Settings {
                uri: uri.to_string(),
                rate: args.rate,
                producers: args.producers,
                size: args.size,
                persistent: args.persistent,
                queue_type: args.queue_type.map(QueueType::name),
                confirm: args.confirm,
                ack_every: args.ack_every,
                prefetch: args.taking().prefetch,
                warmup_seconds: args.warmup.as_secs_f64(),
                time_seconds: args.time.as_secs_f64(),
                broker_pid: args.target.broker_pid,
            },
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { rate, size, .. } = &self.settings;
        writeln!(f, "load        {rate} messages/s of {size} bytes, {} s", self.seconds)?;
        let (published, delivered) = (self.publish_rate, self.delivery_rate);
        writeln!(f, "rates       {published:.0}/s published, {delivered:.0}/s delivered")?;
        for (label, tail) in [
            ("latency     ", &self.latency_us),
            ("confirms    ", &self.confirm_latency_us),
            ("send delay  ", &self.send_delay_us),
        ] {
            if let Some(tail) = tail {
                writeln!(f, "{label}{tail}")?;
            }
        }
        if self.undelivered + self.unsent + self.nacked_total.unwrap_or(0) > 0 {
            let (undelivered, unsent) = (self.undelivered, self.unsent);
            let nacked = self.nacked_total.unwrap_or(0);
            writeln!(
                f,
                "note        {undelivered} messages did not arrive, {nacked} were refused, {unsent} could not be sent in time"
            )?;
        }
        if let (Some(each), Some(cores)) = (self.cpu_us_per_message, self.broker_cores) {
            writeln!(f, "broker cpu  {each:.3} µs per message, {cores:.3} processors busy")?;
        }
        if let Some(cores) = self.client_cores {
            writeln!(f, "client cpu  {cores:.3} processors busy")?;
        }
        if let Some(mib) = self.rss_mib {
            writeln!(f, "broker mem  {mib:.1} MiB resident")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::report::write_report, args::tests::parse},
        *,
    };

    fn report(line: &str, unsent: u64) -> Report {
        let args = parse(line).unwrap();
        let used = Used { seconds: 2.0, broker_nanos: Some(40_000_000), client_nanos: Some(200_000_000) };
        let mut outcome = Outcome::new(used, 4000, 2000, Some(1 << 20)).unwrap();
        let mut sent = Sent::new().unwrap();
        (sent.count, sent.unsent) = (5000, unsent);
        sent.delay.record(3000).unwrap();
        outcome.add_sent(&sent).unwrap();
        let mut confirmed = Confirmed::new().unwrap();
        if args.confirm {
            confirmed.acked = 5000;
            confirmed.latency.record(5000).unwrap();
        }
        outcome.add_confirmed(&confirmed).unwrap();
        outcome.latency.record_n(1500, 9_998).unwrap();
        outcome.latency.record_n(9_000_000, 2).unwrap();
        outcome.received_total = 5000;
        Report::new(&args, &args.check().unwrap(), &outcome)
    }

    #[test]
    fn json_has_the_whole_tail() {
        let mut out = Vec::new();
        write_report(&report("--confirm", 0), true, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["latency_us"]["p50"], 1.5);
        assert_eq!(value["latency_us"]["p999"], 1.5);
        assert!(value["latency_us"]["p9999"].as_f64().unwrap() > 8_900.0, "{value}");
        assert_eq!(value["latency_us"]["samples"], 10_000);
        assert_eq!(value["confirm_latency_us"]["p50"], 5.0);
        assert_eq!(value["send_delay_us"]["p99"], 3.0);
        assert_eq!(value["publish_rate"], 2000.0);
        assert_eq!(value["cpu_us_per_message"], 20.0);
        assert_eq!(value["client_cores"], 0.1);
        assert_eq!(value["confirmed_total"], 5000);
        assert!(!String::from_utf8(out).unwrap().contains("secret"));
    }

    #[test]
    fn the_table_says_what_is_missing() {
        let table = report("", 0).to_string();
        assert!(table.contains("send delay  p50 3 µs") && table.contains("p99.99 "), "{table}");
        assert!(!table.contains("note") && !table.contains("confirms"), "{table}");
        assert!(report("", 7).to_string().contains("7 could not be sent in time"));
    }
}
