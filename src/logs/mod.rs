//! The node's own log: lines as RabbitMQ writes them, to the console, to files, to a syslog server and to an exchange.
//!
//! Whoever logs hands a record to a thread that writes, and never waits for it: when too much waits already, lines are lost,
//! and the log says how many.
//!
//! - this file: what is taken, and handing it on
//! - [`settings`][]: what is logged, and where to
//! - [`record`][]: how a line looks
//! - [`writer`][]: the thread that writes
//! - [`file`][], [`syslog`][], [`posts`][]: outputs beside the console

pub mod file;
pub mod posts;
pub mod record;
pub mod settings;
pub mod syslog;
pub mod writer;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use posts::Posts;
use record::Record;
use settings::{Category, Level, LogSettings};
use writer::{Order, Writer};

/// So many lines may wait to be written.
const WAITING_MAX: usize = 10_000;
/// How long the end waits for what is still to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lowest level that any output wants, for each category.
type Thresholds = [Level; Category::ALL.len()];

/// The log, for as long as it lives; at its end what waits is written.
#[derive(Debug)]
pub struct Logs {
    orders: SyncSender<Order>,
    thresholds: Arc<ArcSwap<Thresholds>>,
    /// What is to be published.
    pub posts: Arc<Posts>,
}

impl Logs {
    /// Starts the thread that writes, and has everything that is logged from now on go there. `who` tells the number of the
    /// task that is running. An error is one of the file's.
    pub fn start(settings: &LogSettings, node_name: &str, who: fn() -> u64) -> io::Result<Self> {
        let posts = Arc::default();
        let writer = Writer::new(settings, node_name, &posts)?;
        let (orders, ordered) = sync_channel(WAITING_MAX);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&ordered))?;
        let thresholds = Arc::new(ArcSwap::from_pointee(thresholds(settings)));
        let taker = Taker {
            orders: orders.clone(),
            thresholds: Arc::clone(&thresholds),
            lost: AtomicU64::new(0),
            who,
        };
        // Only tests have another one already, and keep it.
        let _ = tracing::subscriber::set_global_default(taker);
        Ok(Self { orders, thresholds, posts })
    }

    /// A line for whoever started the process, on standard output whatever is logged where.
    pub fn say(&self, line: &str) {
        // Nobody may be reading.
        let _ = self.orders.try_send(Order::Say(line.into()));
    }

    /// Logs by other settings from now on, as far as levels are concerned. Files are opened again.
    pub fn reload(&self, settings: &LogSettings) {
        self.thresholds.store(Arc::new(thresholds(settings)));
        let _ = self.orders.try_send(Order::Reload(Box::new(settings.clone())));
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let (done, all_written) = sync_channel(1);
        if self.orders.try_send(Order::Flush(done)).is_ok() {
            // Whoever does not read what they are told does not keep the process.
            let _ = all_written.recv_timeout(PATIENCE);
        }
    }
}

fn thresholds(settings: &LogSettings) -> Thresholds {
    Category::ALL.map(|category| settings.lowest(category))
}

/// Takes what is logged anywhere.
struct Taker {
    orders: SyncSender<Order>,
    thresholds: Arc<ArcSwap<Thresholds>>,
    /// Lines that there was no room for.
    lost: AtomicU64,
    who: fn() -> u64,
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

impl Taker {
    fn hand_on(&self, record: Record) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let lost_lines = Record {
                message: format!("{lost} lines of the log are lost: they came faster than they were written"),
                level: Level::Warning,
                category: Category::Default,
                at: record.at,
                ..record
            };
            if self.orders.try_send(Order::Record(Box::new(lost_lines))).is_err() {
                self.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Record(Box::new(record))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Subscriber for Taker {
    /// Levels change while the process runs.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let category = Category::of(metadata.target());
        self.thresholds.load().get(category as usize).is_some_and(|threshold| level(metadata) >= *threshold)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        self.hand_on(Record {
            at: SystemTime::now(),
            level: level(metadata),
            category: Category::of(metadata.target()),
            who: (self.who)(),
            message: text.message + &text.fields + &text.lines,
            file: metadata.file(),
            line: metadata.line(),
        });
    }

    // There are no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Values<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What an event says: its message, and its other fields behind it. All of it is one line, whatever clients have put into
/// it, since a second one would look like one that the node has written. What is to have more says so: `below` is the
/// next line, and `lines` are as many as our own text in it has.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
    lines: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        let one_line = || value.replace('\n', "\\n");
        match field.name() {
            "message" => self.message.push_str(&one_line()),
            "below" => self.lines.extend(["\n", &one_line()]),
            "lines" => self.lines.push_str(value),
            name => self.fields.extend([" ", name, "=", &one_line()]),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    /// What is logged while something runs.
    fn logged(run: impl FnOnce()) -> Vec<String> {
        let (orders, ordered): (_, Receiver<Order>) = sync_channel(10);
        let thresholds = Arc::new(ArcSwap::from_pointee([Level::Debug; Category::ALL.len()]));
        let taker = Taker { orders, thresholds, lost: AtomicU64::new(0), who: || 7 };
        tracing::subscriber::with_default(taker, run);
        let messages = ordered.try_iter().filter_map(|order| match order {
            Order::Record(record) => Some(record.message),
            _ => None,
        });
        messages.collect()
    }

    #[test]
    fn what_clients_say_makes_no_lines() {
        let name = "x\n2026-11-30 [info] <0.1.0> User 'admin' authenticated successfully";
        let one = "x\\n2026-11-30 [info] <0.1.0> User 'admin' authenticated successfully";
        let said = logged(|| {
            tracing::info!("connection has a name: {name}");
            tracing::info!(below = %format_args!("refused: {name}"), name, "Error ({name}):");
            tracing::info!(peer = %name, "gone");
            tracing::info!(lines = "\n two\n lines");
        });
        let wanted = [
            format!("connection has a name: {one}"),
            format!("Error ({one}): name={one}\nrefused: {one}"),
            format!("gone peer={one}"),
            "\n two\n lines".to_owned(),
        ];
        assert_eq!(said, wanted);
    }
}
