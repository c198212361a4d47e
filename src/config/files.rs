//! Which files there are, and reading them: the only part of configuration that does I/O.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::Environment;
use super::settings::Place;
use super::syntax::{self, Said};
use super::{Configuration, Entry, Origin, Problems, erlang, key, plugins, settle, terms};

/// What may be in a file of its own in `advanced.config` too.
const PASSPHRASE: [&str; 2] = ["config_entry_decoder", "passphrase"];

/// Where RabbitMQ's packages and images have what.
const FOLDER: &str = "/etc/rabbitmq";
/// Files may include others, but not without end.
const DEPTH_MAX: usize = 16;

/// The configuration of this process: its environment, the files that this names or that are where they usually are, and flags.
/// `main` is a file to be read in the place of `rabbitmq.conf`.
pub fn configuration(main: Option<&Path>, flags: Vec<Entry>) -> Result<Configuration, Problems> {
    let variables = std::env::vars_os();
    let variables =
        variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let main = main.map(|path| ("RABBITMQ_CONFIG_FILE".to_owned(), path.display().to_string()));
    read(Environment::new(variables.chain(main)), flags)
}

/// The configuration of an environment and flags.
fn read(mut environment: Environment, flags: Vec<Entry>) -> Result<Configuration, Problems> {
    let mut reader = Reader::default();
    reader.variables(&mut environment);
    let (defaults, strange) = environment.defaults();
    reader.entries = defaults;
    reader.warnings.extend(strange);
    reader.main(&environment);
    reader.additional(&environment);
    reader.advanced(&environment);
    reader.entries.extend(environment.settings());
    reader.entries.extend(flags);
    if !reader.problems.is_empty() {
        return Err(Problems(reader.problems));
    }
    let (mut settings, effective, warnings) = settle(reader.entries, &environment)?;
    let mut warnings = [reader.warnings, warnings].concat();
    let names = match &settings.place.plugins {
        Some(names) => names.clone(),
        None => enabled(&settings.place, &mut reader.files, &mut warnings)?,
    };
    let unknown = names.iter().filter(|name| !plugins::is_known(name));
    warnings.extend(unknown.map(|name| format!("nobody knows the plugin {name}, it is not enabled")));
    let known: Vec<_> = names.iter().filter(|name| plugins::is_known(name)).cloned().collect();
    settings.plugins = plugins::with_needed(&known);
    Ok(Configuration { settings, effective, warnings, files: reader.files })
}

/// Where the list of plugins is: where somebody says, where RabbitMQ's packages and images have it, or else in the data
/// folder, where the tools put it.
fn plugins_file(place: &Place) -> PathBuf {
    let usual = Path::new(FOLDER);
    let folder = if usual.is_dir() { usual } else { &place.data_dir };
    place.plugins_file.clone().unwrap_or_else(|| folder.join("enabled_plugins"))
}

/// The plugins that are switched on now: tools change the list while the node runs.
pub fn plugins_now(place: &Place) -> Vec<Box<str>> {
    let read = || enabled(place, &mut Vec::new(), &mut Vec::new()).unwrap_or_default();
    let names = place.plugins.clone().unwrap_or_else(read);
    names.into_iter().filter(|name| plugins::is_known(name)).collect()
}

/// The plugins that the file names, or those that are on where there is none.
fn enabled(
    place: &Place,
    files: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Box<str>>, Problems> {
    let path = plugins_file(place);
    match fs::read_to_string(&path) {
        Ok(text) => {
            files.push(path.display().to_string());
            let broken = |line| Problems(vec![format!("{}:{line}: not a list of plugins", path.display())]);
            plugins::list(&text).map_err(broken)
        }
        Err(error) => {
            if place.plugins_file.is_some() && error.kind() != io::ErrorKind::NotFound {
                warnings.push(format!("cannot read {}: {error}", path.display()));
            }
            Ok(plugins::DEFAULT.map(Box::from).to_vec())
        }
    }
}

#[derive(Default)]
struct Reader {
    entries: Vec<Entry>,
    files: Vec<String>,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Reader {
    /// Completes the environment from a file of variables, and from those that hold a single value.
    fn variables(&mut self, environment: &mut Environment) {
        let named = environment.get("RABBITMQ_CONF_ENV_FILE").map(PathBuf::from);
        let path = named.unwrap_or_else(|| Path::new(FOLDER).join("rabbitmq-env.conf"));
        if let Ok(text) = fs::read_to_string(&path) {
            for line in environment.add(&text) {
                let path = path.display();
                self.warnings
                    .push(format!("{path}:{line}: more than NAME=value is not understood, and ignored"));
            }
        }
        let files: Vec<_> = environment.named_files().map(|(name, file)| (name, file.to_owned())).collect();
        for (name, file) in files {
            match fs::read_to_string(&file) {
                Ok(text) => environment.set(name, text.trim_end_matches(['\r', '\n'])),
                Err(error) => self.problems.push(format!("{name}_FILE: cannot read {file}: {error}")),
            }
        }
    }

    /// `rabbitmq.conf`, or what the environment names instead.
    fn main(&mut self, environment: &Environment) {
        let named = environment.get("RABBITMQ_CONFIG_FILE");
        let base = named.map_or_else(|| format!("{FOLDER}/rabbitmq"), str::to_owned);
        // Earlier versions wanted the name without its end, and these may still be named so.
        let (conf, old) = match base.strip_suffix(".conf").or_else(|| base.strip_suffix(".config")) {
            Some(_) if base.ends_with(".conf") => (Some(base.clone()), None),
            Some(_) => (None, Some(base.clone())),
            None => (Some(format!("{base}.conf")), Some(format!("{base}.config"))),
        };
        match (conf.filter(|path| Path::new(path).exists()), old.filter(|path| Path::new(path).exists())) {
            (Some(path), _) => self.conf(Path::new(&path), 0),
            (None, Some(path)) => self.erlang(Path::new(&path)),
            (None, None) if named.is_some() => {
                self.warnings.push(format!("RABBITMQ_CONFIG_FILE: there is no file {base}"));
            }
            (None, None) => {}
        }
    }

    /// The files of `conf.d`, by name.
    fn additional(&mut self, environment: &Environment) {
        let named = environment.get("RABBITMQ_CONFIG_FILES");
        let place = named.map_or_else(|| Path::new(FOLDER).join("conf.d"), PathBuf::from);
        let pattern = if place.is_dir() { place.join("*.conf") } else { place };
        for path in matching(&pattern) {
            self.conf(&path, 0);
        }
    }

    fn advanced(&mut self, environment: &Environment) {
        let named = environment.get("RABBITMQ_ADVANCED_CONFIG_FILE").map(PathBuf::from);
        let path = named.unwrap_or_else(|| Path::new(FOLDER).join("advanced.config"));
        let ended = path.with_extension("config");
        for path in [path, ended] {
            if path.is_file() {
                return self.erlang(&path);
            }
        }
    }

    /// Settings as Erlang terms.
    fn erlang(&mut self, path: &Path) {
        let Some(text) = self.text(path) else { return };
        let name: Arc<str> = path.display().to_string().into();
        match terms::file(&text) {
            Ok(terms) => {
                let read = erlang::settings(&terms);
                let origin = Origin::Advanced(Arc::clone(&name));
                for (key, value) in read.pairs {
                    let value = if key == PASSPHRASE { self.value(path, &origin, value) } else { value };
                    self.entries.push(Entry { key, value, origin: origin.clone() });
                }
                let strange =
                    read.strange.iter().map(|what| format!("{name}: {what} is not understood, and ignored"));
                self.warnings.extend(strange);
            }
            Err(line) => self.problems.push(format!("{name}:{line}: not a list of Erlang terms")),
        }
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                self.files.push(path.display().to_string());
                Some(text)
            }
            Ok(Err(_)) => {
                self.problems.push(format!("{}: not UTF-8", path.display()));
                None
            }
            Err(error) => {
                self.problems.push(format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// A file in the syntax of `rabbitmq.conf`, and those that it includes.
    fn conf(&mut self, path: &Path, depth: usize) {
        let Some(text) = self.text(path) else { return };
        let name: Arc<str> = path.display().to_string().into();
        let lines = match syntax::parse(&text) {
            Ok(lines) => lines,
            Err(error) => {
                let line = text.lines().nth(error.line - 1).unwrap_or_default();
                let shown = harmless(line);
                return self.problems.push(format!("{name}:{}: not KEY = VALUE: {shown}", error.line));
            }
        };
        for line in lines {
            let origin = Origin::File(Arc::clone(&name), line.number);
            match line.said {
                Said::Setting { key, value } => {
                    let value = self.value(path, &origin, value);
                    self.entries.push(Entry { key, value, origin });
                }
                Said::Include(pattern) if depth < DEPTH_MAX => {
                    let pattern = path.parent().unwrap_or(Path::new("")).join(pattern);
                    let found = matching(&pattern);
                    if found.is_empty() {
                        self.warnings.push(format!("{origin}: there is no file {}", pattern.display()));
                    }
                    found.iter().for_each(|path| self.conf(path, depth + 1));
                }
                Said::Include(_) => {
                    self.problems.push(format!("{origin}: files include each other too deeply"));
                }
            }
        }
    }

    /// A value, which may be in a file of its own: `$(<FILE)`.
    fn value(&mut self, conf: &Path, origin: &Origin, value: String) -> String {
        let Some(file) = value.strip_prefix("$(<").and_then(|rest| rest.strip_suffix(')')) else {
            return value;
        };
        let file = conf.parent().unwrap_or(Path::new("")).join(file);
        match fs::read_to_string(&file) {
            Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Err(error) => {
                self.problems.push(format!("{origin}: cannot read {}: {error}", file.display()));
                value
            }
        }
    }
}

/// What may be shown of a line that makes no sense: its first word. What follows may be a password.
fn harmless(line: &str) -> String {
    let line = line.trim();
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || "._-\\".contains(c);
    let word = line.split(|c| !is_of_key(c)).next().unwrap_or_default();
    if word.len() == line.len() { word.to_owned() } else { format!("{word}...") }
}

/// The files that a path means, in whose last part a `*` may stand for anything; by name.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains('*') {
        return if pattern.is_file() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let folder = pattern.parent().unwrap_or(Path::new(""));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let found = path.file_name().and_then(|name| name.to_str());
        found.is_some_and(|found| !found.starts_with('.') && is_like(name, found)) && path.is_file()
    };
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    found
}

/// Whether a name is like a pattern with stars.
fn is_like(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| is_like(after, &rest[at..]))
        }),
    }
}

/// An entry of a flag.
pub fn flag(name: &str, setting: &str, value: &(impl ToString + ?Sized)) -> Entry {
    Entry { key: key(setting), value: value.to_string(), origin: Origin::Flag(name.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        for (line, shown) in [
            ("default_pass = 'it''s'", "default_pass..."),
            (" default_pass: s3cret", "default_pass..."),
            ("default_pass s3cret\r", "default_pass..."),
            ("= s3cret", "..."),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(harmless(line), shown, "{line}");
        }
    }

    #[test]
    fn names_like_patterns() {
        for (pattern, name, wanted) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", true),
            ("*.conf", "a.confx", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("x", "x", true),
        ] {
            assert_eq!(is_like(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
