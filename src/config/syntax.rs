//! The syntax of `rabbitmq.conf`: `key = value`, comments, values in quotes, `include`. What a text means is
//! decided elsewhere. No I/O.
//!
//! It is that of RabbitMQ 4.3's own parser (cuttlefish 3.9), found out by trying: `key` is words of letters, digits, `_` and
//! `-` with dots between them, in which `\.` is a dot; a `#` begins a comment wherever it stands, quotes excepted; a value in
//! single quotes may have several lines, and one in three single quotes too, without the line ends next to the quotes.

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Setting { key: Vec<String>, value: String },
    Include(String),
}

/// A line that says something, with its number from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub number: usize,
    pub said: Said,
}

/// A text that is no configuration from this line on, as RabbitMQ finds none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: usize,
}

const QUOTES: &str = "'''";

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Vec<Line>, SyntaxError> {
    let mut lines = Vec::new();
    let (mut rest, mut number) = (text, 1);
    while !rest.is_empty() {
        let (said, after) = line(rest).ok_or(SyntaxError { line: number })?;
        if let Some(said) = said {
            lines.push(Line { number, said });
        }
        number += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    Ok(lines)
}

/// One line, which may be several where a value is quoted, and what comes after it.
fn line(text: &str) -> Option<(Option<Said>, &str)> {
    let start = text.trim_start_matches(BLANK);
    if let Some(rest) = end_of_line(start) {
        return Some((None, rest));
    }
    if let Some((path, rest)) = include(start) {
        return Some((Some(Said::Include(path.to_owned())), end_of_line(rest)?));
    }
    let (key, rest) = key(start)?;
    let rest = rest.trim_start_matches(BLANK).strip_prefix('=')?.trim_start_matches(BLANK);
    let (value, rest) = quoted(rest).or_else(|| plain(rest))?;
    let said = Said::Setting { key, value: value.to_owned() };
    Some((Some(said), end_of_line(rest)?))
}

const BLANK: [char; 2] = [' ', '\t'];

/// Skips blanks, a comment, and the end of a line or of the text, if there is nothing else.
fn end_of_line(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(BLANK);
    let text = if text.starts_with('#') { &text[text.find('\n').unwrap_or(text.len())..] } else { text };
    let text =
        text.strip_prefix('\r').filter(|rest| rest.is_empty() || rest.starts_with('\n')).unwrap_or(text);
    if text.is_empty() { Some(text) } else { text.strip_prefix('\n') }
}

fn include(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("include")?;
    let path = rest.trim_start_matches(BLANK);
    let end = path.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.*/".contains(c))).unwrap_or(path.len());
    (path.len() < rest.len() && end > 0).then(|| path.split_at(end))
}

fn key(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut chars = text.char_indices().peekable();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '.') => {
                chars.next();
                word.push('.');
            }
            '.' if !word.is_empty() => words.push(std::mem::take(&mut word)),
            _ if c.is_ascii_alphanumeric() || c == '_' || c == '-' => word.push(c),
            _ => {
                end = at;
                break;
            }
        }
    }
    if word.is_empty() {
        return None;
    }
    words.push(word);
    Some((words, &text[end..]))
}

/// A value in quotes, and what comes after it. Without a second quote the first one is part of a plain value.
fn quoted(text: &str) -> Option<(&str, &str)> {
    if let Some((value, rest)) = text.strip_prefix(QUOTES).and_then(|inside| inside.split_once(QUOTES)) {
        let value = value.strip_prefix("\r\n").or_else(|| value.strip_prefix('\n')).unwrap_or(value);
        let value = value.strip_suffix("\r\n").or_else(|| value.strip_suffix('\n')).unwrap_or(value);
        return Some((value, rest));
    }
    text.strip_prefix('\'')?.split_once('\'')
}

fn plain(text: &str) -> Option<(&str, &str)> {
    let end = text.find(['#', '\n']).unwrap_or(text.len());
    let value = text[..end].trim_end_matches(['\r', ' ', '\t']);
    (!value.is_empty()).then(|| (value, &text[value.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `key=value` for each setting, words of keys by `|`; `include` lines as they are; or the line that is none.
    fn told(text: &str) -> String {
        match parse(text) {
            Err(error) => format!("line {}", error.line),
            Ok(lines) => {
                let lines = lines.iter().map(|line| match &line.said {
                    Said::Setting { key, value } => format!("{}: {}={value}", line.number, key.join("|")),
                    Said::Include(path) => format!("{}: include {path}", line.number),
                });
                lines.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// Each of these was given to RabbitMQ 4.3.6's parser, and came out the same.
    #[test]
    fn as_rabbitmq_reads_it() {
        for (text, wanted) in [
            ("a=1", "1: a=1"),
            ("a.b.c = x y  \n", "1: a|b|c=x y"),
            ("a = x # comment\n", "1: a=x"),
            ("a = x# comment\n", "1: a=x"),
            ("a = x#y\n", "1: a=x"),
            ("# c\n  # d\n\na=1\n", "4: a=1"),
            ("a = 'x # y'\n", "1: a=x # y"),
            ("a = 'x' # c\n", "1: a=x"),
            ("a = 'x'y\n", "line 1"),
            ("a = 'it''s'\n", "line 1"),
            ("a = \"x\"\n", "1: a=\"x\""),
            ("a =\n", "line 1"),
            ("a = \n", "line 1"),
            ("a\n", "line 1"),
            ("= 1\n", "line 1"),
            ("a b = 1\n", "line 1"),
            ("a..b = 1\n", "line 1"),
            ("a.b\\.c.d = 1\n", "1: a|b.c|d=1"),
            ("  a = 1\r\nb = 2\r\n", "1: a=1; 2: b=2"),
            ("a = 1\nb\n", "line 2"),
            ("a = $(HOME)\n", "1: a=$(HOME)"),
            ("include x.conf\n", "1: include x.conf"),
            ("include conf.d/*.conf\n", "1: include conf.d/*.conf"),
            ("include 'x'\n", "line 1"),
            ("a = '''\nx\ny\n'''\nb = 1", "1: a=x\ny; 5: b=1"),
            ("a = '''x'''\n", "1: a=x"),
            ("a = <<<\nfoo\nbar\n>>>\n", "line 2"),
            ("a = 'x\ny'\n", "1: a=x\ny"),
            ("a = ''\n", "1: a="),
            ("a = b = c\n", "1: a=b = c"),
            ("a = caf\u{e9}\n", "1: a=caf\u{e9}"),
            ("a = x \\\n y\n", "line 2"),
            ("a:1\n", "line 1"),
            ("\tb = 1\t\n", "1: b=1"),
            ("a = ''' x ''' y\n", "line 1"),
            ("a = 1 ; c\n", "1: a=1 ; c"),
            ("; c\n", "line 1"),
            ("a = 'un\n", "1: a='un"),
            ("", ""),
        ] {
            assert_eq!(told(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn ends_without_a_line_end() {
        for (text, wanted) in [
            ("a = 1  ", "1: a=1"),
            ("a = 1\r", "1: a=1"),
            ("# c", ""),
            ("a = 'x'", "1: a=x"),
            (" \t", ""),
            ("include x", "1: include x"),
        ] {
            assert_eq!(told(text), wanted, "{text:?}");
        }
        for garbage in ["a = '''", "\\", "a.", ".", "include", "include ", "a\\", "\u{0}", "a = \u{7f}\u{0}'"]
        {
            told(garbage);
        }
    }
}
