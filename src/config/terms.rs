//! The Erlang terms that people write in `advanced.config`, `enabled_plugins` and `RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS`. No I/O.
//!
//! Atoms, numbers, strings, binaries of text, lists, tuples and maps are read; funs, character literals and whatever else
//! Erlang has are not.

/// A term.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    Atom(String),
    /// A number, as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// A binary of text.
    Binary(String),
    List(Vec<Term>),
    Tuple(Vec<Term>),
    Map(Vec<(Term, Term)>),
}

impl Term {
    /// What a single value is in words.
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Atom(word) | Self::Number(word) | Self::Text(word) | Self::Binary(word) => Some(word),
            _ => None,
        }
    }

    /// A pair in a list of options: a name and what it is set to. A lone atom is set to `true`, as Erlang reads it.
    pub fn option(&self) -> Option<(&str, &Term)> {
        match self {
            Self::Tuple(parts) => match &parts[..] {
                [name, value] => Some((name.word()?, value)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// How deep terms may lie in each other.
const DEPTH_MAX: usize = 32;

/// Reads all terms of a file, each of which ends with a full stop; or says on which line it is none.
pub fn file(text: &str) -> Result<Vec<Term>, usize> {
    let mut terms = Vec::new();
    let mut rest = skip(text);
    while !rest.is_empty() {
        let read = term(rest, 0).and_then(|(term, after)| Some((term, skip(after).strip_prefix('.')?)));
        let Some((term, after)) = read else {
            return Err(1 + text[..text.len() - rest.len()].matches('\n').count());
        };
        terms.push(term);
        rest = skip(after);
    }
    Ok(terms)
}

/// Reads one term at the beginning of a text, and returns what comes after it.
pub fn first(text: &str) -> Option<(Term, &str)> {
    term(skip(text), 0)
}

/// Skips blanks and comments.
fn skip(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        match text.strip_prefix('%') {
            Some(comment) => text = comment.find('\n').map_or("", |end| &comment[end..]),
            None => return text,
        }
    }
}

fn term(text: &str, depth: usize) -> Option<(Term, &str)> {
    if depth > DEPTH_MAX {
        return None;
    }
    let mut chars = text.chars();
    match chars.next()? {
        '[' => list(chars.as_str(), ']', depth).map(|(terms, rest)| (Term::List(terms), rest)),
        '{' => list(chars.as_str(), '}', depth).map(|(terms, rest)| (Term::Tuple(terms), rest)),
        '#' => map(chars.as_str().strip_prefix('{')?, depth),
        '"' => string(chars.as_str(), '"').map(|(text, rest)| (Term::Text(text), rest)),
        '\'' => string(chars.as_str(), '\'').map(|(text, rest)| (Term::Atom(text), rest)),
        '<' => binary(text),
        c if c.is_ascii_lowercase() => {
            let (word, rest) = word(text, |c| c.is_alphanumeric() || c == '_' || c == '@');
            Some((Term::Atom(word.to_owned()), rest))
        }
        c if c.is_ascii_digit() || c == '-' => number(text),
        _ => None,
    }
}

fn word(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

fn number(text: &str) -> Option<(Term, &str)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = word(digits, |c| c.is_ascii_digit() || c == '_');
    if whole.is_empty() {
        return None;
    }
    // A full stop is part of a number only if a digit follows.
    let rest = match rest.strip_prefix('.').filter(|after| after.starts_with(|c: char| c.is_ascii_digit())) {
        Some(after) => word(after, |c| c.is_ascii_alphanumeric() || c == '-').1,
        None => rest,
    };
    let written = text[..text.len() - rest.len()].replace('_', "");
    Some((Term::Number(written), rest))
}

fn binary(text: &str) -> Option<(Term, &str)> {
    let rest = skip(text.strip_prefix("<<")?);
    let (content, rest) = match rest.strip_prefix('"') {
        Some(rest) => string(rest, '"')?,
        None => (String::new(), rest),
    };
    let rest = rest.strip_prefix("/utf8").unwrap_or(rest);
    Some((Term::Binary(content), skip(rest).strip_prefix(">>")?))
}

/// Up to the quote that ends it.
fn string(text: &str, quote: char) -> Option<(String, &str)> {
    let mut read = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            c if c == quote => return Some((read, chars.as_str())),
            '\\' => match chars.next()? {
                'n' => read.push('\n'),
                't' => read.push('\t'),
                'r' => read.push('\r'),
                'e' => read.push('\u{1b}'),
                's' => read.push(' '),
                other => read.push(other),
            },
            c => read.push(c),
        }
    }
}

fn list(text: &str, end: char, depth: usize) -> Option<(Vec<Term>, &str)> {
    let mut terms = Vec::new();
    let mut rest = skip(text);
    if let Some(after) = rest.strip_prefix(end) {
        return Some((terms, after));
    }
    loop {
        let (read, after) = term(rest, depth + 1)?;
        terms.push(read);
        let after = skip(after);
        if let Some(after) = after.strip_prefix(end) {
            return Some((terms, after));
        }
        rest = skip(after.strip_prefix(',')?);
    }
}

fn map(text: &str, depth: usize) -> Option<(Term, &str)> {
    let mut pairs = Vec::new();
    let mut rest = skip(text);
    if let Some(after) = rest.strip_prefix('}') {
        return Some((Term::Map(pairs), after));
    }
    loop {
        let (key, after) = term(rest, depth + 1)?;
        let (value, after) = term(skip(skip(after).strip_prefix("=>")?), depth + 1)?;
        pairs.push((key, value));
        let after = skip(after);
        if let Some(after) = after.strip_prefix('}') {
            return Some((Term::Map(pairs), after));
        }
        rest = skip(after.strip_prefix(',')?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(word: &str) -> Term {
        Term::Atom(word.into())
    }

    #[test]
    fn plugins_as_they_are_listed() {
        for text in [
            "[rabbitmq_management,rabbitmq_stream].",
            "% ours\n[ rabbitmq_management ,\n 'rabbitmq_stream' ] .\n",
        ] {
            let wanted = Term::List(vec![atom("rabbitmq_management"), atom("rabbitmq_stream")]);
            assert_eq!(file(text), Ok(vec![wanted]), "{text}");
        }
        assert_eq!(file(""), Ok(Vec::new()));
        assert_eq!(file("[]."), Ok(vec![Term::List(Vec::new())]));
        for (text, line) in
            [("[a,b]", 1), ("\n[a b].", 2), ("[a].\n{", 2), ("fun() -> ok end.", 1), ("[A].", 1)]
        {
            assert_eq!(file(text), Err(line), "{text}");
        }
    }

    #[test]
    fn terms_of_all_kinds() {
        let text = r#"{a, "x\"y", <<"z">>, 'Q r', -1, 0.5, 1_000, [], #{b => {c}}, <<>>} rest"#;
        let (term, rest) = first(text).expect("a term");
        let wanted = [
            atom("a"),
            Term::Text("x\"y".into()),
            Term::Binary("z".into()),
            atom("Q r"),
            Term::Number("-1".into()),
            Term::Number("0.5".into()),
            Term::Number("1000".into()),
            Term::List(Vec::new()),
            Term::Map(vec![(atom("b"), Term::Tuple(vec![atom("c")]))]),
            Term::Binary(String::new()),
        ];
        assert_eq!((term, rest), (Term::Tuple(wanted.to_vec()), " rest"));
    }

    #[test]
    fn nothing_recurses_without_a_bound() {
        assert_eq!(first(&"[".repeat(1 << 20)), None);
        assert_eq!(first(&"#{a => ".repeat(1 << 20)), None);
    }
}
