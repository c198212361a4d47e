//! Configuration, as RabbitMQ's users know it: `rabbitmq.conf`, `conf.d`, `advanced.config`, `enabled_plugins`, environment
//! variables, and the flags of the command line, all of which set the same keys.
//!
//! Each source becomes a list of entries (a key, a value, and where it comes from); later ones count more. What they come
//! to is [`settings::Settings`]. Only [`files`] does I/O.
//!
//! - this file: entries, and putting them together
//! - [`syntax`][]: the syntax of `rabbitmq.conf`
//! - [`terms`][], [`erlang`][]: Erlang's terms, and the settings in them
//! - [`external`][], [`sealed`][], [`unseal`][]: terms as Erlang encodes them; values that are encrypted in files
//! - [`environment`][]: environment variables
//! - [`files`][]: which files there are, and reading them
//! - [`table`][]: all keys, with their types; [`values`][]: the types
//! - [`settings`][], [`network`][], [`people`][], [`limits`][], [`management`][]: what keys set
//! - [`plugins`][]: names of plugins

pub mod environment;
pub mod erlang;
pub mod external;
pub mod files;
pub mod limits;
pub mod management;
pub mod network;
pub mod people;
pub mod plugins;
pub mod sealed;
pub mod settings;
pub mod syntax;
pub mod table;
pub mod terms;
pub mod unseal;
pub mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use environment::Environment;
use settings::Settings;

/// How much a source counts: one with a higher number goes before one with a lower one.
pub type Layer = u8;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A variable that counts less than files do.
    Arguments(String),
    /// A file, and the line in it, if it has lines.
    File(Arc<str>, usize),
    Advanced(Arc<str>),
    Variable(String),
    Flag(String),
}

impl Origin {
    pub fn layer(&self) -> Layer {
        match self {
            Self::Arguments(_) => 0,
            Self::File(..) => 1,
            Self::Advanced(_) => 2,
            Self::Variable(_) => 3,
            Self::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::Arguments(name) | Self::Variable(name) | Self::Flag(name) => f.write_str(name),
            Self::Advanced(file) => f.write_str(file),
        }
    }
}

/// Something that somebody sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its words.
    pub key: Vec<String>,
    pub value: String,
    pub origin: Origin,
}

impl Entry {
    /// The key as it is written.
    pub fn name(&self) -> String {
        let words: Vec<_> = self.key.iter().map(|word| word.replace('.', "\\.")).collect();
        words.join(".")
    }

    /// Whether the value is not for everybody's eyes.
    fn is_secret(&self) -> bool {
        self.key
            .last()
            .is_some_and(|last| last.contains("pass") || last.contains("secret") || last.contains("cookie"))
    }

    /// The value as it may be shown.
    pub fn shown(&self) -> &str {
        if self.is_secret() { "********" } else { &self.value }
    }
}

/// A key from its text, which has no dots but those between words.
pub fn key(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

/// Why there are no settings: a line for each thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\nleveret: "))
    }
}

impl std::error::Error for Problems {}

/// Settings, and what is to be said of them.
#[derive(Debug)]
pub struct Configuration {
    pub settings: Settings,
    /// What is in effect, by key.
    pub effective: Vec<Entry>,
    pub warnings: Vec<String>,
    /// Files that have been read.
    pub files: Vec<String>,
}

/// Puts entries together, which come in any order. Keys that nobody knows, and those that make no difference, are warned about;
/// a value of the wrong type is a problem.
pub fn settle(
    mut entries: Vec<Entry>,
    environment: &Environment,
) -> Result<(Settings, Vec<Entry>, Vec<String>), Problems> {
    entries.sort_by_key(|entry| entry.origin.layer());
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    interpolate(&mut entries, environment, &mut problems);
    unseal::unseal(&mut entries, &mut problems);
    let mut effective: BTreeMap<String, Entry> = BTreeMap::new();
    let mut settings = Settings::default();
    let mut idle: Vec<String> = Vec::new();
    for entry in entries {
        let name = entry.name();
        let Some(kind) = table::kind(&entry.key) else {
            let near = table::nearest(&name).map(|near| format!("; is {near} meant?")).unwrap_or_default();
            warnings.push(format!("{}: there is no setting {name}, it is ignored{near}", entry.origin));
            continue;
        };
        let applied = values::check(kind, &entry.value).and_then(|()| settings.apply(&entry));
        match applied {
            Ok(true) => {}
            Ok(false) if idle.contains(&name) => {}
            Ok(false) => idle.push(name.clone()),
            Err(allowed) => problems.push(wrong(&entry, &allowed)),
        }
        effective.insert(name, entry);
    }
    if !idle.is_empty() {
        warnings.push(format!("settings that make no difference to Leveret: {}", idle.join(", ")));
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok((settings, effective.into_values().collect(), warnings))
}

fn wrong(entry: &Entry, allowed: &str) -> String {
    format!("{}: {} = {}: not allowed, it is to be {allowed}", entry.origin, entry.name(), entry.shown())
}

/// Puts what they name in the place of `$(KEY)` and `$(VARIABLE)` in values, of files only. `$(<FILE)` has been read already.
fn interpolate(entries: &mut [Entry], environment: &Environment, problems: &mut Vec<String>) {
    let named: BTreeMap<String, String> =
        entries.iter().map(|entry| (entry.name(), entry.value.clone())).collect();
    for entry in entries.iter_mut().filter(|entry| matches!(entry.origin, Origin::File(..))) {
        // What is put in is not looked through again, so that this ends.
        let (mut done, mut rest) = (String::new(), std::mem::take(&mut entry.value));
        while let Some((before, name, after)) = reference(&rest) {
            let found =
                named.get(name).map(String::as_str).or_else(|| environment.get(name)).map(str::to_owned);
            if found.is_none() {
                problems.push(format!(
                    "{}: {} wants $({name}), which is neither a setting nor an environment variable",
                    entry.origin,
                    entry.key.join(".")
                ));
            }
            done.push_str(before);
            done.push_str(&found.unwrap_or_default());
            rest = after.to_owned();
        }
        entry.value = done + &rest;
    }
}

/// The first `$(NAME)` of a text: what comes before it, the name, and what comes after it.
fn reference(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("$(")?;
    let (name, after) = rest.split_once(')')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests;
