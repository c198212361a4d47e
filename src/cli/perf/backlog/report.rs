//! The figures of a backlog, as a table or as JSON.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    super::{
        args::QueueType,
        process::Memory,
        producer::Outcome,
        report::{Latency, as_f64, mib, rounded},
        uri::AmqpUri,
    },
    args::BacklogArgs,
    watch::Watched,
};

/// What each phase has found; phases that were not asked for are left out.
#[derive(Debug, Serialize)]
pub struct Report {
    settings: Settings,
    /// Publishing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<Filled>,
    /// Memory and disk space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Held>,
    /// How long the broker took to come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<Returned>,
    /// Consuming.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drained>,
}

#[derive(Debug, Serialize)]
struct Settings {
    uri: String,
    queue: String,
    queue_type: Option<&'static str>,
    messages: u64,
    size: u32,
    persistent: bool,
    confirm: u32,
    ack_every: u16,
    prefetch: u16,
    producers: u16,
    consumers: u16,
}

/// Messages that went to the broker or came from it.
#[derive(Debug, Serialize)]
pub struct Moved {
    messages: u64,
    seconds: f64,
    /// Messages per second: all in all, in the first tenth, in the last.
    rate: f64,
    first_tenth_rate: f64,
    last_tenth_rate: f64,
    /// Processor time of the broker in microseconds per message.
    cpu_us_per_message: Option<f64>,
    /// Bytes that the broker sent to disks per message.
    disk_bytes_per_message: Option<f64>,
    /// Most resident memory of the broker in MiB.
    max_rss_mib: Option<f64>,
}

/// A queue that has been filled.
#[derive(Debug, Serialize)]
pub struct Filled {
    #[serde(flatten)]
    moved: Moved,
    confirmed: u64,
    nacked: u64,
    /// Seconds that the broker read nothing, for lack of resources.
    blocked_seconds: f64,
    /// Time from sending to the confirm.
    confirm_latency_us: Option<Latency>,
    #[serde(skip)]
    data_before: Option<u64>,
    #[serde(skip)]
    memory_before: Option<Memory>,
}

/// A queue that lies there.
#[derive(Debug, Serialize)]
pub struct Held {
    /// Ready messages in the queue.
    messages: u64,
    /// Resident memory of the broker's process, and of all below it.
    rss_mib: Option<f64>,
    children_rss_mib: Option<f64>,
    /// Most that was seen of both together.
    max_rss_mib: Option<f64>,
    /// Bytes of resident memory per message, without those from before the queue was filled.
    rss_bytes_per_message: Option<f64>,
    /// Disk space of the data folder, and per message without that from before.
    data_mib: Option<f64>,
    data_bytes_per_message: Option<f64>,
}

/// A queue that is there again.
#[derive(Debug, Serialize)]
pub struct Returned {
    messages: u64,
    /// Seconds until somebody could log in.
    serving_seconds: f64,
    /// Seconds until the queue held all messages.
    ready_seconds: f64,
}

/// A queue that has been drained.
#[derive(Debug, Serialize)]
pub struct Drained {
    #[serde(flatten)]
    moved: Moved,
    /// Messages in the queue afterwards.
    left: u32,
}

impl Report {
    /// Nothing found yet.
    pub fn new(args: &BacklogArgs, uri: &AmqpUri) -> Self {
        let settings = Settings {
            uri: uri.to_string(),
            queue: args.queue.clone(),
            queue_type: args.queue_type.map(QueueType::name),
            messages: args.messages,
            size: args.size,
            persistent: args.persistent,
            confirm: args.confirm,
            ack_every: args.ack_every,
            prefetch: args.taking().prefetch,
            producers: args.producers,
            consumers: args.consumers,
        };
        Self { settings, fill: None, hold: None, ready: None, drain: None }
    }

    /// Whether no phase has found anything.
    pub fn is_empty(&self) -> bool {
        self.fill.is_none() && self.hold.is_none() && self.ready.is_none() && self.drain.is_none()
    }
}

impl Moved {
    /// The figures of a phase that has moved `messages`.
    pub fn new(messages: u64, watched: &Watched) -> Self {
        let rates = watched.tenths.rates();
        let micros = |nanos| per_message(nanos, messages).map(|each| rounded(each / 1000.0, 3));
        Self {
            messages,
            seconds: seconds(watched.tenths.elapsed()),
            rate: rates.whole,
            first_tenth_rate: rates.first,
            last_tenth_rate: rates.last,
            cpu_us_per_message: watched.used.cpu_nanos.and_then(micros),
            disk_bytes_per_message: watched.used.disk_written.and_then(|bytes| per_message(bytes, messages)),
            max_rss_mib: watched.rss_max.map(mib),
        }
    }
}

impl Filled {
    /// The figures of a queue that has been filled, with what there was before.
    pub fn new(
        moved: Moved,
        outcome: &Outcome,
        data_before: Option<u64>,
        memory_before: Option<Memory>,
    ) -> Self {
        Self {
            moved,
            confirmed: outcome.confirmed,
            nacked: outcome.nacked,
            blocked_seconds: seconds(outcome.blocked.unwrap_or_default()),
            confirm_latency_us: outcome.confirm_latency.as_ref().and_then(Latency::new),
            data_before,
            memory_before,
        }
    }
}

impl Held {
    /// The figures of a queue of `messages`; those per message are without what there was before
    /// it was filled, where that is known.
    pub fn new(
        messages: u64,
        memory: Option<Memory>,
        rss_max: Option<u64>,
        data: Option<u64>,
        filled: Option<&Filled>,
    ) -> Self {
        let memory_before = filled.and_then(|filled| filled.memory_before).map_or(0, Memory::total);
        let data_before = filled.and_then(|filled| filled.data_before).unwrap_or(0);
        let each = |after: u64, before| per_message(after.saturating_sub(before), messages);
        Self {
            messages,
            rss_mib: memory.map(|memory| mib(memory.own)),
            children_rss_mib: memory.map(|memory| mib(memory.children)),
            max_rss_mib: rss_max.map(mib),
            rss_bytes_per_message: memory.and_then(|memory| each(memory.total(), memory_before)),
            data_mib: data.map(mib),
            data_bytes_per_message: data.and_then(|data| each(data, data_before)),
        }
    }
}

impl Returned {
    /// The figures of a queue that holds `messages` again.
    pub fn new(messages: u64, serving: Duration, ready: Duration) -> Self {
        Self { messages, serving_seconds: seconds(serving), ready_seconds: seconds(ready) }
    }
}

impl Drained {
    /// The figures of a queue that has been drained but for `left`.
    pub fn new(moved: Moved, left: u32) -> Self {
        Self { moved, left }
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64(), 3)
}

/// `None` without messages.
fn per_message(total: u64, messages: u64) -> Option<f64> {
    (messages > 0).then(|| rounded(as_f64(total) / as_f64(messages), 1))
}

impl Moved {
    /// The lines that publishing and consuming have in common.
    fn write(&self, f: &mut fmt::Formatter<'_>, label: &str) -> fmt::Result {
        let Self { messages, seconds, rate, first_tenth_rate, last_tenth_rate, .. } = self;
        writeln!(f, "{label}   {messages} messages in {seconds} s, {rate:.0}/s")?;
        writeln!(
            f,
            "          {first_tenth_rate:.0}/s in the first tenth, {last_tenth_rate:.0}/s in the last"
        )?;
        if let Some(each) = self.cpu_us_per_message {
            write!(f, "          broker: {each:.3} µs of processor time")?;
            if let Some(bytes) = self.disk_bytes_per_message {
                write!(f, " and {bytes:.0} bytes written")?;
            }
            write!(f, " per message")?;
            if let Some(mib) = self.max_rss_mib {
                write!(f, ", at most {mib:.1} MiB resident")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fill) = &self.fill {
            fill.moved.write(f, "fill   ")?;
            if let Some(latency) = &fill.confirm_latency_us {
                writeln!(f, "          confirms: {latency}")?;
            }
            if fill.nacked > 0 || fill.blocked_seconds > 0.0 {
                writeln!(f, "          {} refused; blocked for {} s", fill.nacked, fill.blocked_seconds)?;
            }
        }
        if let Some(hold) = &self.hold {
            hold.write(f)?;
        }
        if let Some(Returned { messages, serving_seconds, ready_seconds }) = &self.ready {
            writeln!(
                f,
                "ready     serves after {serving_seconds} s, {messages} messages after {ready_seconds} s"
            )?;
        }
        if let Some(drain) = &self.drain {
            drain.moved.write(f, "drain  ")?;
            if drain.left > 0 {
                writeln!(f, "          {} messages are left in the queue", drain.left)?;
            }
        }
        Ok(())
    }
}

impl Held {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "hold      {} messages", self.messages)?;
        if let (Some(own), Some(children)) = (self.rss_mib, self.children_rss_mib) {
            write!(f, "          memory: {own:.1} MiB resident, {children:.1} MiB in children")?;
            writeln!(f, ", {:.1} bytes per message", self.rss_bytes_per_message.unwrap_or(0.0))?;
        }
        if let Some(mib) = self.data_mib {
            let each = self.data_bytes_per_message.unwrap_or(0.0);
            writeln!(f, "          disk: {mib:.1} MiB, {each:.1} bytes per message")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::report::write_report,
            tenths::Tenths,
            watch::{Used, Watched},
        },
        *,
    };

    fn moved(used: Used) -> Moved {
        let mut tenths = Tenths::new(1000);
        tenths.note(100, Duration::from_millis(500));
        tenths.note(900, Duration::from_millis(1500));
        tenths.note(1000, Duration::from_millis(2500));
        Moved::new(1000, &Watched { tenths, rss_max: Some(1 << 20), used })
    }

    fn filled() -> Filled {
        let used = Used { cpu_nanos: Some(2_000_000), disk_written: Some(1_500_000) };
        let outcome = Outcome { confirmed: 1000, ..Default::default() };
        let before = Memory { own: 1000, children: 500 };
        Filled::new(moved(used), &outcome, Some(4000), Some(before))
    }

    fn report() -> Report {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: BacklogArgs,
        }
        let args = <Line as clap::Parser>::parse_from(["x", "--uri", "amqp://u:secret@h"]).args;
        Report::new(&args, &args.check().unwrap())
    }

    #[test]
    fn json_has_each_phase_that_was_run() {
        let mut report = report();
        assert!(report.is_empty());
        report.fill = Some(filled());
        report.drain = Some(Drained::new(moved(Used::default()), 3));
        let mut out = Vec::new();
        write_report(&report, true, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["fill"]["rate"], 400.0);
        assert_eq!(value["fill"]["first_tenth_rate"], 200.0);
        assert_eq!(value["fill"]["last_tenth_rate"], 100.0);
        assert_eq!(value["fill"]["cpu_us_per_message"], 2.0);
        assert_eq!(value["fill"]["disk_bytes_per_message"], 1500.0);
        assert_eq!(value["drain"]["left"], 3);
        assert!(value.get("hold").is_none());
        assert!(!String::from_utf8(out).unwrap().contains("secret"));
    }

    #[test]
    fn what_was_there_before_is_no_cost_of_the_queue() {
        let memory = Some(Memory { own: 11_000, children: 500 });
        let held = |filled| Held::new(100, memory, None, Some(104_000), filled);
        let alone = held(None);
        assert_eq!((alone.rss_bytes_per_message, alone.data_bytes_per_message), (Some(115.0), Some(1040.0)));
        let after = held(Some(&filled()));
        assert_eq!((after.rss_bytes_per_message, after.data_bytes_per_message), (Some(100.0), Some(1000.0)));
        assert_eq!(Held::new(0, memory, None, Some(1), None).data_bytes_per_message, None);
    }

    #[test]
    fn the_table_says_what_is_unusual() {
        let mut report = report();
        report.drain = Some(Drained::new(moved(Used::default()), 0));
        assert!(!report.to_string().contains("left"));
        report.drain = Some(Drained::new(moved(Used::default()), 7));
        report.ready = Some(Returned::new(5, Duration::from_millis(20), Duration::from_millis(1234)));
        let table = report.to_string();
        assert!(table.contains("7 messages are left"), "{table}");
        assert!(table.contains("serves after 0.02 s, 5 messages after 1.234 s"), "{table}");
    }
}
