//! The figures of a churn, as a table or as JSON.

use std::fmt;

use serde::Serialize;

use super::{
    super::report::{Latency, mib, rounded},
    args::ChurnArgs,
    cycle::Cycles,
};

/// What came of doing something over and over.
#[derive(Debug, Serialize)]
pub struct Report<S> {
    /// What is done in each cycle, in words.
    #[serde(skip)]
    what: String,
    /// Cycles per second.
    cycle_rate: f64,
    /// How long a whole cycle takes.
    latency_us: Option<Latency>,
    /// Processor time of the broker in microseconds per cycle.
    cpu_us_per_cycle: Option<f64>,
    broker_cores: Option<f64>,
    /// Processor time of this load generator, likewise.
    client_cpu_us_per_cycle: Option<f64>,
    rss_mib: Option<f64>,
    cycles: u64,
    /// Length of the measured interval in seconds.
    seconds: f64,
    clients: u16,
    /// How often a message that was published was not there, where there are messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_gets: Option<u64>,
    settings: Settings<S>,
}

/// The settings that all have, and those of this one.
#[derive(Debug, Serialize)]
struct Settings<S> {
    uri: String,
    warmup_seconds: f64,
    time_seconds: f64,
    broker_pid: Option<u32>,
    #[serde(flatten)]
    own: S,
}

impl<S: Serialize> Report<S> {
    /// The figures of `cycles`; `what` says what they are, and `uri` where.
    pub fn new(what: String, uri: String, args: &ChurnArgs, cycles: &Cycles, own: S) -> Self {
        let used = &cycles.used;
        Self {
            what,
            cycle_rate: used.rate(cycles.count),
            latency_us: Latency::new(&cycles.latency),
            cpu_us_per_cycle: used.broker_micros_each(cycles.count),
            broker_cores: used.broker_cores(),
            client_cpu_us_per_cycle: used.client_micros_each(cycles.count),
            rss_mib: cycles.rss.map(mib),
            cycles: cycles.count,
            seconds: rounded(used.seconds, 3),
            clients: args.clients,
            empty_gets: None,
            settings: Settings {
                uri,
                warmup_seconds: args.warmup.as_secs_f64(),
                time_seconds: args.time.as_secs_f64(),
                broker_pid: args.target.broker_pid,
                own,
            },
        }
    }
}

impl<S> fmt::Display for Report<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, cycle_rate, cycles, seconds, clients, .. } = self;
        let s = if *clients == 1 { "" } else { "s" };
        writeln!(f, "load        {clients} client{s}: {what}")?;
        writeln!(f, "rate        {cycle_rate:.0}/s, {cycles} times in {seconds} s")?;
        if let Some(latency) = &self.latency_us {
            writeln!(f, "latency     {latency}")?;
        }
        if let Some(empty) = self.empty_gets.filter(|&empty| empty > 0) {
            writeln!(f, "note        {empty} messages were not there yet when they were asked for")?;
        }
        if let (Some(each), Some(cores)) = (self.cpu_us_per_cycle, self.broker_cores) {
            writeln!(f, "broker cpu  {each:.1} µs each time, {cores:.2} processors busy")?;
        }
        if let Some(each) = self.client_cpu_us_per_cycle {
            writeln!(f, "client cpu  {each:.1} µs each time")?;
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
        super::{
            super::{deliveries, report::write_report, usage::Used},
            args::tests::parse,
        },
        *,
    };

    #[derive(Serialize)]
    struct Own {
        depth: u16,
    }

    fn report() -> Report<Own> {
        let used = Used { seconds: 2.0, broker_nanos: Some(50_000_000), client_nanos: Some(25_000_000) };
        let mut latency = deliveries::histogram().unwrap();
        latency.record(250_000).unwrap();
        let cycles = Cycles { used, count: 1000, latency, misses: 3, rss: Some(3 << 20) };
        let args = parse("--clients 2").unwrap();
        Report::new("go round".to_owned(), "amqp://h".to_owned(), &args, &cycles, Own { depth: 9 })
    }

    #[test]
    fn json_has_figures_by_cycle_and_all_settings() {
        let mut out = Vec::new();
        write_report(&report(), true, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["cycle_rate"], 500.0);
        assert_eq!(value["cpu_us_per_cycle"], 50.0);
        assert_eq!(value["client_cpu_us_per_cycle"], 25.0);
        assert_eq!(value["broker_cores"], 0.025);
        assert_eq!(value["latency_us"]["samples"], 1);
        assert_eq!(value["settings"]["depth"], 9);
        assert_eq!(value["settings"]["time_seconds"], 10.0);
        assert!(value.get("empty_gets").is_none());
    }

    #[test]
    fn the_table_says_what_is_unusual() {
        let mut report = report();
        assert!(report.to_string().starts_with("load        2 clients: go round\nrate        500/s"));
        report.empty_gets = Some(0);
        assert!(!report.to_string().contains("note"));
        report.empty_gets = Some(3);
        assert!(report.to_string().contains("3 messages were not there"));
    }
}
