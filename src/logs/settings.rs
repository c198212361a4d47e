//! What is logged and where to: `log.*`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::file::Rotation;
use super::syslog::Syslog;
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

/// An output, as far as all kinds have it in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub level: Option<Level>,
    pub json: bool,
    /// All lines of a message in one.
    pub single_line: bool,
}

impl Output {
    pub(super) fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["level"] => self.level = Some(Level::parse(value)?),
            ["formatter"] => self.json = value == "json",
            ["formatter", "single_line"] => self.single_line = values::boolean(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What is said of one category.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CategorySettings {
    level: Option<Level>,
    /// A file of its own: its lines go there, and nowhere else.
    file: Option<PathBuf>,
    rotation: Rotation,
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
    pub rotation: Rotation,
    /// Lines are published in `amq.rabbitmq.log`.
    pub exchange_on: bool,
    pub exchange: Output,
    pub syslog: Syslog,
    default: Option<Level>,
    categories: BTreeMap<Category, CategorySettings>,
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
            rotation: Rotation::default(),
            exchange_on: false,
            exchange: Output::default(),
            syslog: Syslog::default(),
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
        match (&self.file_named, &self.dir) {
            (Some(FileName::Path(path)), _) => Some(self.folder().join(path)),
            (None, Some(_)) => Some(self.folder().join(format!("{node_name}.log"))),
            (Some(FileName::Off), _) | (None, None) => None,
        }
    }

    /// The file that lines of this category go to instead of everywhere else.
    pub fn own_path(&self, category: Category) -> Option<PathBuf> {
        let file = self.categories.get(&category)?.file.as_ref()?;
        Some(self.folder().join(file))
    }

    pub fn own_rotation(&self, category: Category) -> Rotation {
        self.categories.get(&category).map(|settings| settings.rotation).unwrap_or_default()
    }

    /// All files that lines go to.
    pub fn paths(&self, node_name: &str) -> Vec<PathBuf> {
        let own = Category::ALL.into_iter().filter_map(|category| self.own_path(category));
        self.path(node_name).into_iter().chain(own).collect()
    }

    fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| FOLDER.into())
    }

    fn own_level(&self, category: Category) -> Option<Level> {
        self.categories.get(&category).and_then(|settings| settings.level)
    }

    /// From which level on lines of a category go to an output. A category's own level counts unless the output's is higher.
    pub fn threshold(&self, output: &Output, category: Category) -> Level {
        match (output.level, self.own_level(category)) {
            (Some(output), Some(own)) => output.max(own),
            (Some(level), None) | (None, Some(level)) => level,
            (None, None) => self.default.unwrap_or(Level::Info),
        }
    }

    /// From which level on lines of a category go to its own file.
    pub fn own_threshold(&self, category: Category) -> Level {
        self.own_level(category).or(self.default).unwrap_or(Level::Info)
    }

    /// The lowest level at which lines of a category go anywhere.
    pub fn lowest(&self, category: Category) -> Level {
        if self.own_path(category).is_some() {
            return self.own_threshold(category);
        }
        let outputs = [
            (self.has_console(), &self.console),
            (self.path("").is_some(), &self.file),
            (self.exchange_on, &self.exchange),
            (self.syslog.on, &self.syslog.output),
        ];
        let on = outputs.into_iter().filter(|(on, _)| *on);
        on.map(|(_, output)| self.threshold(output, category)).min().unwrap_or(Level::None)
    }

    fn outputs(&mut self) -> [&mut Output; 4] {
        [&mut self.console, &mut self.file, &mut self.exchange, &mut self.syslog.output]
    }

    /// Takes the levels of other settings over.
    pub fn levels_of(&mut self, other: &Self) {
        let mut other = other.clone();
        for (output, other) in self.outputs().into_iter().zip(other.outputs()) {
            output.level = other.level;
        }
        self.default = other.default;
        for category in Category::ALL {
            self.categories.entry(category).or_default().level = other.own_level(category);
        }
    }

    /// Has one level for everything.
    pub fn log_from(&mut self, level: &str) -> Result<(), Allowed> {
        let level = Level::parse(level)?;
        self.outputs().into_iter().for_each(|output| output.level = Some(level));
        self.default = Some(level);
        self.categories.values_mut().for_each(|category| category.level = None);
        Ok(())
    }

    pub(crate) fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        let ["log", rest @ ..] = key else { return Ok(false) };
        match rest {
            ["console"] => self.console_on = Some(values::boolean(value)?),
            ["console", "stdio"] => self.stderr = value == "stderr",
            ["console", "use_colors"] => self.colours = values::boolean(value)?,
            ["console", rest @ ..] => return self.console.apply(rest, value),
            ["file"] if value == "false" => self.file_named = Some(FileName::Off),
            ["file"] => self.file_named = Some(FileName::Path(value.into())),
            ["file", "rotation", rest @ ..] => return self.rotation.apply(rest, value),
            ["file", rest @ ..] => return self.file.apply(rest, value),
            ["dir"] => self.dir = Some(value.into()),
            ["exchange"] => self.exchange_on = values::boolean(value)?,
            ["exchange", rest @ ..] => return self.exchange.apply(rest, value),
            ["syslog", rest @ ..] => return self.syslog.apply(rest, value),
            ["default", "level"] => self.default = Some(Level::parse(value)?),
            [category, rest @ ..] => {
                let known = Category::ALL.into_iter().filter(|known| *known != Category::Default);
                let Some(category) = known.into_iter().find(|known| known.name() == *category) else {
                    return Ok(false);
                };
                return self.of_category(category, rest, value);
            }
            [] => return Ok(false),
        }
        Ok(true)
    }

    fn of_category(&mut self, category: Category, key: &[&str], value: &str) -> Result<bool, Allowed> {
        let settings = self.categories.entry(category).or_default();
        match key {
            ["level"] => settings.level = Some(Level::parse(value)?),
            ["file"] => settings.file = Some(value.into()).filter(|_| value != "false"),
            ["rotation", rest @ ..] => return settings.rotation.apply(rest, value),
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
            assert_eq!(settings.lowest(category), wanted, "{text}");
        }
    }

    #[test]
    fn the_lowest_level_of_all_outputs() {
        for (text, category, wanted) in [
            ("log.console=false", Category::Queue, Level::None),
            ("log.console=false log.exchange=true log.exchange.level=error", Category::Queue, Level::Error),
            ("log.console.level=error log.syslog=true log.syslog.level=debug", Category::Queue, Level::Debug),
            ("log.console.level=error log.syslog.level=debug", Category::Queue, Level::Error),
            ("log.console.level=debug log.queue.file=q.log", Category::Queue, Level::Info),
            ("log.queue.level=warning log.queue.file=q.log", Category::Queue, Level::Warning),
        ] {
            assert_eq!(settings(text).lowest(category), wanted, "{text}");
        }
        let mut some = settings("log.queue.level=warning log.queue.file=q.log log.console.level=error");
        some.levels_of(&settings("log.queue.level=debug log.console.level=notice"));
        assert_eq!(
            (some.own_threshold(Category::Queue), some.console.level),
            (Level::Debug, Some(Level::Notice))
        );
        assert_eq!(some.own_path(Category::Queue), Some("/var/log/rabbitmq/q.log".into()));
        assert_eq!(some.log_from("error"), Ok(()));
        assert_eq!(
            (some.own_threshold(Category::Queue), some.console.level),
            (Level::Error, Some(Level::Error))
        );
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
