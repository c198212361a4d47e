//! The thread that writes the log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};

use super::record::Record;
use super::settings::{Category, LogSettings, Output};

/// Octets that are written at once, if so many wait.
const PIECE: usize = 64 << 10;

/// What the thread is to do.
#[derive(Debug)]
pub enum Order {
    Record(Record),
    Say(String),
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
    /// What is to be written next to standard output, standard error, and the file.
    stdout: String,
    stderr: String,
    to_file: String,
}

impl Writer {
    /// Opens what is to be written to.
    pub fn new(settings: &LogSettings, node_name: &str) -> io::Result<Self> {
        let file = match settings.path(node_name) {
            Some(path) => Some(LogFile::open(path, settings)?),
            None => None,
        };
        let terminal = if settings.stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let [stdout, stderr, to_file] = Default::default();
        Ok(Self { settings: settings.clone(), terminal, file, stdout, stderr, to_file })
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
                let _ = done.send(());
            }
        }
        if self.stdout.len().max(self.stderr.len()).max(self.to_file.len()) >= PIECE {
            self.flush();
        }
    }

    fn take(&mut self, record: &Record) {
        let wants =
            |output: &Output, category: Category| record.level >= self.settings.threshold(output, category);
        if self.settings.has_console() && wants(&self.settings.console, record.category) {
            let to = if self.settings.stderr { &mut self.stderr } else { &mut self.stdout };
            record.write(to, &self.settings.console, self.settings.colours && self.terminal);
        }
        if self.file.is_some() && wants(&self.settings.file, record.category) {
            record.write(&mut self.to_file, &self.settings.file, false);
        }
    }

    /// Levels and rotation change; where lines go to does not.
    fn reload(&mut self, settings: &LogSettings) {
        self.flush();
        self.settings.levels_of(settings);
        if let Some(file) = &mut self.file {
            if let Err(error) = file.reopen(settings) {
                self.complain(&error);
            }
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
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.write(&self.to_file)) {
            self.complain(&error);
        }
        self.to_file.clear();
    }

    fn complain(&self, error: &io::Error) {
        let path = self.file.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default();
        let _ = writeln!(io::stderr(), "leveret: cannot write the log file {path}: {error}");
    }
}

/// A file that is put aside when it is large: `x.log` becomes `x.log.0`, that `x.log.1`, and so on.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    rotate_at: u64,
    keep: usize,
}

impl LogFile {
    fn open(path: PathBuf, settings: &LogSettings) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, rotate_at: settings.rotate_at, keep: settings.rotate_count })
    }

    /// Opens what goes by the name now: somebody else may have put the file aside.
    fn reopen(&mut self, settings: &LogSettings) -> io::Result<()> {
        *self = Self::open(self.path.clone(), settings)?;
        Ok(())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.file.write_all(text.as_bytes())?;
        self.size += text.len() as u64;
        if self.rotate_at > 0 && self.size >= self.rotate_at {
            self.rotate()?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let aside = |number: usize| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.keep).rev() {
            match fs::rename(aside(number - 1), aside(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep > 0 {
            fs::rename(&self.path, aside(0))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_put_aside() {
        let folder = std::env::temp_dir().join(format!("leveret-logs-{}", std::process::id()));
        let mut settings = LogSettings::default();
        (settings.rotate_at, settings.rotate_count) = (10, 2);
        let mut file = LogFile::open(folder.join("a/x.log"), &settings).expect("a file");
        for text in ["first\n", "second\n", "third\n", "fourth\n", "fifth\n", "sixth\n", "last\n"] {
            file.write(text).expect("written");
        }
        let read = |name: &str| fs::read_to_string(folder.join("a").join(name)).unwrap_or_default();
        assert_eq!(read("x.log"), "last\n");
        assert_eq!(read("x.log.0"), "fifth\nsixth\n");
        assert_eq!(read("x.log.1"), "third\nfourth\n");
        assert!(!folder.join("a/x.log.2").exists());
        fs::rename(folder.join("a/x.log"), folder.join("a/mine")).expect("renamed");
        file.reopen(&settings).expect("opened again");
        file.write("new\n").expect("written");
        assert_eq!((read("x.log").as_str(), read("mine").as_str()), ("new\n", "last\n"));
        fs::remove_dir_all(folder).expect("removed");
    }
}
