//! Command lines: options may stand anywhere, and `-` and `_` in their names are the same.

use std::collections::BTreeMap;

use super::failure::Failure;

/// What comes after an option's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Text,
    /// A whole number.
    Number,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// With dashes.
    pub name: &'static str,
    pub short: Option<char>,
    pub takes: Takes,
}

pub const fn flag(name: &'static str) -> Switch {
    Switch { name, short: None, takes: Takes::Nothing }
}

pub const fn text(name: &'static str) -> Switch {
    Switch { name, short: None, takes: Takes::Text }
}

pub const fn number(name: &'static str) -> Switch {
    Switch { name, short: None, takes: Takes::Number }
}

impl Switch {
    pub const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// Options that every command takes, whether they mean something to it or not.
const COMMON: [Switch; 27] = [
    text("node").short('n'),
    flag("quiet").short('q'),
    flag("silent").short('s'),
    flag("longnames").short('l'),
    text("timeout").short('t'),
    text("vhost").short('p'),
    text("formatter"),
    text("printer"),
    text("file"),
    flag("table-headers"),
    flag("dry-run"),
    flag("help").short('?'),
    flag("verbose"),
    flag("print-stacktrace"),
    flag("online"),
    flag("offline"),
    text("erlang-cookie"),
    text("script-name"),
    text("rabbitmq-home"),
    text("mnesia-dir"),
    text("data-dir"),
    text("plugins-dir"),
    text("enabled-plugins-file"),
    text("aliases-file"),
    text("feature-flags-file"),
    flag("global"),
    text("socket"),
];

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The command and its arguments.
    pub words: Vec<String>,
    given: BTreeMap<&'static str, String>,
    /// Options that make no sense, with what came after them.
    pub wrong: Vec<(String, String)>,
}

impl Line {
    /// Takes a command line apart. The command's own options count before those that all have.
    pub fn parse(arguments: &[String], own: &[Switch]) -> Self {
        let mut line = Self::default();
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            let after_dashes = argument.strip_prefix("--");
            match after_dashes {
                Some("") => line.words.extend(rest.by_ref().cloned()),
                Some(long) => {
                    let (name, value) = match long.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (long, None),
                    };
                    line.take_long(name, value, &mut rest, own);
                }
                None if is_short(argument) => line.take_short(argument, &mut rest, own),
                None => line.words.push(argument.clone()),
            }
        }
        line
    }

    fn take_long<'a>(
        &mut self,
        name: &str,
        value: Option<String>,
        rest: &mut std::iter::Peekable<impl Iterator<Item = &'a String>>,
        own: &[Switch],
    ) {
        let dashed = name.replace('_', "-");
        let find = |wanted: &str| own.iter().chain(&COMMON).find(|switch| switch.name == wanted).copied();
        let known = match find(&dashed) {
            Some(switch) => Some((switch, true)),
            None => dashed.strip_prefix("no-").and_then(find).map(|switch| (switch, false)),
        };
        match known {
            Some((switch, yes)) if switch.takes == Takes::Nothing => {
                let yes = value.map_or(yes, |value| value == "true");
                self.given.insert(switch.name, yes.to_string());
            }
            Some((switch, true)) => self.take_value(switch, &format!("--{name}"), value, rest),
            _ => self.wrong.push((format!("--{name}"), value.unwrap_or_default())),
        }
    }

    fn take_short<'a>(
        &mut self,
        argument: &str,
        rest: &mut std::iter::Peekable<impl Iterator<Item = &'a String>>,
        own: &[Switch],
    ) {
        let mut letters = argument.trim_start_matches('-').chars();
        let (Some(letter), value) = (letters.next(), letters.as_str()) else { return };
        let known = own.iter().chain(&COMMON).find(|switch| switch.short == Some(letter)).copied();
        let value = value.strip_prefix('=').map(str::to_owned);
        match known {
            Some(switch) if switch.takes == Takes::Nothing && value.is_none() && argument.len() == 2 => {
                self.given.insert(switch.name, "true".to_owned());
            }
            Some(switch) if value.is_some() || argument.len() == 2 => {
                self.take_value(switch, &format!("-{letter}"), value, rest);
            }
            _ => self.wrong.push((argument.to_owned(), String::new())),
        }
    }

    fn take_value<'a>(
        &mut self,
        switch: Switch,
        shown: &str,
        value: Option<String>,
        rest: &mut std::iter::Peekable<impl Iterator<Item = &'a String>>,
    ) {
        let value = value.or_else(|| rest.next_if(|next| !looks_like_option(next)).cloned());
        match value {
            None => self.wrong.push((shown.to_owned(), String::new())),
            Some(value) if switch.takes == Takes::Number && value.parse::<i64>().is_err() => {
                self.wrong.push((shown.to_owned(), value));
            }
            Some(value) => {
                self.given.insert(switch.name, value);
            }
        }
    }

    pub fn flag(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|value| value == "true")
    }

    /// Whether a flag was switched off.
    pub fn without(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|value| value == "false")
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// A number, which has been checked when the line was taken apart.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.given.get(name)?.parse().ok()
    }

    /// Sets an option as if it had been given.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.given.insert(name, value.to_owned());
    }

    pub fn vhost(&self) -> &str {
        self.text("vhost").unwrap_or("/")
    }

    /// Refuses options that make no sense.
    pub fn check(&self) -> Result<(), Failure> {
        let mut wrong = self.wrong.clone();
        if let Some(timeout) = self.text("timeout") {
            if timeout != "infinity" && timeout.parse::<f64>().is_err() {
                wrong.push(("--timeout".to_owned(), timeout.to_owned()));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let wrong: Vec<_> = wrong.iter().map(|(name, value)| format!("{name} : {value}")).collect();
        Err(Failure::misused(format!("Invalid options for this command:\n{}", wrong.join("\n"))))
    }
}

/// Whether an argument is an option of one letter. A dash alone and negative numbers are none.
fn is_short(argument: &str) -> bool {
    let mut letters = argument.chars();
    letters.next() == Some('-') && letters.next().is_some_and(|letter| !letter.is_ascii_digit())
}

fn looks_like_option(argument: &str) -> bool {
    is_short(argument) || argument.starts_with("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Line {
        let own = [number("priority"), flag("if-empty").short('e')];
        Line::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), &own)
    }

    #[test]
    fn options_anywhere() {
        for line in [
            "-q -p v set --priority 3 a -",
            "set a --quiet --vhost=v - --priority=3",
            "-p=v set -q a -- -  --priority 3",
        ] {
            let line = parse(line);
            assert_eq!((line.flag("quiet"), line.vhost()), (true, "v"));
            assert_eq!(line.words[..3], ["set", "a", "-"]);
            assert!(line.wrong.is_empty());
        }
        let line = parse("x --no-table-headers --quiet=false --if_empty -1");
        assert!(line.without("table-headers") && !line.flag("quiet") && line.flag("if-empty"));
        assert_eq!(line.words, ["x", "-1"]);
        assert_eq!(parse("x -e").text("if-empty"), Some("true"));
    }

    #[test]
    fn options_that_make_no_sense() {
        for (line, name, value) in [
            ("x --nosuch", "--nosuch", ""),
            ("x --nosuch=1", "--nosuch", "1"),
            ("x -p", "-p", ""),
            ("x -p --quiet", "-p", ""),
            ("x --timeout", "--timeout", ""),
            ("x --priority y", "--priority", "y"),
            ("x -z", "-z", ""),
            ("x -qs", "-qs", ""),
        ] {
            assert_eq!(parse(line).wrong, [(name.to_owned(), value.to_owned())], "{line}");
            assert!(parse(line).check().is_err());
        }
        assert!(parse("x --timeout y").check().is_err());
        assert!(parse("x --timeout 1.5").check().is_ok() && parse("x -t infinity").check().is_ok());
    }
}
