//! A line of the log, as RabbitMQ writes it: plain or JSON. No I/O.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::settings::{Category, Level, Output};

/// Something to be logged.
#[derive(Debug)]
pub struct Record {
    pub at: SystemTime,
    pub level: Level,
    pub category: Category,
    /// Who says so, in the place of Erlang's number of a process.
    pub who: u64,
    /// May have several lines.
    pub message: String,
    pub file: Option<&'static str>,
    pub line: Option<u32>,
}

impl Record {
    /// Appends it as an output wants it, with a line's end.
    pub fn write(&self, to: &mut String, output: &Output, colours: bool) {
        if output.json { self.json(to) } else { self.plain(to, output.single_line, colours) }
    }

    /// Without what tells of it in a line, for outputs that have places of their own for that.
    pub fn bare(&self, output: &Output) -> String {
        if output.json {
            let mut json = String::new();
            self.json(&mut json);
            return json.trim_end().to_owned();
        }
        let text = Clean(&self.message).to_string();
        if output.single_line { text.replace('\n', ", ") } else { text }
    }

    /// Each line of the message with the same things before it.
    fn plain(&self, to: &mut String, single_line: bool, colours: bool) {
        let colour = match self.level {
            Level::Debug => "\u{1b}[38;5;246m",
            Level::Warning => "\u{1b}[38;5;214m",
            Level::Error => "\u{1b}[38;5;160m",
            _ => "",
        };
        let (colour, end) = if colours { (colour, "\u{1b}[0m") } else { ("", "") };
        let (time, level, who) = (Time(self.at), self.level.name(), self.who);
        if single_line {
            let message = Clean(&self.message).to_string().replace('\n', ", ");
            put(to, format_args!("{colour}{time} [{level}] <0.{who}.0> {message}{end}\n"));
            return;
        }
        for line in self.message.split('\n') {
            let line = Clean(line);
            put(to, format_args!("{colour}{time} [{level}] <0.{who}.0> {line}{end}\n"));
        }
    }

    fn json(&self, to: &mut String) {
        let domain = match self.category {
            Category::Default => "rabbitmq".to_owned(),
            category => format!("rabbitmq.{}", category.name()),
        };
        let mut fields = serde_json::Map::new();
        fields.insert("time".into(), Time(self.at).to_string().into());
        fields.insert("level".into(), self.level.name().into());
        fields.insert("msg".into(), self.message.as_str().into());
        if let Some(line) = self.line {
            fields.insert("line".into(), line.into());
        }
        fields.insert("pid".into(), format!("<0.{}.0>", self.who).into());
        if let Some(file) = self.file {
            fields.insert("file".into(), file.into());
        }
        fields.insert("domain".into(), domain.into());
        put(to, format_args!("{}\n", serde_json::Value::Object(fields)));
    }
}

/// Writing to a string does not fail.
fn put(to: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = to.write_fmt(text);
}

/// A line without characters that would make something else of the log: those of control.
struct Clean<'a>(&'a str);

impl std::fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_clean = |c: char| c == '\t' || c == '\n' || !c.is_control();
        if self.0.chars().all(is_clean) {
            return f.write_str(self.0);
        }
        for c in self.0.chars() {
            if is_clean(c) { f.write_char(c)? } else { write!(f, "{}", c.escape_default())? }
        }
        Ok(())
    }
}

/// A time as RabbitMQ writes it: `2026-01-31 23:59:59.000000+00:00`.
pub struct Time(pub SystemTime);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since: Duration = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        let (year, month, day) = date(seconds / 86400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let micros = since.subsec_micros();
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
    }
}

/// A time as syslog has it: `2026-01-31T23:59:59.000000Z`, or `Jan 31 23:59:59`.
pub enum SyslogTime {
    Rfc5424(SystemTime),
    Rfc3164(SystemTime),
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl std::fmt::Display for SyslogTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rfc5424(at) => {
                let time = Time(*at).to_string().replace(' ', "T");
                write!(f, "{}Z", time.trim_end_matches("+00:00"))
            }
            Self::Rfc3164(at) => {
                let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                let (_, month, day) = date(seconds / 86400);
                let month = MONTHS.get(month as usize - 1).unwrap_or(&"Jan");
                let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
                write!(f, "{month} {day:2} {hour:02}:{minute:02}:{second:02}")
            }
        }
    }
}

/// Year, month and day of a number of days since 1970.
pub(super) fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that a leap day is a year's last, and months are 153 days for five.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str) -> Record {
        Record {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_796_000_000_123_456),
            level: Level::Warning,
            category: Category::Connection,
            who: 7,
            message: message.into(),
            file: Some("src/x.rs"),
            line: Some(3),
        }
    }

    fn written(record: &Record, output: &Output, colours: bool) -> String {
        let mut text = String::new();
        record.write(&mut text, output, colours);
        text
    }

    #[test]
    fn every_line_of_a_message_is_a_line() {
        let plain = Output::default();
        let at = "2026-11-30 00:53:20.123456+00:00 [warning] <0.7.0>";
        assert_eq!(written(&record("a\nb"), &plain, false), format!("{at} a\n{at} b\n"));
        assert_eq!(written(&record("\u{1b}[2J\u{0}"), &plain, false), format!("{at} \\u{{1b}}[2J\\u{{0}}\n"));
        let coloured = format!("\u{1b}[38;5;214m{at} a\u{1b}[0m\n");
        assert_eq!(written(&record("a"), &plain, true), coloured);
        let single = Output { single_line: true, ..plain };
        assert_eq!(written(&record("a\nb"), &single, false), format!("{at} a, b\n"));
    }

    #[test]
    fn json_has_rabbitmqs_fields() {
        let json = Output { json: true, ..Output::default() };
        let text = written(&record("a\n\"b\""), &json, true);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let wanted = serde_json::json!({
            "time": "2026-11-30 00:53:20.123456+00:00", "level": "warning", "msg": "a\n\"b\"", "line": 3,
            "pid": "<0.7.0>", "file": "src/x.rs", "domain": "rabbitmq.connection",
        });
        assert_eq!(value, wanted);
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn dates() {
        for (days, wanted) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (364, (1970, 12, 31)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (20_786, (2026, 11, 29)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), wanted, "{days}");
        }
    }
}
