//! What is logged and where to: `log.*`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::values::{self, Allowed};

/// How bad something is. What is logged goes up to [`Level::Error`]; those above are thresholds of RabbitMQ's which nothing
/// reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
    None,
}

const LEVELS: [(&str, Level); 9] = [
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("notice", Level::Notice),
    ("warning", Level::Warning),
    ("error", Level::Error),
    ("critical", Level::Critical),
    ("alert", Level::Alert),
    ("emergency", Level::Emergency),
    ("none", Level::None),
];

impl Level {
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).map_or("none", |(name, _)| name)
    }

    fn parse(text: &str) -> Result<Self, Allowed> {
        // Lager, which RabbitMQ used to log with, had levels such as `=info`.
        let bare = text.trim_start_matches(['=', '!', '<']);
        let found = LEVELS.iter().find(|(name, _)| *name == bare).map(|(_, level)| *level);
        found.ok_or_else(|| "a level such as info".to_owned())
    }
}

/// What lines are about (RabbitMQ's categories).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Default,
    Connection,
    Channel,
    Queue,
    User,
}

impl Category {
    pub const ALL: [Self; 5] = [Self::Default, Self::Connection, Self::Channel, Self::Queue, Self::User];

    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Connection => "connection",
            Self::Channel => "channel",
            Self::Queue => "queue",
            Self::User => "user",
        }
    }

    /// By the target of an event: a category, or else the module that logs.
    pub fn of(target: &str) -> Self {
        if let Some(found) = Self::ALL.into_iter().find(|category| category.name() == target) {
            return found;
        }
        let module = target.strip_prefix("leveret::").unwrap_or(target);
        match module.split("::").next() {
            Some("net") => Self::Connection,
            Some("session") if module.starts_with("session::handshake") => Self::Connection,
            Some("session") => Self::Channel,
            Some("broker") => Self::Queue,
            Some("auth") => Self::User,
            _ => Self::Default,
        }
    }
}

/// An output, as far as both kinds have it in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub level: Option<Level>,
    pub json: bool,
    /// All lines of a message in one.
    pub single_line: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub console: Output,
    console_on: Option<bool>,
    /// To standard error, not standard output.
    pub stderr: bool,
    /// Where the console is a terminal.
    pub colours: bool,
    pub file: Output,
    file_named: Option<FileName>,
    dir: Option<PathBuf>,
    /// Octets after which a file is put aside; none if 0.
    pub rotate_at: u64,
    /// Files put aside that stay.
    pub rotate_count: usize,
    default: Option<Level>,
    categories: BTreeMap<String, Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FileName {
    Off,
    Path(PathBuf),
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            console: Output::default(),
            console_on: None,
            stderr: false,
            colours: true,
            file: Output::default(),
            file_named: None,
            dir: None,
            rotate_at: 0,
            rotate_count: 0,
            default: None,
            categories: BTreeMap::new(),
        }
    }
}

/// Where RabbitMQ's packages and images log to.
const FOLDER: &str = "/var/log/rabbitmq";

impl LogSettings {
    /// Whether lines go to the console: unless it is turned off, or there is a file and nobody wants both.
    pub fn has_console(&self) -> bool {
        self.console_on.unwrap_or(!matches!(self.file_named, Some(FileName::Path(_))))
    }

    /// The file that lines go to. Without a word of one there is none.
    pub fn path(&self, node_name: &str) -> Option<PathBuf> {
        let folder = self.dir.clone().unwrap_or_else(|| FOLDER.into());
        match (&self.file_named, &self.dir) {
            (Some(FileName::Path(path)), _) => Some(folder.join(path)),
            (None, Some(_)) => Some(folder.join(format!("{node_name}.log"))),
            (Some(FileName::Off), _) | (None, None) => None,
        }
    }

    /// From which level on lines of a category go to an output. A category's own level counts unless the output's is higher.
    pub fn threshold(&self, output: &Output, category: Category) -> Level {
        let own = self.categories.get(category.name()).copied();
        match (output.level, own) {
            (Some(output), Some(own)) => output.max(own),
            (Some(level), None) | (None, Some(level)) => level,
            (None, None) => self.default.unwrap_or(Level::Info),
        }
    }

    /// Takes the levels of other settings over.
    pub fn levels_of(&mut self, other: &Self) {
        self.console.level = other.console.level;
        self.file.level = other.file.level;
        self.default = other.default;
        self.categories.clone_from(&other.categories);
    }

    /// Has one level for everything.
    pub fn log_from(&mut self, level: &str) -> Result<(), Allowed> {
        let level = Level::parse(level)?;
        self.console.level = Some(level);
        self.file.level = Some(level);
        self.default = Some(level);
        self.categories.clear();
        Ok(())
    }

    pub(crate) fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["log", "console"] => self.console_on = Some(values::boolean(value)?),
            ["log", "console", "level"] => self.console.level = Some(Level::parse(value)?),
            ["log", "console", "stdio"] => self.stderr = value == "stderr",
            ["log", "console", "use_colors"] => self.colours = values::boolean(value)?,
            ["log", "console", "formatter"] => self.console.json = value == "json",
            ["log", "console", "formatter", "single_line"] => {
                self.console.single_line = values::boolean(value)?;
            }
            ["log", "file"] if value == "false" => self.file_named = Some(FileName::Off),
            ["log", "file"] => self.file_named = Some(FileName::Path(value.into())),
            ["log", "dir"] => self.dir = Some(value.into()),
            ["log", "file", "level"] => self.file.level = Some(Level::parse(value)?),
            ["log", "file", "formatter"] => self.file.json = value == "json",
            ["log", "file", "formatter", "single_line"] => self.file.single_line = values::boolean(value)?,
            ["log", "file", "rotation", "size"] => self.rotate_at = values::between(value, 0, i64::MAX)?,
            ["log", "file", "rotation", "count"] => self.rotate_count = values::between(value, 0, 10_000)?,
            ["log", "default", "level"] => self.default = Some(Level::parse(value)?),
            ["log", category, "level"] if Category::ALL.iter().any(|known| known.name() == *category) => {
                self.categories.insert((*category).to_owned(), Level::parse(value)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> LogSettings {
        let mut settings = LogSettings::default();
        for (key, value) in text.split_whitespace().map(|pair| pair.split_once('=').expect("a pair")) {
            let key: Vec<_> = key.split('.').collect();
            assert_eq!(settings.apply(&key, value), Ok(true), "{key:?}");
        }
        settings
    }

    #[test]
    fn thresholds() {
        for (text, category, wanted) in [
            ("", Category::Default, Level::Info),
            ("log.default.level=error", Category::Connection, Level::Error),
            ("log.connection.level=debug", Category::Connection, Level::Debug),
            ("log.connection.level=debug", Category::Channel, Level::Info),
            ("log.console.level=warning log.connection.level=debug", Category::Connection, Level::Warning),
            ("log.console.level=debug log.connection.level=error", Category::Connection, Level::Error),
            ("log.console.level=debug", Category::Queue, Level::Debug),
            ("log.console.level=none", Category::Queue, Level::None),
        ] {
            let settings = settings(text);
            assert_eq!(settings.threshold(&settings.console, category), wanted, "{text}");
        }
    }

    #[test]
    fn outputs() {
        for (text, console, file) in [
            ("", true, None),
            ("log.console=false", false, None),
            ("log.file=x.log", false, Some("/var/log/rabbitmq/x.log")),
            ("log.file=x.log log.console=true", true, Some("/var/log/rabbitmq/x.log")),
            ("log.file=/a/x.log log.dir=/b", false, Some("/a/x.log")),
            ("log.dir=/b", true, Some("/b/n@h.log")),
            ("log.file=false log.dir=/b", true, None),
        ] {
            let settings = settings(text);
            let path = settings.path("n@h").map(|path| path.display().to_string());
            assert_eq!((settings.has_console(), path.as_deref()), (console, file), "{text}");
        }
    }

    #[test]
    fn targets() {
        for (target, wanted) in [
            ("connection", Category::Connection),
            ("leveret::net::connection", Category::Connection),
            ("leveret::session::handshake", Category::Connection),
            ("leveret::session::run", Category::Channel),
            ("leveret::broker::queue::expiry", Category::Queue),
            ("leveret::node::committer", Category::Default),
            ("hyper", Category::Default),
        ] {
            assert_eq!(Category::of(target), wanted, "{target}");
        }
    }
}
