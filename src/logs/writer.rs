//! The thread that writes the log.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use super::file::LogFile;
use super::posts::{Post, Posts};
use super::record::Record;
use super::settings::{Category, LogSettings, Output};
use super::syslog;

/// Octets that are written at once, if so many wait.
const PIECE: usize = 64 << 10;
/// How long the end waits for a syslog server.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the thread is to do.
#[derive(Debug)]
pub enum Order {
    /// Boxed, since there is a place for each that may wait.
    Record(Box<Record>),
    Say(Box<str>),
    Reload(Box<LogSettings>),
    Flush(SyncSender<()>),
}

/// The outputs, and what they are to get.
#[derive(Debug)]
pub struct Writer {
    settings: LogSettings,
    /// Whether the console is a terminal.
    terminal: bool,
    file: Option<LogFile>,
    /// Files of categories that have their own.
    own: BTreeMap<Category, LogFile>,
    exchange: Option<Arc<Posts>>,
    syslog: Option<syslog::Sender>,
    /// What is to be written next to standard output and standard error.
    stdout: String,
    stderr: String,
}

impl Writer {
    /// Opens what is to be written to. What is to be published is left in `posts`.
    pub fn new(settings: &LogSettings, node_name: &str, posts: &Arc<Posts>) -> io::Result<Self> {
        let file = settings.path(node_name).map(|path| LogFile::open(path, settings.rotation)).transpose()?;
        let mut own = BTreeMap::new();
        for category in Category::ALL {
            if let Some(path) = settings.own_path(category) {
                own.insert(category, LogFile::open(path, settings.own_rotation(category))?);
            }
        }
        let terminal = if settings.stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        Ok(Self {
            settings: settings.clone(),
            terminal,
            file,
            own,
            exchange: settings.exchange_on.then(|| Arc::clone(posts)),
            syslog: settings.syslog.on.then(|| syslog::Sender::start(&settings.syslog)).transpose()?,
            stdout: String::new(),
            stderr: String::new(),
        })
    }

    /// Writes until nobody can log any more.
    pub fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            self.obey(order);
            while let Ok(order) = orders.try_recv() {
                self.obey(order);
            }
            self.flush();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Record(record) => self.take(&record),
            Order::Say(line) => {
                self.stdout.push_str(&line);
                self.stdout.push('\n');
            }
            Order::Reload(settings) => self.reload(&settings),
            Order::Flush(done) => {
                self.flush();
                if let Some(syslog) = &self.syslog {
                    syslog.flush(PATIENCE);
                }
                let _ = done.send(());
            }
        }
        let files = self.file.iter_mut().chain(self.own.values_mut()).map(|file| file.waiting().len());
        if files.chain([self.stdout.len(), self.stderr.len()]).any(|waiting| waiting >= PIECE) {
            self.flush();
        }
    }

    fn take(&mut self, record: &Record) {
        let (settings, category) = (&self.settings, record.category);
        if let Some(file) = self.own.get_mut(&category) {
            if record.level >= settings.own_threshold(category) {
                record.write(file.waiting(), &settings.file, false);
            }
            return;
        }
        let wants = |output: &Output| record.level >= settings.threshold(output, category);
        if settings.has_console() && wants(&settings.console) {
            let to = if settings.stderr { &mut self.stderr } else { &mut self.stdout };
            record.write(to, &settings.console, settings.colours && self.terminal);
        }
        if let Some(file) = self.file.as_mut().filter(|_| wants(&settings.file)) {
            record.write(file.waiting(), &settings.file, false);
        }
        if let Some(posts) = self.exchange.as_ref().filter(|_| wants(&settings.exchange)) {
            posts.put(Post::of(record, &settings.exchange));
        }
        if let Some(syslog) = self.syslog.as_mut().filter(|_| wants(&settings.syslog.output)) {
            syslog.take(record);
        }
    }

    /// Levels and rotation change; where lines go to does not.
    fn reload(&mut self, settings: &LogSettings) {
        self.flush();
        self.settings.levels_of(settings);
        if let Some(file) = &mut self.file {
            complain(&file.path.clone(), file.reopen(settings.rotation));
        }
        for (category, file) in &mut self.own {
            complain(&file.path.clone(), file.reopen(settings.own_rotation(*category)));
        }
    }

    /// Nobody has to read what goes to the console, and a file that cannot be written does not stop a broker: the console
    /// hears of it.
    fn flush(&mut self) {
        let _ = io::stdout().write_all(self.stdout.as_bytes());
        let _ = io::stdout().flush();
        let _ = io::stderr().write_all(self.stderr.as_bytes());
        self.stdout.clear();
        self.stderr.clear();
        for file in self.file.iter_mut().chain(self.own.values_mut()) {
            complain(&file.path.clone(), file.flush());
        }
    }
}

fn complain(path: &Path, outcome: io::Result<()>) {
    if let Err(error) = outcome {
        let _ = writeln!(io::stderr(), "leveret: cannot write the log file {}: {error}", path.display());
    }
}
