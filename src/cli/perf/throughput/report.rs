//! The figures of a run, as a table or as JSON.

use std::{fmt, io::Write};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    super::{
        batch::Message,
        error::PerfError,
        producer::Outcome,
        report::{Latency, as_f64, mib, plural, rounded, write_report},
    },
    args::ThroughputArgs,
    settings::Settings,
};

/// What the run has counted between the beginning and the end of the measured interval.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    /// Length in seconds, more than 0.
    pub seconds: f64,
    /// Messages written by producers.
    pub published: u64,
    /// Messages received by consumers.
    pub delivered: u64,
    /// Bytes in the bodies that were written.
    pub published_octets: u64,
    /// Bytes in the bodies that were received.
    pub delivered_octets: u64,
    /// Processor time of the broker in nanoseconds, if it was observed.
    pub broker_nanos: Option<u64>,
    /// Processor time of this process in nanoseconds, if it could be observed.
    pub client_nanos: Option<u64>,
    /// Resident memory of the broker at the end in bytes, if it was observed.
    pub rss: Option<u64>,
    /// Bytes that the broker sent to disks, if they could be observed.
    pub disk_written: Option<u64>,
}

/// Everything that is reported about a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Messages published per second.
    publish_rate: f64,
    /// Messages delivered per second.
    delivery_rate: f64,
    /// Body bytes published per second.
    publish_bytes_per_second: f64,
    /// Body bytes delivered per second.
    delivery_bytes_per_second: f64,
    /// Processor time of the broker in microseconds per delivered message, or per published one
    /// when there are no consumers.
    cpu_us_per_message: Option<f64>,
    /// Processors that the broker kept busy on average.
    broker_cores: Option<f64>,
    /// Processor time of this load generator in microseconds per message, counted likewise.
    client_cpu_us_per_message: Option<f64>,
    /// Messages published in the measured interval.
    published: u64,
    /// Messages delivered in the measured interval.
    delivered: u64,
    /// Length of the measured interval in seconds.
    seconds: f64,
    /// Bytes in a message body, on the average if there are several sizes.
    size: u32,
    producers: u16,
    consumers: u16,
    latency_us: Option<Latency>,
    /// Time from sending to the confirm or the answer to the commit, in such a mode.
    confirm_latency_us: Option<Latency>,
    /// Bytes that the broker sent to disks in the measured interval.
    disk_bytes_written: Option<u64>,
    /// The same by message, counted as for the processor time.
    disk_bytes_per_message: Option<f64>,
    /// Resident memory of the broker at the end of the measured interval in MiB.
    rss_mib: Option<f64>,
    /// Messages published in the whole run, including the warm-up.
    published_total: u64,
    /// Messages delivered in the whole run, including warm-up and draining.
    delivered_total: u64,
    /// Messages confirmed in the whole run, in confirm mode.
    confirmed_total: Option<u64>,
    /// Messages refused in the whole run, in confirm mode.
    nacked_total: Option<u64>,
    /// Messages committed in the whole run, in transactions.
    committed_total: Option<u64>,
    /// Mandatory messages that came back in the whole run.
    returned_total: Option<u64>,
    /// Requests for a message that found none in the whole run, with basic.get.
    get_empty_total: Option<u64>,
    /// Whether the broker blocked a producer for lack of resources.
    blocked: bool,
    settings: Settings,
}

/// Counts of a whole run, and the latencies of its measured interval in nanoseconds.
pub struct Totals {
    /// Messages published.
    pub published: u64,
    /// Messages received.
    pub delivered: u64,
    /// What producers heard from the broker, added up.
    pub outcome: Outcome,
    /// Time from sending to receiving.
    pub latency: Histogram<u64>,
    /// Requests for a message that found none.
    pub empties: u64,
}

impl Report {
    /// Works out the figures.
    pub fn new(args: &ThroughputArgs, settings: Settings, interval: &Interval, totals: &Totals) -> Self {
        let rate = |count| rounded(as_f64(count) / interval.seconds, 1);
        let octet_rate = |octets| rounded(as_f64(octets) / interval.seconds, 0);
        let average = Message::octets(&args.size, args.size.len() as u64) / args.size.len() as u64;
        let messages = if args.consumers > 0 { interval.delivered } else { interval.published };
        let each = |nanos: u64| (messages > 0).then(|| rounded(as_f64(nanos) / 1000.0 / as_f64(messages), 4));
        let per_message = |bytes: u64| (messages > 0).then(|| rounded(as_f64(bytes) / as_f64(messages), 1));
        let confirming = |count| args.confirm.map(|_| count);
        let cores = |nanos| rounded(as_f64(nanos) / 1e9 / interval.seconds, 3);
        Self {
            publish_rate: rate(interval.published),
            delivery_rate: rate(interval.delivered),
            publish_bytes_per_second: octet_rate(interval.published_octets),
            delivery_bytes_per_second: octet_rate(interval.delivered_octets),
            cpu_us_per_message: interval.broker_nanos.and_then(each),
            broker_cores: interval.broker_nanos.map(cores),
            client_cpu_us_per_message: interval.client_nanos.and_then(each),
            published: interval.published,
            delivered: interval.delivered,
            seconds: rounded(interval.seconds, 3),
            size: u32::try_from(average).unwrap_or(u32::MAX),
            producers: args.producers,
            consumers: args.consumers,
            latency_us: Latency::new(&totals.latency),
            confirm_latency_us: totals.outcome.confirm_latency.as_ref().and_then(Latency::new),
            disk_bytes_written: interval.disk_written,
            disk_bytes_per_message: interval.disk_written.and_then(per_message),
            rss_mib: interval.rss.map(mib),
            published_total: totals.published,
            delivered_total: totals.delivered,
            confirmed_total: confirming(totals.outcome.confirmed),
            nacked_total: confirming(totals.outcome.nacked),
            committed_total: args.tx.map(|_| totals.outcome.confirmed),
            returned_total: args.content.mandatory.then_some(totals.outcome.returned),
            get_empty_total: args.taking.get.then_some(totals.empties),
            blocked: totals.outcome.blocked.is_some(),
            settings,
        }
    }

    /// Writes the report to `out`, as one line of JSON or as a table.
    ///
    /// # Errors
    ///
    /// [`PerfError::Output`] when it cannot be written.
    pub fn write(&self, json: bool, out: &mut impl Write) -> Result<(), PerfError> {
        write_report(self, json, out)
    }

    /// The lines of the table about messages.
    fn write_rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: f64| bytes / 1_048_576.0;
        for (label, rate, bytes, count) in [
            ("published", self.publish_rate, self.publish_bytes_per_second, self.published),
            ("delivered", self.delivery_rate, self.delivery_bytes_per_second, self.delivered),
        ] {
            let mib = mib(bytes);
            writeln!(f, "{label}   {rate:>12.0} msg/s  {mib:>9.2} MiB/s  {count:>13} messages")?;
        }
        if let (Some(confirmed), Some(nacked)) = (self.confirmed_total, self.nacked_total) {
            writeln!(f, "confirmed   {confirmed} in the whole run, {nacked} refused")?;
        }
        for (label, count, what) in [
            ("committed", self.committed_total, "in the whole run"),
            ("returned", self.returned_total, "messages in the whole run"),
            ("empty gets", self.get_empty_total, "in the whole run"),
        ] {
            if let Some(count) = count {
                writeln!(f, "{label:<12}{count} {what}")?;
            }
        }
        if self.blocked {
            writeln!(f, "note        the broker blocked publishing for lack of resources")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "load        {} to {}, {} of {} bytes, {} s",
            plural(self.producers, "producer"),
            plural(self.consumers, "consumer"),
            if self.settings.persistent { "persistent messages" } else { "transient messages" },
            self.size,
            self.seconds,
        )?;
        if self.settings.queues > 1 || self.settings.bindings > 1 {
            writeln!(f, "queues      {}, {} bindings", self.settings.queues, self.settings.bindings)?;
        }
        self.write_rates(f)?;
        if let Some(latency) = &self.latency_us {
            writeln!(f, "latency     {latency}")?;
        }
        if let Some(latency) = &self.confirm_latency_us {
            let label = if self.committed_total.is_some() { "commits" } else { "confirms" };
            writeln!(f, "{label:<12}{latency}")?;
        }
        if let (Some(each), Some(cores)) = (self.cpu_us_per_message, self.broker_cores) {
            writeln!(f, "broker cpu  {each:.3} µs per message, {cores:.2} processors busy")?;
        }
        if let Some(each) = self.disk_bytes_per_message {
            writeln!(f, "broker disk {each:.0} bytes written per message")?;
        }
        if let Some(each) = self.client_cpu_us_per_message {
            writeln!(f, "client cpu  {each:.3} µs per message")?;
        }
        if let Some(mib) = self.rss_mib {
            writeln!(f, "broker mem  {mib:.1} MiB resident")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::{super::deliveries, settings::Declared},
        *,
    };

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ThroughputArgs,
    }

    fn report(line: &str) -> Report {
        let words = ["x", "--uri", "amqp://h", "--size", "100,50"].into_iter();
        let args = Line::try_parse_from(words.chain(line.split_whitespace())).unwrap().args;
        let interval = Interval {
            seconds: 2.0,
            published: 4000,
            delivered: 1000,
            published_octets: 300_000,
            delivered_octets: 100_000,
            broker_nanos: Some(8_000_000),
            disk_written: Some(512_000),
            ..Default::default()
        };
        let mut latency = deliveries::histogram().unwrap();
        latency.record(1500).unwrap();
        let confirm_latency = args.confirm.or(args.tx).map(|_| latency.clone());
        let outcome = Outcome { confirmed: 3, returned: 4, confirm_latency, ..Default::default() };
        let totals = Totals { published: 5000, delivered: 5000, outcome, latency, empties: 6 };
        let queues = ["q".to_owned(), "r".to_owned()];
        let declared = Declared { queues: &queues, bindings: 7, routing_keys: 2 };
        let settings = Settings::new(&args, &args.check().unwrap(), declared);
        Report::new(&args, settings, &interval, &totals)
    }

    fn json(report: &Report) -> serde_json::Value {
        let mut out = Vec::new();
        report.write(true, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn cost_is_per_delivery_or_else_per_publish() {
        assert_eq!(report("").cpu_us_per_message, Some(8.0));
        assert_eq!(report("--consumers 0").cpu_us_per_message, Some(2.0));
    }

    #[test]
    fn json_has_rates_latency_and_settings() {
        let value = json(&report("--confirm 7"));
        assert_eq!(value["publish_rate"], 2000.0);
        assert_eq!(value["delivery_rate"], 500.0);
        assert_eq!(value["publish_bytes_per_second"], 150_000.0);
        assert_eq!(value["delivery_bytes_per_second"], 50_000.0);
        assert_eq!(value["size"], 75);
        assert_eq!(value["latency_us"]["p999"], 1.5);
        assert_eq!(value["confirm_latency_us"]["p50"], 1.5);
        assert_eq!(value["confirmed_total"], 3);
        assert_eq!(value["disk_bytes_per_message"], 512.0);
        assert_eq!(value["settings"]["confirm"], 7);
        assert_eq!(value["settings"]["queue"], "q,r");
        assert_eq!(value["settings"]["sizes"], serde_json::json!([100, 50]));
        for absent in ["committed_total", "returned_total", "get_empty_total"] {
            assert!(value[absent].is_null(), "{absent}");
        }
        assert!(value["rss_mib"].is_null());
    }

    #[test]
    fn what_is_asked_for_is_counted() {
        let report = report("--tx 10 --mandatory --get");
        let value = json(&report);
        let counts = [&value["committed_total"], &value["returned_total"], &value["get_empty_total"]];
        assert_eq!(counts, [3, 4, 6]);
        assert!(value["confirmed_total"].is_null(), "{value}");
        let table = report.to_string();
        for line in ["committed   3 in", "returned    4 m", "empty gets  6 in", "commits     p50"] {
            assert!(table.contains(line), "{line}: {table}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_figure() {
        let table = report("").to_string();
        assert!(table.contains("1 producer to 1 consumer, transient messages of 75 bytes"));
        assert!(table.contains("8.000 µs per message"));
        assert!(table.contains("512 bytes written per message"));
        assert!(!table.contains("confirm"));
    }
}
